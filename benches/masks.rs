//! Run-length masks compared with the usual numpy and OpenCV code, both timed in the same run: `cargo bench --bench masks`.
//!
//! The data are synthetic outlines with the mean areas of real bones. Python (`benches/masks.py`, run with `.venv`) processes the
//! first images of the same data, and its time is scaled to the number of images. Each time is that of the best round. The results
//! of both must agree.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use carpus::bones::COUNT;
use carpus::mask::submission::{self, ImageMasks};
use carpus::mask::{HandMasks, RunMask, rle};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde_json::json;

/// Side of an image in px.
const SIZE: u32 = 2048;
/// Number of images of a submission.
const IMAGES: usize = 288;
/// Number of images that Python processes.
const SAMPLE: usize = 6;
/// Number of submissions in the vote.
const FILES: usize = 5;
/// Timed rounds; the best is reported.
const ROUNDS: usize = 5;

/// Mean areas of real bones in px at 2048², in channel order.
const AREAS: [f64; COUNT] = [
    8274.0, 16932.0, 27624.0, 5325.0, 10290.0, 22352.0, 36736.0, 6161.0, 13026.0, 25003.0, 33223.0, 6029.0, 11556.0,
    21065.0, 24958.0, 4237.0, 6723.0, 14789.0, 25168.0, 10238.0, 6315.0, 16472.0, 11615.0, 11875.0, 8664.0, 7622.0,
    4863.0, 82318.0, 44751.0,
];
/// Channels of the wrist bones, which are round; the others are long.
const CARPALS: std::ops::Range<usize> = 19..27;
/// Channels of Radius and Ulna, whose outlines are always dense.
const FOREARM: std::ops::Range<usize> = 27..29;

type PhantomHand = Vec<Vec<[i32; 2]>>;

/// Position, size and shape of the bones of one hand.
struct Anatomy {
    bones: Vec<[f64; 6]>,
}

impl Anatomy {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let bones = AREAS.iter().enumerate().map(|(class, area)| {
            let elongation: f64 = if CARPALS.contains(&class) { 1.2 } else { 2.3 };
            let minor = (area * rng.random_range(0.85..1.15) / std::f64::consts::PI / elongation).sqrt();
            let x = 300.0 + 290.0 * (class % 6) as f64 + rng.random_range(-40.0..40.0);
            let y = 250.0 + 370.0 * (class / 6) as f64 + rng.random_range(-40.0..40.0);
            [x, y, minor * elongation, minor, rng.random_range(-0.6..0.6), rng.random_range(0.0..6.0)]
        });
        Anatomy { bones: bones.collect() }
    }

    /// Outlines of all bones: with `dense` one vertex per border pixel, else 40 vertices. `noise` in px shifts the vertices.
    fn outlines(&self, dense: bool, noise: f64, rng: &mut ChaCha8Rng) -> PhantomHand {
        let outline = |(class, bone): (usize, &[f64; 6])| {
            let [x, y, major, minor, lean, phase] = *bone;
            let vertices = if dense || FOREARM.contains(&class) { (6.0 * major) as usize } else { 40 };
            let vertex = |i: usize| {
                let angle = i as f64 / vertices as f64 * std::f64::consts::TAU;
                let bumps = 1.0 + 0.06 * (2.0 * angle + phase).sin() + 0.05 * (3.0 * angle - phase).sin();
                let along = bumps * major * angle.sin() + noise * rng.random_range(-1.0..=1.0);
                let across = bumps * minor * angle.cos() + noise * rng.random_range(-1.0..=1.0);
                let point =
                    [x + across * lean.cos() - along * lean.sin(), y + across * lean.sin() + along * lean.cos()];
                point.map(|v| v.round() as i32)
            };
            let mut points: Vec<[i32; 2]> = (0..vertices).map(vertex).collect();
            points.dedup();
            points
        };
        self.bones.iter().enumerate().map(outline).collect()
    }
}

fn rasterised(hand: &PhantomHand) -> Vec<RunMask> {
    hand.iter().map(|points| RunMask::from_polygon(points, SIZE, SIZE)).collect()
}

/// Shortest time of a round in seconds, and the result of the last round.
fn best<T>(mut round: impl FnMut() -> T) -> (f64, T) {
    let mut timed = || {
        let started = Instant::now();
        let result = std::hint::black_box(round());
        (started.elapsed().as_secs_f64(), result)
    };
    let first = timed();
    (1..ROUNDS).fold(first, |(shortest, _), _| {
        let (seconds, result) = timed();
        (shortest.min(seconds), result)
    })
}

fn python(cases: &serde_json::Value) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(cases).expect("JSON")).expect("room for the cases");
    let interpreter = root.join(".venv/bin/python");
    let out = Command::new(&interpreter)
        .arg(root.join("benches/masks.py"))
        .arg(&file)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; `make venv-dev` creates it", interpreter.display()));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON from the script")
}

