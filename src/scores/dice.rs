use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::ScoreError;
use crate::bones::{self, Bone};
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, image_id};
use crate::mask::submission::ImageMasks;
use crate::mask::{HandMasks, MaskError, RunMask};
use crate::progress::Progress;

/// Dice per class of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageScore {
    /// Key of the images table.
    pub image_id: String,
    /// Dice by class index; 1 if annotation and prediction are both empty.
    pub dice: [f64; bones::COUNT],
}

/// Dice of a class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassDice {
    /// The class.
    pub bone: Bone,
    /// Its Dice.
    pub dice: f64,
}

impl ImageScore {
    /// Mean over the classes.
    pub fn mean(&self) -> f64 {
        self.dice.iter().sum::<f64>() / bones::COUNT as f64
    }

    /// The class with the lowest Dice.
    pub fn worst(&self) -> ClassDice {
        Bone::all()
            .map(|bone| ClassDice { bone, dice: self.dice[bone.index()] })
            .min_by(|a, b| a.dice.total_cmp(&b.dice))
            .expect("there are 29 classes")
    }
}

/// Mean Dice over images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiceSummary {
    /// Number of images.
    pub images: usize,
    /// Mean over images and classes: the competition's metric.
    pub mean_dice: f64,
    /// Standard deviation of the images' means; absent for a single image.
    pub sd_over_images: Option<f64>,
    /// Mean over images by class name, in class order.
    pub per_class: serde_json::Map<String, serde_json::Value>,
    /// Up to five images, lowest mean first.
    pub worst_images: Vec<(String, f64)>,
}

impl DiceSummary {
    /// Summary of these scores.
    pub fn of(scores: &[ImageScore]) -> DiceSummary {
        DiceSummary::of_bones(scores, &Bone::all().collect::<Vec<_>>())
    }

    /// Summary of the scores of some bones, at least one: the means over the classes are those of these bones.
    pub fn of_bones(scores: &[ImageScore], bones: &[Bone]) -> DiceSummary {
        let n = scores.len().max(1) as f64;
        let of_image = |s: &ImageScore| bones.iter().map(|b| s.dice[b.index()]).sum::<f64>() / bones.len() as f64;
        let means: Vec<f64> = scores.iter().map(of_image).collect();
        let mean = means.iter().sum::<f64>() / n;
        let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
        let class = |bone: &Bone| scores.iter().map(|s| s.dice[bone.index()]).sum::<f64>() / n;
        let mut worst: Vec<(String, f64)> = scores.iter().map(|s| s.image_id.clone()).zip(means).collect();
        worst.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        worst.truncate(5);
        DiceSummary {
            images: scores.len(),
            mean_dice: mean,
            sd_over_images: (scores.len() > 1).then(|| variance.sqrt()),
            per_class: bones.iter().map(|b| (b.name().to_owned(), class(b).into())).collect(),
            worst_images: worst,
        }
    }
}

/// Pixels of a class that are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Region {
    /// The whole image.
    #[default]
    Image,
    /// A band around the annotated outline: outside the bone up to this distance from it, and inside up to this distance
    /// from the nearest pixel that is not part of it (Euclidean, px at the image's original size). A class that is not
    /// annotated has no outline and therefore no pixels.
    Band(u32),
}

impl Region {
    fn dice(self, truth: &RunMask, prediction: &RunMask) -> Result<f64, MaskError> {
        match self {
            Region::Image => truth.dice(prediction),
            Region::Band(px) => {
                let band = truth.dilated(px).difference(&truth.eroded(px))?;
                truth.intersection(&band)?.dice(&prediction.intersection(&band)?)
            }
        }
    }
}

/// Dice per class of an image.
///
/// # Errors
/// The masks differ in size.
pub fn score(
    image_id: &str,
    truth: &HandMasks,
    prediction: &HandMasks,
    region: Region,
) -> Result<ImageScore, ScoreError> {
    let mut dice = [0.0; bones::COUNT];
    for (bone, truth) in truth.iter() {
        dice[bone.index()] = region.dice(truth, &prediction[bone]).map_err(|source| ScoreError::Size {
            image: image_id.to_owned(),
            class: bone.name(),
            width: truth.width(),
            height: truth.height(),
            source,
        })?;
    }
    Ok(ImageScore { image_id: image_id.to_owned(), dice })
}

