//! Faults that used to pass without a word: each ends with a message where the person looks, and with an exit code that says it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use carpus::dataset::Dataset;
use carpus::mask::HandMasks;
use carpus::mask::submission::{self, ImageMasks};
use carpus::tables::Tables;

use crate::corrections::Bench;

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn ends(out: &Output, code: i32, reason: &str) {
    assert_eq!(out.status.code(), Some(code), "{}", said(out));
    assert!(said(out).contains(reason), "{reason}: {}", said(out));
}

/// The annotated masks of every train image as predictions, named `{image}{ending}`.
fn truth(data: &Path, ending: &str) -> Vec<ImageMasks> {
    let dataset = Dataset::open(data).unwrap();
    let annotated = dataset.images().iter().filter(|e| e.annotation.is_some());
    annotated
        .map(|entry| {
            let (width, height) = dataset.dimensions(entry).unwrap();
            let read = dataset.annotation(entry).unwrap().unwrap();
            ImageMasks {
                image_name: format!("{}{ending}", entry.image_id),
                masks: read.annotation.masks(width, height),
            }
        })
        .collect()
}

#[test]
fn predictions_of_other_images_under_two_names_or_in_other_pixels() {
    let bench = Bench::new();
    let right = truth(&bench.at("data"), ".png");
    let evaluate = ["evaluate", "--data", "data", "--out", "dice.csv", "--predictions"];
    let write = |name: &str, images: &[ImageMasks]| submission::write(&bench.at(name), images).unwrap();
    let run = |name: &str| bench.run(&[&evaluate[..], &[name]].concat());
    write("right.csv", &right);
    ends(&run("right.csv"), 0, "");

    let mut unknown = right.clone();
    unknown[1].image_name = "nobody.png".into();
    write("unknown.csv", &unknown);
    ends(&run("unknown.csv"), 3, "image_name nobody.png: predicted image is not in the data folder; not scored");

    let mut twice = right.clone();
    twice.push(ImageMasks { image_name: bench.id(0).to_owned(), masks: HandMasks::empty(128, 128) });
    write("twice.csv", &twice);
    ends(&run("twice.csv"), 1, "are the same image");
    ends(&bench.run(&["vote", "right.csv", "twice.csv", "--out", "v.csv"]), 1, "are the same image");

    // The same image by another name is the same in every reader.
    let bare: Vec<ImageMasks> =
        right.iter().map(|i| ImageMasks { image_name: i.image_name.replace(".png", ""), ..i.clone() }).collect();
    write("bare.csv", &bare);
    ends(&run("bare.csv"), 0, "");
    ends(&bench.run(&["vote", "right.csv", "bare.csv", "--out", "voted.csv"]), 0, "");

    // Made at half the size.
    let small: Vec<ImageMasks> = right
        .iter()
        .map(|i| ImageMasks { masks: i.masks.map(|(_, m)| Ok(m.resized(64, 64))).unwrap(), ..i.clone() })
        .collect();
    write("small.csv", &small);
    ends(&run("small.csv"), 3, "all masks lie in the first quarter");

    // In pixels of crops, which the file next to it says.
    submission::write_crops(&bench.at("crops.csv"), &right).unwrap();
    ends(&run("crops.csv"), 1, "has masks of crops");
    ends(&bench.run(&["draw", "data", bench.id(0), "--predictions", "crops.csv", "--out", "a.png"]), 1, "of crops");
    ends(&bench.run(&["scan", "data", "--predictions", "crops.csv", "--out", "t"]), 1, "of crops");
    ends(
        &bench.run(&["vote", "right.csv", "crops.csv", "--out", "w.csv"]),
        1,
        "one has masks of crops, the other masks of the original images",
    );
    // Written again as a submission, it is one.
    write("crops.csv", &right);
    ends(&run("crops.csv"), 0, "");
}

