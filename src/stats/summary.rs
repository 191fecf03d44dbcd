use serde::Serialize;

/// Summary of a sample. Quantiles are interpolated linearly, as numpy does by default.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SampleSummary {
    /// Number of finite values.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation with denominator n − 1; `None` for one value.
    pub sd: Option<f64>,
    /// Smallest value.
    pub min: f64,
    /// 5 % quantile.
    pub q05: f64,
    /// Lower quartile.
    pub q25: f64,
    /// Median.
    pub median: f64,
    /// Upper quartile.
    pub q75: f64,
    /// 95 % quantile.
    pub q95: f64,
    /// Largest value.
    pub max: f64,
}

/// The finite values.
pub fn finite(values: &[f64]) -> Vec<f64> {
    values.iter().copied().filter(|v| v.is_finite()).collect()
}

/// Summary of the finite values; `None` if there are none.
pub fn summary(values: &[f64]) -> Option<SampleSummary> {
    let mut values = finite(values);
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 {
        return None;
    }
    let q = |p| quantile_sorted(&values, p);
    Some(SampleSummary {
        n,
        mean: mean(&values),
        sd: (n > 1).then(|| variance(&values).sqrt()),
        min: values[0],
        q05: q(0.05),
        q25: q(0.25),
        median: q(0.5),
        q75: q(0.75),
        q95: q(0.95),
        max: values[n - 1],
    })
}

/// The `p` quantile of sorted values, interpolated linearly between them as numpy does by default.
///
/// # Panics
/// If the slice is empty.
pub fn quantile_sorted(sorted: &[f64], p: f64) -> f64 {
    at_place(sorted, p.clamp(0.0, 1.0) * (sorted.len() - 1) as f64)
}

/// The value at the fractional index `place` of sorted values, interpolated linearly; beyond the last index, the last
/// value.
///
/// # Panics
/// If the slice is empty.
pub fn at_place(sorted: &[f64], place: f64) -> f64 {
    let last = sorted.len() - 1;
    let below = (place as usize).min(last);
    let above = (below + 1).min(last);
    sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
}

/// Number of values in each bin between ascending `edges`. A bin contains its left edge, the last one both edges.
/// Values outside are not counted.
pub fn histogram(values: &[f64], edges: &[f64]) -> Vec<usize> {
    let bins = edges.len().saturating_sub(1);
    let mut counts = vec![0; bins];
    for v in values.iter().filter(|v| v.is_finite()) {
        let at = edges.partition_point(|e| e <= v);
        if at > 0 && at <= bins {
            counts[at - 1] += 1;
        } else if bins > 0 && *v == edges[bins] {
            counts[bins - 1] += 1;
        }
    }
    counts
}

pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Variance with denominator n − 1.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values() {
        assert_eq!(summary(&[]), None);
        assert_eq!(summary(&[f64::NAN, f64::INFINITY]), None);
        let one = summary(&[3.0, f64::NAN]).unwrap();
        assert_eq!((one.n, one.mean, one.sd, one.q25, one.max), (1, 3.0, None, 3.0, 3.0));
    }

    #[test]
    fn bins_contain_their_left_edge_and_the_last_one_both() {
        assert_eq!(histogram(&[0.0, 0.5, 1.0, 2.0, 2.1, -0.1, f64::NAN], &[0.0, 1.0, 2.0]), [2, 2]);
        assert!(histogram(&[1.0], &[]).is_empty());
        assert!(histogram(&[1.0], &[1.0]).is_empty());
    }
}
