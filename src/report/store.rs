use std::io::Write;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::{Block, Section, Settings, page};
use crate::figures::{Figure, PaintError};
use crate::runs::RunError;
use crate::tables::{FindingRow, ProblemRow, TableError, Tables, write_csv};

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file or folder cannot be written.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder holds something else.
    #[error(
        "{path} holds files and is no report (no numbers.json): name an empty or a new folder, so that nothing is lost"
    )]
    NotAReport {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that is no run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A figure cannot be drawn.
    #[error(transparent)]
    Paint(#[from] PaintError),
    /// The page's template fails.
    #[error("the page's template: {0}")]
    Template(#[from] minijinja::Error),
    /// A CSV beside the page cannot be written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The numbers cannot be written as JSON.
    #[error("numbers.json: {0}")]
    Json(#[from] serde_json::Error),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// The page.
    pub index: PathBuf,
    /// The numbers.
    pub numbers: PathBuf,
    /// Names of the figures, without ending.
    pub figures: Vec<String>,
    /// Size of the page in bytes.
    pub page_bytes: u64,
}

/// Writes `index.html`, `numbers.json`, `figures/NAME.png|svg`, `problems.csv` and `findings.csv` into `folder`:
/// all of it into a new folder beside, which then takes the place of an older report, so that `folder` is
/// whole at any time.
///
/// # Errors
/// `folder` holds files that are no report, or the disk refuses.
pub fn write(
    folder: &Path,
    sections: &[Section],
    settings: &Settings,
    tables: &Tables,
    findings: Option<&[FindingRow]>,
) -> Result<Written, ReportError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| ReportError::Io { path, source }
    };
    refuse_other_content(folder)?;
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).map_err(io(parent))?;
    let new = tempfile::Builder::new().prefix(".carpus-report-").tempdir_in(parent).map_err(io(parent))?;
    // The drawing lies in the temporary folder; if anything fails from here on, dropping it removes it.
    let pictures = new.path().join("figures");
    std::fs::create_dir(&pictures).map_err(io(&pictures))?;
    let figures: Vec<&Figure> = sections.iter().flat_map(|s| &s.blocks).filter_map(figure).collect();
    figures.par_iter().try_for_each(|figure| -> Result<(), ReportError> {
        let picture = figure.picture();
        save(&pictures.join(format!("{}.svg", figure.name)), picture.svg()?.as_bytes())?;
        save(&pictures.join(format!("{}.png", figure.name)), &picture.png()?)
    })?;
    let html = page(sections, settings)?;
    save(&new.path().join("index.html"), html.as_bytes())?;
    let numbers: Map<String, Value> = sections.iter().map(|s| (s.id.to_owned(), s.numbers.clone())).collect();
    save(&new.path().join("numbers.json"), (serde_json::to_string_pretty(&numbers)? + "\n").as_bytes())?;
    write_csv::<ProblemRow>(&new.path().join("problems.csv"), &tables.problems)?;
    if let Some(findings) = findings {
        write_csv::<FindingRow>(&new.path().join("findings.csv"), findings)?;
    }
    take_place(new, folder, parent)?;
    Ok(Written {
        index: folder.join("index.html"),
        numbers: folder.join("numbers.json"),
        figures: figures.iter().map(|f| f.name.clone()).collect(),
        page_bytes: html.len() as u64,
    })
}

fn figure(block: &Block) -> Option<&Figure> {
    if let Block::Figure(figure) = block { Some(figure) } else { None }
}

fn save(path: &Path, bytes: &[u8]) -> Result<(), ReportError> {
    let write = || {
        let mut file = std::fs::File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(|source| ReportError::Io { path: path.to_owned(), source })
}

fn refuse_other_content(folder: &Path) -> Result<(), ReportError> {
    let occupied = match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(source) => return Err(ReportError::Io { path: folder.to_owned(), source }),
    };
    if occupied && !folder.join("numbers.json").is_file() {
        return Err(ReportError::NotAReport { path: folder.to_owned() });
    }
    Ok(())
}

/// Renames the finished folder into place; an older report steps aside first and is removed last.
fn take_place(new: tempfile::TempDir, folder: &Path, parent: &Path) -> Result<(), ReportError> {
    let failed = |source| ReportError::Io { path: folder.to_owned(), source };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary folders are private; a report is as readable as any other output.
        std::fs::set_permissions(new.path(), std::fs::Permissions::from_mode(0o755)).map_err(failed)?;
    }
    let old = tempfile::Builder::new().prefix(".carpus-old-").tempdir_in(parent).map_err(failed)?;
    let aside = old.path().join("report");
    let replaced = folder.exists();
    if replaced {
        std::fs::rename(folder, &aside).map_err(failed)?;
    }
    if let Err(source) = std::fs::rename(new.path(), folder) {
        if replaced {
            // Best effort: the first error is the one to tell.
            let _ = std::fs::rename(&aside, folder);
        }
        return Err(failed(source));
    }
    // Its path is gone: it is the report now.
    let _ = new.keep();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::default()
    }

    #[test]
    fn an_older_report_is_replaced_and_other_folders_are_not() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("report");
        let tables = Tables::default();
        write(&folder, &[], &settings(), &tables, None).unwrap();
        std::fs::write(folder.join("stale.txt"), "x").unwrap();
        write(&folder, &[], &settings(), &tables, None).unwrap();
        assert!(!folder.join("stale.txt").exists() && folder.join("index.html").exists());
        let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["report"]);

        let other = home.path().join("thesis");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("chapter.txt"), "mine").unwrap();
        assert!(matches!(write(&other, &[], &settings(), &tables, None), Err(ReportError::NotAReport { .. })));
        assert_eq!(std::fs::read_to_string(other.join("chapter.txt")).unwrap(), "mine");
        assert!(write(&other.join("chapter.txt"), &[], &settings(), &tables, None).is_err());
    }
}
