//! Listing, comparison and report of runs, on synthetic run folders.

use std::path::Path;
use std::process::{Command, Output};

use carpus::bones::{self, Bone};
use carpus::dataset::{Dataset, ImageEntry};
use carpus::mask::submission::{self, ImageMasks};
use carpus::progress::Silent;
use carpus::report::Content;
use carpus::report::run::{RunStudy, sections};
use carpus::runs::{Measure, Run, compare, find};
use carpus::scores::{self, DiceSummary, ImageScore, Region};
use carpus::tables::{EpochRow, FoldRow, write_csv};
use serde_json::{Value, json};

use super::browser;

fn carpus(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus")).current_dir(folder).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A log of `epochs` in two stages whose Dice rises to `dice`.
fn log(epochs: usize, dice: f64) -> Vec<EpochRow> {
    let row = |i: usize| {
        let share = (i + 1) as f64 / epochs as f64;
        let (stage, reached) = (if i < epochs / 3 { "warm" } else { "fine" }, dice * (1.0 - (-5.0 * share).exp()));
        let loss = 0.6 * (-3.0 * share).exp() + 0.05;
        EpochRow {
            stage: stage.into(),
            epoch: i as u32 + 1,
            step: 9 * (i as u64 + 1),
            lr: 1e-3 * (1.0 - share) + 1e-6,
            train_loss: loss,
            valid_loss: Some(1.2 * loss),
            valid_dice: Some(reached),
            valid_dice_raw: Some(reached - 0.01),
            images_per_second: 3.0 + share,
            waiting: 0.03,
            memory_mb: Some(2048.5),
            dice: (0..bones::COUNT).map(|c| reached - 0.004 * c as f64).collect(),
            ..EpochRow::default()
        }
    };
    (0..epochs).map(row).collect()
}

const CONFIG: &str = "size = 512
epochs = 12
seed = SEED
[data]
root = 'data'
folds = 'folds.csv'
fold = FOLD
[output]
name = 'NAME'
[model]
architecture = 'fpn'
encoder = 'efficientnet-b0'
[loss]
bce = 0.5
dice = { weight = 0.5, smooth = 1.0 }
MORE
";

/// A run that held out `scores`.
fn write_run(folder: &Path, name: &str, seed: u32, fold: u32, more: &str, scores: &[ImageScore]) {
    let run = folder.join("runs").join(name);
    std::fs::create_dir_all(&run).unwrap();
    let config = CONFIG.replace("SEED", &seed.to_string()).replace("FOLD", &fold.to_string());
    std::fs::write(run.join("config.toml"), config.replace("NAME", name).replace("MORE", more)).unwrap();
    write_csv(&run.join("metrics.csv"), &log(12, 0.95)).unwrap();
    if !scores.is_empty() {
        scores::write_scores(&run.join("per_image_dice.csv"), scores).unwrap();
    }
    let held_out = (!scores.is_empty()).then(|| DiceSummary::of(scores));
    let summary = json!({
        "run": run, "best_epoch": 12, "best_dice_at_model_size": 0.943, "stopped_early": false,
        "training_images": 6, "validation_images": 2, "images_left_out": 0, "seconds": 754.3, "held_out": held_out,
    });
    std::fs::write(run.join("summary.json"), summary.to_string()).unwrap();
}

/// A score of an image with the same Dice in every class.
fn flat(image: &str, dice: f64) -> ImageScore {
    ImageScore { image_id: image.into(), dice: [dice; bones::COUNT] }
}

/// Ids of the images of a fold: two per patient of six patients.
fn fold_images(fold: u32) -> Vec<String> {
    (0..12).map(|hand| format!("image{fold}{hand:02}")).collect()
}

/// Two experiments with three folds; the Dice of the second is higher by about 0.01.
fn experiments() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for fold in 0..3u32 {
        let base = 0.90 + 0.01 * f64::from(fold);
        let gain = [0.010, 0.012, 0.008][fold as usize];
        let name = |kind: &str| format!("{kind}-fold{fold}");
        let score = |(i, image): (usize, &String)| flat(image, base + 0.02 * (i % 2) as f64);
        let scores = |more: f64| -> Vec<ImageScore> {
            let scores = fold_images(fold).iter().enumerate().map(score).collect::<Vec<_>>();
            scores.into_iter().map(|s| flat(&s.image_id, s.dice[0] + more)).collect()
        };
        write_run(home.path(), &name("plain"), 1, fold, "", &scores(0.0));
        write_run(home.path(), &name("ema"), 1, fold, "[ema]\ndecay = 0.99\n", &scores(gain));
    }
    home
}

