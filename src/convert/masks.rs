//! Masks as pictures: `masks/IMAGE/BONE.png` with one bit per pixel, white inside the bone, and the images in `images/`.
//! One picture per bone, because bones overlap.

use std::fs;
use std::io::{self, BufWriter};
use std::path::Path;

use super::format::{Format, HandCopy, WrittenImage, WrittenImages, with_ending};
use super::loss::FormatLoss;
use crate::dataset::{ImageEntry, mask_files};
use crate::mask::RunMask;

/// Name of the format.
pub const NAME: &str = "masks";

/// The format.
pub struct MaskFiles;

/// The file of a bone's mask in a copy.
pub fn mask_file(image_id: &str, bone: &str) -> String {
    format!("{}/{image_id}/{bone}.png", mask_files::FOLDER)
}

impl Format for MaskFiles {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "one PNG per image and bone: masks/IMAGE/BONE.png, and images/"
    }

    fn image_file(&self, entry: &ImageEntry, ending: &str) -> String {
        with_ending("images", &entry.image, ending)
    }

    fn image(&self, image: &HandCopy, folder: &Path) -> io::Result<WrittenImage> {
        let mut part = WrittenImage::default();
        part.losses.add(FormatLoss::Findings, image.findings.len());
        let (Some(annotation), Some(masks)) = (&image.annotation, image.masks()) else { return Ok(part) };
        // An annotation without shapes has a folder without masks.
        fs::create_dir_all(folder.join(mask_files::FOLDER).join(&image.entry.image_id))?;
        for (bone, mask) in masks.iter() {
            if annotation.shapes.iter().any(|shape| shape.bone == Some(bone)) {
                write_mask(&folder.join(mask_file(&image.entry.image_id, bone.name())), mask)?;
                part.objects += 1;
            }
        }
        let known = annotation.shapes.iter().filter(|shape| shape.bone.is_some()).count();
        part.losses.add(FormatLoss::Vertices, known);
        part.losses.add(FormatLoss::UnknownLabels, image.unknown_labels());
        Ok(part)
    }

    fn finish(&self, _parts: &WrittenImages, _folder: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a mask as a PNG with one bit per pixel.
fn write_mask(path: &Path, mask: &RunMask) -> io::Result<()> {
    let stride = mask.width().div_ceil(8) as usize;
    let mut bits = vec![0u8; stride * mask.height() as usize];
    for (y, from, to) in mask.rows() {
        let row = &mut bits[y as usize * stride..][..stride];
        for x in from..to {
            row[x as usize / 8] |= 0x80 >> (x % 8);
        }
    }
    let mut encoder = png::Encoder::new(BufWriter::new(fs::File::create(path)?), mask.width(), mask.height());
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&bits)?;
    writer.finish()?;
    Ok(())
}
