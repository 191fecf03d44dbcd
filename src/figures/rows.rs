use super::axis::{Axis, AxisDirection};
use super::font::{fitted, text_width};
use super::layout::{LegendKey, Plot, draw_no_values};
use super::style::{GAP, Ink, LABEL, LEADING, Rgb, STACKED, Weight};
use super::{Anchor, Picture};
use crate::stats::SampleSummary;

/// Height per mark, px.
const LANE: f64 = 15.0;
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
}

impl Mark {
    fn key(&self) -> Option<(String, LegendKey)> {
        let (Mark::Bar { name, colour, .. } | Mark::Dot { name, colour, .. } | Mark::Box { name, colour, .. }) = self;
        (!name.is_empty()).then(|| (name.clone(), LegendKey::Swatch(*colour)))
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
            for (i, mark) in row.marks.iter().enumerate() {
                draw_mark(picture, &plot, mark, marks + ROW_GAP / 2.0 + (i as f64 + 0.5) * LANE);
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
    row.marks.len().max(1) as f64 * LANE + ROW_GAP + texts
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
    }
}
