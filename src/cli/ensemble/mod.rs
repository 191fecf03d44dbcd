mod compare;
mod members;
mod pseudo_labels;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use rayon::prelude::*;

use self::members::Predictions;
use self::pseudo_labels::PseudoLabelArgs;
use super::data::open;
use super::split::{Chosen, subset};
use super::values::expect_different;
use super::{Status, Ui};
use crate::artefact::{kind, replace_folder};
use crate::dataset::{Dataset, ImageEntry};
use crate::ensemble::{
    EnsembleConfig, EnsembleImage, EnsembleList, EnsembleMember, EnsembleMethod, Ensembles, MemberImage, Unconverged,
};
use crate::mask::submission::{self, ImageMasks};
use crate::names::image_id;
use crate::probability::decision::DecisionSettings;
use crate::probability::{Bits, EXTENSION, ImageProbabilities, Manifest, write};
use crate::progress::Progress;
use crate::thresholds::{AUTO_SHARE, least_annotated_areas};
use crate::wording::counted;

/// Combine predictions: probabilities, submissions, runs and sets of folds
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Example:
  carpus ensemble --members probabilities/fold* --method soft \\
      --out submission.csv --probabilities-out probabilities/folds
  carpus ensemble --members a.csv b.csv probabilities/c --method staple \\
      --data data --decision decision.toml --out submission.csv
  carpus ensemble --members runs/fpn-folds runs/unet --method soft \\
      --data data --members-out predictions --out submission.csv
  carpus ensemble --config ensembles.toml --data data --out ensembles
  carpus ensemble --config ensembles.toml --data data --out ensembles \\
      --pseudo-labels pseudo --teacher-dice 0.972
  carpus ensemble compare --members oof/a oof/b --data data

ensembles.toml has one [[ensemble]] per ensemble: name, method, members, weights, class-weights, at-least. Members are \
folders of probabilities, CSVs, runs, sets of folds (NAME-folds: the soft vote of the runs NAME-fold0, …) and names of \
ensembles above; a run with options is a table like { run = \"runs/a\", window = 1024, tta = \"flip\" }. Runs are predicted \
first, and again only if they changed. class-weights = { carpal = [0, 1] } takes the carpals of the second of two members. \
All members must have the same images.

--pseudo-labels writes the images without annotation on which the members of the last ensemble agree as a data set, with \
its agreement as weight of each image.")]
pub struct EnsembleArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Folders of probabilities, submission CSVs, runs and sets of folds
    #[arg(long, num_args = 1.., value_name = "PATH", required_unless_present = "config", conflicts_with = "config")]
    members: Vec<String>,
    /// soft or logit: means of probabilities or logits; hard, staple or simple: votes of masks
    #[arg(long, required_unless_present = "config", conflicts_with = "config")]
    method: Option<EnsembleMethod>,
    /// Weight per member, separated by commas, for soft, logit and hard [default: equal]
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS", conflicts_with = "config")]
    weights: Option<Vec<f64>>,
    /// For hard: number of masks that set a pixel [default: more than half of the weight]
    #[arg(long, value_name = "N", conflicts_with = "config")]
    at_least: Option<usize>,
    /// TOML file with ensembles, made in order
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// TOML file with [decision]: how masks are made of probabilities [default: a threshold of 0.5]
    #[arg(long, value_name = "FILE")]
    decision: Option<PathBuf>,
    /// Data folder: images for members that are runs, their sizes where all members are submissions
    #[arg(long)]
    data: Option<PathBuf>,
    /// Corrections file to apply to the data
    #[arg(long, value_name = "FILE", requires = "data")]
    corrections: Option<PathBuf>,
    /// Images of which members that are runs are predicted: train, test or all
    #[arg(long, default_value = "test", value_parser = subset)]
    subset: Chosen,
    /// Device on which runs are predicted: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Folder for the probabilities of members that are runs [default: members in the folder of --out, with --config]
    #[arg(long, value_name = "DIR")]
    members_out: Option<PathBuf>,
    /// Submission CSV to write; with --config, the folder that gets NAME.csv of each ensemble
    #[arg(long, required = true)]
    out: Option<PathBuf>,
    /// Folder for the combined probabilities of soft and logit
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    probabilities_out: Option<PathBuf>,
    /// Bits per probability in --probabilities-out
    #[arg(long, value_enum, default_value = "8", requires = "probabilities_out")]
    bits: Bits,
    #[command(flatten)]
    pseudo: PseudoLabelArgs,
}

#[derive(Subcommand, Debug)]
enum What {
    Compare(Box<compare::CompareMembersArgs>),
}

