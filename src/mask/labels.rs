use super::runs::scan;
use super::transform::for_each_resized;
use super::{MAX_PIXELS, RunMask};
use crate::bones;

/// A multi-label image: one `u32` a pixel, row-major, bit c set where class c is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelImage {
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height` words.
    pub words: Vec<u32>,
}

impl LabelImage {
    /// No class anywhere. Panics if `width * height` exceeds [`MAX_PIXELS`].
    pub fn empty(width: u32, height: u32) -> Self {
        assert!(u64::from(width) * u64::from(height) <= MAX_PIXELS, "{width}x{height} is more than {MAX_PIXELS}");
        LabelImage { width, height, words: vec![0; width as usize * height as usize] }
    }

    /// Paints 29 masks (index = class). Panics if a mask's size differs.
    pub fn from_masks(masks: &[RunMask; bones::COUNT]) -> Self {
        let mut image = Self::empty(masks[0].width(), masks[0].height());
        for (class, mask) in masks.iter().enumerate() {
            assert_eq!((mask.width(), mask.height()), (image.width, image.height), "size of the mask of class {class}");
            for run in mask.runs() {
                image.paint(class, run.start as usize, run.end() as usize);
            }
        }
        image
    }

    /// Paints masks straight at another size, as [`RunMask::resized`] picks pixels: OpenCV's INTER_NEAREST,
    /// floor(x * src_w / dst_w). Masks may differ in size.
    pub fn from_masks_resized(masks: &[RunMask; bones::COUNT], width: u32, height: u32) -> Self {
        let mut image = Self::empty(width, height);
        for (class, mask) in masks.iter().enumerate() {
            for_each_resized(mask, width, height, |(top, bottom), (x_start, x_end)| {
                for y in top as usize..bottom as usize {
                    let row = y * width as usize;
                    image.paint(class, row + x_start as usize, row + x_end as usize);
                }
            });
        }
        image
    }

    /// The runs of one class. Panics unless there are `width * height` words.
    pub fn mask(&self, class: usize) -> RunMask {
        assert_eq!(self.words.len() as u64, u64::from(self.width) * u64::from(self.height), "one word a pixel");
        let bit = 1u32 << class;
        RunMask::from_maximal_runs(self.width, self.height, scan(&self.words, |word| word & bit != 0))
    }

    fn paint(&mut self, class: usize, from: usize, to: usize) {
        let bit = 1u32 << class;
        for word in &mut self.words[from..to] {
            *word |= bit;
        }
    }
}
