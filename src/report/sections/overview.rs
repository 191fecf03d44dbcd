use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::json;

use crate::bones;
use crate::dataset::metadata::Sex;
use crate::report::study::{SUBSETS, has_masks};
use crate::report::wording::{count, counted, listed, visible};
use crate::report::{Content, Section, Study, Tile};
use crate::tables::{counts, filtered, is, tally, texts};

/// Numbers of patients, images and masks, and the tables they come from.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("overview", "Overview");
    let tables = study.tables;
    let tile = |label: &str, n: usize, note: String| Tile { label: label.into(), value: count(n), note };
    let by_subset = |[train, test]: [usize; 2]| format!("{} train, {} test", count(train), count(test));
    let of_subset = SUBSETS.map(|subset| is("subset", subset));
    let [with_images, images] = [counts(&study.patients, of_subset.clone())?, counts(&study.hands, of_subset)?];
    let [masks] = counts(&study.hands, [has_masks()])?;
    section.blocks.push(Content::Tiles(vec![
        tile("patients with images", with_images.iter().sum(), by_subset(with_images)),
        tile("images", tables.images.len(), by_subset(images)),
        tile("images with masks", masks, format!("{} measured", counted(tables.bones.len(), "bone", "bones"))),
        tile("data problems", tables.problems.len(), "errors, warnings and repairs while reading".into()),
    ]));

    let mut rows = Vec::new();
    for subset in SUBSETS {
        let (patients, hands) = (study.patients(subset)?, study.hands(subset)?);
        let [women, men] = counts(&patients, [is("sex", Sex::F), is("sex", Sex::M)])?;
        let unknown = patients.height() - women - men;
        let sources = tally(&hands, col("mask_source").cast(DataType::String))?;
        let side = |name| col(name).cast(DataType::String);
        let sizes = tally(&hands, side("width") + lit(" × ") + side("height"))?;
        let [complete] = counts(&hands, [col("n_bones").eq(lit(bones::COUNT as u32))])?;
        section.number(
            subset.name(),
            json!({
                "patients": patients.height(), "women": women, "men": men, "sex_unknown": unknown,
                "images": hands.height(), "images_with_all_bones": complete,
                "mask_sources": sources.iter().cloned().collect::<BTreeMap<_, _>>(),
                "image_sizes": sizes.iter().cloned().collect::<BTreeMap<_, _>>(),
            }),
        );
        rows.push(vec![
            subset.to_string(),
            count(patients.height()),
            count(women),
            count(men),
            count(unknown),
            count(hands.height()),
            count(complete),
            most_common(&sources),
            most_common(&sizes),
        ]);
    }
    section.table(
        "Patients and images by subset",
        &[
            "subset",
            "patients",
            "women",
            "men",
            "sex unknown",
            "images",
            "images with all 29 bones",
            "source of masks",
            "size in pixels",
        ],
        rows,
    );

    let has_images = col("n_images").gt(lit(0u32));
    let [unused, no_row] =
        counts(&study.patients, [has_images.clone().not(), has_images.and(col("sheet_row").is_null())])?;
    if unused > 0 {
        let n = counted(unused, "patient of the spreadsheet has", "patients of the spreadsheet have");
        section.text(format!("{n} no image; the numbers below do not include them."));
    }
    if no_row > 0 {
        let n = counted(no_row, "patient with images has", "patients with images have");
        section.absent(format!("{n} no row in the spreadsheet: age, sex, height and weight are unknown."));
    }
    for (subset, _) in SUBSETS.into_iter().zip(images).filter(|(_, n)| *n == 0) {
        section.absent(format!("There are no {subset} images in the tables, so there are no comparisons with them."));
    }
    unused_images(&mut section, study)?;
    let mut inputs = vec![
        counted(tables.patients.len(), "patient", "patients"),
        counted(tables.images.len(), "image", "images"),
        counted(tables.bones.len(), "bone", "bones"),
        counted(tables.problems.len(), "problem", "problems"),
    ];
    inputs.extend(study.folds.map(|f| counted(f.len(), "row of the folds file", "rows of the folds file")));
    inputs.extend(study.findings.map(|f| counted(f.len(), "finding", "findings")));
    section.text(format!("Data of this report: {}.", listed(&inputs)));
    section.number("spreadsheet_patients_without_image", unused);
    section.number("patients_without_spreadsheet_row", no_row);
    section.number("problems", tables.problems.len());
    section.number("bones", tables.bones.len());
    Ok(section)
}

/// Lists the images that cannot be used or that corrections exclude, with the reasons.
fn unused_images(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let images = filtered(&study.hands, col("usable").not())?;
    let column = |name| texts(&images, name).map(|texts| texts.into_iter().map(Option::unwrap_or_default));
    let found: Vec<[String; 3]> = column("image_id")?
        .zip(column("subset")?)
        .zip(column("unusable_reason")?)
        .map(|((image, subset), reason)| [image, subset, reason])
        .collect();
    section.number("images_not_used", found.len());
    if found.is_empty() {
        return Ok(());
    }
    let n = counted(
        found.len(),
        "image cannot be used or is excluded, and gets",
        "images cannot be used or are excluded, and get",
    );
    section.absent(format!("{n} no fold. Their measurements, if any, are still included in the numbers below."));
    let shown = study.settings.rows_shown.min(found.len());
    section.table(
        format!("{} of {} without a fold", count(shown), counted(found.len(), "image", "images")),
        &["image", "subset", "reason"],
        found[..shown].iter().map(|cells| cells.iter().map(|text| visible(text)).collect()).collect(),
    );
    Ok(())
}

/// The three most common values with their counts, and the number of other values.
fn most_common(counts: &[(String, usize)]) -> String {
    if let [(only, _)] = counts {
        return only.clone();
    }
    let mut parts: Vec<String> = counts.iter().take(3).map(|(k, n)| format!("{k} ({})", count(*n))).collect();
    if counts.len() > 3 {
        parts.push(format!("{} more", counts.len() - 3));
    }
    parts.join(", ")
}
