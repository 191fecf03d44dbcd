use serde_json::json;

use super::RunStudy;
use crate::report::wording::{count, counted, num, visible};
use crate::report::{CaptionedPicture, Content, Section};
use crate::scores::ClassDice;

/// Images with the lowest Dice, with pictures.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("worst", "Worst images");
    let scores = &study.run.scores;
    if scores.is_empty() {
        section.absent(if study.run.scores_unusable {
            "per_image_dice.csv cannot be used; see the warning in the overview."
        } else {
            "No per_image_dice.csv: the held-out images were not scored."
        });
        return section;
    }
    let mut sorted: Vec<_> = scores.iter().collect();
    sorted.sort_by(|a, b| a.mean().total_cmp(&b.mean()).then_with(|| a.image_id.cmp(&b.image_id)));
    if study.worst.is_empty() {
        section.absent("No picture could be drawn; see the warning in the overview.");
    } else {
        section.text(
            "Red: false positive (predicted, not annotated). Blue: false negative (annotated, not predicted). Magenta: predicted \
             as another class. Faint outline: annotation. Below each hand: the class with the lowest Dice, enlarged.",
        );
        let pictures = study.worst.iter().map(|worst| {
            let ClassDice { bone, dice } = worst.score.worst();
            CaptionedPicture {
                jpeg: worst.jpeg.clone(),
                title: visible(&worst.score.image_id),
                severity: String::new(),
                lines: vec![
                    format!("mean Dice {}, patient {}", num(worst.score.mean(), 4), visible(&worst.patient_id)),
                    format!("class with lowest Dice: {bone}, {}", num(dice, 4)),
                ],
            }
        });
        section.blocks.push(Content::Pictures(pictures.collect()));
    }
    let listed = 20.min(sorted.len());
    section.table(
        format!(
            "{} of {}, lowest mean Dice first",
            count(listed),
            counted(sorted.len(), "held-out image", "held-out images")
        ),
        &["image", "mean Dice", "class with lowest Dice", "its Dice", "classes below 0.9"],
        sorted[..listed]
            .iter()
            .map(|s| {
                let ClassDice { bone, dice } = s.worst();
                let low = s.dice.iter().filter(|d| **d < 0.9).count();
                vec![visible(&s.image_id), num(s.mean(), 4), bone.name().into(), num(dice, 4), count(low)]
            })
            .collect(),
    );
    let numbers: Vec<_> = sorted[..listed].iter().map(|s| json!({"image_id": s.image_id, "dice": s.mean()})).collect();
    section.number("images", numbers);
    section
}
