//! The configuration of a training run: read from a file, settings laid over it, checked, printed.

mod stages;

use std::path::Path;

use toml::Table;

use super::commented::commented;
use super::keys;
use super::layered::{ConfigError, KnownKeys, read, set, typed};
use crate::train::{STAGE_KEYS, TrainConfig};

impl TrainConfig {
    /// Reads a file, lays `key=value` texts over it, and checks every value.
    ///
    /// # Errors
    /// The file cannot be read, or has unknown keys, values of another type, or values that cannot be: each with all there
    /// are.
    pub fn load(path: &Path, sets: &[String]) -> Result<TrainConfig, ConfigError> {
        let known = known();
        let file = read(path, &known)?;
        let laid = |sets: &[&String]| -> Result<TrainConfig, ConfigError> {
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
        let config = laid(&all).map_err(|error| {
            let ConfigError::Shape { reason, .. } = &error else { return error };
            // What is well without one of the settings is wrong in that one.
            let others = |text: &String| all.iter().copied().filter(|other| *other != text).collect::<Vec<_>>();
            match sets.iter().find(|text| laid(&others(text)).is_ok()) {
                Some(text) => ConfigError::Set { text: text.clone(), reason: reason.clone() },
                None => error,
            }
        })?;
        let mut violations = config.violations();
        violations.extend(stages::violations(&config, &config.stages(path)?, &violations));
        violations.result().map_err(|mut violations| {
            for violation in violations.iter_mut() {
                if let Some(text) = sets.iter().rfind(|text| sets_key(text, &violation.key)) {
                    violation.expected += &format!(" (--set {text})");
                }
            }
            ConfigError::Values { path: path.into(), violations }
        })?;
        Ok(config)
    }

    /// The file that gives this configuration again, defaults written out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect(PLAIN)
    }

    /// As [`TrainConfig::to_toml`], with every key that there is and what it means.
    pub fn to_commented_toml(&self) -> String {
        commented(&keys::schema::<TrainConfig>(), &Table::try_from(self).expect(PLAIN))
    }
}

