//! Load trained weights, predict the images of a data folder, and write a submission.
//!
//! `cargo run --release --example predict -- WEIGHTS.safetensors DATA OUT.csv`

use std::error::Error;
use std::path::PathBuf;

use carpus::dataset::Dataset;
use carpus::device::{self, DeviceKind};
use carpus::infer::{Predictor, predict};
use carpus::mask::submission;
use carpus::progress::Silent;
use carpus::train::PatientMetadata;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(weights), Some(data), Some(out)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: predict WEIGHTS.safetensors DATA OUT.csv".into());
    };
    // The file says which model it is, the size of its input and how grey levels are normalised.
    let predictor = Predictor::open(&weights, device::select(DeviceKind::Auto)?)?;
    println!("{} at {} px", predictor.info().model.architecture, predictor.info().size);

    let dataset = Dataset::open(&data)?;
    let images: Vec<_> = dataset.images().iter().collect();
    let batch = 4;
    let prediction = predict(&predictor, &dataset, &images, &PatientMetadata::default(), batch, &Silent)?;
    for problem in &prediction.problems {
        eprintln!("{problem:?}");
    }
    submission::write(&out, &prediction.images)?;
    println!("{} images predicted", prediction.images.len());
    Ok(())
}
