use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::CropBox;
use crate::artefact::write_atomically;
use crate::bounded;
use crate::dataset::folder::TRANSFORMS;
use crate::dataset::{Side, Subset};
use crate::geometry::{Affine, CropSpace, Image};
use crate::mask::{MaskError, RunMask};

/// The version of the format that this program reads and writes.
pub const VERSION: u32 = 2;

/// How the bounding box of the hand was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxSource {
    /// From the annotation's masks, corrections applied.
    Masks,
    /// From the images table: the bounding box of the (predicted) masks.
    Table,
    /// By brightness.
    Image,
    /// No hand found: the whole image.
    Whole,
}

/// How the background was distinguished from the hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackgroundSource {
    /// Not at all: the background is unchanged.
    Kept,
    /// By brightness.
    Image,
    /// By the distance to the masks, because the hand found by brightness did not contain them.
    Masks,
}

/// How a crop was made from its original, and how to restore masks to the original.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    /// Version of the format.
    pub version: u32,
    /// Id of the image: the stem of its file.
    pub image_id: String,
    /// Id of the patient.
    pub patient_id: String,
    /// `train` or `test`.
    pub subset: Subset,
    /// Which hand, corrections applied. The crop keeps the name of the original, even if that names the other side.
    pub side: Option<Side>,
    /// The crop, relative to the crops' folder.
    pub image: String,
    /// The crop's annotation, relative to the crops' folder.
    pub annotation: Option<String>,
    /// The original, relative to the data folder.
    pub original_image: String,
    /// Columns of the original.
    pub original_width: u32,
    /// Rows of the original.
    pub original_height: u32,
    /// The part of the original that the crop shows.
    #[serde(rename = "box")]
    pub area: CropBox,
    /// Maps coordinates of the original to coordinates of the crop.
    pub crop_from_image: Affine<Image, CropSpace>,
    /// How the box was found.
    pub box_source: BoxSource,
    /// Rows blackened at the top of the original.
    pub strip_top_px: u32,
    /// Columns blackened at the left of the original.
    pub strip_left_px: u32,
    /// The highest grey level of the scale, if the original has 16 bits; the crop has the same levels.
    #[serde(default)]
    pub top_level: Option<u16>,
    /// How the background was found.
    pub background: BackgroundSource,
    /// Ids of the corrections of its shapes.
    pub corrections: Vec<String>,
    /// SHA-256 of the crop's inputs: files, corrections and settings.
    pub inputs: String,
}

impl Transform {
    /// The part of a mask of the original that the crop shows.
    ///
    /// # Errors
    /// The mask does not have the size of the original.
    pub fn mask_to_crop(&self, mask: &RunMask) -> Result<RunMask, MaskError> {
        let expected = (self.original_width, self.original_height);
        if (mask.width(), mask.height()) != expected {
            return Err(MaskError::Size((mask.width(), mask.height()), expected));
        }
        Ok(mask.place(-self.area.x, -self.area.y, self.area.width, self.area.height))
    }

    /// A mask of the crop in pixels of the original. Nothing is resampled.
    ///
    /// # Errors
    /// The mask does not have the size of the crop.
    pub fn mask_from_crop(&self, mask: &RunMask) -> Result<RunMask, MaskError> {
        let expected = (self.area.width, self.area.height);
        if (mask.width(), mask.height()) != expected {
            return Err(MaskError::Size((mask.width(), mask.height()), expected));
        }
        Ok(mask.place(self.area.x, self.area.y, self.original_width, self.original_height))
    }
}

/// Why transforms cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TransformsError {
    /// The file cannot be read or written.
    #[error("{path}: {source}; `carpus clean` writes this file")]
    Io {
        /// The file of transforms.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A line is not a valid transform of this version.
    #[error("{path} line {line}: {reason}; make the crops again with `carpus clean`")]
    Line {
        /// The file of transforms.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with the line.
        reason: String,
    },
}

/// Reads the transforms of a folder of crops: one JSON object per line of [`TRANSFORMS`], in the order of the images
/// table.
///
/// # Errors
/// The file cannot be read, or a line is not a valid transform of this version.
pub fn read_transforms(crops: &Path) -> Result<Vec<Transform>, TransformsError> {
    let path = crops.join(TRANSFORMS);
    let text = bounded::read_text(&path, bounded::MAX_TEXT)
        .map_err(|source| TransformsError::Io { path: path.clone(), source })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            parse(line).map_err(|reason| TransformsError::Line { path: path.clone(), line: i + 1, reason })
        })
        .collect()
}

