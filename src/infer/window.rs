use crate::closed_enum::closed_enum;
use crate::geometry::Size;
use crate::violation::Violations;

closed_enum! {
    /// The weight of a pixel by its place in a window, where windows overlap.
    #[derive(Default)]
    pub enum WindowWeights ("weights") {
        /// A Gaussian about the centre with a standard deviation of an eighth of the side, at least 0.001, as in MONAI.
        #[default]
        Gaussian = "gaussian",
        /// The same everywhere.
        Constant = "constant",
        /// The product of a triangle along each side: 1 in the middle, 1/n or 1/(n + 1) at the outermost of n pixels.
        Triangular = "triangular",
    }
}

/// Standard deviation of the Gaussian as a share of the side; that of MONAI.
const SIGMA: f64 = 0.125;
/// The least weight of the Gaussian; that of MONAI.
const LEAST_WEIGHT: f32 = 1e-3;

impl WindowWeights {
    /// The weights of a window, row by row. Those of [`WindowWeights::Gaussian`] are MONAI's `compute_importance_map` as
    /// its `sliding_window_inference` uses it, those of [`WindowWeights::Triangular`] the product of two
    /// `scipy.signal.windows.triang`.
    pub fn of(self, window: Size) -> Vec<f32> {
        let (columns, rows) = (self.along(window.width), self.along(window.height));
        let least = match self {
            WindowWeights::Gaussian => LEAST_WEIGHT,
            WindowWeights::Constant | WindowWeights::Triangular => 0.0,
        };
        rows.iter().flat_map(|row| columns.iter().map(move |column| ((row * column) as f32).max(least))).collect()
    }

    /// The factor of each pixel along a side.
    fn along(self, side: u32) -> Vec<f64> {
        let n = f64::from(side);
        let at = |i: u32| {
            let off = f64::from(i) - (n - 1.0) / 2.0;
            match self {
                WindowWeights::Gaussian => (-0.5 * (off / (SIGMA * n)).powi(2)).exp(),
                WindowWeights::Constant => 1.0,
                WindowWeights::Triangular if side.is_multiple_of(2) => (n - 2.0 * off.abs()) / n,
                WindowWeights::Triangular => (n + 1.0 - 2.0 * off.abs()) / (n + 1.0),
            }
        };
        (0..side).map(at).collect()
    }
}

/// Windows in which an image is predicted part by part.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowSettings {
    /// Side of a window in px of the scaled image.
    pub side: u32,
    /// The share of a window by which neighbours overlap, 0 to below 1.
    pub overlap: f64,
    /// Weights of overlapping windows.
    pub weights: WindowWeights,
    /// Scale of the image that the windows are cut from: 1 is the image's own size.
    pub scale: f64,
}

/// The longest side of a window, and of an image that windows are cut from, in px.
pub const MAX_SIDE: u32 = 16_384;
/// The range of scales.
const SCALES: std::ops::RangeInclusive<f64> = 0.05..=8.0;

impl WindowSettings {
    /// Values that are outside their range, for a model that takes sides of at least `least` px and multiples of
    /// `stride` px.
    pub fn violations(&self, stride: u32, least: u32) -> Violations {
        let mut wrong = Violations::new();
        let least = least.max(1).next_multiple_of(stride);
        let fits = (least..=MAX_SIDE).contains(&self.side) && self.side.is_multiple_of(stride);
        wrong.expect(fits, "window", self.side, format!("a multiple of {stride} px from {least} to {MAX_SIDE}"));
        wrong.expect((0.0..1.0).contains(&self.overlap), "overlap", self.overlap, "from 0 to below 1");
        wrong.expect(SCALES.contains(&self.scale), "scale", self.scale, "from 0.05 to 8");
        wrong
    }

    /// The first columns, or rows, of the windows along a side of the image, which is at least as long as a window. The
    /// places are MONAI's: steps of the window's length without the overlap, rounded down, the last window ends with the
    /// image.
    pub fn starts(&self, image: u32) -> Vec<u32> {
        let side = self.side;
        if image <= side {
            return vec![0];
        }
        let step = ((f64::from(side) * (1.0 - self.overlap)) as u32).max(1);
        let last = image - side;
        (0..).map(|i| (i * step).min(last)).take((last.div_ceil(step) + 1) as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(side: u32, overlap: f64) -> WindowSettings {
        WindowSettings { side, overlap, weights: WindowWeights::Gaussian, scale: 1.0 }
    }

    #[test]
    fn windows_cover_the_side_and_the_last_ends_with_it() {
        assert_eq!(settings(4, 0.5).starts(10), [0, 2, 4, 6]);
        assert_eq!(settings(4, 0.5).starts(9), [0, 2, 4, 5]);
        assert_eq!(settings(4, 0.0).starts(9), [0, 4, 5]);
        assert_eq!(settings(4, 0.0).starts(8), [0, 4]);
        assert_eq!(settings(4, 0.99).starts(6), [0, 1, 2]);
        assert_eq!(settings(4, 0.25).starts(4), [0]);
        assert_eq!(settings(4, 0.25).starts(3), [0]);
    }

    #[test]
    fn weights_by_hand() {
        let size = |width, height| Size { width, height };
        assert_eq!(WindowWeights::Constant.of(size(2, 1)), [1.0, 1.0]);
        assert_eq!(WindowWeights::Triangular.of(size(4, 1)), [0.25, 0.75, 0.75, 0.25]);
        assert_eq!(WindowWeights::Triangular.of(size(3, 3))[..5], [0.25, 0.5, 0.25, 0.5, 1.0]);
        let gaussian = WindowWeights::Gaussian.of(Size::square(16));
        // The standard deviation is 2 px; the centre is between four pixels.
        assert!((gaussian[7 * 16 + 7] - (-0.0625f32).exp()).abs() < 1e-6);
        assert_eq!(gaussian[0], 1e-3, "the least weight");
    }

    #[test]
    fn values_out_of_range_are_named() {
        let wrong = WindowSettings { side: 100, overlap: 1.0, weights: WindowWeights::Gaussian, scale: f64::NAN };
        let text = wrong.violations(32, 64).to_string();
        assert!(text.contains("window is 100; expected a multiple of 32 px from 64 to 16384"), "{text}");
        assert!(text.contains("overlap is 1") && text.contains("scale is NaN"), "{text}");
        assert!(settings(64, 0.5).violations(32, 64).is_empty());
        for side in [0, 4_294_967_264] {
            assert!(settings(side, 0.5).violations(32, 1).to_string().contains("from 32 to 16384"));
        }
    }
}
