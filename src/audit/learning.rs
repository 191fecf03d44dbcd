//! Estimates the hand model from all hands of the data, and compares each hand with it.

use rayon::prelude::*;

use super::gaussian::{Gaussian, Values};
use super::population::{Assessment, HandModel, MIN_BONES, MeasuredHand, Verdict};
use super::prior;
use super::relabel::{self, Relabelling};
use super::similarity::{Similarity, normalised};
use crate::bones::COUNT;
use crate::stats::robust;

/// Number of hands that the reference anatomy counts for in the estimated covariance.
const PRIOR_HANDS: f64 = 60.0;
/// Rounds of comparison and estimation.
const ROUNDS: usize = 3;

impl HandModel {
    /// Estimates the model of these hands, starting from the reference anatomy.
    pub fn estimate(hands: &[MeasuredHand]) -> HandModel {
        const MIN_HANDS_TO_RECENTRE: usize = 12;
        let prior = prior::model();
        let mut model = prior.clone();
        for round in 0..ROUNDS {
            let assessed: Vec<(&MeasuredHand, Assessment)> = hands
                .par_iter()
                .filter(|h| h.count() >= MIN_BONES)
                .filter_map(|h| {
                    let fit = Similarity::robust(&h.centroids, &model.position)?;
                    Some((h, model.assess(h, fit)))
                })
                .collect();
            // Hands with many outliers are not used.
            let consistent: Vec<&(&MeasuredHand, Assessment)> =
                assessed.iter().filter(|(h, j)| 3 * j.position.removed < h.count()).collect();
            if consistent.is_empty() {
                break;
            }
            type Accepted = (Values, [bool; COUNT]);
            let values = |of: &dyn Fn(&MeasuredHand, &Assessment) -> Accepted| -> Vec<Accepted> {
                consistent.iter().map(|(h, j)| of(h, j)).collect()
            };
            // The first round knows only the reference anatomy, and all hands of the data may differ from it (other
            // margins, other outlining rules). So the first round accepts all bones and only moves the centre to the
            // medians of the hands.
            let recentre = round == 0 && consistent.len() >= MIN_HANDS_TO_RECENTRE;
            let all = |v: &Values| v.map(|v| v.is_some());
            let position = values(&|h, j| {
                let v = normalised(&h.centroids, &j.fit);
                (v, if recentre { all(&v) } else { j.position.accepted })
            });
            let shape = values(&|h, j| {
                let v = model.measures(h, &j.fit).0;
                (v, if recentre { all(&v) } else { j.shape.accepted })
            });
            let orientation = values(&|h, j| {
                let v = model.measures(h, &j.fit).1;
                (v, if recentre { all(&v) } else { j.orientation.accepted })
            });
            let next = if recentre {
                [
                    recentred(&model.position, &position),
                    recentred(&model.shape, &shape),
                    recentred(&model.orientation, &orientation),
                ]
            } else {
                [
                    model.position.em_step(&prior.position, &position, PRIOR_HANDS),
                    model.shape.em_step(&prior.shape, &shape, PRIOR_HANDS),
                    model.orientation.em_step(&prior.orientation, &orientation, PRIOR_HANDS),
                ]
            };
            if let [Some(position), Some(shape), Some(orientation)] = next {
                model = HandModel { position, shape, orientation, hands: consistent.len() };
            }
        }
        model
    }

    /// Finds the labels that fit the hand best, and compares the hand with the model under these labels.
    pub fn verdict(&self, hand: &MeasuredHand) -> Verdict {
        let own: [usize; COUNT] = std::array::from_fn(|b| b);
        let unassessed = Verdict { hand: hand.clone(), labels: own, changes: Vec::new(), assessment: None };
        if hand.count() < MIN_BONES {
            return unassessed;
        }
        let Some(fit) = Similarity::robust(&hand.centroids, &self.position) else { return unassessed };
        let Relabelling { labels, changes, assessment } = relabel::search(self, hand, fit);
        Verdict { labels, changes, assessment: Some(assessment), ..unassessed }
    }
}

/// The same covariance around the medians of the hands.
fn recentred(model: &Gaussian, hands: &[(Values, [bool; COUNT])]) -> Option<Gaussian> {
    let centres = (0..COUNT).map(|b| {
        let median = |d: usize| robust::median(hands.iter().filter_map(|(v, _)| Some(v[b]?[d])));
        match (median(0), median(1)) {
            (Some(x), Some(y)) => [x, y],
            _ => model.mean(b),
        }
    });
    model.recentred(&centres.collect::<Vec<_>>())
}
