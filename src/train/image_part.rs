use crate::clean::{CropBox, cut};
use crate::dataset::GreyImage;
use crate::geometry::Size;
use crate::mask::{HandMasks, RunMask};
use crate::probability::ProbabilityMap;

/// The part of an image that a specialist sees, and the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePart {
    /// The part, within the image.
    pub area: CropBox,
    /// Width and height of the whole image in px.
    pub image: Size,
    /// Label word with the bits of the specialist's bones.
    pub bones: u32,
}

impl ImagePart {
    /// The grey levels in the part.
    pub fn image_in(&self, image: GreyImage) -> GreyImage {
        cut(&image.black_is_zero(), self.area)
    }

    /// The masks in the part; those of other bones are empty.
    pub fn masks_in(&self, masks: &HandMasks) -> HandMasks {
        let CropBox { x, y, width, height } = self.area;
        self.of_bones(width, height, masks, |mask| mask.place(-x, -y, width, height))
    }

    /// Masks of the part in the pixels of the whole image: the inverse of [`ImagePart::masks_in`] for pixels in the part.
    /// Nothing is resampled; the masks of other bones are empty.
    pub fn masks_back(&self, masks: &HandMasks) -> HandMasks {
        let Size { width, height } = self.image;
        self.of_bones(width, height, masks, |mask| mask.place(self.area.x, self.area.y, width, height))
    }

    /// Probabilities of the part in the pixels of the whole image, 0 outside it. Nothing is resampled.
    pub fn probabilities_back(&self, map: &ProbabilityMap) -> ProbabilityMap {
        map.placed(self.area.x, self.area.y, self.image)
    }

    fn of_bones(&self, width: u32, height: u32, masks: &HandMasks, change: impl Fn(&RunMask) -> RunMask) -> HandMasks {
        let mut changed = HandMasks::empty(width, height);
        for (bone, mask) in masks.iter().filter(|(bone, mask)| self.bones & bone.bit() != 0 && !mask.is_empty()) {
            changed.set(bone, change(mask)).expect("every mask has the new size");
        }
        changed
    }
}
