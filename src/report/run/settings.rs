use super::RunStudy;
use crate::report::Section;
use crate::report::wording::visible;
use crate::runs::flatten;

/// The configuration as run.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("config", "Configuration");
    let leaves = flatten(&study.run.config);
    section.text("As run, defaults written out; config.toml beside this page runs it again.");
    section.number("settings", serde_json::json!(leaves));
    let rows = leaves.iter().map(|(key, value)| vec![visible(key), visible(value)]).collect();
    section.table("Settings by their keys", &["key", "value"], rows);
    section
}
