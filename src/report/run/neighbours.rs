use serde_json::json;

use super::RunStudy;
use crate::bones::{Bone, BoneGroup};
use crate::figures::style::NEUTRAL;
use crate::figures::style::okabe_ito::PURPLE;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Heatmap, HeatmapCell, Mark, Rows};
use crate::report::Section;
use crate::report::wording::{count, counted, num};
use crate::scores::Errors;

/// Pairs shown in the figure; in the table.
const SHOWN: usize = 12;
const LISTED: usize = 40;

/// Pixels predicted as `predicted` that are not annotated as such and are annotated as `truth`.
struct Pair {
    predicted: Bone,
    truth: Bone,
    px: u64,
    /// Of the pixels predicted as `predicted`, per cent.
    share: f64,
}

/// Which class is predicted where another is annotated.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("neighbours", "Confusion of neighbours");
    let Some(errors) = &study.errors else {
        section.absent("Needs the predictions and the annotations of the held-out images.");
        return section;
    };
    let mut pairs = pairs(errors);
    // By pixels: a large share of a class that is hardly predicted is of little weight.
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
        section.text("No pixel is predicted as one class where another is annotated.");
        return section;
    }
    let share = |part: u64| num(100.0 * part as f64 / wrong as f64, 1);
    section.text(format!(
        "{} % of the pixels predicted wrongly ({} px an image) lie on another bone; {} % lie on one that is no neighbour.",
        share(confused),
        num(confused as f64 / errors.images as f64, 0),
        share(apart),
    ));
    section.meaning(if 2 * apart > confused {
        "Most of it is between bones that do not touch: a finger or a row of bones taken for another, or swapped labels. \
         Look at the worst images."
    } else if 2 * confused > wrong {
        "Most wrong pixels are disputes between neighbours over their common border."
    } else {
        "Most wrong pixels lie on no bone: the rim tells more than the neighbours."
    });
    section.figure(most(errors, &pairs));
    section.figure(wrist(errors, &pairs));
    section.table(
        format!("{} of {} pairs, most pixels first", count(LISTED.min(pairs.len())), count(pairs.len())),
        &["predicted", "on the annotation of", "neighbours", "% of the predicted", "px an image"],
        pairs[..LISTED.min(pairs.len())]
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

/// The pairs with most pixels.
fn most(errors: &Errors, pairs: &[Pair]) -> Figure {
    let per_image = |pair: &Pair| pair.px as f64 / errors.images as f64;
    let row = |p: &Pair| {
        let (name, colour) = if are_neighbours(p) { ("neighbours", PURPLE) } else { ("no neighbours", NEUTRAL) };
        CategoryRow {
            label: format!("{} on {}", p.predicted, p.truth),
            marks: vec![Mark::Bar { name: name.into(), colour, value: per_image(p), interval: None }],
            note: format!("{} %", num(p.share, 2)),
        }
    };
    Figure {
        name: "confused-pairs".into(),
        title: format!("Predicted class on another's annotation (n = {})", counted(errors.images, "image", "images")),
        note: "Pixels per image that are predicted as a class, not annotated as it and annotated as the other; most pixels \
               first. At the right: their share of the pixels predicted as the class."
            .into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("pixels per image", pairs.iter().map(per_image)),
            rows: pairs.iter().take(SHOWN).map(row).collect(),
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

/// The bones of the wrist against each other, where nearly all neighbours are.
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
            "The wrist: predicted (rows) on the annotation of (columns), n = {}",
            counted(errors.images, "image", "images")
        ),
        note: "Per cent of the row's predicted pixels.".into(),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: bones.iter().map(|b| b.name().to_owned()).collect(),
            rows: bones.iter().map(|a| (a.name().to_owned(), bones.iter().map(|b| cell(*a, *b)).collect())).collect(),
            full: if full > 0.0 { full } else { 1.0 },
        })],
    }
}
