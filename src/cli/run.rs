use std::borrow::Cow;
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
use crate::ensemble::EnsembleList;

/// Run the whole pipeline from one configuration, skipping unchanged stages
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus run --config configs/demo.toml
  carpus run --config configs/demo.toml --until split  # stop after the folds
  carpus run --config configs/demo.toml --dry-run      # print, but do not run

Each stage is one carpus command. `run` prints it, so that you can repeat it alone. The stages, in \
order: phantom, scan, split, clean, train, predict, evaluate, predict-test, vote, ensemble, audit, \
scan-predictions, eda. Those of a table that the configuration lacks are left out. predict and \
predict-test take the options of [predict], for the held-out fold and for the test set; \
scan-predictions those of [scan], with the predicted masks of the test set. With several [[train]] \
tables, train, predict, evaluate and predict-test run once per model, as train-1, train-2, … or \
train-NAME for a model with a `name`.

[vote] or [[ensemble]] combine several models. [[ensemble]] has name, method, members, weights, class-weights and \
at-least as in `carpus ensemble --config`; members are train-1, train-2, … or the names of models, names of ensembles \
above, and paths; without members, all models. [ensemble-options] holds options of `carpus ensemble`. A table `predict` \
in a [[train]] overrides [predict] for that model.")]
pub struct RunArgs {
    /// TOML file: data, work, and one table of options per stage
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// Corrections file for all stages that take one; overrides `corrections` in the configuration
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Last stage to run
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
    /// Run this stage and all later stages even if nothing changed
    #[arg(long, value_name = "STAGE")]
    from: Option<String>,
    /// Print what would run, and run nothing
    #[arg(long)]
    dry_run: bool,
}

/// One command of the pipeline.
pub(super) struct ChainStage {
    name: String,
    /// Table of the configuration that holds its options.
    table: &'static str,
    words: Vec<String>,
    /// Files and folders it reads.
    inputs: Vec<PathBuf>,
    /// File or folder that it writes. A stage counts as done only if this exists.
    output: PathBuf,
}

/// Command and inputs of a finished stage.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Stamp {
    version: String,
    command: Vec<String>,
    inputs: BTreeMap<String, String>,
    with_problems: bool,
}

#[derive(Serialize)]
pub(super) struct StageReport {
    stage: String,
    command: String,
    ran: bool,
    seconds: f64,
    pub(super) with_problems: bool,
}

