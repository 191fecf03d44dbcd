//! Findings against planted faults: recall and precision of each check, and how many clean images are accused.

use std::collections::BTreeSet;

use polars::prelude::*;
use serde::Serialize;

use super::Severity;
use super::{Answer, CHECKS, Check};
use crate::audit::FindingRow;
use crate::bones;
use crate::dataset::phantom::Defect;
use crate::tables::{ImageRow, TableRow, count, filtered, is, texts};

/// How well one kind of fault was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// Kind of fault.
    pub kind: String,
    /// Faults planted.
    pub planted: usize,
    /// Faults that a finding of the right check names, with the right bones.
    pub found: usize,
    /// Of these, at severity high.
    pub found_high: usize,
    /// `found` of `planted`.
    pub recall: f64,
    /// Faults not found: image and labels.
    pub missed: Vec<String>,
}

/// How far one check can be trusted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Precision {
    /// The check.
    pub check: &'static str,
    /// Its findings.
    pub findings: usize,
    /// Of these, in images (or of patients) with a fault that the check answers to, or that has what it finds for a
    /// consequence.
    pub right: usize,
    /// Of these, in images with another fault.
    pub beside: usize,
    /// `right` of `findings`; `None` for no findings.
    pub precision: Option<f64>,
}

/// The whole comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Benchmark {
    /// By kind of fault.
    pub recall: Vec<Recall>,
    /// By check.
    pub precision: Vec<Precision>,
    /// Images in which, and in whose patient, nothing was planted.
    pub clean_images: usize,
    /// Of these, with a finding of severity high.
    pub clean_flagged_high: usize,
    /// Of these, with a finding of severity medium at least.
    pub clean_flagged_medium: usize,
    /// Share of clean images with a finding of severity high.
    pub clean_share_high: f64,
}

/// Compares findings with the truth.
///
/// # Errors
/// Those of polars.
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
        let of = filtered(&faults, col("kind").eq(lit(kind)))?;
        let (planted, found) = (of.height(), count(&of, col("found"))?);
        let missed = texts(&filtered(&of, col("found").not())?, "name")?;
        Ok(Recall {
            kind: kind.to_owned(),
            planted,
            found,
            found_high: count(&of, col("high"))?,
            recall: found as f64 / planted as f64,
            missed: missed.into_iter().flatten().collect(),
        })
    };
    let kinds: BTreeSet<&str> = defects.iter().map(|d| d.kind.as_str()).collect();

    let is_right = |f: &FindingRow| defects.iter().any(|d| concerns(f, d) && f.check.answer(&d.kind).is_some());
    let is_touched = |f: &FindingRow| defects.iter().any(|d| concerns(f, d));
    let mut found = FindingRow::to_frame(findings)?;
    found.with_column(Column::new("right".into(), findings.iter().map(is_right).collect::<Vec<_>>()))?;
    found.with_column(Column::new("touched".into(), findings.iter().map(is_touched).collect::<Vec<_>>()))?;
    let precision = |check: &'static Check| {
        let of = filtered(&found, is("check", check))?;
        let (findings, right) = (of.height(), count(&of, col("right"))?);
        let beside = count(&of, col("touched").and(col("right").not()))?;
        let precision = (findings > 0).then(|| right as f64 / findings as f64);
        Ok(Precision { check: check.name, findings, right, beside, precision })
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

/// Whether a finding is about the fault's image, or its patient where metadata are at fault.
fn concerns(finding: &FindingRow, defect: &Defect) -> bool {
    defect.image_ids.contains(&finding.image_id)
        || (!defect.patient_id.is_empty()
            && (defect.image_ids.is_empty() || defect.kind.starts_with("metadata"))
            && finding.patient_id == defect.patient_id)
}

/// Whether a finding names the fault: right image, right check, and every label at fault among its bones (for
/// exchanges), or one of them (for what concerns single bones).
fn is_hit(finding: &FindingRow, defect: &Defect) -> bool {
    let answer = finding.check.answer(&defect.kind);
    let named: BTreeSet<&str> = finding.label.split('|').collect();
    let at_fault: Vec<&str> =
        defect.labels.iter().map(String::as_str).filter(|l| bones::Bone::from_name(l).is_some()).collect();
    let found = at_fault.iter().filter(|l| named.contains(**l)).count();
    concerns(finding, defect)
        && match answer {
            Some(Answer::One) => at_fault.is_empty() || finding.label.is_empty() || found > 0,
            Some(Answer::Every) if at_fault.len() <= 4 => found == at_fault.len(),
            // Of a scrambled hand nine tenths of the labels must be named.
            Some(Answer::Every) => 10 * found >= 9 * at_fault.len(),
            Some(Answer::Consequence) | None => false,
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
    fn recall_asks_for_the_right_bones_and_precision_for_the_right_image() {
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