#[test]
fn one_bad_file_does_not_stop_the_others() {
    let bench = Bench::new();
    submission::write(&bench.at("p.csv"), &truth(&bench.at("data"), ".png")).unwrap();
    let annotation = bench.at("data").join(bench.images[0].annotation.as_ref().unwrap());
    std::fs::write(&annotation, "{").unwrap();
    let out = bench.run(&["--json", "evaluate", "--predictions", "p.csv", "--data", "data", "--out", "dice.csv"]);
    ends(&out, 3, "image not scored");
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(summary["images"], bench.images.iter().filter(|e| e.annotation.is_some()).count() - 1);
    let out = bench.run(&["draw", "data", bench.id(0), "nobody", bench.id(1), "--out", "pictures"]);
    ends(&out, 3, "not drawn");
    assert!(bench.at("pictures").join(format!("{}.png", bench.id(1))).is_file());
    // It stays in the table, with the reason, and is in no fold.
    ends(&bench.run(&["scan", "data", "--out", "t"]), 3, "image left without masks");
    let tables = Tables::read(&bench.at("t")).unwrap();
    let row = tables.images.iter().find(|i| i.image_id == bench.id(0)).unwrap();
    assert!(!row.usable && row.unusable_reason.as_ref().unwrap().contains("annotation cannot be read"), "{row:?}");
    let out = bench.run(&["split", "t", "--folds", "2", "--out", "folds.csv"]);
    ends(&out, 3, "is in no fold");
    assert!(!std::fs::read_to_string(bench.at("folds.csv")).unwrap().contains(bench.id(0)));
}

#[test]
fn pictures_that_are_not_what_they_seem() {
    let bench = Bench::new();
    let path = |i: usize| bench.at("data").join(&bench.images[i].image);
    let read = |i: usize| image::open(path(i)).unwrap().to_luma8();
    ends(&bench.run(&["scan", "data", "--out", "before"]), 0, "");
    let before = Tables::read(&bench.at("before")).unwrap();
    assert!(before.images.iter().all(|i| i.inverted == Some(false) && i.usable), "none of the phantom's is flagged");

    let mut inverted = read(0);
    image::imageops::invert(&mut inverted);
    inverted.save(path(0)).unwrap();
    image::GrayImage::from_pixel(128, 128, image::Luma([77])).save(path(1)).unwrap();
    let jpeg = image::codecs::jpeg::JpegEncoder::new_with_quality(std::fs::File::create(path(2)).unwrap(), 95);
    read_and_write(&before, &bench, 2, jpeg);
    ends(&bench.run(&["scan", "data", "--out", "after"]), 3, "stored inverted");
    let after = Tables::read(&bench.at("after")).unwrap();
    let of = |tables: &Tables, i: usize| tables.images.iter().find(|r| r.image_id == bench.id(i)).unwrap().clone();
    let (was, is) = (of(&before, 0), of(&after, 0));
    assert_eq!(is.inverted, Some(true));
    assert!((was.mean_grey.unwrap() - is.mean_grey.unwrap()).abs() < 1e-9, "measured upright");
    assert_eq!((was.strip_top_px, was.bright_px), (is.strip_top_px, is.bright_px));
    assert!(!of(&after, 1).usable && of(&after, 2).usable);
    // Crops are upright.
    let clean = bench.run(&["clean", "data", "--tables", "after", "--out", "crops"]);
    assert!(matches!(clean.status.code(), Some(0 | 3)), "{}", said(&clean));
    let crop = image::open(bench.at("crops").join(&bench.images[0].image)).unwrap().to_luma8();
    assert!(crop.get_pixel(2, 2).0[0] < 100);
    // JPEG under .png is read alike everywhere.
    submission::write(&bench.at("p.csv"), &truth(&bench.at("data"), ".png")).unwrap();
    ends(&bench.run(&["evaluate", "--predictions", "p.csv", "--data", "data", "--out", "dice.csv"]), 0, "");
}

/// Saves image `i` of the first scan as JPEG under its own name.
fn read_and_write(before: &Tables, bench: &Bench, i: usize, jpeg: image::codecs::jpeg::JpegEncoder<std::fs::File>) {
    let row = before.images.iter().find(|r| r.image_id == bench.id(i)).unwrap();
    let picture = image::GrayImage::from_fn(row.width, row.height, |x, y| {
        image::Luma([if (30..90).contains(&x) && y > 20 { 150 } else { 10 }])
    });
    picture.write_with_encoder(jpeg).unwrap();
}

