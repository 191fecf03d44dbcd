//! Augmentation compared with albumentations, both timed in the same run: `cargo bench --bench augment`.
//!
//! Flip, affine map, elastic deformation and fit to 1024 px of an image of 2048 px with 29 masks, in both orders. Both
//! get the same image; masks are runs for carpus and 8-bit images for albumentations. Rounds alternate, both use all
//! cores, and times are medians.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use carpus::augment::{
    Amount, Augmentation, Augmentations, Elastic, Flip, LabelledImage, Letterbox, NoOtherImages, RandomAffine,
};
use carpus::bones::COUNT;
use carpus::geometry::Size;
use carpus::mask::{HandMasks, LabelImage, RunMask};
use image::GrayImage;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

/// Side of the image in px.
const SIZE: u32 = 2048;
/// Side of the result in px.
const FIT: u32 = 1024;
/// Timed rounds, after one warm-up round.
const ROUNDS: u64 = 5;

/// Ellipses of the size of bones in rows; a few overlap.
fn bones() -> HandMasks {
    let mask = |class: usize| {
        let (x, y) = (250.0 + 310.0 * (class % 6) as f64, 220.0 + 380.0 * (class / 6) as f64);
        let (across, along) = (45.0 + 6.0 * (class % 7) as f64, 90.0 + 14.0 * (class % 5) as f64);
        let vertex = |i: usize| {
            let angle = i as f64 / 60.0 * std::f64::consts::TAU;
            let (u, v) = (across * angle.cos(), along * angle.sin());
            [x + 0.9 * u - 0.4 * v, y + 0.4 * u + 0.9 * v].map(|v| v.round() as i32)
        };
        RunMask::from_polygon(&(0..60).map(vertex).collect::<Vec<_>>(), SIZE, SIZE)
    };
    HandMasks::new((0..COUNT).map(mask).collect()).expect("29 masks of one size")
}

/// The steps; the field of the deformation is the same relative to the image at every size.
fn steps(scale: f64) -> Augmentations {
    let elastic = Elastic {
        p: 1.0,
        alpha: Some(Amount::Fixed(4000.0 * scale * scale)),
        sigma: Some(Amount::Fixed(50.0 * scale)),
        ..Elastic::default()
    };
    Augmentations(vec![
        Augmentation::Flip(Flip { p: 1.0 }),
        Augmentation::RandomAffine(RandomAffine { p: 1.0, ..RandomAffine::default() }),
        Augmentation::Elastic(elastic),
    ])
}

/// The image and labels of `FIT` px. As a training run does it, the image is fitted first.
fn fit_first(image: &GrayImage, masks: &HandMasks, rng: &mut ChaCha8Rng) -> LabelledImage {
    let fit = Letterbox::new(SIZE, SIZE, Size::square(FIT));
    let levels = fit.eight_bit(image).into_iter().map(f32::from).collect();
    let sample = LabelledImage::new(Size::square(FIT), levels, fit.words(masks));
    steps(f64::from(FIT) / f64::from(SIZE)).apply(sample, &NoOtherImages, rng)
}

fn augment_first(image: &GrayImage, masks: &HandMasks, rng: &mut ChaCha8Rng) -> LabelledImage {
    let levels = image.as_raw().iter().map(|v| f32::from(*v)).collect();
    let sample = LabelledImage::new(Size::square(SIZE), levels, LabelImage::from_masks(masks).words);
    let augmented = steps(1.0).apply(sample, &NoOtherImages, rng);
    let rounded = augmented.levels.iter().map(|v| v.round() as u8).collect();
    let rounded = GrayImage::from_raw(SIZE, SIZE, rounded).expect("a level per pixel");
    let levels = Letterbox::new(SIZE, SIZE, Size::square(FIT)).eight_bit(&rounded).into_iter().map(f32::from).collect();
    let (size, half) = (SIZE as usize, (SIZE / FIT) as usize);
    let row = |y: usize| augmented.words[y * size..][..size].iter().skip(half / 2).step_by(half).copied();
    let words = (half / 2..size).step_by(half).flat_map(row).collect();
    LabelledImage::new(Size::square(FIT), levels, words)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let masks = bones();
    let labels = LabelImage::from_masks(&masks);
    let image = GrayImage::from_fn(SIZE, SIZE, |x, y| {
        let bone = labels.words[(y * SIZE + x) as usize].count_ones() * 60;
        image::Luma([(20 + bone + (x * 7 + y * 13) % 31) as u8])
    });
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).expect("room for the images");
    write("image", image.as_raw());
    for (class, mask) in labels.masks(COUNT).iter().enumerate() {
        write(&class.to_string(), &mask.to_dense());
    }
    let interpreter = root.join(".venv/bin/python");
    let mut child = Command::new(&interpreter)
        .arg(root.join("benches/augment.py"))
        .arg(folder.path())
        .args([SIZE.to_string(), FIT.to_string()])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}; `make venv-dev` creates it", interpreter.display()));
    let mut requests = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut python = |name: &str| -> [f64; 3] {
        writeln!(requests, "{name}").expect("Python reads requests");
        let line = answers.next().expect("an answer").expect("text");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        ["seconds", "mean", "set"].map(|key| answer[key].as_f64().expect("a number"))
    };

    let threads = rayon::current_num_threads();
    println!(
        "{SIZE}x{SIZE} px with {COUNT} masks: flip, affine, elastic, fit to {FIT}x{FIT}; {threads} threads, medians"
    );
    println!("of {ROUNDS} rounds\n\n{:<32} {:>10} {:>16} {:>8}", "", "carpus", "albumentations", "ratio");
    type Order = fn(&GrayImage, &HandMasks, &mut ChaCha8Rng) -> LabelledImage;
    for (name, order) in [("augment-first", augment_first as Order), ("fit-first", fit_first)] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let mut rng = ChaCha8Rng::seed_from_u64(round);
            let started = Instant::now();
            let result = std::hint::black_box(order(&image, &masks, &mut rng));
            let seconds = started.elapsed().as_secs_f64();
            let [reference, mean, set] = python(name);
            // Both drew different maps, of which each moves some of the bones out of the image.
            let own_mean = result.levels.iter().map(|v| f64::from(*v)).sum::<f64>() / result.levels.len() as f64;
            let own_set: u32 = result.words.iter().map(|w| w.count_ones()).sum();
            assert!((own_mean / mean - 1.0).abs() < 0.4 && (f64::from(own_set) / set - 1.0).abs() < 0.4);
            if round > 0 {
                ours.push(seconds);
                theirs.push(reference);
            }
        }
        let (ours, theirs) = (median(ours), median(theirs));
        println!("{name:<32} {:>7.1} ms {:>13.0} ms {:>7.1}x", ours * 1e3, theirs * 1e3, theirs / ours);
    }
    drop(requests);
    child.wait().expect("Python ends");
}
