use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::closed_enum::closed_enum;
use crate::probability::ProbabilityFolder;
use crate::violation::Violations;

/// A member of an ensemble: stored predictions, an earlier ensemble, or a run that is predicted first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a path, the name of an earlier ensemble, or a table like { run = \"runs/a\", tta = \"flip\" }"
)]
pub enum EnsembleMember {
    /// A folder of probabilities, a submission CSV, a run, a set of folds, or the name of an ensemble above.
    Named(String),
    /// A run or a set of folds, with the options of its prediction.
    Run(RunMember),
}

/// A run as a member, and how it is predicted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunMember {
    /// Folder of a run or of a set of folds (`NAME-folds`), or a file of weights.
    pub run: PathBuf,
    /// As `carpus predict --window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<u32>,
    /// As `carpus predict --overlap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<f64>,
    /// As `carpus predict --weights`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// As `carpus predict --scale`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// As `carpus predict --tta`: `"flip,scale:1.25"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tta: Option<String>,
}

closed_enum! {
    /// What the path of a member is.
    pub enum MemberKind ("kind of member") {
        /// A folder of probabilities or a submission.
        Stored = "stored",
        /// A run or a file of weights.
        Run = "run",
        /// A set of folds.
        Folds = "folds",
    }
}

/// The end of the name of the folder that `carpus train --folds` writes for a set of folds.
const FOLDS: &str = "-folds";
/// The weights of a run that can be predicted.
const WEIGHTS: [&str; 2] = ["best.safetensors", "final.safetensors"];

impl EnsembleMember {
    /// Its path or name.
    pub fn name(&self) -> String {
        match self {
            EnsembleMember::Named(name) => name.clone(),
            EnsembleMember::Run(run) => run.run.display().to_string(),
        }
    }

    /// The run, with its options; a path without options has the default ones.
    pub fn run(&self) -> RunMember {
        match self {
            EnsembleMember::Named(path) => RunMember { run: path.into(), ..RunMember::default() },
            EnsembleMember::Run(run) => run.clone(),
        }
    }

    /// What the path is, by the files there.
    pub fn kind(&self) -> MemberKind {
        let path = self.run().run;
        let is_folds = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(FOLDS));
        if path.is_dir() && WEIGHTS.iter().any(|file| path.join(file).is_file()) {
            MemberKind::Run
        } else if ProbabilityFolder::open(&path).is_ok() {
            MemberKind::Stored
        } else if is_folds && (path.is_dir() || matches!(self, EnsembleMember::Run(_))) {
            MemberKind::Folds
        } else if matches!(self, EnsembleMember::Run(_)) || path.extension().is_some_and(|e| e == "safetensors") {
            MemberKind::Run
        } else {
            MemberKind::Stored
        }
    }

    /// The runs of a set of folds `NAME-folds`: the folders `NAME-fold0`, `NAME-fold1`, … next to it that have weights, by
    /// number, each with this member's options.
    ///
    /// # Errors
    /// The folder next to the set cannot be read.
    pub fn folds(&self) -> std::io::Result<Vec<RunMember>> {
        let member = self.run();
        let name = member.run.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let start = format!("{}-fold", name.strip_suffix(FOLDS).unwrap_or(&name));
        let parent = match member.run.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut runs: Vec<(u32, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(&parent)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(fold) = name.strip_prefix(&start).and_then(|fold| fold.parse().ok()) else { continue };
            if WEIGHTS.iter().any(|file| path.join(file).is_file()) {
                runs.push((fold, path));
            }
        }
        runs.sort();
        Ok(runs.into_iter().map(|(_, run)| RunMember { run, ..member.clone() }).collect())
    }
}

impl RunMember {
    /// The options of `carpus predict` as arguments.
    pub fn arguments(&self) -> Vec<String> {
        let numbers = [
            ("--window", self.window.map(|n| n.to_string())),
            ("--overlap", self.overlap.map(|n| n.to_string())),
            ("--weights", self.weights.clone()),
            ("--scale", self.scale.map(|n| n.to_string())),
            ("--tta", self.tta.clone()),
        ];
        numbers.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value?))).collect()
    }

    /// Options that do not fit each other.
    pub(super) fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        for (key, is_set) in
            [("overlap", self.overlap.is_some()), ("weights", self.weights.is_some()), ("scale", self.scale.is_some())]
        {
            wrong.expect(!is_set || self.window.is_some(), key, "set", "only with window");
        }
        wrong
    }
}

impl fmt::Display for EnsembleMember {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl From<&str> for EnsembleMember {
    fn from(name: &str) -> EnsembleMember {
        EnsembleMember::Named(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_sets_of_folds_are_recognised_by_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (run, file) in [
            ("a", "best.safetensors"),
            ("b-fold0", "best.safetensors"),
            ("b-fold10", "final.safetensors"),
            ("b-fold2", "best.safetensors"),
        ] {
            std::fs::create_dir(at(run)).unwrap();
            std::fs::write(at(run).join(file), "").unwrap();
        }
        std::fs::create_dir(at("b-folds")).unwrap();
        std::fs::create_dir(at("b-fold7")).unwrap();
        let named = |name: &str| EnsembleMember::Named(at(name).display().to_string());
        assert_eq!(named("a").kind(), MemberKind::Run);
        assert_eq!(named("b-folds").kind(), MemberKind::Folds);
        assert_eq!(named("x.csv").kind(), MemberKind::Stored);
        assert_eq!(named("x.safetensors").kind(), MemberKind::Run);
        let set =
            EnsembleMember::Run(RunMember { run: at("b-folds"), tta: Some("flip".into()), ..RunMember::default() });
        assert_eq!(set.kind(), MemberKind::Folds);
        let runs = set.folds().unwrap();
        let names: Vec<_> = runs.iter().map(|run| run.run.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["b-fold0", "b-fold2", "b-fold10"]);
        assert!(runs.iter().all(|run| run.arguments() == ["--tta=flip"]));
    }

    #[test]
    fn options_are_arguments_of_predict() {
        let member: RunMember =
            toml::from_str("run = 'a'\nwindow = 64\noverlap = 0.25\nweights = 'constant'\nscale = 2").unwrap();
        assert_eq!(member.arguments(), ["--window=64", "--overlap=0.25", "--weights=constant", "--scale=2"]);
        assert!(member.violations().is_empty());
        let alone: RunMember = toml::from_str("run = 'a'\nscale = 2").unwrap();
        assert!(alone.violations().to_string().contains("scale is set; expected only with window"));
    }
}
