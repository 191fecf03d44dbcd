//! Whole networks, which are no encoder of the list with a decoder.

pub mod torchvision;
