use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::EnsembleMember;
use crate::bones::Bone;
use crate::by_bone::{check_bone_key, value_of};
use crate::closed_enum::closed_enum;
use crate::mask::MAX_VOTERS;
use crate::settings_file::{self, SettingsFileError};
use crate::violation::Violations;
use crate::wording::counted;

closed_enum! {
    /// How the predictions of several models are combined.
    pub enum EnsembleMethod ("method") {
        /// Weighted mean of the probabilities. Over the models of a cross-validation it is the cross-validation ensemble.
        Soft = "soft",
        /// Weighted mean of the logits.
        Logit = "logit",
        /// Weighted vote of the masks; see [`super::weighted_vote`].
        Hard = "hard",
        /// STAPLE; see [`super::staple`].
        Staple = "staple",
        /// SIMPLE; see [`super::simple_mask`].
        Simple = "simple",
    }
}

/// An ensemble: `[[ensemble]]` in a file.
///
/// ```toml
/// [[ensemble]]
/// name = "folds"
/// method = "soft"
/// members = ["probabilities/fold0", "probabilities/fold1"]
///
/// [[ensemble]]
/// name = "final"
/// method = "hard"
/// members = ["folds", "unet.csv", { run = "runs/hrnet", tta = "flip" }]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnsembleConfig {
    /// Name of the files that are written, and of this ensemble as a member of later ones: letters, digits, `.`, `_`, `-`.
    pub name: String,
    /// `soft` or `logit`: means of probabilities or logits. `hard`, `staple` or `simple`: of masks.
    pub method: EnsembleMethod,
    /// Folders of probabilities, submission CSVs, runs, sets of folds, or names of ensembles above; a run with options of
    /// its prediction is a table like `{ run = "runs/a", window = 1024, overlap = 0.5, tta = "flip" }`.
    pub members: Vec<EnsembleMember>,
    /// Weight per member, for `soft`, `logit` and `hard`; absent: equal weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<Vec<f64>>,
    /// Weights of bones or groups in place of `weights`: `{ carpal = [1, 3], Pisiform = [0, 1] }` blends the carpals and takes
    /// the second member's Pisiform. A member with weight 0 does not count for the bone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weights: Option<BTreeMap<String, Vec<f64>>>,
    /// For `hard`: number of masks that set a pixel; absent: more than half of the weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_least: Option<usize>,
}

/// Sums of greater weights would lose the smaller ones.
const MAX_WEIGHT: f64 = 1e6;

impl EnsembleConfig {
    /// The weight of each member.
    pub fn weight_of_each(&self) -> Vec<f64> {
        self.weights.clone().unwrap_or_else(|| vec![1.0; self.members.len()])
    }

    /// The weight of each member for a bone.
    pub fn weights_of(&self, bone: Bone) -> Vec<f64> {
        let own = self.class_weights.as_ref().and_then(|table| value_of(table, bone));
        own.cloned().unwrap_or_else(|| self.weight_of_each())
    }

    fn check_class_weights(&self, wrong: &mut Violations) {
        let Some(table) = &self.class_weights else { return };
        let weighted = matches!(self.method, EnsembleMethod::Soft | EnsembleMethod::Logit | EnsembleMethod::Hard);
        let expected = format!("no weights: {} finds its own", self.method);
        wrong.expect(weighted, "class-weights", "set", expected);
        wrong.expect(self.at_least.is_none(), "class-weights", "set", "no class-weights with at-least");
        for (name, weights) in table {
            let key = format!("class-weights.{name}");
            if let Err(reason) = check_bone_key(name) {
                wrong.refuse(&key, "set", reason);
            }
            let n = self.members.len();
            let found = counted(weights.len(), "number", "numbers");
            wrong.expect(weights.len() == n, &key, found, format!("{n}, one per member"));
            let fits = weights.iter().all(|w| (0.0..=MAX_WEIGHT).contains(w)) && weights.iter().any(|w| *w > 0.0);
            wrong.expect(fits, &key, format!("{weights:?}"), format!("0 to {MAX_WEIGHT}, one of them above 0"));
        }
    }

