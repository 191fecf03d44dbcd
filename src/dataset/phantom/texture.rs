//! Noise: smooth lattice noise for trabeculae and soft tissue, and detector grain.

use std::sync::LazyLock;

use super::draw::Draw;

const SIDE: usize = 256;

/// Random values shared by all hands; each hand uses its own offset.
static LATTICE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let mut draw = Draw::new(0, "lattice", 0);
    (0..SIDE * SIDE).map(|_| draw.uniform(-1.0, 1.0) as f32).collect()
});

/// Smooth noise in -1 to 1 with a period of 256 cells.
#[derive(Clone, Copy)]
pub struct Noise {
    lattice: &'static [f32],
    x: f32,
    y: f32,
}

impl Noise {
    /// Noise with a random offset on the lattice.
    pub fn new(draw: &mut Draw) -> Noise {
        let mut at = || draw.uniform(0.0, SIDE as f64) as f32;
        Noise { lattice: &LATTICE, x: at() + 1024.0, y: at() + 1024.0 }
    }

    /// The value at a position in cells.
    #[inline]
    pub fn at(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x + self.x, y + self.y);
        let (xf, yf) = (x.floor(), y.floor());
        let (fx, fy) = (x - xf, y - yf);
        let (ix, iy) = (xf as i32 as usize & (SIDE - 1), yf as i32 as usize & (SIDE - 1));
        let (jx, jy) = ((ix + 1) & (SIDE - 1), (iy + 1) & (SIDE - 1));
        let (sx, sy) = (fx * fx * (3.0 - 2.0 * fx), fy * fy * (3.0 - 2.0 * fy));
        let l = self.lattice;
        let top = l[iy * SIDE + ix] + (l[iy * SIDE + jx] - l[iy * SIDE + ix]) * sx;
        let low = l[jy * SIDE + ix] + (l[jy * SIDE + jx] - l[jy * SIDE + ix]) * sx;
        top + (low - top) * sy
    }
}

/// Detector grain: values with about unit variance, nearly normal (sum of four uniform values), one per call.
pub struct Grain(u64);

impl Grain {
    /// The stream of one row.
    pub fn new(seed: u64, row: u64) -> Grain {
        let mut mixed = seed ^ row.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Grain((mixed ^ (mixed >> 27)) | 1)
    }

    /// The next value.
    #[inline]
    pub fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D);
        let sum = (bits & 0xFFFF) + ((bits >> 16) & 0xFFFF) + ((bits >> 32) & 0xFFFF) + (bits >> 48);
        // Four uniforms of variance 65536²/12.
        (sum as f32 - 131_070.0) * (1.0 / 37_837.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_smooth_and_bounded() {
        let noise = Noise::new(&mut Draw::new(3, "noise", 0));
        for i in 0..2000 {
            let x = i as f32 * 0.37;
            let v = noise.at(x, 1.3 * x);
            assert!(v.abs() <= 1.0);
            assert!((noise.at(x + 0.01, 1.3 * x) - v).abs() < 0.05);
        }
    }

    #[test]
    fn grain_has_unit_variance() {
        let mut grain = Grain::new(9, 4);
        let values: Vec<f32> = (0..50_000).map(|_| grain.next()).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
