//! The numbers of an epoch by the names that TensorBoard and W&B show.

use crate::bones;
use crate::tables::EpochRow;

/// Name and value of each number of an epoch. A name's part before the slash is the group that it is shown in.
pub(super) fn scalars(row: &EpochRow) -> Vec<(String, f64)> {
    let mut scalars = vec![
        ("loss/train".to_owned(), row.train_loss),
        ("rate".to_owned(), row.lr),
        ("gradient norm".to_owned(), row.gradient_norm),
        ("images per second".to_owned(), row.images_per_second),
        ("waiting for data".to_owned(), row.waiting),
    ];
    scalars.extend(row.valid_loss.map(|loss| ("loss/validation".to_owned(), loss)));
    scalars.extend(row.valid_dice.map(|dice| ("dice/validation".to_owned(), dice)));
    scalars.extend(row.memory_mb.map(|mb| ("memory MiB".to_owned(), mb)));
    scalars.extend(row.valid_dice_raw.map(|d| ("dice/validation raw".to_owned(), d)));
    scalars.extend(bones::NAMES.iter().zip(&row.dice).map(|(n, d)| (format!("dice by class/{n}"), *d)));
    scalars
}
