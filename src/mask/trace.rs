//! Borders of a mask by border following (Suzuki and Abe 1985), on its runs and a bitmap of them.

use super::components::{Neighbours, Piece, connected};
use super::runs::RunMask;

impl RunMask {
    /// The contours of components and holes as closed 8-connected pixel paths (x, y), one per border, with all points
    /// of straight lines. The components' outer contours come first; each kind is in order of its first pixel. The
    /// contour of a hole consists of the set pixels around it. Filling the outlines (see [`RunMask::outlines`]) with
    /// `from_polygon` gives the mask with its holes filled.
    pub fn contours(&self) -> Vec<Vec<[i32; 2]>> {
        let borders = Borders::of(self);
        let outer = borders.components().map(|piece| borders.outer(piece));
        outer.chain(borders.holes(&Gaps::of(&borders, self.width()))).collect()
    }

    /// The outer contours of the components that no other component encloses, in order of their first pixel: OpenCV's
    /// external contours (`RETR_EXTERNAL`, `CHAIN_APPROX_NONE`).
    pub fn outlines(&self) -> Vec<Vec<[i32; 2]>> {
        let borders = Borders::of(self);
        borders.outermost(self.width()).into_iter().map(|piece| borders.outer(piece)).collect()
    }

    /// Length of the outlines in px, as the sum of OpenCV's `arcLength` over the external contours
    /// (`CHAIN_APPROX_NONE`): 1 for a step along a row or column, √2 for a diagonal step. A single pixel has length 0.
    pub fn perimeter(&self) -> f64 {
        outlines_length(&self.outlines())
    }
}

/// Length in px of closed pixel paths such as [`RunMask::outlines`]; see [`RunMask::perimeter`].
pub fn outlines_length(paths: &[Vec<[i32; 2]>]) -> f64 {
    let mut steps = [0u64; 3];
    for path in paths {
        let mut from = path.last();
        for to in path {
            let far = from.map_or(0, |from| from[0].abs_diff(to[0]) + from[1].abs_diff(to[1]));
            steps[far as usize] += 1;
            from = Some(to);
        }
    }
    let [_, straight, diagonal] = steps;
    straight as f64 + diagonal as f64 * std::f64::consts::SQRT_2
}

/// Steps to the eight neighbours, counter-clockwise on the screen from the right; those with odd indices are diagonal.
const STEPS: [[i32; 2]; 8] = [[1, 0], [1, -1], [0, -1], [-1, -1], [-1, 0], [-1, 1], [0, 1], [1, 1]];
const RIGHT: usize = 0;
const LEFT: usize = 4;

/// The set spans, by row and as a bitmap.
struct Borders {
    pieces: Vec<Piece>,
    /// The first row that has a piece.
    top: u32,
    /// Index of the first piece of each row from `top` on; one more entry for the end.
    rows: Vec<usize>,
    /// For each piece, the first piece of its component.
    component: Vec<usize>,
    bits: Bits,
}

/// One bit per pixel of the set pixels' bounding box, with an unset border of one pixel.
struct Bits {
    /// Column and row of the first bit.
    left: i32,
    top: i32,
    /// Words per row.
    stride: usize,
    words: Vec<u64>,
}

impl Bits {
    fn of(pieces: &[Piece]) -> Self {
        let (Some(first), Some(last)) = (pieces.first(), pieces.last()) else {
            return Bits { left: 0, top: 0, stride: 0, words: Vec::new() };
        };
        let x_start = pieces.iter().map(|p| p.1).min().unwrap_or(0);
        let x_end = pieces.iter().map(|p| p.2).max().unwrap_or(0);
        let stride = (x_end - x_start + 2).div_ceil(u64::BITS) as usize;
        let mut words = vec![0u64; stride * ((last.0 - first.0) as usize + 3)];
        for (y, from, to) in pieces {
            let row = &mut words[stride * ((y - first.0) as usize + 1)..];
            let (from, to) = (from - x_start + 1, to - x_start + 1);
            // All bits of the words from the first to the last, without the bits before and after the span.
            let (first, last) = ((from / u64::BITS) as usize, ((to - 1) / u64::BITS) as usize);
            let (head, tail) = (u64::MAX << (from % u64::BITS), u64::MAX >> (u64::BITS - 1 - (to - 1) % u64::BITS));
            if first == last {
                row[first] |= head & tail;
            } else {
                row[first] |= head;
                row[first + 1..last].fill(u64::MAX);
                row[last] |= tail;
            }
        }
        Bits { left: x_start as i32 - 1, top: first.0 as i32 - 1, stride, words }
    }

