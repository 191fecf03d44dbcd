use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Displacement, LabelledImage, MixedLabels};
use crate::geometry::{Affine, ModelSpace, Point, Projective, Size};

/// A place further away than any image; what is outside of every number is put there.
pub(super) const FAR: f64 = 1e9;
/// Rows that a thread samples at a time.
const ROWS: usize = 32;
/// Pixels of a row that are read together, faster where none of them is at a border.
const BLOCK: usize = 64;

/// The pixels outside an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// Black, without labels.
    #[default]
    Black,
    /// The image mirrored at its edge; the outermost pixels are not repeated (`gfedcb|abcdefgh|gfedcba`).
    Reflect,
}

impl Border {
    /// All borders.
    pub const ALL: &'static [Border] = &[Border::Black, Border::Reflect];

    /// The index to read for index `i` of a side with `size` pixels; `None`: no pixel.
    pub(super) fn index(self, i: i64, size: i64) -> Option<usize> {
        if (0..size).contains(&i) {
            return Some(i as usize);
        }
        match self {
            Border::Black => None,
            Border::Reflect if size == 1 => Some(0),
            Border::Reflect => {
                let period = 2 * (size - 1);
                let place = i.rem_euclid(period);
                Some(place.min(period - place) as usize)
            }
        }
    }
}

/// A map from each pixel of the result to the place in the source from which it is read.
#[derive(Clone, Debug)]
pub enum Geometry {
    /// An affine map of the pixel's place.
    Affine(Affine<ModelSpace, ModelSpace>),
    /// A projective map of the pixel's place.
    Projective(Projective),
    /// A displacement that changes from place to place.
    Displacement(Displacement),
}

impl Geometry {
    /// The place in the source from which the pixel at `target` is read.
    pub fn apply(&self, target: Point) -> Point {
        match self {
            Geometry::Affine(map) => map.apply(target),
            Geometry::Projective(map) => map.apply(target),
            Geometry::Displacement(displacement) => displacement.apply(target),
        }
    }

    /// The inverse map; `None` if there is none: the map is flat, or a displacement folds the image over itself.
    pub fn inverse(&self) -> Option<Geometry> {
        Some(match self {
            Geometry::Affine(map) => Geometry::Affine(map.inverse()?),
            Geometry::Projective(map) => Geometry::Projective(map.inverse()?),
            Geometry::Displacement(displacement) => Geometry::Displacement(displacement.inverse()?),
        })
    }

    /// The place in the target that is read from `source`; `None` if there is none.
    fn target_from_source(&self, source: Point) -> Option<Point> {
        match self {
            Geometry::Affine(map) => Some(map.inverse()?.apply(source)),
            Geometry::Projective(map) => Some(map.inverse()?.apply(source)),
            Geometry::Displacement(displacement) => displacement.target_from_source(source),
        }
    }

    /// One map that reads through `self` and then through `before`, unless one of them is a displacement.
    fn joined(&self, before: &Geometry) -> Option<Geometry> {
        let projective = |map: &Geometry| match map {
            Geometry::Affine(map) => Some(Projective::from(*map)),
            Geometry::Projective(map) => Some(*map),
            Geometry::Displacement(_) => None,
        };
        match (self, before) {
            (Geometry::Affine(map), Geometry::Affine(before)) => Some(Geometry::Affine(map.then(before))),
            _ => Some(Geometry::Projective(projective(self)?.then(&projective(before)?))),
        }
    }

    /// Moves the places of a row, which are those of row `y` of the image itself if `is_grid`.
    fn move_row(&self, xs: &mut [f64], ys: &mut [f64], y: f64, is_grid: bool) {
        match self {
            // The most frequent case; the sum of the row's part is the same for all its pixels.
            Geometry::Affine(map) if is_grid => {
                let [a, b, tx, c, d, ty] = map.coefficients();
                let (row_x, row_y) = (b * y + tx, d * y + ty);
                for (i, (px, py)) in xs.iter_mut().zip(ys).enumerate() {
                    (*px, *py) = (a * i as f64 + row_x, c * i as f64 + row_y);
                }
            }
            Geometry::Affine(map) => move_each(xs, ys, |p| map.apply(p)),
            Geometry::Projective(map) => move_each(xs, ys, |p| map.apply(p)),
            Geometry::Displacement(displacement) if is_grid => displacement.move_grid_row(xs, ys, y),
            Geometry::Displacement(displacement) => displacement.move_places(xs, ys),
        }
    }
}

