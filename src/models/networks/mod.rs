//! Whole networks that are not an encoder of the list with a decoder.

mod swin_unetr;
pub mod torchvision;

pub use swin_unetr::SwinUnetr;
