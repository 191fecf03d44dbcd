//! `numbers.json`: every number of a report, with what it was made of.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{ReportError, ReportOptions, Section};

/// Version of the layout of `numbers.json`. Raise it when keys change their meaning; the layout is described by
/// `assets/report/numbers.schema.json`.
pub const NUMBERS_FORMAT: u32 = 1;

/// What a report was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReportSource {
    /// SHA-256 in hex of each input file, by its role: `images.parquet`, `folds`, `findings`, `corrections`.
    pub sha256: BTreeMap<String, String>,
}

/// The text of `numbers.json`: `version`, `source`, `parameters` and one object per section, by its id.
///
/// # Errors
/// A number cannot be written as JSON.
pub fn numbers(
    sections: &[Section],
    settings: &ReportOptions,
    rotated_deg: Option<f64>,
) -> Result<String, ReportError> {
    let mut all = Map::new();
    all.insert("version".into(), json!({"carpus": env!("CARGO_PKG_VERSION"), "format": NUMBERS_FORMAT}));
    all.insert("source".into(), json!(settings.source));
    all.insert(
        "parameters".into(),
        json!({
            "title": settings.title, "rows_shown": settings.rows_shown, "pictures_shown": settings.pictures_shown,
            "seeds": settings.seeds,
            "rotated_deg": rotated_deg, "anonymised": settings.privacy == super::Privacy::Anonymised,
        }),
    );
    all.extend(sections.iter().map(|section| (section.id.to_owned(), section.numbers.clone())));
    Ok(serde_json::to_string_pretty(&Value::Object(all))? + "\n")
}
