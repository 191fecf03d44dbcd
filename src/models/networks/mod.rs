//! Whole networks with their own encoders.

mod nnunet;
mod swin_unetr;
pub mod torchvision;

pub use nnunet::{NnUnet, NnUnetOptions};
pub use swin_unetr::SwinUnetr;
