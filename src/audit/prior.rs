//! The reference anatomy: the hand model before any hand of the data is used, from a table of mean hands in two poses.

use nalgebra::{DMatrix, DVector};

use super::gaussian::Gaussian;
use super::population::HandModel;
use crate::bones::{Bone, BoneGroup, COUNT};

/// Per pose and bone: position, spread, orientation, area and axes, in px of a mean right hand at 2048 x 2048.
const TABLE: &str = include_str!("../../assets/anatomy.csv");

/// Smallest standard deviation of a bone's position, px. Positions in the table are relative to Capitate, whose own
/// standard deviation is therefore 0.
const MIN_SD_PX: f64 = 6.0;
/// Length scale over which positions are correlated, px: for the bones of one finger, which swings about its root
/// almost as a rigid body, and for any two bones.
const REACH_IN_FINGER_PX: f64 = 1000.0;
const REACH_PX: f64 = 600.0;
/// Share of the correlation that bones of different fingers have as well.
const ACROSS_FINGERS: f64 = 0.4;
/// Standard deviation that each outline adds, px.
const OWN_PX: f64 = 4.0;

/// Share of the variance of a bone's position that is independent of the other bones: phalanges follow their finger,
/// carpal bones glide.
fn independent_share(bone: Bone) -> f64 {
    match bone.group() {
        BoneGroup::Finger(_) => 0.03,
        BoneGroup::Carpal => 0.5,
        BoneGroup::Forearm => 0.1,
    }
}

/// Standard deviation of log aspect ratios, which is not in the table.
const ASPECT_SD: f64 = 0.08;
/// Correlation of the bones' sizes after removal of the scale of the hand.
const SIZE_CORRELATION: f64 = 0.3;
/// Orientations are compared only for bones that vary less than this in both poses, degrees ...
const ORIENTATION_SD_LIMIT: f64 = 12.0;
/// ... and that are longer than wide by more than this factor.
const ORIENTATION_ASPECT: f64 = 1.5;

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    x: f64,
    y: f64,
    x_sd: f64,
    y_sd: f64,
    orientation: f64,
    orientation_sd: f64,
    area: f64,
    area_sd: f64,
    sd_major: f64,
    sd_minor: f64,
}

/// The straight and the rotated pose, 29 bones each.
fn poses() -> [[Entry; COUNT]; 2] {
    let mut poses = [[Entry::default(); COUNT]; 2];
    let mut reader = csv::Reader::from_reader(TABLE.as_bytes());
    let header = reader.headers().expect("the embedded table has a header").clone();
    for record in reader.records() {
        let record = record.expect("the embedded table is well formed");
        let text = |name: &str| {
            let at = header.iter().position(|h| h == name).expect("the embedded table has this column");
            &record[at]
        };
        let number = |name: &str| text(name).parse().expect("the embedded table holds numbers");
        let bone = Bone::from_name(text("bone")).expect("the embedded table names bones");
        poses[usize::from(text("pose") == "rotated")][bone.index()] = Entry {
            x: number("x"),
            y: number("y"),
            x_sd: number("x_sd"),
            y_sd: number("y_sd"),
            orientation: number("theta_deg"),
            orientation_sd: number("theta_sd"),
            area: number("area_px"),
            area_sd: number("area_sd"),
            sd_major: number("sd_major"),
            sd_minor: number("sd_minor"),
        };
    }
    poses
}

