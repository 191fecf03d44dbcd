//! The keys that a configuration may have and what they mean, from the doc comments of its structs (through their JSON
//! schemas), so that each is described in one place.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most keys of a table that a message lists.
const LISTED: usize = 30;
/// How like a known key an unknown one is at least to be taken for it.
const ALIKE: f64 = 0.6;

/// The keys of a `T`.
pub fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::default().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// What a table may look like: one way for a struct, one for each variant of an enum, none for what is no table.
pub fn forms(schema: &Value) -> Vec<&Value> {
    if schema["properties"].is_object() {
        return vec![schema];
    }
    ["anyOf", "oneOf"].iter().filter_map(|of| schema[of].as_array()).flatten().flat_map(forms).collect()
}

/// The keys of one form of a table.
pub fn properties(form: &Value) -> &Map<String, Value> {
    form["properties"].as_object().expect("a form has properties")
}

fn property<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let is_alias = |v: &Value| v["aliases"].as_array().is_some_and(|others| others.iter().any(|other| other == name));
    forms(schema)
        .into_iter()
        .map(properties)
        .find_map(|keys| keys.get(name).or_else(|| keys.values().find(|v| is_alias(v))))
}

/// What the texts are that a key takes; none where it takes others too.
pub fn choices(schema: &Value) -> Vec<&str> {
    let of = |key: &str| schema[key].as_array().into_iter().flatten();
    let nested = ["anyOf", "oneOf"].iter().flat_map(|key| of(key)).flat_map(choices);
    of("enum").chain(schema.get("const")).filter_map(Value::as_str).chain(nested).collect()
}

/// A key that there is not.
pub struct Unknown {
    /// With the tables that it is in: `optimiser.lrr`.
    pub path: String,
    /// Without them.
    name: String,
    /// Where it stands in the text.
    offset: usize,
    /// What may have been meant, and what there is.
    pub advice: String,
}

impl Unknown {
    fn new(root: &Value, table: &Value, at: &str, name: &str, offset: usize) -> Unknown {
        let path = joined(at, name);
        let mut advice = closest(root, &path).map(|key| format!("; did you mean {key}?")).unwrap_or_default();
        let mut there: Vec<&str> = Vec::new();
        for key in forms(table).into_iter().flat_map(|form| properties(form).keys()) {
            if !there.contains(&key.as_str()) {
                there.push(key);
            }
        }
        if there.len() <= LISTED {
            let end = if advice.is_empty() { ";" } else { "" };
            let of = if at.is_empty() { "there is".to_owned() } else { format!("{at} has") };
            advice += &format!("{end} {of} {}", there.join(", "));
        } else if advice.is_empty() {
            advice += "; `carpus train --config FILE --print-config` shows every key";
        }
        Unknown { path, name: name.to_owned(), offset, advice }
    }

    /// As a line of an error about the file `path` of this text.
    pub fn in_file(&self, path: &Path, text: &str) -> String {
        let line = 1 + text.bytes().take(self.offset).filter(|byte| *byte == b'\n').count();
        let Unknown { path: key, name, advice, .. } = self;
        format!("{} line {line}: {key}: unknown key `{name}`{advice}", path.display())
    }
}

/// The keys in `text`, TOML, that `root` does not know. What is no TOML has none.
pub fn unknown(root: &Value, text: &str) -> Vec<Unknown> {
    let mut found = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(root, root, "", table.get_ref(), &mut found);
    }
    found.sort_by_key(|unknown| unknown.offset);
    found
}

fn walk(root: &Value, schema: &Value, at: &str, table: &DeTable, found: &mut Vec<Unknown>) {
    for (name, value) in table {
        match property(schema, name.get_ref()) {
            None => found.push(Unknown::new(root, schema, at, name.get_ref(), name.span().start)),
            Some(inner) => walk_value(root, inner, &joined(at, name.get_ref()), value, found),
        }
    }
}

fn walk_value(root: &Value, schema: &Value, at: &str, value: &Spanned<DeValue>, found: &mut Vec<Unknown>) {
    match value.get_ref() {
        DeValue::Table(table) if !forms(schema).is_empty() => walk(root, schema, at, table, found),
        DeValue::Array(list) => {
            for (place, entry) in list.iter().enumerate() {
                walk_value(root, &schema["items"], &format!("{at}[{place}]"), entry, found);
            }
        }
        _ => {}
    }
}

