//! The commands of `carpus` that use libtorch; `carpus` starts it. It knows all commands.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[path = "../allocator.rs"]
mod allocator;

use std::process::ExitCode;

use carpus::cli::{self, Cli};
use clap::Parser;

fn main() -> ExitCode {
    cli::launch(Cli::parse(), |command, ui| command.run(ui))
}
