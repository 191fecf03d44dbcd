//! Dice per class between two submissions, for instance of two models on the test images.
//!
//! `cargo run --release --no-default-features --example dice_of_two -- FIRST.csv SECOND.csv`

use std::collections::HashMap;
use std::error::Error;
use std::path::PathBuf;

use carpus::bones::Bone;
use carpus::scores::{DiceSummary, Region, read_flat, score};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (Some(first), Some(second)) = (arguments.next(), arguments.next()) else {
        return Err("usage: dice_of_two FIRST.csv SECOND.csv".into());
    };
    // A submission does not say how large its images are. Dice does not depend on it: the masks are compared run by run.
    let first = read_flat(&first)?;
    let second: HashMap<_, _> = read_flat(&second)?.into_iter().map(|image| (image.image_name, image.masks)).collect();
    let mut scores = Vec::new();
    for image in &first {
        match second.get(&image.image_name) {
            Some(masks) => scores.push(score(&image.image_name, &image.masks, masks, Region::Image)?),
            None => eprintln!("{} is in the first submission only", image.image_name),
        }
    }
    let summary = DiceSummary::of(&scores);
    for bone in Bone::all() {
        println!("{bone:<12} {:.4}", summary.per_class[bone.name()].as_f64().unwrap_or(f64::NAN));
    }
    println!("mean Dice of {} images: {:.4}", summary.images, summary.mean_dice);
    Ok(())
}
