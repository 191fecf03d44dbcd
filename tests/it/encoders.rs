//! How timm's encoders start and how their published weights are read, against timm itself.

use std::collections::BTreeMap;

use carpus::models::Architecture::{Decoder, Network};
use carpus::models::{Architecture, DecoderKind, EncoderKind, Model, ModelConfig, NetworkKind, read_tensors};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};
use tch::{Device, Kind, Tensor};

use crate::models::drawn;
use crate::python;

/// What [`moments`] gives.
pub type Moments = (f64, f64, f64, f64);

/// Number of values, mean, standard deviation and kurtosis, the last three without what is eight standard deviations out:
/// a truncated normal is drawn by inverting its distribution function, and once in millions of values its far edge
/// comes up, which outweighs all others.
pub fn moments(tensor: &Tensor) -> Moments {
    let x = tensor.detach().to_kind(Kind::Double).flatten(0, -1);
    let count = x.numel() as f64;
    let x = x.masked_select(&(&x - x.mean(Kind::Double)).abs().le_tensor(&(x.std(false) * 8.0)));
    let mean = x.mean(Kind::Double);
    let spread = x.std(false).double_value(&[]);
    let kurtosis = if spread > 0.0 {
        ((&x - &mean) / spread).pow_tensor_scalar(4).mean(Kind::Double).double_value(&[])
    } else {
        0.0
    };
    (count, mean.double_value(&[]), spread, kurtosis)
}

/// Largest difference of the means of two samples of `count` values that is not significant at six standard errors of a
/// normal distribution, which is once in 500 million comparisons. Of few values the spread is itself uncertain:
/// Student's distribution.
fn mean_bound(count: f64, spread: f64, expected_spread: f64) -> f64 {
    let of_difference = ((spread.powi(2) + expected_spread.powi(2)) / (count - 1.0)).sqrt();
    let significance = Normal::standard().cdf(-6.0);
    let student = StudentsT::new(0.0, 1.0, 2.0 * (count - 1.0)).unwrap();
    -student.inverse_cdf(significance) * of_difference
}

/// The bound holds for uniform and normal values, of which there are three in the bias of a head.
#[test]
fn means_of_few_values_agree() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut sample = |count: usize, is_normal: bool| {
        let values: Vec<f64> = (0..count)
            .map(|_| {
                let uniform: f64 = random.random();
                if is_normal { Normal::standard().inverse_cdf(uniform) } else { uniform }
            })
            .collect();
        let mean = values.iter().sum::<f64>() / count as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64;
        (mean, variance.sqrt())
    };
    for count in [2, 3, 4, 8, 24] {
        for is_normal in [false, true] {
            let mut beyond_six = 0;
            for _ in 0..20_000 {
                let ((a, of_a), (b, of_b)) = (sample(count, is_normal), sample(count, is_normal));
                let n = count as f64;
                assert!((a - b).abs() <= mean_bound(n, of_a, of_b), "{count} values: {a}, {b}");
                beyond_six += usize::from((a - b).abs() > 6.0 * of_a.max(of_b) * (2.0 / n).sqrt());
            }
            // Six times the spread of the samples would be too narrow.
            assert_eq!(beyond_six > 10, count <= 4, "{count} values: {beyond_six}");
        }
    }
    // The quantile of Student's distribution with 4 degrees of freedom, of scipy.
    let bound = mean_bound(3.0, 1.0, 1.0);
    assert!((bound / 234.819 - 1.0).abs() < 1e-3, "{bound}");
}

