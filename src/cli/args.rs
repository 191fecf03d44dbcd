use clap::{Parser, Subcommand};

use super::{Status, Ui};

/// Heading of the options that every command has.
const GLOBAL: &str = "Options of all commands";

/// Bone segmentation on hand radiographs: look at the data, mend it, train on it.
#[derive(Parser, Debug)]
#[command(
    name = "carpus",
    version,
    max_term_width = 100,
    after_help = "\
Example:
  carpus phantom --out data       # drawn hands, to try the rest on
  carpus scan data --out tables
  carpus scan --help              # every command has its own examples"
)]
pub struct Cli {
    /// Print one JSON value instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Print nothing but errors and what was asked for
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Write over inputs, into the original data, and over files and folders of another kind
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub force: bool,
    /// Log more: -v steps, -vv details
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// One variant a subcommand; its arguments, its help and its doing are in the file of its name.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum Command {
    Audit(super::audit::Args),
    Clean(super::clean::Args),
    Completions(super::completions::Args),
    Corrections(super::corrections::Args),
    Doctor(super::doctor::Args),
    Draw(super::draw::Args),
    Eda(super::eda::Args),
    Evaluate(super::evaluate::Args),
    List(super::list::Args),
    #[cfg(feature = "torch")]
    Losses(super::losses::Args),
    Man(super::completions::ManArgs),
    #[cfg(feature = "torch")]
    Models(super::models::Args),
    Phantom(super::phantom::Args),
    #[cfg(feature = "torch")]
    Predict(super::predict::Args),
    Restore(super::restore::Args),
    Run(super::run::Args),
    Runs(super::runs::Args),
    Scan(super::scan::Args),
    #[cfg(feature = "torch")]
    Schedule(super::schedule::Args),
    Split(super::split::Args),
    #[cfg(feature = "torch")]
    Train(super::train::Args),
    Vote(super::vote::Args),
}

impl Command {
    /// Does it.
    pub fn run(self, ui: &Ui) -> anyhow::Result<Status> {
        match self {
            Command::Audit(args) => super::audit::run(args, ui),
            Command::Clean(args) => super::clean::run(args, ui),
            Command::Completions(args) => super::completions::run(args, ui),
            Command::Corrections(args) => super::corrections::run(args, ui),
            Command::Doctor(args) => super::doctor::run(args, ui),
            Command::Draw(args) => super::draw::run(args, ui),
            Command::Eda(args) => super::eda::run(args, ui),
            Command::Evaluate(args) => super::evaluate::run(args, ui),
            Command::List(args) => super::list::run(args, ui),
            #[cfg(feature = "torch")]
            Command::Losses(args) => super::losses::run(args, ui),
            Command::Man(args) => super::completions::man(args, ui),
            #[cfg(feature = "torch")]
            Command::Models(args) => super::models::run(args, ui),
            Command::Phantom(args) => super::phantom::run(args, ui),
            #[cfg(feature = "torch")]
            Command::Predict(args) => super::predict::run(args, ui),
            Command::Restore(args) => super::restore::run(args, ui),
            Command::Run(args) => super::run::run(args, ui),
            Command::Runs(args) => super::runs::run(args, ui),
            Command::Scan(args) => super::scan::run(args, ui),
            #[cfg(feature = "torch")]
            Command::Schedule(args) => super::schedule::run(args, ui),
            Command::Split(args) => super::split::run(args, ui),
            #[cfg(feature = "torch")]
            Command::Train(args) => super::train::run(args, ui),
            Command::Vote(args) => super::vote::run(args, ui),
        }
    }
}
