use polars::prelude::{Column, DataFrame, PolarsResult, polars_err};
use serde::{Deserialize, Serialize};

use super::TableRow;
use super::frame::{ColumnValue, InvalidCell};
use crate::bones;

/// An epoch of a training run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// Name of the stage it belongs to.
    pub stage: String,
    /// Number of the epoch, from 1, over all stages.
    pub epoch: u32,
    /// Optimiser steps so far, over all stages.
    pub step: u64,
    /// Base learning rate of the last step.
    pub lr: f64,
    /// Mean loss over the epoch's training samples.
    pub train_loss: f64,
    /// Mean loss over the validation images (of the averaged weights, if there are any); missing without a validation.
    pub valid_loss: Option<f64>,
    /// Mean Dice over validation images and classes at the model's input size (of the averaged weights, if there are any);
    /// missing without a validation.
    pub valid_dice: Option<f64>,
    /// The same of the weights that are not averaged; missing if there are no averaged weights.
    pub valid_dice_raw: Option<f64>,
    /// Mean norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Duration of the epoch in seconds, including validation.
    pub seconds: f64,
    /// Training images per second, without validation.
    pub images_per_second: f64,
    /// Share of the training time spent waiting for batches.
    pub waiting: f64,
    /// Peak memory in MiB: on a GPU that of its tensors in the epoch, on the CPU that of the process so far; missing if the system
    /// does not report it.
    pub memory_mb: Option<f64>,
    /// Steps skipped because half-precision gradients overflowed.
    pub steps_skipped: u64,
    /// Training samples skipped because their file could not be read.
    pub images_skipped: u64,
    /// Mean Dice over validation images per class, in channel order; columns `dice_CLASS`. Empty without a validation.
    pub dice: Vec<f64>,
}

macro_rules! columns {
    ($($field:ident: $type:ty,)+) => {
        impl TableRow for EpochRow {
            const NAME: &'static str = "metrics";
            const COLUMNS: &'static [&'static str] = &COLUMNS;
            const FOR_PEOPLE: bool = false;

            fn to_frame(rows: &[Self]) -> PolarsResult<DataFrame> {
                let mut columns: Vec<Column> = vec![$(
                    <$type as ColumnValue>::column(stringify!($field), rows.iter().map(|r| r.$field.clone()).collect()),
                )+];
                for (class, name) in DICE.iter().enumerate() {
                    columns.push(Option::<f64>::column(name, rows.iter().map(|r| r.dice.get(class).copied()).collect()));
                }
                DataFrame::new(rows.len(), columns)
            }

            fn from_frame(frame: &DataFrame) -> PolarsResult<Vec<Self>> {
                $(let mut $field = <$type as ColumnValue>::values(frame.column(stringify!($field))?)?.into_iter();)+
                let dice = DICE.iter().map(|n| Option::<f64>::values(frame.column(n)?));
                let dice = dice.collect::<PolarsResult<Vec<_>>>()?;
                (0..frame.height())
                    .map(|row| Ok(EpochRow {
                        $($field: $field.next().expect("columns of a frame are equally long"),)+
                        dice: all_or_none(dice.iter().map(|values| values[row])).map_err(|class| {
                            polars_err!(ComputeError: "column `{}` row {row} is empty", DICE[class])
                        })?,
                    }))
                    .collect()
            }

            fn to_cells(&self) -> Vec<String> {
                let mut cells = vec![$(self.$field.text()),+];
                cells.extend((0..DICE.len()).map(|class| self.dice.get(class).copied().text()));
                cells
            }

            fn from_cells(cells: &[&str]) -> Result<Self, InvalidCell> {
                fn parse<T: ColumnValue>((column, text): (usize, &&str)) -> Result<T, InvalidCell> {
                    let invalid = || InvalidCell { column, found: (*text).to_owned(), expected: T::EXPECTED };
                    T::parse(text).ok_or_else(invalid)
                }
                let mut cells = cells.iter().enumerate();
                Ok(EpochRow {
                    $($field: parse::<$type>(cells.next().expect("as many cells as COLUMNS"))?,)+
                    dice: {
                        let dice = cells.map(parse::<Option<f64>>).collect::<Result<Vec<_>, _>>()?;
                        all_or_none(dice.into_iter()).map_err(|class| InvalidCell {
                            column: FIELDS.len() + class,
                            found: String::new(),
                            expected: f64::EXPECTED,
                        })?
                    },
                })
            }
        }

        const FIELDS: &[&str] = &[$(stringify!($field)),+];
    };
}

