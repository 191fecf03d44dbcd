use polars::prelude::PolarsResult;

use crate::report::{Section, Study};

/// What the words and the lines mean.
pub(super) fn section(_: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("reading", "How to read this");
    let words: [(&str, &str); 10] = [
        (
            "95 % interval",
            "If the data were gathered again and again, 95 of 100 such intervals would hold the true value. Where it leaves out the value of no effect (0 for differences and correlations, 1 for ratios), the effect is more than chance.",
        ),
        (
            "share ratio",
            "The share in one group divided by the share in the other: “how many times as many”. Interval after Katz.",
        ),
        (
            "odds ratio",
            "The odds (with : without) in one group divided by the odds in the other. Further from 1 than the share ratio unless the thing is rare. Interval after Woolf; where a count is zero, 0.5 is added to all four (Haldane, Anscombe).",
        ),
        ("Wilson's interval", "The interval of a share; it stays within 0 and 100 % and is good for small n."),
        (
            "allowing for patients",
            "Interval from the cluster-robust variance with the patient as cluster: two hands of one patient count for less than two patients.",
        ),
        (
            "r, ρ",
            "Pearson's correlation (a line) and Spearman's (any rising or falling relation); interval by Fisher's z.",
        ),
        (
            "Welch, Mann-Whitney",
            "Tests of a difference in means without equal variances, and of a shift in ranks (with tie and continuity correction).",
        ),
        (
            "VIF",
            "Variance inflation: how much less sure a coefficient is because the other regressors tell nearly the same.",
        ),
        ("Kolmogorov-Smirnov", "The largest distance of two distribution functions: 0 for alike, 1 for apart."),
        ("n", "How many values a number rests on; missing values are left out and counted."),
    ];
    let rows = words.iter().map(|(word, means)| vec![(*word).to_owned(), (*means).to_owned()]).collect();
    section.table("Words of this report", &["word", "what it means"], rows);
    section.text("Colours are those of Okabe and Ito, which people with any colour vision can tell apart. Every figure is beside this page as PNG and SVG, every number in numbers.json.");
    Ok(section)
}
