use std::collections::BTreeMap;

use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::dataset::{Side, Subset};
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, Marker, edges_for};
use crate::report::block::outcome;
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{
    Conclusion, Evidence, MIN_PATIENTS, capital, count, counted, interval, mean_sd, num, odds_ratio_conclusion, p_text,
    ratio, share, visible,
};
use crate::report::{CaptionedPicture, Content, EvidencePictures, Section, Study};
use crate::stats::{
    ClusteredRatios, Proportion, Ratio, SampleSummary, TwoByTwo, clustered_ratios, kolmogorov_smirnov,
    permutation_of_clusters, summary, wilson,
};
use crate::tables::{count as rows, counts, filtered, is, numbers};

/// Angles of hands and shares of rotated hands, test compared with train. The scan decides which hands are rotated.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("rotation", "Rotation of the hand");
    let threshold = study.tables.rotated_deg;
    section.number("threshold_deg", threshold);
    section.text(format!(
        "The angle of a hand is measured between the vertical and the vector from the centroid of the Ulna to that of finger-16 \
         (distal phalanx of the little finger), positive to the right. {}.",
        match threshold {
            Some(at) => format!("A hand with an absolute angle of at least {} counts as rotated", degrees(at)),
            None => "The tables mark rotated hands but do not contain the smallest angle that counts as rotated; scan again with `carpus scan` to add it".into(),
        }
    ));
    let mut angles = Vec::new();
    for subset in SUBSETS {
        let (all, hands) = (study.hands(subset)?.height(), measured(study, subset)?);
        if hands.height() < all {
            let hint = if hands.height() == 0 { " To measure them, scan with predictions." } else { "" };
            section.absent(format!(
                "{} without an angle: Ulna or finger-16 has no mask.{hint}",
                counted(all - hands.height(), &format!("{subset} image is"), &format!("{subset} images are")),
            ));
        }
        angles.extend(AngleStatistics::of(subset, hands, threshold)?);
    }
    if angles.is_empty() {
        return Ok(section);
    }
    for of_subset in &angles {
        section.number(of_subset.subset.name(), json!(of_subset));
        section.text(of_subset.sentence());
    }
    compare(&mut section, study)?;
    if let Some(pictures) = study.examples {
        section.blocks.push(Content::Pictures(examples(study, pictures)?));
    }
    section.figure(figure(&angles, threshold)?);
    section.table(
        "Hands with a measured angle; share with 95 % confidence interval",
        &["subset", "n", "rotated", "share", "|angle| straight", "|angle| rotated"],
        angles.iter().map(AngleStatistics::row).collect(),
    );
    Ok(section)
}

/// Hands of a subset with a measured angle.
fn measured(study: &Study<'_>, subset: Subset) -> PolarsResult<DataFrame> {
    filtered(&study.hands(subset)?, col("rotated").is_not_null())
}

