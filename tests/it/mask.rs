//! Masks against OpenCV, and submissions on disk.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use carpus::bones::{self, Bone};
use carpus::mask::submission::{self, ImageMasks};
use carpus::mask::{HandMasks, PixelRun, RunMask, SignedDistance, rle};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::python;

/// Runs a script on cases: one process for all of them, since starting it costs more than the work.
fn reference(script: &str, cases: &[Value]) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    std::fs::write(&path, serde_json::to_vec(cases).unwrap()).unwrap();
    serde_json::from_str(&python::run(script, &[path.to_str().unwrap()])).unwrap()
}

fn flat(mask: &RunMask) -> Vec<u64> {
    mask.runs().iter().flat_map(|r| [u64::from(r.start), u64::from(r.len)]).collect()
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect()
}

/// Points around a centre in order of angle; their radii all equal make it convex, else star-shaped.
fn around(rng: &mut ChaCha8Rng, centre: [f64; 2], radius: f64, count: usize, roughness: f64) -> Vec<[i32; 2]> {
    let stretch = rng.random_range(0.3..1.0);
    let tilt: f64 = rng.random_range(0.0..std::f64::consts::TAU);
    let mut angles: Vec<f64> = (0..count).map(|_| rng.random_range(0.0..std::f64::consts::TAU)).collect();
    angles.sort_by(f64::total_cmp);
    if rng.random_bool(0.5) {
        angles.reverse();
    }
    let place = |angle: f64, r: f64| {
        let (x, y) = (r * angle.cos(), r * stretch * angle.sin());
        [centre[0] + x * tilt.cos() - y * tilt.sin(), centre[1] + x * tilt.sin() + y * tilt.cos()]
    };
    let radii: Vec<f64> = angles.iter().map(|_| radius * (1.0 - roughness * rng.random::<f64>())).collect();
    angles.into_iter().zip(radii).map(|(a, r)| place(a, r).map(|v| v.round() as i32)).collect()
}

/// Points spread over x and y in -reach to size + reach.
fn scattered(rng: &mut ChaCha8Rng, size: [i32; 2], reach: i32, count: usize) -> Vec<[i32; 2]> {
    (0..count).map(|_| size.map(|side| rng.random_range(-reach..=side + reach))).collect()
}

const KINDS: [&str; 14] = [
    "convex",
    "concave",
    "self-intersecting",
    "one point",
    "two points",
    "collinear",
    "partly outside",
    "completely outside",
    "around the image",
    "repeated first point",
    "duplicates",
    "huge",
    "dense contour",
    "crowded",
];