/// Whether `text`, KEY=VALUE, sets `key` or a table or list that it is in.
fn sets_key(text: &str, key: &str) -> bool {
    let rest = text.split_once('=').and_then(|(name, _)| key.strip_prefix(name.trim()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

const PLAIN: &str = "keys are text and values are numbers, texts, lists and tables";

/// The keys of a run; those of a stage are its own and some of the run's.
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
    use crate::train::EmaSettings;

    pub(super) fn load(text: &str, sets: &[&str]) -> Result<TrainConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        TrainConfig::load(&path, &sets).map_err(|e| e.to_string())
    }

    #[test]
    fn an_empty_file_is_the_default_and_goes_there_and_back() {
        let mut config = load("", &[]).unwrap();
        assert_eq!(config, TrainConfig::default());
        config.ema = Some(EmaSettings::default());
        config.clip = Some(1.0);
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn settings_are_laid_over() {
        let text = "data = 'crops'\n[loss]\nbce = 0.3\ndice = 0.7\n[schedule]\nkind = 'one-cycle'";
        let sets = ["data.fold=3", "optimiser.lr=2e-3", "ema.decay=0.99", "size=128", "data=phantom"];
        let config = load(text, &sets).unwrap_err();
        assert!(config.contains("data is \"crops\""), "{config}");
        let config = load(&text.replace("data = 'crops'", ""), &sets).unwrap();
        assert_eq!((config.data.root, config.data.fold), ("phantom".into(), 3));
        assert_eq!((config.optimiser.lr, config.size), (2e-3, 128));
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

    /// The lines of a printed configuration that are no comments, without the `#` of those that are off: whether each
    /// holds, the table that it is in, and itself.
    fn lines(page: &str) -> Vec<(bool, String, String)> {
        let mut at = String::new();
        let settings = page.lines().filter(|line| !line.is_empty() && *line != "#" && !line.starts_with("# "));
        let settings = settings.map(|line| {
            let (holds, text) = line.strip_prefix('#').map_or((true, line), |off| (false, off));
            if text.starts_with('[') {
                at = text.trim_matches(['[', ']']).to_owned();
            }
            (holds, at.clone(), text.to_owned())
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
        // What the structs themselves write is known to the schema.
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
        // Everything has a comment; a kind's is that of what the kind does.
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
    fn what_is_off_in_a_printed_configuration_loads_without_its_mark() {
        let page = TrainConfig::default().to_commented_toml();
        let (mut at, mut tried) = (String::new(), 0);
        for block in page.split("\n\n") {
            let lines = lines(block);
            let header = lines.iter().find(|(_, _, text)| text.starts_with('['));
            if let Some((_, name, _)) = header {
                at.clone_from(name);
            }
            let own = |text: &str| if at.is_empty() { text.to_owned() } else { format!("[{at}]\n{text}") };
            let off: Vec<&str> = lines.iter().filter(|(holds, ..)| !holds).map(|(_, _, text)| text.as_str()).collect();
            let texts: Vec<String> = match (off.len() == lines.len(), header) {
                (true, Some(_)) => vec![off.join("\n")],
                (true, None) => vec![own(&off.join("\n"))],
                (false, _) => off.iter().map(|line| own(line)).collect(),
            };
            // A table of kinds has its kinds in blocks of their own.
            for text in texts.into_iter().filter(|text| text.contains(" = ")) {
                let loaded = typed::<TrainConfig>(Path::new("off.toml"), text.parse().unwrap());
                assert!(loaded.is_ok(), "{text}: {}", loaded.unwrap_err());
                tried += 1;
            }
        }
        assert!(tried > 40, "{tried}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
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
            "model.drop-path is 2; expected from 0",
            "clip is 0; expected above 0",
            "loss.focal.gamma is -1",
            "optimiser.lr is 0; expected above 0",
            "freeze[0].until is 2; expected an epoch after `from`, which is 3",
            "stages[1].start-from is ema; expected another, or a stage before it that has [ema]",
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
    fn unknown_keys_are_named_with_their_line_and_the_likely_one() {
        let text = "size = 64\nepoch = 3\n[optimizer]\nlr = 1\n[model]\nin_channels = 1\nencodr = 'resnet18'\n\
                    [[stages]]\noptimiser = { lrr = 1 }\nseed = 2";
        let error = load(text, &[]).unwrap_err();
        let lines: Vec<&str> = error.lines().collect();
        for (line, says) in lines.iter().zip([
            vec!["run.toml line 2: epoch: unknown key `epoch`; did you mean epochs?"],
            vec!["run.toml line 3: optimizer: unknown key `optimizer`; did you mean optimiser?"],
            vec!["run.toml line 7: model.encodr: unknown key `encodr`; did you mean model.encoder? model has architecture,"],
            vec!["run.toml line 9: stages[0].optimiser.lrr: unknown key `lrr`; did you mean optimiser.lr?"],
            vec!["run.toml line 10: stages[0].seed: unknown key `seed`", "stages[0] has name, start-from, epochs"],
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
        ] {
            let error = load("", &[set]).unwrap_err();
            assert!(error.contains(says), "{set}: {error}");
        }
    }

    #[test]
    fn a_wrong_value_of_the_command_line_is_named_as_such() {
        let sets = ["epochs=3", "size=big", "batch=0", "optimiser.lr=0"];
        let error = load("", &sets).unwrap_err();
        assert!(error.starts_with("--set size=big: ") && error.contains("\"big\""), "{error}");
        let error = load("clip = 0", &[sets[0], sets[2], sets[3]]).unwrap_err();
        for line in [
            "batch is 0; expected from 1 to 100000 (--set batch=0)",
            "clip is 0; expected above 0, or no such line\n",
            "optimiser.lr is 0; expected above 0 (--set optimiser.lr=0)",
        ] {
            assert!(error.contains(line), "{error}");
        }
        let error = load("size = 'big'", &["epochs=3"]).unwrap_err();
        assert!(error.contains("run.toml: ") && !error.contains("--set"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named() {
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
            ("auxiliary-weights = [0.4, -1]", vec!["auxiliary-weights is -1"]),
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
