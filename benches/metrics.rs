//! Metrics of the 29 classes of an image at 2048² compared with surface-distance and MONAI, timed in the same run:
//! `cargo bench --bench metrics`. The predictions are the annotations with noisy outlines, moved by up to 12 px. The results
//! of the libraries must be equal.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use carpus::bones::COUNT;
use carpus::mask::{HandMasks, RunMask};
use carpus::metrics::{BoundaryConvention, Metric, MetricOptions, image_metrics};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

/// Side of an image in px.
const SIZE: u32 = 2048;
/// Timed rounds; the best is reported.
const ROUNDS: usize = 5;
/// Metrics that both libraries have.
const SHARED: [Metric; 4] = [Metric::Hd, Metric::Hd95, Metric::Assd, Metric::Nsd];

/// Mean areas of real bones in px at 2048², in channel order.
const AREAS: [f64; COUNT] = [
    8274.0, 16932.0, 27624.0, 5325.0, 10290.0, 22352.0, 36736.0, 6161.0, 13026.0, 25003.0, 33223.0, 6029.0, 11556.0,
    21065.0, 24958.0, 4237.0, 6723.0, 14789.0, 25168.0, 10238.0, 6315.0, 16472.0, 11615.0, 11875.0, 8664.0, 7622.0,
    4863.0, 82318.0, 44751.0,
];

/// An elongated bone at its place in a grid, moved by (`x`, `y`), with vertices that are off by up to `noise` px.
fn bone(class: usize, [x, y]: [f64; 2], noise: f64, rng: &mut ChaCha8Rng) -> RunMask {
    let minor = (AREAS[class] / std::f64::consts::PI / 2.3).sqrt();
    let (major, lean) = (2.3 * minor, 0.6 * (class as f64).sin());
    let vertices = (6.0 * major) as usize;
    let vertex = |i: usize| {
        let angle = i as f64 / vertices as f64 * std::f64::consts::TAU;
        let [along, across] =
            [major * angle.sin(), minor * angle.cos()].map(|v| v + noise * rng.random_range(-1.0..=1.0));
        let x = x + 300.0 + 290.0 * (class % 6) as f64 + across * lean.cos() - along * lean.sin();
        let y = y + 250.0 + 370.0 * (class / 6) as f64 + across * lean.sin() + along * lean.cos();
        [x.round() as i32, y.round() as i32]
    };
    RunMask::from_polygon(&(0..vertices).map(vertex).collect::<Vec<_>>(), SIZE, SIZE)
}

/// Seconds of the best round, and the values by class.
fn best(truth: &HandMasks, prediction: &HandMasks, options: &MetricOptions) -> (f64, Vec<Vec<f64>>) {
    let mut shortest = (f64::INFINITY, Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let classes = image_metrics(truth, prediction, options).expect("masks of one size");
        let seconds = started.elapsed().as_secs_f64();
        if seconds < shortest.0 {
            shortest = (seconds, classes.into_iter().map(|class| class.values).collect());
        }
    }
    shortest
}

fn python(cases: &Value) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("cases.json");
    std::fs::write(&file, cases.to_string()).expect("room for the cases");
    let interpreter = root.join(".venv/bin/python");
    let out = Command::new(&interpreter)
        .arg(root.join("benches/metrics.py"))
        .arg(&file)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; `make venv-dev` creates it", interpreter.display()));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON from the script")
}

fn main() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let truth: Vec<RunMask> = (0..COUNT).map(|class| bone(class, [0.0, 0.0], 0.0, &mut rng)).collect();
    let moved: Vec<RunMask> = (0..COUNT)
        .map(|class| {
            let by = [rng.random_range(-12.0..12.0), rng.random_range(-12.0..12.0)];
            bone(class, by, 2.5, &mut rng)
        })
        .collect();
    let flat = |mask: &RunMask| mask.runs().iter().flat_map(|run| [run.start, run.len]).collect::<Vec<_>>();
    let spans: Vec<[Vec<u32>; 2]> = truth.iter().zip(&moved).map(|(a, b)| [flat(a), flat(b)]).collect();
    let (truth, prediction) = (HandMasks::new(truth).expect("29 masks"), HandMasks::new(moved).expect("29 masks"));
    let reference = python(&json!({"size": SIZE, "spans": spans, "tolerance": 2.0}));

    println!(
        "29 classes of an image of {SIZE}x{SIZE}, {} threads, best of {ROUNDS} rounds",
        rayon::current_num_threads()
    );
    // MedPy's boundary is MONAI's.
    for convention in [BoundaryConvention::Monai, BoundaryConvention::SurfaceDistance] {
        let mut options = MetricOptions::new(SHARED.to_vec());
        options.conventions.extend(SHARED.iter().map(|metric| (*metric, convention)));
        let (seconds, values) = best(&truth, &prediction, &options);
        let library = &reference[convention.name()];
        for (class, values) in values.iter().enumerate() {
            for (at, value) in values.iter().enumerate() {
                let expected = library["values"][class][at].as_f64().expect("a finite value");
                assert!((value - expected).abs() < 1e-6 * expected.max(1.0), "{class} {at}: {value} {expected}");
            }
        }
        let theirs = library["seconds"].as_f64().expect("seconds");
        let what = format!("hd, hd95, assd, nsd of {convention}");
        println!("{what:<42} {:>8.1} ms {:>9.0} ms {:>6.0}x", seconds * 1e3, theirs * 1e3, theirs / seconds);
    }
    let (seconds, _) = best(&truth, &prediction, &MetricOptions::new(Metric::ALL.to_vec()));
    println!("{:<42} {:>8.1} ms", "all eleven metrics", seconds * 1e3);
    assert!(seconds < 1.0, "all metrics of an image take less than a second");
}
