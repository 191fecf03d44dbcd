use crate::geometry::Point;

/// The angle of a hand in degrees: the lean ([`Point::lean_to`]) from the centroid of Ulna to the centroid of
/// finger-16.
pub fn angle_deg(ulna: Point, finger_16: Point) -> f64 {
    ulna.lean_to(finger_16)
}

/// Whether a hand with this angle counts as rotated: its absolute value is the threshold or more.
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
