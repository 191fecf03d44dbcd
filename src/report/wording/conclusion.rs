//! What a comparison shows, from effect, interval, test and number of patients: a difference is shown, or shown to be small,
//! or not shown. An interval that contains no effect is not evidence of no effect.

use super::{counted, interval, num, p_text};
use crate::stats::{
    Correlation, Equivalence, Interval, Ratio, Welch, equivalence_of_correlation, equivalence_of_ratio,
    equivalence_of_welch,
};

/// Factor from 1 within which an odds ratio counts as small.
pub(in crate::report) const SMALL_FACTOR: f64 = 1.25;
/// Mean difference that counts as small, in standard deviations (Cohen 1988).
pub(in crate::report) const SMALL_SD: f64 = 0.2;
/// Absolute correlation that counts as small.
pub(in crate::report) const SMALL_CORRELATION: f64 = 0.2;
/// Level of all tests.
const ALPHA: f64 = 0.05;

/// Smallest number of patients per group for a cluster-robust interval, which is far too narrow with fewer, and for a
/// statement that a difference is small. Tests with fewer get a note.
pub(in crate::report) const MIN_PATIENTS: usize = 6;

/// What is known about an effect.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Evidence {
    /// 95 % confidence interval of the effect.
    pub ci: Interval,
    /// The effect without a difference: 1 for ratios, 0 for differences and correlations.
    pub none: f64,
    /// p value of the test that is stated with the interval.
    pub p: f64,
    /// Name of that test.
    pub test: &'static str,
    /// Test that the effect is within the margin, if it can be made.
    pub equivalence: Option<Equivalence>,
    /// Number of patients in the smaller group.
    pub patients: usize,
}

/// What the evidence shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Conclusion {
    /// A difference is shown: the effect is above no effect.
    Higher,
    /// A difference is shown: the effect is below no effect.
    Lower,
    /// Any difference is shown to be small.
    Small,
    /// A difference is neither shown nor ruled out.
    Unclear,
    /// Test and interval disagree about whether a difference is shown.
    Conflict,
}

impl Evidence {
    /// Of a difference of two means with one value per patient; small is [`SMALL_SD`] standard deviations.
    pub(in crate::report) fn of_means(test: &Welch) -> Evidence {
        let equivalence = equivalence_of_welch(test, SMALL_SD * test.pooled_sd).ok();
        let patients = test.n1.min(test.n2);
        Evidence { ci: test.ci, none: 0.0, p: test.p, test: "Welch's test", equivalence, patients }
    }

    /// Of an odds ratio with a test of the same counts; small is a factor of [`SMALL_FACTOR`].
    pub(in crate::report) fn of_odds(odds: &Ratio, test: &'static str, p: f64, patients: usize) -> Evidence {
        let equivalence = equivalence_of_ratio(odds, SMALL_FACTOR).ok().filter(|_| !odds.corrected);
        Evidence { ci: odds.ci, none: 1.0, p, test, equivalence, patients }
    }

    pub(in crate::report) fn verdict(&self) -> Conclusion {
        let (above, below) = (self.ci.low > self.none, self.ci.high < self.none);
        match (above || below, self.p < ALPHA) {
            (true, true) if above => Conclusion::Higher,
            (true, true) => Conclusion::Lower,
            (false, false) if self.is_small() => Conclusion::Small,
            (false, false) => Conclusion::Unclear,
            _ => Conclusion::Conflict,
        }
    }

    /// Whether the effect is shown to be within the margin.
    pub(in crate::report) fn is_small(&self) -> bool {
        self.patients >= MIN_PATIENTS && self.equivalence.is_some_and(|e| e.p < ALPHA)
    }

    /// The verdict in a few words for a table: `higher in test`.
    pub(in crate::report) fn short(&self, group: &str) -> String {
        let small = if self.is_small() { ", but small" } else { "" };
        match self.verdict() {
            Conclusion::Higher => format!("higher in {group}{small}"),
            Conclusion::Lower => format!("lower in {group}{small}"),
            Conclusion::Small => "shown to be small".to_owned(),
            Conclusion::Unclear => "not shown".to_owned(),
            Conclusion::Conflict => "not settled".to_owned(),
        }
    }

    fn conflict(&self, decimals: usize) -> String {
        let (ci, contains) = (interval(&self.ci, decimals), self.ci.contains(self.none));
        let none = num(self.none, 0);
        format!(
            "not settled: {} gives {}, but the 95 % confidence interval {ci} {} {none}. One of them is approximate, which matters \
             most in small groups; the difference is neither shown nor ruled out",
            self.test,
            p_text(self.p),
            if contains { "contains" } else { "does not contain" },
        )
    }
}

