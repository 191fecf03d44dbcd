//! Scan conversion of a polygon into runs, equal to OpenCV's `fillPoly`.
//!
//! OpenCV draws each side with an 8-connected Bresenham line, then fills between sides by the even-odd rule, with the
//! sides' x in fixed point with 16 fractional bits. Here one sweep from the top does both: in each row the pixels of
//! the lines that cross it and the spans between pairs of sides are sorted and joined, or counted per column if there
//! are many more of them than columns. Memory grows with the number of sides and rows, time with the number of rows
//! that the sides cross.

use super::runs::{PixelRun, RunBuilder};
use crate::geometry::SweepTable;

/// Number of fractional bits of a side's x.
const SHIFT: u32 = 16;
/// Added before the shift to round up.
const UP: i64 = (1 << SHIFT) - 1;

/// The runs of the filled polygon, outline included.
pub(super) fn fill(points: &[[i32; 2]], width: u32, height: u32) -> Vec<PixelRun> {
    let (w, h) = (i64::from(width), i64::from(height));
    let Some(last) = points.last() else { return Vec::new() };
    if w == 0 || h == 0 {
        return Vec::new();
    }
    // The rows of the image from the highest to the lowest point.
    let row = |y: Option<i32>| y.map_or(0, |y| i64::from(y).clamp(0, h - 1));
    let first = row(points.iter().map(|p| p[1]).min());
    let last_row = row(points.iter().map(|p| p[1]).max());
    let rows = (last_row - first + 1) as usize;
    let mut lines = ByFirstRow::new(rows, points.len());
    let mut sides = ByFirstRow::new(rows, points.len());
    let mut from = last.map(i64::from);
    for point in points {
        let to = point.map(i64::from);
        let (is_visible, clipped_from, clipped_to) = clip(from, to, w, h);
        if is_visible {
            let line = Line::new(clipped_from, clipped_to);
            lines.push((line.top - first) as usize, line);
        }
        if let Some(side) = Side::new([from, to], [clipped_from, clipped_to], h) {
            sides.push((side.top - first) as usize, side);
        }
        from = to;
    }
    sweep(&lines, &sides, first, w)
}

/// Lines or sides by the row in which they begin, counted from the first row of the polygon.
struct ByFirstRow<T> {
    items: Vec<T>,
    table: SweepTable,
}

impl<T> ByFirstRow<T> {
    fn new(rows: usize, items: usize) -> Self {
        ByFirstRow { items: Vec::with_capacity(items), table: SweepTable::new(rows, items) }
    }

    fn push(&mut self, row: usize, item: T) {
        self.items.push(item);
        self.table.push(row);
    }
}

/// A point as column and row.
type Point = [i64; 2];

/// Clips a segment to the image: whether a part of it is inside, and its two ends. If no part is inside, the ends are
/// those at which clipping stopped; the slope of the side is computed from them, as in OpenCV.
fn clip(mut a: Point, mut b: Point, w: i64, h: i64) -> (bool, Point, Point) {
    let (right, bottom) = (w - 1, h - 1);
    // One bit each for a point left of, right of, above and below the image.
    let left_or_right = |p: Point| u8::from(p[0] < 0) | u8::from(p[0] > right) << 1;
    let outside = |p: Point| left_or_right(p) | u8::from(p[1] < 0) << 2 | u8::from(p[1] > bottom) << 3;
    // Rounds towards the end that moves, in double precision as OpenCV does.
    let along = |gone: i64, num: i64, den: i64| (gone as f64 * num as f64 / den as f64) as i64;
    let (mut at_a, mut at_b) = (outside(a), outside(b));
    if at_a & at_b == 0 && at_a | at_b != 0 {
        if at_a & 12 != 0 {
            let y = if at_a < 8 { 0 } else { bottom };
            a = [a[0] + along(y - a[1], b[0] - a[0], b[1] - a[1]), y];
            at_a = left_or_right(a);
        }
        if at_b & 12 != 0 {
            let y = if at_b < 8 { 0 } else { bottom };
            b = [b[0] + along(y - b[1], b[0] - a[0], b[1] - a[1]), y];
            at_b = left_or_right(b);
        }
        if at_a & at_b == 0 && at_a | at_b != 0 {
            if at_a != 0 {
                let x = if at_a == 1 { 0 } else { right };
                a = [x, a[1] + along(x - a[0], b[1] - a[1], b[0] - a[0])];
                at_a = 0;
            }
            if at_b != 0 {
                let x = if at_b == 1 { 0 } else { right };
                b = [x, b[1] + along(x - b[0], b[1] - a[1], b[0] - a[0])];
                at_b = 0;
            }
        }
    }
    (at_a | at_b == 0, a, b)
}

