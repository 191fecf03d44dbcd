//! Colours, sizes and distances of every figure.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// What a shape is drawn in. The first four follow the page's light or dark theme in a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Titles, values, medians.
    Text,
    /// Axis labels, ticks, notes.
    Muted,
    /// Grid lines.
    Grid,
    /// Background.
    Paper,
    /// A colour of the data, the same in both themes.
    Colour(Rgb),
}

impl Ink {
    /// Colour on white paper.
    pub fn rgb(self) -> Rgb {
        match self {
            Ink::Text => [0x1B, 0x1F, 0x24],
            Ink::Muted => [0x57, 0x60, 0x6A],
            Ink::Grid => [0xE1, 0xE4, 0xE8],
            Ink::Paper => [0xFF, 0xFF, 0xFF],
            Ink::Colour(rgb) => rgb,
        }
    }

    /// Inks that follow the theme, with the CSS variable that a report's page gives them.
    pub const THEMED: [(Ink, &'static str); 4] =
        [(Ink::Text, "--ink"), (Ink::Muted, "--muted"), (Ink::Grid, "--grid"), (Ink::Paper, "--paper")];
}

/// Okabe's and Ito's palette, told apart by people with any colour vision.
pub mod okabe_ito {
    use super::Rgb;
    /// Orange.
    pub const ORANGE: Rgb = [230, 159, 0];
    /// Sky blue.
    pub const SKY: Rgb = [86, 180, 233];
    /// Bluish green.
    pub const GREEN: Rgb = [0, 158, 115];
    /// Yellow.
    pub const YELLOW: Rgb = [240, 228, 66];
    /// Blue.
    pub const BLUE: Rgb = [0, 114, 178];
    /// Vermilion.
    pub const VERMILION: Rgb = [213, 94, 0];
    /// Reddish purple.
    pub const PURPLE: Rgb = [204, 121, 167];
}

/// Training set.
pub const TRAIN: Rgb = okabe_ito::BLUE;
/// Test set.
pub const TEST: Rgb = okabe_ito::VERMILION;
/// Women.
pub const WOMEN: Rgb = okabe_ito::PURPLE;
/// Men.
pub const MEN: Rgb = okabe_ito::GREEN;
/// Neither: sex unknown, a single series.
pub const NEUTRAL: Rgb = [125, 133, 144];

/// Width of a figure, px.
pub const WIDTH: f64 = 880.0;
/// Space around a figure and between its charts.
pub const MARGIN: f64 = 16.0;
/// Type size of a figure's title.
pub const TITLE: f64 = 16.0;
/// Type size of a chart's title and the legend.
pub const HEADING: f64 = 13.0;
/// Type size of axis labels and ticks.
pub const LABEL: f64 = 12.0;
/// Distance of two lines of text in type sizes.
pub const LEADING: f64 = 1.35;
/// Least gap between two texts on a line.
pub const GAP: f64 = 8.0;
