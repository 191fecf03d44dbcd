//! A patient must be in one fold only: two hands of a person are nearly mirror images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::SplitError;
use crate::tables::{FoldRow, ImageRow};

/// Refuses folds that hold a patient or an image twice.
///
/// The patient is that of the images table, which knows better than a fold table edited by hand; an image that the table
/// does not have counts for the patient its fold row names. A row whose patient disagrees with the images table is
/// an error as well.
pub fn check_leakage(folds: &[FoldRow], images: &[ImageRow]) -> Result<(), SplitError> {
    let patient_of: HashMap<&str, &str> = images.iter().map(|i| (i.image_id.as_str(), i.patient_id.as_str())).collect();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut folds_of: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for row in folds {
        if seen.insert(&row.image_id, row.fold).is_some() {
            return Err(SplitError::DuplicateImage { image_id: row.image_id.clone() });
        }
        let patient = patient_of.get(row.image_id.as_str()).copied().unwrap_or(&row.patient_id);
        if patient != row.patient_id {
            return Err(SplitError::Patient {
                image_id: row.image_id.clone(),
                in_folds: row.patient_id.clone(),
                in_images: patient.to_owned(),
            });
        }
        folds_of.entry(patient).or_default().insert(row.fold);
    }
    let leaks: Vec<(String, Vec<u32>)> = folds_of
        .into_iter()
        .filter(|(_, folds)| folds.len() > 1)
        .map(|(patient, folds)| (patient.to_owned(), folds.into_iter().collect()))
        .collect();
    if leaks.is_empty() { Ok(()) } else { Err(SplitError::Leakage { patients: leaks }) }
}

/// Image files that are the same byte for byte though their patients, and with them their folds, differ: one line each.
pub(super) fn identical_images(folds: &[FoldRow], images: &[&ImageRow]) -> Vec<String> {
    let mut first: HashMap<&str, (&FoldRow, &ImageRow)> = HashMap::new();
    let mut lines = Vec::new();
    for (row, image) in folds.iter().zip(images) {
        let Some(sha) = image.sha256.as_deref() else { continue };
        match first.get(sha) {
            Some((other, _)) if other.fold != row.fold => lines.push(format!(
                "images {} (patient {}, fold {}) and {} (patient {}, fold {}) are the same file; exclude one",
                other.image_id, other.patient_id, other.fold, row.image_id, row.patient_id, row.fold
            )),
            Some(_) => {}
            None => {
                first.insert(sha, (row, image));
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(image: &str, patient: &str, fold: u32) -> FoldRow {
        FoldRow { image_id: image.into(), patient_id: patient.into(), stratum: "all".into(), fold }
    }

    fn image(id: &str, patient: &str) -> ImageRow {
        ImageRow { image_id: id.into(), patient_id: patient.into(), ..ImageRow::default() }
    }

    #[test]
    fn names_the_patients() {
        let images = [image("a", "001"), image("b", "001"), image("c", "002")];
        assert!(check_leakage(&[row("a", "001", 0), row("b", "001", 0), row("c", "002", 1)], &images).is_ok());
        let error = check_leakage(&[row("a", "001", 0), row("b", "001", 1), row("c", "002", 1)], &images).unwrap_err();
        assert!(error.to_string().contains("001 in folds 0, 1"), "{error}");
    }

    #[test]
    fn the_images_table_knows_the_patient() {
        let images = [image("a", "001"), image("b", "001")];
        let error = check_leakage(&[row("a", "001", 0), row("b", "009", 1)], &images).unwrap_err();
        assert!(matches!(error, SplitError::Patient { .. }), "{error}");
        let error = check_leakage(&[row("a", "001", 0), row("a", "001", 0)], &images).unwrap_err();
        assert!(matches!(error, SplitError::DuplicateImage { .. }), "{error}");
    }
}
