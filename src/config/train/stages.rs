//! Stages: tables that override the rest of the configuration, one for each stage of the run.

use std::path::Path;

use toml::{Table, Value};

use crate::config::layered::{ConfigError, one_line_message, typed};
use crate::train::{Fold, NO_SCORES, STAGE_KEYS, Stage, StageHead, StartFrom, TrainConfig};
use crate::violation::Violations;

/// Tables of which a stage overrides single keys; any other value is replaced as a whole.
const MERGED: [&str; 3] = ["optimiser", "ema", "mean-teacher"];
/// Keys that a stage may set to "off", to switch off what the rest of the configuration switches on.
const SWITCHED_OFF: [&str; 6] = ["clip", "ema", "mean-teacher", "swa", "until", "early-stop"];

impl TrainConfig {
    /// The stages in order; without `[[stages]]`, one stage with the keys of the run. Errors name the file `path`.
    ///
    /// # Errors
    /// A stage has a key that stages do not take, or a value of another type.
    pub fn stages(&self, path: &Path) -> Result<Vec<Stage>, ConfigError> {
        let whole = TrainConfig { stages: Vec::new(), ..self.clone() };
        if self.stages.is_empty() {
            return Ok(vec![Stage { name: "train".into(), start_from: StartFrom::Last, config: whole }]);
        }
        let wrong = |place: usize, reason: String| ConfigError::Shape {
            path: path.into(),
            reason: format!("stages[{place}]{reason}"),
        };
        let base = Table::try_from(&whole).map_err(|e| wrong(0, format!(": {e}")))?;
        let tables = self.stages.iter().enumerate();
        tables.map(|(place, table)| stage(path, &base, table, place).map_err(|reason| wrong(place, reason))).collect()
    }
}

fn stage(path: &Path, base: &Table, table: &Table, place: usize) -> Result<Stage, String> {
    let (mut head, mut overridden) = (StageHead::default(), base.clone());
    for (key, value) in table {
        match key.as_str() {
            "name" => head.name = Some(own(key, value)?),
            "start-from" => head.start_from = own(key, value)?,
            key if !STAGE_KEYS.contains(&key) => {
                let known = STAGE_KEYS.join(", ");
                return Err(format!(".{key}: unknown key of a stage; expected one of name, start-from, {known}"));
            }
            key if SWITCHED_OFF.contains(&key) && value.as_str() == Some("off") => drop(overridden.remove(key)),
            key => match (overridden.get_mut(key), value) {
                (Some(Value::Table(under)), Value::Table(over)) if MERGED.contains(&key) => merge(under, over),
                _ => drop(overridden.insert(key.to_owned(), value.clone())),
            },
        }
    }
    let config = typed(path, overridden).map_err(|error| match error {
        // The caller names the file, before the stage.
        ConfigError::Shape { reason, .. } => format!(": {reason}"),
        other => format!(": {other}"),
    })?;
    let name = head.name.unwrap_or_else(|| format!("stage-{}", place + 1));
    Ok(Stage { name, start_from: head.start_from, config })
}

/// A value of one of the keys that only stages have.
fn own<T: serde::de::DeserializeOwned>(key: &str, value: &Value) -> Result<T, String> {
    T::deserialize(value.clone()).map_err(|error| format!(".{key}: {}", one_line_message(&error)))
}

fn merge(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => merge(under, over),
            _ => drop(under.insert(key.clone(), value.clone())),
        }
    }
}

