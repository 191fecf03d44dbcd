//! Metrics of masks and the calibration of probabilities against MONAI, surface-distance and MedPy; `evaluate --metrics` and
//! `check-submission` on synthetic hands.

use carpus::bones::{self, Bone};
use carpus::dataset::Dataset;
use carpus::geometry::Size;
use carpus::mask::submission::{self, ImageMasks};
use carpus::mask::{HandMasks, RunMask};
use carpus::metrics::{BoundaryConvention, BoundaryDistances, PixelCalibration, PixelSpacing};
use carpus::probability::{self, Bits, ImageProbabilities, MapBuilder, ProbabilityMap};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::corrections::Bench;
use crate::python;

/// MONAI computes in single precision: relative rounding of 6e-8 per operation.
const TOLERANCE: f64 = 1e-6;

const SHAPES: [&str; 7] = ["empty", "pixel", "full", "noise", "rectangle", "ellipse", "star"];

fn shape(rng: &mut ChaCha8Rng, kind: &str, [width, height]: [u32; 2]) -> RunMask {
    let place = |rng: &mut ChaCha8Rng| [rng.random_range(0..width as i32), rng.random_range(0..height as i32)];
    match kind {
        "empty" => RunMask::empty(width, height),
        "full" => RunMask::full(width, height),
        "pixel" => RunMask::from_polygon(&[place(rng)], width, height),
        "noise" => {
            let share = rng.random_range(0.02..0.98);
            let dense: Vec<u8> = (0..width * height).map(|_| u8::from(rng.random_bool(share))).collect();
            RunMask::from_dense(&dense, width, height)
        }
        // May extend beyond the image, and then touches its edge.
        "rectangle" => {
            let ([a, b], [c, d]) = (place(rng), place(rng));
            let grown = rng.random_range(0..3);
            RunMask::from_polygon(&[[a - grown, b], [c, b], [c, d + grown], [a - grown, d + grown]], width, height)
        }
        _ => {
            let [x, y] = place(rng).map(f64::from);
            let radius = f64::from(width.max(height)) * rng.random_range(0.1..0.7);
            let rough = if kind == "star" { 0.6 } else { 0.0 };
            let vertex = |i: u32| {
                let (angle, r) =
                    (f64::from(i) / 24.0 * std::f64::consts::TAU, radius * (1.0 - rough * rng.random::<f64>()));
                [(x + r * angle.cos()).round() as i32, (y + 0.6 * r * angle.sin()).round() as i32]
            };
            RunMask::from_polygon(&(0..24).map(vertex).collect::<Vec<_>>(), width, height)
        }
    }
}

