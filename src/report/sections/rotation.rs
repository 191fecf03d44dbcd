use std::collections::BTreeMap;

use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::dataset::{Side, Subset};
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, Marker, edges_for};
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{capital, count, counted, mean_sd, num, p_text, ratio, ratio_says, share, visible};
use crate::report::{Content, EvidencePictures, Section, Shown, Study};
use crate::stats::{Proportion, SampleSummary, TwoByTwo, clustered_ratios, kolmogorov_smirnov, summary, wilson};
use crate::tables::{count as rows, counts, filtered, is, numbers};

/// How far hands lean, and how many count as rotated, train against test. The scan decides which do.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("rotation", "Rotation of the hand");
    let threshold = study.tables.rotated_deg;
    section.number("threshold_deg", threshold);
    section.text(format!(
        "A hand's angle is that of the vector from the centroid of the Ulna to the centroid of finger-16 (the little finger's \
         distal phalanx) from vertical, positive to the right; {}.",
        match threshold {
            Some(at) => format!("from {} on, to either side, a hand counts as rotated", degrees(at)),
            None => "the tables mark rotated hands, and do not hold from how many degrees on (`carpus scan` writes it)".into(),
        }
    ));
    let mut leans = Vec::new();
    for subset in SUBSETS {
        let (all, hands) = (study.hands(subset)?.height(), measured(study, subset)?);
        if hands.height() < all {
            let hint = if hands.height() == 0 { " Scan with predictions to measure them." } else { "" };
            section.absent(format!(
                "{} without an angle: Ulna or finger-16 has no mask.{hint}",
                counted(all - hands.height(), &format!("{subset} image is"), &format!("{subset} images are")),
            ));
        }
        leans.extend(Leans::of(subset, hands, threshold)?);
    }
    if leans.is_empty() {
        return Ok(section);
    }
    for leans in &leans {
        section.number(leans.subset.name(), json!(leans));
        section.text(leans.sentence());
    }
    compare(&mut section, study)?;
    if let Some(pictures) = study.examples {
        section.blocks.push(Content::Pictures(examples(study, pictures)?));
    }
    section.figure(figure(&leans, threshold)?);
    section.table(
        "Hands with a measured angle; share with 95 % interval",
        &["subset", "n", "rotated", "share", "|angle| straight", "|angle| rotated"],
        leans.iter().map(Leans::row).collect(),
    );
    Ok(section)
}

/// The hands of a subset whose angle is measured.
fn measured(study: &Study<'_>, subset: Subset) -> PolarsResult<DataFrame> {
    filtered(&study.hands(subset)?, col("rotated").is_not_null())
}

/// What is counted and measured of a subset's hands.
#[derive(Serialize)]
struct Leans {
    #[serde(skip)]
    subset: Subset,
    #[serde(skip)]
    hands: DataFrame,
    rotated: Proportion,
    absolute_angle_deg: ByPose,
    signed_angle_deg_by_side: BTreeMap<&'static str, ByPose>,
    within_5_deg_of_threshold: Option<usize>,
}

/// Angles of straight and of rotated hands, degrees.
#[derive(Serialize)]
struct ByPose {
    straight: Option<SampleSummary>,
    rotated: Option<SampleSummary>,
}

impl ByPose {
    fn of(hands: &DataFrame, angle: Expr) -> PolarsResult<ByPose> {
        let of = |pose: Expr| numbers(hands, angle.clone().filter(pose));
        Ok(ByPose { straight: summary(&of(col("rotated").not())?), rotated: summary(&of(col("rotated"))?) })
    }
}

impl Leans {
    /// `None` for no hands.
    fn of(subset: Subset, hands: DataFrame, threshold: Option<f64>) -> PolarsResult<Option<Leans>> {
        let Some(rotated) = wilson(rows(&hands, col("rotated"))?, hands.height()) else { return Ok(None) };
        let angle = || col("angle_deg");
        let near = |at: f64| rows(&hands, (angle().abs() - lit(at)).abs().lt(lit(5.0)));
        let of_side = |side: Side| Ok((side.name(), ByPose::of(&filtered(&hands, is("side", side))?, angle())?));
        Ok(Some(Leans {
            rotated,
            absolute_angle_deg: ByPose::of(&hands, angle().abs())?,
            signed_angle_deg_by_side: Side::ALL.iter().map(|side| of_side(*side)).collect::<PolarsResult<_>>()?,
            within_5_deg_of_threshold: threshold.map(near).transpose()?,
            subset,
            hands,
        }))
    }

    /// Mean and standard deviation of the absolute angles, straight and rotated.
    fn angles(&self) -> [String; 2] {
        [&self.absolute_angle_deg.straight, &self.absolute_angle_deg.rotated]
            .map(|s| s.as_ref().map_or("–".to_owned(), |s| format!("{}°", mean_sd(s, 1))))
    }

    fn sentence(&self) -> String {
        let [straight, rotated] = self.angles();
        let near = self.within_5_deg_of_threshold.map_or(String::new(), |near| {
            format!("; {} within 5° of the threshold", counted(near, "hand lies", "hands lie"))
        });
        format!(
            "{}: {} of {} hands are rotated, {}. Absolute angle, mean ± sd: {straight} straight, {rotated} rotated{near}.",
            capital(self.subset.name()),
            count(self.rotated.count),
            count(self.rotated.n),
            share(&self.rotated),
        )
    }

    fn row(&self) -> Vec<String> {
        let [straight, rotated] = self.angles();
        let p = &self.rotated;
        vec![self.subset.to_string(), count(p.n), count(p.count), share(p), straight, rotated]
    }
}