/// The invalid values in the `stages` of `config`. Values that a stage takes from the rest of the configuration are
/// reported there, in `flat`, and not again here.
pub(super) fn violations(config: &TrainConfig, stages: &[Stage], flat: &Violations) -> Violations {
    let mut wrong = Violations::new();
    for (place, (table, stage)) in config.stages.iter().zip(stages).enumerate() {
        let before = place.checked_sub(1).map(|before| &stages[before]);
        let expected = match (stage.start_from, before) {
            (StartFrom::Best, Some(_)) if config.data.fold == Fold::None => Some(NO_SCORES),
            (StartFrom::Last, _) | (StartFrom::Best, Some(_)) => None,
            (_, None) => Some("\"last\": there is no stage before the first one; `weights` names a file to start from"),
            (StartFrom::Ema, Some(before)) => {
                before.config.ema.is_none().then_some("last or best, because the stage before has no [ema]")
            }
            (StartFrom::Swa, Some(before)) => {
                before.config.swa.is_none().then_some("another one, because the stage before has no [swa]")
            }
        };
        let mut own = Violations::new();
        if let Some(expected) = expected {
            own.refuse("start-from", stage.start_from, expected);
        }
        let (name, same) = (&stage.name, stages[..place].iter().position(|other| other.name == stage.name));
        if let Some(other) = same {
            own.refuse("name", format_args!("{name:?}"), format!("another name than that of stages[{other}]"));
        }
        let is_name = !name.trim().is_empty() && !name.contains(['/', '\\']);
        own.expect(is_name, "name", format_args!("{name:?}"), "a text without slashes that is not empty");
        own.extend(stage.config.violations());
        own.retain(|violation| names(table, &violation.key) || flat.iter().all(|known| known != violation));
        wrong.inside(&format!("stages[{place}]"), own);
    }
    wrong
}

/// Whether the table has a value at `key`: `optimiser.lr`, `freeze[0].until`.
fn names(table: &Table, key: &str) -> bool {
    let (first, rest) = key.split_once(['.', '[']).map_or((key, None), |(first, rest)| (first, Some(rest)));
    match (table.get(first), rest) {
        (Some(Value::Table(inner)), Some(rest)) => names(inner, rest),
        (value, _) => value.is_some(),
    }
}

/// Makes a value that was set on the command line hold in every stage: it replaces a stage's own value, except `epochs`,
/// where the smaller value holds.
pub(super) fn override_in_stages(table: &mut Table, set: &str) {
    let Some((key, _)) = set.split_once('=') else { return };
    let parts: Vec<&str> = key.trim().split('.').collect();
    let most_epochs = table.get("epochs").and_then(Value::as_integer);
    let Some(value) = parts[1..].iter().try_fold(table.get(parts[0]), |at, part| Some(at?.get(*part))).flatten() else {
        return;
    };
    let value = value.clone();
    let Some(Value::Array(stages)) = table.get_mut("stages") else { return };
    for stage in stages.iter_mut().filter_map(Value::as_table_mut) {
        match (parts.as_slice(), most_epochs) {
            (["epochs"], Some(most)) => {
                let own = stage.get("epochs").and_then(Value::as_integer);
                stage.insert("epochs".into(), own.map_or(most, |own| own.min(most)).into());
            }
            _ => replace(stage, &parts, &value),
        }
    }
}

