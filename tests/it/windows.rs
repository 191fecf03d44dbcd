//! Prediction in windows against MONAI, with test-time augmentation, and `carpus predict` with its options.

use std::path::Path;
use std::process::{Command, Output};

use carpus::bones;
use carpus::geometry::Size;
use carpus::infer::{
    InferError, InferOptions, ScaledImage, TestTimeAugmentation, WindowModel, WindowSettings, WindowWeights,
    window_probabilities,
};
use carpus::mask::RunMask;
use carpus::mask::submission::{self, ImageMasks};
use carpus::models::{EncoderKind, Model, ModelConfig};
use carpus::probability::{LEAST, ProbabilityFolder, ProbabilityMap};
use carpus::train::{InputSettings, WeightsInfo, write_weights};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

use crate::python;
use crate::train::draw_data;

/// A convolution of 3 x 3 px with zeros around each window.
struct Convolution {
    weights: Tensor,
    biases: Tensor,
}

impl WindowModel for Convolution {
    fn probabilities(&self, levels: &Tensor) -> Result<Tensor, InferError> {
        let images = levels.unsqueeze(1) / 255.0;
        Ok(images.f_conv2d(&self.weights, Some(&self.biases), [1, 1], [1, 1], [1, 1], 1)?.sigmoid())
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn stride(&self) -> u32 {
        1
    }

    fn least_side(&self) -> u32 {
        1
    }
}

fn numbers(rng: &mut ChaCha8Rng, count: usize, range: std::ops::Range<f32>) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(range.clone())).collect()
}

fn scaled(levels: &[f32], size: Size) -> ScaledImage {
    let levels = Tensor::from_slice(levels).view([i64::from(size.height), i64::from(size.width)]);
    ScaledImage { levels, scaled: size, size }
}

