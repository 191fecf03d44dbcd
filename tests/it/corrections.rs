//! `carpus corrections` as a person uses it, on a small phantom.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use carpus::audit::{Check, FindingRow};
use carpus::dataset::annotation;
use carpus::dataset::corrections::{Corrections, Target};
use carpus::dataset::{Dataset, ImageEntry, Side};
use carpus::digest::sha256;
use carpus::tables::write_csv;
use serde_json::Value;

/// A phantom of three patients, and a folder to work in.
pub struct Bench {
    folder: tempfile::TempDir,
    pub images: Vec<ImageEntry>,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let made = carpus(
            folder.path(),
            &["phantom", "--out", "data", "--patients", "2", "--test-patients", "1", "--size", "128"],
        );
        assert!(made.status.success(), "{}", all(&made));
        let images = Dataset::open(&folder.path().join("data")).unwrap().images().to_vec();
        Bench { folder, images }
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn id(&self, image: usize) -> &str {
        &self.images[image].image_id
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        carpus(self.folder.path(), arguments)
    }

    /// `carpus corrections add` with the data, about an image.
    pub fn add(&self, image: usize, arguments: &[&str]) -> Output {
        let about = ["corrections", "add", "--data", "data", "--image", self.id(image), "--action"];
        self.run(&[&about[..], arguments].concat())
    }

    fn read(&self) -> Corrections {
        Corrections::read(&self.at("corrections.jsonl")).unwrap()
    }

    /// Applies the file to an image's annotation; labels by index.
    fn labels(&self, image: usize) -> Vec<(usize, String)> {
        let file = self.images[image].annotation.as_ref().unwrap();
        let path = self.at("data").join(file);
        let mut annotation = annotation::read(&path, file).unwrap().content;
        let hash = sha256(&std::fs::read(&path).unwrap());
        assert_eq!(self.read().apply(self.id(image), Some(&hash), &mut annotation), []);
        annotation.shapes.into_iter().map(|s| (s.index, s.label)).collect()
    }
}

fn carpus(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus"))
        .current_dir(folder)
        .args(arguments)
        .env("GIT_AUTHOR_NAME", "kim")
        .output()
        .unwrap()
}

fn all(out: &Output) -> String {
    String::from_utf8_lossy(&[&out.stdout[..], &out.stderr[..]].concat()).into_owned()
}

fn done(out: &Output) -> String {
    assert_eq!(out.status.code(), Some(0), "{}", all(out));
    all(out)
}

fn warned(out: &Output, reason: &str) {
    let text = all(out);
    assert_eq!(out.status.code(), Some(3), "{text}");
    assert!(text.contains(reason), "{text}");
}

fn refused(out: &Output, reason: &str) {
    let text = all(out);
    assert!(matches!(out.status.code(), Some(1 | 2)) && text.contains(reason), "{text}");
}

fn json(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", all(out)))
}

