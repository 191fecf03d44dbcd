//! Tables of 400 + 144 made-up patients with the published figures: counts exactly, correlations nearly.

use carpus::audit::{Check, FindingRow};
use carpus::bones::Bone;
use carpus::dataset::metadata::Sex;
use carpus::dataset::{MaskSource, ProblemSeverity, Side, Subset};
use carpus::tables::{BoneRow, FoldRow, ImageRow, PatientRow, ProblemRow, Tables};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Mean class areas of real hands, px.
const AREAS: [f64; 29] = [
    8274., 16932., 27624., 5325., 10290., 22352., 36736., 6161., 13026., 25003., 33223., 6029., 11556., 21065., 24958.,
    4237., 6723., 14789., 25168., 10238., 6315., 16472., 11615., 11875., 8664., 7622., 4863., 82318., 44751.,
];

/// One subset's patients: its name, patients, men, patients whose two hands are rotated, first number.
const SUBSETS: [(Subset, usize, usize, usize, usize); 2] =
    [(Subset::Train, 400, 182, 47, 1), (Subset::Test, 144, 76, 83, 401)];

pub fn tables(seed: u64) -> Tables {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tables = Tables { rotated_deg: Some(33.0), ..Tables::default() };
    for (subset, patients, men, rotated, first) in SUBSETS {
        for i in 0..patients {
            let man = i < men;
            let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
            let tall = normal();
            let height = if man { 173.0 } else { 161.0 } + 5.0 * tall;
            let z_height = (height - 166.5) / 7.8;
            let z_weight = 0.72 * z_height + 0.69 * normal();
            let weight = 63.0 + 11.0 * z_weight;
            let z_age = normal();
            let size = 0.70 * z_height + 0.18 * z_weight + 0.11 * z_age + 0.50 * normal();
            let id = format!("{:03}", first + i);
            let turned = (i * 37 + 11) % patients < rotated;
            for side in [Side::R, Side::L] {
                let outward = if side == Side::R { 1.0 } else { -1.0 };
                let lean = if turned { 46.2 + 4.0 * normal() } else { 15.7 + 2.5 * normal() };
                let lean = if turned { lean.max(33.5) } else { lean.clamp(5.0, 32.0) };
                let scale = 1.0 + 0.11 * (size + 0.3 * normal());
                let image_id = format!("image16611{}{}", first + i, if side == Side::R { 28152 } else { 44206 });
                image(&mut tables, subset, &id, &image_id, side, outward * lean, scale, &mut normal);
            }
            tables.patients.push(PatientRow {
                patient_id: id,
                sex: Some(if man { Sex::M } else { Sex::F }),
                sex_raw: if man { "\u{8}남" } else { "\u{8}여" }.into(),
                age: Some((44.0 + 11.0 * z_age).round().clamp(19.0, 69.0)),
                height_cm: Some(height.round()),
                weight_kg: Some(weight.round()),
                note: if i == 7 { "네일있음".into() } else { String::new() },
                subset: Some(subset),
                n_images: 2,
                sheet_row: Some((first + i) as u32 + 1),
                ..PatientRow::default()
            });
        }
    }
    for unused in 545..=550 {
        tables.patients.push(PatientRow { patient_id: format!("{unused}"), ..PatientRow::default() });
    }
    problems(&mut tables, &mut rng);
    tables
}

