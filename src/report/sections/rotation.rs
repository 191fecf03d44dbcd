use serde_json::{Map, json};

use crate::figures::{Chart, Figure, Histogram, HistogramSeries, Marker, edges_for};
use crate::report::study::{SUBSETS, View, subset_colour};
use crate::report::wording::{capital, count, counted, mean_sd, num, p_text, ratio, ratio_says, share, visible};
use crate::report::{Block, Section, Shown, Study};
use crate::stats::{TwoByTwo, clustered_ratios, kolmogorov_smirnov, summary, wilson};

/// How far hands lean, and how many count as rotated, train against test.
pub(super) fn section(study: &Study<'_>) -> Section {
    let mut section = Section::new("rotation", "Rotation of the hand");
    let threshold = study.settings.rotated_deg;
    let degrees = format!("{}°", num(threshold, if threshold.fract() == 0.0 { 0 } else { 1 }));
    section.number("threshold_deg", threshold);
    section.text(format!(
        "A hand's angle is that of the vector from the centroid of the Ulna to the centroid of finger-16 (the little finger's \
         distal phalanx) from vertical, positive to the right; from {degrees} on, to either side, a hand counts as rotated."
    ));
    let measured: Vec<(&str, Vec<View<'_>>)> = SUBSETS
        .into_iter()
        .map(|s| (s, study.images(s).filter(|v| study.rotated(v.image).is_some()).collect()))
        .collect();
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
    if measured.iter().all(|(_, views)| views.is_empty()) {
        return section;
    }

    let mut rows = Vec::new();
    for (subset, views) in measured.iter().filter(|(_, v)| !v.is_empty()) {
        let angles = |rotated: bool| -> Vec<f64> {
            views.iter().filter(|v| study.rotated(v.image) == Some(rotated)).filter_map(|v| v.image.angle_deg).collect()
        };
        let absolute = |rotated: bool| summary(&angles(rotated).iter().map(|a| a.abs()).collect::<Vec<_>>());
        let (straight, rotated) = (absolute(false), absolute(true));
        let proportion = wilson(angles(true).len(), views.len());
        let near = views.iter().filter_map(|v| v.image.angle_deg).filter(|a| (a.abs() - threshold).abs() < 5.0).count();
        let disagree =
            views.iter().filter(|v| v.image.rotated.is_some() && v.image.rotated != study.rotated(v.image)).count();
        if disagree > 0 {
            section.absent(format!(
                "{} marked otherwise in the table: it was scanned with another threshold.",
                counted(disagree, &format!("{subset} image is"), &format!("{subset} images are")),
            ));
        }
        let mut by_side = Map::new();
        for side in ["L", "R"] {
            let of_side = |rotated: bool| -> Vec<f64> {
                let wanted = views.iter().filter(|v| v.image.side.as_deref() == Some(side));
                wanted.filter(|v| study.rotated(v.image) == Some(rotated)).filter_map(|v| v.image.angle_deg).collect()
            };
            by_side
                .insert(side.into(), json!({"straight": summary(&of_side(false)), "rotated": summary(&of_side(true))}));
        }
        section.number(
            subset,
            json!({
                "rotated": proportion, "absolute_angle_deg": {"straight": straight, "rotated": rotated},
                "signed_angle_deg_by_side": by_side, "within_5_deg_of_threshold": near,
            }),
        );
        if let Some(p) = &proportion {
            let mode = |s: &Option<_>| s.as_ref().map_or("–".to_owned(), |s| format!("{}°", mean_sd(s, 1)));
            section.text(format!(
                "{}: {} of {} hands are rotated, {}. Absolute angle, mean ± sd: {} straight, {} rotated; {} within 5° of the threshold.",
                capital(subset),
                count(p.count),
                count(p.n),
                share(p),
                mode(&straight),
                mode(&rotated),
                counted(near, "hand lies", "hands lie"),
            ));
            rows.push(vec![
                (*subset).to_owned(),
                count(p.n),
                count(p.count),
                share(p),
                mode(&straight),
                mode(&rotated),
            ]);
        }
    }
    compare(&mut section, study, &measured);
    if let Some(pictures) = study.examples {
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
        section.blocks.push(Block::Pictures(shown.collect()));
    }
    section.figure(figure(&measured, threshold, &degrees));
    section.table(
        "Hands with a measured angle; share with 95 % interval",
        &["subset", "n", "rotated", "share", "|angle| straight", "|angle| rotated"],
        rows,
    );
    section
}

/// The counts of rotated and straight hands, test against train.
pub(super) fn two_by_two(study: &Study<'_>) -> Option<TwoByTwo> {
    let count =
        |subset: &str, rotated: bool| study.images(subset).filter(|v| study.rotated(v.image) == Some(rotated)).count();
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
        views.filter_map(|v| Some((v.image.patient_id.as_str(), study.rotated(v.image)?))).collect()
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

fn figure(measured: &[(&str, Vec<View<'_>>)], threshold: f64, degrees: &str) -> Figure {
    let chart = |title: &str, label: &str, of: &dyn Fn(f64) -> f64, markers: Vec<f64>| {
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
            markers: markers.into_iter().map(|value| Marker { name: format!("threshold, {degrees}"), value }).collect(),
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
            chart("Absolute angle", "|angle| (degrees)", &f64::abs, vec![threshold]),
            chart("Signed angle, positive to the right", "angle (degrees)", &|a| a, vec![-threshold, threshold]),
        ],
    }
}
