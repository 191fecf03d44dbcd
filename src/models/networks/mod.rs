//! Whole networks that are not one of the encoders with a decoder.

mod nnunet;

pub use nnunet::{NnUnet, NnUnetOptions};
