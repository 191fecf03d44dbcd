//! Numbers as text, and conclusions from confidence intervals.

use crate::stats::{Correlation, Interval, Proportion, Ratio, SampleSummary};

/// Factor from 1 within which both limits of a ratio's interval must be for the difference to be called small.
const SMALL_FACTOR: f64 = 1.25;
/// Absolute correlation below which both limits of an interval around 0 must be for it to be called very weak.
const WEAK: f64 = 0.2;

/// Smallest number of patients per group for a cluster-robust interval, which is far too narrow with fewer. Tests of means
/// with fewer get a note.
pub(super) const MIN_PATIENTS: usize = 6;

/// `value` with `decimals` decimals, thousands separators and a true minus sign; `–` if it is not finite.
pub(super) fn num(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.find('.').map_or((text.as_str(), ""), |at| text.split_at(at));
    let digits: Vec<&str> = whole.as_bytes().rchunks(3).rev().map(|c| std::str::from_utf8(c).unwrap_or("")).collect();
    let sign = if value < 0.0 && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) { "−" } else { "" };
    format!("{sign}{}{rest}", digits.join(","))
}

/// A whole number with thousands separators.
pub(super) fn count(n: usize) -> String {
    num(n as f64, 0)
}

/// A median of whole numbers, which may end in .5: `31`, `31.5`.
pub(super) fn median(value: f64) -> String {
    num(value, if value.fract() == 0.0 { 0 } else { 1 })
}

/// `1 image`, `2 images`.
pub(super) fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A p value: `p = 0.032`, `p < 0.001`.
pub(super) fn p_text(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {}", num(p, 3)) }
}

/// A confidence interval: `[1.02, 1.77]`.
pub(super) fn interval(ci: &Interval, decimals: usize) -> String {
    format!("[{}, {}]", num(ci.low, decimals), num(ci.high, decimals))
}

/// A proportion in per cent: `57.6 % [51.9, 63.2]`.
pub(super) fn share(p: &Proportion) -> String {
    format!("{} % [{}, {}]", num(100.0 * p.share, 1), num(100.0 * p.ci.low, 1), num(100.0 * p.ci.high, 1))
}

/// A ratio: `10.22 [7.45, 14.02]`.
pub(super) fn ratio(r: &Ratio) -> String {
    let decimals = if r.value >= 100.0 { 0 } else { 2 };
    format!("{} {}", num(r.value, decimals), interval(&r.ci, decimals))
}

/// A correlation: `0.794 [0.767, 0.818], n = 800`.
pub(super) fn correlation(c: &Correlation) -> String {
    let ci = c.ci.map_or_else(String::new, |ci| format!(" {}", interval(&ci, 3)));
    format!("{}{ci}, n = {}", num(c.r, 3), count(c.n))
}

/// Mean and standard deviation: `15.7 ± 2.5`.
pub(super) fn mean_sd(s: &SampleSummary, decimals: usize) -> String {
    let sd = s.sd.map_or_else(String::new, |sd| format!(" ± {}", num(sd, decimals)));
    format!("{}{sd}", num(s.mean, decimals))
}

/// Conclusion from the 95 % confidence interval of the odds ratio of `group` compared with `base`.
pub(super) fn odds_ratio_conclusion(ci: &Interval, group: &str, base: &str) -> String {
    let limit = |value: f64| num(value, if value >= 100.0 { 0 } else { 2 });
    if ci.low > 1.0 {
        format!("the 95 % confidence interval is above 1: the odds are significantly higher in {group} than in {base}")
    } else if ci.high < 1.0 {
        format!("the 95 % confidence interval is below 1: the odds are significantly lower in {group} than in {base}")
    } else if ci.low >= 1.0 / SMALL_FACTOR && ci.high <= SMALL_FACTOR {
        format!(
            "the 95 % confidence interval contains 1, and both limits are within a factor of {SMALL_FACTOR} of 1: any \
             difference between {group} and {base} is small"
        )
    } else {
        format!(
            "the 95 % confidence interval contains 1: these data cannot show whether {group} differs from {base}; they do \
             not rule out up to {} times the odds, or as little as {} times",
            limit(ci.high),
            limit(ci.low)
        )
    }
}

/// Conclusion from the 95 % confidence interval of a mean difference: one of the two texts if it does not contain 0.
pub(super) fn difference_conclusion(
    ci: &Interval,
    decimals: usize,
    unit: &str,
    [positive, negative]: [&str; 2],
) -> String {
    if ci.low > 0.0 || ci.high < 0.0 {
        let direction = if ci.low > 0.0 { positive } else { negative };
        return format!("the 95 % confidence interval does not contain 0: {direction}");
    }
    format!(
        "the 95 % confidence interval contains 0: these data cannot show whether the means differ; they do not rule out \
         differences from {} to {} {unit}",
        num(ci.low, decimals),
        num(ci.high, decimals)
    )
}

/// A note on a test whose smaller group has fewer than [`MIN_PATIENTS`] patients: ` (only 2 men: treat with caution)`.
pub(super) fn few_patients(n: usize, one: &str, many: &str) -> String {
    if n < MIN_PATIENTS { format!(" (only {}: treat with caution)", counted(n, one, many)) } else { String::new() }
}