#[test]
fn decisions_are_added_applied_counted_and_undone() {
    let bench = Bench::new();
    let before = bench_labels(&bench);
    let added = done(&bench.add(0, &["exclude", "--reason", "ring"]));
    assert!(added.contains("author: kim (from GIT_AUTHOR_NAME"), "{added}");
    assert!(added.contains(&format!("   1  {}", bench.read().history()[0].0.id())), "{added}");
    done(&bench.add(1, &["relabel", "--swap", "Pisiform,Trapezoid", "--author", "lee"]));
    warned(&bench.add(1, &["relabel", "--shape", "0", "--to", "Ulna"]), "are both Ulna now");
    // Its label now, not that of the file.
    warned(&bench.add(1, &["relabel", "--shape", "0", "--to", "Radius"]), "are both Radius now");
    done(&bench.add(1, &["drop", "--shape", "2"]));
    done(&bench.add(1, &["replace", "--shape", "3", "--points", "10,20 30,20 20,40"]));
    done(&bench.add(2, &["set-side", "--side", "L"]));
    done(&bench.add(2, &["keep", "--check", "size", "--label", "Ulna"]));
    done(&bench.add(2, &["note", "--point", "12,34", "--reason", "healed fracture"]));
    done(&bench.add(2, &["flag"]));
    let patient = ["corrections", "add", "--data", "data", "--patient", "1", "--action", "set-metadata"];
    done(&bench.run(&[&patient[..], &["--field", "height_cm", "--value", "171.5"]].concat()));
    done(&bench.run(&[&patient[..], &["--field", "note", "--value", "12"]].concat()));

    let read = bench.read();
    assert_eq!(read.problems(), []);
    assert!(read.excludes(bench.id(0), ""));
    assert_eq!(read.side(bench.id(2)), Some(Side::L));
    assert!(read.keeps(bench.id(2), "size", "Ulna"));
    assert_eq!(read.metadata("001").len(), 2);
    let mut expected = before;
    for (index, label) in &mut expected {
        *label = match (*index, label.as_str()) {
            (0, _) => "Radius".into(),
            (_, "Pisiform") => "Trapezoid".into(),
            (_, "Trapezoid") => "Pisiform".into(),
            (_, other) => other.into(),
        };
    }
    expected.retain(|(index, _)| *index != 2);
    assert_eq!(bench.labels(1), expected);
    let odd = bench.run(&["corrections", "check", "--data", "data"]);
    assert_eq!(odd.status.code(), Some(3));
    assert!(
        all(&odd).contains("are both Radius now") && all(&odd).contains("12 active decisions; 1 problem\n"),
        "{}",
        all(&odd)
    );
    let shapes = done(&bench.run(&["corrections", "shapes", "--data", "data", "--image", bench.id(1)]));
    assert!(shapes.contains("\n    0  Radius ") && shapes.contains(" dropped by line 5\n"), "{shapes}");
    assert!(shapes.contains(" 10,20 30,40\n"), "{shapes}");

    let stats = json(&bench.run(&["corrections", "stats", "--json"]));
    assert_eq!(stats["actions"]["relabel"]["in force"], 3); // word-list: allow
    assert_eq!((&stats["authors"]["lee"]["in force"], &stats["lines"]), (&1.into(), &12.into())); // word-list: allow
    assert_eq!(stats["sha256"], read.sha256());

    // The drop is undone, then the undo.
    let undone = done(&bench.run(&["corrections", "undo", "5", "--reason", "it is a bone"]));
    assert!(
        undone.contains(&format!("undone: line 5, drop shape 2, Pisiform, of image {}\n", bench.id(1))),
        "{undone}"
    );
    refused(&bench.run(&["corrections", "undo", "5"]), "already undone");
    assert_eq!(bench.labels(1).len(), expected.len() + 1);
    let id = bench.read().history().last().unwrap().0.id();
    done(&bench.run(&["corrections", "undo", "corrections.jsonl", &id]));
    assert_eq!(bench.labels(1), expected);
    refused(&bench.run(&["corrections", "undo", "99"]), "no decision 99");
    let listed = json(&bench.run(&["list", "corrections", "corrections.jsonl", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 14);
    assert_eq!((&listed[12]["state"], &listed[13]["state"]), (&"undone".into(), &"in-force".into()));
    assert_eq!((&listed[1]["line"], &listed[1]["action"]["do"]), (&2.into(), &"relabel".into()));
    let schema = done(&bench.run(&["list", "corrections"]));
    assert!(schema.contains("set-metadata") && schema.contains(r#"{"do":"undo","decision""#), "{schema}");
}

fn bench_labels(bench: &Bench) -> Vec<(usize, String)> {
    std::fs::write(bench.at("corrections.jsonl"), "").unwrap();
    bench.labels(1)
}

#[test]
fn what_does_not_fit_is_not_added() {
    let bench = Bench::new();
    refused(&bench.run(&["corrections", "add", "--image", bench.id(0), "--action", "drop", "--shape", "1"]), "--data");
    refused(&bench.add(0, &["drop", "--shape", "99"]), "has no shape 99");
    refused(&bench.add(0, &["drop"]), "drop needs --shape N");
    refused(&bench.add(0, &["exclude", "--side", "L"]), "exclude takes no --side");
    refused(&bench.add(0, &["relabel", "--shape", "1", "--to", "Elbow"]), "is not a bone");
    refused(&bench.add(0, &["relabel", "--labels", "Pisiform=Ulna"]), "would merge");
    refused(&bench.add(0, &["relabel", "--labels", "Elbow=Ulna"]), "no shape is labelled Elbow");
    refused(&bench.add(0, &["relabel", "--labels", "Pisiform"]), "expected OLD=NEW");
    refused(&bench.add(0, &["set-side", "--side", "left"]), "--side is \"left\"; expected L or R");
    refused(&bench.add(0, &["note"]), "note needs a text: give --reason TEXT");
    refused(&bench.add(0, &["keep", "--check", "taste"]), "unknown check \"taste\"");
    refused(&bench.add(0, &["flag", "--point", "1"]), "expected x,y");
    let test = bench.images.iter().position(|e| e.annotation.is_none()).unwrap();
    refused(&bench.add(test, &["relabel", "--swap", "Pisiform,Trapezoid"]), "has no annotation");
    let unknown = ["corrections", "add", "--data", "data", "--action", "exclude"];
    refused(&bench.run(&[&unknown[..], &["--image", "nobody"]].concat()), "the data has no image nobody");
    refused(&bench.run(&[&unknown[..], &["--patient", "77"]].concat()), "the data has no image of patient 077");
    refused(&bench.run(&unknown), "--image <ID>");
    let both = ["corrections", "add", "a.jsonl", "--corrections", "b.jsonl", "--image", "a", "--action", "exclude"];
    refused(&bench.run(&both), "cannot be used with");
    let by_git = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .current_dir(bench.at(""))
        .args(["corrections", "add", "--image", "a", "--action", "exclude", "--dry-run"])
        .env_remove("GIT_AUTHOR_NAME")
        .env_remove("USER")
        .envs([("GIT_CONFIG_COUNT", "1"), ("GIT_CONFIG_KEY_0", "user.name"), ("GIT_CONFIG_VALUE_0", "Kim Lee")])
        .output()
        .unwrap();
    assert!(all(&by_git).contains("author: Kim Lee (from git config user.name;"), "{}", all(&by_git));
    assert!(!bench.at("corrections.jsonl").exists());
    // Without the data it is added as it is; the ending is left out.
    done(&bench.run(&["corrections", "add", "--image", "train/nobody.png", "--action", "exclude"]));
    assert_eq!(bench.read().history()[0].0.target, Target::Image("nobody".into()));
}

#[test]
fn check_reports_what_is_wrong_and_every_command_does() {
    let bench = Bench::new();
    done(&bench.add(0, &["relabel", "--swap", "Pisiform,Trapezoid"]));
    done(&bench.run(&["corrections", "add", "--image", "nobody", "--action", "exclude"]));
    let path = bench.at("corrections.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let line =
        r#"{"version":1,"image_id":"a","action":{"do":"include"},"reason":"","author":"kim","date":"2026-03-01"}"#;
    let undo = r#"{"version":2,"image_id":"a","action":{"do":"undo","decision":"0123456789ab"},"reason":"","author":"kim","time":"2026-03-01"}"#;
    std::fs::write(&path, format!("{text}{line}\n{undo}\n")).unwrap();
    // The annotation of the first decision changes.
    let file = bench.at("data").join(bench.images[0].annotation.as_ref().unwrap());
    let changed = std::fs::read_to_string(&file).unwrap() + " ";
    std::fs::write(&file, changed).unwrap();

    let out = bench.run(&["corrections", "check", "--data", "data", "--json"]);
    assert_eq!(out.status.code(), Some(3), "{}", all(&out));
    let problems = json(&out)["problems"].clone();
    let found: Vec<(&str, &str)> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|p| (p["place"].as_str().unwrap(), p["reason"].as_str().unwrap()))
        .collect();
    let expected = [
        ("line 3", "version 1: this program reads version 2"),
        ("line 4", "no earlier line has this id"),
        ("line 1", "the annotation has changed since"),
        ("line 2", "the data has no image nobody"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.0 == expected.0 && found.1.contains(expected.1), "{found:?}, expected {expected:?}");
    }

    assert!(bench.run(&["scan", "data", "--out", "tables", "--quiet"]).status.code().is_some_and(|c| c == 0 || c == 3));
    let bad = "line 3: version 1: this program reads version 2";
    for command in [
        &["corrections", "check"][..],
        &["corrections", "stats"],
        &["list", "corrections", "corrections.jsonl"],
        &["split", "tables", "--folds", "2", "--corrections", "corrections.jsonl", "--out", "folds.csv"],
        &["clean", "data", "--tables", "tables", "--corrections", "corrections.jsonl", "--out", "crops"],
    ] {
        let out = bench.run(command);
        assert_eq!(out.status.code(), Some(3), "{command:?}: {}", all(&out));
        assert!(all(&out).contains(bad), "{command:?}: {}", all(&out));
    }
}

#[test]
fn findings_become_decisions() {
    let bench = Bench::new();
    let finding = |image: usize, check: &str, label: &str| FindingRow {
        image_id: bench.id(image).into(),
        patient_id: bench.images[image].patient_id.clone(),
        check: Check::from_name(check).unwrap(),
        label: label.into(),
        message: format!("{check} of {image}"),
        ..FindingRow::default()
    };
    let rows = [
        finding(2, "low_dice", "Ulna"),
        finding(2, "low_dice", "Radius"),
        finding(0, "bright_pixels", ""),
        finding(1, "low_dice", "Ulna"),
        finding(3, "low_dice", "Radius"),
    ];
    write_csv(&bench.at("audit/findings.csv"), &rows).unwrap();
    let from = |rest: &[&str]| {
        let words = ["corrections", "add", "--data", "data", "--from", "audit", "--check", "low_dice"];
        bench.run(&[&words[..], rest].concat())
    };
    let dry = done(&from(&["--action", "exclude", "--top", "2", "--dry-run"]));
    assert!(dry.contains("2 decisions would be added") && !bench.at("corrections.jsonl").exists(), "{dry}");
    done(&from(&["--action", "exclude", "--top", "2"]));
    let decided: Vec<(String, String)> =
        bench.read().decisions().map(|d| (d.target.id().to_owned(), d.reason.clone())).collect();
    let expected =
        [(bench.id(2).to_owned(), "low_dice of 2".to_owned()), (bench.id(1).to_owned(), "low_dice of 1".to_owned())];
    assert_eq!(decided, expected);
    // Again: those two are decided; then the third.
    let again = done(&from(&["--action", "exclude", "--top", "2"]));
    assert!(again.contains("2 of 3 images with findings of low_dice selected, 2 already decided"), "{again}");
    assert!(done(&from(&["--action", "exclude"])).contains("1 decision added"));
    let none = bench.run(&["corrections", "add", "--from", "audit", "--check", "size", "--action", "exclude"]);
    assert_eq!(none.status.code(), Some(3));
    assert!(all(&none).contains("audit has no findings of size; nothing was added"), "{}", all(&none));
    done(&from(&["--action", "keep", "--label", "Radius"]));
    let read = bench.read();
    assert!(read.keeps(bench.id(3), "low_dice", "Radius") && !read.keeps(bench.id(3), "low_dice", "Ulna"));
    assert!(!read.keeps(bench.id(1), "low_dice", "Ulna"));
    refused(&from(&["--action", "drop"]), "--from takes --action exclude, flag, keep");
    refused(&bench.run(&["corrections", "add", "--from", "audit", "--action", "exclude"]), "--check");
}

#[test]
fn drawing_says_what_was_decided_about_the_image() {
    let bench = Bench::new();
    done(&bench.add(0, &["exclude", "--reason", "blurred"]));
    done(&bench.add(1, &["flag"]));
    let draw = ["draw", "data", bench.id(0), bench.id(1), bench.id(2), "--corrections", "corrections.jsonl"];
    let said = done(&bench.run(&[&draw[..], &["--out", "pictures"]].concat()));
    let count = |what: &str| said.matches(what).count();
    assert!(said.contains(&format!("{} is excluded by a correction", bench.id(0))), "{said}");
    assert!(said.contains(&format!("{} is marked for checking by another person", bench.id(1))), "{said}");
    assert_eq!((count("excluded"), count("marked for checking")), (1, 1), "{said}");
}

/// Relative paths and contents of the annotation files in a data folder.
fn annotation_files(bench: &Bench, folder: &str) -> Vec<(String, Vec<u8>)> {
    let files = bench.images.iter().filter_map(|entry| entry.annotation.clone());
    files.map(|file| (file.clone(), std::fs::read(bench.at(folder).join(&file)).unwrap())).collect()
}

#[test]
fn a_corrected_copy_differs_only_where_something_was_corrected() {
    let bench = Bench::new();
    done(&bench.add(0, &["relabel", "--swap", "Pisiform,Trapezoid"]));
    done(&bench.add(1, &["replace", "--shape", "3", "--points", "10,20 30,20 20,40"]));
    done(&bench.add(1, &["drop", "--shape", "5"]));
    done(&bench.add(2, &["exclude"]));
    let out = bench.run(&["corrections", "apply", "--data", "data", "--out", "copy"]);
    assert!(done(&out).contains("2 annotations changed by 3 decisions, 2 copied unchanged"), "{}", all(&out));
    let (before, after) = (annotation_files(&bench, "data"), annotation_files(&bench, "copy"));
    for (n, ((file, old), (_, new))) in before.iter().zip(&after).enumerate() {
        assert_eq!(old == new, n > 1, "{file}");
    }
    // In a changed file, only the swapped words differ.
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let swapped =
        text(&before[0].1).replace("Pisiform", "?").replace("Trapezoid", "Pisiform").replace('?', "Trapezoid");
    assert_eq!(text(&after[0].1), swapped);

    // The copy reads as the data with corrections.
    let corrected = Dataset::open(&bench.at("data")).unwrap().with_corrections(bench.read());
    let copy = Dataset::open(&bench.at("copy")).unwrap();
    assert_eq!(copy.images().len(), corrected.images().len());
    for entry in corrected.images().iter().filter(|entry| entry.annotation.is_some()) {
        let shapes = |data: &Dataset| {
            let read = data.annotation(data.find(&entry.image_id).unwrap()).unwrap().unwrap();
            read.annotation.shapes.into_iter().map(|s| (s.label, s.points)).collect::<Vec<_>>()
        };
        assert_eq!(shapes(&corrected), shapes(&copy));
        assert_eq!(
            copy.image_sha256(copy.find(&entry.image_id).unwrap()).unwrap(),
            corrected.image_sha256(entry).unwrap()
        );
    }
    let rest = Corrections::read(&bench.at("copy/corrections.jsonl")).unwrap();
    assert_eq!(rest.decisions().map(|d| d.action.name()).collect::<Vec<_>>(), ["exclude"]);
    // Again into the same folder; never into the data or another folder.
    done(&bench.run(&["corrections", "apply", "--data", "data", "--out", "copy"]));
    assert_eq!(annotation_files(&bench, "copy"), after);
    done(&bench.run(&["corrections", "apply", "--data", "data", "--out", "plain", "--images", "none"]));
    assert_eq!(annotation_files(&bench, "plain"), after);
    assert!(!bench.at("plain").join(&bench.images[0].image).exists());
    refused(&bench.run(&["corrections", "apply", "--data", "data", "--out", "data"]), "data");
    std::fs::create_dir(bench.at("mine")).unwrap();
    std::fs::write(bench.at("mine/a.json"), "{}").unwrap();
    refused(&bench.run(&["corrections", "apply", "--data", "data", "--out", "mine"]), "did not write");
}

#[test]
fn conflicts_are_reported_by_apply_and_check() {
    let bench = Bench::new();
    done(&bench.add(0, &["replace", "--shape", "3", "--points", "10,20 30,20 20,40"]));
    warned(&bench.add(0, &["replace", "--shape", "3", "--points", "1,2 30,20 20,40", "--author", "lee"]), "by kim");
    done(&bench.add(1, &["drop", "--shape", "2"]));
    // The annotation changes after the decision.
    let file = bench.at("data").join(bench.images[1].annotation.as_ref().unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text} ")).unwrap();
    let out = bench.run(&["corrections", "apply", "--data", "data", "--out", "copy"]);
    warned(&out, "another outline here than in line 1, which is by kim");
    warned(&out, "the annotation has changed since this was decided");
    warned(&out, "1 annotation changed by 2 decisions, 3 copied unchanged");
    warned(&bench.run(&["corrections", "check", "--data", "data"]), "another outline here");
}
