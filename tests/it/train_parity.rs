//! Schedules and optimisers against PyTorch, event files against TensorBoard's own reader.

use carpus::models::read_tensors;
use carpus::train::{
    EventsWriter, GradientRange, Optimiser, OptimiserKind, OptimiserSettings, Scaler, Schedule, TensorHistogram,
};
use tch::{Kind, Tensor};

use crate::python;

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn every_schedule_equals_the_reference_at_every_step() {
    let seed = python::seed();
    let (epochs, per_epoch) = (10 + seed % 13, 3 + seed % 7);
    let total = epochs * per_epoch;
    let text = python::run("schedule.py", &[&total.to_string(), &per_epoch.to_string(), &seed.to_string()]);
    // Each case is a schedule as a configuration has it, and the reference's factors.
    let cases: Vec<(serde_json::Value, Vec<f64>)> = serde_json::from_str(&text).expect("the script prints JSON");
    for kind in Schedule::ALL {
        assert!(cases.iter().any(|(settings, _)| settings["kind"] == **kind), "{kind} is not compared with anything");
    }
    for (settings, expected) in cases {
        let schedule: Schedule = serde_json::from_value(settings.clone()).expect("a schedule's settings");
        assert!(schedule.violations().is_empty());
        assert_eq!(expected.len() as u64, total);
        for (step, expected) in (0..).zip(expected) {
            let factor = schedule.factor(step, total, per_epoch);
            // PyTorch multiplies its rate on from step to step, which gathers rounding; ours is the closed form.
            assert!((factor - expected).abs() < 1e-9, "{settings} step {step} of {total}: {factor}, {expected}");
        }
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn optimisers_move_as_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("moves.safetensors");
    python::run("optimiser.py", &[file.to_str().unwrap(), &python::seed().to_string()]);
    let tensors = read_tensors(&file).unwrap();
    let with = |kind, weight_decay| OptimiserSettings { kind, weight_decay, ..Default::default() };
    let sgd = |momentum, nesterov, weight_decay| OptimiserSettings {
        momentum,
        nesterov,
        ..with(OptimiserKind::Sgd, weight_decay)
    };
    let betas = Some([0.85, 0.99]);
    let adamw = OptimiserSettings { betas, eps: 1e-7, ..with(OptimiserKind::AdamW, 0.03) };
    let radam = OptimiserSettings { betas: Some([0.85, 0.95]), eps: 1e-7, ..with(OptimiserKind::RAdam, 0.03) };
    let lion = OptimiserSettings { betas, ..with(OptimiserKind::Lion, 0.3) };
    let mut seen = std::collections::HashSet::new();
    for (case, settings, clip) in [
        ("adamw", adamw, None),
        ("sgd", sgd(0.9, true, 0.03), None),
        ("plain-sgd", sgd(0.8, false, 0.0), None),
        ("no-momentum", sgd(0.0, true, 0.03), None),
        ("clipped", sgd(0.8, false, 0.0), Some(2.0)),
        ("radam", radam, None),
        ("lion", lion, None),
    ] {
        seen.insert(settings.kind);
        let weight = tensors[&format!("{case}.start")].copy().set_requires_grad(true);
        let gradients = &tensors[&format!("{case}.gradients")];
        let make = || Optimiser::new(&settings, vec![("decoder.w".to_owned(), weight.shallow_clone())]).unwrap();
        let mut optimiser = make();
        let steps = gradients.size()[0];
        for i in 0..steps {
            (&weight * gradients.get(i)).sum(Kind::Float).backward();
            optimiser.clip(clip).unwrap();
            optimiser.step(0.01 * (i + 1) as f64 / steps as f64).unwrap();
            optimiser.clear_gradients().unwrap();
            assert!(!weight.grad().defined());
            if i == steps / 2 {
                // State goes through a save and a load in the middle.
                let state = optimiser.state().into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
                optimiser = make();
                optimiser.load_state(&state).unwrap();
            }
        }
        let worst = (&weight - &tensors[&format!("{case}.end")]).abs().max().double_value(&[]);
        // Single precision, weights of about 1, 25 steps; the reference fuses a product and a sum.
        assert!(worst < 2e-6, "{case}: {worst}");
    }
    assert_eq!(seen.len(), OptimiserKind::ALL.len());
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_loss_is_scaled_as_the_reference_does() {
    let text = python::run("scaler.py", &[&python::seed().to_string()]);
    let found: serde_json::Value = serde_json::from_str(&text).expect("the script prints JSON");
    let (mut scaler, mut halved, mut doubled) = (Scaler::default(), 0, 0);
    for (step, (overflowed, expected)) in
        found["overflowed"].as_array().unwrap().iter().zip(found["scale"].as_array().unwrap()).enumerate()
    {
        let before = scaler.scale();
        scaler.update(if overflowed.as_bool().unwrap() { GradientRange::Overflowed } else { GradientRange::Finite });
        assert_eq!(Some(scaler.scale()), expected.as_f64(), "step {step}");
        halved += u32::from(scaler.scale() < before);
        doubled += u32::from(scaler.scale() > before);
    }
    assert!(halved > 0 && doubled > 0, "{halved} {doubled}");
    // The gradients themselves: infinite or NaN among them, or neither.
    for (value, infinite) in [(3.0f32, false), (f32::INFINITY, true), (f32::NAN, true)] {
        let gradients = [Tensor::from_slice(&[1.0f32, 2.0]), Tensor::from_slice(&[value])];
        assert_eq!(carpus::aten::unscale(&gradients, 0.5).unwrap(), infinite);
        assert_eq!(gradients[0].double_value(&[1]), 1.0);
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
        Optimiser::new(&settings, named.iter().map(|(n, t)| ((*n).to_owned(), t.shallow_clone())).collect()).unwrap();
    (encoder.sum(Kind::Float) + decoder.sum(Kind::Float) + bias.sum(Kind::Float)).backward();
    optimiser.step(1.0).unwrap();
    let at = |t: &Tensor| t.flatten(0, -1).double_value(&[0]);
    // 1 - rate * (gradient + decay * weight); biases do not decay, a weight without gradient stays.
    for (value, expected) in [(at(&encoder), 0.45), (at(&decoder), -0.1), (at(&bias), 0.0), (at(&idle), 1.0)] {
        assert!((value - expected).abs() < 1e-6, "{value} {expected}");
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
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
    let values: Vec<f32> = (0..1000).map(|i| (i as f32 / 500.0 - 1.0).powi(3)).collect();
    let histogram = TensorHistogram::of(&[Tensor::from_slice(&values)]).unwrap().unwrap();
    events.histogram(100, "weights/encoder._blocks.3", &histogram).unwrap();
    drop(events);
    // A run that goes on at step 120 takes back what came after it.
    let mut events = EventsWriter::create(folder.path(), Some(120)).unwrap();
    events.scalars(120, [("loss/train", 7.0)]).unwrap();
    drop(events);
    let text = python::run("tensorboard_events.py", &[folder.path().to_str().unwrap()]);
    let found: serde_json::Value = serde_json::from_str(&text).expect("the script prints JSON");
    let losses = found["scalars"]["loss/train"].as_array().unwrap();
    assert_eq!(losses.len(), 121, "{losses:?}");
    assert_eq!(losses[9][0], 9);
    assert!((losses[9][1].as_f64().unwrap() - 0.1).abs() < 1e-7);
    assert_eq!(losses[120][1], 7.0);
    assert_eq!(found["scalars"]["손실"].as_array().unwrap().len(), 120);
    let read = &found["histograms"]["weights/encoder._blocks.3"][0];
    let sum = |of: fn(f64) -> f64| values.iter().map(|v| of(f64::from(*v))).sum::<f64>();
    let number = |key: &str| read[key].as_f64().unwrap();
    assert_eq!((number("step"), number("min"), number("num")), (100.0, -1.0, 1000.0));
    assert!((number("sum") - sum(|v| v)).abs() < 1e-9 && (number("sum_squares") - sum(|v| v * v)).abs() < 1e-9);
    let list = |key: &str| read[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<_>>();
    let (limits, counts) = (list("bucket_limit"), list("bucket"));
    let mut from = f64::NEG_INFINITY;
    for (limit, count) in limits.iter().zip(&counts) {
        let within = values.iter().filter(|v| (from..*limit).contains(&f64::from(**v))).count() as f64;
        // An edge may fall on a value, and the last edge is one.
        assert!((within - count).abs() <= 1.0, "up to {limit}: {within} {count}");
        from = *limit;
    }
    assert_eq!(counts.iter().sum::<f64>(), 1000.0);
    let images = found["images"]["validation"].as_array().unwrap();
    assert!(images.is_empty() || images[0] == serde_json::json!([150, 300, 7, "89504e47"]), "{images:?}");
}
