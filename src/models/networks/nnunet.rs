//! The U-Nets of nnU-Net: the plain one, and the one with a residual encoder.
//! F. Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature
//! Methods 2021. F. Isensee et al., nnU-Net revisited: a call for rigorous validation in 3D medical image segmentation,
//! MICCAI 2024.
//!
//! Names, results and initial weights are those of dynamic_network_architectures' `PlainConvUNet` and
//! `ResidualEncoderUNet`, configured as in nnU-Net's plans for 2D images. Their state dict lists each convolution and
//! its norm twice (`conv` and `all_modules.0`) and the encoder again inside the decoder; any of the names can be
//! loaded, and all of them are written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::models::assembly::Network;
use crate::models::layers::{Conv2d, ConvOptions, ConvTranspose2d, GroupNorm, Scheme, note_features};
use crate::models::{Architecture, Input, ModelConfig, ModelError, NetworkKind, Output, Path};
use crate::violation::Violations;

const KERNEL: i64 = 3;
const EPS: f64 = 1e-5;
/// Convolutions per stage of the plain encoder and its decoder.
const CONVOLUTIONS: usize = 2;
/// Convolutions per stage of the decoder after the residual encoder.
const RESIDUAL_CONVOLUTIONS: usize = 1;

/// Size of nnU-Net's networks. The number of channels doubles from stage to stage. The defaults are those of nnU-Net's
/// plan for images of 512 x 512 pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct NnUnetOptions {
    /// Number of stages, from 2 to 10; each after the first halves the size, so height and width of an image must be
    /// multiples of `2^(stages - 1)`. nnU-Net uses as many as leave 4 pixels per side. Default: 8.
    pub stages: usize,
    /// Channels of the first stage, 1 or more. Default: 32.
    pub features: i64,
    /// Maximum number of channels of a stage, at least `features`. Default: 512.
    pub max_features: i64,
}

impl Default for NnUnetOptions {
    fn default() -> Self {
        NnUnetOptions { stages: 8, features: 32, max_features: 512 }
    }
}

impl NnUnetOptions {
    /// Every option out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let NnUnetOptions { stages, features, max_features } = *self;
        wrong.expect((2..=10).contains(&stages), "stages", stages, "from 2 to 10");
        wrong.expect(features >= 1, "features", features, "1 or more");
        let least = format!("at least `features`, which is {features}");
        wrong.expect(max_features >= features, "max-features", max_features, least);
        wrong
    }

    /// Channels of each stage.
    fn channels(&self) -> Vec<i64> {
        (0..self.stages).map(|stage| (self.features << stage).min(self.max_features)).collect()
    }
}

/// Residual blocks of a stage.
fn residual_blocks(stage: usize) -> usize {
    [1, 3, 4, 6][stage.min(3)]
}

/// Encoder, decoder, and a head at every stage of the decoder.
pub struct NnUnet {
    stem: Option<Layer>,
    stages: Vec<Stage>,
    /// One per step of the decoder, deepest first, as are the next two.
    upsampling: Vec<ConvTranspose2d>,
    merging: Vec<Vec<Layer>>,
    heads: Vec<Conv2d>,
    channels: Vec<i64>,
    deep_supervision: bool,
}

impl NnUnet {
    /// The plain or the residual network, depending on `config.architecture`.
    pub fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let widths = config.nnunet.channels();
        let residual = config.architecture == Architecture::Network(NetworkKind::NnUnetResEnc);
        let root = root.with_scheme(Scheme::NnUnet);
        let encoder = &root / "encoder";
        let mut input = config.in_channels;
        let mut stem = None;
        if residual {
            stem = Some(Layer::new(&(&encoder / "stem" / "convs" / 0), input, widths[0], 1)?);
            input = widths[0];
        }
        let mut stages = Vec::new();
        for (index, width) in widths.iter().copied().enumerate() {
            let step = if index == 0 { 1 } else { 2 };
            let place = &encoder / "stages" / index;
            stages.push(if residual {
                let mut blocks = Vec::new();
                for block in 0..residual_blocks(index) {
                    let (from, step) = if block == 0 { (input, step) } else { (width, 1) };
                    blocks.push(Residual::new(&(&place / "blocks" / block), from, width, step)?);
                }
                Stage::Residual(blocks)
            } else {
                Stage::Plain(layers(&(&place / 0 / "convs"), CONVOLUTIONS, input, width, step)?)
            });
            input = width;
        }
        let decoder = &root / "decoder";
        encoder.alias(&(&decoder / "encoder"));

        // Deepest first: the width of the stage below and that of the skip connection.
        let steps: Vec<(i64, i64)> = widths.windows(2).rev().map(|w| (w[1], w[0])).collect();
        let convolutions = if residual { RESIDUAL_CONVOLUTIONS } else { CONVOLUTIONS };
        let (mut upsampling, mut merging, mut heads) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (_, skip)) in steps.iter().enumerate() {
            let place = &decoder / "stages" / index / "convs";
            merging.push(layers(&place, convolutions, 2 * skip, *skip, 1)?);
        }
        for (index, (below, skip)) in steps.iter().enumerate() {
            upsampling.push(ConvTranspose2d::new(&(&decoder / "transpconvs" / index), *below, *skip, 2, 2, 0)?);
        }
        for (index, (_, skip)) in steps.iter().enumerate() {
            let place = &decoder / "seg_layers" / index;
            heads.push(Conv2d::new(&place, *skip, config.classes, 1, ConvOptions::default())?);
        }
        let deep_supervision = config.deep_supervision();
        Ok(NnUnet { stem, stages, upsampling, merging, heads, channels: widths, deep_supervision })
    }
}

