//! What is measured on a hand: pure functions, one a file, from pixels or masks to numbers.

mod angle;
mod brightness;
mod crossings;
mod hash;
mod side;
mod strips;

pub use angle::{angle_deg, is_rotated};
pub use brightness::{Brightness, brightness};
pub use crossings::crossings;
pub use hash::difference_hash;
pub use side::side_by_anatomy;
pub use strips::{Strips, strips};