/// Runs the stages in order.
pub fn run(args: RunArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut config = ChainConfig::read(&args.config)?;
    config.corrections = args.corrections.clone().or(config.corrections);
    let stages = stages(&args.config, &config)?;
    for wanted in [&args.until, &args.from].into_iter().flatten() {
        if !stages.iter().any(|s| s.name == *wanted) {
            let names: Vec<_> = stages.iter().map(|s| s.name.as_str()).collect();
            bail!("unknown stage `{wanted}`; {} has {}", args.config.display(), names.join(", "));
        }
    }
    // A mistake in the options of the last stage is reported before the first stage runs.
    for stage in &stages {
        parse(stage).with_context(|| format!("{}: stage [{}]", args.config.display(), stage.name))?;
    }

    if !args.dry_run {
        write_ensembles(&args.config, &config)?;
    }
    let last = args.until.as_ref().and_then(|name| stages.iter().position(|s| s.name == *name));
    check_inputs(&args.config, &config, &stages[..last.map_or(stages.len(), |at| at + 1)])?;

    let mut reports = Vec::new();
    let mut options = StageOptions { forced: false, dry_run: args.dry_run };
    for stage in &stages {
        options.forced |= args.from.as_deref() == Some(&*stage.name);
        match run_stage(stage, &config.work, options, ui)? {
            ChainStageEnd::Interrupted => return Ok(Status::Interrupted),
            ChainStageEnd::WouldRun(report) => {
                // Later stages read its output, so they would run too.
                options.forced = true;
                reports.push(report);
            }
            ChainStageEnd::Done(report) => reports.push(report),
        }
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

/// How to run a stage.
#[derive(Clone, Copy)]
pub(super) struct StageOptions {
    /// Run it even if nothing changed.
    pub(super) forced: bool,
    /// Print what would run, and run nothing.
    pub(super) dry_run: bool,
}

/// How a stage ended.
pub(super) enum ChainStageEnd {
    Done(StageReport),
    /// It would run, but only its command was printed.
    WouldRun(StageReport),
    Interrupted,
}

/// Runs a stage of a chain in the folder `work`, unless it is unchanged.
///
/// # Errors
/// The errors of its command.
pub(super) fn run_stage(
    stage: &ChainStage,
    work: &Path,
    options: StageOptions,
    ui: &Ui,
) -> anyhow::Result<ChainStageEnd> {
    let stamp_path = work.join(".stages").join(format!("{}.json", stage.name));
    let words = std::iter::once("carpus").chain(stage.words.iter().map(String::as_str));
    // It fails only for a word with a zero byte, which cannot be an argument.
    let shown = shlex::try_join(words).unwrap_or_else(|_| format!("carpus {}", stage.words.join(" ")));
    let started = Instant::now();
    let report = |ran, with_problems| StageReport {
        stage: stage.name.clone(),
        command: shown.clone(),
        ran,
        seconds: started.elapsed().as_secs_f64(),
        with_problems,
    };
    if let Some(stamp) = finished(stage, &stamp_path).filter(|_| !options.forced) {
        ui.line(format_args!("[{}] unchanged: {shown}", stage.name));
        if stamp.with_problems {
            ui.warn(format_args!(
                "[{}] ended with problems when it ran; `--from {0}` runs it again and prints them",
                stage.name
            ));
        }
        return Ok(ChainStageEnd::Done(report(false, stamp.with_problems)));
    }
    if options.dry_run {
        ui.line(format_args!("[{}] would run: {shown}", stage.name));
        return Ok(ChainStageEnd::WouldRun(report(true, false)));
    }
    ui.line(format_args!("[{}] {shown}", stage.name));
    let cli = parse(stage)?;
    // Before it runs: an input that changes meanwhile makes it run again next time.
    let before = stamp(stage, false)?;
    let stage_ui = ui.for_stage();
    let status = cli.command.run(&stage_ui).with_context(|| format!("stage {}", stage.name))?;
    let status = status.worse(stage_ui.status());
    if status == Status::Interrupted {
        return Ok(ChainStageEnd::Interrupted);
    }
    let with_problems = status == Status::DoneWithProblems;
    let stamp = Stamp { with_problems, ..before };
    write_atomically(&stamp_path, |w| serde_json::to_writer_pretty(w, &stamp).map_err(Into::into))
        .with_context(|| stamp_path.display().to_string())?;
    ui.line(format_args!("[{}] {:.1} s", stage.name, started.elapsed().as_secs_f64()));
    Ok(ChainStageEnd::Done(report(true, with_problems)))
}

fn parse(stage: &ChainStage) -> anyhow::Result<Cli> {
    let words = std::iter::once("carpus".to_owned()).chain(stage.words.iter().cloned());
    Ok(Cli::try_parse_from(words)?)
}

/// The stamp of an earlier run of the stage, if the command and its inputs are the same.
fn finished(stage: &ChainStage, stamp_path: &Path) -> Option<Stamp> {
    let old: Stamp = serde_json::from_slice(&std::fs::read(stamp_path).ok()?).ok()?;
    let now = stamp(stage, old.with_problems).ok()?;
    (old == now && stage.output.exists()).then_some(old)
}

fn stamp(stage: &ChainStage, with_problems: bool) -> anyhow::Result<Stamp> {
    let inputs = stage
        .inputs
        .iter()
        .map(|p| Ok((p.display().to_string(), fingerprint(p).with_context(|| p.display().to_string())?)))
        .collect::<anyhow::Result<_>>()?;
    Ok(Stamp { version: env!("CARGO_PKG_VERSION").into(), command: stage.words.clone(), inputs, with_problems })
}

/// SHA-256 over the names and contents of the files at a path. Of large files, size and modification time are used.
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

/// Prints the mean Dice and the path of the report.
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

/// Checks that the stages that use models have the stages that they need.
fn check_members(path: &Path, config: &ChainConfig) -> anyhow::Result<()> {
    let (predicted, models) = (config.predict.is_some(), config.train.len());
    if predicted && models == 0 {
        bail!("{}: [predict] needs a [train] table: it uses the trained model", path.display());
    }
    let combined = config.vote.is_some() || !config.ensemble.is_empty();
    if predicted && (models > 1 && !combined || models == 1 && config.vote.is_some()) {
        bail!(
            "{}: add [vote] or [ensemble] to combine several models ([[train]]); remove [vote] if there is only one model",
            path.display()
        );
    }
    if config.vote.is_some() && !config.ensemble.is_empty() {
        bail!("{}: [vote] and [ensemble] both combine the models; keep one of them", path.display());
    }
    if config.ensemble.is_empty() && config.ensemble_options.is_some() {
        bail!("{}: [ensemble-options] needs an [ensemble] table", path.display());
    }
    if config.evaluate.is_some() && !predicted {
        bail!("{}: [evaluate] needs [train] and [predict] tables: it scores the predicted masks", path.display());
    }
    if config.evaluate.is_some() && config.train.iter().any(trains_all) {
        bail!(
            "{}: [evaluate] needs held-out images, but [train] has fold = \"none\"; hold out a fold, or remove [evaluate]",
            path.display()
        );
    }
    for (table, is_there) in [("vote", config.vote.is_some()), ("ensemble", !config.ensemble.is_empty())] {
        if is_there && !predicted {
            bail!("{}: [{table}] needs a [predict] table: it combines the predictions", path.display());
        }
    }
    Ok(())
}

/// The file of a chain's ensembles in its work folder.
const ENSEMBLES: &str = "ensembles.toml";

/// The ensembles of a chain with the places of its models' predictions; `None` if there are none.
fn ensembles(path: &Path, config: &ChainConfig) -> anyhow::Result<Option<EnsembleList>> {
    if config.ensemble.is_empty() {
        return Ok(None);
    }
    let members: Vec<Member> = (0..config.train.len()).map(|i| Member::new(config, i)).collect();
    let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
    let stored = |name: &str| members.iter().find(|m| m.name == name).map(|m| m.probabilities.clone());
    let list = config.ensembles(&names, stored);
    let checked = list.violations().result();
    checked.map_err(|violations| anyhow::anyhow!("{}: {violations}", path.display()))?;
    Ok(Some(list))
}

/// Writes the file of a chain's ensembles, which the stage of ensembles reads.
fn write_ensembles(path: &Path, config: &ChainConfig) -> anyhow::Result<()> {
    let Some(list) = ensembles(path, config)? else { return Ok(()) };
    let (file, text) = (config.work.join(ENSEMBLES), format!("# Written by `carpus run`.\n\n{}", list.to_toml()));
    write_atomically(&file, |out| std::io::Write::write_all(out, text.as_bytes()))
        .with_context(|| file.display().to_string())
}

/// Whether a model is trained on all images, without a held-out fold.
fn trains_all(flags: &Flags) -> bool {
    flags.get("fold").and_then(scalar).as_deref() == Some("none")
}

/// Checks that what a stage reads from the work folder exists or is written by an earlier stage.
fn check_inputs(path: &Path, config: &ChainConfig, stages: &[ChainStage]) -> anyhow::Result<()> {
    let writers = [("tables", "scan"), ("tables-predicted", "scan"), ("folds.csv", "split"), ("crops", "clean")];
    for (i, stage) in stages.iter().enumerate() {
        for (name, writer) in writers {
            let file = config.work.join(name);
            let is_read = stage.inputs.iter().any(|input| input.starts_with(&file));
            let is_written = stages[..i].iter().any(|earlier| earlier.output == file);
            if is_read && !is_written && !file.exists() {
                bail!(
                    "{}: [{}] reads {}, which does not exist; add a [{writer}] table: that stage writes it",
                    path.display(),
                    stage.name,
                    file.display()
                );
            }
        }
    }
    Ok(())
}

/// A stage with the options of its table; `None` if the configuration lacks the table.
type Draft<'a> = (Option<Cow<'a, Flags>>, ChainStage);

/// The commands of a configuration, in the order of the data flow.
fn stages(path: &Path, config: &ChainConfig) -> anyhow::Result<Vec<ChainStage>> {
    check_members(path, config)?;
    let members: Vec<Member> = (0..config.train.len()).map(|i| Member::new(config, i)).collect();
    check_names(path, &members)?;
    let ensembles = ensembles(path, config)?;
    let test = match ensembles.as_ref().and_then(|list| list.ensemble.last()) {
        Some(last) => config.work.join("ensembles").join(format!("{}.csv", last.name)),
        None => config.work.join("predictions/test.csv"),
    };
    let mut drafts: Vec<Draft> = data_stages(config).into();
    for member in &members {
        drafts.extend(member.stages(config));
    }
    drafts.extend(combining_stages(config, &members, ensembles.as_ref(), &test));
    drafts.extend(closing_stages(config, &members, &test));
    configured(path, drafts)
}

/// Checks the names of the models and their tables `predict`.
fn check_names(path: &Path, members: &[Member]) -> anyhow::Result<()> {
    for (i, member) in members.iter().enumerate() {
        if members[..i].iter().any(|other| other.name == member.name) {
            bail!("{}: two models have the name {}; give each [[train]] another", path.display(), member.name);
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
        if !member.name.chars().all(is_name) || member.name.starts_with('.') || member.name.is_empty() {
            bail!("{}: [[train]] name = {:?}; expected letters, digits, `.`, `_` and `-`", path.display(), member.name);
        }
        if member.flags.get(PREDICT).is_some_and(|options| !options.is_table()) {
            bail!("{}: [[train]] predict; expected a table of options of `carpus predict`", path.display());
        }
    }
    Ok(())
}

/// The stages before the models.
fn data_stages(config: &ChainConfig) -> [Draft<'_>; 4] {
    let data = &config.data;
    let at = |name: &str| config.work.join(name);
    let (tables, folds, crops) = (at("tables"), at("folds.csv"), at("crops"));
    let corrections = config.corrections.as_deref();
    [
        (
            config.phantom.as_ref().map(Cow::Borrowed),
            ChainStage::new("phantom", "phantom").flag("--out", data).writes(data),
        ),
        (
            config.scan.as_ref().map(Cow::Borrowed),
            ChainStage::new("scan", "scan")
                .reads("", data)
                .reads_optional("--corrections", corrections)
                .flag("--out", &tables)
                .writes(&tables),
        ),
        (
            config.split.as_ref().map(Cow::Borrowed),
            ChainStage::new("split", "split")
                .reads("", &tables)
                .reads_optional("--corrections", corrections)
                .flag("--out", &folds)
                .writes(&folds),
        ),
        (
            config.clean.as_ref().map(Cow::Borrowed),
            ChainStage::new("clean", "clean")
                .reads("", data)
                .reads("--tables", &tables)
                .reads_optional("--folds", config.split.is_some().then_some(&*folds))
                .reads_optional("--corrections", corrections)
                .flag("--out", &crops)
                .writes(&crops),
        ),
    ]
}

/// The stages that combine the models' predictions of the test set into `test`.
fn combining_stages<'a>(
    config: &'a ChainConfig,
    members: &[Member],
    ensembles: Option<&EnsembleList>,
    test: &Path,
) -> [Draft<'a>; 2] {
    let voters = members.iter().fold(ChainStage::new("vote", "vote"), |stage, member| stage.reads("", &member.test));
    // Everything that a member names, but for ensembles of the list itself.
    let list = ensembles.map_or(&[][..], |list| &list.ensemble);
    let places = list.iter().flat_map(|ensemble| &ensemble.members).map(|member| member.run().run);
    let is_ensemble = |place: &PathBuf| list.iter().any(|ensemble| place.as_os_str() == ensemble.name.as_str());
    let mut places: Vec<PathBuf> = places.filter(|place| !is_ensemble(place)).collect();
    places.sort();
    places.dedup();
    let combined = places.iter().fold(ChainStage::new("ensemble", "ensemble"), |stage, place| stage.reads_too(place));
    let options = config.ensemble_options.as_ref().map_or_else(|| Cow::Owned(Flags::new()), Cow::Borrowed);
    [
        (config.vote.as_ref().map(Cow::Borrowed), voters.flag("--out", test).writes(test)),
        (
            ensembles.map(|_| options),
            combined
                .reads("--config", &config.work.join(ENSEMBLES))
                .reads("--data", &config.data)
                .reads_optional("--corrections", config.corrections.as_deref())
                .flag("--out", &config.work.join("ensembles"))
                .writes(test),
        ),
    ]
}

/// The stages after the predictions.
fn closing_stages<'a>(config: &'a ChainConfig, members: &[Member], test: &Path) -> [Draft<'a>; 3] {
    let data = &config.data;
    let at = |name: &str| config.work.join(name);
    let (tables, tables_all, findings, report) = (at("tables"), at("tables-predicted"), at("audit"), at("report"));
    let corrections = config.corrections.as_deref();
    let predicted = config.predict.is_some();
    // With several models, it is not clear whose Dice is low.
    let single = members.first().filter(|_| members.len() == 1 && config.evaluate.is_some());
    [
        (
            config.audit.as_ref().map(Cow::Borrowed),
            ChainStage::new("audit", "audit")
                .reads("", &tables)
                .reads("--data", data)
                .reads_optional("--corrections", corrections)
                .reads_optional("--scores", single.map(|member| &*member.scores))
                .flag("--out", &findings)
                .writes(&findings),
        ),
        (
            // The test images have masks only after prediction: angles and sizes of the test set come from these
            // tables.
            config.scan.as_ref().filter(|_| predicted).map(Cow::Borrowed),
            ChainStage::new("scan-predictions", "scan")
                .reads("", data)
                .reads("--predictions", test)
                .reads_optional("--corrections", corrections)
                .flag("--out", &tables_all)
                .writes(&tables_all),
        ),
        (
            config.eda.as_ref().map(Cow::Borrowed),
            ChainStage::new("eda", "eda")
                .reads("", if predicted { &tables_all } else { &tables })
                .reads("--data", data)
                .reads_optional("--corrections", corrections)
                .reads_optional("--folds", config.split.is_some().then_some(&*at("folds.csv")))
                .reads_optional("--findings", config.audit.is_some().then_some(&*findings))
                .flag("--out", &report)
                .writes(&report),
        ),
    ]
}

