//! Opening data and corrections: what every command that reads them does alike.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use polars::prelude::{col, lit};

use super::{Status, Ui};
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::scan::outdated;
use crate::tables::{
    self, BoneRow, FoldRow, ImageRow, PatientRow, ProblemRow, TableError, TableRow, Tables, filtered, texts,
};
use crate::wording::counted;

/// Reads a corrections file where one is given. Its bad lines are printed and skipped.
pub fn read_corrections(path: Option<&Path>, ui: &Ui) -> anyhow::Result<(Corrections, Status)> {
    let corrections = path.map(Corrections::read).transpose()?.unwrap_or_default();
    let status = warn(corrections.problems(), ui);
    Ok((corrections, status))
}

/// Opens data with corrections applied. What does not fit is printed.
pub fn open(root: &Path, corrections: Option<&Path>, ui: &Ui) -> anyhow::Result<(Dataset, Status)> {
    let (corrections, status) = read_corrections(corrections, ui)?;
    let dataset = Dataset::open(root)?.with_corrections(corrections);
    let unfit = warn(dataset.unfit_corrections(), ui);
    Ok((dataset, status.worse(unfit)))
}

/// Tables as read, or the error, with the way to get a table that is missing.
pub fn scanned<T>(read: Result<T, TableError>) -> anyhow::Result<T> {
    read.map_err(|error| match &error {
        TableError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            anyhow!("{error}; `carpus scan DATA --out TABLES` writes the tables")
        }
        _ => error.into(),
    })
}

/// The images that these folds hold out in one of them.
pub fn held_out(folds: &Path, fold: u32) -> anyhow::Result<HashSet<String>> {
    let rows = FoldRow::to_frame(&tables::read(folds)?)?;
    let held = texts(&filtered(&rows, col("fold").eq(lit(fold)))?, "image_id")?;
    Ok(held.into_iter().flatten().collect())
}

/// Tables of a scan with the sides and metadata of a corrections file. Tables measured on other shapes than those of the
/// corrections are reported.
pub fn corrected_tables(folder: &Path, corrections: &Corrections, ui: &Ui) -> anyhow::Result<(Tables, Status)> {
    let mut tables = scanned(Tables::read(folder))?;
    let mut status = warn(&tables.correct(corrections), ui);
    status = status.worse(warn_outdated(folder, &tables.images, corrections, ui));
    Ok((tables, status))
}

/// Prints why tables are not those of a scan with these corrections.
pub fn warn_outdated(folder: &Path, images: &[ImageRow], corrections: &Corrections, ui: &Ui) -> Status {
    let Some(reason) = outdated(folder, images, corrections) else { return Status::Done };
    ui.warn(format_args!("{}: {reason}; run `carpus scan` with the same --corrections first", folder.display()));
    Status::DoneWithProblems
}

/// The tables that a command reads from a folder of them, as inputs that it must not write over.
pub fn tables_read(folder: &Path) -> Vec<PathBuf> {
    [PatientRow::NAME, ImageRow::NAME, BoneRow::NAME, ProblemRow::NAME]
        .map(|name| folder.join(format!("{name}.parquet")))
        .into()
}

/// Problems of one kind that are printed; of more, the number is.
const SHOWN: usize = 3;

/// Prints the warnings and errors among problems by kind, the first few of each, and says whether there are any. What was put
/// right without loss is not printed.
pub fn warn<'a>(problems: impl IntoIterator<Item = &'a Problem>, ui: &Ui) -> Status {
    warn_first(SHOWN, problems, ui)
}

/// As [`warn`], and all of each kind.
pub fn warn_all<'a>(problems: impl IntoIterator<Item = &'a Problem>, ui: &Ui) -> Status {
    warn_first(usize::MAX, problems, ui)
}

fn warn_first<'a>(shown: usize, problems: impl IntoIterator<Item = &'a Problem>, ui: &Ui) -> Status {
    let mut kinds: Vec<(String, Vec<&Problem>)> = Vec::new();
    for problem in problems.into_iter().filter(|p| p.severity > ProblemSeverity::Info) {
        let kind = format!(
            "{} {} {}",
            problem.severity.name(),
            without_values(&problem.reason),
            without_values(&problem.action)
        );
        match kinds.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, found)) => found.push(problem),
            None => kinds.push((kind, vec![problem])),
        }
    }
    // Errors first; the order of the problems otherwise.
    kinds.sort_by_key(|(_, found)| std::cmp::Reverse(found[0].severity));
    for (_, found) in &kinds {
        for p in found.iter().take(shown) {
            let place = if p.place.is_empty() { String::new() } else { format!(" {}", p.place) };
            let of = p.patient_id.as_ref().map(|id| format!(" (patient {id})")).unwrap_or_default();
            // A name with a line break must not look like a line of its own.
            let file = if p.file.is_empty() { "the data" } else { &p.file };
            let text = format!("{file}{place}{of}: {}; {}", p.reason, p.action).replace(['\n', '\r'], " ");
            if p.severity == ProblemSeverity::Error { ui.error(text) } else { ui.warn(text) }
        }
        if found.len() > shown {
            ui.warn(format_args!("… and {} more like this", found.len() - shown));
        }
    }
    if kinds.is_empty() { Status::Done } else { Status::DoneWithProblems }
}

/// A reason without the numbers and quoted texts that differ from place to place.
fn without_values(reason: &str) -> String {
    let mut kind = String::new();
    let mut quoted = false;
    for c in reason.chars() {
        match c {
            '"' => quoted = !quoted,
            _ if quoted || c.is_ascii_digit() || c == '.' => {}
            _ => kind.push(c),
        }
    }
    kind
}

/// Leaves out the images that the corrections exclude, and prints how many.
pub fn without_excluded(dataset: &Dataset, entries: &mut Vec<&ImageEntry>, ui: &Ui) {
    let all = entries.len();
    entries.retain(|entry| !dataset.excludes(entry));
    if entries.len() < all {
        ui.note(format_args!(
            "{} excluded by {}",
            counted(all - entries.len(), "image is", "images are"),
            dataset.corrections().file()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_is_advised_where_a_table_is_missing() {
        let said = |kind: std::io::ErrorKind| {
            scanned::<()>(Err(TableError::Io { path: "t/images.parquet".into(), source: kind.into() }))
                .unwrap_err()
                .to_string()
        };
        let missing = said(std::io::ErrorKind::NotFound);
        assert!(missing.starts_with("t/images.parquet: ") && missing.contains("carpus scan"), "{missing}");
        assert!(!said(std::io::ErrorKind::PermissionDenied).contains("carpus scan"));
    }

    #[test]
    fn kinds_have_no_values() {
        let kind = |reason: &str| without_values(reason);
        assert_eq!(kind("height 52 and weight 171 look swapped"), kind("height 61.5 and weight 180.25 look swapped"));
        assert_eq!(kind("label \"finger-20\" is unknown"), kind("label \"Elbow\" is unknown"));
        assert_ne!(kind("no ID"), kind("no age"));
    }
}
