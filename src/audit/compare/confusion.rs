use std::path::Path;

use crate::bones::{self, Bone};

/// How often a bone of the first set is which bone of the second; `None` stands for a bone without counterpart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// Row by row: the first set's bone, then none.
    counts: Vec<u64>,
}

/// A bone of the first set that is another one in the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfusedPair {
    /// Bone in the first set; `None` if only the second has it.
    pub first: Option<Bone>,
    /// Bone in the second set; `None` if only the first has it.
    pub second: Option<Bone>,
    /// In how many images.
    pub count: u64,
}

/// Bones and none.
const SIDE: usize = bones::COUNT + 1;
/// Name of the row and column for bones without counterpart.
const NONE: &str = "none";

impl Default for Confusion {
    fn default() -> Confusion {
        Confusion { counts: vec![0; SIDE * SIDE] }
    }
}

impl Confusion {
    fn at(first: Option<Bone>, second: Option<Bone>) -> usize {
        let index = |bone: Option<Bone>| bone.map_or(bones::COUNT, Bone::index);
        index(first) * SIDE + index(second)
    }

    /// Counts a pair.
    pub(super) fn add(&mut self, first: Option<Bone>, second: Option<Bone>) {
        self.counts[Confusion::at(first, second)] += 1;
    }

    /// How often `first` is `second`.
    pub fn get(&self, first: Option<Bone>, second: Option<Bone>) -> u64 {
        self.counts[Confusion::at(first, second)]
    }

    /// Pairs of different bones, or of a bone and none, most frequent first.
    pub fn confused(&self) -> Vec<ConfusedPair> {
        let all = || Bone::all().map(Some).chain([None]);
        let pairs = all().flat_map(|first| all().map(move |second| (first, second)));
        let counted = pairs.filter(|(first, second)| first != second);
        let counted = counted.map(|(first, second)| ConfusedPair { first, second, count: self.get(first, second) });
        let mut confused: Vec<ConfusedPair> = counted.filter(|pair| pair.count > 0).collect();
        confused.sort_by_key(|pair| std::cmp::Reverse(pair.count));
        confused
    }

    /// Writes it as CSV: one row per bone of the first set and one for none, one column per bone of the second and one
    /// for none.
    pub(super) fn write(&self, path: &Path) -> Result<(), csv::Error> {
        let mut out = csv::Writer::from_path(path)?;
        let names = || bones::NAMES.into_iter().chain([NONE]);
        out.write_record(std::iter::once("label").chain(names()))?;
        for (name, row) in names().zip(self.counts.chunks(SIDE)) {
            out.write_record(std::iter::once(name.to_owned()).chain(row.iter().map(u64::to_string)))?;
        }
        out.flush()?;
        Ok(())
    }
}
