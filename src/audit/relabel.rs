//! Finds the most likely labels of a hand: optimal assignment of shapes to bones (Hungarian algorithm), then a test of
//! each change: it must make the hand clearly more likely.

use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;

use super::population::{Assessment, HandModel, LabelChange, MeasuredHand};
use super::similarity::Similarity;
use crate::bones::COUNT;

/// Smallest decrease of -2 log likelihood at which a group of changed labels is reported. Each swap of neighbours
/// planted in twelve real hands gains 26 or more, even if the model is estimated from these twelve hands alone. No
/// correct hand, real or phantom, has a change that gains 24.
pub const MIN_GAIN: f64 = 24.0;
/// Swaps are tried in full only if they increase the cost by at most this much when the other bones are ignored.
const MAX_PRELIMINARY_COST: f64 = 8.0;
/// With this many outliers or more, the frame is also searched without using labels.
const TOO_MANY_OUTLIERS: usize = 5;

type Labels = [usize; COUNT];

/// Result of [`search`].
pub struct Relabelling {
    /// `labels[i]` is the most likely bone for the shape labelled `i`.
    pub labels: Labels,
    /// Groups of labels that change together, with their gains.
    pub changes: Vec<LabelChange>,
    /// The hand with these labels compared with the model.
    pub assessment: Assessment,
}

/// Finds the most likely labels of a hand, starting from the transform of the labels in the annotation.
pub fn search(model: &HandModel, hand: &MeasuredHand, fit: Similarity) -> Relabelling {
    let own: Labels = std::array::from_fn(|b| b);
    let as_labelled = model.assess(hand, fit);
    let unchanged = |assessment| Relabelling { labels: own, changes: Vec::new(), assessment };
    let mut best = (own, as_labelled.clone(), as_labelled.cost());

    let mut starts = vec![(fit, own)];
    if as_labelled.position.removed >= TOO_MANY_OUTLIERS {
        starts.extend(Similarity::unlabelled(&hand.centroids, &model.position).into_iter().map(|f| (f, own)));
    }
    for (mut fit, mut labels) in starts {
        // Alternate: labels from positions, then the transform from the labels, until they agree.
        for _ in 0..4 {
            let assigned = assigned(model, hand, &fit);
            if assigned == labels && assigned != own {
                break;
            }
            labels = assigned;
            let renamed = hand.relabelled(&labels);
            fit = fit.refined(&renamed.centroids, &model.position);
            let assessment = model.assess(&renamed, fit);
            let cost = assessment.cost();
            if cost < best.2 - 1e-9 {
                best = (labels, assessment, cost);
            }
            if labels == own {
                break;
            }
        }
    }
    // If most positions are impossible for a hand, all labels are equally unlikely: a search would be slow and useless.
    if best.1.is_implausible() {
        return unchanged(as_labelled);
    }
    improve_by_swaps(model, hand, &mut best);
    if best.0 == own {
        return unchanged(as_labelled);
    }
    keep_confirmed(model, hand, best)
}

/// Labels by optimal assignment, each bone independent of the others.
fn assigned(model: &HandModel, hand: &MeasuredHand, fit: &Similarity) -> Labels {
    const SCALE: f64 = 1000.0;
    let present: Vec<usize> =
        (0..COUNT).filter(|b| hand.centroids[*b].is_some() && hand.shapes[*b].is_some()).collect();
    let mut labels: Labels = std::array::from_fn(|b| b);
    if present.is_empty() {
        return labels;
    }
    // A label that occurs without measures (several shapes or parts) must not be assigned: its bone is annotated.
    let costs = Matrix::from_fn(present.len(), COUNT, |(i, to)| {
        let cost = model.deviance(hand, fit, present[i], to).unwrap_or(0.0);
        // The current label is preferred.
        let penalty = match (present[i] == to, hand.drawn[to] && hand.centroids[to].is_none()) {
            (true, _) => 0.0,
            (false, true) => 1e5,
            (false, false) => 2.0,
        };
        ((cost + penalty).clamp(-1e6, 1e6) * SCALE) as i64
    });
    let (_, names) = kuhn_munkres_min(&costs);
    for (bone, name) in present.iter().zip(names) {
        labels[*bone] = name;
    }
    labels
}