/// Counts and angles of a subset's hands.
#[derive(Serialize)]
struct AngleStatistics {
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

impl AngleStatistics {
    /// `None` without hands.
    fn of(subset: Subset, hands: DataFrame, threshold: Option<f64>) -> PolarsResult<Option<AngleStatistics>> {
        let Some(rotated) = wilson(rows(&hands, col("rotated"))?, hands.height()) else { return Ok(None) };
        let angle = || col("angle_deg");
        let near = |at: f64| rows(&hands, (angle().abs() - lit(at)).abs().lt(lit(5.0)));
        let of_side = |side: Side| Ok((side.name(), ByPose::of(&filtered(&hands, is("side", side))?, angle())?));
        Ok(Some(AngleStatistics {
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
            format!("; {} within 5° of the threshold", counted(near, "hand is", "hands are"))
        });
        format!(
            "{}: {} of {} rotated, {}. Absolute angle (mean ± sd): straight {straight}, rotated {rotated}{near}.",
            capital(self.subset.name()),
            count(self.rotated.count),
            counted(self.rotated.n, "hand", "hands"),
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

fn examples(study: &Study<'_>, pictures: &EvidencePictures) -> PolarsResult<Vec<CaptionedPicture>> {
    let shown = study.example_images()?.into_iter().filter_map(|(description, image)| {
        let angle = image.angle_deg.map_or(String::new(), |a| format!("{}°", num(a, 1)));
        Some(CaptionedPicture {
            jpeg: pictures.pictures.get(&image.path)?.clone(),
            title: format!("{}: {description}, {angle}", image.subset),
            severity: String::new(),
            lines: vec![visible(&image.path)],
        })
    });
    Ok(shown.collect())
}

/// Numbers of rotated and straight hands of a subset.
pub(super) fn poses(study: &Study<'_>, subset: Subset) -> PolarsResult<[usize; 2]> {
    counts(&study.hands(subset)?, [col("rotated"), col("rotated").not()])
}

/// Counts of rotated and straight hands, test compared with train.
pub(super) fn two_by_two(study: &Study<'_>) -> PolarsResult<Option<TwoByTwo>> {
    let [with_base, without_base] = poses(study, Subset::Train)?;
    let [with, without] = poses(study, Subset::Test)?;
    let table = TwoByTwo { with, without, with_base, without_base };
    Ok(table.odds_ratio().map(|_| table))
}

fn compare(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let Some(table) = two_by_two(study)? else { return Ok(()) };
    let (Some(odds), Some(shares_ratio)) = (table.odds_ratio(), table.share_ratio()) else { return Ok(()) };
    let (test, train) = (measured(study, Subset::Test)?, measured(study, Subset::Train)?);
    let (of_test, of_train) = (observations(&test)?, observations(&train)?);
    let enough = |c: &ClusteredRatios| c.clusters.min(c.clusters_base) >= MIN_PATIENTS;
    let clustered = clustered_ratios(&of_test, &of_train).ok();
    let (clustered, too_few) = (clustered.filter(enough), clustered.filter(|c| !enough(c)));
    let exchanged = permutation_of_clusters(&shares(&of_test), &shares(&of_train), study.settings.permutations, 0);
    let angles = |hands| numbers(hands, col("angle_deg").abs());
    let shift = kolmogorov_smirnov(&angles(&test)?, &angles(&train)?);
    section.text(format!(
        "Rotated hands, test compared with train: odds ratio {}, risk ratio {} (Fisher's exact test, {}){}.",
        ratio(&odds),
        ratio(&shares_ratio),
        p_text(table.fisher_p()),
        if odds.corrected { "; a count is zero, so 0.5 was added to all four" } else { "" },
    ));
    if let Some(c) = &clustered {
        section.text(format!(
            "The two hands of a patient are not independent. The cluster-robust 95 % confidence intervals ({} and {} patients) are \
             {} for the odds ratio and {} for the risk ratio.",
            count(c.clusters),
            count(c.clusters_base),
            interval(&c.odds_ratio.ci, 2),
            interval(&c.share_ratio.ci, 2),
        ));
    }
    if let Some(c) = &too_few {
        section.absent(format!(
            "The two hands of a patient are not independent, so the intervals of the ratios are too narrow. Cluster-robust \
             intervals need at least {MIN_PATIENTS} patients per subset; there are {} in test and {} in train.",
            count(c.clusters),
            count(c.clusters_base),
        ));
    }
    let patients = exchanged.as_ref().map_or(0, |e| e.clusters1.min(e.clusters2));
    // The patient is the unit: with enough patients, interval and test go by patient.
    let evidence = match (&clustered, &exchanged) {
        (Some(c), Ok(e)) => Evidence::of_odds(&c.odds_ratio, "the permutation test by patient", e.p, patients),
        _ => Evidence::of_odds(&odds, "Fisher's exact test", table.fisher_p(), patients),
    };
    if let Ok(e) = &exchanged {
        let n = e.clusters1 + e.clusters2;
        section.text(format!(
            "Permutation test of the share of rotated hands, exchanging whole patients between the subsets ({} permutations): {}.",
            count(e.permutations),
            p_text(e.p),
        ));
        section.test("rotated hands, test against train", "permutation by patient", n, e.p);
    }
    section.test(
        "rotated hands, test against train",
        "Fisher's exact (hands)",
        test.height() + train.height(),
        table.fisher_p(),
    );
    section.meaning(conclusion(&evidence, &odds, &shares_ratio));
    section.number(
        "test_against_train",
        json!({
            "counts": table, "odds_ratio": odds, "share_ratio": shares_ratio, "fisher_p": table.fisher_p(),
            "allowing_for_patients": clustered, "permutation_by_patient": outcome(&exchanged),
            "absolute_angle_kolmogorov_smirnov": outcome(&shift),
        }),
    );
    Ok(())
}

/// What the comparison shows, and what to do about it.
fn conclusion(evidence: &Evidence, odds: &Ratio, shares: &Ratio) -> String {
    let found = capital(&odds_ratio_conclusion(evidence, "test", "train"));
    match evidence.verdict() {
        Conclusion::Higher | Conclusion::Lower => format!(
            "{found}. The risk ratio ({}) and the odds ratio ({}) describe the same counts: state which one you quote. Stratify \
             the folds by rotation, and rotate images in training.",
            num(shares.value, 1),
            num(odds.value, 1)
        ),
        Conclusion::Conflict => format!("{found}. Until more data settle it, stratify the folds by rotation."),
        Conclusion::Small | Conclusion::Unclear => format!("{found}."),
    }
}

/// Whether each hand is rotated, as numbers.
fn shares<'a>(hands: &[(&'a str, bool)]) -> Vec<(&'a str, f64)> {
    hands.iter().map(|(patient, rotated)| (*patient, f64::from(u8::from(*rotated)))).collect()
}

/// The patient of each hand, and whether the hand is rotated.
fn observations(hands: &DataFrame) -> PolarsResult<Vec<(&str, bool)>> {
    let (patients, rotated) = (hands.column("patient_id")?.str()?, hands.column("rotated")?.bool()?);
    Ok(patients.iter().zip(rotated.iter()).filter_map(|(patient, rotated)| Some((patient?, rotated?))).collect())
}

fn figure(angles: &[AngleStatistics], threshold: Option<f64>) -> PolarsResult<Figure> {
    let chart = |title: &str, label: &str, angle: Expr, signs: &[f64]| -> PolarsResult<Chart> {
        let marker =
            |sign: &f64| threshold.map(|at| Marker { name: format!("threshold, {}", degrees(at)), value: sign * at });
        let mut series = Vec::new();
        for AngleStatistics { subset, hands, .. } in angles {
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
    let n: Vec<String> = angles.iter().map(|a| format!("{} {}", count(a.rotated.n), a.subset)).collect();
    Ok(Figure {
        name: "rotation".into(),
        title: format!("Angle of the hand from vertical (n = {})", n.join(", ")),
        note: "The bars of each subset add up to 100 %.".into(),
        columns: 2,
        charts: vec![
            chart("Absolute angle", "|angle| (degrees)", col("angle_deg").abs(), &[1.0])?,
            chart("Signed angle, positive to the right", "angle (degrees)", col("angle_deg"), &[-1.0, 1.0])?,
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::ReportOptions;
    use crate::tables::{ImageRow, Tables};

    /// The conclusion for subsets of (rotated, straight) hands, each patient with two hands turned alike.
    fn section_text(train: [usize; 2], test: [usize; 2]) -> String {
        let mut tables = Tables { rotated_deg: Some(33.0), ..Tables::default() };
        for (subset, [rotated, straight]) in [(Subset::Train, train), (Subset::Test, test)] {
            tables.images.extend((0..rotated + straight).map(|i| ImageRow {
                image_id: format!("{subset}{i}"),
                patient_id: format!("{subset}{}", i / 2),
                subset,
                angle_deg: Some(if i < rotated { 45.0 } else { 10.0 }),
                rotated: Some(i < rotated),
                ..ImageRow::default()
            }));
        }
        let (evidence, settings) = (EvidencePictures::default(), ReportOptions::default());
        let study = Study::new(&tables, None, None, &evidence, &settings).unwrap();
        format!("{:?}", section(&study).unwrap().blocks)
    }

    #[test]
    fn few_hands_do_not_show_that_rotation_is_alike() {
        let text = section_text([6, 6], [4, 2]);
        assert!(text.contains("contains 1: these data cannot show whether test differs from train"), "{text}");
        assert!(text.contains("do not rule out up to 15.38 times the odds"), "{text}");
        assert!(text.contains("at least 6 patients per subset; there are 3 in test and 6 in train"), "{text}");
        assert!(!text.contains("no need") && !text.contains("Stratify"), "{text}");
    }

    #[test]
    fn many_hands_show_a_difference() {
        let text = section_text([10, 90], [60, 40]);
        assert!(text.contains("above 1: the odds are significantly higher in test than in train"), "{text}");
        assert!(text.contains("cluster-robust") && text.contains("Stratify the folds"), "{text}");
    }
}
