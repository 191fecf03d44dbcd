//! Hands in a common frame: each is moved, turned, scaled and, if it is a left hand, mirrored to fit the mean hand
//! (generalised Procrustes analysis).

use crate::bones::COUNT;
use crate::geometry::Point;

/// Smallest number of bones of a hand that is fitted.
const MIN_BONES: usize = 15;
/// Rounds of fitting all hands to the mean of the last round.
const ROUNDS: usize = 4;

/// Centroids by class; `None` for a bone without mask.
pub type HandCentroids = [Option<Point>; COUNT];

/// Hands in the common frame of a right hand.
#[derive(Clone, Debug, PartialEq)]
pub struct CommonFrame {
    /// Mean place of each bone, in px of a hand of mean size; the origin is the mean of all bones, y points down.
    pub means: HandCentroids,
    /// The hands that were fitted, in their order.
    pub hands: Vec<HandCentroids>,
}

/// Fits hands to their common mean. Left hands must be mirrored already. Hands with fewer than 15 bones are left out;
/// `None` if none is left.
pub fn common_frame(hands: &[HandCentroids]) -> Option<CommonFrame> {
    let usable: Vec<&HandCentroids> = hands.iter().filter(|h| h.iter().flatten().count() >= MIN_BONES).collect();
    let fullest = usable.iter().max_by_key(|h| h.iter().flatten().count())?;
    let size = usable.iter().map(|h| spread(h)).sum::<f64>() / usable.len() as f64;
    let mut means = normalised(fullest, size)?;
    let mut fitted: Vec<HandCentroids> = Vec::new();
    for _ in 0..ROUNDS {
        fitted = usable.iter().filter_map(|hand| fit(hand, &means)).collect();
        if fitted.is_empty() {
            return None;
        }
        let mean = |bone: usize| {
            let of_bone: Vec<Point> = fitted.iter().filter_map(|hand| hand[bone]).collect();
            let n = of_bone.len() as f64;
            let sum = of_bone.iter().fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
            (n > 0.0).then(|| Point::new(sum.0 / n, sum.1 / n))
        };
        means = normalised(&std::array::from_fn(mean), size)?;
    }
    Some(CommonFrame { means, hands: fitted })
}

fn centre(hand: &HandCentroids) -> Point {
    let n = hand.iter().flatten().count().max(1) as f64;
    let sum = hand.iter().flatten().fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
    Point::new(sum.0 / n, sum.1 / n)
}

/// Root mean square distance of the bones from their mean.
fn spread(hand: &HandCentroids) -> f64 {
    let (mean, n) = (centre(hand), hand.iter().flatten().count().max(1) as f64);
    (hand.iter().flatten().map(|p| (p.x - mean.x).powi(2) + (p.y - mean.y).powi(2)).sum::<f64>() / n).sqrt()
}

/// The hand around the origin with this spread; `None` if all its bones are at one place.
fn normalised(hand: &HandCentroids, size: f64) -> Option<HandCentroids> {
    let (mean, own) = (centre(hand), spread(hand));
    let scale = size / own;
    (own > 0.0 && scale.is_finite())
        .then(|| hand.map(|p| p.map(|p| Point::new(scale * (p.x - mean.x), scale * (p.y - mean.y)))))
}

/// The hand moved, turned and scaled so that its bones are nearest to `means` (least squares over the bones of both).
fn fit(hand: &HandCentroids, means: &HandCentroids) -> Option<HandCentroids> {
    let pairs: Vec<(Point, Point)> = hand.iter().zip(means).filter_map(|(h, m)| Some(((*h)?, (*m)?))).collect();
    let n = pairs.len() as f64;
    let mean = |value: fn(&(Point, Point)) -> f64| pairs.iter().map(value).sum::<f64>() / n;
    let (hx, hy, mx, my) = (mean(|p| p.0.x), mean(|p| p.0.y), mean(|p| p.1.x), mean(|p| p.1.y));
    let (mut re, mut im, mut norm) = (0.0, 0.0, 0.0);
    for (h, m) in &pairs {
        let (x, y, u, v) = (h.x - hx, h.y - hy, m.x - mx, m.y - my);
        re += x * u + y * v;
        im += x * v - y * u;
        norm += x * x + y * y;
    }
    let (a, b) = (re / norm, im / norm);
    let place = |p: Point| {
        let (x, y) = (p.x - hx, p.y - hy);
        Point::new(a * x - b * y + mx, b * x + a * y + my)
    };
    (a.is_finite() && b.is_finite()).then(|| hand.map(|p| p.map(place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hand(degrees: f64, scale: f64, shift: f64) -> HandCentroids {
        let (s, c) = degrees.to_radians().sin_cos();
        std::array::from_fn(|i| {
            let (x, y) =
                (f64::from(i as u32 % 6) * 90.0, f64::from(i as u32 / 6) * 150.0 + f64::from(i as u32 % 5) * 9.0);
            Some(Point::new(scale * (c * x - s * y) + shift, scale * (s * x + c * y) - shift))
        })
    }

    #[test]
    fn moved_turned_and_scaled_hands_coincide() {
        let mut hands = vec![hand(0.0, 1.0, 0.0), hand(40.0, 0.8, 300.0), hand(-70.0, 1.3, -20.0)];
        hands[1][3] = None;
        hands.push([None; COUNT]);
        let frame = common_frame(&hands).unwrap();
        assert_eq!(frame.hands.len(), 3);
        for fitted in &frame.hands {
            for (place, mean) in fitted.iter().zip(&frame.means) {
                let (Some(place), Some(mean)) = (place, mean) else { continue };
                assert!((place.x - mean.x).hypot(place.y - mean.y) < 2.0, "{place:?} {mean:?}");
            }
        }
    }

    #[test]
    fn hands_without_extent_are_left_out() {
        assert_eq!(common_frame(&[]), None);
        assert_eq!(common_frame(&[[None; COUNT]]), None);
        assert_eq!(common_frame(&[[Some(Point::new(3.0, 3.0)); COUNT]]), None);
    }
}
