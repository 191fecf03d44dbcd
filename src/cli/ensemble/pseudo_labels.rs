use std::path::PathBuf;

use anyhow::ensure;

use super::MadeImage;
use crate::artefact::{OutputError, Outputs, kind, replace_folder};
use crate::cli::Ui;
use crate::dataset::Dataset;
use crate::ensemble::{EnsembleConfig, PseudoLabel, PseudoLabelOptions, write_pseudo_labels};
use crate::mask::HandMasks;
use crate::wording::counted;

/// Options of pseudo-labels.
#[derive(clap::Args, Debug)]
pub(super) struct PseudoLabelArgs {
    /// Data set to write: images without annotation with the masks of the last ensemble, where its members agree
    #[arg(long, value_name = "DIR", requires = "data")]
    pseudo_labels: Option<PathBuf>,
    /// Least mean agreement of an image: the mean Dice of all pairs of members and all bones
    #[arg(long, value_name = "DICE", default_value_t = 0.95, requires = "pseudo_labels")]
    min_agreement: f64,
    /// Least agreement of each bone of an image
    #[arg(long, value_name = "DICE", default_value_t = 0.8, requires = "pseudo_labels")]
    min_bone_agreement: f64,
    /// Dice of the ensemble on images that it was not trained on, to be noted with the pseudo-labels
    #[arg(long, value_name = "DICE", requires = "pseudo_labels")]
    teacher_dice: Option<f64>,
}

/// Pseudo-labels of weaker teachers made models worse where it was tried.
const GOOD_TEACHER: f64 = 0.96;

impl PseudoLabelArgs {
    /// Whether pseudo-labels are requested.
    pub fn wanted(&self) -> bool {
        self.pseudo_labels.is_some()
    }

    /// Checks the options and the folder.
    pub fn check(&self, outputs: &Outputs, dataset: Option<&Dataset>) -> anyhow::Result<()> {
        let Some(folder) = &self.pseudo_labels else { return Ok(()) };
        ensure!(
            dataset.is_some_and(|dataset| !dataset.is_copy()),
            "--pseudo-labels takes the original images: give the original data folder with --data"
        );
        let shares = [
            ("min-agreement", Some(self.min_agreement)),
            ("min-bone-agreement", Some(self.min_bone_agreement)),
            ("teacher-dice", self.teacher_dice),
        ];
        for (name, value) in shares {
            let fits = value.is_none_or(|value| (0.0..=1.0).contains(&value));
            ensure!(fits, "--{name} is {}; expected from 0 to 1", value.unwrap_or(f64::NAN));
        }
        outputs.folder(folder, &kind::PSEUDO_LABELS).map_err(|error: OutputError| error.into())
    }

    /// Writes the data set; the figures for JSON.
    pub fn write(
        &self,
        dataset: &Dataset,
        made: &[MadeImage],
        configs: &[EnsembleConfig],
        ui: &Ui,
    ) -> anyhow::Result<serde_json::Value> {
        let folder = self.pseudo_labels.as_ref().expect("pseudo-labels are requested");
        let mut labels = Vec::new();
        for image in made {
            let Some(masks) = image.masks.last() else { continue };
            let Some(entry) = dataset.find(&masks.image_name).filter(|entry| entry.annotation.is_none()) else {
                continue;
            };
            if dataset.excludes(entry) {
                continue;
            }
            let (width, height) = dataset.dimensions(entry)?;
            let fits = |masks: &HandMasks| masks.reshaped(width, height).map_err(|(_, error)| error);
            labels.push(PseudoLabel { entry, masks: fits(&masks.masks)?, agreement: image.agreement.clone() });
        }
        ensure!(
            !labels.is_empty(),
            "--pseudo-labels: all predicted images are annotated or excluded; predict images without annotation"
        );
        let members = configs.last().map_or(0, |config| config.members.len());
        if members < 2 {
            ui.warn("the last ensemble has one member, so that nothing can disagree: every image is kept");
        }
        match self.teacher_dice {
            None => ui.note("the teacher\'s Dice is not noted; --teacher-dice notes it"),
            Some(dice) if dice < GOOD_TEACHER => ui.warn(format_args!(
                "a teacher with a Dice of {dice} is weak: pseudo-labels of such teachers have made models worse"
            )),
            Some(_) => {}
        }
        let options = PseudoLabelOptions { least_mean: self.min_agreement, least_of_bone: self.min_bone_agreement };
        let teacher = serde_json::json!({"ensembles": configs, "dice": self.teacher_dice});
        let found = replace_folder(folder, &kind::PSEUDO_LABELS, |new| {
            write_pseudo_labels(new, dataset, &labels, options, &teacher).map_err(anyhow::Error::from)
        })?;
        ui.line(format_args!(
            "pseudo-labels of {}, {} left out: {}",
            counted(found.images.len(), "image", "images"),
            found.left_out.len(),
            folder.display()
        ));
        if let (true, Some(first)) = (found.images.is_empty(), found.left_out.first()) {
            ui.warn(format_args!("the pseudo-labels have no image; the first was left out: {}", first.reason));
        }
        Ok(serde_json::json!({
            "images": found.images.len(), "left_out": found.left_out, "out": folder, "teacher_dice": self.teacher_dice,
        }))
    }
}