/// The first of the names `parts`, one table in another, that `root` does not know.
pub fn unknown_part(root: &Value, parts: &[&str]) -> Option<Unknown> {
    let mut schema = root;
    for (place, part) in parts.iter().enumerate() {
        if forms(schema).is_empty() {
            return None;
        }
        match property(schema, part) {
            Some(inner) => schema = inner,
            None => {
                let unknown = Unknown::new(root, schema, &parts[..place].join("."), part, 0);
                // Of a key in a table that there is not, both are meant to be others.
                return Some(match closest(root, &parts.join(".")) {
                    Some(key) if place + 1 < parts.len() => {
                        Unknown { advice: format!("; did you mean {key}?"), ..unknown }
                    }
                    _ => unknown,
                });
            }
        }
    }
    None
}

/// Every key with the tables that it is in, but those of tables in lists.
pub fn paths(schema: &Value) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (name, inner) in forms(schema).into_iter().flat_map(properties) {
        all.push(name.clone());
        all.extend(paths(inner).into_iter().map(|path| joined(name, &path)));
    }
    all.sort();
    all.dedup();
    all
}

/// `name` in the table `at`.
pub fn joined(at: &str, name: &str) -> String {
    if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") }
}

/// The key that is likest to `path`: each name is compared with its own, or, of a key in another table, the last alone.
fn closest(root: &Value, path: &str) -> Option<String> {
    // In a stage, the keys are those of the rest.
    let path = path.split_once("].").map_or(path, |(_, rest)| rest);
    let likeness = |key: &String| {
        let (given, known): (Vec<&str>, Vec<&str>) = (path.split('.').collect(), key.split('.').collect());
        let alike = |(a, b): (&&str, &&str)| strsim::normalized_damerau_levenshtein(a, b);
        if given.len() == known.len() {
            given.iter().zip(&known).map(alike).fold(1.0, f64::min)
        } else {
            0.95 * given.last().zip(known.last()).map_or(0.0, |(a, b)| alike((a, b)))
        }
    };
    // What is no key of a stage may be one of the run.
    let others = paths(root).into_iter().filter(|key| key != path);
    let best = others.map(|key| (likeness(&key), key)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= ALIKE).map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, rename_all = "kebab-case")]
    struct Run {
        /// Passes.
        epochs: u32,
        optimiser: Option<Optimiser>,
        rate: Rate,
        steps: Vec<Optimiser>,
    }

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, rename_all = "kebab-case")]
    struct Optimiser {
        lr: f64,
        #[serde(alias = "weight_decay")]
        #[schemars(extend("aliases" = ["weight_decay"]))]
        weight_decay: f64,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "kebab-case")]
    enum Rate {
        Still {},
        Line { end: f64 },
    }

    impl Default for Rate {
        fn default() -> Self {
            Rate::Line { end: 0.0 }
        }
    }

    #[test]
    fn keys_are_found_in_options_enums_and_lists() {
        let root = schema::<Run>();
        let all =
            ["epochs", "optimiser", "optimiser.lr", "optimiser.weight-decay", "rate", "rate.end", "rate.kind", "steps"];
        assert_eq!(paths(&root), all);
        let text = "epoch = 1\n[optimiser]\nlrr = 1\nweight_decay = 1\n[[steps]]\nlr = 1\n[[steps]]\nLR = 2\n[rate]\nkind = 'line'\nstop = 1";
        let found: Vec<String> = unknown(&root, text).iter().map(|u| u.in_file("a.toml".as_ref(), text)).collect();
        for (line, says) in found.iter().zip([
            vec!["a.toml line 1: epoch: unknown key `epoch`; did you mean epochs? there is epochs, optimiser"],
            vec!["a.toml line 3: optimiser.lrr:", "did you mean optimiser.lr? optimiser has lr, weight-decay"],
            vec!["a.toml line 8: steps[1].LR:", "steps[1] has lr, weight-decay"],
            vec!["a.toml line 11: rate.stop:", "; rate has kind, end"],
        ]) {
            assert!(says.iter().all(|part| line.contains(part)), "{line}");
        }
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn a_name_in_the_wrong_table_is_found_in_the_right_one() {
        let root = schema::<Run>();
        for (given, meant) in [("lr", "optimiser.lr"), ("optimizer.lr", "optimiser.lr"), ("optimiser.decay", "")] {
            let parts: Vec<&str> = given.split('.').collect();
            let advice = unknown_part(&root, &parts).unwrap().advice;
            assert_eq!(advice.contains("did you mean"), !meant.is_empty(), "{given}: {advice}");
            assert!(advice.contains(meant), "{given}: {advice}");
        }
        assert!(unknown_part(&root, &["optimiser", "weight-decay"]).is_none());
        assert!(unknown_part(&root, &["epochs", "of", "it"]).is_none(), "it is no table; that is another error");
    }
}
