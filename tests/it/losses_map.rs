//! `carpus losses map` on synthetic hands.

use carpus::augment::Letterbox;
use carpus::bones::{self, Bone};
use carpus::dataset::Dataset;
use carpus::mask::{LabelImage, SignedDistance};
use serde_json::Value;

use crate::corrections::Bench;

fn map(bench: &Bench, line: &str) -> Result<Value, String> {
    let words: Vec<&str> = ["--json", "losses", "map"].into_iter().chain(line.split_whitespace()).collect();
    let out = bench.run(&words);
    match out.status.code() {
        Some(0) => Ok(serde_json::from_slice(&out.stdout).unwrap()),
        _ => Err(String::from_utf8_lossy(&out.stderr).into_owned()),
    }
}

#[test]
fn the_map_is_that_of_the_mask_at_the_models_size() {
    let bench = Bench::new();
    let dataset = Dataset::open(&bench.at("data")).unwrap();
    let entry = dataset.images().iter().find(|entry| entry.annotation.is_some()).unwrap();
    let id = &entry.image_id;
    let drawn = map(&bench, &format!("{id} --data data --bones Ulna --size 96 --out ulna.png")).unwrap();
    let picture = image::open(bench.at("ulna.png")).unwrap().into_rgb8();
    assert_eq!(picture.dimensions(), (96, 96));
    let (width, height) = dataset.dimensions(entry).unwrap();
    let masks = dataset.annotation(entry).unwrap().unwrap().annotation.masks(width, height);
    let words = Letterbox::new(width, height, carpus::geometry::Size::square(96)).words(&masks);
    let mask = LabelImage { width: 96, height: 96, words }.mask(Bone::ULNA.index());
    let distances = SignedDistance::new(&mask).to_dense(None);
    let [least, most] = [f32::min, f32::max].map(|of| distances.iter().copied().fold(0.0, of));
    let range: Vec<f32> = serde_json::from_value(drawn["range"]["Ulna"].clone()).unwrap();
    assert_eq!(range, [least, most]);
    // Blue inside, red outside.
    for (i, d) in distances.iter().enumerate().filter(|(_, d)| d.abs() > 2.0) {
        let [r, _, b] = picture.get_pixel(i as u32 % 96, i as u32 / 96).0;
        assert_eq!(b > r, *d < 0.0, "{i}: {d} {r} {b}");
    }

    // All bones as a sheet, by the file of the image alone; the distances are limited.
    let file = format!("data/{}", entry.image);
    let drawn = map(&bench, &format!("{file} --size 64 --band 5 --out all.png")).unwrap();
    assert_eq!(drawn["range"].as_object().unwrap().len(), bones::COUNT);
    assert_eq!(drawn["range"]["Radius"][1], 5.0);
    let sheet = image::open(bench.at("all.png")).unwrap();
    assert!(sheet.width() > 6 * 64 && sheet.height() > 5 * 64);
}

#[test]
fn wrong_images_and_bones_are_named() {
    let bench = Bench::new();
    let unannotated = bench.images.iter().find(|entry| entry.annotation.is_none()).unwrap();
    for (line, expected) in [
        (format!("{} --data data --out m.png", unannotated.image_id), "has no annotation"),
        (format!("data/{} --out m.png", unannotated.image), "no folder above it has its annotation"),
        ("nobody --data data --out m.png".to_owned(), "has no image nobody"),
        ("nobody --out m.png".to_owned(), "no such file"),
        (format!("{} --data data --bones Ulnar --out m.png", bench.id(0)), "did you mean Ulna?"),
        (format!("{} --data data --band 0 --out m.png", bench.id(0)), "a number of pixels above 0"),
    ] {
        let error = map(&bench, &line).unwrap_err();
        assert!(error.contains(expected), "{line}: {error}");
    }
}
