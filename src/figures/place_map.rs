use super::font::text_width;
use super::layout::{LegendKey, draw_no_values};
use super::style::{Ink, LABEL, Rgb, Weight};
use super::{Anchor, Picture, TextShape};

/// Corners of a drawn ellipse.
const CORNERS: usize = 40;
/// Standard deviations of the outer ellipse.
const OUTER: f64 = 2.0;

/// Places in the plane with their spread: a small and a large ellipse of one and two standard deviations each. Both axes
/// have the same scale; y points down.
#[derive(Clone, Debug, PartialEq)]
pub struct PlaceMap {
    /// Title of the chart.
    pub title: String,
    /// The places; each is numbered in this order.
    pub places: Vec<MapPlace>,
}

/// A place and its spread.
#[derive(Clone, Debug, PartialEq)]
pub struct MapPlace {
    /// Name in the legend.
    pub name: String,
    /// Colour.
    pub colour: Rgb,
    /// Mean (x, y).
    pub mean: (f64, f64),
    /// Covariance: xx, xy, yy.
    pub covariance: [f64; 3],
}

impl MapPlace {
    /// Corners of the ellipse of `sds` standard deviations.
    fn ellipse(&self, sds: f64) -> Vec<(f64, f64)> {
        let [xx, xy, yy] = self.covariance;
        // The Cholesky factor maps the unit circle to the ellipse of one standard deviation.
        let a = xx.max(0.0).sqrt();
        let b = if a > 0.0 { xy / a } else { 0.0 };
        let c = (yy - b * b).max(0.0).sqrt();
        let corner = |i: usize| {
            let (s, k) = (i as f64 * std::f64::consts::TAU / CORNERS as f64).sin_cos();
            (self.mean.0 + sds * a * k, self.mean.1 + sds * (b * k + c * s))
        };
        (0..CORNERS).map(corner).collect()
    }
}

impl PlaceMap {
    pub(super) fn keys(&self) -> Vec<(String, LegendKey)> {
        let key =
            |(i, place): (usize, &MapPlace)| (format!("{} {}", i + 1, place.name), LegendKey::Swatch(place.colour));
        self.places.iter().enumerate().map(key).collect()
    }

    /// Left, top, right and bottom of all ellipses.
    fn bounds(&self) -> Option<[f64; 4]> {
        let corners: Vec<(f64, f64)> = self.places.iter().flat_map(|place| place.ellipse(OUTER)).collect();
        if corners.is_empty() || corners.iter().any(|(x, y)| !(x.is_finite() && y.is_finite())) {
            return None;
        }
        let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
        let extend = |[l, t, r, b]: [f64; 4], (x, y): &(f64, f64)| [l.min(*x), t.min(*y), r.max(*x), b.max(*y)];
        Some(corners.iter().fold([low, low, high, high], extend))
    }

    pub(super) fn height(&self, width: f64) -> f64 {
        let Some([left, top, right, bottom]) = self.bounds() else { return 60.0 };
        let shape = (bottom - top) / (right - left).max(f64::MIN_POSITIVE);
        (width * shape).clamp(60.0, width.min(720.0) * 1.1)
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        let Some([left, top, right, bottom]) = self.bounds() else { return draw_no_values(picture, frame) };
        let [l, t, r, b] = frame;
        let room = 8.0;
        let across = (right - left).max(f64::MIN_POSITIVE);
        let down = (bottom - top).max(f64::MIN_POSITIVE);
        let scale = ((r - l - 2.0 * room) / across).min((b - t - 2.0 * room) / down);
        let (middle_x, middle_y) = ((left + right) / 2.0, (top + bottom) / 2.0);
        let at = |(x, y): (f64, f64)| ((l + r) / 2.0 + scale * (x - middle_x), (t + b) / 2.0 + scale * (y - middle_y));
        for place in &self.places {
            for (sds, alpha) in [(OUTER, 0.18), (1.0, 0.4)] {
                let corners = place.ellipse(sds).into_iter().map(at).collect();
                picture.area(corners, Ink::Colour(place.colour), alpha);
            }
        }
        let mut taken: Vec<[f64; 4]> = Vec::new();
        for (i, place) in self.places.iter().enumerate() {
            let (x, y) = at(place.mean);
            let number = (i + 1).to_string();
            let half = text_width(&number, LABEL, Weight::Regular) / 2.0;
            let x = x.clamp(l + half, (r - half).max(l + half));
            let y = (y + 0.36 * LABEL).clamp(t + LABEL, b - 0.25 * LABEL);
            let shape = TextShape {
                text: number.clone(),
                x,
                y,
                size: LABEL,
                weight: Weight::Regular,
                ink: Ink::Text,
                anchor: Anchor::Middle,
                upright: false,
            };
            let a = shape.extent();
            // A number over another one could not be read; the legend has the colour.
            if taken.iter().all(|b| a[0] >= b[2] || b[0] >= a[2] || a[1] >= b[3] || b[1] >= a[3]) {
                picture.text(&number, (x, y), LABEL, Ink::Text, Anchor::Middle);
                taken.push(a);
            }
        }
    }
}