/// An 8-connected Bresenham line between two pixels of the image, walked from its left end.
#[derive(Clone, Copy)]
struct Line {
    top: i64,
    /// Last row.
    bottom: i64,
    left: Point,
    dx: i64,
    dy: i64,
}

impl Line {
    fn new(a: Point, b: Point) -> Self {
        let (left, right) = if b[0] < a[0] { (b, a) } else { (a, b) };
        Line {
            top: a[1].min(b[1]),
            bottom: a[1].max(b[1]),
            left,
            dx: right[0] - left[0],
            dy: (right[1] - left[1]).abs(),
        }
    }

    /// First and last column of the line's pixels in row `y`, which it crosses.
    ///
    /// Bresenham's algorithm keeps its error term non-negative, so that after k steps along the longer axis it has made
    /// ceil(k·short/long - 1/2) steps along the shorter one; this is solved here for one row.
    fn columns(&self, y: i64) -> (i64, i64) {
        let Line { left, dx, dy, .. } = *self;
        let row = (y - left[1]).abs();
        // A step to a neighbouring pixel, as in contours, needs no division.
        if dx <= 1 && dy == 1 {
            return (left[0] + dx * row, left[0] + dx * row);
        }
        if dy > dx {
            let x = left[0] + (2 * dx * row + dy - 1) / (2 * dy);
            (x, x)
        } else if dy == 0 {
            (left[0], left[0] + dx)
        } else {
            let before = if row == 0 { 0 } else { (2 * row - 1) * dx / (2 * dy) + 1 };
            (left[0] + before, left[0] + dx.min((2 * row + 1) * dx / (2 * dy)))
        }
    }
}

/// A side that is not horizontal, for filling: the column where it crosses each row.
#[derive(Clone, Copy)]
struct Side {
    top: i64,
    /// One past the last row.
    bottom: i64,
    /// Column where it crosses the next row, in fixed point.
    x: i64,
    /// Change of the column per row, in fixed point, rounded towards 0.
    step: i64,
}

impl Side {
    /// The side between two points, clipped to the rows of the image. Its slope and position are those of the clipped
    /// segment, unless that lies in one row.
    fn new([a, b]: [Point; 2], [clipped_a, clipped_b]: [Point; 2], h: i64) -> Option<Self> {
        if a[1] == b[1] {
            return None;
        }
        let rows = if clipped_a[1] == clipped_b[1] { [a[1], b[1]] } else { [clipped_a[1], clipped_b[1]] };
        let step = ((clipped_b[0] - clipped_a[0]) << SHIFT) / (rows[1] - rows[0]);
        let (upper, known_x, known_y) =
            if a[1] < b[1] { (a[1], clipped_a[0], rows[0]) } else { (b[1], clipped_b[0], rows[1]) };
        let (top, bottom) = (upper.max(0), a[1].max(b[1]).min(h));
        // Overflows only for coordinates near the limits of 32 bits, as in OpenCV.
        let x = (known_x << SHIFT).wrapping_add((top - known_y).wrapping_mul(step));
        (top < bottom).then_some(Side { top, bottom, x, step })
    }
}