fn move_each(xs: &mut [f64], ys: &mut [f64], map: impl Fn(Point) -> Point) {
    for (px, py) in xs.iter_mut().zip(ys) {
        let p = map(Point::new(*px, *py));
        (*px, *py) = (p.x, p.y);
    }
}

/// A sequence of maps that are applied together. Without maps it does not change a sample.
#[derive(Clone, Debug, Default)]
pub struct Warp {
    /// In the order of the steps; consecutive affine and projective maps are composed.
    pub(super) maps: Vec<Geometry>,
    pub(super) border: Option<Border>,
}

impl Warp {
    /// Whether a map with this border can be applied together with the others: they have one border.
    pub fn can_join(&self, border: Option<Border>) -> bool {
        border.is_none() || self.border.is_none() || self.border == border
    }

    /// Whether there are no maps.
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// Adds a map that is applied after the others.
    pub fn push(&mut self, source_from_target: Geometry, border: Option<Border>) {
        self.border = self.border.or(border);
        // Maps are read backwards: from the result to its source, then to the source of that.
        match self.maps.last().and_then(|before| source_from_target.joined(before)) {
            Some(both) => *self.maps.last_mut().expect("there is a map to join") = both,
            None => self.maps.push(source_from_target),
        }
    }

    /// The place in the source from which the pixel at `target` is read.
    pub fn source_from_target(&self, target: Point) -> Point {
        self.maps.iter().rev().fold(target, |place, map| map.apply(place))
    }

    /// The place in the result to which the pixel at `source` is moved; `None` if it is moved nowhere.
    pub fn target_from_source(&self, source: Point) -> Option<Point> {
        self.maps.iter().try_fold(source, |place, map| map.target_from_source(place))
    }

    /// The maps that undo these: a sample that is warped and warped back is the same, up to resampling, wherever it
    /// stayed within the image. `None` if a map has no inverse.
    pub fn inverse(&self) -> Option<Warp> {
        let maps = self.maps.iter().rev().map(Geometry::inverse).collect::<Option<Vec<_>>>()?;
        Some(Warp { maps, border: self.border })
    }

    /// Applies the maps to a sample in one pass: grey levels bilinear, label words nearest, all classes at once.
    pub fn sample(&self, image: LabelledImage) -> LabelledImage {
        if self.is_empty() {
            return image;
        }
        let size = image.size;
        let mut result = LabelledImage::new(size, vec![0.0; size.pixels()], vec![0; size.pixels()]);
        let (width, border) = (size.width as usize, self.border.unwrap_or_default());
        let source = Source { size, border };
        let mut second = image.mixed.as_ref().map(|mixed| vec![0; mixed.words.len()]);
        let mut rows = second.as_mut().map(|words| words.chunks_mut(ROWS * width));
        let seconds: Vec<Option<&mut [u32]>> =
            (0..size.height.div_ceil(ROWS as u32)).map(|_| rows.as_mut().and_then(Iterator::next)).collect();
        let (levels, words) = (result.levels.par_chunks_mut(ROWS * width), result.words.par_chunks_mut(ROWS * width));
        levels.zip(words).zip(seconds).enumerate().for_each(|(chunk, ((levels, words), mut second))| {
            let mut places = Places::new(width);
            for (row, (levels, words)) in levels.chunks_mut(width).zip(words.chunks_mut(width)).enumerate() {
                places.fill(self, (chunk * ROWS + row) as f64);
                source.bilinear(&image.levels, &places, levels);
                source.nearest(&image.words, &places, words);
                if let (Some(words), Some(mixed)) = (&mut second, &image.mixed) {
                    source.nearest(&mixed.words, &places, &mut words[row * width..][..width]);
                }
            }
        });
        result.mixed = second.zip(image.mixed).map(|(words, mixed)| MixedLabels { words, ..mixed });
        result
    }

