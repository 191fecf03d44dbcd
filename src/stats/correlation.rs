use serde::Serialize;

use super::distributions::{t_two_sided, z95};
use super::regression::{OlsError, ols};
use super::summary::mean;
use super::{Interval, Undefined};

/// A correlation coefficient with its test for zero correlation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// Number of complete pairs.
    pub n: usize,
    /// The coefficient.
    pub r: f64,
    /// 95 % confidence interval by Fisher's z; `None` for fewer than four pairs or |r| = 1.
    pub ci: Option<Interval>,
    /// Two-sided p value for r = 0 by Student's t.
    pub p: f64,
}

/// The pairs in which both values are present and finite.
pub fn complete_pairs(x: &[Option<f64>], y: &[Option<f64>]) -> Vec<(f64, f64)> {
    x.iter().zip(y).filter_map(|(a, b)| Some(((*a)?, (*b)?))).filter(|(a, b)| a.is_finite() && b.is_finite()).collect()
}

/// Pearson's r. Agrees with `scipy.stats.pearsonr`.
///
/// # Errors
/// Fewer than three complete pairs, or a column without variance.
pub fn pearson(x: &[Option<f64>], y: &[Option<f64>]) -> Result<Correlation, Undefined> {
    of_pairs(&complete_pairs(x, y))
}

/// Spearman's rank correlation; ties have their mean rank. Agrees with `scipy.stats.spearmanr`, but
/// for the p value of a correlation of 1 or -1, which is exact. The confidence interval
/// is that of Bonett and Wright (2000): Fisher's z with the variance (1 + ρ²/2) / (n − 3).
///
/// # Errors
/// As [`pearson`].
pub fn spearman(x: &[Option<f64>], y: &[Option<f64>]) -> Result<Correlation, Undefined> {
    let pairs = complete_pairs(x, y);
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let found = of_pairs(&ranks(&x).into_iter().zip(ranks(&y)).collect::<Vec<_>>())?;
    let free = found.n as f64 - 3.0;
    let ci = fisher_interval(found.r, (1.0 + found.r * found.r / 2.0) / free);
    Ok(Correlation { ci, p: if is_perfect(found.r) { perfect_by_chance(&y) } else { found.p }, ..found })
}

fn is_perfect(r: f64) -> bool {
    1.0 - r.abs() < 1e-12
}

/// Probability that a random order of `y` gives a rank correlation of 1 or -1, if its own order does. The t distribution
/// gives 0 for it, however few values there are. All orders are equally likely; equal values can be exchanged.
fn perfect_by_chance(y: &[f64]) -> f64 {
    let mut sorted = y.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ties: Vec<usize> = sorted.chunk_by(|a, b| a == b).map(<[f64]>::len).collect();
    // The opposite correlation needs the ties in the opposite order.
    let directions = if ties.iter().eq(ties.iter().rev()) { 2.0f64 } else { 1.0 };
    let exchanges: f64 = ties.iter().copied().map(ln_factorial).sum();
    (directions.ln() + exchanges - ln_factorial(y.len())).exp().min(1.0)
}

fn ln_factorial(n: usize) -> f64 {
    (2..=n).map(|i| (i as f64).ln()).sum()
}

/// Partial correlation of `x` and `y` given `controls`: Pearson's r of the residuals of the two least squares fits on the
/// controls, on the rows in which all are present, with n − 2 − controls degrees of freedom. Agrees with statsmodels'
/// `OLS` residuals.
///
/// # Errors
/// Too few complete rows, a constant column, or one that the others determine.
pub fn partial(
    x: &[Option<f64>],
    y: &[Option<f64>],
    controls: &[(&str, &[Option<f64>])],
) -> Result<Correlation, Undefined> {
    let columns: Vec<&[Option<f64>]> = [x, y].into_iter().chain(controls.iter().map(|c| c.1)).collect();
    let rows = complete_rows(&columns);
    let names: Vec<&str> = controls.iter().map(|c| c.0).collect();
    partial_of(&rows, &names)
}