/// Swaps pairs of labels as long as a swap makes the hand clearly more likely.
fn improve_by_swaps(model: &HandModel, hand: &MeasuredHand, best: &mut (Labels, Assessment, f64)) {
    const STEPS: usize = 20;
    const MIN_IMPROVEMENT: f64 = 4.0;
    for _ in 0..STEPS {
        let (labels, current, cost) = &*best;
        let doubtful: Vec<bool> = (0..COUNT)
            .map(|b| {
                [current.position.residuals[b], current.shape.residuals[b]].iter().flatten().any(|r| r.distance > 3.0)
            })
            .collect();
        let mut next: Option<(Labels, Assessment, f64)> = None;
        for a in 0..COUNT {
            for b in a + 1..COUNT {
                let deviance = |from: usize, to: usize| model.deviance(hand, &current.fit, from, to);
                let (Some(aa), Some(bb), Some(ab), Some(ba)) =
                    (deviance(a, labels[a]), deviance(b, labels[b]), deviance(a, labels[b]), deviance(b, labels[a]))
                else {
                    continue;
                };
                let increase = ab + ba - aa - bb;
                let both = doubtful[labels[a]] && doubtful[labels[b]];
                if increase > if both { 6.0 * MAX_PRELIMINARY_COST } else { MAX_PRELIMINARY_COST } {
                    continue;
                }
                let mut swapped = *labels;
                swapped.swap(a, b);
                let renamed = hand.relabelled(&swapped);
                let assessment = model.assess(&renamed, current.fit.refined(&renamed.centroids, &model.position));
                let new = assessment.cost();
                if new < cost - MIN_IMPROVEMENT && next.as_ref().is_none_or(|n| new < n.2) {
                    next = Some((swapped, assessment, new));
                }
            }
        }
        match next {
            Some(better) => *best = better,
            None => break,
        }
    }
}

/// Keeps the groups of changes that each make the hand clearly more likely, given the other groups.
fn keep_confirmed(
    model: &HandModel,
    hand: &MeasuredHand,
    (mut labels, mut assessment, mut cost): (Labels, Assessment, f64),
) -> Relabelling {
    loop {
        let mut gains = Vec::new();
        for group in groups(&labels) {
            let mut undone = labels;
            group.iter().for_each(|b| undone[*b] = *b);
            let renamed = hand.relabelled(&undone);
            let fit = assessment.fit.refined(&renamed.centroids, &model.position);
            let without = model.assess(&renamed, fit);
            gains.push((group, without.cost() - cost, undone, without));
        }
        let weakest = gains.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(i, g)| (i, g.1));
        match weakest {
            Some((i, gain)) if gain < MIN_GAIN => {
                let (_, _, undone, without) = gains.swap_remove(i);
                cost = without.cost();
                (labels, assessment) = (undone, without);
            }
            _ => {
                let changes = gains.into_iter().map(|(bones, gain, ..)| LabelChange { bones, gain }).collect();
                return Relabelling { labels, changes, assessment };
            }
        }
    }
}

/// Labels that change together: cycles, and chains that end at a label that no shape has. Each group is in the order
/// of the change: the shape labelled `group[0]` looks like `group[1]`, and so on.
fn groups(labels: &Labels) -> Vec<Vec<usize>> {
    let mut seen = [false; COUNT];
    let mut groups = Vec::new();
    let changed: Vec<usize> = (0..COUNT).filter(|b| labels[*b] != *b).collect();
    let target = |b: usize| changed.iter().any(|c| labels[*c] == b);
    // Chains start at labels that no other shape receives; the rest are cycles.
    let starts = changed.iter().filter(|b| !target(**b)).chain(&changed);
    for start in starts {
        let mut group = Vec::new();
        let mut at = *start;
        while !seen[at] && labels[at] != at {
            seen[at] = true;
            group.push(at);
            at = labels[at];
        }
        if !group.is_empty() {
            groups.push(group);
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_grouped_into_cycles_and_chains() {
        let mut labels: Labels = std::array::from_fn(|b| b);
        labels.swap(0, 2);
        (labels[5], labels[6], labels[7]) = (6, 7, 5);
        // The shape labelled 9 is bone 10; no shape has the label 10.
        labels[9] = 10;
        let mut found = groups(&labels);
        found.sort();
        assert_eq!(found, vec![vec![0, 2], vec![5, 6, 7], vec![9]]);
    }
}
