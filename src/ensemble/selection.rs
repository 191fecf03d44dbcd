use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use super::EnsembleError;
use super::ballots::{ClassBallots, ImageBallots, STEPS};
use crate::bones;
use crate::stats::{Bootstrap, bootstrap_mean};

/// An image with the patient and the fold in which it was held out.
#[derive(Clone, Copy, Debug)]
pub struct HeldOutBallots<'a> {
    /// What the members predict.
    pub ballots: &'a ImageBallots,
    /// Key of the patients table.
    pub patient_id: &'a str,
    /// Fold.
    pub fold: u32,
}

/// How members are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectionOptions {
    /// Number of members of the greedy selection, with repetitions.
    pub rounds: usize,
    /// Bootstrap samples of patients.
    pub resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// The selected members, and what they gain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Selection {
    /// Per member, how often it was selected: its weight.
    pub weights: Vec<u32>,
    /// Mean Dice of each member alone.
    pub single: Vec<f64>,
    /// Mean Dice of the selection on the images that it was selected on.
    pub in_sample: f64,
    /// Mean Dice on images of a fold, with the selection made on the other folds.
    pub nested: f64,
    /// The same minus the Dice of the member that is best on the other folds.
    pub gain_over_best: Bootstrap,
    /// The same minus the Dice of all members with equal weights.
    pub gain_over_all: Bootstrap,
}

/// Forward selection with replacement (Caruana, Niculescu-Mizil, Crew and Ksikes, ICML 2004): starting from none, each round
/// adds the member whose addition gives the soft vote the highest mean Dice; a member may be added again. Of all rounds
/// the best is taken, the first of equal ones. The mean over images and classes is that of masks at one half, with
/// probabilities rounded to 1/64.
///
/// A selection fits the images that it was made on, so it is also made on all folds but one and scored on that one, for
/// each fold. Intervals are percentiles of a bootstrap over patients.
///
/// # Errors
/// There are fewer than two folds or two patients.
pub fn select_members(
    images: &[HeldOutBallots],
    members: usize,
    options: SelectionOptions,
) -> Result<Selection, EnsembleError> {
    let folds: BTreeSet<u32> = images.iter().map(|image| image.fold).collect();
    let patients: BTreeSet<&str> = images.iter().map(|image| image.patient_id).collect();
    if folds.len() < 2 || patients.len() < 2 {
        return Err(EnsembleError::TooFew { folds: folds.len(), patients: patients.len() });
    }
    let all: Vec<&ImageBallots> = images.iter().map(|image| image.ballots).collect();
    let weights = greedy(&all, members, options.rounds);
    let alone = |member: usize| (0..members).map(|other| u32::from(other == member)).collect::<Vec<u32>>();
    let equal = vec![1; members];
    let (mut nested, mut over_best, mut over_all) = (Vec::new(), Vec::new(), Vec::new());
    for fold in &folds {
        let others: Vec<&ImageBallots> =
            images.iter().filter(|image| image.fold != *fold).map(|image| image.ballots).collect();
        let chosen = greedy(&others, members, options.rounds);
        let best = greedy(&others, members, 1);
        for image in images.iter().filter(|image| image.fold == *fold) {
            let dice = image_dice(image.ballots, &chosen);
            nested.push(dice);
            over_best.push((image.patient_id, dice - image_dice(image.ballots, &best)));
            over_all.push((image.patient_id, dice - image_dice(image.ballots, &equal)));
        }
    }
    let bootstrap = |values: &[(&str, f64)]| {
        bootstrap_mean(values, options.resamples, options.seed).expect("two patients and a resample or more")
    };
    Ok(Selection {
        single: (0..members).map(|member| mean_dice(&all, &alone(member))).collect(),
        in_sample: mean_dice(&all, &weights),
        nested: nested.iter().sum::<f64>() / nested.len() as f64,
        gain_over_best: bootstrap(&over_best),
        gain_over_all: bootstrap(&over_all),
        weights,
    })
}

/// The weights of the best round.
fn greedy(images: &[&ImageBallots], members: usize, rounds: usize) -> Vec<u32> {
    forward(members, rounds, |weights| mean_dice(images, weights))
}

