//! Reading small TOML files of settings: decisions, ensembles.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::bounded;
use crate::violation::Violations;
use crate::wording::{reason_of, without_rust_types};

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsFileError {
    /// The file cannot be read.
    #[error("{}: {}", path.display(), reason_of(source, "file"))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The file is not TOML, or has an unknown key or a value of another type.
    #[error("{}: {}", path.display(), without_rust_types(&source.to_string()))]
    Toml {
        /// The file.
        path: PathBuf,
        /// The error of the TOML reader.
        source: Box<toml::de::Error>,
    },
    /// Values are outside their range or do not fit each other.
    #[error("{}: {violations}", path.display())]
    Values {
        /// The file.
        path: PathBuf,
        /// The values and what was expected.
        violations: Violations,
    },
}

/// Reads a file of settings and refuses it if `violations` finds invalid values.
///
/// # Errors
/// The file cannot be read, has other content, or has invalid values.
pub fn read<T: DeserializeOwned>(
    path: &Path,
    violations: impl FnOnce(&T) -> Violations,
) -> Result<T, SettingsFileError> {
    let io = |source| SettingsFileError::Io { path: path.into(), source };
    let text = bounded::read_text(path, bounded::MAX_CONFIG).map_err(io)?;
    let content: T =
        toml::from_str(&text).map_err(|e| SettingsFileError::Toml { path: path.into(), source: Box::new(e) })?;
    let checked = violations(&content).result();
    checked.map_err(|violations| SettingsFileError::Values { path: path.into(), violations })?;
    Ok(content)
}
