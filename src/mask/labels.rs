use super::RunMask;
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
    /// Paints 29 masks (index = class). Panics if a mask's size differs.
    pub fn from_masks(masks: &[RunMask; bones::COUNT]) -> Self { todo!() }
    /// Paints masks straight at another size: pixel (x, y) of the result is the nearest source pixel,
    /// OpenCV INTER_NEAREST convention: floor(x * src_w / dst_w).
    pub fn from_masks_resized(masks: &[RunMask; bones::COUNT], width: u32, height: u32) -> Self { todo!() }
    /// The runs of one class.
    pub fn mask(&self, class: usize) -> RunMask { todo!() }
}
