//! The command line: one file a subcommand, each resolves its arguments, calls the library and prints
//! through [`Ui`]. Only this module and `main` print or choose exit codes.

mod args;
mod audit;
mod clean;
mod completions;
mod doctor;
mod draw;
mod eda;
mod evaluate;
mod list;
#[cfg(feature = "torch")]
mod losses;
#[cfg(feature = "torch")]
mod models;
mod phantom;
#[cfg(feature = "torch")]
mod predict;
mod restore;
mod run;
mod runs;
mod scan;
#[cfg(feature = "torch")]
mod schedule;
mod split;
#[cfg(feature = "torch")]
mod train;
mod ui;
mod vote;

pub use args::Cli;
pub use ui::Ui;

/// How a command ended when it did end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All well: exit code 0.
    Done,
    /// The work is done and some inputs could not be used (they are listed): exit code 3.
    DoneWithProblems,
    /// It was asked to stop and saved where it stood: exit code 130.
    Interrupted,
}

/// Runs the parsed command.
pub fn run(cli: Cli) -> anyhow::Result<Status> {
    let ui = Ui::new(cli.json, cli.quiet, cli.verbose);
    cli.command.run(&ui)
}
