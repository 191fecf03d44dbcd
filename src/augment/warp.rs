use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::geometry::{Affine, ModelSpace, Point};

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
    fn index(self, i: i64, size: i64) -> Option<usize> {
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
    /// A displacement for each pixel.
    Displacement(Displacement),
}

/// A displacement for each pixel of a square, in pixels.
#[derive(Clone, Debug)]
pub struct Displacement {
    side: usize,
    by: Vec<[f32; 2]>,
}

impl Displacement {
    /// A displacement from the `[x, y]` of each pixel of a square, row-major; `None` if their number is no square.
    pub fn new(by: Vec<[f32; 2]>) -> Option<Displacement> {
        let side = by.len().isqrt();
        (side > 0 && side * side == by.len()).then_some(Displacement { side, by })
    }

    /// The displacement at a place: bilinear between pixels, and that of the nearest edge pixel outside the square.
    fn at(&self, p: Point) -> [f64; 2] {
        let last = (self.side - 1) as f64;
        let (x, y) = (p.x.clamp(0.0, last), p.y.clamp(0.0, last));
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(self.side - 1), (y0 + 1).min(self.side - 1));
        let (fx, fy) = ((x - x0 as f64) as f32, (y - y0 as f64) as f32);
        let read = |x: usize, y: usize| self.by[y * self.side + x];
        let corners = [read(x0, y0), read(x1, y0), read(x0, y1), read(x1, y1)];
        std::array::from_fn(|i| f64::from(blend(corners.map(|c| c[i]), fx, fy)))
    }
}

impl Geometry {
    /// The place in the source from which the pixel at `target` is read.
    pub fn apply(&self, target: Point) -> Point {
        match self {
            Geometry::Affine(map) => map.apply(target),
            Geometry::Displacement(displacement) => {
                let [x, y] = displacement.at(target);
                Point::new(target.x + x, target.y + y)
            }
        }
    }
}

/// A sequence of maps that are applied together. Without maps it does not change a sample.
#[derive(Clone, Debug, Default)]
pub struct Warp {
    /// In the order of the steps; consecutive affine maps are composed.
    maps: Vec<Geometry>,
    border: Option<Border>,
}

impl Warp {
    /// Whether a map with this border can be applied together with the others: they have one border.
    pub fn can_join(&self, border: Option<Border>) -> bool {
        border.is_none() || self.border.is_none() || self.border == border
    }

    /// Adds a map that is applied after the others.
    pub fn push(&mut self, source_from_target: Geometry, border: Option<Border>) {
        self.border = self.border.or(border);
        match (self.maps.last_mut(), &source_from_target) {
            // Maps are read backwards: from the result to its source, then to the source of that.
            (Some(Geometry::Affine(before)), Geometry::Affine(map)) => *before = map.then(before),
            _ => self.maps.push(source_from_target),
        }
    }

    /// Whether there are no maps, so that a sample does not change.
    pub fn is_empty(&self) -> bool {
        self.maps.is_empty()
    }

    /// Applies the maps to a sample: grey levels bilinear, label words nearest.
    pub fn sample(self, (pixels, words): (Vec<f32>, Vec<u32>), size: u32) -> (Vec<f32>, Vec<u32>) {
        if self.maps.is_empty() {
            return (pixels, words);
        }
        (self.image(&pixels, size), self.words(&words, size))
    }

    /// Applies the maps to a square image, bilinear. Equals PyTorch's `grid_sample` (bilinear, zeros, align_corners)
    /// for [`Border::Black`], up to rounding.
    pub fn image(&self, pixels: &[f32], size: u32) -> Vec<f32> {
        let (side, border) = (i64::from(size), self.border.unwrap_or_default());
        let read = |x: i64, y: i64| -> f32 {
            match (border.index(x, side), border.index(y, side)) {
                (Some(x), Some(y)) => pixels[y * size as usize + x],
                _ => 0.0,
            }
        };
        self.sampled(size, |p| {
            let (x0, y0) = (p.x.floor(), p.y.floor());
            let (fx, fy) = ((p.x - x0) as f32, (p.y - y0) as f32);
            let (x0, y0) = (x0 as i64, y0 as i64);
            if x0 >= 0 && y0 >= 0 && x0 + 1 < side && y0 + 1 < side {
                let at = y0 as usize * size as usize + x0 as usize;
                let below = at + size as usize;
                return blend([pixels[at], pixels[at + 1], pixels[below], pixels[below + 1]], fx, fy);
            }
            if border == Border::Black && (x0 < -1 || y0 < -1 || x0 >= side || y0 >= side) {
                return 0.0;
            }
            blend([read(x0, y0), read(x0 + 1, y0), read(x0, y0 + 1), read(x0 + 1, y0 + 1)], fx, fy)
        })
    }

    /// Applies the maps to label words, nearest: all classes at once.
    pub fn words(&self, words: &[u32], size: u32) -> Vec<u32> {
        let (side, border) = (i64::from(size), self.border.unwrap_or_default());
        self.sampled(size, |p| {
            let (x, y) = ((p.x + 0.5).floor() as i64, (p.y + 0.5).floor() as i64);
            match (border.index(x, side), border.index(y, side)) {
                (Some(x), Some(y)) => words[y * size as usize + x],
                _ => 0,
            }
        })
    }

