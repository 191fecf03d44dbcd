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
    // In the order of their names, whatever they are linked with.
    next_display_order = None,
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

/// The subcommands, by what the program that runs them must be linked with.
#[derive(Subcommand, Debug)]
#[allow(missing_docs)]
pub enum Command {
    #[command(flatten)]
    Plain(PlainCommand),
    #[cfg(feature = "torch")]
    #[command(flatten)]
    Torch(TorchCommand),
}

/// Declares commands: a variant, its arguments and the function that runs it.
macro_rules! commands {
    ($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident($arguments:ty) => $run:path,)* }) => {
        $(#[$about])*
        #[derive(Subcommand, Debug)]
        #[allow(missing_docs)]
        pub enum $name {
            $($(#[$attribute])* $variant($arguments),)*
        }

        impl $name {
            /// Runs the command.
            pub fn run(self, ui: &Ui) -> anyhow::Result<Status> {
                match self {
                    $($(#[$attribute])* $name::$variant(arguments) => $run(arguments, ui),)*
                }
            }
        }
    };
}

commands! {
    /// Commands that need no libtorch; their help is in the file of their name.
    PlainCommand {
        Audit(super::audit::AuditArgs) => super::audit::run,
        Clean(super::clean::CleanArgs) => super::clean::run,
        Completions(super::completions::CompletionsArgs) => super::completions::run,
        Corrections(super::corrections::CorrectionsArgs) => super::corrections::run,
        #[cfg(not(feature = "torch"))]
        Doctor(super::doctor::DoctorArgs) => super::doctor::run,
        Draw(super::draw::DrawArgs) => super::draw::run,
        Eda(super::eda::EdaArgs) => super::eda::run,
        Evaluate(super::evaluate::EvaluateArgs) => super::evaluate::run,
        List(super::list::ListArgs) => super::list::run,
        Man(super::completions::ManArgs) => super::completions::man,
        Phantom(super::phantom::PhantomArgs) => super::phantom::run,
        Query(super::query::QueryArgs) => super::query::run,
        Restore(super::restore::RestoreArgs) => super::restore::run,
        #[cfg(not(feature = "torch"))]
        Run(super::run::RunArgs) => super::run::run,
        Runs(super::runs::RunsArgs) => super::runs::run,
        Scan(super::scan::ScanArgs) => super::scan::run,
        Split(super::split::SplitArgs) => super::split::run,
        Vote(super::vote::VoteArgs) => super::vote::run,
    }
}

#[cfg(feature = "torch")]
commands! {
    /// Commands that use libtorch. `run` may train, and `doctor` reports which libtorch there is.
    TorchCommand {
        Doctor(super::doctor::DoctorArgs) => super::doctor::run,
        Losses(super::losses::LossesArgs) => super::losses::run,
        Models(super::models::ModelsArgs) => super::models::run,
        Predict(super::predict::PredictArgs) => super::predict::run,
        Run(super::run::RunArgs) => super::run::run,
        Schedule(super::schedule::ScheduleArgs) => super::schedule::run,
        Train(super::train::TrainArgs) => super::train::run,
    }
}

impl Command {
    /// Runs the command.
    pub fn run(self, ui: &Ui) -> anyhow::Result<Status> {
        match self {
            Command::Plain(command) => command.run(ui),
            #[cfg(feature = "torch")]
            Command::Torch(command) => command.run(ui),
        }
    }
}
