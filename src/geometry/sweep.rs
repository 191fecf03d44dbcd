/// Edges of a polygon by the sweep line on which they begin: one linked list per line, the last edge first. Adding an
/// edge takes constant time; sorting would take logarithmic time per edge.
pub struct SweepTable {
    /// The last edge added to each line.
    latest: Vec<u32>,
    /// For each edge, the edge added before it to the same line.
    before: Vec<u32>,
}

/// End of a list.
const NONE: u32 = u32::MAX;

impl SweepTable {
    /// A table for the lines `0..lines`, with room for `edges` edges.
    pub fn new(lines: usize, edges: usize) -> Self {
        SweepTable { latest: vec![NONE; lines], before: Vec::with_capacity(edges) }
    }

    /// Adds the next edge, which begins on `line`. Edges are numbered from 0 in the order of these calls.
    pub fn push(&mut self, line: usize) {
        let latest = &mut self.latest[line];
        self.before.push(*latest);
        *latest = (self.before.len() - 1) as u32;
    }

    /// Number of lines.
    pub fn lines(&self) -> usize {
        self.latest.len()
    }

    /// Numbers of the edges that begin on `line`.
    pub fn beginning(&self, line: usize) -> impl Iterator<Item = usize> + '_ {
        let edge = |at: u32| (at != NONE).then_some(at as usize);
        std::iter::successors(edge(self.latest[line]), move |at| edge(self.before[*at]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_edge_is_found_on_its_line(lines in prop::collection::vec(0usize..20, 0..60)) {
            let mut table = SweepTable::new(20, lines.len());
            lines.iter().for_each(|line| table.push(*line));
            for line in 0..table.lines() {
                let expected: Vec<usize> = (0..lines.len()).rev().filter(|i| lines[*i] == line).collect();
                prop_assert_eq!(table.beginning(line).collect::<Vec<_>>(), expected);
            }
        }
    }
}
