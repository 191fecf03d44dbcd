use std::collections::HashMap;

use super::{Action, Entry, Target};

/// Which images and patients are out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    /// Line of the last word on each target, and whether that excludes it.
    last: HashMap<Target, (usize, bool)>,
}

impl Exclusions {
    /// Goes through the lines in order; a later line overrules an earlier one.
    pub fn new(entries: &[Entry]) -> Exclusions {
        let mut last = HashMap::new();
        for entry in entries {
            let out = match entry.correction.action {
                Action::Exclude {} => true,
                Action::Include {} => false,
                _ => continue,
            };
            last.insert(entry.correction.target.clone(), (entry.line, out));
        }
        Exclusions { last }
    }

    /// Whether the image is out. Of a word on the image and one on its patient the later one holds.
    pub fn contains(&self, image_id: &str, patient_id: &str) -> bool {
        let image = self.last.get(&Target::Image(image_id.to_owned()));
        let patient = self.last.get(&Target::Patient(patient_id.to_owned()));
        image.into_iter().chain(patient).max_by_key(|(line, _)| *line).is_some_and(|(_, out)| *out)
    }

    /// Whether nothing is out.
    pub fn is_empty(&self) -> bool {
        !self.last.values().any(|(_, out)| *out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corrections::Correction;

    fn entries(words: &[(Target, bool)]) -> Vec<Entry> {
        let entry = |(i, (target, out)): (usize, &(Target, bool))| Entry {
            line: i + 1,
            correction: Correction {
                target: target.clone(),
                action: if *out { Action::Exclude {} } else { Action::Include {} },
                annotation_sha256: None,
                reason: String::new(),
                author: String::new(),
                date: "2026-03-01".into(),
            },
        };
        words.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn the_last_word_holds() {
        let (image, patient) = (Target::Image("a".into()), Target::Patient("1".into()));
        let out = |words: &[(Target, bool)]| Exclusions::new(&entries(words)).contains("a", "1");
        assert!(!out(&[]));
        assert!(out(&[(image.clone(), true)]));
        assert!(!out(&[(image.clone(), true), (image.clone(), false)]));
        assert!(out(&[(patient.clone(), true)]));
        assert!(!out(&[(patient.clone(), true), (image.clone(), false)]));
        assert!(out(&[(image, false), (patient, true)]));
    }
}
