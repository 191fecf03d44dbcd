use polars::prelude::PolarsResult;

use crate::closed_enum::Named;

use super::{AuditContext, Finding, Severity};
use super::{
    asymmetry, bright, dice, duplicate_label, mask_size, metadata, misaligned, missing, near_duplicate, orientation,
    outside_image, place, same_side, self_intersection, several_parts, side_order, size, strips, swaps, tiny_parts,
    unknown_label, unusable,
};

/// A check: all that is known of it outside its file.
#[derive(Debug)]
pub struct Check {
    /// Name in the findings table.
    pub name: &'static str,
    /// What it finds, in a few words.
    pub about: &'static str,
    /// The worst severity that the check alone can give: what is common, or harmless to masks, is never high.
    pub ceiling: Severity,
    /// What the picture of a finding shows.
    pub evidence: EvidenceKind,
    /// The faults of phantom data sets that it answers to.
    pub faults: &'static [(&'static str, Answer)],
    /// Its findings, in any order.
    ///
    /// # Errors
    /// Those of polars.
    pub find: fn(&AuditContext) -> PolarsResult<Vec<Finding>>,
}

/// What the picture of a finding shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// The bones of the finding, enlarged.
    Bones,
    /// The neighbours of these bones, enlarged: they show where a missing bone should be.
    Neighbours,
    /// The whole image, with the bones of the finding.
    Image,
    /// The whole image, with the tips of thumb and little finger.
    Tips,
    /// The whole image, with all bones.
    Hand,
}

/// How a finding answers to a planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It names a bone at fault, or the whole image.
    One,
    /// It names every bone at fault.
    Every,
    /// It rightly describes a consequence and not the fault: a bone whose shape bears another bone's name, or none, is missing.
    Consequence,
}

/// Every check, in the order of listings.
pub const CHECKS: &[Check] = &[
    missing::CHECK,
    duplicate_label::CHECK,
    unknown_label::CHECK,
    self_intersection::CHECK,
    outside_image::CHECK,
    tiny_parts::CHECK,
    several_parts::CHECK,
    swaps::CHECK,
    place::CHECK,
    size::CHECK,
    orientation::CHECK,
    side_order::CHECK,
    same_side::CHECK,
    bright::CHECK,
    strips::CHECK,
    mask_size::CHECK,
    asymmetry::CHECK,
    metadata::CHECK,
    near_duplicate::CHECK,
    dice::CHECK,
    misaligned::CHECK,
    unusable::CHECK,
];

impl Check {
    /// The check of that name.
    pub fn from_name(name: &str) -> Option<&'static Check> {
        CHECKS.iter().find(|check| check.name == name)
    }

    /// Its place in [`CHECKS`].
    pub(super) fn place(&self) -> Option<usize> {
        CHECKS.iter().position(|check| check == self)
    }

    /// How it answers to a kind of fault; `None` where it does not.
    pub(super) fn answer(&self, fault: &str) -> Option<Answer> {
        self.faults.iter().find(|(kind, _)| *kind == fault).map(|(_, answer)| *answer)
    }
}

impl Default for &'static Check {
    fn default() -> &'static Check {
        &CHECKS[0]
    }
}

impl Named for &'static Check {
    const EXPECTED: &'static str = "the name of a check (`carpus list checks`)";
    fn names() -> Vec<&'static str> {
        CHECKS.iter().map(|check| check.name).collect()
    }
    fn text(self) -> &'static str {
        self.name
    }
    fn named(name: &str) -> Option<&'static Check> {
        Check::from_name(name)
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name)
    }
}

impl serde::Serialize for Check {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> serde::Deserialize<'de> for &'static Check {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<&'static Check, D::Error> {
        let name = String::deserialize(deserializer)?;
        Check::from_name(&name).ok_or_else(|| serde::de::Error::custom(format!("there is no check {name:?}")))
    }
}

impl PartialEq for Check {
    fn eq(&self, other: &Check) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for (place, check) in CHECKS.iter().enumerate() {
            assert_eq!(Check::from_name(check.name).and_then(Check::place), Some(place));
        }
        assert_eq!(CHECKS.len(), 22);
    }
}
