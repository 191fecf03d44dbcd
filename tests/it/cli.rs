//! The binary as a person meets it: help, errors, exit codes.

use std::path::Path;
use std::process::{Command, Output};

use carpus::cli::Cli;
use clap::{CommandFactory, Parser};

fn command_of(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
    command.args(arguments).env("COLUMNS", "100").current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
}

fn carpus(arguments: &[&str]) -> Output {
    command_of(arguments).output().expect("the binary starts")
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

/// The commands under `command` and itself, each with the words that name it.
fn with_words(command: &clap::Command, words: &[String]) -> Vec<(Vec<String>, clap::Command)> {
    let under = command.get_subcommands().filter(|c| c.get_name() != "help");
    let under = under.flat_map(|c| with_words(c, &[words, &[c.get_name().to_owned()]].concat()));
    std::iter::once((words.to_vec(), command.clone())).chain(under).collect()
}

/// Every command and subcommand shows how it is called, and the lines to copy are whole in a terminal of 80 columns.
#[test]
fn every_help_has_an_example_that_can_be_pasted() {
    let all = with_words(&Cli::command(), &[]);
    assert!(all.len() >= 20, "{all:?}");
    for (words, command) in all {
        let name = words.join(" ");
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let own = [&["carpus".to_owned()], &words[..]].concat();
        assert!(shown(&after).iter().any(|line| line.starts_with(&own)), "`carpus {name} --help` shows no example");
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let out = command_of(&arguments).env("COLUMNS", "80").output().unwrap();
        let help = text(&out.stdout);
        let printed: Vec<&str> = help.lines().collect();
        for line in after.lines().filter(|line| line.starts_with("  ")) {
            assert!(printed.contains(&line), "`carpus {name} --help` breaks the line\n{line}");
        }
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

/// The code blocks of a page.
fn fenced(page: &str) -> String {
    page.split("```").skip(1).step_by(2).collect()
}

/// The help texts of a command and all under it.
fn helps(command: &clap::Command) -> Vec<String> {
    let own = [command.get_after_help(), command.get_after_long_help()];
    let own = own.into_iter().flatten().map(ToString::to_string);
    own.chain(command.get_subcommands().flat_map(helps)).collect()
}

/// The commands that help and README show are accepted by the command line.
#[test]
fn every_example_is_a_command() {
    let read = |file: &str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let mut texts = helps(&Cli::command());
    let pages = [
        "README.md",
        "configs/report/README.md",
        "docs/corrections.md",
        "docs/review.md",
        "docs/training.md",
        "docs/models.md",
    ];
    texts.extend(pages.map(|page| fenced(&read(page))));
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

/// A changed help text is a changed snapshot, to be read before it is accepted.
#[cfg(feature = "torch")]
#[test]
fn helps_are_as_in_their_snapshots() {
    for (words, _) in with_words(&Cli::command(), &[]) {
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let name = ["help".to_owned()].iter().chain(&words).cloned().collect::<Vec<_>>().join("_");
        insta::assert_snapshot!(name, text(&carpus(&arguments).stdout));
    }
}

/// Loading libtorch takes a third of a second and 100 MB.
#[cfg(all(feature = "torch", target_os = "linux", target_env = "gnu"))]
#[test]
fn only_commands_that_use_libtorch_load_it() {
    let loaded = |program: &str| {
        // The loader of glibc lists what it would load and ends.
        let out = Command::new(program).arg("--version").env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
        let listed = text(&out.stdout);
        assert!(listed.contains("libc.so"), "{listed}");
        listed.contains("libtorch")
    };
    assert!(!loaded(env!("CARGO_BIN_EXE_carpus")));
    assert!(loaded(env!("CARGO_BIN_EXE_carpus-torch")));
}

#[cfg(feature = "torch")]
#[test]
fn without_its_second_program_a_command_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("carpus");
    std::fs::copy(env!("CARGO_BIN_EXE_carpus"), &alone).unwrap();
    let out = Command::new(&alone).args(["--json", "losses", "list"]).output().unwrap();
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{error}");
    assert!(error.contains("carpus-torch, which runs the commands that use libtorch; `make build`"), "{error}");
    assert!(serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()["error"].is_string());
    // Which is what `doctor` is for.
    let out = Command::new(&alone).args(["--json", "doctor"]).output().unwrap();
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    let parts: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON value");
    let broken = parts.as_array().unwrap().iter().find(|p| p["health"] == "broken").unwrap();
    assert!(broken["part"] == "carpus-torch" && broken["mend"] == "make build", "{broken}"); // word-list: allow
    assert!(broken["found"].as_str().unwrap().contains("No such file"), "{broken}");
    assert!(Command::new(&alone).args(["list", "bones"]).output().unwrap().status.success());
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

#[test]
fn completions_and_manual_speak_json() {
    let value = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&carpus(arguments).stdout).expect("one JSON value")
    };
    let completions = value(&["completions", "zsh", "--json"]);
    assert_eq!(completions["shell"], "zsh");
    assert_eq!(completions["script"].as_str(), Some(&*text(&carpus(&["completions", "zsh"]).stdout)));
    let folder = tempfile::tempdir().unwrap();
    let manual = value(&["man", "--out", folder.path().to_str().unwrap(), "--json"]);
    let pages = manual["pages"].as_array().unwrap();
    // The program's own page and that of `help` as well.
    assert_eq!(pages.len(), commands().len() + 2);
    assert!(pages.iter().all(|page| Path::new(page.as_str().unwrap()).is_file()), "{manual}");
}

/// A map that names what is not there leads nowhere. Names of files and folders stand in back quotes, those of the source
/// without `src/`; a word in capitals stands for a name that is made up.
#[test]
fn every_path_that_the_architecture_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [text, adding] =
        ["ARCHITECTURE.md", "docs/adding.md"].map(|file| std::fs::read_to_string(root.join(file)).unwrap());
    let is_path = |word: &&str| {
        let has_ending = [".rs", ".cpp", ".py", ".toml", ".md"].iter().any(|ending| word.ends_with(ending));
        (word.contains('/') || has_ending) && !word.contains([' ', '(', '*', '=', '<', '{'])
    };
    let is_made_up = |word: &str| word.split(['/', '.']).any(|part| part.len() > 1 && part == part.to_uppercase());
    let quoted = |text: &'_ str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let quoted = [quoted(&text), quoted(&adding)].concat();
    let paths: Vec<&str> = quoted.iter().map(String::as_str).filter(is_path).collect();
    assert!(paths.len() > 30, "{paths:?}");
    let missing: Vec<&&str> = paths
        .iter()
        .filter(|path| !is_made_up(path))
        .filter(|path| !root.join(path).exists() && !root.join("src").join(path).exists())
        .collect();
    assert_eq!(missing, Vec::<&&str>::new());
    // The map has every module.
    let modules = std::fs::read_to_string(root.join("src/lib.rs")).unwrap();
    let modules = modules.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    for module in modules.map(|module| module.trim_end_matches(';')) {
        let row = |line: &str| {
            line.starts_with('|') && line.split('|').nth(1).is_some_and(|c| c.contains(&format!("`{module}`")))
        };
        assert!(text.lines().any(row), "the map has no `{module}`");
    }
}
