//! Labels that are no bone, from the problems met while reading.

use super::context::Context;
use super::{CheckKind, Finding};
use crate::bones;

/// How the reader's reason begins.
const REASON: &str = "unknown label";
const SCORE: f64 = 3.0;
/// Edits within which a name is taken for a slip of the pen.
const NEAR: usize = 3;

pub(super) fn check(context: &Context) -> Vec<Finding> {
    let problems = context.tables.problems.iter().filter(|p| p.reason.to_lowercase().starts_with(REASON));
    problems
        .map(|p| {
            let id = p.image_id.clone().unwrap_or_default();
            let image = context.tables.images.iter().position(|i| i.image_id == id);
            let suggestion = match nearest(p.raw.trim().trim_matches('"')) {
                Some(name) => format!("was {name} meant?"),
                None => "give the shape one of the 29 names or delete it".to_owned(),
            };
            Finding {
                image,
                image_id: id,
                patient_id: p.patient_id.clone().unwrap_or_default(),
                ..Finding::of_image(
                    CheckKind::UnknownLabel,
                    0,
                    SCORE,
                    format!("{:?} at {} of {} is no bone", p.raw, p.place, p.file),
                    suggestion,
                )
            }
        })
        .collect()
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
    fn an_unknown_label_is_a_finding_of_its_image() {
        let mut population = Population::new(2, 1);
        let image_id = population.tables.images[1].image_id.clone();
        population.tables.problems.push(ProblemRow {
            file: "a.json".into(),
            image_id: Some(image_id),
            raw: "Hamat".into(),
            reason: "unknown label: expected one of 29".into(),
            ..ProblemRow::default()
        });
        population.tables.problems.push(ProblemRow { reason: "not a number".into(), ..ProblemRow::default() });
        let findings: Vec<_> =
            population.audit().into_iter().filter(|f| f.kind == CheckKind::UnknownLabel).collect();
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].image, Some(1));
        assert!(findings[0].suggestion.contains("Hamate"));
    }
}
