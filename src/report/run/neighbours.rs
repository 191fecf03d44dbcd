use serde_json::json;

use super::RunStudy;
use crate::bones::{Bone, BoneGroup};
use crate::figures::style::NEUTRAL;
use crate::figures::style::okabe_ito::PURPLE;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Heatmap, HeatmapCell, Mark, Rows};
use crate::report::Section;
use crate::report::wording::{count, counted, num};
use crate::scores::Errors;

/// Number of pairs in the figure.
const PAIRS_IN_FIGURE: usize = 12;
/// Number of pairs in the table.
const PAIRS_IN_TABLE: usize = 40;

/// Pixels that are predicted as `predicted`, not annotated as `predicted`, and annotated as `truth`.
struct Pair {
    predicted: Bone,
    truth: Bone,
    px: u64,
    /// Share of the pixels predicted as `predicted`, per cent.
    share: f64,
}

/// Pixels predicted as one class and annotated as another, by pair of classes.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("neighbours", "Confusion between classes");
    let Some(errors) = &study.errors else {
        section.absent("This section needs the predictions and the annotations of the held-out images.");
        return section;
    };
    let mut pairs = pairs(errors);
    // By pixels, not by share: a large share of a class with few predicted pixels matters little.
    pairs.sort_by(|a, b| b.px.cmp(&a.px).then(a.predicted.cmp(&b.predicted)).then(a.truth.cmp(&b.truth)));
    let wrong: u64 = errors.classes.iter().map(|c| c.false_positive_px).sum();
    let confused: u64 = pairs.iter().map(|p| p.px).sum();
    let apart: u64 = pairs.iter().filter(|p| !are_neighbours(p)).map(|p| p.px).sum();
    section.number("false_positive_px", wrong);
    section.number("confused_px", confused);
    section.number("confused_with_no_neighbour_px", apart);
    section.number(
        "pairs",
        json!(pairs
            .iter()
            .map(|p| json!({"predicted": p.predicted.name(), "truth": p.truth.name(), "px": p.px, "share": p.share / 100.0}))
            .collect::<Vec<_>>()),
    );
    if pairs.is_empty() {
        section.text("No pixel is predicted as one class and annotated as another.");
        return section;
    }
    let share = |part: u64| num(100.0 * part as f64 / wrong as f64, 1);
    section.text(format!(
        "{} % of the false-positive pixels are annotated as another bone ({} px per image, summed over the 29 classes); {} are \
         annotated as a bone that is not a neighbour.",
        share(confused),
        num(confused as f64 / errors.images as f64, 0),
        match apart {
            0 => "none of these".to_owned(),
            all if all == confused => "all of these".to_owned(),
            most if share(most) == share(confused) => "almost all of these".to_owned(),
            some => format!("{} %", share(some)),
        },
    ));
    section.meaning(if 2 * apart > confused {
        "Most of this confusion is between bones that do not touch: fingers or rows of bones confused with one another, or \
         swapped labels. Look at the worst images."
    } else if 2 * confused > wrong {
        "Most false-positive pixels are on a neighbouring bone, at the common border."
    } else {
        "Most false-positive pixels are on no bone: see the errors by distance from the outline."
    });
    section.figure(largest_pairs(errors, &pairs));
    section.figure(wrist(errors, &pairs));
    section.table(
        format!("{} of {} pairs, most pixels first", count(PAIRS_IN_TABLE.min(pairs.len())), count(pairs.len())),
        &["predicted", "annotated", "neighbours", "share of the pixels predicted as this class (%)", "px per image"],
        pairs[..PAIRS_IN_TABLE.min(pairs.len())]
            .iter()
            .map(|p| {
                vec![
                    p.predicted.name().into(),
                    p.truth.name().into(),
                    if are_neighbours(p) { "yes" } else { "no" }.into(),
                    num(p.share, 2),
                    num(p.px as f64 / errors.images as f64, 1),
                ]
            })
            .collect(),
    );
    section
}

/// Figure of the pairs with the most pixels.
fn largest_pairs(errors: &Errors, pairs: &[Pair]) -> Figure {
    let per_image = |pair: &Pair| pair.px as f64 / errors.images as f64;
    let row = |p: &Pair| {
        let (name, colour) = if are_neighbours(p) { ("neighbours", PURPLE) } else { ("not neighbours", NEUTRAL) };
        CategoryRow {
            label: format!("{} on {}", p.predicted, p.truth),
            marks: vec![Mark::Bar { name: name.into(), colour, value: per_image(p), interval: None }],
            note: format!("{} %", num(p.share, 2)),
        }
    };
    Figure {
        name: "confused-pairs".into(),
        title: format!("Pixels predicted as one class and annotated as another (n = {})", counted(errors.images, "image", "images")),
        note: "“A on B”: pixels per image that are predicted as A, not annotated as A, and annotated as B; most pixels first. At \
               the right: share of the pixels predicted as A."
            .into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("pixels per image", pairs.iter().map(per_image)),
            rows: pairs.iter().take(PAIRS_IN_FIGURE).map(row).collect(),
            reference: None,
        })],
    }
}

fn pairs(errors: &Errors) -> Vec<Pair> {
    let all = Bone::all().flat_map(|a| Bone::all().map(move |b| (a, b)));
    all.map(|(predicted, truth)| {
        let px = errors.confused[predicted.index()][truth.index()];
        let of = errors.classes[predicted.index()].predicted_px.max(1);
        Pair { predicted, truth, px, share: 100.0 * px as f64 / of as f64 }
    })
    .filter(|p| p.px > 0)
    .collect()
}

fn are_neighbours(pair: &Pair) -> bool {
    pair.predicted.neighbours().contains(&pair.truth)
}

/// Figure of the confusion between the bones of the wrist, which has most of the neighbours.
fn wrist(errors: &Errors, pairs: &[Pair]) -> Figure {
    let bones: Vec<Bone> =
        Bone::all().filter(|b| matches!(b.group(), BoneGroup::Carpal | BoneGroup::Forearm)).collect();
    let share = |predicted: Bone, truth: Bone| {
        pairs.iter().find(|p| p.predicted == predicted && p.truth == truth).map_or(0.0, |p| p.share)
    };
    let full = bones.iter().flat_map(|a| bones.iter().map(|b| share(*a, *b))).fold(0.0, f64::max);
    let cell = |a: Bone, b: Bone| match share(a, b) {
        _ if a == b => HeatmapCell { text: String::new(), tint: 0.0 },
        0.0 => HeatmapCell { text: "–".into(), tint: 0.0 },
        share => HeatmapCell { text: num(share, if share < 1.0 { 2 } else { 1 }), tint: share },
    };
    Figure {
        name: "confused-wrist".into(),
        title: format!(
            "Wrist: predicted class (rows) by annotated class (columns), n = {}",
            counted(errors.images, "image", "images")
        ),
        note: "Per cent of the pixels predicted as the class of the row.".into(),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: bones.iter().map(|b| b.name().to_owned()).collect(),
            rows: bones.iter().map(|a| (a.name().to_owned(), bones.iter().map(|b| cell(*a, *b)).collect())).collect(),
            full: if full > 0.0 { full } else { 1.0 },
        })],
    }
}
