//! Compares findings with planted faults: recall per kind of fault, precision per check, and false positives among clean
//! images.

use std::collections::BTreeSet;

use polars::prelude::*;
use serde::Serialize;

use super::Severity;
use super::{CHECKS, Check, Detection};
use crate::audit::FindingRow;
use crate::bones;
use crate::dataset::phantom::Defect;
use crate::tables::{ImageRow, TableRow, count, filtered, is, texts};

/// Recall for one kind of fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// Kind of fault.
    pub kind: String,
    /// Number of planted faults.
    pub planted: usize,
    /// Number of faults for which a finding of a suitable check names the right bones.
    pub found: usize,
    /// Number of these with a finding of severity high.
    pub found_high: usize,
    /// `found` divided by `planted`.
    pub recall: f64,
    /// Faults that were not found: image and labels.
    pub missed: Vec<String>,
}

/// Precision of one check.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Precision {
    /// Name of the check.
    pub check: &'static str,
    /// Number of its findings.
    pub findings: usize,
    /// True positives: findings for an image (or patient) with a fault that the check detects, or with a fault that has
    /// the reported consequence.
    pub right: usize,
    /// False positives for images that have another fault.
    #[serde(rename = "beside")] // word-list: allow
    pub other_fault: usize,
    /// `right` divided by `findings`; `None` without findings.
    pub precision: Option<f64>,
}

/// Result of [`benchmark`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Benchmark {
    /// Per kind of fault.
    pub recall: Vec<Recall>,
    /// Per check.
    pub precision: Vec<Precision>,
    /// Number of images without a planted fault in the image or its patient.
    pub clean_images: usize,
    /// Number of these with a finding of severity high.
    pub clean_flagged_high: usize,
    /// Number of these with a finding of severity medium or high.
    pub clean_flagged_medium: usize,
    /// Share of clean images with a finding of severity high.
    pub clean_share_high: f64,
}

/// Compares findings with the planted faults.
///
/// # Errors
/// Polars cannot process a table.
pub fn benchmark(findings: &[FindingRow], images: &[ImageRow], defects: &[Defect]) -> PolarsResult<Benchmark> {
    let is_found =
        |d: &Defect, f: fn(&FindingRow) -> bool| findings.iter().any(|finding| f(finding) && is_hit(finding, d));
    let name = |d: &Defect| format!("{} {}", d.image_ids.join(" "), d.labels.join("|")).trim().to_owned();
    let faults = df!(
        "kind" => defects.iter().map(|d| d.kind.as_str()).collect::<Vec<_>>(),
        "name" => defects.iter().map(name).collect::<Vec<_>>(),
        "found" => defects.iter().map(|d| is_found(d, |_| true)).collect::<Vec<_>>(),
        "high" => defects.iter().map(|d| is_found(d, |f| f.severity == Severity::High)).collect::<Vec<_>>(),
    )?;
    let recall = |kind: &str| {
        let of_kind = filtered(&faults, col("kind").eq(lit(kind)))?;
        let (planted, found) = (of_kind.height(), count(&of_kind, col("found"))?);
        let missed = texts(&filtered(&of_kind, col("found").not())?, "name")?;
        Ok(Recall {
            kind: kind.to_owned(),
            planted,
            found,
            found_high: count(&of_kind, col("high"))?,
            recall: found as f64 / planted as f64,
            missed: missed.into_iter().flatten().collect(),
        })
    };
    let kinds: BTreeSet<&str> = defects.iter().map(|d| d.kind.as_str()).collect();

    let is_right = |f: &FindingRow| defects.iter().any(|d| concerns(f, d) && f.check.detection(&d.kind).is_some());
    let has_fault = |f: &FindingRow| defects.iter().any(|d| concerns(f, d));
    let mut found = FindingRow::to_frame(findings)?;
    found.with_column(Column::new("right".into(), findings.iter().map(is_right).collect::<Vec<_>>()))?;
    found.with_column(Column::new("has_fault".into(), findings.iter().map(has_fault).collect::<Vec<_>>()))?;
    let precision = |check: &'static Check| {
        let of_check = filtered(&found, is("check", check))?;
        let (findings, right) = (of_check.height(), count(&of_check, col("right"))?);
        let other_fault = count(&of_check, col("has_fault").and(col("right").not()))?;
        let precision = (findings > 0).then(|| right as f64 / findings as f64);
        Ok(Precision { check: check.name, findings, right, other_fault, precision })
    };

    let id = [col("image_id")];
    let faulty = defects.iter().flat_map(|d| &d.image_ids).map(String::as_str);
    let faulty = df!("image_id" => faulty.collect::<Vec<_>>())?.lazy();
    let clean = ImageRow::to_frame(images)?.lazy().join(faulty, &id, &id, JoinArgs::new(JoinType::Anti));
    let clean = clean.select(&id).collect()?;
    let flagged = |severity: Expr| {
        let found = found.clone().lazy().filter(severity);
        let flagged = clean.clone().lazy().join(found, &id, &id, JoinArgs::new(JoinType::Semi));
        PolarsResult::Ok(flagged.collect()?.height())
    };
    let high = flagged(is("severity", Severity::High))?;
    Ok(Benchmark {
        recall: kinds.into_iter().map(recall).collect::<PolarsResult<_>>()?,
        precision: CHECKS.iter().map(precision).collect::<PolarsResult<_>>()?,
        clean_images: clean.height(),
        clean_flagged_high: high,
        clean_flagged_medium: flagged(is("severity", Severity::Low).not())?,
        clean_share_high: high as f64 / clean.height().max(1) as f64,
    })
}

