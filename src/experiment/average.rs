//! The mean of the weights of several files or runs, with batch norms that fit it.

use std::path::{Path, PathBuf};

use tch::Device;

use super::data::DataBySize;
use super::{ExperimentError, Observer, io, phantom};
use crate::train::{Loading, MeanWeights, OneProcess, RunFolder, TrainConfig, estimate_statistics, write_weights};
use crate::wording::counted;

/// What [`average_weights`] wrote.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AveragedWeights {
    /// The averaged files.
    pub files: Vec<PathBuf>,
    /// The file that was written.
    pub out: PathBuf,
    /// Number of batch norms whose statistics were estimated again.
    pub norms_estimated: usize,
    /// Number of batch norms that have the mean of the files' statistics, because the training images are not at hand.
    pub norms_averaged: usize,
}

/// Averages weights with equal shares and writes them to `out`. `inputs` are files of weights of one model, or folders
/// of runs, which stand for the best epochs that the run kept (`keep-best`). The statistics of the batch norms that
/// differ between the files are estimated again from the training images of the first run; if there is no run, or its
/// data cannot be read, a warning says so and the statistics are averaged like the weights.
///
/// # Errors
/// There are fewer than two files, a file cannot be read or written, or the files are of different models.
pub fn average_weights(
    inputs: &[PathBuf],
    out: &Path,
    device: Device,
    observer: &dyn Observer,
) -> Result<AveragedWeights, ExperimentError> {
    let mut files = Vec::new();
    for input in inputs {
        files.extend(if input.is_dir() { kept_files(input)? } else { vec![input.clone()] });
    }
    let mean = MeanWeights::read(&files, device)?;
    let mut estimated = 0;
    if mean.norms > 0 {
        match estimate(&mean, &inputs[0], observer) {
            Ok(norms) => estimated = norms,
            Err(reason) => observer.warn(&format!(
                "the statistics of {} are the means of those in the files and fit the mean weights badly, because they \
                 could not be estimated from the training images: {reason}",
                counted(mean.norms, "batch norm", "batch norms")
            )),
        }
    }
    write_weights(out, &mean.model.state(), &mean.info)?;
    let norms_averaged = mean.norms - estimated;
    Ok(AveragedWeights { files, out: out.into(), norms_estimated: estimated, norms_averaged })
}

/// The weights of the best epochs that a run kept, in the order of the epochs.
fn kept_files(run: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    let folder = RunFolder::new(run, "").kept_folder();
    if !folder.is_dir() {
        return Err(ExperimentError::NoKeptWeights { run: run.into(), folder });
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(io(&folder))? {
        let path = entry.map_err(io(&folder))?.path();
        files.extend(path.extension().is_some_and(|ending| ending == "safetensors").then_some(path));
    }
    files.sort();
    Ok(files)
}

/// Estimates the batch norms from the training images of the run that `input` belongs to; their number, or why they
/// cannot be estimated.
fn estimate(mean: &MeanWeights, input: &Path, observer: &dyn Observer) -> Result<usize, String> {
    let folders = input.ancestors().take(3);
    let Some(file) = folders.map(|folder| folder.join("config.toml")).find(|file| file.is_file()) else {
        return Err(format!("{} does not belong to a run (there is no config.toml)", input.display()));
    };
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut config = TrainConfig::load(&file, &[]).map_err(|e| text(&e))?;
    if phantom::is_used(&config) {
        config = phantom::prepare(&config, observer).map_err(|e| text(&e))?;
    }
    let size = mean.info.size;
    let stages = config.stages(&file).map_err(|e| text(&e))?;
    let stage = stages.iter().rfind(|stage| stage.config.size == size);
    let stage = stage.ok_or_else(|| format!("{} has no stage of {size} px", file.display()))?;
    let data = DataBySize::read(&config, std::iter::once(size), observer).map_err(|e| text(&e))?;
    let loading = Loading {
        batch: stage.config.batch,
        augment: Some(&stage.config.augment),
        augment_on_device: false,
        input: &mean.info.input,
        channels: mean.info.model.in_channels as usize,
        pairs: &mean.info.model.pairs,
        channels_last: false,
        seed: config.seed,
        workers: config.workers.max(1),
        unlabelled: None,
        ranks: &OneProcess,
    };
    estimate_statistics(&mean.model, data.at(&stage.config).training, &loading, stage.config.amp, 0)
        .map_err(|e| text(&e))
}
