//! The keys that a configuration may have and their meaning, from the doc comments of its structs (through their JSON
//! schemas), so that each key is described in one place.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table};

use crate::closed_enum::{closest, expected_one_of, similarity};

/// Most keys of a table that a message lists.
const LISTED: usize = 30;
/// Least similarity, from 0 to 1, of a known key that is suggested for an unknown one.
const LEAST_SIMILARITY: f64 = 0.6;

/// The JSON schema of a `T`, without references.
pub fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::default().with(|s| s.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// The forms that a table may have: one for a struct, one for each variant of an enum, none for a value that is not a
/// table.
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

fn property<'a>(forms: &[&'a Value], name: &str) -> Option<&'a Value> {
    let is_alias = |v: &Value| v["aliases"].as_array().is_some_and(|others| others.iter().any(|other| other == name));
    forms
        .iter()
        .map(|form| properties(form))
        .find_map(|keys| keys.get(name).or_else(|| keys.values().find(|v| is_alias(v))))
}

/// The texts that a key takes; none where it takes other values too.
pub fn choices(schema: &Value) -> Vec<&str> {
    let of = |key: &str| schema[key].as_array().into_iter().flatten();
    let nested = ["anyOf", "oneOf"].iter().flat_map(|key| of(key)).flat_map(choices);
    of("enum").chain(schema.get("const")).filter_map(Value::as_str).chain(nested).collect()
}

/// The key that selects the form of a table, `kind`, with the name of this form.
pub fn kind(form: &Value) -> Option<(&str, &str)> {
    properties(form).iter().find_map(|(key, schema)| Some((key.as_str(), schema["const"].as_str()?)))
}

/// Whether the unknown name is that of a key or that of a kind of table.
#[derive(Clone, Copy)]
enum What {
    Key,
    Kind,
}

/// An unknown key, or an unknown kind of table.
pub struct Unknown {
    /// The key with the tables that it is in: `optimiser.lrr`.
    path: String,
    what: What,
    name: String,
    /// Its place in the text, in bytes.
    offset: usize,
    /// The rest of the message: the key that was probably meant, and the known ones.
    advice: String,
}

impl Unknown {
    fn key(root: &Value, forms: &[&Value], at: &str, name: &str, offset: usize) -> Unknown {
        let path = joined(at, name);
        let mut known: Vec<&str> = Vec::new();
        for key in forms.iter().flat_map(|form| properties(form).keys()) {
            if !known.contains(&key.as_str()) {
                known.push(key);
            }
        }
        // A key of the same table is suggested where no key of the configuration is more similar: tables in lists have
        // keys that `closest_path` does not know.
        let own = closest(name, known.iter().copied()).map(|key| (similarity(name, key), key.to_owned()));
        let suggested = match (closest_path(root, &path), own) {
            (Some((most, _)), Some((similarity, key))) if similarity > most => Some(key),
            (Some((_, key)), _) => Some(key),
            (None, own) => own.map(|(_, key)| key),
        };
        let mut advice = suggested.as_ref().map(|key| format!("; did you mean {key}?")).unwrap_or_default();
        if known.len() <= LISTED {
            let keys = match (forms, at) {
                ([form], _) if kind(form).is_some() => {
                    format!("keys of {at} (kind {})", kind(form).map_or("", |(_, kind)| kind))
                }
                (_, "") => "known keys".to_owned(),
                _ => format!("keys of {at}"),
            };
            let keys = if suggested.is_some() {
                format!(" {}{}", keys[..1].to_uppercase(), &keys[1..])
            } else {
                format!("; {keys}")
            };
            advice += &format!("{keys}: {}", known.join(", "));
        } else if suggested.is_none() {
            advice += "; `carpus train --config FILE --print-config` shows every key";
        }
        Unknown { path, what: What::Key, name: name.to_owned(), offset, advice }
    }

    /// As a line of an error about the file `path` with this text.
    pub fn in_file(&self, path: &Path, text: &str) -> String {
        let line = 1 + text.bytes().take(self.offset).filter(|byte| *byte == b'\n').count();
        let Unknown { path: key, name, advice, .. } = self;
        format!("{} line {line}: {key}: unknown {} `{name}`{advice}", path.display(), self.what.name())
    }

    /// As an error about the key of `--set TEXT`.
    pub fn as_set_key(&self, text: &str) -> String {
        format!("--set {text}: unknown {}{}", self.what.name(), self.advice)
    }

    /// As an error about the value of `--set TEXT`.
    pub fn in_set_value(&self, text: &str) -> String {
        format!("--set {text}: {}", self.in_value())
    }

