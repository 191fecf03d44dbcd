//! Members that are runs: predicted before they are combined, and again only if something changed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::EnsembleArgs;
use crate::artefact::write_atomically;
use crate::cli::{Status, Ui};
use crate::dataset::Dataset;
use crate::digest::sha256;
use crate::ensemble::{EnsembleConfig, EnsembleList, EnsembleMember, EnsembleMethod, MemberKind, RunMember};

/// Predicts members that are runs.
pub(super) struct Predictions<'a> {
    args: &'a EnsembleArgs,
    dataset: Option<&'a Dataset>,
    /// Folder of the members\' probabilities.
    folder: Option<PathBuf>,
    ui: &'a Ui,
    /// The members by the names of their folders.
    named: RefCell<BTreeMap<String, RunMember>>,
}

/// Ensembles whose members are all stored.
pub(super) struct Resolved {
    pub configs: Vec<EnsembleConfig>,
    pub status: Status,
}

/// What made the probabilities of a member.
#[derive(PartialEq, Serialize, Deserialize)]
struct Stamp {
    version: String,
    arguments: Vec<String>,
    weights_sha256: String,
    images_sha256: String,
}

impl<'a> Predictions<'a> {
    /// Predictions into `folder`.
    pub fn new(
        args: &'a EnsembleArgs,
        dataset: Option<&'a Dataset>,
        folder: Option<PathBuf>,
        ui: &'a Ui,
    ) -> Predictions<'a> {
        Predictions { args, dataset, folder, ui, named: RefCell::default() }
    }

    /// The name of a member's folder: that of its run, with a hash if it has options or another member has the name.
    fn folder_name(&self, member: &RunMember) -> String {
        let mut named = self.named.borrow_mut();
        let plain = member_name(&member.run);
        let hash = |of: String| format!("{plain}-{:.8}", sha256(of.as_bytes()));
        let options = member.arguments().join(" ");
        let short = if options.is_empty() { plain.clone() } else { hash(options.clone()) };
        let is_free = |name: &String| named.get(name).is_none_or(|other| other == member);
        let name = if is_free(&short) { short } else { hash(format!("{} {options}", member.run.display())) };
        named.insert(name.clone(), member.clone());
        name
    }

    /// The ensembles with stored members: runs are predicted, and a set of folds becomes an ensemble of its own, the soft
    /// vote of its runs, before the first ensemble that has it as a member.
    pub fn resolve(&self, configs: Vec<EnsembleConfig>) -> anyhow::Result<Resolved> {
        let mut resolved = Resolved { configs: Vec::new(), status: Status::Done };
        // A set of folds is predicted once.
        let mut sets: Vec<(EnsembleMember, String)> = Vec::new();
        let names: Vec<String> = configs.iter().map(|config| config.name.clone()).collect();
        for (i, mut config) in configs.into_iter().enumerate() {
            for member in &mut config.members {
                if matches!(&*member, EnsembleMember::Named(name) if names[..i].contains(name)) {
                    continue;
                }
                let stored = match member.kind() {
                    MemberKind::Stored => continue,
                    MemberKind::Run => self.predicted(&member.run(), &mut resolved.status)?,
                    MemberKind::Folds => match sets.iter().find(|(set, _)| set == member) {
                        Some((_, name)) => name.clone(),
                        None => {
                            let taken = |name: &String| names.contains(name) || sets.iter().any(|(_, set)| set == name);
                            let set = self.soft_vote(member, taken, &mut resolved.status)?;
                            sets.push((member.clone(), set.name.clone()));
                            let name = set.name.clone();
                            resolved.configs.push(set);
                            name
                        }
                    },
                };
                *member = EnsembleMember::Named(stored);
            }
            resolved.configs.push(config);
        }
        let list = EnsembleList { ensemble: resolved.configs };
        list.violations().result().map_err(|violations| anyhow::anyhow!("{violations}"))?;
        Ok(Resolved { configs: list.ensemble, status: resolved.status })
    }

    /// The soft vote of a set of folds.
    fn soft_vote(
        &self,
        set: &EnsembleMember,
        taken: impl Fn(&String) -> bool,
        status: &mut Status,
    ) -> anyhow::Result<EnsembleConfig> {
        let runs = set.folds().with_context(|| set.name())?;
        ensure!(
            !runs.is_empty(),
            "member {set}: no run NAME-fold0, NAME-fold1, … with weights next to this set of folds"
        );
        let plain = file_name(&set.run().run);
        let numbered = (2..).map(|n| format!("{plain}-{n}"));
        let name = std::iter::once(plain.clone()).chain(numbered).find(|name| !taken(name)).expect("names without end");
        let members = runs.iter().map(|run| self.predicted(run, status).map(EnsembleMember::Named));
        let members = members.collect::<anyhow::Result<_>>()?;
        Ok(EnsembleConfig {
            name,
            method: EnsembleMethod::Soft,
            members,
            weights: None,
            class_weights: None,
            at_least: None,
        })
    }

    /// The folder with the probabilities of a run.
    fn predicted(&self, member: &RunMember, status: &mut Status) -> anyhow::Result<String> {
        let run = member.run.display();
        let (Some(dataset), Some(data)) = (self.dataset, &self.args.data) else {
            bail!("member {run} is a run; give the data to predict with --data DIR");
        };
        let folder = self.folder.as_ref();
        let folder =
            folder.with_context(|| format!("member {run} is a run; --members-out DIR keeps its probabilities"))?;
        let weights = weights_of(&member.run)?;
        let mut arguments = vec![format!("--subset={}", self.args.subset.text())];
        arguments.extend(self.args.corrections.iter().map(|path| format!("--corrections={}", path.display())));
        arguments.extend(member.arguments());
        // With 8 bits the mean of two certain members that disagree can become one half.
        arguments.push("--bits=16".into());
        let stamp = Stamp {
            version: env!("CARGO_PKG_VERSION").into(),
            weights_sha256: sha256(&std::fs::read(&weights).with_context(|| weights.display().to_string())?),
            images_sha256: self.images(dataset),
            arguments,
        };
        let name = self.folder_name(member);
        let (probabilities, stamp_file) = (folder.join(&name), folder.join(format!("{name}.json")));
        let known = std::fs::read(&stamp_file).ok().and_then(|bytes| serde_json::from_slice::<Stamp>(&bytes).ok());
        if known.as_ref() == Some(&stamp) && probabilities.is_dir() {
            self.ui.line(format_args!("member {run}: unchanged, {}", probabilities.display()));
            return Ok(probabilities.display().to_string());
        }
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        self.ui.line(format_args!("member {run}: predicted, {}", probabilities.display()));
        let mut words = vec![
            format!("--checkpoint={}", weights.display()),
            format!("--data={}", data.display()),
            format!("--device={}", self.args.device),
            format!("--out={}", folder.join(format!("{name}.csv")).display()),
            format!("--probabilities={}", probabilities.display()),
        ];
        words.extend(stamp.arguments.clone());
        *status = status.worse(self.run_predict(&words).with_context(|| format!("member {run}"))?);
        write_atomically(&stamp_file, |out| serde_json::to_writer_pretty(out, &stamp).map_err(Into::into))
            .with_context(|| stamp_file.display().to_string())?;
        Ok(probabilities.display().to_string())
    }

    /// Runs `carpus predict` as a process of its own: this program may have no libtorch.
    fn run_predict(&self, words: &[String]) -> anyhow::Result<Status> {
        let own = std::env::current_exe().context("cannot find the path of this program")?;
        let mut command = Command::new(own);
        command.args(["--quiet", "predict"]).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        if self.ui.force() {
            command.arg("--force");
        }
        let ended = command.status().context("cannot start `carpus predict`")?;
        match ended.code() {
            Some(0) => Ok(Status::Done),
            Some(3) => Ok(Status::DoneWithProblems),
            code => bail!(
                "`carpus predict` failed{}",
                code.map_or(String::new(), |code| format!(" with exit code {code}; its message is above"))
            ),
        }
    }

    /// A hash of the images that are predicted, by their names and times of change.
    fn images(&self, dataset: &Dataset) -> String {
        let chosen = dataset.images().iter().filter(|e| self.args.subset.holds(e.subset) && !dataset.excludes(e));
        let lines = chosen.map(|e| format!("{} {}\n", e.image, dataset.stamp(e).unwrap_or_default()));
        sha256(lines.collect::<String>().as_bytes())
    }
}

/// The file of weights of a run.
fn weights_of(run: &Path) -> anyhow::Result<PathBuf> {
    if run.is_file() {
        return Ok(run.to_owned());
    }
    let files = ["best.safetensors", "final.safetensors"].map(|file| run.join(file));
    files.into_iter().find(|file| file.is_file()).with_context(|| {
        format!(
            "member {}: no run; expected its folder with best.safetensors or final.safetensors, a set of folds NAME-folds, or \
             a file of weights",
            run.display()
        )
    })
}

/// The name of a run: that of its folder, for a file of weights with the name of the file.
fn member_name(run: &Path) -> String {
    match (run.is_file(), run.parent().filter(|parent| parent.file_name().is_some())) {
        (true, Some(parent)) => {
            let stem = run.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            format!("{}-{stem}", file_name(parent))
        }
        _ => file_name(run),
    }
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    let plain = plain.trim_start_matches('.');
    if plain.is_empty() { "run".to_owned() } else { plain.to_owned() }
}
