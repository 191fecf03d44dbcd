use crate::bones::{self, Bone, BoneGroup};
use crate::dataset::Side;
use crate::geometry::Point;

/// Left or right hand by anatomy, independent of the hand's rotation: in the direction from the forearm to the
/// fingers, the thumb of a right hand is on the left (PA view). `centroids` has one entry per bone, in the order of the
/// classes. `None` if too few bones are present.
pub fn side_by_anatomy(centroids: &[Option<Point>; bones::COUNT]) -> Option<Side> {
    let mean = |wanted: &dyn Fn(Bone) -> bool| mean_centroid(centroids, wanted);
    let finger = |f: u8| move |b: Bone| b.group() == BoneGroup::Finger(f);
    // Average whole fingers, so that one or two swapped labels do not change the side.
    let axis = hand_direction(centroids)?;
    let radial = match (mean(&finger(0)), mean(&finger(1))) {
        (Some(a), Some(b)) => Point::new((a.x + b.x) / 2.0, (a.y + b.y) / 2.0),
        (a, b) => a.or(b)?,
    };
    let ulnar = mean(&finger(4)).or_else(|| mean(&finger(3)))?;
    let across = (ulnar.x - radial.x, ulnar.y - radial.y);
    let turn = axis[0] * across.1 - axis[1] * across.0;
    if turn > 0.0 {
        Some(Side::R)
    } else if turn < 0.0 {
        Some(Side::L)
    } else {
        None
    }
}

/// The direction `[x, y]` of a hand in px: from the mean centroid of carpals and forearm to that of the fingers without the
/// thumb. `None` if one of the two has no bones.
pub fn hand_direction(centroids: &[Option<Point>; bones::COUNT]) -> Option<[f64; 2]> {
    let wrist = mean_centroid(centroids, &|b| matches!(b.group(), BoneGroup::Carpal | BoneGroup::Forearm))?;
    let fingers = mean_centroid(centroids, &|b| matches!(b.group(), BoneGroup::Finger(1..=4)))?;
    Some([fingers.x - wrist.x, fingers.y - wrist.y])
}

fn mean_centroid(centroids: &[Option<Point>; bones::COUNT], wanted: &dyn Fn(Bone) -> bool) -> Option<Point> {
    let found: Vec<Point> = Bone::all().filter(|b| wanted(*b)).filter_map(|b| centroids[b.index()]).collect();
    let n = found.len() as f64;
    (!found.is_empty())
        .then(|| Point::new(found.iter().map(|p| p.x).sum::<f64>() / n, found.iter().map(|p| p.y).sum::<f64>() / n))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A right hand: fingers up, thumb on the left.
    fn right() -> [Option<Point>; bones::COUNT] {
        let mut c = [None; bones::COUNT];
        for b in Bone::all() {
            c[b.index()] = Some(match b.group() {
                BoneGroup::Finger(f) => Point::new(-400.0 + 200.0 * f64::from(f), -600.0 + 10.0 * b.index() as f64),
                BoneGroup::Carpal => Point::new(b.index() as f64, 0.0),
                BoneGroup::Forearm => Point::new(0.0, 300.0),
            });
        }
        c
    }

    #[test]
    fn mirroring_changes_the_side_and_rotation_does_not() {
        let hand = right();
        assert_eq!(side_by_anatomy(&hand), Some(Side::R));
        assert_eq!(side_by_anatomy(&hand.map(|p| p.map(|p| Point::new(-p.x, p.y)))), Some(Side::L));
        for degrees in [45.0f64, -70.0, 120.0, 180.0] {
            let (s, c) = degrees.to_radians().sin_cos();
            let turned = hand.map(|p| p.map(|p| Point::new(c * p.x - s * p.y, s * p.x + c * p.y)));
            assert_eq!(side_by_anatomy(&turned), Some(Side::R), "{degrees}");
        }
        assert_eq!(side_by_anatomy(&[None; bones::COUNT]), None);
    }
}
