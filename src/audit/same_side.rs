//! Two left or two right hands of one patient, by the layout of all bones.

use polars::prelude::PolarsResult;

use super::side_order::{SCORE, word, wrong_side};
use super::{AuditContext, Check, EvidenceKind, Finding, Severity};

pub(super) const CHECK: Check = Check {
    name: "same_side",
    about: "two left or two right hands of one patient",
    ceiling: Severity::High,
    evidence: EvidenceKind::Tips,
    faults: &[],
    find,
};

fn find(context: &AuditContext) -> PolarsResult<Vec<Finding>> {
    Ok(context.patients.iter().filter_map(|images| of_patient(context, images)).collect())
}

fn of_patient(context: &AuditContext, images: &[usize]) -> Option<Finding> {
    let [first, second] = *images else { return None };
    let side = context.side_seen(first)?;
    if context.side_seen(second)? != side {
        return None;
    }
    // The one that disagrees with its file; the later one where neither or both do.
    let wrong = |image| wrong_side(context, image).is_some();
    let (image, other) = if wrong(first) && !wrong(second) { (first, second) } else { (second, first) };
    let message = format!("both hands of the patient are {} hands by their bones", word(side));
    let suggestion = "check whether one is mirrored, filed under the wrong patient, or the same hand twice";
    Some(Finding::of_image(&CHECK, image, SCORE, message, suggestion).with_beside(other))
}
