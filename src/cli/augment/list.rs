use crate::cli::{Status, Ui};
use crate::config::operations::step_kinds;

/// Prints each kind with its description, then its keys with their defaults.
pub fn run(ui: &Ui) -> anyhow::Result<Status> {
    let kinds = step_kinds();
    for kind in &kinds {
        let keys = kind.keys.iter().map(|key| match &key.default {
            Some(value) => format!("{} = {value}", key.name),
            None => format!("{} (absent)", key.name),
        });
        ui.line(format_args!("{:<20} {}", kind.name, kind.about));
        ui.line(format_args!("{:<20} {}", "", keys.collect::<Vec<_>>().join(", ")));
    }
    ui.json(&kinds)?;
    Ok(Status::Done)
}
