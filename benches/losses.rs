//! Losses on the CPU compared with segmentation_models_pytorch, and distance maps compared with SciPy: `cargo bench --bench losses`.
//! Rounds of both alternate in one run. Both use the same logits, of which 90 % are correct, and the same number of threads. Times
//! are medians. Memory is the peak of a round above the memory held before it, from `/proc/self`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use carpus::bones::COUNT;
use carpus::losses::LossMix;
use carpus::mask::{HandMasks, LabelImage, RunMask, SignedDistance};
use carpus::models::write_tensors;
use rayon::prelude::*;
use serde_json::Value;
use tch::{Kind, Tensor};

/// Side of the image for the losses in px.
const SIZE: u32 = 1024;
/// Side of the image for the distance maps in px.
const LARGE: u32 = 2048;
/// Number of classes for which SciPy makes maps; its time is scaled to all classes.
const SAMPLE: usize = 4;
/// Timed rounds, after one warm-up round.
const ROUNDS: usize = 3;

/// Ellipses of the size of bones in rows; a few overlap.
fn bones(size: u32) -> HandMasks {
    let unit = f64::from(size) / 2048.0;
    let mask = |class: usize| {
        let (x, y) = (250.0 + 310.0 * (class % 6) as f64, 220.0 + 380.0 * (class / 6) as f64);
        let (across, along) = (45.0 + 6.0 * (class % 7) as f64, 90.0 + 14.0 * (class % 5) as f64);
        let vertex = |i: usize| {
            let angle = i as f64 / 60.0 * std::f64::consts::TAU;
            let (u, v) = (across * angle.cos(), along * angle.sin());
            let point = [x + 0.9 * u - 0.4 * v, y + 0.4 * u + 0.9 * v];
            point.map(|v| (v * unit).round() as i32)
        };
        RunMask::from_polygon(&(0..60).map(vertex).collect::<Vec<_>>(), size, size)
    };
    HandMasks::new((0..COUNT).map(mask).collect()).expect("29 masks of one size")
}

/// The value of a key of `/proc/self/status` in bytes.
fn status(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(key)).expect("a line with this key");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).expect("a number of kB") * 1024.0
}

