mod part;
mod probabilities;
mod views;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};

use self::part::PartNumber;
use self::probabilities::{Streamed, predict_streamed};
use self::views::ViewArgs;
use super::data::{held_out, open, warn, without_excluded};
use super::split::{Chosen, subset};
use super::{Status, Ui};
use crate::artefact::{kind, replace_folder};
use crate::clean::{self, Transform};
use crate::dataset::folder::TRANSFORMS;
use crate::dataset::{Dataset, ImageEntry, image_id};
use crate::device::{self, DeviceKind};
use crate::experiment::known;
use crate::infer::{Guide, InferOptions, Prediction, Predictor, predict, predict_specialist, to_originals};
use crate::mask::HandMasks;
use crate::mask::submission::{self, Space};
use crate::probability::Bits;
use crate::probability::decision::DecisionSettings;
use crate::scores::read_flat;
use crate::thresholds::{AUTO_SHARE, least_annotated_areas};
use crate::train::{PatientMetadata, RunFolder};
use crate::wording::counted;

/// Predict masks and write a submission CSV
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus predict --checkpoint runs/demo/best.safetensors --data data \\
      --subset test --out submission.csv
  carpus predict --checkpoint runs/demo/best.safetensors --data crops \\
      --folds folds.csv --fold 0 --subset train --out heldout.csv
  carpus predict --checkpoint runs/demo --data data --window 1024 \\
      --overlap 0.5 --weights gaussian --tta flip,scale:1.25 \\
      --probabilities probabilities/demo --out submission.csv
  carpus predict --checkpoint runs/demo --data data --part 1/4 --out 1.csv
  carpus predict --checkpoint runs/demo --data data \\
      --decision decision.toml --out submission.csv
  carpus predict --checkpoint runs/carpals --data data --subset test \\
      --around submission.csv --out carpals.csv

If DATA is a folder that `carpus clean` wrote, masks and probabilities are mapped back to the original images.

--window predicts the image at its own size (times --scale) in overlapping windows; without it, the whole image is scaled \
to the size that the model was trained at. --tta averages the probabilities of several views of the image: flip, \
flip-vertical, scale:S, rotate:D (degrees, to both sides), gamma:G, brightness:B; flips double all views. Memory holds as many \
rows of the 29 classes as a window has.

--part 2/4 predicts the second quarter of the images. `carpus join` joins the parts; the result is that of a single run.")]
pub struct PredictArgs {
    /// Weights of a training run: best.safetensors, or the folder of the run
    #[arg(long, value_name = "PATH")]
    checkpoint: PathBuf,
    /// Data folder, or folder of crops that `carpus clean` wrote
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Images to predict: train, test or all
    #[arg(long, default_value = "test", value_parser = subset)]
    subset: Chosen,
    /// Folds that `carpus split` wrote: predict only images that --fold holds out (add --subset train)
    #[arg(long, value_name = "FILE", requires = "fold")]
    folds: Option<PathBuf>,
    /// Fold whose held-out images to predict
    #[arg(long, value_name = "N", requires = "folds")]
    fold: Option<u32>,
    /// Predict one part of the images: I/N, as in 2/4
    #[arg(long, value_name = "I/N")]
    part: Option<PartNumber>,
    /// Corrections file: excluded images are not predicted; corrected metadata is given to the model
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// For the weights of a specialist, which sees only the part of an image around some bones: masks of another
    /// model to look around, a submission CSV, or `annotations`
    #[arg(long, value_name = "CSV")]
    around: Option<PathBuf>,
    /// Submission CSV to write
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Folder for the probabilities, one compressed file per image
    #[arg(long, value_name = "DIR")]
    probabilities: Option<PathBuf>,
    /// Bits per probability in --probabilities
    #[arg(long, value_enum, default_value = "8", requires = "probabilities")]
    bits: Bits,
    /// TOML file with [decision]: how masks are made of probabilities [default: a threshold of 0.5]
    #[arg(long, value_name = "FILE")]
    decision: Option<PathBuf>,
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Number of images, windows or views that are predicted together
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch: usize,
    #[command(flatten)]
    views: ViewArgs,
}

