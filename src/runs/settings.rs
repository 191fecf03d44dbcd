use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// Keys in which runs of one experiment may differ. Each pair of values is one training.
pub const TRAINING_KEYS: [&str; 2] = ["data.fold", "seed"];

/// Keys that do not affect the results, only the output and the speed. A table stands for its keys.
pub const IGNORED_KEYS: [&str; 14] = [
    "output.name",
    "output.runs",
    "device",
    "workers",
    "pictures",
    "histograms",
    "wandb",
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
    let is_in =
        |leaf: &str, key: &str| leaf.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    leaves.retain(|leaf, _| !TRAINING_KEYS.iter().chain(&IGNORED_KEYS).any(|key| is_in(leaf, key)));
    // A setting that every stage sets overrides that of the run.
    let stages = config.get("stages").and_then(Value::as_array).into_iter().flatten();
    let stages: Vec<_> = stages.filter_map(Value::as_table).map(flatten).collect();
    if !stages.is_empty() {
        leaves.retain(|key, _| !stages.iter().all(|stage| stage.contains_key(key)));
    }
    leaves
}

/// Keys whose values are chosen together: another mix of losses is one change, not one per weight.
const CHOSEN_AS_A_WHOLE: [&str; 8] = ["loss", "augment", "schedule", "ema", "sampling", "freeze", "input", "stages"];

/// The choices that these changed settings make: a table or list that is chosen as a whole counts once. Stages include
/// what they set themselves.
pub(super) fn choices(changed: &[&str]) -> BTreeSet<String> {
    let choice = |key: &str| {
        let top = key.split(['.', '[']).next().unwrap_or(key);
        if CHOSEN_AS_A_WHOLE.contains(&top) { top.to_owned() } else { key.to_owned() }
    };
    let set_by_stages: BTreeSet<String> = changed
        .iter()
        .filter(|key| key.starts_with("stages["))
        .filter_map(|key| Some(choice(key.split_once("].")?.1)))
        .collect();
    changed.iter().map(|key| choice(key)).filter(|choice| !set_by_stages.contains(choice)).collect()
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
    fn keys_of_the_output_do_not_make_another_experiment() {
        let of = |text: &str| experiment(&text.parse().unwrap());
        let plain = of("size = 64\n");
        assert_eq!(
            of("size = 64\npictures = 0\nhistograms = false\n[wandb]\nproject = 'hands'\ntags = ['a']\n"),
            plain
        );
        assert_ne!(of("size = 64\nwandbs = 1"), plain);
    }

    #[test]
    fn settings_that_are_chosen_together_count_once() {
        let of = |changed: &[&str]| choices(changed).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(of(&["loss.bce", "loss.lovasz", "augment[0].p"]), "augment loss");
        assert_eq!(
            of(&["optimiser.lr", "optimiser.weight-decay", "model.encoder"]),
            "model.encoder optimiser.lr optimiser.weight-decay"
        );
        // Two stages instead of one set epochs and loss themselves.
        assert_eq!(of(&["epochs", "loss.bce", "size", "stages[0].epochs", "stages[1].loss.bce"]), "size stages");
        assert_eq!(of(&[]), "");
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
