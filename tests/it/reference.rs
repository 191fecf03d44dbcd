//! docs/commands.md and docs/configuration.md are what the code says. `make reference` writes them.

use std::path::Path;

use carpus::cli::Cli;
use carpus::train::TrainConfig;
use clap::CommandFactory;

/// Columns of a help text.
const WIDTH: usize = 100;

/// The help of `command` and of every command under it, each under a heading with its name.
fn helps(command: &clap::Command, words: &str, page: &mut String) {
    let help = command.clone().bin_name(words).term_width(WIDTH).render_long_help().to_string();
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    *page += &format!("\n## {words}\n\n```text\n{}\n```\n", lines.join("\n"));
    for sub in command.get_subcommands().filter(|c| c.get_name() != "help") {
        helps(sub, &format!("{words} {}", sub.get_name()), page);
    }
}

fn commands() -> String {
    let mut page =
        "# Commands\n\nEvery command's `--help`, written by `make reference`. Options of all commands are listed \
                    under `carpus` only.\n"
            .to_owned();
    helps(&Cli::command(), "carpus", &mut page);
    page
}

fn configuration() -> String {
    format!(
        "# Configuration keys\n\nEvery key of a training configuration with its default, written by `make reference`. \
         `carpus train --config FILE --print-config` prints the same for your file. A line that begins with `#` directly \
         followed by a key is optional and unset.\n\n```toml\n{}```\n\n\
         The file of `carpus run` has one table per stage, with the options of that stage's command as keys; see \
         [commands.md](commands.md) and the example `configs/demo.toml`.\n",
        TrainConfig::default().to_commented_toml()
    )
}

#[test]
fn the_reference_pages_are_up_to_date() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, text) in [("commands.md", commands()), ("configuration.md", configuration())] {
        let path = docs.join(name);
        if std::env::var("CARPUS_REFERENCE").is_ok_and(|v| v == "write") {
            std::fs::write(&path, &text).unwrap();
        }
        let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(on_disk == text, "docs/{name} differs from the code: run `make reference`");
    }
}
