//! `carpus augment` as a user runs it.

use std::path::Path;
use std::process::{Command, Output};

use image::{GrayImage, ImageBuffer, Luma};

use crate::train::draw_data;

fn carpus(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
    command.current_dir(folder).args(arguments).env("OMP_NUM_THREADS", "1").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that has to succeed, and returns its standard error.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let out = carpus(folder, arguments);
    assert!(out.status.success(), "{arguments:?}\n{}\n{}", text(&out.stdout), text(&out.stderr));
    text(&out.stderr)
}

/// Runs a command that has to fail, and returns its exit code and standard error.
fn fails(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let out = carpus(folder, arguments);
    assert!(!out.status.success(), "{arguments:?}\n{}", text(&out.stdout));
    (out.status.code().unwrap(), text(&out.stderr))
}

/// A folder with `ramp.png`: 64 x 4 px with all grey levels.
fn ramp() -> (tempfile::TempDir, GrayImage) {
    let folder = tempfile::tempdir().unwrap();
    let image = GrayImage::from_fn(64, 4, |x, y| Luma([(y * 64 + x) as u8]));
    image.save(folder.path().join("ramp.png")).unwrap();
    (folder, image)
}

fn read(folder: &Path, name: &str) -> GrayImage {
    let image = image::open(folder.join(name)).unwrap();
    assert_eq!(image.color(), image::ColorType::L8);
    image.into_luma8()
}

#[test]
fn apply_writes_the_rounded_levels() {
    let (folder, image) = ramp();
    let folder = folder.path();
    let apply = |op: &str| {
        run(folder, &["augment", "apply", "--op", op, "ramp.png", "--out", "out.png"]);
        read(folder, "out.png")
    };
    let gamma = apply("{ kind = \"gamma\", gamma = 0.7, p = 0.0 }");
    let expected = image.as_raw().iter().map(|v| (255.0 * (f64::from(*v) / 255.0).powf(0.7)).round() as u8);
    assert_eq!(gamma.into_raw(), expected.collect::<Vec<_>>());
    // In order: the mirror image of the negative.
    let both = apply("[{ kind = \"invert\" }, { kind = \"flip\" }]");
    assert_eq!(both.dimensions(), (64, 4));
    assert!(both.enumerate_pixels().all(|(x, y, v)| v.0[0] == 255 - image.get_pixel(63 - x, y).0[0]));
}

#[test]
fn apply_draws_by_its_seed() {
    let (folder, _) = ramp();
    let folder = folder.path();
    let with = |seed: &str, out: &str| {
        let op = "{ kind = 'gaussian-noise' }";
        run(folder, &["augment", "apply", "--op", op, "ramp.png", "--out", out, "--seed", seed]);
        read(folder, out)
    };
    assert_eq!(with("1", "a.png"), with("1", "b.png"));
    assert_ne!(with("1", "a.png"), with("2", "b.png"));
}

#[test]
fn apply_mixes_other_images_and_scales_16_bits() {
    let (folder, _) = ramp();
    let folder = folder.path();
    let flat = ImageBuffer::<Luma<u16>, _>::from_pixel(64, 4, Luma([1023u16]));
    flat.save(folder.join("other.png")).unwrap();
    let op = "{ kind = 'histogram-matching', blend = 1 }";
    let apply = ["augment", "apply", "--op", op, "ramp.png", "--out", "out.png"];
    let (code, error) = fails(folder, &apply);
    assert_eq!(code, 1);
    assert!(error.contains("histogram-matching needs another image of the size of ramp.png"), "{error}");
    let note = run(folder, &[&apply[..], &["--other", "other.png"]].concat());
    assert!(note.contains("other.png: 16-bit levels scaled to 0 to 255 by 1023 / 255"), "{note}");
    assert!(read(folder, "out.png").pixels().all(|v| v.0[0] == 255));
    GrayImage::new(3, 5).save(folder.join("small.png")).unwrap();
    let (code, error) = fails(folder, &[&apply[..], &["--other", "small.png"]].concat());
    assert!(code == 1 && error.contains("3 x 5 px; expected 64 x 4"), "{error}");
    let same = ["augment", "apply", "--op", "{ kind = 'gamma', gamma = 1 }", "ramp.png", "--out", "out.png"];
    assert!(run(folder, &same).contains("no pixel of ramp.png was changed"));
}

