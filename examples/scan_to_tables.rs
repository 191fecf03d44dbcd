//! Scan a data folder into tables, and print what was found.
//!
//! `cargo run --release --no-default-features --example scan_to_tables -- DATA TABLES`

use std::error::Error;
use std::path::PathBuf;

use carpus::dataset::Dataset;
use carpus::progress::Silent;
use carpus::scan::{Scan, ScanSettings, scan};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(data), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: scan_to_tables DATA TABLES".into());
    };
    let dataset = Dataset::open(&data)?;
    let Scan { tables, summary } = scan(&dataset, &out, &ScanSettings::default(), &Silent)?;
    println!("{} images of {} patients, {} bones", summary.images, summary.patients, summary.bones);

    // The rows are typed; `images.parquet` and its siblings hold the same for polars, pandas and DuckDB.
    let rotated = tables.images.iter().filter(|image| image.rotated == Some(true)).count();
    println!("rotated hands: {rotated}");
    for problem in tables.problems.iter().take(5) {
        println!("{}: {} {}: {}", problem.severity, problem.file, problem.place, problem.reason);
    }
    Ok(())
}
