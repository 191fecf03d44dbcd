use serde_json::json;

use super::RunStudy;
use crate::figures::style::okabe_ito::{BLUE, GREEN, SKY, VERMILION};
use crate::figures::style::{NEUTRAL, Rgb};
use crate::figures::{Chart, Figure, LineSeries, Lines, Marker};
use crate::report::Section;
use crate::report::wording::{capital, count, counted, num, visible};
use crate::tables::EpochRow;

/// A run counts as settled after this share of its epochs without a better one, and at least so many.
const SETTLED: (f64, usize) = (0.1, 10);

/// Loss, Dice and rate over the epochs.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("curves", "Curves");
    let epochs = &study.run.epochs;
    if epochs.is_empty() {
        section.absent("No epoch is logged yet (metrics.csv).");
        return section;
    }
    // A logged best epoch beyond the log is none of these.
    let best = study.run.best().filter(|(epoch, _)| (1..=epochs.len()).contains(epoch));
    if let Some((epoch, dice)) = best {
        let since = epochs.len() - epoch;
        let needed = SETTLED.1.max((SETTLED.0 * epochs.len() as f64).ceil() as usize);
        section.text(format!(
            "The best validation Dice, {}, came in epoch {} of {}.",
            num(dice, 4),
            count(epoch),
            count(epochs.len())
        ));
        section.meaning(match since {
            0 => "The last epoch is the best: a longer run may get further.".to_owned(),
            n if n >= needed => format!(
                "No better epoch came in the last {}: the run has settled, and more epochs with these settings are \
                 unlikely to raise the Dice.",
                count(n)
            ),
            n => format!(
                "{} after the best one without a better one are too few to say whether the run has settled (at least {}): \
                 a longer run may get further.",
                capital(&counted(n, "epoch", "epochs")),
                count(needed)
            ),
        });
    }
    // Stages may count their epochs from 1 again; along the axis they run on.
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
        title: format!("The run by epoch (n = {})", count(epochs.len())),
        note: String::new(),
        columns: 2,
        charts: vec![
            chart(
                "Loss",
                "loss",
                vec![
                    series("training loss", BLUE, &|e| Some(e.train_loss)),
                    series("validation loss", VERMILION, &|e| Some(e.valid_loss)),
                ],
            ),
            chart(
                "Validation Dice at the model's size",
                "Dice",
                vec![
                    series("Dice of the weights as trained", SKY, &|e| e.valid_dice_raw),
                    series("Dice (averaged weights, where there are any)", GREEN, &|e| Some(e.valid_dice)),
                ],
            ),
            chart("Rate", "base rate", vec![series("", NEUTRAL, &|e| Some(e.lr))]),
            chart(
                "Throughput of training",
                "images a second",
                vec![series("", NEUTRAL, &|e| Some(e.images_per_second))],
            ),
        ],
    });
    section.number("best_epoch", json!(best.map(|b| b.0)));
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
