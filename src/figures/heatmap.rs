use super::font::{fitted, text_width};
use super::layout::draw_no_values;
use super::style::{GAP, Ink, LABEL, Weight, okabe_ito};
use super::{Anchor, Picture};

const ROW: f64 = 24.0;
const HEAD: f64 = 20.0;
/// Longest name of a column that is written from bottom to top, px.
const MOST_HEAD: f64 = 120.0;

/// A table whose cells are coloured by their deviation from an expected value: orange above it, blue below it.
#[derive(Clone, Debug, PartialEq)]
pub struct Heatmap {
    /// Title of the chart.
    pub title: String,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the rows with their cells, one per column.
    pub rows: Vec<(String, Vec<HeatmapCell>)>,
    /// Deviation from which the colour has its full strength.
    pub full: f64,
}

/// A cell of a heatmap.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapCell {
    /// Text in the cell.
    pub text: String,
    /// Deviation from the expected value, in the unit of [`Heatmap::full`].
    pub tint: f64,
}

/// Where the columns of a heatmap are, in a chart of a certain width.
struct Columns {
    label_width: f64,
    width: f64,
    /// Whether the names of the columns do not fit side by side, and are written from bottom to top.
    is_upright: bool,
    head: f64,
}

impl Heatmap {
    fn columns_in(&self, width: f64) -> Columns {
        let widest = |texts: &mut dyn Iterator<Item = &str>| {
            texts.map(|text| text_width(text, LABEL, Weight::Regular)).fold(0.0, f64::max)
        };
        let label_width = widest(&mut self.rows.iter().map(|row| row.0.as_str())).min(0.35 * width);
        let column = (width - label_width - GAP) / self.columns.len().max(1) as f64;
        let name = widest(&mut self.columns.iter().map(String::as_str));
        let is_upright = name > column - GAP;
        let head = if is_upright { name.min(MOST_HEAD) + GAP } else { HEAD };
        Columns { label_width, width: column, is_upright, head }
    }

    pub(super) fn height(&self, width: f64) -> f64 {
        self.columns_in(width).head + ROW * self.rows.len().max(1) as f64
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        if self.rows.is_empty() || self.columns.is_empty() {
            return draw_no_values(picture, frame);
        }
        let [l, t, r, _] = frame;
        let Columns { label_width, width, is_upright, head } = self.columns_in(r - l);
        let left = l + label_width + GAP;
        let centre = |column: usize| left + (column as f64 + 0.5) * width;
        // Of columns narrower than a line of text, only every second or third has a name.
        let step = if is_upright { (1.1 * LABEL / width).ceil().max(1.0) as usize } else { 1 };
        for (i, name) in self.columns.iter().enumerate().step_by(step) {
            if is_upright {
                let middle = (centre(i) + 0.36 * LABEL, t + (head - GAP) / 2.0);
                picture.upright(name, middle, LABEL, Ink::Muted, head - GAP);
            } else {
                picture.text(name, (centre(i), t + head - 6.0), LABEL, Ink::Muted, Anchor::Middle);
            }
        }
        for (j, (name, cells)) in self.rows.iter().enumerate() {
            let top = t + head + j as f64 * ROW;
            let baseline = top + ROW / 2.0 + 0.36 * LABEL;
            let name = fitted(name, LABEL, Weight::Regular, label_width);
            picture.text(&name, (l + label_width, baseline), LABEL, Ink::Text, Anchor::End);
            for (i, cell) in cells.iter().take(self.columns.len()).enumerate() {
                let from = left + i as f64 * width;
                let bounds = [from + 1.0, top + 1.0, from + width - 1.0, top + ROW - 1.0];
                let strength = (cell.tint.abs() / self.full).min(1.0);
                let colour = if cell.tint > 0.0 { okabe_ito::ORANGE } else { okabe_ito::SKY };
                picture.rect(bounds, Ink::Grid, 0.5);
                if strength > 0.0 {
                    picture.rect(bounds, Ink::Colour(colour), 0.7 * strength);
                }
                picture.text(
                    shortened(&cell.text, width - 2.0),
                    (centre(i), baseline),
                    LABEL,
                    Ink::Text,
                    Anchor::Middle,
                );
            }
        }
    }
}

/// The text of a cell, or as much of it as fits: without the number in parentheses, without the unit, or nothing. A number is
/// never cut.
fn shortened(text: &str, width: f64) -> &str {
    let before = |mark| text.split(mark).next().unwrap_or_default();
    let fits = |text: &&str| text_width(text, LABEL, Weight::Regular) <= width;
    [text, before(" ("), before(" ")].into_iter().find(fits).unwrap_or_default()
}
