use super::Point;

/// Moments of a set of pixels up to order two, exact in integers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// Number of pixels.
    pub area: u64,
    /// Sum of x.
    pub sum_x: u64,
    /// Sum of y.
    pub sum_y: u64,
    /// Sum of x².
    pub sum_xx: u64,
    /// Sum of x·y.
    pub sum_xy: u64,
    /// Sum of y².
    pub sum_yy: u64,
}

impl Moments {
    /// Mean position; `None` for no pixels.
    pub fn centroid(&self) -> Option<Point> {
        let n = self.area as f64;
        (self.area > 0).then(|| Point::new(self.sum_x as f64 / n, self.sum_y as f64 / n))
    }

    /// Central second moments per pixel, in px²: variance of x, covariance, variance of y. `None` for no pixels.
    pub fn covariance(&self) -> Option<[f64; 3]> {
        let c = self.centroid()?;
        let n = self.area as f64;
        Some([
            (self.sum_xx as f64 / n - c.x * c.x).max(0.0),
            self.sum_xy as f64 / n - c.x * c.y,
            (self.sum_yy as f64 / n - c.y * c.y).max(0.0),
        ])
    }

    /// Standard deviations along the long and the short principal axis, in px. `None` for no pixels.
    pub fn axes(&self) -> Option<(f64, f64)> {
        let [xx, xy, yy] = self.covariance()?;
        let mean = (xx + yy) / 2.0;
        let spread = ((xx - yy) / 2.0).hypot(xy);
        Some(((mean + spread).max(0.0).sqrt(), (mean - spread).max(0.0).sqrt()))
    }

    /// Angle of the long axis from vertical in degrees, in (-90, 90]; positive if its upper end leans to the right.
    /// `None` for no pixels or for a shape without a long axis.
    pub fn orientation_deg(&self) -> Option<f64> {
        let [xx, xy, yy] = self.covariance()?;
        if xx == yy && xy == 0.0 {
            return None;
        }
        // Angle of the long axis from +x with y down; if the upper end leans to the right, xy < 0.
        let from_x = 0.5 * (2.0 * xy).atan2(xx - yy).to_degrees();
        let lean = from_x + 90.0;
        Some(if lean > 90.0 { lean - 180.0 } else { lean })
    }

    /// Eccentricity of the ellipse with the same second moments: 0 for a circle, near 1 for a line. `None` for fewer
    /// than two pixels.
    pub fn eccentricity(&self) -> Option<f64> {
        let (major, minor) = self.axes()?;
        (major > 0.0).then(|| (1.0 - (minor / major).powi(2)).max(0.0).sqrt())
    }
}

impl std::ops::Add for Moments {
    type Output = Moments;

    fn add(self, o: Moments) -> Moments {
        Moments {
            area: self.area + o.area,
            sum_x: self.sum_x + o.sum_x,
            sum_y: self.sum_y + o.sum_y,
            sum_xx: self.sum_xx + o.sum_xx,
            sum_xy: self.sum_xy + o.sum_xy,
            sum_yy: self.sum_yy + o.sum_yy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: impl Iterator<Item = (u64, u64)>) -> Moments {
        points.fold(Moments::default(), |m, (x, y)| {
            m + Moments { area: 1, sum_x: x, sum_y: y, sum_xx: x * x, sum_xy: x * y, sum_yy: y * y }
        })
    }

    #[test]
    fn lean_is_measured_from_vertical() {
        let upright = line((0..50).map(|i| (7, i)));
        assert!(upright.orientation_deg().unwrap().abs() < 1e-9);
        // Upwards (y decreases) x increases: it leans to the right, so the angle is positive.
        let right = line((0..50).map(|i| (100 + i, 100 - i)));
        assert!((right.orientation_deg().unwrap() - 45.0).abs() < 1e-9);
        let left = line((0..50).map(|i| (100 - i, 100 - i)));
        assert!((left.orientation_deg().unwrap() + 45.0).abs() < 1e-9);
        let flat = line((0..50).map(|i| (i, 7)));
        assert!((flat.orientation_deg().unwrap().abs() - 90.0).abs() < 1e-9);
        assert!((flat.eccentricity().unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(Moments::default().centroid(), None);
    }
}
