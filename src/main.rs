//! The command `carpus`. Commands that use libtorch run in `carpus-torch`, a program next to this one: loading libtorch takes
//! longer than most of the other commands.

use std::process::ExitCode;

#[cfg(feature = "torch")]
use carpus::cli::TorchCommand;
use carpus::cli::{self, Cli, Command};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    #[cfg(feature = "torch")]
    if let Command::Torch(_) = cli.command {
        return cli::launch(cli, |command, ui| match (with_libtorch(), command) {
            (Err(error), Command::Torch(TorchCommand::Doctor(_))) => cli::without_libtorch(&error, ui),
            (status, _) => status,
        });
    }
    cli::launch(cli, |command, ui| match command {
        Command::Plain(command) => command.run(ui),
        #[cfg(feature = "torch")]
        Command::Torch(_) => unreachable!("it ran in the other program"),
    })
}

/// Becomes `carpus-torch` with the same arguments; where processes cannot be replaced, runs it and ends with its exit code.
#[cfg(feature = "torch")]
fn with_libtorch() -> anyhow::Result<cli::Status> {
    use anyhow::Context;

    let own = std::env::current_exe().context("where this program lies")?;
    let path = own.with_file_name(format!("carpus-torch{}", std::env::consts::EXE_SUFFIX));
    let mut program = std::process::Command::new(&path);
    program.args(std::env::args_os().skip(1));
    #[cfg(unix)]
    let error = {
        use std::os::unix::process::CommandExt;
        program.arg0("carpus").exec()
    };
    #[cfg(not(unix))]
    let error = match program.status() {
        Ok(status) => std::process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    };
    Err(error).with_context(|| {
        format!(
            "{}: this command uses libtorch and runs in that program; `make build` or `cargo install --path .` puts both into \
             one folder, where they must stay",
            path.display()
        )
    })
}
