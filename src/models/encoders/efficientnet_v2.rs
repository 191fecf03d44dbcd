//! EfficientNetV2: full convolutions at high resolution, inverted residuals at low resolution.
//! M. Tan, Q. V. Le, EfficientNetV2: smaller models and faster training, ICML 2021.
//! These are timm's `tf_` variants, which pad as TensorFlow does, as the published weights need.

use super::mobile_trunk::{self, MobileTrunk};
use crate::models::layers::{Activation, BlockKind, InvertedResidualShape, MobileStyle};
use crate::models::{EncoderKind, ModelConfig, ModelError, Path};

const STYLE: MobileStyle =
    MobileStyle { eps: 1e-3, momentum: 0.1, same: true, squeeze: Activation::Silu, gate: Activation::Sigmoid };

/// One stage: the kind of its blocks, repeats, stride, expansion, output channels.
struct Stage(BlockKind, usize, i64, i64, i64);

/// Channels of the stem, and the stages of blocks.
fn variant(kind: EncoderKind) -> (i64, Vec<Stage>) {
    use BlockKind::*;
    match kind {
        EncoderKind::EfficientNetV2L => (
            32,
            vec![
                Stage(Plain, 4, 1, 1, 32),
                Stage(Fused, 7, 2, 4, 64),
                Stage(Fused, 7, 2, 4, 96),
                Stage(Inverted, 10, 2, 4, 192),
                Stage(Inverted, 19, 1, 6, 224),
                Stage(Inverted, 25, 2, 6, 384),
                Stage(Inverted, 7, 1, 6, 640),
            ],
        ),
        EncoderKind::EfficientNetV2M => (
            24,
            vec![
                Stage(Plain, 3, 1, 1, 24),
                Stage(Fused, 5, 2, 4, 48),
                Stage(Fused, 5, 2, 4, 80),
                Stage(Inverted, 7, 2, 4, 160),
                Stage(Inverted, 14, 1, 6, 176),
                Stage(Inverted, 18, 2, 6, 304),
                Stage(Inverted, 5, 1, 6, 512),
            ],
        ),
        _ => (
            24,
            vec![
                Stage(Plain, 2, 1, 1, 24),
                Stage(Fused, 4, 2, 4, 48),
                Stage(Fused, 4, 2, 4, 64),
                Stage(Inverted, 6, 2, 4, 128),
                Stage(Inverted, 9, 1, 6, 160),
                Stage(Inverted, 15, 2, 6, 256),
            ],
        ),
    }
}

/// The blocks of each stage.
fn trunk(kind: EncoderKind) -> Vec<Vec<InvertedResidualShape>> {
    let (mut input, stages) = variant(kind);
    let mut shapes = Vec::new();
    for Stage(kind, repeats, stride, expansion, output) in stages {
        let mut blocks = Vec::new();
        for repeat in 0..repeats {
            blocks.push(InvertedResidualShape {
                kind,
                input,
                wide: input * expansion,
                output,
                kernel: 3,
                stride: if repeat == 0 { stride } else { 1 },
                dilation: 1,
                squeezed: (kind == BlockKind::Inverted).then_some(input / 4),
                activation: Activation::Silu,
            });
            input = output;
        }
        shapes.push(blocks);
    }
    shapes
}

/// Builds the backbone `kind` with `config.depth` stages in use.
pub fn build(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<MobileTrunk, ModelError> {
    MobileTrunk::new(path, &trunk(kind), Activation::Silu, &STYLE, config)
}

/// See [`super::stages`].
pub fn stages(kind: EncoderKind) -> Vec<Vec<String>> {
    mobile_trunk::stages(&trunk(kind))
}
