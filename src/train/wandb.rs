//! The offline run folder of W&B (Weights & Biases), which `wandb sync` uploads.
//!
//! The folder is made from the epochs so far and written again after each epoch, so `wandb sync` never finds a part of a
//! record, and a resumed run continues under its id without an epoch twice. `wandb sync` appends the epochs of a folder to
//! those that the server has: once a folder is marked as uploaded, it stays as it is, and later epochs go into another
//! folder with the same id. Times of epochs are the start of the run plus the time that was trained, so a break between
//! two parts of a run is not in them.
//!
//! The messages are W&B's `wandb_internal.proto` (package wandb 0.31): `Record` and its `header`, `run`, `history`,
//! `summary`, `exit` and `final`. Values are JSON texts.

use std::io::{Error, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::protobuf::{number_field, text_field};
use super::scalars::scalars;
use super::wandb_log::log_file;
use super::{RunStart, TrainConfig};
use crate::artefact::Together;
use crate::digest::sha256;
use crate::tables::EpochRow;
use crate::violation::Violations;

/// Where W&B shows the run, after `wandb sync` has uploaded its folder. Nothing is sent while it trains.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WandbConfig {
    /// Name of the project. Required; up to 128 characters without `/ \ # ? % :`.
    #[schemars(example = &"hands")]
    pub project: String,
    /// User or team that the project belongs to; absent: the default of the account that uploads.
    #[schemars(example = &"team")]
    pub entity: Option<String>,
    /// Name of the run; absent: the name of its folder.
    #[schemars(example = &"fpn-fold0")]
    pub name: Option<String>,
    /// Name of the group that the run is shown in, for example for the folds of an experiment; absent: none.
    #[schemars(example = &"fpn")]
    pub group: Option<String>,
    /// Tags of the run, each 1 to 64 characters. Default `[]`.
    pub tags: Vec<String>,
}

impl WandbConfig {
    /// The invalid values.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let is_name =
            |text: &str| !text.is_empty() && text.len() <= 128 && !text.contains(['/', '\\', '#', '?', '%', ':']);
        let expected = "a name of 1 to 128 characters without / \\ # ? % :";
        wrong.expect(is_name(&self.project), "project", format_args!("{:?}", self.project), expected);
        for (key, name) in [("entity", &self.entity), ("name", &self.name), ("group", &self.group)] {
            let Some(name) = name else { continue };
            let fits = if key == "entity" { is_name(name) } else { (1..=128).contains(&name.chars().count()) };
            let expected = if key == "entity" { expected } else { "a name of 1 to 128 characters" };
            wrong.expect(fits, key, format_args!("{name:?}"), expected);
        }
        for (place, tag) in self.tags.iter().enumerate() {
            let fits = (1..=64).contains(&tag.chars().count());
            wrong.expect(fits, &format!("tags[{place}]"), format_args!("{tag:?}"), "1 to 64 characters");
        }
        wrong
    }
}

/// The results of a run that has ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WandbResult {
    /// The best epoch, from 1; `None` without validation.
    pub best_epoch: Option<usize>,
    /// Its mean validation Dice at the model's size, 0 to 1.
    pub best_dice: Option<f64>,
    /// Mean Dice of the held-out images at their original size, if they were scored.
    pub held_out: Option<f64>,
}

/// The offline run folders `wandb/offline-run-TIME-ID` in the folder of a run: one, and one more after each upload of an
/// unfinished run.
#[derive(Clone, Debug)]
pub struct WandbFolder {
    /// The folder `wandb`.
    parent: PathBuf,
    id: String,
    started: DateTime<Utc>,
}

/// One folder.
#[derive(Clone, Debug, PartialEq)]
struct Part {
    path: PathBuf,
    id: String,
    started: DateTime<Utc>,
}

const PREFIX: &str = "offline-run-";
const TIME: &str = "%Y%m%d_%H%M%S";

impl Part {
    /// The part that a folder name gives; `None` for other names.
    fn at(path: PathBuf) -> Option<Part> {
        let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
        let (time, id) = name.split_once('-')?;
        let started = NaiveDateTime::parse_from_str(time, TIME).ok()?.and_utc();
        Some(Part { id: id.to_owned(), started, path })
    }

    fn log(&self) -> PathBuf {
        self.path.join(format!("run-{}.wandb", self.id))
    }

    fn summary(&self) -> PathBuf {
        self.path.join("files/wandb-summary.json")
    }

    /// Whether `wandb sync` has uploaded it.
    fn is_uploaded(&self) -> bool {
        self.log().with_extension("wandb.synced").exists()
    }

