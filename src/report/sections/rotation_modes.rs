use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::dataset::{MaskSource, Side, Subset};
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, Marker, Scatter, ScatterSeries, edges_for};
use crate::report::modes::{Modes, ModesError, cohen_kappa, modes};
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{correlation, count, counted, mean_sd, num, share};
use crate::report::{Section, Study};
use crate::stats::{Correlation, SampleSummary, pearson, robust, summary, wilson};
use crate::tables::{filtered, is, numbers, values};

/// Depth of the valley below which the data separate two groups clearly.
const CLEAR: f64 = 0.5;
/// Smallest number of annotated hands of a side for the estimate's offset.
const MIN_HANDS: usize = 5;

/// The threshold that the angles themselves suggest, the agreement of a patient's hands, angles of annotations and of
/// predictions, and an estimate from the image alone.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("rotation_threshold", "Threshold of rotation, and estimates");
    let measured = filtered(&study.hands, col("angle_deg").is_not_null())?;
    if measured.height() == 0 {
        section.absent("No hand has a measured angle, so a threshold cannot be found.");
    } else {
        threshold(&mut section, study, &measured)?;
        agreement(&mut section, &measured)?;
        sources(&mut section, study)?;
    }
    estimate(&mut section, study, &measured)?;
    Ok(section)
}

/// The valley between the modes of the absolute angles.
fn threshold(section: &mut Section, study: &Study<'_>, measured: &DataFrame) -> PolarsResult<()> {
    let used = study.tables.rotated_deg;
    let mut samples = vec![("all".to_owned(), numbers(measured, col("angle_deg").abs())?)];
    for subset in SUBSETS {
        samples
            .push((subset.to_string(), numbers(&filtered(measured, is("subset", subset))?, col("angle_deg").abs())?));
    }
    let found: Vec<(String, usize, Result<Modes, ModesError>)> =
        samples.into_iter().map(|(name, angles)| (name, angles.len(), modes(&angles))).collect();
    if let Ok(all) = &found[0].2 {
        let is_clear = if all.depth < CLEAR { "clearly separate" } else { "overlapping" };
        section.text(format!(
            "The absolute angles have two {is_clear} modes, at {}° and {}°. The valley between them, a threshold found from the \
             data alone, is at {}°: the density there is {} of that at the lower mode (Ashman's D {}; above 2 means clearly \
             separate groups).{}",
            num(all.modes[0], 1),
            num(all.modes[1], 1),
            num(all.valley, 1),
            num(all.depth, 3),
            all.ashman_d.map_or("–".to_owned(), |d| num(d, 1)),
            between(measured, used, all.valley)?,
        ));
    } else if let Err(error) = &found[0].2 {
        section.absent(format!("No threshold can be found from the angles: {error}."));
    }
    let number = |result: &Result<Modes, ModesError>| match result {
        Ok(modes) => json!(modes),
        Err(error) => json!({"undefined": error.to_string()}),
    };
    for (name, n, result) in &found {
        section.number(name, json!({"n": n, "modes": number(result)}));
    }
    section.number("threshold_of_the_scan_deg", used);
    section.figure(modes_figure(measured, used, found[0].2.as_ref().ok())?);
    let rows = found
        .iter()
        .map(|(name, n, result)| {
            let mut row = vec![name.clone(), count(*n)];
            row.extend(match result {
                Ok(m) => vec![
                    num(m.modes[0], 1),
                    num(m.modes[1], 1),
                    num(m.valley, 1),
                    num(m.depth, 3),
                    m.ashman_d.map_or("–".to_owned(), |d| num(d, 1)),
                    num(m.bandwidth, 2),
                ],
                Err(error) => {
                    vec![error.to_string(), String::new(), String::new(), String::new(), String::new(), String::new()]
                }
            });
            row
        })
        .collect();
    section.table(
        "Modes of the absolute angle in degrees (Gaussian kernel density, bandwidth by Silverman's rule)",
        &["hands", "n", "lower mode", "upper mode", "valley", "depth", "Ashman's D", "bandwidth"],
        rows,
    );
    Ok(())
}

