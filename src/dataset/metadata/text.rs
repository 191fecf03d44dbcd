//! Cleaning the text of a cell, as typed or exported.

use unicode_normalization::{UnicodeNormalization, is_nfkc};

/// A cleaned text and the repairs made to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CleanText {
    pub text: String,
    /// Parts of a problem's reason; empty if nothing was changed.
    pub repairs: Vec<String>,
}

/// Decodes `_xHHHH_` escapes (also escaped ones), drops control and zero-width characters, normalises full-width,
/// half-width and decomposed characters (NFKC), trims the text and replaces each run of spaces by one.
pub fn clean(raw: &str) -> CleanText {
    let mut repairs = Vec::new();
    let mut text = raw.to_owned();
    // A text that was exported twice contains `_x005F_x0008_`: an escaped escape.
    for _ in 0..4 {
        let Some((decoded, escape)) = decode_escapes(&text) else { break };
        if repairs.is_empty() {
            repairs.push(if escape == "_x0008_" {
                format!("stray character code {escape} removed")
            } else {
                format!("escape {escape}")
            });
        }
        text = decoded;
    }
    let invisible =
        |c: char| c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    let is_control = |c: char| invisible(c) && !c.is_whitespace();
    if let Some(found) = text.chars().find(|c| is_control(*c)) {
        if repairs.is_empty() {
            repairs.push(format!("control character U+{:04X}", u32::from(found)));
        }
        text.retain(|c| !is_control(c));
    }
    if !is_nfkc(&text) {
        let plain: String = text.nfkc().collect();
        if plain.trim() != text.trim() {
            repairs.push("full-width, half-width or decomposed characters".into());
        }
        text = plain;
    }
    let mut trimmed = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !trimmed.is_empty() {
            trimmed.push(' ');
        }
        trimmed.push_str(word);
    }
    // Line breaks within a text only wrap it; they are no repair.
    if text.trim() != text {
        repairs.push("spaces at the start or end".into());
    }
    CleanText { text: trimmed, repairs }
}

/// The text with each escape decoded once, and its first escape; `None` without escapes.
fn decode_escapes(text: &str) -> Option<(String, String)> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut first) = (text, None);
    while let Some(at) = rest.find("_x") {
        let decoded = rest.get(at..at + 7).and_then(|escape| {
            let hex = escape.strip_prefix("_x")?.strip_suffix('_')?;
            let all_hex = hex.bytes().all(|b| b.is_ascii_hexdigit());
            Some((escape, char::from_u32(u32::from_str_radix(hex, 16).ok().filter(|_| all_hex)?)?))
        });
        match decoded {
            Some((escape, c)) => {
                out.push_str(&rest[..at]);
                out.push(c);
                first.get_or_insert_with(|| escape.to_owned());
                rest = &rest[at + 7..];
            }
            None => {
                out.push_str(&rest[..at + 2]);
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    first.map(|first| (out, first))
}

/// Escapes control characters as workbooks do, so that a cell reads the same whether or not a reader decoded it.
pub fn escape_controls(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && !matches!(c, '\n' | '\t' | '\r') {
            out.push_str(&format!("_x{:04X}_", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Whether a cleaned text means that there is no value.
pub fn means_missing(text: &str) -> bool {
    const WORDS: [&str; 16] =
        ["", "-", "--", "?", ".", "na", "n/a", "nan", "none", "null", "nil", "unknown", "미상", "없음", "모름", "결측"];
    WORDS.contains(&text.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_repair_is_reported() {
        for (raw, text, repair) in [
            ("여", "여", None),
            ("_x0008_여", "여", Some("stray character code _x0008_ removed")),
            ("_x005F_x0008_여", "여", Some("escape _x005F_")),
            ("\u{8}여", "여", Some("control character U+0008")),
            (" 남", "남", Some("spaces at the start or end")),
            ("남\u{a0}", "남", Some("spaces at the start or end")),
            ("１７２ｃｍ", "172cm", Some("full-width, half-width or decomposed characters")),
            ("\u{1102}\u{1161}\u{11b7}", "남", Some("full-width, half-width or decomposed characters")),
            ("65㎏", "65kg", Some("full-width, half-width or decomposed characters")),
            ("\u{feff}ID", "ID", Some("control character U+FEFF")),
            ("_xyz_ _x12", "_xyz_ _x12", None),
            ("_x+008_", "_x+008_", None),
            ("체중\n(kg)", "체중 (kg)", None),
        ] {
            let cleaned = clean(raw);
            assert_eq!(cleaned.text, text, "{raw:?}");
            assert_eq!(cleaned.repairs.first().map(String::as_str), repair, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cell_reads_the_same_escaped_or_not(raw in ".{0,40}") {
            let once = clean(&raw).text;
            prop_assert_eq!(clean(&escape_controls(&raw)).text, once);
        }
    }
}
