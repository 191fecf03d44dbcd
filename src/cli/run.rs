use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Parser;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Cli, Status, Ui};
use crate::artefact::write_atomically;
use crate::config::chain::{ChainConfig, Flags, scalar, words};
use crate::digest::hex;

/// Run the whole chain from one configuration, passing over stages whose inputs are unchanged
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus run --config configs/demo.toml
  carpus run --config configs/demo.toml --until split  # stop after the folds
  carpus run --config configs/demo.toml --dry-run      # what would run, and why

Every stage is a command of its own; `run` prints it, so that it can be repeated alone.")]
pub struct RunArgs {
    /// TOML file: data, work, and a table of flags a stage
    #[arg(short, long)]
    config: PathBuf,
    /// Corrections file for every stage that takes one; overrides corrections in the configuration
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Last stage to run
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
    /// Run this stage and all after it even if nothing changed
    #[arg(long, value_name = "STAGE")]
    from: Option<String>,
    /// Only say what would be run
    #[arg(long)]
    dry_run: bool,
}

/// One command of the chain.
struct Stage {
    name: String,
    /// Table of the configuration that its flags come from.
    table: &'static str,
    words: Vec<String>,
    /// Files and folders it reads.
    inputs: Vec<PathBuf>,
    /// What must exist for it to count as done.
    output: PathBuf,
}

/// What a finished stage ran on.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    version: String,
    command: Vec<String>,
    inputs: BTreeMap<String, String>,
    with_problems: bool,
}

#[derive(Serialize)]
struct StageReport<'a> {
    stage: &'a str,
    command: String,
    ran: bool,
    seconds: f64,
    with_problems: bool,
}

