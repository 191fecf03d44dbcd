use super::axis::{Axis, AxisDirection};
use super::font::{fitted, text_width};
use super::style::{GAP, HEADING, Ink, LABEL, LEADING, MARGIN, NARROW_WIDTH, Rgb, TITLE, WIDTH, Weight};
use super::{Anchor, Heatmap, Histogram, Lines, Picture, PlaceMap, Rows, Scatter};

/// One chart of a figure.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Distributions on one axis.
    Histogram(Histogram),
    /// Lines of quantities against a common quantity.
    Lines(Lines),
    /// Points, with a fitted line.
    Scatter(Scatter),
    /// Categories, one per row: bars, intervals, boxes.
    Rows(Rows),
    /// A table of coloured cells.
    Heatmap(Heatmap),
    /// Places in the plane with their spread.
    PlaceMap(PlaceMap),
}

/// Charts with a common title and legend.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Name of its files, without the ending.
    pub name: String,
    /// Title: the content and n.
    pub title: String,
    /// Text below the title: how to read the figure.
    pub note: String,
    /// Number of charts per row.
    pub columns: usize,
    /// Charts, row by row.
    pub charts: Vec<Chart>,
}

/// The symbol of a legend entry.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum LegendKey {
    Swatch(Rgb),
    Dash,
}

impl Chart {
    fn title(&self) -> &str {
        match self {
            Chart::Histogram(c) => &c.title,
            Chart::Lines(c) => &c.title,
            Chart::Scatter(c) => &c.title,
            Chart::Rows(c) => &c.title,
            Chart::Heatmap(c) => &c.title,
            Chart::PlaceMap(c) => &c.title,
        }
    }

    fn keys(&self) -> Vec<(String, LegendKey)> {
        match self {
            Chart::Histogram(c) => c.keys(),
            Chart::Lines(c) => c.keys(),
            Chart::Scatter(c) => c.keys(),
            Chart::Rows(c) => c.keys(),
            Chart::Heatmap(_) => Vec::new(),
            Chart::PlaceMap(c) => c.keys(),
        }
    }

    /// Height below the chart's title, in a chart of this width.
    fn height(&self, width: f64) -> f64 {
        match self {
            Chart::Histogram(_) | Chart::Lines(_) => 210.0,
            Chart::Scatter(_) => 300.0,
            Chart::Rows(c) => c.height(width),
            Chart::Heatmap(c) => c.height(width),
            Chart::PlaceMap(c) => c.height(width),
        }
    }

    fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        match self {
            Chart::Histogram(c) => c.draw(picture, frame),
            Chart::Lines(c) => c.draw(picture, frame),
            Chart::Scatter(c) => c.draw(picture, frame),
            Chart::Rows(c) => c.draw(picture, frame),
            Chart::Heatmap(c) => c.draw(picture, frame),
            Chart::PlaceMap(c) => c.draw(picture, frame),
        }
    }
}

impl Figure {
    /// Lays out the figure.
    pub fn picture(&self) -> Picture {
        self.laid_out(WIDTH, self.columns.max(1))
    }

    /// Lays out the figure for narrow screens, with its charts one below the other.
    pub fn narrow_picture(&self) -> Picture {
        self.laid_out(NARROW_WIDTH, 1)
    }

