use std::collections::BTreeMap;

use nalgebra::{Cholesky, DMatrix, DVector};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Undefined;
use super::correlation::ranks;
use super::summary::{finite, mean, variance};

/// Penalty of the squared coefficients; the columns have a standard deviation of 1.
const RIDGE: f64 = 1.0;
/// Largest number of folds.
const FOLDS: usize = 5;
/// Smallest number of rows per class.
const MIN_ROWS: usize = 6;

/// A column of numbers, `None` where a value is missing.
#[derive(Clone, Copy, Debug)]
pub struct NamedColumn<'a> {
    /// Name.
    pub name: &'a str,
    /// Values by row.
    pub values: &'a [Option<f64>],
}

/// Settings of a classifier two-sample test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassifierTestOptions {
    /// Number of permutations of the labels.
    pub permutations: usize,
    /// Seed of folds and permutations.
    pub seed: u64,
}

impl Default for ClassifierTestOptions {
    fn default() -> Self {
        ClassifierTestOptions { permutations: 999, seed: 0 }
    }
}

/// How much a column separates the samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnSeparation {
    /// Name of the column.
    pub name: String,
    /// Area under the ROC curve with this column only.
    pub alone: f64,
    /// Area with all columns minus area without this one.
    pub loss_without: f64,
}

/// Result of a classifier two-sample test (Lopez-Paz and Oquab 2017).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassifierTest {
    /// Rows of the first sample.
    pub n1: usize,
    /// Rows of the second sample.
    pub n2: usize,
    /// Number of folds; rows of one patient are in one fold.
    pub folds: usize,
    /// Area under the ROC curve of held-out rows: the probability that a row of the second sample has a higher score than a
    /// row of the first in the same fold. 0.5 if the samples cannot be distinguished, 1 if they always can.
    pub auc: f64,
    /// (1 + permutations with at least this area) / (1 + permutations).
    pub p: f64,
    /// The 95 % quantile of the area over the permutations.
    pub null_bound: f64,
    /// Number of permutations.
    pub permutations: usize,
    /// The columns, the one that separates most first.
    pub columns: Vec<ColumnSeparation>,
    /// Fold of each row.
    #[serde(skip)]
    pub fold_of_row: Vec<usize>,
}

