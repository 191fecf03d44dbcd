//! Parsers of command-line values, with limits.

use std::path::PathBuf;

use clap::builder::{RangedU64ValueParser, TypedValueParser};

/// An angle in degrees, above 0 and below 180.
///
/// # Errors
/// The text is not a number, or out of range.
pub fn angle(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if value > 0.0 && value < 180.0 { Ok(value) } else { Err("expected an angle above 0 and below 180".to_owned()) }
}

/// A number of threads up to 1024; 0 for one per core.
pub fn jobs() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(0..=1024)
}

/// Refuses a file or folder that is given twice, also under another name.
pub fn expect_different(paths: &[PathBuf]) -> anyhow::Result<()> {
    let real = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    for (i, path) in paths.iter().enumerate() {
        if let Some(first) = paths[..i].iter().find(|other| real(other) == real(path)) {
            anyhow::bail!("{} is given twice (first as {}); give each once", path.display(), first.display());
        }
    }
    Ok(())
}
