//! Similarity transforms from an image to the model's frame, and how to find them from the bones' centroids.

use super::gaussian::{Gaussian, Values};
use crate::bones::COUNT;
use crate::geometry::Point;

/// Similarity transform (rotation, scale and shift; for left hands after mirroring) from an image to the model's frame,
/// that of a mean right hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Similarity {
    /// Rotation and scale as a complex factor (real, imaginary) of the point x + iy.
    factor: (f64, f64),
    shift: (f64, f64),
    /// Whether x is negated first, as for left hands.
    pub mirrored: bool,
}

/// Centroids of a hand's bones in its image; `None` where a bone has none.
pub type Centroids = [Option<Point>; COUNT];

/// Upper limit of a bone's squared distance (in units of its variance) in [`Similarity::misfit`].
const CAP: f64 = 18.0;

/// A centroid, its target, and the weight of the pair.
type Pair = (Point, [f64; 2], f64);

impl Similarity {
    /// Transforms a point of the image to the model's frame.
    pub fn apply(&self, p: Point) -> [f64; 2] {
        let x = if self.mirrored { -p.x } else { p.x };
        let (re, im) = self.factor;
        [re * x - im * p.y + self.shift.0, im * x + re * p.y + self.shift.1]
    }

    /// Transforms a displacement in the model's frame to px of the image.
    pub fn displacement_in_image(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let (re, im) = self.factor;
        let norm = re * re + im * im;
        let (u, v) = ((re * x + im * y) / norm, (re * y - im * x) / norm);
        [if self.mirrored { -u } else { u }, v]
    }

    /// Length of one pixel of the image in the model's frame.
    pub fn scale(&self) -> f64 {
        self.factor.0.hypot(self.factor.1)
    }

    /// Transforms an angle from vertical in the image to the model's frame; degrees.
    pub fn orientation(&self, degrees: f64) -> f64 {
        let degrees = if self.mirrored { -degrees } else { degrees };
        degrees + self.factor.1.atan2(self.factor.0).to_degrees()
    }

    /// Weighted least-squares fit; `None` for fewer than two distinct points.
    fn fitted(pairs: &[Pair], mirrored: bool) -> Option<Similarity> {
        let sum: f64 = pairs.iter().map(|p| p.2).sum();
        let mean = |f: &dyn Fn(&Pair) -> f64| pairs.iter().map(|p| p.2 * f(p)).sum::<f64>() / sum;
        let sign = if mirrored { -1.0 } else { 1.0 };
        let (px, py) = (mean(&|p| sign * p.0.x), mean(&|p| p.0.y));
        let (mx, my) = (mean(&|p| p.1[0]), mean(&|p| p.1[1]));
        let (mut re, mut im, mut norm) = (0.0, 0.0, 0.0);
        for (p, m, w) in pairs {
            let (x, y, u, v) = (sign * p.x - px, p.y - py, m[0] - mx, m[1] - my);
            re += w * (x * u + y * v);
            im += w * (x * v - y * u);
            norm += w * (x * x + y * y);
        }
        let factor = (re / norm, im / norm);
        let ok = factor.0.is_finite() && factor.1.is_finite() && factor.0.hypot(factor.1) > 0.0;
        ok.then_some(Similarity {
            factor,
            shift: (mx - factor.0 * px + factor.1 * py, my - factor.1 * px - factor.0 * py),
            mirrored,
        })
    }

    /// Sum over the bones of the squared distance from the template, in units of the bone's variance and limited per
    /// bone.
    pub fn misfit(&self, centroids: &Centroids, template: &Gaussian) -> f64 {
        (0..COUNT)
            .filter_map(|b| {
                let at = self.apply(centroids[b]?);
                Some(squared(at, template.mean(b)) / template.variance(b))
            })
            .map(|m| m.min(CAP))
            .sum()
    }

    /// Refines the fit by iteratively reweighted least squares (Geman-McClure weights), so that misplaced bones have
    /// little influence.
    pub fn refined(self, centroids: &Centroids, template: &Gaussian) -> Similarity {
        let mut fit = self;
        for _ in 0..8 {
            let pairs: Vec<(Point, [f64; 2], f64)> = (0..COUNT)
                .filter_map(|b| {
                    let (place, mean, variance) = (centroids[b]?, template.mean(b), template.variance(b));
                    let m = squared(fit.apply(place), mean) / variance;
                    Some((place, mean, 1.0 / (variance * (1.0 + m / 6.0).powi(2))))
                })
                .collect();
            match Similarity::fitted(&pairs, fit.mirrored) {
                Some(next) => fit = next,
                None => break,
            }
        }
        fit
    }

    /// Robust fit of labelled centroids to the template, as a left or right hand: the best of the fits that pairs of
    /// bones determine, refined. Up to almost half of the labels may be wrong. `None` for fewer than three centroids.
    pub fn robust(centroids: &Centroids, template: &Gaussian) -> Option<Similarity> {
        let present: Vec<usize> = (0..COUNT).filter(|b| centroids[*b].is_some()).collect();
        if present.len() < 3 {
            return None;
        }
        let mut best: Option<(f64, Similarity)> = None;
        for mirrored in [false, true] {
            for (i, a) in present.iter().enumerate() {
                for b in &present[i + 1..] {
                    // Bones close to each other determine neither scale nor rotation.
                    if squared(template.mean(*a), template.mean(*b))
                        < 9.0 * (template.variance(*a) + template.variance(*b))
                    {
                        continue;
                    }
                    let pair = |b: usize| centroids[b].map(|p| (p, template.mean(b), 1.0));
                    let (Some(first), Some(second)) = (pair(*a), pair(*b)) else { continue };
                    let Some(fit) = Similarity::fitted(&[first, second], mirrored) else { continue };
                    let misfit = fit.misfit(centroids, template);
                    if best.is_none_or(|(least, _)| misfit < least) {
                        best = Some((misfit, fit));
                    }
                }
            }
        }
        // Refined only after the best fit is chosen, which includes the choice between left and right.
        best.map(|(_, fit)| fit.refined(centroids, template))
    }

