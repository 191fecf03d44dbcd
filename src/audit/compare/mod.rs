//! Compares two sets of masks of the same images: two annotators, annotation and prediction, before and after
//! corrections. Each bone of the first set is matched with the bone of the second whose mask it overlaps most, so that a
//! bone with another label is recognised as such and not as one missing and one extra.

mod confusion;
mod row;

use std::collections::BTreeMap;
use std::path::Path;

use polars::prelude::PolarsResult;

pub use confusion::{ConfusedPair, Confusion};
pub use row::{DifferenceKind, DifferenceRow};

use super::{AuditContext, Check, EvidenceKind, Finding, FindingRow, Severity};
use crate::artefact::{FolderError, kind, replace_folder};
use crate::bones::Bone;
use crate::mask::{HandMasks, MaskError, RunMask};
use crate::tables::{TableError, write_table};

/// The check of the findings that a comparison writes; it finds nothing in the tables of a scan.
pub(super) const CHECK: Check = Check {
    name: "annotations_differ",
    about: "two sets of masks differ (found by `carpus audit compare`)",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[],
    find,
};

fn find(_: &AuditContext) -> PolarsResult<Vec<Finding>> {
    Ok(Vec::new())
}

/// Thresholds of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompareSettings {
    /// Masks of the same bone with a Dice below it are reported.
    pub low_dice: f64,
    /// Masks of two bones are taken for the same bone from this Dice on. At least 0.5, so that no two bones fit one.
    pub match_dice: f64,
    /// A mask is hidden if at least this share of its pixels is in another mask of its set.
    pub hidden_share: f64,
}

impl Default for CompareSettings {
    fn default() -> CompareSettings {
        CompareSettings { low_dice: 0.9, match_dice: 0.5, hidden_share: 0.95 }
    }
}

/// An image in both sets.
pub struct ComparedImage<'a> {
    /// Id of the image.
    pub image_id: &'a str,
    /// Patient.
    pub patient_id: &'a str,
    /// Masks of the first set.
    pub first: &'a HandMasks,
    /// Masks of the second set.
    pub second: &'a HandMasks,
}

/// What differs between two sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskComparison {
    /// The differences, largest first within an image.
    pub rows: Vec<DifferenceRow>,
    /// How often a bone of the first set is which bone of the second.
    pub confusion: Confusion,
    /// Number of images.
    pub images: usize,
    /// Sum of the Dice of masks with the same label in both sets, and how many there are.
    dice: (f64, usize),
}

/// Why a comparison cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// A table cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The folder cannot be written or replaced.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The confusion matrix cannot be written.
    #[error("{path}: {source}")]
    Csv {
        /// The file.
        path: std::path::PathBuf,
        /// The error of writing.
        source: csv::Error,
    },
}

