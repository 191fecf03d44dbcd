use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::histogram::{rounded, rounded_level};
use super::{Amount, Border, Change, LabelledImage, Operation, SampleView, Step};
use crate::geometry::Size;
use crate::violation::Violations;

/// Greatest number of tiles per side.
const MOST_TILES: u32 = 64;
/// Pixels that are interpolated together.
const BLOCK: usize = 16;

/// Contrast-limited adaptive histogram equalisation, as OpenCV's `createCLAHE` (Zuiderveld 1994) and albumentations'
/// `CLAHE`: each tile is equalised, and levels between the tiles' centres are interpolated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Clahe {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Greatest number of pixels of a tile that have one level, as a factor on their mean number; those above it are
    /// spread over all levels: a number, or a pair to draw from. 0 or more, where 0 is no limit; default `[1.0, 4.0]`.
    pub clip_limit: Amount,
    /// Tiles per side: a number, or a pair to draw from. Whole, from 1 to 64; default 8.
    pub tiles: Amount,
}

impl Default for Clahe {
    fn default() -> Self {
        Clahe { p: 0.5, clip_limit: Amount::Between([1.0, 4.0]), tiles: Amount::Fixed(8.0) }
    }
}

impl Step for Clahe {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let clip_limit = self.clip_limit.draw(rng);
        Some(Change::operation(Tiled { clip_limit, tiles: self.tiles.draw_whole(rng) as usize }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.clip_limit.expect(&mut wrong, "clip-limit", |v| v >= 0.0, "0 or more");
        self.tiles.expect_whole(&mut wrong, "tiles", 1, MOST_TILES);
        wrong
    }
}

/// The parameters of one sample.
struct Tiled {
    clip_limit: f64,
    tiles: usize,
}

impl Operation for Tiled {
    fn apply(&self, image: &mut LabelledImage) {
        let Size { width, height } = image.size;
        if width == 0 || height == 0 {
            return;
        }
        let width = width as usize;
        let mut source = vec![0; image.levels.len()];
        source.par_iter_mut().zip(&image.levels).with_min_len(1 << 14).for_each(|(v, level)| *v = rounded(*level));
        let maps = TileMaps::new(&source, image.size, self);
        image.levels.par_chunks_mut(width).zip(source.par_chunks(width)).enumerate().for_each(|(y, (levels, row))| {
            maps.change_row(y, row, levels);
        });
    }
}

/// The interpolated curves of all tiles.
struct TileMaps {
    columns: Axis,
    rows: Axis,
    /// For each cell between the centres of four tiles and each level the levels in the four tiles, from the lowest
    /// byte: top left, top right, bottom left, bottom right. One read per pixel finds all of them.
    cells: Vec<[u32; 256]>,
}

/// The cells of one side.
struct Axis {
    /// Side of a tile in px. Tiles that do not divide the image reach beyond its end.
    tile: usize,
    /// For each pixel the cell that it is in; cell i is between the tiles i - 1 and i.
    cell: Vec<usize>,
    /// For each pixel the weight of the cell's second tile.
    share: Vec<f32>,
}

impl Axis {
    fn new(pixels: usize, tiles: usize, divides: bool) -> Axis {
        // OpenCV adds a whole tile's worth to a side that could be divided if the other side cannot.
        let padded = if divides { pixels } else { pixels + tiles - pixels % tiles };
        let tile = padded / tiles;
        let per_pixel = 1.0 / tile as f32;
        let places = (0..pixels).map(|i| i as f32 * per_pixel - 0.5);
        let (cell, share) = places.map(|at| ((at.floor() + 1.0) as usize, at - at.floor())).unzip();
        Axis { tile, cell, share }
    }

    /// The source pixels of tile `tile`; beyond the end of the side it is mirrored.
    fn pixels(&self, tile: usize) -> impl Iterator<Item = usize> + Clone + '_ {
        let side = self.cell.len() as i64;
        let read = move |i: usize| Border::Reflect.index(i as i64, side).expect("a mirrored side has all pixels");
        (tile * self.tile..(tile + 1) * self.tile).map(read)
    }
}

