//! Plain English: words that a reader has to decode are neither in the sources nor in what the commands print, whose
//! sentences are put together from pieces. CONTRIBUTING.md has the list with what to write instead.

use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::python::root;

/// The left column of the word list in CONTRIBUTING.md, as regular expressions.
fn words() -> Vec<Regex> {
    let text = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let list = text.split("<!-- word list -->").nth(1).expect("a word list between two marks");
    // A bar within a cell of the table is escaped.
    let rows = list.lines().filter(|line| line.starts_with("| `")).map(|row| row.replace("\\|", "\0"));
    let words: Vec<Regex> = rows
        .flat_map(|row| {
            row.split('|')
                .nth(1)
                .unwrap()
                .replace('\0', "|")
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .map(|word| Regex::new(&format!(r"(?i)\b({word})\b")).unwrap_or_else(|e| panic!("{word}: {e}")))
        .collect();
    assert!(words.len() >= 25, "{} words", words.len());
    words
}

/// Lines of `text` with a word of the list: place, line.
fn hits(words: &[Regex], place: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.contains("word-list: allow"))
        .flat_map(|(n, line)| words.iter().filter_map(move |word| word.find(line).map(|hit| (n, line, hit.as_str()))))
        .map(|(n, line, hit)| format!("{place}:{}: \"{hit}\" in: {}", n + 1, line.trim()))
        .collect()
}

fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            files(&path, endings, found);
        } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
            found.push(path);
        }
    }
}

fn assert_plain(hits: &[String]) {
    assert!(hits.is_empty(), "{} places to write in plain English (CONTRIBUTING.md):\n{}", hits.len(), hits.join("\n"));
}

#[test]
fn sources_and_pages_are_in_plain_english() {
    let mut all = Vec::new();
    for folder in ["src", "docs", "configs", "examples", "benches", "tests/it", "tests/parity", "assets"] {
        files(&root().join(folder), &["rs", "md", "toml", "snap", "py", "cpp", "h", "html", "css"], &mut all);
    }
    let pages =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "Cargo.toml", "Makefile", "build.rs"];
    all.extend(pages.map(|page| root().join(page)));
    assert!(all.len() > 400, "{} files", all.len());
    let words = words();
    let mut found = Vec::new();
    for path in all {
        let place = path.strip_prefix(root()).unwrap().display().to_string();
        let text = std::fs::read_to_string(&path).unwrap();
        // The list itself.
        let text = if place == "CONTRIBUTING.md" {
            text.split("<!-- word list -->").enumerate().filter(|(i, _)| i % 2 == 0).map(|(_, part)| part).collect()
        } else {
            text
        };
        found.extend(hits(&words, &place, &text));
    }
    assert_plain(&found);
}

#[test]
fn what_commands_print_is_in_plain_english() {
    let folder = tempfile::tempdir().unwrap();
    let words = words();
    let mut found = Vec::new();
    let lines = [
        "phantom --out data --patients 12 --test-patients 2 --size 256 --seed 7 --defects",
        "scan data --out tables --csv",
        "split tables --by sex,rotated --folds 3 --sample-weights rotated=2 --out folds.csv",
        "audit tables --data data --truth data/truth.json --out audit",
        "corrections add --from audit --check missing_label --action exclude --author me",
        "corrections check --data data",
        "corrections stats",
        "scan data --out tables --csv --corrections corrections.jsonl",
        "clean data --tables tables --corrections corrections.jsonl --out crops",
        "eda tables --folds folds.csv --findings audit --data data --out report",
        "list checks",
        "list corrections",
        "list bones",
        "doctor",
        "query tables \"select count(*) as n from images\"",
    ];
    for line in lines {
        let line_words = shlex::split(line).unwrap();
        let out =
            Command::new(env!("CARGO_BIN_EXE_carpus")).args(&line_words).current_dir(folder.path()).output().unwrap();
        let text = [out.stdout, out.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(matches!(out.status.code(), Some(0 | 3)), "carpus {line}\n{text}");
        found.extend(hits(&words, &format!("carpus {line}"), &text));
    }
    // Tables and pages hold sentences too.
    let markup = Regex::new("<[^>]*>|base64,[A-Za-z0-9+/=]*").unwrap();
    let mut written = Vec::new();
    files(folder.path(), &["csv", "html"], &mut written);
    assert!(written.len() >= 6, "{written:?}");
    for path in written {
        let text = std::fs::read_to_string(&path).unwrap();
        let text = match text.find("<body") {
            Some(body) => markup.replace_all(&text[body..], "\n").into_owned(),
            None => text,
        };
        let place = path.strip_prefix(folder.path()).unwrap().display().to_string();
        found.extend(hits(&words, &place, &text));
    }
    assert_plain(&found);
}

#[test]
fn no_two_public_types_have_the_same_name() {
    let mut sources = Vec::new();
    files(&root().join("src"), &["rs"], &mut sources);
    let declaration = Regex::new(r"(?m)^\s*pub(?:\([a-z]+\))? (?:struct|enum|trait|type) (\w+)").unwrap();
    let mut places: std::collections::BTreeMap<String, Vec<PathBuf>> = std::collections::BTreeMap::new();
    for path in sources {
        let text = std::fs::read_to_string(&path).unwrap();
        for name in declaration.captures_iter(&text) {
            places.entry(name[1].to_owned()).or_default().push(path.clone());
        }
    }
    assert!(places.len() > 400, "{} types", places.len());
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "{places:#?}");
}
