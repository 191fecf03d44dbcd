//! The hand model, and the comparison of a hand with it. All measures are in the model's frame: that of a mean right
//! hand at 2048 x 2048.

use super::gaussian::{Gaussian, Screening, Values};
use super::similarity::{Centroids, Similarity, normalised};
use crate::bones::COUNT;
use crate::geometry::Point;
use crate::tables::BoneRow;

/// Calibrated distance above which a bone is inconsistent with the others and no longer used to predict them.
pub const POSITION_LIMIT: f64 = 4.5;
/// As [`POSITION_LIMIT`], for size and aspect ratio.
pub const SHAPE_LIMIT: f64 = 4.5;
/// As [`POSITION_LIMIT`], for the orientation of long bones.
pub const ORIENTATION_LIMIT: f64 = 4.5;
/// Share of a bone's area below which its minor parts are treated as errors of the drawing tool.
pub const TINY_PART_SHARE: f64 = 0.02;
/// Smallest number of bones for a comparison with the model.
pub const MIN_BONES: usize = 8;

/// Joint distributions of the bones' positions, shapes and orientations.
#[derive(Clone, Debug)]
pub struct HandModel {
    /// Centroids, px of the mean hand.
    pub position: Gaussian,
    /// Half the log of the area in px, and the log of the aspect ratio.
    pub shape: Gaussian,
    /// Angle of the long axis from vertical, degrees.
    pub orientation: Gaussian,
    /// Number of hands that the model was estimated from; 0 for the reference anatomy alone.
    pub hands: usize,
}

/// Measures of one hand's bones, by the label in the annotation.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredHand {
    /// Index in the images table.
    pub image: usize,
    /// Centroids, px of the image.
    pub centroids: Centroids,
    /// Half the log of the area in px, and the log of the aspect ratio.
    pub shapes: Values,
    /// Angle of the long axis from vertical, degrees.
    pub orientations: Values,
    /// Labels that occur in the image, including those without a centroid here.
    pub drawn: [bool; COUNT],
}

impl MeasuredHand {
    /// Takes the measures from the rows of one image. Classes with several shapes or large separate parts have no
    /// measures, because their centroid is ambiguous; other checks report them.
    pub fn new(image: usize, rows: &[&BoneRow]) -> MeasuredHand {
        const MAX_MINOR_SHARE: f64 = 0.1;
        let mut hand = MeasuredHand::empty(image);
        for row in rows {
            let class = row.class as usize;
            if class < COUNT && row.area_px > 0 {
                hand.drawn[class] = true;
            }
            let is_one_part = row.minor_parts_px as f64 <= MAX_MINOR_SHARE * row.area_px as f64;
            let (Some(x), Some(y)) = (row.centroid_x, row.centroid_y) else { continue };
            let has_tiny_parts = row.n_parts > 1 && (row.minor_parts_px as f64) < TINY_PART_SHARE * row.area_px as f64;
            if class >= COUNT
                || (row.n_shapes > 1 && !has_tiny_parts)
                || !is_one_part
                || row.area_px == 0
                || !(x + y).is_finite()
            {
                continue;
            }
            hand.centroids[class] = Some(Point::new(x, y));
            // The lower limit is the standard deviation of one pixel's width: a bone of one row of pixels would have
            // an infinite aspect ratio.
            let axis = |sd: Option<f64>| sd.filter(|s| s.is_finite()).unwrap_or(0.0).max(0.3);
            let aspect = (axis(row.sd_major_px) / axis(row.sd_minor_px)).ln();
            hand.shapes[class] = Some([(row.area_px as f64).ln() / 2.0, aspect]);
            hand.orientations[class] = row.orientation_deg.filter(|l| l.is_finite()).map(|l| [l, 0.0]);
        }
        hand
    }

    fn empty(image: usize) -> MeasuredHand {
        MeasuredHand {
            image,
            centroids: [None; COUNT],
            shapes: [None; COUNT],
            orientations: [None; COUNT],
            drawn: [false; COUNT],
        }
    }

    /// Number of bones with a centroid.
    pub fn count(&self) -> usize {
        self.centroids.iter().flatten().count()
    }

