//! The model of a hand, and a hand against it.

use super::gaussian::{Gaussian, Screened, Values};
use super::similarity::{Places, Similarity, normalised};
use crate::bones::COUNT;
use crate::geometry::Point;
use crate::tables::BoneRow;

/// Calibrated distance at which a bone no longer agrees with the others and loses its say about them.
pub const PLACE_LIMIT: f64 = 4.5;
/// The same for size and shape.
pub const SHAPE_LIMIT: f64 = 4.5;
/// The same for a long bone's lean.
pub const LEAN_LIMIT: f64 = 4.5;
/// Share of a bone's area up to which a part of it is a slip of the tool.
pub const SPECK_SHARE: f64 = 0.02;
/// Fewest bones that make a hand.
pub const FEWEST_BONES: usize = 8;

/// How bones lie, how large they are and how they lean, in the frame of a mean right hand.
#[derive(Clone, Debug)]
pub struct HandModel {
    /// Centroids in px of the mean hand.
    pub place: Gaussian,
    /// Half the log of the area, and the log of the aspect ratio.
    pub shape: Gaussian,
    /// Lean of the long axis in degrees.
    pub lean: Gaussian,
    /// Hands learnt from.
    pub hands: usize,
}

/// What is measured of one hand's bones, by the label they carry.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasuredHand {
    /// Index in the images table.
    pub image: usize,
    /// Centroids in px of the image.
    pub places: Places,
    /// Half the log of the area in px, log of the aspect ratio.
    pub shapes: Values,
    /// Lean in degrees.
    pub leans: Values,
    /// Labels in use, those without a place of their own among them.
    pub drawn: [bool; COUNT],
}

impl MeasuredHand {
    /// From the rows of one image. A class drawn more than once, or in parts apart, has no place of its own
    /// and is left out here; other checks name it.
    pub fn new(image: usize, rows: &[&BoneRow]) -> MeasuredHand {
        const PARTS_SHARE: f64 = 0.1;
        let mut hand = MeasuredHand::empty(image);
        for row in rows {
            let class = row.class as usize;
            if class < COUNT && row.area_px > 0 {
                hand.drawn[class] = true;
            }
            let whole = row.minor_parts_px as f64 <= PARTS_SHARE * row.area_px as f64;
            let (Some(x), Some(y)) = (row.centroid_x, row.centroid_y) else { continue };
            let speck = row.n_parts > 1 && (row.minor_parts_px as f64) < SPECK_SHARE * row.area_px as f64;
            if class >= COUNT || (row.n_shapes > 1 && !speck) || !whole || row.area_px == 0 || !(x + y).is_finite() {
                continue;
            }
            hand.places[class] = Some(Point::new(x, y));
            // A pixel has a width: without it one row of pixels would have no aspect.
            let axis = |sd: Option<f64>| sd.filter(|s| s.is_finite()).unwrap_or(0.0).max(0.3);
            let aspect = (axis(row.sd_major_px) / axis(row.sd_minor_px)).ln();
            hand.shapes[class] = Some([(row.area_px as f64).ln() / 2.0, aspect]);
            hand.leans[class] = row.orientation_deg.filter(|l| l.is_finite()).map(|l| [l, 0.0]);
        }
        hand
    }

    fn empty(image: usize) -> MeasuredHand {
        MeasuredHand {
            image,
            places: [None; COUNT],
            shapes: [None; COUNT],
            leans: [None; COUNT],
            drawn: [false; COUNT],
        }
    }

    /// Bones with a place.
    pub fn count(&self) -> usize {
        self.places.iter().flatten().count()
    }

    /// The hand with the measures of label `i` given to label `to[i]`.
    pub fn relabelled(&self, to: &[usize; COUNT]) -> MeasuredHand {
        let mut hand = MeasuredHand::empty(self.image);
        for (from, to) in to.iter().enumerate() {
            hand.drawn[*to] |= self.drawn[from];
            hand.places[*to] = hand.places[*to].or(self.places[from]);
            hand.shapes[*to] = hand.shapes[*to].or(self.shapes[from]);
            hand.leans[*to] = hand.leans[*to].or(self.leans[from]);
        }
        hand
    }
}

/// A hand in the model's frame, judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// From the image to the frame.
    pub fit: Similarity,
    /// Places against the model.
    pub place: Screened,
    /// Sizes and aspect ratios against the model.
    pub shape: Screened,
    /// Leans against the model.
    pub lean: Screened,
}

impl Judged {
    /// Whether so many bones lie anywhere that the others do not make a hand.
    pub fn is_no_hand(&self) -> bool {
        let measured = self.place.residuals.iter().flatten().count();
        measured >= FEWEST_BONES && 5 * self.place.removed > 2 * measured
    }

    /// How unlikely the labels are altogether: squared distances of what agrees, and a price for what does not.
    pub fn cost(&self) -> f64 {
        const PLACE_PRICE: f64 = 30.0;
        const SHAPE_PRICE: f64 = 22.0;
        const LEAN_PRICE: f64 = 12.0;
        self.place.chi2
            + self.shape.chi2
            + self.lean.chi2
            + PLACE_PRICE * self.place.removed as f64
            + SHAPE_PRICE * self.shape.removed as f64
            + LEAN_PRICE * self.lean.removed as f64
    }
}

/// A hand, the labels its bones should carry, and how they fit then.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The hand as labelled.
    pub hand: MeasuredHand,
    /// `labels[i]` is the bone that the one labelled `i` looks like; itself where all is well.
    pub labels: [usize; COUNT],
    /// Groups of labels changed together, and how much likelier each change makes the hand (-2 log likelihood).
    pub changes: Vec<(Vec<usize>, f64)>,
    /// The hand with those labels against the model; `None` where it has too few bones or no frame.
    pub judged: Option<Judged>,
}

impl HandModel {
    /// Shapes and leans in the model's frame.
    pub(super) fn measures(&self, hand: &MeasuredHand, fit: &Similarity) -> (Values, Values) {
        let grow = fit.scale().ln();
        let shapes = hand.shapes.map(|s| s.map(|[size, aspect]| [size + grow, aspect]));
        let leans = std::array::from_fn(|b| {
            hand.leans[b].map(|[lean, _]| {
                let (lean, mean) = (fit.lean(lean), self.lean.mean(b)[0]);
                // An axis has no direction: within 90 degrees of the mean.
                [mean + (lean - mean + 90.0).rem_euclid(180.0) - 90.0, 0.0]
            })
        });
        (shapes, leans)
    }

    /// Judges a hand in a given frame.
    pub fn judge(&self, hand: &MeasuredHand, fit: Similarity) -> Judged {
        let (shapes, leans) = self.measures(hand, &fit);
        Judged {
            fit,
            place: self.place.screen(&normalised(&hand.places, &fit), PLACE_LIMIT),
            shape: self.shape.screen(&shapes, SHAPE_LIMIT),
            lean: self.lean.screen(&leans, LEAN_LIMIT),
        }
    }

    /// -2 log likelihood of the bone labelled `from` as `to`, other bones aside, each measure's share capped.
    pub fn surprise(&self, hand: &MeasuredHand, fit: &Similarity, from: usize, to: usize) -> Option<f64> {
        const CAP: f64 = 60.0;
        let place = fit.apply(hand.places[from]?);
        let [size, aspect] = hand.shapes[from]?;
        let shape = [size + fit.scale().ln(), aspect];
        Some(self.place.surprise(to, place, CAP) + self.shape.surprise(to, shape, CAP))
    }
}
