use super::axis::{Axis, AxisDirection};
use super::font::{fitted, text_width};
use super::layout::{LegendKey, Plot, draw_no_values};
use super::style::{GAP, Ink, LABEL, LEADING, Rgb, STACKED, Weight};
use super::{Anchor, Picture};
use crate::stats::{self, SampleSummary};

/// Height per mark, px.
const LANE: f64 = 15.0;
/// Height of a violin, px.
const VIOLIN: f64 = 54.0;
/// Number of points that a violin draws; of more values, evenly spaced ones in rising order.
pub const VIOLIN_POINTS: usize = 400;
/// Space between rows, px.
const ROW_GAP: f64 = 5.0;

/// Categories, one per row, on a common axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Title of the chart.
    pub title: String,
    /// The common axis. Values outside it are drawn at its end.
    pub axis: Axis,
    /// Rows from top to bottom.
    pub rows: Vec<CategoryRow>,
    /// A dashed line through all rows: its name in the legend and its value.
    pub reference: Option<(String, f64)>,
}

/// One category.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryRow {
    /// Name, at the left.
    pub label: String,
    /// Marks, one below the other.
    pub marks: Vec<Mark>,
    /// Text at the right, such as numbers.
    pub note: String,
}

/// The mark of one value or sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Mark {
    /// A bar from the low end of the axis, with an optional interval.
    Bar {
        /// Name in the legend; empty for none.
        name: String,
        /// Colour.
        colour: Rgb,
        /// Value.
        value: f64,
        /// Interval.
        interval: Option<(f64, f64)>,
    },
    /// A point with an optional interval.
    Dot {
        /// Name in the legend; empty for none.
        name: String,
        /// Colour.
        colour: Rgb,
        /// Value.
        value: f64,
        /// Interval.
        interval: Option<(f64, f64)>,
    },
    /// A box from the lower to the upper quartile with the median, and whiskers to the 5 % and 95 % quantiles.
    Box {
        /// Name in the legend; empty for none.
        name: String,
        /// Colour.
        colour: Rgb,
        /// The quantiles.
        summary: SampleSummary,
    },
    /// A sample: its density above and below a line, a narrow box from the lower to the upper quartile with the median, and
    /// the values as points (at most [`VIOLIN_POINTS`]).
    Violin {
        /// Name in the legend; empty for none.
        name: String,
        /// Colour.
        colour: Rgb,
        /// The values; those that are not finite are ignored.
        values: Vec<f64>,
    },
}

impl Mark {
    fn key(&self) -> Option<(String, LegendKey)> {
        let (Mark::Bar { name, colour, .. }
        | Mark::Dot { name, colour, .. }
        | Mark::Box { name, colour, .. }
        | Mark::Violin { name, colour, .. }) = self;
        (!name.is_empty()).then(|| (name.clone(), LegendKey::Swatch(*colour)))
    }

    fn lane(&self) -> f64 {
        if matches!(self, Mark::Violin { .. }) { VIOLIN } else { LANE }
    }
}

impl Rows {
    pub(super) fn keys(&self) -> Vec<(String, LegendKey)> {
        let marks = self.rows.iter().flat_map(|r| &r.marks).filter_map(Mark::key);
        marks.chain(self.reference.iter().map(|(name, _)| (name.clone(), LegendKey::Dash))).collect()
    }

