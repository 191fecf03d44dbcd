use crate::geometry::{Moments, PixelBox};

/// `len` set pixels from `start` in the row-major flattened image; may run over row ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// Index of the first pixel, `y * width + x`.
    pub start: u32,
    /// Number of pixels, at least 1.
    pub len: u32,
}

/// Runs that do not form a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A run with no pixels.
    #[error("run {index} has length 0")]
    Empty { index: usize },
    /// A run that begins before the one in front of it ends.
    #[error("run {index} starts at {start}, inside or before the run that ends at {previous_end}")]
    Overlap { index: usize, start: u64, previous_end: u64 },
    /// A run past the last pixel.
    #[error("run {index} ends at pixel {end}, the mask of {width}x{height} has {pixels}")]
    OutOfRange { index: usize, end: u64, width: u32, height: u32, pixels: u64 },
    /// Two masks of different sizes in one operation.
    #[error("masks differ in size: {0:?} and {1:?}")]
    Size((u32, u32), (u32, u32)),
}

/// A binary mask of `width` x `height` pixels as sorted, disjoint, maximal runs over the row-major flattened
/// image. Two equal masks have equal runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunMask {
    width: u32,
    height: u32,
    runs: Vec<Run>,
}
impl RunMask {
    /// No pixel set.
    pub fn empty(width: u32, height: u32) -> Self { todo!() }
    /// From sorted disjoint runs; touching runs are joined.
    pub fn from_runs(width: u32, height: u32, runs: Vec<Run>) -> Result<Self, MaskError> { todo!() }
    /// From row-major bytes, set where not 0. Panics unless `dense.len() == width * height`.
    pub fn from_dense(dense: &[u8], width: u32, height: u32) -> Self { todo!() }
    /// Row-major bytes, 0 or 1.
    pub fn to_dense(&self) -> Vec<u8> { todo!() }
    /// As `cv2.fillPoly(mask, [points], 1)`.
    pub fn from_polygon(points: &[[i32; 2]], width: u32, height: u32) -> Self { todo!() }
    pub fn width(&self) -> u32 { todo!() }
    pub fn height(&self) -> u32 { todo!() }
    pub fn runs(&self) -> &[Run] { todo!() }
    pub fn is_empty(&self) -> bool { todo!() }
    /// The runs cut at row ends: (y, x_start, x_end exclusive), sorted.
    pub fn rows(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ { std::iter::empty() }
    pub fn area(&self) -> u64 { todo!() }
    pub fn moments(&self) -> Moments { todo!() }
    pub fn bounding_box(&self) -> Option<PixelBox> { todo!() }
    pub fn contains(&self, x: u32, y: u32) -> bool { todo!() }
    pub fn union(&self, other: &RunMask) -> Result<RunMask, MaskError> { todo!() }
    pub fn intersection(&self, other: &RunMask) -> Result<RunMask, MaskError> { todo!() }
    pub fn difference(&self, other: &RunMask) -> Result<RunMask, MaskError> { todo!() }
    /// Area of the intersection without building it.
    pub fn overlap(&self, other: &RunMask) -> Result<u64, MaskError> { todo!() }
    /// 2|A∩B| / (|A|+|B|); 1 where both are empty.
    pub fn dice(&self, other: &RunMask) -> Result<f64, MaskError> { todo!() }
    pub fn iou(&self, other: &RunMask) -> Result<f64, MaskError> { todo!() }
    /// Pixels set in more than half of the masks (strictly); for `at_least` see `vote`.
    pub fn majority(masks: &[&RunMask]) -> Result<RunMask, MaskError> { todo!() }
    /// Pixels set in `at_least` or more of the masks.
    pub fn vote(masks: &[&RunMask], at_least: usize) -> Result<RunMask, MaskError> { todo!() }
    /// 8-connected components, largest first.
    pub fn components(&self) -> Vec<RunMask> { todo!() }
    /// Outer contours and holes' contours as closed pixel paths, one a component border, 8-connected;
    /// consecutive collinear points kept. Filling the outer ones with `from_polygon` gives the mask less its holes.
    pub fn contours(&self) -> Vec<Vec<[i32; 2]>> { todo!() }
    /// Length of the outer border(s) in px, as OpenCV's `arcLength` of the external contours (CHAIN_APPROX_NONE) summed.
    pub fn perimeter(&self) -> f64 { todo!() }
    /// Cut to `area`, in the coordinates of the cut.
    pub fn crop(&self, area: PixelBox) -> RunMask { todo!() }
    /// Placed with its first pixel at (x, y) of a mask of `width` x `height`; what falls outside is lost.
    pub fn place(&self, x: i64, y: i64, width: u32, height: u32) -> RunMask { todo!() }
    /// Mirrored left to right.
    pub fn flipped_horizontally(&self) -> RunMask { todo!() }
}
