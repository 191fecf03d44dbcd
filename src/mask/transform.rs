//! Cropping, placing, mirroring and resizing masks, on runs.

use super::runs::{RunBuilder, RunMask};
use crate::geometry::PixelBox;

impl RunMask {
    /// The part in the box `area`. The result has the size of the box; pixels of the box outside this image are not
    /// set.
    pub fn crop(&self, area: PixelBox) -> RunMask {
        self.place(-i64::from(area.x_min), -i64::from(area.y_min), area.width(), area.height())
    }

    /// The mask with its first pixel moved to (x, y) of an image of `width` x `height` pixels. Pixels outside that
    /// image are dropped.
    pub fn place(&self, x: i64, y: i64, width: u32, height: u32) -> RunMask {
        let mut out = RunBuilder::default();
        for (row, x_start, x_end) in self.rows() {
            let row = i64::from(row).saturating_add(y);
            if row < 0 {
                continue;
            }
            if row >= i64::from(height) {
                break;
            }
            let from = i64::from(x_start).saturating_add(x).max(0);
            let to = i64::from(x_end).saturating_add(x).min(i64::from(width));
            if from < to {
                let at = row * i64::from(width);
                out.push((at + from) as u32, (at + to) as u32);
            }
        }
        RunMask::from_maximal_runs(width, height, out.finish())
    }

    /// The mask mirrored left to right.
    pub fn flipped_horizontally(&self) -> RunMask {
        let width = self.width();
        let mut out = RunBuilder::with_capacity(self.runs().len());
        let mut row: Vec<(u32, u32)> = Vec::new();
        let mut current = 0;
        let mut flush = |y: u32, row: &mut Vec<(u32, u32)>| {
            for (x_start, x_end) in row.drain(..).rev() {
                out.push(y * width + (width - x_end), y * width + (width - x_start));
            }
        };
        for (y, x_start, x_end) in self.rows() {
            if y != current {
                flush(current, &mut row);
                current = y;
            }
            row.push((x_start, x_end));
        }
        flush(current, &mut row);
        RunMask::from_maximal_runs(width, self.height(), out.finish())
    }

    /// The mask at another size. A pixel of the result has the value of the source pixel that contains its centre, in
    /// exact arithmetic: column floor((x + 1/2) src_w / dst_w), and the row likewise. This is OpenCV's
    /// INTER_NEAREST_EXACT and PIL's NEAREST.
    ///
    /// OpenCV's INTER_NEAREST takes the source pixel at the pixel's upper left corner instead. This moves a mask by
    /// half a pixel of the smaller size relative to an image that was resampled by pixel centres.
    pub fn resized(&self, width: u32, height: u32) -> RunMask {
        let mut out = RunBuilder::default();
        let mut row: Vec<(u32, u32)> = Vec::new();
        let mut current = (0, 0);
        let mut flush = |(top, bottom): (u32, u32), row: &mut Vec<(u32, u32)>| {
            for y in top..bottom {
                for (x_start, x_end) in row.iter() {
                    out.push(y * width + x_start, y * width + x_end);
                }
            }
            row.clear();
        };
        for_each_resized(self, width, height, |rows, columns| {
            if rows != current {
                flush(current, &mut row);
                current = rows;
            }
            row.push(columns);
        });
        flush(current, &mut row);
        RunMask::from_maximal_runs(width, height, out.finish())
    }
}

/// Calls `block` with the range of rows and the range of columns (ends exclusive) that each piece of a row covers at
/// another size, in the order of the pieces. Pieces that vanish are skipped.
pub(super) fn for_each_resized(mask: &RunMask, width: u32, height: u32, mut block: impl FnMut((u32, u32), (u32, u32))) {
    let (across, down) = (Nearest::new(mask.width(), width), Nearest::new(mask.height(), height));
    let mut current = (u32::MAX, (0, 0));
    for (y, x_start, x_end) in mask.rows() {
        if current.0 != y {
            current = (y, (down.before(y), down.before(y + 1)));
        }
        let (_, rows) = current;
        if rows.0 == rows.1 {
            continue;
        }
        let columns = (across.before(x_start), across.before(x_end));
        if columns.0 < columns.1 {
            block(rows, columns);
        }
    }
}

/// The source pixel of each target pixel along one axis.
struct Nearest {
    source: u64,
    target: u64,
}

impl Nearest {
    fn new(source: u32, target: u32) -> Self {
        Nearest { source: source.into(), target: target.into() }
    }

    /// Number of target pixels whose source pixel is before `at`: those x with (2x + 1) source < 2 target at.
    fn before(&self, at: u32) -> u32 {
        let twice = (2 * self.target * u64::from(at)).saturating_sub(self.source);
        twice.div_ceil(2 * self.source).min(self.target) as u32
    }
}
