//! Corrections of p values for the number of tests.

/// p values adjusted by Holm (1979), which bounds the probability of any false positive, in the order given. Agrees with
/// statsmodels' `multipletests(method="holm")`. Values that are not between 0 and 1 are not tests: they stay as they are
/// and do not count.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let order = rising(p);
    let (mut adjusted, mut least) = (p.to_vec(), 0.0f64);
    for (rank, at) in order.iter().enumerate() {
        least = least.max((p[*at] * (order.len() - rank) as f64).min(1.0));
        adjusted[*at] = least;
    }
    adjusted
}

/// p values adjusted by Benjamini and Hochberg (1995), which bounds the expected share of false positives among the
/// significant results, in the order given. Agrees with statsmodels' `multipletests(method="fdr_bh")`. Values that are not
/// between 0 and 1 stay as they are and do not count.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let order = rising(p);
    let (mut adjusted, mut most) = (p.to_vec(), 1.0f64);
    for (rank, at) in order.iter().enumerate().rev() {
        most = most.min(p[*at] * order.len() as f64 / (rank + 1) as f64);
        adjusted[*at] = most;
    }
    adjusted
}

/// Indices of the values between 0 and 1, smallest first.
fn rising(p: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..p.len()).filter(|i| (0.0..=1.0).contains(&p[*i])).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_by_hand() {
        let p = [0.01, f64::NAN, 0.04, 0.03];
        let holm = holm(&p);
        assert!((holm[0] - 0.03).abs() < 1e-15 && holm[1].is_nan() && holm[2] == 0.06 && holm[3] == 0.06, "{holm:?}");
        let bh = benjamini_hochberg(&p);
        assert!((bh[0] - 0.03).abs() < 1e-15 && bh[2] == 0.04 && (bh[3] - 0.04).abs() < 1e-15, "{bh:?}");
        assert!(super::holm(&[]).is_empty() && benjamini_hochberg(&[]).is_empty());
    }
}
