use std::collections::BTreeMap;

use serde_json::json;

use crate::bones;
use crate::dataset::metadata::Sex;
use crate::report::study::SUBSETS;
use crate::report::wording::{count, counted, listed};
use crate::report::{Block, Section, Study, Tile};

/// What there is: patients, images, masks, and where the numbers come from.
pub(super) fn section(study: &Study<'_>) -> Section {
    let mut section = Section::new("overview", "Overview");
    let tables = study.tables;
    let tile = |label: &str, n: usize, note: String| Tile { label: label.into(), value: count(n), note };
    let with_images = |subset: &str| study.patients(subset).count();
    let images = |subset: &str| study.images(subset).count();
    let by_subset = |of: &dyn Fn(&str) -> usize| format!("{} train, {} test", count(of("train")), count(of("test")));
    let masks = tables.images.iter().filter(|i| i.mask_px.is_some_and(|px| px > 0)).count();
    section.blocks.push(Block::Tiles(vec![
        tile("patients with images", with_images("train") + with_images("test"), by_subset(&with_images)),
        tile("images", tables.images.len(), by_subset(&images)),
        tile("images with masks", masks, format!("{} measured", counted(tables.bones.len(), "bone", "bones"))),
        tile("remarks on the data", tables.problems.len(), "repairs and failures while reading".into()),
    ]));

    let mut rows = Vec::new();
    for subset in SUBSETS {
        let sex = |code: Option<&str>| study.patients(subset).filter(|p| p.sex.map(Sex::name) == code).count();
        let sources = tally(study.images(subset).map(|v| v.image.mask_source.name().to_owned()));
        let sizes = tally(study.images(subset).map(|v| format!("{} × {}", v.image.width, v.image.height)));
        let complete = study.images(subset).filter(|v| v.image.n_bones as usize == bones::COUNT).count();
        section.number(
            subset,
            json!({
                "patients": with_images(subset), "women": sex(Some("F")), "men": sex(Some("M")),
                "sex_unknown": with_images(subset) - sex(Some("F")) - sex(Some("M")),
                "images": images(subset), "images_with_all_bones": complete,
                "mask_sources": sources, "image_sizes": sizes,
            }),
        );
        rows.push(vec![
            subset.to_owned(),
            count(with_images(subset)),
            count(sex(Some("F"))),
            count(sex(Some("M"))),
            count(with_images(subset) - sex(Some("F")) - sex(Some("M"))),
            count(images(subset)),
            count(complete),
            said(&sources),
            said(&sizes),
        ]);
    }
    section.table(
        "Patients and images by subset",
        &["subset", "patients", "women", "men", "sex unknown", "images", "all 29 bones", "masks from", "pixels"],
        rows,
    );

    let unused = tables.patients.iter().filter(|p| p.n_images == 0).count();
    let no_row = tables.patients.iter().filter(|p| p.n_images > 0 && p.sheet_row.is_none()).count();
    if unused > 0 {
        let n = counted(unused, "patient of the spreadsheet has", "patients of the spreadsheet have");
        section.text(format!("{n} no image and count nowhere in what follows."));
    }
    if no_row > 0 {
        let n = counted(no_row, "patient with images has", "patients with images have");
        section.absent(format!("{n} no row in the spreadsheet: age, sex, height and weight are not known."));
    }
    for subset in SUBSETS.into_iter().filter(|s| images(s) == 0) {
        section.absent(format!("There are no {subset} images in the tables; comparisons with them are left out."));
    }
    let mut made_of = vec![
        counted(tables.patients.len(), "patient", "patients"),
        counted(tables.images.len(), "image", "images"),
        counted(tables.bones.len(), "bone", "bones"),
        counted(tables.problems.len(), "problem", "problems"),
    ];
    made_of.extend(study.folds.map(|f| counted(f.len(), "row of folds", "rows of folds")));
    made_of.extend(study.findings.map(|f| counted(f.len(), "finding", "findings")));
    section.text(format!("This report is made of the tables of a scan: {}.", listed(&made_of)));
    section.number("spreadsheet_patients_without_image", unused);
    section.number("patients_without_spreadsheet_row", no_row);
    section.number("problems", tables.problems.len());
    section.number("bones", tables.bones.len());
    section
}

fn tally(values: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    values.for_each(|v| *counts.entry(v).or_insert(0) += 1);
    counts
}

/// The commonest first; more than three are summed.
fn said(counts: &BTreeMap<String, usize>) -> String {
    let mut by_count: Vec<(&String, usize)> = counts.iter().map(|(k, n)| (k, *n)).collect();
    by_count.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    if let [(only, _)] = by_count[..] {
        return only.clone();
    }
    let mut parts: Vec<String> = by_count.iter().take(3).map(|(k, n)| format!("{k} ({})", count(*n))).collect();
    if by_count.len() > 3 {
        parts.push(format!("{} more", by_count.len() - 3));
    }
    parts.join(", ")
}