#[test]
fn runs_are_listed() {
    let home = experiments();
    std::fs::create_dir(home.path().join("runs/notes")).unwrap();
    let out = carpus(home.path(), &["runs"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let listed = text(&out.stdout);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines.len(), 7, "{listed}");
    let words: Vec<&str> = lines[1].split_whitespace().collect();
    assert_eq!(words, ["ema-fold0", "12/12", "warm", "fine", "0", "1", "0.9430", "(12)", "0.9200", "3.5"], "{listed}");

    let out = carpus(home.path(), &["--json", "runs", "runs"]);
    let items: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&items[3]["name"], &items[3]["fold"]), (&json!("plain-fold0"), &json!(0)));
    assert!((items[3]["held_out_dice"].as_f64().unwrap() - 0.91).abs() < 1e-9);

    // A damaged file is reported; the runs are still listed.
    std::fs::write(home.path().join("runs/ema-fold1/summary.json"), "{").unwrap();
    let out = carpus(home.path(), &["runs"]);
    assert_eq!((out.status.code(), text(&out.stdout).lines().count()), (Some(3), 7));
    assert!(text(&out.stderr).contains("ema-fold1/summary.json"), "{}", text(&out.stderr));
    let out = carpus(home.path(), &["runs", "runs/notes"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("carpus train"), "{}", text(&out.stderr));

    // A run with a damaged configuration is reported; the others are listed.
    std::fs::write(home.path().join("runs/ema-fold1/config.toml"), "size = ").unwrap();
    let out = carpus(home.path(), &["runs"]);
    assert_eq!((out.status.code(), text(&out.stdout).lines().count()), (Some(3), 6));
    assert!(text(&out.stderr).contains("skipped: runs/ema-fold1/config.toml"), "{}", text(&out.stderr));
}

