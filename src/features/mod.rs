//! The measures of a hand: pure functions from pixels or masks to numbers, one per file.

mod angle;
mod bytes;
mod crossings;
mod exposure;
mod hash;
mod image_angle;
mod levels;
mod outline;
mod radii;
mod side;
mod strips;

pub use angle::{angle_deg, is_rotated};
pub use crossings::{Crossings, crossings};
pub use exposure::{ExposureMeasures, PERCENTILES, exposure};
pub use image_angle::image_angle_deg;
pub use levels::{LevelStatistics, levels};
pub use outline::{MaskOutline, OutlineFit, UprightLevels};
pub use radii::{RADII, Radii};
pub use side::{hand_direction, side_by_anatomy};
pub use strips::Strips;
