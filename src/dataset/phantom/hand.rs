//! The geometry of one hand: positions of the bones, outlines, position in the image, annotation.

use super::anatomy::Anatomy;
use super::draw::Draw;
use super::outline::{centroid, clip, control_points, dense_polygon, forearm_control_points, smooth, sparse_polygon};
use super::pose::{BoneVariation, Joints, Placed, ends, place};
use crate::bones::{self, Bone, BoneGroup, COUNT};
use crate::dataset::Side;
use crate::dataset::annotation::Shape;
use crate::geometry::Point;
use crate::mask::RunMask;

/// Side of the image in which the anatomy table is measured, in px.
pub const TABLE_SIZE: f64 = 2048.0;

/// Parameters of a hand; equal parameters give equal hands.
#[derive(Clone, Debug, PartialEq)]
pub struct HandSpec {
    /// Seed of the data set.
    pub seed: u64,
    /// Number of the patient, whose hands have bones of similar shape.
    pub patient: u64,
    /// Left or right.
    pub side: Side,
    /// Whether the wrist is bent towards the little finger; otherwise hand and forearm are aligned.
    pub rotated: bool,
    /// Size relative to the anatomy table's mean hand.
    pub scale: f64,
    /// Width of the bones relative to their length, about 1.
    pub stoutness: f64,
    /// Whether every polygon has about one vertex per pixel; otherwise only Radius and Ulna have.
    pub dense: bool,
}

/// One hand in the coordinates of its image.
#[derive(Clone, Debug)]
pub struct HandGeometry {
    /// Side of the square image in px.
    pub size: u32,
    /// Smooth outlines by channel; Radius and Ulna extend beyond the lower edge.
    pub outlines: Vec<Vec<Point>>,
    /// Distal and proximal end of each bone's axis.
    pub axes: Vec<(Point, Point)>,
    /// The annotation, one shape per bone, in channel order.
    pub shapes: Vec<Shape>,
    /// Size of a px of the table in this image, including the hand's own scale; for objects without an outline.
    pub unit: f64,
}

impl HandGeometry {
    /// One mask per class: the annotation's polygons, filled as by OpenCV.
    pub fn masks(&self) -> Vec<RunMask> {
        self.shapes.iter().map(|s| RunMask::from_polygon(&s.points, self.size, self.size)).collect()
    }
}

/// The geometry of a hand in a square image of `size` px.
pub fn geometry(spec: &HandSpec, size: u32) -> HandGeometry {
    let side = u64::from(spec.side == Side::L);
    let mut patient = Draw::new(spec.seed, "patient's anatomy", spec.patient);
    let mut image = Draw::new(spec.seed, "hand's anatomy", spec.patient * 2 + side);
    let variation = vary(spec.stoutness, &mut patient, &mut image);
    let joints = Joints::draw(spec.rotated, &mut patient, &mut image);
    let scale = spec.scale * image.normal(1.0, 0.004);
    let (outlines, placed, at) = compose(spec, scale, &variation, &joints, &mut image);

    let k = f64::from(size) / TABLE_SIZE;
    let limit = f64::from(size - 1);
    let to_image = |p: Point| {
        let x = (p.x + at.x + 0.5) * k - 0.5;
        let x = if spec.side == Side::L { limit - x } else { x };
        Point::new(x, (p.y + at.y + 0.5) * k - 0.5)
    };
    let forms = Anatomy::get().pose(spec.rotated);
    let axes = (0..COUNT)
        .map(|b| {
            let (distal, proximal) = ends(placed[b], &forms[b], scale, &variation[b]);
            (to_image(distal), to_image(proximal))
        })
        .collect();
    let outlines: Vec<Vec<Point>> =
        outlines.into_iter().map(|curve| curve.into_iter().map(to_image).collect()).collect();
    let mut pen = Draw::new(spec.seed, "annotator's pen", spec.patient * 2 + side);
    let shapes =
        Bone::all().map(|bone| annotate(bone, &outlines[bone.index()], spec.dense, k, limit, &mut pen)).collect();
    HandGeometry { size, outlines, axes, shapes, unit: k * scale }
}