    fn laid_out(&self, full_width: f64, columns: usize) -> Picture {
        // The height is set below, when everything is placed.
        let mut picture = Picture::new(full_width, f64::MAX, &format!("{}. {}", self.title, self.note));
        let inner = full_width - 2.0 * MARGIN;
        let mut y = picture.paragraph(&self.title, (MARGIN, MARGIN), TITLE, Weight::Bold, Ink::Text, inner);
        if !self.note.is_empty() {
            y = picture.paragraph(&self.note, (MARGIN, y + 2.0), LABEL, Weight::Regular, Ink::Muted, inner);
        }
        y = legend(&mut picture, &self.keys(), y + 4.0, inner);
        let width = (inner - MARGIN * (columns as f64 - 1.0)) / columns as f64;
        for row in self.charts.chunks(columns) {
            y += 10.0;
            let lefts: Vec<f64> = (0..row.len()).map(|i| MARGIN + i as f64 * (width + MARGIN)).collect();
            let mut top = y;
            for (chart, left) in row.iter().zip(&lefts) {
                top = top.max(picture.paragraph(chart.title(), (*left, y), HEADING, Weight::Bold, Ink::Text, width));
            }
            top += 4.0;
            let height = row.iter().map(|chart| chart.height(width)).fold(0.0, f64::max);
            for (chart, left) in row.iter().zip(&lefts) {
                chart.draw(&mut picture, [*left, top, left + width, top + height]);
            }
            y = top + height;
        }
        picture.height = (y + MARGIN).ceil();
        picture
    }

    fn keys(&self) -> Vec<(String, LegendKey)> {
        let mut keys: Vec<(String, LegendKey)> = Vec::new();
        for key in self.charts.iter().flat_map(Chart::keys) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }
}

fn legend(picture: &mut Picture, keys: &[(String, LegendKey)], top: f64, width: f64) -> f64 {
    const MARK: f64 = 18.0;
    let line = LEADING * HEADING;
    let (mut x, mut y) = (0.0, top);
    for (name, key) in keys {
        let name = fitted(name, LABEL, Weight::Regular, width - MARK - 6.0);
        let needed = MARK + 6.0 + text_width(&name, LABEL, Weight::Regular);
        if x > 0.0 && x + needed > width {
            x = 0.0;
            y += line;
        }
        let (left, middle) = (MARGIN + x, y + line / 2.0);
        match key {
            LegendKey::Swatch(rgb) => {
                picture.rect([left, middle - 5.0, left + MARK, middle + 5.0], Ink::Colour(*rgb), 1.0);
            }
            LegendKey::Dash => picture.dashed((left, middle), (left + MARK, middle), Ink::Text, 1.5),
        }
        picture.text(&name, (left + MARK + 6.0, middle + 0.36 * LABEL), LABEL, Ink::Text, Anchor::Start);
        x += needed + 2.0 * GAP;
    }
    if keys.is_empty() { top } else { y + line }
}

/// The area between the axes of a chart.
pub(super) struct Plot<'a> {
    pub left: f64,
    pub top: f64,
    pub right: f64,
    pub bottom: f64,
    x: &'a Axis,
    y: &'a Axis,
}

