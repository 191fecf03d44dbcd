use std::collections::BTreeMap;

use toml::{Table, Value};

/// Keys in which the runs of one experiment differ: each pair of values is a unit of its own.
pub const UNITS: [&str; 2] = ["data.fold", "seed"];

/// Keys that decide no result: where a run goes and how fast it gets there.
pub const IGNORED: [&str; 9] = [
    "output.name",
    "output.runs",
    "device",
    "workers",
    "pictures",
    "save-every",
    "keep-best",
    "evaluate",
    "data.cache-mb",
];

/// Every leaf of a configuration by its dotted key, as TOML text. Tables in a list are counted from 1:
/// `stages.2.loss.lovasz`.
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
            items.iter().enumerate().for_each(|(i, value)| descend(format!("{key}.{}", i + 1), value, leaves));
        }
        _ => drop(leaves.insert(key, value.to_string())),
    }
}

/// What decides the result, apart from fold and seed.
pub(super) fn experiment(config: &Table) -> BTreeMap<String, String> {
    let mut leaves = flatten(config);
    UNITS.iter().chain(&IGNORED).for_each(|key| drop(leaves.remove(*key)));
    // What every stage says for itself is not asked of the run.
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
    fn leaves_have_dotted_keys() {
        let config: Table = "size = 64\nseed = 1\nloss = { bce = 0.5 }\n[data]\nfold = 2\nroot = 'x'\n[[stages]]\nname = 'a'\n[[stages]]\nepochs = 3\nbetas = [0.9, 0.99]".parse().unwrap();
        let leaves = flatten(&config);
        assert_eq!(leaves["loss.bce"], "0.5");
        assert_eq!((leaves["stages.1.name"].as_str(), leaves["stages.2.epochs"].as_str()), ("\"a\"", "3"));
        assert_eq!(leaves["stages.2.betas"], "[0.9, 0.99]");
        let experiment = experiment(&config);
        assert!(!experiment.contains_key("seed") && !experiment.contains_key("data.fold"));
        assert!(experiment.contains_key("data.root"));
    }

    #[test]
    fn what_every_stage_says_is_not_the_runs() {
        let of = |text: &str| experiment(&text.parse().unwrap());
        let staged = of("epochs = 50\nsize = 64\n[[stages]]\nepochs = 1\nsize = 32\n[[stages]]\nepochs = 2");
        assert!(!staged.contains_key("epochs"));
        assert_eq!((staged["size"].as_str(), staged["stages.2.epochs"].as_str()), ("64", "2"));
        assert_eq!(of("epochs = 50\nstages = []")["epochs"], "50");
    }
}
