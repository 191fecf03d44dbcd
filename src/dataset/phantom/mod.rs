//! Synthetic hands: a data set drawn from measured anatomy, with its truth and, on request, planted faults.

mod anatomy;
mod attenuation;
mod draw;
mod hand;
mod objects;
mod outline;
mod pose;
mod raster;
mod render;
mod soft_tissue;
mod texture;

pub use hand::{HandGeometry, HandSpec, geometry, lean_deg};
pub use objects::Object;
pub use render::{Exposure, render};
