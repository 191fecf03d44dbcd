//! A folds file compared with the images and patients of the tables.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Study;
use crate::dataset::Subset;
use crate::names::image_id;
use crate::tables::{FoldRow, ImageRow};
use crate::wording::counted;

/// Examples in a warning.
const EXAMPLES: usize = 3;

/// Rows of a folds file that match the tables, and what does not match.
#[derive(Default)]
pub(super) struct FoldCheck {
    /// One row per image of the tables: the first in the file, with id and patient of the images table.
    pub(super) rows: Vec<FoldRow>,
    /// Patients of the images table with images in more than one fold, in rising order. Repeated rows count here.
    pub(super) patients_in_several_folds: Vec<String>,
    /// One sentence per kind of disagreement.
    pub(super) warnings: Vec<String>,
}

impl FoldCheck {
    /// Compares `folds` with the images; `excluded` are ids of images that need no fold.
    fn of(folds: &[FoldRow], images: &[ImageRow], excluded: &HashSet<String>) -> FoldCheck {
        let mut check = FoldCheck::default();
        if folds.is_empty() {
            check.warnings.push("the folds file has no rows; make the folds again with `carpus split`".to_owned());
            return check;
        }
        let known: HashMap<String, &ImageRow> = images.iter().map(|image| (image_id(&image.image_id), image)).collect();
        let mut folds_of_image: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        let mut folds_of_patient: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        let (mut unknown, mut patients) = (Vec::new(), Vec::new());
        for row in folds {
            let Some(image) = known.get(&image_id(&row.image_id)) else {
                unknown.push(row.image_id.clone());
                continue;
            };
            let (image_id, patient_id) = (&image.image_id, &image.patient_id);
            if *patient_id != row.patient_id {
                patients.push(format!("{image_id} (patient {}, in the tables {patient_id})", row.patient_id));
            }
            folds_of_patient.entry(patient_id).or_default().insert(row.fold);
            let rows_of_image = folds_of_image.entry(image_id).or_default();
            rows_of_image.push(row.fold);
            if rows_of_image.len() == 1 {
                let (image_id, patient_id) = (image_id.clone(), patient_id.clone());
                check.rows.push(FoldRow { image_id, patient_id, ..row.clone() });
            }
        }
        let repeated = folds_of_image.iter().filter(|(_, folds)| folds.len() > 1);
        let repeated: Vec<String> = repeated.map(|(image, folds)| format!("{image} ({})", folds_text(folds))).collect();
        // Test images have folds only if they were split too.
        let split: HashSet<Subset> =
            images.iter().filter(|i| folds_of_image.contains_key(&*i.image_id)).map(|i| i.subset).collect();
        let needs_fold = |i: &&ImageRow| i.usable && i.unusable_reason.is_none() && !excluded.contains(&i.image_id);
        let missing = images.iter().filter(|i| split.contains(&i.subset)).filter(needs_fold);
        let missing = missing.filter(|i| !folds_of_image.contains_key(&*i.image_id)).map(|i| i.image_id.clone());
        check.warn(
            "image has",
            "images have",
            "more than one row in the folds file; only the first is counted",
            repeated,
        );
        check.warn(
            "image of the folds file is",
            "images of the folds file are",
            "not in the tables and not counted",
            unknown,
        );
        check.warn(
            "usable image has",
            "usable images have",
            "no fold; make the folds again with `carpus split`",
            missing.collect(),
        );
        check.warn(
            "row of the folds file has",
            "rows of the folds file have",
            "another patient than the tables, whose patient is used",
            patients,
        );
        let leaks = folds_of_patient.into_iter().filter(|(_, folds)| folds.len() > 1);
        check.patients_in_several_folds = leaks.map(|(patient, _)| patient.to_owned()).collect();
        check
    }

    /// Adds the warning that `found` are so, unless it is empty.
    fn warn(&mut self, one: &str, many: &str, what: &str, found: Vec<String>) {
        if !found.is_empty() {
            let more = if found.len() > EXAMPLES { ", …" } else { "" };
            let examples = found[..found.len().min(EXAMPLES)].join(", ");
            self.warnings.push(format!("{} {what}: {examples}{more}", counted(found.len(), one, many)));
        }
    }
}