/// Levels of 16 bits keep their fractions until the end, and steps that need the bones have those next to the image.
#[test]
fn apply_keeps_sixteen_bits_and_reads_the_annotation() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ramp = ImageBuffer::<Luma<u16>, _>::from_fn(64, 64, |x, y| Luma([(64 * y + x) as u16]));
    ramp.save(folder.join("ramp.png")).unwrap();
    run(folder, &["augment", "apply", "--op", "{ kind = 'gamma', gamma = 0.3 }", "ramp.png", "--out", "gamma.png"]);
    let gamma = read(folder, "gamma.png");
    for (found, level) in gamma.pixels().zip(0u16..) {
        let expected = 255.0 * (f64::from(level) / 4095.0).powf(0.3);
        assert!((f64::from(found.0[0]) - expected).abs() <= 0.51, "{level}: {} for {expected}", found.0[0]);
    }
    let around =
        ["augment", "apply", "--op", "{ kind = 'crop-around', bones = ['Ulna'] }", "ramp.png", "--out", "crop.png"];
    assert!(run(folder, &around).contains("it has no annotation, which some steps need"));
    let shape = serde_json::json!({"id": 1, "type": "poly_seg", "attributes": [], "label": "Ulna",
        "points": [[20, 20], [40, 20], [40, 40], [20, 40]]});
    let annotation = serde_json::json!({"annotations": [shape], "filename": "ramp.jpg"});
    std::fs::write(folder.join("ramp.json"), annotation.to_string()).unwrap();
    assert!(!run(folder, &around).contains("no pixel of"));
    // The crop begins below the first rows.
    assert!(read(folder, "crop.png").get_pixel(32, 0).0[0] > 20);
}

#[test]
fn apply_refuses_what_it_cannot_use() {
    let (folder, image) = ramp();
    let folder = folder.path();
    for (op, says) in [
        ("{ kind = 'clahee' }", "unknown kind `clahee`; did you mean clahe?"),
        ("{ kind = 'clahe', clip-limt = 1 }", "unknown key op[0].clip-limt; did you mean clip-limit?"),
        ("{ kind = 'clahe', tiles = 0 }", "op[0].tiles is 0; expected whole, from 1 to 64"),
        ("{ kind = 'histogram-matching', reference = 'no.png' }", "op[0].reference is no.png; expected an image file"),
    ] {
        let (code, error) = fails(folder, &["augment", "apply", "--op", op, "ramp.png", "--out", "out.png"]);
        assert!(code == 2 && error.contains(says) && error.contains("--op"), "{op}: {error}");
    }
    let (code, error) = fails(folder, &["augment", "apply", "--op", "{ kind = 'flip' }", "no.png", "--out", "out.png"]);
    assert!(code == 1 && error.contains("no.png"), "{error}");
    let (_, error) = fails(folder, &["augment", "apply", "--op", "{ kind = 'flip' }", "ramp.png", "--out", "ramp.png"]);
    assert!(error.contains("ramp.png"), "{error}");
    assert_eq!(read(folder, "ramp.png"), image, "an input is never overwritten");
    assert!(!folder.join("out.png").exists());
}

const CONFIG: &str = "
size = 64
[[augment]]
kind = 'clahe'
[[augment]]
kind = 'histogram-matching'
[[augment]]
kind = 'shift-scale-rotate'
";

/// Whether a picture has coloured pixels: outlines.
fn is_coloured(path: &Path) -> bool {
    image::open(path).unwrap().into_rgb8().pixels().any(|p| p.0[0].abs_diff(p.0[1]) > 40)
}

