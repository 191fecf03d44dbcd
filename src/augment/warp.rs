use serde::{Deserialize, Serialize};

use crate::geometry::{Affine, Model, Point};

/// What lies outside an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// Nothing: black, no label.
    #[default]
    Black,
    /// The image mirrored at its outermost pixels, which are not repeated (`gfedcb|abcdefgh|gfedcba`).
    Reflect,
}

impl Border {
    /// Every border.
    pub const ALL: &'static [Border] = &[Border::Black, Border::Reflect];

    /// Where to read for index `i` of a side of `size`; `None` reads nothing.
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

/// A square image read through a map, bilinear: pixel `(x, y)` of the result is the image at
/// `source_from_target(x, y)`. Equals PyTorch's `grid_sample` (bilinear, zeros, align_corners) for
/// [`Border::Black`], up to rounding.
pub fn warp_image(pixels: &[u8], size: u32, source_from_target: &Affine<Model, Model>, border: Border) -> Vec<f32> {
    let side = i64::from(size);
    let read = |x: i64, y: i64| -> f32 {
        match (border.index(x, side), border.index(y, side)) {
            (Some(x), Some(y)) => f32::from(pixels[y * size as usize + x]),
            _ => 0.0,
        }
    };
    sampled(size, source_from_target, |p| {
        let (x0, y0) = (p.x.floor(), p.y.floor());
        let (fx, fy) = ((p.x - x0) as f32, (p.y - y0) as f32);
        let (x0, y0) = (x0 as i64, y0 as i64);
        let (a, b, c, d) = if x0 >= 0 && y0 >= 0 && x0 + 1 < side && y0 + 1 < side {
            let at = y0 as usize * size as usize + x0 as usize;
            let below = at + size as usize;
            (pixels[at], pixels[at + 1], pixels[below], pixels[below + 1])
        } else {
            if border == Border::Black && (x0 < -1 || y0 < -1 || x0 >= side || y0 >= side) {
                return 0.0;
            }
            let corners = [read(x0, y0), read(x0 + 1, y0), read(x0, y0 + 1), read(x0 + 1, y0 + 1)];
            return blend(corners, fx, fy);
        };
        blend([f32::from(a), f32::from(b), f32::from(c), f32::from(d)], fx, fy)
    })
}

fn blend([a, b, c, d]: [f32; 4], fx: f32, fy: f32) -> f32 {
    let top = a + (b - a) * fx;
    let bottom = c + (d - c) * fx;
    top + (bottom - top) * fy
}

/// Label words read through a map, each from its nearest pixel: all classes in one pass.
pub fn warp_words(words: &[u32], size: u32, source_from_target: &Affine<Model, Model>, border: Border) -> Vec<u32> {
    let side = i64::from(size);
    sampled(size, source_from_target, |p| {
        let (x, y) = ((p.x + 0.5).floor() as i64, (p.y + 0.5).floor() as i64);
        match (border.index(x, side), border.index(y, side)) {
            (Some(x), Some(y)) => words[y * size as usize + x],
            _ => 0,
        }
    })
}

fn sampled<T>(size: u32, source_from_target: &Affine<Model, Model>, read: impl Fn(Point) -> T) -> Vec<T> {
    let [a, b, tx, c, d, ty] = source_from_target.coefficients();
    let mut out = Vec::with_capacity((size * size) as usize);
    for y in 0..size {
        let (row_x, row_y) = (b * f64::from(y) + tx, d * f64::from(y) + ty);
        for x in 0..size {
            let x = f64::from(x);
            out.push(read(Point::new(a * x + row_x, c * x + row_y)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::augment::{AugmentSettings, Draw};

    #[test]
    fn still_map_copies() {
        let pixels: Vec<u8> = (0..64).collect();
        let words: Vec<u32> = (0..64).collect();
        for border in Border::ALL {
            let warped = warp_image(&pixels, 8, &Affine::shift(0.0, 0.0), *border);
            assert!(warped.iter().zip(&pixels).all(|(w, p)| *w == f32::from(*p)));
            assert_eq!(warp_words(&words, 8, &Affine::shift(0.0, 0.0), *border), words);
        }
    }

    #[test]
    fn borders_by_hand() {
        let words: Vec<u32> = (0..16).collect();
        // Reads two columns to the left.
        let map = Affine::shift(-2.0, 0.0);
        assert_eq!(warp_words(&words, 4, &map, Border::Black)[..4], [0, 0, 0, 1]);
        assert_eq!(warp_words(&words, 4, &map, Border::Reflect)[..4], [2, 1, 0, 1]);
        let pixels = [100u8; 16];
        let half = warp_image(&pixels, 4, &Affine::shift(-0.5, 0.0), Border::Black);
        assert_eq!(half[..2], [50.0, 100.0]);
    }

    /// ATen's own sampler is the reference; it computes coordinates in single precision, which moves a sample by
    /// up to 1e-5 of the side: at most 255 * 64e-5 = 0.2 grey levels, and labels at rounding ties.
    #[test]
    fn equals_grid_sample() {
        let size = 64u32;
        let seed = std::env::var("CARPUS_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random::<u64>);
        println!("CARPUS_SEED={seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut settings = AugmentSettings::default();
        settings.shift_scale_rotate.p = 1.0;
        for _ in 0..10 {
            let pixels: Vec<u8> = (0..size * size).map(|_| rng.random_range(0..=255u8)).collect();
            let words: Vec<u32> = pixels.iter().map(|p| u32::from(*p)).collect();
            let map = Draw::new(&settings, &mut rng).source_from_target(size);
            let grid: Vec<f32> = sampled(size, &map, |p| p)
                .into_iter()
                .flat_map(|p| [p.x, p.y].map(|v| (2.0 * v / f64::from(size - 1) - 1.0) as f32))
                .collect();
            let side = i64::from(size);
            let grid = tch::Tensor::from_slice(&grid).view([1, side, side, 2]);
            let input = tch::Tensor::from_slice(&pixels).to_kind(tch::Kind::Float).view([1, 1, side, side]);
            let bilinear = Vec::<f32>::try_from(input.grid_sampler_2d(&grid, 0, 0, true).view([-1])).unwrap();
            let ours = warp_image(&pixels, size, &map, Border::Black);
            let worst = ours.iter().zip(&bilinear).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.2, "bilinear differs by {worst}");
            let nearest = Vec::<f32>::try_from(input.grid_sampler_2d(&grid, 1, 0, true).view([-1])).unwrap();
            let ours = warp_words(&words, size, &map, Border::Black);
            let other = ours.iter().zip(&nearest).filter(|(a, b)| **a as f32 != **b).count();
            assert!(other <= 8, "nearest differs at {other} of {} pixels", size * size);
        }
    }
}
