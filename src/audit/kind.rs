/// Every check, by what it finds. Adding one: a variant here, a file that finds it, a line in
/// [`super::audit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CheckKind {
    /// A bone that should be annotated is not.
    MissingLabel,
    /// A label that occurs more than once in an image.
    DuplicateLabel,
    /// A label that is no bone.
    UnknownLabel,
    /// An outline that crosses itself.
    SelfIntersection,
    /// An outline with vertices outside the image.
    OutsideImage,
    /// Stray specks beside a bone.
    TinyParts,
    /// A bone in several parts.
    SeveralParts,
    /// Labels exchanged between bones.
    SwappedLabels,
    /// A bone far from where the others put it.
    Place,
    /// A bone of a size or shape that does not go with the others.
    Size,
    /// A long bone that leans otherwise than the others make likely.
    Orientation,
    /// A hand on the other side than its file's name or time says.
    SideOrder,
    /// Two left or two right hands of one patient.
    SameSide,
    /// Rings, implants, nail art: more bright pixels than other images have.
    BrightPixels,
    /// Bright strips along the image's edges.
    BorderStrip,
    /// Bones altogether larger or smaller than height, weight and sex predict.
    MaskSize,
    /// A bone that differs in size from the patient's other hand.
    Asymmetry,
    /// Age, height, weight or sex out of range or absent.
    Metadata,
    /// The same picture twice.
    NearDuplicate,
    /// A Dice score far below what the class usually gets.
    LowDice,
    /// Outlines that do not follow the bones of their image.
    Misaligned,
    /// A file that could not be used.
    Unusable,
}

impl CheckKind {
    /// Every check.
    pub const ALL: &'static [CheckKind] = &[
        CheckKind::MissingLabel,
        CheckKind::DuplicateLabel,
        CheckKind::UnknownLabel,
        CheckKind::SelfIntersection,
        CheckKind::OutsideImage,
        CheckKind::TinyParts,
        CheckKind::SeveralParts,
        CheckKind::SwappedLabels,
        CheckKind::Place,
        CheckKind::Size,
        CheckKind::Orientation,
        CheckKind::SideOrder,
        CheckKind::SameSide,
        CheckKind::BrightPixels,
        CheckKind::BorderStrip,
        CheckKind::MaskSize,
        CheckKind::Asymmetry,
        CheckKind::Metadata,
        CheckKind::NearDuplicate,
        CheckKind::LowDice,
        CheckKind::Misaligned,
        CheckKind::Unusable,
    ];

    /// Name in the findings table.
    pub fn name(self) -> &'static str {
        match self {
            CheckKind::MissingLabel => "missing_label",
            CheckKind::DuplicateLabel => "duplicate_label",
            CheckKind::UnknownLabel => "unknown_label",
            CheckKind::SelfIntersection => "self_intersection",
            CheckKind::OutsideImage => "outside_image",
            CheckKind::TinyParts => "tiny_parts",
            CheckKind::SeveralParts => "several_parts",
            CheckKind::SwappedLabels => "swapped_labels",
            CheckKind::Place => "place",
            CheckKind::Size => "size",
            CheckKind::Orientation => "orientation",
            CheckKind::SideOrder => "side_order",
            CheckKind::SameSide => "same_side",
            CheckKind::BrightPixels => "bright_pixels",
            CheckKind::BorderStrip => "border_strip",
            CheckKind::MaskSize => "mask_size",
            CheckKind::Asymmetry => "asymmetry",
            CheckKind::Metadata => "metadata",
            CheckKind::NearDuplicate => "near_duplicate",
            CheckKind::LowDice => "low_dice",
            CheckKind::Misaligned => "misaligned",
            CheckKind::Unusable => "unusable",
        }
    }

    /// What it finds, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            CheckKind::MissingLabel => "a bone that should be annotated is not",
            CheckKind::DuplicateLabel => "a label that occurs more than once in an image",
            CheckKind::UnknownLabel => "a label that is no bone",
            CheckKind::SelfIntersection => "an outline that crosses itself",
            CheckKind::OutsideImage => "an outline with vertices outside the image",
            CheckKind::TinyParts => "stray specks beside a bone",
            CheckKind::SeveralParts => "a bone in several parts",
            CheckKind::SwappedLabels => "labels exchanged between bones",
            CheckKind::Place => "a bone far from where the others put it",
            CheckKind::Size => "a bone of a size or shape that does not go with the others",
            CheckKind::Orientation => "a long bone that leans otherwise than the others make likely",
            CheckKind::SideOrder => "a hand on the other side than its file's name or time says",
            CheckKind::SameSide => "two left or two right hands of one patient",
            CheckKind::BrightPixels => "rings, implants, nail art",
            CheckKind::BorderStrip => "bright strips along the image's edges",
            CheckKind::MaskSize => "bones larger or smaller than height, weight and sex predict",
            CheckKind::Asymmetry => "a bone that differs in size from the patient's other hand",
            CheckKind::Metadata => "age, height, weight or sex out of range, absent or guessed",
            CheckKind::NearDuplicate => "the same picture twice",
            CheckKind::LowDice => "a Dice score far below what the class usually gets",
            CheckKind::Misaligned => "outlines off the bones: shifted, turned, mirrored or of another image",
            CheckKind::Unusable => "a file that could not be used",
        }
    }

    /// The check of that name.
    pub fn from_name(name: &str) -> Option<CheckKind> {
        CheckKind::ALL.iter().copied().find(|k| k.name() == name)
    }

    /// The worst severity that the check alone can give: what is common, or harmless to masks, is never high.
    pub fn ceiling(self) -> Severity {
        match self {
            CheckKind::BorderStrip | CheckKind::TinyParts => Severity::Low,
            CheckKind::SelfIntersection
            | CheckKind::OutsideImage
            | CheckKind::SeveralParts
            | CheckKind::BrightPixels
            | CheckKind::MaskSize
            | CheckKind::Asymmetry
            | CheckKind::Metadata
            | CheckKind::Orientation => Severity::Medium,
            _ => Severity::High,
        }
    }
}

/// How soon a person should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// Almost surely wrong.
    High,
}

impl Severity {
    /// `low`, `medium`, `high`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }

    /// Of a score that is 1 at the check's threshold.
    pub fn of_score(score: f64) -> Severity {
        match score {
            s if s >= 2.0 => Severity::High,
            s if s >= 1.4 => Severity::Medium,
            _ => Severity::Low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for kind in CheckKind::ALL {
            assert_eq!(CheckKind::from_name(kind.name()), Some(*kind));
        }
        let mut sorted = CheckKind::ALL.to_vec();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), CheckKind::ALL.len());
    }
}