/// Draws differ, distributions do not: mean, spread and kurtosis of a weight's start agree within six standard errors
/// of their difference ([`mean_bound`]). Kurtosis distinguishes a uniform (1.8) from a normal (3) distribution where
/// there are values enough, which is what this gives. Draws of other tests between ours change the draws, not the
/// distributions.
pub fn assert_same_start(place: &str, ours: Moments, expected: Moments) -> bool {
    let (count, mean, spread, kurtosis) = ours;
    let (expected_count, expected_mean, expected_spread, expected_kurtosis) = expected;
    assert_eq!(count, expected_count, "{place}");
    if expected_spread == 0.0 || count == 1.0 {
        let close = (mean - expected_mean).abs() <= 1e-7 * expected_mean.abs().max(1e-7);
        // A single drawn value says nothing but that it was drawn.
        assert!(close || (count == 1.0 && mean != 0.0 && expected_mean != 0.0), "{place}: {mean}");
        assert_eq!(spread, expected_spread, "{place}");
        return false;
    }
    // The spread of a handful of values says little about that of their distribution.
    let error = 6.0 * if count < 100.0 { expected_spread.max(spread) } else { expected_spread } / count.sqrt();
    let of_mean = if count < 100.0 { mean_bound(count, spread, expected_spread) } else { error * 2f64.sqrt() };
    assert!((mean - expected_mean).abs() <= of_mean, "{place}: mean {mean}, {expected_mean}");
    assert!((spread - expected_spread).abs() <= error, "{place}: spread {spread}, {expected_spread}");
    if count < 2000.0 {
        return false;
    }
    let error = 6.0 * (48.0 / count).sqrt();
    assert!((kurtosis - expected_kurtosis).abs() <= error, "{place}: kurtosis {kurtosis}, {expected_kurtosis}");
    true
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn initial_weights_have_the_references_distribution() {
    use EncoderKind::{ConvNeXtTiny, ConvNeXtV2Tiny, HrNetW18, SwinTiny};
    tch::set_num_threads(2);
    let everything = std::env::var("CARPUS_PARITY").is_ok_and(|v| v == "all");
    let encoders = if everything { EncoderKind::ALL } else { &[HrNetW18, ConvNeXtTiny, ConvNeXtV2Tiny, SwinTiny] };
    let mut configs: Vec<_> = encoders.iter().map(|e| (Decoder(DecoderKind::Unet), Some(*e), 1)).collect();
    configs.push((Decoder(DecoderKind::HrNetOcr), Some(HrNetW18), 3));
    configs.push((Network(NetworkKind::SwinUnetr), None, 3));
    if everything {
        configs.extend(encoders.iter().map(|e| (Decoder(DecoderKind::UperNet), Some(*e), 3)));
    }
    let configs = drawn(configs, 5);
    let cases: Vec<_> = configs
        .iter()
        .map(|(architecture, encoder, in_channels)| {
            json!({"architecture": architecture, "encoder": encoder, "in_channels": in_channels, "classes": 3})
        })
        .collect();
    let seed = python::seed();
    let text = python::run("encoders.py", &["initial", &json!(cases).to_string(), &seed.to_string()]);
    tch::manual_seed(seed as i64 + 1);
    let mut compared = 0;
    for ((architecture, encoder, in_channels), line) in configs.into_iter().zip(text.lines()) {
        let reference: BTreeMap<String, (f64, f64, f64, f64)> = serde_json::from_str(line).unwrap();
        let config = ModelConfig { architecture, encoder, in_channels, classes: 3, ..ModelConfig::default() };
        let model = Model::new(&config, Device::Cpu).unwrap();
        assert_eq!(model.named_parameters().len(), reference.len(), "{}", config.describe());
        for (name, tensor) in model.named_parameters() {
            let place = format!("{}: {name}", config.describe());
            compared += usize::from(assert_same_start(&place, moments(&tensor), reference[&name]));
        }
    }
    assert!(compared > 300, "{compared} weights were large enough to determine their distribution");
}

/// The state dict of timm's classifier loads into the encoder: its head is left out, so are stages beyond the depth,
/// names and the first layer are those that timm itself makes of them.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn published_weights_load_as_timm_loads_them() {
    use EncoderKind::{ConvNeXtTiny, ConvNeXtV2Tiny, HrNetW18, SwinTiny};
    let folder = tempfile::tempdir().unwrap();
    let configs = [
        (Decoder(DecoderKind::Fpn), HrNetW18, 3, 5),
        (Decoder(DecoderKind::HrNetOcr), HrNetW18, 1, 5),
        (Decoder(DecoderKind::Unet), ConvNeXtTiny, 1, 4),
        (Decoder(DecoderKind::Fpn), ConvNeXtV2Tiny, 3, 5),
        (Decoder(DecoderKind::Fpn), SwinTiny, 1, 5),
        (Decoder(DecoderKind::Unet), SwinTiny, 3, 3),
    ];
    let file = |name: String, what: &str| folder.path().join(format!("{name}.{what}.safetensors"));
    let name = |architecture: Architecture, encoder: EncoderKind| format!("{architecture}.{encoder}");
    let cases = configs.map(|(architecture, encoder, in_channels, depth)| {
        let branches = architecture == Decoder(DecoderKind::HrNetOcr);
        let name = name(architecture, encoder);
        json!({"name": name, "encoder": encoder, "in_channels": in_channels, "depth": depth, "branches": branches})
    });
    std::fs::write(folder.path().join("cases.json"), json!(cases).to_string()).unwrap();
    let seed = python::seed().to_string();
    python::run("encoders.py", &["published", folder.path().to_str().unwrap(), &seed]);
    for (architecture, encoder, in_channels, depth) in configs {
        let encoder_name = name(architecture, encoder);
        let config = ModelConfig {
            architecture,
            encoder: Some(encoder),
            in_channels,
            depth: Some(depth),
            classes: 2,
            ..ModelConfig::default()
        };
        let mut model = Model::new(&config, Device::Cpu).unwrap();
        model.load_encoder(&file(encoder_name.clone(), "published")).unwrap();
        let features = read_tensors(&file(encoder_name.clone(), "features")).unwrap();
        let ours = model.state().into_iter();
        let ours: Vec<_> = ours.filter(|(name, _)| name.starts_with(encoder.weights_prefix())).collect();
        assert_eq!(ours.len(), features.len(), "{encoder_name}");
        for (name, tensor) in ours {
            let expected = &features[&name[encoder.weights_prefix().len()..]];
            assert!(tensor.detach().allclose(expected, 1e-6, 1e-6, false), "{encoder_name}: {name}");
        }

        // A whole model's file and one of its encoder alone, as SMP names it, say the same.
        let whole = folder.path().join("whole.safetensors");
        model.save(&whole).unwrap();
        let alone = folder.path().join("alone.safetensors");
        let inside = model.state().into_iter();
        let inside: Vec<_> =
            inside.filter_map(|(n, t)| n.strip_prefix("encoder.").map(|n| (n.to_owned(), t))).collect();
        carpus::models::write_tensors(&alone, &inside).unwrap();
        for path in [whole, alone] {
            let mut other = Model::new(&config, Device::Cpu).unwrap();
            other.load_encoder(&path).unwrap();
            for ((name, theirs), (_, tensor)) in other.state().iter().zip(model.state()) {
                assert!(!name.starts_with("encoder.") || *theirs == tensor, "{encoder_name}: {name}");
            }
        }
        // Weights of another encoder are refused.
        let other = if encoder == HrNetW18 { ConvNeXtTiny } else { HrNetW18 };
        let mut other =
            Model::new(&ModelConfig { encoder: Some(other), ..ModelConfig::default() }, Device::Cpu).unwrap();
        other.load_encoder(&file(encoder_name, "published")).unwrap_err();
    }
}
