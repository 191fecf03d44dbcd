//! Cutting, placing, mirroring and resizing masks, run by run.

use super::runs::{RunBuilder, RunMask};
use crate::geometry::PixelBox;

impl RunMask {
    /// Cut to `area`, in the coordinates of the cut: the result is as large as the box, and what of the box
    /// lies outside this mask is not set.
    pub fn crop(&self, area: PixelBox) -> RunMask {
        self.place(-i64::from(area.x_min), -i64::from(area.y_min), area.width(), area.height())
    }

    /// Placed with its first pixel at (x, y) of a mask of `width` x `height`; what falls outside is lost.
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

    /// Mirrored left to right.
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

    /// At another size: a pixel of the result is the source pixel that its centre falls on, column
    /// floor((x + 1/2) src_w / dst_w) and the row likewise, in exact arithmetic: OpenCV's INTER_NEAREST_EXACT, PIL's NEAREST.
    ///
    /// OpenCV's INTER_NEAREST takes the source pixel at the left upper corner instead, which moves a mask by half a
    /// pixel of the smaller size against an image that was resampled by centres.
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

/// Calls `block` with the rows and the columns (end exclusive) that each piece of a row becomes at another
/// size, in the order of the pieces; pieces that vanish are left out.
pub(super) fn for_each_resized(mask: &RunMask, width: u32, height: u32, mut block: impl FnMut((u32, u32), (u32, u32))) {
    let (across, down) = (Nearest::new(mask.width(), width), Nearest::new(mask.height(), height));
    let mut seen = (u32::MAX, (0, 0));
    for (y, x_start, x_end) in mask.rows() {
        if seen.0 != y {
            seen = (y, (down.before(y), down.before(y + 1)));
        }
        let (_, rows) = seen;
        if rows.0 == rows.1 {
            continue;
        }
        let columns = (across.before(x_start), across.before(x_end));
        if columns.0 < columns.1 {
            block(rows, columns);
        }
    }
}

/// Which source pixel each target pixel takes along one axis.
struct Nearest {
    source: u64,
    target: u64,
}

impl Nearest {
    fn new(source: u32, target: u32) -> Self {
        Nearest { source: source.into(), target: target.into() }
    }

    /// Number of target pixels whose source lies before `at`: the x with (2x + 1) source < 2 target at.
    fn before(&self, at: u32) -> u32 {
        let twice = (2 * self.target * u64::from(at)).saturating_sub(self.source);
        twice.div_ceil(2 * self.source).min(self.target) as u32
    }
}
