use std::path::{Path, PathBuf};

use super::evidence::{self, Unpictured};
use super::{Finding, Severity};
use crate::artefact::{FolderError, kind, replace_folder};
use crate::dataset::Dataset;
use crate::progress::Progress;
use crate::tables::{FindingRow, TableError, Tables, write_table};

/// Findings that cannot be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WriteError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// Which findings get a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pictures {
    /// The first so many.
    First(usize),
    /// All.
    All,
}

/// Writes `findings.parquet`, `findings.csv` and, where `data` is given, `evidence/*.png` into `out`. The folder
/// appears complete or not at all; earlier findings in it are replaced, other files stay. Returns the rows as written and
/// the images whose pictures could not be made.
pub fn write(
    out: &Path,
    findings: &[Finding],
    tables: &Tables,
    data: Option<&Dataset>,
    pictures: Pictures,
    progress: &dyn Progress,
) -> Result<(Vec<FindingRow>, Vec<Unpictured>), WriteError> {
    replace_folder(out, &kind::FINDINGS, |new| {
        let mut rows: Vec<FindingRow> = findings.iter().map(|f| f.row(tables)).collect();
        let mut failed = Vec::new();
        if let Some(data) = data {
            let n = match pictures {
                Pictures::All => findings.len(),
                Pictures::First(n) => n.min(findings.len()),
            };
            let folder = new.join("evidence");
            let (names, unpictured) = evidence::write(&findings[..n], tables, data, &folder, progress)
                .map_err(|source| WriteError::Io { path: folder, source })?;
            for (row, name) in rows.iter_mut().zip(names) {
                row.evidence = name.map_or(String::new(), |n| format!("evidence/{n}"));
            }
            failed = unpictured;
        }
        write_table(new, &rows, true)?;
        Ok((rows, failed))
    })
}

/// Number of findings of each severity: low, medium, high.
pub fn counts(rows: &[FindingRow]) -> [(Severity, usize); 3] {
    [Severity::Low, Severity::Medium, Severity::High]
        .map(|s| (s, rows.iter().filter(|r| r.severity == s.name()).count()))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Population;
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn findings_replace_findings_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("audit");
        let mut population = Population::new(4, 7);
        population.remove(1, "Lunate");
        let write = |p: &Population| write(&out, &p.audit(), &p.tables, None, Pictures::All, &Silent);
        let (rows, _) = write(&population).unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|r| r.evidence.is_empty()));
        population.remove(2, "Hamate");
        let (rows, _) = write(&population).unwrap();
        let read: Vec<FindingRow> = crate::tables::read(&out.join("findings.csv")).unwrap();
        assert_eq!(read, rows);
        assert_eq!(crate::tables::read::<FindingRow>(&out.join("findings.parquet")).unwrap(), rows);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary folder is left");

        std::fs::write(out.join("thesis.txt"), "mine").unwrap();
        write(&population).unwrap();
        assert!(out.join("thesis.txt").exists());
    }
}