/// Conclusion about the odds ratio of `group` compared with `base`.
pub(in crate::report) fn odds_ratio_conclusion(evidence: &Evidence, group: &str, base: &str) -> String {
    let ci = &evidence.ci;
    let limit = |value: f64| num(value, if value >= 100.0 { 0 } else { 2 });
    let but_small = if evidence.is_small() {
        format!("; the ratio is shown to be within a factor of {SMALL_FACTOR} of 1, so the difference is small")
    } else {
        String::new()
    };
    match evidence.verdict() {
        Conclusion::Higher => format!(
            "the 95 % confidence interval is above 1: the odds are significantly higher in {group} than in {base}{but_small}"
        ),
        Conclusion::Lower => format!(
            "the 95 % confidence interval is below 1: the odds are significantly lower in {group} than in {base}{but_small}"
        ),
        Conclusion::Small => format!(
            "the 95 % confidence interval contains 1, and the ratio is shown to be within a factor of {SMALL_FACTOR} of 1 (two \
             one-sided tests, {}): any difference between {group} and {base} is small",
            equivalence_p(evidence),
        ),
        Conclusion::Unclear => format!(
            "the 95 % confidence interval contains 1: these data cannot show whether {group} differs from {base}; they do not \
             rule out up to {} times the odds, or as little as {} times",
            limit(ci.high),
            limit(ci.low)
        ),
        Conclusion::Conflict => evidence.conflict(2),
    }
}

/// The two directions of a difference in words.
#[derive(Clone, Copy, Debug)]
pub(in crate::report) struct Directions<'a> {
    /// If the difference is positive: `the mean is significantly higher in test`.
    pub positive: &'a str,
    /// If it is negative.
    pub negative: &'a str,
}

/// Conclusion about a mean difference.
pub(in crate::report) fn difference_conclusion(
    evidence: &Evidence,
    decimals: usize,
    unit: &str,
    directions: Directions<'_>,
) -> String {
    let ci = &evidence.ci;
    let margin = evidence.equivalence.map_or(f64::NAN, |e| e.margin);
    let small = format!("{} {unit} ({SMALL_SD} standard deviations)", num(margin, decimals.max(1)));
    let but_small =
        if evidence.is_small() { format!("; it is shown to be below {small}, so it is small") } else { String::new() };
    let shown = |direction| format!("the 95 % confidence interval does not contain 0: {direction}{but_small}");
    match evidence.verdict() {
        Conclusion::Higher => shown(directions.positive),
        Conclusion::Lower => shown(directions.negative),
        Conclusion::Small => format!(
            "the 95 % confidence interval contains 0, and the difference is shown to be below {small} (two one-sided tests, {}): \
             any difference of the means is small",
            equivalence_p(evidence),
        ),
        Conclusion::Unclear => format!(
            "the 95 % confidence interval contains 0: these data cannot show whether the means differ; they do not rule out \
             differences from {} to {} {unit}",
            num(ci.low, decimals),
            num(ci.high, decimals)
        ),
        Conclusion::Conflict => evidence.conflict(decimals),
    }
}

fn equivalence_p(evidence: &Evidence) -> String {
    evidence.equivalence.map_or_else(String::new, |e| p_text(e.p))
}

/// A note on a test whose smaller group has fewer than [`MIN_PATIENTS`] patients: ` (only 2 men: treat with caution)`.
pub(in crate::report) fn few_patients(n: usize, one: &str, many: &str) -> String {
    if n < MIN_PATIENTS { format!(" (only {}: treat with caution)", counted(n, one, many)) } else { String::new() }
}

/// A correlation with its interval and n, and the conclusion from the interval. Its values must be one per patient.
pub(in crate::report) fn correlation_conclusion(c: &Correlation) -> String {
    let conclusion = match c.ci {
        None if c.n <= 3 => "too few values for a confidence interval".to_owned(),
        None => "all values lie on a line, so there is no confidence interval".to_owned(),
        Some(ci) => correlation_text(c, ci),
    };
    let few = few_patients(c.n, "patient", "patients");
    format!("r = {}: {conclusion}{few}", super::correlation(c))
}