    pub(super) fn height(&self, width: f64) -> f64 {
        let rows: f64 = self.rows.iter().map(|row| row_height(row, width)).sum();
        rows.max(2.0 * LANE) + 2.0 * LEADING * LABEL + 12.0
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        if self.rows.is_empty() {
            return draw_no_values(picture, frame);
        }
        let [l, t, r, _] = frame;
        let widest = |texts: &mut dyn Iterator<Item = &str>, share: f64| {
            texts.map(|t| text_width(t, LABEL, Weight::Regular)).fold(0.0, f64::max).min(share * (r - l))
        };
        let is_stacked = r - l < STACKED;
        let label_width = widest(&mut self.rows.iter().map(|r| r.label.as_str()), 0.35);
        let note_width = widest(&mut self.rows.iter().map(|r| r.note.as_str()), 0.35);
        let height = |row: &CategoryRow| row_height(row, r - l);
        let bottom = t + self.rows.iter().map(height).sum::<f64>().max(2.0 * LANE) + 2.0;
        let (left, right) = match () {
            () if is_stacked => (l, r),
            () if note_width > 0.0 => (l + label_width + GAP, r - note_width - GAP),
            () => (l + label_width + GAP, r),
        };
        let stack = Axis::between("", 0.0, 1.0);
        let plot = Plot::between([left, t, right, bottom], &self.axis, &stack);
        for (value, _) in self.axis.ticks(plot.right - plot.left, AxisDirection::Horizontal) {
            let at = plot.x_at(value);
            picture.line(vec![(at, t), (at, bottom)], Ink::Grid, 1.0);
        }
        let mut y = t;
        for row in &self.rows {
            let height = height(row);
            let marks = if is_stacked {
                y + stacked_texts(picture, row, [l, y, r])
            } else {
                let baseline = y + height / 2.0 + 0.36 * LABEL;
                let label = fitted(&row.label, LABEL, Weight::Regular, label_width);
                picture.text(&label, (l + label_width, baseline), LABEL, Ink::Text, Anchor::End);
                let note = fitted(&row.note, LABEL, Weight::Regular, note_width);
                picture.text(&note, (r - note_width, baseline), LABEL, Ink::Muted, Anchor::Start);
                y
            };
            let mut lane = marks + ROW_GAP / 2.0;
            for mark in &row.marks {
                draw_mark(picture, &plot, mark, lane + mark.lane() / 2.0);
                lane += mark.lane();
            }
            y += height;
        }
        if let Some((_, value)) = &self.reference {
            let at = plot.x_at(*value);
            picture.dashed((at, t), (at, bottom), Ink::Text, 1.2);
        }
        plot.x_axis(picture, l);
    }
}

fn row_height(row: &CategoryRow, width: f64) -> f64 {
    let texts = if width < STACKED { text_lines(row, width) as f64 * LEADING * LABEL } else { 0.0 };
    row.marks.iter().map(Mark::lane).sum::<f64>().max(LANE) + ROW_GAP + texts
}

/// Number of lines above the marks of a row in a chart of this width: label and note on one line if both fit.
fn text_lines(row: &CategoryRow, width: f64) -> usize {
    let [label, note] = [&row.label, &row.note].map(|text| text_width(text, LABEL, Weight::Regular));
    if note == 0.0 || label + GAP + note <= width { 1 } else { 2 }
}

/// Writes label and note above the marks, from `top` down, and returns the height of the texts.
fn stacked_texts(picture: &mut Picture, row: &CategoryRow, [left, top, right]: [f64; 3]) -> f64 {
    let (width, line) = (right - left, LEADING * LABEL);
    let lines = text_lines(row, width);
    let baseline = |line_at: usize| top + line_at as f64 * line + LABEL;
    picture.text(
        &fitted(&row.label, LABEL, Weight::Regular, width),
        (left, baseline(0)),
        LABEL,
        Ink::Text,
        Anchor::Start,
    );
    let note = fitted(&row.note, LABEL, Weight::Regular, width);
    let (at, anchor) = if lines == 1 { (right, Anchor::End) } else { (left, Anchor::Start) };
    picture.text(&note, (at, baseline(lines - 1)), LABEL, Ink::Muted, anchor);
    lines as f64 * line
}

fn draw_mark(picture: &mut Picture, plot: &Plot<'_>, mark: &Mark, middle: f64) {
    let half = 0.36 * LANE;
    let whisker = |picture: &mut Picture, low: f64, high: f64, cap: f64, ink: Ink| {
        let (a, b) = (plot.x_at(low), plot.x_at(high));
        picture.line(vec![(a, middle), (b, middle)], ink, 1.3);
        for end in [a, b] {
            picture.line(vec![(end, middle - cap), (end, middle + cap)], ink, 1.3);
        }
    };
    match mark {
        Mark::Bar { colour, value, interval, .. } => {
            picture.rect([plot.left, middle - half, plot.x_at(*value), middle + half], Ink::Colour(*colour), 0.75);
            if let Some((low, high)) = interval {
                whisker(picture, *low, *high, 0.6 * half, Ink::Text);
            }
        }
        Mark::Dot { colour, value, interval, .. } => {
            if let Some((low, high)) = interval {
                whisker(picture, *low, *high, 0.6 * half, Ink::Colour(*colour));
            }
            picture.disc((plot.x_at(*value), middle), 4.0, Ink::Colour(*colour), 1.0);
        }
        Mark::Box { colour, summary, .. } => {
            whisker(picture, summary.q05, summary.q95, 0.6 * half, Ink::Muted);
            let bounds = [plot.x_at(summary.q25), middle - half, plot.x_at(summary.q75), middle + half];
            picture.rect(bounds, Ink::Paper, 1.0);
            picture.rect(bounds, Ink::Colour(*colour), 0.8);
            picture.outline(bounds, Ink::Muted, 1.0);
            let median = plot.x_at(summary.median);
            picture.line(vec![(median, middle - half), (median, middle + half)], Ink::Text, 2.0);
        }
        Mark::Violin { colour, values, .. } => draw_violin(picture, plot, values, middle, *colour),
    }
}

