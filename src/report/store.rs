use std::path::{Path, PathBuf};

use polars::error::PolarsError;
use rayon::prelude::*;

use super::{ReportOptions, Section, markdown, numbers, page};
use crate::artefact::{FolderError, kind, replace_folder};
use crate::audit::FindingRow;
use crate::figures::{Figure, PaintError};
use crate::runs::RunError;
use crate::tables::{ProblemRow, TableError, Tables, write_csv};

/// Why a report cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The folder cannot be written.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The folder is not a run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The tables cannot be evaluated.
    #[error("tables: {0}")]
    Polars(#[from] PolarsError),
    /// A figure cannot be drawn.
    #[error(transparent)]
    Paint(#[from] PaintError),
    /// The page's template fails.
    #[error("template of the page: {0}")]
    Template(#[from] minijinja::Error),
    /// A CSV next to the page cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The numbers cannot be written as JSON.
    #[error("numbers.json: {0}")]
    Json(#[from] serde_json::Error),
}

/// Files written by [`write()`].
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct WrittenReport {
    /// The page.
    pub index: PathBuf,
    /// The numbers.
    pub numbers: PathBuf,
    /// Names of the figures, without file extension.
    pub figures: Vec<String>,
    /// Size of the page in bytes.
    pub page_bytes: u64,
}

/// Writes `index.html`, `report.md`, `numbers.json`, `figures/NAME.png|svg`, the sections' files, `problems.csv` and
/// `findings.csv` into `folder`, completely or not at all. An older report in the folder is replaced; other files stay.
///
/// # Errors
/// A figure or the page cannot be made, or a file cannot be written. The folder is then unchanged.
pub fn write(
    folder: &Path,
    sections: &[Section],
    settings: &ReportOptions,
    tables: &Tables,
    findings: Option<&[FindingRow]>,
) -> Result<WrittenReport, ReportError> {
    let figures: Vec<&Figure> = sections.iter().flat_map(Section::figures).collect();
    let html = page(sections, settings)?;
    let numbers = numbers(sections, settings, tables.rotated_deg)?;
    replace_folder(folder, &kind::REPORT, |new| -> Result<(), ReportError> {
        let pictures = new.join("figures");
        std::fs::create_dir(&pictures).map_err(|source| ReportError::Io { path: pictures.clone(), source })?;
        figures.par_iter().try_for_each(|figure| {
            let picture = figure.picture();
            save(&pictures.join(format!("{}.svg", figure.name)), picture.svg()?.as_bytes())?;
            save(&pictures.join(format!("{}.png", figure.name)), &picture.png()?)
        })?;
        save(&new.join("index.html"), html.as_bytes())?;
        save(&new.join("report.md"), markdown(sections, settings).as_bytes())?;
        save(&new.join("numbers.json"), numbers.as_bytes())?;
        for file in sections.iter().flat_map(|s| &s.files) {
            let path = new.join(&file.name);
            let folder = path.parent().unwrap_or(new);
            std::fs::create_dir_all(folder).map_err(|source| ReportError::Io { path: folder.to_owned(), source })?;
            save(&path, &file.bytes)?;
        }
        write_csv::<ProblemRow>(&new.join("problems.csv"), &tables.problems)?;
        match findings {
            Some(findings) => Ok(write_csv::<FindingRow>(&new.join("findings.csv"), findings)?),
            None => Ok(()),
        }
    })?;
    Ok(WrittenReport {
        index: folder.join("index.html"),
        numbers: folder.join("numbers.json"),
        figures: figures.iter().map(|f| f.name.clone()).collect(),
        page_bytes: html.len() as u64,
    })
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    std::fs::write(path, bytes).map_err(|source| ReportError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ReportOptions {
        ReportOptions::default()
    }

    #[test]
    fn an_older_report_is_replaced_and_other_files_stay() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("report");
        let tables = Tables::default();
        write(&folder, &[], &settings(), &tables, Some(&[])).unwrap();
        std::fs::write(folder.join("chapter.txt"), "mine").unwrap();
        write(&folder, &[], &settings(), &tables, None).unwrap();
        assert!(!folder.join("findings.csv").exists() && folder.join("index.html").exists());
        assert_eq!(std::fs::read_to_string(folder.join("chapter.txt")).unwrap(), "mine");
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["report"]);
        assert!(write(&folder.join("chapter.txt"), &[], &settings(), &tables, None).is_err());
        assert_eq!(std::fs::read_to_string(folder.join("chapter.txt")).unwrap(), "mine");
    }
}
