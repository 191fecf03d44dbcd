//! MobileNetV2: inverted residuals with linear bottlenecks.
//! M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, MobileNetV2: inverted residuals and linear bottlenecks,
//! CVPR 2018.

use tch::Tensor;

use super::{Encoder, numbered};
use crate::models::layers::{
    Activation, BlockKind, ConvNormAct, ConvShape, InvertedResidual, InvertedResidualShape, MobileStyle, Naming, Scheme,
};
use crate::models::{ModelConfig, ModelError, Path, Segments};

/// Expansion, output channels and stride of each group of blocks.
const GROUPS: [(i64, i64, i64); 7] =
    [(1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1)];
const STEM: i64 = 32;
const LAST: i64 = 1280;
/// Blocks of each group.
pub const REPEATS: [usize; 7] = [1, 2, 3, 4, 3, 3, 1];
/// Blocks whose outputs are the features at strides 2 to 16; the feature at stride 32 is the output of the last layer.
const TAPS: [usize; 4] = [0, 2, 5, 12];

const STYLE: MobileStyle =
    MobileStyle { eps: 1e-5, momentum: 0.1, same: false, squeeze: Activation::Relu, gate: Activation::Sigmoid };

/// See [`super::stages`]. Layer 0 is the stem, so block i is layer i + 1.
pub fn stages() -> Vec<Vec<String>> {
    let last = REPEATS.iter().sum::<usize>() + 1;
    let mut stages = vec![Vec::new()];
    stages.extend(numbered("features", TAPS.map(|block| block + 1).into_iter().chain([last])));
    stages
}

/// The backbone without its classifier (SMP's `MobileNetV2Encoder`).
pub struct MobileNetV2 {
    stem: ConvNormAct,
    blocks: Vec<InvertedResidual>,
    last: ConvNormAct,
    channels: Vec<i64>,
    depth: usize,
    stride: i64,
}

impl MobileNetV2 {
    /// Builds the backbone with `config.depth` stages in use.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let output_stride = config.output_stride();
        let path = path.with_scheme(Scheme::HeFanOut) / "features";
        let layer = |path: &Path, shape| ConvNormAct::new(path, ["0", "1"], shape, Activation::Relu6, &STYLE);
        // For images that are not RGB, segmentation_models_pytorch replaces the first layer, which changes its initial
        // distribution.
        let stem_scheme = if config.in_channels == 3 { Scheme::HeFanOut } else { Scheme::Torch };
        let stem = ConvShape { kernel: 3, stride: 2, ..ConvShape::point(config.in_channels, STEM) };
        let stem = layer(&(&path / 0).with_scheme(stem_scheme), stem)?;
        let mut blocks = Vec::new();
        let mut input = STEM;
        for ((expansion, output, stride), repeats) in GROUPS.into_iter().zip(REPEATS) {
            for repeat in 0..repeats {
                let index = blocks.len();
                // The stride of the next feature; if it exceeds the output stride, the block is dilated instead.
                let target = 2 << TAPS.iter().position(|tap| index <= *tap).unwrap_or(TAPS.len());
                let dilation = std::cmp::max(1, target / output_stride);
                let shape = InvertedResidualShape {
                    kind: BlockKind::Inverted,
                    input,
                    wide: input * expansion,
                    output,
                    kernel: 3,
                    stride: if repeat == 0 && dilation == 1 { stride } else { 1 },
                    dilation,
                    squeezed: None,
                    activation: Activation::Relu6,
                };
                let place = &path / (index + 1);
                blocks.push(InvertedResidual::new(&place, Naming::TorchvisionV2, &shape, &STYLE, 0.0)?);
                input = output;
            }
        }
        let last = layer(&(&path / (blocks.len() + 1)), ConvShape::point(input, LAST))?;
        let depth = config.depth() as usize;
        let mut channels = vec![config.in_channels, 16, 24, 32, 96, LAST];
        channels.truncate(depth + 1);
        let stride = std::cmp::min(output_stride, 1 << depth);
        Ok(MobileNetV2 { stem, blocks, last, channels, depth, stride })
    }
}

impl Encoder for MobileNetV2 {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        self.stride
    }

    fn forward_in<'a>(
        &'a self,
        x: &Tensor,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let mut features = vec![x.shallow_clone()];
        let mut x = segments.run(x, move |x| self.stem.forward(x, train))?; // [B, 32, H/2, W/2]
        for (index, block) in self.blocks.iter().enumerate() {
            if features.len() > self.depth {
                return Ok(features);
            }
            x = segments.run(&x, move |x| block.forward(x, train))?; // [B, 16 .. 320, H/2 .. H/32, ..]
            if TAPS.contains(&index) {
                features.push(x.shallow_clone());
            }
        }
        features.push(segments.run(&x, move |x| self.last.forward(x, train))?); // [B, 1280, H/32, W/32]
        Ok(features)
    }
}
