use polars::prelude::*;
use serde_json::{Map, Value, json};

use super::mask_size::{OptionalValues, complete_hands};
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::style::okabe_ito;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows, Scatter, ScatterSeries};
use crate::report::block::outcome;
use crate::report::per_patient::{MALE, METADATA, per_patient};
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{
    Directions, Evidence, MIN_PATIENTS, SMALL_SD, capital, count, counted, difference_conclusion, interval, listed,
    num, p_text, visible,
};
use crate::report::{Section, Study};
use crate::stats::{
    Coefficient, Covariance, NestedF, Ols, OlsError, RobustCoefficients, RowInfluence, Undefined, Wald,
    equivalence_of_means, nested_f, ols, summary, welch,
};
use crate::tables::{is, texts, values};

/// Variance inflation factor from which the variables are called correlated; the text states it.
const HIGH_VIF: f64 = 2.0;
/// Scaled condition number from which coefficients depend strongly on small changes of the data (Belsley 1980).
const HIGH_CONDITION: f64 = 30.0;
/// Absolute studentised residual above which a patient is listed as unusual.
const OUTLYING: f64 = 3.0;
/// Number of most influential patients in the table.
const INFLUENTIAL: usize = 8;
/// The regressors besides sex, by column.
const REGRESSORS: [&str; 3] = ["height_cm", "weight_kg", "age"];

/// Regression of mask size on height, weight, age and sex, of each field on sex, and what metadata add once sex is known.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("regression", "Regression of mask size");
    let mut any = false;
    for subset in SUBSETS {
        let masked = study.masked(subset)?;
        if masked.height() == 0 {
            continue;
        }
        any = true;
        let hands = complete_hands(&mut section, subset, &masked)?;
        let patients = per_patient(&hands)?;
        let mut numbers = Map::new();
        fields_on_sex(&mut section, subset, &patients, &mut numbers)?;
        match Models::of(&hands, &patients)? {
            Err(reason) => {
                section.absent(format!("No regression on height, weight, age and sex for {subset}: {reason}."));
                numbers.insert("ols_by_patient".into(), json!({"undefined": reason.to_string()}));
            }
            Ok(models) => {
                models.present(&mut section, subset, &texts(&patients, "patient_id")?);
                numbers.extend(models.numbers());
            }
        }
        section.number(subset.name(), Value::Object(numbers));
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    Ok(section)
}

/// Columns for the regressions; the response is the mask size in px.
struct Columns {
    mask_px: OptionalValues,
    metadata: Vec<(&'static str, OptionalValues)>,
    male: OptionalValues,
}

impl Columns {
    fn of(frame: &DataFrame, male: Expr) -> PolarsResult<Columns> {
        let metadata = REGRESSORS.iter().map(|key| Ok((*key, values(frame, col(*key))?)));
        Ok(Columns {
            mask_px: values(frame, col("mask_px"))?,
            metadata: metadata.collect::<PolarsResult<_>>()?,
            male: values(frame, male)?,
        })
    }

    fn metadata(&self) -> Vec<(&str, &[Option<f64>])> {
        self.metadata.iter().map(|(name, values)| (*name, &values[..])).collect()
    }

    fn sex(&self) -> [(&str, &[Option<f64>]); 1] {
        [(MALE, &self.male)]
    }

    fn fit(&self) -> Result<Ols, OlsError> {
        ols(&self.mask_px, &[self.metadata(), self.sex().to_vec()].concat())
    }
}

/// The regressions of mask size.
struct Models {
    patients: Ols,
    hc3: Result<RobustCoefficients, Undefined>,
    images: Result<Ols, OlsError>,
    clustered: Result<RobustCoefficients, Undefined>,
    metadata_given_sex: Result<NestedF, OlsError>,
    sex_given_metadata: Result<NestedF, OlsError>,
    /// The same question by images, robust to clusters.
    wald: Result<Wald, Undefined>,
}

impl Models {
    /// Fits all; the reason if the main one cannot be fitted.
    fn of(hands: &DataFrame, patients: &DataFrame) -> PolarsResult<Result<Models, OlsError>> {
        let of_patients = Columns::of(patients, col(MALE))?;
        let of_images = Columns::of(hands, is("sex", Sex::M).cast(DataType::Float64))?;
        let fit = match of_patients.fit() {
            Ok(fit) => fit,
            Err(reason) => return Ok(Err(reason)),
        };
        let clusters = cluster_ids(hands)?;
        let images = of_images.fit();
        let clustered = match &images {
            Ok(fit) => fit.robust(Covariance::Clusters(&clusters)),
            Err(_) => Err(Undefined::TooFew { of: "complete images", n: hands.height(), needed: REGRESSORS.len() + 3 }),
        };
        let (metadata, sex) = (of_patients.metadata(), of_patients.sex());
        Ok(Ok(Models {
            hc3: fit.robust(Covariance::Hc3),
            metadata_given_sex: nested_f(&of_patients.mask_px, &sex, &metadata),
            sex_given_metadata: nested_f(&of_patients.mask_px, &metadata, &sex),
            wald: clustered.clone().and_then(|c| c.wald(&REGRESSORS)),
            patients: fit,
            images,
            clustered,
        }))
    }

