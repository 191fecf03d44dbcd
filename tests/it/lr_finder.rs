//! `carpus train --find-lr`.

use std::path::Path;
use std::process::{Command, Output};

use crate::python;
use crate::train::draw_data;

const CONFIG: &str = "
size = 64
batch = 2
accumulate = 2
[model]
in-channels = 1
encoder = 'resnet18'
encoder-scale = { width = 0.25, depth = 0.5 }
[input]
mean = [0.2]
sd = [0.3]
";

fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let folds = draw_data(&folder.path().join("data"), 3);
    carpus::tables::write_csv(&folder.path().join("folds.csv"), &folds).unwrap();
    std::fs::write(folder.path().join("tiny.toml"), CONFIG).unwrap();
    folder
}

fn find(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus"))
        .current_dir(folder)
        .args(["train", "--config", "tiny.toml", "--fold", "1", "--find-lr"])
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_learning_rate_is_found_and_nothing_is_trained() {
    let bench = bench();
    let folder = bench.path();
    let out = find(folder, &["lr", "--lr-from", "1e-5", "--lr-to", "3", "--lr-steps", "40"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said = text(&out.stdout);
    assert!(said.contains("steepest descent of the loss: optimiser.lr = "), "{said}");
    assert!(said.contains("a tenth of the rate with the least loss: optimiser.lr = "), "{said}");
    assert!(!folder.join("runs").exists());
    let csv = std::fs::read_to_string(folder.join("lr/lr_finder.csv")).unwrap();
    let rows: Vec<Vec<f64>> =
        csv.lines().skip(1).map(|line| line.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    assert!(csv.starts_with("step,lr,loss,smoothed\n") && rows.len() > 20, "{csv}");
    assert!((rows[0][1] - 1e-5).abs() < 1e-12 && rows[0][2] == rows[0][3]);
    let factor = (3e5f64).powf(1.0 / 39.0);
    assert!(rows.windows(2).all(|pair| (pair[1][1] / pair[0][1] / factor - 1.0).abs() < 1e-9));
    let least = rows.iter().map(|row| row[3]).fold(f64::INFINITY, f64::min);
    assert!(least < 0.9 * rows[0][3], "the loss falls from {} to {least}", rows[0][3]);
    assert!(image::open(folder.join("lr/lr_finder.png")).unwrap().height() > 100);
    // The same seed gives the same bytes, and the folder may be written again; another seed gives others.
    let short = |seed: &str| {
        let out = find(folder, &["lr", "--lr-steps", "6", "--set", seed, "--lr-from", "1e-5", "--lr-to", "3"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        std::fs::read_to_string(folder.join("lr/lr_finder.csv")).unwrap()
    };
    let (first, again, other) = (short("seed=0"), short("seed=0"), short("seed=1"));
    assert!(first == again && first != other, "{first}\n{again}\n{other}");
}

#[test]
fn what_cannot_be_found_is_an_error() {
    let bench = bench();
    let folder = bench.path();
    let out = find(folder, &["lr", "--set", "input.sd=[1e-42]"]);
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stdout));
    assert!(text(&out.stderr).contains("the loss of the first step is not finite"), "{}", text(&out.stderr));
    assert!(!folder.join("lr").exists() && !folder.join("runs").exists());
    let out = find(folder, &["lr", "--lr-from", "1", "--lr-to", "0.5"]);
    assert!(text(&out.stderr).contains("--lr-to is 0.5; expected above the first rate"), "{}", text(&out.stderr));
    std::fs::create_dir(folder.join("mine")).unwrap();
    std::fs::write(folder.join("mine/notes.txt"), "x").unwrap();
    let out = find(folder, &["mine", "--lr-steps", "5"]);
    assert!(!out.status.success() && text(&out.stderr).contains("mine"), "{}", text(&out.stderr));
}

/// The suggestions of the curve, against NumPy's gradient as PyTorch Lightning uses it.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn smoothing_and_suggestions_equal_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    python::run("lr_finder.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    let cases = std::fs::read_to_string(folder.path().join("cases.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&cases).unwrap();
    let numbers = |case: &serde_json::Value, key: &str| -> Vec<f64> {
        case[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    assert!(cases.len() > 10);
    for case in &cases {
        let mut curve = carpus::train::LrCurve::default();
        for (lr, loss) in numbers(case, "rates").into_iter().zip(numbers(case, "losses")) {
            if !curve.push(lr, loss) {
                break;
            }
        }
        let smoothed = numbers(case, "smoothed");
        assert_eq!(curve.points.len(), smoothed.len(), "the test ends at the same step");
        for (point, wanted) in curve.points.iter().zip(&smoothed) {
            assert!((point.smoothed - wanted).abs() < 1e-12 * wanted.abs(), "{point:?} for {wanted}");
        }
        let found = curve.suggestions().unwrap();
        assert_eq!(found.steepest, case["steepest"].as_f64().unwrap());
        assert!((found.tenth_of_least / case["tenth"].as_f64().unwrap() - 1.0).abs() < 1e-12);
    }
}
