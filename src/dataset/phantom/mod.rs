//! Synthetic hands: a data set drawn from measured anatomy, with its truth and, on request, planted faults.
//!
//! [`generate`] writes a whole data set in the real one's layout; [`hand`] draws one hand in memory;
//! [`geometry`] gives a hand's outlines and annotation without a picture, which takes a millisecond.

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
pub use label_faults::LabelFault;
pub use objects::Object;
pub use patients::{Person, people};
pub use plan::{ImagePlan, PhantomPlan, Resaved, plan};
pub use render::{Exposure, render};
pub use single::{PhantomHand, hand};
pub use truth::{Defect, ImageTruth, Truth, TruthError};
pub use workbook::WorkbookRow;
pub use write::{PhantomError, PhantomSettings, PhantomSummary, generate};
