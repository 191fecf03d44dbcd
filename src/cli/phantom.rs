use std::path::PathBuf;

use super::values::jobs;
use super::{Status, Ui};
use crate::dataset::phantom::{self, PhantomSettings};
use crate::wording::counted;

/// Generate a data set of synthetic hands: images, annotations, metadata and ground truth
#[derive(clap::Args, Debug)]
#[command(after_help = "Example:
  carpus phantom --out data/phantom --patients 24 --test-patients 8 \\
      --size 2048 --seed 7
  carpus phantom --out data/faulty --patients 200 --test-patients 0 \\
      --size 512 --defects

A folder that already holds the same data set is not changed. --force replaces an earlier \
synthetic data set with other settings.")]
pub struct PhantomArgs {
    /// Folder to write
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Number of patients with annotations, two hands each
    #[arg(long, value_name = "N", default_value_t = 24)]
    patients: usize,
    /// Number of patients without annotations
    #[arg(long, value_name = "N", default_value_t = 8)]
    test_patients: usize,
    /// Width and height of the images in px
    #[arg(long, default_value_t = 2048, value_name = "PX")]
    size: u32,
    /// Random seed: the same seed makes the same files
    #[arg(long, value_name = "N", default_value_t = 7)]
    seed: u64,
    /// Add deliberate faults of all kinds and list them in truth.json
    #[arg(long)]
    defects: bool,
    /// Number of threads; 0 for one per core
    #[arg(short, long, value_name = "N", default_value_t = 0, value_parser = jobs())]
    jobs: usize,
}

/// Writes the data set and prints what it holds.
pub fn run(args: PhantomArgs, ui: &Ui) -> anyhow::Result<Status> {
    let settings = PhantomSettings {
        patients: args.patients,
        test_patients: args.test_patients,
        size: args.size,
        seed: args.seed,
        defects: args.defects,
        jobs: args.jobs,
        force: ui.force(),
    };
    let summary = phantom::generate(&settings, &args.out, ui)?;
    let done = if summary.skipped { "unchanged" } else { "written" };
    ui.line(format_args!(
        "{} and {} {done} -> {}",
        counted(summary.train_images, "training image", "training images"),
        counted(summary.test_images, "test image", "test images"),
        args.out.display()
    ));
    let faults: usize = summary.defects.values().sum();
    if faults > 0 {
        let kinds: Vec<String> = summary.defects.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        ui.line(format_args!(
            "{}: {} -> {}",
            counted(faults, "fault", "faults"),
            kinds.join(", "),
            args.out.join("truth.json").display()
        ));
    }
    ui.json(&summary)?;
    Ok(Status::Done)
}