/// How many hands the threshold of the scan and the valley count differently.
fn between(measured: &DataFrame, used: Option<f64>, valley: f64) -> PolarsResult<String> {
    let Some(used) = used else { return Ok(String::new()) };
    let (low, high) = (used.min(valley), used.max(valley));
    let angles = numbers(measured, col("angle_deg").abs())?;
    let n = angles.iter().filter(|angle| (low..high).contains(*angle)).count();
    Ok(format!(
        " The scan used {}°; {} between the two.",
        num(used, 1),
        if n == 0 { "no hand is".to_owned() } else { counted(n, "hand is", "hands are") }
    ))
}

fn modes_figure(measured: &DataFrame, used: Option<f64>, found: Option<&Modes>) -> PolarsResult<Figure> {
    let mut series = Vec::new();
    for subset in SUBSETS {
        let values = numbers(&filtered(measured, is("subset", subset))?, col("angle_deg").abs())?;
        if !values.is_empty() {
            series.push(HistogramSeries { name: subset.to_string(), colour: subset_colour(subset), values });
        }
    }
    let all: Vec<f64> = series.iter().flat_map(|s| s.values.iter().copied()).collect();
    let valley = found.map(|m| Marker { name: format!("valley, {}°", num(m.valley, 1)), value: m.valley });
    let used = used.map(|at| Marker { name: format!("threshold of the scan, {}°", num(at, 1)), value: at });
    Ok(Figure {
        name: "rotation-threshold".into(),
        title: format!("Absolute angle and the valley between its modes (n = {})", counted(all.len(), "hand", "hands")),
        note: "The bars of each subset add up to 100 %.".into(),
        columns: 1,
        charts: vec![Chart::Histogram(Histogram {
            title: String::new(),
            x_label: "|angle| (degrees)".into(),
            y_label: "share of hands (%)".into(),
            edges: edges_for(&all, 50),
            series,
            markers: valley.into_iter().chain(used).collect(),
        })],
    })
}

/// A patient's two hands.
#[derive(Serialize)]
struct Agreement {
    patients: usize,
    both_rotated: usize,
    left_only: usize,
    right_only: usize,
    neither: usize,
    kappa: Option<f64>,
    correlation: Option<Correlation>,
    /// |left| − |right|, degrees.
    difference_deg: Option<SampleSummary>,
}

/// Whether a patient's two hands are rotated alike.
fn agreement(section: &mut Section, measured: &DataFrame) -> PolarsResult<()> {
    let hand = |side: Side| {
        let name = side.name();
        let columns = [
            col("patient_id"),
            col("subset").cast(DataType::String).alias(format!("subset_{name}")),
            col("angle_deg").abs().alias(format!("angle_{name}")),
            col("rotated").alias(format!("rotated_{name}")),
        ];
        let one = measured.clone().lazy().filter(is("side", side)).select(columns);
        one.unique_stable_generic(Some(vec![col("patient_id")]), UniqueKeepStrategy::First)
    };
    let key = [col("patient_id")];
    let pairs = hand(Side::L).join(hand(Side::R), &key, &key, JoinArgs::new(JoinType::Inner));
    let pairs = pairs.sort(["patient_id"], SortMultipleOptions::default()).collect()?;
    if pairs.height() == 0 {
        section.absent("No patient has a measured angle of both hands.");
        return Ok(());
    }
    let (left, right) = (values(&pairs, col("angle_L"))?, values(&pairs, col("angle_R"))?);
    let (l, r) = (|| col("rotated_L"), || col("rotated_R"));
    let [both_rotated, left_only, right_only, neither] = crate::tables::counts(
        &pairs,
        [l().and(r()), l().and(r().not()), l().not().and(r()), l().not().and(r().not())],
    )?;
    let difference: Vec<f64> = left.iter().zip(&right).filter_map(|(l, r)| Some(l.as_ref()? - r.as_ref()?)).collect();
    let found = Agreement {
        patients: pairs.height(),
        both_rotated,
        left_only,
        right_only,
        neither,
        kappa: cohen_kappa(both_rotated, left_only, right_only, neither),
        correlation: pearson(&left, &right).ok(),
        difference_deg: summary(&difference),
    };
    section.text(format!(
        "Two hands of {}: both rotated in {}, neither in {}, only one in {} (left {}, right {}); Cohen's kappa {}. Correlation of \
         the absolute angles: {}; left minus right {}°.",
        counted(found.patients, "patient", "patients"),
        count(both_rotated),
        count(neither),
        count(left_only + right_only),
        count(left_only),
        count(right_only),
        found.kappa.map_or("undefined (all hands are alike)".to_owned(), |k| num(k, 2)),
        found.correlation.as_ref().map_or("undefined (no variation)".to_owned(), correlation),
        found.difference_deg.as_ref().map_or("–".to_owned(), |s| mean_sd(s, 1)),
    ));
    if found.kappa.is_some_and(|kappa| kappa > 0.6) {
        section.meaning(
            "A patient's hands are mostly rotated alike, so two hands carry little more information than one: intervals and \
             permutations go by patient.",
        );
    }
    section.number("two_hands", json!(found));
    let points = |subset: Subset| -> PolarsResult<ScatterSeries> {
        let of_subset = filtered(&pairs, col("subset_L").eq(lit(subset.name())))?;
        let (x, y) = (values(&of_subset, col("angle_L"))?, values(&of_subset, col("angle_R"))?);
        let points = x.into_iter().zip(y).filter_map(|(x, y)| Some((x?, y?))).collect();
        Ok(ScatterSeries { name: subset.to_string(), colour: subset_colour(subset), points })
    };
    let series = SUBSETS.map(points).into_iter().collect::<PolarsResult<Vec<_>>>()?;
    section.figure(Figure {
        name: "rotation-two-hands".into(),
        title: format!(
            "Absolute angles of a patient's two hands (n = {})",
            counted(pairs.height(), "patient", "patients")
        ),
        note: String::new(),
        columns: 1,
        charts: vec![Chart::Scatter(Scatter {
            title: String::new(),
            x_label: "|angle| of the left hand (degrees)".into(),
            y_label: "|angle| of the right hand (degrees)".into(),
            series: series.into_iter().filter(|s| !s.points.is_empty()).collect(),
            fit: None,
        })],
    });
    Ok(())
}

