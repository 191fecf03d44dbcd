use std::path::{Path, PathBuf};

use clap::Parser;

use super::*;
use crate::audit::{Check, FindingRow};
use crate::cli::Cli;
use crate::dataset::ProblemSeverity;
use crate::tables::{ImageRow, read_parquet, write_csv};

/// A folder with a phantom data set. Commands run in this process.
struct Bench {
    folder: tempfile::TempDir,
    image: String,
    /// Numbers and labels of the image's shapes.
    shapes: Vec<(usize, String)>,
}

fn carpus(arguments: &[&str]) -> Result<Status, String> {
    let words = ["carpus", "--quiet"].iter().chain(arguments);
    let cli = Cli::try_parse_from(words).map_err(|e| e.to_string())?;
    let ui = cli.ui();
    cli.command.run(&ui).map_err(|e| format!("{e:#}"))
}

impl Bench {
    fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data").display().to_string();
        carpus(&["phantom", "--out", &data, "--patients", "2", "--test-patients", "1", "--size", "128"]).unwrap();
        let opened = Dataset::open(Path::new(&data)).unwrap();
        let entry = &opened.images()[0];
        let shapes = opened.annotation(entry).unwrap().unwrap().annotation.shapes;
        let shapes = shapes.into_iter().map(|s| (s.index, s.label)).collect();
        Bench { image: entry.image_id.clone(), shapes, folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// The number of the shape with this label, as text.
    fn number(&self, label: &str) -> String {
        self.shapes.iter().find(|(_, l)| l == label).unwrap().0.to_string()
    }

    fn add_to(&self, file: &Path, arguments: &[&str]) -> Result<Status, String> {
        let (data, file) = (self.text("data"), file.display().to_string());
        let words = ["corrections", "add", &file, "--data", &data, "--author", "kim"];
        carpus(&[&words[..], arguments].concat())
    }

    /// Adds a decision about the image.
    fn add(&self, arguments: &[&str]) -> Result<Status, String> {
        self.add_to(&self.at("c.jsonl"), &[&["--image", &self.image, "--action"], arguments].concat())
    }

    fn refused(&self, arguments: &[&str], reason: &str) {
        let before = std::fs::read(self.at("c.jsonl")).ok();
        let error = self.add(arguments).expect_err(reason);
        assert!(error.contains(reason), "{arguments:?}: {error}");
        assert_eq!(std::fs::read(self.at("c.jsonl")).ok(), before);
    }

    /// The problems of `check` with the data.
    fn check(&self) -> (Status, Vec<Problem>) {
        let (data, file) = (self.text("data"), self.text("c.jsonl"));
        let status = carpus(&["corrections", "check", &file, "--data", &data]).unwrap();
        let read = Corrections::read(&self.at("c.jsonl")).unwrap();
        let mut problems = [read.contradictions(), unknown_checks(&read)].concat();
        problems.extend(Dataset::open(&self.at("data")).unwrap().with_corrections(read).check_corrections().unwrap());
        (status, problems)
    }

    fn undo(&self, line: &str) -> Result<Status, String> {
        carpus(&["corrections", "undo", &self.text("c.jsonl"), line, "--author", "kim"])
    }
}

fn found(problems: &[Problem]) -> Vec<(&str, ProblemSeverity, &str)> {
    problems.iter().map(|p| (p.place.as_str(), p.severity, p.reason.as_str())).collect()
}

#[test]
fn a_repeated_decision_is_not_added() {
    let bench = Bench::new();
    let exchange = ["relabel", "--swap", "Pisiform,trapezoid "];
    bench.add(&exchange).unwrap();
    bench.refused(&exchange, "line 1 already holds this decision; nothing was added");
    bench.refused(&["relabel", "--swap", "Trapezoid,Pisiform"], "line 1 already holds");
    let number = bench.number("finger-3");
    bench.add(&["drop", "--shape", &number]).unwrap();
    bench.refused(&["drop", "--shape", &number], "line 2 already holds");
    let dropped = format!("shape {number} was dropped by line 2; `carpus corrections undo ");
    bench.refused(&["relabel", "--shape", &number, "--to", "Ulna"], &dropped);
    let number = bench.number("Lunate");
    bench.add(&["replace", "--shape", &number, "--points", "1,2 30,4 5,60"]).unwrap();
    bench.refused(&["replace", "--shape", &number, "--points", "1,2 30,4 5,60"], "line 3 already holds");
    bench.add(&["set-side", "--side", "l"]).unwrap();
    bench.refused(&["set-side", "--side", "L", "--author", "lee"], "cannot be used multiple times");
    bench.refused(&["set-side", "--side", "L", "--reason", "thumb"], "line 4 already holds");
    bench.add(&["keep", "--check", "size", "--label", "ulna"]).unwrap();
    bench.refused(&["keep", "--check", "size", "--label", "Ulna"], "line 5 already holds");
    bench.add(&["exclude"]).unwrap();
    bench.refused(&["exclude"], "line 6 already holds");
    // Of several decisions, those already in the file are skipped.
    let other = Dataset::open(&bench.at("data")).unwrap().images()[1].image_id.clone();
    let file = bench.at("c.jsonl");
    let both = ["--image", &bench.image, "--image", &other, "--image", &other, "--action", "exclude"];
    bench.add_to(&file, &both).unwrap();
    assert_eq!(Corrections::read(&file).unwrap().history().len(), 7);
    bench.add_to(&file, &both).unwrap();
    assert_eq!(Corrections::read(&file).unwrap().history().len(), 7);
    // The same relabelling, given with another option.
    bench.add(&["relabel", "--labels", "finger-1=finger-3"]).unwrap();
    bench.refused(&["relabel", "--labels", "finger-1=finger-3"], "line 8 already holds");
    assert_eq!(bench.check(), (Status::Done, Vec::new()));

    // The files of two people, joined.
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}{}", text.replace("\"kim\"", "\"lee\""))).unwrap();
    assert_eq!(bench.check(), (Status::Done, Vec::new()));
}