/// Predicts the chosen images and writes the submission.
pub fn run(mut args: PredictArgs, ui: &Ui) -> anyhow::Result<Status> {
    args.checkpoint = RunFolder::weights_at(&args.checkpoint)?;
    let decision = args.decision.as_deref().map(DecisionSettings::read).transpose()?;
    let device = device::select(args.device)?;
    let (mut dataset, mut status) = open(&args.data, args.corrections.as_deref(), ui)?;
    check_outputs(&args, &dataset, ui)?;
    let predictor = Predictor::open(&args.checkpoint, device)?;
    let options = args.views.options(predictor.window_sides(), args.batch)?;
    (dataset, status) = scaled_as_trained(dataset, status, predictor.info().top_level, ui);
    let entries = chosen_images(&args, &dataset, ui)?;
    let decision = decision.map(|decision| with_areas(decision, &args, &dataset, &entries)).transpose()?;
    let entries = args.part.map_or(&entries[..], |part| part.of(&entries));
    let known = match predictor.info().model.metadata {
        Some(_) => known(&dataset, ui),
        None => PatientMetadata::default(),
    };
    let job = Job { args: &args, predictor: &predictor, dataset: &dataset, entries, known: &known, options };
    let (prediction, bytes) = job.predict(decision, ui)?;
    submission::write(&args.out, &prediction.images)?;
    let status = status.worse(warn(&prediction.problems, ui));
    let (images, problems) = (prediction.images.len(), prediction.problems.len());
    ui.line(format_args!("{} predicted: {}", counted(images, "image", "images"), args.out.display()));
    if let (Some(folder), Some(mean)) = (&args.probabilities, mean(&bytes)) {
        let (mean, most) = (mean / 1e6, bytes.iter().copied().max().unwrap_or(0) as f64 / 1e6);
        ui.line(format_args!("probabilities: {mean:.3} MB per image, {most:.3} MB at most: {}", folder.display()));
    }
    ui.json(&serde_json::json!({
        "images": images, "problems": problems, "out": args.out,
        "probabilities": args.probabilities, "bytes_per_image": mean(&bytes),
    }))?;
    Ok(status)
}

/// Whether the value of `--around` stands for the annotations of the data.
fn is_annotations(around: &Path) -> bool {
    around.as_os_str() == "annotations"
}

/// The masks of a submission by image id, in the pixels of the images of `dataset`. For a folder of crops they may be in
/// the pixels of the original images.
fn guide(path: &Path, dataset: &Dataset) -> anyhow::Result<HashMap<String, HandMasks>> {
    let mut masks: HashMap<String, HandMasks> =
        read_flat(path)?.into_iter().map(|image| (image_id(&image.image_name), image.masks)).collect();
    let space = submission::sidecar(path)?.map_or(Space::Original, |sidecar| sidecar.space);
    if (space, dataset.space()) == (Space::Original, Space::Crop) {
        for transform in clean::read_transforms(dataset.root())? {
            let Some(of_image) = masks.get_mut(&image_id(&transform.image)) else { continue };
            let wrong = |error: &dyn std::fmt::Display| anyhow!("{}: {}: {error}", path.display(), transform.image);
            let whole = of_image.reshaped(transform.original_width, transform.original_height);
            let whole = whole.map_err(|(bone, error)| wrong(&format!("{bone}: {error}")))?;
            *of_image = whole.map(|(_, mask)| transform.mask_to_crop(mask)).map_err(|error| wrong(&error))?;
        }
        return Ok(masks);
    }
    submission::expect_space(path, dataset.space())?;
    Ok(masks)
}

/// The mean size of files.
fn mean(bytes: &[u64]) -> Option<f64> {
    (!bytes.is_empty()).then(|| bytes.iter().sum::<u64>() as f64 / bytes.len() as f64)
}

fn check_outputs(args: &PredictArgs, dataset: &Dataset, ui: &Ui) -> anyhow::Result<()> {
    let inputs = std::iter::once(&args.checkpoint).chain(&args.folds).chain(&args.corrections).chain(&args.decision);
    let around = args.around.iter().filter(|path| !is_annotations(path));
    let outputs = ui.outputs().inputs(inputs).inputs(around).data(dataset.folders());
    outputs.file(&args.out, &kind::SUBMISSION)?;
    if let Some(folder) = &args.probabilities {
        outputs.folder(folder, &kind::PROBABILITIES)?;
    }
    Ok(())
}