impl Network for NnUnet {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        1 << (self.channels.len() - 1)
    }

    /// An instance norm needs more than one pixel.
    fn least_side(&self) -> i64 {
        2 * self.stride()
    }

    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        let mut x = match &self.stem {
            Some(stem) => stem.forward(input.images)?, // [B, 32, H, W]
            None => input.images.shallow_clone(),
        };
        let mut skips = Vec::new();
        for stage in &self.stages {
            x = stage.forward(&x)?; // [B, 32 .. 512, H .. H/2^(stages - 1), ..]
            skips.push(x.shallow_clone());
        }
        note_features(&skips);
        skips.pop();
        let mut outputs = Vec::new();
        for (index, (upsample, merge)) in self.upsampling.iter().zip(&self.merging).enumerate() {
            let skip = skips.pop().expect("each step of the decoder has a stage of the encoder");
            x = Tensor::f_cat(&[upsample.forward(&x)?, skip], 1)?; // [B, 2 skip, h, w]
            x = merge.iter().try_fold(x, |x, layer| layer.forward(&x))?; // [B, skip, h, w]
            if index + 1 == self.heads.len() || (train && self.deep_supervision) {
                outputs.push(self.heads[index].forward(&x)?); // [B, classes, h, w]
            }
        }
        let logits = outputs.pop().expect("there are two stages or more");
        // Largest first.
        outputs.reverse();
        Ok(Output { auxiliary: outputs, ..Output::of(logits) })
    }
}

enum Stage {
    Plain(Vec<Layer>),
    Residual(Vec<Residual>),
}

impl Stage {
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Stage::Plain(layers) => layers.iter().try_fold(x.shallow_clone(), |x, layer| layer.forward(&x)),
            Stage::Residual(blocks) => blocks.iter().try_fold(x.shallow_clone(), |x, block| block.forward(&x)),
        }
    }
}

/// `count` layers in a row; the first has the stride `step`.
fn layers(path: &Path, count: usize, input: i64, output: i64, step: i64) -> Result<Vec<Layer>, ModelError> {
    let layer = |index| match index {
        0 => Layer::new(&(path / index), input, output, step),
        _ => Layer::new(&(path / index), output, output, 1),
    };
    (0..count).map(layer).collect()
}

/// A convolution, an instance norm, and a leaky ReLU ([`Layer::forward_linear`] omits it).
struct Layer {
    convolution: Conv2d,
    /// A group norm with one group per channel is an instance norm.
    norm: GroupNorm,
}

impl Layer {
    fn new(path: &Path, input: i64, output: i64, step: i64) -> Result<Self, ModelError> {
        let options = ConvOptions::default().stride(step).padding(KERNEL / 2);
        Self::with(path, input, output, KERNEL, options, 1.0)
    }

    /// With the initial value `start` of the norm's weight.
    fn with(
        path: &Path,
        input: i64,
        output: i64,
        kernel: i64,
        options: ConvOptions,
        start: f64,
    ) -> Result<Self, ModelError> {
        let (conv, norm) = (path / "conv", path / "norm");
        let layer = Layer {
            convolution: Conv2d::new(&conv, input, output, kernel, options)?,
            norm: GroupNorm::starting_at(&norm, output, output, EPS, start)?,
        };
        conv.alias(&(path / "all_modules" / 0));
        norm.alias(&(path / "all_modules" / 1));
        Ok(layer)
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.forward_linear(x)?.f_leaky_relu_()?)
    }

    fn forward_linear(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        self.norm.forward(&self.convolution.forward(x)?)
    }
}

/// A residual block of two layers. The shortcut is pooled if the size changes and projected if the number of channels
/// changes (ResNet-D).
struct Residual {
    first: Layer,
    second: Layer,
    pools: bool,
    projection: Option<Layer>,
}

impl Residual {
    fn new(path: &Path, input: i64, output: i64, step: i64) -> Result<Self, ModelError> {
        let first = Layer::new(&(path / "conv1"), input, output, step)?;
        // The initial output of the branch is zero.
        let options = ConvOptions::default().padding(KERNEL / 2);
        let second = Layer::with(&(path / "conv2"), output, output, KERNEL, options, 0.0)?;
        let pools = step > 1;
        let projection = if input == output {
            None
        } else {
            let place = path / "skip" / i64::from(pools);
            Some(Layer::with(&place, input, output, 1, ConvOptions::without_bias(), 1.0)?)
        };
        Ok(Residual { first, second, pools, projection })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, ModelError> {
        let mut shortcut = input.shallow_clone();
        if self.pools {
            shortcut = shortcut.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)?;
        }
        if let Some(projection) = &self.projection {
            shortcut = projection.forward_linear(&shortcut)?;
        }
        let mut x = self.second.forward_linear(&self.first.forward(input)?)?;
        Ok(x.f_add_(&shortcut)?.f_leaky_relu_()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_double_up_to_the_most() {
        assert_eq!(NnUnetOptions::default().channels(), [32, 64, 128, 256, 512, 512, 512, 512]);
        assert_eq!(NnUnetOptions { stages: 3, features: 8, max_features: 16 }.channels(), [8, 16, 16]);
        assert_eq!([0, 1, 2, 3, 7].map(residual_blocks), [1, 3, 4, 6, 6]);
        let wrong = NnUnetOptions { stages: 1, features: 600, ..NnUnetOptions::default() }.violations();
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["stages", "max-features"]);
    }
}
