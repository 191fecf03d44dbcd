//! Geometric augmentation compared with albumentations 2.0.8: maps, images, and the distribution of what is drawn.

use std::collections::BTreeMap;

use carpus::augment::{
    Amount, Augmentation, Elastic, GridDistortion, LabelledImage, Lens, NoOtherImages, OpticalDistortion, Perspective,
    RandomAffine, RandomResizedCrop,
};
use carpus::geometry::Size;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::python;

/// Draws per kind; the reference makes as many.
const DRAWS: u64 = 800;

fn applied(step: &Augmentation, image: LabelledImage, seed: u64) -> LabelledImage {
    step.apply_always(image, &NoOtherImages, &mut ChaCha8Rng::seed_from_u64(seed))
}

/// The source x or y of each pixel: the step applied to an image whose grey levels are the places.
fn places(step: &Augmentation, size: Size, seed: u64, of: fn(u32, u32) -> u32) -> Vec<f32> {
    let levels = (0..size.height).flat_map(|y| (0..size.width).map(move |x| of(x, y) as f32)).collect();
    applied(step, LabelledImage::new(size, levels, vec![0; size.pixels()]), seed).levels
}

fn map(step: &Augmentation, size: Size, seed: u64) -> [Vec<f32>; 2] {
    [places(step, size, seed, |x, _| x), places(step, size, seed, |_, y| y)]
}

/// A case of a map: its kind, what the reference needs to know of it, and the map.
fn map_case(kind: &str, mut known: Value, step: &Augmentation, size: Size, seed: u64) -> Value {
    let [x, y] = map(step, size, seed);
    for (key, value) in [("kind", json!(kind)), ("width", json!(size.width)), ("height", json!(size.height))] {
        known[key] = value;
    }
    (known["x"], known["y"]) = (json!(x), json!(y));
    known
}

fn optical(mode: Lens, k: f64) -> Augmentation {
    Augmentation::OpticalDistortion(OpticalDistortion { mode, k: Amount::Fixed(k), ..OpticalDistortion::default() })
}

fn maps(rng: &mut ChaCha8Rng, affine: &Augmentation, known: &Value) -> Vec<Value> {
    let size = Size { width: 100, height: 80 };
    let perspective = Augmentation::Perspective(Perspective::default());
    let grid = Augmentation::GridDistortion(GridDistortion::default());
    let k = rng.random_range(-0.2..0.5);
    vec![
        map_case("affine", known.clone(), affine, size, 0),
        map_case("perspective", json!({}), &perspective, size, rng.random()),
        map_case("grid-distortion", json!({"steps": 5}), &grid, Size { width: 101, height: 81 }, rng.random()),
        map_case("camera", json!({"k": k}), &optical(Lens::Camera, k), size, 0),
        map_case("fisheye", json!({"k": k}), &optical(Lens::Fisheye, k), size, 0),
    ]
}

/// The affine map on a smooth image with round labels.
fn image_case(affine: &Augmentation, known: &Value) -> Value {
    let size = Size { width: 100, height: 80 };
    let places = || (0..size.pixels()).map(|i| ((i % 100) as f32, (i / 100) as f32));
    let levels: Vec<f32> =
        places().map(|(x, y)| (127.0 + 60.0 * (x / 9.0).sin() + 60.0 * (y / 7.0).cos()).round()).collect();
    let words: Vec<u32> =
        places().map(|(x, y)| u32::from((x - 40.0).hypot(y - 35.0) < 20.0) * 3 + u32::from(x > 70.0) * 4).collect();
    let result = applied(affine, LabelledImage::new(size, levels.clone(), words.clone()), 0);
    let mut case = known.clone();
    for (key, value) in [
        ("width", json!(size.width)),
        ("height", json!(size.height)),
        ("levels", json!(levels)),
        ("words", json!(words)),
        ("result", json!(result.levels)),
        ("labels", json!(result.words)),
    ] {
        case[key] = value;
    }
    case
}

