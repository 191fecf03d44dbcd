//! Decisions against their reference libraries, and `carpus thresholds` on a phantom.

use carpus::bones::{self, Bone};
use carpus::dataset::Dataset;
use carpus::geometry::Size;
use carpus::mask::RunMask;
use carpus::probability::decision::{DecisionSettings, LeastArea, ranked_mask};
use carpus::probability::{Bits, ImageProbabilities, MapBuilder, ProbabilityMap, write};
use carpus::tables::{FoldRow, write_csv};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::corrections::Bench;
use crate::python;

/// The answers of the parity script.
pub fn reference(cases: &[Value]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    std::fs::write(&path, serde_json::to_vec(cases).unwrap()).unwrap();
    serde_json::from_str(&python::run("decisions.py", &[path.to_str().unwrap()])).unwrap()
}

/// A map of a blurred blotch with noise.
fn map(rng: &mut ChaCha8Rng) -> ProbabilityMap {
    let (width, height) = (rng.random_range(1..40u32), rng.random_range(1..40u32));
    let (x0, y0) = (rng.random_range(0.0..width as f32), rng.random_range(0.0..height as f32));
    let (radius, slope, noise) =
        (rng.random_range(1.0..20.0f32), rng.random_range(0.1..1.5f32), rng.random_range(0.0..0.4f32));
    let mut builder = MapBuilder::new(Size { width, height });
    for y in 0..height {
        let row: Vec<f32> = (0..width)
            .map(|x| {
                let distance = ((x as f32 - x0).powi(2) + (y as f32 - y0).powi(2)).sqrt();
                let p = 1.0 / (1.0 + (slope * (distance - radius)).exp());
                (p + noise * (rng.random::<f32>() - 0.5)).clamp(0.0, 1.0)
            })
            .collect();
        builder.push_row(&row);
    }
    builder.finish()
}

fn dense_levels(map: &ProbabilityMap) -> Vec<u16> {
    let Size { width, height } = map.size();
    let mut dense = vec![0; (width * height) as usize];
    for y in 0..height {
        for (x, levels) in map.row(y) {
            let at = (y * width + x) as usize;
            dense[at..at + levels.len()].copy_from_slice(levels);
        }
    }
    dense
}

#[test]
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: make venv-dev")]
fn ranked_masks_are_those_of_rankseg() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let maps: Vec<ProbabilityMap> = (0..300).map(|_| map(&mut rng)).collect();
    let case = |map: &ProbabilityMap| json!({"kind": "ranked", "width": map.size().width, "height": map.size().height, "levels": dense_levels(map)});
    let expected = reference(&maps.iter().map(case).collect::<Vec<_>>());
    let (mut empty, mut other) = (0, 0);
    for (map, expected) in maps.iter().zip(&expected) {
        let expected: Vec<u8> = serde_json::from_value(expected.clone()).unwrap();
        let mask = ranked_mask(map, 0.5);
        assert_eq!(mask.to_dense(), expected, "{:?}", map.size());
        empty += usize::from(mask.is_empty());
        other += usize::from(mask != map.mask(0.5));
    }
    assert!(empty < 150 && other > 100, "{empty} empty masks, {other} different from those at one half");
}

#[test]
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: make venv-dev")]
fn filled_masks_are_those_of_scipy() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let masks: Vec<RunMask> = (0..300)
        .map(|_| {
            let (width, height) = (rng.random_range(1..40u32), rng.random_range(1..40u32));
            let density = rng.random_range(0.3..0.9);
            let dense: Vec<u8> = (0..width * height).map(|_| u8::from(rng.random_bool(density))).collect();
            RunMask::from_dense(&dense, width, height)
        })
        .collect();
    let case = |mask: &RunMask| json!({"kind": "filled", "width": mask.width(), "height": mask.height(), "pixels": mask.to_dense()});
    let expected = reference(&masks.iter().map(case).collect::<Vec<_>>());
    for (mask, expected) in masks.iter().zip(&expected) {
        assert_eq!(json!(mask.filled().to_dense()), *expected);
    }
}

