use std::path::PathBuf;

use super::values::expect_different;
use super::{Status, Ui};
use crate::artefact::kind;
use crate::mask::submission;
use crate::scores;
use crate::wording::counted;

/// Combine submissions by majority vote per pixel
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus vote a.csv b.csv c.csv --out voted.csv
  carpus vote fold*.csv --at-least 2 --out voted.csv

All files must hold the same images.")]
pub struct VoteArgs {
    /// Submission CSVs, two or more
    #[arg(required = true, num_args = 1..)]
    submissions: Vec<PathBuf>,
    /// Number of votes that set a pixel [default: more than half]
    #[arg(long, value_name = "N")]
    at_least: Option<usize>,
    /// Submission CSV to write, with the images in the order of the first file
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// Combines the submissions and writes the result.
pub fn run(args: VoteArgs, ui: &Ui) -> anyhow::Result<Status> {
    expect_different(&args.submissions)?;
    ui.outputs().inputs(&args.submissions).file(&args.out, &kind::SUBMISSION)?;
    let voted = scores::vote(&args.submissions, args.at_least, ui)?;
    match submission::sidecar(&args.submissions[0])? {
        Some(sidecar) => submission::write_with(&args.out, &voted, &sidecar)?,
        None => submission::write(&args.out, &voted)?,
    }
    ui.line(format_args!(
        "{} files, {}: {}",
        args.submissions.len(),
        counted(voted.len(), "image", "images"),
        args.out.display()
    ));
    ui.json(&serde_json::json!({"files": args.submissions.len(), "images": voted.len(), "out": args.out}))?;
    Ok(Status::Done)
}
