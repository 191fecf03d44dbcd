use serde_json::json;

use super::RunStudy;
use crate::bones::Bone;
use crate::figures::style::okabe_ito::{BLUE, VERMILION};
use crate::figures::{Axis, Chart, Figure, Mark, Row, Rows};
use crate::report::Section;
use crate::report::wording::{count, counted, num};
use crate::scores::{ClassErrors, DISTANCES};

/// Which of [`DISTANCES`] bounds the rim.
const RIM: usize = 2;

/// Whether errors lie along the outlines or inside the bones.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("rim", "Rim against interior");
    let Some(errors) = &study.errors else {
        section.absent("Needs the predictions and the annotations of the held-out images.");
        return section;
    };
    let sum = |of: &dyn Fn(&ClassErrors) -> u64| errors.classes.iter().map(of).sum::<u64>();
    let (positives, negatives) = (sum(&|c| c.false_positive_px), sum(&|c| c.false_negative_px));
    let (missed, invented) = (
        errors.classes.iter().map(|c| c.missed).sum::<usize>(),
        errors.classes.iter().map(|c| c.invented).sum::<usize>(),
    );
    section.number("rim_px", DISTANCES[RIM]);
    section.number("false_positive_px", positives);
    section.number("false_negative_px", negatives);
    section.number("missed", missed);
    section.number("invented", invented);
    if positives + negatives == 0 {
        section.text("No pixel is wrong.");
        return section;
    }
    let rim = sum(&|c| c.positives_within[RIM] + c.negatives_within[RIM]);
    let share = 100.0 * rim as f64 / (positives + negatives) as f64;
    section.number("rim_share", share / 100.0);
    section.text(format!(
        "{} % of the wrong pixels lie within {} px of the annotated outline (at the images' own size): {} px predicted too \
         much and {} px too little an image in all. Missed altogether: {}; predicted where nothing is annotated: {}.",
        num(share, 1),
        DISTANCES[RIM],
        num(positives as f64 / errors.images as f64, 0),
        num(negatives as f64 / errors.images as f64, 0),
        bones(missed),
        bones(invented),
    ));
    section.meaning(if share >= 50.0 {
        "Most errors are a matter of the last pixels: resolution, a loss of the boundary or PointRend can lower them, \
         and so can a more even annotation."
    } else {
        "Most errors are whole parts of bones: look at the worst images and the confusion of neighbours before the rim."
    });
    let banded = |within: &dyn Fn(&ClassErrors) -> [u64; DISTANCES.len()], all: u64| -> Vec<u64> {
        let sums: Vec<u64> = (0..DISTANCES.len()).map(|i| sum(&|c| within(c)[i])).chain([all]).collect();
        (0..sums.len()).map(|i| sums[i] - if i == 0 { 0 } else { sums[i - 1] }).collect()
    };
    let (positive, negative) = (banded(&|c| c.positives_within, positives), banded(&|c| c.negatives_within, negatives));
    let percent = |px: u64| 100.0 * px as f64 / (positives + negatives) as f64;
    let names: Vec<String> = (0..=DISTANCES.len())
        .map(|i| match (i.checked_sub(1).map(|b| DISTANCES[b]), DISTANCES.get(i)) {
            (None, to) => format!("up to {} px", to.unwrap_or(&0)),
            (Some(from), Some(to)) => format!("{from} to {to} px"),
            (Some(from), None) => format!("more than {from} px"),
        })
        .collect();
    let bar = |name: &str, colour, px: u64| Mark::Bar { name: name.into(), colour, value: percent(px), interval: None };
    section.figure(Figure {
        name: "rim".into(),
        title: format!(
            "Wrong pixels by their distance to the annotated outline (n = {})",
            counted(errors.images, "image", "images")
        ),
        note: "Per cent of all wrong pixels. A bone predicted where none is annotated counts as far off.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero(
                "share of the wrong pixels (%)",
                positive.iter().chain(&negative).map(|px| percent(*px)),
            ),
            rows: (0..names.len())
                .map(|i| Row {
                    label: names[i].clone(),
                    marks: vec![
                        bar("predicted, not annotated", VERMILION, positive[i]),
                        bar("annotated, not predicted", BLUE, negative[i]),
                    ],
                    note: format!("{} % and {} %", num(percent(positive[i]), 1), num(percent(negative[i]), 1)),
                })
                .collect(),
            reference: None,
        })],
    });
    let mut classes: Vec<(Bone, &ClassErrors)> =
        Bone::all().map(|b| (b, &errors.classes[b.index()])).filter(|(_, c)| c.truth_px + c.predicted_px > 0).collect();
    let of_truth = |c: &ClassErrors, px: u64| 100.0 * px as f64 / c.truth_px.max(1) as f64;
    let interior =
        |c: &ClassErrors| c.false_positive_px - c.positives_within[RIM] + c.false_negative_px - c.negatives_within[RIM];
    classes.sort_by(|a, b| of_truth(b.1, interior(b.1)).total_cmp(&of_truth(a.1, interior(a.1))).then(a.0.cmp(&b.0)));
    section.table(
        format!(
            "Wrong pixels by class in per cent of its annotated pixels, most beyond {} px of the outline first",
            DISTANCES[RIM]
        ),
        &["class", "rim, too much", "rim, too little", "beyond, too much", "beyond, too little", "missed", "invented"],
        classes
            .iter()
            .map(|(bone, c)| {
                let of = |px: u64| num(of_truth(c, px), 2);
                vec![
                    bone.name().into(),
                    of(c.positives_within[RIM]),
                    of(c.negatives_within[RIM]),
                    of(c.false_positive_px - c.positives_within[RIM]),
                    of(c.false_negative_px - c.negatives_within[RIM]),
                    count(c.missed),
                    count(c.invented),
                ]
            })
            .collect(),
    );
    let band = |i: usize| json!({"band": names[i], "false_positive_px": positive[i], "false_negative_px": negative[i]});
    section.number("bands", (0..names.len()).map(band).collect::<Vec<_>>());
    let by_class: Vec<_> = classes.iter().map(|(bone, c)| json!({"class": bone.name(), "errors": c})).collect();
    section.number("classes", by_class);
    section
}

fn bones(n: usize) -> String {
    counted(n, "bone", "bones")
}