/// Whether a finding is about the fault's image, or about its patient for faults of metadata.
fn concerns(finding: &FindingRow, defect: &Defect) -> bool {
    defect.image_ids.contains(&finding.image_id)
        || (!defect.patient_id.is_empty()
            && (defect.image_ids.is_empty() || defect.kind.starts_with("metadata"))
            && finding.patient_id == defect.patient_id)
}

/// Whether a finding counts as the detection of a fault: right image, right check, and all faulty labels among its bones
/// (for swapped labels) or one of them (for other faults).
pub(super) fn is_hit(finding: &FindingRow, defect: &Defect) -> bool {
    let detection = finding.check.detection(&defect.kind);
    let named: BTreeSet<&str> = finding.label.split('|').collect();
    let faulty: Vec<&str> =
        defect.labels.iter().map(String::as_str).filter(|l| bones::Bone::from_name(l).is_some()).collect();
    let found = faulty.iter().filter(|l| named.contains(**l)).count();
    concerns(finding, defect)
        && match detection {
            Some(Detection::AnyBone) => faulty.is_empty() || finding.label.is_empty() || found > 0,
            Some(Detection::AllBones) if faulty.len() <= 4 => found == faulty.len(),
            // If many labels are swapped, nine tenths of them must be named.
            Some(Detection::AllBones) => 10 * found >= 9 * faulty.len(),
            Some(Detection::Consequence) | None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(image: &str, check: &str, label: &str, severity: Severity) -> FindingRow {
        FindingRow {
            image_id: image.into(),
            check: Check::from_name(check).unwrap(),
            label: label.into(),
            severity,
            ..FindingRow::default()
        }
    }

    fn defect(kind: &str, image: &str, labels: &[&str]) -> Defect {
        Defect {
            kind: kind.into(),
            image_ids: vec![image.into()],
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            ..Defect::default()
        }
    }

    #[test]
    fn recall_requires_the_right_bones_and_precision_the_right_image() {
        let image = |id: &str| ImageRow { image_id: id.into(), ..ImageRow::default() };
        let images: Vec<ImageRow> = ["a", "b", "c", "d"].into_iter().map(image).collect();
        let defects = [
            defect("swapped_neighbours", "a", &["Hamate", "Lunate"]),
            defect("swapped_neighbours", "b", &["Hamate", "Lunate"]),
        ];
        let findings = vec![
            finding("a", "swapped_labels", "Hamate|Lunate", Severity::High),
            finding("b", "swapped_labels", "Hamate|Capitate", Severity::High),
            finding("c", "swapped_labels", "Ulna|Radius", Severity::High),
            finding("d", "border_strip", "", Severity::Low),
        ];
        let result = benchmark(&findings, &images, &defects).unwrap();
        assert_eq!((result.recall[0].planted, result.recall[0].found), (2, 1));
        assert_eq!(result.recall[0].missed, vec!["b Hamate|Lunate"]);
        let swaps = result.precision.iter().find(|p| p.check == "swapped_labels").unwrap();
        assert_eq!((swaps.findings, swaps.right), (3, 2));
        assert_eq!((result.clean_images, result.clean_flagged_high, result.clean_flagged_medium), (2, 1, 1));
    }
}
