use crate::geometry::Size;
use crate::mask::{PixelRun, RunMask};

/// The least probability that is kept; a smaller one counts as 0.
pub const LEAST: f32 = 1.0 / 512.0;
/// The level of probability 1.
const TOP: f32 = u16::MAX as f32;

/// The probability of one class at each pixel of an image, in steps of 1/65535. Pixels below [`LEAST`] are not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbabilityMap {
    size: Size,
    /// Index of the first span of each row, and the number of spans.
    rows: Vec<u32>,
    spans: Vec<Span>,
    levels: Vec<u16>,
}

/// Neighbouring pixels of a row that are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    x: u32,
    len: u32,
    /// Index of the first pixel's level.
    first: usize,
}

/// Builds a map from its rows in order, so that no dense map is needed.
#[derive(Clone, Debug)]
pub struct MapBuilder(ProbabilityMap);

impl MapBuilder {
    /// A map of `size` without rows.
    pub fn new(size: Size) -> MapBuilder {
        MapBuilder(ProbabilityMap { size, rows: vec![0], spans: Vec::new(), levels: Vec::new() })
    }

    /// Adds the next row: one probability per pixel. NaN counts as 0.
    ///
    /// # Panics
    /// If the row has another width, or the map is full.
    pub fn push_row(&mut self, probabilities: &[f32]) {
        assert_eq!(probabilities.len(), self.0.size.width as usize, "a row has the map's width");
        self.push_part(0, probabilities);
    }

    /// Adds the next row, whose pixels are 0 but for `probabilities` from column `x` on.
    ///
    /// # Panics
    /// If the row is wider than the map, or the map is full.
    pub fn push_part(&mut self, x: u32, probabilities: &[f32]) {
        let map = &mut self.0;
        assert!(map.rows.len() <= map.size.height as usize, "a map has no more rows than the image");
        assert!(x as usize + probabilities.len() <= map.size.width as usize, "a row is not wider than the image");
        let mut open = false;
        for (i, p) in probabilities.iter().enumerate() {
            let kept = *p >= LEAST;
            if kept && !open {
                map.spans.push(Span { x: x + i as u32, len: 0, first: map.levels.len() });
            }
            if kept {
                map.spans.last_mut().expect("a span is open").len += 1;
                map.levels.push((p.min(1.0) * TOP).round() as u16);
            }
            open = kept;
        }
        map.rows.push(map.spans.len() as u32);
    }

    /// Adds the next row from spans of levels, in order and disjoint, as [`ProbabilityMap::row`] gives them.
    pub(super) fn push_levels<'a>(&mut self, spans: impl IntoIterator<Item = (u32, &'a [u16])>) {
        let map = &mut self.0;
        for (x, levels) in spans {
            map.spans.push(Span { x, len: levels.len() as u32, first: map.levels.len() });
            map.levels.extend_from_slice(levels);
        }
        map.rows.push(map.spans.len() as u32);
    }

    /// The map; rows that were not added are 0.
    pub fn finish(mut self) -> ProbabilityMap {
        self.0.rows.resize(self.0.size.height as usize + 1, self.0.spans.len() as u32);
        self.0
    }
}

impl ProbabilityMap {
    /// A map that is 0 everywhere.
    pub fn empty(size: Size) -> ProbabilityMap {
        MapBuilder::new(size).finish()
    }

    /// The map of a mask: 1 where it is set.
    pub fn of_mask(mask: &RunMask) -> ProbabilityMap {
        let size = Size { width: mask.width(), height: mask.height() };
        let (mut builder, width) = (MapBuilder::new(size), size.width.max(1));
        let mut row: Vec<(u32, Vec<u16>)> = Vec::new();
        let mut y = 0;
        for run in mask.runs() {
            let (mut start, end) = (run.start, run.end());
            while start < end {
                let until = end.min((start / width + 1) * width);
                while y < start / width {
                    builder.push_levels(std::mem::take(&mut row).iter().map(|(x, l)| (*x, &l[..])));
                    y += 1;
                }
                row.push((start % width, vec![u16::MAX; (until - start) as usize]));
                start = until;
            }
        }
        builder.push_levels(row.iter().map(|(x, l)| (*x, &l[..])));
        builder.finish()
    }

    /// The map with its first pixel moved to (x, y) of an image of `size`; 0 elsewhere. Pixels outside that image are
    /// dropped.
    pub fn placed(&self, x: i64, y: i64, size: Size) -> ProbabilityMap {
        let mut builder = MapBuilder::new(size);
        for row in (0..i64::from(size.height)).map(|row| row.saturating_sub(y)) {
            let source = u32::try_from(row).ok().filter(|row| *row < self.size.height);
            let spans = source.into_iter().flat_map(|row| self.row(row)).filter_map(|(start, levels)| {
                let start = i64::from(start).saturating_add(x);
                let from = start.clamp(0, size.width.into());
                let to = start.saturating_add(levels.len() as i64).clamp(0, size.width.into());
                (from < to).then(|| (from as u32, &levels[(from - start) as usize..(to - start) as usize]))
            });
            builder.push_levels(spans);
        }
        builder.finish()
    }

