use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::image::ImageMetrics;
use super::metric::MetricOptions;
use crate::bones::{Bone, BoneGroup};
use crate::stats::{Interval, bootstrap_mean};

/// Number of bootstrap samples; the limits of an interval then have a random error of about 1/20 of the standard error.
const RESAMPLES: usize = 2000;

/// Mean of a metric over images and classes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricMean {
    /// Mean of the finite values; `None` if there are none.
    pub mean: Option<f64>,
    /// 95 % confidence interval by a percentile bootstrap that resamples patients; `None` for fewer than two patients.
    pub ci: Option<Interval>,
    /// Number of finite values.
    pub values: usize,
    /// Number of infinite values, which are not in the mean: one of the masks is empty.
    pub infinite: usize,
    /// Number of undefined values, which are not in the mean.
    pub undefined: usize,
}

/// Means of one metric.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricSummary {
    /// Unit of the values; empty for shares.
    pub unit: &'static str,
    /// Convention of a metric of boundaries.
    pub convention: Option<&'static str>,
    /// Over all images and classes.
    pub all: MetricMean,
    /// By class name.
    pub classes: Map<String, Value>,
    /// By bone group.
    pub groups: Map<String, Value>,
    /// By patient, without intervals.
    pub patients: BTreeMap<String, MetricMean>,
}

/// Means of metrics by class, bone group and patient.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricsSummary {
    /// Number of images.
    pub images: usize,
    /// Number of patients.
    pub patients: usize,
    /// Distance between pixels, columns and rows, mm; absent if lengths are in px.
    pub spacing_mm: Option<[f64; 2]>,
    /// Tolerance of the normalised surface Dice, in the unit of the lengths.
    pub nsd_tolerance: f64,
    /// Number of images in which a class is annotated but has no predicted pixel, by class name.
    pub missed: BTreeMap<String, usize>,
    /// Number of images in which a class is predicted but not annotated, by class name.
    pub invented: BTreeMap<String, usize>,
    /// By metric name, in the order of the options.
    pub metrics: Map<String, Value>,
}

impl MetricsSummary {
    /// The summary of these images.
    pub fn new(options: &MetricOptions, images: &[ImageMetrics]) -> MetricsSummary {
        let mut patients: Vec<&str> = images.iter().map(|image| &*image.patient_id).collect();
        patients.sort_unstable();
        patients.dedup();
        let count = |is: fn(bool, bool) -> bool| {
            let of_class = |bone: Bone| {
                let classes = images.iter().map(|image| &image.classes[bone.index()]);
                (bone.name().to_owned(), classes.filter(|c| is(c.annotated, c.predicted)).count())
            };
            Bone::all().map(of_class).filter(|(_, n)| *n > 0).collect()
        };
        let summaries: Vec<Value> =
            (0..options.metrics.len()).into_par_iter().map(|at| json!(metric_summary(options, images, at))).collect();
        MetricsSummary {
            images: images.len(),
            patients: patients.len(),
            spacing_mm: options.spacing.map(|spacing| [spacing.x, spacing.y]),
            nsd_tolerance: options.nsd_tolerance,
            missed: count(|annotated, predicted| annotated && !predicted),
            invented: count(|annotated, predicted| !annotated && predicted),
            metrics: options.metrics.iter().map(|metric| metric.name().to_owned()).zip(summaries).collect(),
        }
    }
}

fn metric_summary(options: &MetricOptions, images: &[ImageMetrics], at: usize) -> MetricSummary {
    let metric = options.metrics[at];
    let over = |is_in: &(dyn Fn(Bone) -> bool + Sync)| {
        let values = images.iter().flat_map(|image| {
            let classes = Bone::all().zip(&image.classes).filter(|(bone, _)| is_in(*bone));
            classes.map(|(_, class)| (&*image.patient_id, class.values[at]))
        });
        MetricMean::new(&values.collect::<Vec<_>>())
    };
    let mut groups: Vec<BoneGroup> = Bone::all().map(Bone::group).collect();
    groups.dedup();
    let by_class: Vec<MetricMean> =
        (0..crate::bones::COUNT).into_par_iter().map(|class| over(&|bone| bone.index() == class)).collect();
    let by_group: Vec<MetricMean> = groups.par_iter().map(|group| over(&|bone| bone.group() == *group)).collect();
    let mut of_patients: BTreeMap<&str, Vec<(&str, f64)>> = BTreeMap::new();
    for image in images {
        let values = image.classes.iter().map(|class| (&*image.patient_id, class.values[at]));
        of_patients.entry(&image.patient_id).or_default().extend(values);
    }
    MetricSummary {
        unit: metric.unit(options.spacing),
        convention: options.convention(metric).map(|convention| convention.name()),
        all: over(&|_| true),
        classes: Bone::all().map(|bone| bone.name().to_owned()).zip(by_class.iter().map(|m| json!(m))).collect(),
        groups: groups.iter().map(ToString::to_string).zip(by_group.iter().map(|m| json!(m))).collect(),
        patients: of_patients.into_iter().map(|(id, values)| (id.to_owned(), MetricMean::new(&values))).collect(),
    }
}