impl MaskComparison {
    /// Adds an image.
    ///
    /// # Errors
    /// The masks of the two sets differ in size.
    pub fn add(&mut self, image: &ComparedImage, settings: &CompareSettings) -> Result<(), MaskError> {
        let ComparedImage { first, second, .. } = image;
        let pairs = matched(first, second, settings.match_dice)?;
        let by_second: BTreeMap<Bone, Bone> = pairs.iter().map(|(a, (b, _))| (*b, *a)).collect();
        let mut rows = Vec::new();
        for (bone, mask) in first.iter().filter(|(_, mask)| !mask.is_empty()) {
            self.confusion.add(Some(bone), pairs.get(&bone).map(|(other, _)| *other));
            let same = mask.dice(&second[bone])?;
            if !second[bone].is_empty() {
                self.dice = (self.dice.0 + same, self.dice.1 + 1);
            }
            match pairs.get(&bone) {
                Some((other, dice)) if *other != bone => {
                    rows.push(image.row(DifferenceKind::MismatchedLabel, Some(bone), Some(*other), Some(*dice)));
                }
                _ if second[bone].is_empty() => rows.push(image.row(DifferenceKind::Missing, Some(bone), None, None)),
                _ if same < settings.low_dice => {
                    rows.push(image.row(DifferenceKind::LowOverlap, Some(bone), Some(bone), Some(same)));
                }
                _ => {}
            }
        }
        for (bone, _) in second.iter().filter(|(_, mask)| !mask.is_empty()) {
            if by_second.contains_key(&bone) {
                continue;
            }
            self.confusion.add(None, Some(bone));
            // If the first set has an unmatched mask with this label, its low overlap is reported.
            let is_reported = !first[bone].is_empty() && !pairs.contains_key(&bone);
            if !is_reported {
                rows.push(image.row(DifferenceKind::Extra, None, Some(bone), None));
            }
        }
        let [hidden_first, hidden_second] = [hidden(first, settings)?, hidden(second, settings)?];
        for (bone, under) in &hidden_second {
            if !hidden_first.contains_key(bone) {
                rows.push(image.row(DifferenceKind::Hidden, Some(*bone), Some(*under), None));
            }
        }
        rows.sort_by(|a, b| {
            (a.kind, a.dice.unwrap_or(0.0)).partial_cmp(&(b.kind, b.dice.unwrap_or(0.0))).expect("Dice is no NaN")
        });
        self.rows.extend(rows);
        self.images += 1;
        Ok(())
    }

    /// Mean Dice of the masks with the same label in both sets; `None` without such masks.
    pub fn mean_dice(&self) -> Option<f64> {
        (self.dice.1 > 0).then(|| self.dice.0 / self.dice.1 as f64)
    }

    /// Number of differences of a kind.
    pub fn count(&self, kind: DifferenceKind) -> usize {
        self.rows.iter().filter(|row| row.kind == kind).count()
    }

    /// The differences as findings, worst first, as `carpus audit` writes them: one per image and kind, except that all
    /// mismatched labels of an image are one finding with the relabelling that makes the first set equal to the second.
    pub fn findings(&self) -> Vec<FindingRow> {
        let mut groups: BTreeMap<(&str, DifferenceKind), Vec<&DifferenceRow>> = BTreeMap::new();
        for row in &self.rows {
            groups.entry((&row.image_id, row.kind)).or_default().push(row);
        }
        let mut findings: Vec<FindingRow> = groups.into_values().map(|rows| row::finding(&rows)).collect();
        findings.sort_by(|a, b| {
            let key = |f: &FindingRow| (f.image_id.clone(), f.label.clone());
            b.score.total_cmp(&a.score).then_with(|| key(a).cmp(&key(b)))
        });
        findings
    }

    /// Writes `differences`, `findings` (Parquet and CSV) and `confusion.csv` into `out`, completely or not at all.
    ///
    /// # Errors
    /// A file cannot be written, or `out` cannot be replaced.
    pub fn write(&self, out: &Path) -> Result<(), CompareError> {
        replace_folder(out, &kind::COMPARISON, |new| {
            write_table(new, &self.rows)?;
            write_table(new, &self.findings())?;
            let path = new.join("confusion.csv");
            self.confusion.write(&path).map_err(|source| CompareError::Csv { path, source })
        })
    }
}

impl ComparedImage<'_> {
    fn row(&self, kind: DifferenceKind, first: Option<Bone>, second: Option<Bone>, dice: Option<f64>) -> DifferenceRow {
        // What is hidden and what hides it are in the second set.
        let set = if kind == DifferenceKind::Hidden { self.second } else { self.first };
        DifferenceRow {
            image_id: self.image_id.to_owned(),
            patient_id: self.patient_id.to_owned(),
            kind,
            label: first.map(|bone| bone.name().to_owned()).unwrap_or_default(),
            other_label: second.map(|bone| bone.name().to_owned()).unwrap_or_default(),
            dice,
            area_px: first.map(|bone| set[bone].area()),
            other_area_px: second.map(|bone| self.second[bone].area()),
        }
    }
}

