use rayon::prelude::*;

use super::boundary::{BoundaryConvention, BoundaryDistances, PixelSpacing};
use super::metric::{Metric, MetricOptions};
use crate::mask::{HandMasks, MaskError, RunMask};

/// Metrics of one class of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ClassMetrics {
    /// One per metric, in the order of the options; NaN where a metric is undefined.
    pub values: Vec<f64>,
    /// Whether the annotated mask has pixels.
    pub annotated: bool,
    /// Whether the predicted mask has pixels.
    pub predicted: bool,
}

/// Metrics of all classes of an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageMetrics {
    /// Key of the images table.
    pub image_id: String,
    /// Patient of the image.
    pub patient_id: String,
    /// By class index.
    pub classes: Vec<ClassMetrics>,
}

/// Computes the metrics of each class of an image, the classes in parallel.
///
/// # Errors
/// The masks differ in size.
pub fn image_metrics(
    truth: &HandMasks,
    prediction: &HandMasks,
    options: &MetricOptions,
) -> Result<Vec<ClassMetrics>, MaskError> {
    let pairs: Vec<(&RunMask, &RunMask)> = truth.as_slice().iter().zip(prediction.as_slice()).collect();
    let of_class = |(truth, prediction): &(&RunMask, &RunMask)| {
        let (annotated, predicted) = (!truth.is_empty(), !prediction.is_empty());
        Ok(ClassMetrics { values: mask_metrics(truth, prediction, options)?, annotated, predicted })
    };
    pairs.par_iter().map(of_class).collect()
}

/// Computes the metrics of a predicted mask, in the order of the options. What is undefined is NaN; the rules for empty
/// masks are in the documentation of [`crate::metrics`].
///
/// # Errors
/// The masks differ in size.
pub fn mask_metrics(truth: &RunMask, prediction: &RunMask, options: &MetricOptions) -> Result<Vec<f64>, MaskError> {
    let both = truth.overlap(prediction)? as f64;
    let (annotated, predicted) = (truth.area() as f64, prediction.area() as f64);
    let mut boundaries: Vec<(BoundaryConvention, BoundaryDistances)> = Vec::new();
    for convention in options.metrics.iter().filter_map(|metric| options.convention(*metric)) {
        if boundaries.iter().all(|(known, _)| *known != convention) {
            let distances = BoundaryDistances::new(truth, prediction, convention, options.spacing)?;
            boundaries.push((convention, distances));
        }
    }
    let boundary = |metric: Metric| {
        let wanted = options.convention(metric);
        let found = boundaries.iter().find(|(convention, _)| Some(*convention) == wanted);
        &found.expect("distances of every convention of the options").1
    };
    let spacing = options.spacing.unwrap_or(PixelSpacing { x: 1.0, y: 1.0 });
    let value = |metric: &Metric| {
        Ok(match metric {
            Metric::Dice => truth.dice(prediction)?,
            Metric::Iou => truth.iou(prediction)?,
            Metric::Precision => both / predicted,
            Metric::Recall => both / annotated,
            Metric::Nsd => boundary(*metric).surface_dice(options.nsd_tolerance),
            Metric::Hd95 => boundary(*metric).hausdorff_95(),
            Metric::Hd => boundary(*metric).hausdorff(),
            Metric::Assd => boundary(*metric).mean(),
            Metric::AreaDifference => (predicted - annotated) * spacing.x * spacing.y,
            Metric::RelativeAreaDifference => (predicted - annotated) / annotated,
            Metric::CentroidDistance => match (truth.moments().centroid(), prediction.moments().centroid()) {
                (Some(a), Some(b)) => ((a.x - b.x) * spacing.x).hypot((a.y - b.y) * spacing.y),
                _ => f64::NAN,
            },
        })
    };
    options.metrics.iter().map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones::Bone;

    fn mask(rows: [&str; 3]) -> RunMask {
        let dense: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|b| u8::from(b == b'#'))).collect();
        RunMask::from_dense(&dense, 5, 3)
    }

    fn options(metrics: &[Metric]) -> MetricOptions {
        MetricOptions::new(metrics.to_vec())
    }

    const OVERLAP: [Metric; 7] = [
        Metric::Dice,
        Metric::Iou,
        Metric::Precision,
        Metric::Recall,
        Metric::AreaDifference,
        Metric::RelativeAreaDifference,
        Metric::CentroidDistance,
    ];

    #[test]
    fn overlap_areas_and_centroids_by_hand() {
        let truth = mask(["##...", "##...", "....."]);
        let prediction = mask([".##..", ".##..", ".##.."]);
        let mut options = options(&OVERLAP);
        let values = mask_metrics(&truth, &prediction, &options).unwrap();
        let expected = [2.0 * 2.0 / 10.0, 2.0 / 8.0, 2.0 / 6.0, 2.0 / 4.0, 2.0, 0.5, 1f64.hypot(0.5)];
        assert_eq!(values, expected);
        options.spacing = Some(PixelSpacing { x: 0.5, y: 2.0 });
        let values = mask_metrics(&truth, &prediction, &options).unwrap();
        assert_eq!(values[4..], [2.0, 0.5, 0.5f64.hypot(1.0)]);
    }

    #[test]
    fn empty_masks_have_the_documented_values() {
        let (empty, some) = (RunMask::empty(5, 3), mask(["#....", ".....", "....."]));
        let of = |truth, prediction| {
            let values = mask_metrics(truth, prediction, &options(&OVERLAP)).unwrap();
            // NaN is not equal to itself.
            values.into_iter().map(|v| if v.is_nan() { None } else { Some(v) }).collect::<Vec<_>>()
        };
        assert_eq!(of(&empty, &empty), [Some(1.0), Some(1.0), None, None, Some(0.0), None, None]);
        let inf = Some(f64::INFINITY);
        assert_eq!(of(&empty, &some), [Some(0.0), Some(0.0), Some(0.0), None, Some(1.0), inf, None]);
        assert_eq!(of(&some, &empty), [Some(0.0), Some(0.0), None, Some(0.0), Some(-1.0), Some(-1.0), None]);
    }

    #[test]
    fn values_are_in_the_order_of_the_options_and_by_class() {
        let (mut truth, mut prediction) = (HandMasks::empty(5, 3), HandMasks::empty(5, 3));
        truth.set(Bone::ULNA, mask(["##...", "##...", "....."])).unwrap();
        prediction.set(Bone::ULNA, mask(["...##", "...##", "....."])).unwrap();
        prediction.set(Bone::RADIUS, mask(["#....", ".....", "....."])).unwrap();
        let of = |metrics: &[Metric]| image_metrics(&truth, &prediction, &options(metrics)).unwrap();
        let classes = of(&[Metric::Hd, Metric::Dice]);
        assert_eq!(
            classes[Bone::ULNA.index()],
            ClassMetrics { values: vec![3.0, 0.0], annotated: true, predicted: true }
        );
        let radius = &classes[Bone::RADIUS.index()];
        assert_eq!((radius.values[0], radius.annotated, radius.predicted), (f64::INFINITY, false, true));
        assert_eq!(of(&[Metric::Dice, Metric::Hd])[Bone::ULNA.index()].values, [0.0, 3.0]);
        assert!(image_metrics(&truth, &HandMasks::empty(3, 5), &options(&[Metric::Dice])).is_err());
    }
}
