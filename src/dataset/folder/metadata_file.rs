//! Chooses the patients' spreadsheet among the files at the top level.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::walk::FoundFile;
use crate::dataset::{Problem, ProblemSeverity};
use crate::names::nfc;

/// Words in the names of files about patients.
const PATIENT_WORDS: [&str; 7] = ["meta", "patient", "clinical", "demograph", "환자", "임상", "대상자"];

/// Prefers `meta_data.*`, then a name with one of these words, then any workbook, then any CSV that is no table of
/// images. Reports a problem if there are several candidates.
pub fn choose(root: &Path, sheets: &[FoundFile], problems: &mut Vec<Problem>) -> Option<String> {
    let mut ranked: Vec<((usize, usize), String)> = sheets
        .iter()
        .filter_map(|file| {
            let stem = nfc(&file.stem).to_lowercase();
            let ending = file.ending.to_lowercase();
            let by_ending = ["xlsx", "xlsm", "csv", "tsv"].iter().position(|e| *e == ending).unwrap_or(4);
            let by_name = if ["meta_data", "metadata"].contains(&stem.as_str()) {
                0
            } else if PATIENT_WORDS.iter().any(|word| stem.contains(word)) {
                1
            } else if by_ending != 2 && by_ending != 3 {
                2
            } else if is_other_table(&root.join(file.path())) {
                return None;
            } else {
                3
            };
            Some(((by_name, by_ending), file.path()))
        })
        .collect();
    ranked.sort();
    let (best, chosen) = ranked.first()?;
    if ranked.len() > 1 {
        let others: Vec<&str> = ranked[1..].iter().map(|(_, name)| name.as_str()).collect();
        let is_ambiguous = ranked[1].0.0 == best.0;
        problems.push(Problem::new(
            if is_ambiguous { ProblemSeverity::Warning } else { ProblemSeverity::Info },
            chosen.clone(),
            format!("other files may be the patients' spreadsheet as well: {}", others.join(", ")),
            format!("{chosen} is read; rename the correct file to meta_data"),
        ));
    }
    Some(chosen.clone())
}

/// Whether the header of a CSV is that of a table of images: a submission, folds, scores.
fn is_other_table(path: &Path) -> bool {
    let mut start = Vec::new();
    // A file that cannot be opened remains a candidate: reading it later reports the error.
    if File::open(path).and_then(|f| f.take(4096).read_to_end(&mut start)).is_err() {
        return false;
    }
    let text = String::from_utf8_lossy(&start);
    let header = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default().to_lowercase();
    header
        .split([',', ';', '\t'])
        .map(|c| c.trim().trim_matches('"'))
        .any(|c| ["image_name", "image_id", "rle"].contains(&c))
}