#[test]
fn files_that_no_rule_knows_are_read_or_named() {
    let bench = Bench::new();
    let image = bench.at("data").join(&bench.images[0].image);
    let odd = bench.at("odd");
    for folder in ["val/DCM/ID001", "testing/DCM/ID002"] {
        std::fs::create_dir_all(odd.join(folder)).unwrap();
    }
    std::fs::copy(&image, odd.join("val/DCM/ID001/plain")).unwrap();
    std::fs::copy(&image, odd.join("val/DCM/ID001/strange.xyz")).unwrap();
    let mut dicom = vec![0; 128];
    dicom.extend(b"DICM");
    std::fs::write(odd.join("testing/DCM/ID002/scan"), dicom).unwrap();
    std::fs::copy(&image, odd.join("testing/DCM/ID002/b.png")).unwrap();
    let dataset = Dataset::open(&odd).unwrap();
    let found: Vec<(&str, &str)> = dataset.images().iter().map(|e| (&*e.image_id, e.subset.name())).collect();
    assert_eq!(found, [("plain", "train"), ("b", "test"), ("scan", "test")]);
    let reasons: Vec<&str> = dataset.problems().iter().map(|p| p.reason.as_str()).collect();
    assert!(reasons.iter().any(|r| r.contains("ending in .xyz")), "{reasons:?}");
    assert!(dataset.image(&dataset.images()[0]).is_ok());
    // A DICOM file that ends after its mark.
    let error = dataset.image(&dataset.images()[2]).unwrap_err().to_string();
    assert!(error.contains("scan") && error.contains("DICOM"), "{error}");
}

#[test]
fn values_beyond_reason_are_refused_and_lost_output_is_an_error() {
    let bench = Bench::new();
    for words in [
        &["scan", "data", "--out", "t", "--rotated-at", "nan"][..],
        &["scan", "data", "--out", "t", "--jobs", "10000"],
        &["evaluate", "--predictions", "p.csv", "--data", "data", "--out", "d.csv", "--band", "4294967295"],
    ] {
        assert_eq!(bench.run(words).status.code(), Some(2), "{words:?}");
    }
    ends(&bench.run(&["scan", "data", "--out", "t"]), 0, "");
    let black = ["clean", "data", "--tables", "t", "--strips", "fixed:100000", "--out", "crops"];
    ends(&bench.run(&black), 1, "would blacken half of an image");

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["list", "bones"])
        .stdout(Stdio::from(full))
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    ends(&out, 1, "standard output");
    // A name must not speak to the terminal.
    let out = bench.run(&["scan", "no\u{1b}]0;title\u{7}where", "--out", "x"]);
    assert!(out.status.code() == Some(1) && !out.stderr.contains(&0x1b), "{}", said(&out));
    // With --json an error is a value too.
    let out = bench.run(&["--json", "scan", "nowhere", "--out", "x"]);
    let value: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(value["error"].as_str().unwrap().contains("nowhere"));
}

/// Writes a PNG of 16 bits, and with `bits` says in it how many of them matter.
fn write_deep(path: &Path, levels: &image::ImageBuffer<image::Luma<u16>, Vec<u16>>, bits: Option<u8>) {
    levels.save(path).unwrap();
    let Some(bits) = bits else { return };
    let mut png = std::fs::read(path).unwrap();
    let mut chunk = vec![0, 0, 0, 1, b's', b'B', b'I', b'T', bits];
    chunk.extend(crc32fast::hash(&chunk[4..]).to_be_bytes());
    // After the signature and the header.
    png.splice(33..33, chunk);
    std::fs::write(path, png).unwrap();
}