    /// Values that are outside their range or do not fit each other.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let plain = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        let is_name = self.name.chars().all(plain) && !self.name.is_empty() && !self.name.starts_with('.');
        wrong.expect(is_name, "name", format!("{:?}", self.name), "letters, digits, `.`, `_` and `-`");
        let n = self.members.len();
        let of = |n: usize| counted(n, "member", "members");
        wrong.expect((1..=MAX_VOTERS).contains(&n), "members", of(n), format!("1 to {MAX_VOTERS}"));
        if let Some(weights) = &self.weights {
            let weighted = matches!(self.method, EnsembleMethod::Soft | EnsembleMethod::Logit | EnsembleMethod::Hard);
            wrong.expect(weighted, "weights", "set", format!("no weights: {} finds its own", self.method));
            wrong.expect(
                weights.len() == n,
                "weights",
                counted(weights.len(), "number", "numbers"),
                format!("{n}, one per member"),
            );
            if let Some(weight) = weights.iter().find(|weight| !(**weight > 0.0 && **weight <= MAX_WEIGHT)) {
                wrong.refuse("weights", weight, format!("above 0, at most {MAX_WEIGHT}"));
            }
        }
        self.check_class_weights(&mut wrong);
        for (i, member) in self.members.iter().enumerate() {
            if self.members[..i].contains(member) {
                wrong.refuse(
                    "members",
                    format!("member {} again", i + 1),
                    "different members; `weights` gives one more weight",
                );
            }
            if let EnsembleMember::Run(run) = member {
                wrong.inside(&format!("members {}", i + 1), run.violations());
            }
        }
        if let Some(at_least) = self.at_least {
            let counts = self.method == EnsembleMethod::Hard && self.weights.is_none();
            wrong.expect(counts, "at-least", "set", "only with method \"hard\" and without weights");
            wrong.expect((1..=n).contains(&at_least), "at-least", at_least, format!("1 to {n}, the number of members"));
        }
        wrong
    }
}

/// The content of a file of ensembles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnsembleList {
    /// The ensembles, in order.
    pub ensemble: Vec<EnsembleConfig>,
}

impl EnsembleList {
    /// Reads a file. Paths in it are relative to the working directory.
    ///
    /// # Errors
    /// The file cannot be read, has other content, or has invalid values.
    pub fn read(path: &Path) -> Result<EnsembleList, SettingsFileError> {
        settings_file::read(path, EnsembleList::violations)
    }