    fn numbers(&self) -> Map<String, Value> {
        let influence = self.patients.influence();
        let numbers = json!({
            "ols_by_patient": self.patients, "ols_by_patient_hc3": outcome(&self.hc3), "ols": outcome(&self.images),
            "ols_clustered": outcome(&self.clustered), "metadata_given_sex": outcome(&self.metadata_given_sex),
            "sex_given_metadata": outcome(&self.sex_given_metadata), "metadata_given_sex_by_image": outcome(&self.wald),
            "largest_studentised_residual": influence.iter().filter_map(|r| r.studentised).map(f64::abs).fold(0.0, f64::max),
            "largest_leverage": influence.iter().map(|r| r.leverage).fold(0.0, f64::max),
            "largest_cook": influence.iter().filter_map(|r| r.cook).fold(0.0, f64::max),
        });
        if let Value::Object(numbers) = numbers { numbers } else { Map::new() }
    }

    fn present(&self, section: &mut Section, subset: Subset, ids: &[Option<String>]) {
        let fit = &self.patients;
        section.meaning(self.summary_text(subset));
        section.table(
            format!(
                "Linear regression of mask size (px) on height, weight, age and sex, {subset}: per-patient means (n = {}, R² = {}, \
                 adjusted R² = {}, AIC = {}){}",
                count(fit.n),
                num(fit.r2, 3),
                num(fit.r2_adjusted, 3),
                num(fit.aic, 1),
                self.images.as_ref().map_or(String::new(), |f| format!(
                    "; last two columns: images (n = {}, R² = {}), errors robust to the patients as clusters",
                    count(f.n),
                    num(f.r2, 3)
                )),
            ),
            &["term", "px per unit", "95 % CI", "p", "HC3: 95 % CI", "HC3: p", "VIF", "images: px per unit", "clustered: 95 % CI, p"],
            fit.coefficients.iter().map(|c| self.row(c)).collect(),
        );
        for c in self.hc3.iter().flat_map(|robust| &robust.coefficients[1..]) {
            section.test(format!("mask size on {}, {subset}", term(&c.name)), "t (HC3)", fit.n, c.p);
        }
        section.figure(coefficients_figure(subset, self));
        self.nested(section, subset);
        self.diagnostics(section, subset, ids);
    }

    fn row(&self, c: &Coefficient) -> Vec<String> {
        let robust = self.hc3.as_ref().ok().and_then(|r| r.coefficient(&c.name));
        let image = self.clustered.as_ref().ok().and_then(|r| r.coefficient(&c.name));
        let none = || "–".to_owned();
        vec![
            term(&c.name),
            num(c.value, 0),
            interval(&c.ci, 0),
            p_text(c.p),
            robust.map_or_else(none, |r| interval(&r.ci, 0)),
            robust.map_or_else(none, |r| p_text(r.p)),
            c.vif.map_or(String::new(), |v| num(v, 2)),
            image.map_or_else(none, |i| num(i.value, 0)),
            image.map_or_else(none, |i| format!("{}, {}", interval(&i.ci, 0), p_text(i.p))),
        ]
    }

