use crate::geometry::Point;

/// Lean in degrees of the vector from the centroid of Ulna to the centroid of finger-16, measured from
/// vertical: 0 points up the image, positive leans to the right, range (-180, 180].
pub fn angle_deg(ulna: Point, finger_16: Point) -> f64 {
    (finger_16.x - ulna.x).atan2(ulna.y - finger_16.y).to_degrees()
}

/// Whether a lean of `angle_deg` counts as rotated: at or beyond the threshold on either side.
pub fn is_rotated(angle_deg: f64, threshold_deg: f64) -> bool {
    angle_deg.abs() >= threshold_deg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lean_has_sign_and_zero_is_up() {
        let ulna = Point::new(100.0, 500.0);
        assert_eq!(angle_deg(ulna, Point::new(100.0, 100.0)), 0.0);
        assert!((angle_deg(ulna, Point::new(500.0, 100.0)) - 45.0).abs() < 1e-12);
        assert!((angle_deg(ulna, Point::new(-300.0, 100.0)) + 45.0).abs() < 1e-12);
        assert!((angle_deg(ulna, Point::new(100.0, 900.0)) - 180.0).abs() < 1e-12);
        assert!(is_rotated(-33.0, 33.0) && is_rotated(33.0, 33.0) && !is_rotated(32.99, 33.0));
    }
}