/// Forward selection with replacement: the weights of the round with the highest score.
pub(super) fn forward(members: usize, rounds: usize, score: impl Fn(&[u32]) -> f64) -> Vec<u32> {
    let mut weights = vec![0u32; members];
    let (mut best, mut best_score) = (weights.clone(), f64::NEG_INFINITY);
    for _ in 0..rounds {
        let with = |member: usize| {
            let mut weights = weights.clone();
            weights[member] += 1;
            weights
        };
        let scored = (0..members).map(|member| (member, score(&with(member))));
        let (member, reached) =
            scored.reduce(|best, next| if next.1 > best.1 { next } else { best }).expect("one member or more");
        weights = with(member);
        if reached > best_score {
            (best, best_score) = (weights.clone(), reached);
        }
    }
    best
}

/// The mean Dice of the weighted soft vote over images and classes. The sum over images is in their order, whatever the
/// number of threads.
fn mean_dice(images: &[&ImageBallots], weights: &[u32]) -> f64 {
    let dice: Vec<f64> = images.par_iter().map(|image| image_dice(image, weights)).collect();
    dice.iter().sum::<f64>() / dice.len() as f64
}

/// The mean Dice over the classes of an image.
fn image_dice(image: &ImageBallots, weights: &[u32]) -> f64 {
    image.classes.iter().map(|class| class_dice(class, weights)).sum::<f64>() / bones::COUNT as f64
}

/// The Dice of the weighted soft vote of one class; 1 if both masks are empty.
pub(super) fn class_dice(class: &ClassBallots, weights: &[u32]) -> f64 {
    let used: Vec<(usize, u32)> = weights.iter().copied().enumerate().filter(|(_, weight)| *weight > 0).collect();
    let half = STEPS * weights.iter().sum::<u32>();
    let (mut truth, mut vote, mut common) = (0u64, 0u64, 0u64);
    for ballot in class.iter() {
        let sum: u32 = used.iter().map(|(member, weight)| weight * ballot.step(*member)).sum();
        let (count, is_set) = (u64::from(ballot.count), 2 * sum >= half);
        truth += if ballot.is_annotated() { count } else { 0 };
        vote += if is_set { count } else { 0 };
        common += if is_set && ballot.is_annotated() { count } else { 0 };
    }
    if truth + vote == 0 { 1.0 } else { 2.0 * common as f64 / (truth + vote) as f64 }
}

#[cfg(test)]
mod tests {
    use super::super::ballots::tests::image;
    use super::*;

    const OPTIONS: SelectionOptions = SelectionOptions { rounds: 6, resamples: 200, seed: 1 };

    /// Annotated: the first two pixels. Two members that are wrong at different pixels, and one that is useless.
    fn images() -> Vec<ImageBallots> {
        let rows: [[f32; 4]; 3] = [[0.9, 0.2, 0.1, 0.0], [0.3, 0.9, 0.0, 0.1], [0.0, 0.0, 0.9, 0.9]];
        let of = |i: usize| image(&i.to_string(), &[&rows[0], &rows[1], &rows[2]], &[1, 1, 0, 0]);
        (0..8).map(of).collect()
    }

    fn held_out<'a>(images: &'a [ImageBallots], patients: &'a [String]) -> Vec<HeldOutBallots<'a>> {
        let folds = [0, 1].into_iter().cycle();
        let all = images.iter().zip(patients).zip(folds);
        all.map(|((ballots, patient_id), fold)| HeldOutBallots { ballots, patient_id, fold }).collect()
    }

    #[test]
    fn members_that_complement_each_other_are_selected() {
        let (images, patients) = (images(), (0..8).map(|i| (i / 2).to_string()).collect::<Vec<_>>());
        let found = select_members(&held_out(&images, &patients), 3, OPTIONS).unwrap();
        // (.9 + .3) / 2 and (.2 + .9) / 2 reach one half.
        assert_eq!((found.weights.clone(), found.in_sample, found.nested), (vec![1, 1, 0], 1.0, 1.0));
        assert!((found.single[0] - 2.0 / 3.0).abs() < 1e-12 && found.single[2] == 0.0);
        assert!((found.gain_over_best.mean - 1.0 / 3.0).abs() < 1e-12, "{:?}", found.gain_over_best);
        assert!(found.gain_over_all.mean > 0.0);
    }

    #[test]
    fn a_fold_is_needed_to_score_on() {
        let (images, patients) = (images(), (0..8).map(|i| i.to_string()).collect::<Vec<_>>());
        let one_fold: Vec<HeldOutBallots> =
            held_out(&images, &patients).into_iter().map(|image| HeldOutBallots { fold: 0, ..image }).collect();
        assert!(matches!(select_members(&one_fold, 3, OPTIONS), Err(EnsembleError::TooFew { folds: 1, .. })));
    }
}
