use std::collections::BTreeMap;

use super::boundary::{BoundaryConvention, PixelSpacing};
use crate::closed_enum::closed_enum;

closed_enum! {
    /// A metric of a predicted mask. Lengths are in px, or in mm if the pixel spacing is given.
    pub enum Metric ("metric") {
        /// 2|A∩B| / (|A| + |B|).
        Dice = "dice",
        /// |A∩B| / |A∪B|.
        Iou = "iou",
        /// Share of the predicted pixels that are annotated.
        Precision = "precision",
        /// Share of the annotated pixels that are predicted.
        Recall = "recall",
        /// Normalised surface Dice: share of both boundaries that is within the tolerance of the other boundary.
        Nsd = "nsd",
        /// 95th percentile of the distances between the boundaries; the larger of the two directions.
        Hd95 = "hd95",
        /// Hausdorff distance: the largest distance between the boundaries.
        Hd = "hd",
        /// Mean distance between the boundaries, over the boundaries of both masks.
        Assd = "assd",
        /// Predicted minus annotated area, px² or mm².
        AreaDifference = "area-difference",
        /// Predicted minus annotated area, as a share of the annotated area.
        RelativeAreaDifference = "relative-area-difference",
        /// Distance between the centroids.
        CentroidDistance = "centroid-distance",
    }
}

impl Metric {
    /// The convention in which it is computed by default; `None` if it does not depend on boundaries.
    pub fn default_convention(self) -> Option<BoundaryConvention> {
        match self {
            Metric::Hd95 | Metric::Hd => Some(BoundaryConvention::Monai),
            Metric::Nsd | Metric::Assd => Some(BoundaryConvention::SurfaceDistance),
            _ => None,
        }
    }

    /// The unit of its values: empty for shares.
    pub fn unit(self, spacing: Option<PixelSpacing>) -> &'static str {
        match (self, spacing) {
            (Metric::Hd95 | Metric::Hd | Metric::Assd | Metric::CentroidDistance, None) => "px",
            (Metric::Hd95 | Metric::Hd | Metric::Assd | Metric::CentroidDistance, Some(_)) => "mm",
            (Metric::AreaDifference, None) => "px²",
            (Metric::AreaDifference, Some(_)) => "mm²",
            _ => "",
        }
    }
}

/// Which metrics to compute, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricOptions {
    /// The metrics, in the order of their values.
    pub metrics: Vec<Metric>,
    /// Distance between neighbouring pixels in mm; `None`: lengths are in px.
    pub spacing: Option<PixelSpacing>,
    /// Tolerance of the normalised surface Dice, in the unit of the lengths.
    pub nsd_tolerance: f64,
    /// Conventions of metrics that are not computed in their default one.
    pub conventions: BTreeMap<Metric, BoundaryConvention>,
}

impl MetricOptions {
    /// These metrics in px, with a tolerance of 2 px and the default conventions.
    pub fn new(metrics: Vec<Metric>) -> MetricOptions {
        MetricOptions { metrics, spacing: None, nsd_tolerance: 2.0, conventions: BTreeMap::new() }
    }

    /// The convention of a metric; `None` if it does not depend on boundaries.
    pub fn convention(&self, metric: Metric) -> Option<BoundaryConvention> {
        let default = metric.default_convention()?;
        Some(self.conventions.get(&metric).copied().unwrap_or(default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventions_are_those_of_boundary_metrics() {
        let mut options = MetricOptions::new(Metric::ALL.to_vec());
        options.conventions.insert(Metric::Hd, BoundaryConvention::SurfaceDistance);
        assert_eq!(options.convention(Metric::Hd), Some(BoundaryConvention::SurfaceDistance));
        assert_eq!(options.convention(Metric::Hd95), Some(BoundaryConvention::Monai));
        assert_eq!(options.convention(Metric::Nsd), Some(BoundaryConvention::SurfaceDistance));
        options.conventions.insert(Metric::Dice, BoundaryConvention::Monai);
        assert_eq!(options.convention(Metric::Dice), None);
    }
}