/// Makes the ensembles and writes their submissions.
pub fn run(args: EnsembleArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (out, args) = match (args.what, args.out) {
        (Some(What::Compare(args)), _) => return compare::run(&args, ui),
        (None, Some(out)) => (out, EnsembleArgs { what: None, out: None, ..args }),
        (None, None) => bail!("--out is missing"),
    };
    let configs = configs(&args)?;
    let (dataset, mut status) = match &args.data {
        Some(data) => {
            let (dataset, status) = open(data, args.corrections.as_deref(), ui)?;
            (Some(dataset), status)
        }
        None => (None, Status::Done),
    };
    let decision = decision(&args, dataset.as_ref())?;
    check_outputs(&args, &out, &configs, dataset.as_ref(), ui)?;
    let members_out = args.members_out.clone().or_else(|| args.config.as_ref().map(|_| out.join("members")));
    let predicted = Predictions::new(&args, dataset.as_ref(), members_out, ui).resolve(configs)?;
    status = status.worse(predicted.status);
    let files: Vec<PathBuf> = match &args.config {
        Some(_) => predicted.configs.iter().map(|config| out.join(format!("{}.csv", config.name))).collect(),
        // Sets of folds come before the ensemble, and have no file of their own.
        None => vec![out],
    };
    // Sets of folds have files too, which were not known before.
    files.iter().try_for_each(|file| ui.outputs().file(file, &kind::SUBMISSION))?;
    let ensembles = Ensembles::open(predicted.configs, decision.clone())?;
    let ensembles = if args.pseudo.wanted() { ensembles.with_agreement() } else { ensembles };
    let job = Job { ensembles: &ensembles, dataset: dataset.as_ref(), decision: &decision, ui };
    let made = match &args.probabilities_out {
        Some(folder) => replace_folder(folder, &kind::PROBABILITIES, |new| job.make(Some((new, args.bits))))?,
        None => job.make(None)?,
    };
    let first = ensembles.configs().len() - files.len();
    for (i, file) in files.iter().enumerate() {
        let images: Vec<ImageMasks> = made.iter().map(|image| image.masks[first + i].clone()).collect();
        match ensembles.sidecar() {
            Some(sidecar) => submission::write_with(file, &images, sidecar)?,
            None => submission::write(file, &images)?,
        }
    }
    warn_unconverged(&made, ui);
    let labels = match &dataset {
        Some(dataset) if args.pseudo.wanted() => {
            Some(args.pseudo.write(dataset, &made, &ensembles.configs()[first..], ui)?)
        }
        _ => None,
    };
    print(&ensembles.configs()[first..], &files, made.len(), labels, ui)?;
    Ok(status)
}

/// What the ensembles have in common.
struct Job<'a> {
    ensembles: &'a Ensembles,
    dataset: Option<&'a Dataset>,
    decision: &'a DecisionSettings,
    ui: &'a Ui,
}

/// One image by every ensemble.
struct MadeImage {
    masks: Vec<ImageMasks>,
    unconverged: Vec<Unconverged>,
    /// Of the last ensemble; empty if it is not needed.
    agreement: Vec<f64>,
}

impl Job<'_> {
    /// The masks of every image by every ensemble. The probabilities of the last ensemble are written to `folder`.
    fn make(&self, folder: Option<(&Path, Bits)>) -> anyhow::Result<Vec<MadeImage>> {
        self.ui.start("images combined", self.ensembles.images().len() as u64);
        let one = |id: &String| {
            let image = self.ensembles.combine(id, size(self.dataset, id)?)?;
            if let Some((folder, bits)) = folder {
                write_probabilities(folder, &image, bits)?;
            }
            self.ui.advance(1);
            let masks = masks(&image, self.decision)?;
            anyhow::Ok(MadeImage { masks, unconverged: image.unconverged, agreement: image.agreement })
        };
        let made = self.ensembles.images().par_iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
        self.ui.finish();
        if let Some((folder, bits)) = folder {
            let made_by = serde_json::json!({"command": "ensemble", "ensemble": self.ensembles.configs().last()});
            Manifest { made_by, images: made.len(), bits }.write(folder)?;
        }
        Ok(made)
    }
}

/// The decision of the file; least areas that it takes from the training images are those of the data's annotations.
fn decision(args: &EnsembleArgs, dataset: Option<&Dataset>) -> anyhow::Result<DecisionSettings> {
    let Some(path) = &args.decision else { return Ok(DecisionSettings::default()) };
    let decision = DecisionSettings::read(path)?;
    if !decision.needs_least_areas() {
        return Ok(decision);
    }
    let dataset = dataset.with_context(|| {
        format!("{}: min-area = \"auto\" takes the areas of annotated images; give them with --data", path.display())
    })?;
    let annotated = |entry: &&ImageEntry| entry.annotation.is_some() && !dataset.excludes(entry);
    let training: Vec<&ImageEntry> = dataset.images().iter().filter(annotated).collect();
    ensure!(
        !training.is_empty(),
        "{}: min-area = \"auto\" takes the areas of annotated images, and {} has none",
        path.display(),
        dataset.root().display()
    );
    Ok(decision.with_least_areas(&least_annotated_areas(dataset, &training, AUTO_SHARE)?))
}