    /// As an error about a value on the command line, without its option.
    pub fn in_value(&self) -> String {
        let Unknown { path, name, advice, .. } = self;
        match self.what {
            What::Key => format!("unknown key {path}{advice}"),
            What::Kind => format!("{path}: unknown kind `{name}`{advice}"),
        }
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Key => "key",
            What::Kind => "kind",
        }
    }
}

/// The unknown keys and kinds in `text`, TOML, by the schema `root`; none where the text is not TOML.
pub fn unknown(root: &Value, text: &str) -> Vec<Unknown> {
    let mut found = Vec::new();
    if let Ok(table) = DeTable::parse(text) {
        walk(root, root, "", table.get_ref(), &mut found);
    }
    found.sort_by_key(|unknown| unknown.offset);
    found
}

fn walk(root: &Value, schema: &Value, at: &str, table: &DeTable, found: &mut Vec<Unknown>) {
    let mut forms = forms(schema);
    let kinds: Vec<(&str, &str)> = forms.iter().filter_map(|form| kind(form)).collect();
    // Of a table that has several kinds, the keys are those of the kind that it names.
    if let Some((key, _)) = kinds.first()
        && let Some((key, value)) = table.iter().find(|(name, _)| **name.get_ref() == **key)
        && let DeValue::String(given) = value.get_ref()
    {
        let given: &str = given;
        if kinds.iter().any(|(_, kind)| *kind == given) {
            forms.retain(|form| kind(form).is_some_and(|(_, kind)| kind == given));
        } else {
            let kinds: Vec<&str> = kinds.iter().map(|(_, kind)| *kind).collect();
            found.push(Unknown {
                path: joined(at, key.get_ref()),
                what: What::Kind,
                name: given.to_string(),
                offset: value.span().start,
                advice: expected_one_of(closest(given, kinds.iter().copied()), &kinds.join(", ")),
            });
        }
    }
    for (name, value) in table {
        match property(&forms, name.get_ref()) {
            None => found.push(Unknown::key(root, &forms, at, name.get_ref(), name.span().start)),
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
        let forms = forms(schema);
        if forms.is_empty() {
            return None;
        }
        match property(&forms, part) {
            Some(inner) => schema = inner,
            None => {
                let unknown = Unknown::key(root, &forms, &parts[..place].join("."), part, 0);
                // Where the table itself is unknown, the suggestion is for table and key together.
                return Some(match closest_path(root, &parts.join(".")) {
                    Some((_, key)) if place + 1 < parts.len() => {
                        Unknown { advice: format!("; did you mean {key}?"), ..unknown }
                    }
                    _ => unknown,
                });
            }
        }
    }
    None
}

/// The schema of the key `parts`, one table in another.
fn schema_at<'a>(root: &'a Value, parts: &[&str]) -> Option<&'a Value> {
    parts.iter().try_fold(root, |schema, part| property(&forms(schema), part))
}

/// The list that one of `parts` but the last names: `augment` of `augment.0.p` and of `augment[0].p`.
pub fn list_in(root: &Value, parts: &[&str]) -> Option<String> {
    let mut schema = root;
    for (place, part) in parts.iter().enumerate() {
        let name = part.split('[').next().unwrap_or_default();
        schema = property(&forms(schema), name)?;
        if schema.get("items").is_some() && (place + 1 < parts.len() || name != *part) {
            return Some(joined(&parts[..place].join("."), name));
        }
    }
    None
}

/// Why the value `kind` cannot be set at `parts` alone, the key that selects the kind of `table`: the table has keys
/// that only its old kind takes.
pub fn keys_of_another_kind(root: &Value, parts: &[&str], kind_given: &str, table: &Table) -> Option<String> {
    let (last, parents) = parts.split_last()?;
    let forms = forms(schema_at(root, parents)?);
    let form = forms.iter().find(|form| kind(form) == Some((*last, kind_given)))?;
    let others: Vec<String> =
        table.keys().filter(|key| property(&[*form], key).is_none()).map(|key| format!("`{key}`")).collect();
    if others.is_empty() {
        return None;
    }
    let parent = parents.join(".");
    let examples = properties(form).iter().filter_map(|(key, schema)| {
        let example = toml::Value::try_from(schema["examples"].get(0)?).ok()?;
        Some(format!(", {key}={example}"))
    });
    Some(format!(
        "the file's {parent} has keys of another kind ({}); replace the whole table: --set '{parent}={{{last}=\"{kind_given}\"{}}}'",
        others.join(", "),
        examples.collect::<String>()
    ))
}