/// Sets the key with these `parts`, where the stage has a table or a value of its own for it.
fn replace(table: &mut Table, parts: &[&str], value: &Value) {
    match parts {
        [key] if table.contains_key(*key) => drop(table.insert((*key).to_owned(), value.clone())),
        [table_key, key] => {
            // Also a key that the stage's table lacks: some tables of a stage replace the whole table.
            if let Some(Value::Table(inner)) = table.get_mut(*table_key) {
                inner.insert((*key).to_owned(), value.clone());
            }
        }
        [table_key, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(*table_key) {
                replace(inner, rest, value);
            }
        }
        [] => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::load;
    use super::*;
    use crate::geometry::Size;
    use crate::train::{Amp, Freeze, Frozen, OptimiserKind, PointWeight};

    const TWO: &str = "
epochs = 50
clip = 1.0
auxiliary-weights = [0.4, 0.2, 0.1]
loss = { bce = 0.5, dice = 0.5 }
freeze = ['decoder.', { encoder-stages = 2 }]
[optimiser]
lr = 1e-3
weight-decay = 0.1
[ema]
decay = 0.9
[mean-teacher]
batch = 2
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
mean-teacher = 'off'
loss = { bce = 0.5, lovasz = 0.5 }
point-weight = [0.5, 1.0]
auxiliary-weights = [0.3]
amp = 'bf16'
optimiser = { lr = 1e-4, kind = 'lion' }
schedule = { kind = 'constant' }
";

    fn stages(text: &str, sets: &[&str]) -> Vec<Stage> {
        load(text, sets).unwrap().stages(Path::new("run.toml")).unwrap()
    }

    #[test]
    fn a_stage_overrides_the_rest() {
        let [first, second] = &stages(TWO, &[])[..] else { panic!("two stages") };
        assert_eq!((first.name.as_str(), first.start_from, first.config.epochs), ("region", StartFrom::Last, 20));
        let encoder = Freeze { what: Frozen::Prefix("encoder.".into()), from: 0, until: Some(5) };
        assert_eq!(first.config.freeze, [encoder]);
        assert_eq!((first.config.clip, first.config.size), (Some(1.0), Size::square(512)));
        assert_eq!(
            (second.start_from, second.config.epochs, second.config.size),
            (StartFrom::Ema, 80, Size::square(256))
        );
        assert_eq!((second.config.clip, second.config.ema.is_none(), second.config.amp), (None, true, Amp::Bf16));
        let of_teacher = [first, second].map(|stage| stage.config.mean_teacher.as_ref().map(|teacher| teacher.batch));
        assert_eq!(of_teacher, [Some(2), None]);
        let held = Freeze { what: Frozen::EncoderStages(2), from: 0, until: None };
        assert_eq!((second.config.freeze.len(), &second.config.freeze[1]), (2, &held));
        // A list is replaced as a whole.
        let weights = [first, second].map(|stage| stage.config.auxiliary_weights.clone());
        assert_eq!(weights, [vec![0.4, 0.2, 0.1], vec![0.3]]);
        // The optimiser keeps the keys that the stage does not name; the loss is replaced as a whole.
        let optimiser = &second.config.optimiser;
        assert_eq!((optimiser.kind, optimiser.lr, optimiser.weight_decay), (OptimiserKind::Lion, 1e-4, 0.1));
        let terms: Vec<_> = second.config.loss.terms().iter().map(|(_, t)| t.kind().name).collect();
        assert_eq!(terms, ["bce", "lovasz"]);
        assert_eq!(second.config.point_weight, PointWeight { from: 0.5, to: 1.0 });
        let one = stages("epochs = 3", &[]);
        assert_eq!((one.len(), one[0].config.epochs), (1, 3));
    }

    #[test]
    fn a_value_of_the_command_line_holds_in_every_stage() {
        let [first, second] = &stages(TWO, &["epochs=1", "size=128", "optimiser.lr=5e-4"])[..] else { panic!() };
        for stage in [first, second] {
            assert_eq!(
                (stage.config.epochs, stage.config.size, stage.config.optimiser.lr),
                (1, Size::square(128), 5e-4)
            );
        }
        assert_eq!(second.config.optimiser.kind, OptimiserKind::Lion);
        // A stage's own loss replaces the whole table: its other terms remain.
        let losses = stages(TWO, &["loss.bce=0.3"]).into_iter().map(|stage| stage.config.loss);
        let weights = losses.map(|loss| loss.terms().iter().map(|(w, t)| (t.kind().name, *w)).collect::<Vec<_>>());
        assert_eq!(weights.collect::<Vec<_>>(), [[("bce", 0.3), ("dice", 0.5)], [("bce", 0.3), ("lovasz", 0.5)]]);
        assert_eq!(stages(TWO, &["epochs=30"]).iter().map(|s| s.config.epochs).collect::<Vec<_>>(), [20, 30]);
    }

    #[test]
    fn a_stage_switches_averaging_and_its_condition_off() {
        let text = "swa = { lr = 1e-4, start = 5 }\nuntil = { dice = 0.9 }\n[[stages]]\n[[stages]]\nstart-from = 'swa'\n\
                    swa = 'off'\nuntil = 'off'";
        let [first, second] = &stages(text, &["swa.every=2"])[..] else { panic!("two stages") };
        let swa = first.config.swa.as_ref().unwrap();
        assert_eq!((swa.start, swa.every, swa.lr, second.start_from), (5.0, 2, Some(1e-4), StartFrom::Swa));
        assert!(first.config.until.is_some() && second.config.swa.is_none() && second.config.until.is_none());
    }

    #[test]
    fn a_configuration_with_stages_survives_a_round_trip() {
        let config = load(TWO, &[]).unwrap();
        assert_eq!(load(&config.to_toml(), &[]).unwrap(), config);
        assert_eq!(load(&config.to_commented_toml(), &[]).unwrap(), config);
    }

    /// A stage whose loss needs hard labels takes no mix-up, wherever the step is.
    #[test]
    fn a_stage_with_mix_up_needs_losses_for_soft_targets() {
        let mix = "augment = [{ kind = 'flip' }, { kind = 'mix-up' }]";
        let [own, of_run] = [
            format!("[[stages]]\n{mix}\n[[stages]]\nloss = {{ bce = 0.5, lovasz = 0.5 }}\n{mix}"),
            format!("{mix}\n[[stages]]\n[[stages]]\nloss = {{ bce = 0.5, lovasz = 0.5 }}"),
        ];
        for text in [own, of_run] {
            let error = load(&text, &[]).unwrap_err();
            let says =
                "stages[1].augment[1] is mix-up; expected another kind of step: lovasz in `loss` cannot take soft";
            assert!(error.contains(says) && error.contains("dice, jaccard"), "{text}: {error}");
            assert_eq!(error.matches("mix-up").count(), 1, "{text}: {error}");
        }
    }

    #[test]
    fn invalid_values_of_a_stage_are_named() {
        for (stage, says) in [
            ("seed = 3", vec!["stages[0].seed", "early-stop"]),
            ("start-from = 'best'", vec!["stages[0].start-from", "no stage before"]),
            ("start-from = 'first'", vec!["stages[0].start-from", "first", "last, best, ema, swa"]),
            ("size = 100", vec!["stages[0]", "size is 100"]),
            ("optimiser = { lrr = 1 }", vec!["stages[0]", "lrr"]),
            ("ema = 'of'", vec!["stages[0]: ", "ema"]),
            ("mean-teacher = {}", vec!["stages[0].mean-teacher is set; expected [ema] too"]),
            ("augment = ['flip']", vec!["stages[0]: ", "expected a table with the key `kind`"]),
            ("name = ''", vec!["stages[0].name is \"\"", "not empty"]),
            ("name = 'a/b'", vec!["stages[0].name is \"a/b\"", "without slashes"]),
            ("name = 'fine'\n[[stages]]\nname = 'fine'", vec!["stages[1].name is \"fine\"", "than that of stages[0]"]),
            ("name = 'stage-2'\n[[stages]]", vec!["stages[1].name is \"stage-2\"", "than that of stages[0]"]),
            ("[[stages]]\nstart-from = 'swa'", vec!["stages[1].start-from", "the stage before has no [swa]"]),
            ("swa = { start = 90 }", vec!["stages[0].swa.start is 90", "below 50, the stage's epochs"]),
            ("until = { dice = 95 }", vec!["stages[0].until.dice is 95", "above 0 to 1"]),
            ("until = {}", vec!["stages[0].until.dice is absent"]),
            ("[[stages]]\nstart-from = 'ema'", vec!["stages[1].start-from", "the stage before has no [ema]"]),
        ] {
            let error = load(&format!("[[stages]]\n{stage}"), &[]).unwrap_err();
            for part in says {
                assert!(error.contains(part), "{stage}: {error}");
            }
            assert!(error.matches("run.toml").count() <= 1, "{stage}: {error}");
        }
    }
}
