//! Metrics of predicted masks, per image and class: overlap, distances of boundaries in the conventions of MONAI, of
//! DeepMind's surface-distance and of MedPy, areas and centroids; their summary by class, bone group and patient; the calibration of
//! probabilities. With the feature `torch` also the Dice of batches of tensors.
//!
//! # Boundaries
//!
//! Libraries disagree about what the boundary of a mask is and how its distances are summarised. Each metric of boundaries
//! is computed in one [`BoundaryConvention`], with these rules for empty masks:
//!
//! | metric | convention | both masks empty | one mask empty |
//! |---|---|---|---|
//! | `nsd` | any | NaN | 0 |
//! | `hd` | `monai` | NaN | inf |
//! | `hd` | `surface-distance` | inf | inf |
//! | `hd95` | `monai` | NaN | NaN |
//! | `hd95` | `surface-distance` | inf | inf |
//! | `assd` | `monai`, `surface-distance` | NaN | inf |
//! | `hd`, `hd95`, `assd` | `medpy` | NaN | NaN |
//! | `dice`, `iou` | | 1 | 0 |
//! | `precision` | | NaN | NaN without prediction, else 0 |
//! | `recall` | | NaN | NaN without annotation, else 0 |
//! | `area-difference` | | 0 | the signed area |
//! | `relative-area-difference` | | NaN | -1 without prediction, inf without annotation |
//! | `centroid-distance` | | NaN | NaN |
//!
//! Distances are those of the libraries also where a mask touches the image's edge: positions beyond the image are not part
//! of a mask.

mod boundary;
mod calibration;
#[cfg(feature = "torch")]
mod dice;
mod image;
mod metric;
mod summary;
mod table;

pub use boundary::{BoundaryConvention, BoundaryDistances, PixelSpacing};
pub use calibration::{CALIBRATION_BINS, ClassCalibration, PixelCalibration, ReliabilityBin};
#[cfg(feature = "torch")]
pub use dice::{DiceMetric, DiceScore, MetricError};
pub use image::{ClassMetrics, ImageMetrics, image_metrics, mask_metrics};
pub use metric::{Metric, MetricOptions};
pub use summary::{MetricMean, MetricSummary, MetricsSummary};
pub use table::write_metrics;
