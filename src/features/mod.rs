//! The measures of a hand: pure functions from pixels or masks to numbers, one per file.

mod angle;
mod bytes;
mod crossings;
mod hash;
mod levels;
mod outline;
mod side;
mod strips;

pub use angle::{angle_deg, is_rotated};
pub use crossings::{Crossings, crossings};
pub use levels::{LevelStatistics, levels};
pub use outline::{MaskOutline, OutlineFit, UprightLevels};
pub use side::side_by_anatomy;
pub use strips::Strips;