impl TileMaps {
    fn new(source: &[u8], size: Size, by: &Tiled) -> TileMaps {
        let (width, height, tiles) = (size.width as usize, size.height as usize, by.tiles);
        let divides = width % tiles == 0 && height % tiles == 0;
        let (columns, rows) = (Axis::new(width, tiles, divides), Axis::new(height, tiles, divides));
        let curves: Vec<[u8; 256]> = (0..tiles * tiles)
            .into_par_iter()
            .map(|tile| by.curve(counts(source, width, &columns, &rows, [tile % tiles, tile / tiles])))
            .collect();
        let around = |cell: usize| [cell.saturating_sub(1), cell.min(tiles - 1)];
        let cell = |index: usize| {
            let (xs, ys) = (around(index % (tiles + 1)), around(index / (tiles + 1)));
            let four = [[xs[0], ys[0]], [xs[1], ys[0]], [xs[0], ys[1]], [xs[1], ys[1]]];
            let four = four.map(|[x, y]| &curves[y * tiles + x]);
            std::array::from_fn(|level| u32::from_le_bytes(four.map(|curve| curve[level])))
        };
        let cells = (0..(tiles + 1) * (tiles + 1)).into_par_iter().map(cell).collect();
        TileMaps { columns, rows, cells }
    }

    /// Changes the levels of row `y`, whose rounded levels are `source`. Whole levels get OpenCV's result; between two
    /// whole levels the results are interpolated.
    fn change_row(&self, y: usize, source: &[u8], levels: &mut [f32]) {
        let tiles = self.cells.len().isqrt();
        let cells = &self.cells[self.rows.cell[y] * tiles..][..tiles];
        let down = self.rows.share[y];
        let is_whole = source.iter().zip(&*levels).all(|(v, level)| f32::from(*v) == *level);
        let mut start = 0;
        for same in self.columns.cell.chunk_by(|a, b| a == b) {
            let part = start..start + same.len();
            let (table, shares, levels) =
                (&cells[same[0]], &self.columns.share[part.clone()], &mut levels[part.clone()]);
            if is_whole {
                change_part(table, down, &source[part], shares, levels);
            } else {
                for (level, share) in levels.iter_mut().zip(shares) {
                    let below = *level as u8;
                    let at = |whole: u8| interpolated(table[usize::from(whole)], *share, down);
                    let first = at(below);
                    *level = first + (at(below.saturating_add(1)) - first) * (*level - f32::from(below));
                }
            }
            start += same.len();
        }
    }
}

/// The levels of pixels within one cell, in blocks that the compiler turns into vector instructions.
fn change_part(table: &[u32; 256], down: f32, source: &[u8], shares: &[f32], levels: &mut [f32]) {
    let mut sources = source.chunks_exact(BLOCK);
    let mut shares = shares.chunks_exact(BLOCK);
    let mut results = levels.chunks_exact_mut(BLOCK);
    for ((source, share), result) in (&mut sources).zip(&mut shares).zip(&mut results) {
        let four: [u32; BLOCK] = std::array::from_fn(|i| table[usize::from(source[i])]);
        for ((result, four), share) in result.iter_mut().zip(four).zip(share) {
            *result = interpolated(four, *share, down);
        }
    }
    let rest = sources.remainder().iter().zip(shares.remainder());
    for (result, (source, share)) in results.into_remainder().iter_mut().zip(rest) {
        *result = interpolated(table[usize::from(*source)], *share, down);
    }
}

/// A level from those of four tiles, in the order of OpenCV's sums, rounded to a whole number.
fn interpolated(four: u32, across: f32, down: f32) -> f32 {
    let byte = |shift: u32| ((four >> shift) & 255) as i32 as f32;
    let (left, up) = (1.0 - across, 1.0 - down);
    let top = byte(0) * left + byte(8) * across;
    let bottom = byte(16) * left + byte(24) * across;
    rounded_level(top * up + bottom * down)
}

