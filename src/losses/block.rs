//! The arithmetic of the losses on the CPU. It works on a few hundred pixels at a time, so that the values that several
//! terms of a mix need are computed once and stay in the fastest cache. It consists of simple loops over slices of
//! equal length, which the compiler vectorises.

/// Number of pixels per block.
pub const BLOCK: usize = 512;

/// Values of the pixels of one class that the terms need: slices of equal length, at most [`BLOCK`].
pub struct PixelBlock<'a> {
    /// The target, {0,1}.
    pub target: &'a [f32],
    /// Sigmoid of the logit x.
    pub probability: &'a [f32],
    /// Probability of the wrong label without loss of precision: p, or 1 - p where the target is 1.
    pub wrong: &'a [f32],
    /// `1 - wrong` without loss of precision.
    pub right: &'a [f32],
    /// Cross entropy of the true label: `-log(right)`.
    pub entropy: &'a [f32],
    /// Cross entropy of the other label: `-log(wrong)`.
    pub other_entropy: &'a [f32],
}

/// Memory for a block.
pub struct Scratch {
    target: [f32; BLOCK],
    probability: [f32; BLOCK],
    wrong: [f32; BLOCK],
    right: [f32; BLOCK],
    entropy: [f32; BLOCK],
    other_entropy: [f32; BLOCK],
}

impl Default for Scratch {
    fn default() -> Self {
        let zeros = [0.0; BLOCK];
        Scratch { target: zeros, probability: zeros, wrong: zeros, right: zeros, entropy: zeros, other_entropy: zeros }
    }
}

impl Scratch {
    /// Target and probability only, as the overlap losses need them.
    pub fn probabilities(&mut self, logits: &[f32], words: &[u32], class: usize) -> (&[f32], &[f32]) {
        let n = logits.len();
        let (target, probability) = (&mut self.target[..n], &mut self.probability[..n]);
        spread(words, class, target);
        for (p, x) in probability.iter_mut().zip(logits) {
            let z = exp(-x.abs());
            let r = 1.0 / (1.0 + z);
            *p = if *x < 0.0 { z * r } else { r };
        }
        (target, probability)
    }

    /// All values of a block.
    pub fn block(&mut self, logits: &[f32], words: &[u32], class: usize) -> PixelBlock<'_> {
        let n = logits.len();
        let (target, probability) = (&mut self.target[..n], &mut self.probability[..n]);
        let (wrong, right) = (&mut self.wrong[..n], &mut self.right[..n]);
        let (entropy, other_entropy) = (&mut self.entropy[..n], &mut self.other_entropy[..n]);
        spread(words, class, target);
        for i in 0..n {
            let (x, t) = (logits[i], target[i]);
            let w = x * (1.0 - 2.0 * t); // positive where the label is wrong
            let z = exp(-x.abs());
            let r = 1.0 / (1.0 + z);
            let s = z * r;
            let l = ln_1p(z);
            probability[i] = if x < 0.0 { s } else { r };
            wrong[i] = if w < 0.0 { s } else { r };
            right[i] = if w < 0.0 { r } else { s };
            entropy[i] = (if w < 0.0 { 0.0 } else { w }) + l;
            other_entropy[i] = (if w < 0.0 { -w } else { 0.0 }) + l;
        }
        PixelBlock { target, probability, wrong, right, entropy, other_entropy }
    }
}

/// Writes the bits of one class as {0,1}.
fn spread(words: &[u32], class: usize, target: &mut [f32]) {
    for (t, word) in target.iter_mut().zip(words) {
        *t = (word >> class & 1) as f32;
    }
}

/// `e^y` for y of at most 0, with an error of at most 2 units in the last place; 0 below -80. NaN stays NaN.
#[inline(always)]
pub fn exp(y: f32) -> f32 {
    // y = n ln 2 + r with |r| <= ln 2 / 2; adding 1.5 * 2^23 rounds to an integer, which is then in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if y < -80.0 { -80.0 } else { y };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * 0.693_145_75) - n * 1.428_606_8e-6; // ln 2 in two parts, the first of few digits
    let mut sum = 1.0 / 5040.0;
    for factor in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = sum * r + factor;
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000)); // 2^n
    if y < -80.0 { 0.0 } else { sum * power }
}

/// `ln(1 + z)` for z from 0 to 1, with full relative precision also for small z.
#[inline(always)]
fn ln_1p(z: f32) -> f32 {
    // 2 artanh(s), a series in s² of at most 1/9.
    let s = z / (2.0 + z);
    let q = s * s;
    let mut sum = 2.0 / 15.0;
    for factor in [2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0, 2.0] {
        sum = sum * q + factor;
    }
    s * sum
}

/// Sum of a block's values: in single precision within each of sixteen lanes, in double precision over the lanes.
pub fn sum(values: &[f32]) -> f64 {
    lanes(values, values, |a, _| a)
}

/// Sum of the products of two blocks' values.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    lanes(a, b, |a, b| a * b)
}

#[inline(always)]
fn lanes(a: &[f32], b: &[f32], of: impl Fn(f32, f32) -> f32) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0f32; LANES];
    let (a, b) = (a.chunks(LANES), b.chunks(LANES));
    for (a, b) in a.zip(b) {
        if let (Ok(a), Ok(b)) = (<&[f32; LANES]>::try_from(a), <&[f32; LANES]>::try_from(b)) {
            for lane in 0..LANES {
                sums[lane] += of(a[lane], b[lane]);
            }
        } else {
            sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += of(*a, *b));
        }
    }
    sums.iter().map(|sum| f64::from(*sum)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_and_logarithm_have_full_precision() {
        let mut worst = [0f64; 2];
        for i in 0..200_000 {
            let y = -79.9 * (i as f32 / 200_000.0).powi(2);
            let (z, exact) = (exp(y), f64::from(y).exp());
            worst[0] = worst[0].max((f64::from(z) - exact).abs() / exact);
            let exact = f64::from(z).ln_1p();
            worst[1] = worst[1].max((f64::from(ln_1p(z)) - exact).abs() / exact);
        }
        assert!(worst[0] < 2.4e-7 && worst[1] < 2.4e-7, "{worst:?}");
        assert_eq!((exp(0.0), exp(-100.0), exp(f32::NEG_INFINITY)), (1.0, 0.0, 0.0));
        assert!(exp(f32::NAN).is_nan() && ln_1p(f32::NAN).is_nan());
    }

    #[test]
    fn blocks_of_extreme_logits() {
        let logits = [0.0, 1e30, -1e30, f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let mut scratch = Scratch::default();
        let block = scratch.block(&logits, &[0b10; 6], 1);
        assert_eq!(block.target, [1.0; 6]);
        assert_eq!(&block.probability[..5], [0.5, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(&block.wrong[..5], [0.5, 0.0, 1.0, 0.0, 1.0]);
        assert_eq!(&block.right[..5], [0.5, 1.0, 0.0, 1.0, 0.0]);
        assert_eq!(&block.entropy[1..5], [0.0, 1e30, 0.0, f32::INFINITY]);
        assert!((block.entropy[0] - 2f32.ln()).abs() < 1e-7);
        // NaN must be kept, because training stops at it.
        assert!(block.probability[5].is_nan() && block.entropy[5].is_nan());
    }

    #[test]
    fn sums_take_every_value() {
        let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
        assert_eq!((sum(&values), dot(&values, &values)), (4950.0, 328_350.0));
    }
}
