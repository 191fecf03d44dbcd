//! Soft targets: the losses against segmentation_models_pytorch and MONAI, and the losses that refuse them.

use carpus::losses::{LOSSES, LossError, LossMix, Term, point_loss};
use carpus::models::{PointLogits, read_tensors};
use tch::{Device, Kind, Tensor};

use crate::python;

/// Name of the reference, our mix.
const CASES: [(&str, &str); 20] = [
    ("bce", r#"{"bce": 1}"#),
    ("bce-weights", r#"{"bce": {"weight": 1, "pos-weight": [1,2,3,4,5,6], "class-weight": [6,5,4,3,2,1]}}"#),
    ("bce-pixels", r#"{"bce": 1}"#),
    ("bce-smooth", r#"{"bce": {"weight": 1, "label-smoothing": 0.1}}"#),
    ("bce-smooth-weights", r#"{"bce": {"weight": 1, "label-smoothing": 0.1, "pos-weight": [3,1,2,2,1,3]}}"#),
    ("dice", r#"{"dice": 1}"#),
    ("dice-smooth", r#"{"dice": {"weight": 1, "smooth": 1.0}}"#),
    ("dice-log", r#"{"dice": {"weight": 1, "smooth": 1.0, "log": true}}"#),
    ("dice-monai", r#"{"dice": {"weight": 1, "smooth": 1}}"#),
    ("jaccard", r#"{"jaccard": 1}"#),
    ("jaccard-log", r#"{"jaccard": {"weight": 1, "log": true}}"#),
    ("focal", r#"{"focal": 1}"#),
    ("focal-alpha", r#"{"focal": {"weight": 1, "gamma": 1.5, "alpha": 0.25}}"#),
    ("focal-small", r#"{"focal": {"weight": 1, "gamma": 0.5}}"#),
    ("tversky", r#"{"tversky": {"weight": 1, "alpha": 0.3, "beta": 0.7}}"#),
    ("tversky-monai", r#"{"tversky": {"weight": 1, "alpha": 0.2, "beta": 0.9, "smooth": 1}}"#),
    (
        "tversky-by-class",
        r#"{"tversky": {"weight": 1, "alpha": [0.1,0.2,0.3,0.4,0.5,0.6], "beta": [0.9,0.8,0.7,0.6,0.5,0.4]}}"#,
    ),
    ("focal-tversky", r#"{"focal-tversky": 1}"#),
    ("generalised-dice", r#"{"generalised-dice": 1}"#),
    ("mix", r#"{"bce": 0.3, "dice": 0.4, "focal": 0.3}"#),
];

/// Single precision has seven digits; the reference is computed in double precision.
const TOLERANCE: f64 = 1e-6;

fn mix(text: &str) -> LossMix {
    serde_json::from_str(text).unwrap()
}

fn assert_same(found: (f64, &Tensor), reference: &std::collections::HashMap<String, Tensor>, name: &str) {
    let wanted = reference[&format!("{name}.value")].double_value(&[0]);
    assert!((found.0 - wanted).abs() <= TOLERANCE * wanted.abs(), "{name}: {} for {wanted}", found.0);
    let gradient = &reference[&format!("{name}.grad")];
    let largest = gradient.abs().max().double_value(&[]);
    let difference = (found.1.to_kind(Kind::Double) - gradient).abs().max().double_value(&[]) / largest;
    assert!(difference <= TOLERANCE, "{name}: the gradient differs by {difference:e} of its largest value");
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn losses_of_soft_targets_equal_their_references() {
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    std::fs::write(folder.path().join("cases.json"), serde_json::to_string(&names).unwrap()).unwrap();
    python::run("soft_losses.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    let batch = read_tensors(&folder.path().join("batch.safetensors")).unwrap();
    let reference = read_tensors(&folder.path().join("reference.safetensors")).unwrap().into_iter().collect();
    for (name, text) in CASES {
        let x = batch["logits"].copy().set_requires_grad(true);
        let weights = (name == "bce-pixels").then_some(&batch["weights"]);
        let loss = mix(text).forward_weighted(&x, &batch["target"], weights).unwrap().loss;
        loss.backward();
        assert_same((loss.double_value(&[]), &x.grad()), &reference, name);
    }
    let logits = batch["point_logits"].copy().set_requires_grad(true);
    let points = PointLogits { coordinates: batch["points"].shallow_clone(), logits };
    let loss = point_loss(&points, &batch["target"]).unwrap();
    loss.backward();
    assert_same((loss.double_value(&[]), &points.logits.grad()), &reference, "points");
}

/// A prediction equal to a soft target is the best one for every loss that takes soft targets, up to the smoothing.
#[test]
fn the_best_prediction_of_a_soft_target_is_the_target() {
    let target = Tensor::from_slice(&[0.3f32, 0.7, 0.3, 0.3, 0.7, 0.7]).view([1, 1, 2, 3]);
    let loss_at = |mix: &LossMix, p: f64| {
        let probability = &target + (p - 0.5) * (&target - 0.5);
        mix.forward(&probability.logit(None::<f64>), &target).unwrap().double_value(&[])
    };
    for name in ["bce", "dice", "jaccard", "tversky", "focal-tversky", "generalised-dice"] {
        let mix = mix(&format!("{{\"{name}\": 1}}"));
        let best = loss_at(&mix, 0.5);
        assert!(best < loss_at(&mix, 0.2) && best < loss_at(&mix, 0.8), "{name}");
    }
}

#[test]
fn losses_for_hard_labels_refuse_soft_targets() {
    let soft = Tensor::full([1, 2, 4, 4], 0.5, (Kind::Float, Device::Cpu));
    let logits = soft.zeros_like();
    for text in [
        r#"{"bce": 0.5, "lovasz": 0.5}"#,
        r#"{"lovasz": {"weight": 1, "over": "image"}}"#,
        r#"{"boundary": 1}"#,
        r#"{"bce": {"weight": 1, "pixel-weight": {"around": "gaps"}}}"#,
    ] {
        let error = mix(text).forward(&logits, &soft).unwrap_err();
        assert!(matches!(error, LossError::SoftTarget { .. }), "{text}: {error}");
        let says = "take soft targets: bce without pixel-weight, dice, jaccard, focal, tversky, focal-tversky";
        assert!(error.to_string().contains(says), "{error}");
        // Masks of zeros and ones are hard, whatever their kind.
        assert!(mix(text).forward(&logits, &logits).is_ok(), "{text}");
    }
    let taken = LOSSES.iter().filter(|kind| LossMix::new(vec![(1.0, Term::new(kind))]).forward(&logits, &soft).is_ok());
    assert_eq!(taken.count(), 7);
}
