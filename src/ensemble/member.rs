use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::EnsembleError;
use crate::bones::Bone;
use crate::mask::submission::{ImageMasks, Sidecar, sidecar};
use crate::mask::{HandMasks, MaskError};
use crate::names::image_id;
use crate::probability::decision::DecisionSettings;
use crate::probability::{ImageProbabilities, ProbabilityFolder, ProbabilityMap};
use crate::scores::read_flat;

/// Stored predictions of many images.
#[derive(Debug)]
pub enum Member {
    /// A folder of probabilities; images are read as they are needed.
    Probabilities(ProbabilityFolder),
    /// A submission CSV, read completely as runs.
    Masks(MemberMasks),
}

/// The masks of a submission CSV.
#[derive(Debug)]
pub struct MemberMasks {
    path: PathBuf,
    /// By image id; without the images' sizes.
    images: HashMap<String, ImageMasks>,
    /// Width and height by image id, for masks of crops.
    sizes: HashMap<String, (u32, u32)>,
    sidecar: Option<Sidecar>,
}

/// The prediction of one image.
#[derive(Clone, Debug, PartialEq)]
pub enum MemberImage {
    /// Probabilities.
    Probabilities(Vec<ProbabilityMap>),
    /// Masks; without the image's size, each is a single row.
    Masks(HandMasks),
}

impl Member {
    /// Opens a folder of probabilities or a submission CSV.
    ///
    /// # Errors
    /// The folder or file cannot be read or has other content.
    pub fn open(path: &Path) -> Result<Member, EnsembleError> {
        if path.is_dir() {
            return Ok(Member::Probabilities(ProbabilityFolder::open(path)?));
        }
        let sidecar = sidecar(path)?;
        let sizes = sidecar.iter().flat_map(|sidecar| &sidecar.sizes);
        Ok(Member::Masks(MemberMasks {
            path: path.into(),
            images: read_flat(path)?.into_iter().map(|image| (image_id(&image.image_name), image)).collect(),
            sizes: sizes.map(|(name, [width, height])| (image_id(name), (*width, *height))).collect(),
            sidecar,
        }))
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        match self {
            Member::Probabilities(folder) => folder.path(),
            Member::Masks(masks) => &masks.path,
        }
    }

    /// The ids of its images.
    pub fn ids(&self) -> BTreeSet<String> {
        match self {
            Member::Probabilities(folder) => folder.ids().map(str::to_owned).collect(),
            Member::Masks(masks) => masks.images.keys().cloned().collect(),
        }
    }

    /// The sidecar of masks of crops.
    pub fn sidecar(&self) -> Option<&Sidecar> {
        match self {
            Member::Probabilities(_) => None,
            Member::Masks(masks) => masks.sidecar.as_ref(),
        }
    }

    /// The image's file name, its prediction, and its size if the member knows it.
    ///
    /// # Errors
    /// The member lacks the image, or its file cannot be read.
    pub(super) fn read(&self, id: &str) -> Result<ReadMember, EnsembleError> {
        Ok(match self {
            Member::Probabilities(folder) => {
                let ImageProbabilities { image_name, maps } = folder.read(id)?;
                let size = maps.first().map(|map| (map.size().width, map.size().height));
                ReadMember { image_name, image: MemberImage::Probabilities(maps), size }
            }
            Member::Masks(masks) => {
                let absent = || EnsembleError::missing(&masks.path, &[id.to_owned()]);
                let image = masks.images.get(id).ok_or_else(absent)?;
                ReadMember {
                    image_name: image.image_name.clone(),
                    image: MemberImage::Masks(image.masks.clone()),
                    size: masks.sizes.get(id).copied(),
                }
            }
        })
    }
}

/// What a member has of an image.
pub(super) struct ReadMember {
    pub image_name: String,
    pub image: MemberImage,
    pub size: Option<(u32, u32)>,
}

impl MemberImage {
    /// Masks by the decision; masks stay as they are.
    ///
    /// # Errors
    /// The maps differ in size.
    pub fn masks(&self, image_name: &str, decision: &DecisionSettings) -> Result<HandMasks, MaskError> {
        match self {
            MemberImage::Masks(masks) => Ok(masks.clone()),
            MemberImage::Probabilities(maps) => {
                decision.masks(&ImageProbabilities { image_name: image_name.to_owned(), maps: maps.clone() })
            }
        }
    }

    /// Probabilities; those of a mask are 0 and 1.
    pub(super) fn maps(&self) -> Vec<ProbabilityMap> {
        match self {
            MemberImage::Probabilities(maps) => maps.clone(),
            MemberImage::Masks(masks) => masks.iter().map(|(_, mask)| ProbabilityMap::of_mask(mask)).collect(),
        }
    }

    /// The same prediction with the image's size.
    ///
    /// # Errors
    /// A mask extends past the last pixel, or maps have another size.
    pub(super) fn sized(self, (width, height): (u32, u32)) -> Result<MemberImage, (Bone, MaskError)> {
        match self {
            MemberImage::Masks(masks) => Ok(MemberImage::Masks(masks.reshaped(width, height)?)),
            MemberImage::Probabilities(maps) => {
                let own = |map: &ProbabilityMap| (map.size().width, map.size().height);
                match Bone::all().zip(&maps).find(|(_, map)| own(map) != (width, height)) {
                    Some((bone, map)) => Err((bone, MaskError::Size((width, height), own(map)))),
                    None => Ok(MemberImage::Probabilities(maps)),
                }
            }
        }
    }
}