#[test]
fn other_files_are_not_written_to() {
    let bench = Bench::new();
    let (labels, inside) = (bench.at("labels.csv"), bench.at("data/c.jsonl"));
    std::fs::write(&labels, "image_id,label\na,b\n").unwrap();
    let exclude = ["--image", &bench.image, "--action", "exclude"];
    let refused = |file: &Path, reason: &str| {
        // The file is checked first, although the options are wrong too.
        let error = bench.add_to(file, &["--image", &bench.image, "--action", "exclude", "--side", "L"]).unwrap_err();
        let error = if error.contains("takes no") { bench.add_to(file, &exclude).unwrap_err() } else { error };
        assert!(error.contains(reason), "{error}");
    };
    refused(&labels, "is not a corrections file; name another file, or give --force");
    refused(&inside, "holds the original data");
    refused(&bench.at("data"), "is a folder");
    refused(Path::new("/dev/null"), "not a regular file");
    let undo = carpus(&["corrections", "undo", &labels.display().to_string(), "1"]).unwrap_err();
    assert!(undo.contains("is not a corrections file"), "{undo}");
    assert_eq!(std::fs::read_to_string(&labels).unwrap(), "image_id,label\na,b\n");
    assert!(!inside.exists());
    bench.add_to(&labels, &[&exclude[..], &["--force"]].concat()).unwrap();
    bench.add_to(&inside, &[&exclude[..], &["--force"]].concat()).unwrap();
    assert_eq!(Corrections::read(&labels).unwrap().history().len(), 1);
    // The first line is invalid, but another is a decision.
    let second = [&["--image", "b", "--action", "note"][..], &["--reason", "odd"]].concat();
    assert!(bench.add_to(&labels, &second).unwrap_err().contains("the data has no image b (looked for in "));
    let note = ["--image", &bench.image, "--action", "note", "--reason", "odd"];
    bench.add_to(&labels, &note).unwrap();
    let left = std::fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(left, 2, "data and labels.csv, no lock");

    std::fs::write(bench.at("old.jsonl"), "{\"version\":1,\"action\":{\"do\":\"x\"},\"author\":\"kim\"}\n").unwrap();
    let old = bench.text("old.jsonl");
    for command in
        [&["corrections", "check", &old][..], &["corrections", "stats", &old], &["list", "corrections", &old]]
    {
        let error = carpus(command).unwrap_err();
        assert!(error.contains("holds no decision that can be read; the first line: version 1"), "{error}");
    }
    let none = carpus(&["corrections", "check", &bench.text("none.jsonl")]).unwrap_err();
    assert!(none.contains("`carpus corrections add` makes one"), "{none}");
}