fn draws() -> Vec<Value> {
    let each = |of: &dyn Fn(u64) -> Vec<f32>| (0..DRAWS).map(of).collect::<Vec<_>>();
    let (square, wide) = (Size::square(41), Size { width: 64, height: 48 });
    let affine = Augmentation::RandomAffine(RandomAffine {
        scale: Amount::Between([0.8, 1.25]),
        translate: Amount::Fixed(0.0),
        rotate: Amount::Between([-20.0, 40.0]),
        shear: Amount::Between([-10.0, 5.0]),
        ..RandomAffine::default()
    });
    let at = |[x, y]: [Vec<f32>; 2], pixels: &[usize]| pixels.iter().flat_map(|i| [x[*i], y[*i]]).collect::<Vec<_>>();
    let middle = 20 * 41 + 20;
    let mut cases = vec![json!({"kind": "affine", "draws": each(&|seed| {
        at(map(&affine, square, seed), &[middle, middle + 8, middle + 8 * 41])
    })})];
    let perspective = Augmentation::Perspective(Perspective::default());
    cases.push(json!({"kind": "perspective", "width": 64, "height": 48, "draws": each(&|seed| {
        at(map(&perspective, wide, seed), &[0, 63, 64 * 48 - 1, 64 * 47])
    })}));
    // Pixel by pixel, and on a lattice. The noise that albumentations repeats at the edges does not reach the middle.
    for (side, sigma) in [(41u32, 4u32), (105, 12)] {
        let alpha = 19.0 * f64::from(sigma);
        let step = Augmentation::Elastic(Elastic {
            alpha: Some(Amount::Fixed(alpha)),
            sigma: Some(Amount::Fixed(f64::from(sigma))),
            ..Elastic::default()
        });
        let middle = (side / 2) as usize;
        cases.push(json!({"kind": "elastic", "width": side, "sigma": sigma, "alpha": alpha, "draws": each(&|seed| {
            let x = places(&step, Size::square(side), seed, |x, _| x);
            let by = |column: usize| x[middle * side as usize + column] - column as f32;
            let here = by(middle);
            vec![here, by(middle + sigma as usize) - here]
        })}));
    }
    let grid = Augmentation::GridDistortion(GridDistortion::default());
    cases.push(json!({"kind": "grid-distortion", "steps": 5, "draws": each(&|seed| {
        let x = places(&grid, Size { width: 101, height: 2 }, seed, |x, _| x);
        (0..5).map(|k| (x[20 * (k + 1)] - x[20 * k]) / 20.0).collect()
    })}));
    let crop = Augmentation::RandomResizedCrop(RandomResizedCrop::default());
    cases.push(json!({"kind": "crop", "draws": each(&|seed| {
        let corners = at(map(&crop, wide, seed), &[0, 64 * 48 - 1]);
        let [left, top, right, bottom] = corners[..] else { unreachable!() };
        vec![left / 64.0, top / 48.0, (right - left + 1.0) / 64.0, (bottom - top + 1.0) / 48.0]
    })}));
    cases
}

#[derive(Deserialize)]
struct Answer {
    maps: BTreeMap<String, f64>,
    images: Vec<Difference>,
    draws: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Difference {
    mean: f64,
    worst: f64,
    labels: f64,
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn geometric_steps_equal_albumentations() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let (mut all_maps, mut images) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let [scale, rotate, shear] = [0.8..1.3, -180.0..180.0, -20.0..20.0].map(|range| rng.random_range(range));
        // Whole pixels, as in albumentations.
        let translate = f64::from(rng.random_range(-3..=3)) / 20.0;
        let affine = Augmentation::RandomAffine(RandomAffine {
            scale: Amount::Fixed(scale),
            translate: Amount::Fixed(translate),
            rotate: Amount::Fixed(rotate),
            shear: Amount::Fixed(shear),
            ..RandomAffine::default()
        });
        let known = json!({"scale": scale, "translate": translate, "rotate": rotate, "shear": shear});
        all_maps.extend(maps(&mut rng, &affine, &known));
        images.push(image_case(&affine, &known));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    let cases = json!({"maps": all_maps, "images": images, "draws": draws()});
    std::fs::write(&file, serde_json::to_vec(&cases).unwrap()).unwrap();
    let answer: Answer = serde_json::from_str(&python::run("augment_geometry.py", &[file.to_str().unwrap()])).unwrap();
    assert_eq!((answer.maps.len(), answer.images.len()), (20, 4));
    for (name, distance) in answer.maps {
        assert!(distance < 1e-3, "{name}: {distance} px");
    }
    // OpenCV rounds the levels to whole ones; the rest is single precision.
    for Difference { mean, worst, labels } in answer.images {
        println!("image: mean {mean}, worst {worst}, labels {labels}");
        assert!(
            mean < 0.35 && worst < 247.0 / 32.0 + 1.0 && labels < 0.005,
            "mean {mean}, {worst}; {labels} of labels"
        );
    }
    assert_eq!(answer.draws.len(), 4 + 8 + 4 + 5 + 4);
    for (name, p) in answer.draws {
        assert!(p > 1e-4, "{name}: p = {p}");
    }
}
