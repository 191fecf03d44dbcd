//! Connected components, by union-find over the spans of neighbouring rows.

use super::runs::{RunBuilder, RunMask};

impl RunMask {
    /// The 8-connected components, largest first; of equal ones, the one whose first pixel comes earlier.
    pub fn components(&self) -> Vec<RunMask> {
        let pieces: Vec<Piece> = self.rows().collect();
        let roots = connected(&pieces, Neighbours::Eight);
        // A component's root is its first piece, so components are numbered in order of their first pixel.
        let mut number = vec![usize::MAX; pieces.len()];
        let mut parts: Vec<(u64, RunBuilder)> = Vec::new();
        for (&(y, x_start, x_end), &root) in pieces.iter().zip(&roots) {
            if number[root] == usize::MAX {
                number[root] = parts.len();
                parts.push((0, RunBuilder::default()));
            }
            let (area, part) = &mut parts[number[root]];
            *area += u64::from(x_end - x_start);
            part.push(y * self.width() + x_start, y * self.width() + x_end);
        }
        parts.sort_by_key(|(area, _)| std::cmp::Reverse(*area));
        let mask = |part: RunBuilder| RunMask::from_maximal_runs(self.width(), self.height(), part.finish());
        parts.into_iter().map(|(_, part)| mask(part)).collect()
    }
}

/// A span of one row: y, first column, one past the last column.
pub(super) type Piece = (u32, u32, u32);

/// Which pixels are neighbours.
#[derive(Clone, Copy)]
pub(super) enum Neighbours {
    /// Those that share a side.
    Four,
    /// Those that share a side or a corner.
    Eight,
}

/// For each piece, the index of the first piece of its component. Pieces must be sorted by row and column.
pub(super) fn connected(pieces: &[Piece], neighbours: Neighbours) -> Vec<usize> {
    let reach = match neighbours {
        Neighbours::Four => 0,
        Neighbours::Eight => 1,
    };
    let mut parent: Vec<usize> = (0..pieces.len()).collect();
    let mut above = 0;
    for (i, &(y, x_start, x_end)) in pieces.iter().enumerate() {
        // A piece that is completely left of this one does not touch any later piece, either.
        while above < i && (pieces[above].0 + 1 < y || (pieces[above].0 + 1 == y && pieces[above].2 + reach <= x_start))
        {
            above += 1;
        }
        let mut touching = above;
        while touching < i && pieces[touching].0 + 1 == y && pieces[touching].1 < x_end + reach {
            join(&mut parent, i, touching);
            touching += 1;
        }
    }
    for i in 0..parent.len() {
        // A parent comes before its child, so it points at its root already.
        parent[i] = parent[parent[i]];
    }
    parent
}

fn join(parent: &mut [usize], a: usize, b: usize) {
    let (a, b) = (root(parent, a), root(parent, b));
    parent[a.max(b)] = a.min(b);
}

fn root(parent: &mut [usize], mut i: usize) -> usize {
    while parent[i] != i {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    i
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_connect_and_size_orders() {
        #[rustfmt::skip]
        let dense = [
            1, 0, 0, 0, 1,
            0, 1, 0, 0, 1,
            0, 0, 0, 0, 1,
            1, 0, 1, 0, 0,
        ];
        let parts = RunMask::from_dense(&dense, 5, 4).components();
        let areas: Vec<u64> = parts.iter().map(RunMask::area).collect();
        assert_eq!(areas, [3, 2, 1, 1]);
        assert!(parts[1].contains(0, 0) && parts[1].contains(1, 1));
        assert!(parts[2].contains(0, 3) && parts[3].contains(2, 3));
    }

    #[test]
    fn row_ends_do_not_connect() {
        // One run in the flattened image, but its two pixels are at opposite edges.
        let parts = RunMask::from_dense(&[0, 0, 0, 1, 1, 0, 0, 0], 4, 2).components();
        assert_eq!(parts.len(), 2);
    }
}
