mod apply;
mod list;
mod preview;

use clap::Subcommand;

use super::{Status, Ui};

/// Apply augmentation steps to an image, preview a configuration's steps, or list all kinds
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus augment list
  carpus augment apply --op '{ kind = \"clahe\" }' hand.png --out out.png
  carpus augment preview configs/train/demo.toml hand.png --out sheet.png")]
pub struct AugmentArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Apply(apply::ApplyArgs),
    /// List all kinds of steps with their keys and defaults
    #[command(after_help = "Example:\n  carpus augment list")]
    List,
    Preview(preview::PreviewArgs),
}

/// Runs one of the subcommands.
pub fn run(args: AugmentArgs, ui: &Ui) -> anyhow::Result<Status> {
    match args.what {
        What::Apply(args) => apply::run(&args, ui),
        What::List => list::run(ui),
        What::Preview(args) => preview::run(&args, ui),
    }
}