/// Runs the stages in order.
pub fn run(args: RunArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut config = ChainConfig::read(&args.config)?;
    config.corrections = args.corrections.clone().or(config.corrections);
    let stages = stages(&args.config, &config)?;
    for wanted in [&args.until, &args.from].into_iter().flatten() {
        if !stages.iter().any(|s| s.name == *wanted) {
            let names: Vec<_> = stages.iter().map(|s| s.name.as_str()).collect();
            bail!("no stage `{wanted}` in {}; it has {}", args.config.display(), names.join(", "));
        }
    }
    // A mistake in the last stage's flags should not wait for the first ones to finish.
    for stage in &stages {
        parse(stage).with_context(|| format!("{}: stage [{}]", args.config.display(), stage.name))?;
    }

    let mut reports = Vec::new();
    let mut forced = false;
    for stage in &stages {
        forced |= args.from.as_deref() == Some(&*stage.name);
        let stamp_path = config.work.join(".stages").join(format!("{}.json", stage.name));
        let words = std::iter::once("carpus").chain(stage.words.iter().map(String::as_str));
        // A word with a zero byte cannot be typed, nor be an argument.
        let shown = shlex::try_join(words).unwrap_or_else(|_| format!("carpus {}", stage.words.join(" ")));
        let done = finished(stage, &stamp_path).filter(|_| !forced);
        let started = Instant::now();
        let ran = done.is_none();
        let with_problems = match done {
            Some(stamp) => {
                ui.line(format_args!("[{}] unchanged: {shown}", stage.name));
                if stamp.with_problems {
                    ui.warn(format_args!(
                        "[{}] ended with problems when it ran; `--from {0}` runs it again and prints them",
                        stage.name
                    ));
                }
                stamp.with_problems
            }
            None if args.dry_run => {
                ui.line(format_args!("[{}] would run: {shown}", stage.name));
                // What it would write is what the later stages read.
                forced = true;
                false
            }
            None => {
                ui.line(format_args!("[{}] {shown}", stage.name));
                let cli = parse(stage)?;
                // As the stage finds its inputs: what changes while it runs is a change.
                let before = stamp(stage, false)?;
                let stage_ui = ui.for_stage();
                let status = cli.command.run(&stage_ui).with_context(|| format!("stage {}", stage.name))?;
                let status = status.worse(stage_ui.status());
                if status == Status::Interrupted {
                    return Ok(status);
                }
                let with_problems = status == Status::DoneWithProblems;
                let stamp = Stamp { with_problems, ..before };
                write_atomically(&stamp_path, |w| serde_json::to_writer_pretty(w, &stamp).map_err(Into::into))
                    .with_context(|| stamp_path.display().to_string())?;
                ui.line(format_args!("[{}] {:.1} s", stage.name, started.elapsed().as_secs_f64()));
                with_problems
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        reports.push(StageReport { stage: &stage.name, command: shown, ran, seconds, with_problems });
        if args.until.as_deref() == Some(&*stage.name) {
            break;
        }
    }
    if !args.dry_run {
        summary(&config.work, ui)?;
    }
    ui.json(&reports)?;
    let with_problems = reports.iter().any(|stage| stage.with_problems);
    Ok(if with_problems { Status::DoneWithProblems } else { Status::Done })
}

fn parse(stage: &Stage) -> anyhow::Result<Cli> {
    let words = std::iter::once("carpus".to_owned()).chain(stage.words.iter().cloned());
    Ok(Cli::try_parse_from(words)?)
}

/// The stamp of an earlier run of the stage with the same command on the same inputs.
fn finished(stage: &Stage, stamp_path: &Path) -> Option<Stamp> {
    let old: Stamp = serde_json::from_slice(&std::fs::read(stamp_path).ok()?).ok()?;
    let now = stamp(stage, old.with_problems).ok()?;
    (old == now && stage.output.exists()).then_some(old)
}

fn stamp(stage: &Stage, with_problems: bool) -> anyhow::Result<Stamp> {
    let inputs = stage
        .inputs
        .iter()
        .map(|p| Ok((p.display().to_string(), fingerprint(p).with_context(|| p.display().to_string())?)))
        .collect::<anyhow::Result<_>>()?;
    Ok(Stamp { version: env!("CARGO_PKG_VERSION").into(), command: stage.words.clone(), inputs, with_problems })
}

/// SHA-256 over the names and contents below a path; large files count by size and time.
fn fingerprint(path: &Path) -> std::io::Result<String> {
    const LARGE: u64 = 512 << 10;
    fn add(path: &Path, name: &str, hash: &mut Sha256) -> std::io::Result<()> {
        let meta = std::fs::metadata(path)?;
        hash.update(name.as_bytes());
        if meta.is_dir() {
            let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                add(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()), hash)?;
            }
        } else if meta.len() > LARGE {
            let time = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            hash.update(format!("{} {}", meta.len(), time.as_nanos()));
        } else {
            hash.update(std::fs::read(path)?);
        }
        Ok(())
    }
    let mut hash = Sha256::new();
    add(path, "", &mut hash)?;
    Ok(hex(&hash.finalize()))
}

/// Says where the report is and what was scored.
fn summary(work: &Path, ui: &Ui) -> anyhow::Result<()> {
    let scores = work.join("scores/per_image_dice.json");
    if let Ok(text) = std::fs::read_to_string(&scores) {
        let value: serde_json::Value = serde_json::from_str(&text).with_context(|| scores.display().to_string())?;
        if let Some(dice) = value.get("mean_dice").and_then(serde_json::Value::as_f64) {
            ui.line(format_args!("mean Dice on the held-out fold: {dice:.4}   ({})", scores.display()));
        }
    }
    let report = work.join("report/index.html");
    if report.exists() {
        ui.line(format_args!("report: {}", report.canonicalize().unwrap_or(report).display()));
    }
    Ok(())
}

/// That the stages about models have the models that they need.
fn check_members(path: &Path, config: &ChainConfig) -> anyhow::Result<()> {
    let (predicted, models) = (config.predict.is_some(), config.train.len());
    if predicted && models == 0 {
        bail!("{}: [predict] needs [train]: it uses the model trained there", path.display());
    }
    if predicted && (models > 1) != config.vote.is_some() {
        bail!("{}: several models ([[train]]) need [vote], and a single one has none", path.display());
    }
    if config.evaluate.is_some() && !predicted {
        bail!("{}: [evaluate] needs [train] and [predict]: it scores the masks predicted there", path.display());
    }
    if config.vote.is_some() && !predicted {
        bail!("{}: [vote] needs [predict]: it combines the masks predicted there", path.display());
    }
    Ok(())
}

