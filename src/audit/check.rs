//! The list of checks, and how a check is described to the rest of the crate.

use polars::prelude::PolarsResult;

use crate::closed_enum::Named;

use super::{AuditContext, Finding, Severity};
use super::{
    asymmetry, bright, compare, dice, duplicate_label, mask_size, metadata, misaligned, missing, near_duplicate,
    orientation, outside_image, place, same_side, self_intersection, several_parts, side_order, size, strips, swaps,
    tiny_parts, unknown_label, unusable,
};

/// A check, as the rest of the crate sees it.
#[derive(Debug)]
pub struct Check {
    /// Name in the findings table.
    pub name: &'static str,
    /// What it reports, in a few words.
    pub about: &'static str,
    /// The highest severity of its findings. Checks of faults that are common or do not affect masks are never high.
    pub ceiling: Severity,
    /// Content of the picture of a finding.
    pub evidence: EvidenceKind,
    /// The kinds of faults in phantom data sets that it detects, and when such a fault counts as detected.
    pub faults: &'static [(&'static str, Detection)],
    /// Returns its findings, in any order.
    ///
    /// # Errors
    /// Polars cannot process a table.
    pub find: fn(&AuditContext) -> PolarsResult<Vec<Finding>>,
}

/// Content of the picture of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvidenceKind {
    /// The bones of the finding, enlarged.
    Bones,
    /// The neighbours of these bones, enlarged: they show where a missing bone should be.
    Neighbours,
    /// The whole image, with the bones of the finding.
    Image,
    /// The whole image, with the distal phalanges of thumb and little finger.
    Tips,
    /// The whole image, with all bones.
    Hand,
}

/// When a finding counts as the detection of a planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It names a faulty bone, or the whole image.
    AnyBone,
    /// It names every faulty bone.
    AllBones,
    /// It never counts as detection, but it is correct because it describes a consequence of the fault: a bone is
    /// missing because its shape has another label.
    Consequence,
}

/// Every check, in the order in which `carpus list checks` prints them.
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
    compare::CHECK,
];

impl Check {
    /// The check with this name.
    pub fn from_name(name: &str) -> Option<&'static Check> {
        CHECKS.iter().find(|check| check.name == name)
    }

    /// Its index in [`CHECKS`].
    pub(super) fn position(&self) -> Option<usize> {
        CHECKS.iter().position(|check| check == self)
    }

    /// When it detects faults of this kind; `None` where it does not look for them.
    pub(super) fn detection(&self, fault: &str) -> Option<Detection> {
        self.faults.iter().find(|(kind, _)| *kind == fault).map(|(_, detection)| *detection)
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
        Check::from_name(&name).ok_or_else(|| {
            serde::de::Error::custom(format!("unknown check {name:?}; `carpus list checks` prints the names"))
        })
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
    fn names_are_unique() {
        for (position, check) in CHECKS.iter().enumerate() {
            assert_eq!(Check::from_name(check.name).and_then(Check::position), Some(position));
        }
        assert_eq!(CHECKS.len(), 23);
    }
}