    /// Fits that need no labels: mean, size and long axis of all centroids are matched with those of the template, with
    /// fingers up or down, as a left or right hand.
    pub fn unlabelled(centroids: &Centroids, template: &Gaussian) -> Vec<Similarity> {
        let points: Vec<Point> = centroids.iter().flatten().copied().collect();
        let target: Vec<Point> = (0..COUNT).map(|b| template.mean(b)).map(|[x, y]| Point::new(x, y)).collect();
        let (Some(from), Some(to)) = (Cloud::of(&points), Cloud::of(&target)) else { return Vec::new() };
        let mut fits = Vec::new();
        for mirrored in [false, true] {
            let axis = if mirrored { std::f64::consts::PI - from.axis } else { from.axis };
            let sign = if mirrored { -1.0 } else { 1.0 };
            for turn in [0.0, std::f64::consts::PI] {
                let (scale, angle) = (to.size / from.size, to.axis - axis + turn);
                let factor = (scale * angle.cos(), scale * angle.sin());
                let (x, y) = (sign * from.mean.x, from.mean.y);
                let shift = (to.mean.x - factor.0 * x + factor.1 * y, to.mean.y - factor.1 * x - factor.0 * y);
                fits.push(Similarity { factor, shift, mirrored });
            }
        }
        fits
    }
}

/// Mean, root mean square radius and direction of the long axis of a set of points.
struct Cloud {
    mean: Point,
    size: f64,
    axis: f64,
}

impl Cloud {
    fn of(points: &[Point]) -> Option<Cloud> {
        let n = points.len() as f64;
        let mean = Point::new(points.iter().map(|p| p.x).sum::<f64>() / n, points.iter().map(|p| p.y).sum::<f64>() / n);
        let sum = |f: &dyn Fn(f64, f64) -> f64| points.iter().map(|p| f(p.x - mean.x, p.y - mean.y)).sum::<f64>() / n;
        let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
        let size = (xx + yy).sqrt();
        (size > 0.0 && size.is_finite()).then(|| Cloud { mean, size, axis: 0.5 * (2.0 * xy).atan2(xx - yy) })
    }
}

/// Transforms centroids to the model's frame.
pub fn normalised(centroids: &Centroids, fit: &Similarity) -> Values {
    centroids.map(|p| p.map(|p| fit.apply(p)))
}

fn squared(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::prior;

    fn hand(mirrored: bool, angle: f64, scale: f64) -> Centroids {
        let template = prior::model().position;
        let (sin, cos) = angle.sin_cos();
        std::array::from_fn(|b| {
            let [x, y] = template.mean(b);
            let (u, v) = (scale * (cos * x - sin * y) + 900.0, scale * (sin * x + cos * y) + 1200.0);
            Some(Point::new(if mirrored { 2047.0 - u } else { u }, v))
        })
    }

    #[test]
    fn the_frame_is_found_with_eleven_wrong_labels() {
        let template = prior::model().position;
        for (mirrored, angle) in [(false, 0.3), (true, -0.6)] {
            let mut centroids = hand(mirrored, angle, 0.8);
            centroids[..11].rotate_left(3);
            let fit = Similarity::robust(&centroids, &template).unwrap();
            assert_eq!(fit.mirrored, mirrored);
            assert!((fit.scale() - 1.25).abs() < 0.02, "{fit:?}");
            let capitate = fit.apply(centroids[21].unwrap());
            assert!(squared(capitate, template.mean(21)) < 15.0f64.powi(2));
            let turn = fit.orientation(0.0);
            let expected = (-angle).to_degrees();
            assert!((turn - expected).abs() < 2.0, "{turn} {expected}");
        }
    }

    #[test]
    fn centroids_without_labels_are_matched_with_the_template() {
        let template = prior::model().position;
        for mirrored in [false, true] {
            let mut centroids = hand(mirrored, 0.2, 0.5);
            let truth = centroids;
            centroids.reverse();
            let best = Similarity::unlabelled(&centroids, &template)
                .into_iter()
                .map(|f| (f.misfit(&truth, &template), f))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap();
            assert_eq!(best.1.mirrored, mirrored);
            assert!(best.0 < 1.0, "{best:?}");
        }
    }

    #[test]
    fn degenerate_hands_have_no_frame_or_a_finite_one() {
        let template = prior::model().position;
        assert_eq!(Similarity::robust(&[None; COUNT], &template), None);
        let same = [Some(Point::new(5.0, 5.0)); COUNT];
        assert_eq!(Similarity::robust(&same, &template), None);
        assert!(Similarity::unlabelled(&same, &template).is_empty());
        assert!(Similarity::unlabelled(&[None; COUNT], &template).is_empty());
    }
}
