//! Patient, time and side from the names of folders and files.

use super::Side;
use super::metadata::normalise_patient_id;

/// Minimum number of digits of a time stamp: seconds since 1970 have ten.
const TIMESTAMP_DIGITS: usize = 10;

/// Side from the ending `_R` or `_L`, in upper or lower case.
pub fn side_in_name(stem: &str) -> Option<Side> {
    match stem.as_bytes() {
        [.., b'_', b'R' | b'r'] => Some(Side::R),
        [.., b'_', b'L' | b'l'] => Some(Side::L),
        _ => None,
    }
}

/// Time stamp: the longest sequence of digits (the first if several are equally long), if it has ten digits or more and
/// fits 64 bits.
pub fn timestamp(stem: &str) -> Option<i64> {
    let longest = stem.split(|c: char| !c.is_ascii_digit()).fold("", |a, b| if b.len() > a.len() { b } else { a });
    if longest.len() < TIMESTAMP_DIGITS { None } else { longest.parse().ok() }
}

/// Whether the name is a number, or `ID` and a number.
pub fn is_patient_folder(name: &str) -> bool {
    let rest = match name.get(..2) {
        Some(prefix) if prefix.eq_ignore_ascii_case("id") => name[2..].trim_start_matches(['_', '-', ' ']),
        _ => name,
    };
    !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit())
}

/// Patient ID of a folder, normalised as all IDs are.
pub fn patient_of_folder(name: &str) -> String {
    normalise_patient_id(name).unwrap_or_else(|| name.to_owned())
}

/// Patient ID of a file: `ID` and a number anywhere in the stem, else the stem without `_R` or `_L`.
pub fn patient_in_stem(stem: &str) -> String {
    let bytes = stem.as_bytes();
    for (at, pair) in bytes.windows(2).enumerate() {
        let begins_word = at == 0 || !bytes[at - 1].is_ascii_alphanumeric();
        if !begins_word || !pair.eq_ignore_ascii_case(b"id") {
            continue;
        }
        let digits = bytes[at + 2..].iter().take_while(|b| b.is_ascii_digit()).count();
        if digits > 0 {
            return patient_of_folder(&stem[at..at + 2 + digits]);
        }
    }
    match side_in_name(stem) {
        Some(_) if stem.len() > 2 => stem[..stem.len() - 2].to_owned(),
        _ => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_and_time_are_read_from_names() {
        assert_eq!(side_in_name("image1661130828152_R"), Some(Side::R));
        assert_eq!(side_in_name("image1661130828152_l"), Some(Side::L));
        assert_eq!(side_in_name("image1661144206667"), None);
        assert_eq!(side_in_name("손_R"), Some(Side::R));
        assert_eq!(timestamp("image1661130828152_R"), Some(1_661_130_828_152));
        assert_eq!(timestamp("ID001_1"), None);
        assert_eq!(timestamp("99999999999999999999999"), None);
    }

    #[test]
    fn patient_is_read_from_names() {
        assert_eq!(patient_in_stem("ID040_R"), "040");
        assert_eq!(patient_in_stem("scan-id7-1661130828152"), "007");
        assert_eq!(patient_in_stem("image1661144206667_R"), "image1661144206667");
        assert_eq!(patient_in_stem("_R"), "_R");
        assert_eq!(patient_in_stem("Madrid7"), "Madrid7", "`id` at the end of a word is no prefix");
        assert_eq!(patient_of_folder("ID040"), "040");
        assert_eq!(patient_of_folder("환자 3"), "환자 3");
        assert!(is_patient_folder("ID001") && is_patient_folder("id_12") && is_patient_folder("007"));
        assert!(!is_patient_folder("ID") && !is_patient_folder("손") && !is_patient_folder("images2"));
    }
}