    /// The last epoch in it; 0 if it has none.
    fn last_epoch(&self) -> std::io::Result<usize> {
        let summary: Value = serde_json::from_slice(&std::fs::read(self.summary())?)?;
        Ok(summary.get("epoch").and_then(Value::as_u64).unwrap_or(0) as usize)
    }
}

impl WandbFolder {
    /// The folders of a run: with [`RunStart::Resume`] those of its earlier part, if there are any, otherwise a new one, which
    /// the first [`WandbFolder::write`] makes.
    ///
    /// # Errors
    /// The folder of the run cannot be read.
    pub fn open(run: &Path, start: RunStart) -> std::io::Result<WandbFolder> {
        let parent = run.join("wandb");
        let earlier = if start == RunStart::Resume { parts(&parent)? } else { Vec::new() };
        if let Some(id) = earlier.last().map(|part| part.id.clone()) {
            let first = earlier.into_iter().find(|part| part.id == id).expect("the last part has this id");
            return Ok(WandbFolder { parent, id, started: first.started });
        }
        let now = DateTime::<Utc>::from(SystemTime::now());
        let unique = format!("{} {} {}", now.to_rfc3339(), std::process::id(), run.display());
        Ok(WandbFolder { parent, id: sha256(unique.as_bytes())[..8].to_owned(), started: now })
    }

    /// Path of the folder `wandb`.
    pub fn path(&self) -> &Path {
        &self.parent
    }