    /// Width and height in px.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The kept pixels of row `y`: first column of each span, and the levels from it on (probability times 65535).
    pub fn row(&self, y: u32) -> impl Iterator<Item = (u32, &[u16])> + '_ {
        let [from, to] = [y, y + 1].map(|y| self.rows[y as usize] as usize);
        self.spans[from..to].iter().map(|span| (span.x, &self.levels[span.first..span.first + span.len as usize]))
    }

    /// The levels of all kept pixels, row by row.
    pub fn levels(&self) -> &[u16] {
        &self.levels
    }

    /// The probability at a pixel.
    pub fn at(&self, x: u32, y: u32) -> f32 {
        let span = self.row(y).find(|(first, levels)| (*first..*first + levels.len() as u32).contains(&x));
        span.map_or(0.0, |(first, levels)| probability(levels[(x - first) as usize]))
    }

    /// The pixels whose probability is at least `threshold`, which is above 0.
    pub fn mask(&self, threshold: f32) -> RunMask {
        let least = least_level(threshold);
        let mut runs: Vec<PixelRun> = Vec::new();
        for y in 0..self.size.height {
            for (x, levels) in self.row(y) {
                let at = y * self.size.width + x;
                for (i, _) in levels.iter().enumerate().filter(|(_, level)| u32::from(**level) >= least) {
                    let start = at + i as u32;
                    match runs.last_mut() {
                        Some(last) if last.end() == start => last.len += 1,
                        _ => runs.push(PixelRun { start, len: 1 }),
                    }
                }
            }
        }
        RunMask::from_runs(self.size.width, self.size.height, runs).expect("runs are made in order within the image")
    }

    /// Number of pixels whose probability is at least `threshold`, which is above 0: the area of [`Self::mask`].
    pub fn area(&self, threshold: f32) -> u64 {
        let least = least_level(threshold);
        self.levels.iter().filter(|level| u32::from(**level) >= least).count() as u64
    }

    /// Every level rounded to the nearest of 255 steps.
    pub(super) fn eight_bit(&self) -> ProbabilityMap {
        let levels = self.levels.iter().map(|level| (u32::from(*level) + 128) / 257 * 257);
        ProbabilityMap { levels: levels.map(|level| level as u16).collect(), ..self.clone() }
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        4 * self.rows.len() + size_of::<Span>() * self.spans.len() + 2 * self.levels.len()
    }
}

/// The least level whose probability is at least `threshold`. Kept levels are above 0.
fn least_level(threshold: f32) -> u32 {
    (f64::from(threshold) * f64::from(u16::MAX)).ceil().max(1.0) as u32
}

/// The probability of a level.
pub(super) fn probability(level: u16) -> f32 {
    f32::from(level) / TOP
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_kept_and_thresholds_are_exact(
            rows in prop::collection::vec(prop::collection::vec(prop_oneof![Just(0.0f32), 0.0f32..1.0], 7), 5),
            threshold in 0.05f32..1.0,
        ) {
            let size = Size { width: 7, height: 5 };
            let mut builder = MapBuilder::new(size);
            rows.iter().for_each(|row| builder.push_row(row));
            let map = builder.finish();
            let mask = map.mask(threshold).to_dense();
            for (y, row) in rows.iter().enumerate() {
                for (x, p) in row.iter().enumerate() {
                    let kept = map.at(x as u32, y as u32);
                    let expected = if *p < LEAST { 0.0 } else { *p };
                    prop_assert!((kept - expected).abs() < 1e-5);
                    prop_assert_eq!(mask[y * 7 + x] == 1, kept >= threshold);
                }
            }
            prop_assert_eq!(map.area(threshold), map.mask(threshold).area());
            // Moved as masks are.
            for (x, y) in [(0i64, 0i64), (3, 1), (-2, -4), (100, 0)] {
                let moved = map.placed(x, y, Size { width: 9, height: 4 });
                prop_assert_eq!(moved.mask(threshold), map.mask(threshold).place(x, y, 9, 4));
            }
            // 8 bits keep the decision at one half.
            prop_assert_eq!(map.eight_bit().mask(0.5), map.mask(0.5));
            let again = ProbabilityMap::of_mask(&map.mask(0.5));
            prop_assert_eq!(again.mask(1.0), map.mask(0.5));
        }
    }

    #[test]
    fn a_part_of_a_row_is_placed_at_its_column() {
        let mut builder = MapBuilder::new(Size { width: 6, height: 3 });
        builder.push_part(2, &[0.25, f32::NAN, 1.5]);
        let map = builder.finish();
        assert_eq!([1, 2, 3, 4].map(|x| (map.at(x, 0) * 100.0).round()), [0.0, 25.0, 0.0, 100.0]);
        assert_eq!((map.at(2, 1), map.row(2).count(), map.levels().len()), (0.0, 0, 2));
    }
}