/// Seconds of a round, peak memory in bytes above that held before, and its result.
fn measured(round: impl FnOnce() -> f64) -> [f64; 3] {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: only returns free memory to the system, so that the next peak is that of this round.
    unsafe {
        libc::malloc_trim(0);
    }
    std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
    let before = status("VmRSS");
    let started = Instant::now();
    let value = round();
    [started.elapsed().as_secs_f64(), status("VmHWM") - before, value]
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Alternates rounds of carpus and of the reference, and returns the medians of seconds, bytes and results of each.
fn alternating(mut ours: impl FnMut() -> [f64; 3], mut theirs: impl FnMut() -> [f64; 3]) -> [[f64; 3]; 2] {
    let rounds: Vec<[[f64; 3]; 2]> = (0..=ROUNDS).map(|_| [ours(), theirs()]).skip(1).collect();
    [0, 1].map(|who| [0, 1, 2].map(|what| median(rounds.iter().map(|round| round[who][what]))))
}

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    tch::set_num_threads(threads as i32);
    tch::manual_seed(1);
    let image = LabelImage::from_masks(&bones(SIZE));
    let side = i64::from(SIZE);
    let words: Vec<i32> = image.words.iter().map(|word| *word as i32).collect();
    let words = Tensor::from_slice(&words).view([1, side, side]);
    let bits = Tensor::from_slice(&(0..COUNT).map(|class| 1i32 << class).collect::<Vec<_>>()).view([1, -1, 1, 1]);
    let target = words.unsqueeze(1).bitwise_and_tensor(&bits).ne(0).to_kind(Kind::Float);
    let logits = (&target * 2.0 - 1.0) * 2.6 + target.randn_like() * 2.0;
    let large = LabelImage::from_masks(&bones(LARGE));
    let sample: Vec<Tensor> = large.masks(SAMPLE).iter().map(|mask| Tensor::from_slice(&mask.to_dense())).collect();
    let sample = Tensor::stack(&sample, 0).view([SAMPLE as i64, i64::from(LARGE), i64::from(LARGE)]);

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("batch.safetensors");
    let tensors = [("logits", &logits), ("target", &target), ("masks", &sample)];
    write_tensors(&file, &tensors.map(|(name, x)| (name.to_owned(), x.shallow_clone()))).expect("room for the batch");
    drop((target, sample));
    let interpreter = root.join(".venv/bin/python");
    let mut child = Command::new(&interpreter)
        .arg(root.join("benches/losses.py"))
        .arg(&file)
        .arg(threads.to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}; `make venv-dev` creates it", interpreter.display()));
    let mut requests = child.stdin.take().expect("piped");
    let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut python = |name: &str| {
        writeln!(requests, "{name}").expect("Python reads requests");
        let line = answers.next().expect("an answer").expect("text");
        let answer: Value = serde_json::from_str(&line).expect("JSON");
        ["seconds", "bytes", "value"].map(|key| answer[key].as_f64().expect("a number"))
    };

    println!("[1, {COUNT}, {SIZE}, {SIZE}] on {threads} threads, forward and backward, medians of {ROUNDS} rounds\n");
    println!("{:<28} {:>10} {:>10} {:>7} {:>10} {:>10} {:>7}", "", "carpus", "SMP", "ratio", "carpus", "SMP", "ratio");
    for (name, loss) in [
        ("bce + dice", r#"{"bce": 0.5, "dice": 0.5}"#),
        ("lovasz, per class", r#"{"lovasz": 1}"#),
        ("lovasz, over the batch", r#"{"lovasz": {"weight": 1, "over": "batch"}}"#),
    ] {
        let mix: LossMix = serde_json::from_str(loss).expect("a mix");
        let ours = || {
            let x = logits.detach().set_requires_grad(true);
            measured(|| {
                let loss = mix.forward(&x, &words).expect("a loss");
                loss.backward();
                loss.double_value(&[])
            })
        };
        let [ours, theirs] = alternating(ours, || python(name));
        assert!((ours[2] - theirs[2]).abs() <= 1e-3 * theirs[2], "{name}: {} and {}", ours[2], theirs[2]);
        let times = format!("{:>7.0} ms {:>7.0} ms {:>7.2}", ours[0] * 1e3, theirs[0] * 1e3, ours[0] / theirs[0]);
        println!(
            "{name:<28} {times} {:>7.0} MB {:>7.0} MB {:>7.2}",
            ours[1] / 1e6,
            theirs[1] / 1e6,
            ours[1] / theirs[1]
        );
    }

    println!(
        "\nsigned distance maps of {COUNT} classes at {LARGE}x{LARGE} from label words; SciPy: {SAMPLE} classes, scaled"
    );
    for (name, band) in [("exact everywhere", None), ("band of 20 px", Some(20.0))] {
        // Each thread fills one map after the other, as a loss does; reading a pixel of each keeps the compiler from removing it.
        let round = || {
            let masks = large.masks(COUNT);
            let pixels = (LARGE * LARGE) as usize;
            let sums: Vec<f64> = masks
                .par_iter()
                .map_init(
                    || vec![0f32; pixels],
                    |map, mask| {
                        SignedDistance::new(mask).fill(0..LARGE, band, map);
                        f64::from(map[pixels / 2])
                    },
                )
                .collect();
            sums.iter().sum()
        };
        let scale = COUNT as f64 / SAMPLE as f64;
        let [ours, theirs] = alternating(|| measured(round), || python("distances"));
        let (seconds, theirs) = (ours[0], theirs[0] * scale);
        println!("{name:<28} {:>7.0} ms {:>7.0} ms {:>7.3}", seconds * 1e3, theirs * 1e3, seconds / theirs);
    }
    let compact: usize = large.masks(COUNT).iter().map(|mask| SignedDistance::new(mask).bytes()).sum();
    let dense = COUNT as f64 * f64::from(LARGE * LARGE) * 4.0;
    println!("memory of all maps: {:.1} MB, as dense arrays {:.0} MB", compact as f64 / 1e6, dense / 1e6);
    drop(requests);
    child.wait().expect("Python exits");
}