    /// The files that `wandb sync` reads, in the order of their folders.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn logs(&self) -> std::io::Result<Vec<PathBuf>> {
        Ok(self.parts()?.iter().map(Part::log).collect())
    }

    fn parts(&self) -> std::io::Result<Vec<Part>> {
        let mut all = parts(&self.parent)?;
        all.retain(|part| part.id == self.id);
        Ok(all)
    }

    /// A folder that does not exist yet, named by `time` or, if there is one of that second, a later one.
    fn new_part(&self, mut time: DateTime<Utc>) -> Part {
        loop {
            let path = self.parent.join(format!("{PREFIX}{}-{}", time.format(TIME), self.id));
            if !path.exists() {
                return Part { path, id: self.id.clone(), started: time };
            }
            time += TimeDelta::seconds(1);
        }
    }

    /// Writes the current folder from all epochs so far; with a result the run has ended. All files of the folder are
    /// replaced together.
    ///
    /// # Errors
    /// `config` has no W&B settings, an earlier folder cannot be read, or a file cannot be written.
    pub fn write(&self, config: &TrainConfig, rows: &[EpochRow], result: Option<&WandbResult>) -> std::io::Result<()> {
        let settings = config.wandb.as_ref().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "wandb is not set"))?;
        let Value::Object(mut values) = serde_json::to_value(config)? else { unreachable!("a struct is an object") };
        values.remove("wandb");
        let summary = self.summary(rows, result);
        // The records of a part that follows `earlier` parts.
        let content = |part: &Part, earlier: &[Part]| -> std::io::Result<Vec<u8>> {
            let before = earlier.iter().map(Part::last_epoch).collect::<Result<Vec<_>, _>>()?.into_iter().max();
            let mut messages = vec![header(), self.run(part, settings, config, &values)];
            let new = self.history(rows).into_iter().skip(before.unwrap_or(0));
            messages.extend(new.map(|(step, items)| history(step, &items)));
            messages.push((3, summary.iter().flat_map(|(key, value)| text_field(1, &item(key, value))).collect()));
            if result.is_some() {
                messages.push((18, number_field(2, seconds(rows) as u64)));
                messages.push((20, Vec::new()));
            }
            let numbered = messages.into_iter().zip(1..);
            let record =
                |((field, body), num): ((u32, Vec<u8>), u64)| [number_field(1, num), text_field(field, &body)].concat();
            Ok(log_file(&numbered.map(record).collect::<Vec<_>>()))
        };
        let parts = self.parts()?;
        let (part, log) = match parts.split_last() {
            None => {
                let part = self.new_part(self.started);
                let log = content(&part, &[])?;
                (part, log)
            }
            Some((last, earlier)) => {
                let log = content(last, earlier)?;
                if std::fs::read(last.log()).is_ok_and(|written| written == log) {
                    return Ok(());
                }
                match last.is_uploaded() {
                    false => (last.clone(), log),
                    true => {
                        let part = self.new_part(SystemTime::now().into());
                        let log = content(&part, &parts)?;
                        (part, log)
                    }
                }
            }
        };
        self.write_part(&part, &log, &values, &summary)
    }

    /// Writes the files of a folder together.
    fn write_part(
        &self,
        part: &Part,
        log: &[u8],
        values: &Map<String, Value>,
        summary: &Map<String, Value>,
    ) -> std::io::Result<()> {
        let metadata = json!({
            "program": "carpus train", "version": env!("CARGO_PKG_VERSION"), "startedAt": self.started.to_rfc3339(),
        });
        let files = part.path.join("files");
        let mut together = Together::default();
        for (path, text) in [
            (files.join("config.yaml"), yaml(values)),
            (part.summary(), serde_json::to_string(summary)?),
            (files.join("wandb-metadata.json"), metadata.to_string()),
        ] {
            together.add(&path, |out| out.write_all(text.as_bytes()))?;
        }
        together.add(&part.log(), |out| out.write_all(log))?;
        together.commit()
    }

    /// The message `run`: id, names, configuration and start.
    fn run(
        &self,
        part: &Part,
        settings: &WandbConfig,
        config: &TrainConfig,
        values: &Map<String, Value>,
    ) -> (u32, Vec<u8>) {
        let mut run = text_field(1, self.id.as_bytes());
        let name = settings.name.as_ref().or(config.output.name.as_ref());
        let texts =
            [(2, settings.entity.as_ref()), (3, Some(&settings.project)), (6, settings.group.as_ref()), (8, name)];
        for (field, text) in texts {
            run.extend(text.into_iter().flat_map(|text| text_field(field, text.as_bytes())));
        }
        run.extend(settings.tags.iter().flat_map(|tag| text_field(10, tag.as_bytes())));
        let items: Vec<u8> = values.iter().flat_map(|(key, value)| text_field(1, &item(key, value))).collect();
        run.extend(text_field(4, &items));
        run.extend(text_field(17, &number_field(1, part.started.timestamp() as u64)));
        (17, run)
    }

    /// The step and the values of each epoch.
    fn history(&self, rows: &[EpochRow]) -> Vec<(u64, Map<String, Value>)> {
        let mut runtime = 0.0;
        let values = |row: &EpochRow| {
            runtime += row.seconds;
            let mut items: Map<String, Value> = scalars(row).into_iter().map(|(name, v)| (name, number(v))).collect();
            items.insert("epoch".into(), row.epoch.into());
            items.insert("stage".into(), row.stage.as_str().into());
            items.insert("_step".into(), row.step.into());
            items.insert("_runtime".into(), number(runtime));
            items.insert("_timestamp".into(), number(self.started.timestamp() as f64 + runtime));
            (row.step, items)
        };
        rows.iter().map(values).collect()
    }

    /// The values of the last epoch, and the result.
    fn summary(&self, rows: &[EpochRow], result: Option<&WandbResult>) -> Map<String, Value> {
        let mut summary = self.history(rows).pop().map(|(_, items)| items).unwrap_or_default();
        if let Some(result) = result {
            summary.extend(result.best_epoch.map(|epoch| ("best epoch".to_owned(), epoch.into())));
            summary.extend(result.best_dice.map(|dice| ("dice/best".to_owned(), number(dice))));
            summary.extend(result.held_out.map(|dice| ("dice/held out".to_owned(), number(dice))));
        }
        summary.insert("_wandb".into(), json!({ "runtime": seconds(rows) as u64 }));
        summary
    }
}

/// All offline run folders in `parent`, in the order of their times; none if it does not exist.
fn parts(parent: &Path) -> std::io::Result<Vec<Part>> {
    let entries = match std::fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let mut found: Vec<Part> = paths.into_iter().filter_map(Part::at).collect();
    found.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
    Ok(found)
}

/// Trained time of all epochs in seconds.
fn seconds(rows: &[EpochRow]) -> f64 {
    rows.iter().map(|row| row.seconds).sum()
}

/// A number as JSON; NaN and infinity, which JSON does not have, as the texts that W&B reads as numbers.
fn number(value: f64) -> Value {
    match value {
        v if v.is_finite() => v.into(),
        v if v.is_nan() => "NaN".into(),
        v if v > 0.0 => "Infinity".into(),
        _ => "-Infinity".into(),
    }
}

/// The message `header`.
fn header() -> (u32, Vec<u8>) {
    let producer = format!("carpus {}", env!("CARGO_PKG_VERSION"));
    let versions = [text_field(1, producer.as_bytes()), text_field(2, b"0.0.1")].concat();
    (21, text_field(1, &versions))
}

