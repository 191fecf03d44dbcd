use std::path::Path;

use rayon::prelude::*;

use crate::dataset::{Dataset, ImageEntry};
use crate::draw;
use crate::mask::submission::{ImageMasks, expect_space};
use crate::progress::Progress;
use crate::report::evidence::jpeg;
use crate::runs::{CROP_PREDICTIONS, Run};
use crate::scores::{ComparedMasks, Errors, ImageScore, read_flat};

/// Longest side of a comparison, px.
const SIDE: u32 = 640;

/// Input of the sections of a run's report.
pub struct RunStudy<'a> {
    /// The run.
    pub run: &'a Run,
    /// Pixel errors summed over the held-out images; `None` without predictions or data.
    pub errors: Option<Errors>,
    /// Pictures of the images with the lowest Dice, lowest first.
    pub worst: Vec<WorstImage>,
    /// Files that could not be read, one sentence each.
    pub notes: Vec<String>,
}

/// An image, and a picture that compares its annotation and prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct WorstImage {
    /// Dice per class.
    pub score: ImageScore,
    /// Id of the patient.
    pub patient_id: String,
    /// The whole hand, and below it an enlarged view of the class with the lowest Dice, if it has pixels; JPEG in base64.
    pub jpeg: String,
}

impl<'a> RunStudy<'a> {
    /// Reads the predictions of the run and compares them with the annotations. `data` is the data folder, if it is not
    /// the configured one; `pictures` images are drawn.
    pub fn new(run: &'a Run, data: Option<&Path>, pictures: usize, progress: &dyn Progress) -> RunStudy<'a> {
        let mut study = RunStudy { run, errors: None, worst: Vec::new(), notes: run.problems.clone() };
        if let Err(reason) = study.compare(data, pictures, progress) {
            study.notes.push(reason);
        }
        study
    }

    fn compare(&mut self, data: Option<&Path>, pictures: usize, progress: &dyn Progress) -> Result<(), String> {
        // The overview explains that such a run has no scores.
        if !self.run.holds_out_fold() {
            return Ok(());
        }
        let file = self.run.path.join("predictions.csv");
        if !file.is_file() {
            return Err("no predictions.csv: the run has not ended, or its configuration turns evaluation off".into());
        }
        let configured = self.run.setting("data.root").and_then(toml::Value::as_str).map(Path::new);
        let root = data.or(configured).ok_or("config.toml has no data.root; give the data folder with --data")?;
        let dataset = Dataset::open(root).map_err(|e| {
            format!("{e}; the images and errors cannot be shown without the data: give its folder with --data")
        })?;
        let of_crops = self.run.path.join(CROP_PREDICTIONS);
        let file = if dataset.is_copy() && of_crops.is_file() { of_crops } else { file };
        expect_space(&file, dataset.space()).map_err(|e| e.to_string())?;
        let predictions = read_flat(&file).map_err(|e| e.to_string())?;
        let found: Vec<(&ImageEntry, &ImageMasks)> = predictions
            .iter()
            .filter_map(|p| Some((dataset.find(&p.image_name).filter(|e| e.annotation.is_some())?, p)))
            .collect();
        if found.len() < predictions.len() {
            self.notes.push(format!(
                "{} of {} predicted images have no annotation in {}",
                predictions.len() - found.len(),
                predictions.len(),
                root.display()
            ));
        }
        progress.start("images compared", found.len() as u64);
        let masks = |(entry, predicted): &(&ImageEntry, &ImageMasks)| {
            ComparedMasks::read(&dataset, entry, predicted).map_err(|e| e.to_string())
        };
        let errors: Vec<Result<Errors, String>> = found
            .par_iter()
            .map(|image| {
                let masks = masks(image)?;
                let errors = Errors::of(&masks.truth, &masks.prediction).map_err(|e| e.to_string());
                progress.advance(1);
                errors
            })
            .collect();
        progress.finish();
        let mut sum = Errors::default();
        for errors in errors {
            match errors {
                Ok(errors) => sum = sum.joined(&errors),
                Err(reason) => self.notes.push(reason),
            }
        }
        self.errors = (sum.images > 0).then_some(sum);

        let mut lowest: Vec<&ImageScore> = self.run.scores.iter().collect();
        lowest.sort_by(|a, b| a.mean().total_cmp(&b.mean()).then_with(|| a.image_id.cmp(&b.image_id)));
        lowest.truncate(pictures);
        let drawn: Vec<Result<WorstImage, String>> = lowest
            .into_par_iter()
            .filter_map(|score| Some((score, found.iter().find(|f| f.0.image_id == score.image_id)?)))
            .map(|(score, image)| picture(&dataset, image.0, score, &masks(image)?))
            .collect();
        for result in drawn {
            match result {
                Ok(worst) => self.worst.push(worst),
                Err(reason) => self.notes.push(reason),
            }
        }
        Ok(())
    }

    /// A setting as text, without quotes; `None` if the configuration has no such key.
    pub(super) fn setting(&self, key: &str) -> Option<String> {
        self.run.setting(key).map(|value| match value {
            toml::Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}

fn picture(
    dataset: &Dataset,
    entry: &ImageEntry,
    score: &ImageScore,
    ComparedMasks { truth, prediction, .. }: &ComparedMasks,
) -> Result<WorstImage, String> {
    let image = dataset.image(entry).map_err(|e| e.to_string())?.pixels.into_eight_bit();
    let options = draw::Options { max_size: SIDE, ..draw::Options::default() };
    let mut pictures = vec![(String::new(), draw::compare(&image, truth, prediction, &options))];
    let worst = score.worst().bone;
    if let Some(crop) = draw::crop_around([&truth[worst], &prediction[worst]], 0.35, image.dimensions()) {
        let options = draw::Options { crop: Some(crop), max_zoom: 8.0, labels: true, text_px: 26.0, ..options };
        pictures.push((String::new(), draw::compare(&image, truth, prediction, &options)));
    }
    let style = draw::SheetStyle { columns: 1, gap: 6, background: [0; 3], ..draw::SheetStyle::default() };
    let jpeg = jpeg(&draw::contact_sheet(&pictures, &style))?;
    Ok(WorstImage { score: score.clone(), patient_id: entry.patient_id.clone(), jpeg })
}
