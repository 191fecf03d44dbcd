//! `carpus runs note`: keeps leaderboard scores with a run.

use std::path::PathBuf;

use serde_json::json;

use super::{Status, Ui, signed};
use crate::runs::{NOTES, Run, RunNote, add_note};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus runs note runs/fpn-fold0 --public .9728 --private .9729
  carpus runs note runs/fpn-fold0 --text 'blurred wrists are worst'

The notes are in notes.jsonl in the folder of the run. Of several scores the last one counts. When the run \
is trained again, earlier scores no longer count.")]
#[command(group(clap::ArgGroup::new("content").required(true).multiple(true).args(["public", "private", "text"])))]
pub(super) struct Note {
    /// Folder of the run
    run: PathBuf,
    /// Dice on the public leaderboard, 0 to 1
    #[arg(long, value_name = "DICE")]
    public: Option<f64>,
    /// Dice on the private leaderboard, 0 to 1
    #[arg(long, value_name = "DICE")]
    private: Option<f64>,
    /// Date of the submission, as 2026-01-02
    #[arg(long, value_name = "DATE")]
    submitted: Option<String>,
    /// Text of the note
    #[arg(long)]
    text: Option<String>,
}

/// Adds the note and prints the gap between validation and leaderboard.
pub(super) fn run(args: Note, ui: &Ui) -> anyhow::Result<Status> {
    let Note { run, public, private, submitted, text } = args;
    let note = add_note(&run, RunNote { public, private, submitted, text, ..RunNote::default() })?;
    let read = Run::read(&run)?;
    read.problems.iter().for_each(|problem| ui.warn(problem));
    let gap = read.leaderboard().gap(read.validation());
    ui.line(format_args!("added to {}", run.join(NOTES).display()));
    for (board, gap) in [("public", gap.public), ("private", gap.private)] {
        if gap.is_some() {
            ui.line(format_args!("validation Dice minus {board} leaderboard: {}", signed(gap)));
        }
    }
    ui.json(
        &json!({ "note": note, "leaderboard": read.leaderboard(), "validation_dice": read.validation(), "gap": gap }),
    )?;
    Ok(ui.status())
}
