//! Reports metadata of patients with images that are missing, out of range, or corrected by a guess during reading.
//!
//! Why it matters: models that use metadata, the stratification of folds and the report's statistics rely on them.
//!
//! Example: patient 017 has a height of 62 cm and a weight of 171 kg, so the two columns are probably swapped.

use polars::prelude::*;

use super::context::{AuditContext, indices};
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::dataset;
use crate::tables::{ColumnValue, PatientRow, ProblemRow, TableRow, filtered, is};

/// Expected ranges, lower and upper limit: wide enough for every patient, narrow enough to detect a height in the
/// weight column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetadataThresholds {
    /// Years.
    pub age: (f64, f64),
    /// Centimetres.
    pub height_cm: (f64, f64),
    /// Kilograms.
    pub weight_kg: (f64, f64),
    /// Body mass index, kg/m²: detects swapped columns whose values are in range.
    pub body_mass_index: (f64, f64),
}

impl Default for MetadataThresholds {
    fn default() -> Self {
        MetadataThresholds {
            age: (1.0, 105.0),
            height_cm: (120.0, 215.0),
            weight_kg: (30.0, 200.0),
            body_mass_index: (13.0, 55.0),
        }
    }
}

const MISSING: f64 = 1.4;
const OUT_OF_RANGE: f64 = 1.8;

pub(super) const CHECK: Check = Check {
    name: "metadata",
    about: "age, height, weight or sex out of range, missing or guessed",
    ceiling: Severity::Medium,
    evidence: EvidenceKind::Image,
    faults: &[
        ("metadata_out_of_range", Detection::AnyBone),
        ("metadata_absent", Detection::AnyBone),
        ("metadata_row_missing", Detection::AnyBone),
        ("metadata_swapped_height_weight", Detection::AnyBone),
    ],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    // Doubts during reading, per patient. A correction that affects two cells is reported once.
    let (key, of_patient) = ([col("patient_id")], col("image_id").is_null().and(col("patient_id").is_not_null()));
    let in_doubt = of_patient.and(is("severity", dataset::ProblemSeverity::Info).not());
    let doubts = ProblemRow::to_frame(&context.tables.problems)?.lazy().filter(in_doubt);
    let doubts = doubts.group_by(&key).agg([col("reason").unique_stable().alias("doubts")]);
    let patients = context.hands.clone().lazy().unique_stable_generic(Some(key.to_vec()), UniqueKeepStrategy::First);
    let patients = patients.join(doubts, &key, &key, JoinArgs::new(JoinType::Left)).collect()?;

    let mut findings = Vec::new();
    // Data sets without any metadata are allowed and not reported.
    if context.tables.patients.iter().any(|p| p.sheet_row.is_some()) {
        let without = filtered(&patients, col("sheet_row").is_null())?;
        for image in indices(without.column("image")?)? {
            let message = format!("patient {} has no row in the metadata", context.image(image).patient_id);
            findings.push(Finding::of_image(&CHECK, image, MISSING, message, "add the row to the metadata"));
        }
    }
    let patients = filtered(&patients, col("sheet_row").is_not_null())?;
    let rows = indices(patients.column("image")?)?.into_iter().zip(PatientRow::from_frame(&patients)?);
    for ((image, patient), doubts) in rows.zip(patients.column("doubts")?.list()?.series_iter()) {
        let whose = format!("patient {} (row {})", patient.patient_id, patient.sheet_row.unwrap_or_default());
        let missing = missing(&patient);
        if !missing.is_empty() {
            let message = format!("{whose} has no {}", missing.join(", "));
            let suggestion = "add the missing values, or leave the patient out of analyses that need them";
            findings.push(Finding::of_image(&CHECK, image, MISSING, message, suggestion));
        }
        let mut faults = out_of_range(&patient, &context.settings.metadata);
        if let Some(doubts) = doubts {
            faults.extend(String::values(&doubts.into_column())?);
        }
        if !faults.is_empty() {
            let message = format!("{whose}: {}", faults.join("; "));
            let suggestion = "check the values: are columns swapped, is there a typing error, or another unit?";
            findings.push(Finding::of_image(&CHECK, image, OUT_OF_RANGE, message, suggestion));
        }
    }
    Ok(findings)
}

fn missing(p: &PatientRow) -> Vec<&'static str> {
    [
        ("sex", p.sex.is_none()),
        ("age", p.age.is_none()),
        ("height", p.height_cm.is_none()),
        ("weight", p.weight_kg.is_none()),
    ]
    .into_iter()
    .filter_map(|(name, is_missing)| is_missing.then_some(name))
    .collect()
}

fn out_of_range(p: &PatientRow, thresholds: &MetadataThresholds) -> Vec<String> {
    let index = p.height_cm.zip(p.weight_kg).map(|(h, w)| w / (h / 100.0).powi(2));
    let mut faults = Vec::new();
    let mut test = |name: &str, unit: &str, value: Option<f64>, (least, most): (f64, f64)| {
        if let Some(value) = value.filter(|v| !(least..=most).contains(v)) {
            faults.push(format!("{name} {value:.0}{unit} is outside the range {least:.0} to {most:.0}"));
        }
    };
    test("age", "", p.age, thresholds.age);
    test("height", " cm", p.height_cm, thresholds.height_cm);
    test("weight", " kg", p.weight_kg, thresholds.weight_kg);
    if faults.is_empty() {
        let mut test = |value: Option<f64>, (least, most): (f64, f64)| {
            if let Some(value) = value.filter(|v| !(least..=most).contains(v)) {
                faults.push(format!(
                    "height and weight give a body mass index of {value:.1}, outside the range {least:.0} to {most:.0}"
                ));
            }
        };
        test(index, thresholds.body_mass_index);
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Population, found};
    use super::*;

    #[test]
    fn missing_and_impossible_metadata_are_found() {
        let mut population = Population::new(6, 101);
        population.tables.patients[1].height_cm = None;
        population.tables.patients[2].age = Some(230.0);
        // Swapped: a height of 62 and a weight of 171.
        (population.tables.patients[3].height_cm, population.tables.patients[3].weight_kg) = (Some(62.0), Some(171.0));
        population.tables.patients[4].sheet_row = None;
        (population.tables.patients[5].height_cm, population.tables.patients[5].weight_kg) = (Some(190.0), Some(42.0));
        let at: Vec<usize> = found(&population, &CHECK).iter().map(|f| f.0).collect();
        assert_eq!(at, vec![2, 4, 6, 8, 10]);
    }

    #[test]
    fn a_guess_during_reading_is_reported_once() {
        let mut population = Population::new(3, 103);
        let problem = |severity, place: &str| crate::tables::ProblemRow {
            patient_id: Some("002".into()),
            place: place.into(),
            reason: "height (62) and weight (171) look swapped".into(),
            severity,
            ..Default::default()
        };
        population.tables.problems =
            vec![problem(dataset::ProblemSeverity::Warning, "D3"), problem(dataset::ProblemSeverity::Warning, "E3")];
        assert_eq!(found(&population, &CHECK), vec![(2, String::new())]);
        population.tables.problems = vec![problem(dataset::ProblemSeverity::Info, "D3")];
        assert!(found(&population, &CHECK).is_empty());
    }

    #[test]
    fn data_without_any_metadata_are_not_reported() {
        let mut population = Population::new(3, 102);
        population
            .tables
            .patients
            .iter_mut()
            .for_each(|p| *p = PatientRow { patient_id: p.patient_id.clone(), ..PatientRow::default() });
        assert!(found(&population, &CHECK).is_empty());
    }
}