    /// Whether a pixel is set; it must be in the bounding box or next to it.
    fn is_set(&self, [x, y]: [i32; 2]) -> bool {
        let (x, y) = ((x - self.left) as usize, (y - self.top) as usize);
        self.words[y * self.stride + x / 64] >> (x % 64) & 1 == 1
    }
}

/// The gaps between the set spans.
struct Gaps {
    /// The gaps of each row, from one column left of the image to one column right of it, and a row above and below.
    /// All coordinates are shifted by one row and one column so that none is negative.
    gaps: Vec<Piece>,
    /// For each gap, the first gap of its 4-connected component; 0 is the outside.
    background: Vec<usize>,
    /// The gap to the left of each piece.
    left_gap: Vec<usize>,
}

impl Borders {
    fn of(mask: &RunMask) -> Self {
        let pieces: Vec<Piece> = mask.rows().collect();
        let (top, bottom) = match (pieces.first(), pieces.last()) {
            (Some(first), Some(last)) => (first.0, last.0 + 1),
            _ => (0, 0),
        };
        let mut rows = Vec::with_capacity((bottom - top) as usize + 1);
        let mut at = 0;
        for y in top..bottom {
            rows.push(at);
            at += pieces[at..].iter().take_while(|p| p.0 == y).count();
        }
        rows.push(at);
        let component = connected(&pieces, Neighbours::Eight);
        let bits = Bits::of(&pieces);
        Borders { pieces, top, rows, component, bits }
    }

    /// First piece of each component.
    fn components(&self) -> impl Iterator<Item = usize> + '_ {
        self.component.iter().enumerate().filter(|(i, first)| i == *first).map(|(i, _)| i)
    }

    /// First piece of each component that no other encloses.
    fn outermost(&self, width: u32) -> Vec<usize> {
        let mut components: Vec<usize> = self.components().collect();
        // A single component is not enclosed.
        if components.len() > 1 {
            let gaps = Gaps::of(self, width);
            components.retain(|piece| gaps.is_outside(*piece));
        }
        components
    }

    fn first_pixel(&self, piece: usize) -> [i32; 2] {
        let (y, x, _) = self.pieces[piece];
        [x as i32, y as i32]
    }

    /// The outer contour of the component whose first piece is `piece`.
    fn outer(&self, piece: usize) -> Vec<[i32; 2]> {
        self.contour(self.first_pixel(piece), LEFT)
    }

    /// The contour of each hole, from the pixel to the left of the hole's first one.
    fn holes(&self, gaps: &Gaps) -> impl Iterator<Item = Vec<[i32; 2]>> {
        let first = gaps.background.iter().enumerate().filter(|(i, first)| i == *first && *i != 0);
        first.map(|(gap, _)| {
            let (y, x, _) = gaps.gaps[gap];
            self.contour([x as i32 - 2, y as i32 - 1], RIGHT)
        })
    }

    /// The pixels of the border that contains `start` and faces its unset neighbour in direction `empty`.
    fn contour(&self, start: [i32; 2], empty: usize) -> Vec<[i32; 2]> {
        let mut path = Vec::new();
        self.follow(start, empty, |at| path.push(at));
        if path.is_empty() { vec![start] } else { path }
    }

    /// Follows that border and calls `step` with each pixel; not for a single pixel.
    fn follow(&self, start: [i32; 2], empty: usize, mut step: impl FnMut([i32; 2])) {
        let neighbour = |of: [i32; 2], towards: usize| [of[0] + STEPS[towards][0], of[1] + STEPS[towards][1]];
        // Clockwise from the unset neighbour: the first set one is the last pixel of the path.
        let is_set = |of, towards| self.bits.is_set(neighbour(of, towards));
        let Some(back) = (1..8).map(|turn| (empty + 8 - turn) % 8).find(|d| is_set(start, *d)) else {
            return;
        };
        let last = neighbour(start, back);
        let (mut at, mut towards) = (start, back);
        loop {
            // Counter-clockwise from the previous pixel, which is set, so a pixel is always found.
            towards = (1..=8).map(|turn| (towards + turn) % 8).find(|d| is_set(at, *d)).unwrap_or(towards);
            step(at);
            let next = neighbour(at, towards);
            if next == start && at == last {
                return;
            }
            at = next;
            towards = (towards + 4) % 8;
        }
    }
}

