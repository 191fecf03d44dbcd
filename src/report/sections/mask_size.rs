use polars::prelude::*;
use serde_json::json;

use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::{Chart, Figure, FittedLine, FittedPoint, Scatter, ScatterSeries};
use crate::report::study::{SUBSETS, sex_colour};
use crate::report::wording::{capital, correlation, correlation_says, count, counted, interval, listed, num, p_text};
use crate::report::{PatientQuantity, Section, Study};
use crate::stats::{Correlation, MeanResponse, Ols, OlsError, complete_pairs, ols, pearson, spearman};
use crate::tables::{filtered, is, values};

/// Values of a column, row by row.
type Values = Vec<Option<f64>>;

/// Hands, or the mean hands of patients, with what may explain their size.
struct Cases {
    mask_px: Values,
    male: Values,
    /// In the order of [`PatientQuantity::ALL`].
    quantities: Vec<Values>,
}

/// Mask size against height, weight and age, one at a time and together.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("mask_size", "Mask size against metadata");
    section.text("Mask size is the sum of the areas of an image's 29 classes, in pixels of the image.");
    let mut any = false;
    for subset in SUBSETS {
        let hands = study.masked(subset)?;
        if hands.height() == 0 {
            let all = study.hands(subset)?.height();
            if all > 0 {
                section.absent(format!(
                    "None of the {} has masks; scan with predictions to measure them.",
                    counted(all, &format!("{subset} image"), &format!("{subset} images"))
                ));
            }
            continue;
        }
        any = true;
        one_subset(&mut section, subset, &hands)?;
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    Ok(section)
}

fn one_subset(section: &mut Section, subset: Subset, hands: &DataFrame) -> PolarsResult<()> {
    let (images, patients) = (Cases::of(hands)?, Cases::of(&mean_hands(hands)?)?);
    let mut numbers = serde_json::Map::new();
    let (mut rows, mut said) = (Vec::new(), Vec::new());
    for (i, q) in PatientQuantity::ALL.into_iter().enumerate() {
        let plain = pearson(&images.quantities[i], &images.mask_px);
        let ranked = spearman(&images.quantities[i], &images.mask_px);
        let by_patient = pearson(&patients.quantities[i], &patients.mask_px);
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
        capital(subset.name()),
        counted(hands.height(), "image with masks", "images with masks"),
        counted(patients.mask_px.len(), "patient", "patients"),
    ));
    section.table(
        format!("Correlation of mask size with metadata, {subset}"),
        &["with", "Pearson's r, images", "Spearman's ρ, images", "Pearson's r, patients"],
        rows,
    );
    section.meaning(format!("{}.", capital(&said.join("; "))));
    section.figure(figure(subset, hands, &images)?);

    let (by_image, by_patient) = (images.together(), patients.together());
    match &by_patient {
        Ok(fit) => regression(section, subset, fit, by_image.as_ref().ok()),
        Err(e) => section.absent(format!("Height, weight, age and sex cannot be taken together for {subset}: {e}.")),
    }
    numbers.insert("ols".into(), json!(by_image.ok()));
    numbers.insert("ols_by_patient".into(), json!(by_patient.ok()));
    section.number(subset.name(), serde_json::Value::Object(numbers));
    Ok(())
}

/// One hand a patient: with the mean mask size of its hands. By patient.
pub(super) fn mean_hands(hands: &DataFrame) -> PolarsResult<DataFrame> {
    let of_patient = PatientQuantity::ALL.iter().map(|q| q.key()).chain(["sex"]).map(|column| col(column).first());
    let mean = col("mask_px").cast(DataType::Float64).mean();
    let patients = hands.clone().lazy().group_by([col("patient_id")]).agg(of_patient.chain([mean]).collect::<Vec<_>>());
    patients.sort(["patient_id"], SortMultipleOptions::default()).collect()
}

impl Cases {
    fn of(hands: &DataFrame) -> PolarsResult<Cases> {
        let quantities = PatientQuantity::ALL.iter().map(|q| values(hands, col(q.key())));
        Ok(Cases {
            mask_px: values(hands, col("mask_px"))?,
            male: values(hands, is("sex", Sex::M))?,
            quantities: quantities.collect::<PolarsResult<_>>()?,
        })
    }

    /// Mask sizes in 1,000 px.
    fn mask_kpx(&self) -> Values {
        self.mask_px.iter().map(|px| px.map(|px| px / 1000.0)).collect()
    }

    fn together(&self) -> Result<Ols, OlsError> {
        let quantities = PatientQuantity::ALL.iter().zip(&self.quantities).map(|(q, values)| (q.key(), &values[..]));
        ols(&self.mask_px, &quantities.chain([("male", &self.male[..])]).collect::<Vec<_>>())
    }
}

fn regression(section: &mut Section, subset: Subset, fit: &Ols, by_image: Option<&Ols>) {
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

fn figure(subset: Subset, hands: &DataFrame, images: &Cases) -> PolarsResult<Figure> {
    let mut of_sex = Vec::new();
    for (sex, name) in [(Some(Sex::F), "women"), (Some(Sex::M), "men"), (None, "sex unknown")] {
        let wanted = sex.map_or(col("sex").is_null(), |sex| is("sex", sex));
        of_sex.push((sex, name, Cases::of(&filtered(hands, wanted)?)?));
    }
    let charts = PatientQuantity::ALL
        .into_iter()
        .enumerate()
        .map(|(i, q)| {
            let (x, y) = (&images.quantities[i], images.mask_kpx());
            let r = pearson(x, &y);
            let points = |cases: &Cases| complete_pairs(&cases.quantities[i], &cases.mask_kpx());
            let series = of_sex
                .iter()
                .map(|(sex, name, cases)| ScatterSeries {
                    name: (*name).into(),
                    colour: sex_colour(*sex),
                    points: points(cases),
                })
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
                fit: line(x, &y),
            })
        })
        .collect();
    Ok(Figure {
        name: format!("mask-size-{subset}"),
        title: format!(
            "Mask size against height, weight and age, {subset} (n = {})",
            counted(hands.height(), "image", "images")
        ),
        note: "A point is an image. r with its 95 % interval over images.".into(),
        columns: 3,
        charts,
    })
}

fn line(x: &[Option<f64>], y: &[Option<f64>]) -> Option<FittedLine> {
    let fit = ols(y, &[("x", x)]).ok()?;
    let known = x.iter().zip(y).filter_map(|(a, b)| b.and(*a));
    let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let line = (0..=24)
        .map(|i| {
            let at = low + (high - low) * f64::from(i) / 24.0;
            let MeanResponse { mean, ci } = fit.mean_at(&[at]);
            FittedPoint { x: at, mean, ci }
        })
        .collect();
    Some(FittedLine { name: "least squares, 95 % band".into(), line })
}