    /// The hand with the measures of label `i` moved to label `to[i]`.
    pub fn relabelled(&self, to: &[usize; COUNT]) -> MeasuredHand {
        let mut hand = MeasuredHand::empty(self.image);
        for (from, to) in to.iter().enumerate() {
            hand.drawn[*to] |= self.drawn[from];
            hand.centroids[*to] = hand.centroids[*to].or(self.centroids[from]);
            hand.shapes[*to] = hand.shapes[*to].or(self.shapes[from]);
            hand.orientations[*to] = hand.orientations[*to].or(self.orientations[from]);
        }
        hand
    }
}

/// Comparison of a hand with the model.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// Transform from the image to the model's frame.
    pub fit: Similarity,
    /// Centroids compared with the model.
    pub position: Screening,
    /// Sizes and aspect ratios compared with the model.
    pub shape: Screening,
    /// Orientations compared with the model.
    pub orientation: Screening,
}

impl Assessment {
    /// Whether the positions of more than 40 % of the bones are outliers: then the others do not form a hand either.
    pub fn is_implausible(&self) -> bool {
        let measured = self.position.residuals.iter().flatten().count();
        measured >= MIN_BONES && 5 * self.position.removed > 2 * measured
    }

    /// Cost of the labels, comparable with -2 log likelihood: squared distances of consistent bones, and a penalty per
    /// outlier.
    pub fn cost(&self) -> f64 {
        const POSITION_PENALTY: f64 = 30.0;
        const SHAPE_PENALTY: f64 = 22.0;
        const ORIENTATION_PENALTY: f64 = 12.0;
        self.position.chi2
            + self.shape.chi2
            + self.orientation.chi2
            + POSITION_PENALTY * self.position.removed as f64
            + SHAPE_PENALTY * self.shape.removed as f64
            + ORIENTATION_PENALTY * self.orientation.removed as f64
    }
}

/// A hand, its most likely labels, and its comparison with the model under these labels.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The hand as annotated.
    pub hand: MeasuredHand,
    /// `labels[i]` is the most likely bone for the shape labelled `i`; `i` where the label is plausible.
    pub labels: [usize; COUNT],
    /// Groups of labels to change together.
    pub changes: Vec<LabelChange>,
    /// The hand with these labels compared with the model; `None` if it has too few bones.
    pub assessment: Option<Assessment>,
}

/// Labels that should change together.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelChange {
    /// Current labels: the shape labelled `bones[0]` looks like `bones[1]`, and so on. The last one looks like the first,
    /// or like a bone without a shape.
    pub bones: Vec<usize>,
    /// Decrease of -2 log likelihood by the change.
    pub gain: f64,
}

impl HandModel {
    /// Shapes and orientations of a hand in the model's frame.
    pub(super) fn measures(&self, hand: &MeasuredHand, fit: &Similarity) -> (Values, Values) {
        let log_scale = fit.scale().ln();
        let shapes = hand.shapes.map(|s| s.map(|[size, aspect]| [size + log_scale, aspect]));
        let orientations = std::array::from_fn(|b| {
            hand.orientations[b].map(|[orientation, _]| {
                let (orientation, mean) = (fit.orientation(orientation), self.orientation.mean(b)[0]);
                // An axis has no direction: take the angle within 90 degrees of the mean.
                [mean + (orientation - mean + 90.0).rem_euclid(180.0) - 90.0, 0.0]
            })
        });
        (shapes, orientations)
    }

    /// Compares a hand with the model, given the transform to the model's frame.
    pub fn assess(&self, hand: &MeasuredHand, fit: Similarity) -> Assessment {
        let (shapes, orientations) = self.measures(hand, &fit);
        Assessment {
            fit,
            position: self.position.screen(&normalised(&hand.centroids, &fit), POSITION_LIMIT),
            shape: self.shape.screen(&shapes, SHAPE_LIMIT),
            orientation: self.orientation.screen(&orientations, ORIENTATION_LIMIT),
        }
    }

    /// -2 log likelihood, up to a constant, that the shape labelled `from` is bone `to`, ignoring the other bones. The
    /// contribution of each measure is limited. `None` if the shape has no measures.
    pub fn deviance(&self, hand: &MeasuredHand, fit: &Similarity, from: usize, to: usize) -> Option<f64> {
        const CAP: f64 = 60.0;
        let position = fit.apply(hand.centroids[from]?);
        let [size, aspect] = hand.shapes[from]?;
        let shape = [size + fit.scale().ln(), aspect];
        Some(self.position.deviance(to, position, CAP) + self.shape.deviance(to, shape, CAP))
    }
}
