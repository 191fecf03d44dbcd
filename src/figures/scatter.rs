use super::Picture;
use super::axis::Axis;
use super::layout::{LegendKey, Plot, draw_no_values};
use super::style::{Ink, Rgb};
use crate::stats::Interval;

/// Points of two quantities against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Scatter {
    /// Title of the chart.
    pub title: String,
    /// Quantity along x, with unit.
    pub x_label: String,
    /// Quantity along y, with unit.
    pub y_label: String,
    /// Groups of points.
    pub series: Vec<ScatterSeries>,
    /// Fitted line.
    pub fit: Option<FittedLine>,
}

/// Points of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct ScatterSeries {
    /// Name in the legend.
    pub name: String,
    /// Colour.
    pub colour: Rgb,
    /// Points (x, y).
    pub points: Vec<(f64, f64)>,
}

/// A fitted line with its 95 % confidence band.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedLine {
    /// Name in the legend.
    pub name: String,
    /// Points of the line, in order of x.
    pub line: Vec<FittedPoint>,
}

/// A point of a fitted line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FittedPoint {
    /// Position along x.
    pub x: f64,
    /// The fitted mean.
    pub mean: f64,
    /// 95 % confidence interval of the mean.
    pub ci: Interval,
}

impl Scatter {
    pub(super) fn keys(&self) -> Vec<(String, LegendKey)> {
        let series = self.series.iter().map(|s| (s.name.clone(), LegendKey::Swatch(s.colour)));
        series.chain(self.fit.iter().map(|f| (f.name.clone(), LegendKey::Swatch(Ink::Text.rgb())))).collect()
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        let points = || self.series.iter().flat_map(|s| &s.points);
        if points().next().is_none() {
            return draw_no_values(picture, frame);
        }
        let x = Axis::linear(&self.x_label, points().map(|p| p.0));
        let y = Axis::linear(&self.y_label, points().map(|p| p.1));
        let plot = Plot::axes(picture, frame, &x, &y);
        let at = |x: f64, y: f64| (plot.x_at(x), plot.y_at(y));
        for series in &self.series {
            for (px, py) in &series.points {
                picture.disc(at(*px, *py), 2.5, Ink::Colour(series.colour), 0.45);
            }
        }
        if let Some(fit) = &self.fit {
            let upper = fit.line.iter().map(|p| at(p.x, p.ci.high));
            let lower = fit.line.iter().rev().map(|p| at(p.x, p.ci.low));
            picture.area(upper.chain(lower).collect(), Ink::Text, 0.18);
            for pair in fit.line.windows(2) {
                picture.line(vec![at(pair[0].x, pair[0].mean), at(pair[1].x, pair[1].mean)], Ink::Text, 1.5);
            }
        }
    }
}
