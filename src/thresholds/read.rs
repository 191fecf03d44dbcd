use rayon::prelude::*;

use super::ThresholdError;
use super::curve::dice_curve;
use super::search::ImageCurves;
use crate::bones::Bone;
use crate::dataset::{Dataset, ImageEntry};
use crate::mask::HandMasks;
use crate::probability::ProbabilityFolder;
use crate::progress::Progress;
use crate::tables::FoldRow;

/// Compares the probabilities of the images of some folds with their annotations, at every threshold. Images that the
/// data's corrections exclude are skipped.
///
/// # Errors
/// An image of the folds is not in the data, has no annotation, has no probabilities or has those of another size, or a
/// file cannot be read.
pub fn image_curves(
    dataset: &Dataset,
    folds: &[FoldRow],
    probabilities: &ProbabilityFolder,
    progress: &dyn Progress,
) -> Result<Vec<ImageCurves>, ThresholdError> {
    let of = |row| Ok((row, entry(dataset, row)?));
    let rows: Vec<(&FoldRow, &ImageEntry)> = folds.iter().map(of).collect::<Result<_, ThresholdError>>()?;
    let rows: Vec<_> = rows.into_iter().filter(|(_, entry)| !dataset.excludes(entry)).collect();
    let missing: Vec<&str> =
        rows.iter().map(|(row, _)| row.image_id.as_str()).filter(|id| !probabilities.contains(id)).collect();
    if let Some(first) = missing.first() {
        let (folder, first) = (probabilities.path().into(), (*first).to_owned());
        return Err(ThresholdError::NoProbabilities { folder, count: missing.len(), first });
    }
    progress.start("images compared", rows.len() as u64);
    let curves = rows
        .par_iter()
        .map(|(row, entry)| {
            let truth = annotated(dataset, entry)?;
            let image = probabilities.read(&row.image_id)?;
            let curve = |bone: Bone| dice_curve(&image.maps[bone.index()], &truth[bone]);
            let curves: Result<Vec<_>, _> = Bone::all().map(curve).collect();
            progress.advance(1);
            Ok(ImageCurves {
                image_id: row.image_id.clone(),
                patient_id: row.patient_id.clone(),
                fold: row.fold,
                curves: curves.map_err(|source| ThresholdError::Size { image: row.image_id.clone(), source })?,
            })
        })
        .collect();
    progress.finish();
    curves
}

fn entry<'a>(dataset: &'a Dataset, row: &FoldRow) -> Result<&'a ImageEntry, ThresholdError> {
    dataset.find(&row.image_id).ok_or_else(|| ThresholdError::NotInData { image: row.image_id.clone() })
}

/// The annotated masks of an image.
fn annotated(dataset: &Dataset, entry: &ImageEntry) -> Result<HandMasks, ThresholdError> {
    let (width, height) = dataset.dimensions(entry)?;
    let read = dataset.annotation(entry)?;
    let read = read.ok_or_else(|| ThresholdError::NotAnnotated { image: entry.image_id.clone() })?;
    Ok(read.annotation.masks(width, height))
}
