use std::collections::HashMap;

use super::{Fold, TrainError};
use crate::dataset::ImageEntry;
use crate::tables::FoldRow;

/// The images of a run, divided into training set and validation set.
#[derive(Clone, Debug)]
pub struct Partition {
    /// The training set, in the order of the folds file.
    pub training: Vec<ImageEntry>,
    /// The validation set: the images of the held-out fold; empty if no fold is held out.
    pub validation: Vec<ImageEntry>,
    /// Images of the folds file that are not in the data.
    pub missing: Vec<String>,
}

/// Divides the images: those of fold `fold` are the validation set, those of the other folds the training set; with
/// [`Fold::None`] all are the training set. Images of the data that are not in the folds file are not used.
///
/// # Errors
/// The folds have no fold `fold`, or a patient is in both sets.
pub fn partition(images: &[ImageEntry], folds: &[FoldRow], fold: Fold) -> Result<Partition, TrainError> {
    let mut found: Vec<u32> = folds.iter().map(|r| r.fold).collect();
    found.sort_unstable();
    found.dedup();
    if let Fold::Number(fold) = fold
        && !found.contains(&fold)
    {
        return Err(TrainError::NoFold { fold, found });
    }
    let entries: HashMap<&str, &ImageEntry> = images.iter().map(|e| (e.image_id.as_str(), e)).collect();
    let mut parts = Partition { training: Vec::new(), validation: Vec::new(), missing: Vec::new() };
    for row in folds {
        let Some(entry) = entries.get(row.image_id.as_str()) else {
            parts.missing.push(row.image_id.clone());
            continue;
        };
        let part = if Fold::Number(row.fold) == fold { &mut parts.validation } else { &mut parts.training };
        part.push((*entry).clone());
    }
    let training: HashMap<&str, &ImageEntry> = parts.training.iter().map(|e| (e.patient_id.as_str(), e)).collect();
    if let Some((validation, training)) =
        parts.validation.iter().find_map(|v| training.get(v.patient_id.as_str()).map(|t| (v, t)))
    {
        return Err(TrainError::PatientInBoth {
            patient: validation.patient_id.clone(),
            fold,
            training: training.image_id.clone(),
            validation: validation.image_id.clone(),
        });
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Subset;

    fn entries(images: &[(&str, &str)]) -> Vec<ImageEntry> {
        let images = images.iter().map(|(image, patient)| ImageEntry {
            image_id: (*image).into(),
            patient_id: (*patient).into(),
            subset: Subset::Train,
            image: format!("{image}.png"),
            annotation: None,
            timestamp: None,
            side: None,
            side_in_name: None,
        });
        images.collect()
    }

    fn row(image: &str, patient: &str, fold: u32) -> FoldRow {
        FoldRow { image_id: image.into(), patient_id: patient.into(), stratum: String::new(), fold }
    }

    #[test]
    fn a_fold_is_held_out_and_a_patient_in_both_sets_is_refused() {
        let data = entries(&[("a", "1"), ("b", "1"), ("c", "2"), ("d", "3")]);
        let folds = [row("a", "1", 0), row("b", "1", 0), row("c", "2", 1)];
        let parts = partition(&data, &folds, Fold::Number(1)).unwrap();
        assert_eq!((parts.training.len(), parts.validation.len()), (2, 1));
        let leak = [row("a", "1", 0), row("b", "1", 1)];
        let error = partition(&data, &leak, Fold::Number(0)).unwrap_err().to_string();
        assert!(error.contains("patient 1") && error.contains("images b and a"), "{error}");
        assert!(partition(&data, &folds, Fold::Number(2)).unwrap_err().to_string().contains("[0, 1]"));
        let unknown = [row("z", "9", 0)];
        assert_eq!(partition(&data, &unknown, Fold::Number(0)).unwrap().missing, ["z"]);
        // Without a held-out fold a patient in two folds is in one set.
        let all = partition(&data, &leak, Fold::None).unwrap();
        assert_eq!((all.training.len(), all.validation.len()), (2, 0));
    }
}
