//! Augmentation steps given on the command line, and the list of their kinds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::keys::{self, forms, kind, properties};
use super::layered::one_line_message;
use crate::augment::Augmentations;

/// The steps as a value of a table, whose key is in messages.
#[derive(Deserialize, JsonSchema)]
struct Operations {
    op: Augmentations,
}

const EXPECTED: &str = "expected one table such as { kind = \"flip\" }, or a list of tables";

/// Why a text does not describe steps.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct OperationsError(String);

/// Steps from TOML: a table as `{ kind = "clahe", tiles = 8 }`, or a list of such tables.
///
/// # Errors
/// The text is not TOML, has an unknown kind or key, or a value of another type or out of range.
pub fn operations(text: &str) -> Result<Augmentations, OperationsError> {
    let list = match text.trim_start().chars().next() {
        Some('{') => format!("op = [{text}]"),
        Some('[') => format!("op = {text}"),
        _ => return Err(OperationsError(EXPECTED.into())),
    };
    let table: Table = list.parse().map_err(|error: toml::de::Error| OperationsError(error.message().to_owned()))?;
    if table.len() != 1 {
        return Err(OperationsError(EXPECTED.into()));
    }
    let unknown: Vec<String> =
        keys::unknown(&keys::schema::<Operations>(), &list).iter().map(keys::Unknown::in_value).collect();
    if !unknown.is_empty() {
        return Err(OperationsError(unknown.join("\n")));
    }
    let read = Operations::deserialize(Value::Table(table));
    let steps = read.map_err(|error| OperationsError(one_line_message(&error)))?.op;
    steps.violations().result().map_err(|mut wrong| {
        wrong.iter_mut().for_each(|violation| violation.key = violation.key.replacen("augment", "op", 1));
        OperationsError(wrong.to_string())
    })?;
    Ok(steps)
}

/// A kind of step, as its settings describe it.
#[derive(Debug, Serialize)]
pub struct StepKind {
    /// The value of `kind`.
    pub name: String,
    /// What it does.
    pub about: String,
    /// Its other keys.
    pub keys: Vec<StepKey>,
}

/// A key of a kind of step.
#[derive(Debug, Serialize)]
pub struct StepKey {
    /// The key.
    pub name: String,
    /// Its default; `None` for a key that is absent by default.
    pub default: Option<serde_json::Value>,
    /// What it means, and its range.
    pub about: String,
}

/// All kinds of steps, in the order of the program.
pub fn step_kinds() -> Vec<StepKind> {
    let schema = keys::schema::<Augmentations>();
    let about = |schema: &serde_json::Value| schema["description"].as_str().unwrap_or_default().replace('\n', " ");
    let kinds = forms(&schema["items"]).into_iter().map(|form| {
        let others = properties(form).iter().filter(|(_, schema)| schema.get("const").is_none());
        let keys = others.map(|(name, schema)| StepKey {
            name: name.clone(),
            default: schema.get("default").filter(|value| !value.is_null()).cloned(),
            about: about(schema),
        });
        let name = kind(form).map_or("", |(_, name)| name).to_owned();
        StepKind { name, about: about(form), keys: keys.collect() }
    });
    kinds.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::Augmentation;

    #[test]
    fn a_table_or_a_list() {
        let kinds = |text: &str| operations(text).unwrap().0.iter().map(Augmentation::kind).collect::<Vec<_>>();
        assert_eq!(kinds("{ kind = 'clahe', clip-limit = 4.0, tiles = 8 }"), ["clahe"]);
        assert_eq!(kinds(" [{ kind = 'flip' }, { kind = 'strips', p = 0 }]"), ["flip", "strips"]);
    }

    #[test]
    fn errors_name_what_was_meant() {
        for (text, says) in [
            ("{ kind = 'clahee' }", "op[0].kind: unknown kind `clahee`; did you mean clahe? Expected one of flip,"),
            (
                "{ kind = 'clahe', clip-limt = 4 }",
                "unknown key op[0].clip-limt; did you mean clip-limit? Keys of op[0]",
            ),
            ("[{ kind = 'flip' }, { kind = 'gamma', gamma = 0 }]", "op[1].gamma is 0; expected from 0.01 to 100"),
            (
                "{ kind = 'gamma', gamma = 'x' }",
                "invalid type: string \"x\", expected a number, or a pair [least, most]",
            ),
            ("{ gamma = 1 }", "missing field `kind`"),
            ("{ kind = 'flip'", "inline table"),
            ("[]\np = 1", "expected one table"),
            ("flip", "expected one table such as"),
        ] {
            let error = operations(text).expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn every_kind_is_listed_with_its_keys_and_defaults() {
        let kinds = step_kinds();
        let names: Vec<&str> = kinds.iter().map(|kind| &*kind.name).collect();
        assert_eq!(names, Augmentation::all().iter().map(Augmentation::kind).collect::<Vec<_>>());
        for (kind, step) in kinds.iter().zip(Augmentation::all()) {
            let table = Table::try_from(&step).unwrap();
            assert!(kind.about.ends_with('.') && !kind.about.is_empty(), "{}", kind.name);
            for key in &kind.keys {
                assert!(!key.about.is_empty(), "{} {}", kind.name, key.name);
                let default = key.default.as_ref().map(|value| Value::try_from(value).unwrap());
                assert_eq!(default.as_ref(), table.get(&key.name), "{} {}", kind.name, key.name);
            }
            assert_eq!(kind.keys.iter().filter(|key| key.default.is_some()).count() + 1, table.len());
        }
    }
}