/// The message `history` of an epoch.
fn history(step: u64, items: &Map<String, Value>) -> (u32, Vec<u8>) {
    let items = items.iter().flat_map(|(key, value)| text_field(1, &item(key, value)));
    (2, items.chain(text_field(2, &number_field(1, step))).collect())
}

/// An item of configuration, history or summary: key, and value as JSON.
fn item(key: &str, value: &Value) -> Vec<u8> {
    [text_field(1, key.as_bytes()), text_field(16, value.to_string().as_bytes())].concat()
}

/// W&B's `config.yaml`: each key with its value, which is JSON and therefore YAML.
fn yaml(values: &Map<String, Value>) -> String {
    let keys = values.iter().map(|(key, value)| format!("{key}:\n    value: {value}\n"));
    std::iter::once("wandb_version: 1\n".to_owned()).chain(keys).collect()
}

#[cfg(test)]
mod tests {
    use super::super::wandb_log::read_log;
    use super::*;
    use crate::bones;

    fn config() -> TrainConfig {
        let wandb = WandbConfig { project: "hands".into(), tags: vec!["fpn".into()], ..WandbConfig::default() };
        TrainConfig { wandb: Some(wandb), ..TrainConfig::default() }
    }

    fn row(epoch: u32) -> EpochRow {
        let dice = vec![0.5; bones::COUNT];
        EpochRow {
            epoch,
            step: 10 * u64::from(epoch),
            seconds: 30.0,
            valid_dice: Some(0.5),
            dice,
            ..EpochRow::default()
        }
    }

    fn records(log: &Path) -> usize {
        read_log(&std::fs::read(log).unwrap()).len()
    }

    #[test]
    fn a_resumed_run_continues_its_folder_until_it_is_uploaded() {
        let run = tempfile::tempdir().unwrap();
        let folder = WandbFolder::open(run.path(), RunStart::New).unwrap();
        let rows = [row(1), row(2), row(3), row(4)];
        folder.write(&config(), &rows[..1], None).unwrap();
        let first = folder.logs().unwrap().remove(0);
        // header, run, one epoch, summary.
        assert_eq!(records(&first), 4);
        let resumed = WandbFolder::open(run.path(), RunStart::Resume).unwrap();
        resumed.write(&config(), &rows[..2], None).unwrap();
        assert_eq!((resumed.logs().unwrap(), records(&first)), (vec![first.clone()], 5));
        // Uploaded: nothing new changes nothing, and later epochs are in a folder of their own.
        std::fs::write(first.with_extension("wandb.synced"), "").unwrap();
        resumed.write(&config(), &rows[..2], None).unwrap();
        assert_eq!(resumed.logs().unwrap().len(), 1);
        resumed.write(&config(), &rows[..3], None).unwrap();
        let result = WandbResult { best_epoch: Some(2), best_dice: Some(0.5), held_out: Some(0.48) };
        let again = WandbFolder::open(run.path(), RunStart::Resume).unwrap();
        again.write(&config(), &rows, Some(&result)).unwrap();
        let logs = again.logs().unwrap();
        assert_eq!((logs.len(), &logs[0], logs[1].file_name()), (2, &first, first.file_name()));
        // header, run, the epochs 3 and 4, summary, exit, final.
        assert_eq!((records(&first), records(&logs[1])), (5, 7));
        let summary = std::fs::read_to_string(logs[1].with_file_name("files/wandb-summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&summary).unwrap();
        assert_eq!(
            (&summary["dice/held out"], &summary["_runtime"], &summary["epoch"]),
            (&json!(0.48), &json!(120.0), &json!(4))
        );
        let other = WandbFolder::open(run.path(), RunStart::New).unwrap();
        assert!(other.id != folder.id && other.logs().unwrap().is_empty());
        assert!(folder.write(&TrainConfig::default(), &rows, None).is_err());
    }

    #[test]
    fn invalid_names_are_refused() {
        let wrong =
            |config: &WandbConfig| config.violations().iter().map(|v| v.key.clone()).collect::<Vec<_>>().join(" ");
        let plain = config().wandb.unwrap();
        assert_eq!(wrong(&plain), "");
        assert_eq!(wrong(&WandbConfig::default()), "project");
        let given = WandbConfig {
            project: "a/b".into(),
            entity: Some("a:b".into()),
            name: Some(String::new()),
            group: Some("x".repeat(129)),
            tags: vec!["a".into(), String::new(), "y".repeat(65)],
        };
        assert_eq!(wrong(&given), "project entity name group tags[1] tags[2]");
    }
}
