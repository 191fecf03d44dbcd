use super::Picture;
use super::axis::{Axis, bounds};
use super::layout::{LegendKey, Plot, draw_no_values};
use super::style::{Ink, Rgb};
use crate::stats;

/// Distributions of one quantity, each as shares of its own n, so that samples of different sizes can be compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Title of the chart.
    pub title: String,
    /// The quantity, with its unit.
    pub x_label: String,
    /// The share that is shown, such as `share of images (%)`.
    pub y_label: String,
    /// Bin edges, ascending; see [`edges_for`].
    pub edges: Vec<f64>,
    /// The distributions.
    pub series: Vec<HistogramSeries>,
    /// Dashed lines, such as thresholds.
    pub markers: Vec<Marker>,
}

/// One distribution.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSeries {
    /// Name in the legend.
    pub name: String,
    /// Colour.
    pub colour: Rgb,
    /// Values.
    pub values: Vec<f64>,
}

/// A dashed line at a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Marker {
    /// Name in the legend.
    pub name: String,
    /// Position on the x axis.
    pub value: f64,
}

/// Edges of about `bins` equal bins of round width that contain all finite values; empty if there are none.
pub fn edges_for(values: &[f64], bins: usize) -> Vec<f64> {
    let Some((low, high)) = bounds(values.iter().copied()) else { return Vec::new() };
    let span = if high > low { high - low } else { 1.0 };
    let rough = span / bins.max(1) as f64;
    let decade = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * decade).into_iter().find(|s| *s >= rough * 0.999_999);
    let step = step.unwrap_or(10.0 * decade);
    let (first, last) = ((low / step).floor() as i64, ((high / step).floor() as i64).saturating_add(1));
    (first..=last).map(|i| i as f64 * step).collect()
}

impl Histogram {
    pub(super) fn keys(&self) -> Vec<(String, LegendKey)> {
        let series = self.series.iter().map(|s| (s.name.clone(), LegendKey::Swatch(s.colour)));
        series.chain(self.markers.iter().map(|m| (m.name.clone(), LegendKey::Dash))).collect()
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        let shares: Vec<Vec<f64>> = self
            .series
            .iter()
            .map(|s| {
                let n = stats::finite(&s.values).len().max(1) as f64;
                stats::histogram(&s.values, &self.edges).into_iter().map(|c| 100.0 * c as f64 / n).collect()
            })
            .collect();
        if self.edges.len() < 2 || shares.iter().flatten().all(|s| *s == 0.0) {
            return draw_no_values(picture, frame);
        }
        let ends = self.edges.iter().copied().chain(self.markers.iter().map(|m| m.value));
        let (low, high) = bounds(ends).unwrap_or((0.0, 1.0));
        let room = 0.01 * (high - low);
        let x = Axis::between(&self.x_label, low - room, high + room);
        let y = Axis::from_zero(&self.y_label, shares.iter().flatten().copied());
        let plot = Plot::axes(picture, frame, &x, &y);
        for (series, shares) in self.series.iter().zip(&shares) {
            let ink = Ink::Colour(series.colour);
            let mut steps = vec![(plot.x_at(self.edges[0]), plot.bottom)];
            for (pair, share) in self.edges.windows(2).zip(shares) {
                let (l, r, top) = (plot.x_at(pair[0]), plot.x_at(pair[1]), plot.y_at(*share));
                if *share > 0.0 {
                    picture.rect([l, top, r, plot.bottom], ink, 0.25);
                }
                steps.extend([(l, top), (r, top)]);
            }
            steps.push((plot.x_at(self.edges[self.edges.len() - 1]), plot.bottom));
            steps.dedup();
            for pair in steps.windows(2) {
                picture.line(pair.to_vec(), ink, 1.5);
            }
        }
        for marker in &self.markers {
            let at = plot.x_at(marker.value);
            picture.dashed((at, plot.top), (at, plot.bottom), Ink::Text, 1.5);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_contain_every_value() {
        for values in [vec![150.0, 187.0], vec![3.0], vec![-46.2, 0.0, 61.0], vec![1e6, 1e6 + 3.0]] {
            let edges = edges_for(&values, 20);
            assert_eq!(stats::histogram(&values, &edges).iter().sum::<usize>(), values.len(), "{edges:?}");
            assert!(edges.len() < 60);
        }
        assert!(edges_for(&[f64::NAN], 20).is_empty());
    }
}
