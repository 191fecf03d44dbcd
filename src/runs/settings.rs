use std::collections::BTreeMap;

use toml::{Table, Value};

/// Keys in which runs of one experiment may differ. Each pair of values is one training.
pub const TRAINING_KEYS: [&str; 2] = ["data.fold", "seed"];

/// Keys that do not affect the results, only the output and the speed.
pub const IGNORED_KEYS: [&str; 12] = [
    "output.name",
    "output.runs",
    "device",
    "workers",
    "pictures",
    "save-every",
    "keep-best",
    "evaluate",
    "data.cache-mb",
    "hooks.epoch",
    "hooks.run",
    "hooks.timeout",
];

/// All values of a configuration as TOML text, by dotted key. Tables in a list are numbered from 0, as in error messages:
/// `stages[1].loss.lovasz`, `augment[0].p`.
pub fn flatten(config: &Table) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    config.iter().for_each(|(key, value)| descend(key.clone(), value, &mut leaves));
    leaves
}

fn descend(key: String, value: &Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) if !table.is_empty() => {
            table.iter().for_each(|(name, value)| descend(format!("{key}.{name}"), value, leaves));
        }
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_table) => {
            items.iter().enumerate().for_each(|(i, value)| descend(format!("{key}[{i}]"), value, leaves));
        }
        _ => drop(leaves.insert(key, value.to_string())),
    }
}

/// The settings that affect the results, without fold and seed.
pub(super) fn experiment(config: &Table) -> BTreeMap<String, String> {
    let mut leaves = flatten(config);
    TRAINING_KEYS.iter().chain(&IGNORED_KEYS).for_each(|key| drop(leaves.remove(*key)));
    // A setting that every stage sets overrides that of the run.
    let stages = config.get("stages").and_then(Value::as_array).into_iter().flatten();
    let stages: Vec<_> = stages.filter_map(Value::as_table).map(flatten).collect();
    if !stages.is_empty() {
        leaves.retain(|key, _| !stages.iter().all(|stage| stage.contains_key(key)));
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_dotted_keys() {
        let config: Table = "size = 64\nseed = 1\nloss = { bce = 0.5 }\n[data]\nfold = 2\nroot = 'x'\n[[stages]]\nname = 'a'\n[[stages]]\nepochs = 3\nbetas = [0.9, 0.99]".parse().unwrap();
        let leaves = flatten(&config);
        assert_eq!(leaves["loss.bce"], "0.5");
        assert_eq!((leaves["stages[0].name"].as_str(), leaves["stages[1].epochs"].as_str()), ("\"a\"", "3"));
        assert_eq!(leaves["stages[1].betas"], "[0.9, 0.99]");
        let experiment = experiment(&config);
        assert!(!experiment.contains_key("seed") && !experiment.contains_key("data.fold"));
        assert!(experiment.contains_key("data.root"));
    }

    #[test]
    fn settings_that_every_stage_sets_are_not_those_of_the_run() {
        let of = |text: &str| experiment(&text.parse().unwrap());
        let staged = of("epochs = 50\nsize = 64\n[[stages]]\nepochs = 1\nsize = 32\n[[stages]]\nepochs = 2");
        assert!(!staged.contains_key("epochs"));
        assert_eq!((staged["size"].as_str(), staged["stages[1].epochs"].as_str()), ("64", "2"));
        assert_eq!(of("epochs = 50\nstages = []")["epochs"], "50");
    }
}