#[test]
fn levels_of_twelve_bits_in_files_of_sixteen_keep_all_their_bits() {
    let bench = Bench::new();
    let path = |i: usize| bench.at("data").join(&bench.images[i].image);
    let clean = |tables: &str, out: &str| bench.run(&["clean", "data", "--tables", tables, "--out", out]);
    ends(&bench.run(&["scan", "data", "--out", "before"]), 0, "");
    ends(&clean("before", "crops"), 0, "");
    let before = Tables::read(&bench.at("before")).unwrap();
    assert!(before.images.iter().all(|i| i.top_level == Some(255) && i.level_bits.is_none()));

    let deep: Vec<image::ImageBuffer<image::Luma<u16>, Vec<u16>>> = (0..bench.images.len())
        .map(|i| {
            let eight = image::open(path(i)).unwrap().to_luma8();
            image::ImageBuffer::from_fn(eight.width(), eight.height(), |x, y| {
                let level = u16::from(eight.get_pixel(x, y).0[0]);
                image::Luma([level << 4 | level >> 4])
            })
        })
        .collect();
    deep.iter().enumerate().for_each(|(i, levels)| write_deep(&path(i), levels, None));
    let out = bench.run(&["--json", "scan", "data", "--out", "after"]);
    ends(&out, 0, "");
    let after = Tables::read(&bench.at("after")).unwrap();
    assert!(after.images.iter().all(|i| i.top_level == Some(4095)), "{:?}", after.images);
    assert!(
        after
            .problems
            .iter()
            .any(|p| p.severity == carpus::dataset::ProblemSeverity::Info && p.action.contains("4095")),
        "{:?}",
        after.problems
    );
    for (was, is) in before.images.iter().zip(&after.images) {
        assert_eq!((is.bits, was.mean_grey, was.bright_px), (16, is.mean_grey, is.bright_px));
        assert_eq!((&was.image_hash, was.strip_left_px), (&is.image_hash, is.strip_left_px));
    }
    ends(&clean("after", "deep-crops"), 0, "");
    let crop = |folder: &str, i: usize| image::open(bench.at(folder).join(&bench.images[i].image)).unwrap();
    for i in 0..deep.len() {
        // The levels are those of the file.
        let (eight, kept) = (crop("crops", i).into_luma8(), crop("deep-crops", i));
        let image::DynamicImage::ImageLuma16(kept) = kept else { panic!("{:?}", kept.color()) };
        assert!(eight.iter().map(|v| u16::from(*v)).zip(kept.iter()).all(|(v, kept)| *kept == v << 4 | v >> 4));
    }
    let transforms = std::fs::read_to_string(bench.at("deep-crops/transforms.jsonl")).unwrap();
    assert!(transforms.lines().all(|line| line.contains(r#""top_level":4095"#)), "{transforms}");
    assert_eq!(Dataset::open(&bench.at("deep-crops")).unwrap().top_level(), Some(4095));

    // Nothing is decoded again, until the data set has another top level.
    let reused = |out: Output| serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap()["reused"].clone();
    let scan = || bench.run(&["--json", "scan", "data", "--out", "after"]);
    assert_eq!(reused(scan()), deep.len());
    write_deep(&path(0), &deep[0], Some(14));
    assert_eq!(reused(scan()), 0);
    let after = Tables::read(&bench.at("after")).unwrap();
    assert!(after.images.iter().all(|i| i.top_level == Some(16_383)));
    let before_hash = std::fs::read_to_string(bench.at("deep-crops/transforms.jsonl")).unwrap();
    ends(&clean("after", "deep-crops"), 0, "");
    assert!(before_hash != std::fs::read_to_string(bench.at("deep-crops/transforms.jsonl")).unwrap());
    let transforms = std::fs::read_to_string(bench.at("deep-crops/transforms.jsonl")).unwrap();
    assert!(transforms.lines().all(|line| line.contains(r#""top_level":16383"#)), "{transforms}");
    assert_eq!(Dataset::open(&bench.at("deep-crops")).unwrap().top_level(), Some(16_383));
    // An excluded image does not decide how the others are scaled.
    bench.add(0, &["exclude", "--reason", "levels"]);
    let out = bench.run(&["scan", "data", "--out", "after", "--corrections", "corrections.jsonl"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let after = Tables::read(&bench.at("after")).unwrap();
    assert!(after.images.iter().all(|i| i.top_level == Some(4095)));

    // Inverted images of a device with fewer bits than the others' are recognised, and the darker ones are named.
    for (i, levels) in deep.iter().enumerate() {
        let mut levels = levels.clone();
        levels.pixels_mut().for_each(|p| p.0[0] = if i < 2 { 4095 - p.0[0] } else { p.0[0] << 4 });
        write_deep(&path(i), &levels, None);
    }
    ends(&bench.run(&["scan", "data", "--out", "mixed"]), 3, "need at least 2 bits fewer than the 16 of others");
    let mixed = Tables::read(&bench.at("mixed")).unwrap();
    let inverted: Vec<bool> = mixed.images.iter().map(|i| i.inverted.unwrap()).collect();
    let of = |i: usize| mixed.images.iter().position(|row| row.image_id == bench.id(i)).unwrap();
    assert!(inverted[of(0)] && inverted[of(1)] && inverted.iter().filter(|is| **is).count() == 2, "{inverted:?}");
}