    /// The content of a file.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("an ensemble has texts, numbers and lists")
    }

    /// The violations of every ensemble, and of their order.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(!self.ensemble.is_empty(), "ensemble", "an empty list", "one [[ensemble]] or more");
        for (i, ensemble) in self.ensemble.iter().enumerate() {
            let mut own = ensemble.violations();
            let earlier = |name: &str| self.ensemble[..i].iter().any(|other| other.name == name);
            own.expect(!earlier(&ensemble.name), "name", &ensemble.name, "a name that no other ensemble has");
            for member in &ensemble.members {
                let EnsembleMember::Named(member) = member else { continue };
                let later = self.ensemble[i..].iter().any(|other| other.name == *member);
                own.expect(
                    !later || earlier(member),
                    "members",
                    member,
                    "a path, or an ensemble that comes before this one",
                );
            }
            wrong.inside(&format!("ensemble {}", i + 1), own);
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EnsembleList, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ensembles.toml");
        std::fs::write(&path, text).unwrap();
        EnsembleList::read(&path).map_err(|e| e.to_string())
    }

    fn one(name: &str, rest: &str) -> String {
        format!("[[ensemble]]\nname = '{name}'\n{rest}\n")
    }

    #[test]
    fn what_is_written_is_read() {
        let first = one("folds", "method = 'soft'\nmembers = ['a', 'b']\nweights = [1.0, 2.0]");
        let list =
            read(&(first + &one("final", "method = 'hard'\nmembers = ['folds', 'c.csv']\nat-least = 1"))).unwrap();
        assert_eq!(list.ensemble[0].weight_of_each(), [1.0, 2.0]);
        assert_eq!(list.ensemble[1].weight_of_each(), [1.0, 1.0]);
        assert_eq!(read(&list.to_toml()).unwrap(), list);
        let text = "method = 'soft'\nmembers = ['a', { run = 'runs/b', tta = 'flip' }]\n\
                    class-weights = { carpal = [1, 3], Ulna = [0, 1] }";
        let list = read(&one("blend", text)).unwrap();
        let weights = |bone| list.ensemble[0].weights_of(bone);
        let carpal = Bone::from_name("Capitate").unwrap();
        assert_eq!(
            (weights(carpal), weights(Bone::ULNA), weights(Bone::RADIUS)),
            (vec![1.0, 3.0], vec![0.0, 1.0], vec![1.0, 1.0])
        );
        assert_eq!(read(&list.to_toml()).unwrap(), list);
    }

    #[test]
    fn invalid_ensembles_are_refused_with_the_key() {
        for (text, expected) in [
            (one("a/b", "method = 'soft'\nmembers = ['a', 'b']"), "ensemble 1.name is \"a/b\""),
            (one("a", "method = 'soft'\nmembers = []"), "ensemble 1.members is 0 members; expected 1 to 32"),
            (one("a", "method = 'soft'\nmembers = ['b', 'c']\nweights = [1]"), "weights is 1 number; expected 2"),
            (one("a", "method = 'soft'\nmembers = ['b', 'c']\nweights = [1, 0]"), "weights is 0; expected above 0"),
            (one("a", "method = 'staple'\nmembers = ['b', 'c']\nweights = [1, 1]"), "staple finds its own"),
            (one("a", "method = 'soft'\nmembers = ['b', 'c']\nat-least = 1"), "only with method \"hard\""),
            (one("a", "method = 'hard'\nmembers = ['b', 'c']\nat-least = 3"), "at-least is 3; expected 1 to 2"),
            (one("a", "method = 'soft'\nmembers = ['b']\nclass-weights = { Ulnar = [1] }"), "did you mean Ulna?"),
            (
                one("a", "method = 'soft'\nmembers = ['b']\nclass-weights = { Ulna = [0] }"),
                "expected 0 to 1000000, one of",
            ),
            (
                one("a", "method = 'soft'\nmembers = ['b', 'c']\nclass-weights = { Ulna = [1] }"),
                "class-weights.Ulna is 1 number",
            ),
            (one("a", "method = 'simple'\nmembers = ['b']\nclass-weights = { Ulna = [1] }"), "simple finds its own"),
            (
                one("a", "method = 'soft'\nmembers = [{ run = 'b', scale = 2 }]"),
                "members 1.scale is set; expected only with window",
            ),
            (
                one("a", "method = 'soft'\nmembers = [{ runs = 'b' }]"),
                "expected a path, the name of an earlier ensemble",
            ),
            (one("a", "method = 'mean'\nmembers = ['b', 'c']"), "unknown method \"mean\""),
            (one("a", "method = 'hard'\nmember = ['b', 'c']"), "unknown field `member`"),
            (one("a", "method = 'hard'\nmembers = ['a', 'c']"), "an ensemble that comes before this one"),
            (one("a", "method = 'hard'\nmembers = ['b', 'c']").repeat(2), "ensemble 2.name is a; expected a name"),
        ] {
            let error = read(&text).unwrap_err();
            assert!(error.contains(expected) && error.contains("ensembles.toml: "), "{text}: {error}");
        }
    }
}