    fn sampled<T>(&self, size: u32, read: impl Fn(Point) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity((size * size) as usize);
        let places = (0..size).flat_map(|y| (0..size).map(move |x| (f64::from(x), f64::from(y))));
        match &self.maps[..] {
            // The most frequent case; it is faster without a call of the map for each pixel.
            [Geometry::Affine(map)] => {
                let [a, b, tx, c, d, ty] = map.coefficients();
                for y in 0..size {
                    let (row_x, row_y) = (b * f64::from(y) + tx, d * f64::from(y) + ty);
                    for x in 0..size {
                        let x = f64::from(x);
                        out.push(read(Point::new(a * x + row_x, c * x + row_y)));
                    }
                }
            }
            maps => {
                let source = |target| maps.iter().rev().fold(target, |place, map| map.apply(place));
                out.extend(places.map(|(x, y)| read(source(Point::new(x, y)))));
            }
        }
        out
    }
}

fn blend([a, b, c, d]: [f32; 4], fx: f32, fy: f32) -> f32 {
    let top = a + (b - a) * fx;
    let bottom = c + (d - c) * fx;
    top + (bottom - top) * fy
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::augment::{Change, ShiftScaleRotate, Step};

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
        let identity = Geometry::Displacement(Displacement::new(vec![[0.0; 2]; 64]).unwrap());
        for border in Border::ALL {
            for map in [shift(0.0), identity.clone()] {
                let warp = warp(vec![map], *border);
                assert_eq!(warp.image(&pixels, 8), pixels);
                assert_eq!(warp.words(&words, 8), words);
            }
        }
    }

    #[test]
    fn borders_by_hand() {
        let words: Vec<u32> = (0..16).collect();
        // Each pixel is read two columns to the left.
        assert_eq!(warp(vec![shift(-2.0)], Border::Black).words(&words, 4)[..4], [0, 0, 0, 1]);
        assert_eq!(warp(vec![shift(-2.0)], Border::Reflect).words(&words, 4)[..4], [2, 1, 0, 1]);
        let half = warp(vec![shift(-0.5)], Border::Black).image(&[100.0; 16], 4);
        assert_eq!(half[..2], [50.0, 100.0]);
    }

    /// The last map of a sequence is applied first to a place in the result.
    #[test]
    fn maps_are_read_backwards() {
        let words: Vec<u32> = (0..16).collect();
        // Column 1 is read one column further to the right, the others at their place.
        let by = (0..16).map(|i| [f32::from(u8::from(i % 4 == 1)), 0.0]).collect();
        let displacement = || Geometry::Displacement(Displacement::new(by).unwrap());
        let one = warp(vec![shift(1.0), displacement()], Border::Reflect).words(&words, 4);
        assert_eq!(one[..3], [1, 3, 3], "column 1 of the displaced image is column 2 of the shifted image");
        let by = (0..16).map(|i| [f32::from(u8::from(i % 4 == 1)), 0.0]).collect();
        let other = warp(vec![Geometry::Displacement(Displacement::new(by).unwrap()), shift(1.0)], Border::Reflect);
        assert_eq!(other.words(&words, 4)[..3], [2, 2, 3]);
        assert!(Displacement::new(vec![[0.0; 2]; 15]).is_none() && Displacement::new(Vec::new()).is_none());
    }

    /// ATen's sampler is the reference. It computes coordinates in single precision, which shifts a place by up to 1e-5
    /// of the side: at most 255 * 64e-5 = 0.2 grey levels, and labels where rounding is a tie.
    #[test]
    fn a_warp_equals_grid_sample() {
        let size = 64u32;
        let seed = std::env::var("CARPUS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
        println!("CARPUS_SEED={seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let step = ShiftScaleRotate { p: 1.0, ..ShiftScaleRotate::default() };
        for bends in [false, true].into_iter().cycle().take(10) {
            let pixels: Vec<f32> = (0..size * size).map(|_| f32::from(rng.random_range(0..=255u8))).collect();
            let words: Vec<u32> = pixels.iter().map(|p| *p as u32).collect();
            let Change::Geometry { source_from_target, border } = step.draw(size, &mut rng) else { panic!("a map") };
            let mut warp = Warp::default();
            warp.push(source_from_target, border);
            if bends {
                let by = (0..size * size).map(|_| [(); 2].map(|()| rng.random_range(-3.0..3.0))).collect();
                warp.push(Geometry::Displacement(Displacement::new(by).unwrap()), None);
            }
            let grid: Vec<f32> = warp
                .sampled(size, |p| p)
                .into_iter()
                .flat_map(|p| [p.x, p.y].map(|v| (2.0 * v / f64::from(size - 1) - 1.0) as f32))
                .collect();
            let side = i64::from(size);
            let grid = tch::Tensor::from_slice(&grid).view([1, side, side, 2]);
            let input = tch::Tensor::from_slice(&pixels).view([1, 1, side, side]);
            let bilinear = Vec::<f32>::try_from(input.grid_sampler_2d(&grid, 0, 0, true).view([-1])).unwrap();
            let ours = warp.image(&pixels, size);
            let worst = ours.iter().zip(&bilinear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.2, "bilinear differs by {worst}");
            let nearest = Vec::<f32>::try_from(input.grid_sampler_2d(&grid, 1, 0, true).view([-1])).unwrap();
            let ours = warp.words(&words, size);
            let other = ours.iter().zip(&nearest).filter(|(a, b)| **a as f32 != **b).count();
            assert!(other <= 8, "nearest differs at {other} of {} pixels", size * size);
        }
    }
}
