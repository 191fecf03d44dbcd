use std::collections::BTreeSet;

use serde::Serialize;

use super::ThresholdError;
use super::curve::{HALF, THRESHOLDS, threshold};
use crate::bones::Bone;
use crate::stats::{Bootstrap, bootstrap_mean};

/// Dice of one image at every threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageCurves {
    /// Key of the images table.
    pub image_id: String,
    /// Key of the patients table.
    pub patient_id: String,
    /// Fold in which the image was held out.
    pub fold: u32,
    /// Per class, Dice by the index of the threshold.
    pub curves: Vec<Vec<f32>>,
}

/// How intervals are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// Bootstrap samples.
    pub resamples: usize,
    /// Seed of the bootstrap.
    pub seed: u64,
}

/// Gain of the chosen threshold of one class over 0.5.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassGain {
    /// Name of the class.
    pub bone: &'static str,
    /// The threshold that maximises the mean Dice over all images.
    pub threshold: f64,
    /// Mean Dice at 0.5.
    pub dice_at_half: f64,
    /// Mean difference of Dice on the images that the threshold was chosen on.
    pub in_sample: Bootstrap,
    /// Mean difference of Dice on images of a fold, with the threshold chosen on the other folds.
    pub nested: Bootstrap,
}

/// Thresholds, and what they gain.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThresholdSearch {
    /// Number of images.
    pub images: usize,
    /// Number of folds.
    pub folds: usize,
    /// Per class, in class order.
    pub classes: Vec<ClassGain>,
    /// Gain in mean Dice over classes, on the images that the thresholds were chosen on.
    pub in_sample: Bootstrap,
    /// The same on images of a fold, with thresholds chosen on the other folds.
    pub nested: Bootstrap,
}

/// Per class, the threshold that maximises the mean Dice over the images; of equal ones, the nearest to 0.5. Thresholds fit
/// the images that they are chosen on, so the gain is estimated by folds as well: for each fold with thresholds that were
/// chosen on the others. Intervals are percentiles of a bootstrap over patients.
///
/// # Errors
/// There are fewer than two folds or two patients.
pub fn search_thresholds(images: &[ImageCurves], options: SearchOptions) -> Result<ThresholdSearch, ThresholdError> {
    let folds: BTreeSet<u32> = images.iter().map(|image| image.fold).collect();
    let patients: BTreeSet<&str> = images.iter().map(|image| image.patient_id.as_str()).collect();
    if folds.len() < 2 || patients.len() < 2 {
        return Err(ThresholdError::TooFew { folds: folds.len(), patients: patients.len() });
    }
    let all = best(images.iter());
    let nested: Vec<(u32, Vec<usize>)> =
        folds.iter().map(|fold| (*fold, best(images.iter().filter(|image| image.fold != *fold)))).collect();
    let nested_of =
        |image: &ImageCurves| &nested.iter().find(|(fold, _)| *fold == image.fold).expect("every image has a fold").1;
    let gain = |image: &ImageCurves, class: usize, index: usize| {
        f64::from(image.curves[class][index]) - f64::from(image.curves[class][HALF])
    };
    let bootstrap = |of: &dyn Fn(&ImageCurves) -> f64| {
        let values: Vec<(&str, f64)> = images.iter().map(|image| (image.patient_id.as_str(), of(image))).collect();
        bootstrap_mean(&values, options.resamples, options.seed).expect("two patients and a resample or more")
    };
    let mean = |image: &ImageCurves, chosen: &[usize]| {
        chosen.iter().enumerate().map(|(class, index)| gain(image, class, *index)).sum::<f64>() / chosen.len() as f64
    };
    let class = |bone: Bone| {
        let class = bone.index();
        let at_half: f64 = images.iter().map(|image| f64::from(image.curves[class][HALF])).sum();
        ClassGain {
            bone: bone.name(),
            threshold: threshold(all[class]),
            dice_at_half: at_half / images.len() as f64,
            in_sample: bootstrap(&|image| gain(image, class, all[class])),
            nested: bootstrap(&|image| gain(image, class, nested_of(image)[class])),
        }
    };
    Ok(ThresholdSearch {
        images: images.len(),
        folds: folds.len(),
        classes: Bone::all().map(class).collect(),
        in_sample: bootstrap(&|image| mean(image, &all)),
        nested: bootstrap(&|image| mean(image, nested_of(image))),
    })
}

/// Per class, the index of the best threshold.
fn best<'a>(images: impl Iterator<Item = &'a ImageCurves>) -> Vec<usize> {
    let mut sums = vec![[0.0f64; THRESHOLDS]; Bone::all().len()];
    for image in images {
        for (sums, curve) in sums.iter_mut().zip(&image.curves) {
            sums.iter_mut().zip(curve).for_each(|(sum, dice)| *sum += f64::from(*dice));
        }
    }
    // From 0.5 outwards, so that the nearest of equal ones is kept.
    let mut order: Vec<usize> = (0..THRESHOLDS).collect();
    order.sort_by_key(|index| index.abs_diff(HALF));
    let of = |sums: &[f64; THRESHOLDS]| {
        order.iter().copied().reduce(|best, index| if sums[index] > sums[best] { index } else { best }).expect("a grid")
    };
    sums.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones;

    const OPTIONS: SearchOptions = SearchOptions { resamples: 500, seed: 1 };

    /// An image on which each class has Dice .8, and .8 + `gain` at one threshold.
    fn image(i: usize, fold: u32, peak: usize, gain: f32) -> ImageCurves {
        let mut curve = vec![0.8; THRESHOLDS];
        curve[peak] += gain;
        ImageCurves {
            image_id: i.to_string(),
            patient_id: (i / 2).to_string(),
            fold,
            curves: vec![curve; bones::COUNT],
        }
    }

    #[test]
    fn a_threshold_that_helps_all_folds_gains_in_all() {
        let images: Vec<ImageCurves> = (0..8).map(|i| image(i, i as u32 / 4, 100, 0.1)).collect();
        let found = search_thresholds(&images, OPTIONS).unwrap();
        assert_eq!(found.classes[3].threshold, threshold(100));
        assert!((found.in_sample.mean - 0.1).abs() < 1e-6 && (found.nested.mean - 0.1).abs() < 1e-6);
        assert_eq!((found.images, found.folds, found.nested.clusters), (8, 2, 4));
    }

    #[test]
    fn a_threshold_that_fits_one_fold_gains_only_in_sample() {
        // Each fold has a peak of its own, which the other fold does not have.
        let images: Vec<ImageCurves> =
            (0..8).map(|i| image(i, i as u32 / 4, if i < 4 { 90 } else { 160 }, 0.1)).collect();
        let found = search_thresholds(&images, OPTIONS).unwrap();
        assert!((found.in_sample.mean - 0.05).abs() < 1e-6, "{}", found.in_sample.mean);
        assert!(found.nested.mean.abs() < 1e-6 && found.nested.ci.contains(0.0));
    }

    #[test]
    fn one_half_is_kept_where_nothing_is_better() {
        let images: Vec<ImageCurves> = (0..8).map(|i| image(i, i as u32 / 4, HALF, 0.0)).collect();
        let found = search_thresholds(&images, OPTIONS).unwrap();
        assert!(found.classes.iter().all(|class| class.threshold == 0.5));
        assert!(search_thresholds(&images[..4], OPTIONS).is_err(), "one fold");
    }
}