fn flat(mask: &RunMask) -> Vec<u32> {
    mask.runs().iter().flat_map(|run| [run.start, run.len]).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn assert_equal(ours: f64, reference: f64, at: &str) {
    let is_equal = ours == reference
        || (ours.is_nan() && reference.is_nan())
        || (ours - reference).abs() <= TOLERANCE * reference.abs().max(1.0);
    assert!(is_equal, "{at}: ours {ours}, reference {reference}");
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn boundary_metrics_and_calibration_are_those_of_the_libraries() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let (mut masks, mut cases) = (Vec::new(), Vec::new());
    for i in 0..294 {
        let size = [rng.random_range(1..48), rng.random_range(1..48)];
        let [a, b] = [SHAPES[i % 7], SHAPES[i / 7 % 7]];
        let truth = shape(&mut rng, a, size);
        // A third of the predictions is the annotation moved by up to two pixels.
        let prediction = if i % 3 == 0 {
            truth.place(rng.random_range(-2..3), rng.random_range(-2..3), size[0], size[1])
        } else {
            shape(&mut rng, b, size)
        };
        let spacing = rng.random_bool(0.5).then(|| [rng.random_range(0.05..2.0), rng.random_range(0.05..2.0)]);
        // With spacing no distance equals the tolerance, where the last bit would decide; without it many do.
        let tolerance = if spacing.is_some() { rng.random_range(0.1..4.0) } else { f64::from(rng.random_range(0..5)) };
        cases.push(json!({
            "width": size[0], "height": size[1], "truth": flat(&truth), "prediction": flat(&prediction),
            "spacing": spacing, "tolerance": tolerance,
        }));
        masks.push((truth, prediction, spacing.map(|[x, y]| PixelSpacing { x, y }), tolerance));
    }
    let (mut maps, mut map_cases) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let size = Size { width: rng.random_range(1..40), height: rng.random_range(1..40) };
        let truth = shape(&mut rng, SHAPES[maps.len() % 7], [size.width, size.height]);
        let mut builder = MapBuilder::new(size);
        let mut probabilities: Vec<f32> = Vec::new();
        for _ in 0..size.height {
            // No limit of a bin, which belongs to the upper bin here and to the lower one there.
            let row: Vec<f32> = (0..size.width)
                .map(|_| match rng.random_range(0..10) {
                    0..4 => 0.0,
                    4 => 1.0,
                    _ => f32::from(4369 * rng.random_range(0..15u16) + rng.random_range(200..4369)) / 65535.0,
                })
                .collect();
            builder.push_row(&row);
            probabilities.extend(row);
        }
        map_cases.push(json!({
            "width": size.width, "height": size.height, "truth": flat(&truth), "probabilities": probabilities,
        }));
        maps.push((builder.finish(), truth));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, json!({"masks": cases, "maps": map_cases}).to_string()).unwrap();
    let answers: Value = serde_json::from_str(&python::run("metrics.py", &[file.to_str().unwrap()])).unwrap();

    let (mut finite, mut other) = (0, 0);
    for (i, (truth, prediction, spacing, tolerance)) in masks.iter().enumerate() {
        for convention in BoundaryConvention::ALL {
            let found = BoundaryDistances::new(truth, prediction, *convention, *spacing).unwrap();
            let reference = &answers["masks"][i][convention.name()];
            for (metric, ours) in [
                ("hd", found.hausdorff()),
                ("hd95", found.hausdorff_95()),
                ("assd", found.mean()),
                ("nsd", found.surface_dice(*tolerance)),
            ] {
                if (metric, *convention) == ("nsd", BoundaryConvention::MedPy) {
                    continue;
                }
                let expected = number(&reference[metric]);
                *(if expected.is_finite() { &mut finite } else { &mut other }) += 1;
                assert_equal(ours, expected, &format!("case {i}, {metric} of {convention}: {}", cases[i]));
            }
        }
    }
    assert!(finite > 1200 && other > 120, "{finite} finite values, {other} others");
    for (i, (map, truth)) in maps.iter().enumerate() {
        let mut sums = PixelCalibration::default();
        sums.add(map, truth).unwrap();
        let (ours, reference) = (sums.summary(), &answers["maps"][i]);
        // The reference adds up to 1600 probabilities in single precision.
        let near = |ours: f64, reference: f64| (ours - reference).abs() < 1e-5;
        assert!(near(ours.ece, number(&reference["ece"])), "map {i}: {} {}", ours.ece, reference["ece"]);
        for (bin, of_class) in ours.bins.iter().enumerate().skip(1) {
            let expected = number(&reference["probability"][bin]);
            let found = of_class.probability.unwrap_or(f64::NAN);
            assert!(near(found, expected) || (found.is_nan() && expected.is_nan()), "map {i} bin {bin}");
            let annotated = number(&reference["annotated"][bin]);
            assert!(of_class.annotated.is_none_or(|share| near(share, annotated)), "map {i} bin {bin}");
        }
    }
}

/// The annotated masks as predictions, named as the images' files.
fn annotated(bench: &Bench) -> Vec<ImageMasks> {
    let dataset = Dataset::open(&bench.at("data")).unwrap();
    let entries = dataset.images().iter().filter(|entry| entry.annotation.is_some());
    let masks = entries.map(|entry| {
        let (width, height) = dataset.dimensions(entry).unwrap();
        let masks = dataset.annotation(entry).unwrap().unwrap().annotation.masks(width, height);
        ImageMasks { image_name: entry.file_name().to_owned(), masks }
    });
    masks.collect()
}

