//! Stages: tables that are laid over the rest of the configuration, one after another.

use std::path::Path;

use toml::{Table, Value};

use super::{ConfigError, TrainConfig};
use crate::train::{StageSettings, StartFrom};

/// A stage with everything that holds in it.
#[derive(Clone, Debug, PartialEq)]
pub struct StageConfig {
    /// `name` of its table, or `stage-N`.
    pub name: String,
    /// The weights it begins with.
    pub start_from: StartFrom,
    /// The configuration with the stage's table laid over; its own `stages` are empty.
    pub config: TrainConfig,
}

/// Keys that a stage may set beside `name` and `start-from`.
const KEYS: [&str; 16] = [
    "epochs",
    "size",
    "batch",
    "accumulate",
    "clip",
    "early-stop",
    "amp",
    "loss",
    "point-weight",
    "optimiser",
    "schedule",
    "augment",
    "sampling",
    "freeze",
    "ema",
    "auxiliary-weights",
];
/// Tables of which a stage changes the keys that it names; any other value is replaced as a whole.
const MERGED: [&str; 3] = ["optimiser", "augment", "ema"];
/// Keys that a stage may set to "off", for what is on in the rest.
const SWITCHED_OFF: [&str; 3] = ["clip", "ema", "early-stop"];

impl TrainConfig {
    /// The stages in order; without `[[stages]]`, the one of the flat keys.
    pub fn stages(&self, path: &Path) -> Result<Vec<StageConfig>, ConfigError> {
        let whole = TrainConfig { stages: Vec::new(), ..self.clone() };
        if self.stages.is_empty() {
            return Ok(vec![StageConfig { name: "train".into(), start_from: StartFrom::Last, config: whole }]);
        }
        let base = Table::try_from(&whole).map_err(|e| shape(path, e.to_string()))?;
        let mut stages: Vec<StageConfig> = Vec::with_capacity(self.stages.len());
        for (place, table) in self.stages.iter().enumerate() {
            let stage = stage(path, &base, table, place)?;
            let wrong = |found: &str, expected: &str| {
                let key = format!("stages[{place}].start-from");
                Err(ConfigError::Value { path: path.into(), key, found: found.into(), expected: expected.into() })
            };
            match (stage.start_from, stages.last()) {
                (StartFrom::Last, _) | (StartFrom::Best, Some(_)) => {}
                (from, None) => {
                    return wrong(
                        from.name(),
                        "\"last\": nothing comes before the first stage; `weights` names a file",
                    );
                }
                (StartFrom::Ema, Some(before)) if before.config.ema.is_none() => {
                    return wrong("ema", "a stage before it that has [ema]");
                }
                (StartFrom::Ema, Some(_)) => {}
            }
            stages.push(stage);
        }
        Ok(stages)
    }
}

fn shape(path: &Path, reason: String) -> ConfigError {
    ConfigError::Shape { path: path.into(), reason }
}

fn stage(path: &Path, base: &Table, table: &Table, place: usize) -> Result<StageConfig, ConfigError> {
    let (mut name, mut start_from, mut laid) = (format!("stage-{}", place + 1), StartFrom::Last, base.clone());
    for (key, value) in table {
        let at = || format!("stages[{place}].{key}");
        let text = |expected: &str| {
            value.as_str().ok_or_else(|| ConfigError::Value {
                path: path.into(),
                key: at(),
                found: value.to_string(),
                expected: expected.into(),
            })
        };
        match key.as_str() {
            "name" => name = text("a text")?.to_owned(),
            "start-from" => {
                let from = text("\"last\", \"best\" or \"ema\"")?;
                start_from = from.parse().map_err(|e| shape(path, format!("{}: {e}", at())))?;
            }
            key if !KEYS.contains(&key) => {
                let known = KEYS.join(", ");
                return Err(shape(
                    path,
                    format!("{}: a stage has no such key; it has name, start-from, {known}", at()),
                ));
            }
            key if SWITCHED_OFF.contains(&key) && value.as_str() == Some("off") => drop(laid.remove(key)),
            key => match (laid.get_mut(key), value) {
                (Some(Value::Table(under)), Value::Table(over)) if MERGED.contains(&key) => merge(under, over),
                _ => drop(laid.insert(key.to_owned(), value.clone())),
            },
        }
    }
    let typed = super::typed(path, laid);
    let config = typed.map_err(|e| shape(path, format!("stages[{place}]: {e}")))?;
    Ok(StageConfig { name, start_from, config })
}

fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

impl StageConfig {
    /// What the engine is given of it.
    pub fn settings(&self) -> StageSettings {
        let config = &self.config;
        StageSettings {
            name: self.name.clone(),
            start_from: self.start_from,
            size: config.size,
            epochs: config.epochs,
            batch: config.batch,
            accumulate: config.accumulate,
            clip: config.clip,
            early_stop: config.early_stop,
            loss: config.loss.clone(),
            point_weight: config.point_weight,
            auxiliary_weights: config.auxiliary_weights.clone(),
            optimiser: config.optimiser.clone(),
            schedule: config.schedule.clone(),
            augment: config.augment.clone(),
            sampling: config.sampling(),
            freeze: config.freeze.clone(),
            ema: config.ema.clone(),
            amp: config.amp,
        }
    }
}

