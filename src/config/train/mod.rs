//! The configuration of a training run: read from a file, overridden from the command line, checked, printed.

mod stages;

use std::path::Path;

use toml::Table;

use super::commented::commented;
use super::keys;
use super::layered::{ConfigError, KnownKeys, read, set, typed};
use crate::train::{STAGE_KEYS, TrainConfig};

impl TrainConfig {
    /// Reads a TOML file, overrides its values by `sets`, texts of the form `key=value`, and checks every value.
    ///
    /// # Errors
    /// The file cannot be read, or has unknown keys (the error names all of them), a value of another type, or invalid
    /// values (the error names all of them).
    pub fn load(path: &Path, sets: &[String]) -> Result<TrainConfig, ConfigError> {
        let known = known();
        let file = read(path, &known)?;
        let overridden = |sets: &[&String]| -> Result<TrainConfig, ConfigError> {
            let mut table = file.clone();
            for text in sets {
                set(&mut table, text, &[("data", "root")], &known)?;
            }
            if let Some(toml::Value::String(root)) = table.get("data") {
                let root = toml::Value::String(root.clone());
                table.insert("data".into(), Table::from_iter([("root".to_owned(), root)]).into());
            }
            for text in sets {
                stages::override_in_stages(&mut table, text);
            }
            typed(path, table)
        };
        let all: Vec<&String> = sets.iter().collect();
        let config = overridden(&all).map_err(|error| {
            let ConfigError::Shape { reason, .. } = &error else { return error };
            // If the configuration is valid without one of the settings, that setting is wrong.
            let others = |text: &String| all.iter().copied().filter(|other| *other != text).collect::<Vec<_>>();
            match sets.iter().find(|text| overridden(&others(text)).is_ok()) {
                Some(text) => ConfigError::Set { text: text.clone(), reason: reason.clone() },
                None => error,
            }
        })?;
        config.check(path).map_err(|mut error| {
            if let ConfigError::Values { violations, .. } = &mut error {
                for violation in violations.iter_mut() {
                    if let Some(text) = sets.iter().rfind(|text| sets_key(text, &violation.key)) {
                        violation.expected += &format!(" (--set {text})");
                    }
                }
            }
            error
        })?;
        Ok(config)
    }

    /// Checks every value, after a change of the configuration that was read from `path`.
    ///
    /// # Errors
    /// Values are invalid; the error names all of them.
    pub fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let mut violations = self.violations();
        violations.extend(stages::violations(self, &self.stages(path)?, &violations));
        violations.result().map_err(|violations| ConfigError::Values { path: path.into(), violations })
    }

    /// The configuration as TOML with all defaults written out. Reading it gives the same configuration.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect(PLAIN)
    }

    /// As [`TrainConfig::to_toml`], with every key and its description.
    pub fn to_commented_toml(&self) -> String {
        commented(&keys::schema::<TrainConfig>(), &Table::try_from(self).expect(PLAIN))
    }
}

