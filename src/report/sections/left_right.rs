use std::collections::HashMap;

use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::bones::Bone;
use crate::dataset::Side;
use crate::features::Radii;
use crate::figures::style::NEUTRAL;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::wording::{count, counted, mean_sd, num, visible};
use crate::report::{Section, Study};
use crate::stats::{SampleSummary, summary};
use crate::tables::{BoneRow, TableRow, cells, texts, wholes};

/// Bones that a pair of hands must share to be listed among those that fit least.
const MIN_BONES: usize = 15;
/// Pairs of hands that are listed.
const LISTED: usize = 15;

/// Left hands compared with the right hands of the same patients.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("left_right", "Left hands compared with right hands");
    let pairs = paired_bones(study)?;
    let mut patients: Vec<&str> = pairs.iter().map(|p| p.patient_id.as_str()).collect();
    patients.sort_unstable();
    patients.dedup();
    section.number("patients", patients.len());
    if pairs.is_empty() {
        section.absent("No patient has masks of both hands with known sides.");
        return Ok(section);
    }
    let classes: Vec<ClassPair> = Bone::all().filter_map(|bone| ClassPair::of(bone, &pairs)).collect();
    section.number("classes", json!(classes));
    sentences(&mut section, &classes, patients.len());
    section.figure(figure(&classes, patients.len()));
    section.table(
        "By class: area of the left bone divided by that of the right one, and IoU of the outlines after mirroring and alignment",
        &["class", "patients", "area ratio", "median", "5 % to 95 %", "mirrored IoU", "median IoU", "5 % IoU"],
        classes.iter().map(ClassPair::cells).collect(),
    );
    least_alike(&mut section, &pairs);
    Ok(section)
}

/// A bone of both hands of a patient.
struct PairedBone {
    patient_id: String,
    bone: Bone,
    /// Area of the left bone divided by that of the right one.
    area_ratio: f64,
    mirrored_iou: Option<f64>,
}

/// Each bone that both hands of a patient have.
fn paired_bones(study: &Study<'_>) -> PolarsResult<Vec<PairedBone>> {
    let bones = BoneRow::to_frame(&study.tables.bones)?.lazy().filter(col("area_px").gt(lit(0u64)));
    let bones = bones.select([col("image_id"), col("class"), col("area_px").cast(DataType::Float64).alias("area")]);
    let hand = |side: Side, suffix: &str| {
        let hands = study.hands.clone().lazy().filter(crate::tables::is("side", side));
        let hands = hands.unique_stable_generic(Some(vec![col("patient_id")]), UniqueKeepStrategy::First);
        let hands = hands.select([col("image_id"), col("patient_id")]);
        let on = [col("image_id")];
        let joined = hands.join(bones.clone(), &on, &on, JoinArgs::new(JoinType::Inner));
        joined.select([
            col("patient_id"),
            col("class"),
            col("image_id").alias(format!("image_{suffix}")),
            col("area").alias(format!("area_{suffix}")),
        ])
    };
    let on = [col("patient_id"), col("class")];
    let pairs = hand(Side::L, "l").join(hand(Side::R, "r"), &on, &on, JoinArgs::new(JoinType::Inner));
    let pairs = pairs.sort(["patient_id", "class"], SortMultipleOptions::default()).collect()?;
    let shapes = shapes(study);
    let (patients, classes) = (texts(&pairs, "patient_id")?, wholes(&pairs, "class")?);
    let (left, right) = (texts(&pairs, "image_l")?, texts(&pairs, "image_r")?);
    let (area_l, area_r) = (cells::<f64>(&pairs, "area_l")?, cells::<f64>(&pairs, "area_r")?);
    let radii = |image: &Option<String>, class: usize| {
        let image = image.as_deref()?;
        shapes.get(&(image, class as u32)).copied()
    };
    let mut found = Vec::with_capacity(patients.len());
    for i in 0..patients.len() {
        let Some(bone) = Bone::all().nth(classes[i]) else { continue };
        let iou = radii(&left[i], classes[i]).zip(radii(&right[i], classes[i]));
        found.push(PairedBone {
            patient_id: patients[i].clone().unwrap_or_default(),
            bone,
            area_ratio: area_l[i] / area_r[i],
            mirrored_iou: iou.map(|(left, right)| left.mirrored().best_iou(&right)),
        });
    }
    Ok(found)
}

fn shapes<'a>(study: &'a Study<'_>) -> HashMap<(&'a str, u32), Radii> {
    let rows = study.tables.shapes.iter();
    rows.filter_map(|row| Some(((row.image_id.as_str(), row.class), Radii::from_text(&row.radii)?))).collect()
}

/// A class in all pairs of hands.
#[derive(Serialize)]
struct ClassPair {
    class: &'static str,
    area_ratio: SampleSummary,
    mirrored_iou: Option<SampleSummary>,
}

impl ClassPair {
    fn of(bone: Bone, pairs: &[PairedBone]) -> Option<ClassPair> {
        let of_bone = || pairs.iter().filter(|pair| pair.bone == bone);
        let ratios: Vec<f64> = of_bone().map(|pair| pair.area_ratio).collect();
        let ious: Vec<f64> = of_bone().filter_map(|pair| pair.mirrored_iou).collect();
        Some(ClassPair { class: bone.name(), area_ratio: summary(&ratios)?, mirrored_iou: summary(&ious) })
    }

