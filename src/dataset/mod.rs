//! Reading the data: images, annotations, metadata. Nothing is silently emptied or dropped: each repair and each
//! failure is a [`Problem`].
//!
//! [`Dataset`] is the only entry point: no other module depends on paths, folder names or keys of files. A [`source`]
//! reads one kind of data; [`folder`] is the source for folders of images.

pub mod annotation;
pub mod coco;
pub mod conversion;
pub mod corrections;
pub mod cvat;
mod data;
mod dicom;
mod entry;
pub mod folder;
mod grey;
pub mod image;
mod jpeg;
mod labelme;
pub mod mask_files;
pub mod metadata;
mod names;
pub mod phantom;
mod polarity;
mod problem;
mod shape_list;
mod single;
mod sniff;
pub mod source;
mod top_level;

pub use crate::names::image_id;
pub use corrections::Corrections;
pub use data::{Alteration, Dataset, ReadAnnotation};
pub use entry::{ImageEntry, MaskSource, Side, Subset};
pub use grey::{GreyImage, Levels, Polarity};
pub use problem::{Problem, ProblemSeverity, WithProblems, kind_of_problem};
pub use single::read_single;
pub use source::DatasetError;
