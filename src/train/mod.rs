//! Training: one loop for every model, loss, optimiser and schedule.
//!
//! [`partition`] divides the images by the folds, [`Samples`] holds the samples at the model's size, [`train`] trains
//! the stages of a run and writes its folder: `metrics.csv` and `metrics.parquet`, TensorBoard events, W&B's offline
//! folder if configured, pictures, `best.safetensors` (only weights, by the names of
//! [`Architecture::reference`](crate::models::Architecture::reference)) and `last.safetensors` (everything that a
//! resumed run needs). [`Learner`] is the inner part without data and files: sums of gradients, and optimiser steps.
//! Every random decision is drawn from a new generator with the seed (seed, epoch or step, place). So on the CPU an
//! interrupted and resumed run ends with exactly the same weights as an uninterrupted one.

mod average;
mod checkpoint;
mod config;
mod data;
mod ema;
mod epoch_end;
mod error;
mod fold;
mod folder;
mod freeze;
mod histograms;
mod hooks;
mod image_part;
mod initial;
mod input;
mod learner;
mod loader;
mod lr_finder;
mod mean_teacher;
mod memory;
mod optimiser;
mod partition;
mod patient_metadata;
mod pictures;
mod precision;
mod protobuf;
mod ranks;
mod rates;
mod sampler;
mod scalars;
mod schedule;
mod seeds;
mod settings;
mod specialist;
mod stage_end;
mod statistics;
mod swa;
mod tensorboard;
mod training_run;
mod unlabelled;
mod until;
mod validation;
mod wandb;
mod wandb_log;

pub use average::MeanWeights;
pub use checkpoint::{Checkpoint, Kept, TrainedModel, WeightsInfo, read_weights, weights_info, write_weights};
pub(crate) use config::NO_SCORES;
pub use config::{DataConfig, OutputConfig, STAGE_KEYS, Stage, StageHead, TrainConfig, TrainingPlan};
pub use data::{Sample, SampleFrame, Samples};
pub use ema::{Ema, EmaSettings};
pub use error::TrainError;
pub use fold::Fold;
pub use folder::RunFolder;
pub use freeze::{Freeze, Frozen};
pub use histograms::TensorHistogram;
pub use hooks::{HookEvent, HookSettings, HookStatus};
pub use image_part::ImagePart;
pub use input::{InputImage, InputSettings, Statistics};
pub use learner::{Learner, StepOutcome};
pub use loader::{Batch, Loading};
pub use lr_finder::{LrCurve, LrFinderOptions, LrPoint, LrSuggestions, find_lr};
pub use mean_teacher::{MeanTeacherSettings, consistency_loss, sigmoid_ramp_up};
pub use optimiser::{Optimiser, OptimiserKind, OptimiserSettings};
pub use partition::{Partition, partition};
pub use patient_metadata::PatientMetadata;
pub use precision::{Amp, GradientRange, Scaler};
pub use ranks::{OneProcess, Ranks, Strategy};
pub use rates::{Rate, StageRates, rates, steps_per_epoch};
pub use sampler::{Sampling, batches, order};
pub use schedule::Schedule;
pub use settings::{Monitor, PointWeight, StartFrom};
pub use specialist::SpecialistSettings;
pub use statistics::estimate_statistics;
pub use swa::{Annealing, SwaAverage, SwaSettings};
pub use tensorboard::EventsWriter;
pub use training_run::{Data, Outcome, RunStart, Watcher, train};
pub use unlabelled::{Unlabelled, UnlabelledBatch, UnlabelledImages, UnlabelledTensors};
pub use until::UntilSettings;
pub use validation::{Tensors, Validation, normalised, target, validate};
pub use wandb::{WandbConfig, WandbFolder, WandbResult};