columns! {
    stage: String,
    epoch: u32,
    step: u64,
    lr: f64,
    train_loss: f64,
    valid_loss: Option<f64>,
    valid_dice: Option<f64>,
    valid_dice_raw: Option<f64>,
    gradient_norm: f64,
    seconds: f64,
    images_per_second: f64,
    waiting: f64,
    memory_mb: Option<f64>,
    steps_skipped: u64,
    images_skipped: u64,
}

/// The Dice of all classes, or nothing where all are missing. The error is the first missing class where only some are.
fn all_or_none(dice: impl Iterator<Item = Option<f64>> + Clone) -> Result<Vec<f64>, usize> {
    match dice.clone().position(|value| value.is_none()) {
        Some(_) if dice.clone().all(|value| value.is_none()) => Ok(Vec::new()),
        Some(class) => Err(class),
        None => Ok(dice.flatten().collect()),
    }
}

/// `dice_CLASS` in channel order.
#[rustfmt::skip]
const DICE: [&str; bones::COUNT] = [
    "dice_finger-1", "dice_finger-2", "dice_finger-3", "dice_finger-4", "dice_finger-5", "dice_finger-6",
    "dice_finger-7", "dice_finger-8", "dice_finger-9", "dice_finger-10", "dice_finger-11", "dice_finger-12",
    "dice_finger-13", "dice_finger-14", "dice_finger-15", "dice_finger-16", "dice_finger-17", "dice_finger-18",
    "dice_finger-19", "dice_Trapezium", "dice_Trapezoid", "dice_Capitate", "dice_Hamate", "dice_Scaphoid",
    "dice_Lunate", "dice_Triquetrum", "dice_Pisiform", "dice_Radius", "dice_Ulna",
];

const COLUMNS: [&str; FIELDS.len() + bones::COUNT] = {
    let mut all = [""; FIELDS.len() + bones::COUNT];
    let mut i = 0;
    while i < all.len() {
        all[i] = if i < FIELDS.len() { FIELDS[i] } else { DICE[i - FIELDS.len()] };
        i += 1;
    }
    all
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::{read, write_csv, write_parquet};

    #[test]
    fn columns_are_the_classes_and_rows_round_trip() {
        for (name, column) in bones::NAMES.iter().zip(DICE) {
            assert_eq!(format!("dice_{name}"), column);
        }
        let row = EpochRow {
            stage: "한".into(),
            epoch: 3,
            lr: 1e-3 / 3.0,
            valid_dice_raw: Some(0.1),
            dice: (0..29).map(|i| f64::from(i) / 29.0).collect(),
            ..EpochRow::default()
        };
        let not_validated = EpochRow { dice: Vec::new(), ..row.clone() };
        let rows = vec![row.clone(), EpochRow { valid_dice: Some(0.5), valid_dice_raw: None, ..row }, not_validated];
        let folder = tempfile::tempdir().unwrap();
        let (csv, parquet) = (folder.path().join("m.csv"), folder.path().join("m.parquet"));
        write_csv(&csv, &rows).unwrap();
        write_parquet(&parquet, &rows).unwrap();
        assert_eq!(read::<EpochRow>(&csv).unwrap(), rows);
        assert_eq!(read::<EpochRow>(&parquet).unwrap(), rows);
        let text = std::fs::read_to_string(&csv).unwrap();
        // One class of an epoch is missing.
        let damaged = text.trim_end().rsplit_once(',').map(|(start, _)| format!("{start},0.5\n")).unwrap();
        std::fs::write(&csv, damaged).unwrap();
        let error = read::<EpochRow>(&csv).unwrap_err().to_string();
        assert!(error.contains("dice_finger-1"), "{error}");
    }
}
