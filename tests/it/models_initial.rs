//! Initial weights against the reference's: each tensor's distribution over several fresh models.

use std::collections::BTreeMap;

use carpus::models::Architecture::Decoder;
use carpus::models::{Architecture, DecoderKind, EncoderKind, Model, read_tensors};
use statrs::distribution::{ContinuousCDF, Normal};
use tch::{Device, Kind, Tensor};

use crate::models::{Case, all, drawn};
use crate::python;

/// Models built on each side.
const BUILDS: usize = 3;
/// Values of a tensor that the two-sample test looks at.
const SAMPLE: i64 = 20_000;
/// Chance that one run of the test finds a difference where there is none, over all its comparisons together
/// (Bonferroni).
const FAMILY_ERROR: f64 = 1e-4;
/// Means and variances are compared by their normal limit, which holds far out in the tails for large samples only.
const LEAST: f64 = 1000.0;

/// Number of values, mean, variance, fourth central moment, least, largest.
fn moments(values: &Tensor) -> [f64; 6] {
    let values = values.to_kind(Kind::Double);
    let mean = values.mean(Kind::Double);
    let centred = (&values - &mean).square();
    let fourth = centred.square().mean(Kind::Double);
    let of = |t: &Tensor| t.double_value(&[]);
    [
        values.numel() as f64,
        of(&mean),
        of(&centred.mean(Kind::Double)),
        of(&fourth),
        of(&values.min()),
        of(&values.max()),
    ]
}

/// Largest distance of the two empirical distributions.
fn kolmogorov_smirnov(a: &Tensor, b: &Tensor) -> f64 {
    let sorted = |t: &Tensor| {
        let mut values = Vec::<f64>::try_from(t.to_kind(Kind::Double)).unwrap();
        values.sort_by(f64::total_cmp);
        values
    };
    let (a, b) = (sorted(a), sorted(b));
    let (mut i, mut j, mut largest) = (0, 0, 0.0f64);
    while i < a.len() && j < b.len() {
        let x = a[i].min(b[j]);
        i += a[i..].partition_point(|v| *v <= x);
        j += b[j..].partition_point(|v| *v <= x);
        largest = largest.max((i as f64 / a.len() as f64 - j as f64 / b.len() as f64).abs());
    }
    largest
}

/// What speaks against both having one distribution, at `error` a test.
fn differences(ours: [f64; 6], theirs: [f64; 6], samples: [&Tensor; 2], error: f64) -> Vec<String> {
    let [n, mean, variance, fourth, least, largest] = ours;
    let [m, their_mean, their_variance, their_fourth, their_least, their_largest] = theirs;
    let mut found = Vec::new();
    if least == largest || their_least == their_largest {
        if [least, largest] != [their_least, their_largest] {
            found.push(format!(
                "ours go from {least} to {largest}, the reference's from {their_least} to {their_largest}"
            ));
        }
        return found;
    }
    let z = Normal::standard().inverse_cdf(1.0 - error / 2.0);
    if n.min(m) >= LEAST {
        if (mean - their_mean).abs() > z * (variance / n + their_variance / m).sqrt() {
            found.push(format!("mean {mean:e}, the reference's {their_mean:e}"));
        }
        let spread = (fourth - variance.powi(2)) / n + (their_fourth - their_variance.powi(2)) / m;
        if (variance - their_variance).abs() > z * spread.sqrt() {
            found.push(format!(
                "standard deviation {:e}, the reference's {:e}",
                variance.sqrt(),
                their_variance.sqrt()
            ));
        }
    }
    let [a, b] = samples.map(|s| s.numel() as f64);
    let distance = kolmogorov_smirnov(samples[0], samples[1]);
    if distance > ((2.0 / error).ln() / 2.0 * (a + b) / (a * b)).sqrt() {
        found.push(format!("the distributions are {distance:.3} apart"));
    }
    found
}