/// The stages that have a table in the configuration, with the options of that table.
fn configured(path: &Path, drafts: Vec<Draft>) -> anyhow::Result<Vec<ChainStage>> {
    drafts
        .into_iter()
        .filter_map(|(flags, stage)| Some((flags?, stage)))
        .map(|(flags, mut stage)| {
            stage.words.extend(words(path, stage.table, &flags)?);
            Ok(stage)
        })
        .collect()
}

/// The table of a `[[train]]` with options of its predictions.
const PREDICT: &str = "predict";

/// A model that the pipeline trains.
struct Member<'a> {
    flags: &'a Flags,
    /// Appended to the names of its stages and files; empty for a single model.
    suffix: String,
    /// Its name as a member of ensembles: `train`, `train-2`, or that of the configuration.
    name: String,
    /// Name of its training run.
    run: String,
    /// Options of its predictions alone.
    predict: Option<&'a toml::Table>,
    /// Probabilities of the test set, for ensembles.
    probabilities: PathBuf,
    heldout: PathBuf,
    test: PathBuf,
    scores: PathBuf,
}

impl<'a> Member<'a> {
    fn new(config: &'a ChainConfig, index: usize) -> Member<'a> {
        let single = config.train.len() == 1;
        let flags = &config.train[index];
        let given = flags.get("name").and_then(scalar);
        let suffix = match &given {
            Some(name) => format!("-{name}"),
            None if single => String::new(),
            None => format!("-{}", index + 1),
        };
        let at =
            |folder: &str, name: &str, ending: &str| config.work.join(folder).join(format!("{name}{suffix}.{ending}"));
        Member {
            flags,
            run: match &given {
                Some(name) => name.clone(),
                None if single => "chain".into(),
                None => format!("member{suffix}"),
            },
            name: given.unwrap_or_else(|| format!("train{suffix}")),
            predict: flags.get(PREDICT).and_then(toml::Value::as_table),
            probabilities: config.work.join("probabilities").join(format!("test{suffix}")),
            heldout: at("predictions", "heldout", "csv"),
            test: at("predictions", "test", "csv"),
            scores: at("scores", "per_image_dice", "csv"),
            suffix,
        }
    }

    /// The options of `carpus train`.
    fn train_flags(&self) -> Flags {
        let own = |(flag, _): &(&String, &toml::Value)| !["name", PREDICT].contains(&flag.as_str());
        self.flags.iter().filter(own).map(|(flag, value)| (flag.clone(), value.clone())).collect()
    }

    /// The options of `carpus predict`: those of all models, overridden by its own.
    fn predict_flags(&self, config: &'a ChainConfig) -> Option<Cow<'a, Flags>> {
        let all = config.predict.as_ref()?;
        let Some(own) = self.predict else { return Some(Cow::Borrowed(all)) };
        let mut flags = all.clone();
        flags.extend(own.iter().map(|(flag, value)| (flag.clone(), value.clone())));
        Some(Cow::Owned(flags))
    }

    fn stages(&self, config: &'a ChainConfig) -> [Draft<'a>; 4] {
        let at = |name: &str| config.work.join(name);
        let (crops, runs) = (at("crops"), at("runs"));
        // The folds next to the crops leave out images without a crop.
        let folds =
            if config.clean.is_some() && config.split.is_some() { crops.join("folds.csv") } else { at("folds.csv") };
        let weights = if trains_all(self.flags) { "final.safetensors" } else { "best.safetensors" };
        let checkpoint = runs.join(&self.run).join(weights);
        let flag = |flag: &str| self.flags.get(flag).and_then(scalar);
        let stage = |table: &'static str, name: &str| ChainStage {
            name: format!("{name}{}", self.suffix),
            ..ChainStage::new(table, table)
        };
        let predict = |name: &str| stage("predict", name).reads("--checkpoint", &checkpoint).reads("--data", &crops);
        let predict_test =
            predict("predict-test").word("--subset", "test").flag("--out", &self.test).writes(&self.test);
        [
            (
                Some(Cow::Owned(self.train_flags())),
                stage("train", "train")
                    .reads_too(&crops)
                    .reads_too(&folds)
                    .reads_optional_too(flag("config").map(PathBuf::from))
                    .word("--set", format!("data.root={:?}", crops.display().to_string()))
                    .word("--set", format!("data.folds={:?}", folds.display().to_string()))
                    .flag("--runs", &runs)
                    .word("--name", &self.run)
                    .word("--existing", "auto")
                    .writes(&checkpoint),
            ),
            (
                self.predict_flags(config).filter(|_| !trains_all(self.flags)),
                predict("predict")
                    .reads("--folds", &folds)
                    .word("--fold", flag("fold").unwrap_or_else(|| "0".into()))
                    .word("--subset", "train")
                    .flag("--out", &self.heldout)
                    .writes(&self.heldout),
            ),
            (
                config.evaluate.as_ref().map(Cow::Borrowed),
                stage("evaluate", "evaluate")
                    .reads("--predictions", &self.heldout)
                    .reads("--data", &config.data)
                    .reads_optional("--corrections", config.corrections.as_deref())
                    .flag("--out", &self.scores)
                    .writes(&self.scores),
            ),
            (
                self.predict_flags(config),
                match config.ensemble.is_empty() {
                    true => predict_test,
                    false => predict_test.flag("--probabilities", &self.probabilities).word("--bits", "16"),
                },
            ),
        ]
    }
}

impl ChainStage {
    /// A stage whose options are in the configuration's table of the same name as the command.
    pub(super) fn new(name: &str, command: &'static str) -> ChainStage {
        ChainStage {
            name: name.to_owned(),
            table: command,
            words: vec![command.to_owned()],
            inputs: Vec::new(),
            output: PathBuf::new(),
        }
    }

