use polars::prelude::PolarsResult;

use crate::report::{Section, Study};

/// The statistical terms of the report.
pub(super) fn section(_: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("reading", "Terms");
    let terms: [(&str, &str); 20] = [
        (
            "95 % confidence interval",
            "Range computed so that, over many repetitions of the study, 95 % of such ranges contain the true value. If it does not contain the value of no effect (0 for differences and correlations, 1 for ratios), the effect is significant. If it does, the data cannot show whether there is an effect: every value in the range remains possible, unless the effect is shown to be small.",
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
            "Largest difference between two cumulative distributions: 0 if they are equal, 1 if they do not overlap. Its p value is exact; with ties it is too large.",
        ),
        (
            "shown to be small",
            "Two one-sided tests (equivalence) show that the effect is within a margin: a factor of 1.25 for odds ratios, 0.2 standard deviations for mean differences, 0.2 for correlations. An interval that contains no effect does not show this by itself.",
        ),
        (
            "not settled",
            "Test and confidence interval of one comparison disagree about 5 %, usually because one of them is approximate in small groups.",
        ),
        (
            "Holm, Benjamini-Hochberg",
            "p values adjusted for the number of tests of a section: Holm bounds the probability of any false positive, Benjamini and Hochberg the expected share of false positives among the significant results.",
        ),
        (
            "standardised mean difference (SMD)",
            "Mean difference divided by the standard deviation within the groups; it has no unit.",
        ),
        (
            "Wasserstein distance",
            "Mean distance by which values must be moved to turn one distribution into the other, in the unit of the values.",
        ),
        (
            "Cramér-von Mises",
            "Test of two distributions by the mean squared difference of the cumulative ones; more sensitive to differences in the middle than Kolmogorov-Smirnov. With ties its p value is approximate.",
        ),
        (
            "population stability index (PSI)",
            "Sum of (share − reference share) · ln(share / reference share) over bins at the reference quantiles. Without a shift it is about (1/n + 1/m)(bins − 1) and not 0; the 95 % bound without shift is given with it.",
        ),
        (
            "classifier two-sample test",
            "A classifier is trained to distinguish the groups; if it succeeds on patients it was not trained on, the groups differ. Its p value comes from permuted labels of whole patients.",
        ),
        (
            "HC3, clustered errors",
            "Standard errors of regression coefficients that allow for residuals of unequal variance (HC3) or for correlated residuals of one patient (clustered).",
        ),
        (
            "leverage, Cook's distance",
            "How far a patient's regressors are from those of the others, and how much all fitted values change without the patient.",
        ),
        ("n", "Number of values used; missing values are not included."),
    ];
    let rows = terms.iter().map(|(term, meaning)| vec![(*term).to_owned(), (*meaning).to_owned()]).collect();
    section.table("Statistical terms; not every report uses all of them", &["term", "meaning"], rows);
    section.text("Colours are those of Okabe and Ito, which people with any colour vision can distinguish. All figures are next to this page as PNG and SVG, all numbers in numbers.json.");
    Ok(section)
}
