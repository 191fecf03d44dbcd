use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;
use serde_json::json;

use super::{Cli, Status, Ui};
use crate::artefact::{kind, write_atomically};
use crate::wording::counted;

/// Print a completion script for a shell
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus completions bash \\
      > ~/.local/share/bash-completion/completions/carpus")]
pub struct CompletionsArgs {
    /// Shell to write the script for
    shell: clap_complete::Shell,
}

/// Prints the script.
pub fn run(args: CompletionsArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "carpus", &mut text);
    let script = String::from_utf8(text).context("the completion script is not UTF-8")?;
    if ui.wants_json() {
        ui.json(&json!({ "shell": args.shell.to_string(), "script": script }))?;
    } else {
        ui.output(script);
    }
    Ok(Status::Done)
}

/// Write the manual pages: carpus.1 and one for each command
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus man --out ~/.local/share/man/man1")]
pub struct ManArgs {
    /// Folder for the pages
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
}

/// Writes the pages.
pub fn man(args: ManArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut root = Cli::command();
    root.build();
    let mut pages = vec![("carpus".to_owned(), root.clone())];
    pages.extend(root.get_subcommands().map(|c| (format!("carpus-{}", c.get_name()), c.clone())));
    let path_of = |name: &str| args.out.join(format!("{name}.1"));
    pages.iter().try_for_each(|(name, _)| ui.outputs().file(&path_of(name), &kind::MANUAL))?;
    for (name, command) in &pages {
        let path = path_of(name);
        write_atomically(&path, |w| clap_mangen::Man::new(command.clone()).title(name).render(w))
            .with_context(|| path.display().to_string())?;
    }
    ui.line(format_args!("{} -> {}", counted(pages.len(), "page", "pages"), args.out.display()));
    ui.json(&json!({ "pages": pages.iter().map(|(name, _)| path_of(name)).collect::<Vec<_>>() }))?;
    Ok(Status::Done)
}