/// The decision with the least areas of the annotated images that are not predicted, if it takes those.
fn with_areas(
    decision: DecisionSettings,
    args: &PredictArgs,
    dataset: &Dataset,
    predicted: &[&ImageEntry],
) -> anyhow::Result<DecisionSettings> {
    if !decision.needs_least_areas() {
        return Ok(decision);
    }
    let is_predicted = |entry: &ImageEntry| predicted.iter().any(|other| other.image_id == entry.image_id);
    let training: Vec<&ImageEntry> = dataset
        .images()
        .iter()
        .filter(|entry| entry.annotation.is_some() && !dataset.excludes(entry) && !is_predicted(entry))
        .collect();
    ensure!(
        !training.is_empty(),
        "min-area = \"auto\" takes the areas of annotated images that are not predicted, and {} has none; give areas in \
         the decision file (`carpus thresholds --tables` writes them)",
        args.data.display()
    );
    Ok(decision.with_least_areas(&least_annotated_areas(dataset, &training, AUTO_SHARE)?))
}

/// What is predicted, and how.
struct Job<'a> {
    args: &'a PredictArgs,
    predictor: &'a Predictor,
    dataset: &'a Dataset,
    entries: &'a [&'a ImageEntry],
    known: &'a PatientMetadata,
    options: InferOptions,
}

impl Job<'_> {
    /// The masks in pixels of the original images, and the bytes of each file of probabilities.
    fn predict(&self, decision: Option<DecisionSettings>, ui: &Ui) -> anyhow::Result<(Prediction, Vec<u64>)> {
        let transforms: Option<Vec<Transform>> = match self.args.data.join(TRANSFORMS).exists() {
            true => Some(clean::read_transforms(&self.args.data)?),
            false => None,
        };
        let is_plain = self.options.window.is_none() && self.options.augmentation.0.is_empty();
        if is_plain && decision.is_none() && self.args.probabilities.is_none() {
            let mut prediction = self.predict_whole(ui)?;
            if let Some(transforms) = &transforms {
                prediction.images = to_originals(prediction.images, transforms)?;
            }
            return Ok((prediction, Vec::new()));
        }
        ensure!(
            self.args.around.is_none(),
            "--around predicts masks; it cannot be combined with --window, --tta, --probabilities or --decision"
        );
        let decision = decision.unwrap_or_default();
        let streamed = Streamed { job: self, decision: &decision, transforms: transforms.as_deref() };
        match &self.args.probabilities {
            Some(folder) => {
                replace_folder(folder, &kind::PROBABILITIES, |new| predict_streamed(&streamed, Some(new), ui))
            }
            None => predict_streamed(&streamed, None, ui),
        }
    }

    /// Predicts each image at the model's size, or the part of it around the bones of a specialist.
    fn predict_whole(&self, ui: &Ui) -> anyhow::Result<Prediction> {
        let &Job { args, predictor, dataset, entries, known, ref options } = self;
        let Some(around) = &args.around else {
            return Ok(predict(predictor, dataset, entries, known, options.batch, ui)?);
        };
        let masks = (!is_annotations(around)).then(|| guide(around, dataset)).transpose()?;
        let guide = masks.as_ref().map_or(Guide::Annotations, Guide::Masks);
        Ok(predict_specialist(predictor, dataset, entries, guide, known, options.batch, ui)?)
    }
}

