use std::iter::FusedIterator;

use super::polygon;
use crate::geometry::{Moments, PixelBox};

/// The largest number of pixels of a mask: every index, and one past the last, fits in 32 bits.
pub const MAX_PIXELS: u64 = u32::MAX as u64;

/// `len` set pixels from `start` in the row-major flattened image. A run may continue in the next row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PixelRun {
    /// Index of the first pixel, `y * width + x`.
    pub start: u32,
    /// Number of pixels, at least 1.
    pub len: u32,
}

impl PixelRun {
    /// One past the last pixel.
    pub fn end(self) -> u32 {
        self.start + self.len
    }
}

/// Why runs do not form a mask, or masks do not fit together. Runs are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A run without pixels.
    #[error("run {index} has length 0")]
    Empty {
        /// Which run.
        index: usize,
    },
    /// A run that begins before the previous one ends.
    #[error("run {index} starts at {start}, inside or before the run that ends at {previous_end}")]
    Overlap {
        /// Which run.
        index: usize,
        /// Its first pixel.
        start: u64,
        /// Last pixel of the previous run.
        previous_end: u64,
    },
    /// A run past the last pixel.
    #[error("run {index} ends at pixel {end}, but the mask of {width}x{height} has {pixels} pixels")]
    OutOfRange {
        /// Which run.
        index: usize,
        /// Number of its last pixel, counted from 1.
        end: u64,
        /// Columns of the mask.
        width: u32,
        /// Rows of the mask.
        height: u32,
        /// Pixels of the mask.
        pixels: u64,
    },
    /// Two masks of different sizes in one operation.
    #[error("masks differ in size: {}x{} and {}x{}", .0.0, .0.1, .1.0, .1.1)]
    Size((u32, u32), (u32, u32)),
    /// The number of masks is not the number of bones.
    #[error("{found} masks; expected one for each of the {} bones", crate::bones::COUNT)]
    Count {
        /// How many there are.
        found: usize,
    },
    /// An operation on several masks got none.
    #[error("no masks; expected one or more")]
    NoMasks,
    /// More pixels than [`MAX_PIXELS`].
    #[error("a mask of {width}x{height} has more than {MAX_PIXELS} pixels")]
    TooLarge {
        /// Columns asked for.
        width: u32,
        /// Rows asked for.
        height: u32,
    },
}

/// A binary mask of `width` x `height` pixels as sorted, disjoint, maximal runs over the row-major flattened
/// image. Two equal masks have equal runs.
///
/// ```
/// use carpus::mask::RunMask;
/// let square = RunMask::from_polygon(&[[2, 2], [5, 2], [5, 5], [2, 5]], 8, 8);
/// assert_eq!(square.area(), 16);
/// assert_eq!(square.dice(&square).unwrap(), 1.0);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunMask {
    width: u32,
    height: u32,
    runs: Vec<PixelRun>,
}

impl RunMask {
    /// No pixel set.
    ///
    /// # Panics
    /// If `width * height` exceeds [`MAX_PIXELS`].
    pub fn empty(width: u32, height: u32) -> Self {
        Self::from_maximal_runs(width, height, Vec::new())
    }

    /// Every pixel set.
    ///
    /// # Panics
    /// If `width * height` exceeds [`MAX_PIXELS`].
    pub fn full(width: u32, height: u32) -> Self {
        let len = width.checked_mul(height).expect("at most MAX_PIXELS pixels");
        let runs = if len == 0 { Vec::new() } else { vec![PixelRun { start: 0, len }] };
        Self::from_maximal_runs(width, height, runs)
    }

    /// From runs that are known to be sorted, disjoint, maximal and within the image.
    pub(super) fn from_maximal_runs(width: u32, height: u32, runs: Vec<PixelRun>) -> Self {
        assert!(fits(width, height), "a mask of {width}x{height} has more than {MAX_PIXELS} pixels");
        debug_assert!(runs.iter().all(|r| r.len > 0));
        debug_assert!(runs.windows(2).all(|w| w[0].end() < w[1].start));
        debug_assert!(runs.last().is_none_or(|r| u64::from(r.end()) <= u64::from(width) * u64::from(height)));
        RunMask { width, height, runs }
    }

    /// From sorted disjoint runs; adjacent runs are joined.
    ///
    /// # Errors
    /// There are more than [`MAX_PIXELS`] pixels, or a run is empty, out of order or out of range; the first one is
    /// named.
    pub fn from_runs(width: u32, height: u32, runs: Vec<PixelRun>) -> Result<Self, MaskError> {
        if !fits(width, height) {
            return Err(MaskError::TooLarge { width, height });
        }
        let pixels = u64::from(width) * u64::from(height);
        let mut joined = RunBuilder::with_capacity(runs.len());
        let mut previous_end = 0u64;
        for (i, run) in runs.into_iter().enumerate() {
            let (index, start) = (i + 1, u64::from(run.start));
            let end = start + u64::from(run.len);
            if run.len == 0 {
                return Err(MaskError::Empty { index });
            }
            if start < previous_end {
                return Err(MaskError::Overlap { index, start, previous_end: previous_end - 1 });
            }
            if end > pixels {
                return Err(MaskError::OutOfRange { index, end, width, height, pixels });
            }
            joined.push(run.start, end as u32);
            previous_end = end;
        }
        Ok(Self::from_maximal_runs(width, height, joined.finish()))
    }

