//! Prediction of an image of 2048² in windows compared with MONAI's `SlidingWindowInferer`: `cargo bench --bench infer`. The
//! model is a function of the grey level that takes little time, so that the windows are measured and not a network; its
//! result has 29 classes of the size of bones. Both run on the CPU with the same number of threads, one after the other. Memory is
//! the peak of a run above the memory held before it, from `/proc/self`. The results must be equal.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use carpus::bones::COUNT;
use carpus::geometry::Size;
use carpus::infer::{
    InferError, InferOptions, ScaledImage, TestTimeAugmentation, WindowModel, WindowSettings, WindowWeights,
    window_probabilities,
};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Side of the image in px.
const SIZE: u32 = 2048;
/// Sides of windows in px.
const WINDOWS: [u32; 2] = [512, 1024];

/// The probability of class c is high where the grey level is near 8 (c + 1).
struct Levels {
    centres: Tensor,
}

impl WindowModel for Levels {
    fn probabilities(&self, levels: &Tensor) -> Result<Tensor, InferError> {
        let mut off = levels.unsqueeze(1).f_sub(&self.centres)?;
        let _ = off.f_square_()?.f_mul_scalar_(-0.5)?.f_add_scalar_(8.0)?;
        Ok(off.f_sigmoid_()?)
    }

    fn device(&self) -> Device {
        Device::Cpu
    }

    fn stride(&self) -> u32 {
        32
    }

    fn least_side(&self) -> u32 {
        32
    }
}

/// Ellipses of the size of bones in rows, each with the grey level of its class.
fn image() -> Vec<u8> {
    let mut levels = vec![0u8; (SIZE * SIZE) as usize];
    for class in 0..COUNT {
        let (x, y) = (250.0 + 310.0 * (class % 6) as f64, 220.0 + 380.0 * (class / 6) as f64);
        for row in 0..SIZE {
            for column in 0..SIZE {
                let (u, v) = ((f64::from(column) - x) / 60.0, (f64::from(row) - y) / 120.0);
                if u * u + v * v < 1.0 {
                    levels[(row * SIZE + column) as usize] = 8 * (class as u8 + 1);
                }
            }
        }
    }
    levels
}

/// The value of a key of `/proc/self/status` in bytes.
fn status(key: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find(|line| line.starts_with(key)).expect("a line with this key");
    line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).expect("a number of kB") * 1024.0
}

fn monai(levels: &[u8], window: u32) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("levels");
    std::fs::write(&file, levels).expect("room for the image");
    let interpreter = root.join(".venv/bin/python");
    let out = Command::new(&interpreter)
        .arg(root.join("benches/infer.py"))
        .args([&file.display().to_string(), &SIZE.to_string(), &window.to_string()])
        .arg(tch::get_num_threads().to_string())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|e| panic!("{}: {e}; `make venv-dev` creates it", interpreter.display()));
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON from the script")
}

fn main() {
    let levels = image();
    let side = i64::from(SIZE);
    let size = Size::square(SIZE);
    let centres: Vec<f32> = (0..COUNT).map(|class| 8.0 * (class as f32 + 1.0)).collect();
    let model = Levels { centres: Tensor::from_slice(&centres).view([1, -1, 1, 1]) };
    println!(
        "29 classes of an image of {SIZE}x{SIZE}, overlap 0.5, Gaussian weights, {} threads",
        tch::get_num_threads()
    );
    for window in WINDOWS {
        let settings = WindowSettings { side: window, overlap: 0.5, weights: WindowWeights::Gaussian, scale: 1.0 };
        let options = InferOptions { window: Some(settings), augmentation: TestTimeAugmentation::default(), batch: 1 };
        let tensor = Tensor::from_slice(&levels).view([side, side]).to_kind(Kind::Float);
        let image = ScaledImage { levels: tensor, scaled: size, size };
        std::fs::write("/proc/self/clear_refs", "5").expect("Linux lets a process reset its own peak");
        let before = status("VmRSS");
        let started = Instant::now();
        let maps = window_probabilities(&model, &image, &settings, &options).expect("windows are predicted");
        let seconds = started.elapsed().as_secs_f64();
        let memory = status("VmHWM") - before;
        let theirs = monai(&levels, window);
        let areas: Vec<u64> = maps.iter().map(|map| map.area(0.5)).collect();
        assert_eq!(json!(areas), theirs["areas"], "both set the same pixels");
        let of = |key: &str| theirs[key].as_f64().expect("a number");
        println!(
            "windows of {window:>4} px: {seconds:5.2} s, {:5.0} MB; MONAI {:5.2} s, {:5.0} MB; share of its time {:.2}, of its \
             memory {:.2}",
            memory / 1e6,
            of("seconds"),
            of("bytes") / 1e6,
            seconds / of("seconds"),
            memory / of("bytes"),
        );
    }
}
