use std::path::{Path, PathBuf};

use super::evidence::{self, Unpictured};
use super::{Finding, Severity};
use crate::progress::Progress;
use crate::tables::{FindingRow, Table, TableError, Tables, write_table};

/// Findings that cannot be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum WriteError {
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} exists and holds no findings; name another folder or remove it")]
    NotFindings { path: PathBuf },
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
/// appears complete or not at all; one that holds earlier findings is replaced. Returns the rows as written and
/// the images whose pictures could not be made.
pub fn write(
    out: &Path,
    findings: &[Finding],
    tables: &Tables,
    data: Option<&Path>,
    pictures: Pictures,
    progress: &dyn Progress,
) -> Result<(Vec<FindingRow>, Vec<Unpictured>), WriteError> {
    let at = |path: &Path| {
        let path = path.to_path_buf();
        move |source| WriteError::Io { path, source }
    };
    let is_empty = || std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    let csv = format!("{}.csv", FindingRow::NAME);
    if out.exists() && !out.join(&csv).exists() && !is_empty() {
        return Err(WriteError::NotFindings { path: out.into() });
    }
    let parent = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(at(parent))?;
    let fresh = tempfile::Builder::new().prefix(".carpus-audit-").tempdir_in(parent).map_err(at(parent))?;
    let mut rows: Vec<FindingRow> = findings.iter().map(|f| f.row(tables)).collect();
    let mut failed = Vec::new();
    if let Some(data) = data {
        let n = match pictures {
            Pictures::All => findings.len(),
            Pictures::First(n) => n.min(findings.len()),
        };
        let folder = fresh.path().join("evidence");
        let (names, unpictured) =
            evidence::write(&findings[..n], tables, data, &folder, progress).map_err(at(&folder))?;
        for (row, name) in rows.iter_mut().zip(names) {
            row.evidence = name.map_or(String::new(), |n| format!("evidence/{n}"));
        }
        failed = unpictured;
    }
    write_table(fresh.path(), &rows, true)?;
    readable(fresh.path()).map_err(at(out))?;
    // Moved aside first: a folder that is not empty cannot be renamed over.
    let old = tempfile::Builder::new().prefix(".carpus-old-").tempdir_in(parent).map_err(at(parent))?;
    if out.exists() {
        std::fs::rename(out, old.path().join("audit")).map_err(at(out))?;
    }
    let fresh = fresh.keep();
    if let Err(source) = std::fs::rename(&fresh, out) {
        let _ = std::fs::rename(old.path().join("audit"), out);
        let _ = std::fs::remove_dir_all(&fresh);
        return Err(at(out)(source));
    }
    Ok((rows, failed))
}

/// Temporary folders are private; artefacts are as readable as any other output.
fn readable(folder: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
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

        std::fs::remove_dir_all(&out).unwrap();
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join("thesis.txt"), "mine").unwrap();
        assert!(matches!(write(&population), Err(WriteError::NotFindings { .. })));
        assert!(out.join("thesis.txt").exists());
    }
}
