//! ResNet and ResNeXt.
//! K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR 2016.
//! S. Xie et al., Aggregated residual transformations for deep neural networks, CVPR 2017.

use tch::Tensor;

use super::Encoder;
use crate::models::layers::{Conv2d, ConvOptions, Norm2d, Scheme, conv_norm};
use crate::models::{EncoderKind, ModelConfig, ModelError, Path};

/// Blocks a stage, and what a block is.
struct Variant {
    blocks: [i64; 4],
    /// Three convolutions with a narrow one between, at four times the output width, instead of two.
    bottleneck: bool,
    groups: i64,
    width_per_group: i64,
}

fn variant(kind: EncoderKind) -> Variant {
    use EncoderKind::*;
    let plain = |blocks, bottleneck| Variant { blocks, bottleneck, groups: 1, width_per_group: 64 };
    match kind {
        ResNet18 => plain([2, 2, 2, 2], false),
        ResNet50 => plain([3, 4, 6, 3], true),
        ResNet101 => plain([3, 4, 23, 3], true),
        ResNeXt101x32x8d => Variant { blocks: [3, 4, 23, 3], bottleneck: true, groups: 32, width_per_group: 8 },
        _ => plain([3, 4, 6, 3], false),
    }
}

/// The backbone without its classifier.
pub struct ResNet {
    stem: Conv2d,
    stem_norm: Norm2d,
    stages: Vec<Vec<Block>>,
    channels: Vec<i64>,
    depth: usize,
    stride: i64,
}

impl ResNet {
    /// The backbone `kind` with `config.depth` stages in use.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let variant = variant(kind);
        let expansion = if variant.bottleneck { 4 } else { 1 };
        // The reference replaces the first layer when the image is not RGB, and with it its distribution.
        let stem_scheme = if config.in_channels == 3 { Scheme::HeFanOut } else { Scheme::Torch };
        let path = path.with_scheme(Scheme::HeFanOut);
        let options = ConvOptions::without_bias().stride(2).padding(3);
        let stem = Conv2d::new(&(&path / "conv1").with_scheme(stem_scheme), config.in_channels, 64, 7, options)?;
        let stem_norm = Norm2d::new(&(&path / "bn1"), 64)?;
        let output_stride = config.architecture.output_stride();
        let mut channels = vec![config.in_channels, 64];
        let mut input = 64;
        let mut stages = Vec::new();
        for (index, blocks) in variant.blocks.into_iter().enumerate() {
            let planes = 64 << index;
            let stride = 4 << index;
            let dilation = (stride > output_stride).then(|| stride / output_stride);
            let mut stage = Vec::new();
            for block in 0..blocks {
                let shape = BlockShape {
                    input,
                    inner: if variant.bottleneck {
                        planes * variant.width_per_group / 64 * variant.groups
                    } else {
                        planes
                    },
                    output: planes * expansion,
                    stride: if block == 0 && index > 0 { 2 } else { 1 },
                    dilation,
                    groups: variant.groups,
                };
                stage.push(Block::new(&(&path / format!("layer{}", index + 1) / block), &shape, variant.bottleneck)?);
                input = planes * expansion;
            }
            stages.push(stage);
            channels.push(input);
        }
        let depth = config.depth as usize;
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

    fn forward(&self, x: &Tensor, train: bool) -> Result<Vec<Tensor>, ModelError> {
        let stem = conv_norm(&self.stem, &self.stem_norm, x, train)?.f_relu_()?; // [B, 64, H/2, W/2]
        let mut features = vec![x.shallow_clone(), stem.shallow_clone()];
        let mut x = stem.f_max_pool2d([3, 3], [2, 2], [1, 1], [1, 1], false)?;
        for stage in self.stages.iter().take(self.depth - 1) {
            x = stage.iter().try_fold(x, |x, block| block.forward(&x, train))?;
            features.push(x.shallow_clone());
        }
        Ok(features)
    }
}

struct BlockShape {
    input: i64,
    inner: i64,
    output: i64,
    stride: i64,
    /// Replaces the stride where the decoder wants a finer output.
    dilation: Option<i64>,
    groups: i64,
}

/// Convolutions with norms, added to the input or its projection.
struct Block {
    layers: Vec<(Conv2d, Norm2d)>,
    projection: Option<(Conv2d, Norm2d)>,
}

impl Block {
    fn new(path: &Path, shape: &BlockShape, bottleneck: bool) -> Result<Self, ModelError> {
        let &BlockShape { input, inner, output, stride, dilation, groups } = shape;
        let plain = ConvOptions::without_bias();
        let step = if dilation.is_some() { 1 } else { stride };
        let rate = dilation.unwrap_or(1);
        let wide = |step| plain.stride(step).padding(rate).dilation(rate);
        let kernels = if bottleneck {
            vec![(input, inner, 1, plain), (inner, inner, 3, wide(step).groups(groups)), (inner, output, 1, plain)]
        } else {
            vec![(input, inner, 3, wide(step)), (inner, output, 3, wide(1))]
        };
        let mut layers = Vec::new();
        for (index, (from, to, kernel, options)) in kernels.into_iter().enumerate() {
            let convolution = Conv2d::new(&(path / format!("conv{}", index + 1)), from, to, kernel, options)?;
            layers.push((convolution, Norm2d::new(&(path / format!("bn{}", index + 1)), to)?));
        }
        let projection = if stride != 1 || input != output {
            let place = path / "downsample";
            let convolution = Conv2d::new(&(&place / 0), input, output, 1, plain.stride(step))?;
            Some((convolution, Norm2d::new(&(&place / 1), output)?))
        } else {
            None
        };
        Ok(Block { layers, projection })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut x = input.shallow_clone();
        for (index, (convolution, norm)) in self.layers.iter().enumerate() {
            x = conv_norm(convolution, norm, &x, train)?;
            if index + 1 < self.layers.len() {
                x = x.f_relu_()?;
            }
        }
        let shortcut = match &self.projection {
            Some((convolution, norm)) => conv_norm(convolution, norm, input, train)?,
            None => input.shallow_clone(),
        };
        Ok(x.f_add_(&shortcut)?.f_relu_()?)
    }
}