fn polygon(rng: &mut ChaCha8Rng, kind: &str, [w, h]: [i32; 2]) -> Vec<[i32; 2]> {
    let centre = [rng.random_range(0.0..=f64::from(w)), rng.random_range(0.0..=f64::from(h))];
    let radius = f64::from(w.max(h)) * rng.random_range(0.05..0.6);
    let count = rng.random_range(3..40);
    match kind {
        "convex" => around(rng, centre, radius, count, 0.0),
        "concave" => around(rng, centre, radius, count, 0.9),
        "self-intersecting" => scattered(rng, [w, h], 0, count),
        "one point" => scattered(rng, [w, h], 2, 1),
        "two points" => scattered(rng, [w, h], 20, 2),
        "collinear" => {
            let start = scattered(rng, [w, h], 5, 1)[0];
            let step = [[1, 0], [0, 1], [1, 1], [1, -1], [3, 1], [-2, 5]][rng.random_range(0..6)];
            let along = |t: i32| [start[0] + t * step[0], start[1] + t * step[1]];
            (0..count).map(|_| along(rng.random_range(-30..30))).collect()
        }
        "partly outside" => scattered(rng, [w, h], w.max(h), count),
        "completely outside" => {
            let away = [[-2 * w - 3, 0], [2 * w + 3, 0], [0, -2 * h - 3], [0, 2 * h + 3]][rng.random_range(0..4)];
            scattered(rng, [w, h], 1, count).into_iter().map(|p| [p[0] + away[0], p[1] + away[1]]).collect()
        }
        "around the image" => {
            let centre = [f64::from(w) / 2.0, f64::from(h) / 2.0];
            around(rng, centre, 4.0 * f64::from(w.max(h)), count, 0.5)
        }
        "repeated first point" => {
            let mut points = around(rng, centre, radius, count, 0.5);
            points.push(points[0]);
            points
        }
        "duplicates" => {
            let points = around(rng, centre, radius, count, 0.7);
            points.iter().flat_map(|p| vec![*p; rng.random_range(1..4)]).collect()
        }
        "huge" => scattered(rng, [w, h], 1_000_000, count),
        "dense contour" => around(rng, centre, radius, 800, 0.05),
        "crowded" => scattered(rng, [4.min(w), 4.min(h)], 1, count),
        other => unreachable!("{other}"),
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn polygons_fill_as_opencv_fills_them() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let mut cases = Vec::new();
    for i in 0..2100 {
        let kind = KINDS[i % KINDS.len()];
        let side = [1, 2, 3, 17, 64, 150, 300][rng.random_range(0..7)];
        let size = [side, (side + rng.random_range(-20..=20)).max(1)];
        let size = if rng.random_bool(0.5) { size } else { [size[1], size[0]] };
        cases.push((kind, size, polygon(&mut rng, kind, size)));
    }
    let asked: Vec<Value> =
        cases.iter().map(|(_, [w, h], points)| json!({"width": w, "height": h, "points": points})).collect();
    let expected = reference("fill_poly.py", &asked);
    assert_eq!(expected.len(), cases.len());
    for ((kind, [w, h], points), expected) in cases.iter().zip(&expected) {
        let mask = RunMask::from_polygon(points, *w as u32, *h as u32);
        assert_eq!(flat(&mask), numbers(expected), "{kind} in {w}x{h}: {points:?}");
    }
    // A filler that drew nothing would agree on empty pictures only.
    let filled = expected.iter().filter(|runs| !runs.as_array().unwrap().is_empty()).count();
    assert!(filled > cases.len() / 2, "only {filled} polygons touch their image");
}

/// Blobs, specks and rings.
fn blotches(rng: &mut ChaCha8Rng) -> RunMask {
    let (w, h) = (rng.random_range(1..120u32), rng.random_range(1..120u32));
    let mut mask = RunMask::empty(w, h);
    for _ in 0..rng.random_range(0..8) {
        let centre = [rng.random_range(0.0..f64::from(w)), rng.random_range(0.0..f64::from(h))];
        let radius = rng.random_range(0.5..40.0);
        let points = around(rng, centre, radius, 24, 0.4);
        let blob = RunMask::from_polygon(&points, w, h);
        mask = if rng.random_bool(0.7) { mask.union(&blob) } else { mask.difference(&blob) }.unwrap();
    }
    let specks: BTreeSet<u32> = (0..rng.random_range(0..w * h / 8 + 1)).map(|_| rng.random_range(0..w * h)).collect();
    let specks = specks.into_iter().map(|start| PixelRun { start, len: 1 }).collect();
    let specks = RunMask::from_runs(w, h, specks).unwrap();
    if rng.random_bool(0.5) { mask.union(&specks) } else { mask.difference(&specks) }.unwrap()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn borders_moments_and_resize_are_opencvs() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let cases: Vec<(RunMask, [u32; 2])> =
        (0..400).map(|_| (blotches(&mut rng), [rng.random_range(1..200), rng.random_range(1..200)])).collect();
    let asked: Vec<Value> = cases
        .iter()
        .map(|(m, to)| json!({"width": m.width(), "height": m.height(), "runs": flat(m), "to": to}))
        .collect();
    let mut sizes = 0;
    for ((mask, to), expected) in cases.iter().zip(reference("mask_measures.py", &asked)) {
        let shown = rle::encode(mask);
        let size = (mask.width(), mask.height());
        // arcLength sums single-precision square roots, so a diagonal step is off by 2e-8 of its length.
        let length = expected["external"].as_f64().unwrap();
        assert!((mask.perimeter() - length).abs() <= 1e-6 * length, "perimeter of {shown} in {size:?}");
        let found: BTreeSet<Vec<[i32; 2]>> = mask.contours().into_iter().collect();
        let wanted: BTreeSet<Vec<[i32; 2]>> = serde_json::from_value(expected["contours"].clone()).unwrap();
        assert_eq!(found, wanted, "contours of {shown} in {size:?}");
        let m = mask.moments();
        let sums = [m.area, m.sum_x, m.sum_y, m.sum_xx, m.sum_xy, m.sum_yy].map(|v| v as f64);
        let wanted: Vec<f64> = serde_json::from_value(expected["moments"].clone()).unwrap();
        assert_eq!(sums.as_slice(), wanted, "moments of {shown} in {size:?}");
        // Where a centre falls between two pixels, both are as near, and the reference's fixed point takes either.
        let between = |from: u32, to: u32| (0..to).any(|x| ((2 * x + 1) * from).is_multiple_of(2 * to));
        if !between(size.0, to[0]) && !between(size.1, to[1]) {
            let resized = mask.resized(to[0], to[1]);
            assert_eq!(flat(&resized), numbers(&expected["resized"]), "{shown} in {size:?} to {to:?}");
            sizes += 1;
        }
    }
    assert!(sizes > 100, "only {sizes} of the sizes have no ties");
}

const SIZE: [u32; 2] = [40, 30];

fn images(seed: u64, names: &[&str]) -> Vec<ImageMasks> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut mask = || {
        let points = scattered(&mut rng, SIZE.map(|s| s as i32), 10, 5);
        RunMask::from_polygon(&points, SIZE[0], SIZE[1])
    };
    let mut masks = || HandMasks::new((0..bones::COUNT).map(|_| mask()).collect()).unwrap();
    names.iter().map(|name| ImageMasks { image_name: (*name).to_owned(), masks: masks() }).collect()
}

