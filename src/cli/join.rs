use std::path::PathBuf;

use anyhow::ensure;

use super::{Status, Ui};
use crate::artefact::{kind, replace_folder};
use crate::mask::submission::{write, write_with};
use crate::probability::join_folders;
use crate::scores::join_submissions;
use crate::wording::counted;

/// Join predictions of different images: submissions or probabilities
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus join part1.csv part2.csv --out submission.csv
  carpus join probabilities/fold* --out probabilities/oof

The parts must have different images. For the parts of `carpus predict --part` in order, the result is that of a single \
run.")]
pub struct JoinArgs {
    /// Submission CSVs, or folders of probabilities
    #[arg(required = true, num_args = 1.., value_name = "DIR_OR_CSV")]
    parts: Vec<PathBuf>,
    /// Submission CSV or folder to write, with the images in the order of the parts
    #[arg(short, long, value_name = "DIR_OR_CSV")]
    out: PathBuf,
}

/// Joins the parts and writes the result.
pub fn run(args: JoinArgs, ui: &Ui) -> anyhow::Result<Status> {
    let folders = args.parts.iter().filter(|part| part.is_dir()).count();
    ensure!(
        folders == 0 || folders == args.parts.len(),
        "{} of {} {} a folder; expected only folders of probabilities, or only submissions",
        folders,
        counted(args.parts.len(), "part", "parts"),
        if folders == 1 { "is" } else { "are" }
    );
    let outputs = ui.outputs().inputs(&args.parts);
    let images = if folders > 0 {
        outputs.folder(&args.out, &kind::PROBABILITIES)?;
        replace_folder(&args.out, &kind::PROBABILITIES, |new| {
            join_folders(&args.parts, new).map_err(anyhow::Error::from)
        })?
    } else {
        outputs.file(&args.out, &kind::SUBMISSION)?;
        let joined = join_submissions(&args.parts)?;
        match &joined.sidecar {
            Some(sidecar) => write_with(&args.out, &joined.images, sidecar)?,
            None => write(&args.out, &joined.images)?,
        }
        joined.images.len()
    };
    ui.line(format_args!(
        "{}, {}: {}",
        counted(args.parts.len(), "part", "parts"),
        counted(images, "image", "images"),
        args.out.display()
    ));
    ui.json(&serde_json::json!({"parts": args.parts.len(), "images": images, "out": args.out}))?;
    Ok(Status::Done)
}
