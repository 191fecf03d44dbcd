use polars::prelude::*;
use serde_json::{Map, json};

use crate::bones::{Bone, BoneGroup};
use crate::dataset::Subset;
use crate::figures::style::{Rgb, okabe_ito};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::study::SUBSETS;
use crate::report::wording::{capital, count, counted, median, num};
use crate::report::{Section, Study};
use crate::stats::{SampleSummary, summary};
use crate::tables::{BoneRow, TableRow, numbers_by};

/// Area of each class, and the number of images in which it is missing.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("class_areas", "Area of each bone");
    let mut any = false;
    let bones = BoneRow::to_frame(&study.tables.bones)?.lazy().filter(col("area_px").gt(lit(0u64)));
    for subset in SUBSETS {
        let masked = study.masked(subset)?;
        if masked.height() == 0 {
            continue;
        }
        any = true;
        let bones = bones.clone().semi_join(masked.clone().lazy(), col("image_id"), col("image_id"));
        let areas = numbers_by(&bones.collect()?, "class", col("area_px"))?;
        let found: Vec<(Bone, Option<SampleSummary>)> =
            Bone::all().map(|b| (b, areas.get(&b.index()).and_then(|a| summary(a)))).collect();
        add_subset(&mut section, subset, masked.column("image_id")?.n_unique()?, &found);
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    Ok(section)
}

fn add_subset(section: &mut Section, subset: Subset, images: usize, found: &[(Bone, Option<SampleSummary>)]) {
    let present: Vec<(Bone, &SampleSummary)> = found.iter().filter_map(|(b, s)| Some((*b, s.as_ref()?))).collect();
    let by_median = |a: &&(Bone, &SampleSummary), b: &&(Bone, &SampleSummary)| a.1.median.total_cmp(&b.1.median);
    if let (Some(least), Some(most)) = (present.iter().min_by(by_median), present.iter().max_by(by_median)) {
        section.text(format!(
            "{}, n = {} images: median areas range from {} px ({}) to {} px ({}), a factor of {}.",
            capital(subset.name()),
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
            "Every image with masks has every class. A loss that is averaged over classes gives small classes more weight per \
             pixel.",
        );
    } else {
        section.absent(format!(
            "Classes that are missing in some images with masks (number of images): {}.",
            missing.join(", ")
        ));
    }
    let numbers: Map<String, serde_json::Value> = found.iter().map(|(b, s)| (b.name().to_owned(), json!(s))).collect();
    section.number(subset.name(), json!({"images": images, "area_px": numbers}));
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
        format!("Area in px, {subset}, in class order"),
        &["class", "n", "mean", "sd", "sd (% of mean)", "median", "quartiles"],
        rows,
    );
}

fn figure(subset: Subset, images: usize, present: &[(Bone, &SampleSummary)]) -> Figure {
    let rows = present
        .iter()
        .map(|(bone, s)| {
            let (name, colour) = group(bone.group());
            CategoryRow {
                label: bone.name().to_owned(),
                marks: vec![Mark::Box { name: name.to_owned(), colour, summary: (*s).clone() }],
                note: median(s.median),
            }
        })
        .collect();
    Figure {
        name: format!("class-areas-{subset}"),
        title: format!("Area of each bone, {subset} (n = {})", counted(images, "image", "images")),
        note: "Box: quartiles and median (number at the right, px); whiskers: 5th to 95th percentile.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::logarithmic("area (px, logarithmic)", present.iter().flat_map(|p| [p.1.q05, p.1.q95])),
            rows,
            reference: None,
        })],
    }
}

fn group(group: BoneGroup) -> (&'static str, Rgb) {
    match group {
        BoneGroup::Finger(0) => ("thumb", okabe_ito::ORANGE),
        BoneGroup::Finger(1) => ("index finger", okabe_ito::SKY),
        BoneGroup::Finger(2) => ("middle finger", okabe_ito::GREEN),
        BoneGroup::Finger(3) => ("ring finger", okabe_ito::YELLOW),
        BoneGroup::Finger(_) => ("little finger", okabe_ito::PURPLE),
        BoneGroup::Carpal => ("carpals", okabe_ito::VERMILION),
        BoneGroup::Forearm => ("forearm", okabe_ito::BLUE),
    }
}