    fn summary_text(&self, subset: Subset) -> String {
        let fit = &self.patients;
        let robust: Vec<&Coefficient> = self.hc3.as_ref().map_or_else(
            |_| fit.coefficients[1..].iter().collect(),
            |robust| robust.coefficients[1..].iter().collect(),
        );
        let significant: Vec<String> = robust.iter().filter(|c| c.p < 0.05).map(|c| term(&c.name)).collect();
        let errors = match &self.hc3 {
            Ok(_) => "HC3 errors".to_owned(),
            Err(reason) => format!("plain errors; HC3 is not defined: {reason}"),
        };
        let sex = robust.iter().find(|c| c.name == MALE).map_or(String::new(), |c| sex_text(c, fit.n));
        let vif = fit.coefficients[1..].iter().filter_map(|c| c.vif).fold(1.0, f64::max);
        format!(
            "{}: height, weight, age and sex together explain {} % of the variance of mask size (adjusted R² {}, F test {}, AIC {}, \
             n = {}). {} ({errors}).{sex} The largest variance inflation factor (VIF) is {} ({}). The condition number is {} in the \
             units of the table and {} with scaled columns ({}).",
            capital(subset.name()),
            num(100.0 * fit.r2, 0),
            num(fit.r2_adjusted, 3),
            p_text(fit.f_p),
            num(fit.aic, 1),
            counted(fit.n, "patient", "patients"),
            match &significant[..] {
                [] =>
                    "No single coefficient is significant at p < 0.05, which does not show that they are 0".to_owned(),
                names => format!("Significant at p < 0.05: {}", listed(names)),
            },
            num(vif, 1),
            if vif >= HIGH_VIF {
                "2 or more: the variables are correlated with one another, so interpret single coefficients with care"
            } else {
                "below 2: the variables are only weakly correlated with one another"
            },
            num(fit.condition_number, 0),
            num(fit.scaled_condition_number, 0),
            if fit.scaled_condition_number >= HIGH_CONDITION {
                "30 or more: coefficients depend strongly on small changes of the data"
            } else {
                "below 30: coefficients are stable"
            },
        )
    }

    /// p value of sex at equal height, weight and age with HC3 errors: the same question as the nested F test of sex.
    fn robust_p_of_sex(&self) -> Option<f64> {
        self.hc3.as_ref().ok().and_then(|robust| robust.coefficient(MALE)).map(|c| c.p)
    }

    fn nested(&self, section: &mut Section, subset: Subset) {
        for (found, added, known) in [
            (&self.metadata_given_sex, "height, weight and age", "sex"),
            (&self.sex_given_metadata, "sex", "height, weight and age"),
        ] {
            match found {
                Err(reason) => {
                    section.absent(format!("Whether {added} add to {known} cannot be tested for {subset}: {reason}."))
                }
                Ok(test) => {
                    section.text(format!(
                        "What {} once {known} {} known ({subset}): R² rises from {} to {} (nested F test with {} and {} degrees of \
                         freedom: F = {}, {}; AIC {} by {}). {}",
                        if added == "sex" { "sex adds".to_owned() } else { format!("{added} add") },
                        if known == "sex" { "is" } else { "are" },
                        num(test.r2_base, 3),
                        num(test.r2, 3),
                        test.df1,
                        test.df2,
                        num(test.f, 2),
                        p_text(test.p),
                        if test.aic_gain >= 0.0 { "falls" } else { "rises" },
                        num(test.aic_gain.abs(), 1),
                        improvement(test.p, if added == "sex" { self.robust_p_of_sex() } else { None }),
                    ));
                    section.test(format!("{added} given {known}, {subset}"), "nested F", test.n, test.p);
                }
            }
        }
        if let Ok(wald) = &self.wald {
            section.text(format!(
                "The same question by images, with errors robust to patients as clusters: height, weight and age given sex, Wald F({}, \
                 {}) = {}, {}.",
                wald.df1,
                wald.df2,
                num(wald.f, 2),
                p_text(wald.p)
            ));
        }
    }

