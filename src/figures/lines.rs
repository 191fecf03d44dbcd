use super::Picture;
use super::axis::{Axis, bounds};
use super::histogram::Marker;
use super::layout::{LegendKey, Plot, draw_no_values};
use super::style::{Ink, Rgb};

/// Smallest distance in px of two points that are both drawn: closer ones cannot be distinguished.
const MIN_STEP: f64 = 0.25;

/// Lines of quantities against a common quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// Title of the chart.
    pub title: String,
    /// Quantity along x, with unit.
    pub x_label: String,
    /// Quantity along y, with unit.
    pub y_label: String,
    /// The lines.
    pub series: Vec<LineSeries>,
    /// Vertical dashed lines at values of x.
    pub markers: Vec<Marker>,
}

/// One line. A point that is not finite interrupts it.
#[derive(Clone, Debug, PartialEq)]
pub struct LineSeries {
    /// Name in the legend; empty for none.
    pub name: String,
    /// Colour.
    pub colour: Rgb,
    /// Points (x, y) in order of x.
    pub points: Vec<(f64, f64)>,
}

impl Lines {
    pub(super) fn keys(&self) -> Vec<(String, LegendKey)> {
        let series = self.series.iter().map(|s| (s.name.clone(), LegendKey::Swatch(s.colour)));
        let markers = self.markers.iter().map(|m| (m.name.clone(), LegendKey::Dash));
        series.chain(markers).filter(|(name, _)| !name.is_empty()).collect()
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        let points = || self.series.iter().flat_map(|s| &s.points).filter(|p| p.0.is_finite() && p.1.is_finite());
        let Some((low, high)) = bounds(points().map(|p| p.0)) else { return draw_no_values(picture, frame) };
        let room = if high > low { 0.0 } else { 0.5 };
        let x = Axis::between(&self.x_label, low - room, high + room);
        let x = if points().all(|p| p.0.fract() == 0.0) { x.whole() } else { x };
        let y = Axis::linear(&self.y_label, points().map(|p| p.1));
        let plot = Plot::axes(picture, frame, &x, &y);
        for marker in self.markers.iter().filter(|m| (low..=high).contains(&m.value)) {
            let at = plot.x_at(marker.value);
            picture.dashed((at, plot.top), (at, plot.bottom), Ink::Muted, 1.0);
        }
        for series in &self.series {
            let ink = Ink::Colour(series.colour);
            for part in series.points.split(|p| !(p.0.is_finite() && p.1.is_finite())) {
                let placed: Vec<(f64, f64)> = part.iter().map(|p| (plot.x_at(p.0), plot.y_at(p.1))).collect();
                match thinned(&placed) {
                    line if line.len() > 1 => picture.line(line, ink, 1.8),
                    line => line.iter().for_each(|at| picture.disc(*at, 3.0, ink, 1.0)),
                }
            }
        }
    }
}

/// Drops points too close to the previous one; the last point is kept.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for (i, point) in points.iter().enumerate() {
        let far = |last: &(f64, f64)| (point.0 - last.0).abs().max((point.1 - last.1).abs()) >= MIN_STEP;
        if kept.last().is_none_or(far) || i + 1 == points.len() {
            kept.push(*point);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::PictureShape;
    use super::*;

    #[test]
    fn epochs_have_ticks_at_whole_numbers() {
        for epochs in [2, 3, 5, 12] {
            let points = (1..=epochs).map(|i| (f64::from(i), f64::from(i) / 100.0)).collect();
            let series = vec![LineSeries { name: String::new(), colour: [0; 3], points }];
            let (x_label, y_label) = ("epoch".into(), "Dice".into());
            let lines = Lines { title: String::new(), x_label, y_label, series, markers: vec![] };
            let mut picture = Picture::new(440.0, 210.0, "");
            lines.draw(&mut picture, [16.0, 0.0, 424.0, 210.0]);
            let texts: Vec<&str> = picture.texts().map(|text| text.text.as_str()).collect();
            assert!(texts.contains(&"2") && !texts.contains(&"1.5") && !texts.contains(&"1.25"), "{texts:?}");
        }
    }

    #[test]
    fn gaps_are_kept_and_many_points_are_thinned() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), f64::from(i))).collect();
        points[50_000].1 = f64::NAN;
        let series = vec![LineSeries { name: "rate".into(), colour: [0; 3], points }];
        let (x_label, y_label) = ("step".into(), "rate".into());
        let lines = Lines { title: String::new(), x_label, y_label, series, markers: vec![] };
        let mut picture = Picture::new(880.0, 210.0, "");
        lines.draw(&mut picture, [16.0, 0.0, 864.0, 210.0]);
        let is_line = |s: &&PictureShape| matches!(s, PictureShape::Line { ink: Ink::Colour(_), .. });
        let drawn: Vec<&PictureShape> = picture.shapes.iter().filter(is_line).collect();
        assert_eq!(drawn.len(), 2);
        for line in drawn {
            let PictureShape::Line { points, .. } = line else { unreachable!() };
            assert!((500..4000).contains(&points.len()), "{}", points.len());
        }
    }
}