/// Angles of annotated and of predicted hands apart.
fn sources(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let (mut rows, mut numbers_of) = (Vec::new(), Vec::new());
    for subset in SUBSETS {
        for source in [MaskSource::Annotation, MaskSource::Prediction] {
            let hands = filtered(&study.hands(subset)?, is("mask_source", source))?;
            let angles = numbers(&hands, col("angle_deg").abs())?;
            let [rotated] = crate::tables::counts(&hands, [col("rotated")])?;
            let Some(found) = summary(&angles) else { continue };
            let p = wilson(rotated, angles.len());
            rows.push(vec![
                subset.to_string(),
                source.name().to_owned(),
                count(hands.height()),
                count(angles.len()),
                count(rotated),
                p.as_ref().map_or("–".to_owned(), share),
                mean_sd(&found, 1),
            ]);
            numbers_of.push(json!({
                "subset": subset.name(), "source": source.name(), "images": hands.height(), "rotated": p,
                "absolute_angle_deg": found,
            }));
        }
    }
    section.number("by_source", json!(numbers_of));
    section.table(
        "Angles by the source of the masks",
        &["subset", "masks", "images", "with angle", "rotated", "share", "|angle| (degrees)"],
        rows,
    );
    Ok(())
}

/// The difference of annotated angles and the image's axis for one side.
#[derive(Serialize)]
struct Offset {
    side: Side,
    n: usize,
    /// Median of annotated angle minus axis of the image, degrees.
    offset_deg: f64,
    /// Mean absolute error of the estimate, degrees.
    mean_absolute_error_deg: f64,
    /// Median absolute error, degrees.
    median_absolute_error_deg: f64,
    /// Hands that angle and estimate put on the same side of the threshold.
    same_class: Option<usize>,
    correlation: Option<Correlation>,
}

