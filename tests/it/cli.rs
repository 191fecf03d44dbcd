//! The binary as a person meets it: help, errors, exit codes.

use std::path::Path;
use std::process::{Command, Output};

use carpus::cli::Cli;
use clap::{CommandFactory, Parser};

fn carpus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(arguments)
        .env("COLUMNS", "100")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .output()
        .expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Names of the subcommands, as the help lists them.
fn commands() -> Vec<String> {
    let help = text(&carpus(&["--help"]).stdout);
    let listed = help.split("Commands:").nth(1).expect("a list of commands").split("Options:").next().unwrap();
    listed
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| *c != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_command_has_a_help_with_an_example() {
    let commands = commands();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let out = carpus(&[&command, "--help"]);
        assert!(out.status.success());
        let help = text(&out.stdout);
        let has_example = help.contains("Example:") || help.contains("Commands:");
        assert!(has_example, "`carpus {command} --help` shows no example:\n{help}");
    }
}

/// Command lines that a text shows: those that begin with `carpus`, continued over lines that end in a backslash, several
/// in a line parted by semicolons.
fn shown(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().flat_map(|line| line.split(" ; ")).map(str::trim).filter(|l| l.starts_with("carpus "));
    // What follows is the shell's; `#` begins a comment for the splitter too.
    let lines = lines.map(|line| line.split(" > ").next().unwrap_or(line));
    lines.map(|line| shlex::split(line).unwrap_or_else(|| panic!("no command line: {line}"))).collect()
}

/// The help texts of a command and all under it.
fn helps(command: &clap::Command) -> Vec<String> {
    let own = [command.get_after_help(), command.get_after_long_help()];
    let own = own.into_iter().flatten().map(ToString::to_string);
    own.chain(command.get_subcommands().flat_map(helps)).collect()
}

/// What help and README tell to type is what the command line takes.
#[test]
fn every_example_is_a_command() {
    let read = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut texts = helps(&Cli::command());
    texts.push(read("README.md"));
    texts.push(read("configs/report/README.md"));
    let with_torch = cfg!(feature = "torch");
    let known = commands();
    let mut tried = 0;
    for words in texts.iter().flat_map(|text| shown(text)) {
        // Without libtorch some commands are not there.
        let is_command = words.get(1).is_some_and(|word| known.contains(word) || word.starts_with('-'));
        if !is_command && !with_torch {
            continue;
        }
        tried += 1;
        let outcome = Cli::try_parse_from(&words);
        let error = outcome.err().filter(|e| e.use_stderr());
        assert!(error.is_none(), "{}\n{}", words.join(" "), error.unwrap());
    }
    assert!(tried > if with_torch { 40 } else { 20 }, "{tried}");
}

#[test]
fn scan_help_stays_as_it_is() {
    insta::assert_snapshot!(text(&carpus(&["scan", "--help"]).stdout));
}

#[test]
fn errors_name_the_place_and_the_way_out() {
    let out = carpus(&["scan", "no/such/folder", "--out", "/nowhere"]);
    assert_eq!(out.status.code(), Some(1));
    insta::assert_snapshot!("scan_of_no_folder", text(&out.stderr));
    let out = carpus(&["run", "--config", "no/such.toml"]);
    assert_eq!(out.status.code(), Some(1));
    insta::assert_snapshot!("run_of_no_config", text(&out.stderr));
    assert_eq!(carpus(&["scan"]).status.code(), Some(2), "wrong usage is 2");
}

#[test]
fn doctor_speaks_json() {
    let out = carpus(&["doctor", "--json"]);
    let parts: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON value");
    let names: Vec<_> = parts.as_array().unwrap().iter().map(|p| p["part"].as_str().unwrap()).collect();
    assert!(names.contains(&"libtorch") && names.contains(&"threads"), "{names:?}");
    assert!(parts.as_array().unwrap().iter().all(|p| p["health"] != "broken"), "{parts}");
}

#[test]
fn completions_and_manual_cover_every_command() {
    let bash = text(&carpus(&["completions", "bash"]).stdout);
    let folder = tempfile::tempdir().unwrap();
    assert!(carpus(&["man", "--out", folder.path().to_str().unwrap()]).status.success());
    for command in commands() {
        assert!(bash.contains(&command), "{command} is not completed");
        assert!(folder.path().join(format!("carpus-{command}.1")).exists(), "{command} has no page");
    }
}