fn correlation_text(c: &Correlation, ci: Interval) -> String {
    let equivalence = equivalence_of_correlation(c, SMALL_CORRELATION).ok();
    let evidence = Evidence { ci, none: 0.0, p: c.p, test: "the t test of r", equivalence, patients: c.n };
    let (nearest, farthest) = if ci.low.abs() <= ci.high.abs() { (ci.low, ci.high) } else { (ci.high, ci.low) };
    match evidence.verdict() {
        Conclusion::Small => format!(
            "the 95 % confidence interval contains 0, and r is shown to be between −{SMALL_CORRELATION} and {SMALL_CORRELATION}: any \
             correlation is very weak"
        ),
        Conclusion::Unclear => format!(
            "the 95 % confidence interval contains 0: a correlation of 0 is not ruled out, and neither is one of {}",
            num(farthest, 3)
        ),
        Conclusion::Conflict => evidence.conflict(3),
        Conclusion::Higher | Conclusion::Lower => {
            let sign = if c.r > 0.0 { "positive" } else { "negative" };
            match (strength(nearest), strength(farthest)) {
                (low, high) if low == high => format!("a {low} {sign} correlation"),
                (low, high) => format!("a {sign} correlation, {low} to {high} by its confidence interval"),
            }
        }
    }
}

fn strength(r: f64) -> &'static str {
    match r.abs() {
        r if r >= 0.7 => "strong",
        r if r >= 0.4 => "moderate",
        r if r >= SMALL_CORRELATION => "weak",
        _ => "very weak",
    }
}

