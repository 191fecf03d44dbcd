use polars::prelude::*;
use serde_json::json;

use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::{Chart, Figure, FittedLine, FittedPoint, Scatter, ScatterSeries};
use crate::report::study::{SUBSETS, sex_colour};
use crate::report::wording::{
    capital, correlation, correlation_conclusion, count, counted, difference_conclusion, interval, listed, num, p_text,
};
use crate::report::{PatientQuantity, Section, Study};
use crate::stats::{Correlation, MeanResponse, Ols, OlsError, complete_pairs, ols, pearson, spearman};
use crate::tables::{filtered, is, values};

/// Variance inflation factor from which the variables are called correlated; the text states it.
const HIGH_VIF: f64 = 2.0;

/// Values of a column by row.
type Values = Vec<Option<f64>>;

/// Mask sizes of images, or per-patient means, with the explanatory variables.
struct Cases {
    mask_px: Values,
    male: Values,
    /// In the order of [`PatientQuantity::ALL`].
    quantities: Vec<Values>,
}

/// Correlations and a regression of mask size with height, weight, age and sex.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("mask_size", "Mask size and metadata");
    section.text("Mask size is the total area of the 29 classes of an image, in pixels of the image.");
    let mut any = false;
    for subset in SUBSETS {
        let hands = study.masked(subset)?;
        if hands.height() == 0 {
            let all = study.hands(subset)?.height();
            if all > 0 {
                section.absent(format!(
                    "{} no masks. To measure them, scan with predictions.",
                    counted(all, &format!("{subset} image has"), &format!("{subset} images have"))
                ));
            }
            continue;
        }
        any = true;
        add_subset(&mut section, subset, &hands)?;
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    Ok(section)
}

fn add_subset(section: &mut Section, subset: Subset, hands: &DataFrame) -> PolarsResult<()> {
    let (images, patients) = (Cases::of(hands)?, Cases::of(&patient_means(hands)?)?);
    let mut numbers = serde_json::Map::new();
    let (mut rows, mut conclusions) = (Vec::new(), Vec::new());
    for (i, q) in PatientQuantity::ALL.into_iter().enumerate() {
        let plain = pearson(&images.quantities[i], &images.mask_px);
        let ranked = spearman(&images.quantities[i], &images.mask_px);
        let by_patient = pearson(&patients.quantities[i], &patients.mask_px);
        numbers.insert(q.key().into(), json!({"pearson": plain, "spearman": ranked, "pearson_by_patient": by_patient}));
        let cell = |c: &Option<Correlation>| c.as_ref().map_or("–".to_owned(), correlation);
        rows.push(vec![capital(q.name()), cell(&plain), cell(&ranked), cell(&by_patient)]);
        conclusions.push(match (&by_patient, &plain) {
            (Some(c), _) => format!("{}: {}", q.name(), correlation_conclusion(c)),
            (None, Some(c)) => format!("{} (images, not patients): {}", q.name(), correlation_conclusion(c)),
            (None, None) => format!("{}: not computable (too few values, or all values are equal)", q.name()),
        });
    }
    section.text(format!(
        "{}, {} of {}: the table gives correlations with the patient's height, weight and age, with 95 % confidence intervals. \
         The two hands of a patient share their metadata and are not independent. The last column uses per-patient means; use \
         this column for intervals.",
        capital(subset.name()),
        counted(hands.height(), "image with masks", "images with masks"),
        counted(patients.mask_px.len(), "patient", "patients"),
    ));
    section.table(
        format!("Correlation of mask size with metadata, {subset}"),
        &["with", "Pearson's r, images", "Spearman's ρ, images", "Pearson's r, per-patient means"],
        rows,
    );
    section.meaning(format!("{}.", capital(&conclusions.join("; "))));
    section.figure(figure(subset, hands, &images)?);

    let (by_image, by_patient) = (images.together(), patients.together());
    match &by_patient {
        Ok(fit) => regression(section, subset, fit, by_image.as_ref().ok()),
        Err(e) => section.absent(format!("No regression on height, weight, age and sex for {subset}: {e}.")),
    }
    numbers.insert("ols".into(), json!(by_image.ok()));
    numbers.insert("ols_by_patient".into(), json!(by_patient.ok()));
    section.number(subset.name(), serde_json::Value::Object(numbers));
    Ok(())
}

/// One row per patient, in the order of the ids: mean mask size of the patient's images, with the patient's metadata.
pub(super) fn patient_means(hands: &DataFrame) -> PolarsResult<DataFrame> {
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
            "Linear regression of mask size (px) on height, weight, age and sex, {subset}: per-patient means (n = {}, R² = {}){}",
            count(fit.n),
            num(fit.r2, 3),
            by_image.map_or(String::new(), |f| format!("; last two columns: images (n = {}, R² = {})", count(f.n), num(f.r2, 3))),
        ),
        &["term", "px per unit", "95 % confidence interval", "p", "VIF", "images: px per unit", "images: p"],
        rows,
    );
    let significant: Vec<String> =
        fit.coefficients[1..].iter().filter(|c| c.p < 0.05).map(|c| c.name.clone()).collect();
    let sex = fit.coefficient("male");
    let sex_text = sex.map_or(String::new(), |c| {
        let conclusion = difference_conclusion(
            &c.ci,
            0,
            "px",
            ["men's masks are significantly larger", "men's masks are significantly smaller"],
        );
        format!(
            " At equal height, weight and age, men minus women = {} px {}: {conclusion}.",
            num(c.value, 0),
            interval(&c.ci, 0)
        )
    });
    let vif = fit.coefficients[1..].iter().filter_map(|c| c.vif).fold(1.0, f64::max);
    section.meaning(format!(
        "Height, weight, age and sex together explain {} % of the variance (adjusted R² {}, F test {}). {}.{sex_text} The \
         largest variance inflation factor (VIF) is {} ({}).",
        num(100.0 * fit.r2, 0),
        num(fit.r2_adjusted, 3),
        p_text(fit.f_p),
        match &significant[..] {
            [] => "No single coefficient is significant at p < 0.05, which does not show that they are 0".to_owned(),
            names => format!("Significant at p < 0.05: {}", listed(names)),
        },
        num(vif, 1),
        if vif >= HIGH_VIF {
            "2 or more: the variables are correlated with one another, so interpret single coefficients with care"
        } else {
            "below 2: the variables are only weakly correlated with one another"
        },
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
            "Mask size by height, weight and age, {subset} (n = {})",
            counted(hands.height(), "image", "images")
        ),
        note: "One point per image. r with its 95 % confidence interval over images, which are treated as independent."
            .into(),
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
    Some(FittedLine { name: "least squares, 95 % confidence band".into(), line })
}
