//! Layers with PyTorch's names, defaults and initial distributions. They register their tensors by [`super::Path`].

mod activation;
mod conv;
mod conv_norm;
mod conv_norm_act;
mod conv_norm_relu;
mod dot_product_attention;
mod drop;
mod inverted_residual;
mod linear;
mod norm;
mod operations;
mod resize;
mod scheme;
mod separable;
mod spatial_channel_gate;
mod squeeze_excite;
mod swin_block;
mod windows;

pub use activation::{Activation, gated, gelu};
pub use conv::{Conv2d, ConvOptions, ConvTranspose2d};
pub use conv_norm::{conv_norm, folded};
pub use conv_norm_act::{ConvNormAct, ConvShape, MobileStyle};
pub use conv_norm_relu::ConvNormRelu;
pub use dot_product_attention::dot_product_attention;
pub use drop::{channel_dropout, drop_path, dropout};
pub use inverted_residual::{BlockKind, InvertedResidual, InvertedResidualShape, Naming};
pub use linear::Linear;
pub use norm::{GroupNorm, LayerNorm, Norm2d, common_divisor, cumulative, instance_norm, recomputing};
pub use operations::{Tally, note_features, tally};
pub use resize::{Corners, bicubic_by, bilinear, bilinear_by, bilinear_to, nearest_by};
pub use scheme::Scheme;
pub use separable::SeparableConvNormRelu;
pub use spatial_channel_gate::SpatialChannelGate;
pub use squeeze_excite::SqueezeExcite;
pub use swin_block::{PatchMerging, SwinBlock, SwinBlockOptions, SwinStyle};
pub use windows::{Masks, Windows};
