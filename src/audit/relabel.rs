//! The labels that a hand's bones should carry: optimal assignment of drawn bones to names, then the question
//! for each change whether it makes the hand clearly likelier.

use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;

use super::population::{HandModel, Judged, MeasuredHand};
use super::similarity::Similarity;
use crate::bones::COUNT;

/// How much a group of changed labels must lower -2 log likelihood to be believed. Each swap of neighbours
/// planted in twelve real hands gains 26 or more, also where those twelve are all there is to learn from; no
/// clean hand, real or phantom, has a change that gains 24.
pub const LEAST_GAIN: f64 = 24.0;
/// Swaps tried in detail: those that look this promising with the other bones left aside.
const PROMISING: f64 = 8.0;
/// Disagreeing bones from which on labels are not trusted to find the hand's frame.
const LOST: usize = 5;

type Labels = [usize; COUNT];

/// Best labels, the groups of labels that changed with their gains, and the hand judged with those labels.
pub fn search(model: &HandModel, hand: &MeasuredHand, fit: Similarity) -> (Labels, Vec<(Vec<usize>, f64)>, Judged) {
    let own: Labels = std::array::from_fn(|b| b);
    let as_labelled = model.judge(hand, fit);
    let mut best = (own, as_labelled.clone(), as_labelled.cost());

    let mut starts = vec![(fit, own)];
    if as_labelled.place.removed >= LOST {
        starts.extend(Similarity::unlabelled(&hand.places, &model.place).into_iter().map(|f| (f, own)));
    }
    for (mut fit, mut labels) in starts {
        // Names by place, place by names, until they agree.
        for _ in 0..4 {
            let assigned = assigned(model, hand, &fit);
            if assigned == labels && assigned != own {
                break;
            }
            labels = assigned;
            let renamed = hand.relabelled(&labels);
            fit = fit.refined(&renamed.places, &model.place);
            let judged = model.judge(&renamed, fit);
            let cost = judged.cost();
            if cost < best.2 - 1e-9 {
                best = (labels, judged, cost);
            }
            if labels == own {
                break;
            }
        }
    }
    // Where most bones lie anywhere, all names are equally bad: every swap would be tried, and none be right.
    if best.1.is_no_hand() {
        return (own, Vec::new(), as_labelled);
    }
    climb(model, hand, &mut best);
    if best.0 == own {
        return (own, Vec::new(), as_labelled);
    }
    confirmed(model, hand, best)
}

/// Names by optimal assignment, each bone on its own.
fn assigned(model: &HandModel, hand: &MeasuredHand, fit: &Similarity) -> Labels {
    const SCALE: f64 = 1000.0;
    let present: Vec<usize> = (0..COUNT).filter(|b| hand.places[*b].is_some() && hand.shapes[*b].is_some()).collect();
    let mut labels: Labels = std::array::from_fn(|b| b);
    if present.is_empty() {
        return labels;
    }
    // Names of bones that are drawn twice or in parts are not to be given away: their bones exist.
    let costs = Matrix::from_fn(present.len(), COUNT, |(i, to)| {
        let cost = model.surprise(hand, fit, present[i], to).unwrap_or(0.0);
        // Own names have the advantage of a doubt.
        let doubt = match (present[i] == to, hand.drawn[to] && hand.places[to].is_none()) {
            (true, _) => 0.0,
            (false, true) => 1e5,
            (false, false) => 2.0,
        };
        ((cost + doubt).clamp(-1e6, 1e6) * SCALE) as i64
    });
    let (_, names) = kuhn_munkres_min(&costs);
    for (bone, name) in present.iter().zip(names) {
        labels[*bone] = name;
    }
    labels
}

/// Swaps pairs of names while that makes the hand clearly likelier.
fn climb(model: &HandModel, hand: &MeasuredHand, best: &mut (Labels, Judged, f64)) {
    const STEPS: usize = 20;
    const WORTH: f64 = 4.0;
    for _ in 0..STEPS {
        let (labels, judged, cost) = &*best;
        let doubtful: Vec<bool> = (0..COUNT)
            .map(|b| [judged.place.residuals[b], judged.shape.residuals[b]].iter().flatten().any(|r| r.distance > 3.0))
            .collect();
        let mut next: Option<(Labels, Judged, f64)> = None;
        for a in 0..COUNT {
            for b in a + 1..COUNT {
                let surprise = |from: usize, to: usize| model.surprise(hand, &judged.fit, from, to);
                let (Some(aa), Some(bb), Some(ab), Some(ba)) =
                    (surprise(a, labels[a]), surprise(b, labels[b]), surprise(a, labels[b]), surprise(b, labels[a]))
                else {
                    continue;
                };
                let worse = ab + ba - aa - bb;
                let both = doubtful[labels[a]] && doubtful[labels[b]];
                if worse > if both { 6.0 * PROMISING } else { PROMISING } {
                    continue;
                }
                let mut swapped = *labels;
                swapped.swap(a, b);
                let renamed = hand.relabelled(&swapped);
                let judged = model.judge(&renamed, judged.fit.refined(&renamed.places, &model.place));
                let new = judged.cost();
                if new < cost - WORTH && next.as_ref().is_none_or(|n| new < n.2) {
                    next = Some((swapped, judged, new));
                }
            }
        }
        match next {
            Some(better) => *best = better,
            None => break,
        }
    }
}

/// Keeps the groups of changes that each make the hand clearly likelier, given the others.
fn confirmed(
    model: &HandModel,
    hand: &MeasuredHand,
    (mut labels, mut judged, mut cost): (Labels, Judged, f64),
) -> (Labels, Vec<(Vec<usize>, f64)>, Judged) {
    loop {
        let mut gains = Vec::new();
        for group in groups(&labels) {
            let mut undone = labels;
            group.iter().for_each(|b| undone[*b] = *b);
            let renamed = hand.relabelled(&undone);
            let fit = judged.fit.refined(&renamed.places, &model.place);
            let without = model.judge(&renamed, fit);
            gains.push((group, without.cost() - cost, undone, without));
        }
        let weakest = gains.iter().enumerate().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(i, g)| (i, g.1));
        match weakest {
            Some((i, gain)) if gain < LEAST_GAIN => {
                let (_, _, undone, without) = gains.swap_remove(i);
                cost = without.cost();
                (labels, judged) = (undone, without);
            }
            _ => return (labels, gains.into_iter().map(|g| (g.0, g.1)).collect(), judged),
        }
    }
}

/// Labels that change together: cycles, and chains that end at a name nobody carried. Each in the order of the
/// change: the bone labelled `group[0]` looks like `group[1]`, and so on.
fn groups(labels: &Labels) -> Vec<Vec<usize>> {
    let mut seen = [false; COUNT];
    let mut groups = Vec::new();
    let changed: Vec<usize> = (0..COUNT).filter(|b| labels[*b] != *b).collect();
    let target = |b: usize| changed.iter().any(|c| labels[*c] == b);
    // Chains begin where no other bone takes the name; what is left are cycles.
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
    fn changes_fall_into_cycles_and_chains() {
        let mut labels: Labels = std::array::from_fn(|b| b);
        labels.swap(0, 2);
        (labels[5], labels[6], labels[7]) = (6, 7, 5);
        // 9 is drawn as 10, whose own label is absent.
        labels[9] = 10;
        let mut found = groups(&labels);
        found.sort();
        assert_eq!(found, vec![vec![0, 2], vec![5, 6, 7], vec![9]]);
    }
}
