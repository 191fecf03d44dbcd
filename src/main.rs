//! Parse arguments, start logging, dispatch, exit code.

#[cfg(all(feature = "torch", target_os = "linux", target_env = "gnu"))]
mod allocator;

use std::io::Write;
use std::process::ExitCode;

use carpus::cli::{self, Cli, Status};
use clap::Parser;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = match cli.verbose {
        0 => "carpus=warn",
        1 => "carpus=info",
        _ => "carpus=debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("CARPUS_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
    let json = cli.json;
    match cli::run(cli) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::DoneWithProblems) => ExitCode::from(3),
        Ok(Status::Interrupted) => ExitCode::from(130),
        Err(error) => {
            let text = said(&error);
            eprintln!("error: {}", cli::visible(&text));
            if json {
                // Whoever reads values gets one here too; a failure to write it is told by the exit code.
                let _ = writeln!(std::io::stdout(), "{}", serde_json::json!({ "error": text }));
            }
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes in one line. Errors of the library show their cause themselves, so a cause that
/// has been said already is passed over.
fn said(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        t if t.contains(&cause) => text,
        t => format!("{t}: {cause}"),
    })
}