fn read(path: &Path) -> Result<Vec<ImageMasks>, String> {
    submission::read(path, SIZE[0], SIZE[1]).map_err(|e| e.to_string())
}

#[test]
fn submission_is_written_and_read_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/submission.csv");
    // More images than are decoded together, so that an order that depends on threads would show.
    let names: Vec<String> = (0..90).map(|i| format!("image{}.png", (i * 37) % 90)).collect();
    let mut written = images(python::seed(), &names.iter().map(String::as_str).collect::<Vec<_>>());
    written[3].image_name = "손, \"오른\".png".to_owned();
    submission::write(&path, &written).unwrap();
    assert_eq!(read(&path).unwrap(), written);
    let left: Vec<_> = path.parent().unwrap().read_dir().unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["submission.csv"], "temporary files are gone");
    let text = std::fs::read_to_string(&path).unwrap();
    let first = text.lines().nth(1).unwrap();
    assert_eq!(first, format!("image0.png,finger-1,{}", rle::encode(&written[0].masks[Bone::FINGER_1])));
}

#[test]
fn submission_columns_and_classes_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("submission.csv");
    let written = images(1, &["b.png", "a.png"]);
    let mut text = "rle,class,image_name\r\n".to_owned();
    for bone in Bone::all().rev() {
        for image in &written {
            let rle = rle::encode(&image.masks[bone]);
            writeln!(text, "{rle},{bone},{}\r", image.image_name).unwrap();
        }
    }
    std::fs::write(&path, text).unwrap();
    assert_eq!(read(&path).unwrap(), written);
}

