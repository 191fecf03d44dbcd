use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, json};

use crate::bones::{Bone, Group};
use crate::figures::style::{Rgb, okabe_ito};
use crate::figures::{Axis, Chart, Figure, Mark, Row, Rows};
use crate::report::study::SUBSETS;
use crate::report::wording::{capital, count, counted, median, num};
use crate::report::{Section, Study};
use crate::stats::{Summary, summary};

/// How large each bone is, and in how many images it is missing.
pub(super) fn section(study: &Study<'_>) -> Section {
    let mut section = Section::new("class_areas", "Class areas");
    let mut any = false;
    for subset in SUBSETS {
        let masked: BTreeSet<&str> =
            study.images(subset).filter(|v| v.mask_px().is_some()).map(|v| v.image.image_id.as_str()).collect();
        if masked.is_empty() {
            continue;
        }
        any = true;
        let mut areas: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for bone in study.tables.bones.iter().filter(|b| b.area_px > 0 && masked.contains(b.image_id.as_str())) {
            areas.entry(bone.class as usize).or_default().push(bone.area_px as f64);
        }
        let found: Vec<(Bone, Option<Summary>)> =
            Bone::all().map(|b| (b, areas.get(&b.index()).and_then(|a| summary(a)))).collect();
        one_subset(&mut section, subset, masked.len(), &found);
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    section
}

fn one_subset(section: &mut Section, subset: &str, images: usize, found: &[(Bone, Option<Summary>)]) {
    let present: Vec<(Bone, &Summary)> = found.iter().filter_map(|(b, s)| Some((*b, s.as_ref()?))).collect();
    let by_median = |a: &&(Bone, &Summary), b: &&(Bone, &Summary)| a.1.median.total_cmp(&b.1.median);
    if let (Some(least), Some(most)) = (present.iter().min_by(by_median), present.iter().max_by(by_median)) {
        section.text(format!(
            "{}, n = {}: medians run from {} px ({}) to {} px ({}), a factor of {}.",
            capital(subset),
            count(images),
            median(least.1.median),
            least.0,
            median(most.1.median),
            most.0,
            num(most.1.median / least.1.median, 1),
        ));
    }
    let missing: Vec<String> = found
        .iter()
        .map(|(b, s)| (b, images.saturating_sub(s.as_ref().map_or(0, |s| s.n))))
        .filter(|(_, n)| *n > 0)
        .map(|(b, n)| format!("{b} ({})", count(n)))
        .collect();
    if missing.is_empty() {
        section.meaning(
            "Every class is there in every image with masks. A loss averaged over classes weighs the small ones up.",
        );
    } else {
        section.absent(format!("Not in every image with masks (images without it): {}.", missing.join(", ")));
    }
    let numbers: Map<String, serde_json::Value> = found.iter().map(|(b, s)| (b.name().to_owned(), json!(s))).collect();
    section.number(subset, json!({"images": images, "area_px": numbers}));
    section.figure(figure(subset, images, &present));
    let rows = present
        .iter()
        .map(|(bone, s)| {
            let percent = s.sd.map_or("–".into(), |sd| num(100.0 * sd / s.mean, 1));
            let sd = s.sd.map_or("–".into(), |sd| num(sd, 0));
            let middle = format!("{}–{}", num(s.q25, 0), num(s.q75, 0));
            vec![bone.name().to_owned(), count(s.n), num(s.mean, 0), sd, percent, median(s.median), middle]
        })
        .collect();
    section.table(
        format!("Area in px, {subset}, in the order of the classes"),
        &["class", "n", "mean", "sd", "sd (% of mean)", "median", "middle half"],
        rows,
    );
}

fn figure(subset: &str, images: usize, present: &[(Bone, &Summary)]) -> Figure {
    let rows = present
        .iter()
        .map(|(bone, s)| {
            let (name, colour) = group(bone.group());
            Row {
                label: bone.name().to_owned(),
                marks: vec![Mark::Box { name: name.to_owned(), colour, summary: (*s).clone() }],
                note: median(s.median),
            }
        })
        .collect();
    Figure {
        name: format!("class-areas-{subset}"),
        title: format!("Areas of the 29 classes, {subset} (n = {})", counted(images, "image", "images")),
        note: "Box: middle half with the median (number at the right, px); whiskers: 5 % to 95 %.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::logarithmic("area (px, logarithmic)", present.iter().flat_map(|p| [p.1.q05, p.1.q95])),
            rows,
            reference: None,
        })],
    }
}

fn group(group: Group) -> (&'static str, Rgb) {
    match group {
        Group::Finger(0) => ("thumb", okabe_ito::ORANGE),
        Group::Finger(1) => ("index finger", okabe_ito::SKY),
        Group::Finger(2) => ("middle finger", okabe_ito::GREEN),
        Group::Finger(3) => ("ring finger", okabe_ito::YELLOW),
        Group::Finger(_) => ("little finger", okabe_ito::PURPLE),
        Group::Carpal => ("carpals", okabe_ito::VERMILION),
        Group::Forearm => ("forearm", okabe_ito::BLUE),
    }
}
