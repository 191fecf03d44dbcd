//! The patients' spreadsheet of the crops.

use std::path::Path;

use crate::artefact::write_atomically;
use crate::corrections::{Action, Entry};
use crate::dataset::layout;
use crate::dataset::{Problem, Severity};
use crate::tables::PatientRow;

/// Puts the spreadsheet beside the crops: the original's bytes, or, where corrections change a cell, a CSV of the corrected table.
///
/// `patients` have the corrections applied. Returns the file written last, none where the data have no spreadsheet.
pub fn write(
    data: &Path,
    out: &Path,
    patients: &[PatientRow],
    corrections: &[Entry],
) -> std::io::Result<(Option<String>, Vec<Problem>)> {
    let corrected = corrections.iter().any(|e| matches!(e.correction.action, Action::SetMetadata { .. }));
    let found = match layout::discover(data) {
        Ok(found) => found.metadata,
        Err(error) => {
            let problem = Problem::new(Severity::Error, "", error.to_string(), "no spreadsheet put beside the crops");
            return Ok((None, vec![problem]));
        }
    };
    let Some(original) = found else { return Ok((None, vec![])) };
    let copy = out.join(Path::new(&original).file_name().unwrap_or_default());
    let csv = out.join("meta_data.csv");
    let (written, stale) = if corrected { (&csv, &copy) } else { (&copy, &csv) };
    if corrected {
        write_atomically(written, |file| write_csv(file, patients))?;
    } else {
        let bytes = std::fs::read(data.join(&original))?;
        write_atomically(written, |file| std::io::Write::write_all(file, &bytes))?;
    }
    // Of two spreadsheets a reader would have to guess which one holds.
    if stale != written && stale.is_file() {
        std::fs::remove_file(stale)?;
    }
    Ok((Some(written.file_name().unwrap_or_default().to_string_lossy().into_owned()), vec![]))
}

fn write_csv(file: impl std::io::Write, patients: &[PatientRow]) -> std::io::Result<()> {
    let number = |v: Option<f64>| v.map(|v| v.to_string()).unwrap_or_default();
    let mut csv = csv::Writer::from_writer(file);
    csv.write_record(["ID", "age", "sex", "weight_kg", "height_cm", "note"])?;
    for patient in patients {
        csv.write_record([
            patient.patient_id.clone(),
            number(patient.age),
            patient.sex.clone().unwrap_or_default(),
            number(patient.weight_kg),
            number(patient.height_cm),
            patient.note.clone(),
        ])?;
    }
    csv.flush()
}