/// Result of scoring a file of predictions.
#[derive(Clone, Debug)]
pub struct Scoring {
    /// One score per annotated image, in the order of the entries.
    pub scores: Vec<ImageScore>,
    /// Problems found while reading the annotations. An image with an error is not scored.
    pub problems: Vec<Problem>,
    /// Largest index of a predicted pixel as a share of its image's pixels, over all images; 0 without predicted pixels. It
    /// is at most a quarter if the masks were made at half the image size.
    pub reach: f64,
}

/// A submission that was read.
#[derive(Clone, Copy, Debug)]
pub struct PredictedMasks<'a> {
    /// Its file, for messages.
    pub file: &'a Path,
    /// Its masks, read by [`super::read_flat`].
    pub images: &'a [ImageMasks],
}

/// What [`compare_files`] found about a file of predictions.
#[derive(Clone, Debug)]
pub struct ComparedFiles<T> {
    /// One value per annotated image, in the order of the entries.
    pub values: Vec<T>,
    /// Problems found while reading the annotations. An image with an error has no value.
    pub problems: Vec<Problem>,
    /// As [`Scoring::reach`].
    pub reach: f64,
}

/// Dice of predictions; see [`compare_files`].
///
/// # Errors
/// As [`compare_files`].
pub fn score_files(
    dataset: &Dataset,
    entries: &[&ImageEntry],
    predicted: PredictedMasks<'_>,
    region: Region,
    progress: &dyn Progress,
) -> Result<Scoring, ScoreError> {
    let one = |entry: &ImageEntry, m: &ComparedMasks| score(&entry.image_id, &m.truth, &m.prediction, region);
    let ComparedFiles { values, problems, reach } = compare_files(dataset, entries, predicted, progress, one)?;
    Ok(Scoring { scores: values, problems, reach })
}

/// Compares predictions with the annotations of `entries`, at each image's original size: `compare` is called for each
/// annotated image, in parallel. Predictions of other images are skipped. An image that cannot be read or compared becomes
/// a problem; the others are compared.
///
/// # Errors
/// No entry has an annotation, an annotated entry has no prediction, or no image can be compared.
pub fn compare_files<T: Send>(
    dataset: &Dataset,
    entries: &[&ImageEntry],
    predicted: PredictedMasks<'_>,
    progress: &dyn Progress,
    compare: impl Fn(&ImageEntry, &ComparedMasks) -> Result<T, ScoreError> + Sync,
) -> Result<ComparedFiles<T>, ScoreError> {
    let by_id: HashMap<String, &ImageMasks> = predicted.images.iter().map(|m| (image_id(&m.image_name), m)).collect();
    let annotated: Vec<&ImageEntry> = entries.iter().copied().filter(|e| e.annotation.is_some()).collect();
    if annotated.is_empty() {
        return Err(ScoreError::Nothing);
    }
    let missing: Vec<&str> =
        annotated.iter().map(|e| e.image_id.as_str()).filter(|id| !by_id.contains_key(*id)).collect();
    if let Some(first) = missing.first() {
        let (path, first) = (predicted.file.to_owned(), (*first).to_owned());
        return Err(ScoreError::NotPredicted { path, count: missing.len(), first });
    }
    progress.start("images scored", annotated.len() as u64);
    let one = |entry: &&ImageEntry| -> Result<(T, f64, Vec<Problem>), Box<Problem>> {
        let compared = ComparedMasks::read(dataset, entry, by_id[&entry.image_id])
            .and_then(|m| Ok((compare(entry, &m)?, m.reach(), m.problems)));
        progress.advance(1);
        compared.map_err(|error| {
            let file = entry.annotation.as_deref().unwrap_or(&entry.image);
            let problem = Problem::new(ProblemSeverity::Error, file, error.to_string(), "image not scored");
            Box::new(problem.of_image(&*entry.image_id).of_patient(&*entry.patient_id))
        })
    };
    let compared: Vec<_> = annotated.par_iter().map(one).collect();
    progress.finish();
    let (mut values, mut problems, mut reach) = (Vec::new(), Vec::new(), 0.0f64);
    for compared in compared {
        match compared {
            Ok((value, of_image, found)) => {
                values.push(value);
                reach = reach.max(of_image);
                problems.extend(found);
            }
            Err(problem) => problems.push(*problem),
        }
    }
    match problems.iter().find(|p| p.severity == ProblemSeverity::Error).filter(|_| values.is_empty()) {
        Some(first) => Err(ScoreError::None { count: annotated.len(), first: first.reason.clone() }),
        None => Ok(ComparedFiles { values, problems, reach }),
    }
}

