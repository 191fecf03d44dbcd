//! Numbers as text, and what an interval or a p says.

use crate::stats::{Correlation, Interval, Proportion, Ratio, SampleSummary};

/// `value` with `decimals` decimals, thousands apart, a true minus sign.
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

/// A whole number, thousands apart.
pub(super) fn count(n: usize) -> String {
    num(n as f64, 0)
}

/// A median of whole numbers, which may end in a half: `31`, `31.5`.
pub(super) fn median(value: f64) -> String {
    num(value, if value.fract() == 0.0 { 0 } else { 1 })
}

/// `1 image`, `2 images`.
pub(super) fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { many })
}

/// A p: `p = 0.032`, `p < 0.001`.
pub(super) fn p_text(p: f64) -> String {
    if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {}", num(p, 3)) }
}

/// An interval: `[1.02, 1.77]`.
pub(super) fn interval(ci: &Interval, decimals: usize) -> String {
    format!("[{}, {}]", num(ci.low, decimals), num(ci.high, decimals))
}

/// A share: `57.6 % [51.9, 63.2]`.
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

/// `15.7 ± 2.5`.
pub(super) fn mean_sd(s: &SampleSummary, decimals: usize) -> String {
    let sd = s.sd.map_or_else(String::new, |sd| format!(" ± {}", num(sd, decimals)));
    format!("{}{sd}", num(s.mean, decimals))
}

/// What a ratio's interval says about equality.
pub(super) fn ratio_says(ci: &Interval) -> &'static str {
    if ci.contains(1.0) {
        "the interval holds 1, so the data do not show a difference"
    } else if ci.low > 1.0 {
        "the whole interval lies above 1, so the difference is more than chance"
    } else {
        "the whole interval lies below 1, so the difference is more than chance"
    }
}

/// What a correlation's interval says: strength and direction.
pub(super) fn correlation_says(c: &Correlation) -> String {
    match c.ci {
        Some(ci) if !ci.contains(0.0) => {
            let strength = match c.r.abs() {
                r if r >= 0.7 => "strong",
                r if r >= 0.4 => "moderate",
                r if r >= 0.2 => "weak",
                _ => "very weak",
            };
            format!("a {strength} {} relation", if c.r > 0.0 { "rising" } else { "falling" })
        }
        Some(_) => "no relation that the data show (the interval holds 0)".to_owned(),
        None => "too few values for an interval".to_owned(),
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

/// The sentence with a capital first letter.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}

/// Text in which control characters show as escapes (`\u{8}`) and nothing is too long for a cell.
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
    fn numbers_as_people_write_them() {
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
    fn intervals_are_read_from_the_data() {
        assert!(ratio_says(&Interval { low: 0.9, high: 1.2 }).contains("holds 1"));
        assert!(ratio_says(&Interval { low: 1.01, high: 1.2 }).contains("above 1"));
        let weak = Correlation { n: 9, r: 0.1, ci: Some(Interval { low: -0.6, high: 0.7 }), p: 0.8 };
        assert!(correlation_says(&weak).contains("holds 0"));
    }

    #[test]
    fn raw_text_is_made_visible() {
        assert_eq!(visible("\u{8}여"), "\\u{8}여");
        assert_eq!(visible(&"x".repeat(300)).chars().count(), 241);
    }
}