#[allow(clippy::too_many_arguments)]
fn image(
    tables: &mut Tables,
    subset: Subset,
    patient: &str,
    image_id: &str,
    side: Side,
    angle: f64,
    scale: f64,
    normal: &mut dyn FnMut() -> f64,
) {
    let mut total = 0;
    for (bone, mean) in Bone::all().zip(AREAS) {
        let area = (mean * scale * (1.0 + 0.05 * normal())).max(1.0) as u64;
        total += area;
        tables.bones.push(BoneRow {
            image_id: image_id.into(),
            label: bone.name().into(),
            class: bone.index() as u32,
            area_px: area,
            n_parts: 1,
            n_shapes: 1,
            ..BoneRow::default()
        });
    }
    tables.images.push(ImageRow {
        image_id: image_id.into(),
        patient_id: patient.into(),
        subset,
        side: Some(side),
        path: format!("{subset}/DCM/ID{patient}/{image_id}.png"),
        mask_source: if subset == Subset::Train { MaskSource::Annotation } else { MaskSource::Prediction },
        width: 2048,
        height: 2048,
        bits: 8,
        angle_deg: Some(angle),
        rotated: Some(angle.abs() >= 33.0),
        mask_px: Some(total),
        n_bones: 29,
        usable: true,
        ..ImageRow::default()
    });
}

fn problems(tables: &mut Tables, rng: &mut ChaCha8Rng) {
    for row in 2..120u32 {
        tables.problems.push(ProblemRow {
            file: "meta_data.xlsx".into(),
            place: format!("ID!C{row}"),
            patient_id: Some(format!("{:03}", row - 1)),
            raw: if rng.random_bool(0.5) { "_x0008_여" } else { "\u{8}남" }.into(),
            reason: "a backspace character before the sex".into(),
            action: "read without it".into(),
            severity: ProblemSeverity::Info,
            ..ProblemRow::default()
        });
    }
    let more = [
        (
            ProblemSeverity::Warning,
            "train/outputs_json/ID007/image1.json",
            "metadata.width",
            "3060",
            "the stated width is not the image's 2048",
        ),
        (ProblemSeverity::Error, "train/DCM/ID009/image2.png", "", "", "the file ends in the middle of the image data"),
        (ProblemSeverity::Warning, "meta_data.xlsx", "ID!F8", "네일있음", "a value in a column without a name"),
    ];
    for (severity, file, place, raw, reason) in more {
        tables.problems.push(ProblemRow {
            file: file.into(),
            place: place.into(),
            raw: raw.into(),
            reason: reason.into(),
            action: "kept as a note".into(),
            severity,
            ..ProblemRow::default()
        });
    }
}

/// Five folds by patient over the training images.
pub fn folds(tables: &Tables) -> Vec<FoldRow> {
    let train = tables.images.iter().filter(|i| i.subset == Subset::Train);
    train
        .map(|image| {
            let patient = tables.patient(&image.patient_id).expect("every image has its patient");
            let number: u32 = image.patient_id.parse().expect("patients are numbered");
            FoldRow {
                image_id: image.image_id.clone(),
                patient_id: image.patient_id.clone(),
                stratum: format!("{}|{}", patient.sex.map_or("", Sex::name), image.rotated == Some(true)),
                fold: number % 5,
            }
        })
        .collect()
}

/// Findings of several checks; the first `with_picture` name a picture.
pub fn findings(tables: &Tables, n: usize, with_picture: usize) -> Vec<FindingRow> {
    let kinds = [
        ("swapped_labels", "high", "Pisiform and Trapezoid look swapped", "swap the two labels", "Pisiform"),
        ("bright_pixels", "medium", "12,400 px at 240 or more: a ring?", "look at the image", ""),
        ("border_strip", "low", "a white strip of 78 px at the top", "cut it off", ""),
    ];
    (0..n)
        .map(|i| {
            let (check, severity, message, suggestion, label) = kinds[i * kinds.len() / n.max(1)];
            let image = &tables.images[i % tables.images.len()];
            FindingRow {
                image_id: image.image_id.clone(),
                patient_id: image.patient_id.clone(),
                label: label.into(),
                check: Check::from_name(check).unwrap(),
                score: 5.0 - 3.0 * i as f64 / n as f64,
                severity: severity.parse().unwrap(),
                message: message.into(),
                suggestion: suggestion.into(),
                relabel: String::new(),
                evidence: if i < with_picture { format!("evidence/{i}.png") } else { String::new() },
            }
        })
        .collect()
}
