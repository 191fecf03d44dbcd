//! Layers with PyTorch's names, defaults and initial distributions, on the registry of [`super::Path`].

mod activation;
mod attend;
mod attention;
mod conv;
mod conv_norm;
mod conv_norm_relu;
mod drop;
mod linear;
mod norm;
mod operations;
mod resize;
mod scheme;
mod separable;

pub use activation::{gated, gelu, silu};
pub use attend::attend;
pub use attention::SpatialChannelGate;
pub use conv::{Conv2d, ConvOptions, ConvTranspose2d};
pub use conv_norm::conv_norm;
pub use conv_norm_relu::ConvNormRelu;
pub use drop::{channel_dropout, drop_path, dropout};
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm, Norm2d};
pub use operations::{Tally, note_features, tally};
pub use resize::{bilinear, bilinear_by, bilinear_to, nearest_by};
pub use scheme::Scheme;
pub use separable::SeparableConvNormRelu;
