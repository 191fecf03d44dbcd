//! ResNet and ResNeXt.
//! K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016.
//! S. Xie et al., Aggregated residual transformations for deep neural networks, CVPR 2017.

use tch::Tensor;

use super::residual::{ResidualBlock, ResidualKind, ResidualShape};
use super::{Encoder, stage};
use crate::models::layers::{Conv2d, ConvOptions, Norm2d, Scheme, conv_norm};
use crate::models::{Architecture, EncoderKind, ModelConfig, ModelError, NetworkKind, Path, Segments};

/// Blocks per stage, and the shape of a block.
struct Variant {
    blocks: [usize; 4],
    /// A bottleneck has a narrow convolution in the middle and four times the output width.
    kind: ResidualKind,
    groups: i64,
    width_per_group: i64,
}

fn variant(kind: EncoderKind) -> Variant {
    use EncoderKind::*;
    let plain = |blocks, kind| Variant { blocks, kind, groups: 1, width_per_group: 64 };
    match kind {
        ResNet18 => plain([2, 2, 2, 2], ResidualKind::Basic),
        ResNet50 => plain([3, 4, 6, 3], ResidualKind::Bottleneck),
        ResNet101 => plain([3, 4, 23, 3], ResidualKind::Bottleneck),
        ResNeXt101x32x8d => {
            Variant { blocks: [3, 4, 23, 3], kind: ResidualKind::Bottleneck, groups: 32, width_per_group: 8 }
        }
        _ => plain([3, 4, 6, 3], ResidualKind::Basic),
    }
}

/// See [`super::stages`].
pub fn stages() -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(), stage(["conv1.", "bn1."])];
    stages.extend((1..=4).map(|layer| vec![format!("layer{layer}.")]));
    stages
}

/// The backbone without its classifier (SMP's `ResNetEncoder`).
pub struct ResNet {
    stem: Conv2d,
    stem_norm: Norm2d,
    stages: Vec<Vec<ResidualBlock>>,
    channels: Vec<i64>,
    depth: usize,
    stride: i64,
}

impl ResNet {
    /// Builds the backbone `kind` with `config.depth` stages in use.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let variant = variant(kind);
        let is_bottleneck = variant.kind == ResidualKind::Bottleneck;
        let expansion = if is_bottleneck { 4 } else { 1 };
        // For images that are not RGB, segmentation_models_pytorch replaces the first layer, which changes its initial
        // distribution.
        let stem_scheme = if config.in_channels == 3 { Scheme::HeFanOut } else { Scheme::Torch };
        let path = path.with_scheme(Scheme::HeFanOut);
        let options = ConvOptions::without_bias().stride(2).padding(3);
        let scale = config.encoder_scale.unwrap_or_default();
        let mut input = scale.channels(64);
        let stem = Conv2d::new(&(&path / "conv1").with_scheme(stem_scheme), config.in_channels, input, 7, options)?;
        let stem_norm = Norm2d::new(&(&path / "bn1"), input)?;
        let output_stride = config.output_stride();
        // SMP dilates whole stages; in torchvision the first block of a stage has the dilation of the stage before.
        let gradual = config.architecture == Architecture::Network(NetworkKind::TorchvisionFcn);
        let mut channels = vec![config.in_channels, input];
        let mut stages = Vec::new();
        for (index, blocks) in variant.blocks.into_iter().enumerate() {
            let planes = scale.channels(64 << index);
            let stride = 4 << index;
            let dilation = (stride > output_stride).then(|| stride / output_stride);
            let mut stage = Vec::new();
            for block in 0..scale.blocks(blocks) {
                let shape = ResidualShape {
                    input,
                    inner: if is_bottleneck { planes * variant.width_per_group / 64 * variant.groups } else { planes },
                    output: planes * expansion,
                    stride: if block == 0 && index > 0 { 2 } else { 1 },
                    dilation: if block == 0 && gradual { dilation.map(|rate| rate / 2) } else { dilation },
                    groups: variant.groups,
                };
                stage.push(ResidualBlock::new(&(&path / format!("layer{}", index + 1) / block), variant.kind, &shape)?);
                input = planes * expansion;
            }
            stages.push(stage);
            channels.push(input);
        }
        let depth = config.depth() as usize;
        channels.truncate(depth + 1);
        Ok(ResNet { stem, stem_norm, stages, channels, depth, stride: std::cmp::min(output_stride, 1 << depth) })
    }
}

impl Encoder for ResNet {
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
        let stem = move |x: &Tensor| Ok(conv_norm(&self.stem, &self.stem_norm, x, train)?.f_relu_()?);
        let stem = segments.run(x, stem)?; // [B, 64, H/2, W/2]
        let mut features = vec![x.shallow_clone(), stem.shallow_clone()];
        let pool = |x: &Tensor| Ok(x.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?);
        let mut x = segments.run(&stem, pool)?; // [B, 64, H/4, W/4]
        for stage in self.stages.iter().take(self.depth - 1) {
            for block in stage {
                x = segments.run(&x, move |x| block.forward(x, train))?; // [B, C, H/4 .. H/32, ..]
            }
            features.push(x.shallow_clone());
        }
        Ok(features)
    }
}
