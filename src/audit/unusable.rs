//! Files of images and annotations that could not be used at all: what reading reported as an error.

use super::context::Context;
use super::{Check, Evidence, Finding, Severity};
use crate::dataset;

const SCORE: f64 = 2.5;

pub(super) const CHECK: Check = Check {
    name: "unusable",
    about: "a file that could not be used",
    ceiling: Severity::High,
    evidence: Evidence::Image,
    faults: &[],
    find,
};

fn find(context: &Context) -> Vec<Finding> {
    let errors =
        context.tables.problems.iter().filter(|p| p.severity == dataset::Severity::Error && p.image_id.is_some());
    errors
        .map(|p| {
            let id = p.image_id.clone().unwrap_or_default();
            let place = if p.place.is_empty() { String::new() } else { format!(" {}", p.place) };
            Finding {
                image: context.tables.images.iter().position(|i| i.image_id == id),
                image_id: id,
                patient_id: p.patient_id.clone().unwrap_or_default(),
                ..Finding::of_image(
                    &CHECK,
                    0,
                    SCORE,
                    format!("{}{place}: {}", p.file, p.reason),
                    "mend or replace the file",
                )
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::*;
    use crate::tables::ProblemRow;

    #[test]
    fn errors_of_images_are_findings_and_repairs_are_not() {
        let mut population = Population::new(2, 1);
        let problem = |severity, image: Option<&str>| ProblemRow {
            file: "x.png".into(),
            image_id: image.map(str::to_owned),
            reason: "truncated".into(),
            severity,
            ..ProblemRow::default()
        };
        population.tables.problems = vec![
            problem(dataset::Severity::Error, Some("lost")),
            problem(dataset::Severity::Info, Some("lost")),
            problem(dataset::Severity::Error, None),
        ];
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.check == &CHECK).collect();
        assert_eq!(findings.len(), 1);
        assert_eq!((findings[0].image, findings[0].image_id.as_str()), (None, "lost"));
    }
}
