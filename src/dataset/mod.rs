//! Reading the data: layout, images, annotations, metadata. Nothing is silently nulled or dropped: each
//! repair and each failure is a [`Problem`].

pub mod annotation;
pub mod image;
pub mod layout;
pub mod metadata;
pub mod phantom;
mod problem;

pub use problem::{Problem, Severity};
