//! Reading the data: images, annotations, metadata. Nothing is silently nulled or dropped: each repair and each failure
//! is a [`Problem`].
//!
//! [`Dataset`] is the one way in: nothing else knows a path, a folder's name or a key of a file. Where the data comes from
//! is a [`source`]; the one for folders of images is [`folder`].

pub mod annotation;
pub mod corrections;
mod data;
mod entry;
pub mod folder;
mod grey;
pub mod image;
mod jpeg;
pub mod metadata;
mod names;
pub mod phantom;
mod polarity;
mod problem;
pub mod source;
mod top_level;

pub use crate::names::image_id;
pub use corrections::Corrections;
pub use data::{Dataset, ReadAnnotation};
pub use entry::{ImageEntry, MaskSource, Side, Subset};
pub use grey::{GreyImage, Levels, Polarity};
pub use problem::{Problem, ProblemSeverity};
pub use source::DatasetError;
