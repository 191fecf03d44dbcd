use std::collections::BTreeSet;

use rayon::prelude::*;
use serde::Serialize;

use super::EnsembleError;
use super::ballots::ImageBallots;
use super::selection::{HeldOutBallots, SelectionOptions, class_dice, forward, select_members};
use crate::bones;
use crate::stats::{Bootstrap, bootstrap_mean};

/// Members selected for each class, and what that gains.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassSelection {
    /// Per class and member, how often it was selected: its weight.
    pub weights: Vec<Vec<u32>>,
    /// Mean Dice on the images that the members were selected on.
    pub in_sample: f64,
    /// Mean Dice on images of a fold, with the members selected on the other folds.
    pub nested: f64,
    /// The same minus the Dice of all members with equal weights.
    pub gain_over_all: Bootstrap,
    /// The same minus the Dice of one selection for all classes, made on the same folds.
    pub gain_over_common: Bootstrap,
}

/// As [`super::select_members`], for each class on its own. With 29 selections there is more to overfit: compare
/// `gain_over_common`.
///
/// # Errors
/// There are fewer than two folds or two patients.
pub fn select_by_class(
    images: &[HeldOutBallots],
    members: usize,
    options: SelectionOptions,
) -> Result<ClassSelection, EnsembleError> {
    // One round: only its errors count here.
    select_members(images, members, SelectionOptions { rounds: 1, ..options })?;
    let all: Vec<&ImageBallots> = images.iter().map(|image| image.ballots).collect();
    let weights = selected(&all, members, options.rounds);
    let equal = vec![vec![1; members]; bones::COUNT];
    let folds: BTreeSet<u32> = images.iter().map(|image| image.fold).collect();
    let (mut nested, mut over_all, mut over_common) = (Vec::new(), Vec::new(), Vec::new());
    for fold in &folds {
        let others: Vec<&ImageBallots> =
            images.iter().filter(|image| image.fold != *fold).map(|image| image.ballots).collect();
        let chosen = selected(&others, members, options.rounds);
        let score = |weights: &[u32]| mean_dice(&others, &vec![weights.to_vec(); bones::COUNT]);
        let common = vec![forward(members, options.rounds, score); bones::COUNT];
        for image in images.iter().filter(|image| image.fold == *fold) {
            let dice = image_dice(image.ballots, &chosen);
            nested.push(dice);
            over_all.push((image.patient_id, dice - image_dice(image.ballots, &equal)));
            over_common.push((image.patient_id, dice - image_dice(image.ballots, &common)));
        }
    }
    let bootstrap = |values: &[(&str, f64)]| {
        bootstrap_mean(values, options.resamples, options.seed).expect("two patients and a resample or more")
    };
    Ok(ClassSelection {
        in_sample: mean_dice(&all, &weights),
        nested: nested.iter().sum::<f64>() / nested.len() as f64,
        gain_over_all: bootstrap(&over_all),
        gain_over_common: bootstrap(&over_common),
        weights,
    })
}

/// The weights of each class.
fn selected(images: &[&ImageBallots], members: usize, rounds: usize) -> Vec<Vec<u32>> {
    let of = |class: usize| {
        let score = |weights: &[u32]| {
            images.iter().map(|image| class_dice(&image.classes[class], weights)).sum::<f64>() / images.len() as f64
        };
        forward(members, rounds, score)
    };
    (0..bones::COUNT).into_par_iter().map(of).collect()
}

/// The mean Dice over images and classes with weights per class.
fn mean_dice(images: &[&ImageBallots], weights: &[Vec<u32>]) -> f64 {
    let dice: Vec<f64> = images.par_iter().map(|image| image_dice(image, weights)).collect();
    dice.iter().sum::<f64>() / dice.len() as f64
}

fn image_dice(image: &ImageBallots, weights: &[Vec<u32>]) -> f64 {
    let dice = image.classes.iter().zip(weights).map(|(class, weights)| class_dice(class, weights));
    dice.sum::<f64>() / bones::COUNT as f64
}

#[cfg(test)]
mod tests {
    use super::super::ballots::tests::image;
    use super::*;

    #[test]
    fn each_class_gets_the_member_that_is_good_at_it() {
        // The first member is right, the second wrong; for the last class the other way round.
        let (right, wrong): ([f32; 4], [f32; 4]) = ([0.9, 0.9, 0.1, 0.0], [0.0, 0.0, 0.9, 0.9]);
        let of = |i: usize| {
            let mut mixed = image(&i.to_string(), &[&right, &wrong], &[1, 1, 0, 0]);
            let swapped = image("", &[&wrong, &right], &[1, 1, 0, 0]);
            mixed.classes[bones::COUNT - 1] = swapped.classes[0].clone();
            mixed
        };
        let images: Vec<ImageBallots> = (0..8).map(of).collect();
        let patients: Vec<String> = (0..8).map(|i| (i / 2).to_string()).collect();
        let held: Vec<HeldOutBallots> = images
            .iter()
            .zip(&patients)
            .enumerate()
            .map(|(i, (ballots, patient_id))| HeldOutBallots { ballots, patient_id, fold: (i / 4) as u32 })
            .collect();
        let options = SelectionOptions { rounds: 3, resamples: 200, seed: 1 };
        let found = select_by_class(&held, 2, options).unwrap();
        assert_eq!((found.weights[0].clone(), found.weights[bones::COUNT - 1].clone()), (vec![1, 0], vec![0, 1]));
        assert_eq!((found.in_sample, found.nested), (1.0, 1.0));
        let last = 1.0 / bones::COUNT as f64;
        assert!((found.gain_over_common.mean - last).abs() < 1e-12, "{:?}", found.gain_over_common);
        assert!(select_by_class(&held[..4], 2, options).is_err(), "one fold");
    }
}
