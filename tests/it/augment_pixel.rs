//! Grey-level steps of the augmentation against OpenCV, albumentations and scikit-image's formula: the same parameters
//! on random images, and the distribution of the parameters that are drawn.

use std::collections::BTreeMap;

use carpus::augment::{
    Amount, Augmentation, Clahe, Gamma, GaussianBlur, GaussianNoise, HistogramMatching, LabelledImage, MedianBlur,
    NoOtherImages, PoissonNoise, Sharpen,
};
use carpus::config::operations::operations;
use carpus::geometry::Size;
use carpus::models::read_tensors;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::Tensor;

use crate::python;

/// Draws per parameter.
const DRAWS: usize = 3000;

fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

fn levels(image: &Tensor) -> Vec<f32> {
    Vec::try_from(image.contiguous().view([-1])).unwrap()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn every_grey_level_step_equals_its_reference() {
    #[derive(serde::Deserialize)]
    struct Case {
        op: String,
        tolerance: f32,
    }
    let folder = tempfile::tempdir().unwrap();
    python::run("augment_pixel.py", &["cases", folder.path().to_str().unwrap(), &python::seed().to_string()]);
    let cases = std::fs::read(folder.path().join("cases.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    let tensors = read_tensors(&folder.path().join("tensors.safetensors")).unwrap();
    assert!(cases.len() > 150);
    for (place, Case { op, tolerance }) in cases.iter().enumerate() {
        let steps = operations(op).unwrap_or_else(|error| panic!("{op}: {error}"));
        let source = &tensors[&format!("{place}.source")];
        let (height, width) = source.size2().unwrap();
        let size = Size { width: width as u32, height: height as u32 };
        let image = LabelledImage::new(size, levels(source), vec![5; size.pixels()]);
        let changed = steps.apply_always(image, &NoOtherImages, &mut rng(1));
        assert!(changed.words.iter().all(|word| *word == 5), "{op}: labels stay");
        // References of 8 bit are compared after rounding, halves away from zero.
        let is_eight_bit = [0.0, 1.0].contains(tolerance);
        let ours = changed.levels.iter().map(|v| if is_eight_bit { v.round() } else { *v });
        let expected = levels(&tensors[&format!("{place}.expected")]);
        let worst = ours.zip(&expected).map(|(ours, expected)| (ours - expected).abs()).fold(0.0, f32::max);
        assert!(worst <= *tolerance, "{op} at {width} x {height}: differs by {worst}");
    }
}

/// The side of a median blur that was drawn: the levels of 7 x 7 pixels rise from ring to ring around the centre, so
/// that each side has another median there.
fn side(rng: &mut ChaCha8Rng) -> f64 {
    let size = Size::square(7);
    let mut places: Vec<(i32, i32)> = (0..49).map(|i| (i % 7, i / 7)).collect();
    places.sort_by_key(|(x, y)| (x - 3).abs().max((y - 3).abs()));
    let mut levels = vec![0.0; 49];
    for (rank, (x, y)) in places.into_iter().enumerate() {
        levels[(y * 7 + x) as usize] = rank as f32;
    }
    let step = Augmentation::MedianBlur(MedianBlur::default());
    let changed = step.apply_always(LabelledImage::new(size, levels, vec![0; 49]), &NoOtherImages, rng);
    let median = f64::from(changed.levels[24]);
    (2.0 * median + 1.0).sqrt()
}

/// Levels after shot noise of a grey image.
fn shot_noise() -> Vec<f64> {
    let size = Size::square(200);
    let image = LabelledImage::new(size, vec![128.0; size.pixels()], vec![0; size.pixels()]);
    let step = PoissonNoise { scale: Amount::Fixed(0.05), ..PoissonNoise::default() };
    let changed = Augmentation::PoissonNoise(step).apply_always(image, &NoOtherImages, &mut rng(8));
    changed.levels.into_iter().map(f64::from).collect()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn defaults_draw_what_albumentations_draws() {
    let amounts = [
        ("gamma", Gamma::default().gamma),
        ("clip-limit", Clahe::default().clip_limit),
        ("sigma", GaussianBlur::default().sigma),
        ("alpha", Sharpen::default().alpha),
        ("lightness", Sharpen::default().lightness),
        ("sd", GaussianNoise::default().sd),
        ("scale", PoissonNoise::default().scale),
        ("blend", HistogramMatching::default().blend),
    ];
    let mut ours: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (seed, (name, amount)) in amounts.into_iter().enumerate() {
        let mut rng = rng(seed as u64);
        ours.insert(name, (0..DRAWS).map(|_| amount.draw(&mut rng)).collect());
    }
    let mut draw_side = rng(77);
    ours.insert("side", (0..DRAWS).map(|_| side(&mut draw_side)).collect());
    ours.insert("shot noise", shot_noise());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("draws.json"), serde_json::to_string(&ours).unwrap()).unwrap();
    let out = python::run("augment_pixel.py", &["draws", folder.path().to_str().unwrap(), "3"]);
    let p: BTreeMap<String, f64> = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    println!("{p:?}");
    assert_eq!(p.len(), ours.len());
    for (name, p) in p {
        assert!(p > 1e-4, "{name}: Kolmogorov-Smirnov p = {p:e}");
    }
}