    pub(super) fn word(mut self, flag: &str, value: impl Into<String>) -> ChainStage {
        self.words.extend((!flag.is_empty()).then(|| flag.to_owned()));
        self.words.push(value.into());
        self
    }

    pub(super) fn flag(self, flag: &str, path: &Path) -> ChainStage {
        self.word(flag, path.display().to_string())
    }

    /// Adds an option with a path that is read. The stage runs again when its content changes.
    pub(super) fn reads(self, flag: &str, path: &Path) -> ChainStage {
        self.flag(flag, path).reads_too(path)
    }

    pub(super) fn reads_optional(self, flag: &str, path: Option<&Path>) -> ChainStage {
        match path {
            Some(path) => self.reads(flag, path),
            None => self,
        }
    }

    /// A path that is read but is not an option here: another option or a configuration names it.
    fn reads_too(mut self, path: &Path) -> ChainStage {
        self.inputs.push(path.to_owned());
        self
    }

    fn reads_optional_too(self, path: Option<PathBuf>) -> ChainStage {
        match path {
            Some(path) => self.reads_too(&path),
            None => self,
        }
    }

    pub(super) fn writes(mut self, path: &Path) -> ChainStage {
        self.output = path.to_owned();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_stage_that_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let check = |tables: &str| {
            let text = format!("data = 'd'\nwork = {:?}\n{tables}", folder.path().display().to_string());
            let config: ChainConfig = toml::from_str(&text).unwrap();
            let path = Path::new("c.toml");
            check_inputs(path, &config, &stages(path, &config).unwrap()).map_err(|e| e.to_string())
        };
        assert_eq!(check("[scan]\n[split]\n[clean]\n[eda]"), Ok(()));
        let error = check("[split]").unwrap_err();
        assert!(error.starts_with("c.toml: [split] reads ") && error.contains("add a [scan] table"), "{error}");
        let error = check("[scan]\n[split]\n[train]\nconfig = 't.toml'").unwrap_err();
        assert!(error.contains("[train] reads ") && error.contains("add a [clean] table"), "{error}");
        std::fs::create_dir(folder.path().join("tables")).unwrap();
        assert_eq!(check("[split]"), Ok(()));
    }

