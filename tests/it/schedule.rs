//! `carpus schedule` against PyTorch's own schedulers, all stages in a row.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::python;

fn schedule(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus")).current_dir(folder).arg("schedule").args(arguments).output().unwrap()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_rates_of_a_run_are_the_references() {
    const LR: f64 = 3e-3;
    let seed = python::seed();
    let (epochs, per_epoch) = (10 + seed % 13, 3 + seed % 7);
    let total = epochs * per_epoch;
    let text = python::run("schedule.py", &[&total.to_string(), &per_epoch.to_string(), &seed.to_string()]);
    let cases: Vec<(Value, Vec<f64>)> = serde_json::from_str(&text).expect("the script prints JSON");
    // Every case is a stage of one run.
    let mut config = format!("epochs = {epochs}\noptimiser = {{ lr = {LR}, encoder-lr-factor = 0.1 }}\n");
    for (settings, _) in &cases {
        let settings: toml::Table = serde_json::from_value(settings.clone()).unwrap();
        let table = toml::Value::Table(toml::Table::from_iter([("schedule".to_owned(), settings.into())]));
        config +=
            &format!("[[stages]]\n{}", toml::to_string(&table).unwrap().replace("[schedule]", "[stages.schedule]"));
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("run.toml"), config).unwrap();
    let per_epoch = per_epoch.to_string();
    let out = schedule(home.path(), &["--config", "run.toml", "--steps-per-epoch", &per_epoch, "--csv"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let mut reader = csv::Reader::from_reader(&out.stdout[..]);
    assert_eq!(reader.headers().unwrap(), vec!["stage", "epoch", "step", "factor", "lr", "encoder_lr"]);
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len() as u64, total * cases.len() as u64);
    let expected = cases.iter().enumerate().flat_map(|(stage, (_, factors))| factors.iter().map(move |f| (stage, *f)));
    for (step, (row, (stage, factor))) in rows.iter().zip(expected).enumerate() {
        let number = |column: usize| row[column].parse::<f64>().unwrap();
        assert_eq!((&row[0], number(2)), (&*format!("stage-{}", stage + 1), step as f64));
        assert_eq!(number(1) as u64, step as u64 * epochs / total + 1, "epoch of step {step}");
        // PyTorch multiplies its rate on from step to step, which gathers rounding; ours is the closed form.
        assert!((number(3) - factor).abs() < 1e-9, "step {step}: {row:?}, {factor}");
        assert!((number(4) - LR * number(3)).abs() < 1e-15 && (number(5) - 0.1 * number(4)).abs() < 1e-15, "{row:?}");
    }
}

#[test]
fn a_schedule_is_drawn_and_mistakes_are_told() {
    let home = tempfile::tempdir().unwrap();
    let config = "epochs = 3\n[[stages]]\nname = 'coarse'\n[[stages]]\nname = 'fine'\nschedule = { kind = 'cosine' }\n";
    std::fs::write(home.path().join("run.toml"), config).unwrap();
    let from = ["--config", "run.toml", "--steps-per-epoch", "5"];
    for out in ["rate.png", "rate.svg"] {
        let drawn = schedule(home.path(), &[&["plot"], &from[..], &["--out", out]].concat());
        assert!(drawn.status.success(), "{}", String::from_utf8_lossy(&drawn.stderr));
    }
    assert_eq!(image::open(home.path().join("rate.png")).unwrap().width() % 880, 0);
    let svg = std::fs::read_to_string(home.path().join("rate.svg")).unwrap();
    assert!(svg.contains("coarse") && svg.contains("fine") && svg.contains("n = 30 steps, 6 epochs"), "{svg}");
    let said = |arguments: &[&str]| {
        let out = schedule(home.path(), arguments);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, error) = said(&[&["plot"], &from[..], &["--out", "rate.bmp"]].concat());
    assert!(code == Some(1) && error.contains(".png or .svg"), "{error}");
    // Without the data the steps of an epoch are not known.
    let (code, error) = said(&["--config", "run.toml", "--csv"]);
    assert!(code == Some(1) && error.contains("--steps-per-epoch"), "{error}");
    assert_eq!(said(&[]).0, Some(2));
}