/// The shell pattern `runs/plain*` also matches the folder of all folds and files next to the runs.
#[test]
fn paths_without_a_run_are_skipped_in_a_comparison() {
    let home = experiments();
    std::fs::create_dir(home.path().join("runs/plain-folds")).unwrap();
    std::fs::write(home.path().join("runs/plain-folds/predictions.csv"), "").unwrap();
    std::fs::write(home.path().join("runs/plain-folds.csv"), "").unwrap();
    let compared = |runs: &[&str]| carpus(home.path(), &[&["--json", "runs", "compare"], runs].concat());
    let out = compared(&["runs/plain-fold0", "runs/plain-folds", "runs/plain-folds.csv", "runs/ema-fold0"]);
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    for path in ["skipped: no runs in runs/plain-folds:", "skipped: runs/plain-folds.csv is not a run"] {
        assert!(text(&out.stderr).contains(path), "{path}: {}", text(&out.stderr));
    }
    let without = compared(&["runs/plain-fold0", "runs/ema-fold0"]);
    assert_eq!((without.status.code(), without.stdout), (Some(0), out.stdout));
    // A run that is named twice counts once.
    let twice = compared(&["runs/plain-fold0", "runs/ema-fold0", "runs/../runs/ema-fold0"]);
    assert_eq!(twice.stdout, compared(&["runs/plain-fold0", "runs/ema-fold0"]).stdout);

    // No run is left, or a path does not exist.
    let out = compared(&["runs/plain-folds", "runs/plain-folds.csv"]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("none of runs/plain-folds, runs/plain-folds.csv is a readable run"), "{said}");
    let out = compared(&["runs/plain-fold0", "runs/plain-fold9"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("runs/plain-fold9"), "{}", text(&out.stderr));
}

#[test]
fn experiments_are_compared_over_folds_and_over_images() {
    let home = experiments();
    let runs = |names: &[&str]| -> Vec<Run> {
        names.iter().map(|name| Run::read(&home.path().join("runs").join(name)).unwrap()).collect()
    };
    let all = runs(&["plain-fold0", "plain-fold1", "plain-fold2", "ema-fold0", "ema-fold1", "ema-fold2"]);
    let comparison = compare(&all).unwrap();
    assert_eq!(comparison.measure, Measure::HeldOut);
    assert_eq!(comparison.changed, ["ema.decay"]);
    let names: Vec<&str> = comparison.groups.iter().map(|g| g.name.as_str()).collect();
    assert_eq!((names, &comparison.groups[1].folds[..]), (vec!["plain", "ema"], &[0, 1, 2][..]));
    assert_eq!(comparison.groups[0].settings["ema.decay"], None);
    assert_eq!(comparison.groups[1].settings["ema.decay"].as_deref(), Some("0.99"));
    let difference = &comparison.differences[0];
    assert!((difference.difference.unwrap() - 0.010).abs() < 1e-9);
    // Gains .010, .012, .008: mean .010, sd .002; t(2, .975) = 4.302653.
    let over_runs = difference.over_runs.as_ref().unwrap();
    let half = 4.302_653 * 0.002 / 3f64.sqrt();
    assert!((over_runs.ci.low - (0.010 - half)).abs() < 1e-6 && (over_runs.ci.high - (0.010 + half)).abs() < 1e-6);
    assert!(over_runs.method.contains("paired by fold and seed") && over_runs.method.contains("n = 3"));
    let over_images = difference.over_images.as_ref().unwrap();
    assert!(
        over_images.ci.low >= 0.008 && over_images.ci.high <= 0.012 && over_images.method.contains("n = 36 images")
    );
    assert!(over_images.method.contains("images resampled instead of patients"), "{}", over_images.method);
    let remark = comparison.remarks.join("\n");
    for part in ["resamples images instead of patients", "plain-fold0 has no held_out.csv", "\"folds.csv\""] {
        assert!(remark.contains(part), "{part}: {remark}");
    }

    let out = carpus(home.path(), &["runs", "compare", "runs/plain-fold0", "runs/plain-fold1", "runs/ema-fold0"]);
    let shown = text(&out.stdout);
    let words = |start: &str| -> Vec<&str> {
        let line = shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{shown}"));
        line.split_whitespace().collect()
    };
    assert_eq!(words("setting"), ["setting", "plain", "ema-fold0"]);
    assert_eq!(words("ema.decay"), ["ema.decay", "–", "0.99"]);
    assert!(shown.contains("over images: +0.0100") && !shown.contains("over runs"), "{shown}");

    // With the folds, both hands of a patient are resampled together.
    let folds: Vec<FoldRow> = (0..36)
        .map(|i| FoldRow {
            image_id: format!("image{}{:02}", i / 12, i % 12),
            patient_id: format!("{:03}", i / 2),
            stratum: String::new(),
            fold: i / 12,
        })
        .collect();
    carpus::tables::write_csv(&home.path().join("folds.csv"), &folds).unwrap();
    let out = carpus(home.path(), &["--json", "runs", "compare", "runs/plain-fold0", "runs/ema-fold0", "runs"]);
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    let method = said["differences"][0]["over_images"]["method"].as_str().unwrap();
    assert!(method.contains("18 patients resampled"), "{said}");
    assert_eq!(said["remarks"], json!([]));

    // By another file of scores, which every run must have.
    let by_band =
        |runs: &[&str]| carpus(home.path(), &[&["runs", "compare", "--scores", "band3_dice.csv"], runs].concat());
    for (name, dice) in [("plain-fold0", 0.70), ("ema-fold0", 0.75)] {
        let file = home.path().join("runs").join(name).join("band3_dice.csv");
        scores::write_scores(&file, &[flat("image00", dice), flat("image01", dice + 0.02)]).unwrap();
    }
    let shown = text(&by_band(&["runs/plain-fold0", "runs/ema-fold0"]).stdout);
    assert!(shown.contains("band3_dice.csv") && shown.contains("0.7100") && shown.contains("+0.0500"), "{shown}");
    let out = by_band(&["runs/plain-fold0", "runs/ema-fold1"]);
    assert_eq!(out.status.code(), Some(1));
    let said = text(&out.stderr);
    assert!(said.contains("runs/ema-fold1/band3_dice.csv") && said.contains("carpus evaluate"), "{said}");

    // Runs with different seeds are one experiment; different folds cannot be paired.
    write_run(home.path(), "plain-seed2", 2, 0, "", &[flat("image00", 0.91), flat("image01", 0.90)]);
    let one = compare(&runs(&["plain-fold0", "plain-seed2"])).unwrap();
    assert_eq!((one.groups.len(), one.groups[0].seeds.len(), one.differences.len()), (1, 2, 0));
    assert!(one.remarks[0].contains("differ only in the seed: one experiment"), "{:?}", one.remarks);
    write_run(home.path(), "ema-seed7", 7, 0, "[ema]\ndecay = 0.99\n", &[flat("image00", 0.93)]);
    let apart = compare(&runs(&["plain-fold1", "plain-fold2", "ema-fold0", "ema-seed7"])).unwrap();
    let over_runs = apart.differences[0].over_runs.as_ref().unwrap();
    assert!(over_runs.method.contains("Welch"), "{}", over_runs.method);
    assert_eq!(apart.differences[0].over_images, None);
    let remark = apart.remarks.join("\n");
    assert!(remark.contains("scored on different images: 0 images in both, 24 images only in plain"), "{remark}");

    // With a run without scores, the Dice at the model's input size is compared, with a note.
    write_run(home.path(), "unscored", 1, 0, "[ema]\ndecay = 0.5\n", &[]);
    let unscored = compare(&runs(&["plain-fold0", "unscored"])).unwrap();
    assert_eq!(unscored.measure, Measure::ModelSize);
    assert!(unscored.remarks[0].contains("unscored"), "{:?}", unscored.remarks);
}

/// Runs contain the patients of their images, so that they can be compared from any folder.
#[test]
fn patients_are_read_from_the_runs() {
    let home = experiments();
    let compared = |folder: &Path| -> Value {
        let runs = ["plain-fold0", "ema-fold0"].map(|name| home.path().join("runs").join(name));
        let out = carpus(folder, &["--json", "runs", "compare", runs[0].to_str().unwrap(), runs[1].to_str().unwrap()]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        serde_json::from_slice(&out.stdout).unwrap()
    };
    let method = |said: &Value| said["differences"][0]["over_images"]["method"].as_str().unwrap().to_owned();
    let elsewhere = tempfile::tempdir().unwrap();
    let rows = fold_images(0).into_iter().enumerate().map(|(i, image)| format!("{image},{}\n", i / 2));
    let held_out = "image_id,patient_id\n".to_owned() + &rows.collect::<String>();
    std::fs::write(home.path().join("runs/plain-fold0/held_out.csv"), &held_out).unwrap();
    std::fs::write(home.path().join("runs/ema-fold0/held_out.csv"), &held_out).unwrap();
    for folder in [home.path(), elsewhere.path()] {
        let said = compared(folder);
        assert!(method(&said).contains("6 patients resampled"), "{said}");
        assert_eq!(said["remarks"], json!([]));
    }
    // If the patient of an image is missing, images are resampled.
    for run in ["plain", "ema"] {
        let path = home.path().join(format!("runs/{run}-fold0/held_out.csv"));
        std::fs::write(path, "image_id,patient_id\nimage000,0\n").unwrap();
    }
    let said = compared(elsewhere.path());
    assert!(method(&said).contains("instead of patients"), "{said}");
    assert!(said["remarks"][0].as_str().unwrap().contains("the patient of image image001 is unknown"), "{said}");
    // A damaged file is reported.
    std::fs::write(home.path().join("runs/ema-fold0/held_out.csv"), "image,patient\n").unwrap();
    let out = carpus(home.path(), &["runs", "compare", "runs/plain-fold0", "runs/ema-fold0"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("ema-fold0/held_out.csv"), "{}", text(&out.stderr));
}

#[test]
fn leaderboard_scores_are_kept_and_their_gap_is_shown() {
    let home = experiments();
    let carpus = |arguments: &[&str]| carpus(home.path(), arguments);
    let out = carpus(&[
        "runs",
        "note",
        "runs/plain-fold0",
        "--public",
        ".90",
        "--private",
        ".8950",
        "--submitted",
        "2026-01-02",
    ]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    assert!(text(&out.stdout).contains("validation Dice minus public leaderboard: +0.0100"), "{}", text(&out.stdout));
    let out = carpus(&["--json", "runs", "note", "runs/ema-fold0", "--public", "0.89", "--text", "with EMA"]);
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&said["note"]["public"], &said["note"]["text"]), (&json!(0.89), &json!("with EMA")));

    let listed = text(&carpus(&["runs"]).stdout);
    assert!(listed.lines().next().unwrap().contains("gap public"), "{listed}");
    let cells = |name: &str| -> Vec<String> {
        let line = listed.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(cells("plain-fold0")[8..13], ["0.9100", "0.9000", "0.8950", "+0.0100", "+0.0150"], "{listed}");
    assert_eq!(cells("ema-fold0")[8..13], ["0.9200", "0.8900", "–", "+0.0300", "–"], "{listed}");
    let items: Value = serde_json::from_slice(&carpus(&["--json", "runs"]).stdout).unwrap();
    assert_eq!(
        (&items[3]["leaderboard"]["private"], &items[3]["notes"][0]["submitted"]),
        (&json!(0.895), &json!("2026-01-02"))
    );
    assert!((items[0]["gap"]["public"].as_f64().unwrap() - 0.03).abs() < 1e-9, "{}", items[0]);

    // By validation the second is better, on the leaderboard the first.
    let out = carpus(&["runs", "compare", "runs/plain-fold0", "runs/ema-fold0"]);
    assert_eq!(out.status.code(), Some(3));
    let warned = text(&out.stderr);
    assert!(
        warned.contains("warning: validation and public leaderboard rank plain-fold0 and ema-fold0 differently"),
        "{warned}"
    );
    assert!(text(&out.stdout).contains("+0.0300"), "{}", text(&out.stdout));
    carpus(&["runs", "report", "runs/ema-fold0"]);
    let html = std::fs::read_to_string(home.path().join("runs/ema-fold0/report.html")).unwrap();
    assert!(html.contains("public leaderboard") && html.contains("validation minus leaderboard: +0.0300"), "{html}");
    assert!(html.contains("with EMA"));

    for (arguments, reason) in [
        (&["--public", "97.28"][..], "public is 97.28; expected a Dice from 0 to 1"),
        (&["--private", "nan"], "private is NaN"),
        (&["--public", "0.9", "--submitted", "2.1.2026"], "expected a date as 2026-01-02"),
    ] {
        let out = carpus(&[&["runs", "note", "runs/plain-fold1"], arguments].concat());
        assert_eq!(out.status.code(), Some(1), "{arguments:?}");
        assert!(text(&out.stderr).contains(reason), "{}", text(&out.stderr));
    }
    assert!(!home.path().join("runs/plain-fold1/notes.jsonl").exists());
    let out = carpus(&["runs", "note", "runs", "--public", "0.9"]);
    assert!(out.status.code() == Some(1) && text(&out.stderr).contains("runs is not a run"), "{}", text(&out.stderr));
    assert_eq!(carpus(&["runs", "note", "runs/plain-fold1"]).status.code(), Some(2));
}

#[test]
fn differences_are_compared_with_the_noise_between_seeds() {
    let home = tempfile::tempdir().unwrap();
    let carpus = |arguments: &[&str]| carpus(home.path(), arguments);
    let images = |more: f64| fold_images(0).iter().map(|image| flat(image, 0.9 + more)).collect::<Vec<_>>();
    write_run(home.path(), "plain-seed1", 1, 0, "", &images(0.0));
    write_run(home.path(), "ema", 1, 0, "[ema]\ndecay = 0.99\n", &images(0.001));
    let out = carpus(&["runs", "compare", "runs/plain-seed1", "runs/ema"]);
    assert!(text(&out.stderr).contains("noise between seeds is unknown") && text(&out.stderr).contains("--set seed="));
    assert!(text(&carpus(&["runs"]).stderr).contains("noise between seeds is unknown"));
    write_run(home.path(), "plain-seed2", 2, 0, "", &images(0.004));
    let out = carpus(&["runs", "compare", "runs/plain-seed1", "runs/plain-seed2", "runs/ema"]);
    let shown = text(&out.stdout);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    // Deviations of .002: sd = sqrt(2 * .002²) = .0028; 12.706 * .0028 * sqrt(1/2 + 1/1) = .0440.
    assert!(shown.contains("standard deviation 0.0028 of the mean Dice (n = 2 trainings in 1 group"), "{shown}");
    let expected =
        "ema, noise between seeds: -0.0010 compared with ±0.0440: difference smaller than the noise between seeds";
    assert!(shown.contains(expected), "{shown}");
    assert!(text(&carpus(&["runs"]).stdout).contains("standard deviation 0.0028"));
    let items: Value = serde_json::from_slice(&carpus(&["--json", "runs"]).stdout).unwrap();
    assert_eq!(items[0]["seed_noise"]["df"], 1);
}

/// Long values are wrapped.
#[test]
fn changed_settings_are_rows_that_fit_the_terminal() {
    let home = tempfile::tempdir().unwrap();
    let scores = [flat("image00", 0.9), flat("image01", 0.8)];
    let long: Vec<String> = (0..120).map(|i| i.to_string()).collect();
    write_run(home.path(), "plain", 1, 0, "", &scores);
    write_run(home.path(), "long", 1, 0, &format!("[schedule]\nmilestones = [{}]\n", long.join(", ")), &scores);
    let command = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
        command.current_dir(home.path()).args(arguments).env("COLUMNS", "72").output().unwrap()
    };
    let shown = text(&command(&["runs", "compare", "runs/plain", "runs/long"]).stdout);
    let table: Vec<&str> =
        shown.lines().skip_while(|l| !l.starts_with("setting")).take_while(|l| !l.is_empty()).collect();
    assert!(table.len() > 5 && table.iter().all(|line| line.chars().count() <= 72), "{shown}");
    assert!(table.iter().any(|line| line.contains("118, 119]")), "nothing is cut: {shown}");
}

/// Synthetic hands with predictions that have known errors: every bone grown by 2 px, the Lunate missing in every image,
/// Trapezium and Trapezoid swapped in the first image.
fn scored() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let out = carpus(
        home.path(),
        &["phantom", "--out", "data", "--patients", "2", "--test-patients", "1", "--size", "512", "--seed", "3"],
    );
    assert!(out.status.success(), "{}", text(&out.stderr));
    let root = home.path().join("data");
    let dataset = Dataset::open(&root).unwrap();
    let entries: Vec<&ImageEntry> = dataset.images().iter().filter(|e| e.annotation.is_some()).collect();
    let bone = |name: &str| Bone::from_name(name).unwrap();
    let mut predictions = Vec::new();
    for (i, entry) in entries.iter().enumerate() {
        let (width, height) = dataset.dimensions(entry).unwrap();
        let annotated = dataset.annotation(entry).unwrap().unwrap().annotation.masks(width, height);
        let mut masks = annotated.map(|(_, mask)| Ok(mask.dilated(2))).unwrap();
        masks.set(bone("Lunate"), carpus::mask::RunMask::empty(width, height)).unwrap();
        if i == 0 {
            let (a, b) = (masks[bone("Trapezium")].clone(), masks[bone("Trapezoid")].clone());
            masks.set(bone("Trapezoid"), a).unwrap();
            masks.set(bone("Trapezium"), b).unwrap();
        }
        predictions.push(ImageMasks { image_name: format!("{}.png", entry.image_id), masks });
    }
    let file = home.path().join("runs/tried/predictions.csv");
    submission::write(&file, &predictions).unwrap();
    let scoring = {
        let predicted = scores::PredictedMasks { file: &file, images: &predictions };
        scores::score_files(&dataset, &entries, predicted, Region::Image, &Silent).unwrap()
    };
    write_run(home.path(), "tried", 1, 0, "", &scoring.scores);
    home
}

#[test]
fn a_report_shows_known_errors() {
    let home = scored();
    let run = Run::read(&home.path().join("runs/tried")).unwrap();
    let root = home.path().join("data");
    let study = RunStudy::new(&run, Some(&root), 3, &Silent);
    assert_eq!(study.notes, [""; 0]);
    assert_eq!(study.worst.len(), 3);
    assert!(study.worst.iter().all(|w| !w.jpeg.is_empty()));
    let all = sections(&study);
    let numbers = |id: &str| &all.iter().find(|s| s.id == id).unwrap().numbers;
    for figure in all.iter().flat_map(|s| &s.blocks) {
        if let Content::Figure(figure) = figure {
            let collisions = figure.picture().collisions();
            assert!(collisions.is_empty(), "{}: {collisions:?}", figure.name);
        }
    }
    assert_eq!(numbers("classes")["mean"].as_object().unwrap().keys().next().unwrap(), "Lunate");
    assert_eq!((&numbers("rim")["missed"], &numbers("rim")["invented"]), (&json!(4), &json!(0)));
    // Bones are grown by two pixels: no false positive is farther away, except for the swapped bones.
    let classes = numbers("rim")["classes"].as_array().unwrap();
    let of = |name: &str| &classes.iter().find(|c| c["class"] == name).unwrap()["errors"];
    let radius = of("Radius");
    assert!(radius["false_positive_px"].as_u64().unwrap() > 0);
    assert_eq!(radius["positives_within"][1], radius["false_positive_px"]);
    assert!(radius["positives_within"][0].as_u64() < radius["positives_within"][1].as_u64());
    assert_eq!(radius["false_negative_px"], 0);
    let pairs = numbers("neighbours")["pairs"].as_array().unwrap();
    let place = |p: &str, t: &str| pairs.iter().position(|x| x["predicted"] == p && x["truth"] == t).unwrap();
    assert!(place("Trapezium", "Trapezoid") < 3 && place("Trapezoid", "Trapezium") < 3, "{:?}", &pairs[..4]);

    let px: Vec<u64> = pairs.iter().map(|pair| pair["px"].as_u64().unwrap()).collect();
    assert!(px.len() > 3 && px.is_sorted_by(|a, b| a >= b), "{px:?}");

    // The first image, with the swapped bones, is the worst.
    let first = &run.scores.iter().min_by(|a, b| a.mean().total_cmp(&b.mean())).unwrap().image_id;
    assert_eq!(&study.worst[0].score.image_id, first);
}

#[test]
fn a_report_is_a_single_page_without_layout_errors() {
    let home = scored();
    let out = carpus(home.path(), &["--json", "runs", "report", "runs/tried"]);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let page = home.path().join("runs/tried/report.html");
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src=\"figures"));
    let numbers: Value = serde_json::from_slice(&std::fs::read(page.with_extension("json")).unwrap()).unwrap();
    assert_eq!(numbers["overview"]["best"]["epoch"], 12);
    let said = browser::probe(&page, home.path());
    assert_eq!(said["fonts"], json!(["Carpus Sans loaded", "Carpus Sans Bold loaded"]), "{said}");
    assert_eq!((&said["outside"], &said["wide"]), (&json!([]), &json!([])), "{said}");
    assert_eq!((&said["broken"], &said["page_wide"]), (&0.into(), &false.into()), "{said}");
    assert_eq!((&said["sections"], &said["figures"]), (&7.into(), &5.into()), "{said}");

    // The report is reproducible; without the data, the rest of it is written.
    let again = carpus(home.path(), &["runs", "report", "runs/tried"]);
    assert!(again.status.success());
    assert_eq!(std::fs::read_to_string(&page).unwrap(), html);
    std::fs::rename(home.path().join("data"), home.path().join("moved")).unwrap();
    let out = carpus(home.path(), &["runs", "report", "runs/tried"]);
    assert_eq!(out.status.code(), Some(3));
    assert!(text(&out.stderr).contains("--data"), "{}", text(&out.stderr));
    let out = carpus(home.path(), &["runs", "report", "runs/tried", "--data", "moved"]);
    assert_eq!((out.status.code(), std::fs::read_to_string(&page).unwrap() == html), (Some(0), true));
}

