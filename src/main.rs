//! The command `carpus`. Commands that use libtorch run in `carpus-torch`, a program in the same folder, because
//! loading libtorch takes longer than most other commands.

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
        Command::Torch(_) => unreachable!("it runs in carpus-torch"),
    })
}

/// Replaces this process by `carpus-torch` with the same arguments. On systems that cannot replace a process, runs it
/// and ends with its exit code.
#[cfg(feature = "torch")]
fn with_libtorch() -> anyhow::Result<cli::Status> {
    use anyhow::Context;

    let own = std::env::current_exe().context("cannot find the path of this program")?;
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
            "cannot start {}, which runs the commands that use libtorch; `make build` or `cargo install --path .` puts both \
             programs into one folder, where they must stay",
            path.display()
        )
    })
}