fn compare(cases: &[Case]) {
    tch::set_num_threads(2);
    let seed = python::seed();
    let mut tests = Vec::new();
    let mut wrong = Vec::new();
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cases.json"), serde_json::json!([case.describe()]).to_string()).unwrap();
        let numbers = [seed, BUILDS as u64, SAMPLE as u64].map(|n| n.to_string());
        let mut arguments = vec![folder.path().to_str().unwrap()];
        arguments.extend(numbers.iter().map(String::as_str));
        python::run("initial_weights.py", &arguments);
        let reference = read_tensors(&folder.path().join(format!("{}.safetensors", case.name()))).unwrap();

        // Another stream than the reference's: equal seeds could give equal numbers.
        tch::manual_seed(seed as i64 ^ 0x5eed);
        let models: Vec<Model> = (0..BUILDS).map(|_| Model::new(&case.config, Device::Cpu).unwrap()).collect();
        for (name, buffer) in models[0].named_buffers() {
            if reference.get(&name) != Some(&buffer) {
                wrong.push(format!("{}: buffer {name} is not the reference's", case.name()));
            }
        }
        let named: Vec<BTreeMap<String, Tensor>> =
            models.iter().map(|m| m.named_parameters().into_iter().collect()).collect();
        for name in named[0].keys() {
            let values: Vec<Tensor> = named.iter().map(|m| m[name].detach().flatten(0, -1)).collect();
            let values = Tensor::cat(&values, 0);
            let chosen = Tensor::randperm(values.numel() as i64, (Kind::Int64, Device::Cpu));
            let sample = values.index_select(0, &chosen.narrow(0, 0, SAMPLE.min(values.numel() as i64)));
            let theirs = Vec::<f64>::try_from(&reference[&format!("moments.{name}")]).unwrap();
            let theirs: [f64; 6] = theirs.try_into().unwrap();
            let their_sample = reference[&format!("sample.{name}")].shallow_clone();
            tests.push((format!("{}: {name}", case.name()), moments(&values), theirs, sample, their_sample));
        }
    }
    assert!(tests.len() > 100);
    let error = FAMILY_ERROR / (3 * tests.len()) as f64;
    for (name, ours, theirs, a, b) in &tests {
        wrong.extend(differences(*ours, *theirs, [a, b], error).into_iter().map(|text| format!("{name}: {text}")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn every_model_starts_as_the_reference_starts() {
    use EncoderKind::{EfficientNetB0, MitB0, MobileNetV2, MobileNetV3Large, ResNet18};
    let sample = [ResNet18, MobileNetV2, MobileNetV3Large, MitB0];
    let encoders = if all() { EncoderKind::ALL } else { &sample };
    let mut cases: Vec<Case> = encoders.iter().map(|e| Case::new(Decoder(DecoderKind::Fpn), *e)).collect();
    for architecture in Architecture::all() {
        let reference = architecture.reference();
        if reference.starts_with("smp.") {
            cases.push(Case::new(architecture, EfficientNetB0));
        } else if reference.starts_with("torchvision") || reference.starts_with("monai") {
            let mut case = Case::whole(architecture);
            case.config.auxiliary = architecture.refuses_auxiliary().is_none();
            cases.push(case);
        }
    }
    // A first layer for one channel starts in its own way.
    let grey = encoders.iter().take(if all() { encoders.len() } else { 1 });
    cases.extend(grey.map(|encoder| {
        let mut case = Case::new(Decoder(DecoderKind::Fpn), *encoder);
        case.config.in_channels = 1;
        case
    }));
    cases.retain(|case| case.config.validate().is_ok());
    compare(&drawn(cases, 3));
}

#[test]
fn the_comparison_sees_another_scheme() {
    tch::manual_seed(3);
    let options = (Kind::Float, Device::Cpu);
    let uniform = |bound: f64, n: i64| (Tensor::rand([n], options) * 2.0 - 1.0) * bound;
    let reference = uniform(1.0, 3 * 4096);
    let error = FAMILY_ERROR / 30_000.0;
    let compare = |ours: Tensor| differences(moments(&ours), moments(&reference), [&ours, &reference], error);
    assert!(compare(uniform(1.0, 3 * 4096)).is_empty());
    // A wrong fan, a normal of the same variance, a bias that should be constant.
    assert!(!compare(uniform(1.1, 3 * 4096)).is_empty());
    assert!(compare(Tensor::randn([3 * 4096], options) * (1.0f64 / 3.0).sqrt()).iter().any(|t| t.contains("apart")));
    let constant = Tensor::zeros([64], options);
    let small = uniform(1e-6, 64);
    assert!(!differences(moments(&small), moments(&constant), [&small, &constant], error).is_empty());
}
