//! What the decisions of a corrections file mean for the findings.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use crate::audit::{EvidenceKind, FindingRow};
use crate::dataset::Corrections;
use crate::dataset::corrections::{Action, Decision, Relabel, Target};

/// Checks whose findings are settled by stating the side of an image.
const ABOUT_SIDES: [&str; 2] = ["side_order", "same_side"];

/// A finding with an id that links can name.
pub struct ListedFinding {
    /// The first 12 hex digits of the SHA-256 of image, patient, check, label and message.
    pub id: String,
    /// The normalised id of its image; empty for a finding about a patient.
    pub image_id: String,
    /// Its row in the findings table.
    pub row: FindingRow,
}

impl ListedFinding {
    /// Its labels; empty for the whole image.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.row.label.split('|').filter(|label| !label.is_empty())
    }
}

/// How a curator judges a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgementKind {
    /// To be checked by another person.
    Flagged,
    /// The annotation is correct.
    Kept,
    /// The annotation was corrected.
    Corrected,
    /// The image is left out.
    Excluded,
}

impl JudgementKind {
    /// Its name on the page.
    pub fn name(self) -> &'static str {
        match self {
            JudgementKind::Flagged => "flagged",
            JudgementKind::Kept => "kept",
            JudgementKind::Corrected => "corrected",
            JudgementKind::Excluded => "excluded",
        }
    }
}

/// The judgement of one curator, from the last of their decisions that covers the finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The curator.
    pub author: String,
    /// The judgement.
    pub kind: JudgementKind,
    /// Id of the decision.
    pub decision: String,
    /// Reason of the decision.
    pub reason: String,
    /// Time of the decision.
    pub time: String,
}

/// The judgement that counts, if curators differ: the one that changes most.
pub fn outcome(judgements: &[Judgement]) -> Option<JudgementKind> {
    judgements.iter().map(|judgement| judgement.kind).max()
}

/// Whether two curators judge differently. A flag is no judgement of its own.
pub fn is_disputed(judgements: &[Judgement]) -> bool {
    let kinds = judgements.iter().map(|j| j.kind).filter(|kind| *kind != JudgementKind::Flagged);
    kinds.collect::<HashSet<_>>().len() > 1
}

/// The judgements of each finding, one per curator, in the order of their decisions. Decisions in `scanned` were made
/// before the audit, so they do not settle a finding that it reports.
pub fn judgements(
    findings: &[ListedFinding],
    corrections: &Corrections,
    scanned: &HashSet<String>,
) -> Vec<Vec<Judgement>> {
    let mut of_patient: HashMap<&str, Vec<&Decision>> = HashMap::new();
    for decision in corrections.decisions() {
        if let Target::Patient(id) = &decision.target {
            of_patient.entry(id).or_default().push(decision);
        }
    }
    let of_finding = |finding: &ListedFinding| {
        let about_patient = of_patient.get(&*finding.row.patient_id).map(Vec::as_slice).unwrap_or_default();
        let about_image = corrections.of_image(&finding.image_id).filter(|_| !finding.image_id.is_empty());
        let mut found: Vec<Judgement> = Vec::new();
        for decision in about_patient.iter().copied().chain(about_image) {
            let Some(kind) = kind(finding, decision, scanned) else { continue };
            let judgement = Judgement {
                author: decision.author.clone(),
                kind,
                decision: decision.id(),
                reason: decision.reason.clone(),
                time: decision.time.clone(),
            };
            found.retain(|earlier| earlier.author != judgement.author);
            found.push(judgement);
        }
        found
    };
    findings.iter().map(of_finding).collect()
}

/// What a decision means for a finding of its image or patient.
fn kind(finding: &ListedFinding, decision: &Decision, scanned: &HashSet<String>) -> Option<JudgementKind> {
    let is_new = || !scanned.contains(&decision.id());
    let when = |holds: bool, kind| holds.then_some(kind);
    match &decision.action {
        Action::Exclude {} => Some(JudgementKind::Excluded),
        Action::Keep { check, label } => when(covers(finding, check, label), JudgementKind::Kept),
        Action::Flag { check, label } => when(covers(finding, check, label), JudgementKind::Flagged),
        Action::SetSide { .. } => {
            when(ABOUT_SIDES.contains(&finding.row.check.name) && is_new(), JudgementKind::Corrected)
        }
        Action::SetMetadata { .. } => {
            when(finding.row.check.name.contains("metadata") && is_new(), JudgementKind::Corrected)
        }
        Action::Relabel(_) | Action::Drop { .. } | Action::Replace { .. } => {
            when(touches(finding, &decision.action) && is_new(), JudgementKind::Corrected)
        }
        Action::Note { .. } | Action::Undo { .. } => None,
    }
}

fn covers(finding: &ListedFinding, check: &Option<String>, label: &Option<String>) -> bool {
    let is_same_set = |label: &String| {
        label.split('|').collect::<HashSet<_>>() == finding.row.label.split('|').collect::<HashSet<_>>()
    };
    check.as_ref().is_none_or(|check| check == finding.row.check.name) && label.as_ref().is_none_or(is_same_set)
}

/// Whether an action changes a shape that the finding is about.
fn touches(finding: &ListedFinding, action: &Action) -> bool {
    let changed: Vec<&str> = match action {
        Action::Relabel(Relabel::Shape { shape, to }) => vec![&shape.label, to],
        Action::Relabel(Relabel::Labels { labels, .. }) => {
            labels.iter().flat_map(|(old, new)| [old.as_str(), new.as_str()]).collect()
        }
        Action::Drop { shape } | Action::Replace { shape, .. } => vec![&shape.label],
        _ => return false,
    };
    let proposed = finding.row.proposed_labels().unwrap_or_default();
    if finding.row.label.is_empty() && proposed.is_empty() {
        // About the hand as a whole: any of its shapes.
        return finding.row.check.evidence == EvidenceKind::Hand;
    }
    changed.iter().any(|label| finding.labels().any(|own| own == *label) || proposed.contains_key(*label))
}
