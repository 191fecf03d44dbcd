use serde_json::json;

use super::RunStudy;
use crate::figures::style::okabe_ito::{BLUE, GREEN, SKY, VERMILION};
use crate::figures::style::{NEUTRAL, Rgb};
use crate::figures::{Chart, Figure, LineSeries, Lines, Marker};
use crate::report::Section;
use crate::report::wording::{count, counted, num, visible};
use crate::runs::BestEpoch;
use crate::tables::EpochRow;

/// A run has converged if there was no better epoch in this share of its epochs, and in at least this number of epochs.
const CONVERGED: (f64, usize) = (0.1, 10);

/// Loss, Dice and learning rate by epoch.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("curves", "Curves");
    let epochs = &study.run.epochs;
    if epochs.is_empty() {
        section.absent("metrics.csv has no epochs yet.");
        return section;
    }
    // The summary may name a best epoch that is not in the log.
    let best = study.run.best().filter(|best| (1..=epochs.len()).contains(&best.epoch));
    if let Some(BestEpoch { epoch, dice }) = best {
        let since = epochs.len() - epoch;
        let needed = CONVERGED.1.max((CONVERGED.0 * epochs.len() as f64).ceil() as usize);
        section.text(format!(
            "The best validation Dice is {}, in epoch {} of {}.",
            num(dice, 4),
            count(epoch),
            count(epochs.len())
        ));
        section.meaning(match since {
            0 => "The last epoch is the best: a longer run may improve the Dice.".to_owned(),
            n if n >= needed => format!(
                "There is no better epoch in the last {}: the run has converged, and more epochs with these settings are \
                 unlikely to improve the Dice.",
                count(n)
            ),
            n => format!(
                "The run continued for {} after the best one, too few to decide whether it has converged (at least {} are \
                 needed): a longer run may improve the Dice.",
                counted(n, "epoch", "epochs"),
                count(needed)
            ),
        });
    }
    // Each stage counts its epochs from 1; the axis counts over all stages.
    let series = |name: &str, colour: Rgb, of: &dyn Fn(&EpochRow) -> Option<f64>| {
        let points = epochs.iter().enumerate().map(|(i, e)| ((i + 1) as f64, of(e).unwrap_or(f64::NAN))).collect();
        LineSeries { name: name.into(), colour, points }
    };
    let changes = epochs.windows(2).enumerate().filter(|(_, pair)| pair[0].stage != pair[1].stage);
    let markers: Vec<Marker> = changes
        .map(|(i, pair)| Marker { name: format!("stage {} begins", visible(&pair[1].stage)), value: i as f64 + 1.5 })
        .collect();
    let chart = |title: &str, y_label: &str, series: Vec<LineSeries>| {
        let series: Vec<LineSeries> = series.into_iter().filter(|s| s.points.iter().any(|p| p.1.is_finite())).collect();
        let (x_label, markers) = ("epoch".into(), markers.clone());
        Chart::Lines(Lines { title: title.into(), x_label, y_label: y_label.into(), series, markers })
    };
    section.figure(Figure {
        name: "curves".into(),
        title: format!("Training by epoch (n = {})", count(epochs.len())),
        note: String::new(),
        columns: 2,
        charts: vec![
            chart(
                "Loss",
                "loss",
                vec![
                    series("training loss", BLUE, &|e| Some(e.train_loss)),
                    series("validation loss", VERMILION, &|e| e.valid_loss),
                ],
            ),
            chart(
                "Validation Dice at the model's input size",
                "Dice",
                vec![
                    series("Dice of the trained weights", SKY, &|e| e.valid_dice_raw),
                    series("Dice of the averaged weights, if any", GREEN, &|e| e.valid_dice),
                ],
            ),
            chart("Learning rate", "base learning rate", vec![series("", NEUTRAL, &|e| Some(e.lr))]),
            chart(
                "Training throughput",
                "images per second",
                vec![series("", NEUTRAL, &|e| Some(e.images_per_second))],
            ),
        ],
    });
    section.number("best_epoch", json!(best.map(|best| best.epoch)));
    section.number("epochs", json!(epochs.iter().map(without_classes).collect::<Vec<_>>()));
    section
}

fn without_classes(epoch: &EpochRow) -> serde_json::Value {
    json!({
        "stage": epoch.stage, "epoch": epoch.epoch, "step": epoch.step, "lr": epoch.lr,
        "train_loss": epoch.train_loss, "valid_loss": epoch.valid_loss, "valid_dice": epoch.valid_dice,
        "valid_dice_raw": epoch.valid_dice_raw, "images_per_second": epoch.images_per_second,
        "waiting": epoch.waiting, "memory_mb": epoch.memory_mb,
    })
}
