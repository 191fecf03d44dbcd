use serde_json::{Map, json};

use super::RunStudy;
use crate::bones::Bone;
use crate::figures::style::okabe_ito::BLUE;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::Section;
use crate::report::wording::{counted, num};
use crate::stats::{SampleSummary, summary};

/// Dice per class, lowest first.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("classes", "Dice per class");
    let (values, of): (Vec<(Bone, SampleSummary)>, String) = match &study.run.scores[..] {
        [] => (logged(study), "best epoch, mean over the validation images at the model's input size".into()),
        scores => {
            let of = |bone: Bone| summary(&scores.iter().map(|s| s.dice[bone.index()]).collect::<Vec<_>>());
            let values = Bone::all().filter_map(|bone| Some((bone, of(bone)?))).collect();
            (values, format!("n = {} at original size", counted(scores.len(), "held-out image", "held-out images")))
        }
    };
    if values.is_empty() {
        section.absent("No Dice per class: neither per_image_dice.csv nor the log (metrics.csv) has it.");
        return section;
    }
    let mut sorted = values;
    sorted.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean).then(a.0.cmp(&b.0)));
    let (lowest, highest) = (&sorted[0], &sorted[sorted.len() - 1]);
    let [low, high] = [lowest, highest].map(|(_, s)| num(s.mean, 4));
    section.text(if low == high {
        format!("The mean Dice of every class is {low}.")
    } else {
        format!("Mean Dice per class ranges from {low} ({}) to {high} ({}).", lowest.0, highest.0)
    });
    let single = study.run.scores.is_empty();
    let rows = sorted
        .iter()
        .map(|(bone, s)| {
            let mark = if single {
                Mark::Dot { name: String::new(), colour: BLUE, value: s.mean, interval: None }
            } else {
                Mark::Box { name: String::new(), colour: BLUE, summary: s.clone() }
            };
            CategoryRow { label: bone.name().into(), marks: vec![mark], note: num(s.mean, 4) }
        })
        .collect();
    section.figure(Figure {
        name: "dice-by-class".into(),
        title: format!("Dice per class, lowest mean first ({of})"),
        note: if single {
            "The mean is at the right.".into()
        } else {
            "Box: quartiles and median; whiskers: 5th to 95th percentile of the images; the mean is at the right."
                .into()
        },
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("Dice", sorted.iter().flat_map(|(_, s)| [s.q05, s.q95, s.mean])),
            rows,
            reference: None,
        })],
    });
    section.table(
        format!("Dice per class ({of})"),
        &["class", "mean", "sd", "5 %", "median", "lowest"],
        sorted
            .iter()
            .map(|(bone, s)| {
                let sd = s.sd.map_or_else(|| "–".into(), |sd| num(sd, 4));
                vec![bone.name().into(), num(s.mean, 4), sd, num(s.q05, 4), num(s.median, 4), num(s.min, 4)]
            })
            .collect(),
    );
    let means: Map<String, _> = sorted.iter().map(|(bone, s)| (bone.name().into(), json!(s.mean))).collect();
    section.number("mean", means);
    section
}

/// Dice per class in the best epoch of the log.
fn logged(study: &RunStudy<'_>) -> Vec<(Bone, SampleSummary)> {
    let best = study.run.best().and_then(|best| study.run.epochs.get(best.epoch.checked_sub(1)?));
    let of = |bone: Bone| summary(&[*best?.dice.get(bone.index())?]);
    Bone::all().filter_map(|bone| Some((bone, of(bone)?))).collect()
}
