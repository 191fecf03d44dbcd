//! `carpus evaluate --metrics`: metrics per image and class, their summary, and the calibration of probabilities.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use rayon::prelude::*;
use serde_json::{Value, json};

use super::data::warn;
use super::{Status, Ui};
use crate::artefact::write_atomically;
use crate::bones::{self, Bone};
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::metrics::{
    BoundaryConvention, ClassCalibration, ImageMetrics, Metric, MetricOptions, MetricsSummary, PixelCalibration,
    PixelSpacing, image_metrics, write_metrics,
};
use crate::probability::{self, EXTENSION};
use crate::progress::Progress;
use crate::scores::{PredictedMasks, ScoreError, compare_files};
use crate::wording::counted;

/// Options of `carpus evaluate` for other metrics than Dice.
#[derive(clap::Args, Debug)]
pub struct MeasureArgs {
    /// Compute these metrics per image and class, separated by commas: dice, iou, precision, recall, nsd, hd95, hd, assd,
    /// area-difference, relative-area-difference, centroid-distance
    #[arg(long, value_delimiter = ',', value_name = "METRIC", conflicts_with = "band")]
    metrics: Vec<Metric>,
    /// Distance up to which boundaries agree in nsd: px, or mm with --spacing [default: 2]
    #[arg(long, value_name = "DISTANCE", requires = "metrics", value_parser = tolerance)]
    nsd_tolerance: Option<f64>,
    /// Compute a boundary metric in this convention: monai, surface-distance or medpy [default: hd95=monai, hd=monai,
    /// nsd=surface-distance, assd=surface-distance]
    #[arg(long, value_delimiter = ',', value_name = "METRIC=CONVENTION", requires = "metrics", value_parser = convention)]
    convention: Vec<(Metric, BoundaryConvention)>,
    /// Pixel spacing in mm: columns,rows or one number for all images, or `images` for that in their files. Lengths are
    /// then in mm
    #[arg(long, value_name = "X,Y|images", requires = "metrics", value_parser = spacing_choice)]
    spacing: Option<SpacingChoice>,
    /// Folder with the probabilities of the images: also compute their calibration
    #[arg(long, value_name = "DIR", requires = "metrics")]
    probabilities: Option<PathBuf>,
}

fn millimetres(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if (0.001..=1000.0).contains(&value) => Ok(value),
        _ => Err(format!("{text:?}: expected millimetres from 0.001 to 1000")),
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(format!("{text:?}: expected a number, 0 or more")),
    }
}

fn spacing(text: &str) -> Result<PixelSpacing, String> {
    let (x, y) = text.split_once(',').unwrap_or((text, text));
    Ok(PixelSpacing { x: millimetres(x)?, y: millimetres(y)? })
}

/// Where the pixel spacing comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum SpacingChoice {
    /// The same for all images.
    Fixed(PixelSpacing),
    /// That of each image's file.
    OfImages,
}

fn spacing_choice(text: &str) -> Result<SpacingChoice, String> {
    if text == "images" { Ok(SpacingChoice::OfImages) } else { spacing(text).map(SpacingChoice::Fixed) }
}

fn convention(text: &str) -> Result<(Metric, BoundaryConvention), String> {
    let (metric, convention) = text.split_once('=').ok_or("expected METRIC=CONVENTION, as in hd95=surface-distance")?;
    let metric = metric.parse::<Metric>().map_err(|e| e.to_string())?;
    if metric.default_convention().is_none() {
        return Err(format!("{metric} does not depend on boundaries; expected one of nsd, hd95, hd, assd"));
    }
    let convention = convention.parse::<BoundaryConvention>().map_err(|e| e.to_string())?;
    if (metric, convention) == (Metric::Nsd, BoundaryConvention::MedPy) {
        return Err("MedPy has no nsd; expected monai or surface-distance".to_owned());
    }
    Ok((metric, convention))
}

impl MeasureArgs {
    /// Whether metrics are requested.
    pub(super) fn wanted(&self) -> bool {
        !self.metrics.is_empty()
    }

