//! Opening data and corrections in the same way in all commands.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use polars::prelude::{col, lit};

use super::{Status, Ui};
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem, ProblemSeverity, kind_of_problem};
use crate::scan::outdated;
use crate::tables::{
    self, BoneRow, FoldRow, ImageRow, OverlapRow, PatientRow, ProblemRow, ShapeRow, TableError, TableRow, Tables,
    filtered, texts,
};
use crate::wording::counted;

/// Reads a corrections file if one is given. Its invalid lines are printed and skipped.
pub fn read_corrections(path: Option<&Path>, ui: &Ui) -> anyhow::Result<(Corrections, Status)> {
    let corrections = path.map(Corrections::read).transpose()?.unwrap_or_default();
    let status = warn(corrections.problems(), ui);
    Ok((corrections, status))
}

/// Opens data with corrections applied. Corrections that do not fit the data are printed.
pub fn open(root: &Path, corrections: Option<&Path>, ui: &Ui) -> anyhow::Result<(Dataset, Status)> {
    let (corrections, status) = read_corrections(corrections, ui)?;
    let dataset = Dataset::open(root)?.with_corrections(corrections);
    let unfit = warn(dataset.unfit_corrections(), ui);
    Ok((dataset, status.worse(unfit)))
}

/// The tables, or the error; if a table is missing, with the command that writes it.
pub fn scanned<T>(read: Result<T, TableError>) -> anyhow::Result<T> {
    read.map_err(|error| match &error {
        TableError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            anyhow!("{error}; `carpus scan DATA --out TABLES` writes the tables")
        }
        _ => error.into(),
    })
}

/// The ids of the images that are held out in fold `fold` of a folds file.
pub fn held_out(folds: &Path, fold: u32) -> anyhow::Result<HashSet<String>> {
    let rows = FoldRow::to_frame(&tables::read_folds(folds)?)?;
    let held = texts(&filtered(&rows, col("fold").eq(lit(fold)))?, "image_id")?;
    Ok(held.into_iter().flatten().collect())
}

/// The tables of a scan with the sides and metadata of a corrections file applied. Tables that were scanned with other
/// corrections are reported.
pub fn corrected_tables(folder: &Path, corrections: &Corrections, ui: &Ui) -> anyhow::Result<(Tables, Status)> {
    let mut tables = scanned(Tables::read(folder))?;
    let mut status = warn(&tables.correct(corrections), ui);
    status = status.worse(warn_outdated(folder, &tables.images, corrections, ui));
    Ok((tables, status))
}

/// Warns if the tables were scanned with other corrections than these, with how to fix it.
pub fn warn_outdated(folder: &Path, images: &[ImageRow], corrections: &Corrections, ui: &Ui) -> Status {
    let Some(reason) = outdated(folder, images, corrections) else { return Status::Done };
    ui.warn(reason);
    Status::DoneWithProblems
}

/// Paths of the tables in a folder: inputs that a command must not overwrite.
pub fn tables_read(folder: &Path) -> Vec<PathBuf> {
    [PatientRow::NAME, ImageRow::NAME, BoneRow::NAME, OverlapRow::NAME, ShapeRow::NAME, ProblemRow::NAME]
        .map(|name| folder.join(format!("{name}.parquet")))
        .into()
}

/// How many problems of one kind are printed; the rest are counted.
const SHOWN: usize = 3;

/// Prints the first few warnings and errors of each kind and returns whether there are any. Problems that were repaired
/// without loss are not printed.
pub fn warn<'a>(problems: impl IntoIterator<Item = &'a Problem>, ui: &Ui) -> Status {
    warn_first(SHOWN, problems, ui)
}

/// As [`warn`], but prints all problems of each kind.
pub fn warn_all<'a>(problems: impl IntoIterator<Item = &'a Problem>, ui: &Ui) -> Status {
    warn_first(usize::MAX, problems, ui)
}

fn warn_first<'a>(shown: usize, problems: impl IntoIterator<Item = &'a Problem>, ui: &Ui) -> Status {
    let mut kinds: Vec<(String, Vec<&Problem>)> = Vec::new();
    for problem in problems.into_iter().filter(|p| p.severity > ProblemSeverity::Info) {
        let kind = format!(
            "{} {} {}",
            problem.severity.name(),
            kind_of_problem(&problem.reason),
            kind_of_problem(&problem.action)
        );
        match kinds.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, found)) => found.push(problem),
            None => kinds.push((kind, vec![problem])),
        }
    }
    // Errors first; otherwise in the order of the problems.
    kinds.sort_by_key(|(_, found)| std::cmp::Reverse(found[0].severity));
    for (_, found) in &kinds {
        for p in found.iter().take(shown) {
            let place = if p.place.is_empty() { String::new() } else { format!(" {}", p.place) };
            let of = p.patient_id.as_ref().map(|id| format!(" (patient {id})")).unwrap_or_default();
            // A name with a line break must not look like a separate message.
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

/// Removes the images that the corrections exclude, and prints how many.
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
    fn an_error_about_a_missing_table_names_the_command_that_writes_it() {
        let message = |kind: std::io::ErrorKind| {
            scanned::<()>(Err(TableError::Io { path: "t/images.parquet".into(), source: kind.into() }))
                .unwrap_err()
                .to_string()
        };
        let missing = message(std::io::ErrorKind::NotFound);
        assert!(missing.starts_with("t/images.parquet: ") && missing.contains("carpus scan"), "{missing}");
        assert!(!message(std::io::ErrorKind::PermissionDenied).contains("carpus scan"));
    }
}