/// Whether a linear classifier can distinguish two samples on rows that it was not trained on. Columns are standardised, and
/// each enters as its value, its square (for differences in spread) and, if values are missing, whether it is missing. The
/// classifier is a ridge regression on the label: linear discriminant analysis with a penalty, whose refit for permuted
/// labels is cheap. Labels are permuted over groups (patients), and a group is in one fold. Agrees with scikit-learn's `Ridge`
/// and `roc_auc_score` on the same folds.
///
/// # Errors
/// A sample has fewer than six rows, a group is in both samples, or no column varies.
pub fn classifier_test(
    columns: &[NamedColumn<'_>],
    is_second: &[bool],
    groups: &[usize],
    options: ClassifierTestOptions,
) -> Result<ClassifierTest, Undefined> {
    let n2 = is_second.iter().filter(|s| **s).count();
    let n1 = is_second.len() - n2;
    Undefined::unless_enough("rows in the smaller sample", n1.min(n2), MIN_ROWS)?;
    let labels = group_labels(is_second, groups)?;
    let mut random = ChaCha8Rng::seed_from_u64(options.seed);
    let smaller = labels.values().filter(|l| **l).count();
    let folds = FOLDS.min(smaller).min(labels.len() - smaller);
    Undefined::unless_enough("patients in the smaller sample", folds, 2)?;
    let fold_of_row = assign_folds(groups, &labels, folds, &mut random);
    let features: Vec<(usize, Vec<f64>)> =
        columns.iter().enumerate().flat_map(|(at, c)| features(c.values).into_iter().map(move |f| (at, f))).collect();
    if features.is_empty() {
        return Err(Undefined::Constant { of: "values of every column" });
    }
    let all: Vec<&[f64]> = features.iter().map(|f| &f.1[..]).collect();
    let model = Folded::new(&all, &fold_of_row, folds);
    let auc = model.auc(is_second);
    let null = permuted(&model, groups, &labels, options.permutations, &mut random);
    let as_large = null.iter().filter(|found| **found >= auc - 1e-12).count();
    let separation = |(at, column): (usize, &NamedColumn<'_>)| {
        let of = |wanted: bool| -> Vec<&[f64]> {
            features.iter().filter(|f| (f.0 == at) == wanted).map(|f| &f.1[..]).collect()
        };
        let area = |features: &[&[f64]]| match features.is_empty() {
            true => 0.5,
            false => Folded::new(features, &fold_of_row, folds).auc(is_second),
        };
        let (alone, without) = (area(&of(true)), area(&of(false)));
        ColumnSeparation { name: column.name.to_owned(), alone, loss_without: auc - without }
    };
    let mut separations: Vec<ColumnSeparation> = columns.iter().enumerate().map(separation).collect();
    separations.sort_by(|a, b| b.alone.total_cmp(&a.alone).then_with(|| a.name.cmp(&b.name)));
    Ok(ClassifierTest {
        n1,
        n2,
        folds,
        auc,
        p: (1 + as_large) as f64 / (1 + null.len()) as f64,
        null_bound: if null.is_empty() { f64::NAN } else { super::quantile_sorted(&null, 0.95) },
        permutations: null.len(),
        columns: separations,
        fold_of_row,
    })
}

/// The label of each group; an error if a group has rows in both samples.
fn group_labels(is_second: &[bool], groups: &[usize]) -> Result<BTreeMap<usize, bool>, Undefined> {
    let mut labels = BTreeMap::new();
    for (group, label) in groups.iter().zip(is_second) {
        if *labels.entry(*group).or_insert(*label) != *label {
            let (of, value) = ("the sample of a patient", "both".to_owned());
            return Err(Undefined::OutOfRange { of, value, expected: "one sample" });
        }
    }
    Ok(labels)
}

/// Folds by group, each with its share of both samples.
fn assign_folds(groups: &[usize], labels: &BTreeMap<usize, bool>, folds: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut fold_of = BTreeMap::new();
    for label in [false, true] {
        let mut members: Vec<usize> = labels.iter().filter(|l| *l.1 == label).map(|l| *l.0).collect();
        members.shuffle(random);
        fold_of.extend(members.into_iter().enumerate().map(|(i, group)| (group, i % folds)));
    }
    groups.iter().map(|group| fold_of[group]).collect()
}

/// Areas of permuted labels in rising order. Labels are exchanged between the groups of a fold, so that each fold keeps
/// its share of both samples.
fn permuted(
    model: &Folded,
    groups: &[usize],
    labels: &BTreeMap<usize, bool>,
    permutations: usize,
    random: &mut ChaCha8Rng,
) -> Vec<f64> {
    let at: BTreeMap<usize, usize> = labels.keys().enumerate().map(|(i, group)| (*group, i)).collect();
    let group_of_row: Vec<usize> = groups.iter().map(|group| at[group]).collect();
    let mut of_fold: Vec<Vec<usize>> = vec![Vec::new(); model.folds.len()];
    for (fold, part) in model.folds.iter().enumerate() {
        of_fold[fold] = part.rows.iter().map(|row| group_of_row[*row]).collect();
        of_fold[fold].sort_unstable();
        of_fold[fold].dedup();
    }
    let mut labels: Vec<bool> = labels.values().copied().collect();
    let mut found: Vec<f64> = (0..permutations)
        .map(|_| {
            for members in &of_fold {
                let mut own: Vec<bool> = members.iter().map(|group| labels[*group]).collect();
                own.shuffle(random);
                members.iter().zip(own).for_each(|(group, label)| labels[*group] = label);
            }
            model.auc(&group_of_row.iter().map(|group| labels[*group]).collect::<Vec<_>>())
        })
        .collect();
    found.sort_by(f64::total_cmp);
    found
}

/// The standardised column with the mean where a value is missing, its square, and whether it is missing; those that vary.
fn features(values: &[Option<f64>]) -> Vec<Vec<f64>> {
    let known: Vec<f64> = finite(&values.iter().copied().flatten().collect::<Vec<_>>());
    let missing: Vec<f64> = values.iter().map(|v| f64::from(u8::from(!v.is_some_and(f64::is_finite)))).collect();
    let mut found = Vec::new();
    if let Some(scaled) = standardised(&known) {
        let (centre, sd) = scaled;
        let z: Vec<f64> =
            values.iter().map(|v| v.filter(|v| v.is_finite()).map_or(0.0, |v| (v - centre) / sd)).collect();
        // Winsorised: one extreme value would otherwise decide alone.
        let z: Vec<f64> = z.into_iter().map(|z| z.clamp(-5.0, 5.0)).collect();
        let squares: Vec<f64> = z.iter().map(|z| z * z).collect();
        found.push(z);
        // The square of a column with two values says nothing new.
        let mut distinct = known.clone();
        distinct.sort_by(f64::total_cmp);
        distinct.dedup();
        if distinct.len() > 2
            && let Some((centre, sd)) = standardised(&squares)
        {
            found.push(squares.iter().map(|v| (v - centre) / sd).collect());
        }
    }
    if let Some((centre, sd)) = standardised(&missing) {
        found.push(missing.iter().map(|v| (v - centre) / sd).collect());
    }
    found
}

/// Mean and standard deviation; `None` without variance.
fn standardised(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 {
        return None;
    }
    let (centre, sd) = (mean(values), variance(values).sqrt());
    // Values near the largest number have no finite variance.
    (sd > 1e-12 * (1.0 + centre.abs()) && sd.is_finite()).then_some((centre, sd))
}

/// The parts of the classifier that do not depend on the labels.
struct Folded {
    /// Rows of the features, each beginning with 1 for the intercept.
    rows: Vec<Vec<f64>>,
    folds: Vec<Fold>,
}

struct Fold {
    /// Held-out rows.
    rows: Vec<usize>,
    /// Inverse of XᵀX + penalty over the other rows.
    inverse: DMatrix<f64>,
}

impl Folded {
    fn new(features: &[&[f64]], fold_of_row: &[usize], folds: usize) -> Folded {
        let k = features.len() + 1;
        let row = |i: usize| std::iter::once(1.0).chain(features.iter().map(|f| f[i])).collect::<Vec<f64>>();
        let rows: Vec<Vec<f64>> = (0..fold_of_row.len()).map(row).collect();
        let of_fold = |fold: usize| {
            let mut normal = DMatrix::from_diagonal(&DVector::from_fn(k, |j, _| if j == 0 { 0.0 } else { RIDGE }));
            for (row, _) in rows.iter().zip(fold_of_row).filter(|(_, at)| **at != fold) {
                for (i, a) in row.iter().enumerate() {
                    for (j, b) in row.iter().enumerate() {
                        normal[(i, j)] += a * b;
                    }
                }
            }
            let held_out = (0..rows.len()).filter(|i| fold_of_row[*i] == fold).collect();
            let inverse = Cholesky::new(normal).expect("the penalty makes the matrix positive definite").inverse();
            Fold { rows: held_out, inverse }
        };
        let folds = (0..folds).map(of_fold).collect();
        Folded { rows, folds }
    }

    /// Area under the ROC curve of the held-out rows, over the pairs of one fold.
    fn auc(&self, is_second: &[bool]) -> f64 {
        let k = self.rows[0].len();
        let moments = |rows: &mut dyn Iterator<Item = usize>| {
            let mut sum = DVector::<f64>::zeros(k);
            for row in rows.filter(|row| is_second[*row]) {
                self.rows[row].iter().enumerate().for_each(|(j, v)| sum[j] += v);
            }
            sum
        };
        let of_fold: Vec<DVector<f64>> = self.folds.iter().map(|f| moments(&mut f.rows.iter().copied())).collect();
        let total = of_fold.iter().fold(DVector::zeros(k), |sum, fold| sum + fold);
        let (mut won, mut pairs) = (0.0, 0.0);
        for (fold, own) in self.folds.iter().zip(&of_fold) {
            let coefficients = &fold.inverse * (&total - own);
            let score = |row: &usize| self.rows[*row].iter().zip(coefficients.iter()).map(|(x, b)| x * b).sum::<f64>();
            let ranks = ranks(&fold.rows.iter().map(score).collect::<Vec<_>>());
            let of_second: Vec<f64> =
                fold.rows.iter().zip(&ranks).filter(|(row, _)| is_second[**row]).map(|(_, rank)| *rank).collect();
            let n2 = of_second.len() as f64;
            won += of_second.iter().sum::<f64>() - n2 * (n2 + 1.0) / 2.0;
            pairs += n2 * (fold.rows.len() as f64 - n2);
        }
        if pairs > 0.0 { won / pairs } else { 0.5 }
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;

    /// Random values from -0.5 to 0.5.
    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| random.random_range(-0.5..0.5)).collect()
    }

    fn known(values: Vec<f64>) -> Vec<Option<f64>> {
        values.into_iter().map(Some).collect()
    }

    #[test]
    fn a_shift_and_a_change_of_spread_are_found() {
        let is_second: Vec<bool> = (0..300).map(|i| i % 3 == 0).collect();
        let groups: Vec<usize> = (0..300).collect();
        let same = known(noise(300, 1));
        let spread = |(value, second): (f64, &bool)| if *second { 3.0 * value } else { value };
        let wider = known(noise(300, 2).into_iter().zip(&is_second).map(spread).collect());
        let test = |name, values| {
            let columns = [NamedColumn { name: "same", values: &same }, NamedColumn { name, values }];
            classifier_test(&columns, &is_second, &groups, ClassifierTestOptions { permutations: 199, seed: 3 })
        };
        let found = test("wider", &wider).unwrap();
        assert!(found.p < 0.01 && found.auc > 0.7 && found.auc > found.null_bound, "{found:?}");
        assert_eq!(found.columns[0].name, "wider");
        assert!(found.columns[0].loss_without > 0.1 && found.columns[1].loss_without < 0.05, "{found:?}");
        let alike = known(noise(300, 5));
        let found = test("alike", &alike).unwrap();
        assert!(found.p > 0.02 && (found.auc - 0.5).abs() < 0.12, "{found:?}");
    }

    #[test]
    fn missing_values_alone_give_a_sample_away() {
        let is_second: Vec<bool> = (0..80).map(|i| i >= 40).collect();
        let groups: Vec<usize> = (0..80).map(|i| i / 2).collect();
        let values: Vec<Option<f64>> =
            noise(80, 3).into_iter().enumerate().map(|(i, v)| (i < 40 || i % 8 == 0).then_some(v)).collect();
        let columns = [NamedColumn { name: "gaps", values: &values }];
        let options = ClassifierTestOptions { permutations: 99, seed: 1 };
        let found = classifier_test(&columns, &is_second, &groups, options).unwrap();
        assert!(found.p == 0.01 && found.auc > 0.8, "{found:?}");
        // The two rows of a patient are in one fold.
        assert!(found.fold_of_row.chunks(2).all(|pair| pair[0] == pair[1]));
        let constant = [NamedColumn { name: "one", values: &[Some(1.0); 80] }];
        let huge: Vec<Option<f64>> = (0..80).map(|i| Some(if i % 2 == 0 { 1e308 } else { -1e308 })).collect();
        assert!(classifier_test(&[NamedColumn { name: "huge", values: &huge }], &is_second, &groups, options).is_err());
        assert!(classifier_test(&constant, &is_second, &groups, options).is_err());
        assert!(classifier_test(&columns, &is_second, &[0; 80], options).is_err());
        assert!(classifier_test(&columns, &[true; 80], &groups, options).is_err());
    }
}
