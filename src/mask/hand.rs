use std::ops::Index;

use super::{MaskError, RunMask};
use crate::bones::{self, Bone};

/// The masks of one image: one [`RunMask`] per bone, all of the image's size.
///
/// ```
/// use carpus::bones::Bone;
/// use carpus::mask::{HandMasks, RunMask};
/// let mut hand = HandMasks::empty(8, 8);
/// hand.set(Bone::ULNA, RunMask::full(8, 8)).unwrap();
/// assert_eq!(hand[Bone::ULNA].area(), 64);
/// assert!(hand.set(Bone::ULNA, RunMask::full(4, 4)).is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandMasks {
    width: u32,
    height: u32,
    masks: Box<[RunMask; bones::COUNT]>,
}

impl HandMasks {
    /// All masks empty.
    ///
    /// # Panics
    /// If `width * height` exceeds [`super::MAX_PIXELS`].
    pub fn empty(width: u32, height: u32) -> HandMasks {
        HandMasks { width, height, masks: Box::new(std::array::from_fn(|_| RunMask::empty(width, height))) }
    }

    /// Creates it from one mask per bone, in the order of the classes.
    ///
    /// # Errors
    /// There are not 29 masks, or they differ in size.
    pub fn new(masks: Vec<RunMask>) -> Result<HandMasks, MaskError> {
        let found = masks.len();
        let masks: Box<[RunMask; bones::COUNT]> = masks.try_into().map_err(|_| MaskError::Count { found })?;
        let (width, height) = (masks[0].width(), masks[0].height());
        match masks.iter().map(|m| (m.width(), m.height())).find(|size| *size != (width, height)) {
            Some(other) => Err(MaskError::Size((width, height), other)),
            None => Ok(HandMasks { width, height, masks }),
        }
    }

    /// Columns of the image.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows of the image.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The masks in the order of the classes.
    pub fn as_slice(&self) -> &[RunMask] {
        &*self.masks
    }

    /// Each bone with its mask, in the order of the classes.
    pub fn iter(&self) -> impl Iterator<Item = (Bone, &RunMask)> {
        Bone::all().zip(self.masks.iter())
    }

    /// Replaces the bone's mask.
    ///
    /// # Errors
    /// The mask does not have the image's size.
    pub fn set(&mut self, bone: Bone, mask: RunMask) -> Result<(), MaskError> {
        let size = (mask.width(), mask.height());
        if size != (self.width, self.height) {
            return Err(MaskError::Size((self.width, self.height), size));
        }
        self.masks[bone.index()] = mask;
        Ok(())
    }

    /// Adds the pixels of a mask to the bone's mask.
    ///
    /// # Errors
    /// The mask does not have the image's size.
    pub fn add(&mut self, bone: Bone, mask: RunMask) -> Result<(), MaskError> {
        let mask = if self[bone].is_empty() { mask } else { self[bone].union(&mask)? };
        self.set(bone, mask)
    }

    /// Applies `change` to each bone's mask.
    ///
    /// # Errors
    /// `change` fails, or the new masks differ in size.
    pub fn map(
        &self,
        change: impl FnMut((Bone, &RunMask)) -> Result<RunMask, MaskError>,
    ) -> Result<HandMasks, MaskError> {
        HandMasks::new(self.iter().map(change).collect::<Result<_, _>>()?)
    }

    /// The same runs in an image of another width and height. A submission that was read without the image's size needs
    /// this.
    ///
    /// # Errors
    /// A run ends past the last pixel; the error names the bone.
    pub fn reshaped(&self, width: u32, height: u32) -> Result<HandMasks, (Bone, MaskError)> {
        let mut hand = HandMasks::empty(width, height);
        for (bone, mask) in self.iter() {
            let mask = RunMask::from_runs(width, height, mask.runs().to_vec()).map_err(|error| (bone, error))?;
            hand.masks[bone.index()] = mask;
        }
        Ok(hand)
    }
}

impl Index<Bone> for HandMasks {
    type Output = RunMask;

    fn index(&self, bone: Bone) -> &RunMask {
        &self.masks[bone.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_masks_of_one_size_and_one_per_bone() {
        let masks = |n: usize| vec![RunMask::empty(4, 3); n];
        assert_eq!(HandMasks::new(masks(28)), Err(MaskError::Count { found: 28 }));
        let mut mixed = masks(29);
        mixed[7] = RunMask::empty(3, 4);
        assert_eq!(HandMasks::new(mixed), Err(MaskError::Size((4, 3), (3, 4))));
        let hand = HandMasks::new(masks(29)).unwrap();
        assert_eq!((hand.width(), hand.height(), hand.iter().count()), (4, 3, 29));
    }

    #[test]
    fn a_run_past_the_end_names_its_bone() {
        let mut flat = HandMasks::empty(100, 1);
        flat.set(Bone::ULNA, RunMask::from_runs(100, 1, vec![crate::mask::PixelRun { start: 10, len: 5 }]).unwrap())
            .unwrap();
        assert_eq!(flat.reshaped(5, 3).unwrap()[Bone::ULNA].runs(), flat[Bone::ULNA].runs());
        assert_eq!(flat.reshaped(4, 3).unwrap_err().0, Bone::ULNA);
    }
}
