use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, ensure};

use super::data::{held_out, open, warn, without_excluded};
use super::split::{Chosen, subset};
use super::{Status, Ui};
use crate::artefact::kind;
use crate::clean::{self, Transform};
use crate::dataset::folder::TRANSFORMS;
use crate::dataset::{Dataset, ImageEntry, image_id};
use crate::device::{self, DeviceKind};
use crate::experiment::known;
use crate::infer::{Guide, Predictor, TestTimeAugmentation, predict, predict_specialist, to_originals};
use crate::mask::HandMasks;
use crate::mask::submission::{self, Space};
use crate::scores::read_flat;
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
  carpus predict --checkpoint runs/carpals --data data --subset test \\
      --around submission.csv --out carpals.csv

If DATA is a folder that `carpus clean` wrote, masks are mapped back to the original images.")]
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
    /// Device: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceKind,
    /// Batch size
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch: usize,
    /// Test-time augmentation: average the probabilities of each image and its mirror image
    #[arg(long)]
    tta: bool,
}

/// Predicts the chosen images and writes the submission.
pub fn run(mut args: PredictArgs, ui: &Ui) -> anyhow::Result<Status> {
    args.checkpoint = RunFolder::weights_at(&args.checkpoint)?;
    let device = device::select(args.device)?;
    let (mut dataset, mut status) = open(&args.data, args.corrections.as_deref(), ui)?;
    let around = args.around.as_ref().filter(|path| !is_annotations(path));
    let inputs = std::iter::once(&args.checkpoint).chain(&args.folds).chain(&args.corrections);
    ui.outputs().inputs(inputs).inputs(around).data(dataset.folders()).file(&args.out, &kind::SUBMISSION)?;
    let augmentation = if args.tta { TestTimeAugmentation::Flip } else { TestTimeAugmentation::None };
    let predictor = Predictor::open(&args.checkpoint, device, augmentation)?;
    (dataset, status) = scaled_as_trained(dataset, status, predictor.info().top_level, ui);
    let entries = chosen_images(&args, &dataset, ui)?;
    let known = match predictor.info().model.metadata {
        Some(_) => known(&dataset, ui),
        None => PatientMetadata::default(),
    };
    let mut prediction = match &args.around {
        None => predict(&predictor, &dataset, &entries, &known, args.batch, ui)?,
        Some(_) => {
            let masks = around.map(|path| guide(path, &dataset)).transpose()?;
            let guide = masks.as_ref().map_or(Guide::Annotations, Guide::Masks);
            predict_specialist(&predictor, &dataset, &entries, guide, &known, args.batch, ui)?
        }
    };
    if args.data.join(TRANSFORMS).exists() {
        let transforms: Vec<Transform> = clean::read_transforms(&args.data)?;
        prediction.images = to_originals(prediction.images, &transforms)?;
    }
    submission::write(&args.out, &prediction.images)?;
    let status = status.worse(warn(&prediction.problems, ui));
    let (images, problems) = (prediction.images.len(), prediction.problems.len());
    ui.line(format_args!("{} predicted: {}", counted(images, "image", "images"), args.out.display()));
    ui.json(&serde_json::json!({"images": images, "problems": problems, "out": args.out}))?;
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

/// The images that `--subset`, `--fold` and the corrections leave; an error that says why if there are none.
fn chosen_images<'a>(args: &PredictArgs, dataset: &'a Dataset, ui: &Ui) -> anyhow::Result<Vec<&'a ImageEntry>> {
    let mut entries: Vec<&ImageEntry> = dataset.images().iter().collect();
    let mut from = args.data.display().to_string();
    if let (Some(path), Some(fold)) = (&args.folds, args.fold) {
        let held = held_out(path, fold)?;
        ensure!(!held.is_empty(), "{} holds out no images in fold {fold}; choose another --fold", path.display());
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
        assert!(chosen(&["--fold", "7"]).unwrap_err().contains("holds out no images in fold 7"));
    }
}
