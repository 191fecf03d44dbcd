use serde::Serialize;

use crate::bones::{self, Bone};
use crate::mask::{HandMasks, MaskError};

/// Distances from the outline by which errors are grouped, px at the image's original size.
pub const DISTANCES: [u32; 5] = [1, 2, 4, 8, 16];

/// Errors of the masks of one class, in pixels summed over images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ClassErrors {
    /// Annotated pixels.
    pub truth_px: u64,
    /// Predicted pixels.
    pub predicted_px: u64,
    /// Predicted pixels that are not annotated.
    pub false_positive_px: u64,
    /// Annotated pixels that are not predicted.
    pub false_negative_px: u64,
    /// False positives up to each of [`DISTANCES`] from an annotated pixel.
    pub positives_within: [u64; DISTANCES.len()],
    /// False negatives up to each of [`DISTANCES`] from a pixel that is not annotated.
    pub negatives_within: [u64; DISTANCES.len()],
    /// Number of images in which the class is annotated but not predicted at all.
    pub missed: usize,
    /// Number of images in which the class is predicted but not annotated at all.
    pub invented: usize,
}

/// Errors of predicted masks, in pixels summed over images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Number of images.
    pub images: usize,
    /// By class index.
    pub classes: Vec<ClassErrors>,
    /// `confused[a][b]`: pixels predicted as class a, not annotated as a, and annotated as b.
    pub confused: Vec<Vec<u64>>,
}

impl Default for Errors {
    fn default() -> Self {
        Errors {
            images: 0,
            classes: vec![ClassErrors::default(); bones::COUNT],
            confused: vec![vec![0; bones::COUNT]; bones::COUNT],
        }
    }
}

impl Errors {
    /// Errors of one image. Distances are to pixels inside the image: where the image's edge cuts a bone, there is no
    /// outline.
    ///
    /// # Errors
    /// The masks differ in size.
    pub fn of(truth: &HandMasks, prediction: &HandMasks) -> Result<Errors, MaskError> {
        let mut errors = Errors { images: 1, ..Errors::default() };
        for bone in Bone::all() {
            let (truth_of, predicted) = (&truth[bone], &prediction[bone]);
            let positives = predicted.difference(truth_of)?;
            let negatives = truth_of.difference(predicted)?;
            let class = &mut errors.classes[bone.index()];
            *class = ClassErrors {
                truth_px: truth_of.area(),
                predicted_px: predicted.area(),
                false_positive_px: positives.area(),
                false_negative_px: negatives.area(),
                missed: usize::from(predicted.is_empty() && !truth_of.is_empty()),
                invented: usize::from(truth_of.is_empty() && !predicted.is_empty()),
                ..ClassErrors::default()
            };
            for (i, distance) in DISTANCES.into_iter().enumerate() {
                if !positives.is_empty() {
                    class.positives_within[i] = positives.overlap(&truth_of.dilated(distance))?;
                }
                if !negatives.is_empty() {
                    class.negatives_within[i] = negatives.area() - negatives.overlap(&truth_of.eroded(distance))?;
                }
            }
            if !positives.is_empty() {
                for other in Bone::all().filter(|o| *o != bone) {
                    errors.confused[bone.index()][other.index()] = positives.overlap(&truth[other])?;
                }
            }
        }
        Ok(errors)
    }

    /// The sum of these errors and those of other images.
    pub fn joined(mut self, more: &Errors) -> Errors {
        self.images += more.images;
        for (class, more) in self.classes.iter_mut().zip(&more.classes) {
            class.truth_px += more.truth_px;
            class.predicted_px += more.predicted_px;
            class.false_positive_px += more.false_positive_px;
            class.false_negative_px += more.false_negative_px;
            for (sum, n) in class.positives_within.iter_mut().zip(more.positives_within) {
                *sum += n;
            }
            for (sum, n) in class.negatives_within.iter_mut().zip(more.negatives_within) {
                *sum += n;
            }
            class.missed += more.missed;
            class.invented += more.invented;
        }
        for (sum, n) in self.confused.iter_mut().flatten().zip(more.confused.iter().flatten()) {
            *sum += n;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mask::RunMask;

    fn rectangle(x: u32, y: u32, width: u32, height: u32) -> RunMask {
        let dense: Vec<u8> = (0..64 * 64u32)
            .map(|i| u8::from((x..x + width).contains(&(i % 64)) && (y..y + height).contains(&(i / 64))))
            .collect();
        RunMask::from_dense(&dense, 64, 64)
    }

    #[test]
    fn errors_computed_by_hand() {
        let (mut truth, mut prediction) = (HandMasks::empty(64, 64), HandMasks::empty(64, 64));
        let bone = |index| Bone::from_index(index).unwrap();
        // Three false-positive columns at the right, all on class 1; two false-negative columns at the left.
        truth.set(bone(0), rectangle(10, 10, 20, 20)).unwrap();
        prediction.set(bone(0), rectangle(12, 10, 21, 20)).unwrap();
        truth.set(bone(1), rectangle(30, 10, 10, 20)).unwrap();
        // Class 2 is predicted, not annotated, and far from all others.
        prediction.set(bone(2), rectangle(50, 50, 4, 4)).unwrap();
        let errors = Errors::of(&truth, &prediction).unwrap();
        let first = &errors.classes[0];
        assert_eq!((first.false_positive_px, first.false_negative_px), (60, 40));
        assert_eq!(first.positives_within, [20, 40, 60, 60, 60]);
        // Of the second missed column, the first and last rows are also one pixel from the outline.
        assert_eq!(first.negatives_within, [22, 40, 40, 40, 40]);
        assert_eq!((errors.confused[0][1], errors.confused[1][0]), (60, 0));
        assert_eq!((errors.classes[1].missed, errors.classes[2].invented), (1, 1));
        // A bone that is not annotated has no outline.
        assert_eq!(errors.classes[2].positives_within, [0; 5]);
        // The pixels of a missed bone are up to half its width from its outline.
        assert_eq!(errors.classes[1].negatives_within, [56, 104, 176, 200, 200]);
        let twice = errors.clone().joined(&errors);
        assert_eq!((twice.images, twice.classes[0].positives_within[1], twice.confused[0][1]), (2, 80, 120));
    }
}
