//! The part of JSON Schema that `assets/report/numbers.schema.json` uses. An unknown keyword fails, so that none is ignored.

use serde_json::Value;

/// Violations of a value, each with its place.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, schema, value, "", &mut found);
    found
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "properties" => {}
            "$ref" => {
                let name = rule.as_str().and_then(|r| r.strip_prefix("#/$defs/")).expect("a reference to $defs");
                check(root, &root["$defs"][name], value, at, found);
            }
            "type" => {
                let types: Vec<&str> = match rule {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    one => one.as_str().into_iter().collect(),
                };
                if !types.iter().any(|name| is_type(value, name)) {
                    found.push(format!("{at}: expected {types:?}, found {value}"));
                }
            }
            "enum" => {
                if !rule.as_array().expect("a list").contains(value) {
                    found.push(format!("{at}: {value} is none of {rule}"));
                }
            }
            "anyOf" => {
                let schemas = rule.as_array().expect("a list");
                if !schemas.iter().any(|one| {
                    let mut wrong = Vec::new();
                    check(root, one, value, at, &mut wrong);
                    wrong.is_empty()
                }) {
                    found.push(format!("{at}: {value} fits none of {rule}"));
                }
            }
            "required" => {
                for key in rule.as_array().expect("a list").iter().filter_map(Value::as_str) {
                    if value.as_object().is_some_and(|object| !object.contains_key(key)) {
                        found.push(format!("{at}: no key {key:?}"));
                    }
                }
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, rule, item, &format!("{at}[{i}]"), found);
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (key, item) in value.as_object().into_iter().flatten() {
                    if known.is_some_and(|known| known.contains_key(key)) {
                        continue;
                    }
                    match rule {
                        Value::Bool(false) => found.push(format!("{at}: unknown key {key:?}")),
                        rule => check(root, rule, item, &format!("{at}.{key}"), found),
                    }
                }
            }
            other => panic!("{other}: a keyword that this test does not know"),
        }
    }
    for (key, rule) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(item) = value.get(key) {
            check(root, rule, item, &format!("{at}.{key}"), found);
        }
    }
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("{other}: no type of JSON Schema"),
    }
}

#[test]
fn violations_are_found() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"type": "array", "items": {"$ref": "#/$defs/n"}}, "b": {"enum": [1]}},
        "$defs": {"n": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}
    });
    let wrong = |value: serde_json::Value| violations(&schema, &value).len();
    assert_eq!(wrong(serde_json::json!({"a": [1, null], "b": 1})), 0);
    assert_eq!(wrong(serde_json::json!({"a": [1.5, "x"], "b": 2, "c": 0})), 4);
    assert_eq!(wrong(serde_json::json!({})), 1);
    assert_eq!(wrong(serde_json::json!([])), 1);
}
