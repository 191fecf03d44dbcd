//! The words for a patient's sex.

use super::Sex;

const FEMALE: [&str; 12] = ["f", "female", "여", "여자", "여성", "여아", "녀", "woman", "women", "girl", "w", "fem"];
const MALE: [&str; 9] = ["m", "male", "남", "남자", "남성", "남아", "man", "men", "boy"];

/// Message about a text that is no sex.
pub const EXPECTED: &str = "expected 여, 남, F, M, female or male";

/// The sex that a cleaned text names, in upper or lower case. A text may name the same sex twice (`여(F)`), but not
/// both.
pub fn parse(text: &str) -> Option<Sex> {
    let lower = text.to_lowercase();
    let mut found = None;
    for word in lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()) {
        let sex = if FEMALE.contains(&word) {
            Sex::F
        } else if MALE.contains(&word) {
            Sex::M
        } else {
            return None;
        };
        if found.is_some_and(|other| other != sex) {
            return None;
        }
        found = Some(sex);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        for text in ["여", "여자", "여성", "F", "f", "Female", "FEMALE", "woman", "여(F)", "여."] {
            assert_eq!(parse(text), Some(Sex::F), "{text}");
        }
        for text in ["남", "남자", "남성", "M", "m", "Male", "man", "남/M"] {
            assert_eq!(parse(text), Some(Sex::M), "{text}");
        }
        for text in ["", "1", "2", "남/여", "x", "여남", "other", "()"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