#[test]
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: make venv-dev")]
fn windows_are_those_of_monai() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let mut cases = Vec::new();
    let mut found: Vec<(Size, Vec<ProbabilityMap>)> = Vec::new();
    for i in 0..24 {
        let weights_of_pixels = WindowWeights::ALL[i % 3];
        let side = rng.random_range(4..20);
        let size = Size { width: rng.random_range(side..50), height: rng.random_range(side..50) };
        // Where the step would be a fraction of a pixel, both round down; 0.5 is the usual share.
        let overlap = if rng.random_bool(0.5) { 0.5 } else { rng.random_range(0.0..0.9) };
        let levels = numbers(&mut rng, size.pixels(), 0.0..255.0);
        let (weights, biases) =
            (numbers(&mut rng, bones::COUNT * 9, -2.0..2.0), numbers(&mut rng, bones::COUNT, -3.0..2.0));
        cases.push(json!({
            "width": size.width, "height": size.height, "levels": levels, "window": side, "overlap": overlap,
            "mode": weights_of_pixels.name(), "biases": biases,
            "weights": weights.chunks(9).map(<[f32]>::to_vec).collect::<Vec<_>>(),
        }));
        let model = Convolution {
            weights: Tensor::from_slice(&weights).view([bones::COUNT as i64, 1, 3, 3]),
            biases: Tensor::from_slice(&biases),
        };
        let window = WindowSettings { side, overlap, weights: weights_of_pixels, scale: 1.0 };
        let options = InferOptions { window: Some(window), augmentation: TestTimeAugmentation::default(), batch: 3 };
        found.push((size, window_probabilities(&model, &scaled(&levels, size), &window, &options).unwrap()));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    std::fs::write(&path, serde_json::to_vec(&cases).unwrap()).unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_str(&python::run("windows.py", &[path.to_str().unwrap()])).unwrap();
    for (i, ((size, maps), expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(expected.len(), bones::COUNT * size.pixels());
        for (at, p) in expected.iter().enumerate() {
            let (class, at) = (at / size.pixels(), (at % size.pixels()) as u32);
            let ours = maps[class].at(at % size.width, at / size.width);
            // Maps have steps of 1/65535, and pixels below 1/512 are not kept; both sums are in single precision.
            let negligible = *p < LEAST + 1e-5 && ours == 0.0;
            assert!(negligible || (ours - p).abs() < 1e-5, "{}: {ours} {p}", cases[i]["mode"]);
        }
    }
}

/// The probability of each class is the grey level, wherever the window is.
struct Identity;

impl WindowModel for Identity {
    fn probabilities(&self, levels: &Tensor) -> Result<Tensor, InferError> {
        Ok((levels / 255.0).unsqueeze(1).repeat([1, bones::COUNT as i64, 1, 1]))
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn stride(&self) -> u32 {
        4
    }

    fn least_side(&self) -> u32 {
        8
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Windows and geometric views together give back a smooth picture, at any scale of the windows.
    #[test]
    fn windows_and_views_together_give_back_the_picture(
        side in (3u32..10).prop_map(|n| 4 * n),
        overlap in 0.0f64..0.8,
        kind in 0usize..3,
        (width, height) in (40u32..90, 40u32..90),
        tta in prop::sample::subsequence(vec!["flip", "flip-vertical", "rotate:10", "scale:1.5"], 0..=4),
    ) {
        let (x, y) = (Tensor::arange(i64::from(width), (Kind::Float, Device::Cpu)), Tensor::arange(i64::from(height), (Kind::Float, Device::Cpu)));
        let picture = (x * 0.09).sin().view([1, -1]) * 50.0 + (y * 0.08).cos().view([-1, 1]) * 50.0 + 128.0;
        let levels = Vec::<f32>::try_from(picture.contiguous().view([-1])).unwrap();
        let window = WindowSettings { side, overlap, weights: WindowWeights::ALL[kind], scale: 1.0 };
        let augmentation = TestTimeAugmentation(tta.iter().map(|step| step.parse().unwrap()).collect());
        let options = InferOptions { window: Some(window), augmentation, batch: 5 };
        let size = Size { width, height };
        let maps = window_probabilities(&Identity, &scaled(&levels, size), &window, &options).unwrap();
        let exact = !tta.contains(&"rotate:10") && !tta.contains(&"scale:1.5");
        for yy in 3..height - 3 {
            for xx in 3..width - 3 {
                let expected = levels[(yy * width + xx) as usize] / 255.0;
                let found = maps[7].at(xx, yy);
                // Twice interpolated, and repeated at the rim of a scaled window.
                let limit = if exact { 1e-5 } else { 0.02 };
                prop_assert!((found - expected).abs() < limit, "{xx} {yy}: {found} {expected}");
            }
        }
    }
}

/// A folder with data and the weights of a model that was not trained.
fn bench() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let folds = draw_data(&folder.path().join("data"), 3);
    carpus::tables::write_csv(&folder.path().join("folds.csv"), &folds).unwrap();
    let model = ModelConfig { encoder: Some(EncoderKind::ResNet18), in_channels: 1, ..ModelConfig::default() };
    let info = WeightsInfo {
        model: model.clone(),
        size: Size::square(64),
        specialist: None,
        input: InputSettings::default(),
        classes: bones::NAMES.map(str::to_owned).to_vec(),
        top_level: None,
        epoch: None,
        dice: None,
        averaged: false,
    };
    let made = Model::new(&model, Device::Cpu).unwrap();
    write_weights(&folder.path().join("w.safetensors"), &made.state(), &info).unwrap();
    folder
}

fn carpus(folder: &Path, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus"))
        .current_dir(folder)
        .args(line.split_whitespace())
        .env("OMP_NUM_THREADS", "1")
        .output()
        .unwrap()
}

fn done(folder: &Path, line: &str) -> Value {
    let out = carpus(folder, &format!("--json {line}"));
    assert_eq!(out.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn failed(folder: &Path, line: &str) -> String {
    let out = carpus(folder, line);
    assert!(matches!(out.status.code(), Some(1 | 2)), "{line}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Number of pixels in which two submissions differ.
fn different(folder: &Path, names: [&str; 2]) -> u64 {
    let [a, b] = names.map(|name| submission::read(&folder.join(name), 80, 80).unwrap());
    let differing = |a: &RunMask, b: &RunMask| a.area() + b.area() - 2 * a.overlap(b).unwrap();
    let of = |(a, b): (&ImageMasks, &ImageMasks)| -> u64 {
        assert_eq!(a.image_name, b.image_name);
        a.masks.iter().zip(b.masks.iter()).map(|((_, a), (_, b))| differing(a, b)).sum()
    };
    assert_eq!(a.len(), b.len());
    a.iter().zip(&b).map(of).sum()
}

/// Of the million pixels of the bench, those whose probability is one half to the last bits.
const ROUNDING: u64 = 20;

const PREDICT: &str = "predict --checkpoint w.safetensors --data data --subset train --device cpu";

#[test]
fn probabilities_are_kept_and_parts_joined_are_a_single_run() {
    let bench = bench();
    let folder = bench.path();
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    // Through probabilities the masks are the same.
    done(folder, &format!("{PREDICT} --out plain.csv"));
    let report = done(folder, &format!("{PREDICT} --out all.csv --probabilities all --bits 16"));
    assert!(different(folder, ["plain.csv", "all.csv"]) <= ROUNDING);
    assert!(report["bytes_per_image"].as_f64().unwrap() > 1000.0, "{report}");
    let opened = ProbabilityFolder::open(&folder.join("all")).unwrap();
    let ids: Vec<String> = opened.ids().map(str::to_owned).collect();
    assert_eq!(ids.len(), 6);
    let masks = submission::read(&folder.join("all.csv"), 80, 80).unwrap();
    for (id, masks) in ids.iter().zip(&masks) {
        let image = opened.read(id).unwrap();
        for (map, (_, mask)) in image.maps.iter().zip(masks.masks.iter()) {
            assert_eq!(map.mask(0.5), *mask);
        }
    }

    for part in 1..=4 {
        let line = format!("{PREDICT} --part {part}/4 --out {part}.csv --probabilities part{part} --bits 16");
        assert_eq!(done(folder, &line)["images"], [1, 2, 1, 2][part - 1]);
    }
    done(folder, "join 1.csv 2.csv 3.csv 4.csv --out joined.csv");
    assert_eq!(read("joined.csv"), read("all.csv"));
    done(folder, "join part1 part2 part3 part4 --out joined");
    for id in &ids {
        let file = format!("{id}.probabilities");
        assert_eq!(read(&format!("joined/{file}")), read(&format!("all/{file}")));
    }
    assert_eq!(read("joined/probabilities.json"), read("all/probabilities.json"));
    for (line, expected) in [
        ("join 1.csv 1.csv --out x.csv", "is also in 1.csv"),
        ("join part1 part1 --out x", "is also in part1"),
        ("join part1 2.csv --out x", "expected only folders of probabilities, or only submissions"),
        ("join part1 data --out x", "no file IMAGE_ID.probabilities"),
        ("join 1.csv 2.csv --out 2.csv", "is an input of this command"),
    ] {
        let error = failed(folder, line);
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn windows_views_and_decisions_are_options_of_predict() {
    let bench = bench();
    let folder = bench.path();
    let views = "--tta flip,scale:1.5,rotate:5,gamma:0.9";
    let line =
        format!("{PREDICT} --window 64 --overlap 0.25 --weights triangular {views} --probabilities p --out w.csv");
    assert_eq!(done(folder, &line)["images"], 6);
    let manifest: Value = serde_json::from_slice(&std::fs::read(folder.join("p/probabilities.json")).unwrap()).unwrap();
    assert_eq!(manifest["made_by"]["options"]["window"]["side"], 64, "{manifest}");
    assert_eq!(manifest["made_by"]["options"]["tta"], json!(["flip", "scale:1.5", "rotate:5", "gamma:0.9"]));
    // A window as large as the scaled image is the whole image.
    done(folder, &format!("{PREDICT} --out plain.csv"));
    done(folder, &format!("{PREDICT} --window 64 --scale 0.8 --out scaled.csv"));
    assert!(different(folder, ["plain.csv", "scaled.csv"]) <= ROUNDING);
    assert!(different(folder, ["plain.csv", "w.csv"]) > ROUNDING);

    std::fs::write(folder.join("none.toml"), "[decision]\nthreshold = 1.0\n").unwrap();
    done(folder, &format!("{PREDICT} --decision none.toml --out none.csv"));
    let areas = |name: &str| -> u64 {
        let images = submission::read(&folder.join(name), 80, 80).unwrap();
        images.iter().flat_map(|image| image.masks.iter().map(|(_, mask)| mask.area()).collect::<Vec<_>>()).sum()
    };
    assert_eq!(areas("none.csv"), 0);
    // The least areas are those of the annotated images of the other folds.
    std::fs::write(folder.join("auto.toml"), "[decision]\nmin-area = \"auto\"\n").unwrap();
    let of_fold = format!("{PREDICT} --folds folds.csv --fold 1");
    done(folder, &format!("{of_fold} --decision auto.toml --out auto.csv"));
    done(folder, &format!("{of_fold} --out fold.csv"));
    assert!(areas("auto.csv") <= areas("fold.csv"));
    for (options, expected) in [
        ("--window 50", "--window is 50; expected a multiple of 32 px"),
        ("--window 64 --overlap 1", "overlap is 1; expected from 0 to below 1"),
        ("--window 64 --weights round", "unknown weights \"round\""),
        ("--scale 2", "--window"),
        ("--tta rotate:90", "expected flip, flip-vertical"),
        ("--tta flip,flip", "flip is given twice"),
        ("--part 5/4", "expected I/N"),
        ("--decision auto.toml", "min-area = \"auto\" takes the areas of annotated images that are not predicted"),
        ("--decision data", "data"),
    ] {
        let error = failed(folder, &format!("{PREDICT} --out x.csv {options}"));
        assert!(error.contains(expected), "{options}: {error}");
    }
}