/// Spearman's partial correlation: [`partial`] of the ranks of all columns among the complete rows.
///
/// # Errors
/// As [`partial`].
pub fn partial_spearman(
    x: &[Option<f64>],
    y: &[Option<f64>],
    controls: &[(&str, &[Option<f64>])],
) -> Result<Correlation, Undefined> {
    let columns: Vec<&[Option<f64>]> = [x, y].into_iter().chain(controls.iter().map(|c| c.1)).collect();
    let rows: Vec<Vec<f64>> = complete_rows(&columns).iter().map(|column| ranks(column)).collect();
    let names: Vec<&str> = controls.iter().map(|c| c.0).collect();
    partial_of(&rows, &names)
}

/// The columns' values in the rows in which all columns have a finite value.
pub(super) fn complete_rows(columns: &[&[Option<f64>]]) -> Vec<Vec<f64>> {
    let n = columns.iter().map(|c| c.len()).min().unwrap_or(0);
    let known = |row: &usize| columns.iter().all(|c| c[*row].is_some_and(f64::is_finite));
    let rows: Vec<usize> = (0..n).filter(known).collect();
    columns.iter().map(|c| rows.iter().filter_map(|row| c[*row]).collect()).collect()
}

/// Partial correlation of the first two of complete columns, given the others.
fn partial_of(columns: &[Vec<f64>], names: &[&str]) -> Result<Correlation, Undefined> {
    let (n, k) = (columns[0].len(), names.len());
    Undefined::unless_enough("complete rows", n, k + 3)?;
    let present: Vec<Vec<Option<f64>>> = columns.iter().map(|c| c.iter().copied().map(Some).collect()).collect();
    let controls: Vec<(&str, &[Option<f64>])> = names.iter().zip(&present[2..]).map(|(n, c)| (*n, &c[..])).collect();
    let residuals = |at: usize, of: &'static str| match ols(&present[at], &controls) {
        // What remains is rounding.
        Ok(fit) if fit.r2 > 1.0 - 1e-12 => Err(Undefined::Determined { of: of.to_owned() }),
        Ok(fit) => Ok(fit.residuals().to_vec()),
        Err(OlsError::TooFew { rows, coefficients }) => {
            Err(Undefined::TooFew { of: "complete rows", n: rows, needed: coefficients + 1 })
        }
        Err(OlsError::Collinear { name }) => Err(Undefined::Determined { of: name }),
        Err(OlsError::Constant) => Err(Undefined::Constant { of }),
    };
    let (x, y) = (residuals(0, "values of the first column")?, residuals(1, "values of the second column")?);
    let found = of_pairs(&x.into_iter().zip(y).collect::<Vec<_>>())?;
    let df = (n - 2 - k) as f64;
    let p = t_two_sided(found.r * (df / ((1.0 - found.r) * (1.0 + found.r))).sqrt(), df);
    Ok(Correlation { p, ci: fisher_interval(found.r, 1.0 / (df - 1.0)), ..found })
}

/// Fisher's interval of a correlation whose z has the variance `variance`; `None` if there is none.
fn fisher_interval(r: f64, variance: f64) -> Option<Interval> {
    (variance > 0.0 && variance.is_finite() && r.abs() < 1.0).then(|| {
        let (z, half) = (r.atanh(), z95() * variance.sqrt());
        Interval { low: (z - half).tanh(), high: (z + half).tanh() }
    })
}

/// 1-based ranks, one per value; ties have their mean rank.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    for tied in order.chunk_by(|a, b| values[*a] == values[*b]).scan(0, |start, tied| {
        let first = *start;
        *start += tied.len();
        Some((first, tied))
    }) {
        let (first, members) = tied;
        let rank = first as f64 + (members.len() as f64 + 1.0) / 2.0;
        members.iter().for_each(|i| ranks[*i] = rank);
    }
    ranks
}

