use std::path::PathBuf;

use anyhow::ensure;
use serde::Serialize;

use super::{Status, Ui};
use crate::audit::CHECKS;
use crate::bones::Bone;
use crate::dataset::corrections::{ACTIONS, Action};

/// List the names of bones, checks and correction actions, or the decisions in a file
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus list bones
  carpus list corrections                      # actions with examples
  carpus list corrections corrections.jsonl    # decisions in a file

For models, losses and augmentation steps, see `carpus models list`, `carpus losses list` and \
`carpus augment list`.")]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Corrections file whose decisions to list
    file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Bones,
    Checks,
    Corrections,
}

#[derive(Serialize)]
struct Item {
    name: String,
    about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<&'static str>,
}

impl Item {
    fn new(name: impl Into<String>, about: String) -> Item {
        Item { name: name.into(), about, example: None }
    }
}

/// Prints the names, one per line, with a short description.
pub fn run(args: ListArgs, ui: &Ui) -> anyhow::Result<Status> {
    if let (What::Corrections, Some(file)) = (args.what, &args.file) {
        return super::corrections::list(file, ui);
    }
    ensure!(args.file.is_none(), "only `carpus list corrections` takes a file");
    let items: Vec<Item> = match args.what {
        What::Bones => {
            Bone::all().map(|b| Item::new(b.name(), format!("channel {}, {}", b.index(), b.group()))).collect()
        }
        What::Checks => CHECKS
            .iter()
            .map(|check| Item::new(check.name, format!("{} (highest severity: {})", check.about, check.ceiling)))
            .collect(),
        What::Corrections => actions(),
    };
    for item in &items {
        ui.line(format_args!("{:<24} {}", item.name, item.about));
        if let Some(example) = item.example {
            ui.line(format_args!("{:<24} {example}", ""));
        }
    }
    ui.json(&items)?;
    Ok(Status::Done)
}

/// Values of `action` in a line of a corrections file.
fn actions() -> Vec<Item> {
    let name = |example| serde_json::from_str::<Action>(example).expect("a test reads every example").name();
    let item = |(about, example): (&str, &'static str)| Item {
        example: Some(example),
        ..Item::new(name(example), about.to_owned())
    };
    ACTIONS.into_iter().map(item).collect()
}
