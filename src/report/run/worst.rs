use serde_json::json;

use super::RunStudy;
use crate::report::wording::{count, counted, num, visible};
use crate::report::{Content, Section, Shown};

/// Images with the lowest Dice, drawn.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("worst", "Worst images");
    let scores = &study.run.scores;
    if scores.is_empty() {
        section.absent("No per_image_dice.csv: the held-out images were not scored.");
        return section;
    }
    let mut sorted: Vec<_> = scores.iter().collect();
    sorted.sort_by(|a, b| a.mean().total_cmp(&b.mean()).then_with(|| a.image_id.cmp(&b.image_id)));
    if study.worst.is_empty() {
        section.absent("No picture could be drawn; the overview says why.");
    } else {
        section.text(
            "Red: predicted, not annotated. Blue: annotated, not predicted. Magenta: one class in place of another. \
             A faint outline is the annotation. Below each hand its lowest class enlarged.",
        );
        let shown = study.worst.iter().map(|worst| {
            let (bone, dice) = worst.score.worst();
            Shown {
                jpeg: worst.jpeg.clone(),
                title: visible(&worst.score.image_id),
                severity: String::new(),
                lines: vec![
                    format!("mean Dice {}, patient {}", num(worst.score.mean(), 4), visible(&worst.patient_id)),
                    format!("lowest: {bone}, Dice {}", num(dice, 4)),
                ],
            }
        });
        section.blocks.push(Content::Pictures(shown.collect()));
    }
    let listed = 20.min(sorted.len());
    section.table(
        format!(
            "{} of {}, lowest mean Dice first",
            count(listed),
            counted(sorted.len(), "held-out image", "held-out images")
        ),
        &["image", "mean Dice", "worst class", "its Dice", "classes below 0.9"],
        sorted[..listed]
            .iter()
            .map(|s| {
                let (bone, dice) = s.worst();
                let low = s.dice.iter().filter(|d| **d < 0.9).count();
                vec![visible(&s.image_id), num(s.mean(), 4), bone.name().into(), num(dice, 4), count(low)]
            })
            .collect(),
    );
    let numbers: Vec<_> = sorted[..listed].iter().map(|s| json!({"image_id": s.image_id, "dice": s.mean()})).collect();
    section.number("images", numbers);
    section
}
