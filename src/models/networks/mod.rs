//! Whole networks that are not an encoder of the list with a decoder.

mod nnunet;
mod swin_unetr;
pub mod torchvision;

pub use nnunet::{NnUnet, NnUnetOptions};
pub use swin_unetr::SwinUnetr;