    /// Applies the maps to grey levels (or any map of numbers) alone, bilinear. Equals PyTorch's `grid_sample`
    /// (bilinear, zeros, align_corners) for [`Border::Black`], up to rounding.
    pub fn image(&self, levels: &[f32], size: Size) -> Vec<f32> {
        self.sampled(size, |source, places, row| source.bilinear(levels, places, row))
    }

    /// Applies the maps to label words alone, nearest.
    pub fn words(&self, words: &[u32], size: Size) -> Vec<u32> {
        self.sampled(size, |source, places, row| source.nearest(words, places, row))
    }

    fn sampled<T: Clone + Default + Send>(
        &self,
        size: Size,
        sample: impl Fn(&Source, &Places, &mut [T]) + Sync,
    ) -> Vec<T> {
        let source = Source { size, border: self.border.unwrap_or_default() };
        let (mut result, width) = (vec![T::default(); size.pixels()], size.width as usize);
        result.par_chunks_mut(ROWS * width).enumerate().for_each(|(chunk, rows)| {
            let mut places = Places::new(width);
            for (row, pixels) in rows.chunks_mut(width).enumerate() {
                places.fill(self, (chunk * ROWS + row) as f64);
                sample(&source, &places, pixels);
            }
        });
        result
    }
}

/// The places from which the pixels of a row are read.
struct Places {
    xs: Vec<f64>,
    ys: Vec<f64>,
}

impl Places {
    fn new(width: usize) -> Places {
        Places { xs: vec![0.0; width], ys: vec![0.0; width] }
    }

    #[expect(clippy::manual_clamp, reason = "`max` takes the other number if one is NaN, `clamp` keeps NaN")]
    fn fill(&mut self, warp: &Warp, y: f64) {
        self.xs.iter_mut().enumerate().for_each(|(i, x)| *x = i as f64);
        self.ys.fill(y);
        for (i, map) in warp.maps.iter().rev().enumerate() {
            map.move_row(&mut self.xs, &mut self.ys, y, i == 0);
        }
        let within = |v: &mut f64| *v = v.max(-FAR).min(FAR);
        self.xs.iter_mut().chain(&mut self.ys).for_each(within);
    }

    fn blocks(&self) -> impl Iterator<Item = (&[f64], &[f64])> {
        self.xs.chunks(BLOCK).zip(self.ys.chunks(BLOCK))
    }
}

/// An image that pixels are read from.
struct Source {
    size: Size,
    border: Border,
}

impl Source {
    fn bilinear(&self, levels: &[f32], places: &Places, row: &mut [f32]) {
        let width = self.size.width as usize;
        for (pixels, (xs, ys)) in row.chunks_mut(BLOCK).zip(places.blocks()) {
            if self.are_inside(xs, ys) {
                let (mut at, mut shares) = ([0; BLOCK], [[0.0; 2]; BLOCK]);
                for ((at, shares), (x, y)) in at.iter_mut().zip(&mut shares).zip(xs.iter().zip(ys)) {
                    let (x0, y0) = (floor(*x), floor(*y));
                    *at = y0 as usize * width + x0 as usize;
                    *shares = [(x - f64::from(x0)) as f32, (y - f64::from(y0)) as f32];
                }
                for ((pixel, at), [fx, fy]) in pixels.iter_mut().zip(at).zip(shares) {
                    let near = &levels[at..][..width + 2];
                    *pixel = blend([near[0], near[1], near[width], near[width + 1]], fx, fy);
                }
            } else {
                for ((pixel, x), y) in pixels.iter_mut().zip(xs).zip(ys) {
                    *pixel = self.bilinear_at(levels, *x, *y);
                }
            }
        }
    }

    fn bilinear_at(&self, levels: &[f32], x: f64, y: f64) -> f32 {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        let read = |x: i64, y: i64| -> f32 {
            match (self.border.index(x, width), self.border.index(y, height)) {
                (Some(x), Some(y)) => levels[y * width as usize + x],
                _ => 0.0,
            }
        };
        let (x0, y0) = (floor(x), floor(y));
        let (fx, fy) = ((x - f64::from(x0)) as f32, (y - f64::from(y0)) as f32);
        let (x0, y0) = (i64::from(x0), i64::from(y0));
        if self.border == Border::Black && (x0 < -1 || y0 < -1 || x0 >= width || y0 >= height) {
            return 0.0;
        }
        blend([read(x0, y0), read(x0 + 1, y0), read(x0, y0 + 1), read(x0 + 1, y0 + 1)], fx, fy)
    }

