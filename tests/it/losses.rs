//! Losses against segmentation_models_pytorch, MONAI and the papers' formulas: value and gradient.

use carpus::losses::{LOSSES, LossError, LossMix, Term, point_loss, resampled};
use carpus::models::{PointLogits, read_tensors};
use tch::{Device, Kind, Tensor};

use crate::python;

/// Name of the reference, our mix.
const CASES: [(&str, &str); 33] = [
    ("bce", r#"{"bce": 1}"#),
    ("bce-weights", r#"{"bce": {"weight": 1, "pos-weight": [1,2,3,4,5,6], "class-weights": [6,5,4,3,2,1]}}"#),
    ("bce-smooth", r#"{"bce": {"weight": 1, "label-smoothing": 0.1}}"#),
    ("bce-smooth-weights", r#"{"bce": {"weight": 1, "label-smoothing": 0.1, "pos-weight": [3,1,2,2,1,3]}}"#),
    ("dice", r#"{"dice": 1}"#),
    ("dice-smooth", r#"{"dice": {"weight": 1, "smooth": 1.0}}"#),
    ("dice-log", r#"{"dice": {"weight": 1, "smooth": 1.0, "log": true}}"#),
    ("jaccard", r#"{"jaccard": 1}"#),
    ("jaccard-log", r#"{"jaccard": {"weight": 1, "log": true}}"#),
    ("focal", r#"{"focal": 1}"#),
    ("focal-alpha", r#"{"focal": {"weight": 1, "gamma": 1.5, "alpha": 0.25}}"#),
    ("lovasz", r#"{"lovasz": 1}"#),
    ("lovasz-image", r#"{"lovasz": {"weight": 1, "over": "image"}}"#),
    ("lovasz-batch", r#"{"lovasz": {"weight": 1, "over": "batch"}}"#),
    ("tversky", r#"{"tversky": {"weight": 1, "alpha": 0.3, "beta": 0.7}}"#),
    (
        "tversky-by-class",
        r#"{"tversky": {"weight": 1, "alpha": [0.1,0.2,0.3,0.4,0.5,0.6], "beta": [0.9,0.8,0.7,0.6,0.5,0.4]}}"#,
    ),
    ("focal-tversky", r#"{"focal-tversky": 1}"#),
    ("generalised-dice", r#"{"generalised-dice": 1}"#),
    ("bce-pixels", r#"{"bce": {"weight": 1, "class-weights": [6,5,4,3,2,1]}}"#),
    (
        "bce-outline",
        r#"{"bce": {"weight": 1, "pos-weight": 2, "pixel-weight": {"around": "outline", "factor": 3, "sigma": 2.5}}}"#,
    ),
    ("bce-gaps", r#"{"bce": {"weight": 1, "pixel-weight": {"around": "gaps"}}}"#),
    ("dice-monai", r#"{"dice": {"weight": 1, "smooth": 1}}"#),
    ("jaccard-monai", r#"{"jaccard": 1}"#),
    ("tversky-monai", r#"{"tversky": {"weight": 1, "alpha": 0.2, "beta": 0.9, "smooth": 1}}"#),
    ("focal-monai", r#"{"focal": 1}"#),
    ("focal-alpha-monai", r#"{"focal": {"weight": 1, "gamma": 0.7, "alpha": 0.3}}"#),
    ("dice-class-weights-monai", r#"{"dice": {"weight": 1, "smooth": 1, "class-weights": [6,5,4,0,2,1]}}"#),
    ("focal-class-weights-monai", r#"{"focal": {"weight": 1, "class-weights": [6,5,4,0,2,1]}}"#),
    ("lovasz-class-weights", r#"{"lovasz": {"weight": 1, "class-weights": [6,5,4,0,2,1]}}"#),
    ("boundary", r#"{"boundary": 1}"#),
    ("boundary-paper", r#"{"boundary": 1}"#),
    ("boundary-band", r#"{"boundary": {"weight": 1, "band": 3.5}}"#),
    ("mix", r#"{"bce": 0.3, "dice": 0.4, "lovasz": {"weight": 0.3, "over": "batch"}}"#),
];

/// Single precision has seven digits; the reference is computed in double precision.
const TOLERANCE: f64 = 1e-6;

fn mix(text: &str) -> LossMix {
    serde_json::from_str(text).unwrap()
}

fn value_and_gradient(mix: &LossMix, logits: &Tensor, target: &Tensor) -> (f64, Tensor) {
    weighted(mix, logits, target, None)
}

fn weighted(mix: &LossMix, logits: &Tensor, target: &Tensor, weights: Option<&Tensor>) -> (f64, Tensor) {
    let x = logits.detach().copy().set_requires_grad(true);
    let loss = mix.forward_weighted(&x, target, weights).unwrap().loss;
    loss.backward();
    (loss.double_value(&[]), x.grad())
}

/// Label words of masks `[B, C, H, W]`.
fn words_of(masks: &Tensor) -> Tensor {
    let bits: Vec<i64> = (0..masks.size()[1]).map(|c| 1i64 << c).collect();
    let bits = Tensor::from_slice(&bits).view([1, -1, 1, 1]);
    let words = masks.gt(0.5).to_kind(Kind::Int64) * bits;
    words.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64).to_kind(Kind::Int)
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn every_loss_equals_its_reference() {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let names: Vec<&str> = CASES.iter().map(|(name, _)| *name).collect();
    std::fs::write(folder.path().join("cases.json"), serde_json::to_string(&names).unwrap()).unwrap();
    python::run("losses.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    let batch = read_tensors(&folder.path().join("batch.safetensors")).unwrap();
    let reference = read_tensors(&folder.path().join("reference.safetensors")).unwrap();
    let (logits, target) = (&batch["logits"], &batch["target"]);
    for (name, text) in CASES {
        let weights = (name == "bce-pixels").then_some(&batch["weights"]);
        // Masks take the way of tensors, words that of slices.
        for (form, target) in [("masks", target), ("words", &words_of(target))] {
            let (value, gradient) = weighted(&mix(text), logits, target, weights);
            let wanted = reference[&format!("{name}.value")].double_value(&[0]);
            let scale = reference[&format!("{name}.scale")].double_value(&[0]).abs();
            assert!((value - wanted).abs() <= TOLERANCE * scale, "{name}, {form}: {value} for {wanted}");
            same_gradient(&gradient, &reference[&format!("{name}.grad")], &format!("{name}, {form}"));
        }
    }
    let points = PointLogits {
        coordinates: batch["points"].shallow_clone(),
        logits: batch["point_logits"].shallow_clone().set_requires_grad(true),
    };
    let loss = point_loss(&points, &words_of(target)).unwrap();
    loss.backward();
    let wanted = reference["points.value"].double_value(&[0]);
    assert!((loss.double_value(&[]) - wanted).abs() <= TOLERANCE * wanted);
    same_gradient(&points.logits.grad(), &reference["points.grad"], "points");
}

fn same_gradient(gradient: &Tensor, wanted: &Tensor, name: &str) {
    let largest = wanted.abs().max().double_value(&[]);
    let difference = (gradient.to_kind(Kind::Double) - wanted).abs().max().double_value(&[]) / largest;
    assert!(difference <= TOLERANCE, "{name}: the gradient differs by {difference:e} of its largest value");
}

/// Every loss with its defaults, and the options that take a way of their own.
fn mixes() -> Vec<(String, LossMix)> {
    let plain = LOSSES.iter().map(|kind| (kind.to_string(), LossMix::new(vec![(1.0, Term::new(kind))])));
    let options = [
        r#"{"bce": {"weight": 1, "label-smoothing": 0.1, "pos-weight": 3}}"#,
        r#"{"bce": {"weight": 1, "pixel-weight": {"around": "outline"}}}"#,
        r#"{"bce": {"weight": 1, "pixel-weight": {"around": "gaps", "sigma": 1.5}}}"#,
        r#"{"focal": {"weight": 1, "gamma": 0.5, "alpha": 0.25}}"#,
        r#"{"lovasz": {"weight": 1, "over": "image"}}"#,
        r#"{"lovasz": {"weight": 1, "over": "batch"}}"#,
        r#"{"boundary": {"weight": 1, "band": 2}}"#,
        r#"{"dice": {"weight": 1, "per-image": true, "log": true}}"#,
        r#"{"bce": 0.3, "dice": 0.3, "lovasz": 0.2, "boundary": 0.1, "focal": 0.1}"#,
    ];
    plain.chain(options.iter().map(|text| ((*text).to_owned(), mix(text)))).collect()
}

/// Over several strips and blocks with a rest, on any number of threads.
#[test]
fn label_words_say_the_same_as_masks() {
    tch::manual_seed(python::seed() as i64);
    let size = [2, 3, 97, 353];
    // All different, and exact in the hinge errors: Lovász has one answer.
    let count = size.iter().product::<i64>();
    let order = Tensor::randperm(count, (Kind::Int64, Device::Cpu)) - count / 2;
    let logits = ((order.to_kind(Kind::Double) + 0.25) * 2f64.powi(-15)).to_kind(Kind::Float).view(size);
    // Pieces of some size, so that distances are not all small.
    let coarse = Tensor::rand([2, 3, 13, 11], (Kind::Float, Device::Cpu)).lt(0.3);
    let target = resampled(&coarse, size[2], size[3]).unwrap();
    let words = words_of(&target);
    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    for (name, mix) in mixes() {
        let dense = value_and_gradient(&mix, &logits, &target);
        let sparse = value_and_gradient(&mix, &logits, &words);
        // Two orders of summation in single precision.
        assert!((dense.0 - sparse.0).abs() <= 2e-6 * dense.0.abs().max(0.1), "{name}: {} {}", dense.0, sparse.0);
        let largest = dense.1.abs().max().double_value(&[]);
        let difference = (&dense.1 - &sparse.1).abs().max().double_value(&[]) / largest;
        assert!(difference <= 2e-6, "{name}: the gradient differs by {difference:e} of its largest value");
        let text = serde_json::to_string(&mix).unwrap();
        let (x, words) = (logits.copy(), words.copy());
        let one = alone.install(move || value_and_gradient(&self::mix(&text), &x, &words));
        assert_eq!(one.0, sparse.0, "{name}: the number of threads changes the value");
        assert_eq!(one.1, sparse.1, "{name}: the number of threads changes the gradient");
    }
}

#[test]
fn every_loss_is_finite_where_it_is_hard() {
    tch::manual_seed(3);
    let size = [2, 4, 8, 8];
    let random = Tensor::randn(size, (Kind::Float, Device::Cpu));
    let some = random.gt(0.5).to_kind(Kind::Float);
    let targets = [("empty", some.zeros_like()), ("full", some.ones_like()), ("mixed", some.shallow_clone())];
    let huge = &random * 1e4;
    let perfect = (&some * 2.0 - 1.0) * 1e4;
    let logits = [
        ("random", random.shallow_clone()),
        ("huge", huge),
        ("perfect", perfect),
        ("flat", random.zeros_like()),
        ("half", random.to_kind(Kind::Half)),
        ("bfloat16", (&random * 100.0).to_kind(Kind::BFloat16)),
    ];
    for (name, mix) in mixes() {
        for (what, x) in &logits {
            for (which, target) in &targets {
                for target in [target, &words_of(target)] {
                    let (value, gradient) = value_and_gradient(&mix, x, target);
                    assert!(value.is_finite(), "{name}: {what} logits, {which} target: {value}");
                    assert_eq!(gradient.kind(), x.kind(), "{name}");
                    let finite = gradient.isfinite().all().int64_value(&[]) == 1;
                    assert!(finite, "{name}: {what} logits, {which} target: gradient");
                }
            }
        }
    }
    // NaN is visible: training stops at it.
    let broken = random.copy();
    let _ = broken.view([-1]).narrow(0, 17, 1).fill_(f64::NAN);
    for (name, mix) in mixes() {
        for target in [&some, &words_of(&some)] {
            assert!(mix.forward(&broken, target).unwrap().double_value(&[]).is_nan(), "{name}");
        }
    }
}

#[test]
fn a_mix_is_the_sum_of_its_parts() {
    tch::manual_seed(4);
    let logits = Tensor::randn([1, 3, 7, 5], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let target = logits.detach().gt(0.3);
    let weights: Vec<f64> = (1..=LOSSES.len()).map(|i| i as f64 / 10.0).collect();
    let all = LossMix::new(weights.iter().copied().zip(LOSSES.iter().map(Term::new)).collect());
    let parts = all.values(&logits, &target).unwrap();
    assert_eq!(parts.iter().map(|(k, _)| *k).collect::<Vec<_>>(), LOSSES.iter().collect::<Vec<_>>());
    let sum: f64 = parts.iter().zip(&weights).map(|((_, v), w)| v.double_value(&[]) * w).sum();
    let (value, gradient) = value_and_gradient(&all, &logits, &target);
    assert!((sum - value).abs() < 1e-5 * sum.abs(), "{sum} {value}");
    let mut total = gradient.zeros_like();
    for (kind, weight) in LOSSES.iter().zip(&weights) {
        total += value_and_gradient(&LossMix::new(vec![(*weight, Term::new(kind))]), &logits, &target).1;
    }
    assert!((total - &gradient).abs().max().double_value(&[]) < 1e-6 * gradient.abs().max().double_value(&[]));
    // Without recording there is a value and nothing to pass back.
    let silent = tch::no_grad(|| all.forward(&logits, &target)).unwrap();
    assert!(!silent.requires_grad());
    assert!((silent.double_value(&[]) - value).abs() < 1e-6 * value.abs());
}

/// Losses whose value is a mean over classes, with options that change the sums.
const MEANS_OVER_CLASSES: [&str; 13] = [
    r#"{"bce": {"weight": 1, "label-smoothing": 0.1, "pos-weight": 3}}"#,
    r#"{"bce": {"weight": 1, "pixel-weight": {"around": "outline", "factor": 3, "sigma": 2.5}}}"#,
    r#"{"dice": {"weight": 1, "smooth": 0.5}}"#,
    r#"{"dice": {"weight": 1, "per-image": true, "log": true}}"#,
    r#"{"jaccard": {"weight": 1}}"#,
    r#"{"jaccard": {"weight": 1, "per-image": true}}"#,
    r#"{"focal": {"weight": 1, "gamma": 1.5, "alpha": 0.25}}"#,
    r#"{"lovasz": {"weight": 1}}"#,
    r#"{"tversky": {"weight": 1, "alpha": 0.3, "beta": 0.7}}"#,
    r#"{"tversky": {"weight": 1, "alpha": 0.3, "beta": 0.7, "per-image": true}}"#,
    r#"{"focal-tversky": {"weight": 1}}"#,
    r#"{"boundary": {"weight": 1}}"#,
    r#"{"boundary": {"weight": 1, "band": 3}}"#,
];

const GENERALISED_DICE: &str = r#"{"generalised-dice": {"weight": 1}}"#;

/// The loss with these class weights, written as in a configuration.
fn with_class_weights(loss: &str, weights: &[f64]) -> LossMix {
    let mut options: serde_json::Value = serde_json::from_str(loss).unwrap();
    let (_, of_loss) = options.as_object_mut().unwrap().iter_mut().next().unwrap();
    of_loss["class-weights"] = serde_json::json!(weights);
    serde_json::from_value(options).unwrap()
}

/// Logits of a batch of 2 images and 5 classes, one of which is absent, with its masks and its label words.
fn five_classes() -> (Tensor, [Tensor; 2]) {
    tch::manual_seed(python::seed() as i64);
    let logits = Tensor::randn([2, 5, 23, 19], (Kind::Float, Device::Cpu)) * 2.0;
    let coarse = Tensor::rand([2, 5, 5, 4], (Kind::Float, Device::Cpu)).lt(0.4);
    let target = resampled(&coarse, 23, 19).unwrap().to_kind(Kind::Float);
    let _ = target.narrow(1, 3, 1).zero_();
    let words = words_of(&target);
    (logits, [target, words])
}

#[test]
fn class_weights_give_the_weighted_mean_of_the_losses_of_the_classes() {
    let (logits, targets) = five_classes();
    let weights = [0.5, 2.0, 0.0, 3.0, 1.25];
    for loss in MEANS_OVER_CLASSES {
        let (mut value, mut gradients) = (0.0, Vec::new());
        for (class, weight) in weights.iter().enumerate() {
            let of_class = |x: &Tensor| x.narrow(1, class as i64, 1).contiguous();
            let (own, slope) = value_and_gradient(&mix(loss), &of_class(&logits), &of_class(&targets[0]));
            value += weight * own / weights.len() as f64;
            gradients.push(slope * (weight / weights.len() as f64));
        }
        let gradient = Tensor::cat(&gradients, 1);
        for (form, target) in ["masks", "words"].iter().zip(&targets) {
            let (found, slope) = value_and_gradient(&with_class_weights(loss, &weights), &logits, target);
            assert!((found - value).abs() <= 2e-6 * value.abs().max(0.1), "{loss}, {form}: {found}, not {value}");
            let apart = (slope - &gradient).abs().max().double_value(&[]) / gradient.abs().max().double_value(&[]);
            assert!(apart <= 2e-6, "{loss}, {form}: the gradient differs by {apart:e} of its largest value");
        }
    }
}

#[test]
fn class_weights_of_1_change_no_bit() {
    let (logits, targets) = five_classes();
    for loss in MEANS_OVER_CLASSES.into_iter().chain([GENERALISED_DICE]) {
        for target in &targets {
            let plain = value_and_gradient(&mix(loss), &logits, target);
            let weighted = value_and_gradient(&with_class_weights(loss, &[1.0; 5]), &logits, target);
            assert_eq!(plain, weighted, "{loss}");
            // Other weights do change the loss.
            let other = value_and_gradient(&with_class_weights(loss, &[1.0, 2.0, 1.0, 1.0, 1.0]), &logits, target);
            assert_ne!(plain.0, other.0, "{loss}");
        }
    }
}

/// The slope along the gradient equals the difference quotient. Values have seven digits and the step is a hundredth, so
/// the quotient has four digits or more.
#[test]
fn gradients_with_class_weights_are_those_of_the_value() {
    let (logits, targets) = five_classes();
    // Lovász of the class without pixels is its largest error: one pixel has it on both sides of the step.
    let _ = logits.narrow(1, 3, 1).narrow(2, 0, 1).narrow(3, 0, 1).fill_(12.0);
    for loss in MEANS_OVER_CLASSES.into_iter().chain([GENERALISED_DICE]) {
        let mix = with_class_weights(loss, &[0.5, 2.0, 0.0, 3.0, 1.25]);
        for target in &targets {
            let (_, gradient) = value_and_gradient(&mix, &logits, target);
            let length = gradient.square().sum(Kind::Double).sqrt().double_value(&[]);
            let step = &gradient * (0.05 / length);
            let at = |x: Tensor| mix.forward(&x, target).unwrap().double_value(&[]);
            let quotient = (at(&logits + &step) - at(&logits - &step)) / 0.1;
            assert!((quotient - length).abs() < 2e-2 * length, "{loss}: {quotient} for {length}");
        }
    }
}

#[test]
fn class_weights_of_generalised_dice_are_factors_of_its_own() {
    let (logits, targets) = five_classes();
    let weights = [0.5, 2.0, 0.0, 3.0, 1.25];
    let (p, t) = (logits.sigmoid().to_kind(Kind::Double), targets[0].to_kind(Kind::Double));
    let sums =
        |x: &Tensor| Vec::<f64>::try_from(x.sum_dim_intlist([2i64, 3].as_slice(), false, Kind::Double).view([-1]));
    let (both, predicted, size) = (sums(&(&p * &t)).unwrap(), sums(&p).unwrap(), sums(&t).unwrap());
    let of_image = |image: usize| {
        let at = |class: usize| image * 5 + class;
        let own = |class: usize| 1.0 / (size[at(class)] * size[at(class)]);
        let largest = (0..5).map(own).filter(|w| w.is_finite()).fold(0.0, f64::max);
        let (mut over, mut under) = (1e-5, 1e-5);
        for (class, factor) in weights.iter().enumerate() {
            let weight = factor * if own(class).is_finite() { own(class) } else { largest };
            over += 2.0 * weight * both[at(class)];
            under += weight * (predicted[at(class)] + size[at(class)]);
        }
        1.0 - over / under
    };
    let wanted = (of_image(0) + of_image(1)) / 2.0;
    for target in &targets {
        let found = with_class_weights(GENERALISED_DICE, &weights).forward(&logits, target).unwrap().double_value(&[]);
        assert!((found - wanted).abs() < 2e-6, "{found}, not {wanted}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mix = LossMix::default();
    let logits = Tensor::zeros([1, 3, 4, 4], (Kind::Float, Device::Cpu));
    assert!(matches!(mix.forward(&logits, &logits.narrow(1, 0, 2)), Err(LossError::Target { .. })));
    assert!(matches!(mix.forward(&logits.view([3, 4, 4]), &logits), Err(LossError::Logits { .. })));
    let short = self::mix(r#"{"bce": {"weight": 1, "pos-weight": [1, 2]}}"#);
    for target in [logits.shallow_clone(), words_of(&logits)] {
        assert!(matches!(short.forward(&logits, &target), Err(LossError::Classes { has: 2, classes: 3, .. })));
    }
    assert_eq!(short.violations(Some(3)).to_string(), "bce.pos-weight is 2 values; expected 3, one per class");
    let by_class = self::mix(r#"{"focal": {"weight": 1, "class-weights": [1, 2]}}"#);
    let sorted = self::mix(r#"{"lovasz": {"weight": 1, "over": "batch", "class-weights": 2}}"#);
    for target in [logits.shallow_clone(), words_of(&logits)] {
        assert!(matches!(by_class.forward(&logits, &target), Err(LossError::Classes { has: 2, classes: 3, .. })));
        assert!(matches!(sorted.forward(&logits, &target), Err(LossError::ClassWeights { .. })));
    }
    let weights = Tensor::ones([1, 4, 5], (Kind::Float, Device::Cpu));
    assert!(matches!(mix.forward_weighted(&logits, &logits, Some(&weights)), Err(LossError::Weights { .. })));
    let dice = self::mix(r#"{"dice": 1}"#);
    assert!(matches!(dice.forward_weighted(&logits, &logits, Some(&weights)), Err(LossError::WeightsUnused)));
}