    #[test]
    fn the_help_names_every_stage() {
        let tables = ["phantom", "scan", "split", "clean", "train", "predict", "evaluate", "vote", "audit", "eda"];
        let text: String = tables.iter().map(|table| format!("[{table}]\n")).collect();
        let config: ChainConfig = toml::from_str(&format!("data = 'd'\nwork = 'w'\n{text}")).unwrap();
        let without_vote = ChainConfig { vote: None, ..config };
        let help = <RunArgs as clap::Args>::augment_args(clap::Command::new("run")).render_long_help().to_string();
        let help: Vec<&str> = help.split(|c: char| !c.is_alphanumeric() && c != '-').collect();
        let stages = stages(Path::new("c.toml"), &without_vote).unwrap();
        assert_eq!(stages.len(), tables.len() + 1, "without vote, with predict-test and scan-predictions");
        for name in stages.iter().map(|stage| stage.name.as_str()).chain(["vote", "ensemble"]) {
            assert!(help.contains(&name), "{name}");
        }
    }

    #[test]
    fn a_model_of_all_images_predicts_only_the_test_images() {
        let text = "data = 'd'\nwork = 'w'\n[train]\nconfig = 't.toml'\nfold = 'none'\n[predict]\n";
        let config: ChainConfig = toml::from_str(text).unwrap();
        let stages = stages(Path::new("c.toml"), &config).unwrap();
        assert_eq!(stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["train", "predict-test"]);
        assert!(stages[0].output.ends_with("runs/chain/final.safetensors"));
        assert!(stages[1].words.iter().any(|word| word.ends_with("runs/chain/final.safetensors")));
        let config: ChainConfig = toml::from_str(&format!("{text}[evaluate]\n")).unwrap();
        let error = super::stages(Path::new("c.toml"), &config).err().unwrap().to_string();
        assert!(error.contains("[evaluate] needs held-out images") && error.contains("fold = \"none\""), "{error}");
    }
}