    /// From row-major bytes; pixels that are not 0 are set.
    ///
    /// # Panics
    /// If `dense.len()` is not `width * height`, or that exceeds [`MAX_PIXELS`].
    pub fn from_dense(dense: &[u8], width: u32, height: u32) -> Self {
        assert_eq!(dense.len() as u64, u64::from(width) * u64::from(height), "one byte per pixel");
        assert!(fits(width, height), "a mask of {width}x{height} has more than {MAX_PIXELS} pixels");
        Self::from_maximal_runs(width, height, scan(dense, |v| *v != 0))
    }

    /// Row-major bytes, 0 or 1, one per pixel.
    pub fn to_dense(&self) -> Vec<u8> {
        let mut dense = vec![0; self.width as usize * self.height as usize];
        for run in &self.runs {
            dense[run.start as usize..run.end() as usize].fill(1);
        }
        dense
    }

    /// The filled polygon, as `cv2.fillPoly(mask, [points], 1)`: the inside by the even-odd rule, and the outline drawn
    /// with 8-connected lines. The result equals OpenCV 5.0 in every pixel for any points (x, y): one, two, collinear,
    /// self-intersecting or outside the image. No points give an empty mask.
    ///
    /// # Panics
    /// If `width * height` exceeds [`MAX_PIXELS`].
    pub fn from_polygon(points: &[[i32; 2]], width: u32, height: u32) -> Self {
        assert!(fits(width, height), "a mask of {width}x{height} has more than {MAX_PIXELS} pixels");
        Self::from_maximal_runs(width, height, polygon::fill(points, width, height))
    }

    /// Columns.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The runs: sorted, disjoint, maximal.
    pub fn runs(&self) -> &[PixelRun] {
        &self.runs
    }

    /// Whether no pixel is set.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The runs cut at row ends, sorted: (y, x_start, x_end), `x_end` exclusive.
    pub fn rows(&self) -> impl Iterator<Item = (u32, u32, u32)> + '_ {
        Rows { runs: self.runs.iter(), start: 0, end: 0, width: self.width, y: 0, row_start: 0 }
    }

    /// Number of set pixels.
    pub fn area(&self) -> u64 {
        self.runs.iter().map(|r| u64::from(r.len)).sum()
    }

    /// Moments up to order two, exact for images of up to 65,535 px per side.
    pub fn moments(&self) -> Moments {
        let mut m = Moments::default();
        for (y, x_start, x_end) in self.rows() {
            let (y, a, b) = (u64::from(y), u64::from(x_start), u64::from(x_end));
            let n = b - a;
            let sum_x = n * (a + b - 1) / 2;
            m.area += n;
            m.sum_x += sum_x;
            m.sum_y += n * y;
            m.sum_xx = m.sum_xx.wrapping_add(squares_below(b).wrapping_sub(squares_below(a)));
            m.sum_xy = m.sum_xy.wrapping_add(sum_x.wrapping_mul(y));
            m.sum_yy = m.sum_yy.wrapping_add(n.wrapping_mul(y * y));
        }
        m
    }

    /// The smallest box that contains every set pixel; `None` for an empty mask.
    pub fn bounding_box(&self) -> Option<PixelBox> {
        let mut bounds: Option<PixelBox> = None;
        for (y, x_start, x_end) in self.rows() {
            let b = bounds.get_or_insert(PixelBox { x_min: x_start, y_min: y, x_max: x_end - 1, y_max: y });
            b.x_min = b.x_min.min(x_start);
            b.x_max = b.x_max.max(x_end - 1);
            b.y_max = y;
        }
        bounds
    }

    /// Whether the pixel is set; false outside the image.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        if x >= self.width || y >= self.height {
            return false;
        }
        let at = y * self.width + x;
        let after = self.runs.partition_point(|r| r.start <= at);
        after > 0 && at < self.runs[after - 1].end()
    }
}

/// Whether every pixel index of such a mask, and one past the last, fits in 32 bits.
fn fits(width: u32, height: u32) -> bool {
    u64::from(width) * u64::from(height) <= MAX_PIXELS
}

/// 0² + 1² + … + (n - 1)²; overflows for n beyond 2 million, which no image side reaches.
fn squares_below(n: u64) -> u64 {
    if n == 0 { 0 } else { ((n - 1).wrapping_mul(n)).wrapping_mul(2 * n - 1) / 6 }
}

