//! Figures: data in, picture out.
//!
//! A [`Figure`] is data and words: a title and one or more charts. [`Figure::picture`] lays it out into a
//! [`Picture`], a list of shapes in which every text's extent is known, so that a test can tell whether two
//! texts overlap. One painting function, generic over the plotters backend, turns a picture into SVG or PNG.
//! All sizes and colours are in [`style`].

mod axis;
mod font;
mod heatmap;
mod histogram;
mod layout;
mod lines;
mod paint;
mod picture;
mod rows;
mod scatter;
pub mod style;

pub use axis::Axis;
pub use font::text_width;
pub use heatmap::{Heatmap, HeatmapCell};
pub use histogram::{Histogram, HistogramSeries, Marker, edges_for};
pub use layout::{Chart, Figure};
pub use lines::{LineSeries, Lines};
pub use paint::PaintError;
pub use picture::{Anchor, Picture, PictureShape, TextShape};
pub use rows::{CategoryRow, Mark, Rows};
pub use scatter::{FittedLine, Scatter, ScatterSeries};
