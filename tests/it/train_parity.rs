//! Schedules and optimisers against PyTorch, event files against TensorBoard's own reader.

use std::collections::HashMap;

use carpus::models::read_tensors;
use carpus::train::{EventsWriter, Optimiser, OptimiserKind, OptimiserSettings, Schedule};
use tch::{Kind, Tensor};

use crate::python;

#[test]
fn every_schedule_equals_the_reference_at_every_step() {
    let seed = python::seed();
    let (epochs, per_epoch) = (10 + seed % 13, 3 + seed % 7);
    let total = epochs * per_epoch;
    let text = python::run("schedule.py", &[&total.to_string(), &per_epoch.to_string()]);
    let expected: HashMap<String, Vec<f64>> = serde_json::from_str(&text).expect("the script prints JSON");
    let ours = [
        Schedule::Constant {},
        Schedule::Step { every: 3, gamma: 0.3 },
        Schedule::Linear { end: 0.05 },
        Schedule::Polynomial { power: 0.9 },
        Schedule::Cosine { end: 0.01 },
        Schedule::CosineWarmup { warmup: 0.1, end: 0.0 },
        Schedule::CosineRestarts { first: 2, multiplier: 2, decay: 1.0, warmup: 0.0, end: 0.02 },
        Schedule::OneCycle { rise: 0.3, start: 1.0 / 25.0, end: 1e-4 / 25.0 },
    ];
    assert_eq!(ours.len(), Schedule::ALL.len());
    for (name, schedule) in Schedule::ALL.iter().zip(&ours) {
        for (step, expected) in expected[*name].iter().enumerate() {
            let factor = schedule.factor(step as u64, total, per_epoch);
            // PyTorch multiplies its rate on from step to step, which gathers rounding; ours is the closed form.
            assert!((factor - expected).abs() < 1e-9, "{name} step {step} of {total}: {factor}, {expected}");
        }
    }
}

#[test]
fn optimisers_move_as_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moves.safetensors");
    python::run("optimiser.py", &[file.to_str().unwrap(), &python::seed().to_string()]);
    let tensors = read_tensors(&file).unwrap();
    let sgd = |momentum, nesterov, weight_decay| OptimiserSettings {
        kind: OptimiserKind::Sgd,
        momentum,
        nesterov,
        weight_decay,
        ..Default::default()
    };
    let adamw =
        OptimiserSettings { weight_decay: 0.03, betas: [0.85, 0.99], eps: 1e-7, ..OptimiserSettings::default() };
    for (case, settings, clip) in [
        ("adamw", adamw, None),
        ("sgd", sgd(0.9, true, 0.03), None),
        ("plain-sgd", sgd(0.8, false, 0.0), None),
        ("clipped", sgd(0.8, false, 0.0), Some(2.0)),
    ] {
        let weight = tensors[&format!("{case}.start")].copy().set_requires_grad(true);
        let gradients = &tensors[&format!("{case}.gradients")];
        let named = || vec![("decoder.w".to_owned(), weight.shallow_clone())];
        let mut optimiser = Optimiser::new(&settings, named());
        let steps = gradients.size()[0];
        for i in 0..steps {
            (&weight * gradients.get(i)).sum(Kind::Float).backward();
            optimiser.clip(clip);
            optimiser.step(0.01 * (i + 1) as f64 / steps as f64);
            optimiser.zero_grad();
            if i == steps / 2 {
                // State goes through a save and a load in the middle.
                let state = optimiser.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
                optimiser = Optimiser::new(&settings, named());
                optimiser.load_state(&state).unwrap();
            }
        }
        let worst = (&weight - &tensors[&format!("{case}.end")]).abs().max().double_value(&[]);
        // Single precision, weights of about 1, 25 steps; the reference fuses a product and a sum.
        assert!(worst < 2e-6, "{case}: {worst}");
    }
}

#[test]
fn groups_have_their_own_rates_and_decay() {
    let settings = OptimiserSettings {
        kind: OptimiserKind::Sgd,
        momentum: 0.0,
        nesterov: false,
        weight_decay: 0.1,
        encoder_lr_factor: 0.5,
        ..Default::default()
    };
    let make = |size: &[i64]| Tensor::ones(size, (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let (encoder, decoder, bias, idle) = (make(&[2, 2]), make(&[2, 2]), make(&[2]), make(&[2, 2]));
    let named = [("encoder.w", &encoder), ("decoder.w", &decoder), ("decoder.b", &bias), ("decoder.idle", &idle)];
    let mut optimiser =
        Optimiser::new(&settings, named.iter().map(|(n, t)| ((*n).to_owned(), t.shallow_clone())).collect());
    (encoder.sum(Kind::Float) + decoder.sum(Kind::Float) + bias.sum(Kind::Float)).backward();
    optimiser.step(1.0);
    let at = |t: &Tensor| t.flatten(0, -1).double_value(&[0]);
    // 1 - rate * (gradient + decay * weight); biases do not decay, a weight without gradient stays.
    for (value, expected) in [(at(&encoder), 0.45), (at(&decoder), -0.1), (at(&bias), 0.0), (at(&idle), 1.0)] {
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
}

#[test]
fn tensorboard_reads_the_events() {
    let folder = tempfile::tempdir().unwrap();
    let mut events = EventsWriter::create(folder.path(), None).unwrap();
    for step in 0..200u64 {
        let loss = 1.0 / (step + 1) as f64;
        events.scalars(step, [("loss/train", loss), ("손실", -loss)]).unwrap();
    }
    let mut png = Vec::new();
    let picture = image::RgbImage::from_pixel(300, 7, image::Rgb([1, 2, 3]));
    picture.write_with_encoder(image::codecs::png::PngEncoder::new(&mut png)).unwrap();
    events.image(150, "validation", 300, 7, &png).unwrap();
    drop(events);
    // A run that goes on at step 120 takes back what came after it.
    let mut events = EventsWriter::create(folder.path(), Some(120)).unwrap();
    events.scalars(120, [("loss/train", 7.0)]).unwrap();
    drop(events);
    let text = python::run("tensorboard.py", &[folder.path().to_str().unwrap()]);
    let found: serde_json::Value = serde_json::from_str(&text).expect("the script prints JSON");
    let losses = found["scalars"]["loss/train"].as_array().unwrap();
    assert_eq!(losses.len(), 121, "{losses:?}");
    assert_eq!(losses[9][0], 9);
    assert!((losses[9][1].as_f64().unwrap() - 0.1).abs() < 1e-7);
    assert_eq!(losses[120][1], 7.0);
    assert_eq!(found["scalars"]["손실"].as_array().unwrap().len(), 120);
    let images = found["images"]["validation"].as_array().unwrap();
    assert!(images.is_empty() || images[0] == serde_json::json!([150, 300, 7, "89504e47"]), "{images:?}");
}
