//! Colours, sizes and distances of all figures.

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// The colour of a shape. In a report the first four follow the light or dark theme of the page.
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
    /// The colour in the light theme.
    pub fn rgb(self) -> Rgb {
        match self {
            Ink::Text => [0x1B, 0x1F, 0x24],
            Ink::Muted => [0x57, 0x60, 0x6A],
            Ink::Grid => [0xE1, 0xE4, 0xE8],
            Ink::Paper => [0xFF, 0xFF, 0xFF],
            Ink::Colour(rgb) => rgb,
        }
    }

    /// The inks that follow the theme, with the CSS variables that a report's page defines for them.
    pub const THEMED: [(Ink, &'static str); 4] =
        [(Ink::Text, "--ink"), (Ink::Muted, "--muted"), (Ink::Grid, "--grid"), (Ink::Paper, "--paper")];
}

/// Weight of a line of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Regular.
    Regular,
    /// Bold.
    Bold,
}

/// The palette of Okabe and Ito: people with any kind of colour vision can distinguish its colours.
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
/// Other data: unknown sex, a single series.
pub const NEUTRAL: Rgb = [125, 133, 144];

/// Width of a figure, px.
pub const WIDTH: f64 = 880.0;
/// Width of a figure for narrow screens, px: that of the page on a screen of 390 px.
pub const NARROW_WIDTH: f64 = 358.0;
/// A chart below this width stacks its labels, px.
pub const STACKED: f64 = 400.0;
/// Space around a figure and between its charts, px.
pub const MARGIN: f64 = 16.0;
/// Font size of a figure's title, px.
pub const TITLE: f64 = 16.0;
/// Font size of a chart's title, px.
pub const HEADING: f64 = 13.0;
/// Font size of axis labels, ticks and the legend, px.
pub const LABEL: f64 = 12.0;
/// Distance of two lines of text, in font sizes.
pub const LEADING: f64 = 1.35;
/// Smallest gap between two texts on a line, px.
pub const GAP: f64 = 8.0;
