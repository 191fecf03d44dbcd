use polars::prelude::*;
use serde_json::json;

use super::rotation;
use crate::bones::Bone;
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::style::NEUTRAL;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::wording::{count, counted, interval, num};
use crate::report::{Section, Study};
use crate::stats::{Ratio, TwoByTwo, at_place};
use crate::tables::{BoneRow, TableRow, counts, filtered, is, numbers, numbers_by};

/// Default number of folds of `carpus split`.
const FOLDS: usize = 5;
/// Pixels that the smallest bone keeps, for which resolutions are given.
const PIXELS: [f64; 4] = [50.0, 100.0, 200.0, 400.0];
/// The number of pixels of the recommended resolution.
const RECOMMENDED_PIXELS: f64 = 100.0;
/// Sizes of model inputs are multiples of this.
const SIZE_STEP: f64 = 32.0;
/// Share of a hand's longer side that a crop's margin should have, for soft tissue that has no mask.
const MARGIN_SHARE: f64 = 0.05;

/// Settings that follow from the data, as commands and lines of a configuration.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("recommendations", "Settings that follow from the data");
    section.text("Each point gives its rule and its numbers; the lines can be copied.");
    strata(&mut section, study)?;
    weights(&mut section, study)?;
    rotation_limit(&mut section, study)?;
    let margin = crop_margin(&mut section, study)?;
    resolution(&mut section, study, margin)?;
    Ok(section)
}

/// Keys of the folds: those that vary and leave enough patients in each stratum.
fn strata(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let train = study.hands(Subset::Train)?;
    let keys = [("sex", "sex"), ("rotated", "rotated")];
    let mut chosen: Vec<&str> = Vec::new();
    let mut reasons = Vec::new();
    for (key, column) in keys {
        let known = filtered(&train, col(column).is_not_null())?;
        let values = known.clone().lazy().group_by([col(column).cast(DataType::String)]);
        let values = values.agg([col("patient_id").n_unique().alias("patients")]).collect()?;
        let least = numbers(&values, col("patients"))?.into_iter().fold(f64::INFINITY, f64::min);
        let reason = match values.height() {
            0 | 1 => "it does not vary",
            _ if least < FOLDS as f64 => "a value has fewer patients than there are folds",
            _ => {
                chosen.push(key);
                continue;
            }
        };
        reasons.push(format!("{key} is left out because {reason}"));
    }
    section.number("strata", json!({"keys": chosen, "left_out": reasons}));
    if chosen.is_empty() {
        section.absent(format!("Folds: no key to stratify by ({}).", reasons.join("; ")));
        return Ok(());
    }
    let left_out = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join("; ")) };
    section.text(format!("Folds: stratify by {}{left_out}.", chosen.join(" and ")));
    let paths = &study.settings.paths;
    section.code(format!("carpus split {} --by {} --out {}", paths.tables, chosen.join(","), paths.folds));
    Ok(())
}