/// A map with `inside` on the mask and `outside` around it, at a distance of up to two pixels.
fn map_of(mask: &RunMask, inside: f32, outside: f32) -> ProbabilityMap {
    let (around, size) = (mask.dilated(2), Size { width: mask.width(), height: mask.height() });
    let mut builder = MapBuilder::new(size);
    for y in 0..size.height {
        let p = |x| match (mask.contains(x, y), around.contains(x, y)) {
            (true, _) => inside,
            (_, true) => outside,
            _ => 0.0,
        };
        builder.push_row(&(0..size.width).map(p).collect::<Vec<f32>>());
    }
    builder.finish()
}

/// A bench with two folds and the folder `oof` of probabilities of its annotated images.
fn bench(inside: f32, outside: f32) -> Bench {
    let bench = Bench::new();
    let dataset = Dataset::open(&bench.at("data")).unwrap();
    std::fs::create_dir(bench.at("oof")).unwrap();
    let mut folds: Vec<FoldRow> = Vec::new();
    for entry in dataset.images().iter().filter(|e| e.annotation.is_some()) {
        let (width, height) = dataset.dimensions(entry).unwrap();
        let truth = dataset.annotation(entry).unwrap().unwrap().annotation.masks(width, height);
        let maps = Bone::all().map(|bone| map_of(&truth[bone], inside, outside)).collect();
        let image = ImageProbabilities { image_name: format!("{}.png", entry.image_id), maps };
        write(&bench.at("oof").join(format!("{}.probabilities", entry.image_id)), &image, Bits::Eight).unwrap();
        let (image_id, patient_id) = (entry.image_id.clone(), entry.patient_id.clone());
        let fold = u32::from(folds.first().is_some_and(|first| first.patient_id != patient_id));
        folds.push(FoldRow { image_id, patient_id, fold, ..Default::default() });
    }
    write_csv(&bench.at("folds.csv"), &folds).unwrap();
    bench
}

const THRESHOLDS: [&str; 9] =
    ["thresholds", "--probabilities", "oof", "--data", "data", "--folds", "folds.csv", "--out", "decision.toml"];

#[test]
fn thresholds_are_found_and_written_with_their_gain() {
    // Every bone is predicted with .4 and its surroundings with .2: any threshold between is perfect.
    let bench = bench(0.4, 0.2);
    assert_eq!(bench.run(&["scan", "data", "--out", "tables"]).status.code(), Some(0));
    let out = bench.run(&[&["--json"][..], &THRESHOLDS, &["--tables", "tables"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((found["folds"].as_u64(), found["classes"].as_array().map(Vec::len)), (Some(2), Some(bones::COUNT)));
    assert!(found["nested"]["mean"].as_f64().unwrap() > 0.9, "{}", found["nested"]);
    let decision = DecisionSettings::read(&bench.at("decision.toml")).unwrap();
    let thresholds: Vec<f64> = Bone::all().map(|bone| decision.threshold.of(bone)).collect();
    assert!(thresholds.iter().all(|t| (0.2..0.4).contains(t)), "{thresholds:?}");
    let Some(LeastArea::Each(areas)) = decision.min_area else { panic!("no areas") };
    assert!(areas.of(Bone::ULNA) > 10.0);
    let text = std::fs::read_to_string(bench.at("decision.toml")).unwrap();
    assert!(text.contains("# Thresholds that maximise") && !text.contains("no evidence"), "{text}");
    // The command overwrites its own file, but no other.
    assert_eq!(bench.run(&THRESHOLDS).status.code(), Some(0));
    std::fs::write(bench.at("decision.toml"), "mine").unwrap();
    assert_eq!(bench.run(&THRESHOLDS).status.code(), Some(1));
}

#[test]
fn thresholds_without_gain_are_a_warning_and_missing_images_an_error() {
    let bench = bench(0.9, 0.1);
    let out = bench.run(&THRESHOLDS);
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{errors}");
    assert!(errors.contains("contains 0"), "{errors}");
    assert!(std::fs::read_to_string(bench.at("decision.toml")).unwrap().contains("no evidence"));
    let first = std::fs::read_dir(bench.at("oof")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&first).unwrap();
    let out = bench.run(&THRESHOLDS);
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    let id = first.file_stem().unwrap().to_string_lossy().into_owned();
    assert!(out.status.code() == Some(1) && errors.contains(&format!("for example {id}")), "{errors}");
}