impl<'a> Plot<'a> {
    /// Draws grid, ticks and labels within the frame (left, top, right, bottom) and returns the remaining area.
    pub fn axes(picture: &mut Picture, [l, t, r, b]: [f64; 4], x: &'a Axis, y: &'a Axis) -> Plot<'a> {
        let line = LEADING * LABEL;
        let top = t + 0.6 * LABEL;
        let bottom = b - 2.0 * line - 7.0;
        let y_ticks = y.ticks(bottom - top, AxisDirection::Vertical);
        let widest = y_ticks.iter().map(|t| text_width(&t.1, LABEL, Weight::Regular)).fold(0.0, f64::max);
        let left = l + line + 4.0 + widest + 6.0;
        let plot = Plot { left, top, right: right_end(x, left, r), bottom, x, y };
        for (value, text) in &y_ticks {
            let at = plot.y_at(*value);
            picture.line(vec![(plot.left, at), (plot.right, at)], Ink::Grid, 1.0);
            picture.text(text, (plot.left - 6.0, at + 0.36 * LABEL), LABEL, Ink::Muted, Anchor::End);
        }
        picture.upright(&y.label, (l + 0.9 * LABEL, (top + bottom) / 2.0), LABEL, Ink::Muted, bottom - top);
        plot.x_axis(picture, l);
        plot
    }

    /// Draws the ticks and the label of the x axis below the plot. The texts may begin at `l`, left of the plot.
    pub fn x_axis(&self, picture: &mut Picture, l: f64) {
        let line = LEADING * LABEL;
        for (value, text) in self.x.ticks(self.right - self.left, AxisDirection::Horizontal) {
            let at = self.x_at(value);
            picture.line(vec![(at, self.bottom), (at, self.bottom + 4.0)], Ink::Muted, 1.0);
            let half = text_width(&text, LABEL, Weight::Regular) / 2.0;
            // The text of a tick at the very start would leave the chart.
            if at - half >= l {
                picture.text(&text, (at, self.bottom + line + 3.0), LABEL, Ink::Muted, Anchor::Middle);
            }
        }
        picture.line(vec![(self.left, self.bottom), (self.right, self.bottom)], Ink::Muted, 1.0);
        let room = 2.0 * (self.right - (self.left + self.right) / 2.0).min((self.left + self.right) / 2.0 - l);
        let label = fitted(&self.x.label, LABEL, Weight::Regular, room);
        let middle = (self.left + self.right) / 2.0;
        picture.text(&label, (middle, self.bottom + 2.0 * line + 3.0), LABEL, Ink::Muted, Anchor::Middle);
    }

    pub fn between(bounds: [f64; 4], x: &'a Axis, y: &'a Axis) -> Plot<'a> {
        let [left, top, right, bottom] = bounds;
        Plot { left, top, right: right_end(x, left, right), bottom, x, y }
    }

    pub fn x_at(&self, value: f64) -> f64 {
        self.left + self.x.place(value).clamp(-0.001, 1.001) * (self.right - self.left)
    }

    pub fn y_at(&self, value: f64) -> f64 {
        self.bottom - self.y.place(value).clamp(-0.001, 1.001) * (self.bottom - self.top)
    }
}

/// The right end of the plot: so far left that the last tick's text is within the chart.
fn right_end(x: &Axis, left: f64, limit: f64) -> f64 {
    let full = limit - 4.0;
    let excess = x.ticks(full - left, AxisDirection::Horizontal).last().map_or(0.0, |(value, text)| {
        left + x.place(*value) * (full - left) + text_width(text, LABEL, Weight::Regular) / 2.0 - limit
    });
    full - excess.max(0.0)
}

