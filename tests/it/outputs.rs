//! What commands may write over: not their inputs, not the data, not files of another kind; and whatever they wrote before.

use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;
use std::process::Output;

use carpus::mask::HandMasks;
use carpus::mask::submission::{self, ImageMasks};

use crate::corrections::Bench;

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn done(out: &Output) {
    assert!(matches!(out.status.code(), Some(0 | 3)), "{}", said(out));
}

fn refused(out: &Output, reason: &str) {
    assert_eq!(out.status.code(), Some(1), "{}", said(out));
    assert!(said(out).contains(reason) && said(out).contains("--force"), "{}", said(out));
}

/// A submission with empty masks of every image.
fn predict(bench: &Bench, name: &str) {
    let empty = |i: usize| ImageMasks { image_name: format!("{}.png", bench.id(i)), masks: HandMasks::empty(128, 128) };
    let images: Vec<ImageMasks> = (0..bench.images.len()).map(empty).collect();
    submission::write(&bench.at(name), &images).unwrap();
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push((path.display().to_string(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn originals_are_never_written_over() {
    let bench = Bench::new();
    predict(&bench, "predictions.csv");
    done(&bench.run(&["scan", "data", "--out", "tables"]));
    let before = files(&bench.at("data"));
    let annotation = bench.images[0].annotation.clone().unwrap();
    let next_to_it = format!("data/{}", annotation.replace(".json", ".csv"));
    let evaluate = ["evaluate", "--predictions", "predictions.csv", "--data", "data", "--out"];
    for out in ["data/meta_data.csv", &next_to_it, "data/scores.csv", "new/../data/scores.csv"] {
        refused(&bench.run(&[&evaluate[..], &[out]].concat()), "holds the original data");
    }
    let in_data = [
        vec!["scan", "data", "--out", "data"],
        vec!["scan", "data", "--out", "data/tables"],
        vec!["clean", "data", "--tables", "tables", "--out", "data/crops"],
        vec!["audit", "tables", "--data", "data", "--out", "data/train"],
        vec!["eda", "tables", "--data", "data", "--out", "data/report"],
        vec!["draw", "data", bench.id(0), "--out", "data/hand.png"],
    ];
    for words in in_data {
        refused(&bench.run(&words), "holds the original data");
    }
    symlink(bench.at("data/train"), bench.at("way-in")).unwrap();
    refused(&bench.run(&[&evaluate[..], &["way-in/scores.csv"]].concat()), "holds the original data");

    // A flat folder of images: `.` is the data.
    let (image, flat) = (&bench.images[0], bench.at("flat"));
    std::fs::create_dir(&flat).unwrap();
    let picture = format!("{}.png", image.image_id);
    std::fs::copy(bench.at("data").join(&image.image), flat.join(&picture)).unwrap();
    let before_flat = files(&flat);
    refused(&bench.run(&["draw", "flat", &image.image_id, "--out", "flat"]), "holds the original data");
    assert_eq!(files(&flat), before_flat);
    assert_eq!(files(&bench.at("data")), before);
}

#[test]
fn inputs_and_files_of_another_kind_are_not_written_over() {
    let bench = Bench::new();
    predict(&bench, "a.csv");
    std::fs::copy(bench.at("a.csv"), bench.at("b.csv")).unwrap();
    std::fs::hard_link(bench.at("a.csv"), bench.at("hard.csv")).unwrap();
    symlink("b.csv", bench.at("soft.csv")).unwrap();
    for out in ["a.csv", "hard.csv", "soft.csv", "./b.csv"] {
        refused(&bench.run(&["vote", "a.csv", "b.csv", "--out", out]), "is an input of this command");
    }
    done(&bench.run(&["scan", "data", "--out", "tables"]));
    refused(&bench.run(&["split", "tables", "--folds", "2", "--out", "tables/images.csv"]), "is an input");

    std::fs::write(bench.at("notes.csv"), "day,what\n1,mine\n").unwrap();
    std::fs::write(bench.at("thesis.png"), "mine").unwrap();
    std::fs::create_dir(bench.at("thesis")).unwrap();
    std::fs::write(bench.at("thesis/chapter.txt"), "mine").unwrap();
    let vote = ["vote", "a.csv", "b.csv", "--out", "notes.csv"];
    let others = [
        (&vote[..], "is not a submission CSV"),
        (&["split", "tables", "--folds", "2", "--out", "notes.csv"], "is not a fold table"),
        (&["evaluate", "--predictions", "a.csv", "--data", "data", "--out", "notes.csv"], "is not a table of Dice"),
        (&["draw", "data", bench.id(0), "--out", "thesis.png"], "is not a PNG picture made by carpus"),
        (&["audit", "tables", "--out", "thesis"], "contains files that `carpus audit` did not write"),
        (&["eda", "tables", "--out", "thesis"], "contains files that `carpus eda` did not write"),
        (
            &["clean", "data", "--tables", "tables", "--out", "thesis"],
            "contains files that `carpus clean` did not write",
        ),
    ];
    for (words, reason) in others {
        refused(&bench.run(words), reason);
    }
    assert_eq!(std::fs::read_to_string(bench.at("notes.csv")).unwrap(), "day,what\n1,mine\n");
    done(&bench.run(&[&vote[..], &["--force"]].concat()));
    assert!(std::fs::read_to_string(bench.at("notes.csv")).unwrap().starts_with("image_name,class,rle"));

    // Devices are written through and stay.
    done(&bench.run(&["vote", "a.csv", "b.csv", "--out", "/dev/null"]));
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let out = bench.run(&["--quiet", "vote", "a.csv", "b.csv", "--out", "/dev/stdout"]);
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("image_name,class,rle"), "{}", said(&out));
}

#[test]
fn the_same_command_works_again() {
    let bench = Bench::new();
    predict(&bench, "a.csv");
    predict(&bench, "b.csv");
    for round in 0..2 {
        for words in [
            &["scan", "data", "--out", "work/tables", "--csv"][..],
            &["split", "work/tables", "--folds", "2", "--sample-weights", "rotated=2", "--out", "work/folds.csv"],
            &["clean", "data", "--tables", "work/tables", "--folds", "work/folds.csv", "--out", "work/crops"],
            &["audit", "work/tables", "--data", "data", "--out", "work/audit"],
            &["eda", "work/tables", "--data", "data", "--findings", "work/audit", "--out", "work/report"],
            &["draw", "data", bench.id(0), bench.id(1), "--out", "work/pictures"],
            &["evaluate", "--predictions", "a.csv", "--data", "data", "--out", "work/scores.csv"],
            &["vote", "a.csv", "b.csv", "--out", "work/voted.csv"],
            &["restore", "work/crops", "work/crops-empty.csv", "--out", "work/restored.csv"],
            &["man", "--out", "work/man"],
        ] {
            if words[0] == "restore" {
                let crops = carpus::clean::read_transforms(&bench.at("work/crops")).unwrap();
                let empty = crops.iter().map(|t| ImageMasks {
                    image_name: format!("{}.png", t.image_id),
                    masks: HandMasks::empty(t.area.width, t.area.height),
                });
                submission::write(&bench.at("work/crops-empty.csv"), &empty.collect::<Vec<_>>()).unwrap();
            }
            let out = bench.run(words);
            assert!(matches!(out.status.code(), Some(0 | 3)), "round {round}: {words:?}: {}", said(&out));
        }
    }
    // A file of the person's own in a folder that is replaced stays.
    std::fs::write(bench.at("work/report/notes.txt"), "mine").unwrap();
    std::fs::write(bench.at("work/audit/notes.txt"), "mine").unwrap();
    done(&bench.run(&["audit", "work/tables", "--data", "data", "--out", "work/audit"]));
    done(&bench.run(&["eda", "work/tables", "--out", "work/report"]));
    for file in ["work/report/notes.txt", "work/audit/notes.txt"] {
        assert_eq!(std::fs::read_to_string(bench.at(file)).unwrap(), "mine");
    }
}

#[test]
fn what_an_earlier_run_left_is_noticed() {
    let bench = Bench::new();
    let before = files(&bench.at("data"));
    let phantom = ["phantom", "--out", "data", "--patients", "2", "--test-patients", "1", "--size", "128"];
    for lost in ["meta_data.xlsx".into(), bench.images[0].image.clone(), bench.images[1].annotation.clone().unwrap()] {
        let said = |out: &Output| String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(said(&bench.run(&phantom)).contains("unchanged"), "{lost}");
        std::fs::remove_file(bench.at("data").join(&lost)).unwrap();
        assert!(said(&bench.run(&phantom)).contains("written"), "{lost}");
        assert!(files(&bench.at("data")).len() == before.len() && bench.at("data").join(&lost).is_file(), "{lost}");
    }

    done(&bench.run(&["scan", "data", "--out", "tables"]));
    let split =
        |more: &[&str]| done(&bench.run(&[&["split", "tables", "--folds", "2", "--out", "folds.csv"], more].concat()));
    let weights = bench.at("weights.csv");
    split(&["--sample-weights", "rotated=2"]);
    assert!(weights.is_file());
    split(&[]);
    assert!(!weights.exists(), "weights of an earlier run");
    split(&["--sample-weights", "rotated=2"]);
    split(&["--sample-weights", "rotated=3", "--weights-out", "others.csv"]);
    assert!(!weights.exists() && bench.at("others.csv").is_file());
    // A table of the person's own with the same name stays.
    std::fs::write(&weights, "image_id,weight,height\n").unwrap();
    split(&[]);
    assert!(weights.is_file());
}
