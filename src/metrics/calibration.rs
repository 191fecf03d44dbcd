use serde::Serialize;

use crate::mask::{MaskError, RunMask};
use crate::probability::ProbabilityMap;

/// Number of bins of a reliability curve, of equal width from 0 to 1.
pub const CALIBRATION_BINS: usize = 15;
/// Number of levels of a bin: the limits of the bins are levels.
const LEVELS: usize = u16::MAX as usize / CALIBRATION_BINS;

/// Pixels of one class by their probability, summed over images. Pixels that a [`ProbabilityMap`] does not keep have
/// probability 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PixelCalibration {
    bins: [BinSums; CALIBRATION_BINS],
    /// Pixels that the maps do not keep: their probability is 0.
    not_kept: u64,
    /// Those of them that are annotated.
    missed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct BinSums {
    pixels: u64,
    levels: u64,
    annotated: u64,
}

/// A point of a reliability curve.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// Lower limit of the probabilities, which belongs to the bin.
    pub from: f64,
    /// Upper limit, which belongs to the next bin; 1 belongs to the last.
    pub to: f64,
    /// Number of pixels.
    pub pixels: u64,
    /// Mean probability; `None` without pixels.
    pub probability: Option<f64>,
    /// Share of the pixels that are annotated as the class; `None` without pixels.
    pub annotated: Option<f64>,
}

/// How well the probabilities of one class agree with the annotations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassCalibration {
    /// Expected calibration error over all pixels: the difference between mean probability and annotated share, averaged
    /// over the bins, weighted by their pixels (C. Guo et al., ICML 2017, for the probability of the class). Background
    /// with probability 0 makes it small.
    pub ece: f64,
    /// The same over the pixels with a probability of at least 1/512, without the background.
    pub ece_near: f64,
    /// The reliability curve over these pixels.
    pub bins: Vec<ReliabilityBin>,
    /// Number of annotated pixels with a probability below 1/512, which the curve leaves out.
    pub missed: u64,
}

impl PixelCalibration {
    /// Adds the pixels of an image.
    ///
    /// # Errors
    /// Map and mask differ in size.
    pub fn add(&mut self, map: &ProbabilityMap, truth: &RunMask) -> Result<(), MaskError> {
        let size = map.size();
        if (size.width, size.height) != (truth.width(), truth.height()) {
            return Err(MaskError::Size((truth.width(), truth.height()), (size.width, size.height)));
        }
        let mut runs = truth.rows().peekable();
        let mut on = vec![false; size.width as usize];
        let (mut kept, mut found) = (0u64, 0u64);
        for y in 0..size.height {
            on.fill(false);
            while let Some((_, from, to)) = runs.next_if(|(row, ..)| *row == y) {
                on[from as usize..to as usize].fill(true);
            }
            for (x, levels) in map.row(y) {
                for (level, is_annotated) in levels.iter().zip(&on[x as usize..]) {
                    let bin = &mut self.bins[(usize::from(*level) / LEVELS).min(CALIBRATION_BINS - 1)];
                    bin.pixels += 1;
                    bin.levels += u64::from(*level);
                    bin.annotated += u64::from(*is_annotated);
                    found += u64::from(*is_annotated);
                }
                kept += levels.len() as u64;
            }
        }
        self.not_kept += u64::from(size.width) * u64::from(size.height) - kept;
        self.missed += truth.area() - found;
        Ok(())
    }

    /// Adds the pixels of other images.
    pub fn merge(&mut self, other: &PixelCalibration) {
        for (sums, more) in self.bins.iter_mut().zip(&other.bins) {
            sums.pixels += more.pixels;
            sums.levels += more.levels;
            sums.annotated += more.annotated;
        }
        self.not_kept += other.not_kept;
        self.missed += other.missed;
    }

    /// The calibration error and the reliability curve; NaN errors without pixels.
    pub fn summary(&self) -> ClassCalibration {
        let mut all = self.bins;
        all[0].pixels += self.not_kept;
        all[0].annotated += self.missed;
        let bin = |(i, sums): (usize, &BinSums)| ReliabilityBin {
            from: i as f64 / CALIBRATION_BINS as f64,
            to: (i + 1) as f64 / CALIBRATION_BINS as f64,
            pixels: sums.pixels,
            probability: (sums.pixels > 0).then(|| sums.probability() / sums.pixels as f64),
            annotated: (sums.pixels > 0).then(|| sums.annotated as f64 / sums.pixels as f64),
        };
        ClassCalibration {
            ece: error(&all),
            ece_near: error(&self.bins),
            bins: self.bins.iter().enumerate().map(bin).collect(),
            missed: self.missed,
        }
    }
}

impl BinSums {
    /// Sum of the probabilities.
    fn probability(&self) -> f64 {
        self.levels as f64 / f64::from(u16::MAX)
    }
}

fn error(bins: &[BinSums]) -> f64 {
    let pixels: u64 = bins.iter().map(|bin| bin.pixels).sum();
    bins.iter().map(|bin| (bin.probability() - bin.annotated as f64).abs()).sum::<f64>() / pixels as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;
    use crate::probability::MapBuilder;

    fn map(rows: [[f32; 4]; 2]) -> ProbabilityMap {
        let mut builder = MapBuilder::new(Size { width: 4, height: 2 });
        rows.iter().for_each(|row| builder.push_row(row));
        builder.finish()
    }

    #[test]
    fn a_curve_by_hand() {
        let map = map([[0.9, 0.9, 0.0, 0.0], [1.0, 0.1, 0.0, 0.0]]);
        // One of the two at 0.9, the one at 1, and a pixel with probability 0.
        let truth = RunMask::from_dense(&[1, 0, 0, 1, 1, 0, 0, 0], 4, 2);
        let mut sums = PixelCalibration::default();
        sums.add(&map, &truth).unwrap();
        let found = sums.summary();
        // Bin 1: 0.1 - 0; bin 13: 1.8 - 1; bin 14: 1 - 1; bin 0: 0 - 1.
        assert!((found.ece - (0.1 + 0.8 + 0.0 + 1.0) / 8.0).abs() < 1e-4, "{found:?}");
        // The annotated pixel with probability 0 is in the error over all pixels alone.
        assert!((found.ece_near - (0.1 + 0.8 + 0.0) / 4.0).abs() < 1e-4);
        assert_eq!(found.missed, 1);
        let pixels: Vec<u64> = found.bins.iter().map(|bin| bin.pixels).collect();
        assert_eq!(pixels, [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 1]);
        assert_eq!((found.bins[13].annotated, found.bins[2].annotated), (Some(0.5), None));
        assert_eq!((found.bins[14].from, found.bins[14].to), (14.0 / 15.0, 1.0));
        // Twice the same image: the same errors.
        let mut twice = sums.clone();
        twice.merge(&sums);
        assert!((twice.summary().ece - found.ece).abs() < 1e-12);
        assert!(sums.add(&map, &RunMask::empty(2, 4)).is_err());
    }

    #[test]
    fn probabilities_that_are_shares_have_no_error() {
        let truth = RunMask::from_dense(&[1, 0, 1, 0, 1, 0, 1, 0], 4, 2);
        let mut sums = PixelCalibration::default();
        sums.add(&map([[0.5; 4], [0.5; 4]]), &truth).unwrap();
        assert!(sums.summary().ece < 1e-4);
        let mut certain = PixelCalibration::default();
        certain.add(&ProbabilityMap::of_mask(&truth), &truth).unwrap();
        assert_eq!((certain.summary().ece, certain.summary().ece_near), (0.0, 0.0));
    }
}