/// Writes "no values" in the middle of a chart without data.
pub(super) fn draw_no_values(picture: &mut Picture, [l, t, r, b]: [f64; 4]) {
    let middle = ((l + r) / 2.0, (t + b) / 2.0);
    picture.text("no values", middle, LABEL, Ink::Muted, Anchor::Middle);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{
        CategoryRow, FittedLine, FittedPoint, HeatmapCell, HistogramSeries, LineSeries, MapPlace, Mark, Marker,
        ScatterSeries, edges_for,
    };
    use super::*;
    use crate::stats::{Interval, summary};

    fn histogram(values: &[f64], name: &str) -> Chart {
        Chart::Histogram(Histogram {
            title: format!("{name} by {name}"),
            x_label: format!("{name} (cm)"),
            y_label: "share of patients (%)".into(),
            edges: edges_for(values, 20),
            series: vec![HistogramSeries { name: name.into(), colour: [0, 0, 0], values: values.to_vec() }],
            markers: vec![Marker { name: "threshold".into(), value: 33.0 }],
        })
    }

    fn scatter(values: &[f64], name: &str) -> Chart {
        let points: Vec<(f64, f64)> = values.iter().zip(values.iter().rev()).map(|(a, b)| (*a, *b)).collect();
        let point =
            |p: &(f64, f64)| FittedPoint { x: p.0, mean: p.1, ci: Interval { low: p.1 - 1.0, high: p.1 + 1.0 } };
        let line = points.iter().map(point).collect();
        Chart::Scatter(Scatter {
            title: name.into(),
            x_label: name.repeat(4),
            y_label: name.repeat(9),
            series: vec![ScatterSeries { name: name.into(), colour: [9, 9, 9], points }],
            fit: Some(FittedLine { name: "fit".into(), line }),
        })
    }

    fn lines(values: &[f64], name: &str) -> Chart {
        let points = values.iter().enumerate().map(|(i, v)| (i as f64, *v)).collect();
        Chart::Lines(Lines {
            title: name.into(),
            x_label: name.repeat(3),
            y_label: name.repeat(5),
            series: vec![LineSeries { name: name.into(), colour: [7; 3], points }],
            markers: vec![Marker { name: name.repeat(2), value: 1.5 }],
        })
    }

    fn rows(values: &[f64], name: &str, logarithmic: bool) -> Chart {
        let axis = if logarithmic { Axis::logarithmic } else { |l: &str, v: Vec<f64>| Axis::linear(l, v) };
        let row = |i: usize, v: f64| CategoryRow {
            label: format!("{name}{i}"),
            marks: vec![
                Mark::Bar { name: "bar".into(), colour: [1, 2, 3], value: v, interval: Some((v - 1.0, v + 1.0)) },
                Mark::Dot { name: name.into(), colour: [3, 2, 1], value: v, interval: None },
                Mark::Box { name: String::new(), colour: [9; 3], summary: summary(&[v, v + 1.0]).unwrap() },
                Mark::Violin { name: "sample".into(), colour: [5; 3], values: vec![v, v + 1.0, v + 3.0] },
            ],
            note: format!("{v:.3} [{:.3}, {:.3}], n = 288", v - 1.0, v + 1.0),
        };
        Chart::Rows(Rows {
            title: name.into(),
            axis: axis("ratio", values.to_vec()),
            rows: values.iter().enumerate().map(|(i, v)| row(i, *v)).collect(),
            reference: Some(("equal".into(), 1.0)),
        })
    }

    fn heatmap(values: &[f64], name: &str) -> Chart {
        let cells = |v: f64| vec![HeatmapCell { text: format!("{v:.1} %"), tint: v }; 6];
        Chart::Heatmap(Heatmap {
            title: name.into(),
            columns: (0..6).map(|i| format!("fold {i} {name}")).collect(),
            rows: values.iter().map(|v| (format!("{name}|{v}"), cells(*v))).collect(),
            full: 5.0,
        })
    }

    fn place_map(values: &[f64], name: &str) -> Chart {
        let place = |pair: &[f64]| MapPlace {
            name: name.into(),
            colour: [5; 3],
            mean: (pair[0], pair[1]),
            covariance: [pair[0].abs(), 0.5 * pair[0].abs().min(pair[1].abs()), pair[1].abs()],
        };
        Chart::PlaceMap(PlaceMap { title: name.into(), places: values.windows(2).map(place).collect() })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn texts_never_overlap_and_never_leave_the_paper(
            values in prop::collection::vec(-1e6f64..1e6, 0..12),
            scale in prop::sample::select(vec![1e-6, 1e-3, 1.0, 1e3]),
            name in "[A-Za-z가-힣 ]{0,60}",
            columns in 1usize..4,
        ) {
            let values: Vec<f64> = values.iter().map(|v| v * scale).collect();
            let ratios: Vec<f64> = values.iter().map(|v| v.abs()).collect();
            let charts = vec![
                histogram(&values, &name), scatter(&values, &name), rows(&values, &name, false),
                rows(&ratios, &name, true), heatmap(&values, &name), lines(&values, &name),
                place_map(&values, &name),
            ];
            let figure = Figure {
                name: "test".into(), title: name.repeat(3), note: name.repeat(5), columns, charts,
            };
            for picture in [figure.picture(), figure.narrow_picture()] {
                let collisions = picture.collisions();
                prop_assert!(collisions.is_empty(), "{collisions:?}");
            }
        }
    }
}
