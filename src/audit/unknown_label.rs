//! Labels that are no bone, from the problems met while reading.

use polars::prelude::{PolarsResult, col, lit};

use super::context::AuditContext;
use super::{Answer, Check, EvidenceKind, Finding, Severity};
use crate::bones;
use crate::dataset::annotation::{OTHER_SPELLING, UNKNOWN_LABEL};

/// How the reader's reasons begin, and what they score: a name that is no bone's hides a shape from
/// everything; one that is only spelt otherwise was understood.
const REASONS: [(&str, f64); 2] = [(UNKNOWN_LABEL, 3.0), (OTHER_SPELLING, 1.0)];
/// Edits within which a name is taken for a slip of the pen.
const NEAR: usize = 3;

pub(super) const CHECK: Check = Check {
    name: "unknown_label",
    about: "a label that is no bone",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[("unknown_label", Answer::One)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for (reason, score) in REASONS {
        for (p, image) in context.problems(col("reason").str().starts_with(lit(reason)))? {
            let suggestion = match nearest(p.raw.trim().trim_matches('"')) {
                Some(name) => format!("was {name} meant?"),
                None => "give the shape one of the 29 names or delete it".to_owned(),
            };
            let message = format!("{:?} at {} of {} is no bone", p.raw, p.place, p.file);
            findings.push(Finding {
                image,
                image_id: p.image_id.unwrap_or_default(),
                patient_id: p.patient_id.unwrap_or_default(),
                ..Finding::of_image(&CHECK, 0, score, message, suggestion)
            });
        }
    }
    Ok(findings)
}

/// The bone whose name is nearest, if near.
fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    bones::NAMES
        .iter()
        .map(|n| (edits(&lower, &n.to_lowercase()), *n))
        .min()
        .filter(|(d, n)| *d <= NEAR && 2 * *d < n.len())
        .map(|(_, n)| n)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A label is a word, not a text: beyond this nothing is near.
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = before + usize::from(ca != *cb);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::*;
    use crate::tables::ProblemRow;

    #[test]
    fn slips_of_the_pen_are_guessed() {
        assert_eq!(nearest("Trapezuim"), Some("Trapezium"));
        assert_eq!(nearest("pisiform"), Some("Pisiform"));
        assert_eq!(nearest("ring"), None);
    }

    #[test]
    fn what_the_reader_says_of_labels_becomes_findings() {
        let mut population = Population::new(2, 1);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let shape = |label: &str| format!(r#"{{"type":"poly_seg","label":"{label}","points":[[1,1],[9,1],[9,9]]}}"#);
        let text = format!(r#"{{"annotations":[{},{},{}]}}"#, shape("Ulna"), shape("Hamat"), shape("LUNATE"));
        std::fs::write(&path, text).unwrap();
        let (_, problems) = crate::dataset::annotation::read(&path, "a.json").unwrap();
        let image_id = population.tables.images[1].image_id.clone();
        population.tables.problems = problems
            .into_iter()
            .map(|p| ProblemRow {
                image_id: Some(image_id.clone()),
                raw: p.raw,
                reason: p.reason,
                ..ProblemRow::default()
            })
            .collect();
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.check == &CHECK).collect();
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|f| f.image == Some(1)));
        assert!(findings[0].suggestion.contains("Hamate") && findings[0].score > findings[1].score);
    }
}
