use serde::Serialize;
use statrs::function::gamma::ln_gamma;

use super::distributions::{chi_square_upper, z95};
use super::{Interval, Undefined};

/// A ratio with a confidence interval computed on the log scale.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ratio {
    /// The ratio.
    pub value: f64,
    /// 95 % confidence interval.
    pub ci: Interval,
    /// Whether 0.5 was added to every cell because one was zero (Haldane-Anscombe correction).
    pub corrected: bool,
}

impl Ratio {
    pub(super) fn from_log(log: f64, se: f64, corrected: bool) -> Ratio {
        let half = z95() * se;
        Ratio { value: log.exp(), ci: Interval { low: (log - half).exp(), high: (log + half).exp() }, corrected }
    }
}

/// A two-by-two table: counts with and without a feature, in a group and in a reference group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TwoByTwo {
    /// With the feature, in the first group.
    pub with: usize,
    /// Without the feature, in the first group.
    pub without: usize,
    /// With the feature, in the reference group.
    pub with_base: usize,
    /// Without the feature, in the reference group.
    pub without_base: usize,
}

impl TwoByTwo {
    /// Cells as `f64`, and whether 0.5 was added to each; `None` for an empty group.
    fn cells(&self) -> Option<([f64; 4], bool)> {
        let cells = [self.with, self.without, self.with_base, self.without_base].map(|v| v as f64);
        if cells[0] + cells[1] == 0.0 || cells[2] + cells[3] == 0.0 {
            return None;
        }
        let corrected = cells.contains(&0.0);
        Some((if corrected { cells.map(|v| v + 0.5) } else { cells }, corrected))
    }

    /// Odds ratio, first group against reference group, with Woolf's confidence interval; `None` for an empty group.
    /// Agrees with statsmodels' `Table2x2.oddsratio`.
    pub fn odds_ratio(&self) -> Option<Ratio> {
        let ([a, b, c, d], corrected) = self.cells()?;
        let se = (1.0 / a + 1.0 / b + 1.0 / c + 1.0 / d).sqrt();
        Some(Ratio::from_log((a * d / (b * c)).ln(), se, corrected))
    }

    /// Ratio of the shares (risk ratio), first group against reference group, with Katz's confidence interval; `None`
    /// for an empty group. Agrees with statsmodels' `Table2x2.riskratio`.
    pub fn share_ratio(&self) -> Option<Ratio> {
        let ([a, b, c, d], corrected) = self.cells()?;
        let se = (1.0 / a - 1.0 / (a + b) + 1.0 / c - 1.0 / (c + d)).sqrt();
        Some(Ratio::from_log((a / (a + b) / (c / (c + d))).ln(), se, corrected))
    }

    /// Two-sided p value of Fisher's exact test: the probability of all tables that are at most as likely as this one.
    /// 1 if a margin is zero. Agrees with `scipy.stats.fisher_exact`.
    pub fn fisher_p(&self) -> f64 {
        let (row, base) = (self.with + self.without, self.with_base + self.without_base);
        let column = self.with + self.with_base;
        let choose =
            |n: usize, k: usize| ln_gamma(n as f64 + 1.0) - ln_gamma(k as f64 + 1.0) - ln_gamma((n - k) as f64 + 1.0);
        let ln_probability = |k: usize| choose(row, k) + choose(base, column - k) - choose(row + base, column);
        let observed = ln_probability(self.with);
        // Equal probabilities may differ by rounding in the logarithms.
        (column.saturating_sub(base)..=column.min(row))
            .map(ln_probability)
            .filter(|l| *l <= observed + 1e-9)
            .map(f64::exp)
            .sum::<f64>()
            .min(1.0)
    }
}

/// Pearson's chi-square test of independence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ChiSquare {
    /// Number of observations.
    pub n: usize,
    /// The statistic, without continuity correction.
    pub chi2: f64,
    /// Degrees of freedom.
    pub df: usize,
    /// p value for independence.
    pub p: f64,
    /// Cramér's V, 0 to 1.
    pub cramer_v: f64,
    /// Smallest expected count; below 5 the p value is inaccurate.
    pub least_expected: f64,
}

