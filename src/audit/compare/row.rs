use super::CHECK;
use crate::audit::{Check, FindingRow, Severity};
use crate::bones::Bone;
use crate::closed_enum::closed_enum;
use crate::tables::table;
use crate::wording::counted;

closed_enum! {
    /// How two sets of masks differ in a bone.
    #[derive(Default)]
    pub enum DifferenceKind ("kind of difference") {
        /// Only the first set has the bone.
        #[default]
        Missing = "missing",
        /// Only the second set has the bone.
        Extra = "extra",
        /// Both have the same mask, with different labels.
        MismatchedLabel = "mismatched-label",
        /// Both have the bone, with a low Dice.
        LowOverlap = "low-overlap",
        /// In the second set, the bone lies in another one's mask; in the first it does not.
        Hidden = "hidden",
    }
}

table! {
    /// A difference between two sets of masks.
    pub struct DifferenceRow in "differences", for_people = true {
        /// Key of the images table.
        pub image_id: String,
        /// Key of the patients table.
        pub patient_id: String,
        /// `missing`, `extra`, `mismatched-label`, `low-overlap`, `hidden`.
        pub kind: DifferenceKind,
        /// Bone in the first set; of a hidden bone, the bone; empty for an extra one.
        pub label: String,
        /// Bone in the second set; of a hidden bone, the one that contains it; empty for a missing one.
        pub other_label: String,
        /// Dice of the two masks.
        pub dice: Option<f64>,
        /// Area in px of the first mask.
        pub area_px: Option<u64>,
        /// Area in px of the second mask.
        pub other_area_px: Option<u64>,
    }
}

/// The differences of one kind in an image as a finding.
pub(super) fn finding(rows: &[&DifferenceRow]) -> FindingRow {
    let first = rows[0];
    let bones: Vec<&str> =
        rows.iter().map(|row| if row.label.is_empty() { &*row.other_label } else { &*row.label }).collect();
    let count = counted(rows.len(), "bone", "bones");
    let list = |text: &dyn Fn(&DifferenceRow) -> String| {
        let mut parts: Vec<String> = rows.iter().take(5).map(|row| text(row)).collect();
        if rows.len() > 5 {
            parts.push(format!("{} more", rows.len() - 5));
        }
        parts.join(", ")
    };
    let worst = rows.iter().filter_map(|row| row.dice).fold(1.0, f64::min);
    let best = rows.iter().filter_map(|row| row.dice).fold(0.0, f64::max);
    let (score, message, suggestion) = match first.kind {
        DifferenceKind::Missing => {
            let message = format!("{count} only in the first set: {}", list(&|row| row.label.clone()));
            (1.5, message, "check whether the second set misses it, or the first has one too many")
        }
        DifferenceKind::Extra => {
            let message = format!("{count} only in the second set: {}", list(&|row| row.other_label.clone()));
            (1.5, message, "draw the bone, or check whether the second set has one too many")
        }
        DifferenceKind::MismatchedLabel => {
            let text = |row: &DifferenceRow| {
                format!("{} is {} (Dice {:.2})", row.label, row.other_label, row.dice.unwrap_or(0.0))
            };
            (1.0 + 2.0 * best, format!("{count} with another label in the second set: {}", list(&text)), "relabel")
        }
        DifferenceKind::LowOverlap => {
            let text = |row: &DifferenceRow| format!("{} (Dice {:.2})", row.label, row.dice.unwrap_or(0.0));
            (1.0 + (1.0 - worst), format!("{count} with a low overlap: {}", list(&text)), "compare the two outlines")
        }
        DifferenceKind::Hidden => {
            let text = |row: &DifferenceRow| format!("{} in {}", row.label, row.other_label);
            (1.5, format!("{count} hidden in the second set: {}", list(&text)), "check whether both outlines are right")
        }
    };
    let relabel: std::collections::BTreeMap<&str, &str> = match first.kind {
        DifferenceKind::MismatchedLabel => rows.iter().map(|row| (&*row.label, &*row.other_label)).collect(),
        _ => Default::default(),
    };
    debug_assert!(relabel.values().all(|name| Bone::from_name(name).is_some()));
    let check: &'static Check = Check::from_name(CHECK.name).expect("the check is in the list");
    FindingRow {
        image_id: first.image_id.clone(),
        patient_id: first.patient_id.clone(),
        label: bones.join("|"),
        check,
        score: (score * 1000.0_f64).round() / 1000.0,
        severity: Severity::of_score(score),
        message,
        suggestion: suggestion.to_owned(),
        relabel: if relabel.is_empty() {
            String::new()
        } else {
            serde_json::to_string(&relabel).expect("texts are JSON")
        },
        evidence: String::new(),
    }
}
