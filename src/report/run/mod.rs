//! The report of a training run: a single HTML page in the run's folder, made from the files of the run and the data.
//! It does not need libtorch.
//!
//! To add an analysis, add a file with a function from [`RunStudy`] to [`Section`], and add the function to
//! [`sections`].

mod classes;
mod curves;
mod neighbours;
mod overview;
mod rim;
mod settings;
mod study;
mod worst;

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use study::{RunStudy, WorstImage};

use super::{ReportError, Section, single_page};
use crate::artefact::write_atomically;
use crate::progress::Progress;
use crate::runs::Run;

/// File name of the page in the run's folder.
pub const PAGE: &str = "report.html";
/// File name of its numbers.
pub const NUMBERS: &str = "report.json";

/// Number of images drawn by default.
pub const PICTURES: usize = 6;

/// Files written by [`write()`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RunReport {
    /// HTML page.
    pub page: PathBuf,
    /// JSON file with every number of the page.
    pub numbers: PathBuf,
    /// Files that could not be read, one sentence each; the page lists them too.
    pub notes: Vec<String>,
}

/// Writes `report.html` and `report.json` into the folder of a run. The page lists files that are missing or cannot be
/// read, and is made from the others: a run that has not ended has curves but no scores.
///
/// `data` is the data folder, if it is not the configured one. The `pictures` images with the lowest Dice are drawn.
///
/// # Errors
/// The folder is not a run, or a file cannot be written.
pub fn write(
    folder: &Path,
    data: Option<&Path>,
    pictures: usize,
    progress: &dyn Progress,
) -> Result<RunReport, ReportError> {
    let run = Run::read(folder)?;
    let study = RunStudy::new(&run, data, pictures, progress);
    let sections = sections(&study);
    let page = single_page(&sections, &run.name, NUMBERS)?;
    let numbers: Map<String, Value> = sections.iter().map(|s| (s.id.to_owned(), s.numbers.clone())).collect();
    let numbers = serde_json::to_string_pretty(&numbers)? + "\n";
    for (name, text) in [(NUMBERS, &numbers), (PAGE, &page)] {
        let path = folder.join(name);
        write_atomically(&path, |out| out.write_all(text.as_bytes()))
            .map_err(|source| ReportError::Io { path, source })?;
    }
    Ok(RunReport { page: folder.join(PAGE), numbers: folder.join(NUMBERS), notes: study.notes })
}

/// All sections, in page order.
pub fn sections(study: &RunStudy<'_>) -> Vec<Section> {
    let sections: [fn(&RunStudy<'_>) -> Section; 7] = [
        overview::section,
        curves::section,
        classes::section,
        worst::section,
        neighbours::section,
        rim::section,
        settings::section,
    ];
    sections.into_iter().map(|section| section(study)).collect()
}
