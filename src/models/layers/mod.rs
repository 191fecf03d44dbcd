//! Layers with PyTorch's names, defaults and initial distributions, on the registry of [`super::Path`].

mod conv;
mod drop;
mod linear;
mod norm;
mod resize;
mod scheme;

pub use conv::{Conv2d, ConvOptions};
pub use drop::{channel_dropout, drop_path};
pub use linear::Linear;
pub use norm::{GroupNorm, Norm2d};
pub use resize::{bilinear, bilinear_by, nearest_by};
pub use scheme::Scheme;
