//! Points, boxes, affine maps with a typed direction, and moments. In image coordinates x points right and y points
//! down, and pixel centres are at whole numbers.

mod affine;
mod moments;
mod projective;
mod size;
mod sweep;

pub use affine::{Affine, CropSpace, Image, ModelSpace};
pub use moments::Moments;
pub use projective::Projective;
pub use size::{Size, SizeError};
pub(crate) use sweep::SweepTable;

use serde::{Deserialize, Serialize};

/// A point in pixels, x right, y down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Column.
    pub x: f64,
    /// Row.
    pub y: f64,
}

impl Point {
    /// A point from its column and row.
    pub const fn new(x: f64, y: f64) -> Self {
        Point { x, y }
    }

    /// Euclidean distance in pixels.
    pub fn distance(self, other: Point) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// Angle in degrees of the vector to `other` from vertical: 0 points up in the image, positive angles lean to the
    /// right; range (-180, 180].
    pub fn lean_to(self, other: Point) -> f64 {
        (other.x - self.x).atan2(self.y - other.y).to_degrees()
    }
}

/// An axis-parallel box of whole pixels; all four bounds are inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PixelBox {
    /// First column.
    pub x_min: u32,
    /// First row.
    pub y_min: u32,
    /// Last column.
    pub x_max: u32,
    /// Last row.
    pub y_max: u32,
}

impl PixelBox {
    /// Number of columns.
    pub fn width(&self) -> u32 {
        self.x_max - self.x_min + 1
    }

    /// Number of rows.
    pub fn height(&self) -> u32 {
        self.y_max - self.y_min + 1
    }

    /// The smallest box that contains both.
    pub fn union(&self, other: &PixelBox) -> PixelBox {
        PixelBox {
            x_min: self.x_min.min(other.x_min),
            y_min: self.y_min.min(other.y_min),
            x_max: self.x_max.max(other.x_max),
            y_max: self.y_max.max(other.y_max),
        }
    }

    /// The box grown by `margin` pixels on each side and cut to an image of `width` x `height` pixels.
    pub fn grown(&self, margin: u32, width: u32, height: u32) -> PixelBox {
        PixelBox {
            x_min: self.x_min.saturating_sub(margin),
            y_min: self.y_min.saturating_sub(margin),
            x_max: (self.x_max + margin).min(width - 1),
            y_max: (self.y_max + margin).min(height - 1),
        }
    }
}