/// Annotated and predicted masks of an image at its original size.
#[derive(Clone, Debug)]
pub struct ComparedMasks {
    /// Annotated masks, with corrections applied; empty without an annotation.
    pub truth: HandMasks,
    /// Predicted masks.
    pub prediction: HandMasks,
    /// Problems found while reading the annotation.
    pub problems: Vec<Problem>,
}

impl ComparedMasks {
    /// Largest index of a predicted pixel as a share of the image's pixels.
    fn reach(&self) -> f64 {
        let ends = self.prediction.iter().filter_map(|(_, mask)| mask.runs().last());
        let pixels = f64::from(self.prediction.width()) * f64::from(self.prediction.height());
        ends.map(|run| f64::from(run.end()) / pixels).fold(0.0, f64::max)
    }

    /// Reads the annotation of an image and reshapes the masks of [`super::read_flat`] to the image's size.
    ///
    /// # Errors
    /// The image's size or the annotation cannot be read, or a mask extends beyond the image's last pixel.
    pub fn read(dataset: &Dataset, entry: &ImageEntry, predicted: &ImageMasks) -> Result<ComparedMasks, ScoreError> {
        let (width, height) = dataset.dimensions(entry)?;
        let (truth, problems) = match dataset.annotation(entry)? {
            Some(read) => (read.annotation.masks(width, height), read.problems),
            None => (HandMasks::empty(width, height), Vec::new()),
        };
        let wrong_size = |(class, source): (Bone, MaskError)| ScoreError::Size {
            image: entry.image_id.clone(),
            class: class.name(),
            width,
            height,
            source,
        };
        let prediction = predicted.masks.reshaped(width, height).map_err(wrong_size)?;
        Ok(ComparedMasks { truth, prediction, problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(x: u32, side: u32) -> RunMask {
        let dense: Vec<u8> = (0..400u32)
            .map(|i| u8::from((x..x + side).contains(&(i % 20)) && (2..2 + side).contains(&(i / 20))))
            .collect();
        RunMask::from_dense(&dense, 20, 20)
    }

    fn bone(index: usize) -> Bone {
        Bone::from_index(index).unwrap()
    }

    #[test]
    fn dice_of_squares_computed_by_hand() {
        let mut truth = HandMasks::empty(20, 20);
        let mut prediction = truth.clone();
        truth.set(bone(0), square(2, 4)).unwrap();
        prediction.set(bone(0), square(4, 4)).unwrap(); // overlap 2x4 of 16 + 16: 16/32
        truth.set(bone(1), square(2, 4)).unwrap(); // false negative: 0
        prediction.set(bone(2), square(2, 4)).unwrap(); // false positive: 0
        let score = score("a", &truth, &prediction, Region::Image).unwrap();
        assert_eq!((score.dice[0], score.dice[1], score.dice[2], score.dice[3]), (0.5, 0.0, 0.0, 1.0));
        assert_eq!(score.worst().bone.index(), 1);
        let summary = DiceSummary::of(&[score.clone(), score]);
        assert!((summary.mean_dice - 26.5 / 29.0).abs() < 1e-12);
        assert_eq!(summary.per_class["finger-1"], 0.5);
    }

    #[test]
    fn dice_of_a_band_computed_by_hand() {
        let mut truth = HandMasks::empty(20, 20);
        let mut prediction = truth.clone();
        // Moved by one column: of the outermost ring of the square (36 px), the first column is missed. As many px are
        // predicted in the column after the last, which is also in the band.
        truth.set(bone(0), square(2, 10)).unwrap();
        prediction.set(bone(0), square(3, 10)).unwrap();
        // A hole in the middle is outside the band.
        truth.set(bone(1), square(2, 10)).unwrap();
        prediction.set(bone(1), square(2, 10).difference(&square(2, 10).eroded(3)).unwrap()).unwrap();
        // Without an annotation there is no band, whatever is predicted.
        prediction.set(bone(2), square(2, 4)).unwrap();
        let dice = |px| score("a", &truth, &prediction, Region::Band(px)).unwrap().dice;
        // In the band: annotation 36 px, prediction 36 px, intersection 26 px.
        assert!((dice(1)[0] - 52.0 / 72.0).abs() < 1e-12, "{}", dice(1)[0]);
        assert_eq!((dice(1)[1], dice(1)[2], dice(1)[3]), (1.0, 1.0, 1.0));
        // A band as wide as the image is the whole image.
        assert_eq!(dice(20)[..2], score("a", &truth, &prediction, Region::Image).unwrap().dice[..2]);
    }
}
