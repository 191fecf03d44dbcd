use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::bones;
use crate::tables;

/// One epoch of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Optimiser steps done so far.
    pub step: u64,
    /// Base rate of the last step.
    pub lr: f64,
    /// Mean loss over the epoch's training samples.
    pub train_loss: f64,
    /// Mean loss over the validation images (averaged weights where there are any).
    pub valid_loss: f64,
    /// Mean Dice over validation images and classes at the model's size (averaged weights where there are any).
    pub valid_dice: f64,
    /// The same of the weights as trained; absent without averaged weights.
    pub valid_dice_raw: Option<f64>,
    /// Mean Dice over validation images by class.
    pub per_class: Vec<f64>,
    /// Mean norm of all gradients.
    pub gradient_norm: f64,
    /// Seconds of the epoch, validation included.
    pub seconds: f64,
    /// Training images a second, validation left out.
    pub images_per_second: f64,
    /// Share of the training time spent waiting for batches.
    pub waiting: f64,
}

/// Writes the whole log as CSV, by rename.
pub(super) fn write_csv(path: &Path, records: &[EpochRecord]) -> std::io::Result<()> {
    const COLUMNS: [&str; 11] = [
        "epoch",
        "step",
        "lr",
        "train_loss",
        "valid_loss",
        "valid_dice",
        "valid_dice_raw",
        "gradient_norm",
        "seconds",
        "images_per_second",
        "waiting",
    ];
    tables::write_atomically(path, |out| {
        let mut csv = csv::Writer::from_writer(out);
        let classes = bones::NAMES.iter().map(|name| format!("dice_{name}"));
        csv.write_record(COLUMNS.iter().map(|c| (*c).to_owned()).chain(classes))?;
        for r in records {
            let mut row = vec![r.epoch.to_string(), r.step.to_string(), format!("{:e}", r.lr)];
            row.extend([r.train_loss, r.valid_loss, r.valid_dice].map(|v| format!("{v:.6}")));
            row.push(r.valid_dice_raw.map(|v| format!("{v:.6}")).unwrap_or_default());
            row.extend([r.gradient_norm, r.seconds, r.images_per_second, r.waiting].map(|v| format!("{v:.4}")));
            row.extend(r.per_class.iter().map(|v| format!("{v:.6}")));
            csv.write_record(row)?;
        }
        csv.flush()
    })
}
