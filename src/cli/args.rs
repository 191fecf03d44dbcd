use clap::{Parser, Subcommand};

use super::{Status, Ui, UiOptions};

/// Heading of the options that all commands have.
const GLOBAL: &str = "Options of all commands";

/// Explore, clean and train on hand radiographs
#[derive(Parser, Debug)]
#[command(
    name = "carpus",
    version,
    max_term_width = 100,
    // Alphabetical order, whichever program a command runs in.
    next_display_order = None,
    after_help = "\
Example:
  carpus phantom --out data       # synthetic hands to try it on
  carpus scan data --out tables
  carpus scan --help              # every command has its own examples"
)]
pub struct Cli {
    /// Print one JSON value instead of text
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub json: bool,
    /// Print only warnings, errors and results
    #[arg(short, long, global = true, help_heading = GLOBAL)]
    pub quiet: bool,
    /// Allow overwriting inputs, and files and folders that carpus did not write, and writing into the
    /// original data
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub force: bool,
    /// Log more: -v for steps, -vv for details
    #[arg(short, long, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// The command
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Output with the global options.
    pub fn ui(&self) -> Ui {
        Ui::new(UiOptions { json: self.json, quiet: self.quiet, force: self.force })
    }
}

/// The subcommands, grouped by the program that runs them: with or without libtorch.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// A command that does not use libtorch.
    #[command(flatten)]
    Plain(PlainCommand),
    /// A command that uses libtorch.
    #[cfg(feature = "torch")]
    #[command(flatten)]
    Torch(TorchCommand),
}

/// Declares commands: the variant, its arguments and the function that runs it.
macro_rules! commands {
    ($(#[$about:meta])* $name:ident { $($(#[$attribute:meta])* $variant:ident($arguments:ty) => $run:path,)* }) => {
        $(#[$about])*
        #[derive(Subcommand, Debug)]
        pub enum $name {
            $(
                // With `concat!`, because clap reads only literal docs, and would print them instead of the help of the
                // arguments' type.
                #[doc = concat!("The arguments of `", stringify!($run), "`.")]
                $(#[$attribute])*
                $variant($arguments),
            )*
        }

        impl $name {
            /// Runs the command.
            ///
            /// # Errors
            /// The errors of the command.
            pub fn run(self, ui: &Ui) -> anyhow::Result<Status> {
                match self {
                    $($(#[$attribute])* $name::$variant(arguments) => $run(arguments, ui),)*
                }
            }
        }
    };
}

commands! {
    /// Commands that do not use libtorch. The help of each is in the file of its name.
    PlainCommand {
        Audit(super::audit::AuditArgs) => super::audit::run,
        CheckSubmission(super::check_submission::CheckSubmissionArgs) => super::check_submission::run,
        Clean(super::clean::CleanArgs) => super::clean::run,
        Compare(super::compare::CompareArgs) => super::compare::run,
        Completions(super::completions::CompletionsArgs) => super::completions::run,
        Convert(super::convert::ConvertArgs) => super::convert::run,
        Corrections(super::corrections::CorrectionsArgs) => super::corrections::run,
        #[cfg(not(feature = "torch"))]
        Doctor(super::doctor::DoctorArgs) => super::doctor::run,
        Draw(super::draw::DrawArgs) => super::draw::run,
        Eda(super::eda::EdaArgs) => super::eda::run,
        Ensemble(super::ensemble::EnsembleArgs) => super::ensemble::run,
        Evaluate(super::evaluate::EvaluateArgs) => super::evaluate::run,
        Join(super::join::JoinArgs) => super::join::run,
        List(super::list::ListArgs) => super::list::run,
        Man(super::completions::ManArgs) => super::completions::man,
        Phantom(super::phantom::PhantomArgs) => super::phantom::run,
        Query(super::query::QueryArgs) => super::query::run,
        Restore(super::restore::RestoreArgs) => super::restore::run,
        Review(super::review::ReviewArgs) => super::review::run,
        #[cfg(not(feature = "torch"))]
        Run(super::run::RunArgs) => super::run::run,
        Runs(super::runs::RunsArgs) => super::runs::run,
        Scan(super::scan::ScanArgs) => super::scan::run,
        Split(super::split::SplitArgs) => super::split::run,
        #[cfg(not(feature = "torch"))]
        Start(super::start::StartArgs) => super::start::run,
        Thresholds(super::thresholds::ThresholdsArgs) => super::thresholds::run,
        Vote(super::vote::VoteArgs) => super::vote::run,
    }
}

#[cfg(feature = "torch")]
commands! {
    /// Commands that use libtorch. `run` can train, `start` runs its stages as `run` does, and `doctor` reports which
    /// libtorch is used.
    TorchCommand {
        Augment(super::augment::AugmentArgs) => super::augment::run,
        Doctor(super::doctor::DoctorArgs) => super::doctor::run,
        Losses(super::losses::LossesArgs) => super::losses::run,
        Models(super::models::ModelsArgs) => super::models::run,
        Predict(super::predict::PredictArgs) => super::predict::run,
        Run(super::run::RunArgs) => super::run::run,
        Schedule(super::schedule::ScheduleArgs) => super::schedule::run,
        Start(super::start::StartArgs) => super::start::run,
        Train(super::train::TrainArgs) => super::train::run,
    }
}

impl Command {
    /// Runs the command.
    ///
    /// # Errors
    /// The errors of the command.
    pub fn run(self, ui: &Ui) -> anyhow::Result<Status> {
        match self {
            Command::Plain(command) => command.run(ui),
            #[cfg(feature = "torch")]
            Command::Torch(command) => command.run(ui),
        }
    }
}