/// Sampling weights that give train the odds of test.
fn weights(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let sexes = |subset| counts(&study.patients(subset)?, [is("sex", Sex::M), is("sex", Sex::F)]);
    let ([with_base, without_base], [with, without]) = (sexes(Subset::Train)?, sexes(Subset::Test)?);
    let men = TwoByTwo { with, without, with_base, without_base }.odds_ratio();
    let odds: [(&str, &str, Option<Ratio>); 2] =
        [("rotated hands", "rotated", rotation::odds_ratio(study)?), ("men", "sex:M", men)];
    let (mut rules, mut texts, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for (name, rule, ratio) in odds {
        let Some(ratio) = ratio else {
            texts.push(format!("{name}: no comparison, because a subset has no known value"));
            continue;
        };
        let ci = interval(&ratio.ci, 2);
        let is_shown = !ratio.ci.contains(1.0) && ratio.value.is_finite() && ratio.value > 0.0;
        if is_shown {
            rules.push(format!("{rule}={:.2}", ratio.value));
            texts.push(format!("{name}: weight {} {ci}", num(ratio.value, 2)));
        } else {
            texts.push(format!("{name}: none, because the interval of the odds ratio contains 1, {ci}"));
        }
        found.push(json!({"rule": rule, "odds_ratio": ratio, "recommended": is_shown}));
    }
    section.number("weights", json!(found));
    section.text(format!(
        "Sampling weights: an image drawn with the odds ratio (test : train) as weight gives the training batches the odds of the test \
         set. {}.",
        texts.join("; ")
    ));
    if !rules.is_empty() {
        let paths = &study.settings.paths;
        section.code(format!(
            "carpus split {} --by sex,rotated --sample-weights {} --out {}",
            paths.tables,
            rules.join(","),
            paths.folds
        ));
    }
    Ok(())
}

/// The rotation of the augmentation: from typical train hands to nearly all hands.
fn rotation_limit(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let signed = |subset| numbers(&study.hands(subset)?, col("angle_deg"));
    let (train, test) = (signed(Subset::Train)?, signed(Subset::Test)?);
    let absolute = |angles: &[f64]| {
        let mut sorted: Vec<f64> = angles.iter().map(|angle| angle.abs()).collect();
        sorted.sort_by(f64::total_cmp);
        sorted
    };
    let quantile =
        |sorted: &[f64], p: f64| (!sorted.is_empty()).then(|| at_place(sorted, p * (sorted.len() - 1) as f64));
    let train = absolute(&train);
    let target = if test.is_empty() { train.clone() } else { absolute(&test) };
    let (Some(typical), Some(farthest)) = (quantile(&train, 0.5), quantile(&target, 0.975)) else {
        section.absent("Rotation of the augmentation: no train hand has a measured angle.");
        return Ok(());
    };
    let needed = (farthest - typical).max(0.0);
    let limit = (needed / 5.0).ceil().max(1.0) * 5.0;
    let of = if test.is_empty() { Subset::Train } else { Subset::Test };
    section.number(
        "rotation",
        json!({"median_train_deg": typical, "far_deg": farthest, "far_of": of.name(), "limit_deg": limit}),
    );
    section.text(format!(
        "Rotation of the augmentation: a train hand at the median angle ({}°) has to be turned by {}° to reach the 97.5 % quantile of \
         {of} hands ({}°); rounded up to a multiple of 5°: {}°.",
        num(typical, 1),
        num(needed, 1),
        num(farthest, 1),
        num(limit, 0),
    ));
    section.code(format!("[[augment]]\nkind = \"shift-scale-rotate\"\nrotate = {limit:.1}"));
    Ok(())
}

/// The margin of crops, px; `None` without masks.
fn crop_margin(section: &mut Section, study: &Study<'_>) -> PolarsResult<Option<f64>> {
    let px = |name: &str| col(name).cast(DataType::Float64);
    let width = || px("hand_x_max") - px("hand_x_min") + lit(1.0);
    let height = || px("hand_y_max") - px("hand_y_min") + lit(1.0);
    let longer = when(width().gt(height())).then(width()).otherwise(height());
    let boxed = filtered(&study.hands, col("hand_x_min").is_not_null())?;
    let mut sides = numbers(&boxed, longer)?;
    if sides.is_empty() {
        section.absent("Margin of crops: no image has masks.");
        return Ok(None);
    }
    sides.sort_by(f64::total_cmp);
    let median = at_place(&sides, 0.5 * (sides.len() - 1) as f64);
    let margin = (MARGIN_SHARE * median / 8.0).ceil() * 8.0;
    // The forearm leaves the image at the bottom, so the lower edge says nothing.
    let beyond = px("hand_x_min").lt(lit(margin)).or(px("hand_y_min").lt(lit(margin)));
    let beyond = beyond.or((px("width") - px("hand_x_max")).lt(lit(margin)));
    let [beyond] = counts(&boxed, [beyond])?;
    section.number(
        "margin",
        json!({"median_longer_side_px": median, "margin_px": margin, "n": boxed.height(), "beyond_the_image": beyond}),
    );
    section.text(format!(
        "Margin of crops: {} % of the median longer side of the box around all masks ({} px), for soft tissue that has no mask: {} px. It \
         reaches beyond the image at the top, left or right in {} of {}.",
        num(100.0 * MARGIN_SHARE, 0),
        num(median, 0),
        num(margin, 0),
        count(beyond),
        counted(boxed.height(), "image", "images"),
    ));
    let paths = &study.settings.paths;
    section.code(format!(
        "carpus clean {} --tables {} --margin {margin:.0} --square --out crops",
        paths.data, paths.tables
    ));
    let at = |p: f64| at_place(&sides, p * (sides.len() - 1) as f64);
    Ok(Some(at(0.95) + 2.0 * margin))
}

/// The smallest input at which the smallest bone keeps a number of pixels. `side`: the side of a large crop, px.
fn resolution(section: &mut Section, study: &Study<'_>, side: Option<f64>) -> PolarsResult<()> {
    let bones = BoneRow::to_frame(&study.tables.bones)?.lazy().filter(col("area_px").gt(lit(0u64))).collect()?;
    let areas = numbers_by(&bones, "class", col("area_px"))?;
    let small = |bone: Bone| {
        let mut sorted = areas.get(&bone.index())?.clone();
        sorted.sort_by(f64::total_cmp);
        Some((bone, at_place(&sorted, 0.05 * (sorted.len() - 1) as f64)))
    };
    let smallest = Bone::all().filter_map(small).min_by(|a, b| a.1.total_cmp(&b.1));
    let (Some((bone, area)), Some(side)) = (smallest, side) else {
        section.absent("Resolution: no image has masks.");
        return Ok(());
    };
    let size = |pixels: f64| (side * (pixels / area).sqrt() / SIZE_STEP).ceil() * SIZE_STEP;
    let sizes: Vec<(f64, f64)> = PIXELS.iter().map(|pixels| (*pixels, size(*pixels))).collect();
    let recommended = size(RECOMMENDED_PIXELS);
    section.number(
        "resolution",
        json!({
            "class": bone.name(), "area_px_5_percent": area, "crop_side_px_95_percent": side, "size": recommended,
            "sizes": sizes.iter().map(|(pixels, size)| json!({"pixels": pixels, "size": size})).collect::<Vec<_>>(),
        }),
    );
    section.text(format!(
        "Resolution: the smallest bone is {bone} (5 % quantile of its area: {} px), in square crops of {} px (95 % quantile). To keep {} \
         px of it, the model's input has to be {} px or more.",
        num(area, 0),
        num(side, 0),
        num(RECOMMENDED_PIXELS, 0),
        num(recommended, 0),
    ));
    section.code(format!("size = {recommended:.0}"));
    section.figure(Figure {
        name: "resolution".into(),
        title: format!("Input size at which {bone} keeps a number of pixels"),
        note: format!("Square crops of {} px; sizes are multiples of {}.", num(side, 0), num(SIZE_STEP, 0)),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("input size (px)", sizes.iter().map(|s| s.1)),
            rows: sizes
                .iter()
                .map(|(pixels, size)| CategoryRow {
                    label: format!("{} px", num(*pixels, 0)),
                    marks: vec![Mark::Bar { name: String::new(), colour: NEUTRAL, value: *size, interval: None }],
                    note: format!("{} px", num(*size, 0)),
                })
                .collect(),
            reference: None,
        })],
    });
    Ok(())
}