    fn nearest(&self, words: &[u32], places: &Places, row: &mut [u32]) {
        let (width, height) = (i64::from(self.size.width), i64::from(self.size.height));
        for (pixels, (xs, ys)) in row.chunks_mut(BLOCK).zip(places.blocks()) {
            if self.are_inside(xs, ys) {
                let mut at = [0; BLOCK];
                for (at, (x, y)) in at.iter_mut().zip(xs.iter().zip(ys)) {
                    *at = floor(y + 0.5) as usize * width as usize + floor(x + 0.5) as usize;
                }
                pixels.iter_mut().zip(at).for_each(|(word, at)| *word = words[at]);
            } else {
                for ((word, x), y) in pixels.iter_mut().zip(xs).zip(ys) {
                    let (x, y) = (i64::from(floor(x + 0.5)), i64::from(floor(y + 0.5)));
                    *word = match (self.border.index(x, width), self.border.index(y, height)) {
                        (Some(x), Some(y)) => words[y * width as usize + x],
                        _ => 0,
                    };
                }
            }
        }
    }

    /// Whether all pixels around the places exist.
    fn are_inside(&self, xs: &[f64], ys: &[f64]) -> bool {
        let [right, bottom] = [self.size.width, self.size.height].map(|side| f64::from(side) - 1.0);
        let is_inside = |x: f64, y: f64| (x >= 0.0) & (y >= 0.0) & (x < right) & (y < bottom);
        xs.iter().zip(ys).fold(true, |all, (x, y)| all & is_inside(*x, *y))
    }
}

/// The whole number at or below `v`, which is not further from 0 than about [`FAR`]. The standard library's `floor` is
/// a function call on processors without SSE 4.1; this is two additions, of which several are made at a time.
#[inline]
fn floor(v: f64) -> i32 {
    // At this size neighbouring floating-point numbers are 1 apart: the sum is rounded to a whole number, which is in
    // its last bits.
    const WHOLE: f64 = 3.0 * (1u64 << 51) as f64;
    let sum = v + WHOLE;
    sum.to_bits() as i32 - i32::from(sum - WHOLE > v)
}