    fn options(&self) -> anyhow::Result<MetricOptions> {
        let mut options = MetricOptions::new(self.metrics.clone());
        for (i, metric) in self.metrics.iter().enumerate() {
            ensure!(!self.metrics[..i].contains(metric), "--metrics: {metric} is named twice");
        }
        for (metric, convention) in &self.convention {
            ensure!(
                self.metrics.contains(metric),
                "--convention {metric}={convention}: {metric} is not one of --metrics"
            );
            if options.conventions.insert(*metric, *convention).is_some() {
                bail!("--convention: {metric} is named twice");
            }
        }
        if let Some(tolerance) = self.nsd_tolerance {
            ensure!(self.metrics.contains(&Metric::Nsd), "--nsd-tolerance: nsd is not one of --metrics");
            options.nsd_tolerance = tolerance;
        }
        options.spacing = match self.spacing {
            Some(SpacingChoice::Fixed(spacing)) => Some(spacing),
            // For the unit; each image has its own.
            Some(SpacingChoice::OfImages) => Some(PixelSpacing { x: 1.0, y: 1.0 }),
            None => None,
        };
        Ok(options)
    }

    /// The pixel spacing of the images that have their own. With one that has none, means would mix px and mm.
    fn own_spacings(&self, measured: &Measured) -> anyhow::Result<HashMap<String, PixelSpacing>> {
        if self.spacing != Some(SpacingChoice::OfImages) {
            return Ok(HashMap::new());
        }
        let own = measured.entries.iter().map(|entry| {
            let mm = measured.dataset.spacing_mm(entry).with_context(|| {
                format!("--spacing images: the spacing of {} is not known; give a number for all images", entry.image)
            })?;
            Ok((entry.image_id.clone(), PixelSpacing { x: mm, y: mm }))
        });
        own.collect()
    }
}

/// Predictions to measure, and where to write the results.
pub(super) struct Measured<'a> {
    /// The data with the annotations.
    pub dataset: &'a Dataset,
    /// The selected images.
    pub entries: &'a [&'a ImageEntry],
    /// The predictions.
    pub predictions: PredictedMasks<'a>,
    /// CSV to write.
    pub out: &'a Path,
    /// JSON to write.
    pub json: &'a Path,
}

/// Computes the metrics and writes the CSV and the summary. Also returns the reach of the predicted masks.
pub(super) fn measure(args: &MeasureArgs, measured: &Measured, ui: &Ui) -> anyhow::Result<(Status, f64)> {
    let options = args.options()?;
    let spacings = args.own_spacings(measured)?;
    let &Measured { dataset, entries, predictions, out, json } = measured;
    let compared = compare_files(dataset, entries, predictions, ui, |entry, masks| {
        let spacing = spacings.get(&entry.image_id).copied().or(options.spacing);
        let options = MetricOptions { spacing, ..options.clone() };
        let classes = image_metrics(&masks.truth, &masks.prediction, &options).map_err(|source| ScoreError::Size {
            image: entry.image_id.clone(),
            // All masks of an image have one size.
            class: bones::NAMES[0],
            width: masks.truth.width(),
            height: masks.truth.height(),
            source,
        })?;
        Ok(ImageMetrics { image_id: entry.image_id.clone(), patient_id: entry.patient_id.clone(), classes })
    })?;
    let failed = compared.problems.iter().filter(|p| p.severity == ProblemSeverity::Error);
    let mut status = warn(failed, ui);
    let summary = MetricsSummary::new(&options, &compared.values);
    let mut value = json!(summary);
    if let Some(folder) = &args.probabilities {
        let (calibration, problems) = calibration(dataset, entries, folder, ui)?;
        status = status.worse(warn(&problems, ui));
        let errors: Vec<f64> = calibration.values().map(|class| class.ece_near).filter(|e| e.is_finite()).collect();
        ui.line(format_args!(
            "mean calibration error of pixels with a probability of at least 1/512: {:.4}",
            errors.iter().sum::<f64>() / errors.len() as f64
        ));
        value["calibration"] = json!(calibration);
    }
    write_metrics(out, &options.metrics, &compared.values).with_context(|| out.display().to_string())?;
    write_atomically(json, |file| serde_json::to_writer_pretty(file, &value).map_err(Into::into))
        .with_context(|| json.display().to_string())?;
    for metric in &options.metrics {
        ui.line(line(*metric, &value["metrics"][metric.name()]));
    }
    ui.line(format_args!("{}: {}", counted(summary.images, "image", "images"), out.display()));
    ui.json(&value)?;
    Ok((status, compared.reach))
}

