//! Synthetic hands: a data set drawn from measured anatomy, with its ground truth and, on request, deliberate faults.
//!
//! [`generate`] writes a data set in the layout of the real one; [`hand`] draws one hand in memory; [`geometry`]
//! computes a hand's outlines and annotation without an image, which takes a millisecond.

mod anatomy;
mod annotation_file;
mod attenuation;
mod draw;
mod hand;
mod label_faults;
mod objects;
mod outline;
mod patient_faults;
mod patients;
mod plan;
mod pose;
mod raster;
mod render;
mod single;
mod soft_tissue;
mod texture;
mod truth;
mod workbook;
mod write;

pub use hand::{HandGeometry, HandSpec, geometry};
pub use label_faults::{LabelFault, PlantedFault};
pub use objects::Object;
pub use patients::{Person, people};
pub use plan::{ImagePlan, PhantomPlan, Resaved, plan};
pub use render::{Exposure, render};
pub use single::{PhantomHand, Pose, hand};
pub use truth::{Defect, ImageTruth, Truth, TruthError};
pub use workbook::WorkbookRow;
pub use write::{PhantomError, PhantomSettings, PhantomSummary, generate};
