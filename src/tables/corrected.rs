use std::collections::{HashMap, HashSet};

use super::{ImageRow, PatientRow, Tables};
use crate::dataset::corrections::{Action, CorrectableField, Corrections, Target};
use crate::dataset::metadata::Sex;
use crate::dataset::{Problem, image_id};

impl Tables {
    /// Applies corrections; see [`correct`].
    pub fn correct(&mut self, corrections: &Corrections) -> Vec<Problem> {
        correct(&mut self.images, &mut self.patients, corrections)
    }
}

/// Sets the sides and metadata of the corrections. A correction of an image or patient that the tables do not have is returned as
/// a problem. Excluded rows are not removed: see [`Corrections::excludes`].
pub fn correct(images: &mut [ImageRow], patients: &mut [PatientRow], corrections: &Corrections) -> Vec<Problem> {
    if corrections.is_empty() {
        return Vec::new();
    }
    let image_at: HashMap<String, usize> =
        images.iter().enumerate().map(|(at, row)| (image_id(&row.image_id), at)).collect();
    let patient_at: HashMap<String, usize> =
        patients.iter().enumerate().map(|(at, row)| (row.patient_id.clone(), at)).collect();
    let with_images: HashSet<String> = images.iter().map(|row| row.patient_id.clone()).collect();
    let mut problems = Vec::new();
    for decision in corrections.decisions() {
        let absent =
            |what, id| Some(corrections.problem(decision, format!("unknown {what} {id}: it is not in the tables")));
        problems.extend(match (&decision.target, &decision.action) {
            (Target::Image(id), action) => match (image_at.get(id), action) {
                (None, _) => absent("image", id),
                (Some(at), Action::SetSide { side }) => {
                    images[*at].side = Some(*side);
                    None
                }
                (Some(_), _) => None,
            },
            (Target::Patient(id), action) => match (patient_at.get(id), action) {
                (Some(at), Action::SetMetadata { field, value }) => {
                    set_field(&mut patients[*at], *field, value);
                    None
                }
                (None, Action::Exclude {}) if with_images.contains(id) => None,
                (None, _) => absent("patient", id),
                (Some(_), _) => None,
            },
        });
    }
    problems
}

fn set_field(row: &mut PatientRow, field: CorrectableField, value: &serde_json::Value) {
    let text = value.as_str().map(str::to_owned);
    match field {
        CorrectableField::Sex => row.sex = text.as_deref().and_then(Sex::from_name),
        CorrectableField::Age => row.age = value.as_f64(),
        CorrectableField::HeightCm => row.height_cm = value.as_f64(),
        CorrectableField::WeightKg => row.weight_kg = value.as_f64(),
        CorrectableField::Note => row.note = text.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Side;

    #[test]
    fn corrections_set_sides_and_metadata() {
        let line = |target: &str, action: &str| {
            format!(r#"{{"version":2,{target},"action":{action},"reason":"","author":"kim","time":"2026-03-01"}}"#)
        };
        let lines = [
            line(r#""patient_id":"1""#, r#"{"do":"set-metadata","field":"age","value":30}"#),
            line(r#""patient_id":"ID001""#, r#"{"do":"set-metadata","field":"sex","value":"F"}"#),
            line(r#""image_id":"a.png""#, r#"{"do":"set-side","side":"R"}"#),
            line(r#""image_id":"typo""#, r#"{"do":"exclude"}"#),
            line(r#""patient_id":"9""#, r#"{"do":"exclude"}"#),
            line(r#""patient_id":"2""#, r#"{"do":"exclude"}"#),
            line(r#""patient_id":"2""#, r#"{"do":"set-metadata","field":"age","value":null}"#),
        ];
        let corrections = Corrections::parse("c.jsonl", lines.join("\n").as_bytes());
        assert_eq!(corrections.problems(), []);
        let image = |id: &str, patient: &str| ImageRow {
            image_id: id.into(),
            patient_id: patient.into(),
            ..ImageRow::default()
        };
        let patient = PatientRow { patient_id: "001".into(), age: Some(300.0), ..PatientRow::default() };
        let mut tables =
            Tables { images: vec![image("a", "001"), image("b", "002")], patients: vec![patient], ..Tables::default() };
        let problems = tables.correct(&corrections);
        assert_eq!((tables.patients[0].age, tables.patients[0].sex), (Some(30.0), Some(Sex::F)));
        assert_eq!(tables.images[0].side, Some(Side::R));
        let places: Vec<&str> = problems.iter().map(|p| p.place.as_str()).collect();
        // Patient 2 has an image but no row: it can be excluded, but no metadata can be set.
        assert_eq!(places, ["line 4", "line 5", "line 7"], "{problems:?}");
    }
}
