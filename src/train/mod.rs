//! Training: one loop for every model, loss, optimiser and schedule.
//!
//! [`partition`] reads the folds, [`Dataset`] holds the samples at the model's size, [`train`] runs the epochs and
//! leaves a run folder: `log.csv`, TensorBoard events, pictures, `best.safetensors` (weights alone, by the
//! reference's names) and `last.safetensors` (everything needed to go on). Every random decision is drawn from a
//! generator seeded by (seed, epoch or step, place), never from one that runs on, so a run that was broken off and
//! resumed ends with the same bits on the CPU as one that was not.

mod checkpoint;
mod data;
mod ema;
mod engine;
mod error;
mod loader;
mod log;
mod optimiser;
mod partition;
mod pictures;
mod rates;
mod sampler;
mod schedule;
mod seeds;
mod settings;
mod tensorboard;
mod validate;

pub use checkpoint::{Checkpoint, WeightsInfo, read_weights, write_weights};
pub use data::{Dataset, Sample};
pub use ema::{Ema, EmaSettings};
pub use engine::{Outcome, RunFolder, Watcher, train};
pub use error::TrainError;
pub use loader::{Batch, Loading};
pub use log::EpochRecord;
pub use optimiser::{Optimiser, OptimiserKind, OptimiserSettings};
pub use partition::{Partition, partition};
pub use rates::{Rate, StageRates, rates, steps_per_epoch};
pub use sampler::order;
pub use schedule::Schedule;
pub use settings::{InputSettings, Settings};
pub use tensorboard::EventsWriter;
pub use validate::{Validation, target, validate};
