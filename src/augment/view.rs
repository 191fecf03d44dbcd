use rand_chacha::ChaCha8Rng;

use super::{LabelledImage, Warp};
use crate::bones::Bone;
use crate::features::angle_deg;
use crate::geometry::{Point, Size};

/// Images of the training set, for steps that mix two images.
pub trait OtherImages {
    /// Number of images.
    fn count(&self) -> usize;

    /// Image `index` without augmentation, of the size of the sample; `None` if it cannot be read any longer.
    fn image(&self, index: usize) -> Option<LabelledImage>;
}

/// No other images: steps that mix two images do nothing.
pub struct NoOtherImages;

impl OtherImages for NoOtherImages {
    fn count(&self) -> usize {
        0
    }

    fn image(&self, _: usize) -> Option<LabelledImage> {
        None
    }
}

/// The sample as a step finds it: after the steps before it.
pub struct SampleView<'a> {
    /// The image before the maps in `pending`.
    pub(super) image: &'a LabelledImage,
    /// Maps of earlier steps that are not yet applied.
    pub(super) pending: &'a Warp,
    /// Draws another image, with the steps before this one applied to it.
    pub(super) other: &'a dyn Fn(&mut ChaCha8Rng) -> Option<LabelledImage>,
}

impl SampleView<'_> {
    /// Width and height of the sample in px.
    pub fn size(&self) -> Size {
        self.image.size
    }

    /// Another image of the training set, of the same size, after the earlier steps (with draws of its own); `None` if
    /// there is none.
    pub fn other(&self, rng: &mut ChaCha8Rng) -> Option<LabelledImage> {
        (self.other)(rng)
    }

    /// The classes that are present, bit c = class c.
    pub fn present(&self) -> u32 {
        self.image.words.iter().fold(0, |all, word| all | word)
    }

    /// The centroid of a bone; `None` if it is absent. Exact after affine maps; after a map that bends, the place to
    /// which the centroid was moved.
    pub fn centroid(&self, bone: Bone) -> Option<Point> {
        let width = self.image.size.width as usize;
        let (mut x, mut y, mut n) = (0usize, 0usize, 0usize);
        for (place, _) in self.image.words.iter().enumerate().filter(|(_, word)| **word & bone.bit() != 0) {
            (x, y, n) = (x + place % width, y + place / width, n + 1);
        }
        let at = (n > 0).then(|| Point::new(x as f64 / n as f64, y as f64 / n as f64))?;
        self.pending.target_from_source(at)
    }

    /// Angle of the hand in degrees from vertical, by the vector from the Ulna's centroid to finger-16's; `None` if one
    /// of them is absent.
    pub fn angle(&self) -> Option<f64> {
        Some(angle_deg(self.centroid(Bone::ULNA)?, self.centroid(Bone::FINGER_16)?))
    }

    /// The corners (top left, bottom right) of the box around all pixels whose word has a bit of `classes`; `None` if
    /// there are none. The box can reach outside the image, where an earlier map moved the bones.
    pub fn bounds(&self, classes: u32) -> Option<(Point, Point)> {
        let Size { width, height } = self.image.size;
        let is_set = |x: usize, y: usize| self.image.words[y * width as usize + x] & classes != 0;
        let mut corners: Option<(Point, Point)> = None;
        let mut add = |x: usize, y: usize| {
            let Some(p) = self.pending.target_from_source(Point::new(x as f64, y as f64)) else {
                return;
            };
            let (low, high) = corners.get_or_insert((p, p));
            *low = Point::new(low.x.min(p.x), low.y.min(p.y));
            *high = Point::new(high.x.max(p.x), high.y.max(p.y));
        };
        // The ends of the runs of each row hold the outline's extreme places of every map without folds.
        for y in 0..height as usize {
            let mut before = false;
            for x in 0..width as usize {
                let set = is_set(x, y);
                if set && !before {
                    add(x, y);
                }
                if before && !set {
                    add(x - 1, y);
                }
                before = set;
            }
            if before {
                add(width as usize - 1, y);
            }
        }
        corners
    }
}