impl Gaps {
    fn of(borders: &Borders, width: u32) -> Self {
        let (first_column, end_column) = (0, width.saturating_add(2));
        let mut gaps = vec![(borders.top, first_column, end_column)];
        let mut left_gap = Vec::with_capacity(borders.pieces.len());
        let mut y = borders.top;
        for row in borders.rows.windows(2) {
            let mut from = first_column;
            for (_, x_start, x_end) in &borders.pieces[row[0]..row[1]] {
                left_gap.push(gaps.len());
                gaps.push((y + 1, from, x_start + 1));
                from = x_end + 1;
            }
            gaps.push((y + 1, from, end_column));
            y += 1;
        }
        gaps.push((y + 1, first_column, end_column));
        let background = connected(&gaps, Neighbours::Four);
        Gaps { gaps, background, left_gap }
    }

    /// Whether the background to the left of the piece is the outside.
    fn is_outside(&self, piece: usize) -> bool {
        self.background[self.left_gap[piece]] == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_has_two_borders() {
        #[rustfmt::skip]
        let dense = [
            0, 1, 1, 1, 0,
            0, 1, 0, 1, 0,
            0, 1, 1, 1, 0,
        ];
        let ring = RunMask::from_dense(&dense, 5, 3);
        let contours = ring.contours();
        assert_eq!(contours[0], [[1, 0], [1, 1], [1, 2], [2, 2], [3, 2], [3, 1], [3, 0], [2, 0]]);
        assert_eq!(contours[1], [[1, 1], [2, 0], [3, 1], [2, 2]]);
        assert_eq!(contours.len(), 2);
        assert_eq!(ring.perimeter(), 8.0);
    }

    #[test]
    fn components_in_a_hole_are_not_external() {
        let mut dense = vec![1u8; 49];
        for y in 1..6 {
            dense[y * 7 + 1..y * 7 + 6].fill(0);
        }
        dense[3 * 7 + 3] = 1;
        let nested = RunMask::from_dense(&dense, 7, 7);
        assert_eq!((nested.contours().len(), nested.outlines().len()), (3, 1));
        assert_eq!(nested.perimeter(), 24.0);
    }

    #[test]
    fn small_masks() {
        assert!(RunMask::empty(4, 4).contours().is_empty());
        assert!(RunMask::empty(0, 0).contours().is_empty());
        let dot = RunMask::from_dense(&[0, 0, 0, 1], 2, 2);
        assert_eq!((dot.contours(), dot.perimeter()), (vec![vec![[1, 1]]], 0.0));
        let pair = RunMask::from_dense(&[1, 0, 0, 1], 2, 2);
        assert!((pair.perimeter() - 2.0 * 2f64.sqrt()).abs() < 1e-12, "forth and back");
    }
}