impl MetricMean {
    /// Of values with the patient of each.
    fn new(values: &[(&str, f64)]) -> MetricMean {
        let finite: Vec<(&str, f64)> = values.iter().copied().filter(|(_, value)| value.is_finite()).collect();
        let sum: f64 = finite.iter().map(|(_, value)| value).sum();
        MetricMean {
            mean: (!finite.is_empty()).then(|| sum / finite.len() as f64),
            ci: bootstrap_mean(&finite, RESAMPLES, 0).map(|found| found.ci),
            values: finite.len(),
            infinite: values.iter().filter(|(_, value)| value.is_infinite()).count(),
            undefined: values.iter().filter(|(_, value)| value.is_nan()).count(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones;
    use crate::metrics::{ClassMetrics, Metric};

    fn image(id: &str, patient: &str, hd: impl Fn(usize) -> f64) -> ImageMetrics {
        let class = |c| ClassMetrics { values: vec![hd(c)], annotated: c != 0, predicted: c != 1 };
        ImageMetrics {
            image_id: id.into(),
            patient_id: patient.into(),
            classes: (0..bones::COUNT).map(class).collect(),
        }
    }

    #[test]
    fn means_count_what_they_leave_out() {
        let value = |c: usize| match c {
            0 => f64::NAN,
            1 => f64::INFINITY,
            _ => 2.0,
        };
        let images = [image("a", "1", value), image("b", "1", |_| 4.0), image("c", "2", |_| 6.0)];
        let options = MetricOptions::new(vec![Metric::Hd]);
        let summary = MetricsSummary::new(&options, &images);
        assert_eq!((summary.images, summary.patients), (3, 2));
        assert_eq!(summary.missed, BTreeMap::from([("finger-2".to_owned(), 3)]));
        assert_eq!(summary.invented, BTreeMap::from([("finger-1".to_owned(), 3)]));
        let hd = &summary.metrics["hd"];
        assert_eq!((&hd["unit"], &hd["convention"]), (&json!("px"), &json!("monai")));
        let of = |mean: &Value| ["mean", "values", "infinite", "undefined"].map(|key| mean[key].as_f64().unwrap());
        assert_eq!(of(&hd["classes"]["finger-1"]), [5.0, 2.0, 0.0, 1.0]);
        assert_eq!(of(&hd["classes"]["finger-2"]), [5.0, 2.0, 1.0, 0.0]);
        assert_eq!(of(&hd["classes"]["Ulna"]), [4.0, 3.0, 0.0, 0.0]);
        // Thumb: 2 of finger-3, and three classes of the other images each.
        assert_eq!(of(&hd["groups"]["thumb"]), [(2.0 + 3.0 * 4.0 + 3.0 * 6.0) / 7.0, 7.0, 1.0, 1.0]);
        assert_eq!(hd["groups"].as_object().unwrap().len(), 7);
        assert_eq!(of(&hd["patients"]["2"])[0], 6.0);
        assert!(hd["patients"]["2"]["ci"].is_null());
        let ci = &hd["classes"]["Ulna"]["ci"];
        // Two patients, with the means 3 and 6.
        assert_eq!((ci["low"].as_f64(), ci["high"].as_f64()), (Some(3.0), Some(6.0)));
        assert_eq!(summary, MetricsSummary::new(&options, &images), "the same bits each time");
    }

    #[test]
    fn a_metric_without_finite_values_has_no_mean() {
        let mean = MetricMean::new(&[("1", f64::NAN), ("2", f64::INFINITY)]);
        assert_eq!(mean, MetricMean { mean: None, ci: None, values: 0, infinite: 1, undefined: 1 });
    }
}