/// Why tests of one comparison disagree, if they do: one name with its p value per test.
pub(in crate::report) fn disagreement(tests: &[(&str, f64)]) -> Option<String> {
    let names = |significant: bool| {
        let of = tests.iter().filter(|t| (t.1 < ALPHA) == significant);
        super::listed(&of.map(|(name, p)| format!("{name} ({})", p_text(*p))).collect::<Vec<_>>())
    };
    let (shown, not_shown) = (names(true), names(false));
    (!shown.is_empty() && !not_shown.is_empty()).then(|| {
        format!(
            "{shown} {} a difference and {not_shown} {} not. Welch's test compares means, Mann-Whitney ranks, and Kolmogorov-Smirnov \
             and Cramér-von Mises whole distributions, so they answer different questions; a result near the limit of 5 % may \
             also differ by chance",
            if tests.iter().filter(|t| t.1 < ALPHA).count() == 1 { "shows" } else { "show" },
            if tests.iter().filter(|t| t.1 >= ALPHA).count() == 1 { "does" } else { "do" },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{TwoByTwo, welch};

    fn of_table(table: TwoByTwo) -> (Evidence, String) {
        let odds = table.odds_ratio().unwrap();
        let patients = (table.with + table.without).min(table.with_base + table.without_base);
        let evidence = Evidence::of_odds(&odds, "Fisher's exact test", table.fisher_p(), patients);
        (evidence, odds_ratio_conclusion(&evidence, "test", "train"))
    }

    /// Every sentence about two shares, over a grid of sizes and shares: what it says must follow from test and interval.
    #[test]
    fn sentences_about_ratios_follow_from_test_and_interval() {
        let mut seen = Vec::new();
        for n in [2usize, 4, 6, 8, 16, 40, 144, 400, 5000, 40_000] {
            for base in [4usize, 8, 20, 400, 5000, 40_000] {
                for share in [0.0, 0.1, 0.25, 0.45, 0.5, 0.55, 0.75, 1.0] {
                    let (with, with_base) = ((n as f64 * share).round() as usize, base / 2);
                    let table = TwoByTwo { with, without: n - with, with_base, without_base: base - with_base };
                    let (evidence, text) = of_table(table);
                    let (excludes, significant) = (!evidence.ci.contains(1.0), evidence.p < 0.05);
                    assert_eq!(text.contains("significantly"), excludes && significant, "{table:?}: {text}");
                    assert_eq!(text.contains("not settled"), excludes != significant, "{table:?}: {text}");
                    if text.contains("small:") {
                        assert!(evidence.equivalence.unwrap().p < 0.05 && n >= 6 && base >= 6, "{table:?}: {text}");
                        assert!(evidence.ci.low > 0.75 && evidence.ci.high < 1.34, "{table:?}: {text}");
                    }
                    for advice in ["no need", "equal", "the same", "does not differ", "no difference"] {
                        assert!(!text.contains(advice), "{table:?}: {text}");
                    }
                    seen.push(evidence.verdict());
                }
            }
        }
        for verdict in
            [Conclusion::Higher, Conclusion::Lower, Conclusion::Small, Conclusion::Unclear, Conclusion::Conflict]
        {
            assert!(seen.contains(&verdict), "{verdict:?} does not occur in the grid");
        }
    }

    /// The fault of issue 20: Fisher's p = 0.033 with 16 images, and an interval around 1.
    #[test]
    fn a_small_p_value_with_an_interval_around_1_is_not_settled() {
        let ci = Interval { low: 0.9, high: 38.3 };
        let equivalence = Some(Equivalence { margin: 1.25, p: 0.9 });
        let evidence = Evidence { ci, none: 1.0, p: 0.033, test: "Fisher's exact test", equivalence, patients: 4 };
        let text = odds_ratio_conclusion(&evidence, "test", "train");
        assert!(text.starts_with("not settled: Fisher's exact test gives p = 0.033"), "{text}");
        assert!(text.contains("[0.90, 38.30] contains 1") && text.contains("neither shown nor ruled out"), "{text}");
    }

    #[test]
    fn sentences_about_differences_follow_from_test_and_interval() {
        let sample = |n: usize, shift: f64| -> Vec<f64> {
            (0..n).map(|i| 160.0 + shift + 8.0 * ((i * 7919 % 101) as f64 / 101.0 - 0.5)).collect()
        };
        let directions = Directions { positive: "taller", negative: "shorter" };
        for n in [2usize, 3, 5, 6, 20, 144, 2000] {
            for shift in [-4.0, -1.0, -0.2, 0.0, 0.1, 1.0, 4.0] {
                let (a, b) = (sample(n, shift), sample(400, 0.0));
                let test = welch(&a, &b).unwrap();
                let evidence = Evidence::of_means(&test);
                let text = difference_conclusion(&evidence, 1, "cm", directions);
                let shown = test.p < 0.05;
                assert_eq!(text.contains("taller") || text.contains("shorter"), shown, "{n} {shift}: {text}");
                assert_eq!(text.contains("taller"), shown && test.difference > 0.0, "{n} {shift}: {text}");
                assert!(
                    !text.contains("is small") || (n >= 6 && evidence.equivalence.unwrap().p < 0.05),
                    "{n} {shift}: {text}"
                );
                if !shown && !text.contains("small") {
                    assert!(text.contains("cannot show whether the means differ"), "{n} {shift}: {text}");
                }
            }
        }
    }

    #[test]
    fn a_test_with_few_patients_has_a_note() {
        assert_eq!(few_patients(2, "man", "men"), " (only 2 men: treat with caution)");
        assert_eq!(few_patients(MIN_PATIENTS - 1, "man", "men"), " (only 5 men: treat with caution)");
        assert_eq!(few_patients(MIN_PATIENTS, "man", "men"), "");
    }

    #[test]
    fn a_correlation_is_given_with_its_interval() {
        let conclusion = |n, r, p, ci: Option<(f64, f64)>| {
            let ci = ci.map(|(low, high)| Interval { low, high });
            correlation_conclusion(&Correlation { n, r, ci, p })
        };
        let few = conclusion(6, 0.74, 0.09, Some((-0.171, 0.968)));
        assert!(few.starts_with("r = 0.740 [−0.171, 0.968], n = 6: "), "{few}");
        assert!(few.contains("a correlation of 0 is not ruled out, and neither is one of 0.968"), "{few}");
        let negative = conclusion(6, -0.5, 0.3, Some((-0.9, 0.3)));
        assert!(negative.contains("neither is one of −0.900"), "{negative}");
        assert!(conclusion(900, 0.02, 0.5, Some((-0.05, 0.09))).contains("any correlation is very weak"));
        assert!(conclusion(800, 0.794, 1e-9, Some((0.767, 0.818))).ends_with("a strong positive correlation"));
        let wide = conclusion(8, 0.75, 0.03, Some((0.09, 0.95)));
        assert!(wide.ends_with("a positive correlation, very weak to strong by its confidence interval"), "{wide}");
        assert!(conclusion(3, 0.9, 0.3, None).contains("too few values"));
        assert!(conclusion(5, 1.0, 0.0, None).contains("on a line"));
        assert!(conclusion(8, 0.71, 0.049, Some((-0.01, 0.94))).contains("not settled"));
    }

    #[test]
    fn tests_that_disagree_are_explained() {
        assert_eq!(disagreement(&[("Welch", 0.2), ("Mann-Whitney", 0.06)]), None);
        let text = disagreement(&[("Welch", 0.2), ("Kolmogorov-Smirnov", 0.001)]).unwrap();
        assert!(
            text.starts_with("Kolmogorov-Smirnov (p = 0.001) shows a difference and Welch (p = 0.200) does not"),
            "{text}"
        );
    }
}