/// The maximal runs of items that are `set`.
pub(super) fn scan<T>(items: &[T], set: impl Fn(&T) -> bool) -> Vec<PixelRun> {
    /// Number of items compared together: a block without a change costs one comparison per vector register.
    const BLOCK: usize = 64;
    let find = |from: usize, wanted: bool| {
        let mut at = from;
        for block in items[from..].chunks(BLOCK) {
            if block.iter().fold(false, |found, v| found | (set(v) == wanted)) {
                return at + block.iter().position(|v| set(v) == wanted).expect("the block has one");
            }
            at += block.len();
        }
        items.len()
    };
    let mut runs = Vec::new();
    let mut at = find(0, true);
    while at < items.len() {
        let end = find(at, false);
        runs.push(PixelRun { start: at as u32, len: (end - at) as u32 });
        at = find(end, true);
    }
    runs
}

/// Runs cut at row ends. No division is needed if consecutive runs are in the same or the next row.
struct Rows<'a> {
    runs: std::slice::Iter<'a, PixelRun>,
    start: u32,
    end: u32,
    width: u32,
    y: u32,
    row_start: u32,
}

impl Iterator for Rows<'_> {
    type Item = (u32, u32, u32);

    fn next(&mut self) -> Option<Self::Item> {
        if self.start == self.end {
            let run = self.runs.next()?;
            (self.start, self.end) = (run.start, run.end());
        }
        let mut x = self.start - self.row_start;
        if x >= self.width {
            let rows = if x - self.width < self.width { 1 } else { x / self.width };
            self.y += rows;
            self.row_start += rows * self.width;
            x -= rows * self.width;
        }
        let len = (self.end - self.start).min(self.width - x);
        self.start += len;
        Some((self.y, x, x + len))
    }
}

impl FusedIterator for Rows<'_> {}

/// Collects spans in order into maximal runs.
#[derive(Default)]
pub(super) struct RunBuilder {
    runs: Vec<PixelRun>,
}

impl RunBuilder {
    pub(super) fn with_capacity(runs: usize) -> Self {
        RunBuilder { runs: Vec::with_capacity(runs) }
    }

    /// Adds `start..end`, which must not be empty nor start before an earlier span. Overlapping and adjacent spans are
    /// joined.
    #[inline]
    pub(super) fn push(&mut self, start: u32, end: u32) {
        debug_assert!(start < end);
        match self.runs.last_mut() {
            Some(last) if start <= last.end() => last.len = end.max(last.end()) - last.start,
            _ => self.runs.push(PixelRun { start, len: end - start }),
        }
    }

    pub(super) fn finish(self) -> Vec<PixelRun> {
        self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(start: u32, len: u32) -> PixelRun {
        PixelRun { start, len }
    }

    #[test]
    fn runs_are_checked_and_joined() {
        let of = |runs: &[(u32, u32)]| RunMask::from_runs(4, 3, runs.iter().map(|r| run(r.0, r.1)).collect());
        assert_eq!(of(&[(1, 2), (3, 2), (8, 1)]).unwrap().runs(), [run(1, 4), run(8, 1)]);
        assert_eq!(of(&[(1, 0)]), Err(MaskError::Empty { index: 1 }));
        assert_eq!(of(&[(1, 3), (3, 1)]), Err(MaskError::Overlap { index: 2, start: 3, previous_end: 3 }));
        assert_eq!(of(&[(5, 1), (3, 1)]), Err(MaskError::Overlap { index: 2, start: 3, previous_end: 5 }));
        let past = MaskError::OutOfRange { index: 1, end: 13, width: 4, height: 3, pixels: 12 };
        assert_eq!(of(&[(10, 3)]), Err(past));
        assert!(matches!(of(&[(u32::MAX, u32::MAX)]), Err(MaskError::OutOfRange { .. })));
        let large = MaskError::TooLarge { width: 1 << 16, height: 1 << 16 };
        assert_eq!(RunMask::from_runs(1 << 16, 1 << 16, vec![]), Err(large));
    }

    #[test]
    fn masks_without_pixels_have_no_rows() {
        for mask in [RunMask::empty(0, 5), RunMask::full(5, 0), RunMask::empty(3, 3)] {
            assert_eq!((mask.area(), mask.rows().count(), mask.bounding_box()), (0, 0, None));
            assert_eq!(mask.moments(), Moments::default());
        }
    }

    #[test]
    fn moments_stay_exact_on_the_largest_square() {
        let side = 65_535u64;
        let full = RunMask::full(side as u32, side as u32);
        let m = full.moments();
        let sum = side * (side - 1) / 2;
        let squares = (side - 1) * side * (2 * side - 1) / 6;
        assert_eq!((m.area, m.sum_x, m.sum_y), (side * side, sum * side, sum * side));
        assert_eq!((m.sum_xx, m.sum_xy, m.sum_yy), (squares * side, sum * sum, squares * side));
    }
}
