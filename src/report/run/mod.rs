//! The report of a training run: a single page beside what the run left, made from that alone. Nothing here needs
//! libtorch.
//!
//! To add an analysis, add a file with a function from [`RunStudy`] to [`Section`], and a line in [`sections`].

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

pub use study::{RunStudy, Worst};

use super::{ReportError, Section, single_page};
use crate::artefact::write_atomically;
use crate::progress::Progress;
use crate::runs::Run;

/// File of the page in a run's folder.
pub const PAGE: &str = "report.html";
/// File of its numbers.
pub const NUMBERS: &str = "report.json";

/// Images shown where nothing else is asked for.
pub const PICTURES: usize = 6;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RunReport {
    /// The page.
    pub page: PathBuf,
    /// Every number of the page, as JSON.
    pub numbers: PathBuf,
    /// What could not be read and is told in the page as well.
    pub notes: Vec<String>,
}

/// Writes `report.html` and `report.json` into the folder of a run. What the run did not leave, or cannot be read, is
/// told in the page and does not stop the rest: a run that goes on has curves and no scores.
///
/// `data` is where the images lie if not where the configuration says; `pictures` images are drawn, lowest Dice first.
///
/// # Errors
/// A folder that is no run, or the disk refuses.
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

/// Every section, in the order of the page.
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
