//! Restoring masks predicted on crops to the original images.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Transform;
use crate::bones::{self, Bone};
use crate::bounded::Csv;
use crate::dataset::image_id;
use crate::mask::submission::{COLUMNS, ImageMasks, SubmissionError};
use crate::mask::{HandMasks, MaskError, RunMask, rle};

/// Why predictions on crops cannot be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The predictions cannot be read, or are invalid.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// A row has an image without a transform.
    #[error("{path} line {line}: image {image} is not one of the crops; use the folder of crops that was predicted")]
    UnknownImage {
        /// The file of predictions.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// The image's name in the row.
        image: String,
    },
    /// A mask does not fit its crop or the original image.
    #[error("image {image}, class {class}: {source}")]
    Mask {
        /// The file name of the original image.
        image: String,
        /// The class of the mask.
        class: Bone,
        /// Why the mask does not fit.
        source: MaskError,
    },
}

/// Reads a CSV of masks predicted on crops (each mask has the size of its crop) and returns the masks of the original
/// images, with the originals' file names, in order of first appearance. Nothing is resampled.
///
/// # Errors
/// The CSV cannot be read, names an image that is not one of the crops or an unknown class, has a class twice or not at
/// all, or a mask does not fit its crop.
pub fn restore(predictions: &Path, transforms: &[Transform]) -> Result<Vec<ImageMasks>, RestoreError> {
    let by_id: HashMap<&str, &Transform> = transforms.iter().map(|t| (t.image_id.as_str(), t)).collect();
    let path = predictions.display().to_string();
    let csv_error = |source| SubmissionError::Csv { path: path.clone(), source };
    let mut reader = Csv::open_masks(predictions).map_err(csv_error)?;
    let header: Vec<String> = reader
        .headers()
        .map_err(csv_error)?
        .iter()
        .map(|h| h.trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let columns = COLUMNS.map(|column| header.iter().position(|h| h == column));
    let (3, [Some(image_at), Some(class_at), Some(rle_at)]) = (header.len(), columns) else {
        return Err(SubmissionError::Header { path, found: header }.into());
    };

    let mut order: Vec<&Transform> = Vec::new();
    let mut read: HashMap<&str, [Option<RunMask>; bones::COUNT]> = HashMap::new();
    for record in reader.records() {
        let record = record.map_err(csv_error)?;
        let line = record.position().map_or(0, csv::Position::line);
        let (name, class, text) = (&record[image_at], &record[class_at], &record[rle_at]);
        let Some(transform) = by_id.get(&*image_id(name)).copied() else {
            return Err(RestoreError::UnknownImage { path: predictions.into(), line, image: name.to_owned() });
        };
        let image = name.to_owned();
        let Some(bone) = Bone::from_name(class) else {
            return Err(SubmissionError::Class { path, line, image, class: class.to_owned() }.into());
        };
        let mask = rle::decode(text, transform.area.width, transform.area.height).map_err(|source| {
            SubmissionError::Rle { path: path.clone(), line, image: image.clone(), class: class.to_owned(), source }
        })?;
        let masks = read.entry(&transform.image_id).or_insert_with(|| {
            order.push(transform);
            [const { None }; bones::COUNT]
        });
        if masks[bone.index()].replace(mask).is_some() {
            return Err(SubmissionError::Duplicate { path, line, image, class: bone }.into());
        }
    }

    let mut restored = Vec::with_capacity(order.len());
    for transform in order {
        let masks = read.remove(transform.image_id.as_str()).expect("every image in `order` was read");
        let image_name = transform.original_image.rsplit('/').next().unwrap_or_default().to_owned();
        let missing: Vec<Bone> = Bone::all().filter(|b| masks[b.index()].is_none()).collect();
        if !missing.is_empty() {
            return Err(SubmissionError::Missing { path, image: image_name, missing }.into());
        }
        let mut whole = HandMasks::empty(transform.original_width, transform.original_height);
        for (bone, mask) in Bone::all().zip(masks.into_iter().flatten()) {
            let back = transform.mask_from_crop(&mask).and_then(|mask| whole.set(bone, mask));
            back.map_err(|source| RestoreError::Mask { image: image_name.clone(), class: bone, source })?;
        }
        restored.push(ImageMasks { image_name, masks: whole });
    }
    Ok(restored)
}

/// Ids of the crops for which `restored` has no masks.
pub fn without_prediction<'a>(transforms: &'a [Transform], restored: &[ImageMasks]) -> Vec<&'a str> {
    let names: HashSet<&str> = restored.iter().map(|i| i.image_name.as_str()).collect();
    let name = |t: &Transform| t.original_image.rsplit('/').next().unwrap_or_default().to_owned();
    transforms.iter().filter(|t| !names.contains(name(t).as_str())).map(|t| t.image_id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::CropBox;
    use crate::clean::transform::tests::transform;

    fn csv(rows: &[(&str, &str, &str)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut text = "image_name,class,rle\n".to_owned();
        for (image, class, rle) in rows {
            text += &format!("{image},{class},{rle}\n");
        }
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn all_classes<'a>(image: &'a str, rle: &'a str) -> Vec<(&'a str, &'a str, &'a str)> {
        bones::NAMES.iter().map(|n| (image, *n, if *n == "Ulna" { rle } else { "" })).collect()
    }

    #[test]
    fn each_crop_is_restored_to_its_place() {
        let transforms = [
            transform("a", CropBox { x: 2, y: 1, width: 3, height: 2 }, 10, 5),
            transform("b", CropBox { x: -1, y: 0, width: 4, height: 4 }, 3, 4),
            transform("c", CropBox { x: 0, y: 0, width: 4, height: 4 }, 4, 4),
        ];
        let mut rows = all_classes("b.png", "1 4");
        rows.extend(all_classes("a.png", "2 1 6 1"));
        let restored = restore(csv(&rows).path(), &transforms).unwrap();
        let names: Vec<&str> = restored.iter().map(|i| i.image_name.as_str()).collect();
        assert_eq!(names, ["b.png", "a.png"]);
        let ulna = |i: usize| rle::encode(&restored[i].masks[Bone::ULNA]);
        // b: the first row of the crop, whose first pixel lies outside the image.
        assert_eq!(ulna(0), "1 3");
        // a: crop pixels (1, 0) and (2, 1) are (3, 1) and (4, 2).
        assert_eq!(ulna(1), "14 1 25 1");
        assert_eq!(without_prediction(&transforms, &restored), ["c"]);
    }

    #[test]
    fn errors_name_what_does_not_fit() {
        let transforms = [transform("a", CropBox { x: 2, y: 1, width: 3, height: 2 }, 10, 5)];
        let fails = |rows: &[(&str, &str, &str)]| restore(csv(rows).path(), &transforms).unwrap_err().to_string();
        assert!(fails(&[("z.png", "Ulna", "")]).contains("line 2: image z.png is not one of the crops"));
        assert!(fails(&[("a.png", "Elbow", "")]).contains("Elbow"));
        assert!(fails(&[("a.png", "Ulna", "7 1")]).contains("line 2"));
        assert!(fails(&[("a.png", "Ulna", ""), ("a.png", "Ulna", "")]).contains("twice"));
        assert!(fails(&[("a.png", "Ulna", "")]).contains("finger-1"));
    }
}
