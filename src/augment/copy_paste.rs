use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::TchError;

use super::paste::Paste;
use super::remove_bones::{RemoveBones, choose, ring_violations};
use super::warp::blend;
use super::{Amount, Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step, Warp};
use crate::bones::{self, Bone};
use crate::geometry::{Affine, ModelSpace, Point};
use crate::violation::Violations;

/// Replaces bones by those of another training image. G. Ghiasi et al., Simple copy-paste is a strong data augmentation
/// method for instance segmentation, CVPR 2021; here a bone takes the place of the same bone, so that the hand keeps its
/// anatomy.
///
/// The bone is moved so that the centroids coincide, and turned, scaled and mirrored by the difference of the two hands
/// (the vector from the Ulna's centroid to finger-16's, and the side on which the Radius lies); if one of these bones
/// is absent in either image, or one hand is more than twice as long as the other, it is only moved. First the sample's
/// own bone is removed, as `bone-dropout` does. Then each pixel of the pasted bone gets the grey level and all labels
/// of its source, also those of bones that overlap it there; what it covers is hidden, with its labels. So the labels
/// of each pixel describe the pixel that is visible.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct CopyPaste {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Number of bones to replace: a number, or [least, most]; all that both images have if these are fewer. Whole, from
    /// 1 to 29; default [1, 4].
    pub bones: Amount,
    /// Width of the ring whose mean level the pixels of the replaced bone get, as a share of the image's shorter side.
    /// Above 0 to 0.5; default 0.02.
    pub ring: f64,
}

impl Default for CopyPaste {
    fn default() -> Self {
        CopyPaste { p: 0.5, bones: Amount::Between([1.0, 4.0]), ring: 0.02 }
    }
}