#[test]
fn messages_name_the_options() {
    let bench = Bench::new();
    let number = bench.number("finger-3");
    let reason = format!(
        "--shape takes the number of the shape in the annotation, from 0, not its label; finger-3 is shape {number}"
    );
    bench.refused(&["drop", "--shape", "finger-3"], &reason);
    bench.refused(&["drop", "--shape", "Elbow"], "from 0, not its label; `carpus corrections shapes` lists them");
    bench.refused(&["drop", "--shape", "99"], "has no shape 99; `carpus corrections shapes` lists them");
    bench.refused(&["drop"], "drop needs --shape N");
    bench.refused(&["drop", "--shape", "1", "--label", "Ulna"], "drop takes no --label");
    bench.refused(&["replace", "--shape", "1"], "replace needs --shape N --points");
    bench.refused(&["relabel", "--shape", "1"], "relabel needs --shape N --to LABEL, or --labels, or --swap");
    bench.refused(&["relabel", "--to", "Ulna", "--swap", "Ulna,Radius"], "relabel needs --shape N --to LABEL");
    bench.refused(&["relabel", "--shape", "1", "--to", "Trapezod"], "did you mean Trapezoid?");
    bench.refused(&["relabel", "--labels", "Trapezod=Ulna"], "; did you mean Trapezoid?");
    bench.refused(&["relabel", "--shape", &number, "--to", "Finger_3"], "has the label finger-3 already");
    bench.refused(&["keep", "--label", "Ulna|Elbow"], "--label: \"Elbow\" is not a bone");
    bench.refused(&["set-side"], "set-side needs --side");
    bench.refused(&["set-side", "--side", "left"], "--side is \"left\"; expected L or R");
    bench.refused(&["set-metadata", "--field", "age", "--value", "3"], "set-metadata needs --patient ID");
    bench.refused(&["note"], "note needs a text: give --reason TEXT");
    bench.refused(&["keep", "--check", "taste"], "unknown check \"taste\"");
    let of_patient = |arguments: &[&str]| {
        bench.add_to(&bench.at("c.jsonl"), &[&["--patient", "3", "--action"], arguments].concat()).unwrap_err()
    };
    for (arguments, reason) in [
        (
            &["set-metadata", "--field", "size", "--value", "3"][..],
            "--field: expected sex, age, height_cm, weight_kg or note",
        ),
        (&["set-metadata", "--field", "age"], "set-metadata needs --field and --value"),
        (&["set-metadata", "--field", "age", "--value", "444"], "--value 444: age must be a number from 0 to 120"),
        (&["set-metadata", "--field", "height_cm", "--value", "1,7"], "height_cm must be a number from 50 to 250"),
        (&["set-metadata", "--field", "sex", "--value", "W"], "sex must be F or M"),
        (&["keep"], "keep needs --image ID"),
    ] {
        let error = of_patient(arguments);
        assert!(error.contains(reason), "{error}");
    }
    assert!(!bench.at("c.jsonl").exists());
}