#[test]
fn preview_draws_each_step_and_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    draw_data(&folder.join("data"), 2);
    std::fs::write(folder.join("run.toml"), CONFIG).unwrap();
    let dataset = carpus::dataset::Dataset::open(&folder.join("data")).unwrap();
    let entry = dataset.images().iter().find(|entry| entry.annotation.is_some()).unwrap();
    let file = folder.join("data").join(&entry.image);
    let preview = |image: &str, more: &[&str]| {
        let command = ["--json", "augment", "preview", "run.toml", image, "--out", "sheet.png", "--samples", "2"];
        let out = carpus(folder, &[&command[..], more].concat());
        assert!(out.status.success(), "{}", text(&out.stderr));
        let result: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        (result, text(&out.stderr), std::fs::read(folder.join("sheet.png")).unwrap())
    };
    let (by_id, note, sheet) = preview(&entry.image_id, &["--data", "data"]);
    let captions =
        ["before", "clahe", "histogram-matching", "shift-scale-rotate", "all steps, sample 1", "all steps, sample 2"];
    assert_eq!(by_id["pictures"], serde_json::json!(captions), "{note}");
    assert_eq!((&by_id["annotated"], &by_id["size"]), (&serde_json::json!(true), &serde_json::json!(64)));
    assert!(is_coloured(&folder.join("sheet.png")));
    // Six pictures of 256 px in rows of four.
    let (width, height) = image::image_dimensions(folder.join("sheet.png")).unwrap();
    assert!(width == 4 * 264 + 8 && (2 * 264..2 * 300).contains(&height), "{width} x {height}");
    assert_eq!(preview(&entry.image_id, &["--data", "data"]).2, sheet, "the same seed draws the same sheet");
    assert_ne!(preview(&entry.image_id, &["--data", "data", "--seed", "5"]).2, sheet);
    // By its file, with the annotation in the folder where the data set has it; there is no other image.
    let (by_file, note, _) = preview(file.to_str().unwrap(), &[]);
    assert_eq!(by_file["annotated"], true);
    assert!(note.contains("histogram-matching does nothing without another annotated image"), "{note}");
    assert_eq!(by_file["pictures"][2], "histogram-matching (unchanged)");
    // Without annotation.
    std::fs::copy(&file, folder.join("alone.png")).unwrap();
    let (alone, note, _) = preview("alone.png", &["--set", "size=32"]);
    assert!(alone["annotated"] == false && note.contains("alone.png has no annotation; no outlines are drawn"));
    assert_eq!(alone["size"], 32);
    assert!(!is_coloured(&folder.join("sheet.png")));
}

#[test]
fn preview_refuses_what_it_cannot_draw() {
    let (folder, _) = ramp();
    let folder = folder.path();
    std::fs::write(folder.join("run.toml"), "augment = []").unwrap();
    let preview = |more: &[&str]| {
        fails(folder, &[&["augment", "preview", "run.toml", "ramp.png", "--out", "sheet.png"], more].concat())
    };
    let (code, error) = preview(&[]);
    assert!(code == 1 && error.contains("run.toml: the configuration has no step to show"), "{error}");
    let (code, error) = preview(&["--set", "augment=[{ kind = 'flp' }]"]);
    assert!(code == 1 && error.contains("did you mean flip?"), "{error}");
    let (code, error) = preview(&["--set", "augment=[{ kind = 'flip' }]", "--data", "nowhere"]);
    assert!(code == 1 && error.contains("nowhere"), "{error}");
    assert!(!folder.join("sheet.png").exists());
}

#[test]
fn list_shows_every_kind_with_its_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let out = carpus(folder.path(), &["augment", "list"]);
    let page = text(&out.stdout);
    assert!(
        page.contains("clahe                Contrast-limited") && page.contains("clip-limit = [1.0,4.0]"),
        "{page}"
    );
    let out = carpus(folder.path(), &["--json", "augment", "list"]);
    let kinds: Vec<serde_json::Value> = serde_json::from_slice(&out.stdout).unwrap();
    let strips = kinds.iter().find(|kind| kind["name"] == "strips").expect("the kind is listed");
    assert!(strips["keys"].as_array().unwrap().iter().any(|key| key["name"] == "borders"), "{strips}");
}
