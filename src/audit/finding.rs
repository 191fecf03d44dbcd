use super::{Check, Severity};
use crate::bones::Bone;
use crate::dataset::Corrections;
use crate::tables::{Tables, table};

table! {
    /// Something suspicious, for a person to judge. Rows ranked, worst first.
    pub struct FindingRow in "findings", for_people = true {
        /// Key of the images table.
        pub image_id: String,
        /// Patient.
        pub patient_id: String,
        /// Class concerned; empty for the whole image.
        pub label: String,
        /// Name of the check.
        pub check: &'static Check,
        /// How far out, in the check's own unit made comparable: about 1 at the threshold, larger is worse.
        pub score: f64,
        /// `low`, `medium`, `high`.
        pub severity: Severity,
        /// What was seen.
        pub message: String,
        /// What to do about it.
        pub suggestion: String,
        /// Evidence picture, relative to the findings file; empty for none.
        pub evidence: String,
    }
}

/// Something suspicious, before it is a row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// Which check.
    pub check: &'static Check,
    /// Index in the images table; `None` for what concerns a patient without images, or a file that is none.
    pub image: Option<usize>,
    /// Image, where it is not in the images table.
    pub image_id: String,
    /// Patient, where `image` is `None`.
    pub patient_id: String,
    /// Bones concerned; none for the whole image.
    pub bones: Vec<Bone>,
    /// 1 at the check's threshold, larger is worse.
    pub score: f64,
    /// What was seen.
    pub message: String,
    /// What to do about it.
    pub suggestion: String,
    /// Another image to show beside this one, by index.
    pub beside: Option<usize>,
}

impl Finding {
    /// About an image of the images table.
    pub fn of_image(
        check: &'static Check,
        image: usize,
        score: f64,
        message: String,
        suggestion: impl Into<String>,
    ) -> Self {
        Finding {
            check,
            image: Some(image),
            image_id: String::new(),
            patient_id: String::new(),
            bones: Vec::new(),
            score,
            message,
            suggestion: suggestion.into(),
            beside: None,
        }
    }

    /// The same about these bones.
    pub fn with_bones(self, bones: impl IntoIterator<Item = Bone>) -> Self {
        Finding { bones: bones.into_iter().collect(), ..self }
    }

    /// The same, with another image to compare with.
    pub fn with_beside(self, image: usize) -> Self {
        Finding { beside: Some(image), ..self }
    }

    /// By score, no worse than the check can be.
    pub fn severity(&self) -> Severity {
        Severity::of_score(self.score).min(self.check.ceiling)
    }

    /// Whether the corrections settle it: its image or patient is excluded, or a person looked at it and kept the annotation.
    pub fn is_handled(&self, tables: &Tables, corrections: &Corrections) -> bool {
        let row = self.row(tables);
        corrections.excludes(&row.image_id, &row.patient_id)
            || corrections.keeps(&row.image_id, row.check.name, &row.label)
            || !self.bones.is_empty()
                && self.bones.iter().all(|bone| corrections.keeps(&row.image_id, row.check.name, bone.name()))
    }

    /// As a row of the findings table; `label` holds the bones joined by `|`.
    pub fn row(&self, tables: &Tables) -> FindingRow {
        let image = self.image.map(|i| &tables.images[i]);
        let or = |of: Option<&String>, own: &String| of.unwrap_or(own).clone();
        FindingRow {
            image_id: or(image.map(|i| &i.image_id), &self.image_id),
            patient_id: or(image.map(|i| &i.patient_id), &self.patient_id),
            label: self.bones.iter().map(|b| b.name()).collect::<Vec<_>>().join("|"),
            check: self.check,
            // More digits would differ between machines and tell nothing.
            score: (self.score * 1000.0).round() / 1000.0,
            severity: self.severity(),
            message: self.message.clone(),
            suggestion: self.suggestion.clone(),
            evidence: String::new(),
        }
    }
}
