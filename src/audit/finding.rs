//! A finding of a check, and its row in the findings table.

use std::collections::BTreeMap;

use super::{Check, Severity};
use crate::bones::Bone;
use crate::dataset::Corrections;
use crate::tables::{Tables, table};

table! {
    /// A suspicious image or annotation, for a person to review. Rows are sorted, worst first.
    pub struct FindingRow in "findings", for_people = true {
        /// Key of the images table.
        pub image_id: String,
        /// Key of the patients table.
        pub patient_id: String,
        /// Bones of the finding, joined by `|`; empty for the whole image.
        pub label: String,
        /// Name of the check.
        pub check: &'static Check,
        /// How unusual it is: 1 at the threshold of the check, larger is worse. Comparable between checks.
        pub score: f64,
        /// `low`, `medium`, `high`.
        pub severity: Severity,
        /// Description.
        pub message: String,
        /// Proposed action.
        pub suggestion: String,
        /// Proposed labels: a JSON object from old to new labels, which `carpus corrections add --from` makes a
        /// decision of; empty without a proposal.
        pub relabel: String,
        /// Path of the picture, relative to the findings file; empty without a picture.
        pub evidence: String,
    }
}

impl FindingRow {
    /// The proposed labels, by the old label; empty without a proposal.
    ///
    /// # Errors
    /// The column is not a JSON object of labels, or a new label is not the name of a bone.
    pub fn proposed_labels(&self) -> Result<BTreeMap<String, Bone>, String> {
        if self.relabel.is_empty() {
            return Ok(BTreeMap::new());
        }
        let invalid = |reason: String| format!("column relabel is {:?}: {reason}", self.relabel);
        let labels: BTreeMap<String, String> =
            serde_json::from_str(&self.relabel).map_err(|_| invalid("expected a JSON object of labels".into()))?;
        let bone = |name: String| Bone::from_name(&name).ok_or_else(|| invalid(format!("{name:?} is not a bone")));
        labels.into_iter().map(|(old, new)| Ok((old, bone(new)?))).collect()
    }
}

fn json_object(labels: &BTreeMap<String, Bone>) -> String {
    let names: BTreeMap<&String, &str> = labels.iter().map(|(old, new)| (old, new.name())).collect();
    serde_json::to_string(&names).expect("texts are JSON")
}

/// A suspicious image or annotation, as a check returns it. [`Finding::row`] converts it to a row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The check that reports it.
    pub check: &'static Check,
    /// Index in the images table; `None` for a patient without images or a file that is not in the table.
    pub image: Option<usize>,
    /// ID of the image where `image` is `None`.
    pub image_id: String,
    /// ID of the patient where `image` is `None`.
    pub patient_id: String,
    /// Bones of the finding; empty for the whole image.
    pub bones: Vec<Bone>,
    /// 1 at the threshold of the check, larger is worse.
    pub score: f64,
    /// Description.
    pub message: String,
    /// Proposed action.
    pub suggestion: String,
    /// Proposed labels, by the old label; empty without a proposal.
    pub relabel: BTreeMap<String, Bone>,
    /// Index of another image that the picture shows next to this one.
    pub comparison: Option<usize>,
}

impl Finding {
    /// A finding about an image of the images table; add bones with [`Finding::with_bones`].
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
            relabel: BTreeMap::new(),
            comparison: None,
        }
    }

    /// Sets the bones.
    pub fn with_bones(self, bones: impl IntoIterator<Item = Bone>) -> Self {
        Finding { bones: bones.into_iter().collect(), ..self }
    }

    /// Sets the proposed labels, each with the old one.
    pub fn proposing(self, relabel: impl IntoIterator<Item = (String, Bone)>) -> Self {
        Finding { relabel: relabel.into_iter().collect(), ..self }
    }

    /// Sets the image to compare with.
    pub fn compared_with(self, image: usize) -> Self {
        Finding { comparison: Some(image), ..self }
    }

    /// The severity of the score, limited to the ceiling of the check.
    pub fn severity(&self) -> Severity {
        Severity::of_score(self.score).min(self.check.ceiling)
    }

    /// Whether the corrections already handle it: they exclude its image or patient, or they keep the annotation for
    /// this check.
    pub fn is_handled(&self, tables: &Tables, corrections: &Corrections) -> bool {
        let row = self.row(tables);
        corrections.excludes(&row.image_id, &row.patient_id)
            || corrections.keeps(&row.image_id, row.check.name, &row.label)
            || !self.bones.is_empty()
                && self.bones.iter().all(|bone| corrections.keeps(&row.image_id, row.check.name, bone.name()))
    }

    /// Converts it to a row of the findings table.
    pub fn row(&self, tables: &Tables) -> FindingRow {
        let image = self.image.map(|i| &tables.images[i]);
        let or = |in_table: Option<&String>, own: &String| in_table.unwrap_or(own).clone();
        FindingRow {
            image_id: or(image.map(|i| &i.image_id), &self.image_id),
            patient_id: or(image.map(|i| &i.patient_id), &self.patient_id),
            label: self.bones.iter().map(|b| b.name()).collect::<Vec<_>>().join("|"),
            check: self.check,
            // Rounded: further digits differ between machines and carry no information.
            score: (self.score * 1000.0).round() / 1000.0,
            severity: self.severity(),
            message: self.message.clone(),
            suggestion: self.suggestion.clone(),
            relabel: if self.relabel.is_empty() { String::new() } else { json_object(&self.relabel) },
            evidence: String::new(),
        }
    }
}
