/// Edges of a polygon by the line of a sweep that they begin on: a chain a line through the edges of it, latest first.
/// Filing an edge takes one step, where a sort would take as many as its logarithm.
pub struct SweepTable {
    /// The latest edge of each line.
    latest: Vec<u32>,
    /// The one before it on its line, for each edge.
    before: Vec<u32>,
}

/// End of a chain.
const NONE: u32 = u32::MAX;

impl SweepTable {
    /// For lines `0..lines` and about so many edges.
    pub fn new(lines: usize, edges: usize) -> Self {
        SweepTable { latest: vec![NONE; lines], before: Vec::with_capacity(edges) }
    }

    /// Files the next edge, numbered from 0 in the order of these calls.
    pub fn push(&mut self, line: usize) {
        let latest = &mut self.latest[line];
        self.before.push(*latest);
        *latest = (self.before.len() - 1) as u32;
    }

    /// Lines.
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
        fn every_edge_is_on_its_line(lines in prop::collection::vec(0usize..20, 0..60)) {
            let mut table = SweepTable::new(20, lines.len());
            lines.iter().for_each(|line| table.push(*line));
            for line in 0..table.lines() {
                let expected: Vec<usize> = (0..lines.len()).rev().filter(|i| lines[*i] == line).collect();
                prop_assert_eq!(table.beginning(line).collect::<Vec<_>>(), expected);
            }
        }
    }
}