/// Whether `text`, KEY=VALUE, sets `key` or a table or list that contains it.
fn sets_key(text: &str, key: &str) -> bool {
    let rest = text.split_once('=').and_then(|(name, _)| key.strip_prefix(name.trim()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

const PLAIN: &str = "keys are text and values are numbers, texts, lists and tables";

/// The keys of a run. A stage has its own keys and some of the run's.
fn known() -> KnownKeys {
    let mut schema = keys::schema::<TrainConfig>();
    for key in STAGE_KEYS {
        schema["properties"]["stages"]["items"]["properties"][key] = schema["properties"][key].clone();
    }
    KnownKeys::by(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use crate::train::{EmaSettings, Fold, Schedule};

    pub(super) fn load(text: &str, sets: &[&str]) -> Result<TrainConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        TrainConfig::load(&path, &sets).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default_and_survives_a_round_trip() {
        let mut config = load("", &[]).unwrap();
        assert_eq!(config, TrainConfig::default());
        config.ema = Some(EmaSettings::default());
        config.clip = Some(1.0);
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn settings_override_the_file() {
        let text = "data = 'crops'\n[loss]\nbce = 0.3\ndice = 0.7\n[schedule]\nkind = 'one-cycle'";
        let sets = ["data.fold=3", "optimiser.lr=2e-3", "ema.decay=0.99", "size=128", "data=phantom"];
        let config = load(text, &sets).unwrap_err();
        assert!(config.contains("data is \"crops\""), "{config}");
        let config = load(&text.replace("data = 'crops'", ""), &sets).unwrap();
        assert_eq!((config.data.root, config.data.fold), ("phantom".into(), Fold::Number(3)));
        assert_eq!((config.optimiser.lr, config.size), (2e-3, Size::square(128)));
        assert_eq!(config.ema.unwrap().decay, 0.99);
        assert_eq!(config.loss.terms().len(), 2);
    }

    #[test]
    fn every_configuration_of_the_repository_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/train");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let config = TrainConfig::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
            assert_eq!(load(&config.to_commented_toml(), &[]).unwrap(), config);
            seen += 1;
        }
        assert!(seen > 0);
    }

    /// The settings of a printed configuration, without the `#` of inactive ones: whether each is active, the table
    /// that it is in, and its text.
    fn lines(page: &str) -> Vec<(bool, String, String)> {
        let mut at = String::new();
        let settings = page.lines().filter(|line| !line.is_empty() && *line != "#" && !line.starts_with("# "));
        let settings = settings.map(|line| {
            let (is_active, text) = line.strip_prefix('#').map_or((true, line), |inactive| (false, inactive));
            if text.starts_with('[') {
                at = text.trim_matches(['[', ']']).to_owned();
            }
            (is_active, at.clone(), text.to_owned())
        });
        settings.collect()
    }

    #[test]
    fn a_printed_configuration_has_every_key_and_loads_again() {
        let schema = keys::schema::<TrainConfig>();
        let page = TrainConfig::default().to_commented_toml();
        assert_eq!(load(&page, &[]).unwrap(), TrainConfig::default());
        let shown: Vec<String> = lines(&page)
            .into_iter()
            .map(|(_, at, text)| match text.split_once(" = ") {
                Some((key, _)) => keys::joined(&at, key),
                None => at,
            })
            .collect();
        let mut known = keys::paths(&schema);
        known.extend(["stages.name".to_owned(), "stages.start-from".to_owned()]);
        // The schema has every key that the structs write.
        let mut written = vec![(String::new(), Table::try_from(TrainConfig::default()).unwrap())];
        while let Some((at, table)) = written.pop() {
            for (key, value) in table {
                let key = keys::joined(&at, &key);
                assert!(known.contains(&key), "{key}");
                written.extend(value.as_table().map(|inner| (key, inner.clone())));
            }
        }
        let absent: Vec<&String> = known.iter().filter(|key| !shown.contains(key)).collect();
        assert!(absent.is_empty(), "{absent:?} not in\n{page}");
        for key in ["early-stop", "clip", "data.limit", "sampling.kind", "ema.decay", "model.point-rend.subdivisions"] {
            assert!(shown.iter().any(|shown| shown == key), "{key}");
        }
        let doc = schema["properties"]["stages"]["description"].as_str().unwrap();
        assert!(STAGE_KEYS.iter().all(|key| doc.contains(key)), "{doc}");
        // Every key has a comment; the description of a kind is that of its form.
        let mut nodes = vec![(String::new(), &schema)];
        while let Some((at, node)) = nodes.pop() {
            for (key, inner) in keys::forms(node).into_iter().flat_map(keys::properties) {
                let key = keys::joined(&at, key);
                assert!(inner["description"].is_string() || inner["const"].is_string(), "{key} has no doc comment");
                nodes.push((key, inner));
            }
        }
    }

    #[test]
    fn inactive_lines_of_a_printed_configuration_load_without_their_mark() {
        let page = TrainConfig::default().to_commented_toml();
        let (mut at, mut tried) = (String::new(), 0);
        for block in page.split("\n\n") {
            let lines = lines(block);
            let header = lines.iter().find(|(_, _, text)| text.starts_with('['));
            if let Some((_, name, _)) = header {
                at.clone_from(name);
            }
            let own = |text: &str| if at.is_empty() { text.to_owned() } else { format!("[{at}]\n{text}") };
            let inactive: Vec<&str> =
                lines.iter().filter(|(is_active, ..)| !is_active).map(|(_, _, text)| text.as_str()).collect();
            let texts: Vec<String> = match (inactive.len() == lines.len(), header) {
                (true, Some(_)) => vec![inactive.join("\n")],
                (true, None) => vec![own(&inactive.join("\n"))],
                (false, _) => inactive.iter().map(|line| own(line)).collect(),
            };
            // Each kind of a table is a block of its own.
            for text in texts.into_iter().filter(|text| text.contains(" = ")) {
                let loaded = typed::<TrainConfig>(Path::new("printed.toml"), text.parse().unwrap());
                assert!(loaded.is_ok(), "{text}: {}", loaded.unwrap_err());
                tried += 1;
            }
        }
        assert!(tried > 40, "{tried}");
    }

    #[test]
    fn one_error_names_all_invalid_values() {
        let text = "
size = 100
clip = 0
freeze = [{ prefix = 'encoder.', from = 3, until = 2 }]
[optimiser]
lr = 0
[loss]
bce = 1.0
focal = { weight = 1, gamma = -1 }
[model]
depth = 7
drop-path = 2.0
[[stages]]
epochs = 3
[[stages]]
size = 100
start-from = 'ema'
optimiser = { eps = 0 }
[[stages]]
schedule = { kind = 'step', every = 0, gamma = 2 }";
        let error = load(text, &[]).unwrap_err();
        let mut lines = error.lines();
        assert!(lines.next().unwrap().ends_with("run.toml: 12 invalid values:"), "{error}");
        let expected = [
            "size is 100",
            "model.depth is 7; expected 3 to 5",
            "model.drop-path is 2; expected at least 0 and below 1",
            "clip is 0; expected above 0",
            "loss.focal.gamma is -1",
            "optimiser.lr is 0; expected above 0",
            "freeze[0].until is 2; expected an epoch after `from`, which is 3",
            "stages[1].start-from is ema; expected last or best, because the stage before has no [ema]",
            "stages[1].size is 100",
            "stages[1].optimiser.eps is 0",
            "stages[2].schedule.every is 0",
            "stages[2].schedule.gamma is 2",
        ];
        for (line, expected) in lines.zip(expected) {
            assert!(line.trim_start().starts_with(expected), "{line:?} for {expected:?} in {error}");
        }
    }

    #[test]
    fn unknown_keys_are_named_with_their_line_and_a_suggestion() {
        let text = "size = 64\nepoch = 3\n[optimizer]\nlr = 1\n[model]\nin_channels = 1\nencodr = 'resnet18'\n\
                    [[stages]]\noptimiser = { lrr = 1 }\nseed = 2";
        let error = load(text, &[]).unwrap_err();
        let lines: Vec<&str> = error.lines().collect();
        for (line, says) in lines.iter().zip([
            vec!["run.toml line 2: epoch: unknown key `epoch`; did you mean epochs?"],
            vec!["run.toml line 3: optimizer: unknown key `optimizer`; did you mean optimiser?"],
            vec!["run.toml line 7: model.encodr: unknown key `encodr`; did you mean model.encoder? Keys of model: architecture,"],
            vec!["run.toml line 9: stages[0].optimiser.lrr: unknown key `lrr`; did you mean optimiser.lr?"],
            vec!["run.toml line 10: stages[0].seed: unknown key `seed`", "keys of stages[0]: name, start-from, epochs"],
        ]) {
            assert!(says.iter().all(|part| line.contains(part)), "{line}");
        }
        assert_eq!(lines.len(), 5, "{error}");
        for (set, says) in [
            ("optimiser.lrr=1", "--set optimiser.lrr=1: unknown key; did you mean optimiser.lr?"),
            ("optimizer.lr=1", "--set optimizer.lr=1: unknown key; did you mean optimiser.lr?"),
            ("lr=1", "--set lr=1: unknown key; did you mean optimiser.lr?"),
            ("qqq=1", "--set qqq=1: unknown key; `carpus train --config FILE --print-config` shows every key"),
            ("loss={bec=1}", "--set loss={bec=1}: unknown key loss.bec; did you mean loss.bce?"),
            ("stages=[{ptimiser={lr=1}}]", "unknown key stages[0].ptimiser; did you mean optimiser?"),
            (
                "schedule.kind=cosin",
                "--set schedule.kind=cosin: schedule.kind: unknown kind `cosin`; did you mean cosine?",
            ),
            (
                "schedule={kind='step',end=0}",
                "unknown key schedule.end; keys of schedule (kind step): kind, every, gamma",
            ),
            (
                "model.architecture=fpm",
                "model.architecture: unknown architecture \"fpm\"; did you mean fpn? Expected one of",
            ),
            ("model.encoder=resnet-18", "model.encoder: unknown encoder \"resnet-18\"; did you mean resnet18?"),
            ("augment.0.p=0.1", "augment is a list, and a list can only be replaced whole: --set 'augment=[...]'"),
            (
                "augment=[{kind='shift-scale-rotate',rotat=30}]",
                "unknown key augment[0].rotat; did you mean rotate? Keys of augment[0] (kind shift-scale-rotate): kind, p,",
            ),
            ("augment=[{kind='flp'}]", "augment[0].kind: unknown kind `flp`; did you mean flip? Expected one of flip,"),
            ("amp=bf61", "amp: unknown precision \"bf61\"; did you mean bf16? Expected one of off, bf16, fp16"),
            ("loss={bce={weight=1,pos-weight=nan}}", "loss.bce.pos-weight: NaN is not a finite number"),
            ("loss={bce={weight=1,class-weights=0}}", "loss.bce.class-weights is 0 for every class; expected above 0"),
        ] {
            let error = load("", &[set]).unwrap_err();
            assert!(error.contains(says), "{set}: {error}");
        }
    }

    #[test]
    fn the_kind_of_a_table_is_set_with_the_whole_table() {
        let file = "[schedule]\nkind = 'cosine-warmup'\nwarmup = 0.1\nend = 0.01";
        let error = load(file, &["schedule.kind=step"]).unwrap_err();
        let expected = "--set schedule.kind=step: the file's schedule has keys of another kind (`end`, `warmup`); replace the whole \
                        table: --set 'schedule={kind=\"step\", every=30, gamma=0.1}'";
        assert_eq!(error, expected);
        let schedule = |text: &str, sets: &[&str]| load(text, sets).unwrap().schedule;
        let step = Schedule::Step { every: 30, gamma: 0.1 };
        assert_eq!(schedule(file, &["schedule={kind=\"step\", every=30, gamma=0.1}"]), step);
        // Without a table in the file, there are no keys of another kind.
        assert_eq!(schedule("", &["schedule.kind=step", "schedule.every=30", "schedule.gamma=0.1"]), step);
        assert_eq!(schedule(file, &["schedule.kind=cosine-warmup"]), schedule(file, &[]));
    }

    #[test]
    fn an_invalid_value_of_set_is_named_as_such() {
        let sets = ["epochs=3", "size=big", "batch=0", "optimiser.lr=0"];
        let error = load("", &sets).unwrap_err();
        assert!(error.starts_with("--set size=big: ") && error.contains("\"big\""), "{error}");
        let error = load("clip = 0", &[sets[0], sets[2], sets[3]]).unwrap_err();
        for line in [
            "batch is 0; expected from 1 to 100000 (--set batch=0)",
            "clip is 0; expected above 0 (leave the key out for no limit)\n",
            "optimiser.lr is 0; expected above 0 (--set optimiser.lr=0)",
        ] {
            assert!(error.contains(line), "{error}");
        }
        let error = load("size = 'big'", &["epochs=3"]).unwrap_err();
        assert!(error.contains("run.toml: ") && !error.contains("--set"), "{error}");
    }

    #[test]
    fn invalid_values_are_named() {
        for (text, says) in [
            ("[optimiser]\nlrr = 1", vec!["run.toml", "optimiser", "lrr", "weight-decay"]),
            ("size = 'big'", vec!["run.toml", "size", "big"]),
            ("size = 100", vec!["size is 100", "multiple of 32"]),
            ("[model]\nencoder = 'vgg'", vec!["vgg", "efficientnet-b0"]),
            ("[schedule]\nkind = 'cosine-warmup'\nwarmup = 2.0", vec!["schedule.warmup is 2", "0 to 1"]),
            ("augment = [{ kind = 'flip', p = 2.0 }]", vec!["augment[0].p is 2"]),
            ("[augment]\nflip = 0.5", vec!["run.toml", "augment", "[[augment]] kind = \"flip\""]),
            ("[loss]\nbec = 1", vec!["bec"]),
            ("[loss]\nbce = 0", vec!["loss.bce is 0", "above 0"]),
            ("[loss]\ntversky = { weight = 1, alpha = [0.3, 0.7] }", vec!["alpha", "2", "29"]),
            ("[loss]\ntversky = { weight = 1, alpha = { Pissiform = 1, default = 1 } }", vec!["Pissiform"]),
            ("amp = 'fp8'", vec!["fp8", "off, bf16, fp16"]),
            ("keep-best = 0", vec!["keep-best is 0"]),
            ("average-best = 2", vec!["average-best is 2; expected from 2 to 1, the value of keep-best"]),
            ("swa = { every = 0 }", vec!["swa.every is 0"]),
            ("swa = { anneal = 'cosine' }", vec!["swa.anneal", "cos, linear"]),
            ("hooks = { epoch = '' }", vec!["hooks.epoch is empty"]),
            ("data = { fold = 'non' }", vec!["data.fold", "expected a fold's number, or none"]),
            (
                "early-stop = 3\nmonitor = 'loss'\nkeep-best = 3\naverage-best = 2\nuntil = { dice = 0.9 }\n\
                 data = { fold = 'none' }\n[[stages]]\n[[stages]]\nstart-from = 'best'",
                vec![
                    "6 invalid values",
                    "early-stop is 3; expected no value, because data.fold = \"none\" holds out no image",
                    "until is set; expected no value",
                    "monitor is loss; expected no value",
                    "keep-best is 3; expected no value",
                    "average-best is 2; expected no value",
                    "stages[1].start-from is best; expected no value",
                ],
            ),
            ("auxiliary-weights = [0.4, -1]", vec!["auxiliary-weights is -1"]),
            ("clip = inf", vec!["clip is inf", "leave the key out"]),
            ("schedule = { kind = 'polynomial', power = inf }", vec!["schedule.power is inf"]),
            ("ema = { warmup = inf }", vec!["ema.warmup is inf"]),
            (
                "[loss]\nfocal = { weight = 1, alpha = nan }",
                vec!["run.toml: loss.focal.alpha: NaN is not a finite number"],
            ),
            (
                "[loss]\nboundary = { weight = 1, band = inf }",
                vec!["run.toml: loss.boundary.band: inf is not a finite number"],
            ),
            ("[[stages]]\nloss = { bce = nan }", vec!["stages[0]: loss.bce: NaN is not a finite number"]),
            ("[model]\noutput-stride = 8", vec!["model.output-stride is 8; expected 32: fpn has stride 32 only"]),
            ("[schedule]\nkind = 'cosin'", vec!["line 2: schedule.kind: unknown kind `cosin`; did you mean cosine?"]),
            (
                "[[augment]]\nkind = 'shift-scale-rotate'\nborder = 'blak'",
                vec!["augment", "`blak`; did you mean black?"],
            ),
            ("point-weight = [0.4]", vec!["a number, or [first, last]"]),
            ("sampling = { kind = 'weights' }", vec!["sampling", "data.sample-weights"]),
            ("[optimiser]\nbetas = [0.9, 1.0]", vec!["optimiser.betas is 1"]),
            ("freeze = [{ prefix = 'encoder.', until = 0 }]", vec!["freeze", "until"]),
            ("freeze = [{ encoder-stages = 2, until = 0 }]", vec!["freeze", "until"]),
            (
                "freeze = [{ encoder-stages = 6 }]",
                vec!["freeze[0].encoder-stages is 6", "from 1 to 5, the model's depth, for efficientnet-b0"],
            ),
            ("freeze = [{ encoder-stages = 1 }]\n[model]\nencoder = 'mit_b0'", vec!["freeze", "stride 4"]),
            ("freeze = [{ encoder-stages = 1 }]\n[model]\narchitecture = 'nnunet'", vec!["freeze", "show nnunet"]),
            ("freeze = [{ until = 3 }]", vec!["freeze", "prefix", "encoder-stages"]),
            ("[[stages]]\nfreeze = [{ encoder-stages = 0 }]", vec!["stages[0]", "freeze", "from 1 to 5"]),
            ("epochs = ", vec!["run.toml", "line 1"]),
        ] {
            let error = load(text, &[]).unwrap_err();
            for part in says {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }
}
