use polars::prelude::PolarsResult;

use crate::report::{Section, Study};

/// The statistical terms of the report.
pub(super) fn section(_: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("reading", "Terms");
    let terms: [(&str, &str); 10] = [
        (
            "95 % confidence interval",
            "Range computed so that, over many repetitions of the study, 95 % of such ranges contain the true value. If it does not contain the value of no effect (0 for differences and correlations, 1 for ratios), the effect is significant. If it does, the data cannot show whether there is an effect: every value in the range remains possible.",
        ),
        ("risk ratio", "Share in one group divided by the share in the other. Interval by Katz."),
        (
            "odds ratio",
            "Odds (with : without) in one group divided by the odds in the other. It is farther from 1 than the risk ratio, unless the feature is rare. Interval by Woolf; if a count is zero, 0.5 is added to all four (Haldane, Anscombe).",
        ),
        ("Wilson interval", "Confidence interval of a share. It stays within 0 and 100 % and suits small n."),
        (
            "cluster-robust interval",
            "Confidence interval with the patient as cluster: two hands of one patient carry less information than hands of two patients. Used only with 6 patients or more in each subset.",
        ),
        (
            "r, ρ",
            "Pearson's correlation (linear) and Spearman's correlation (any rising or falling relation). Interval by Fisher's z.",
        ),
        (
            "Welch, Mann-Whitney",
            "Tests of a difference in means with unequal variances, and of a shift in ranks (with tie and continuity correction).",
        ),
        (
            "VIF",
            "Variance inflation factor: how much the variance of a coefficient grows because its variable is correlated with the others: 1 without any correlation.",
        ),
        (
            "Kolmogorov-Smirnov distance",
            "Largest difference between two cumulative distributions: 0 if they are equal, 1 if they do not overlap.",
        ),
        ("n", "Number of values used; missing values are not included."),
    ];
    let rows = terms.iter().map(|(term, meaning)| vec![(*term).to_owned(), (*meaning).to_owned()]).collect();
    section.table("Statistical terms; not every report uses all of them", &["term", "meaning"], rows);
    section.text("Colours are those of Okabe and Ito, which people with any colour vision can distinguish. All figures are next to this page as PNG and SVG, all numbers in numbers.json.");
    Ok(section)
}