/// Each bone's deviation from the mean bone, mostly shared by the patient's hands.
fn vary(stoutness: f64, patient: &mut Draw, image: &mut Draw) -> [BoneVariation; COUNT] {
    let finger_length: [f64; 5] = std::array::from_fn(|_| patient.normal(0.0, 0.010));
    std::array::from_fn(|b| {
        let bone = Bone::from_index(b).expect("index below the count");
        let mut both = |sd: f64| patient.normal(0.0, sd) + image.normal(0.0, 0.35 * sd);
        let (length, width, wave) = match bone.group() {
            BoneGroup::Finger(f) => (finger_length[f as usize] + both(0.009), both(0.016), 0.005),
            BoneGroup::Carpal => (both(0.022), both(0.022), 0.016),
            BoneGroup::Forearm => (0.0, both(0.03), 0.004),
        };
        let waves = [1.0, 0.75, 0.6].map(|share| [both(wave * share), both(wave * share)]);
        BoneVariation { length: 1.0 + length, width: stoutness * (1.0 + width), waves }
    })
}

type Composed = (Vec<Vec<Point>>, [Placed; COUNT], Point);

/// Bends the wrist until the hand has the drawn lean, and determines the Capitate's position in the image.
fn compose(
    spec: &HandSpec,
    scale: f64,
    variation: &[BoneVariation; COUNT],
    joints: &Joints,
    image: &mut Draw,
) -> Composed {
    let (lean, below) = if spec.rotated {
        (image.normal(46.2, 4.5), image.normal(790.0, 42.0))
    } else {
        (image.normal(15.7, 2.6), image.normal(662.0, 42.0))
    };
    let aside = image.normal(0.0, 32.0);
    let last = TABLE_SIZE - 1.0;
    let mut bend = 0.0;
    let mut composed: Option<Composed> = None;
    // The lean is almost linear in the bend; after three corrections the error is below 0.01 degrees.
    for _ in 0..4 {
        let placed = place(spec.rotated, scale, variation, joints, bend);
        let outlines: Vec<Vec<Point>> = Bone::all()
            .map(|bone| outline(bone, spec.rotated, scale, &variation[bone.index()], placed[bone.index()]))
            .collect();
        let fingers = outlines[..19].iter().flatten();
        let top = fingers.clone().map(|p| p.y).fold(f64::INFINITY, f64::min);
        let low = outlines.iter().flatten().map(|p| p.x).fold(f64::INFINITY, f64::min);
        let high = outlines.iter().flatten().map(|p| p.x).fold(f64::NEG_INFINITY, f64::max);
        let margin = 70.0;
        let x = (last / 2.0 - (low + high) / 2.0 + aside).min(last - margin - high).max(margin - low);
        let at = Point::new(x, (last - below).max(margin + 20.0 - top));
        let in_image = |bone: Bone| -> Vec<Point> {
            outlines[bone.index()].iter().map(|p| Point::new(p.x + at.x, p.y + at.y)).collect()
        };
        let centre = |bone: Bone| centroid(&clip(&in_image(bone), last)).map(|(_, c)| c);
        if let (Some(ulna), Some(tip)) = (centre(Bone::ULNA), centre(Bone::FINGER_16)) {
            bend += (lean - ulna.lean_to(tip)) / 0.75;
        }
        composed = Some((outlines, placed, at));
    }
    composed.expect("the loop runs at least once")
}

fn outline(bone: Bone, rotated: bool, scale: f64, variation: &BoneVariation, placed: Placed) -> Vec<Point> {
    let forms = Anatomy::get();
    let control = if bone.group() == BoneGroup::Forearm {
        let distal = forms.pose(rotated)[bone.index()].radii[0];
        forearm_control_points(&forms.straight[bone.index()], distal, 1500.0, scale, variation)
    } else {
        control_points(&forms.pose(rotated)[bone.index()], scale, variation)
    };
    let control: Vec<Point> = control.into_iter().map(|p| placed.to_hand(p)).collect();
    smooth(&control, 4.0)
}

fn annotate(bone: Bone, outline: &[Point], dense: bool, k: f64, limit: f64, pen: &mut Draw) -> Shape {
    let curve = clip(outline, limit);
    let points = if dense || bone.group() == BoneGroup::Forearm {
        dense_polygon(&curve, limit)
    } else {
        let perimeter: f64 = (0..curve.len()).map(|i| curve[i].distance(curve[(i + 1) % curve.len()])).sum();
        let vertices = (11.0 + perimeter / k / 26.0 + pen.normal(0.0, 2.5)).clamp(17.0, 63.0) as usize;
        sparse_polygon(&curve, vertices, 0.6 * k, limit, pen)
    };
    Shape { index: bone.index(), label: bones::NAMES[bone.index()].to_owned(), bone: Some(bone), points }
}
