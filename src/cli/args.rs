use clap::{Parser, Subcommand};

use super::{Status, Ui, eda};

/// Bone segmentation on hand radiographs: look at the data, mend it, train on it.
#[derive(Parser, Debug)]
#[command(name = "carpus", version, max_term_width = 100)]
pub struct Cli {
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Log more: -v steps, -vv details
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// One variant a subcommand; its arguments and its doing are in the file of its name.
#[derive(Subcommand, Debug)]
pub enum Command {
    Eda(eda::Args),
}

impl Command {
    /// Does it.
    pub fn run(self, ui: &Ui) -> anyhow::Result<Status> {
        match self {
            Command::Eda(args) => eda::run(args, ui),
        }
    }
}