    fn diagnostics(&self, section: &mut Section, subset: Subset, ids: &[Option<String>]) {
        let fit = &self.patients;
        let mut influence = fit.influence();
        let high = 2.0 * fit.coefficients.len() as f64 / fit.n as f64;
        let outlying = influence.iter().filter(|r| r.studentised.is_some_and(|t| t.abs() > OUTLYING)).count();
        let far = influence.iter().filter(|r| r.leverage > high).count();
        // Of this many patients, so many are expected by chance.
        section.text(format!(
            "Residuals of {subset}: {} an absolute studentised residual above {OUTLYING} (about {} expected by chance among {}); {} a \
             leverage above {} (twice the mean).",
            counted(outlying, "patient has", "patients have"),
            num(0.0027 * fit.n as f64, 1),
            counted(fit.n, "patient", "patients"),
            counted(far, "patient has", "patients have"),
            num(high, 3),
        ));
        section.figure(residuals_figure(subset, &influence));
        influence.sort_by(|a, b| b.cook.unwrap_or(f64::INFINITY).total_cmp(&a.cook.unwrap_or(f64::INFINITY)));
        let shown = influence.len().min(INFLUENTIAL);
        let number = |value: Option<f64>, decimals| value.map_or("–".to_owned(), |v| num(v, decimals));
        section.table(
            format!(
                "The {shown} of {} whose removal changes the fit most, {subset}: check these first",
                counted(fit.n, "patient", "patients")
            ),
            &["patient", "fitted (px)", "residual (px)", "studentised residual", "leverage", "Cook's distance"],
            influence[..shown]
                .iter()
                .map(|r| {
                    vec![
                        ids.get(r.row).and_then(Option::as_deref).map_or("–".to_owned(), visible),
                        num(r.fitted, 0),
                        num(r.residual, 0),
                        number(r.studentised, 2),
                        num(r.leverage, 3),
                        number(r.cook, 3),
                    ]
                })
                .collect(),
        );
    }
}

/// One number per image, equal for the images of a patient.
fn cluster_ids(hands: &DataFrame) -> PolarsResult<Vec<usize>> {
    let mut ids = std::collections::HashMap::new();
    let number = |id: Option<String>| {
        let next = ids.len();
        *ids.entry(id).or_insert(next)
    };
    Ok(texts(hands, "patient_id")?.into_iter().map(number).collect())
}

/// A regressor's name for people, with its unit.
fn term(name: &str) -> String {
    match METADATA.iter().find(|q| q.key == name) {
        Some(q) => format!("{} ({})", q.name, q.unit),
        None if name == MALE => "male sex".to_owned(),
        None => name.to_owned(),
    }
}

fn sex_text(c: &Coefficient, n: usize) -> String {
    let directions = Directions {
        positive: "men's masks are significantly larger",
        negative: "men's masks are significantly smaller",
    };
    let evidence = Evidence { ci: c.ci, none: 0.0, p: c.p, test: "the t test", equivalence: None, patients: n };
    format!(
        " At equal height, weight and age, men minus women = {} px {}: {}.",
        num(c.value, 0),
        interval(&c.ci, 0),
        difference_conclusion(&evidence, 0, "px", directions)
    )
}

/// What a nested F test shows, given the p value of the same question with HC3 errors, if there is one.
fn improvement(plain: f64, robust: Option<f64>) -> String {
    match (plain < 0.05, robust) {
        (shown, Some(robust)) if shown != (robust < 0.05) => format!(
            "With errors that allow for unequal variances (HC3) it is {}: the two tests disagree, so this is not settled.",
            p_text(robust)
        ),
        (true, _) => "The improvement is significant.".to_owned(),
        (false, _) => "An improvement is not shown; that is no evidence that there is none.".to_owned(),
    }
}

/// Regression of each field on sex: the difference of means with HC3 errors.
fn fields_on_sex(
    section: &mut Section,
    subset: Subset,
    patients: &DataFrame,
    numbers: &mut Map<String, Value>,
) -> PolarsResult<()> {
    let male = values(patients, col(MALE))?;
    let (mut rows, mut of_fields) = (Vec::new(), Map::new());
    for q in METADATA {
        let field = values(patients, col(q.key))?;
        let fit = ols(&field, &[(MALE, &male)]);
        let robust = fit.as_ref().map(|fit| fit.robust(Covariance::Hc3));
        let of = |sex: f64| -> Vec<f64> {
            field.iter().zip(&male).filter(|(_, m)| **m == Some(sex)).filter_map(|(v, _)| *v).collect()
        };
        let (men, women) = (of(1.0), of(0.0));
        of_fields.insert(
            q.key.to_owned(),
            json!({
                "ols": outcome(&fit), "hc3": robust.as_ref().map_or(Value::Null, outcome),
                "men": summary(&men), "women": summary(&women),
            }),
        );
        let (Ok(fit), Ok(Ok(robust))) = (&fit, &robust) else {
            let reason = match (&fit, &robust) {
                (Err(e), _) => e.to_string(),
                (_, Ok(Err(e))) => e.to_string(),
                _ => String::new(),
            };
            let mut row = vec![capital(q.name), format!("not defined: {reason}")];
            row.resize(6, String::new());
            rows.push(row);
            continue;
        };
        let Some(c) = robust.coefficient(MALE) else { continue };
        let patients = men.len().min(women.len());
        let equivalence =
            welch(&men, &women).ok().and_then(|w| equivalence_of_means(&men, &women, SMALL_SD * w.pooled_sd).ok());
        let evidence = Evidence { ci: c.ci, none: 0.0, p: c.p, test: "the t test", equivalence, patients };
        section.test(format!("{} on sex, {subset}", q.name), "t (HC3)", fit.n, c.p);
        rows.push(vec![
            format!("{} ({})", capital(q.name), q.unit),
            format!("{} ({} men, {} women)", count(fit.n), count(men.len()), count(women.len())),
            format!("{} {}", num(c.value, q.decimals), interval(&c.ci, q.decimals)),
            p_text(c.p),
            num(fit.r2, 3),
            if patients < MIN_PATIENTS {
                format!("{} (few patients)", evidence.short("men"))
            } else {
                evidence.short("men")
            },
        ]);
    }
    section.table(
        format!("Each field on sex, {subset}: men minus women with HC3 errors; R²: share of the field's variance that sex explains"),
        &["field", "n", "difference, 95 % CI", "p", "R²", "what it shows"],
        rows,
    );
    numbers.insert("fields_on_sex".into(), Value::Object(of_fields));
    Ok(())
}

/// Coefficients in standard deviations of the regressor, so that they share an axis.
fn coefficients_figure(subset: Subset, models: &Models) -> Figure {
    let fit = &models.patients;
    let mut ends = vec![0.0];
    let mut rows = Vec::new();
    for (j, c) in fit.coefficients.iter().enumerate().skip(1) {
        let column: Vec<f64> = fit.regressor(j);
        let sd = summary(&column).and_then(|s| s.sd).unwrap_or(1.0) / 1000.0;
        let mut mark = |name: &str, colour, c: &Coefficient| {
            let ends_of = (sd * c.ci.low, sd * c.ci.high);
            ends.extend([ends_of.0, ends_of.1]);
            Mark::Dot { name: name.to_owned(), colour, value: sd * c.value, interval: Some(ends_of) }
        };
        let robust = models.hc3.as_ref().ok().and_then(|r| r.coefficient(&c.name));
        let image = models.clustered.as_ref().ok().and_then(|r| r.coefficient(&c.name));
        let mut marks = vec![mark("patients, plain errors", okabe_ito::SKY, c)];
        marks.extend(robust.map(|c| mark("patients, HC3", okabe_ito::BLUE, c)));
        marks.extend(image.map(|c| mark("images, clustered by patient", okabe_ito::ORANGE, c)));
        rows.push(CategoryRow { label: term(&c.name), marks, note: format!("{} per sd", num(sd * c.value, 1)) });
    }
    Figure {
        name: format!("regression-{subset}"),
        title: format!("Coefficients of the regression of mask size, {subset} (n = {})", counted(fit.n, "patient", "patients")),
        note: "Change of mask size per standard deviation of the regressor, at equal values of the others; lines: 95 % confidence intervals.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("change of mask size (1,000 px)", ends),
            rows,
            reference: Some(("no effect (0)".into(), 0.0)),
        })],
    }
}

