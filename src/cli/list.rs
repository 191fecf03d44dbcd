use serde::Serialize;

use super::{Status, Ui};
use crate::audit::CheckKind;
use crate::bones::Bone;

/// List what there is to choose from: bones and checks (models and losses have lists of their own)
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus list bones")]
pub struct Args {
    /// What to list
    #[arg(value_enum)]
    what: What,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Bones,
    Checks,
}

#[derive(Serialize)]
struct Item {
    name: String,
    about: String,
}

/// Prints the names, one a line, with a word about each.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    let items: Vec<Item> = match args.what {
        What::Bones => Bone::all()
            .map(|b| Item { name: b.name().into(), about: format!("channel {}, {:?}", b.index(), b.group()) })
            .collect(),
        What::Checks => CheckKind::ALL
            .iter()
            .map(|k| Item { name: k.name().into(), about: format!("{}; {} at worst", k.about(), k.ceiling().name()) })
            .collect(),
    };
    for item in &items {
        ui.line(format_args!("{:<24} {}", item.name, item.about));
    }
    ui.json(&items)?;
    Ok(Status::Done)
}