/// `hd95 (px, monai)  3.21   95 % CI 3.01 to 3.44   2 infinite, 3 undefined`.
fn line(metric: Metric, summary: &Value) -> String {
    let all = &summary["all"];
    let number = |value: &Value| value.as_f64().map_or("undefined".to_owned(), |v| format!("{v:.4}"));
    let notes: Vec<&str> =
        ["unit", "convention"].iter().filter_map(|key| summary[key].as_str()).filter(|t| !t.is_empty()).collect();
    let notes = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join(", ")) };
    let mut text = format!("{:<40} {:>12}", format!("{metric}{notes}"), number(&all["mean"]));
    if !all["ci"].is_null() {
        text += &format!("   95 % CI {} to {}", number(&all["ci"]["low"]), number(&all["ci"]["high"]));
    }
    for kind in ["infinite", "undefined"] {
        if all[kind] != json!(0) {
            text += &format!("   {} {kind}", all[kind]);
        }
    }
    text
}

/// Calibration by class name over the annotated images, and the images without usable probabilities.
fn calibration(
    dataset: &Dataset,
    entries: &[&ImageEntry],
    folder: &Path,
    ui: &Ui,
) -> anyhow::Result<(BTreeMap<String, ClassCalibration>, Vec<Problem>)> {
    let annotated: Vec<&&ImageEntry> = entries.iter().filter(|entry| entry.annotation.is_some()).collect();
    let one = |entry: &&&ImageEntry| -> Result<Vec<PixelCalibration>, Box<Problem>> {
        let path = folder.join(format!("{}.{EXTENSION}", entry.image_id));
        let sums = of_image(dataset, entry, &path).map_err(|error| {
            let file = path.display().to_string();
            let problem = Problem::new(ProblemSeverity::Warning, file, format!("{error:#}"), "not in the calibration");
            Box::new(problem.of_image(&*entry.image_id).of_patient(&*entry.patient_id))
        });
        ui.advance(1);
        sums
    };
    ui.start("images calibrated", annotated.len() as u64);
    let found: Vec<_> = annotated.par_iter().map(one).collect();
    ui.finish();
    let (mut sums, mut problems) = (vec![PixelCalibration::default(); bones::COUNT], Vec::new());
    for image in found {
        match image {
            Ok(image) => sums.iter_mut().zip(&image).for_each(|(sum, of_class)| sum.merge(of_class)),
            Err(problem) => problems.push(*problem),
        }
    }
    ensure!(
        problems.len() < annotated.len(),
        "{}: no probabilities of the annotated images can be used; first error: {}",
        folder.display(),
        problems.first().map_or("there are no annotated images", |problem| &problem.reason)
    );
    let classes = Bone::all().map(|bone| bone.name().to_owned()).zip(sums.iter().map(PixelCalibration::summary));
    Ok((classes.collect(), problems))
}

fn of_image(dataset: &Dataset, entry: &ImageEntry, path: &Path) -> anyhow::Result<Vec<PixelCalibration>> {
    let image = probability::read(path)?;
    let (width, height) = dataset.dimensions(entry)?;
    let truth = dataset.annotation(entry)?.context("the image has no annotation")?.annotation.masks(width, height);
    let of_class = |(map, (_, truth))| -> anyhow::Result<PixelCalibration> {
        let mut sums = PixelCalibration::default();
        sums.add(map, truth)?;
        Ok(sums)
    };
    image.maps.iter().zip(truth.iter()).map(of_class).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_options_are_checked() {
        assert_eq!(spacing("0.5").unwrap(), PixelSpacing { x: 0.5, y: 0.5 });
        assert_eq!(spacing("0.5, 0.25").unwrap(), PixelSpacing { x: 0.5, y: 0.25 });
        for bad in ["", "0", "-1,1", "1,2,3", "nan", "1,inf", "1e-300", "1e200"] {
            assert!(spacing(bad).is_err(), "{bad}");
        }
        assert_eq!(tolerance("0"), Ok(0.0));
        assert!(tolerance("-1").is_err() && tolerance("inf").is_err());
        let parsed = convention("hd95=surface-distance").unwrap();
        assert_eq!(parsed, (Metric::Hd95, BoundaryConvention::SurfaceDistance));
        assert!(convention("dice=monai").unwrap_err().contains("does not depend"));
        assert!(convention("hd=scipy").unwrap_err().contains("monai, surface-distance, medpy"));
        assert!(convention("hd95=medpy").is_ok() && convention("nsd=medpy").unwrap_err().contains("has no nsd"));
    }
}
