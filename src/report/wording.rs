//! Numbers as text; [`conclusion`] has the sentences about what a comparison shows.

mod conclusion;

pub(super) use conclusion::{
    Conclusion, Directions, Evidence, MIN_PATIENTS, SMALL_FACTOR, SMALL_SD, correlation_conclusion,
    difference_conclusion, disagreement, few_patients, odds_ratio_conclusion,
};

use crate::stats::{Correlation, Interval, Proportion, Ratio, SampleSummary};

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
    fn control_characters_are_escaped() {
        assert_eq!(visible("\u{8}여"), "\\u{8}여");
        assert_eq!(visible(&"x".repeat(300)).chars().count(), 241);
    }
}
