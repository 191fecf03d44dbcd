use std::path::PathBuf;

use anyhow::ensure;
use serde::Serialize;

use super::{Status, Ui};
use crate::audit::CHECKS;
use crate::bones::Bone;
use crate::dataset::corrections::{ACTIONS, Action};

/// List what there is to choose from: bones, checks, and the actions or the decisions of corrections
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus list bones
  carpus list corrections                      # the actions, one example each
  carpus list corrections corrections.jsonl    # the decisions in a file

Models and losses have lists of their own: `carpus models list`, `carpus losses`.")]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    what: What,
    /// Corrections file whose decisions are listed
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

/// Prints the names, one a line, with a word about each.
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
            .map(|check| Item::new(check.name, format!("{}; {} at worst", check.about, check.ceiling)))
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

/// What can stand as `action` in a line of a corrections file.
fn actions() -> Vec<Item> {
    let name = |example| serde_json::from_str::<Action>(example).expect("a test reads every example").name();
    let item = |(about, example): (&str, &'static str)| Item {
        example: Some(example),
        ..Item::new(name(example), about.to_owned())
    };
    ACTIONS.into_iter().map(item).collect()
}