/// The commands of a configuration, in the order of the data flow.
fn stages(path: &Path, config: &ChainConfig) -> anyhow::Result<Vec<Stage>> {
    check_members(path, config)?;
    let data = &config.data;
    let at = |name: &str| config.work.join(name);
    let (tables, folds, crops) = (at("tables"), at("folds.csv"), at("crops"));
    let (test, findings, tables_all, report) =
        (at("predictions/test.csv"), at("audit"), at("tables-predicted"), at("report"));
    let corrections = config.corrections.as_deref();
    let members: Vec<Member> = (0..config.train.len()).map(|i| Member::new(config, i)).collect();
    let predicted = config.predict.is_some();
    let mut drafts: Vec<(Option<&Flags>, Stage)> = vec![
        (config.phantom.as_ref(), Stage::new("phantom", "phantom").flag("--out", data).writes(data)),
        (
            config.scan.as_ref(),
            Stage::new("scan", "scan")
                .reads("", data)
                .reads_some("--corrections", corrections)
                .flag("--out", &tables)
                .writes(&tables),
        ),
        (
            config.split.as_ref(),
            Stage::new("split", "split")
                .reads("", &tables)
                .reads_some("--corrections", corrections)
                .flag("--out", &folds)
                .writes(&folds),
        ),
        (
            config.clean.as_ref(),
            Stage::new("clean", "clean")
                .reads("", data)
                .reads("--tables", &tables)
                .reads_some("--folds", config.split.is_some().then_some(&*folds))
                .reads_some("--corrections", corrections)
                .flag("--out", &crops)
                .writes(&crops),
        ),
    ];
    for member in &members {
        drafts.extend(member.stages(config));
    }
    let voters = members.iter().fold(Stage::new("vote", "vote"), |stage, member| stage.reads("", &member.test));
    drafts.extend([
        (config.vote.as_ref(), voters.flag("--out", &test).writes(&test)),
        (
            config.audit.as_ref(),
            Stage::new("audit", "audit")
                .reads("", &tables)
                .reads("--data", data)
                .reads_some("--corrections", corrections)
                // A low Dice is a finding only where it is clear whose.
                .reads_some(
                    "--scores",
                    members.first().filter(|_| members.len() == 1 && config.evaluate.is_some()).map(|m| &*m.scores),
                )
                .flag("--out", &findings)
                .writes(&findings),
        ),
        (
            // The test images have masks only now: angles and sizes of the test set come from here.
            config.scan.as_ref().filter(|_| predicted),
            Stage::new("scan-predictions", "scan")
                .reads("", data)
                .reads("--predictions", &test)
                .reads_some("--corrections", corrections)
                .flag("--out", &tables_all)
                .writes(&tables_all),
        ),
        (
            config.eda.as_ref(),
            Stage::new("eda", "eda")
                .reads("", if predicted { &tables_all } else { &tables })
                .reads("--data", data)
                .reads_some("--corrections", corrections)
                .reads_some("--folds", config.split.is_some().then_some(&*folds))
                .reads_some("--findings", config.audit.is_some().then_some(&*findings))
                .flag("--out", &report)
                .writes(&report),
        ),
    ]);
    chosen(path, drafts)
}

/// The stages that the configuration has a table for, with its options.
fn chosen(path: &Path, drafts: Vec<(Option<&Flags>, Stage)>) -> anyhow::Result<Vec<Stage>> {
    drafts
        .into_iter()
        .filter_map(|(flags, stage)| Some((flags?, stage)))
        .map(|(flags, mut stage)| {
            stage.words.extend(words(path, stage.table, flags)?);
            Ok(stage)
        })
        .collect()
}

/// A model that the chain trains.
struct Member<'a> {
    flags: &'a Flags,
    /// Behind the names of its stages and files; empty for a single model.
    suffix: String,
    /// Its name among the runs.
    run: String,
    heldout: PathBuf,
    test: PathBuf,
    scores: PathBuf,
}