/// Makes what was set on the command line hold in every stage: a stage's own value gives way, but for `epochs`, which it
/// keeps where it is less.
pub(super) fn give_way(table: &mut Table, set: &str) {
    let Some((key, _)) = set.split_once('=') else { return };
    let parts: Vec<&str> = key.trim().split('.').collect();
    let most = table.get("epochs").and_then(Value::as_integer);
    let Some(Value::Array(stages)) = table.get_mut("stages") else { return };
    for stage in stages.iter_mut().filter_map(Value::as_table_mut) {
        match (parts.as_slice(), most) {
            (["epochs"], Some(most)) => {
                let own = stage.get("epochs").and_then(Value::as_integer);
                stage.insert("epochs".into(), own.map_or(most, |own| own.min(most)).into());
            }
            _ => remove(stage, &parts),
        }
    }
}

fn remove(table: &mut Table, parts: &[&str]) {
    match parts {
        [] => {}
        [key] => drop(table.remove(*key)),
        [key, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(*key) {
                remove(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;
    use crate::train::{Amp, Freeze, Frozen, OptimiserKind, PointWeight};

    const TWO: &str = "
epochs = 50
clip = 1.0
loss = { bce = 0.5, dice = 0.5 }
freeze = ['decoder.', { encoder-stages = 2 }]
[optimiser]
lr = 1e-3
weight-decay = 0.1
[ema]
decay = 0.9
[[stages]]
name = 'region'
epochs = 20
freeze = [{ prefix = 'encoder.', until = 5 }]
[[stages]]
name = 'rim'
start-from = 'ema'
epochs = 80
size = 256
clip = 'off'
ema = 'off'
loss = { bce = 0.5, lovasz = 0.5 }
point-weight = [0.5, 1.0]
amp = 'bf16'
optimiser = { lr = 1e-4, kind = 'lion' }
schedule = { kind = 'constant' }
";

    fn stages(text: &str, sets: &[&str]) -> Vec<StageConfig> {
        load(text, sets).unwrap().stages(Path::new("run.toml")).unwrap()
    }

    #[test]
    fn a_stage_is_laid_over_the_rest() {
        let [first, second] = &stages(TWO, &[])[..] else { panic!("two stages") };
        assert_eq!((first.name.as_str(), first.start_from, first.config.epochs), ("region", StartFrom::Last, 20));
        let encoder = Freeze { what: Frozen::Prefix("encoder.".into()), from: 0, until: Some(5) };
        assert_eq!(first.config.freeze, [encoder]);
        assert_eq!((first.config.clip, first.config.size), (Some(1.0), 512));
        assert_eq!((second.start_from, second.config.epochs, second.config.size), (StartFrom::Ema, 80, 256));
        assert_eq!((second.config.clip, second.config.ema.is_none(), second.config.amp), (None, true, Amp::Bf16));
        let held = Freeze { what: Frozen::EncoderStages(2), from: 0, until: None };
        assert_eq!((second.config.freeze.len(), &second.config.freeze[1]), (2, &held));
        // The optimiser keeps what the stage does not name; the loss is another one altogether.
        let optimiser = &second.config.optimiser;
        assert_eq!((optimiser.kind, optimiser.lr, optimiser.weight_decay), (OptimiserKind::Lion, 1e-4, 0.1));
        let terms: Vec<_> = second.config.loss.terms().iter().map(|(_, t)| t.kind().name()).collect();
        assert_eq!(terms, ["bce", "lovasz"]);
        assert_eq!(second.config.point_weight, PointWeight { from: 0.5, to: 1.0 });
        let one = stages("epochs = 3", &[]);
        assert_eq!((one.len(), one[0].config.epochs), (1, 3));
    }

    #[test]
    fn what_is_set_on_the_command_line_holds_in_every_stage() {
        let [first, second] = &stages(TWO, &["epochs=1", "size=128", "optimiser.lr=5e-4"])[..] else { panic!() };
        for stage in [first, second] {
            assert_eq!((stage.config.epochs, stage.config.size, stage.config.optimiser.lr), (1, 128, 5e-4));
        }
        assert_eq!(second.config.optimiser.kind, OptimiserKind::Lion);
        assert_eq!(stages(TWO, &["epochs=30"]).iter().map(|s| s.config.epochs).collect::<Vec<_>>(), [20, 30]);
    }

    #[test]
    fn a_configuration_with_stages_goes_there_and_back() {
        let config = load(TWO, &[]).unwrap();
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
    }

    #[test]
    fn what_is_wrong_in_a_stage_is_named() {
        for (stage, says) in [
            ("seed = 3", vec!["stages[0].seed", "early-stop"]),
            ("start-from = 'best'", vec!["stages[0].start-from", "nothing comes before"]),
            ("start-from = 'first'", vec!["stages[0].start-from", "first", "last, best, ema"]),
            ("size = 100", vec!["stages[0]", "size is 100"]),
            ("optimiser = { lrr = 1 }", vec!["stages[0]", "lrr"]),
            ("[[stages]]\nstart-from = 'ema'", vec!["stages[1].start-from", "a stage before it that has [ema]"]),
        ] {
            let error = load(&format!("[[stages]]\n{stage}"), &[]).unwrap_err();
            for part in says {
                assert!(error.contains(part), "{stage}: {error}");
            }
        }
    }
}