fn residuals_figure(subset: Subset, influence: &[RowInfluence]) -> Figure {
    let colour = subset_colour(subset);
    let series = |points: Vec<(f64, f64)>| vec![ScatterSeries { name: "patients".into(), colour, points }];
    let known = || influence.iter().filter_map(|r| Some((r, r.studentised?)));
    let fitted = known().map(|(r, t)| (r.fitted / 1000.0, t)).collect();
    let leverage = known().map(|(r, t)| (r.leverage, t)).collect();
    let chart = |title: &str, x_label: &str, points| {
        Chart::Scatter(Scatter {
            title: title.into(),
            x_label: x_label.into(),
            y_label: "studentised residual".into(),
            series: series(points),
            fit: None,
        })
    };
    Figure {
        name: format!("residuals-{subset}"),
        title: format!("Residuals of the regression of mask size, {subset} (n = {})", counted(influence.len(), "patient", "patients")),
        note: "Left: a funnel or a curve would show unequal variance or a relation that is not linear. Right: far right and far from 0 means influential.".into(),
        columns: 2,
        charts: vec![
            chart("Against fitted values", "fitted mask size (1,000 px)", fitted),
            chart("Against leverage", "leverage", leverage),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_that_disagree_are_not_settled() {
        assert_eq!(improvement(0.01, Some(0.02)), "The improvement is significant.");
        assert!(improvement(0.2, Some(0.3)).contains("not shown") && improvement(0.2, None).contains("not shown"));
        for (plain, robust) in [(0.031, 0.154), (0.2, 0.01)] {
            let text = improvement(plain, Some(robust));
            assert!(text.contains("not settled") && text.contains(&p_text(robust)), "{text}");
        }
    }
}