/// Bilinear interpolation between the values at the top left, top right, bottom left and bottom right.
pub(super) fn blend([a, b, c, d]: [f32; 4], fx: f32, fy: f32) -> f32 {
    let top = a + (b - a) * fx;
    let bottom = c + (d - c) * fx;
    top + (bottom - top) * fy
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::augment::list::tests::drawn;
    use crate::augment::{Change, ShiftScaleRotate};

    fn warp(maps: Vec<Geometry>, border: Border) -> Warp {
        let mut warp = Warp::default();
        maps.into_iter().for_each(|map| warp.push(map, Some(border)));
        warp
    }

    fn shift(x: f64) -> Geometry {
        Geometry::Affine(Affine::shift(x, 0.0))
    }

    #[test]
    fn the_identity_map_copies() {
        let pixels: Vec<f32> = (0..64u8).map(f32::from).collect();
        let words: Vec<u32> = (0..64).collect();
        let identity = Geometry::Displacement(Displacement::new(Size::square(8), 8, vec![[0.0; 2]; 64]).unwrap());
        for border in Border::ALL {
            for map in [shift(0.0), identity.clone()] {
                let warp = warp(vec![map], *border);
                assert_eq!(warp.image(&pixels, Size::square(8)), pixels);
                assert_eq!(warp.words(&words, Size::square(8)), words);
            }
        }
    }

    #[test]
    fn floor_is_that_of_the_standard_library() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let edges =
            [0.0, -0.0, 0.5, -0.5, 1.0 - 1e-16, -1e-300, 1e-300, 2.5, -3.0, -2.999_999_999, FAR, -FAR, FAR + 0.5];
        let drawn = (0..10_000).map(|_| rng.random_range(-5000.0..5000.0));
        for v in edges.into_iter().chain(drawn) {
            assert_eq!(f64::from(floor(v)), f64::floor(v), "{v:e}");
        }
    }

    #[test]
    fn borders_by_hand() {
        let words: Vec<u32> = (0..16).collect();
        // Each pixel is read two columns to the left.
        assert_eq!(warp(vec![shift(-2.0)], Border::Black).words(&words, Size::square(4))[..4], [0, 0, 0, 1]);
        assert_eq!(warp(vec![shift(-2.0)], Border::Reflect).words(&words, Size::square(4))[..4], [2, 1, 0, 1]);
        let half = warp(vec![shift(-0.5)], Border::Black).image(&[100.0; 16], Size::square(4));
        assert_eq!(half[..2], [50.0, 100.0]);
    }

    /// The last map of a sequence is applied first to a place in the result.
    #[test]
    fn maps_are_read_backwards() {
        let words: Vec<u32> = (0..16).collect();
        // Column 1 is read one column further to the right, the others at their place.
        let by = (0..16).map(|i| [f32::from(u8::from(i % 4 == 1)), 0.0]).collect();
        let displacement = || Geometry::Displacement(Displacement::new(Size::square(4), 4, by).unwrap());
        let one = warp(vec![shift(1.0), displacement()], Border::Reflect).words(&words, Size::square(4));
        assert_eq!(one[..3], [1, 3, 3], "column 1 of the displaced image is column 2 of the shifted image");
        let by = (0..16).map(|i| [f32::from(u8::from(i % 4 == 1)), 0.0]).collect();
        let other = warp(
            vec![Geometry::Displacement(Displacement::new(Size::square(4), 4, by).unwrap()), shift(1.0)],
            Border::Reflect,
        );
        assert_eq!(other.words(&words, Size::square(4))[..3], [2, 2, 3]);
    }

    /// Compared with ATen's sampler. It computes coordinates in single precision, which shifts a place by up to 1e-5
    /// of the side: at most 255 * 64e-5 = 0.2 grey levels, and labels where rounding is a tie.
    #[test]
    fn a_warp_equals_grid_sample() {
        let (size, square) = (64u32, Size::square(64));
        let seed = std::env::var("CARPUS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
        println!("CARPUS_SEED={seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let step = ShiftScaleRotate { p: 1.0, ..ShiftScaleRotate::default() };
        for bends in [false, true].into_iter().cycle().take(10) {
            let pixels: Vec<f32> = (0..size * size).map(|_| f32::from(rng.random_range(0..=255u8))).collect();
            let words: Vec<u32> = pixels.iter().map(|p| *p as u32).collect();
            let Change::Geometry { source_from_target, border } = drawn(&step, square, rng.random()) else {
                panic!("a map")
            };
            let mut warp = Warp::default();
            warp.push(source_from_target, border);
            if bends {
                let by = (0..size * size).map(|_| [(); 2].map(|()| rng.random_range(-3.0..3.0))).collect();
                warp.push(Geometry::Displacement(Displacement::new(square, 64, by).unwrap()), None);
            }
            let places = (0..size * size).map(|i| Point::new(f64::from(i % size), f64::from(i / size)));
            let grid: Vec<f32> = places
                .map(|target| warp.source_from_target(target))
                .flat_map(|p| [p.x, p.y].map(|v| (2.0 * v / f64::from(size - 1) - 1.0) as f32))
                .collect();
            let side = i64::from(size);
            let grid = tch::Tensor::from_slice(&grid).view([1, side, side, 2]);
            let input = tch::Tensor::from_slice(&pixels).view([1, 1, side, side]);
            let bilinear = Vec::<f32>::try_from(input.grid_sampler_2d(&grid, 0, 0, true).view([-1])).unwrap();
            let ours = warp.image(&pixels, square);
            let worst = ours.iter().zip(&bilinear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.2, "bilinear differs by {worst}");
            let nearest = Vec::<f32>::try_from(input.grid_sampler_2d(&grid, 1, 0, true).view([-1])).unwrap();
            let ours = warp.words(&words, square);
            let other = ours.iter().zip(&nearest).filter(|(a, b)| **a as f32 != **b).count();
            assert!(other <= 8, "nearest differs at {other} of {} pixels", size * size);
        }
    }
}
