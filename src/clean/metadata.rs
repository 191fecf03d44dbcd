//! The patients' spreadsheet of the crops.

use std::path::Path;

use crate::artefact::write_atomically;
use crate::dataset::Dataset;
use crate::dataset::corrections::Action;
use crate::dataset::metadata::Sex;
use crate::tables::PatientRow;

/// Writes the spreadsheet next to the crops: a copy of the original or, if corrections change a cell, a CSV of the
/// corrected table.
///
/// `patients` are the corrected rows. Returns the name of the file; `None` if the data has no spreadsheet.
///
/// # Errors
/// The spreadsheet cannot be read or written.
pub fn write(dataset: &Dataset, out: &Path, patients: &[PatientRow]) -> std::io::Result<Option<String>> {
    let corrected = dataset.corrections().decisions().any(|d| matches!(d.action, Action::SetMetadata { .. }));
    let original = match (dataset.metadata(), corrected) {
        (Some(original), _) => original,
        (None, true) => "meta_data.csv",
        (None, false) => return Ok(None),
    };
    let copy = out.join(Path::new(original).file_name().unwrap_or_default());
    let csv = out.join("meta_data.csv");
    let (written, stale) = if corrected { (&csv, &copy) } else { (&copy, &csv) };
    if corrected {
        write_atomically(written, |file| write_csv(file, patients))?;
    } else {
        let bytes = dataset.metadata_bytes()?.unwrap_or_default();
        write_atomically(written, |file| std::io::Write::write_all(file, &bytes))?;
    }
    // With two spreadsheets a reader could not know which one is right.
    if stale != written && stale.is_file() {
        std::fs::remove_file(stale)?;
    }
    Ok(Some(written.file_name().unwrap_or_default().to_string_lossy().into_owned()))
}

fn write_csv(file: impl std::io::Write, patients: &[PatientRow]) -> std::io::Result<()> {
    let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(["ID", "age", "sex", "weight_kg", "height_cm", "note"])?;
    for patient in patients {
        csv.write_record([
            patient.patient_id.clone(),
            number(patient.age),
            patient.sex.map_or("", Sex::name).to_owned(),
            number(patient.weight_kg),
            number(patient.height_cm),
            patient.note.clone(),
        ])?;
    }
    csv.flush()
}
