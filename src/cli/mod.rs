//! The command line: one file per subcommand, which resolves its arguments, calls the library and prints
//! through [`Ui`]. Only this module and `main` print or choose exit codes.

mod args;
mod audit;
#[cfg(feature = "torch")]
mod augment;
mod check_submission;
mod clean;
mod columns;
mod compare;
mod completions;
mod convert;
mod corrections;
mod data;
mod doctor;
mod draw;
mod eda;
mod ensemble;
mod evaluate;
mod join;
mod list;
#[cfg(feature = "torch")]
mod losses;
#[cfg(feature = "torch")]
mod lr_finder;
mod measure;
#[cfg(feature = "torch")]
mod models;
mod phantom;
#[cfg(feature = "torch")]
mod predict;
mod query;
mod restore;
mod review;
mod run;
mod runs;
mod scan;
#[cfg(feature = "torch")]
mod schedule;
mod split;
mod start;
mod thresholds;
#[cfg(feature = "torch")]
mod train;
mod ui;
mod values;
mod vote;

#[cfg(feature = "torch")]
pub use doctor::without_libtorch;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;

#[cfg(feature = "torch")]
pub use args::TorchCommand;
pub use args::{Cli, Command};
pub use ui::{Ui, UiOptions, visible};

/// How a command ended, if it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Success: exit code 0.
    Done,
    /// The work is done, but some inputs could not be used (they are listed): exit code 3.
    DoneWithProblems,
    /// It was interrupted and saved its progress: exit code 130.
    Interrupted,
}

impl Status {
    /// The worse of two statuses.
    fn worse(self, other: Status) -> Status {
        let rank = |status| match status {
            Status::Done => 0,
            Status::DoneWithProblems => 1,
            Status::Interrupted => 2,
        };
        if rank(other) > rank(self) { other } else { self }
    }
}

/// Starts logging, runs the parsed command with `run`, prints its error and returns the exit code: everything that a
/// program does after it has parsed its arguments.
pub fn launch(cli: Cli, run: impl FnOnce(Command, &Ui) -> anyhow::Result<Status>) -> ExitCode {
    let level = match cli.verbose {
        0 => "carpus=warn",
        1 => "carpus=info",
        _ => "carpus=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CARPUS_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let ui = cli.ui();
    let status = run(cli.command, &ui).and_then(|status| {
        ui.finish_output().context("standard output")?;
        Ok(status.worse(ui.status()))
    });
    match status {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::DoneWithProblems) => ExitCode::from(3),
        Ok(Status::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let text = message(&error);
            eprintln!("error: {}", visible(&text));
            if cli.json {
                // A program that reads the JSON gets a value here too. If it cannot be written, the exit code still
                // reports the failure.
                let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "error": text }));
            }
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes on one line. Errors of the library include their cause, so a cause that the text already
/// contains is skipped.
fn message(error: &anyhow::Error) -> String {
    const MISSING: &str = "No such file or directory (os error 2)";
    let text = error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        t if t.contains(&cause) || (cause == MISSING && t.contains(": no such ")) => text,
        t => format!("{t}: {cause}"),
    });
    text.replace(MISSING, "no such file or folder")
}
