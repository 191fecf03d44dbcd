//! Reports: sections of sentences, tables and figures, and the page that holds them. [`sections`] are those of the data,
//! made from the tables; [`run`] has those of a training run.
//!
//! A [`Section`] is content, not HTML: [`Content`]s of text, tables and figures. The page's template escapes
//! everything that comes from the data, so a spreadsheet cannot write into the page. To add an analysis, add a
//! file to `sections/` with a function from [`Study`] to [`Section`], and a line in [`sections::all`].

mod block;
mod evidence;
mod page;
pub mod run;
pub mod sections;
mod store;
mod study;
mod wording;

pub use block::{Content, Section, Shown, TextTable, Tile};
pub use evidence::{EVIDENCE_WIDTH, EvidencePictures, read_evidence, read_examples};
pub use page::{page, single_page};
pub use store::{ReportError, WrittenReport, write};
pub use study::{PatientQuantity, Study};

/// What a report can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Title of the page.
    pub title: String,
    /// Rows of problems and of findings shown; the rest are in the CSV next to the page.
    pub rows_shown: usize,
    /// Findings shown with their pictures.
    pub pictures_shown: usize,
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions { title: "Hand radiographs".into(), rows_shown: 100, pictures_shown: 60 }
    }
}