#[test]
fn malformed_submissions_say_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.csv");
    let good = |name: &str| Bone::all().map(|b| format!("{name},{b},1 2\n")).collect::<String>();
    let message = |text: &[u8]| {
        std::fs::write(&path, text).unwrap();
        read(&path).unwrap_err().replace(&path.display().to_string(), "FILE")
    };
    let with = |row: &str| message(format!("image_name,class,rle\n{}{row}\n", good("a.png")).as_bytes());
    assert_eq!(message(b""), "FILE line 1: not a submission: it has no columns; expected image_name, class, rle");
    assert!(
        message(b"image_name,class,rle,more\n")
            .starts_with("FILE line 1: not a submission: its columns are image_name, class, ")
    );
    assert!(
        message(b"image_name,class,class\n")
            .starts_with("FILE line 1: not a submission: its columns are image_name, class, ")
    );
    for (field, reason) in [
        ("3", "1 number; expected pairs of start and length"),
        ("1 2 2 2", "run 2 starts at 2, inside or before the run that ends at 2"),
        ("9 2 1 2", "run 2 starts at 1, inside or before the run that ends at 10"),
        ("1199 3", "run 1 ends at pixel 1201, but the mask of 40x30 has 1200 pixels"),
        ("1 2 three 4", "token 3 (\"three\") is not a positive whole number"),
        ("0 2", "token 1 (\"0\") is not a positive whole number"),
        ("4 -2", "token 2 (\"-2\") is not a positive whole number"),
        ("99999999999999999999 1", "run 1 ends at pixel 18446744073709551615"),
    ] {
        let found = with(&format!("b.png,Hamate,{field}"));
        let place = "FILE line 31: image b.png, class Hamate: ";
        assert!(found.starts_with(&format!("{place}{reason}")), "{found}");
    }
    assert!(with("b.png,hamate,1 2").starts_with("FILE line 31: image b.png: unknown class \"hamate\""));
    assert_eq!(with("a.png,Ulna,1 2"), "FILE line 31: image a.png: class Ulna occurs twice");
    assert!(with("DCM/b.png,Ulna,1 2").starts_with("FILE line 31: image name \"DCM/b.png\""));
    assert!(with(",Ulna,1 2").starts_with("FILE line 31: image name \"\""));
    assert!(with("b.png,Ulna").contains("line 31 has 2 fields; the first line has 3"), "{}", with("b.png,Ulna"));
    let missing = with(good("b.png").trim_end().trim_end_matches("b.png,Ulna,1 2").trim_end());
    assert_eq!(missing, "FILE: image b.png has no row for [Ulna]");
    let latin = [b"image_name,class,rle\n\xe9.png,Ulna,1 2\n".as_slice()].concat();
    assert!(message(&latin).starts_with("FILE line 2: image name"));
    // Of two faulty rows, the first is named.
    assert!(with("b.png,Ulna,x\nb.png,Hamate,y").contains("line 31"));
    assert!(read(&folder.path().join("none.csv")).unwrap_err().contains("none.csv"));
}

/// Distances are whole squares and a root, so equality needs no tolerance.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn distances_are_scipys() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let mut masks = Vec::new();
    for case in 0..40 {
        let (width, height) = (rng.random_range(1..120u32), rng.random_range(1..120u32));
        let size = [width as i32, height as i32];
        let mask = match case % 4 {
            0 => {
                let centre = size.map(|side| rng.random_range(0.0..=f64::from(side)));
                RunMask::from_polygon(&around(&mut rng, centre, 40.0, 12, 0.5), width, height)
            }
            1 => RunMask::from_polygon(&scattered(&mut rng, size, 20, 9), width, height),
            2 => {
                let density = rng.random_range(0.0..1.0f64).powi(2);
                let dense: Vec<u8> = (0..width * height).map(|_| u8::from(rng.random_bool(density))).collect();
                RunMask::from_dense(&dense, width, height)
            }
            _ => {
                // All but a few pixels: long distances inside, columns and rows without an edge.
                let mut dense = vec![1; (width * height) as usize];
                for _ in 0..rng.random_range(1..4) {
                    dense[rng.random_range(0..width * height) as usize] = 0;
                }
                RunMask::from_dense(&dense, width, height)
            }
        };
        masks.push(mask);
    }
    masks.retain(|mask| SignedDistance::new(mask).has_edge());
    let case = |m: &RunMask| json!({"width": m.width(), "height": m.height(), "runs": flat(m)});
    let wanted = reference("distance.py", &masks.iter().map(case).collect::<Vec<_>>());
    assert!(masks.len() > 25 && wanted.len() == masks.len());
    for (mask, wanted) in masks.iter().zip(wanted) {
        let wanted: Vec<f32> = wanted.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
        assert_eq!(SignedDistance::new(mask).to_dense(None), wanted, "{mask:?}");
    }
}
