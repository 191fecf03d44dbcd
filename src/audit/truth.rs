//! Findings against planted faults: recall and precision of each check, and how many clean images are accused.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Severity;
use super::{Answer, CHECKS};
use crate::audit::FindingRow;
use crate::bones;
use crate::dataset::phantom::Defect;
use crate::tables::ImageRow;

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
pub fn benchmark(findings: &[FindingRow], images: &[ImageRow], defects: &[Defect]) -> Benchmark {
    let mut recall: BTreeMap<&str, Recall> = BTreeMap::new();
    for defect in defects {
        let entry = recall.entry(&defect.kind).or_insert_with(|| Recall {
            kind: defect.kind.clone(),
            planted: 0,
            found: 0,
            found_high: 0,
            recall: 0.0,
            missed: Vec::new(),
        });
        let hits: Vec<&FindingRow> = findings.iter().filter(|f| is_hit(f, defect)).collect();
        entry.planted += 1;
        entry.found += usize::from(!hits.is_empty());
        entry.found_high += usize::from(hits.iter().any(|f| f.severity == Severity::High));
        if hits.is_empty() {
            entry.missed.push(format!("{} {}", defect.image_ids.join(" "), defect.labels.join("|")).trim().to_owned());
        }
    }
    let recall = recall.into_values().map(|r| Recall { recall: r.found as f64 / r.planted as f64, ..r }).collect();

    let touched = |f: &FindingRow| defects.iter().any(|d| concerns(f, d));
    let precision = CHECKS
        .iter()
        .map(|check| {
            let of: Vec<&FindingRow> = findings.iter().filter(|f| f.check == check).collect();
            let right = of.iter().filter(|f| defects.iter().any(|d| concerns(f, d) && check.answer(&d.kind).is_some()));
            let right = right.count();
            let beside = of.iter().filter(|f| touched(f)).count() - right;
            let precision = (!of.is_empty()).then(|| right as f64 / of.len() as f64);
            Precision { check: check.name, findings: of.len(), right, beside, precision }
        })
        .collect();

    let faulty: BTreeSet<&str> = defects.iter().flat_map(|d| &d.image_ids).map(String::as_str).collect();
    let clean: BTreeSet<&str> = images.iter().map(|i| i.image_id.as_str()).filter(|i| !faulty.contains(i)).collect();
    let flagged = |severities: &[Severity]| {
        let ids: BTreeSet<&str> = findings
            .iter()
            .filter(|f| severities.contains(&f.severity))
            .map(|f| f.image_id.as_str())
            .filter(|i| clean.contains(i))
            .collect();
        ids.len()
    };
    let high = flagged(&[Severity::High]);
    Benchmark {
        recall,
        precision,
        clean_images: clean.len(),
        clean_flagged_high: high,
        clean_flagged_medium: flagged(&[Severity::Medium, Severity::High]),
        clean_share_high: high as f64 / clean.len().max(1) as f64,
    }
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
    use crate::audit::Check;

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
        let result = benchmark(&findings, &images, &defects);
        assert_eq!((result.recall[0].planted, result.recall[0].found), (2, 1));
        assert_eq!(result.recall[0].missed, vec!["b Hamate|Lunate"]);
        let swaps = result.precision.iter().find(|p| p.check == "swapped_labels").unwrap();
        assert_eq!((swaps.findings, swaps.right), (3, 2));
        assert_eq!((result.clean_images, result.clean_flagged_high, result.clean_flagged_medium), (2, 1, 1));
    }
}
