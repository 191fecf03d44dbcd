use super::RunStudy;
use crate::report::Section;
use crate::report::wording::visible;
use crate::runs::flatten;

/// The configuration of the run.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("config", "Configuration");
    let leaves = flatten(&study.run.config);
    section.text(
        "The configuration with all defaults. `carpus train` with config.toml, next to this page, repeats the run.",
    );
    section.number("settings", serde_json::json!(leaves));
    let rows = leaves.iter().map(|(key, value)| vec![visible(key), visible(value)]).collect();
    section.table("Settings by key", &["key", "value"], rows);
    section
}