/// The images that `--subset`, `--fold` and the corrections leave; an error that says why if there are none.
fn chosen_images<'a>(args: &PredictArgs, dataset: &'a Dataset, ui: &Ui) -> anyhow::Result<Vec<&'a ImageEntry>> {
    let mut entries: Vec<&ImageEntry> = dataset.images().iter().collect();
    let mut from = args.data.display().to_string();
    if let (Some(path), Some(fold)) = (&args.folds, args.fold) {
        let held = held_out(path, fold)?;
        entries.retain(|e| held.contains(&e.image_id));
        ensure!(
            !entries.is_empty(),
            "{from} has none of the {} of fold {fold} in {}; were the folds made for other data?",
            counted(held.len(), "image", "images"),
            path.display()
        );
        from = format!("fold {fold} of {}", path.display());
    }
    if let Some(wanted) = args.subset.only() {
        let others = entries.iter().map(|e| e.subset).find(|subset| *subset != wanted);
        let found = entries.len();
        entries.retain(|e| e.subset == wanted);
        if let (true, Some(other)) = (entries.is_empty(), others) {
            bail!(
                "{from} holds {}, but --subset is {wanted}: give --subset {other}",
                counted(found, &format!("{other} image"), &format!("{other} images"))
            );
        }
    }
    let found = entries.len();
    without_excluded(dataset, &mut entries, ui);
    ensure!(
        !entries.is_empty(),
        "{from}: {} excluded by {}, so there is nothing to predict",
        counted(found, "image is", "images are"),
        dataset.corrections().file()
    );
    Ok(entries)
}

/// Scales the 16-bit images of the data as the model's training images were scaled.
fn scaled_as_trained(dataset: Dataset, status: Status, trained: Option<u16>, ui: &Ui) -> (Dataset, Status) {
    match (trained, dataset.top_level()) {
        (Some(trained), Some(own)) if trained != own && !dataset.keeps_sixteen_bits() => {
            ui.warn(format_args!(
                "the weights were trained on images scaled by the top level {trained}; these crops have 8 bits, were scaled \
                 by {own} and are brighter or darker; make them again with `carpus clean`"
            ));
            (dataset, status.worse(Status::DoneWithProblems))
        }
        (Some(trained), Some(own)) if trained != own => {
            ui.warn(format_args!(
                "the 16-bit images have the top level {own}; they are scaled by {trained}, as the images that the weights \
                 were trained on"
            ));
            (dataset.with_top_level(trained), status.worse(Status::DoneWithProblems))
        }
        (None, Some(own)) => {
            ui.note(format_args!(
                "the weights were trained on 8-bit images; the 16-bit images are scaled by their top level {own}"
            ));
            (dataset, status)
        }
        _ => (dataset, status),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, TorchCommand, UiOptions};
    use crate::dataset::phantom::{self, PhantomSettings};
    use crate::progress::Silent;

    #[test]
    fn an_error_says_why_no_image_is_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let settings = PhantomSettings {
            patients: 1,
            test_patients: 1,
            size: 128,
            seed: 7,
            defects: false,
            jobs: 1,
            force: false,
        };
        phantom::generate(&settings, &folder.path().join("data"), &Silent).unwrap();
        let dataset = Dataset::open(&folder.path().join("data")).unwrap();
        let train = |e: &&ImageEntry| e.subset == crate::dataset::Subset::Train;
        let id = &dataset.images().iter().find(train).unwrap().image_id;
        let rows = format!("image_id,patient_id,stratum,fold\n{id},001,a,0\nother,002,a,1\n");
        std::fs::write(at("folds.csv"), rows).unwrap();
        let chosen = |options: &[&str]| {
            let (data, folds, out) = (at("data"), at("folds.csv"), at("out.csv"));
            let words = ["carpus", "predict", "--checkpoint", "w", "--data", &data, "--out", &out, "--folds", &folds];
            let cli = Cli::try_parse_from(words.iter().chain(options)).unwrap();
            let Command::Torch(TorchCommand::Predict(args)) = cli.command else { unreachable!() };
            let images = chosen_images(&args, &dataset, &Ui::new(UiOptions { quiet: true, ..UiOptions::default() }));
            images.map(|images| images.len()).map_err(|e| e.to_string())
        };
        assert_eq!(chosen(&["--fold", "0", "--subset", "train"]), Ok(1));
        let error = chosen(&["--fold", "0"]).unwrap_err();
        assert!(error.contains("fold 0 of ") && error.contains("holds 1 train image, but --subset is test"), "{error}");
        assert!(error.ends_with("give --subset train"), "{error}");
        assert!(chosen(&["--fold", "1"]).unwrap_err().contains("has none of the 1 image of fold 1"));
        assert!(chosen(&["--fold", "7"]).unwrap_err().contains("has no fold 7; it has 0, 1"));
    }
}