/// The number of pixels per level of a tile, given by its column and row.
fn counts(source: &[u8], width: usize, columns: &Axis, rows: &Axis, [column, row]: [usize; 2]) -> [u32; 256] {
    // Neighbours often have the same level: with counters of their own they do not wait for each other.
    let mut counts = [[0u32; 256]; 4];
    let start = column * columns.tile;
    let within = start.min(width)..(start + columns.tile).min(width);
    let beyond: Vec<usize> = columns.pixels(column).skip(within.len()).collect();
    for y in rows.pixels(row) {
        let line = &source[y * width..][..width];
        let mut quads = line[within.clone()].chunks_exact(4);
        for quad in &mut quads {
            (0..4).for_each(|i| counts[i][usize::from(quad[i])] += 1);
        }
        quads.remainder().iter().for_each(|v| counts[0][usize::from(*v)] += 1);
        beyond.iter().for_each(|x| counts[0][usize::from(line[*x])] += 1);
    }
    std::array::from_fn(|level| counts.iter().map(|own| own[level]).sum())
}

impl Tiled {
    /// The curve of a tile with these counts.
    fn curve(&self, mut counts: [u32; 256]) -> [u8; 256] {
        let pixels: u32 = counts.iter().sum();
        if self.clip_limit > 0.0 {
            let limit = (self.clip_limit * f64::from(pixels) / 256.0).min(f64::from(u32::MAX));
            spread(&mut counts, (limit as u32).max(1));
        }
        let scale = 255.0 / pixels as f32;
        let mut sum = 0;
        counts.map(|n| {
            sum += n;
            (sum as f32 * scale).round_ties_even().min(255.0) as u8
        })
    }
}

/// Takes the pixels above `limit` from each level and spreads them over all levels, the rest over levels with equal
/// distances.
fn spread(counts: &mut [u32; 256], limit: u32) {
    let above: u32 = counts.iter().map(|n| n.saturating_sub(limit)).sum();
    counts.iter_mut().for_each(|n| *n = (*n).min(limit) + above / 256);
    let rest = above as usize % 256;
    if let Some(distance) = 256usize.checked_div(rest) {
        counts.iter_mut().step_by(distance).take(rest).for_each(|n| *n += 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{changed, noise};

    #[test]
    fn the_excess_is_spread() {
        let mut counts = [0; 256];
        (counts[7], counts[9]) = (600, 5);
        spread(&mut counts, 80);
        // 520 pixels: two for each level, and 8 for every 32nd.
        assert_eq!((counts[7], counts[9], counts[0], counts[32], counts[33]), (82, 7, 3, 3, 2));
        assert_eq!(counts.iter().sum::<u32>(), 605);
    }

    /// One tile without limit is the equalisation by all pixels.
    #[test]
    fn one_tile_by_hand() {
        let step = Clahe { p: 1.0, clip_limit: Amount::Fixed(0.0), tiles: Amount::Fixed(1.0) };
        let image = LabelledImage::new(Size { width: 2, height: 2 }, vec![10.0, 20.0, 20.0, 200.0], vec![0; 4]);
        assert_eq!(changed(&step, image, 1), [64.0, 191.0, 191.0, 255.0]);
    }

    #[test]
    fn fractions_are_between_whole_levels() {
        let step = Clahe { clip_limit: Amount::Fixed(3.0), tiles: Amount::Fixed(4.0), ..Clahe::default() };
        let whole = noise(4, true);
        let exact = changed(&step, whole.clone(), 1);
        let shifted: Vec<f32> = whole.levels.iter().map(|v| if *v < 255.0 { v + 0.25 } else { *v }).collect();
        let between = changed(&step, LabelledImage { levels: shifted, ..whole.clone() }, 1);
        assert!(exact.iter().all(|v| v.fract() == 0.0));
        assert!(between.iter().zip(&exact).all(|(b, e)| b >= e), "the curves rise");
        assert!(between.iter().any(|v| v.fract() != 0.0));
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let image = noise(8, false);
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let alone = one.install(|| changed(&Clahe::default(), image.clone(), 3));
        assert_eq!(alone, changed(&Clahe::default(), image, 3));
    }

    #[test]
    fn tiles_can_be_smaller_than_a_pixel() {
        let image = LabelledImage::new(Size { width: 1, height: 3 }, vec![1.0, 2.0, 250.0], vec![0; 3]);
        let step = Clahe { tiles: Amount::Fixed(24.0), ..Clahe::default() };
        assert!(changed(&step, image, 1).iter().all(|v| (0.0..=255.0).contains(v)));
        assert_eq!(Clahe { tiles: Amount::Fixed(0.0), ..step }.violations().iter().count(), 1);
    }
}