/// A correlation with its interval and n, and the conclusion from the interval.
pub(super) fn correlation_conclusion(c: &Correlation) -> String {
    let conclusion = match c.ci {
        None if c.n <= 3 => "too few values for a confidence interval".to_owned(),
        None => "all values lie on a line, so there is no confidence interval".to_owned(),
        Some(ci) => {
            let (nearest, farthest) = if ci.low.abs() <= ci.high.abs() { (ci.low, ci.high) } else { (ci.high, ci.low) };
            if ci.contains(0.0) && farthest.abs() < WEAK {
                format!("the 95 % confidence interval contains 0 and ends below {WEAK}: any correlation is very weak")
            } else if ci.contains(0.0) {
                format!(
                    "the 95 % confidence interval contains 0: a correlation of 0 is not ruled out, and neither is one of {}",
                    num(farthest, 3)
                )
            } else {
                let sign = if c.r > 0.0 { "positive" } else { "negative" };
                match (strength(nearest), strength(farthest)) {
                    (low, high) if low == high => format!("a {low} {sign} correlation"),
                    (low, high) => format!("a {sign} correlation, {low} to {high} by its confidence interval"),
                }
            }
        }
    };
    format!("r = {}: {conclusion}", correlation(c))
}

fn strength(r: f64) -> &'static str {
    match r.abs() {
        r if r >= 0.7 => "strong",
        r if r >= 0.4 => "moderate",
        r if r >= WEAK => "weak",
        _ => "very weak",
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The text with its first letter in upper case.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// The text with control characters as escapes (`\u{8}`), cut to the length of a table cell.
pub(super) fn visible(text: &str) -> String {
    const LONGEST: usize = 240;
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == LONGEST {
            shown.push('…');
            break;
        }
        if c.is_control() { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_separators_and_a_minus_sign() {
        assert_eq!(num(1234567.0, 0), "1,234,567");
        assert_eq!(num(-1234.56, 1), "−1,234.6");
        assert_eq!(num(-0.001, 2), "0.00");
        assert_eq!(num(f64::NAN, 2), "–");
        assert_eq!(p_text(0.0004), "p < 0.001");
        assert_eq!(p_text(0.0316), "p = 0.032");
        assert_eq!(counted(1, "image", "images"), "1 image");
        assert_eq!((median(31.5), median(1032.0)), ("31.5".into(), "1,032".into()));
    }

    #[test]
    fn an_odds_ratio_interval_around_1_does_not_show_equality() {
        let conclusion = |low, high| odds_ratio_conclusion(&Interval { low, high }, "test", "train");
        let wide = conclusion(0.26, 15.38);
        assert!(wide.contains("contains 1: these data cannot show whether test differs from train"), "{wide}");
        assert!(wide.contains("do not rule out up to 15.38 times the odds, or as little as 0.26 times"), "{wide}");
        assert!(!wide.contains("small"), "{wide}");
        assert!(conclusion(0.9, 1.2).contains("any difference between test and train is small"));
        assert!(conclusion(0.79, 1.2).contains("cannot show"), "below 1 / 1.25");
        assert!(conclusion(0.9, 1.26).contains("cannot show"), "above 1.25");
        assert!(conclusion(1.01, 1.2).contains("above 1: the odds are significantly higher in test"));
        assert!(conclusion(0.2, 0.99).contains("below 1: the odds are significantly lower in test"));
    }

    #[test]
    fn an_interval_of_differences_around_0_does_not_show_equality() {
        let conclusion = |low, high| difference_conclusion(&Interval { low, high }, 1, "cm", ["taller", "shorter"]);
        let around = conclusion(-3.1, 4.7);
        assert!(around.contains("contains 0: these data cannot show whether the means differ"), "{around}");
        assert!(around.contains("do not rule out differences from −3.1 to 4.7 cm"), "{around}");
        assert!(conclusion(0.1, 4.7).ends_with("does not contain 0: taller"));
        assert!(conclusion(-4.7, -0.1).ends_with("does not contain 0: shorter"));
    }

    #[test]
    fn a_test_with_few_patients_has_a_note() {
        assert_eq!(few_patients(2, "man", "men"), " (only 2 men: treat with caution)");
        assert_eq!(few_patients(MIN_PATIENTS - 1, "man", "men"), " (only 5 men: treat with caution)");
        assert_eq!(few_patients(MIN_PATIENTS, "man", "men"), "");
    }

    #[test]
    fn a_correlation_is_given_with_its_interval() {
        let conclusion = |n, r, ci: Option<(f64, f64)>| {
            let ci = ci.map(|(low, high)| Interval { low, high });
            correlation_conclusion(&Correlation { n, r, ci, p: 0.1 })
        };
        let few = conclusion(6, 0.74, Some((-0.171, 0.968)));
        assert!(few.starts_with("r = 0.740 [−0.171, 0.968], n = 6: "), "{few}");
        assert!(few.contains("a correlation of 0 is not ruled out, and neither is one of 0.968"), "{few}");
        let negative = conclusion(6, -0.5, Some((-0.9, 0.3)));
        assert!(negative.contains("neither is one of −0.900"), "{negative}");
        assert!(conclusion(900, 0.02, Some((-0.05, 0.09))).contains("any correlation is very weak"));
        assert!(conclusion(800, 0.794, Some((0.767, 0.818))).ends_with("a strong positive correlation"));
        let wide = conclusion(8, 0.75, Some((0.09, 0.95)));
        assert!(wide.ends_with("a positive correlation, very weak to strong by its confidence interval"), "{wide}");
        assert!(conclusion(3, 0.9, None).contains("too few values"));
        assert!(conclusion(5, 1.0, None).contains("on a line"));
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(visible("\u{8}여"), "\\u{8}여");
        assert_eq!(visible(&"x".repeat(300)).chars().count(), 241);
    }
}
