use crate::infer::{AugmentationStep, InferOptions, TestTimeAugmentation, WindowSettings, WindowSides, WindowWeights};

/// Options of windows and test-time augmentation.
#[derive(clap::Args, Debug)]
pub(super) struct ViewArgs {
    /// Predict in overlapping windows with this side, in px of the scaled image
    #[arg(long, value_name = "PX")]
    window: Option<u32>,
    /// Share of a window by which neighbours overlap, 0 to below 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, requires = "window")]
    overlap: f64,
    /// Weights of pixels where windows overlap: gaussian, constant or triangular
    #[arg(long, default_value = "gaussian", requires = "window")]
    weights: WindowWeights,
    /// Scale of the image that windows are cut from: 1 is its own size
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "window")]
    scale: f64,
    /// Test-time augmentation: average several views, separated by commas; without a value: flip
    #[arg(long, value_name = "VIEWS", num_args = 0..=1, value_delimiter = ',', default_missing_value = "flip")]
    tta: Vec<AugmentationStep>,
}

impl ViewArgs {
    /// The options for a model with these sides of windows.
    ///
    /// # Errors
    /// A value is out of range, or a step is given twice.
    pub fn options(&self, sides: WindowSides, batch: usize) -> anyhow::Result<InferOptions> {
        let &ViewArgs { window, overlap, weights, scale, .. } = self;
        let window = window.map(|side| WindowSettings { side, overlap, weights, scale });
        if let Some(window) = &window {
            let checked = window.violations(sides.stride, sides.least).result();
            checked.map_err(|violations| anyhow::anyhow!("--{violations}"))?;
        }
        for (i, step) in self.tta.iter().enumerate() {
            anyhow::ensure!(!self.tta[..i].contains(step), "--tta: {step} is given twice");
        }
        Ok(InferOptions { window, augmentation: TestTimeAugmentation(self.tta.clone()), batch })
    }
}