impl<'a> Member<'a> {
    fn new(config: &'a ChainConfig, index: usize) -> Member<'a> {
        let single = config.train.len() == 1;
        let suffix = if single { String::new() } else { format!("-{}", index + 1) };
        let at =
            |folder: &str, name: &str, ending: &str| config.work.join(folder).join(format!("{name}{suffix}.{ending}"));
        Member {
            flags: &config.train[index],
            run: if single { "chain".into() } else { format!("member{suffix}") },
            heldout: at("predictions", "heldout", "csv"),
            test: at("predictions", "test", "csv"),
            scores: at("scores", "per_image_dice", "csv"),
            suffix,
        }
    }

    fn stages(&self, config: &'a ChainConfig) -> [(Option<&'a Flags>, Stage); 4] {
        let at = |name: &str| config.work.join(name);
        let (crops, runs) = (at("crops"), at("runs"));
        // Those next to the crops are without the images that have none.
        let folds =
            if config.clean.is_some() && config.split.is_some() { crops.join("folds.csv") } else { at("folds.csv") };
        let checkpoint = runs.join(&self.run).join("best.safetensors");
        let flag = |flag: &str| self.flags.get(flag).and_then(scalar);
        let stage = |table: &'static str, name: &str| Stage {
            name: format!("{name}{}", self.suffix),
            ..Stage::new(table, table)
        };
        let predict = |name: &str| stage("predict", name).reads("--checkpoint", &checkpoint).reads("--data", &crops);
        [
            (
                Some(self.flags),
                stage("train", "train")
                    .reads_too(&crops)
                    .reads_too(&folds)
                    .reads_some_too(flag("config").map(PathBuf::from))
                    .word("--set", format!("data.root={:?}", crops.display().to_string()))
                    .word("--set", format!("data.folds={:?}", folds.display().to_string()))
                    .flag("--runs", &runs)
                    .word("--name", &self.run)
                    .word("--existing", "auto")
                    .writes(&checkpoint),
            ),
            (
                config.predict.as_ref(),
                predict("predict")
                    .reads("--folds", &folds)
                    .word("--fold", flag("fold").unwrap_or_else(|| "0".into()))
                    .word("--subset", "train")
                    .flag("--out", &self.heldout)
                    .writes(&self.heldout),
            ),
            (
                config.evaluate.as_ref(),
                stage("evaluate", "evaluate")
                    .reads("--predictions", &self.heldout)
                    .reads("--data", &config.data)
                    .reads_some("--corrections", config.corrections.as_deref())
                    .flag("--out", &self.scores)
                    .writes(&self.scores),
            ),
            (
                config.predict.as_ref(),
                predict("predict-test").word("--subset", "test").flag("--out", &self.test).writes(&self.test),
            ),
        ]
    }
}

impl Stage {
    /// A stage whose flags are in the configuration's table of the command's name.
    fn new(name: &str, command: &'static str) -> Stage {
        Stage {
            name: name.to_owned(),
            table: command,
            words: vec![command.to_owned()],
            inputs: Vec::new(),
            output: PathBuf::new(),
        }
    }

    fn word(mut self, flag: &str, value: impl Into<String>) -> Stage {
        self.words.extend((!flag.is_empty()).then(|| flag.to_owned()));
        self.words.push(value.into());
        self
    }

    fn flag(self, flag: &str, path: &Path) -> Stage {
        self.word(flag, path.display().to_string())
    }

    /// A path on the command line that is read: a change of it makes the stage run again.
    fn reads(self, flag: &str, path: &Path) -> Stage {
        self.flag(flag, path).reads_too(path)
    }

    fn reads_some(self, flag: &str, path: Option<&Path>) -> Stage {
        match path {
            Some(path) => self.reads(flag, path),
            None => self,
        }
    }

    /// A path that is read and named by another flag or in a configuration.
    fn reads_too(mut self, path: &Path) -> Stage {
        self.inputs.push(path.to_owned());
        self
    }

    fn reads_some_too(self, path: Option<PathBuf>) -> Stage {
        match path {
            Some(path) => self.reads_too(&path),
            None => self,
        }
    }

    fn writes(mut self, path: &Path) -> Stage {
        self.output = path.to_owned();
        self
    }
}