fn of_pairs(pairs: &[(f64, f64)]) -> Result<Correlation, Undefined> {
    let n = pairs.len();
    Undefined::unless_enough("complete pairs", n, 3)?;
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let (mean_x, mean_y) = (mean(&x), mean(&y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in pairs {
        let (a, b) = (a - mean_x, b - mean_y);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    // A constant column may have a small variance by rounding.
    let is_constant = |ss: f64, mean: f64| ss.sqrt() <= 1e-13 * mean.abs() * (n as f64).sqrt() || ss == 0.0;
    if is_constant(xx, mean_x) {
        return Err(Undefined::Constant { of: "values of the first column" });
    }
    if is_constant(yy, mean_y) {
        return Err(Undefined::Constant { of: "values of the second column" });
    }
    let r = (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0);
    let df = n as f64 - 2.0;
    let p = t_two_sided(r * (df / ((1.0 - r) * (1.0 + r))).sqrt(), df);
    Ok(Correlation { n, r, ci: fisher_interval(r, 1.0 / (n as f64 - 3.0)), p })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_rank_correlation_of_few_values_is_not_significant() {
        let some = |values: &[f64]| values.iter().map(|v| Some(*v)).collect::<Vec<_>>();
        let p = |y: &[f64]| spearman(&some(&[1.0, 2.0, 3.0, 4.0][..y.len()]), &some(y)).unwrap().p;
        assert!((p(&[5.0, 6.0, 9.0]) - 2.0 / 6.0).abs() < 1e-12 && (p(&[9.0, 6.0, 5.0]) - 2.0 / 6.0).abs() < 1e-12);
        assert!((p(&[1.0, 3.0, 7.0, 9.0]) - 2.0 / 24.0).abs() < 1e-12);
        let ties = [1.0, 1.0, 2.0];
        assert!((spearman(&some(&ties), &some(&ties)).unwrap().p - 2.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn incomplete_pairs_are_ignored() {
        let x = [Some(1.0), None, Some(2.0), Some(3.0), Some(f64::NAN)];
        let y = [Some(2.0), Some(9.0), Some(4.0), Some(6.0), Some(1.0)];
        let c = pearson(&x, &y).unwrap();
        assert_eq!((c.n, c.ci), (3, None));
        // An exact line, except for rounding.
        assert!((c.r - 1.0).abs() < 1e-12 && c.p < 1e-6, "{c:?}");
    }

    #[test]
    fn nothing_to_correlate() {
        let few = |n| Err(Undefined::TooFew { of: "complete pairs", n, needed: 3 });
        assert_eq!(pearson(&[], &[]), few(0));
        let constant = pearson(&[Some(0.1); 7], &[1., 2., 3., 4., 5., 6., 7.].map(Some)).unwrap_err();
        assert_eq!(constant.to_string(), "all values of the first column are equal");
        assert_eq!(spearman(&[Some(1.0), Some(2.0)], &[Some(1.0), Some(2.0)]), few(2));
    }

    #[test]
    fn what_the_controls_explain_does_not_count() {
        let z: Vec<Option<f64>> = (0..40).map(|i| Some(f64::from(i * 7 % 40))).collect();
        let noise = |i: u32, k: u32| f64::from((i * k + 3) % 17);
        let x: Vec<Option<f64>> = (0..40).map(|i| z[i as usize].map(|z| 5.0 * z + noise(i, 5))).collect();
        let y: Vec<Option<f64>> = (0..40).map(|i| z[i as usize].map(|z| 3.0 * z + noise(i, 11))).collect();
        assert!(pearson(&x, &y).unwrap().r > 0.95);
        let given = partial(&x, &y, &[("z", &z)]).unwrap();
        assert!(given.r.abs() < 0.4 && given.n == 40, "{given:?}");
        assert_eq!(
            partial(&z, &y, &[("z", &z)]),
            Err(Undefined::Determined { of: "values of the first column".into() })
        );
        assert_eq!(
            partial(&x[..3], &y[..3], &[("z", &z[..3])]).unwrap_err().to_string(),
            "too few complete rows: 3, at least 4 are needed"
        );
        let plain = partial(&x, &y, &[]).unwrap();
        assert!((plain.r - pearson(&x, &y).unwrap().r).abs() < 1e-12);
    }

    #[test]
    fn ties_have_their_mean_rank() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
    }
}