/// For each bone of the first set, the bone of the second that is the same one, with the Dice of the two: the pairs with
/// the highest Dice first, each bone at most once. Of equal pairs, those with the same label come first.
fn matched(first: &HandMasks, second: &HandMasks, least: f64) -> Result<BTreeMap<Bone, (Bone, f64)>, MaskError> {
    let mut pairs: Vec<(f64, bool, Bone, Bone)> = Vec::new();
    let others: Vec<(Bone, &RunMask)> = second.iter().filter(|(_, mask)| !mask.is_empty()).collect();
    for (bone, mask) in first.iter().filter(|(_, mask)| !mask.is_empty()) {
        let bounds = mask.bounding_box();
        for (other, candidate) in &others {
            let is_near = bounds.zip(candidate.bounding_box()).is_some_and(|(a, b)| {
                a.x_min <= b.x_max && b.x_min <= a.x_max && a.y_min <= b.y_max && b.y_min <= a.y_max
            });
            if is_near || bone == *other {
                let dice = mask.dice(candidate)?;
                if dice >= least {
                    pairs.push((dice, bone == *other, bone, *other));
                }
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then((a.2, a.3).cmp(&(b.2, b.3))));
    let mut found: BTreeMap<Bone, (Bone, f64)> = BTreeMap::new();
    let mut used: Vec<Bone> = Vec::new();
    for (dice, _, bone, other) in pairs {
        if !found.contains_key(&bone) && !used.contains(&other) {
            found.insert(bone, (other, dice));
            used.push(other);
        }
    }
    Ok(found)
}

/// The bones that lie in another mask of their set, each with the one that contains most of it. Of two coincident masks,
/// the later one is hidden.
fn hidden(masks: &HandMasks, settings: &CompareSettings) -> Result<BTreeMap<Bone, Bone>, MaskError> {
    let mut found = BTreeMap::new();
    for (bone, mask) in masks.iter().filter(|(_, mask)| !mask.is_empty()) {
        let mut most = (0, bone);
        for (other, cover) in masks.iter().filter(|(other, cover)| *other != bone && !cover.is_empty()) {
            let is_larger = (cover.area(), bone) > (mask.area(), other);
            if is_larger {
                most = most.max((mask.overlap(cover)?, other));
            }
        }
        if most.0 as f64 >= settings.hidden_share * mask.area() as f64 && most.0 > 0 {
            found.insert(bone, most.1);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: i32, y: i32) -> RunMask {
        RunMask::from_polygon(&[[x, y], [x + 9, y], [x + 9, y + 9], [x, y + 9]], 200, 100)
    }

    fn bone(name: &str) -> Bone {
        Bone::from_name(name).unwrap()
    }

    fn hand(bones: &[(&str, i32, i32)]) -> HandMasks {
        let mut hand = HandMasks::empty(200, 100);
        bones.iter().for_each(|(name, x, y)| hand.set(bone(name), square(*x, *y)).unwrap());
        hand
    }

    fn compared(first: &HandMasks, second: &HandMasks) -> MaskComparison {
        let mut comparison = MaskComparison::default();
        let image = ComparedImage { image_id: "a", patient_id: "1", first, second };
        comparison.add(&image, &CompareSettings::default()).unwrap();
        comparison
    }

    fn kinds(comparison: &MaskComparison) -> Vec<(DifferenceKind, &str, &str)> {
        comparison.rows.iter().map(|row| (row.kind, &*row.label, &*row.other_label)).collect()
    }

    #[test]
    fn equal_sets_have_no_difference() {
        let all = hand(&[("Ulna", 0, 0), ("Radius", 20, 0), ("Hamate", 40, 0)]);
        let same = compared(&all, &all);
        assert_eq!((same.rows.len(), same.mean_dice()), (0, Some(1.0)));
        assert_eq!(same.confusion.get(Some(Bone::ULNA), Some(Bone::ULNA)), 1);
        assert!(same.findings().is_empty());
    }

    #[test]
    fn a_rotation_of_labels_is_mismatches_and_not_missing_bones() {
        let first = hand(&[("Ulna", 0, 0), ("Radius", 20, 0), ("Hamate", 40, 0), ("Lunate", 60, 0)]);
        let second = hand(&[("Ulna", 20, 0), ("Radius", 40, 0), ("Hamate", 0, 0), ("Lunate", 60, 0)]);
        let comparison = compared(&first, &second);
        use DifferenceKind::MismatchedLabel as Mismatch;
        let mut found = kinds(&comparison);
        found.sort();
        assert_eq!(
            found,
            [(Mismatch, "Hamate", "Radius"), (Mismatch, "Radius", "Ulna"), (Mismatch, "Ulna", "Hamate"),]
        );
        assert_eq!(comparison.confusion.get(Some(Bone::ULNA), Some(bone("Hamate"))), 1);
        let findings = comparison.findings();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].severity, findings[0].check.name), (Severity::High, "annotations_differ"));
        let proposed = findings[0].proposed_labels().unwrap();
        assert_eq!(proposed["Ulna"], bone("Hamate"));
        assert_eq!(proposed.len(), 3);
    }

    #[test]
    fn missing_extra_low_and_hidden_are_distinguished() {
        let first = hand(&[("Ulna", 0, 0), ("Radius", 20, 0), ("Hamate", 40, 0)]);
        let second = hand(&[("Radius", 24, 0), ("Hamate", 40, 0), ("Lunate", 80, 0), ("Pisiform", 80, 0)]);
        let comparison = compared(&first, &second);
        use DifferenceKind::{Extra, Hidden, LowOverlap, Missing};
        let mut found = kinds(&comparison);
        found.sort();
        assert_eq!(
            found,
            [
                (Missing, "Ulna", ""),
                (Extra, "", "Lunate"),
                (Extra, "", "Pisiform"),
                (LowOverlap, "Radius", "Radius"),
                (Hidden, "Pisiform", "Lunate"),
            ]
            .map(|(kind, a, b)| if kind == Hidden { hidden_pair(&comparison) } else { (kind, a, b) })
        );
        assert_eq!(comparison.count(Extra), 2);
        assert_eq!(comparison.confusion.get(Some(Bone::ULNA), None), 1);
        assert_eq!(comparison.confusion.get(None, Some(bone("Lunate"))), 1);
        assert!(comparison.findings().iter().all(|f| f.score >= 1.0 && !f.message.is_empty()));
    }

    /// Which of two coincident masks is hidden follows from the order of the classes.
    fn hidden_pair(comparison: &MaskComparison) -> (DifferenceKind, &str, &str) {
        let row = comparison.rows.iter().find(|row| row.kind == DifferenceKind::Hidden).unwrap();
        let pair = [bone(&row.label), bone(&row.other_label)];
        assert!(pair[0] > pair[1] && row.label != row.other_label);
        (row.kind, &row.label, &row.other_label)
    }

    #[test]
    fn a_comparison_is_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let comparison = compared(&hand(&[("Ulna", 0, 0)]), &hand(&[("Radius", 0, 0)]));
        comparison.write(&out).unwrap();
        comparison.write(&out).unwrap();
        assert_eq!(crate::tables::read::<DifferenceRow>(&out.join("differences.csv")).unwrap(), comparison.rows);
        assert_eq!(crate::tables::read::<FindingRow>(&out.join("findings.parquet")).unwrap(), comparison.findings());
        let text = std::fs::read_to_string(out.join("confusion.csv")).unwrap();
        assert_eq!(text.lines().count(), crate::bones::COUNT + 2, "a header, the bones and none");
        assert!(text.starts_with("label,finger-1,"));
    }
}
