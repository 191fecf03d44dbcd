mod compare;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Subcommand;
use rayon::prelude::*;

use super::data::open;
use super::{Status, Ui};
use crate::artefact::{kind, replace_folder};
use crate::dataset::Dataset;
use crate::ensemble::{EnsembleConfig, EnsembleImage, EnsembleList, EnsembleMethod, Ensembles, MemberImage};
use crate::mask::submission::{self, ImageMasks};
use crate::names::image_id;
use crate::probability::decision::DecisionSettings;
use crate::probability::{Bits, EXTENSION, ImageProbabilities, write, write_manifest};
use crate::progress::Progress;
use crate::wording::counted;

/// Combine stored predictions: probabilities and submissions
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Example:
  carpus ensemble --members probabilities/fold* --method soft \\
      --out submission.csv --probabilities-out probabilities/folds
  carpus ensemble --members a.csv b.csv probabilities/c --method staple \\
      --data data --decision decision.toml --out submission.csv
  carpus ensemble --config ensembles.toml --out ensembles
  carpus ensemble compare --members oof/a oof/b --data data

ensembles.toml has one [[ensemble]] per ensemble: name, method, members (folders, CSVs or names of ensembles \
above), weights, at-least. Images are read one by one. All members must have the same images.")]
pub struct EnsembleArgs {
    #[command(subcommand)]
    what: Option<What>,
    /// Folders of probabilities and submission CSVs, two or more
    #[arg(long, num_args = 1.., value_name = "DIR_OR_CSV", required_unless_present = "config", conflicts_with = "config")]
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
    /// Data folder with the images: their sizes, where all members are submissions
    #[arg(long)]
    data: Option<PathBuf>,
    /// Submission CSV to write; with --config, the folder that gets NAME.csv of each ensemble
    #[arg(long, required = true)]
    out: Option<PathBuf>,
    /// Folder for the combined probabilities of soft and logit
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    probabilities_out: Option<PathBuf>,
    /// Bits per probability in --probabilities-out
    #[arg(long, value_enum, default_value = "8", requires = "probabilities_out")]
    bits: Bits,
}

#[derive(Subcommand, Debug)]
enum What {
    Compare(compare::CompareMembersArgs),
}

/// Makes the ensembles and writes their submissions.
pub fn run(args: EnsembleArgs, ui: &Ui) -> anyhow::Result<Status> {
    let (out, args) = match (args.what, args.out) {
        (Some(What::Compare(args)), _) => return compare::run(&args, ui),
        (None, Some(out)) => (out, EnsembleArgs { what: None, out: None, ..args }),
        (None, None) => bail!("--out is missing"),
    };
    let configs = configs(&args)?;
    let files: Vec<PathBuf> = match &args.config {
        Some(_) => configs.iter().map(|config| out.join(format!("{}.csv", config.name))).collect(),
        None => vec![out],
    };
    let decision = match &args.decision {
        Some(path) => DecisionSettings::read(path)?,
        None => DecisionSettings::default(),
    };
    let (dataset, status) = match &args.data {
        Some(data) => {
            let (dataset, status) = open(data, None, ui)?;
            (Some(dataset), status)
        }
        None => (None, Status::Done),
    };
    check_outputs(&args, &configs, &files, dataset.as_ref(), ui)?;
    let ensembles = Ensembles::open(configs, decision.clone())?;
    let make =
        |folder: Option<&Path>| make(&ensembles, dataset.as_ref(), &decision, folder.map(|f| (f, args.bits)), ui);
    let made = match &args.probabilities_out {
        Some(folder) => replace_folder(folder, &kind::PROBABILITIES, |new| make(Some(new)))?,
        None => make(None)?,
    };
    for (i, file) in files.iter().enumerate() {
        let images: Vec<ImageMasks> = made.iter().map(|masks| masks[i].clone()).collect();
        match ensembles.sidecar() {
            Some(sidecar) => submission::write_with(file, &images, sidecar)?,
            None => submission::write(file, &images)?,
        }
    }
    print(&ensembles, &files, ui)?;
    Ok(status)
}

/// The masks of every image by every ensemble. The probabilities of a single ensemble are written to `folder`.
fn make(
    ensembles: &Ensembles,
    dataset: Option<&Dataset>,
    decision: &DecisionSettings,
    folder: Option<(&Path, Bits)>,
    ui: &Ui,
) -> anyhow::Result<Vec<Vec<ImageMasks>>> {
    ui.start("images combined", ensembles.images().len() as u64);
    let one = |id: &String| {
        let image = ensembles.combine(id, size(dataset, id)?)?;
        if let Some((folder, bits)) = folder {
            write_probabilities(folder, &image, bits)?;
        }
        ui.advance(1);
        masks(&image, decision)
    };
    let made = ensembles.images().par_iter().map(one).collect::<anyhow::Result<Vec<_>>>()?;
    ui.finish();
    if let Some((folder, bits)) = folder {
        let made_by = serde_json::json!({"command": "ensemble", "ensemble": ensembles.configs()[0]});
        write_manifest(folder, &made_by, made.len(), bits)?;
    }
    Ok(made)
}

/// The ensembles of the file, or the one that the options describe.
fn configs(args: &EnsembleArgs) -> anyhow::Result<Vec<EnsembleConfig>> {
    if let Some(path) = &args.config {
        return Ok(EnsembleList::read(path)?.ensemble);
    }
    let Some(method) = args.method else { bail!("--method is missing") };
    let config = EnsembleConfig {
        name: "ensemble".into(),
        method,
        members: args.members.clone(),
        weights: args.weights.clone(),
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
    configs: &[EnsembleConfig],
    files: &[PathBuf],
    dataset: Option<&Dataset>,
    ui: &Ui,
) -> anyhow::Result<()> {
    let members: Vec<PathBuf> = configs.iter().flat_map(|config| &config.members).map(PathBuf::from).collect();
    let inputs = members.iter().chain(&args.config).chain(&args.decision);
    let outputs = ui.outputs().inputs(inputs).data(dataset.iter().flat_map(|dataset| dataset.folders()));
    files.iter().try_for_each(|file| outputs.file(file, &kind::SUBMISSION))?;
    if let Some(folder) = &args.probabilities_out {
        outputs.folder(folder, &kind::PROBABILITIES)?;
    }
    Ok(())
}

/// The size of an image of the data.
fn size(dataset: Option<&Dataset>, id: &str) -> anyhow::Result<Option<(u32, u32)>> {
    let Some(dataset) = dataset else { return Ok(None) };
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
    let MemberImage::Probabilities(maps) = &image.results[0] else { bail!("the method makes masks") };
    let path = folder.join(format!("{}.{EXTENSION}", image_id(&image.image_name)));
    let image = ImageProbabilities { image_name: image.image_name.clone(), maps: maps.clone() };
    Ok(write(&path, &image, bits)?)
}

fn print(ensembles: &Ensembles, files: &[PathBuf], ui: &Ui) -> anyhow::Result<()> {
    let images = ensembles.images().len();
    let mut all = Vec::new();
    for (config, file) in ensembles.configs().iter().zip(files) {
        ui.line(format_args!(
            "{} of {}, {}: {}",
            config.method,
            counted(config.members.len(), "member", "members"),
            counted(images, "image", "images"),
            file.display()
        ));
        all.push(serde_json::json!({"ensemble": config, "out": file}));
    }
    ui.json(&serde_json::json!({"images": images, "ensembles": all}))
}