fn said(out: &std::process::Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn evaluate_writes_metrics_and_their_summary() {
    let bench = Bench::new();
    let mut images = annotated(&bench);
    // Moved by one column; the radius of the first image is missed.
    for image in &mut images {
        image.masks = image.masks.map(|(_, m)| Ok(m.place(1, 0, m.width(), m.height()))).unwrap();
    }
    let (width, height) = (images[0].masks.width(), images[0].masks.height());
    images[0].masks.set(Bone::RADIUS, RunMask::empty(width, height)).unwrap();
    submission::write(&bench.at("p.csv"), &images).unwrap();
    let evaluate = ["evaluate", "--predictions", "p.csv", "--data", "data", "--out", "m.csv", "--metrics"];
    let out = bench.run(&[&evaluate[..], &["hd,dice,hd95,nsd,centroid-distance,recall"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let text = std::fs::read_to_string(bench.at("m.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows[0], ["image_id", "class", "hd", "dice", "hd95", "nsd", "centroid-distance", "recall"]);
    assert_eq!(rows.len(), 1 + images.len() * bones::COUNT);
    let radius = rows.iter().find(|row| row[0] == bench.id(0) && row[1] == "Radius").unwrap();
    assert_eq!(radius[2..], ["inf", "0", "", "0", "", "0"]);
    let ulna = rows.iter().find(|row| row[0] == bench.id(1) && row[1] == "Ulna").unwrap();
    let value = |at: usize| ulna[at].parse::<f64>().unwrap();
    assert!(value(2) <= 1.0 && value(3) > 0.8 && value(5) == 1.0 && value(6) <= 1.0, "{ulna:?}");
    let summary: Value = serde_json::from_slice(&std::fs::read(bench.at("m.json")).unwrap()).unwrap();
    assert_eq!(summary["missed"], json!({"Radius": 1}));
    assert_eq!(summary["metrics"]["hd"]["classes"]["Radius"]["infinite"], 1);
    assert_eq!(summary["metrics"]["hd"]["convention"], "monai");
    assert!(summary["metrics"]["dice"]["groups"]["carpal"]["ci"]["low"].as_f64().unwrap() > 0.3, "{summary}");

    // In mm, half as large; written again without --force.
    let arguments = ["hd,nsd", "--spacing", "0.5", "--convention", "hd=surface-distance", "--nsd-tolerance", "0"];
    let out = bench.run(&[&evaluate[..], &arguments].concat());
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let summary: Value = serde_json::from_slice(&std::fs::read(bench.at("m.json")).unwrap()).unwrap();
    let hd = &summary["metrics"]["hd"];
    assert_eq!((&hd["unit"], &hd["convention"]), (&json!("mm"), &json!("surface-distance")));
    assert!(hd["classes"]["Ulna"]["mean"].as_f64().unwrap() <= 0.5, "{hd}");
    // A table of Dice does not overwrite one of metrics.
    let out = bench.run(&evaluate[..7]);
    assert!(out.status.code() == Some(1) && said(&out).contains("is not a table of Dice"), "{}", said(&out));

    for (arguments, reason) in [
        (&["dice,dise"][..], "did you mean dice"),
        (&["dice,dice"], "dice is named twice"),
        (&["dice", "--nsd-tolerance", "1"], "nsd is not one of --metrics"),
        (&["dice", "--convention", "hd=monai"], "hd is not one of --metrics"),
        (&["dice", "--band", "3"], "cannot be used with"),
    ] {
        let out = bench.run(&[&evaluate[..], arguments].concat());
        assert!(!out.status.success() && said(&out).contains(reason), "{reason}: {}", said(&out));
    }
}

#[test]
fn evaluate_adds_the_calibration_of_probabilities() {
    let bench = Bench::new();
    let images = annotated(&bench);
    submission::write(&bench.at("p.csv"), &images).unwrap();
    std::fs::create_dir(bench.at("probabilities")).unwrap();
    for image in &images[1..] {
        let maps = image.masks.iter().map(|(_, mask)| ProbabilityMap::of_mask(mask)).collect();
        let name = carpus::names::image_id(&image.image_name);
        let path = bench.at("probabilities").join(format!("{name}.{}", probability::EXTENSION));
        let image = ImageProbabilities { image_name: image.image_name.clone(), maps };
        probability::write(&path, &image, Bits::Eight).unwrap();
    }
    let evaluate = ["evaluate", "--predictions", "p.csv", "--data", "data", "--out", "m.csv", "--metrics", "dice"];
    let out = bench.run(&[&evaluate[..], &["--probabilities", "probabilities"]].concat());
    // The first image has none.
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    assert!(said(&out).contains("not in the calibration"), "{}", said(&out));
    let summary: Value = serde_json::from_slice(&std::fs::read(bench.at("m.json")).unwrap()).unwrap();
    let ulna = &summary["calibration"]["Ulna"];
    assert_eq!((ulna["ece"].as_f64(), ulna["ece_near"].as_f64()), (Some(0.0), Some(0.0)));
    let pixels: u64 = images[1..].iter().map(|image| image.masks[Bone::ULNA].area()).sum();
    assert_eq!(ulna["bins"][14]["pixels"], pixels);
    let out = bench.run(&[&evaluate[..], &["--probabilities", "data"]].concat());
    assert!(out.status.code() == Some(1) && said(&out).contains("no probabilities"), "{}", said(&out));
}

#[test]
fn check_submission_names_each_fault() {
    let bench = Bench::new();
    let images = annotated(&bench);
    submission::write(&bench.at("good.csv"), &images).unwrap();
    let check = |arguments: &[&str]| bench.run(&[&["check-submission"], arguments].concat());
    let train = ["--data", "data", "--subset", "train"];
    let out = check(&[&["good.csv"], &train[..]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let scan = bench.run(&["scan", "data", "--out", "tables"]);
    assert!(scan.status.success() || scan.status.code() == Some(3), "{}", said(&scan));
    let out = check(&[&["good.csv", "--tables", "tables", "--against", "good.csv", "--json"], &train[..]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let value: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(value["overlap"]["dice"], json!(vec![1.0; bones::COUNT]));

    // One fault each; lines are counted from 1, and the header is the first.
    let text = std::fs::read_to_string(bench.at("good.csv")).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let with_rle = |line: &str, rle: &str| format!("{},{rle}", line.rsplit_once(',').unwrap().0);
    let first = &images[0].image_name;
    let cases: [(&str, String); 13] = [
        (
            "line 2 image nobody.png: the image is not in the data folder",
            changed(&|l| {
                l[1..30].iter_mut().for_each(|line| *line = line.replace(first, "nobody.png"));
            }),
        ),
        (
            "the image's file is named",
            changed(&|l| {
                l[1..30].iter_mut().for_each(|line| *line = line.replace(".png", ""));
            }),
        ),
        ("class finger-20: unknown class", changed(&|l| l[1] = l[1].replace("finger-1", "finger-20"))),
        ("the class has an earlier row", changed(&|l| l[2] = l[1].clone())),
        ("the image has no row for \"finger-4\"", changed(&|l| drop(l.remove(4)))),
        ("the classes are not in the order", changed(&|l| l.swap(1, 2))),
        ("the image's rows are not together", changed(&|l| l.swap(1, 30))),
        ("line 4 image", changed(&|l| l[3] = with_rle(&l[3], "1 99999999"))),
        ("invalid rle", changed(&|l| l[3] = with_rle(&l[3], "5 x"))),
        ("the mask is empty", changed(&|l| l[3] = with_rle(&l[3], ""))),
        ("outside the range of the annotations", changed(&|l| l[3] = with_rle(&l[3], "1 9000"))),
        ("an image to submit has no rows", changed(&|l| l.truncate(30))),
        ("another order than in the data folder", changed(&|l| l[1..59].rotate_left(29))),
    ];
    for (reason, text) in cases {
        std::fs::write(bench.at("bad.csv"), text).unwrap();
        let out = check(&[&["bad.csv"], &train[..]].concat());
        assert_eq!(out.status.code(), Some(3), "{reason}: {}", said(&out));
        assert!(said(&out).contains(reason), "{reason}: {}", said(&out));
    }
    // Made at half the size.
    let small = images.iter().map(|image| {
        let masks = image.masks.map(|(_, m)| Ok(m.resized(m.width() / 2, m.height() / 2))).unwrap();
        ImageMasks { masks, ..image.clone() }
    });
    submission::write(&bench.at("small.csv"), &small.collect::<Vec<_>>()).unwrap();
    let out = check(&[&["small.csv"], &train[..]].concat());
    assert!(out.status.code() == Some(3) && said(&out).contains("first quarter"), "{}", said(&out));
    // Without a subset a submission has the test images.
    let out = check(&["good.csv", "--data", "data"]);
    assert!(said(&out).contains("not one of the images to submit"), "{}", said(&out));
    // Files that are no submission end with an error.
    std::fs::write(bench.at("bad.csv"), "a,b\n1,2\n").unwrap();
    let out = check(&["bad.csv", "--data", "data"]);
    assert!(out.status.code() == Some(1) && said(&out).contains("not a submission"), "{}", said(&out));
}

#[test]
fn images_of_other_sizes_are_refused() {
    let (small, large) = (HandMasks::empty(4, 4), HandMasks::empty(8, 8));
    let options = carpus::metrics::MetricOptions::new(carpus::metrics::Metric::ALL.to_vec());
    assert!(carpus::metrics::image_metrics(&small, &large, &options).is_err());
}