/// Neither the list nor the report falls back on the mean in summary.json.
#[test]
fn scores_with_a_repeated_image_are_not_used() {
    let home = experiments();
    let file = home.path().join("runs/ema-fold0/per_image_dice.csv");
    scores::write_scores(&file, &[flat("image000", 0.9), flat("image000", 0.9)]).unwrap();
    let out = carpus(home.path(), &["--json", "runs"]);
    let items: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((out.status.code(), &items[0]["name"]), (Some(3), &json!("ema-fold0")));
    assert_eq!(items[0]["held_out_dice"], Value::Null);
    assert!(text(&out.stderr).contains("line 3: image image000 occurs twice"), "{}", text(&out.stderr));
    let out = carpus(home.path(), &["runs", "report", "runs/ema-fold0"]);
    assert_eq!(out.status.code(), Some(3));
    let html = std::fs::read_to_string(home.path().join("runs/ema-fold0/report.html")).unwrap();
    assert!(html.contains("per_image_dice.csv cannot be used") && html.contains("occurs twice"));
}

#[test]
fn an_unfinished_run_has_a_report() {
    let home = tempfile::tempdir().unwrap();
    write_run(home.path(), "young", 1, 0, "", &[]);
    let run = home.path().join("runs/young");
    std::fs::remove_file(run.join("summary.json")).unwrap();
    for left in ["metrics.csv", "config.toml"] {
        let out = carpus(home.path(), &["runs", "report", "runs/young"]);
        assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
        let html = std::fs::read_to_string(run.join("report.html")).unwrap();
        assert!(html.contains("the run has not ended") && html.contains("no predictions.csv"));
        assert_eq!(html.contains("figure-curves"), left == "metrics.csv");
        std::fs::remove_file(run.join(left)).unwrap();
    }
    let out = carpus(home.path(), &["runs", "report", "runs/young"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(find(&[home.path().join("runs")]).unwrap_err().to_string().contains("carpus train"));
}

#[test]
fn a_run_has_converged_only_after_enough_epochs() {
    let home = tempfile::tempdir().unwrap();
    write_run(home.path(), "run", 1, 0, "", &[]);
    let folder = home.path().join("runs/run");
    std::fs::remove_file(folder.join("summary.json")).unwrap();
    let text = |epochs: usize, best: usize| {
        let mut log = log(epochs, 0.95);
        log.iter_mut().zip(1..).for_each(|(row, epoch)| row.valid_dice = Some(if epoch == best { 0.9 } else { 0.8 }));
        write_csv(&folder.join("metrics.csv"), &log).unwrap();
        let run = Run::read(&folder).unwrap();
        let all = sections(&RunStudy::new(&run, None, 0, &Silent));
        let curves = all.iter().find(|s| s.id == "curves").unwrap();
        format!("{:?}", curves.blocks)
    };
    assert!(text(3, 3).contains("The last epoch is the best"));
    let young = text(3, 2);
    assert!(!young.contains("the run has converged,") && young.contains("1 epoch after the best one"), "{young}");
    assert!(young.contains("at least 10"), "{young}");
    assert!(text(20, 11).contains("too few to decide"));
    assert!(text(20, 10).contains("There is no better epoch in the last 10: the run has converged"));
    assert!(text(200, 185).contains("at least 20"));
}

#[test]
fn html_in_a_configuration_is_escaped() {
    let home = tempfile::tempdir().unwrap();
    write_run(home.path(), "odd", 1, 0, "[note]\n\"<script>alert(1)</script>\" = '\"><img src=x>'\n", &[]);
    carpus(home.path(), &["runs", "report", "runs/odd"]);
    let html = std::fs::read_to_string(home.path().join("runs/odd/report.html")).unwrap();
    // The page has one script, its own.
    assert_eq!(html.matches("<script").count(), 1);
    assert!(!html.contains("<script>alert") && !html.contains("<img src=x") && html.contains("&lt;script&gt;"));
}