/// Parses and checks one line.
pub(super) fn parse(line: &str) -> Result<Transform, String> {
    let read: Transform = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if read.version != VERSION {
        return Err(format!("version {}; expected version {VERSION}", read.version));
    }
    let CropBox { x, y, width, height } = read.area;
    let most = i64::from(u32::MAX);
    if x.abs() > most || y.abs() > most || [width, height, read.original_width, read.original_height].contains(&0) {
        return Err("a size of 0, or a box too far from the image".to_owned());
    }
    if u64::from(width) * u64::from(height) > u64::from(u32::MAX)
        || u64::from(read.original_width) * u64::from(read.original_height) > u64::from(u32::MAX)
    {
        return Err("more pixels than a mask can have".to_owned());
    }
    if read.crop_from_image != read.area.crop_from_image() {
        return Err("crop_from_image does not fit the box".to_owned());
    }
    Ok(read)
}

/// Writes the transforms of a folder of crops atomically.
///
/// # Errors
/// The file cannot be written.
pub fn write_transforms(crops: &Path, transforms: &[Transform]) -> Result<(), TransformsError> {
    let path = crops.join(TRANSFORMS);
    write_atomically(&path, |out| {
        for transform in transforms {
            serde_json::to_writer(&mut *out, transform)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    })
    .map_err(|source| TransformsError::Io { path, source })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A transform of an original of `width` x `height` pixels.
    pub fn transform(image_id: &str, area: CropBox, width: u32, height: u32) -> Transform {
        Transform {
            version: VERSION,
            image_id: image_id.into(),
            patient_id: "001".into(),
            subset: Subset::Test,
            side: None,
            image: format!("test/DCM/ID001/{image_id}.png"),
            annotation: None,
            original_image: format!("test/DCM/ID001/{image_id}.png"),
            original_width: width,
            original_height: height,
            area,
            crop_from_image: area.crop_from_image(),
            box_source: BoxSource::Image,
            strip_top_px: 0,
            strip_left_px: 0,
            background: BackgroundSource::Kept,
            top_level: None,
            corrections: vec![],
            inputs: "00".into(),
        }
    }

    #[test]
    fn transforms_are_read_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let all = [
            transform("a", CropBox { x: -3, y: 4, width: 10, height: 10 }, 20, 9),
            transform("b", CropBox { x: 3, y: 4, width: 10, height: 2 }, 20, 9),
        ];
        write_transforms(folder.path(), &all).unwrap();
        assert_eq!(read_transforms(folder.path()).unwrap(), all);
        let text = std::fs::read_to_string(folder.path().join(TRANSFORMS)).unwrap();
        let broken = text.replace("\"x\":3", "\"x\":2");
        std::fs::write(folder.path().join(TRANSFORMS), broken).unwrap();
        let error = read_transforms(folder.path()).unwrap_err().to_string();
        assert!(error.contains("line 2: crop_from_image"), "{error}");
    }

    proptest! {
        #[test]
        fn a_mask_restored_from_its_crop_is_unchanged_in_the_box(
            dense in prop::collection::vec(0u8..2, 30 * 20),
            x in -15i64..35, y in -15i64..25, width in 1u32..50, height in 1u32..50,
        ) {
            let area = CropBox { x, y, width, height };
            let transform = transform("a", area, 30, 20);
            let mask = RunMask::from_dense(&dense, 30, 20);
            let crop = transform.mask_to_crop(&mask).unwrap();
            let back = transform.mask_from_crop(&crop).unwrap();
            let inside = |i: usize| {
                let (px, py) = ((i % 30) as i64, (i / 30) as i64);
                px >= x && px < x + i64::from(width) && py >= y && py < y + i64::from(height)
            };
            let expected: Vec<u8> = dense.iter().enumerate().map(|(i, v)| if inside(i) { *v } else { 0 }).collect();
            prop_assert_eq!(back.to_dense(), expected);
            prop_assert_eq!(transform.mask_to_crop(&back).unwrap(), crop);
            prop_assert!(transform.mask_from_crop(&RunMask::empty(width + 1, height)).is_err());
        }
    }
}