/// Joins the pixels that lines and sides cover, row by row.
fn sweep(lines: &ByFirstRow<Line>, sides: &ByFirstRow<Side>, first: i64, w: i64) -> Vec<PixelRun> {
    let mut runs = RunBuilder::with_capacity(lines.table.lines());
    // Copies, not references: reading them in order is several times faster if there are many.
    let mut open_lines: Vec<Line> = Vec::new();
    let mut open_sides: Vec<Side> = Vec::new();
    let mut crossings: Vec<i64> = Vec::new();
    let mut spans: Vec<(i64, i64)> = Vec::new();
    let mut by_column = ByColumn::default();
    for row in 0..lines.table.lines() {
        let y = first + row as i64;
        open_lines.extend(lines.table.beginning(row).map(|i| lines.items[i]));
        open_sides.extend(sides.table.beginning(row).map(|i| sides.items[i]));
        spans.clear();
        open_lines.retain(|line| {
            spans.push(line.columns(y));
            line.bottom > y
        });
        crossings.clear();
        open_sides.retain_mut(|side| {
            crossings.push(side.x);
            side.x = side.x.wrapping_add(side.step);
            side.bottom > y + 1
        });
        if crossings.len() + spans.len() > MANY * w as usize && by_column.fill(&crossings, &spans, w) {
            by_column.push(&mut runs, y * w);
            continue;
        }
        crossings.sort_unstable();
        // A closed outline crosses every row an even number of times.
        let mut inside = crossings.chunks_exact(2).filter_map(|pair| {
            let from = i64::from((pair[0].wrapping_add(UP) >> SHIFT) as i32);
            let to = i64::from((pair[1] >> SHIFT) as i32);
            (from < w && to >= 0 && from <= to).then(|| (from.max(0), to.min(w - 1)))
        });
        // In nearly every row of a bone there is one span with the outline on both sides.
        if let [_, _] = crossings[..]
            && let Some((from, to)) = inside.next()
        {
            let is_adjacent = |(a, b): &(i64, i64)| *a <= to + 1 && *b >= from - 1;
            if spans.iter().all(is_adjacent) {
                let first = spans.iter().fold(from, |first, s| first.min(s.0));
                let last = spans.iter().fold(to, |last, s| last.max(s.1));
                runs.push((y * w + first) as u32, (y * w + last + 1) as u32);
                continue;
            }
            spans.push((from, to));
        }
        spans.extend(inside);
        spans.sort_unstable();
        for (from, to) in &spans {
            runs.push((y * w + from) as u32, (y * w + to + 1) as u32);
        }
    }
    runs.finish()
}

/// From this number of sides and lines per column of a row, they are counted per column: sorting so many is slower.
const MANY: usize = 2;

/// Fills a row that many sides and lines cross, without sorting them.
#[derive(Default)]
struct ByColumn {
    /// Number of lines that begin at each column minus the number of those that ended at the column before.
    lines: Vec<i32>,
    /// Whether an odd number of sides crosses the row from the previous column (inclusive) to this one (exclusive).
    odd: Vec<bool>,
    /// Whether a side crosses the row exactly at the column.
    exact: Vec<bool>,
}

impl ByColumn {
    /// Counts sides and lines per column. False if a number may overflow, as only those near the limits of 32 bits do;
    /// such a row must be sorted.
    fn fill(&mut self, crossings: &[i64], spans: &[(i64, i64)], w: i64) -> bool {
        const LIMIT: i64 = 1 << (30 + SHIFT);
        if crossings.iter().any(|x| x.abs() > LIMIT) {
            return false;
        }
        let columns = w as usize;
        self.lines.clear();
        self.lines.resize(columns + 1, 0);
        for list in [&mut self.odd, &mut self.exact] {
            list.clear();
            list.resize(columns + 1, false);
        }
        for (from, to) in spans {
            self.lines[*from as usize] += 1;
            self.lines[*to as usize + 1] -= 1;
        }
        for x in crossings {
            let column = x >> SHIFT;
            if (0..w).contains(&column) && x & UP == 0 {
                self.exact[column as usize] = true;
            }
            self.odd[(column + 1).clamp(0, w) as usize] ^= true;
        }
        true
    }

