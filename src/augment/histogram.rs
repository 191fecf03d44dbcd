//! Histograms of grey levels rounded to 8 bit, on which equalisation and matching are defined.

use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

/// Number of pixels per grey level.
pub type LevelCounts = [u64; 256];

/// Pixels that a thread counts at a time.
const CHUNK: usize = 1 << 16;

/// Added to a number from 0 to 255, it leaves no place for fractions: single precision has whole numbers only here. A
/// conversion to integers would be several times slower.
const ROUNDING: f32 = 12_582_912.0;

/// A level, 0 to 255, rounded to 8 bit, to the even number at a half.
#[inline]
pub fn rounded(level: f32) -> u8 {
    (level + ROUNDING).to_bits() as u8
}

/// As [`rounded`], without a change of type.
#[inline]
pub fn rounded_level(level: f32) -> f32 {
    level + ROUNDING - ROUNDING
}

/// The histogram of the rounded levels.
pub fn histogram(levels: &[f32]) -> LevelCounts {
    let count = |levels: &[f32]| {
        let mut counts = [0; 256];
        levels.iter().for_each(|v| counts[usize::from(rounded(*v))] += 1);
        counts
    };
    let sum = |mut a: LevelCounts, b: LevelCounts| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    levels.par_chunks(CHUNK).map(count).reduce(|| [0; 256], sum)
}

/// The histogram of the rounded levels of a tensor.
///
/// # Errors
/// libtorch reports an error.
pub fn histogram_of_tensor(levels: &Tensor) -> Result<LevelCounts, TchError> {
    let rounded = levels.f_round()?.f_to_kind(Kind::Int64)?.f_reshape([-1])?;
    let counts = rounded.f_bincount(None::<Tensor>, 256)?.f_to_device(Device::Cpu)?;
    let counts = Vec::<i64>::try_from(counts)?;
    Ok(std::array::from_fn(|level| counts[level] as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_rounded_and_counted() {
        let levels = [0.0, 0.4, 0.5, 0.6, 1.49, 1.5, 254.5, 255.0];
        let mut expected = [0; 256];
        (expected[0], expected[1], expected[2], expected[254], expected[255]) = (3, 2, 1, 1, 1);
        assert_eq!(histogram(&levels), expected);
        assert_eq!(levels.map(rounded_level), levels.map(|v| f32::from(rounded(v))));
        assert_eq!(histogram_of_tensor(&Tensor::from_slice(&levels)).unwrap(), expected);
        let many: Vec<f32> = (0..200_000).map(|i| (i % 256) as f32).collect();
        assert_eq!(histogram(&many).iter().sum::<u64>(), 200_000);
    }
}
