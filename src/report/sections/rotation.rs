use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use crate::dataset::Side;
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, Marker, edges_for};
use crate::report::study::{SUBSETS, View, subset_colour};
use crate::report::wording::{capital, count, counted, mean_sd, num, p_text, ratio, ratio_says, share, visible};
use crate::report::{Block, Evidence, Section, Shown, Study};
use crate::stats::{Proportion, Summary, TwoByTwo, clustered_ratios, kolmogorov_smirnov, summary, wilson};

/// How far hands lean, and how many count as rotated, train against test. The scan decides which do.
pub(super) fn section(study: &Study<'_>) -> Section {
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
    let measured: Vec<(&str, Vec<View<'_>>)> =
        SUBSETS.into_iter().map(|s| (s, study.images(s).filter(|v| v.image.rotated.is_some()).collect())).collect();
    for (subset, views) in &measured {
        let all = study.images(subset).count();
        if all > 0 && views.len() < all {
            let hint = if views.is_empty() { " Scan with predictions to measure them." } else { "" };
            section.absent(format!(
                "{} without an angle: Ulna or finger-16 has no mask.{hint}",
                counted(all - views.len(), &format!("{subset} image is"), &format!("{subset} images are")),
            ));
        }
    }
    let leans: Vec<(&str, Leans)> =
        measured.iter().filter_map(|(subset, views)| Some((*subset, Leans::of(views, threshold)?))).collect();
    if leans.is_empty() {
        return section;
    }
    for (subset, leans) in &leans {
        section.number(subset, json!(leans));
        section.text(leans.sentence(subset));
    }
    compare(&mut section, study, &measured);
    if let Some(pictures) = study.examples {
        section.blocks.push(Block::Pictures(examples(study, pictures)));
    }
    section.figure(figure(&measured, threshold));
    section.table(
        "Hands with a measured angle; share with 95 % interval",
        &["subset", "n", "rotated", "share", "|angle| straight", "|angle| rotated"],
        leans.iter().map(|(subset, leans)| leans.row(subset)).collect(),
    );
    section
}

/// What is counted and measured of a subset's hands.
#[derive(Serialize)]
struct Leans {
    rotated: Proportion,
    absolute_angle_deg: ByPose,
    signed_angle_deg_by_side: BTreeMap<&'static str, ByPose>,
    within_5_deg_of_threshold: Option<usize>,
}

/// Angles of straight and of rotated hands, degrees.
#[derive(Serialize)]
struct ByPose {
    straight: Option<Summary>,
    rotated: Option<Summary>,
}

impl ByPose {
    fn of<'a>(views: impl Iterator<Item = &'a View<'a>> + Clone, angle: impl Fn(f64) -> f64) -> ByPose {
        let of = |rotated: bool| {
            let wanted = views.clone().filter(|v| v.image.rotated == Some(rotated));
            summary(&wanted.filter_map(|v| v.image.angle_deg).map(&angle).collect::<Vec<_>>())
        };
        ByPose { straight: of(false), rotated: of(true) }
    }
}

