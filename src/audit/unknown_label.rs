//! Reports labels that are not the name of a bone, from the problems found during reading.
//!
//! Why it matters: a shape with an unknown label has no class, so no other check and no model sees it. A label that
//! differs only in case, spaces, `-` or `_` was read as the bone; its severity is low.
//!
//! Example: a shape is labelled `Trapezuim`.

use polars::prelude::{PolarsResult, col, lit};

use super::context::AuditContext;
use super::{Check, Detection, EvidenceKind, Finding, Severity};
use crate::bones::Bone;
use crate::dataset::annotation::{OTHER_SPELLING, UNKNOWN_LABEL};
use crate::tables::ProblemRow;

/// How the reader's reasons begin, and the score of the finding: for a shape without a class, and for another spelling that
/// was read as the class.
const SCORES: [(&str, f64); 2] = [(UNKNOWN_LABEL, 3.0), (OTHER_SPELLING, 1.0)];
/// Largest Levenshtein distance at which a bone is suggested for a label.
const MAX_EDITS: usize = 3;
/// Characters of a label that are compared.
const MAX_COMPARED: usize = 64;

pub(super) const CHECK: Check = Check {
    name: "unknown_label",
    about: "a label that is not the name of a bone",
    ceiling: Severity::High,
    evidence: EvidenceKind::Bones,
    faults: &[("unknown_label", Detection::AnyBone)],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    let mut findings = Vec::new();
    for (reason, score) in SCORES {
        for (p, image) in label_problems(context, reason)? {
            // A bone that is drawn already would have two shapes.
            let drawn = image.filter(|_| reason == UNKNOWN_LABEL).map_or(0, |i| drawn_bones(context, i));
            let meant = nearest(p.raw.trim().trim_matches('"'), |bone| drawn & bone.bit() == 0);
            let suggestion = match meant {
                Some(bone) => format!("rename the label to {bone} if the shape shows this bone"),
                None => "rename the label to one of the 29 bones, or delete the shape".to_owned(),
            };
            let message = format!("the label {:?} is not the name of a bone ({}, {})", p.raw, p.file, p.place);
            findings.push(Finding {
                image,
                image_id: p.image_id.unwrap_or_default(),
                patient_id: p.patient_id.unwrap_or_default(),
                ..Finding::of_image(&CHECK, 0, score, message, suggestion).proposing(meant.map(|bone| (p.raw, bone)))
            });
        }
    }
    Ok(findings)
}

/// Problems of reading whose reason begins with `reason`. With the index of the image, where the images table has it.
pub(super) fn label_problems(
    context: &AuditContext,
    reason: &'static str,
) -> PolarsResult<Vec<(ProblemRow, Option<usize>)>> {
    context.problems(col("reason").str().starts_with(lit(reason)))
}

/// The bones of an image that have a shape, as a label word.
fn drawn_bones(context: &AuditContext, image: usize) -> u32 {
    let rows = context.bones[image].iter().filter(|row| row.area_px > 0);
    rows.filter_map(|row| Bone::from_index(row.class as usize)).fold(0, |word, bone| word | bone.bit())
}

/// The bone with the most similar name among those that are possible, if it is similar enough.
fn nearest(name: &str, is_possible: impl Fn(Bone) -> bool) -> Option<Bone> {
    // Of a long label, its beginning is enough.
    let lower: String = name.to_lowercase().chars().take(MAX_COMPARED).collect();
    Bone::all()
        .filter(|bone| is_possible(*bone))
        .map(|bone| (strsim::levenshtein(&lower, &bone.name().to_lowercase()), bone.name(), bone))
        .min()
        .filter(|(edits, name, _)| *edits <= MAX_EDITS && 2 * *edits < name.len())
        .map(|(.., bone)| bone)
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::*;

    #[test]
    fn typing_errors_are_recognised() {
        let nearest_of_all = |name| nearest(name, |_| true);
        assert_eq!(nearest_of_all("Trapezuim"), Bone::from_name("Trapezium"));
        assert_eq!(nearest_of_all("pisiform"), Bone::from_name("Pisiform"));
        assert_eq!(nearest_of_all("ring"), None);
        // Of several similar names, one that has no shape yet.
        let missing = Bone::from_name("finger-14").unwrap();
        assert_eq!(nearest("finger-142", |bone| bone == missing), Some(missing));
        assert_eq!(nearest("Trapezuim", |bone| bone == missing), None);
    }

    #[test]
    fn problems_with_labels_become_findings() {
        let mut population = Population::new(2, 1);
        population.remove(1, "Hamate");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        let shape = |label: &str| format!(r#"{{"type":"poly_seg","label":"{label}","points":[[1,1],[9,1],[9,9]]}}"#);
        let repeated = shape("Radius").replacen("\"label\"", "\"label\":\"Radius\",\"label\"", 1);
        let text =
            format!(r#"{{"annotations":[{},{},{},{repeated}]}}"#, shape("Ulna"), shape("Hamat"), shape("LUNATE"));
        std::fs::write(&path, text).unwrap();
        let problems = crate::dataset::annotation::read(&path, "a.json").unwrap().problems;
        let image_id = population.tables.images[1].image_id.clone();
        population.tables.problems = problems
            .into_iter()
            .map(|p| ProblemRow { image_id: Some(image_id.clone()), ..ProblemRow::from(p) })
            .collect();
        let findings: Vec<_> = population.audit().into_iter().filter(|f| f.check == &CHECK).collect();
        assert_eq!(findings.len(), 2, "{findings:?}");
        assert!(findings.iter().all(|f| f.image == Some(1)));
        assert!(findings[0].suggestion.contains("Hamate") && findings[0].score > findings[1].score);
        let proposed = findings.iter().map(|f| f.row(&population.tables).relabel);
        assert_eq!(proposed.collect::<Vec<_>>(), [r#"{"Hamat":"Hamate"}"#, r#"{"LUNATE":"Lunate"}"#]);
    }
}
