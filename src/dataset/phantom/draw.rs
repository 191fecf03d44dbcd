use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// A stream of random numbers that depends only on the seed, a name and an index, so that a hand does not depend on the
/// thread that draws it and on earlier draws.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The stream of `seed` for the purpose `name` with the number `index`.
    pub fn new(seed: u64, name: &str, index: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"carpus phantom");
        hash.update(seed.to_le_bytes());
        hash.update(index.to_le_bytes());
        hash.update(name.as_bytes());
        Draw(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// Uniform in `low..high`.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// Normally distributed, truncated at 2.6 standard deviations: healthy hands are no outliers.
    pub fn normal(&mut self, mean: f64, sd: f64) -> f64 {
        loop {
            let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
            let z = radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos();
            if z.abs() <= 2.6 {
                return mean + sd * z;
            }
        }
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    /// One of `0..n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_by_name_and_repeat_by_seed() {
        let first = |seed, what, index| Draw::new(seed, what, index).bits();
        assert_eq!(first(7, "hand", 3), first(7, "hand", 3));
        assert_ne!(first(7, "hand", 3), first(7, "hand", 4));
        assert_ne!(first(7, "hand", 3), first(8, "hand", 3));
        assert_ne!(first(7, "hand", 3), first(7, "label", 3));
    }

    #[test]
    fn normal_has_its_moments() {
        let mut draw = Draw::new(1, "normal", 0);
        let values: Vec<f64> = (0..20_000).map(|_| draw.normal(5.0, 2.0)).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let sd = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt();
        assert!((mean - 5.0).abs() < 0.06, "{mean}");
        // Truncation at 2.6 reduces the standard deviation by 3.5 %.
        assert!((sd - 1.93).abs() < 0.05, "{sd}");
    }
}