/// An estimate of the angle from the long axis of hand and forearm in the image, and its error against measured angles.
fn estimate(section: &mut Section, study: &Study<'_>, measured: &DataFrame) -> PolarsResult<()> {
    let without = filtered(&study.hands, col("angle_deg").is_null().and(col("image_angle_deg").is_not_null()))?;
    let both = filtered(measured, col("image_angle_deg").is_not_null().and(is("mask_source", MaskSource::Annotation)))?;
    if both.height() == 0 {
        section.absent(
            "There is no image with both an annotated angle and a visible long axis, so the error of the estimate from images \
             alone is unknown, and no estimate is given.",
        );
        return Ok(());
    }
    let mut offsets = Vec::new();
    let mut errors = Vec::new();
    for side in Side::ALL.iter().copied() {
        let hands = filtered(&both, is("side", side))?;
        let (angle, axis) = (values(&hands, col("angle_deg"))?, values(&hands, col("image_angle_deg"))?);
        let pairs: Vec<(f64, f64)> = angle.iter().zip(&axis).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
        let differences: Vec<f64> = pairs.iter().map(|(angle, axis)| turn(angle - axis)).collect();
        let Some(offset) = robust::median(differences.iter().copied()).filter(|_| pairs.len() >= MIN_HANDS) else {
            continue;
        };
        let absolute: Vec<f64> = differences.iter().map(|d| turn(d - offset).abs()).collect();
        errors.extend(absolute.iter().copied());
        let same = |at: f64| {
            let is_same = |(angle, axis): &&(f64, f64)| (angle.abs() >= at) == (turn(axis + offset).abs() >= at);
            pairs.iter().filter(is_same).count()
        };
        offsets.push(Offset {
            side,
            n: pairs.len(),
            offset_deg: offset,
            mean_absolute_error_deg: absolute.iter().sum::<f64>() / absolute.len() as f64,
            median_absolute_error_deg: robust::median(absolute).unwrap_or_default(),
            same_class: study.tables.rotated_deg.map(same),
            correlation: pearson(&angle, &axis).ok(),
        });
    }
    if offsets.is_empty() {
        section.absent(format!(
            "Fewer than {MIN_HANDS} annotated hands per side: no estimate from images alone is given."
        ));
        return Ok(());
    }
    describe(section, &offsets, &errors);
    estimated(section, study, &without, &offsets)
}

/// An angle in degrees, in (-90, 90]: axes have no direction.
fn turn(degrees: f64) -> f64 {
    let turned = degrees.rem_euclid(180.0);
    if turned > 90.0 { turned - 180.0 } else { turned }
}

fn describe(section: &mut Section, offsets: &[Offset], errors: &[f64]) {
    let n = errors.len();
    let mean = errors.iter().sum::<f64>() / n.max(1) as f64;
    let same: Option<usize> = offsets.iter().map(|o| o.same_class).sum();
    section.text(format!(
        "Estimate from the image alone: the long axis of the bright region (hand and forearm), plus the median difference from \
         annotated angles of the same side. On {} with an annotation its mean absolute error is {}°{}.",
        counted(n, "image", "images"),
        num(mean, 1),
        same.map_or(String::new(), |same| format!(
            "; it puts {} of them ({} %) on the same side of the threshold as the annotation",
            count(same),
            num(100.0 * same as f64 / n.max(1) as f64, 1)
        )),
    ));
    section.number("estimate_from_images", json!({"n": n, "mean_absolute_error_deg": mean, "by_side": offsets}));
    section.table(
        "Error of the estimate from images, by side",
        &["side", "n", "offset (degrees)", "mean absolute error", "median absolute error", "same class", "correlation"],
        offsets
            .iter()
            .map(|o| {
                vec![
                    o.side.to_string(),
                    count(o.n),
                    num(o.offset_deg, 1),
                    num(o.mean_absolute_error_deg, 1),
                    num(o.median_absolute_error_deg, 1),
                    o.same_class.map_or("–".to_owned(), count),
                    o.correlation.as_ref().map_or("–".to_owned(), correlation),
                ]
            })
            .collect(),
    );
}

/// Estimated angles of hands that have none.
fn estimated(section: &mut Section, study: &Study<'_>, without: &DataFrame, offsets: &[Offset]) -> PolarsResult<()> {
    let Some(threshold) = study.tables.rotated_deg else { return Ok(()) };
    for subset in SUBSETS {
        let mut angles = Vec::new();
        for offset in offsets {
            let hands = filtered(without, is("subset", subset).and(is("side", offset.side)))?;
            angles.extend(
                numbers(&hands, col("image_angle_deg"))?.iter().map(|axis| turn(axis + offset.offset_deg).abs()),
            );
        }
        if angles.is_empty() {
            continue;
        }
        let rotated = angles.iter().filter(|angle| **angle >= threshold).count();
        let Some(p) = wilson(rotated, angles.len()) else { continue };
        section.absent(format!(
            "Estimate, not a measurement: of {} without masks, {} seem rotated, {}.",
            counted(angles.len(), &format!("{} image", subset.name()), &format!("{} images", subset.name())),
            count(rotated),
            share(&p),
        ));
        let key = format!("estimated_{}", subset.name());
        section.number(&key, json!({"rotated": p, "absolute_angle_deg": summary(&angles)}));
    }
    Ok(())
}