    /// Appends the runs of the row that begins at pixel `start`. A column is inside if the number of sides left of it
    /// is odd, or if a side crosses the row exactly there.
    fn push(&self, runs: &mut RunBuilder, start: i64) {
        let (mut lines, mut is_odd, mut from) = (0, false, None);
        let columns = self.lines.len() - 1;
        for column in 0..columns {
            lines += self.lines[column];
            is_odd ^= self.odd[column];
            let at = (start + column as i64) as u32;
            if lines > 0 || is_odd || self.exact[column] {
                from.get_or_insert(at);
            } else if let Some(from) = from.take() {
                runs.push(from, at);
            }
        }
        if let Some(from) = from {
            runs.push(from, (start + columns as i64) as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::RunMask;
    use super::*;

    proptest! {
        /// Sorting and counting per column give the same row.
        #[test]
        fn rows_by_column_are_those_by_sorting(
            mut crossings in prop::collection::vec((-4i64..12, prop::sample::select(vec![0i64, 1, 30_000, UP])), 0..20),
            spans in prop::collection::vec((0i64..8, 0i64..8), 0..5),
        ) {
            crossings.truncate(crossings.len() / 2 * 2);
            let mut crossings: Vec<i64> = crossings.into_iter().map(|(column, part)| (column << SHIFT) + part).collect();
            let spans: Vec<(i64, i64)> = spans.into_iter().map(|(a, b)| (a.min(b), a.max(b))).collect();
            let mut by_column = ByColumn::default();
            prop_assert!(by_column.fill(&crossings, &spans, 8));
            let mut runs = RunBuilder::with_capacity(0);
            by_column.push(&mut runs, 0);
            let found = RunMask::from_maximal_runs(8, 1, runs.finish()).to_dense();
            crossings.sort_unstable();
            let expected: Vec<u8> = (0..8i64)
                .map(|x| {
                    let is_between = |pair: &[i64]| pair[0] <= x << SHIFT && pair[1] >= x << SHIFT;
                    let is_line = spans.iter().any(|s| (s.0..=s.1).contains(&x));
                    u8::from(is_line || crossings.chunks_exact(2).any(is_between))
                })
                .collect();
            prop_assert_eq!(found, expected);
        }
    }

    fn picture(points: &[[i32; 2]], width: u32, height: u32) -> Vec<String> {
        let dense = RunMask::from_polygon(points, width, height).to_dense();
        let row = |r: &[u8]| r.iter().map(|v| if *v == 1 { '#' } else { '.' }).collect();
        dense.chunks(width as usize).map(row).collect()
    }

    #[test]
    fn few_points_draw_their_outline() {
        assert_eq!(picture(&[], 2, 1), [".."]);
        assert_eq!(picture(&[[1, 0]], 2, 1), [".#"]);
        assert_eq!(picture(&[[0, 0], [4, 2]], 5, 3), ["##...", "..##.", "....#"]);
        assert_eq!(picture(&[[9, 9], [-9, 9]], 2, 2), ["..", ".."]);
    }

    #[test]
    fn self_intersection_is_even_odd() {
        // Two overlapping loops: the area inside both is outside, except for the outline.
        let twice = [[0, 0], [6, 0], [6, 6], [0, 6], [0, 0], [2, 2], [4, 2], [4, 4], [2, 4], [2, 2]];
        let rows = picture(&twice, 7, 7);
        assert_eq!(rows[3], "###.###");
        assert_eq!(rows[1], "#######");
    }

    #[test]
    fn limits_of_coordinates_do_not_panic() {
        let (low, high) = (i32::MIN, i32::MAX);
        let mask = RunMask::from_polygon(&[[low, low], [high, low], [high, high], [low, high]], 16, 16);
        assert_eq!(mask.area(), 256);
        RunMask::from_polygon(&[[low, high], [high, low], [3, 7], [low, 5]], 16, 16);
    }
}
