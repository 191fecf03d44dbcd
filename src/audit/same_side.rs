//! Reports patients whose two images both show a left hand or both a right hand, by the layout of all bones.
//!
//! Why it matters: one image is mirrored, belongs to another patient, or shows the same hand again.
//!
//! Example: both images of patient 006 show a right hand.

use polars::prelude::PolarsResult;

use super::side_order::{SCORE, side_name, wrong_side};
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
    Ok(context.patients.iter().filter_map(|images| finding_of_patient(context, images)).collect())
}

fn finding_of_patient(context: &AuditContext, images: &[usize]) -> Option<Finding> {
    let [first, second] = *images else { return None };
    let side = context.side_from_bones(first)?;
    if context.side_from_bones(second)? != side {
        return None;
    }
    // The image that contradicts its file; the second one if neither or both do.
    let wrong = |image| wrong_side(context, image).is_some();
    let (image, other) = if wrong(first) && !wrong(second) { (first, second) } else { (second, first) };
    let message = format!("both images of the patient show a {} hand", side_name(side));
    let suggestion = "check whether one image is mirrored, belongs to another patient, or shows the same hand again";
    Some(Finding::of_image(&CHECK, image, SCORE, message, suggestion).compared_with(other))
}
