//! Training, prediction, scores and votes as a user runs them.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::train::{draw_data, state};

const CONFIG: &str = "
size = 64
epochs = 2
batch = 2
pictures = 1
[model]
in-channels = 1
[optimiser]
lr = 2e-3
[ema]
decay = 0.9
";

fn carpus(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
    command.current_dir(folder).args(arguments).env("OMP_NUM_THREADS", "1").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let out = carpus(folder, arguments).output().unwrap();
    assert!(out.status.success(), "{arguments:?}\n{}\n{}", text(&out.stdout), text(&out.stderr));
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let folds = draw_data(&folder.path().join("data"), 3);
    carpus::tables::write_csv(&folder.path().join("folds.csv"), &folds).unwrap();
    std::fs::write(folder.path().join("tiny.toml"), CONFIG).unwrap();
    folder
}

const TRAIN: [&str; 5] = ["train", "--config", "tiny.toml", "--fold", "1"];

#[test]
fn train_predict_evaluate_vote() {
    let bench = bench();
    let folder = bench.path();
    let out = run(folder, &[&TRAIN[..], &["--json"]].concat());
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON value");
    let dice = summary["held_out"]["mean_dice"].as_f64().unwrap();
    let best = "runs/tiny-fold1/best.safetensors";
    let config = std::fs::read_to_string(folder.join("runs/tiny-fold1/config.toml")).unwrap();
    assert!(config.contains("fold = 1") && config.contains("weight-decay"), "{config}");

    let predict = ["predict", "--checkpoint", best, "--data", "data", "--subset", "train", "--out"];
    run(folder, &[&predict[..], &["held.csv", "--folds", "folds.csv", "--fold", "1"]].concat());
    let predictions = std::fs::read_to_string(folder.join("held.csv")).unwrap();
    // Two images in the order of the data, 29 classes each in channel order.
    let lines: Vec<&str> = predictions.lines().collect();
    assert_eq!(lines.len(), 1 + 2 * 29);
    assert_eq!(lines[0], "image_name,class,rle");
    assert!(lines[1].starts_with("image1661000000002.png,finger-1,") && lines[58].contains(".png,Ulna,"));

    run(folder, &["evaluate", "--predictions", "held.csv", "--data", "data", "--out", "dice.csv"]);
    let evaluated: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("dice.json")).unwrap()).unwrap();
    assert!((evaluated["mean_dice"].as_f64().unwrap() - dice).abs() < 1e-12);
    assert_eq!(evaluated["images"], 2);

    run(folder, &[&predict[..], &["mirrored.csv", "--tta", "--folds", "folds.csv", "--fold", "1"]].concat());
    run(folder, &["vote", "held.csv", "held.csv", "mirrored.csv", "--out", "voted.csv"]);
    assert_eq!(std::fs::read_to_string(folder.join("voted.csv")).unwrap(), predictions, "two of three agree");

    let out = carpus(
        folder,
        &["evaluate", "--predictions", "held.csv", "--data", "data", "--subset", "train", "--out", "x.csv"],
    )
    .output()
    .unwrap();
    let error = text(&out.stderr);
    assert!(!out.status.success() && error.contains("4 of the images to score have no masks"), "{error}");

    let out = carpus(folder, &TRAIN).output().unwrap();
    assert!(text(&out.stderr).contains("--resume"), "{}", text(&out.stderr));
    let out = carpus(folder, &[&TRAIN[..], &["--set", "optimiser.lrr=1"]].concat()).output().unwrap();
    let error = text(&out.stderr);
    assert!(error.contains("tiny.toml") && error.contains("lrr") && error.contains("weight-decay"), "{error}");
}

fn started(folder: &Path, name: &str, more: &[&str]) -> Child {
    let arguments = [&TRAIN[..], &["--name", name, "--set", "evaluate=false", "--set", "save-every=1"], more].concat();
    carpus(folder, &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn wait_for(path: &Path, child: &mut Child) {
    let limit = Instant::now() + Duration::from_secs(300);
    while !path.exists() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < limit, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Killed with SIGKILL at a random moment after the first save, as often as `CARPUS_KILLS` says (once by default),
/// and asked to stop by SIGINT: the run that goes on ends with the bits of one that was left alone.
#[test]
fn killed_and_resumed_ends_with_the_same_bits() {
    let bench = bench();
    let folder = bench.path();
    let whole = started(folder, "whole", &[]).wait().unwrap();
    assert!(whole.success());
    let expected = state(&folder.join("runs/whole/last.safetensors"));
    let kills: u64 = std::env::var("CARPUS_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    let seed = crate::python::seed();
    for kill in 0..=kills {
        let name = format!("broken{kill}");
        let last = folder.join(format!("runs/{name}/last.safetensors"));
        let mut child = started(folder, &name, &[]);
        wait_for(&last, &mut child);
        if kill == kills {
            let interrupted = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(interrupted.success());
            assert_eq!(child.wait().unwrap().code(), Some(130));
        } else {
            std::thread::sleep(Duration::from_millis((seed + 7919 * kill) % 700));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(started(folder, &name, &["--resume"]).wait().unwrap().success());
        let ended = state(&last);
        let differing: Vec<&String> = expected.keys().filter(|n| expected[*n] != ended[*n]).collect();
        assert!(differing.is_empty() && expected.len() == ended.len(), "{name}: {differing:?}");
    }
}
