use super::font::{fitted, text_width};
use super::layout::draw_no_values;
use super::style::{GAP, Ink, LABEL, Weight, okabe_ito};
use super::{Anchor, Picture};

const ROW: f64 = 24.0;
const HEAD: f64 = 20.0;

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

impl Heatmap {
    pub(super) fn height(&self) -> f64 {
        HEAD + ROW * self.rows.len().max(1) as f64
    }

    pub(super) fn draw(&self, picture: &mut Picture, frame: [f64; 4]) {
        if self.rows.is_empty() || self.columns.is_empty() {
            return draw_no_values(picture, frame);
        }
        let [l, t, r, _] = frame;
        let widest = self.rows.iter().map(|row| text_width(&row.0, LABEL, Weight::Regular)).fold(0.0, f64::max);
        let label_width = widest.min(0.35 * (r - l));
        let left = l + label_width + GAP;
        let width = (r - left) / self.columns.len() as f64;
        let centre = |column: usize| left + (column as f64 + 0.5) * width;
        for (i, name) in self.columns.iter().enumerate() {
            let name = fitted(name, LABEL, Weight::Regular, width - GAP);
            picture.text(&name, (centre(i), t + HEAD - 6.0), LABEL, Ink::Muted, Anchor::Middle);
        }
        for (j, (name, cells)) in self.rows.iter().enumerate() {
            let top = t + HEAD + j as f64 * ROW;
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
                let text = fitted(&cell.text, LABEL, Weight::Regular, width - GAP);
                picture.text(&text, (centre(i), baseline), LABEL, Ink::Text, Anchor::Middle);
            }
        }
    }
}
