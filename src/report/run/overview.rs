use serde_json::json;

use super::RunStudy;
use crate::geometry::Size;
use crate::report::wording::{count, counted, num, visible};
use crate::report::{Content, Section, Tile};
use crate::runs::{AverageSummary, BestEpoch, Run, RunNote, RunSummary, StageEnd};

/// The model, its results and the warnings.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("overview", "Overview");
    let run = study.run;
    let of = |key: &str| study.setting(key).map(|text| visible(&text));
    let model = match (of("model.architecture"), of("model.encoder")) {
        (Some(architecture), Some(encoder)) => format!("{architecture} on {encoder}"),
        (Some(architecture), None) => architecture,
        _ => "unknown".into(),
    };
    let size = run.setting("size").and_then(|size| size.clone().try_into::<Size>().ok());
    let size = size.map_or_else(String::new, |size| format!(" at {size} px"));
    let holds_out = run.holds_out_fold();
    let held_out = match of("data.fold") {
        Some(fold) if holds_out => format!(", fold {fold} held out"),
        Some(_) => ", trained on all images".into(),
        None => String::new(),
    };
    let loss = run.setting("loss").and_then(toml::Value::as_table).map_or_else(String::new, |loss| {
        let terms: Vec<String> = loss.iter().map(|(name, weight)| format!("{name} {}", loss_weight(weight))).collect();
        format!("; loss {}", visible(&terms.join(", ")))
    });
    section.text(format!("Model: {model}{size}{held_out}{loss}."));

    let asked = run.epochs_asked();
    let mut tiles = Vec::new();
    let mut tile = |label: &str, value: String, note: String| {
        tiles.push(Tile { label: label.into(), value, note });
    };
    if let Some(dice) = run.held_out() {
        tile("held-out Dice", num(dice, 4), "images at original size".into());
    } else if run.scores_unusable {
        tile("held-out Dice", "–".into(), "per_image_dice.csv cannot be used; see the warning below".into());
    }
    if let Some(BestEpoch { epoch, dice }) = run.best() {
        tile("best Dice", num(dice, 4), format!("at the model's input size, epoch {epoch}"));
    }
    let of_asked = asked.map_or_else(String::new, |n| format!("of {}", count(n)));
    for (label, value, note) in leaderboards(run) {
        tile(&label, value, note);
    }
    tile("epochs", count(run.epochs.len()), of_asked);
    if let Some(RunSummary { training_images, validation_images, seconds, stages, average_best, .. }) = &run.summary {
        tile("images", count(*training_images), format!("for training, {} held out", count(*validation_images)));
        for stage in stages {
            if let Some(AverageSummary { epochs, dice: Some(dice) }) = &stage.swa {
                let note = format!("stage {}, mean of {}", visible(&stage.name), counted(*epochs, "epoch", "epochs"));
                tile("SWA Dice", num(*dice, 4), note);
            }
        }
        if let Some(AverageSummary { epochs, dice: Some(dice) }) = average_best {
            tile("Dice of averaged weights", num(*dice, 4), format!("mean of the {} best epochs", count(*epochs)));
        }
        let (value, unit) = if *seconds < 7200.0 { (seconds / 60.0, "minutes") } else { (seconds / 3600.0, "hours") };
        tile("time", num(value, 1), unit.into());
    }
    if let Some(rate) = run.images_per_second() {
        let waiting: Vec<f64> = run.epochs.iter().map(|e| e.waiting).collect();
        let waiting =
            crate::stats::summary(&waiting).map(|s| format!(", {} % waiting for data", num(100.0 * s.median, 0)));
        tile("images per second", num(rate, 1), format!("median epoch{}", waiting.unwrap_or_default()));
    }
    let memory = run.epochs.iter().filter_map(|e| e.memory_mb).reduce(f64::max);
    if let Some(memory) = memory {
        tile("memory", num(memory, 0), "MiB at most".into());
    }
    section.blocks.push(Content::Tiles(tiles));
    match &run.summary {
        None => section.absent(format!(
            "No summary.json: the run has not ended. It has done {}.",
            counted(run.epochs.len(), "epoch", "epochs")
        )),
        Some(summary) if summary.stopped_early => {
            section.text("The run was stopped early, because the validation Dice did not improve.");
        }
        Some(_) => {}
    }
    for stage in run.summary.iter().flat_map(|summary| &summary.stages).filter(|stage| stage.end == StageEnd::Until) {
        section.text(format!(
            "Stage {} ended after {}, because the scores of its `until` were reached.",
            visible(&stage.name),
            counted(stage.epochs, "epoch", "epochs")
        ));
    }
    if !holds_out {
        section.text("The run has no scores, because no image was held out.");
    }
    note_texts(run).into_iter().for_each(|text| section.text(text));
    for note in &study.notes {
        section.absent(visible(note));
    }
    section.number("name", run.name.as_str());
    section.number("held_out_dice", json!(run.held_out()));
    section.number("best", json!(run.best().map(|best| json!({"epoch": best.epoch, "dice": best.dice}))));
    section.number("leaderboard", json!(run.leaderboard()));
    section.number("gap", json!(run.leaderboard().gap(run.validation())));
    section.number("notes", json!(run.notes));
    section.number("epochs", run.epochs.len());
    section.number("epochs_asked", json!(asked));
    section.number("images_per_second", json!(run.images_per_second()));
    section.number("memory_mb", json!(memory));
    section
}

/// Label, score and gap of each leaderboard that has a score.
fn leaderboards(run: &Run) -> Vec<(String, String, String)> {
    let (score, gap) = (run.leaderboard(), run.leaderboard().gap(run.validation()));
    let both = [("public", score.public, gap.public), ("private", score.private, gap.private)];
    let known = both.into_iter().filter_map(|(name, score, gap)| Some((name, score?, gap)));
    let tile = |(name, score, gap): (&str, f64, Option<f64>)| {
        let note = gap.map_or_else(String::new, |gap| format!("validation minus leaderboard: {gap:+.4}"));
        (format!("{name} leaderboard"), num(score, 4), note)
    };
    known.map(tile).collect()
}

/// The texts of the run's notes with their dates.
fn note_texts(run: &Run) -> Vec<String> {
    let of = |note: &RunNote| {
        let date = note.time.split('T').next().unwrap_or_default();
        note.text.as_ref().map(|text| format!("Note of {date}: {}", visible(text)))
    };
    run.notes.iter().filter_map(of).collect()
}

/// Weight of a loss term, which is given alone or in a table of options.
fn loss_weight(value: &toml::Value) -> String {
    value.get("weight").unwrap_or(value).to_string()
}