/// Rotates and shifts the rotated pose so that its wrist and palm match those of the straight pose; returns the angle
/// in degrees.
fn aligned(straight: &[Entry; COUNT], rotated: &mut [Entry; COUNT]) -> f64 {
    let core = |b: &Bone| {
        b.group() == BoneGroup::Carpal || ["finger-7", "finger-11", "finger-15", "finger-19"].contains(&b.name())
    };
    let core: Vec<usize> = Bone::all().filter(core).map(Bone::index).collect();
    let n = core.len() as f64;
    let mean = |p: &[Entry; COUNT]| {
        (core.iter().map(|b| p[*b].x).sum::<f64>() / n, core.iter().map(|b| p[*b].y).sum::<f64>() / n)
    };
    let ((sx, sy), (rx, ry)) = (mean(straight), mean(rotated));
    let (mut re, mut im) = (0.0, 0.0);
    for b in &core {
        let (x, y) = (rotated[*b].x - rx, rotated[*b].y - ry);
        let (u, v) = (straight[*b].x - sx, straight[*b].y - sy);
        re += x * u + y * v;
        im += x * v - y * u;
    }
    let turn = im.atan2(re);
    let (sin, cos) = turn.sin_cos();
    for entry in rotated {
        let (x, y) = (entry.x - rx, entry.y - ry);
        let (x_var, y_var) = (entry.x_sd.powi(2), entry.y_sd.powi(2));
        (entry.x, entry.y) = (sx + cos * x - sin * y, sy + sin * x + cos * y);
        entry.x_sd = (cos * cos * x_var + sin * sin * y_var).sqrt();
        entry.y_sd = (sin * sin * x_var + cos * cos * y_var).sqrt();
        entry.orientation += turn.to_degrees();
    }
    turn.to_degrees()
}

/// A covariance: the correlated variation within a pose, plus the difference between the poses.
fn assemble(
    dims: usize,
    sd: &dyn Fn(usize, usize) -> f64,
    correlation: &dyn Fn(usize, usize, usize) -> f64,
    step: &dyn Fn(usize, usize) -> f64,
) -> DMatrix<f64> {
    DMatrix::from_fn(COUNT * dims, COUNT * dims, |i, j| {
        let (a, d, b, e) = (i / dims, i % dims, j / dims, j % dims);
        let within_pose = if d == e { sd(a, d) * sd(b, d) * correlation(a, b, d) } else { 0.0 };
        within_pose + step(a, d) * step(b, e)
    })
}

