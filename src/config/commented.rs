//! A configuration as TOML with every key and its description: active keys as lines, the others as comments that become
//! active when their `#` is removed.

use serde_json::Value;
use toml::Table;

use super::keys::{choices, forms, joined, properties};

/// Width of a comment in columns.
const WIDTH: usize = 110;
/// Most texts of a key that its comment lists, one of which is its value.
const LISTED: usize = 40;

/// `values` as TOML, with every key of `schema` and its description.
pub fn commented(schema: &Value, values: &Table) -> String {
    let mut page = Page(String::new());
    page.note(
        "This file shows every key. A line that starts with # and no space is inactive: remove the # to activate it. Where a \
         table has several kinds, use the lines of one kind and put a # before those of the others.",
    );
    page.blank();
    for form in forms(schema) {
        page.keys("", form, Some(values));
    }
    page.0
}

struct Page(String);

impl Page {
    fn blank(&mut self) {
        self.0.push('\n');
    }

    fn line(&mut self, is_active: bool, text: &str) {
        self.0 += &format!("{}{text}\n", if is_active { "" } else { "#" });
    }

    fn note(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && 2 + line.chars().count() + 1 + word.chars().count() > WIDTH {
                self.0 += &format!("#{line}\n");
                line.clear();
            }
            line += &format!(" {word}");
        }
        if !line.is_empty() {
            self.0 += &format!("#{line}\n");
        }
    }

    /// The doc comment of a key, and the texts to choose from unless it names all of them.
    fn describe(&mut self, schema: &Value) {
        let mut text = schema["description"].as_str().unwrap_or_default().to_owned();
        let choices = choices(schema);
        if (2..=LISTED).contains(&choices.len()) && !choices.iter().all(|choice| text.contains(&format!("`{choice}`")))
        {
            text += &format!(" One of {}.", choices.join(", "));
        }
        self.note(&text);
    }

    /// The keys of a form: first those on one line, as TOML requires. Without `values`, all are inactive.
    fn keys(&mut self, at: &str, form: &Value, values: Option<&Table>) {
        let entry = |name: &String| values.and_then(|values| values.get(name));
        let (on_lines, others): (Vec<_>, Vec<_>) = properties(form).iter().partition(|(name, schema)| {
            let is_list =
                is_list(schema) && entry(name).and_then(toml::Value::as_array).is_none_or(|list| !list.is_empty());
            forms(schema).is_empty() && !is_list
        });
        for (name, schema) in on_lines {
            self.entry(name, schema, entry(name));
        }
        for (name, schema) in others {
            let at = joined(at, name);
            self.blank();
            self.describe(schema);
            if is_list(schema) {
                self.list(
                    &at,
                    &schema["items"],
                    entry(name).and_then(toml::Value::as_array).map_or(&[], Vec::as_slice),
                );
            } else {
                let values = entry(name).and_then(toml::Value::as_table);
                self.line(values.is_some(), &format!("[{at}]"));
                self.table(&at, schema, values);
            }
        }
    }

    fn entry(&mut self, name: &str, schema: &Value, value: Option<&toml::Value>) {
        if schema.get("const").is_none() {
            self.describe(schema);
        }
        let fallback = [&schema["examples"][0], &schema["const"], &schema["default"]];
        let fallback = fallback.iter().find_map(|value| toml::Value::try_from(value).ok());
        if let Some(shown) = value.or(fallback.as_ref()) {
            self.line(value.is_some(), &format!("{name} = {shown}"));
        }
    }

    /// The part below a table's header: the keys of its form, then those of the other forms that it could have.
    fn table(&mut self, at: &str, schema: &Value, values: Option<&Table>) {
        let forms = forms(schema);
        let chosen = forms.iter().position(|form| values.is_some_and(|values| fits(form, values)));
        let (first, others): (Vec<_>, Vec<_>) = forms.iter().enumerate().partition(|(place, _)| Some(*place) == chosen);
        for (_, form) in first {
            if forms.len() > 1 {
                self.describe(form);
            }
            self.keys(at, form, values);
        }
        for (_, form) in others {
            if forms.len() > 1 {
                self.blank();
                self.describe(form);
            }
            self.keys(at, form, None);
        }
    }

    /// The entries of a list with the keys that they have, then the forms that no entry has.
    fn list(&mut self, at: &str, items: &Value, entries: &[toml::Value]) {
        for entry in entries.iter().filter_map(toml::Value::as_table) {
            self.line(true, &format!("[[{at}]]"));
            entry.iter().for_each(|(name, value)| self.line(true, &format!("{name} = {value}")));
            self.blank();
        }
        let tables = || entries.iter().filter_map(toml::Value::as_table);
        for form in forms(items).into_iter().filter(|form| !tables().any(|entry| fits(form, entry))) {
            self.line(false, &format!("[[{at}]]"));
            self.keys(at, form, None);
        }
    }
}

/// Whether it is a list of tables whose keys are known.
fn is_list(schema: &Value) -> bool {
    !forms(&schema["items"]).is_empty()
}

/// Whether the table has the kind of this form.
fn fits(form: &Value, values: &Table) -> bool {
    let mut kinds = properties(form).iter().filter_map(|(name, schema)| Some((name, schema["const"].as_str()?)));
    kinds.all(|(name, kind)| values.get(name).and_then(toml::Value::as_str) == Some(kind))
}
