//! The command line: one file a subcommand, each resolves its arguments, calls the library and prints
//! through [`Ui`]. Only this module and `main` print or choose exit codes.

mod args;
mod audit;
mod clean;
mod columns;
mod completions;
mod corrections;
mod data;
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
mod values;
mod vote;

use anyhow::Context;

pub use args::Cli;
pub use ui::{Ui, visible};

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

impl Status {
    /// The worse of two endings.
    fn worse(self, other: Status) -> Status {
        let rank = |status| match status {
            Status::Done => 0,
            Status::DoneWithProblems => 1,
            Status::Interrupted => 2,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Runs the parsed command.
pub fn run(cli: Cli) -> anyhow::Result<Status> {
    let ui = Ui::new(cli.json, cli.quiet, cli.force);
    let status = cli.command.run(&ui)?;
    ui.finish_output().context("standard output")?;
    Ok(status)
}