/// Prints one line of the table; times are for all images in seconds.
fn line(what: &str, rust: f64, python: f64) {
    println!("{what:<42} {:>8.1} ms {:>12.0} ms {:>8.0}x", rust * 1e3, python * 1e3, python / rust);
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let anatomies: Vec<Anatomy> = (0..IMAGES).map(|_| Anatomy::random(&mut rng)).collect();

    // files[f][i][c] is the text of class c of image i in submission f.
    let mut masks: Vec<Vec<Vec<RunMask>>> = Vec::new();
    for _ in 0..FILES {
        masks.push(anatomies.iter().map(|a| rasterised(&a.outlines(true, 2.5, &mut rng))).collect());
    }
    let files: Vec<Vec<Vec<String>>> =
        masks.iter().map(|file| file.iter().map(|image| image.iter().map(rle::encode).collect()).collect()).collect();
    let runs: usize = masks.iter().flatten().flatten().map(|m| m.runs().len()).sum();
    drop(masks);
    let sparse: Vec<PhantomHand> = anatomies.iter().map(|a| a.outlines(false, 1.0, &mut rng)).collect();
    let dense: Vec<PhantomHand> = anatomies.iter().map(|a| a.outlines(true, 1.0, &mut rng)).collect();

    let sample: Vec<&[Vec<String>]> = files.iter().map(|file| &file[..SAMPLE]).collect();
    let hands = json!({"sparse": &sparse[..SAMPLE], "dense": &dense[..SAMPLE]});
    let reference = python(&json!({"size": SIZE, "files": sample, "hands": hands}));
    let scaled = |seconds: &serde_json::Value| seconds.as_f64().expect("seconds") * IMAGES as f64;

    let decode = |text: &String| rle::decode(text, SIZE, SIZE).expect("a valid mask");
    let (decoding, decoded) = best(|| {
        let file = |file: &Vec<Vec<String>>| file.iter().map(|i| i.iter().map(decode).collect()).collect();
        files.iter().map(file).collect::<Vec<Vec<Vec<RunMask>>>>()
    });
    let vote = |image: usize, class: usize| {
        let voters: [&RunMask; FILES] = std::array::from_fn(|file| &decoded[file][image][class]);
        RunMask::majority(&voters).expect("masks of one size")
    };
    let (voting, voted) = best(|| {
        (0..IMAGES).map(|image| (0..COUNT).map(|class| vote(image, class)).collect()).collect::<Vec<Vec<RunMask>>>()
    });
    let (encoding, encoded) =
        best(|| voted.iter().map(|image| image.iter().map(rle::encode).collect()).collect::<Vec<Vec<String>>>());
    let expected: Vec<Vec<String>> = serde_json::from_value(reference["voted"].clone()).expect("texts");
    assert_eq!(encoded[..SAMPLE], expected, "the votes agree");
    let (threaded, _) = best(|| {
        let image = |image: usize| {
            let class = |class: usize| {
                let masks: [RunMask; FILES] = std::array::from_fn(|file| decode(&files[file][image][class]));
                rle::encode(&RunMask::majority(&masks.each_ref()).expect("masks of one size"))
            };
            (0..COUNT).map(class).collect::<Vec<String>>()
        };
        (0..IMAGES).into_par_iter().map(image).collect::<Vec<_>>()
    });

    println!(
        "{IMAGES} images x {COUNT} masks at {SIZE}x{SIZE}; {} runs per mask; one thread, best of {ROUNDS} rounds;",
        { runs / (FILES * IMAGES * COUNT) }
    );
    println!("Python: {SAMPLE} of the images, time of the best image times {IMAGES}.\n");
    println!("{:<42} {:>11} {:>15} {:>9}", "", "carpus", "Python", "ratio");
    let steps = ["decode", "vote", "encode"].map(|step| scaled(&reference["seconds"][step]));
    line(&format!("RLE decode, {FILES} files"), decoding, steps[0]);
    line(&format!("majority vote of {FILES}"), voting, steps[1]);
    line("RLE encode", encoding, steps[2]);
    line("decode + vote + encode", decoding + voting + encoding, steps.iter().sum());
    let threads = rayon::current_num_threads();
    line(&format!("the same on {threads} threads (Python 1)"), threaded, steps.iter().sum());

    for (name, kind, hands) in [("sparse", "sparse outlines", &sparse), ("dense", "dense outlines", &dense)] {
        let (seconds, measured) = best(|| {
            let bone = |points: &Vec<[i32; 2]>| {
                let moments = RunMask::from_polygon(points, SIZE, SIZE).moments();
                let centroid = moments.centroid().expect("a bone has pixels");
                [moments.area as f64, centroid.x, centroid.y]
            };
            hands.iter().map(|hand| hand.iter().map(bone).collect()).collect::<Vec<Vec<[f64; 3]>>>()
        });
        let expected: Vec<Vec<[f64; 3]>> =
            serde_json::from_value(reference["hands"][name]["measured"].clone()).expect("measurements");
        // Centroids are exchanged as decimal text, which may lose the last digit.
        let pairs = measured.iter().flatten().flatten().zip(expected.iter().flatten().flatten());
        assert!(pairs.clone().count() == SAMPLE * COUNT * 3);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs()), "the measurements agree");
        line(&format!("polygon, area, centroid: {kind}"), seconds, scaled(&reference["hands"][name]["seconds"]));
    }

    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("submission.csv");
    let images: Vec<ImageMasks> = voted
        .into_iter()
        .enumerate()
        .map(|(i, masks)| ImageMasks {
            image_name: format!("{i}.png"),
            masks: HandMasks::new(masks).expect("29 masks"),
        })
        .collect();
    let (writing, _) = best(|| submission::write(&path, &images).expect("room for a submission"));
    let (reading, read) = best(|| submission::read(&path, SIZE, SIZE).expect("a submission"));
    assert_eq!(read, images);
    let megabytes = std::fs::metadata(&path).expect("a written file").len() as f64 / 1e6;
    println!("\nsubmission CSV of {megabytes:.0} MB on {threads} threads: ");
    println!("read {:.0} ms, write and sync {:.0} ms", reading * 1e3, writing * 1e3);
}
