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

/// Version that this program writes.
pub const VERSION: u32 = 2;

/// Where the box of the hand comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BoxSource {
    /// The annotation's masks, corrections applied.
    Masks,
    /// The box of the (predicted) masks in the images table.
    Table,
    /// Found in the image.
    Image,
    /// Not found: the whole image.
    Whole,
}

/// How the background was told from the hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackgroundSource {
    /// It was not: the background is as it was.
    Kept,
    /// By brightness.
    Image,
    /// As what is far from the masks, since the hand found by brightness did not hold them.
    Masks,
}

/// How a crop was made and how to go back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transform {
    /// Version of this form.
    pub version: u32,
    /// File stem.
    pub image_id: String,
    /// Patient.
    pub patient_id: String,
    /// `train` or `test`.
    pub subset: Subset,
    /// Which hand, corrections applied; the crop's name still has the side that the original's claims.
    pub side: Option<Side>,
    /// The crop, relative to its folder.
    pub image: String,
    /// Its annotation, relative to its folder.
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
    /// Coordinates of the original to coordinates of the crop.
    pub crop_from_image: Affine<Image, CropSpace>,
    /// Where the box comes from.
    pub box_source: BoxSource,
    /// Rows blackened at the top of the original.
    pub strip_top_px: u32,
    /// Columns blackened at the left of the original.
    pub strip_left_px: u32,
    /// The top level by which the original was scaled to 8 bits, where it has 16.
    #[serde(default)]
    pub top_level: Option<u16>,
    /// How the background was found.
    pub background: BackgroundSource,
    /// Ids of the decisions about its shapes.
    pub corrections: Vec<String>,
    /// SHA-256 of all that the crop was made from: files, corrections, settings.
    pub inputs: String,
}

impl Transform {
    /// A mask of the original as the crop shows it.
    pub fn mask_to_crop(&self, mask: &RunMask) -> Result<RunMask, MaskError> {
        let expected = (self.original_width, self.original_height);
        if (mask.width(), mask.height()) != expected {
            return Err(MaskError::Size((mask.width(), mask.height()), expected));
        }
        Ok(mask.place(-self.area.x, -self.area.y, self.area.width, self.area.height))
    }

    /// A mask of the crop in the original's pixels; nothing is resampled.
    pub fn mask_from_crop(&self, mask: &RunMask) -> Result<RunMask, MaskError> {
        let expected = (self.area.width, self.area.height);
        if (mask.width(), mask.height()) != expected {
            return Err(MaskError::Size((mask.width(), mask.height()), expected));
        }
        Ok(mask.place(self.area.x, self.area.y, self.original_width, self.original_height))
    }
}

/// Transforms that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TransformsError {
    #[error("{path}: {source}; `carpus clean` writes it")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path} line {line}: {reason}; make the crops again with `carpus clean`")]
    Line { path: PathBuf, line: usize, reason: String },
}

/// Reads the transforms of a folder of crops: one JSON object per line of [`TRANSFORMS`], in the order of the images table.
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

/// One line; the sizes must make sense and the map must be that of the box.
pub(super) fn parse(line: &str) -> Result<Transform, String> {
    let read: Transform = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if read.version != VERSION {
        return Err(format!("version {}: this program reads version {VERSION}", read.version));
    }
    let CropBox { x, y, width, height } = read.area;
    let most = i64::from(u32::MAX);
    if x.abs() > most || y.abs() > most || [width, height, read.original_width, read.original_height].contains(&0) {
        return Err("a size of 0 or a box far off".to_owned());
    }
    if u64::from(width) * u64::from(height) > u64::from(u32::MAX)
        || u64::from(read.original_width) * u64::from(read.original_height) > u64::from(u32::MAX)
    {
        return Err("more pixels than a mask can have".to_owned());
    }
    if read.crop_from_image != read.area.crop_from_image() {
        return Err("crop_from_image is not the shift of the box".to_owned());
    }
    Ok(read)
}

/// Writes the transforms of a folder of crops, by rename.
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

    /// A transform for an original of `width` x `height`.
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
    fn written_is_read() {
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
        fn to_the_crop_and_back_is_the_mask_within_the_box(
            dense in prop::collection::vec(0u8..2, 30 * 20),
            x in -15i64..35, y in -15i64..25, width in 1u32..50, height in 1u32..50,
        ) {
            let area = CropBox { x, y, width, height };
            let there = transform("a", area, 30, 20);
            let mask = RunMask::from_dense(&dense, 30, 20);
            let crop = there.mask_to_crop(&mask).unwrap();
            let back = there.mask_from_crop(&crop).unwrap();
            let inside = |i: usize| {
                let (px, py) = ((i % 30) as i64, (i / 30) as i64);
                px >= x && px < x + i64::from(width) && py >= y && py < y + i64::from(height)
            };
            let expected: Vec<u8> = dense.iter().enumerate().map(|(i, v)| if inside(i) { *v } else { 0 }).collect();
            prop_assert_eq!(back.to_dense(), expected);
            prop_assert_eq!(there.mask_to_crop(&back).unwrap(), crop);
            prop_assert!(there.mask_from_crop(&RunMask::empty(width + 1, height)).is_err());
        }
    }
}
