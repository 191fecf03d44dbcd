//! Grey-level steps of the augmentation compared with OpenCV on the same 2048 x 2048 image: `cargo bench --bench augment_levels`.
//! Rounds of both alternate in one run, on the same number of threads. Times are medians. Ours are of levels in single
//! precision, as the augmentation has them; OpenCV's of bytes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use carpus::augment::{LabelledImage, NoOtherImages};
use carpus::config::operations::operations;
use carpus::geometry::Size;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Side of the image in px.
const SIZE: u32 = 2048;
/// Timed rounds, after one warm-up round.
const ROUNDS: usize = 15;

/// Smooth structures and noise.
fn level(x: u32, y: u32) -> u8 {
    let wave = (f64::from(x) / 90.0).sin() * (f64::from(y) / 140.0).cos();
    let noise = x.wrapping_mul(2_654_435_761).wrapping_add(y.wrapping_mul(40_503)) >> 27;
    (120.0 + 90.0 * wave) as u8 + noise as u8
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("image.png");
    let grey = image::GrayImage::from_fn(SIZE, SIZE, |x, y| image::Luma([level(x, y)]));
    grey.save(&file).expect("room for the image");
    let interpreter = root.join(".venv/bin/python");
    let size = Size::square(SIZE);
    let levels: Vec<f32> = grey.as_raw().iter().map(|v| f32::from(*v)).collect();
    let image = LabelledImage::new(size, levels, vec![0; size.pixels()]);
    println!("{SIZE} x {SIZE} px, medians of {ROUNDS} rounds\n");
    println!("{:<16} {:>7} {:>10} {:>10} {:>7}", "", "threads", "carpus", "OpenCV", "ratio");
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, all] {
        let mut child = Command::new(&interpreter)
            .arg(root.join("benches/augment_levels.py"))
            .args([file.as_os_str(), threads.to_string().as_ref()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}; `make venv-dev` creates it", interpreter.display()));
        let mut requests = child.stdin.take().expect("piped");
        let mut answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a thread pool");
        for (name, op) in [
            ("clahe", "{ kind = 'clahe', clip-limit = 4.0, tiles = 8 }"),
            ("equalise", "{ kind = 'equalise' }"),
            ("gamma", "{ kind = 'gamma', gamma = 0.7 }"),
            ("median-blur", "{ kind = 'median-blur', side = 5 }"),
            ("gaussian-blur", "{ kind = 'gaussian-blur', sigma = 2.0 }"),
        ] {
            let steps = operations(op).expect("a step");
            let ours = || {
                let (image, mut rng) = (image.clone(), ChaCha8Rng::seed_from_u64(1));
                let started = Instant::now();
                let changed = pool.install(|| steps.apply_always(image, &NoOtherImages, &mut rng));
                let seconds = started.elapsed().as_secs_f64();
                assert_eq!(changed.levels.len(), size.pixels());
                seconds
            };
            let mut theirs = || {
                writeln!(requests, "{name}").expect("Python reads requests");
                answers.next().expect("an answer").expect("text").parse().expect("seconds")
            };
            let rounds: Vec<[f64; 2]> = (0..=ROUNDS).map(|_| [ours(), theirs()]).skip(1).collect();
            let [ours, theirs] = [0, 1].map(|who| median(rounds.iter().map(|round| round[who]).collect()));
            println!("{name:<16} {threads:>7} {:>7.1} ms {:>7.1} ms {:>7.2}", ours * 1e3, theirs * 1e3, ours / theirs);
        }
        drop(requests);
        child.wait().expect("Python ends");
    }
}
