//! Images per second of a complete scan, compared with only decoding the same PNG files with the same threads, on synthetic hands of
//! 2048 x 2048 px. Run by `make bench`; `cargo bench --bench scan -- FOLDER` uses the data in FOLDER.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::image::codecs::png::{CompressionType, FilterType, PngEncoder};
use carpus::dataset::phantom::{self, PhantomSettings};
use carpus::dataset::{Dataset, image};
use carpus::progress::Silent;
use carpus::scan::{ScanSettings, scan};
use rayon::prelude::*;

fn main() {
    if let Some(data) = std::env::args().skip(1).find(|a| !a.starts_with("--")) {
        let data = Path::new(&data);
        measure(&data.display().to_string(), data, &paths(data));
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let settings =
        PhantomSettings { patients: 400, test_patients: 0, size: 2048, seed: 7, defects: false, jobs: 0, force: false };
    phantom::generate(&settings, &data, &Silent).expect("phantom data");
    let paths = paths(&data);
    measure("as carpus phantom writes them (fast compression)", &data, &paths);
    // The default compression of other programs, which takes longer to decode.
    paths.par_iter().for_each(|path| {
        let (grey, _) = image::decode(&std::fs::read(path).expect("a PNG")).expect("a PNG just written");
        let file = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
        let encoder = PngEncoder::new_with_quality(file, CompressionType::Level(6), FilterType::Adaptive);
        grey.into_eight_bit().write_with_encoder(encoder).expect("a PNG");
    });
    measure("zlib level 6 with adaptive filters", &data, &paths);
}

fn paths(data: &Path) -> Vec<PathBuf> {
    let dataset = Dataset::open(data).expect("a data folder");
    println!("{} images, {} threads, best of 5", dataset.images().len(), rayon::current_num_threads());
    dataset.images().iter().map(|e| data.join(&e.image)).collect()
}

/// Prints the rates of decoding and scanning, and their ratio.
fn measure(what: &str, data: &Path, paths: &[impl AsRef<Path> + Sync]) {
    // Reads all files once, so that both find them in the page cache.
    decode(paths);
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        best[0] = best[0].min(decode(paths));
        let out = tempfile::tempdir().expect("a temporary folder");
        let started = Instant::now();
        // The time includes listing the files.
        let dataset = Dataset::open(data).expect("a data folder");
        scan(&dataset, out.path(), &ScanSettings::default(), &Silent).expect("a scan");
        best[1] = best[1].min(started.elapsed().as_secs_f64());
    }
    let rate = best.map(|seconds| paths.len() as f64 / seconds);
    println!("{what}: decode {:.1} images/s, scan {:.1} images/s, ratio {:.2}", rate[0], rate[1], rate[1] / rate[0]);
}

fn decode(paths: &[impl AsRef<Path> + Sync]) -> f64 {
    let started = Instant::now();
    let pixels: u64 = paths
        .par_iter()
        .with_max_len(1)
        .map(|p| {
            let bytes = std::fs::read(p).expect("a file just written");
            let (grey, _) = image::decode(&bytes).expect("a PNG just written");
            u64::from(grey.width()) * u64::from(grey.height())
        })
        .sum();
    std::hint::black_box(pixels);
    started.elapsed().as_secs_f64()
}
