//! Reports: sections of sentences, tables and figures, and the HTML page made of them. [`sections`] has the sections
//! of the data report, made from the tables of a scan; [`run`] has those of the report on a training run.
//!
//! A [`Section`] holds no HTML, only [`Content`]: texts, tables and figures. The page's template escapes all text
//! from the data, so that a spreadsheet cannot inject HTML. To add an analysis, add a file to `sections/` with a
//! function from [`Study`] to [`Section`], and add the function to [`sections::all`].

mod block;
mod comparison;
mod evidence;
mod fold_check;
mod page;
mod per_patient;
pub mod run;
pub mod sections;
mod shift;
mod store;
mod study;
mod wording;

pub use block::{CaptionedPicture, Content, ReportedTest, Section, TextTable, Tile};
pub use comparison::{ComparedTables, comparison, new_findings};
pub use evidence::{EVIDENCE_WIDTH, EvidencePictures, read_evidence, read_examples};
pub use page::{page, single_page};
pub use store::{ReportError, WrittenReport, write};
pub use study::{PatientQuantity, Study};

/// Number of permutations of a permutation test: the smallest p value is 0.001.
const PERMUTATIONS: usize = 999;

/// Options of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReportOptions {
    /// Title of the page.
    pub title: String,
    /// Rows shown of the problems and of the findings; the CSV files next to the page have all.
    pub rows_shown: usize,
    /// Number of findings shown with their pictures.
    pub pictures_shown: usize,
    /// Number of permutations of the permutation tests.
    pub permutations: usize,
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions { title: "Hand radiographs".into(), rows_shown: 100, pictures_shown: 60, permutations: PERMUTATIONS }
    }
}
