//! Two groups of patients compared column by column, and by a classifier: the training with the test set, or two data sets.

use std::collections::HashSet;

use polars::prelude::*;
use serde_json::{Value, json};

use super::block::outcome;
use super::per_patient::{MALE, METADATA, OF_IMAGES, Quantity};
use super::wording::SMALL_SD;
use crate::stats::{
    ChiSquare, ClassifierTest, ClassifierTestOptions, CramerVonMises, Equivalence, KolmogorovSmirnov, MannWhitney,
    NamedColumn, SampleSummary, StabilityIndex, StandardisedDifference, TwoByTwo, Undefined, VisibleOddsRatio, Welch,
    chi_square, classifier_test, cramer_von_mises, equivalence_of_welch, kolmogorov_smirnov, mann_whitney,
    stability_index, stability_index_of_counts, standardised_difference, summary, visible_odds_ratio, wasserstein,
    welch,
};
use crate::tables::{numbers, texts, values};

/// Power for which the smallest visible odds ratio is stated.
const POWER: f64 = 0.8;
/// Smallest share of known values in both groups with which a column enters the classifier.
const MIN_KNOWN: f64 = 0.5;

/// Two groups of patients, each a frame of [`super::per_patient::per_patient`].
pub(super) struct Groups<'a> {
    /// The reference group and its name.
    pub base: (&'a str, DataFrame),
    /// The group that is compared with it, and its name.
    pub other: (&'a str, DataFrame),
    /// Number of patients in both.
    pub common: usize,
}

/// Number of patients, by their ids, in both of two frames of one data set.
pub(super) fn patients_in_both(a: &DataFrame, b: &DataFrame) -> PolarsResult<usize> {
    let ids = |frame: &DataFrame| -> PolarsResult<HashSet<String>> {
        Ok(texts(frame, "patient_id")?.into_iter().flatten().collect())
    };
    Ok(ids(a)?.intersection(&ids(b)?).count())
}

/// A column compared between the groups: `other` minus `base`.
pub(super) struct ColumnShift {
    pub quantity: Quantity,
    /// Values by group, base first; missing values left out.
    pub values: [Vec<f64>; 2],
    /// Number of patients without a value, by group.
    pub missing: [usize; 2],
    pub welch: Result<Welch, Undefined>,
    pub mann_whitney: Result<MannWhitney, Undefined>,
    pub kolmogorov_smirnov: Result<KolmogorovSmirnov, Undefined>,
    pub cramer_von_mises: Result<CramerVonMises, Undefined>,
    pub wasserstein: Result<f64, Undefined>,
    pub smd: Result<StandardisedDifference, Undefined>,
    pub psi: Result<StabilityIndex, Undefined>,
    pub equivalence: Result<Equivalence, Undefined>,
}

impl ColumnShift {
    fn of(quantity: Quantity, groups: &Groups<'_>) -> PolarsResult<ColumnShift> {
        let known = |frame: &DataFrame| numbers(frame, col(quantity.key));
        let (base, other) = (known(&groups.base.1)?, known(&groups.other.1)?);
        let missing = [groups.base.1.height() - base.len(), groups.other.1.height() - other.len()];
        let test = welch(&other, &base);
        Ok(ColumnShift {
            quantity,
            missing,
            equivalence: test.clone().and_then(|w| equivalence_of_welch(&w, SMALL_SD * w.pooled_sd)),
            welch: test,
            mann_whitney: mann_whitney(&other, &base),
            kolmogorov_smirnov: kolmogorov_smirnov(&other, &base),
            cramer_von_mises: cramer_von_mises(&other, &base),
            wasserstein: wasserstein(&other, &base),
            smd: standardised_difference(&other, &base),
            psi: stability_index(&base, &other),
            values: [base, other],
        })
    }

    /// The tests with their p values, those that can be computed.
    pub(super) fn tests(&self) -> Vec<(&'static str, f64)> {
        [
            ("Welch", self.welch.as_ref().map(|t| t.p)),
            ("Mann-Whitney", self.mann_whitney.as_ref().map(|t| t.p)),
            ("Kolmogorov-Smirnov", self.kolmogorov_smirnov.as_ref().map(|t| t.p)),
            ("Cramér-von Mises", self.cramer_von_mises.as_ref().map(|t| t.p)),
        ]
        .into_iter()
        .filter_map(|(name, p)| Some((name, p.ok()?)))
        .collect()
    }

    pub(super) fn summaries(&self) -> [Option<SampleSummary>; 2] {
        self.values.each_ref().map(|values| summary(values))
    }

    pub(super) fn numbers(&self, names: [&str; 2]) -> Value {
        let [base, other] = self.summaries();
        json!({
            "unit": self.quantity.unit, "missing": {names[0]: self.missing[0], names[1]: self.missing[1]},
            "summary": {names[0]: base, names[1]: other},
            "welch": outcome(&self.welch), "equivalence": outcome(&self.equivalence),
            "mann_whitney": outcome(&self.mann_whitney), "kolmogorov_smirnov": outcome(&self.kolmogorov_smirnov),
            "cramer_von_mises": outcome(&self.cramer_von_mises), "wasserstein": outcome(&self.wasserstein),
            "standardised_mean_difference": outcome(&self.smd), "population_stability_index": outcome(&self.psi),
        })
    }
}

/// The share of men compared between the groups.
pub(super) struct SexShift {
    pub counts: TwoByTwo,
    pub missing: [usize; 2],
    pub chi_square: Result<ChiSquare, Undefined>,
    pub smd: Result<StandardisedDifference, Undefined>,
    pub psi: Result<StabilityIndex, Undefined>,
    pub visible: Result<VisibleOddsRatio, Undefined>,
}

impl SexShift {
    fn of(groups: &Groups<'_>) -> PolarsResult<SexShift> {
        let known = |frame: &DataFrame| numbers(frame, col(MALE));
        let (base, other) = (known(&groups.base.1)?, known(&groups.other.1)?);
        let men = |values: &[f64]| values.iter().filter(|v| **v == 1.0).count();
        let (with_base, with) = (men(&base), men(&other));
        let counts = TwoByTwo { with, without: other.len() - with, with_base, without_base: base.len() - with_base };
        let share = with_base as f64 / base.len().max(1) as f64;
        let rows = [[with_base, counts.without_base], [with, counts.without]];
        Ok(SexShift {
            counts,
            missing: [groups.base.1.height() - base.len(), groups.other.1.height() - other.len()],
            chi_square: chi_square(&rows.map(Vec::from)),
            smd: standardised_difference(&other, &base),
            psi: stability_index_of_counts(&rows[0], &rows[1]),
            visible: visible_odds_ratio(other.len(), base.len(), share, POWER),
        })
    }

    pub(super) fn numbers(&self, names: [&str; 2]) -> Value {
        json!({
            "missing": {names[0]: self.missing[0], names[1]: self.missing[1]}, "counts": self.counts, "odds_ratio": self.counts.odds_ratio(), "share_ratio": self.counts.share_ratio(),
            "fisher_p": self.counts.fisher_p(), "chi_square": outcome(&self.chi_square),
            "standardised_mean_difference": outcome(&self.smd), "population_stability_index": outcome(&self.psi),
            "smallest_visible_odds_ratio": outcome(&self.visible),
        })
    }
}

/// Everything that is compared between two groups of patients.
pub(super) struct Shift {
    /// Number of patients by group, base first.
    pub patients: [usize; 2],
    pub sex: SexShift,
    /// Columns with values in both groups.
    pub columns: Vec<ColumnShift>,
    /// Columns that one group or both do not have, with the group.
    pub not_compared: Vec<String>,
    pub classifier: Result<ClassifierTest, Undefined>,
    /// Names of the columns that enter the classifier.
    pub classified: Vec<&'static str>,
}

impl Shift {
    /// Compares the groups, the classifier with this number of permutations.
    ///
    /// # Errors
    /// polars cannot evaluate the frames.
    pub(super) fn of(groups: &Groups<'_>, permutations: usize) -> PolarsResult<Shift> {
        let (mut columns, mut not_compared) = (Vec::new(), Vec::new());
        for quantity in METADATA.into_iter().chain(OF_IMAGES) {
            let found = ColumnShift::of(quantity, groups)?;
            let names = [groups.base.0, groups.other.0];
            let without: Vec<&str> = names
                .into_iter()
                .zip(&found.values)
                .filter(|(_, values)| values.is_empty())
                .map(|(name, _)| name)
                .collect();
            match without.is_empty() {
                true => columns.push(found),
                false => not_compared.push(format!("{} (no values in {})", quantity.name, without.join(" and "))),
            }
        }
        let (classifier, classified) = classify(groups, &columns, permutations)?;
        Ok(Shift {
            patients: [groups.base.1.height(), groups.other.1.height()],
            sex: SexShift::of(groups)?,
            columns,
            not_compared,
            classifier,
            classified,
        })
    }

    pub(super) fn numbers(&self, names: [&str; 2]) -> Value {
        let columns: serde_json::Map<String, Value> =
            self.columns.iter().map(|c| (c.quantity.key.to_owned(), c.numbers(names))).collect();
        json!({
            "patients": {names[0]: self.patients[0], names[1]: self.patients[1]}, "sex": self.sex.numbers(names),
            "columns": columns, "not_compared": self.not_compared,
            "classifier": outcome(&self.classifier), "classifier_columns": self.classified,
        })
    }
}

/// A classifier test on sex and the columns that most patients of both groups have.
fn classify(
    groups: &Groups<'_>,
    columns: &[ColumnShift],
    permutations: usize,
) -> PolarsResult<(Result<ClassifierTest, Undefined>, Vec<&'static str>)> {
    let heights = [groups.base.1.height(), groups.other.1.height()];
    let is_known =
        |c: &&ColumnShift| c.values.iter().zip(heights).all(|(values, n)| values.len() as f64 >= MIN_KNOWN * n as f64);
    let wanted: Vec<(&'static str, &'static str)> =
        columns.iter().filter(is_known).map(|c| (c.quantity.key, c.quantity.name)).chain([(MALE, "sex")]).collect();
    let both = |key: &str| -> PolarsResult<Vec<Option<f64>>> {
        Ok([values(&groups.base.1, col(key))?, values(&groups.other.1, col(key))?].concat())
    };
    let read: Vec<Vec<Option<f64>>> = wanted.iter().map(|(key, _)| both(key)).collect::<PolarsResult<_>>()?;
    let named: Vec<NamedColumn<'_>> =
        wanted.iter().zip(&read).map(|((_, name), values)| NamedColumn { name, values }).collect();
    let is_second: Vec<bool> = (0..heights[0] + heights[1]).map(|i| i >= heights[0]).collect();
    // The frames have one row per patient. A patient in both groups would be trained as one and tested as the other.
    if groups.common > 0 {
        return Ok((Err(Undefined::InBothGroups { n: groups.common }), wanted.into_iter().map(|w| w.1).collect()));
    }
    let patients: Vec<usize> = (0..is_second.len()).collect();
    let found = classifier_test(&named, &is_second, &patients, ClassifierTestOptions { permutations, seed: 0 });
    Ok((found, wanted.into_iter().map(|w| w.1).collect()))
}