#[test]
fn check_reports_contradictions_and_decisions_that_do_not_fit() {
    let bench = Bench::new();
    let number = |label: &str| bench.number(label);
    let set = |value: &str| {
        let words = ["--patient", "3", "--action", "set-metadata", "--field", "age", "--value", value];
        bench.add_to(&bench.at("c.jsonl"), &words).unwrap()
    };
    // These decisions are added, with a warning.
    assert_eq!(bench.add(&["relabel", "--shape", &number("finger-3"), "--to", "Ulna"]), Ok(Status::Done));
    assert_eq!(set("41"), Status::Done);
    assert_eq!(set("44"), Status::Done);
    bench.add(&["note", "--point", "128,3", "--reason", "outside"]).unwrap();
    bench.add(&["note", "--point", "127,0", "--reason", "inside"]).unwrap();
    bench.add(&["replace", "--shape", &number("Lunate"), "--points", "1,2 3,4 5,-6"]).unwrap();
    bench.add(&["keep", "--check", "size"]).unwrap();
    let path = bench.at("c.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"check\":\"size\"", "\"check\":\"taste\"")).unwrap();
    let (status, problems) = bench.check();
    assert_eq!(status, Status::DoneWithProblems);
    let both = format!("shapes {} and {} are both Ulna now", number("Ulna"), number("finger-3"));
    let size = "lies outside the image, which has 128x128 pixels";
    assert_eq!(
        found(&problems),
        [
            ("line 3", ProblemSeverity::Warning, "age is set to 44 here and to 41 in line 2"),
            ("line 7", ProblemSeverity::Error, "unknown check \"taste\"; `carpus list checks` lists the checks"),
            ("line 1", ProblemSeverity::Warning, &*both),
            ("line 4", ProblemSeverity::Warning, &*format!("the point 128,3 {size}")),
            ("line 6", ProblemSeverity::Warning, &*format!("the point 5,-6 {size}")),
        ]
    );
    // The second step of swapping two labels.
    bench.add(&["relabel", "--shape", &number("Ulna"), "--to", "finger-3"]).unwrap();
    assert!(!bench.check().1.iter().any(|p| p.reason.contains("are both")));

    let read = Corrections::read(&path).unwrap();
    let words: Vec<String> = read.decisions().map(in_words).collect();
    assert_eq!(words[2], "set-metadata age = 44 of patient 003");
    assert_eq!(
        words[0],
        format!("relabel shape {} from finger-3 to Ulna of image {}", number("finger-3"), bench.image)
    );
    bench.undo("3").unwrap();
    assert!(!bench.check().1.iter().any(|p| p.reason.starts_with("age is")));
    assert!(bench.undo("3").unwrap_err().contains("is already undone"));
}

#[test]
fn shapes_are_listed() {
    let bench = Bench::new();
    let data = bench.text("data");
    bench.add(&["drop", "--shape", &bench.number("finger-3")]).unwrap();
    let file = bench.text("c.jsonl");
    let shapes = |image: &str| carpus(&["corrections", "shapes", "--data", &data, "--image", image, &file]);
    assert_eq!(shapes(&bench.image), Ok(Status::Done));
    assert_eq!(shapes(&format!("{}.png", bench.image)), Ok(Status::Done));
    assert!(shapes("nobody").unwrap_err().contains("the data has no image nobody (looked for in "));
}

#[test]
fn a_check_without_findings_is_reported() {
    let bench = Bench::new();
    let row =
        FindingRow { image_id: bench.image.clone(), check: Check::from_name("size").unwrap(), ..FindingRow::default() };
    write_csv(&bench.at("audit/findings.csv"), &[row]).unwrap();
    let audit = bench.text("audit");
    let from = |check: &str| {
        bench.add_to(&bench.at("c.jsonl"), &["--from", &audit, "--check", check, "--action", "exclude", "--top", "1"])
    };
    assert_eq!(from("low_dice"), Ok(Status::DoneWithProblems));
    assert!(!bench.at("c.jsonl").exists());
    assert_eq!((from("size"), from("size")), (Ok(Status::Done), Ok(Status::Done)));
    assert_eq!(Corrections::read(&bench.at("c.jsonl")).unwrap().history().len(), 1);
}

