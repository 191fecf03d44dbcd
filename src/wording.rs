//! Wording that messages of many modules share.

/// `1 image`, `2 images`; `1 image is`, `2 images are`.
pub fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// The system's error in words: `no such folder`, where `what` is `folder`, in place of `No such file or directory`.
pub fn reason_of(error: &std::io::Error, what: &str) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => format!("no such {what}"),
        _ => error.to_string(),
    }
}

/// A parser's message about a value of the wrong type, with plain words in place of Rust types: `expected a whole
/// number` instead of `expected usize`.
pub fn without_rust_types(message: &str) -> String {
    let message = message.replace("invalid type: map,", "invalid type: a table,");
    let message = message.replace("invalid type: sequence,", "invalid type: a list,");
    let Some((before, after)) = message.split_once("expected ") else { return message };
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    let (plain, rest) = match name {
        "u8" | "u16" | "u32" | "u64" | "usize" => ("a whole number, 0 or more", &after[name.len()..]),
        "i8" | "i16" | "i32" | "i64" | "isize" => ("a whole number", &after[name.len()..]),
        "f32" | "f64" => ("a number", &after[name.len()..]),
        "struct" => {
            let rest = after["struct".len()..].trim_start();
            ("a table", rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
        }
        "internally" => {
            let rest = after.trim_start_matches("internally tagged enum ");
            ("a table with the key `kind`", rest.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
        }
        _ => {
            let plain_words = [
                ("a sequence", "a list"),
                ("path string", "a text"),
                ("variant identifier", "a name"),
                ("string or map", "a name"),
            ];
            match plain_words.into_iter().find_map(|(rust, plain)| Some((plain, after.strip_prefix(rust)?))) {
                Some(found) => found,
                None => return message,
            }
        }
    };
    format!("{before}expected {plain}{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!(
            (counted(1, "image is", "images are"), counted(0, "image", "images")),
            ("1 image is".into(), "0 images".into())
        );
    }

    #[test]
    fn rust_types_are_replaced_by_plain_words() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Inner {
            n: usize,
        }
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code)]
        struct Config {
            rate: f64,
            inner: Inner,
            list: Vec<i64>,
        }
        for (text, expected) in [
            ("rate = 'x'\ninner = { n = 1 }\nlist = []", "expected a number"),
            ("rate = 1.0\ninner = { n = -1 }\nlist = []", "expected a whole number, 0 or more"),
            ("rate = 1.0\ninner = 3\nlist = []", "expected a table"),
            ("rate = 1.0\ninner = { n = 1 }\nlist = 1", "expected a list"),
        ] {
            let message = without_rust_types(&toml::from_str::<Config>(text).unwrap_err().to_string());
            assert!(message.contains(expected), "{message}");
            assert!(!["usize", "f64", "struct", "sequence"].iter().any(|word| message.contains(word)), "{message}");
        }
        for (message, expected) in [
            ("invalid type: map, expected a sequence", "invalid type: a table, expected a list"),
            (
                "expected internally tagged enum Augmentation in `augment`",
                "expected a table with the key `kind` in `augment`",
            ),
            ("invalid type: integer `3`, expected path string", "invalid type: integer `3`, expected a text"),
            ("expected string or map", "expected a name"),
        ] {
            assert_eq!(without_rust_types(message), expected);
        }
        assert_eq!(without_rust_types("unknown field `a`, expected `b`"), "unknown field `a`, expected `b`");
    }
}
