use serde_json::json;

use super::RunStudy;
use crate::bones::Bone;
use crate::figures::style::okabe_ito::{BLUE, VERMILION};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::Section;
use crate::report::wording::{count, counted, num};
use crate::scores::{ClassErrors, DISTANCES, Errors};

/// Which of [`DISTANCES`] bounds the rim.
const RIM: usize = 2;

/// Whether errors lie along the outlines or inside the bones.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("rim", "Rim against interior");
    let Some(errors) = &study.errors else {
        section.absent("Needs the predictions and the annotations of the held-out images.");
        return section;
    };
    let wrong = Wrong::of(errors);
    section.number("rim_px", DISTANCES[RIM]);
    section.number("false_positive_px", wrong.positives);
    section.number("false_negative_px", wrong.negatives);
    section.number("missed", wrong.missed);
    section.number("invented", wrong.invented);
    if wrong.all() == 0 {
        section.text("No pixel is wrong.");
        return section;
    }
    let share = wrong.percent(wrong.rim);
    section.number("rim_share", share / 100.0);
    section.text(format!(
        "{} % of the wrong pixels lie within {} px of the annotated outline (at the images' own size): {} px predicted too \
         much and {} px too little an image in all. Missed altogether: {}; predicted where nothing is annotated: {}.",
        num(share, 1),
        DISTANCES[RIM],
        num(wrong.positives as f64 / errors.images as f64, 0),
        num(wrong.negatives as f64 / errors.images as f64, 0),
        bones(wrong.missed),
        bones(wrong.invented),
    ));
    section.meaning(if share >= 50.0 {
        "Most errors are a matter of the last pixels: resolution, a loss of the boundary or PointRend can lower them, \
         and so can a more even annotation."
    } else {
        "Most errors are whole parts of bones: look at the worst images and the confusion of neighbours before the rim."
    });
    section.figure(figure(&wrong, errors.images));
    let classes = classes(errors);
    section.table(
        format!(
            "Wrong pixels by class in per cent of its annotated pixels, most beyond {} px of the outline first",
            DISTANCES[RIM]
        ),
        &["class", "rim, too much", "rim, too little", "beyond, too much", "beyond, too little", "missed", "invented"],
        classes.iter().map(row).collect(),
    );
    let band = |(name, [positive, negative]): &(String, [u64; 2])| json!({"band": name, "false_positive_px": positive, "false_negative_px": negative});
    section.number("bands", wrong.bands.iter().map(band).collect::<Vec<_>>());
    let by_class: Vec<_> = classes.iter().map(|(bone, c)| json!({"class": bone.name(), "errors": c})).collect();
    section.number("classes", by_class);
    section
}

/// Wrong pixels of all classes.
struct Wrong {
    /// Predicted and not annotated.
    positives: u64,
    /// Annotated and not predicted.
    negatives: u64,
    /// Either, within the rim.
    rim: u64,
    /// Bones.
    missed: usize,
    /// Bones.
    invented: usize,
    /// Positives and negatives by their distance to the outline, and how that is called.
    bands: Vec<(String, [u64; 2])>,
}

impl Wrong {
    fn of(errors: &Errors) -> Wrong {
        let sum = |of: &dyn Fn(&ClassErrors) -> u64| errors.classes.iter().map(of).sum::<u64>();
        let (positives, negatives) = (sum(&|c| c.false_positive_px), sum(&|c| c.false_negative_px));
        // Up to each distance, and in all.
        let within: Vec<[u64; 2]> = (0..DISTANCES.len())
            .map(|i| [sum(&|c| c.positives_within[i]), sum(&|c| c.negatives_within[i])])
            .chain([[positives, negatives]])
            .collect();
        let bands = (0..within.len()).map(|i| {
            let before = i.checked_sub(1);
            let name = match (before.map(|b| DISTANCES[b]), DISTANCES.get(i)) {
                (None, to) => format!("up to {} px", to.unwrap_or(&0)),
                (Some(from), Some(to)) => format!("{from} to {to} px"),
                (Some(from), None) => format!("more than {from} px"),
            };
            (name, [0, 1].map(|k| within[i][k] - before.map_or(0, |b| within[b][k])))
        });
        Wrong {
            positives,
            negatives,
            rim: within[RIM].iter().sum(),
            missed: errors.classes.iter().map(|c| c.missed).sum(),
            invented: errors.classes.iter().map(|c| c.invented).sum(),
            bands: bands.collect(),
        }
    }

    fn all(&self) -> u64 {
        self.positives + self.negatives
    }

    /// Per cent of all wrong pixels.
    fn percent(&self, px: u64) -> f64 {
        100.0 * px as f64 / self.all() as f64
    }
}

fn figure(wrong: &Wrong, images: usize) -> Figure {
    let bar = |name: &str, colour, value: f64| Mark::Bar { name: name.into(), colour, value, interval: None };
    let row = |(name, px): &(String, [u64; 2])| {
        let [positive, negative] = px.map(|px| wrong.percent(px));
        CategoryRow {
            label: name.clone(),
            marks: vec![
                bar("predicted, not annotated", VERMILION, positive),
                bar("annotated, not predicted", BLUE, negative),
            ],
            note: format!("{} % and {} %", num(positive, 1), num(negative, 1)),
        }
    };
    let shares = wrong.bands.iter().flat_map(|(_, px)| px.map(|px| wrong.percent(px)));
    Figure {
        name: "rim".into(),
        title: format!(
            "Wrong pixels by their distance to the annotated outline (n = {})",
            counted(images, "image", "images")
        ),
        note: "Per cent of all wrong pixels. A bone predicted where none is annotated counts as far off.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("share of the wrong pixels (%)", shares),
            rows: wrong.bands.iter().map(row).collect(),
            reference: None,
        })],
    }
}

/// The classes with a pixel, those with most errors beyond the rim first.
fn classes(errors: &Errors) -> Vec<(Bone, &ClassErrors)> {
    let mut classes: Vec<(Bone, &ClassErrors)> =
        Bone::all().map(|b| (b, &errors.classes[b.index()])).filter(|(_, c)| c.truth_px + c.predicted_px > 0).collect();
    let interior =
        |c: &ClassErrors| c.false_positive_px - c.positives_within[RIM] + c.false_negative_px - c.negatives_within[RIM];
    classes.sort_by(|a, b| of_truth(b.1, interior(b.1)).total_cmp(&of_truth(a.1, interior(a.1))).then(a.0.cmp(&b.0)));
    classes
}

fn row((bone, c): &(Bone, &ClassErrors)) -> Vec<String> {
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
}

/// Per cent of the class's annotated pixels.
fn of_truth(c: &ClassErrors, px: u64) -> f64 {
    100.0 * px as f64 / c.truth_px.max(1) as f64
}

fn bones(n: usize) -> String {
    counted(n, "bone", "bones")
}
