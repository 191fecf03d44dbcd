//! A small batch whose losses can be calculated on paper, for the test in each loss's file.

use tch::{Kind, Tensor};

use super::LossMix;

/// Probabilities of one class in a row of four pixels, of which the first two are true. A second class is absent and
/// has a probability of 0.1 everywhere.
pub const PROBABILITIES: [f64; 4] = [0.5, 0.8, 0.2, 0.9];
const TARGET: [f64; 4] = [1.0, 1.0, 0.0, 0.0];

/// Checks that the loss, written as in a configuration, has this value on the batch, with masks and with label words.
pub fn check(loss: &str, value: f64) {
    let logit = |p: f64| (p / (1.0 - p)).ln();
    let logits: Vec<f64> = PROBABILITIES.iter().chain(&[0.1; 4]).map(|p| logit(*p)).collect();
    let target: Vec<f64> = TARGET.iter().chain(&[0.0; 4]).copied().collect();
    check_on(loss, &logits, &target, value, None);
}

/// Checks the loss of logits of two classes in a row of pixels, and its gradient if it is given.
pub fn check_on(loss: &str, logits: &[f64], target: &[f64], value: f64, gradient: Option<&[f64]>) {
    let mix: LossMix = serde_json::from_str(loss).unwrap();
    let width = (logits.len() / 2) as i64;
    let maps = |values: &[f64]| Tensor::from_slice(values).to_kind(Kind::Float).view([1, 2, 1, width]);
    let masks = maps(target);
    let words: Vec<i32> =
        (0..width as usize).map(|i| target[i] as i32 | (target[i + width as usize] as i32) << 1).collect();
    let words = Tensor::from_slice(&words).view([1, 1, width]);
    for target in [masks, words] {
        let x = maps(logits).set_requires_grad(true);
        let found = mix.forward(&x, &target).unwrap();
        assert!((found.double_value(&[]) - value).abs() < 1e-6, "{loss}: {found:?} for {value}");
        found.backward();
        if let Some(wanted) = gradient {
            let found = Vec::<f32>::try_from(x.grad().view([-1])).unwrap();
            assert!(found.iter().zip(wanted).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{loss}: {found:?}");
        }
    }
}
