//! The program that `carpus` starts for commands that use libtorch. It can run all commands.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "../allocator.rs"]
mod allocator;

use std::process::ExitCode;

use carpus::cli::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    cli::launch(Cli::parse(), |command, ui| command.run(ui))
}
