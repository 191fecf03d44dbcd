//! Opening data and corrections: what every command that reads them does alike.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::{Status, Ui};
use crate::dataset::{Corrections, Dataset, ImageEntry, Problem};
use crate::scan::measured_otherwise;
use crate::tables::{BoneRow, ImageRow, PatientRow, ProblemRow, Table, Tables};

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

/// Tables of a scan with the sides and metadata of a corrections file. Tables measured on other shapes than those of the
/// corrections are reported.
pub fn corrected_tables(folder: &Path, corrections: &Corrections, ui: &Ui) -> anyhow::Result<(Tables, Status)> {
    let mut tables = Tables::read(folder).with_context(|| {
        format!("reading the tables in {}; `carpus scan DATA --out TABLES` writes them", folder.display())
    })?;
    let mut status = warn(&tables.correct(corrections), ui);
    let others = if corrections.file().is_empty() { 0 } else { measured_otherwise(folder, &tables, corrections) };
    if others > 0 {
        ui.warn(format_args!(
            "{others} images were measured on other shapes than {} gives them; run `carpus scan` with it first",
            corrections.file()
        ));
        status = Status::DoneWithProblems;
    }
    Ok((tables, status))
}

/// The tables that a command reads from a folder of them, as inputs that it must not write over.
pub fn tables_read(folder: &Path) -> Vec<PathBuf> {
    [PatientRow::NAME, ImageRow::NAME, BoneRow::NAME, ProblemRow::NAME]
        .map(|name| folder.join(format!("{name}.parquet")))
        .into()
}

/// Prints problems, and says whether there are any.
pub fn warn(problems: &[Problem], ui: &Ui) -> Status {
    for p in problems {
        let place = if p.place.is_empty() { String::new() } else { format!(" {}", p.place) };
        ui.warn(format_args!("{}{place}: {}; {}", p.file, p.reason, p.action));
    }
    if problems.is_empty() { Status::Done } else { Status::DoneWithProblems }
}

/// Leaves out the images that the corrections exclude, and prints how many.
pub fn without_excluded(dataset: &Dataset, entries: &mut Vec<&ImageEntry>, ui: &Ui) {
    let all = entries.len();
    entries.retain(|entry| !dataset.excludes(entry));
    if entries.len() < all {
        ui.note(format_args!("{} images are excluded by {}", all - entries.len(), dataset.corrections().file()));
    }
}