/// Every key with the tables that it is in, without those of tables in lists.
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

/// The key that is most similar to `path`, with its similarity: each name is compared with the one at its place; for a
/// key at another depth, only the last names are compared.
fn closest_path(root: &Value, path: &str) -> Option<(f64, String)> {
    // The keys of a stage are keys of the run.
    let path = path.split_once("].").map_or(path, |(_, rest)| rest);
    let similarity_to = |key: &String| {
        let (given, known): (Vec<&str>, Vec<&str>) = (path.split('.').collect(), key.split('.').collect());
        let pair = |(a, b): (&&str, &&str)| similarity(a, b);
        if given.len() == known.len() {
            given.iter().zip(&known).map(pair).fold(1.0, f64::min)
        } else {
            // The same name elsewhere is less likely than a slip of one letter here: `epoch` is `epochs`.
            (0.95 * given.last().zip(known.last()).map_or(0.0, |(a, b)| pair((a, b)))).min(0.8)
        }
    };
    // A key that a stage does not take may be one of the run.
    let others = paths(root).into_iter().filter(|key| key != path);
    // Of equally similar keys the first.
    let best = others.map(|key| (similarity_to(&key), key)).min_by(|a, b| b.0.total_cmp(&a.0));
    best.filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default, rename_all = "kebab-case")]
    struct Run {
        /// Number of epochs.
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
        Constant {},
        Linear { end: f64 },
    }

    impl Default for Rate {
        fn default() -> Self {
            Rate::Linear { end: 0.0 }
        }
    }

    #[test]
    fn unknown_keys_are_found_in_options_enums_and_lists() {
        let root = schema::<Run>();
        let all =
            ["epochs", "optimiser", "optimiser.lr", "optimiser.weight-decay", "rate", "rate.end", "rate.kind", "steps"];
        assert_eq!(paths(&root), all);
        let text = "epoch = 1\n[optimiser]\nlrr = 1\nweight_decay = 1\n[[steps]]\nlr = 1\n[[steps]]\nLR = 2\n[rate]\nkind = 'linear'\nstop = 1";
        let found: Vec<String> = unknown(&root, text).iter().map(|u| u.in_file("a.toml".as_ref(), text)).collect();
        for (line, says) in found.iter().zip([
            vec!["a.toml line 1: epoch: unknown key `epoch`; did you mean epochs? Known keys: epochs, optimiser"],
            vec!["a.toml line 3: optimiser.lrr:", "did you mean optimiser.lr? Keys of optimiser: lr, weight-decay"],
            vec!["a.toml line 8: steps[1].LR:", "Keys of steps[1]: lr, weight-decay"],
            vec!["a.toml line 11: rate.stop:", "; keys of rate (kind linear): kind, end"],
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
        assert!(
            unknown_part(&root, &["epochs", "of", "it"]).is_none(),
            "epochs is not a table, which is another error"
        );
    }

    #[test]
    fn a_table_has_the_keys_of_its_kind() {
        let root = schema::<Run>();
        let lines = |text: &str| -> Vec<String> {
            unknown(&root, text).iter().map(|u| u.in_file("a.toml".as_ref(), text)).collect()
        };
        assert_eq!(
            lines("[rate]\nkind = 'liner'"),
            ["a.toml line 2: rate.kind: unknown kind `liner`; did you mean linear? Expected one of constant, linear"]
        );
        assert_eq!(
            lines("[rate]\nkind = 'constant'\nend = 1"),
            ["a.toml line 3: rate.end: unknown key `end`; keys of rate (kind constant): kind"]
        );
        assert!(lines("[rate]\nend = 1").is_empty(), "the missing kind is another error");
        let table: Table = "kind = 'linear'\nend = 0.5".parse().unwrap();
        let reason = keys_of_another_kind(&root, &["rate", "kind"], "constant", &table).unwrap();
        assert!(reason.contains("(`end`)") && reason.ends_with("--set 'rate={kind=\"constant\"}'"), "{reason}");
        assert!(keys_of_another_kind(&root, &["rate", "kind"], "linear", &table).is_none());
    }

    #[test]
    fn a_key_inside_a_list_is_found() {
        let root = schema::<Run>();
        assert_eq!(list_in(&root, &["steps", "0", "lr"]).as_deref(), Some("steps"));
        assert_eq!(list_in(&root, &["steps[0]", "lr"]).as_deref(), Some("steps"));
        assert_eq!(list_in(&root, &["steps"]), None);
        assert_eq!(list_in(&root, &["optimiser", "lr"]), None);
    }
}
