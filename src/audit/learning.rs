//! The model of a hand, learnt from all hands of the data, and the verdict on each hand.

use rayon::prelude::*;

use super::gaussian::{Gaussian, Values};
use super::population::{FEWEST_BONES, HandModel, Judged, MeasuredHand, Verdict};
use super::similarity::{Similarity, normalised};
use super::{prior, relabel};
use crate::bones::COUNT;
use crate::stats::robust;

/// Hands of the anatomy table that the learnt covariance is drawn towards.
const PRIOR_HANDS: f64 = 60.0;
/// Rounds of judging and learning.
const ROUNDS: usize = 3;

impl HandModel {
    /// The model of these hands: judged by the anatomy table first, then by what the hands themselves show.
    pub fn learnt(hands: &[MeasuredHand]) -> HandModel {
        const ENOUGH_TO_RECENTRE: usize = 12;
        let prior = prior::model();
        let mut model = prior.clone();
        for round in 0..ROUNDS {
            let judged: Vec<(&MeasuredHand, Judged)> = hands
                .par_iter()
                .filter(|h| h.count() >= FEWEST_BONES)
                .filter_map(|h| {
                    let fit = Similarity::robust(&h.places, &model.place)?;
                    Some((h, model.judge(h, fit)))
                })
                .collect();
            // A hand whose bones mostly disagree teaches nothing.
            let sound: Vec<&(&MeasuredHand, Judged)> =
                judged.iter().filter(|(h, j)| 3 * j.place.removed < h.count()).collect();
            if sound.is_empty() {
                break;
            }
            type Accepted = (Values, [bool; COUNT]);
            let values = |of: &dyn Fn(&MeasuredHand, &Judged) -> Accepted| -> Vec<Accepted> {
                sound.iter().map(|(h, j)| of(h, j)).collect()
            };
            // In the first round only the anatomy table says which bones agree, and data drawn another way (other
            // margins, other pixel rims) differ from it as a whole: take the hands' own medians as centre first.
            let recentre = round == 0 && sound.len() >= ENOUGH_TO_RECENTRE;
            let all = |v: &Values| v.map(|v| v.is_some());
            let place = values(&|h, j| {
                let v = normalised(&h.places, &j.fit);
                (v, if recentre { all(&v) } else { j.place.accepted })
            });
            let shape = values(&|h, j| {
                let v = model.measures(h, &j.fit).0;
                (v, if recentre { all(&v) } else { j.shape.accepted })
            });
            let lean = values(&|h, j| {
                let v = model.measures(h, &j.fit).1;
                (v, if recentre { all(&v) } else { j.lean.accepted })
            });
            let next = if recentre {
                [recentred(&model.place, &place), recentred(&model.shape, &shape), recentred(&model.lean, &lean)]
            } else {
                [
                    model.place.learnt(&prior.place, &place, PRIOR_HANDS),
                    model.shape.learnt(&prior.shape, &shape, PRIOR_HANDS),
                    model.lean.learnt(&prior.lean, &lean, PRIOR_HANDS),
                ]
            };
            if let [Some(place), Some(shape), Some(lean)] = next {
                model = HandModel { place, shape, lean, hands: sound.len() };
            }
        }
        model
    }

    /// Finds the labels that fit best and judges the hand with them.
    pub fn verdict(&self, hand: &MeasuredHand) -> Verdict {
        let own: [usize; COUNT] = std::array::from_fn(|b| b);
        let plain = |judged| Verdict { hand: hand.clone(), labels: own, changes: Vec::new(), judged };
        if hand.count() < FEWEST_BONES {
            return plain(None);
        }
        let Some(fit) = Similarity::robust(&hand.places, &self.place) else { return plain(None) };
        let (labels, changes, judged) = relabel::search(self, hand, fit);
        Verdict { hand: hand.clone(), labels, changes, judged: Some(judged) }
    }
}

/// The same spread about the hands' medians.
fn recentred(model: &Gaussian, hands: &[(Values, [bool; COUNT])]) -> Option<Gaussian> {
    let centres = (0..COUNT).map(|b| {
        let middle = |d: usize| robust::median(hands.iter().filter_map(|(v, _)| Some(v[b]?[d])));
        match (middle(0), middle(1)) {
            (Some(x), Some(y)) => [x, y],
            _ => model.mean(b),
        }
    });
    model.recentred(&centres.collect::<Vec<_>>())
}
