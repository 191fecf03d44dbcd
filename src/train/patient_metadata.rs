use std::collections::HashMap;

use crate::dataset::Dataset;
use crate::dataset::metadata::{MetadataError, Patient, Sex};

/// Metadata of each patient, as input of a model that is conditioned on it: age in years, sex (0 female, 1 male),
/// height in cm, weight in kg; NaN where a value is not known.
#[derive(Clone, Debug, Default)]
pub struct PatientMetadata(HashMap<String, [f32; 4]>);

impl PatientMetadata {
    /// The metadata of rows of the spreadsheet.
    pub fn of(patients: &[Patient]) -> PatientMetadata {
        let values = |p: &Patient| {
            let sex = p.sex.map(|s| match s {
                Sex::F => 0.0,
                Sex::M => 1.0,
            });
            [p.age, sex, p.height_cm, p.weight_kg].map(|v| v.map_or(f32::NAN, |v| v as f32))
        };
        PatientMetadata(patients.iter().map(|p| (p.patient_id.clone(), values(p))).collect())
    }

    /// Reads the metadata from the spreadsheet of the data; empty if there is no spreadsheet.
    ///
    /// # Errors
    /// The spreadsheet cannot be read.
    pub fn read(dataset: &Dataset) -> Result<PatientMetadata, MetadataError> {
        Ok(PatientMetadata::of(&dataset.patients()?.content))
    }

    /// The metadata of the patient `id`: age, sex, height, weight; all NaN for an unknown patient.
    pub fn patient(&self, id: &str) -> [f32; 4] {
        self.0.get(id).copied().unwrap_or([f32::NAN; 4])
    }
}
