use std::collections::BTreeMap;

use serde_json::json;

use crate::figures::{Chart, Figure, Fit, Scatter, ScatterSeries};
use crate::report::study::{SUBSETS, View, sex_colour};
use crate::report::wording::{capital, correlation, correlation_says, count, counted, interval, listed, num, p_text};
use crate::report::{Quantity, Section, Study};
use crate::stats::{Correlation, Ols, OlsError, ols, pearson, spearman};

/// A hand, or a patient's mean hand, with what may explain its size.
struct Case {
    mask_px: Option<f64>,
    sex: Option<f64>,
    quantities: [Option<f64>; 3],
}

/// A correlation of two columns.
type Correlate = fn(&[Option<f64>], &[Option<f64>]) -> Option<Correlation>;

/// Mask size against height, weight and age, one at a time and together.
pub(super) fn section(study: &Study<'_>) -> Section {
    let mut section = Section::new("mask_size", "Mask size against metadata");
    section.text("Mask size is the sum of the areas of an image's 29 classes, in pixels of the image.");
    let mut any = false;
    for subset in SUBSETS {
        let views: Vec<View<'_>> = study.images(subset).filter(|v| v.mask_px().is_some()).collect();
        let all = study.images(subset).count();
        if views.is_empty() {
            if all > 0 {
                section.absent(format!(
                    "None of the {} has masks; scan with predictions to measure them.",
                    counted(all, &format!("{subset} image"), &format!("{subset} images"))
                ));
            }
            continue;
        }
        any = true;
        one_subset(&mut section, subset, &views);
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    section
}

fn one_subset(section: &mut Section, subset: &str, views: &[View<'_>]) {
    let hands: Vec<Case> = views.iter().map(|v| case(v, v.mask_px())).collect();
    let patients = mean_hands(views);
    let r = |cases: &[Case], i: usize, f: Correlate| {
        let x: Vec<_> = cases.iter().map(|c| c.quantities[i]).collect();
        let y: Vec<_> = cases.iter().map(|c| c.mask_px).collect();
        f(&x, &y)
    };
    let mut numbers = serde_json::Map::new();
    let (mut rows, mut said) = (Vec::new(), Vec::new());
    for (i, q) in Quantity::ALL.into_iter().enumerate() {
        let (plain, ranked, by_patient) = (r(&hands, i, pearson), r(&hands, i, spearman), r(&patients, i, pearson));
        numbers.insert(q.key().into(), json!({"pearson": plain, "spearman": ranked, "pearson_by_patient": by_patient}));
        let shown = |c: &Option<Correlation>| c.as_ref().map_or("–".to_owned(), correlation);
        rows.push(vec![capital(q.name()), shown(&plain), shown(&ranked), shown(&by_patient)]);
        match &by_patient.or(plain) {
            Some(c) => said.push(format!("{}: {}", q.name(), correlation_says(c))),
            None => said.push(format!("{}: not computable (too few patients with a value, or all alike)", q.name())),
        }
    }
    section.text(format!(
        "{}, {} of {}: correlation with the patient's height, weight and age below, with 95 % intervals. The two hands of a patient \
         share their metadata, so the last column, one mean hand a patient, is the honest one for intervals.",
        capital(subset),
        counted(views.len(), "image with masks", "images with masks"),
        counted(patients.len(), "patient", "patients"),
    ));
    section.table(
        format!("Correlation of mask size with metadata, {subset}"),
        &["with", "Pearson's r, images", "Spearman's ρ, images", "Pearson's r, patients"],
        rows,
    );
    section.meaning(format!("{}.", capital(&said.join("; "))));
    section.figure(figure(subset, views, &hands));

    let (by_image, by_patient) = (together(&hands), together(&patients));
    match &by_patient {
        Ok(fit) => regression(section, subset, fit, by_image.as_ref().ok()),
        Err(e) => section.absent(format!("Height, weight, age and sex cannot be taken together for {subset}: {e}.")),
    }
    numbers.insert("ols".into(), json!(by_image.ok()));
    numbers.insert("ols_by_patient".into(), json!(by_patient.ok()));
    section.number(subset, serde_json::Value::Object(numbers));
}

fn case(view: &View<'_>, mask_px: Option<f64>) -> Case {
    let sex = match view.sex() {
        Some("M") => Some(1.0),
        Some("F") => Some(0.0),
        _ => None,
    };
    Case { mask_px, sex, quantities: Quantity::ALL.map(|q| view.patient.and_then(|p| q.of(p))) }
}

/// One case a patient: the mean mask size of its hands.
fn mean_hands(views: &[View<'_>]) -> Vec<Case> {
    let mut by_patient: BTreeMap<&str, Vec<&View<'_>>> = BTreeMap::new();
    for view in views {
        by_patient.entry(view.image.patient_id.as_str()).or_default().push(view);
    }
    let mean = |views: &[&View<'_>]| {
        let sizes: Vec<f64> = views.iter().filter_map(|v| v.mask_px()).collect();
        (!sizes.is_empty()).then(|| sizes.iter().sum::<f64>() / sizes.len() as f64)
    };
    by_patient.values().map(|views| case(views[0], mean(views))).collect()
}

fn together(cases: &[Case]) -> Result<Ols, OlsError> {
    let y: Vec<_> = cases.iter().map(|c| c.mask_px).collect();
    let columns: Vec<Vec<Option<f64>>> = (0..3).map(|i| cases.iter().map(|c| c.quantities[i]).collect()).collect();
    let sex: Vec<_> = cases.iter().map(|c| c.sex).collect();
    let mut regressors: Vec<(&str, &[Option<f64>])> =
        Quantity::ALL.iter().zip(&columns).map(|(q, c)| (q.key(), &c[..])).collect();
    regressors.push(("male", &sex));
    ols(&y, &regressors)
}

fn regression(section: &mut Section, subset: &str, fit: &Ols, by_image: Option<&Ols>) {
    let rows = fit
        .coefficients
        .iter()
        .map(|c| {
            let image = by_image.and_then(|f| f.coefficient(&c.name));
            vec![
                c.name.clone(),
                num(c.value, 0),
                interval(&c.ci, 0),
                p_text(c.p),
                c.vif.map_or(String::new(), |v| num(v, 2)),
                image.map_or("–".into(), |i| num(i.value, 0)),
                image.map_or("–".into(), |i| p_text(i.p)),
            ]
        })
        .collect();
    section.table(
        format!(
            "Least squares of mask size (px) on height, weight, age and sex, {subset}: one mean hand a patient (n = {}, R² = {}){}",
            count(fit.n),
            num(fit.r2, 3),
            by_image.map_or(String::new(), |f| format!("; the last two columns: images (n = {}, R² = {})", count(f.n), num(f.r2, 3))),
        ),
        &["term", "px a unit", "95 % interval", "p", "VIF", "images: px a unit", "images: p"],
        rows,
    );
    let significant: Vec<String> =
        fit.coefficients[1..].iter().filter(|c| c.p < 0.05).map(|c| c.name.clone()).collect();
    let sex = fit.coefficient("male");
    let told = sex.map_or(String::new(), |c| {
        format!(
            " At equal height, weight and age a man's mask is {} px {} than a woman's {} ({}).",
            num(c.value.abs(), 0),
            if c.value < 0.0 { "smaller" } else { "larger" },
            interval(&c.ci, 0),
            if c.ci.contains(0.0) {
                "the interval holds 0, so sex adds nothing shown"
            } else {
                "the interval leaves out 0, so sex matters by itself"
            },
        )
    });
    let vif = fit.coefficients[1..].iter().filter_map(|c| c.vif).fold(1.0, f64::max);
    section.meaning(format!(
        "Together they explain {} % of the variance; {} their own (p < 0.05).{told} The largest variance inflation is {}: {}.",
        num(100.0 * fit.r2, 0),
        match &significant[..] {
            [] => "none has a share of".to_owned(),
            [one] => format!("{one} has a share of"),
            several => format!("{} have shares of", listed(several)),
        },
        num(vif, 1),
        if vif >= 2.0 { "the metadata are tied to one another and to sex, so single coefficients are to be read with care" } else { "the metadata are only loosely tied to one another" },
    ));
}

fn figure(subset: &str, views: &[View<'_>], hands: &[Case]) -> Figure {
    const KILO: f64 = 1000.0;
    let charts = Quantity::ALL
        .into_iter()
        .enumerate()
        .map(|(i, q)| {
            let x: Vec<_> = hands.iter().map(|c| c.quantities[i]).collect();
            let y: Vec<_> = hands.iter().map(|c| c.mask_px.map(|px| px / KILO)).collect();
            let r = pearson(&x, &y);
            let points = |sex: Option<&str>| -> Vec<(f64, f64)> {
                let known = |v: &View<'_>| v.sex().filter(|s| ["F", "M"].contains(s)).map(str::to_owned);
                let of_sex = views.iter().enumerate().filter(|(_, v)| known(v).as_deref() == sex);
                of_sex.filter_map(|(j, _)| Some((x[j]?, y[j]?))).collect()
            };
            let series = [(Some("F"), "women"), (Some("M"), "men"), (None, "sex unknown")]
                .into_iter()
                .map(|(sex, name)| ScatterSeries { name: name.into(), colour: sex_colour(sex), points: points(sex) })
                .filter(|s| !s.points.is_empty())
                .collect();
            Chart::Scatter(Scatter {
                title: format!(
                    "{}: r = {}",
                    capital(q.name()),
                    r.as_ref().map_or("not computable".to_owned(), correlation)
                ),
                x_label: format!("{} ({})", q.name(), q.unit()),
                y_label: "mask size (1,000 px)".into(),
                series,
                fit: line(&x, &y),
            })
        })
        .collect();
    Figure {
        name: format!("mask-size-{subset}"),
        title: format!(
            "Mask size against height, weight and age, {subset} (n = {})",
            counted(views.len(), "image", "images")
        ),
        note: "A point is an image. r with its 95 % interval over images.".into(),
        columns: 3,
        charts,
    }
}

fn line(x: &[Option<f64>], y: &[Option<f64>]) -> Option<Fit> {
    let fit = ols(y, &[("x", x)]).ok()?;
    let known = x.iter().zip(y).filter_map(|(a, b)| b.and(*a));
    let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let line = (0..=24)
        .map(|i| {
            let at = low + (high - low) * f64::from(i) / 24.0;
            let (mean, ci) = fit.mean_at(&[at]);
            (at, mean, ci.low, ci.high)
        })
        .collect();
    Some(Fit { name: "least squares, 95 % band".into(), line })
}
