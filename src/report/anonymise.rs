//! Inputs of a report without patient ids, file names and free texts.

use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::audit::FindingRow;
use crate::bones::Bone;
use crate::dataset::kind_of_problem;
use crate::names::image_id;
use crate::tables::{FoldRow, ProblemRow, Tables};

/// Tables, folds and findings that a report is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReportInputs {
    /// The tables.
    pub tables: Tables,
    /// The folds, if there are any.
    pub folds: Option<Vec<FoldRow>>,
    /// The findings, if there are any.
    pub findings: Option<Vec<FindingRow>>,
    /// Ids of images that corrections exclude.
    pub excluded: HashSet<String>,
}

/// Numbers in place of ids.
struct Pseudonyms {
    patients: HashMap<String, String>,
    images: HashMap<String, String>,
}

impl Pseudonyms {
    fn new(tables: &Tables, folds: &[FoldRow], findings: &[FindingRow]) -> Pseudonyms {
        let patients = tables.patients.iter().map(|p| &p.patient_id).chain(tables.images.iter().map(|i| &i.patient_id));
        let patients =
            patients.chain(folds.iter().map(|f| &f.patient_id)).chain(findings.iter().map(|f| &f.patient_id));
        let images = tables.images.iter().map(|i| &i.image_id).chain(folds.iter().map(|f| &f.image_id));
        let images = images.chain(findings.iter().map(|f| &f.image_id));
        Pseudonyms {
            patients: numbered("patient", patients.cloned().collect(), tables),
            images: numbered("image", images.map(|id| image_id(id)).collect(), tables),
        }
    }

    fn patient(&self, id: &str) -> String {
        self.patients.get(id).cloned().unwrap_or_default()
    }

    fn image(&self, id: &str) -> String {
        self.images.get(&image_id(id)).cloned().unwrap_or_default()
    }
}

/// A number for each id, in an order shuffled by the hashes of the images, which only the owner of the data knows.
fn numbered(word: &str, mut ids: Vec<String>, tables: &Tables) -> HashMap<String, String> {
    ids.sort_unstable();
    ids.dedup();
    ids.retain(|id| !id.is_empty());
    let mut hash = Sha256::new();
    tables.images.iter().filter_map(|image| image.sha256.as_ref()).for_each(|sha256| hash.update(sha256));
    ids.shuffle(&mut ChaCha8Rng::from_seed(hash.finalize().into()));
    ids.into_iter().enumerate().map(|(i, id)| (id, format!("{word} {}", i + 1))).collect()
}

/// Replaces ids by numbers, and removes file names, places in files, values as typed, notes, hashes and pictures. Messages of
/// findings are replaced by the descriptions of their checks, and reasons of problems by their kinds. Rows of one patient
/// still belong together; the order of the numbers does not depend on the ids.
pub fn anonymised(inputs: &ReportInputs) -> ReportInputs {
    let tables = &inputs.tables;
    let (folds, findings) = (inputs.folds.as_deref(), inputs.findings.as_deref());
    let names = Pseudonyms::new(tables, folds.unwrap_or_default(), findings.unwrap_or_default());
    let mut out = Tables { rotated_deg: tables.rotated_deg, ..Tables::default() };
    out.patients = tables.patients.clone();
    for patient in &mut out.patients {
        patient.patient_id = names.patient(&patient.patient_id);
        patient.note.clear();
    }
    out.patients.sort_by_key(|patient| number(&patient.patient_id));
    // The number of the row is as good as the id; only that there is a row matters.
    out.patients.iter_mut().enumerate().for_each(|(at, p)| p.sheet_row = p.sheet_row.map(|_| at as u32 + 2));
    out.images = tables.images.clone();
    // Equal files still have equal hashes.
    let hashes = numbered("file", tables.images.iter().filter_map(|i| i.sha256.clone()).collect(), tables);
    for image in &mut out.images {
        image.image_id = names.image(&image.image_id);
        image.patient_id = names.patient(&image.patient_id);
        image.path = image.image_id.clone();
        image.annotation_path = image.annotation_path.as_ref().map(|_| image.image_id.clone());
        image.sha256 = image.sha256.as_ref().and_then(|hash| hashes.get(hash).cloned());
        (image.annotation_sha256, image.image_hash) = (None, None);
        image.unusable_reason = image.unusable_reason.as_ref().map(|_| "not usable".to_owned());
    }
    out.images.sort_by_key(|image| number(&image.image_id));
    out.bones = tables.bones.clone();
    out.bones.iter_mut().for_each(|bone| bone.image_id = names.image(&bone.image_id));
    out.overlaps = tables.overlaps.clone();
    out.overlaps.iter_mut().for_each(|pair| pair.image_id = names.image(&pair.image_id));
    out.shapes = tables.shapes.clone();
    out.shapes.iter_mut().for_each(|shape| shape.image_id = names.image(&shape.image_id));
    out.problems = tables.problems.iter().map(|problem| anonymous_problem(problem, &names)).collect();
    let folds = folds.map(|folds| {
        let fold = |row: &FoldRow| FoldRow {
            image_id: names.image(&row.image_id),
            patient_id: names.patient(&row.patient_id),
            ..row.clone()
        };
        folds.iter().map(fold).collect()
    });
    let findings = findings.map(|findings| findings.iter().map(|finding| anonymous_finding(finding, &names)).collect());
    let excluded = inputs.excluded.iter().map(|id| names.image(id)).collect();
    ReportInputs { tables: out, folds, findings, excluded }
}

/// The number in a pseudonym.
fn number(pseudonym: &str) -> usize {
    pseudonym.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or(usize::MAX)
}

fn anonymous_problem(problem: &ProblemRow, names: &Pseudonyms) -> ProblemRow {
    // What is quoted is free text; what has no quotes may still name a file.
    let kind = |text: &str| {
        let words = kind_of_problem(text);
        let is_name = |word: &&str| word.contains(['/', '\\']) || word.contains("image") && word.contains('…');
        words.split(' ').map(|word| if is_name(&word) { "…" } else { word }).collect::<Vec<_>>().join(" ")
    };
    ProblemRow {
        image_id: problem.image_id.as_ref().map(|id| names.image(id)),
        patient_id: problem.patient_id.as_ref().map(|id| names.patient(id)),
        reason: kind(&problem.reason),
        action: kind(&problem.action),
        severity: problem.severity,
        ..ProblemRow::default()
    }
}

fn anonymous_finding(finding: &FindingRow, names: &Pseudonyms) -> FindingRow {
    // A label that is no bone is free text.
    let labels: Vec<&str> = finding.label.split('|').filter(|label| Bone::from_name(label).is_some()).collect();
    FindingRow {
        image_id: names.image(&finding.image_id),
        patient_id: names.patient(&finding.patient_id),
        message: finding.check.about.to_owned(),
        label: labels.join("|"),
        suggestion: String::new(),
        relabel: String::new(),
        evidence: String::new(),
        ..finding.clone()
    }
}