impl Step for CopyPaste {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let count = self.bones.draw_whole(rng) as usize;
        let other = view.other(rng)?;
        let still = Warp::default();
        let source = SampleView { image: &other, pending: &still, other: &|_| None };
        let axes = axes_from_axes(view, &source);
        let pixels = view.size().pixels();
        let mut from = LabelledImage::new(view.size(), vec![0.0; pixels], vec![0; pixels]);
        let (mut is_taken, mut replaced) = (vec![false; pixels], 0);
        for bone in choose(view.present() & source.present(), count, rng) {
            let (Some(target), Some(at)) = (view.centroid(bone), source.centroid(bone)) else { continue };
            let map = Affine::<ModelSpace, ModelSpace>::shift(-target.x, -target.y);
            let map: Affine<ModelSpace, ModelSpace> = map.then(&axes).then(&Affine::shift(at.x, at.y));
            replaced |= bone.bit();
            take(bone, &source, &map, &mut from, &mut is_taken);
        }
        let remove = RemoveBones::new(replaced, self.ring, view);
        (replaced != 0).then(|| Change::operation(Replace { remove, paste: Paste { from, is_taken } }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.bones.expect_whole(&mut wrong, "bones", 1, bones::COUNT as u32);
        wrong.extend(ring_violations(self.ring));
        wrong
    }

    fn needs_other_images(&self) -> bool {
        true
    }
}

/// The hand's own axes: the vector from the Ulna to finger-16, and as long, at right angles to it, one to the side of the
/// Radius. As a map from hand to image; `None` if a bone is absent.
fn axes(view: &SampleView) -> Option<Affine<ModelSpace, ModelSpace>> {
    let (ulna, finger) = (view.centroid(Bone::ULNA)?, view.centroid(Bone::FINGER_16)?);
    let radius = view.centroid(Bone::RADIUS)?;
    let (x, y) = (finger.x - ulna.x, finger.y - ulna.y);
    let side = (x * (radius.y - ulna.y) - y * (radius.x - ulna.x)).signum();
    Some(Affine::new([x, -side * y, 0.0, y, side * x, 0.0]))
}

/// The linear part of the map from the places of `target` to those of `source`: through the axes of the two hands.
fn axes_from_axes(target: &SampleView, source: &SampleView) -> Affine<ModelSpace, ModelSpace> {
    let hand = axes(target).and_then(|axes| axes.inverse());
    let map = hand.zip(axes(source)).map(|(hand, image)| hand.then(&image));
    // Labels at wrong places would give bones of any size.
    let is_plausible = |map: &Affine<ModelSpace, ModelSpace>| {
        let [a, b, _, c, d, _] = map.coefficients();
        (0.25..=4.0).contains(&(a * d - b * c).abs())
    };
    map.filter(is_plausible).unwrap_or(Affine::shift(0.0, 0.0))
}

/// Copies the pixels of a bone with their levels and all labels. `map` leads from places in the result to places in the
/// source.
fn take(
    bone: Bone,
    source: &SampleView,
    map: &Affine<ModelSpace, ModelSpace>,
    result: &mut LabelledImage,
    is_taken: &mut [bool],
) {
    let (Some((low, high)), Some(back)) = (source.bounds(bone.bit()), map.inverse()) else { return };
    let corners = [low, high, Point::new(low.x, high.y), Point::new(high.x, low.y)].map(|corner| back.apply(corner));
    let range = |of: fn(&Point) -> f64, side: u32| {
        let (least, most) = corners.iter().map(of).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
        // A pixel is half a pixel larger than its centre, times the scale.
        let margin = 1.0 + back.coefficients().iter().take(2).map(|c| c.abs()).sum::<f64>();
        ((least - margin).max(0.0) as usize, ((most + margin).max(-1.0) + 1.0).min(f64::from(side)) as usize)
    };
    let (width, image) = (result.size.width as usize, source.image);
    let ((left, right), (top, bottom)) = (range(|p| p.x, result.size.width), range(|p| p.y, result.size.height));
    for y in top..bottom {
        for x in left..right {
            let place = map.apply(Point::new(x as f64, y as f64));
            let Some((level, word)) = pixel(image, place) else { continue };
            if word & bone.bit() != 0 {
                let at = y * width + x;
                (result.levels[at], result.words[at], is_taken[at]) = (level, word, true);
            }
        }
    }
}

/// The level (bilinear, the outermost pixels are repeated) and the labels (nearest) at a place; `None` outside.
fn pixel(image: &LabelledImage, place: Point) -> Option<(f32, u32)> {
    let (width, height) = (image.size.width as usize, image.size.height as usize);
    let (x, y) = ((place.x + 0.5).floor(), (place.y + 0.5).floor());
    if !(x >= 0.0 && y >= 0.0 && x < width as f64 && y < height as f64) {
        return None;
    }
    let word = image.words[y as usize * width + x as usize];
    let (x0, y0) = (place.x.max(0.0).floor(), place.y.max(0.0).floor());
    let read = |dx: usize, dy: usize| {
        image.levels[(y0 as usize + dy).min(height - 1) * width + (x0 as usize + dx).min(width - 1)]
    };
    let (fx, fy) = ((place.x.max(0.0) - x0) as f32, (place.y.max(0.0) - y0) as f32);
    Some((blend([read(0, 0), read(1, 0), read(0, 1), read(1, 1)], fx, fy), word))
}

/// Removes bones, then pastes others.
struct Replace {
    remove: RemoveBones,
    paste: Paste,
}

impl Operation for Replace {
    fn apply(&self, image: &mut LabelledImage) {
        Operation::apply(&self.remove, image);
        Operation::apply(&self.paste, image);
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Replace {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        DeviceOperation::apply(&self.remove, image)?;
        DeviceOperation::apply(&self.paste, image)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::paste::tests::assert_same_on_device;
    use crate::augment::{Geometry, list::tests::drawn_for};
    use crate::geometry::Size;

    const SIDE: u32 = 64;

    /// A hand of four boxes: Ulna and Radius below, finger-16 above, finger-1 in the middle with its level. `map` moves
    /// the places of a standard hand.
    fn hand(level: f32, map: Affine<ModelSpace, ModelSpace>) -> LabelledImage {
        let size = Size::square(SIDE);
        let mut image = LabelledImage::new(size, vec![20.0; size.pixels()], vec![0; size.pixels()]);
        let back = map.inverse().unwrap();
        let boxes = [
            (Bone::ULNA, 36.0, 56.0),
            (Bone::RADIUS, 26.0, 56.0),
            (Bone::FINGER_16, 36.0, 8.0),
            (Bone::FINGER_1, 30.0, 30.0),
        ];
        for at in 0..size.pixels() {
            let place = back.apply(Point::new((at % SIDE as usize) as f64, (at / SIDE as usize) as f64));
            for (bone, x, y) in boxes {
                if (place.x - x).abs() <= 3.2 && (place.y - y).abs() <= 5.2 {
                    image.words[at] |= bone.bit();
                    image.levels[at] = if bone == Bone::FINGER_1 { level } else { 200.0 };
                }
            }
        }
        image
    }

    fn replaced(image: &LabelledImage, other: &LabelledImage) -> LabelledImage {
        // All bones that both images have.
        let step = CopyPaste { bones: Amount::Fixed(29.0), ..CopyPaste::default() };
        let view = SampleView { image, pending: &Warp::default(), other: &|_| Some(other.clone()) };
        let Some(Change::Operation(operation)) = step.draw(&view, &mut ChaCha8Rng::seed_from_u64(1)) else { panic!() };
        let mut result = image.clone();
        operation.apply(&mut result);
        assert_same_on_device(&*operation, image);
        result
    }

    fn turned(degrees: f64, scale: f64, mirror: f64) -> Affine<ModelSpace, ModelSpace> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let (sin, cos) = (scale * sin, scale * cos);
        let to_centre = Affine::<ModelSpace, ModelSpace>::shift(-32.0, -32.0);
        let turn = Affine::<ModelSpace, ModelSpace>::new([mirror * cos, -sin, 0.0, mirror * sin, cos, 0.0]);
        to_centre.then(&turn).then(&Affine::<ModelSpace, ModelSpace>::shift(32.0, 32.0))
    }

    /// Share of the pixels of a class of either image that both have.
    fn overlap(a: &LabelledImage, b: &LabelledImage, bit: u32) -> f64 {
        let count = |both: bool| {
            let pairs = a.words.iter().zip(&b.words).map(|(a, b)| (a & bit != 0, b & bit != 0));
            pairs.filter(|(a, b)| if both { *a && *b } else { *a || *b }).count() as f64
        };
        count(true) / count(false)
    }

    #[test]
    fn a_bone_takes_the_place_of_the_same_bone() {
        let still = turned(0.0, 1.0, 1.0);
        let image = hand(100.0, still);
        // The other hand is turned, smaller, mirrored: its bones return to the places of this one.
        for map in [still, turned(25.0, 1.0, 1.0), turned(-70.0, 0.8, 1.0), turned(10.0, 0.9, -1.0)] {
            let result = replaced(&image, &hand(150.0, map));
            for bone in [Bone::FINGER_1, Bone::ULNA, Bone::FINGER_16] {
                let same = overlap(&result, &image, bone.bit());
                assert!(same > 0.75, "{map:?}: {bone:?} overlaps by {same}");
            }
            let inside = 30 * SIDE as usize + 30;
            assert!((result.levels[inside] - 150.0).abs() < 1e-3, "the level of the other image");
            // What is left of the sample's own bone is background.
            for (level, word) in result.levels.iter().zip(&result.words) {
                assert!(*word != 0 || *level == 20.0, "{level}");
            }
        }
    }

    #[test]
    fn a_pasted_pixel_has_all_labels_of_its_source_and_hides_what_it_covers() {
        let still = turned(0.0, 1.0, 1.0);
        let (mut image, mut other) = (hand(100.0, still), hand(150.0, still));
        let at = |x: usize, y: usize| y * SIDE as usize + x;
        // Another bone lies over part of the source's bone, and a third one over part of the sample's.
        other.words[at(30, 30)] |= 1 << 5;
        image.words[at(29, 30)] |= 1 << 7;
        image.words[at(50, 40)] |= 1 << 7;
        let result = replaced(&image, &other);
        assert_eq!(result.words[at(30, 30)], Bone::FINGER_1.bit() | 1 << 5);
        assert_eq!((result.words[at(29, 30)], result.words[at(50, 40)]), (Bone::FINGER_1.bit(), 1 << 7));
    }

    /// Maps of earlier steps move the place at which a bone is pasted.
    #[test]
    fn bones_are_pasted_where_earlier_maps_move_the_hand() {
        let still = turned(0.0, 1.0, 1.0);
        let (image, other) = (hand(100.0, still), hand(150.0, still));
        let mut pending = Warp::default();
        pending.push(Geometry::Affine(Affine::shift(-6.0, 0.0)), Some(crate::augment::Border::Black));
        let view = SampleView { image: &image, pending: &pending, other: &|_| Some(other.clone()) };
        let step = CopyPaste { bones: Amount::Fixed(29.0), ..CopyPaste::default() };
        let Some(Change::Operation(operation)) = step.draw(&view, &mut ChaCha8Rng::seed_from_u64(1)) else { panic!() };
        let moved = pending.sample(image.clone());
        let mut result = moved.clone();
        operation.apply(&mut result);
        assert_eq!(result.words, moved.words);
        assert_eq!(result.levels[30 * SIDE as usize + 36], 150.0);
    }

    #[test]
    fn without_common_bones_nothing_changes() {
        let still = turned(0.0, 1.0, 1.0);
        let image = hand(100.0, still);
        assert!(drawn_for(&CopyPaste::default(), &image, 1).is_none(), "no other image");
        let size = Size::square(SIDE);
        let empty = LabelledImage::new(size, vec![1.0; size.pixels()], vec![0; size.pixels()]);
        let view = SampleView { image: &image, pending: &Warp::default(), other: &|_| Some(empty.clone()) };
        assert!(CopyPaste::default().draw(&view, &mut ChaCha8Rng::seed_from_u64(1)).is_none());
        let wrong = CopyPaste { bones: Amount::Fixed(0.0), ring: 1.0, ..CopyPaste::default() }.violations();
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["bones", "ring"]);
    }
}
