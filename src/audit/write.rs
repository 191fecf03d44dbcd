//! Writes the findings and their pictures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polars::prelude::{DataFrame, PolarsResult};

use super::evidence::{self, MissingPicture};
use super::{Finding, Severity};
use crate::artefact::{FolderError, kind, replace_folder};
use crate::audit::FindingRow;
use crate::dataset::Dataset;
use crate::progress::Progress;
use crate::tables::{TableError, Tables, count, is, write_table};

/// Why findings cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The table of findings cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The pictures cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// The folder of the pictures.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The folder of findings cannot be written or replaced.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Selection of the findings that get a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pictures {
    /// The first N findings.
    First(usize),
    /// The first N findings of each check.
    PerCheck(usize),
    /// All findings.
    All,
}

/// Default number of pictures per check: a fault that repeats in every image must not fill the disk.
pub const PICTURES_PER_CHECK: usize = 200;

impl Default for Pictures {
    fn default() -> Pictures {
        Pictures::PerCheck(PICTURES_PER_CHECK)
    }
}

impl Pictures {
    /// For each finding, whether it gets a picture.
    fn wanted(self, findings: &[Finding]) -> Vec<bool> {
        let mut drawn: HashMap<&str, usize> = HashMap::new();
        let is_wanted = |(n, finding): (usize, &Finding)| match self {
            Pictures::All => true,
            Pictures::First(limit) => n < limit,
            Pictures::PerCheck(limit) => {
                let of_check = drawn.entry(finding.check.name).or_default();
                *of_check += 1;
                *of_check <= limit
            }
        };
        findings.iter().enumerate().map(is_wanted).collect()
    }
}

/// Result of [`write()`].
#[derive(Clone, Debug, Default)]
pub struct WrittenFindings {
    /// Rows of the written table.
    pub rows: Vec<FindingRow>,
    /// Images whose pictures could not be made.
    pub failed: Vec<MissingPicture>,
    /// Number of findings about an image that got no picture because of the limit.
    pub left_out: usize,
}

/// Writes `findings.parquet`, `findings.csv` and, if `data` is given, `evidence/*.png` into `out`. The folder is written
/// completely or not at all. Earlier findings in it are replaced; other files stay.
///
/// # Errors
/// A file cannot be written, or `out` cannot be replaced.
pub fn write(
    out: &Path,
    findings: &[Finding],
    tables: &Tables,
    data: Option<&Dataset>,
    pictures: Pictures,
    progress: &dyn Progress,
) -> Result<WrittenFindings, WriteError> {
    replace_folder(out, &kind::FINDINGS, |new| {
        let rows: Vec<FindingRow> = findings.iter().map(|f| f.row(tables)).collect();
        let mut written = WrittenFindings { rows, ..WrittenFindings::default() };
        if let Some(data) = data {
            let wanted = pictures.wanted(findings);
            let folder = new.join("evidence");
            let pictures = evidence::write(findings, &wanted, tables, data, &folder, progress)
                .map_err(|source| WriteError::Io { path: folder, source })?;
            for (row, name) in written.rows.iter_mut().zip(pictures.names) {
                row.evidence = name.map_or(String::new(), |n| format!("evidence/{n}"));
            }
            written.failed = pictures.failed;
            written.left_out = findings.iter().zip(wanted).filter(|(f, wanted)| f.image.is_some() && !wanted).count();
        }
        write_table(new, &written.rows)?;
        Ok(written)
    })
}

/// Number of findings per severity, in the order low, medium, high.
///
/// # Errors
/// The frame is not a table of findings.
pub fn counts(findings: &DataFrame) -> PolarsResult<[(Severity, usize); 3]> {
    let count_of = |severity| PolarsResult::Ok((severity, count(findings, is("severity", severity))?));
    Ok([count_of(Severity::Low)?, count_of(Severity::Medium)?, count_of(Severity::High)?])
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn earlier_findings_are_replaced_and_other_files_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("audit");
        let mut population = Population::new(4, 7);
        population.remove(1, "Lunate");
        let write = |p: &Population| write(&out, &p.audit(), &p.tables, None, Pictures::All, &Silent);
        let rows = write(&population).unwrap().rows;
        assert!(!rows.is_empty() && rows.iter().all(|r| r.evidence.is_empty()));
        population.remove(2, "Hamate");
        let rows = write(&population).unwrap().rows;
        let read: Vec<FindingRow> = crate::tables::read(&out.join("findings.csv")).unwrap();
        assert_eq!(read, rows);
        assert_eq!(crate::tables::read::<FindingRow>(&out.join("findings.parquet")).unwrap(), rows);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary folder is left");

        std::fs::write(out.join("notes.txt"), "mine").unwrap();
        write(&population).unwrap();
        assert!(out.join("notes.txt").exists());
    }
}
