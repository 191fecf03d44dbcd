//! Figures for reports, as SVG and PNG.
//!
//! A [`Figure`] has a title and one or more charts with their data. [`Figure::picture`] lays it out as a [`Picture`]: a
//! list of shapes in which the extent of every text is known, so that a test can check that no texts overlap. One
//! painting function, generic over the plotters backend, draws a picture as SVG or PNG. All sizes and colours are in
//! [`style`].

mod axis;
mod font;
mod heatmap;
mod histogram;
mod layout;
mod lines;
mod paint;
mod picture;
mod place_map;
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
pub use place_map::{MapPlace, PlaceMap};
pub use rows::{CategoryRow, Mark, Rows, VIOLIN_POINTS};
pub use scatter::{FittedLine, FittedPoint, Scatter, ScatterSeries};