impl Leans {
    /// `None` for no hands.
    fn of(views: &[View<'_>], threshold: Option<f64>) -> Option<Leans> {
        let near = |at: f64| {
            views.iter().filter_map(|v| v.image.angle_deg).filter(|angle| (angle.abs() - at).abs() < 5.0).count()
        };
        let of_side = |side: &str| {
            ByPose::of(views.iter().filter(move |v| v.image.side.map(Side::name) == Some(side)), |angle| angle)
        };
        Some(Leans {
            rotated: wilson(views.iter().filter(|v| v.image.rotated == Some(true)).count(), views.len())?,
            absolute_angle_deg: ByPose::of(views.iter(), f64::abs),
            signed_angle_deg_by_side: ["L", "R"].into_iter().map(|side| (side, of_side(side))).collect(),
            within_5_deg_of_threshold: threshold.map(near),
        })
    }

    /// Mean and standard deviation of the absolute angles, straight and rotated.
    fn angles(&self) -> [String; 2] {
        [&self.absolute_angle_deg.straight, &self.absolute_angle_deg.rotated]
            .map(|s| s.as_ref().map_or("–".to_owned(), |s| format!("{}°", mean_sd(s, 1))))
    }

    fn sentence(&self, subset: &str) -> String {
        let [straight, rotated] = self.angles();
        let near = self.within_5_deg_of_threshold.map_or(String::new(), |near| {
            format!("; {} within 5° of the threshold", counted(near, "hand lies", "hands lie"))
        });
        format!(
            "{}: {} of {} hands are rotated, {}. Absolute angle, mean ± sd: {straight} straight, {rotated} rotated{near}.",
            capital(subset),
            count(self.rotated.count),
            count(self.rotated.n),
            share(&self.rotated),
        )
    }

    fn row(&self, subset: &str) -> Vec<String> {
        let [straight, rotated] = self.angles();
        let p = &self.rotated;
        vec![subset.to_owned(), count(p.n), count(p.count), share(p), straight, rotated]
    }
}

fn degrees(value: f64) -> String {
    format!("{}°", num(value, if value.fract() == 0.0 { 0 } else { 1 }))
}

fn examples(study: &Study<'_>, pictures: &Evidence) -> Vec<Shown> {
    let shown = SUBSETS.into_iter().flat_map(|s| study.example_images(s).into_iter().map(move |e| (s, e)));
    let shown = shown.filter_map(|(subset, (what, image))| {
        let angle = image.angle_deg.map_or(String::new(), |a| format!("{}°", num(a, 1)));
        Some(Shown {
            jpeg: pictures.pictures.get(&image.path)?.clone(),
            title: format!("{subset}: {what}, {angle}"),
            severity: String::new(),
            lines: vec![visible(&image.path)],
        })
    });
    shown.collect()
}

/// The counts of rotated and straight hands, test against train.
pub(super) fn two_by_two(study: &Study<'_>) -> Option<TwoByTwo> {
    let count = |subset: &str, rotated: bool| study.images(subset).filter(|v| v.image.rotated == Some(rotated)).count();
    let table = TwoByTwo {
        with: count("test", true),
        without: count("test", false),
        with_base: count("train", true),
        without_base: count("train", false),
    };
    table.odds_ratio().map(|_| table)
}

fn compare(section: &mut Section, study: &Study<'_>, measured: &[(&str, Vec<View<'_>>)]) {
    let Some(table) = two_by_two(study) else { return };
    let (Some(odds), Some(shares)) = (table.odds_ratio(), table.share_ratio()) else { return };
    let observations = |subset: &str| -> Vec<(&str, bool)> {
        let views = measured.iter().filter(|(s, _)| *s == subset).flat_map(|(_, v)| v);
        views.filter_map(|v| Some((v.image.patient_id.as_str(), v.image.rotated?))).collect()
    };
    let clustered = clustered_ratios(&observations("test"), &observations("train"));
    let angles = |subset: &str| -> Vec<f64> {
        let views = measured.iter().filter(|(s, _)| *s == subset).flat_map(|(_, v)| v);
        views.filter_map(|v| v.image.angle_deg.map(f64::abs)).collect()
    };
    let shift = kolmogorov_smirnov(&angles("test"), &angles("train"));
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
}

fn figure(measured: &[(&str, Vec<View<'_>>)], threshold: Option<f64>) -> Figure {
    let chart = |title: &str, label: &str, of: &dyn Fn(f64) -> f64, signs: &[f64]| {
        let marker =
            |sign: &f64| threshold.map(|at| Marker { name: format!("threshold, {}", degrees(at)), value: sign * at });
        let series: Vec<HistogramSeries> = measured
            .iter()
            .filter(|(_, views)| !views.is_empty())
            .map(|(subset, views)| HistogramSeries {
                name: (*subset).to_owned(),
                colour: subset_colour(subset),
                values: views.iter().filter_map(|v| v.image.angle_deg).map(of).collect(),
            })
            .collect();
        let all: Vec<f64> = series.iter().flat_map(|s| s.values.iter().copied()).collect();
        Chart::Histogram(Histogram {
            title: title.into(),
            x_label: label.into(),
            y_label: "share of hands (%)".into(),
            edges: edges_for(&all, 40),
            series,
            markers: signs.iter().filter_map(marker).collect(),
        })
    };
    let n: Vec<String> =
        measured.iter().filter(|(_, v)| !v.is_empty()).map(|(s, v)| format!("{} {s}", count(v.len()))).collect();
    Figure {
        name: "rotation".into(),
        title: format!("Angle of the hand from vertical (n = {})", n.join(", ")),
        note: "Each subset is counted by itself, so that its bars add up to 100 %.".into(),
        columns: 2,
        charts: vec![
            chart("Absolute angle", "|angle| (degrees)", &f64::abs, &[1.0]),
            chart("Signed angle, positive to the right", "angle (degrees)", &|a| a, &[-1.0, 1.0]),
        ],
    }
}