#[test]
fn proposed_labels_become_decisions() {
    let bench = Bench::new();
    let row = |check: &str, label: &str, relabel: &str| FindingRow {
        image_id: bench.image.clone(),
        check: Check::from_name(check).unwrap(),
        label: label.into(),
        relabel: relabel.into(),
        message: format!("{check} {label}"),
        ..FindingRow::default()
    };
    let swap = row("swapped_labels", "Pisiform|Trapezoid", r#"{"Pisiform":"Trapezoid","Trapezoid":"Pisiform"}"#);
    let rows = [
        swap.clone(),
        row("swapped_labels", "Radius|Ulna", r#"{"Radius":"Ulna","Ulna":"Radius"}"#),
        swap,
        row("swapped_labels", "Lunate", ""),
        row("size", "Ulna", ""),
    ];
    write_csv(&bench.at("audit/findings.csv"), &rows).unwrap();
    let (file, audit) = (bench.at("c.jsonl"), bench.text("audit"));
    let from = |check: &str, rest: &[&str]| {
        let words = ["--from", &audit, "--check", check, "--action", "relabel"];
        bench.add_to(&file, &[&words[..], rest].concat())
    };
    let refused = from("size", &[]).unwrap_err();
    assert!(refused.contains("the findings of size propose no labels; give --image"), "{refused}");
    let refused = from("swapped_labels", &["--swap", "Radius,Ulna"]).unwrap_err();
    assert!(refused.contains("takes the labels from the findings; leave out --swap"), "{refused}");
    let data = ["corrections", "add", "--from", &audit, "--check", "swapped_labels", "--action", "relabel"];
    assert!(carpus(&data).unwrap_err().contains("relabel needs --data DATA"));
    assert!(!file.exists());

    // Two decisions; the third finding proposes the first again, the fourth nothing.
    assert_eq!(from("swapped_labels", &[]), Ok(Status::DoneWithProblems));
    let read = Corrections::read(&file).unwrap();
    let words: Vec<String> = read.decisions().map(|d| format!("{} {}", in_words(d), d.reason)).collect();
    let of = format!("of image {} swapped_labels", bench.image);
    assert_eq!(
        words,
        [
            format!("relabel Pisiform to Trapezoid, Trapezoid to Pisiform {of} Pisiform|Trapezoid"),
            format!("relabel Radius to Ulna, Ulna to Radius {of} Radius|Ulna"),
        ]
    );
    assert_eq!(bench.check(), (Status::Done, Vec::new()));
    // Again: both are decided, and are not swapped back.
    assert_eq!(from("swapped_labels", &["--label", "Radius|Ulna"]), Ok(Status::Done));
    assert_eq!(from("swapped_labels", &[]), Ok(Status::DoneWithProblems));
    assert_eq!(Corrections::read(&file).unwrap().history().len(), 2);
    // Shapes that a person has relabelled in another way.
    bench.undo("2").unwrap();
    bench.add(&["relabel", "--shape", &bench.number("Radius"), "--to", "Scaphoid"]).unwrap();
    bench.add(&["relabel", "--shape", &bench.number("Scaphoid"), "--to", "Radius"]).unwrap();
    assert_eq!(from("swapped_labels", &["--label", "Radius|Ulna"]), Ok(Status::DoneWithProblems));
    assert_eq!(Corrections::read(&file).unwrap().history().len(), 5);

    let invalid = row("swapped_labels", "Ulna", r#"{"Ulna":"Elbow"}"#);
    write_csv(&bench.at("audit/findings.csv"), &[invalid]).unwrap();
    let refused = from("swapped_labels", &[]).unwrap_err();
    assert!(refused.contains("audit: column relabel is ") && refused.contains("\"Elbow\" is not a bone"), "{refused}");
}

#[test]
fn a_decision_can_be_added_again_in_the_second_of_its_undo() {
    let bench = Bench::new();
    let exclude = ["exclude", "--reason", "ring"];
    for (round, undone) in ["1", "3", "5"].iter().enumerate() {
        bench.add(&exclude).unwrap();
        bench.refused(&exclude, &format!("line {undone} already holds this decision"));
        bench.undo(undone).unwrap();
        let read = Corrections::read(&bench.at("c.jsonl")).unwrap();
        assert_eq!((read.history().len(), read.is_empty()), (2 * round + 2, true));
    }
    // The undo of an undo, and the undo of that.
    bench.undo("6").unwrap();
    bench.undo("7").unwrap();
    assert!(Corrections::read(&bench.at("c.jsonl")).unwrap().is_empty());
}

#[test]
fn undo_commands_name_the_file() {
    assert_eq!(undo_command(Path::new("corrections.jsonl"), 3), "`carpus corrections undo 3`");
    assert_eq!(undo_command(Path::new("c.jsonl"), 3), "`carpus corrections undo c.jsonl 3`");
}

#[test]
fn all_commands_count_the_same_active_decisions() {
    let bench = Bench::new();
    let count = || counts_in_words(&Corrections::read(&bench.at("c.jsonl")).unwrap());
    bench.add(&["exclude"]).unwrap();
    bench.add(&["flag"]).unwrap();
    assert_eq!(count(), "2 active decisions");
    bench.undo("1").unwrap();
    assert_eq!(count(), "1 active decision, 1 undone, 1 undo line");
    let read = Corrections::read(&bench.at("c.jsonl")).unwrap();
    let states: Vec<_> = read.history().iter().map(|(decision, state)| state_in_words(decision, *state)).collect();
    assert_eq!(states, ["undone", "active", "undo"]);
}

#[test]
fn the_author_is_the_user_of_git_or_of_the_system() {
    let name = |variables: &[(&str, &str)], git: Option<&str>, id: Option<&str>| {
        let variable = |name: &str| Some(variables.iter().find(|(n, _)| *n == name)?.1.to_owned());
        let output = |words: &[&str]| if words[0] == "git" { git } else { id }.map(str::to_owned);
        user_name(variable, output)
    };
    let found = |name: &str, source: &'static str| Some((name.to_owned(), source));
    let all = [("GIT_AUTHOR_NAME", "kim"), ("USER", "lee")];
    assert_eq!(name(&all, Some("park\n"), None), found("kim", "GIT_AUTHOR_NAME"));
    assert_eq!(name(&all[1..], Some("park\n"), None), found("park", "git config user.name"));
    assert_eq!(name(&all[1..], Some("\n"), None), found("lee", "USER"));
    assert_eq!(name(&[("USER", ""), ("LOGNAME", "choi")], None, None), found("choi", "LOGNAME"));
    assert_eq!(name(&[], None, Some("root\n")), found("root", "id -un"));
    assert_eq!(name(&[], None, None), None);
}

#[test]
fn tables_of_a_scan_with_other_corrections_are_reported() {
    let bench = Bench::new();
    bench.add(&["drop", "--shape", &bench.number("finger-3")]).unwrap();
    let (data, tables, file) = (bench.text("data"), bench.text("tables"), bench.text("c.jsonl"));
    let message = |corrections: &Corrections| {
        let images: Vec<ImageRow> = read_parquet(&bench.at("tables/images.parquet")).unwrap();
        crate::scan::outdated(&bench.at("tables"), &images, corrections).unwrap_or_default()
    };
    let corrections = Corrections::read(&bench.at("c.jsonl")).unwrap();
    carpus(&["scan", &data, "--out", &tables]).unwrap();
    assert_eq!(message(&Corrections::default()), "");
    let without = message(&corrections);
    assert!(without.contains("1 image was measured on other shapes"), "{without}");
    assert!(without.ends_with("run `carpus scan` with the same --corrections first"), "{without}");
    carpus(&["scan", &data, "--out", &tables, "--corrections", &file]).unwrap();
    assert_eq!(message(&corrections), "");
    let with = message(&Corrections::default());
    assert!(with.ends_with("was scanned with corrections; give the same --corrections here, or scan again without"));
}