    fn cells(&self) -> Vec<String> {
        let (ratio, iou) = (&self.area_ratio, self.mirrored_iou.as_ref());
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        vec![
            self.class.to_owned(),
            count(ratio.n),
            mean_sd(ratio, 3),
            num(ratio.median, 3),
            format!("{}–{}", num(ratio.q05, 2), num(ratio.q95, 2)),
            or_dash(iou.map(|s| mean_sd(s, 3))),
            or_dash(iou.map(|s| num(s.median, 3))),
            or_dash(iou.map(|s| num(s.q05, 3))),
        ]
    }
}

fn sentences(section: &mut Section, classes: &[ClassPair], patients: usize) {
    let far = |c: &&ClassPair| (c.area_ratio.median.ln()).abs();
    if let Some(most) = classes.iter().max_by(|a, b| far(a).total_cmp(&far(b))) {
        section.text(format!(
            "{} have masks of both hands. The median area of a left bone differs most from that of the right one for {}: ratio {}.",
            counted(patients, "patient", "patients"),
            most.class,
            num(most.area_ratio.median, 3),
        ));
    }
    let ious: Vec<(&ClassPair, f64)> =
        classes.iter().filter_map(|c| Some((c, c.mirrored_iou.as_ref()?.median))).collect();
    let by_iou = |a: &&(&ClassPair, f64), b: &&(&ClassPair, f64)| a.1.total_cmp(&b.1);
    match (ious.iter().min_by(by_iou), ious.iter().max_by(by_iou)) {
        (Some(least), Some(most)) => section.text(format!(
            "After mirroring and alignment (centroid and rotation), the outlines of left and right bones agree least for {} (median \
             IoU {}) and most for {} ({}). Outlines are compared as 32 radii from the centroid.",
            least.0.class,
            num(least.1, 3),
            most.0.class,
            num(most.1, 3),
        )),
        _ => section.absent(
            "The tables have no outlines, so shapes are not compared; `carpus scan` adds them.",
        ),
    }
    section.meaning(
        "A patient's two hands are nearly mirror images: a bone whose size or shape differs much between them is a sign of a wrong \
         outline or a swapped label.",
    );
}

fn figure(classes: &[ClassPair], patients: usize) -> Figure {
    let rows = |values: &dyn Fn(&ClassPair) -> Option<SampleSummary>, decimals: usize| -> Vec<CategoryRow> {
        let row = |c: &ClassPair| {
            let summary = values(c)?;
            let note = num(summary.median, decimals);
            let marks = vec![Mark::Box { name: String::new(), colour: NEUTRAL, summary }];
            Some(CategoryRow { label: c.class.to_owned(), marks, note })
        };
        classes.iter().filter_map(row).collect()
    };
    let ends = |rows: &[CategoryRow]| -> Vec<f64> {
        let mark = |row: &CategoryRow| match &row.marks[0] {
            Mark::Box { summary, .. } => [summary.q05, summary.q95],
            Mark::Violin { values, .. } => [
                values.iter().copied().fold(f64::INFINITY, f64::min),
                values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            ],
            Mark::Bar { value, .. } | Mark::Dot { value, .. } => [*value; 2],
        };
        rows.iter().flat_map(mark).collect()
    };
    let ratio = rows(&|c| Some(c.area_ratio.clone()), 2);
    let iou = rows(&|c| c.mirrored_iou.clone(), 3);
    let mut charts = vec![Chart::Rows(Rows {
        title: "Area, left : right".into(),
        axis: Axis::logarithmic("ratio (logarithmic)", ends(&ratio)),
        rows: ratio,
        reference: Some(("equal (1)".into(), 1.0)),
    })];
    if !iou.is_empty() {
        charts.push(Chart::Rows(Rows {
            title: "IoU of mirrored outlines".into(),
            axis: Axis::linear("IoU", ends(&iou)),
            rows: iou,
            reference: None,
        }));
    }
    Figure {
        name: "left-right".into(),
        title: format!("Left bones compared with right bones (n = {})", counted(patients, "patient", "patients")),
        note: "Box: quartiles and median (number at the right); whiskers: 5th to 95th percentile.".into(),
        columns: 2,
        charts,
    }
}

/// The patients whose hands are least alike.
fn least_alike(section: &mut Section, pairs: &[PairedBone]) {
    let mut found: Vec<(&str, f64, &PairedBone, usize)> = Vec::new();
    for of_patient in pairs.chunk_by(|a, b| a.patient_id == b.patient_id) {
        let ious: Vec<f64> = of_patient.iter().filter_map(|pair| pair.mirrored_iou).collect();
        let worst = of_patient.iter().filter(|pair| pair.mirrored_iou.is_some());
        let worst = worst.min_by(|a, b| a.mirrored_iou.unwrap_or(1.0).total_cmp(&b.mirrored_iou.unwrap_or(1.0)));
        if let (Some(worst), true) = (worst, ious.len() >= MIN_BONES) {
            found.push((&of_patient[0].patient_id, ious.iter().sum::<f64>() / ious.len() as f64, worst, ious.len()));
        }
    }
    found.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(b.0)));
    if found.is_empty() {
        return;
    }
    let row = |(patient, mean, worst, n): &(&str, f64, &PairedBone, usize)| {
        let iou = worst.mirrored_iou.unwrap_or_default();
        vec![visible(patient), count(*n), num(*mean, 3), worst.bone.name().to_owned(), num(iou, 3)]
    };
    let shown = found.len().min(LISTED);
    section.table(
        format!("{} of {}, least alike first", count(shown), counted(found.len(), "pair of hands", "pairs of hands")),
        &["patient", "bones", "mean mirrored IoU", "least alike bone", "its IoU"],
        found[..shown].iter().map(row).collect(),
    );
}
