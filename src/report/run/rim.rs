use serde_json::json;

use super::RunStudy;
use crate::bones::Bone;
use crate::figures::style::okabe_ito::{BLUE, VERMILION};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::Section;
use crate::report::wording::{count, counted, num};
use crate::scores::{ClassErrors, DISTANCES, Errors};

/// Index in [`DISTANCES`] of the largest distance that counts as near the outline (key `rim` in the numbers).
const RIM: usize = 2;

/// Wrong pixels by their distance from the annotated outline.
pub(super) fn section(study: &RunStudy<'_>) -> Section {
    let mut section = Section::new("rim", "Errors by distance from the outline");
    let Some(errors) = &study.errors else {
        section.absent("This section needs the predictions and the annotations of the held-out images.");
        return section;
    };
    let wrong = Wrong::of(errors);
    section.number("rim_px", DISTANCES[RIM]);
    section.number("false_positive_px", wrong.positives);
    section.number("false_negative_px", wrong.negatives);
    section.number("missed", wrong.missed);
    section.number("invented", wrong.invented);
    if wrong.all() == 0 {
        section.text("All pixels are correct.");
        return section;
    }
    let share = wrong.percent(wrong.rim);
    section.number("rim_share", share / 100.0);
    section.text(format!(
        "Per image, there are {} false-positive and {} false-negative pixels, summed over the 29 classes, at original size; {} \
         % of them are within {} px of the annotated outline. {} missed completely; {} predicted \
         but not annotated.",
        num(wrong.positives as f64 / errors.images as f64, 0),
        num(wrong.negatives as f64 / errors.images as f64, 0),
        num(share, 1),
        DISTANCES[RIM],
        counted(wrong.missed, "bone was", "bones were"),
        counted(wrong.invented, "bone was", "bones were"),
    ));
    section.meaning(if share >= 50.0 {
        "Most errors are within a few pixels of the outline. A higher resolution, a boundary loss, PointRend or more \
         consistent annotations can reduce them."
    } else {
        "Most errors are whole parts of bones: look at the worst images and the confusion between classes first."
    });
    section.figure(figure(&wrong, errors.images));
    let classes = classes(errors);
    section.table(
        format!(
            "Wrong pixels, as % of the annotated pixels of the class, near (up to {} px) and far from the outline; most far \
             errors first",
            DISTANCES[RIM]
        ),
        &[
            "class",
            "near, false positive",
            "near, false negative",
            "far, false positive",
            "far, false negative",
            "images: not predicted",
            "images: not annotated",
        ],
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
    /// False-positive pixels: predicted, not annotated.
    positives: u64,
    /// False-negative pixels: annotated, not predicted.
    negatives: u64,
    /// Wrong pixels near the outline.
    rim: u64,
    /// Bones that are annotated but not predicted at all.
    missed: usize,
    /// Bones that are predicted but not annotated at all.
    invented: usize,
    /// False positives and false negatives by distance from the outline, with the name of the distance.
    bands: Vec<(String, [u64; 2])>,
}

impl Wrong {
    fn of(errors: &Errors) -> Wrong {
        let sum = |of: &dyn Fn(&ClassErrors) -> u64| errors.classes.iter().map(of).sum::<u64>();
        let (positives, negatives) = (sum(&|c| c.false_positive_px), sum(&|c| c.false_negative_px));
        // Up to each distance, then all.
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
            marks: vec![bar("false positive", VERMILION, positive), bar("false negative", BLUE, negative)],
            note: format!("{} % and {} %", num(positive, 1), num(negative, 1)),
        }
    };
    let shares = wrong.bands.iter().flat_map(|(_, px)| px.map(|px| wrong.percent(px)));
    Figure {
        name: "rim".into(),
        title: format!(
            "Wrong pixels by distance from the annotated outline (n = {})",
            counted(images, "image", "images")
        ),
        note: "Per cent of all wrong pixels. A predicted bone that is not annotated counts as more than 16 px away."
            .into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("share of wrong pixels (%)", shares),
            rows: wrong.bands.iter().map(row).collect(),
            reference: None,
        })],
    }
}

/// Classes with pixels, those with the most errors far from the outline first.
fn classes(errors: &Errors) -> Vec<(Bone, &ClassErrors)> {
    let mut classes: Vec<(Bone, &ClassErrors)> =
        Bone::all().map(|b| (b, &errors.classes[b.index()])).filter(|(_, c)| c.truth_px + c.predicted_px > 0).collect();
    let far =
        |c: &ClassErrors| c.false_positive_px - c.positives_within[RIM] + c.false_negative_px - c.negatives_within[RIM];
    classes.sort_by(|a, b| of_truth(b.1, far(b.1)).total_cmp(&of_truth(a.1, far(a.1))).then(a.0.cmp(&b.0)));
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

/// `px` in per cent of the annotated pixels of the class.
fn of_truth(c: &ClassErrors, px: u64) -> f64 {
    100.0 * px as f64 / c.truth_px.max(1) as f64
}
