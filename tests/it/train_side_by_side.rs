//! The same training here and in PyTorch with segmentation_models_pytorch, in turns on one machine:
//! `cargo test --release --test it side_by_side -- --nocapture` prints the largest difference of the losses and the ratio of
//! the times.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use carpus::augment::Augmentations;
use carpus::models::{Model, ModelConfig, read_tensors};
use carpus::train::{Learner, OneProcess, Schedule, Stage, StartFrom, StepOutcome, Tensors, TrainConfig, TrainingPlan};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::python;

const STEPS: usize = 50;
const TURN: usize = 5;
const BATCH: usize = 4;
const SIZE: u32 = 64;

#[derive(Deserialize)]
struct Turn {
    losses: Vec<f64>,
    seconds: Vec<f64>,
}

fn plan() -> TrainingPlan {
    let config = TrainConfig {
        size: carpus::geometry::Size::square(SIZE),
        epochs: 1,
        batch: BATCH,
        clip: Some(1.0),
        model: ModelConfig { dropout: Some(0.0), drop_path: Some(0.0), ..ModelConfig::default() },
        schedule: Schedule::Constant {},
        augment: Augmentations::none(),
        ..TrainConfig::default()
    };
    let stage = Stage { name: "train".into(), start_from: StartFrom::Last, config: config.clone() };
    TrainingPlan { config, stages: vec![stage], sample_weights: None }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn side_by_side_with_the_reference() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let mut reference = Command::new(python::root().join(".venv/bin/python"))
        .arg(python::root().join("tests/parity/side_by_side.py"))
        .arg(folder.path())
        .args([python::seed().to_string(), BATCH.to_string(), SIZE.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("OMP_NUM_THREADS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ask = reference.stdin.take().unwrap();
    let mut lines = BufReader::new(reference.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().expect("it prints `ready`").unwrap(), "ready");

    let plan = plan();
    let mut model = Model::new(&plan.config.model, Device::Cpu).unwrap();
    model.load(&folder.path().join("start.safetensors")).unwrap();
    let mut learner = Learner::new(model, &plan, 0, &OneProcess).unwrap();
    let batches = read_tensors(&folder.path().join("batches.safetensors")).unwrap();
    let metadata = Tensor::full([BATCH as i64, 4], f64::NAN, (Kind::Float, Device::Cpu));
    let count = batches["x"].size()[0];
    let (mut ours, mut theirs) = ((vec![], vec![]), (vec![], vec![]));
    for turn in 0..STEPS / TURN {
        writeln!(ask, "{TURN}").unwrap();
        let answer: Turn = serde_json::from_str(&lines.next().expect("an answer").unwrap()).unwrap();
        theirs.0.extend(answer.losses);
        theirs.1.extend(answer.seconds);
        for step in turn * TURN..(turn + 1) * TURN {
            let started = Instant::now();
            let at = step as i64 % count;
            let given = Tensors {
                images: batches["x"].get(at),
                words: batches["words"].get(at),
                soft: None,
                metadata: metadata.shallow_clone(),
            };
            let loss = learner.learn(&given, 1.0, 1.0).unwrap();
            assert!(matches!(learner.step(1e-3, step as u64 + 1).unwrap(), StepOutcome::Updated(_)));
            learner.clear_gradients().unwrap();
            ours.0.push(loss);
            ours.1.push(started.elapsed().as_secs_f64());
        }
    }
    drop(ask);
    assert!(reference.wait().unwrap().success());
    let worst = ours.0.iter().zip(&theirs.0).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let (here, there) = (median(ours.1), median(theirs.1));
    println!(
        "{STEPS} steps of FPN on EfficientNet-b0, {BATCH} images of {SIZE} px, one thread: losses {:.4} to {:.4}, \
         largest difference {worst:.2e}; median step {:.1} ms here, {:.1} ms in PyTorch: ratio {:.3}",
        ours.0[0],
        ours.0[STEPS - 1],
        1e3 * here,
        1e3 * there,
        here / there
    );
    assert!(ours.0[STEPS - 1] < 0.8 * ours.0[0], "it learns: {:?}", ours.0);
    // Single precision: the same sums in another order, carried on through the steps of a network with batch norms.
    assert!(worst < 1e-3, "{worst}\n{:?}\n{:?}", ours.0, theirs.0);
}
