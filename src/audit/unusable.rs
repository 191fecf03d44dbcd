//! Reports image and annotation files that could not be used: errors during reading.
//!
//! Why it matters: the image or annotation is missing from training and from every other check.
//!
//! Example: a PNG file is truncated.

use polars::prelude::{PolarsResult, col};

use super::context::AuditContext;
use super::{Check, EvidenceKind, Finding, Severity};
use crate::dataset;
use crate::tables::{ProblemRow, is};

const SCORE: f64 = 2.5;

pub(super) const CHECK: Check = Check {
    name: "unusable",
    about: "a file that could not be used",
    ceiling: Severity::High,
    evidence: EvidenceKind::Image,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let errors =
        context.problems(is("severity", dataset::ProblemSeverity::Error).and(col("image_id").is_not_null()))?;
    let finding = |(p, image): (ProblemRow, Option<usize>)| {
        let place = if p.place.is_empty() { String::new() } else { format!(" {}", p.place) };
        let message = format!("{}{place}: {}", p.file, p.reason);
        Finding {
            image,
            image_id: p.image_id.unwrap_or_default(),
            patient_id: p.patient_id.unwrap_or_default(),
            ..Finding::of_image(&CHECK, 0, SCORE, message, "repair or replace the file")
        }
    };
    Ok(errors.into_iter().map(finding).collect())
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::*;

    #[test]
    fn only_errors_about_images_are_reported() {
        let mut population = Population::new(2, 1);
        let problem = |severity, image: Option<&str>| ProblemRow {
            file: "x.png".into(),
            image_id: image.map(str::to_owned),
            reason: "truncated".into(),
            severity,
            ..ProblemRow::default()
        };
        population.tables.problems = vec![
            problem(dataset::ProblemSeverity::Error, Some("lost")),
            problem(dataset::ProblemSeverity::Info, Some("lost")),
            problem(dataset::ProblemSeverity::Error, None),
        ];
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.check == &CHECK).collect();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].image, findings[0].image_id.as_str()), (None, "lost"));
    }
}