/// Chi-square test of a table of counts; shorter rows are padded with zeros. Empty rows and columns are left out.
/// Agrees with `scipy.stats.chi2_contingency(correction=False)`.
///
/// # Errors
/// Fewer than two rows or columns have counts.
pub fn chi_square(table: &[Vec<usize>]) -> Result<ChiSquare, Undefined> {
    let width = table.iter().map(Vec::len).max().unwrap_or(0);
    let column = |j: usize| table.iter().map(|r| r.get(j).copied().unwrap_or(0)).sum::<usize>();
    let columns: Vec<(usize, f64)> = (0..width).map(|j| (j, column(j) as f64)).filter(|c| c.1 > 0.0).collect();
    let rows: Vec<(&Vec<usize>, f64)> =
        table.iter().map(|r| (r, r.iter().sum::<usize>() as f64)).filter(|r| r.1 > 0.0).collect();
    Undefined::unless_enough("groups with counts", rows.len(), 2)?;
    Undefined::unless_enough("categories with counts", columns.len(), 2)?;
    let n: f64 = rows.iter().map(|r| r.1).sum();
    let (mut chi2, mut least_expected) = (0.0, f64::INFINITY);
    for (row, row_sum) in &rows {
        for (j, column_sum) in &columns {
            let expected = row_sum * column_sum / n;
            least_expected = least_expected.min(expected);
            chi2 += (row.get(*j).copied().unwrap_or(0) as f64 - expected).powi(2) / expected;
        }
    }
    let df = (rows.len() - 1) * (columns.len() - 1);
    let smaller = rows.len().min(columns.len()) as f64 - 1.0;
    Ok(ChiSquare {
        n: n as usize,
        chi2,
        df,
        p: chi_square_upper(chi2, df as f64),
        cramer_v: (chi2 / (n * smaller)).sqrt().min(1.0),
        least_expected,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_ratios() {
        let rotated = TwoByTwo { with: 166, without: 122, with_base: 94, without_base: 706 };
        assert!((rotated.odds_ratio().unwrap().value - 10.22).abs() < 0.01);
        assert!((rotated.share_ratio().unwrap().value - 4.905).abs() < 0.001);
        let men = TwoByTwo { with: 76, without: 68, with_base: 182, without_base: 218 };
        assert!((men.odds_ratio().unwrap().value - 1.339).abs() < 0.001);
        assert!((men.share_ratio().unwrap().value - 1.160).abs() < 0.001);
    }

    #[test]
    fn zero_cells_are_corrected_and_marked() {
        let t = TwoByTwo { with: 0, without: 10, with_base: 5, without_base: 5 };
        let or = t.odds_ratio().unwrap();
        assert!(or.corrected && (or.value - (0.5 * 5.5) / (10.5 * 5.5)).abs() < 1e-12);
        let empty = TwoByTwo { with: 0, without: 0, with_base: 5, without_base: 5 };
        assert_eq!((empty.odds_ratio(), empty.share_ratio(), empty.fisher_p()), (None, None, 1.0));
    }

    #[test]
    fn empty_rows_and_columns_do_not_count() {
        let few = |of, n| Err(Undefined::TooFew { of, n, needed: 2 });
        assert_eq!(chi_square(&[]), few("groups with counts", 0));
        assert_eq!(chi_square(&[vec![1, 2], vec![0, 0]]), few("groups with counts", 1));
        assert_eq!(chi_square(&[vec![0, 2], vec![0, 5]]), few("categories with counts", 1));
        let padded = chi_square(&[vec![10, 0, 20], vec![0, 0, 0], vec![30, 0, 5]]).unwrap();
        assert_eq!(Ok(padded), chi_square(&[vec![10, 20], vec![30, 5]]));
    }
}
