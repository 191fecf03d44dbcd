//! Reports: sections of sentences, tables and figures, and the HTML page made of them. [`sections`] has the sections
//! of the data report, made from the tables of a scan; [`run`] has those of the report on a training run.
//!
//! A [`Section`] holds no HTML, only [`Content`]: texts, tables and figures. The page's template escapes all text
//! from the data, so that a spreadsheet cannot inject HTML. To add an analysis, add a file to `sections/` with a
//! function from [`Study`] to [`Section`], and add the function to [`sections::all`].

mod anonymise;
mod block;
mod comparison;
mod evidence;
mod export;
mod fold_check;
mod frame;
mod markdown;
mod modes;
mod numbers;
mod page;
mod paths;
mod per_patient;
mod pictures;
pub mod run;
pub mod sections;
mod shift;
mod store;
mod study;
mod wording;

pub use anonymise::{ReportInputs, anonymised};
pub use block::{
    Alert, AttachedFile, CaptionedPicture, CheckFindings, Content, FindingCard, Folded, ReportedTest, Section,
    TextTable, Tile,
};
pub use comparison::{ComparedTables, comparison, new_findings};
pub use evidence::{EVIDENCE_WIDTH, EvidencePictures, FULL_WIDTH, read_evidence, read_examples};
pub use markdown::markdown;
pub use modes::{Modes, ModesError, cohen_kappa, gaussian_density, modes};
pub use numbers::{NUMBERS_FORMAT, ReportSource, numbers};
pub use page::{page, single_page};
pub use paths::ReportPaths;
pub use pictures::{PictureKind, PictureRequest, read_requested};
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
    /// Number of images shown with their findings and pictures.
    pub pictures_shown: usize,
    /// Number of seeds of the comparison of fold methods; at least 1.
    pub seeds: u32,
    /// Number of permutations of the permutation tests.
    pub permutations: usize,
    /// What the report was made of, for `numbers.json`.
    pub source: ReportSource,
    /// Where its inputs are, for the commands on the page.
    pub paths: ReportPaths,
    /// What the report may contain of the patients.
    pub privacy: Privacy,
}

/// What a report may contain of the patients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Privacy {
    /// Ids, file names and pictures.
    #[default]
    Identified,
    /// No patient ids, no file names and no pictures.
    Anonymised,
}

impl Default for ReportOptions {
    fn default() -> Self {
        ReportOptions {
            title: "Hand radiographs".into(),
            rows_shown: 100,
            pictures_shown: 60,
            seeds: 1000,
            permutations: PERMUTATIONS,
            source: ReportSource::default(),
            paths: ReportPaths::default(),
            privacy: Privacy::default(),
        }
    }
}
