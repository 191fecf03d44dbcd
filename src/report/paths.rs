use std::path::Path;

use super::Privacy;

/// Where the inputs of a report are: the commands on the page name them. A name in capitals is a placeholder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPaths {
    /// Folder of tables.
    pub tables: String,
    /// Data folder.
    pub data: String,
    /// Folds file.
    pub folds: String,
    /// Folder of findings.
    pub findings: String,
    /// Corrections file.
    pub corrections: String,
}

impl Default for ReportPaths {
    fn default() -> Self {
        let [tables, data] = ["TABLES", "DATA"].map(str::to_owned);
        let [folds, findings, corrections] = ["folds.csv", "AUDIT", "corrections.jsonl"].map(str::to_owned);
        ReportPaths { tables, data, folds, findings, corrections }
    }
}

impl ReportPaths {
    /// The paths as words of a command line; a path that is not given stays a placeholder. An anonymised report names no
    /// files.
    pub fn new(
        privacy: Privacy,
        tables: &Path,
        data: Option<&Path>,
        folds: Option<&Path>,
        findings: Option<&Path>,
        corrections: Option<&Path>,
    ) -> ReportPaths {
        let placeholders = ReportPaths::default();
        if privacy == Privacy::Anonymised {
            return placeholders;
        }
        let word = |path: Option<&Path>, placeholder: String| path.map_or(placeholder, quoted);
        ReportPaths {
            tables: quoted(tables),
            data: word(data, placeholders.data),
            folds: word(folds, placeholders.folds),
            findings: word(findings, placeholders.findings),
            corrections: word(corrections, placeholders.corrections),
        }
    }
}

/// The path as a word of a command line.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    // It fails only for a zero byte, which no path contains.
    shlex::try_quote(&text).map(|word| word.into_owned()).unwrap_or(text)
}
