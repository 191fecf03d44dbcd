//! Progress of the curators, and how far they agree.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::judgement::{Judgement, JudgementKind, ListedFinding, is_disputed, outcome};

/// Numbers of findings by state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateCounts {
    /// All findings.
    pub all: usize,
    /// Findings with a judgement other than a flag.
    pub done: usize,
    /// Findings by the name of their judgement; `open` without one.
    pub by_state: BTreeMap<&'static str, usize>,
}

impl StateCounts {
    fn count(&mut self, kind: Option<JudgementKind>) {
        self.all += 1;
        self.done += usize::from(kind.is_some_and(|kind| kind != JudgementKind::Flagged));
        *self.by_state.entry(kind.map_or("open", JudgementKind::name)).or_default() += 1;
    }
}

/// How far two curators agree on the findings that both have judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairAgreement {
    /// The curators, in alphabetical order.
    pub authors: [String; 2],
    /// Findings that both have judged.
    pub both: usize,
    /// Findings that both have judged in the same way.
    pub same: usize,
    /// Cohen's kappa over the judgements kept, corrected and excluded; `None` if it is undefined, because both gave one
    /// and the same judgement to all findings.
    pub kappa: Option<f64>,
}

/// Progress of a review.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReviewProgress {
    /// All findings.
    pub total: StateCounts,
    /// By check.
    pub by_check: BTreeMap<&'static str, StateCounts>,
    /// By curator, over the findings that they have judged.
    pub by_author: BTreeMap<String, StateCounts>,
    /// Findings that curators judge differently.
    pub disputed: usize,
    /// Each pair of curators with common findings.
    pub agreement: Vec<PairAgreement>,
}

/// Counts the judgements of the findings; both slices have the same order.
pub fn progress(findings: &[ListedFinding], judgements: &[Vec<Judgement>]) -> ReviewProgress {
    let mut progress = ReviewProgress {
        total: StateCounts::default(),
        by_check: BTreeMap::new(),
        by_author: BTreeMap::new(),
        disputed: judgements.iter().filter(|judgements| is_disputed(judgements)).count(),
        agreement: Vec::new(),
    };
    for (finding, judgements) in findings.iter().zip(judgements) {
        let kind = outcome(judgements);
        progress.total.count(kind);
        progress.by_check.entry(finding.row.check.name).or_default().count(kind);
        for judgement in judgements {
            progress.by_author.entry(judgement.author.clone()).or_default().count(Some(judgement.kind));
        }
    }
    let authors: Vec<&String> = progress.by_author.keys().collect();
    for (n, a) in authors.iter().enumerate() {
        let with = authors[n + 1..].iter().filter_map(|b| agreement(judgements, a, b));
        progress.agreement.extend(with);
    }
    progress
}

fn agreement(judgements: &[Vec<Judgement>], a: &str, b: &str) -> Option<PairAgreement> {
    let by = |judgements: &[Judgement], author: &str| {
        let own = judgements.iter().find(|judgement| judgement.author == author);
        own.map(|judgement| judgement.kind).filter(|kind| *kind != JudgementKind::Flagged)
    };
    let pairs = judgements.iter().filter_map(|judgements| Some([by(judgements, a)?, by(judgements, b)?]));
    let pairs: Vec<[JudgementKind; 2]> = pairs.collect();
    let same = pairs.iter().filter(|[a, b]| a == b).count();
    (!pairs.is_empty()).then(|| PairAgreement {
        authors: [a.to_owned(), b.to_owned()],
        both: pairs.len(),
        same,
        kappa: cohens_kappa(&pairs),
    })
}

/// Cohen's kappa of pairs of ratings: the agreement beyond that of independent raters with the same shares. `None`
/// without pairs, and if chance alone gives full agreement.
pub fn cohens_kappa<T: Ord + Copy>(pairs: &[[T; 2]]) -> Option<f64> {
    let n = pairs.len() as f64;
    let observed = pairs.iter().filter(|[a, b]| a == b).count() as f64 / n;
    let ratings: BTreeSet<T> = pairs.iter().flatten().copied().collect();
    let share = |rater: usize, rating: T| pairs.iter().filter(|pair| pair[rater] == rating).count() as f64 / n;
    let expected: f64 = ratings.into_iter().map(|rating| share(0, rating) * share(1, rating)).sum();
    (!pairs.is_empty() && expected < 1.0).then(|| (observed - expected) / (1.0 - expected))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_is_that_of_scikit_learn() {
        let pairs = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| [*a, *b]).collect::<Vec<_>>();
        // sklearn.metrics.cohen_kappa_score([2, 0, 2, 2, 0, 1], [0, 0, 2, 2, 0, 2]) = 0.42857142857142855
        let kappa = cohens_kappa(&pairs(&[2, 0, 2, 2, 0, 1], &[0, 0, 2, 2, 0, 2])).unwrap();
        assert!((kappa - 3.0 / 7.0).abs() < 1e-12, "{kappa}");
        assert_eq!(cohens_kappa(&pairs(&[1, 2, 1], &[1, 2, 1])), Some(1.0));
        assert_eq!(cohens_kappa(&pairs(&[1, 1], &[1, 1])), None);
        assert_eq!(cohens_kappa::<u8>(&[]), None);
    }
}