/// Warns about estimates that had not settled.
fn warn_unconverged(made: &[MadeImage], ui: &Ui) {
    let all: Vec<&Unconverged> = made.iter().flat_map(|image| &image.unconverged).collect();
    if let Some(first) = all.first() {
        ui.warn(format_args!(
            "ensemble {}: the estimate of {} had not settled at the limit of iterations, for example image {}, {}; its last \
             value is used",
            first.ensemble,
            counted(all.len(), "mask", "masks"),
            first.image,
            first.bone
        ));
    }
}

/// The ensembles of the file, or the one that the options describe.
fn configs(args: &EnsembleArgs) -> anyhow::Result<Vec<EnsembleConfig>> {
    if let Some(path) = &args.config {
        return Ok(EnsembleList::read(path)?.ensemble);
    }
    let Some(method) = args.method else { bail!("--method is missing") };
    expect_different(&args.members.iter().map(PathBuf::from).collect::<Vec<_>>())?;
    let config = EnsembleConfig {
        name: "ensemble".into(),
        method,
        members: args.members.iter().map(|member| EnsembleMember::Named(member.clone())).collect(),
        weights: args.weights.clone(),
        class_weights: None,
        at_least: args.at_least,
    };
    config.violations().result().map_err(|violations| anyhow::anyhow!("--{violations}"))?;
    let means = matches!(method, EnsembleMethod::Soft | EnsembleMethod::Logit);
    ensure!(
        means || args.probabilities_out.is_none(),
        "--probabilities-out: --method {method} makes masks; only soft and logit make probabilities"
    );
    Ok(vec![config])
}

fn check_outputs(
    args: &EnsembleArgs,
    out: &Path,
    configs: &[EnsembleConfig],
    dataset: Option<&Dataset>,
    ui: &Ui,
) -> anyhow::Result<()> {
    let members: Vec<PathBuf> =
        configs.iter().flat_map(|config| &config.members).map(|member| member.name().into()).collect();
    let inputs = members.iter().chain(&args.config).chain(&args.decision).chain(&args.corrections);
    let outputs = ui.outputs().inputs(inputs).data(dataset.iter().flat_map(|dataset| dataset.folders()));
    match &args.config {
        Some(_) => {
            let file = |config: &EnsembleConfig| out.join(format!("{}.csv", config.name));
            configs.iter().try_for_each(|config| outputs.file(&file(config), &kind::SUBMISSION))?;
        }
        None => outputs.file(out, &kind::SUBMISSION)?,
    }
    args.pseudo.check(&outputs, dataset)?;
    if let Some(folder) = &args.probabilities_out {
        outputs.folder(folder, &kind::PROBABILITIES)?;
    }
    Ok(())
}

/// The size of an image of the data. Predictions of crops are mapped to the originals, whose sizes crops do not have.
fn size(dataset: Option<&Dataset>, id: &str) -> anyhow::Result<Option<(u32, u32)>> {
    let Some(dataset) = dataset.filter(|dataset| !dataset.is_copy()) else { return Ok(None) };
    let entry = dataset.find(id);
    let entry = entry.with_context(|| {
        format!("image {id} is not in {}; give the data that was predicted", dataset.root().display())
    })?;
    Ok(Some(dataset.dimensions(entry)?))
}

/// The masks of an image by every ensemble.
fn masks(image: &EnsembleImage, decision: &DecisionSettings) -> anyhow::Result<Vec<ImageMasks>> {
    let of = |result: &MemberImage| {
        let masks = result.masks(&image.image_name, decision)?;
        Ok(ImageMasks { image_name: image.image_name.clone(), masks })
    };
    image.results.iter().map(of).collect()
}

fn write_probabilities(folder: &Path, image: &EnsembleImage, bits: Bits) -> anyhow::Result<()> {
    let Some(MemberImage::Probabilities(maps)) = image.results.last() else { bail!("the method makes masks") };
    let path = folder.join(format!("{}.{EXTENSION}", image_id(&image.image_name)));
    let image = ImageProbabilities { image_name: image.image_name.clone(), maps: maps.clone() };
    Ok(write(&path, &image, bits)?)
}

fn print(
    configs: &[EnsembleConfig],
    files: &[PathBuf],
    images: usize,
    labels: Option<serde_json::Value>,
    ui: &Ui,
) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for (config, file) in configs.iter().zip(files) {
        ui.line(format_args!(
            "{} of {}, {}: {}",
            config.method,
            counted(config.members.len(), "member", "members"),
            counted(images, "image", "images"),
            file.display()
        ));
        all.push(serde_json::json!({"ensemble": config, "out": file}));
    }
    ui.json(&serde_json::json!({"images": images, "ensembles": all, "pseudo_labels": labels}))
}