/// The hand model of the reference anatomy.
pub fn model() -> HandModel {
    let [straight, mut rotated] = poses();
    aligned(&straight, &mut rotated);
    let pair = |b: usize| (&straight[b], &rotated[b]);
    let mean = |b: usize, f: &dyn Fn(&Entry) -> f64| (f(pair(b).0) + f(pair(b).1)) / 2.0;
    let half_difference = |b: usize, f: &dyn Fn(&Entry) -> f64| (f(pair(b).1) - f(pair(b).0)) / 2.0;
    // Standard deviation within a pose: root of the mean variance.
    let within = |b: usize, f: &dyn Fn(&Entry) -> f64| ((f(pair(b).0).powi(2) + f(pair(b).1).powi(2)) / 2.0).sqrt();
    // Correlation of two bones: it decreases smoothly with their distance and is larger within a finger.
    let correlation = |a: usize, b: usize| {
        let d = (mean(a, &|e| e.x) - mean(b, &|e| e.x)).hypot(mean(a, &|e| e.y) - mean(b, &|e| e.y));
        let same = Bone::from_index(a).map(Bone::group) == Bone::from_index(b).map(Bone::group);
        let decay = |reach: f64| (-0.5 * (d / reach).powi(2)).exp();
        ACROSS_FINGERS * decay(REACH_PX) + if same { (1.0 - ACROSS_FINGERS) * decay(REACH_IN_FINGER_PX) } else { 0.0 }
    };
    let own: [f64; COUNT] = std::array::from_fn(|b| Bone::from_index(b).map_or(1.0, independent_share));
    // Correlation of two bones' positions, without their independent shares.
    let position_correlation = |a: usize, b: usize| ((1.0 - own[a]) * (1.0 - own[b])).sqrt() * correlation(a, b);

    let xy = |d: usize| -> &'static dyn Fn(&Entry) -> f64 { if d == 0 { &|e| e.x } else { &|e| e.y } };
    let xy_sd = |d: usize| -> &'static dyn Fn(&Entry) -> f64 { if d == 0 { &|e| e.x_sd } else { &|e| e.y_sd } };
    let position = Gaussian::new(
        2,
        DVector::from_fn(2 * COUNT, |i, _| mean(i / 2, xy(i % 2))),
        assemble(
            2,
            &|b, d| within(b, xy_sd(d)).max(MIN_SD_PX),
            &|a, b, d| {
                let outline = (OWN_PX / within(a, xy_sd(d)).max(MIN_SD_PX)).powi(2);
                if a == b { 1.0 + outline } else { position_correlation(a, b) }
            },
            &|b, d| half_difference(b, xy(d)),
        ),
        [true; COUNT],
    );

    let size = |e: &Entry| e.area.ln() / 2.0;
    let aspect = |e: &Entry| (e.sd_major / e.sd_minor).ln();
    let shape = Gaussian::new(
        2,
        DVector::from_fn(2 * COUNT, |i, _| if i % 2 == 0 { mean(i / 2, &size) } else { mean(i / 2, &aspect) }),
        assemble(
            2,
            &|b, d| if d == 0 { within(b, &|e| e.area_sd / e.area / 2.0) } else { ASPECT_SD },
            &|a, b, d| match (a == b, d) {
                (true, _) => 1.0,
                (false, 0) => SIZE_CORRELATION,
                (false, _) => 0.0,
            },
            &|b, d| if d == 0 { half_difference(b, &size) } else { half_difference(b, &aspect) },
        ),
        [true; COUNT],
    );

    let is_compared: [bool; COUNT] = std::array::from_fn(|b| {
        [pair(b).0, pair(b).1]
            .iter()
            .all(|e| e.orientation_sd < ORIENTATION_SD_LIMIT && e.sd_major > ORIENTATION_ASPECT * e.sd_minor)
    });
    let orientation = Gaussian::new(
        1,
        DVector::from_fn(COUNT, |b, _| mean(b, &|e| e.orientation)),
        assemble(
            1,
            &|b, _| within(b, &|e| e.orientation_sd).max(2.0),
            &|a, b, _| if a == b { 1.0 } else { 0.7 * correlation(a, b) },
            &|b, _| if is_compared[b] { half_difference(b, &|e| e.orientation) } else { 0.0 },
        ),
        is_compared,
    );
    HandModel {
        position: position.expect("the embedded table makes a positive definite covariance"),
        shape: shape.expect("the embedded table makes a positive definite covariance"),
        orientation: orientation.expect("the embedded table makes a positive definite covariance"),
        hands: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_poses_differ_by_the_bend_of_the_wrist() {
        let [straight, mut rotated] = poses();
        let turn = aligned(&straight, &mut rotated);
        assert!((-45.0..-20.0).contains(&turn), "{turn}");
        let gap = |b: Bone| {
            let b = b.index();
            (straight[b].x - rotated[b].x).hypot(straight[b].y - rotated[b].y)
        };
        assert!(gap(Bone::from_name("Hamate").unwrap()) < 25.0);
        assert!(gap(Bone::ULNA) > 100.0, "the forearm moves");
    }

    #[test]
    fn only_long_bones_have_an_orientation() {
        let model = model();
        let is_compared = |name: &str| model.orientation.is_active(Bone::from_name(name).unwrap().index());
        assert!(is_compared("finger-7") && is_compared("finger-10") && is_compared("Radius"));
        assert!(!is_compared("Trapezoid") && !is_compared("Pisiform"));
    }

    #[test]
    fn each_bone_is_most_similar_to_itself() {
        let model = model();
        for a in 0..COUNT {
            let as_bone = |b: usize| {
                model.position.deviance(b, model.position.mean(a), f64::MAX)
                    + model.shape.deviance(b, model.shape.mean(a), f64::MAX)
            };
            let best = (0..COUNT).min_by(|x, y| as_bone(*x).total_cmp(&as_bone(*y))).unwrap();
            assert_eq!(best, a, "{:?}", Bone::from_index(a));
        }
    }
}
