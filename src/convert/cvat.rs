//! CVAT for images 1.1: `annotations.xml` and the images in `images/`.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::format::{Format, HandCopy, WrittenImage, WrittenImages, with_ending};
use crate::audit::FindingRow;
use crate::bones::Bone;
use crate::dataset::annotation::Shape;
use crate::dataset::{ImageEntry, cvat};

/// The format.
pub struct Cvat;

/// Label of the tags that hold findings.
const FINDING: &str = "finding";
/// The attributes of such a tag.
const FINDING_KEYS: [&str; 5] = ["check", "severity", "score", "bones", "message"];

impl Format for Cvat {
    fn name(&self) -> &'static str {
        "cvat"
    }

    fn about(&self) -> &'static str {
        "CVAT for images 1.1: annotations.xml and images/"
    }

    fn image_file(&self, entry: &ImageEntry, ending: &str) -> String {
        with_ending("images", &entry.image, ending)
    }

    fn image(&self, image: &HandCopy, _folder: &Path) -> io::Result<WrittenImage> {
        let mut xml = Writer::new(Vec::new());
        let shapes: &[Shape] = image.annotation.as_ref().map_or(&[], |annotation| &annotation.shapes);
        for shape in shapes {
            let mut points = String::new();
            for (n, [x, y]) in shape.points.iter().enumerate() {
                let _ = write!(points, "{}{x}.00,{y}.00", if n > 0 { ";" } else { "" });
            }
            // CVAT has no polygon with fewer than three points.
            let kind = if shape.points.len() < 3 { "points" } else { "polygon" };
            let attributes = [
                ("label", &*shape.label),
                ("source", "manual"),
                ("occluded", "0"),
                ("points", &*points),
                ("z_order", "0"),
            ];
            xml.write_event(Event::Empty(BytesStart::new(kind).with_attributes(attributes)))?;
            xml.write_event(Event::Text(BytesText::new("\n")))?;
        }
        for finding in &image.findings {
            write_finding(&mut xml, finding)?;
        }
        Ok(WrittenImage { text: xml.into_inner(), objects: shapes.len(), ..WrittenImage::default() })
    }

    fn finish(&self, parts: &WrittenImages, folder: &Path) -> io::Result<()> {
        let mut xml = Writer::new(BufWriter::new(fs::File::create(folder.join(cvat::FILE))?));
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("utf-8"), None)))?;
        xml.write_event(Event::Start(BytesStart::new("annotations")))?;
        write_text(&mut xml, "version", "1.1")?;
        write_meta(&mut xml, parts)?;
        for (n, (image, part)) in parts.images.iter().enumerate() {
            let [id, width, height] = [n.to_string(), image.width.to_string(), image.height.to_string()];
            // CVAT's names are relative to the folder of images. Without `subset`, which Datumaro takes for another file's.
            let name = image.file.strip_prefix("images/").unwrap_or(&image.file);
            let attributes = [("id", &*id), ("name", name), ("width", &*width), ("height", &*height)];
            let start = BytesStart::new("image").with_attributes(attributes);
            if part.text.is_empty() {
                xml.write_event(Event::Empty(start))?;
            } else {
                xml.write_event(Event::Start(start))?;
                xml.get_mut().write_all(b"\n")?;
                xml.get_mut().write_all(&part.text)?;
                xml.write_event(Event::End(BytesEnd::new("image")))?;
            }
            xml.get_mut().write_all(b"\n")?;
        }
        xml.write_event(Event::End(BytesEnd::new("annotations")))?;
        let file = xml.into_inner().into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()
    }
}

/// The labels of a task with these images: the bones with their colours, and other labels that occur.
fn write_meta<W: io::Write>(xml: &mut Writer<W>, parts: &WrittenImages) -> io::Result<()> {
    for name in ["meta", "task"] {
        xml.write_event(Event::Start(BytesStart::new(name)))?;
    }
    write_text(xml, "name", "carpus")?;
    write_text(xml, "size", &parts.images.len().to_string())?;
    write_text(xml, "mode", "annotation")?;
    xml.write_event(Event::Start(BytesStart::new("labels")))?;
    for bone in Bone::all() {
        let [r, g, b] = bone.colour();
        write_label(xml, bone.name(), Some(&format!("#{r:02x}{g:02x}{b:02x}")), &[])?;
    }
    let shapes = parts.images.iter().filter_map(|(image, _)| image.annotation.as_ref()).flat_map(|a| &a.shapes);
    let names: std::collections::BTreeSet<&str> = shapes.map(|shape| &*shape.label).collect();
    for name in names.into_iter().filter(|name| Bone::from_name(name).is_none()) {
        write_label(xml, name, None, &[])?;
    }
    if parts.images.iter().any(|(image, _)| !image.findings.is_empty()) {
        write_label(xml, FINDING, None, &FINDING_KEYS)?;
    }
    for name in ["labels", "task", "meta"] {
        xml.write_event(Event::End(BytesEnd::new(name)))?;
    }
    xml.get_mut().write_all(b"\n")
}

fn write_label<W: io::Write>(
    xml: &mut Writer<W>,
    name: &str,
    colour: Option<&str>,
    attributes: &[&str],
) -> io::Result<()> {
    xml.write_event(Event::Start(BytesStart::new("label")))?;
    write_text(xml, "name", name)?;
    if let Some(colour) = colour {
        write_text(xml, "color", colour)?;
    }
    xml.write_event(Event::Start(BytesStart::new("attributes")))?;
    for attribute in attributes {
        xml.write_event(Event::Start(BytesStart::new("attribute")))?;
        write_text(xml, "name", attribute)?;
        for (key, value) in [("mutable", "False"), ("input_type", "text"), ("default_value", ""), ("values", "")] {
            write_text(xml, key, value)?;
        }
        xml.write_event(Event::End(BytesEnd::new("attribute")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("attributes")))?;
    xml.write_event(Event::End(BytesEnd::new("label")))
}

/// A finding as a tag of its image.
fn write_finding<W: io::Write>(xml: &mut Writer<W>, finding: &FindingRow) -> io::Result<()> {
    let tag = BytesStart::new("tag").with_attributes([("label", FINDING), ("source", "manual")]);
    xml.write_event(Event::Start(tag))?;
    let score = finding.score.to_string();
    let values = [finding.check.name, finding.severity.name(), &score, &finding.label, &finding.message];
    for (key, value) in FINDING_KEYS.into_iter().zip(values) {
        xml.write_event(Event::Start(BytesStart::new("attribute").with_attributes([("name", key)])))?;
        xml.write_event(Event::Text(BytesText::new(value)))?;
        xml.write_event(Event::End(BytesEnd::new("attribute")))?;
    }
    xml.write_event(Event::End(BytesEnd::new("tag")))?;
    xml.write_event(Event::Text(BytesText::new("\n")))
}

fn write_text<W: io::Write>(xml: &mut Writer<W>, name: &str, text: &str) -> io::Result<()> {
    xml.write_event(Event::Start(BytesStart::new(name)))?;
    xml.write_event(Event::Text(BytesText::new(text)))?;
    xml.write_event(Event::End(BytesEnd::new(name)))
}