fn degrees(value: f64) -> String {
    format!("{}°", num(value, if value.fract() == 0.0 { 0 } else { 1 }))
}

fn examples(study: &Study<'_>, pictures: &EvidencePictures) -> PolarsResult<Vec<Shown>> {
    let shown = study.example_images()?.into_iter().filter_map(|(what, image)| {
        let angle = image.angle_deg.map_or(String::new(), |a| format!("{}°", num(a, 1)));
        Some(Shown {
            jpeg: pictures.pictures.get(&image.path)?.clone(),
            title: format!("{}: {what}, {angle}", image.subset),
            severity: String::new(),
            lines: vec![visible(&image.path)],
        })
    });
    Ok(shown.collect())
}

/// How many hands of a subset are rotated, and how many straight.
pub(super) fn poses(study: &Study<'_>, subset: Subset) -> PolarsResult<[usize; 2]> {
    counts(&study.hands(subset)?, [col("rotated"), col("rotated").not()])
}

/// The counts of rotated and straight hands, test against train.
pub(super) fn two_by_two(study: &Study<'_>) -> PolarsResult<Option<TwoByTwo>> {
    let [with_base, without_base] = poses(study, Subset::Train)?;
    let [with, without] = poses(study, Subset::Test)?;
    let table = TwoByTwo { with, without, with_base, without_base };
    Ok(table.odds_ratio().map(|_| table))
}

fn compare(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let Some(table) = two_by_two(study)? else { return Ok(()) };
    let (Some(odds), Some(shares)) = (table.odds_ratio(), table.share_ratio()) else { return Ok(()) };
    let (test, train) = (measured(study, Subset::Test)?, measured(study, Subset::Train)?);
    let clustered = clustered_ratios(&observations(&test)?, &observations(&train)?);
    let angles = |hands| numbers(hands, col("angle_deg").abs());
    let shift = kolmogorov_smirnov(&angles(&test)?, &angles(&train)?);
    section.text(format!(
        "Rotated hands, test against train: odds ratio {}, share ratio {} (Fisher's exact test, {}){}.",
        ratio(&odds),
        ratio(&shares),
        p_text(table.fisher_p()),
        if odds.corrected { "; a cell is zero, so 0.5 was added to each" } else { "" },
    ));
    if let Some(c) = &clustered {
        section.text(format!(
            "The two hands of a patient are not independent. With that allowed for ({} and {} patients) the intervals are {} for the \
             odds ratio and {} for the share ratio.",
            count(c.clusters),
            count(c.clusters_base),
            crate::report::wording::interval(&c.odds_ratio.ci, 2),
            crate::report::wording::interval(&c.share_ratio.ci, 2),
        ));
    }
    let honest = clustered.map_or(odds.ci, |c| c.odds_ratio.ci);
    let advice = if honest.contains(1.0) {
        "no need to treat rotation apart".to_owned()
    } else {
        format!(
            "a share of {} times is not odds of {} times, so say which is meant; balance folds by rotation, and rotate in training",
            num(shares.value, 1),
            num(odds.value, 1)
        )
    };
    section.meaning(format!("{}: {advice}.", capital(ratio_says(&honest))));
    section.number(
        "test_against_train",
        json!({
            "counts": table, "odds_ratio": odds, "share_ratio": shares, "fisher_p": table.fisher_p(),
            "allowing_for_patients": clustered, "absolute_angle_kolmogorov_smirnov": shift,
        }),
    );
    Ok(())
}

/// The patient of each hand, and whether the hand is rotated.
fn observations(hands: &DataFrame) -> PolarsResult<Vec<(&str, bool)>> {
    let (patients, rotated) = (hands.column("patient_id")?.str()?, hands.column("rotated")?.bool()?);
    Ok(patients.iter().zip(rotated.iter()).filter_map(|(patient, rotated)| Some((patient?, rotated?))).collect())
}

fn figure(leans: &[Leans], threshold: Option<f64>) -> PolarsResult<Figure> {
    let chart = |title: &str, label: &str, angle: Expr, signs: &[f64]| -> PolarsResult<Chart> {
        let marker =
            |sign: &f64| threshold.map(|at| Marker { name: format!("threshold, {}", degrees(at)), value: sign * at });
        let mut series = Vec::new();
        for Leans { subset, hands, .. } in leans {
            let (name, colour) = (subset.to_string(), subset_colour(*subset));
            series.push(HistogramSeries { name, colour, values: numbers(hands, angle.clone())? });
        }
        let all: Vec<f64> = series.iter().flat_map(|s| s.values.iter().copied()).collect();
        Ok(Chart::Histogram(Histogram {
            title: title.into(),
            x_label: label.into(),
            y_label: "share of hands (%)".into(),
            edges: edges_for(&all, 40),
            series,
            markers: signs.iter().filter_map(marker).collect(),
        }))
    };
    let n: Vec<String> = leans.iter().map(|l| format!("{} {}", count(l.rotated.n), l.subset)).collect();
    Ok(Figure {
        name: "rotation".into(),
        title: format!("Angle of the hand from vertical (n = {})", n.join(", ")),
        note: "Each subset is counted by itself, so that its bars add up to 100 %.".into(),
        columns: 2,
        charts: vec![
            chart("Absolute angle", "|angle| (degrees)", col("angle_deg").abs(), &[1.0])?,
            chart("Signed angle, positive to the right", "angle (degrees)", col("angle_deg"), &[-1.0, 1.0])?,
        ],
    })
}