fn draw_violin(picture: &mut Picture, plot: &Plot<'_>, values: &[f64], middle: f64, colour: Rgb) {
    let mut sorted = stats::finite(values);
    sorted.sort_by(f64::total_cmp);
    let Some(found) = stats::summary(&sorted) else { return };
    let (ink, half) = (Ink::Colour(colour), 0.46 * VIOLIN);
    let density = density(&sorted);
    let most = density.iter().map(|d| d.1).fold(0.0, f64::max);
    if most > 0.0 {
        let edge = |sign: f64| density.iter().map(move |(at, d)| (plot.x_at(*at), middle + sign * half * d / most));
        picture.area(edge(-1.0).chain(edge(1.0).collect::<Vec<_>>().into_iter().rev()).collect(), ink, 0.3);
    }
    let shown = sorted.len().min(VIOLIN_POINTS);
    for i in 0..shown {
        let value = sorted[i * (sorted.len() - 1) / (shown - 1).max(1)];
        // Spread by multiples of the golden ratio, which never repeat.
        let spread = (i as f64 * 0.618_034).fract() - 0.5;
        picture.disc((plot.x_at(value), middle + 0.7 * half * spread), 1.6, ink, 0.55);
    }
    let bounds = [plot.x_at(found.q25), middle - 5.0, plot.x_at(found.q75), middle + 5.0];
    picture.rect(bounds, Ink::Paper, 0.6);
    picture.outline(bounds, Ink::Text, 1.0);
    let median = plot.x_at(found.median);
    picture.line(vec![(median, middle - 7.0), (median, middle + 7.0)], Ink::Text, 2.0);
}

/// Density of sorted values at 64 places from the smallest to the largest: a normal kernel with Silverman's width.
fn density(sorted: &[f64]) -> Vec<(f64, f64)> {
    const PLACES: usize = 64;
    let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
    let q = |share| stats::quantile_sorted(sorted, share);
    let sd = stats::summary(sorted).and_then(|s| s.sd).unwrap_or(0.0);
    let middle_half = (q(0.75) - q(0.25)) / 1.34;
    let spread = if middle_half > 0.0 { sd.min(middle_half) } else { sd };
    let width = 0.9 * spread * (sorted.len() as f64).powf(-0.2);
    if !(width > 0.0 && high > low) {
        return Vec::new();
    }
    let at = |i: usize| low + (high - low) * i as f64 / (PLACES - 1) as f64;
    let kernel = |x: f64| {
        // Farther than five widths a value adds nothing that can be seen.
        let near = sorted.partition_point(|v| *v < x - 5.0 * width)..sorted.partition_point(|v| *v <= x + 5.0 * width);
        sorted[near].iter().map(|v| (-((x - v) / width).powi(2) / 2.0).exp()).sum::<f64>()
    };
    (0..PLACES).map(|i| (at(i), kernel(at(i)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_violin_is_widest_where_most_values_are() {
        let mut values: Vec<f64> = (0..100).map(|i| 10.0 + f64::from(i % 10) / 10.0).collect();
        values.extend([0.0, 20.0]);
        values.sort_by(f64::total_cmp);
        let found = density(&values);
        let widest = found.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
        assert!((9.5..11.5).contains(&widest.0), "{widest:?}");
        assert!(density(&[3.0; 9]).is_empty() && density(&[1.0]).is_empty());
    }

    #[test]
    fn many_values_draw_a_bounded_number_of_points() {
        for values in [vec![], vec![1.0], vec![2.0; 50], (0..5000).map(f64::from).collect(), vec![f64::NAN, 1.0]] {
            let axis = Axis::linear("area (px)", values.iter().copied());
            let marks = vec![Mark::Violin { name: String::new(), colour: [0; 3], values: values.clone() }];
            let rows = vec![CategoryRow { label: "train".into(), marks, note: String::new() }];
            let rows = Rows { title: String::new(), axis, rows, reference: None };
            let mut picture = Picture::new(400.0, 200.0, "");
            rows.draw(&mut picture, [10.0, 10.0, 390.0, 10.0 + rows.height(380.0)]);
            let discs = picture.shapes.iter().filter(|s| matches!(s, super::super::PictureShape::Disc { .. })).count();
            assert_eq!(discs, stats::finite(&values).len().min(VIOLIN_POINTS));
        }
    }
}
