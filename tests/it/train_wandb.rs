//! W&B's offline run folder, read and uploaded by the package wandb itself, to a server on this machine.

use std::path::Path;

use carpus::bones;
use carpus::tables::EpochRow;
use carpus::train::{
    OneProcess, OptimiserSettings, Outcome, RunStart, TrainConfig, WandbConfig, WandbFolder, WandbResult,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::python;
use crate::train::{Bench, StopAfter};

fn read(folder: &Path) -> Value {
    let text = python::run("wandb_sync.py", &[folder.to_str().unwrap()]);
    serde_json::from_str(&text).expect("the script prints JSON")
}

fn settings() -> WandbConfig {
    WandbConfig {
        project: "hands".into(),
        entity: Some("team".into()),
        name: Some("손 fold0".into()),
        group: Some("fpn".into()),
        tags: vec!["a".into(), "나".into()],
    }
}

/// The records of one kind.
fn of_kind<'a>(read: &'a Value, kind: &str) -> Vec<&'a Value> {
    read["records"].as_array().unwrap().iter().filter_map(|record| record.get(kind)).collect()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_package_wandb_reads_and_uploads_the_folder() {
    let mut random = ChaCha8Rng::seed_from_u64(python::seed());
    // With 150 epochs the log has several blocks of 32 KiB.
    for (epochs, has_ended) in [(150, true), (random.random_range(1..20), false)] {
        let run = tempfile::tempdir().unwrap();
        let rows: Vec<EpochRow> = (1..=epochs)
            .map(|epoch| EpochRow {
                stage: "train".into(),
                epoch,
                step: 7 * u64::from(epoch),
                lr: random.random_range(1e-9..1e-2),
                train_loss: random.random_range(0.0..2.0),
                valid_loss: Some(if epoch == 1 { f64::NAN } else { random.random_range(0.0..2.0) }),
                valid_dice: Some(random.random_range(0.0..1.0)),
                seconds: random.random_range(1.0..100.0),
                dice: (0..bones::COUNT).map(|_| random.random_range(0.0..1.0)).collect(),
                ..EpochRow::default()
            })
            .collect();
        let config = TrainConfig { wandb: Some(settings()), ..TrainConfig::default() };
        let folder = WandbFolder::open(run.path(), RunStart::New).unwrap();
        let result = WandbResult { best_epoch: Some(3), best_dice: Some(0.97), held_out: Some(0.96) };
        folder.write(&config, &rows, has_ended.then_some(&result)).unwrap();
        let log = folder.logs().unwrap().remove(0);
        let said = read(log.parent().unwrap());
        let sync = &said["sync"];
        assert_eq!(sync["code"], 0, "{sync}");

        let run = of_kind(&said, "run")[0];
        for (key, value) in
            [("entity", "team"), ("project", "hands"), ("run_group", "fpn"), ("display_name", "손 fold0")]
        {
            assert_eq!(run[key], value, "{run}");
        }
        assert_eq!(run["tags"], json!(["a", "나"]));
        let id = run["run_id"].as_str().unwrap();
        assert!(log.ends_with(format!("run-{id}.wandb")) && id.len() == 8);
        let sent = &sync["upserts"][0];
        assert_eq!(
            (&sent["name"], &sent["displayName"], &sent["groupName"]),
            (&json!(id), &json!("손 fold0"), &json!("fpn"))
        );
        let uploaded: Value = serde_json::from_str(sent["config"].as_str().unwrap()).unwrap();
        // W&B writes 1.0 as 1, so settings are compared, not texts.
        let optimiser: OptimiserSettings = serde_json::from_value(uploaded["optimiser"]["value"].clone()).unwrap();
        assert_eq!(optimiser, config.optimiser);
        assert_eq!((&uploaded["size"]["value"], uploaded.get("wandb")), (&json!(512), None));

        let history = sync["history"].as_array().unwrap();
        assert_eq!((history.len(), of_kind(&said, "history").len()), (rows.len(), rows.len()), "{sync}");
        let mut runtime = 0.0;
        for (line, row) in history.iter().zip(&rows) {
            runtime += row.seconds;
            for (key, value) in [
                ("_step", row.step as f64),
                ("epoch", f64::from(row.epoch)),
                ("loss/train", row.train_loss),
                ("dice/validation", row.valid_dice.unwrap()),
                ("rate", row.lr),
                ("dice by class/Ulna", row.dice[28]),
                ("_runtime", runtime),
            ] {
                assert_eq!(line[key].as_f64(), Some(value), "{key} of {line}");
            }
            assert_eq!(line["stage"], "train");
        }
        assert_eq!(history[0]["loss/validation"], "NaN");
        let summary = sync["summary"].as_array().unwrap().last().unwrap();
        assert_eq!(summary["dice/validation"].as_f64(), rows.last().unwrap().valid_dice);
        assert_eq!(summary.get("dice/held out").and_then(Value::as_f64), has_ended.then_some(0.96), "{summary}");
        assert_eq!(of_kind(&said, "exit").len(), usize::from(has_ended));
        // W&B shows a run that has not ended as failed.
        assert_eq!(sync["complete"], json!([i32::from(!has_ended)]), "{sync}");
    }
}

/// A run that is stopped within its second epoch, uploaded, resumed and uploaded has each epoch once, under one id.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn a_resumed_training_continues_its_wandb_run() {
    let bench = Bench::new();
    let mut plan = bench.plan();
    (plan.config.pictures, plan.config.histograms, plan.config.wandb) = (0, false, Some(settings()));
    let run = bench.run("logged");
    let outcome = bench.train_as(&plan, &OneProcess, &run, false, &StopAfter::batches(4)).unwrap();
    assert!(matches!(outcome, Outcome::Interrupted { epoch: 1, .. }), "{outcome:?}");
    let folders = || -> Vec<_> {
        let logs = WandbFolder::open(run.path(), RunStart::Resume).unwrap().logs().unwrap();
        logs.into_iter().map(|log| log.parent().unwrap().to_owned()).collect()
    };
    let epochs = |said: &Value| -> Vec<(u64, u64)> {
        let history = said["sync"]["history"].as_array().unwrap();
        history.iter().map(|line| (line["epoch"].as_u64().unwrap(), line["_step"].as_u64().unwrap())).collect()
    };
    let before = folders();
    assert_eq!(before.len(), 1);
    // The package uploads the folder and marks it.
    let first = read(&before[0]);
    assert_eq!((epochs(&first), of_kind(&first, "exit").len()), (vec![(1, 3)], 0));
    bench.train_as(&plan, &OneProcess, &run, true, &StopAfter::never()).unwrap();
    let after = folders();
    assert_eq!((after.len(), &after[0]), (2, &before[0]));
    let second = read(&after[1]);
    assert_eq!(epochs(&second), [(2, 6), (3, 9)]);
    assert_eq!(of_kind(&first, "run")[0]["run_id"], of_kind(&second, "run")[0]["run_id"]);
    assert_eq!(second["sync"]["complete"], json!([0]), "{}", second["sync"]);
    let rows: Vec<EpochRow> = carpus::tables::read(&run.metrics()).unwrap();
    assert_eq!(second["sync"]["history"][1]["dice/validation"].as_f64(), rows[2].valid_dice);
    // A finished run that is resumed has nothing to upload.
    bench.train_as(&plan, &OneProcess, &run, true, &StopAfter::never()).unwrap();
    assert_eq!(folders(), after);
}