fn folds_text(folds: &[u32]) -> String {
    let texts: Vec<String> = folds.iter().map(u32::to_string).collect();
    format!("folds {}", texts.join(", "))
}

impl Study<'_> {
    /// Disagreements of the folds with the images and patients of the tables, one sentence per kind: no rows, repeated
    /// images, unknown images, usable images without a fold (in the subsets that have folds), other patients. Ids are
    /// compared by [`image_id`].
    pub fn fold_warnings(&self) -> Vec<String> {
        self.fold_check().map_or_else(Vec::new, |check| check.warnings)
    }

    /// The folds compared with the tables; `None` without folds.
    pub(super) fn fold_check(&self) -> Option<FoldCheck> {
        Some(FoldCheck::of(self.folds?, &self.tables.images, &self.excluded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(image_id: &str, patient_id: &str, subset: Subset) -> ImageRow {
        let (image_id, patient_id) = (image_id.into(), patient_id.into());
        ImageRow { image_id, patient_id, subset, usable: true, ..ImageRow::default() }
    }

    fn row(image_id: &str, patient_id: &str, fold: u32) -> FoldRow {
        FoldRow { image_id: image_id.into(), patient_id: patient_id.into(), stratum: String::new(), fold }
    }

    /// Six training images of three patients and a test image.
    fn images() -> Vec<ImageRow> {
        let train = |i: usize| image(&format!("image{i}"), &format!("{:03}", i / 2), Subset::Train);
        (0..6).map(train).chain([image("image6", "009", Subset::Test)]).collect()
    }

    fn folds() -> Vec<FoldRow> {
        (0..6).map(|i| row(&format!("image{i}"), &format!("{:03}", i / 2), i as u32 / 2)).collect()
    }

    fn warnings(folds: &[FoldRow]) -> Vec<String> {
        FoldCheck::of(folds, &images(), &HashSet::new()).warnings
    }

    #[test]
    fn folds_of_the_same_images_have_no_warnings() {
        assert_eq!(warnings(&folds()), [""; 0]);
        let mut named = folds();
        named.iter_mut().for_each(|row| row.image_id += ".png");
        let check = FoldCheck::of(&named, &images(), &HashSet::new());
        assert_eq!((check.warnings.len(), check.rows), (0, folds()));
    }

    #[test]
    fn repeated_rows_are_reported_and_counted_once() {
        let rows = [folds(), vec![row("image0.png", "000", 0), row("image3", "001", 2)]].concat();
        let check = FoldCheck::of(&rows, &images(), &HashSet::new());
        assert_eq!(check.rows, folds());
        let expected = "2 images have more than one row in the folds file; only the first is counted: \
                        image0 (folds 0, 0), image3 (folds 1, 2)";
        assert_eq!(check.warnings, [expected]);
        assert_eq!(check.patients_in_several_folds, ["001"]);
    }

    #[test]
    fn unknown_and_missing_images_and_other_patients_are_reported() {
        let mut rows = folds();
        rows[0].image_id = "other.png".into();
        rows[2].patient_id = "077".into();
        let found = warnings(&rows);
        assert_eq!(found[0], "1 image of the folds file is not in the tables and not counted: other.png");
        assert_eq!(found[1], "1 usable image has no fold; make the folds again with `carpus split`: image0");
        assert!(found[2].starts_with("1 row of the folds file has another patient than the tables"), "{found:?}");
        assert!(found[2].ends_with("image2 (patient 077, in the tables 001)"), "{found:?}");
        assert_eq!(found.len(), 3);
        let excluded = HashSet::from(["image0".to_owned()]);
        assert_eq!(FoldCheck::of(&rows, &images(), &excluded).warnings.len(), 2);
        assert!(warnings(&[])[0].contains("has no rows"));
    }

    #[test]
    fn a_patient_in_two_folds_is_found_by_the_patients_of_the_tables() {
        let mut rows = folds();
        (rows[1].patient_id, rows[1].fold) = ("050".into(), 2);
        let check = FoldCheck::of(&rows, &images(), &HashSet::new());
        assert_eq!(check.patients_in_several_folds, ["000"]);
    }
}
