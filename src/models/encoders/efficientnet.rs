//! EfficientNet: inverted bottlenecks with squeeze and excitation; width, depth and resolution are scaled together.
//! M. Tan, Q. V. Le, EfficientNet: rethinking model scaling for convolutional neural networks, ICML 2019.

use tch::Tensor;

use super::{Encoder, numbered, stage};
use crate::models::layers::{Activation, Conv2d, ConvOptions, Norm2d, conv_norm, drop_path, gated};
use crate::models::scale::rounded_channels;
use crate::models::{EncoderKind, ModelConfig, ModelError, Path, Segments};

const EPS: f64 = 1e-3;
const MOMENTUM: f64 = 1.0 - 0.99;
const DROP_PATH: f64 = 0.2;

/// One stage of B0: repeats, kernel, stride, expansion, input and output channels.
struct Stage(i64, i64, i64, i64, i64, i64);

const STAGES: [Stage; 7] = [
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
];

/// The stages (by index) that end at strides 4, 8, 16 and 32.
const LAST_OF_STRIDE: [usize; 4] = [1, 2, 4, 6];

/// Factor of the width, factor of the depth, and the image size for which the paddings are computed.
fn scaling(kind: EncoderKind) -> (f64, f64, i64) {
    use EncoderKind::*;
    match kind {
        EfficientNetB1 => (1.0, 1.1, 240),
        EfficientNetB2 => (1.1, 1.2, 260),
        EfficientNetB3 => (1.2, 1.4, 300),
        EfficientNetB4 => (1.4, 1.8, 380),
        EfficientNetB5 => (1.6, 2.2, 456),
        EfficientNetB6 => (1.8, 2.6, 528),
        EfficientNetB7 => (2.0, 3.1, 600),
        _ => (1.0, 1.0, 224),
    }
}

/// Blocks in each stage if the depth is `factor` times that of the published encoder.
fn scaled_repeats(kind: EncoderKind, factor: f64) -> [usize; 7] {
    let depth = scaling(kind).1 * factor;
    STAGES.map(|stage| (depth * stage.0 as f64).ceil() as usize)
}

/// Blocks in each stage of the published encoder.
pub fn repeats(kind: EncoderKind) -> [usize; 7] {
    scaled_repeats(kind, 1.0)
}

/// Indices of the blocks whose outputs are the features at strides 4, 8, 16 and 32; `factor` as in [`scaled_repeats`].
fn taps(kind: EncoderKind, factor: f64) -> [usize; 4] {
    let repeats = scaled_repeats(kind, factor);
    let mut taps = LAST_OF_STRIDE.map(|last| repeats[..=last].iter().sum::<usize>() - 1);
    if kind == EncoderKind::EfficientNetB0 && factor == 1.0 {
        // For B0, segmentation_models_pytorch takes the feature at stride 16 two blocks earlier; its checkpoints are
        // trained with that.
        taps[2] -= 2;
    }
    taps
}

/// See [`super::stages`].
pub fn stages(kind: EncoderKind, config: &ModelConfig) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(), stage(["_conv_stem.", "_bn0."])];
    stages.extend(numbered("_blocks", taps(kind, config.encoder_scale.unwrap_or_default().depth)));
    // These never run, and come after all blocks.
    stages[5].extend(stage(["_conv_head.", "_bn1."]));
    stages
}

/// The number of channels times `width`, rounded by [`rounded_channels`].
fn scaled_channels(channels: i64, width: f64) -> i64 {
    rounded_channels(channels as f64 * width)
}

/// The backbone (SMP's `EfficientNetEncoder`). The classifier's last convolution and norm exist only for their names in
/// the state dict and never run.
pub struct EfficientNet {
    stem: SameConv,
    stem_norm: Norm2d,
    blocks: Vec<Block>,
    /// See [`taps`].
    taps: [usize; 4],
    channels: Vec<i64>,
    depth: usize,
    stride: i64,
}

impl EfficientNet {
    /// Builds the backbone `kind` with `config.depth` stages in use.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let (width, _, mut size) = scaling(kind);
        let reduced = config.encoder_scale.unwrap_or_default();
        let width = width * reduced.width;
        let rate = config.drop_path.unwrap_or(DROP_PATH);
        let output_stride = config.output_stride();
        let repeats = scaled_repeats(kind, reduced.depth);
        let total: usize = repeats.iter().sum();
        let taps = taps(kind, reduced.depth);

        let stem_channels = scaled_channels(32, width);
        let options = ConvOptions::without_bias().stride(2);
        let stem = SameConv::new(&(path / "_conv_stem"), config.in_channels, stem_channels, 3, options, size)?;
        let stem_norm = Norm2d::with(&(path / "_bn0"), stem_channels, EPS, MOMENTUM)?;
        size = (size + 1) / 2;

        let mut channels = vec![config.in_channels, stem_channels];
        let mut blocks = Vec::new();
        for (index, stage) in STAGES.iter().enumerate() {
            let &Stage(_, kernel, step, expansion, input, output) = stage;
            let (input, output) = (scaled_channels(input, width), scaled_channels(output, width));
            for repeat in 0..repeats[index] {
                // The stride of the next feature; if it exceeds the output stride, the block is dilated instead.
                let target = 4 << taps.iter().position(|tap| blocks.len() <= *tap).expect("the last block is a tap");
                let dilation = (target > output_stride).then(|| target / output_stride);
                let shape = InvertedResidualShape {
                    input: if repeat == 0 { input } else { output },
                    output,
                    kernel,
                    stride: if repeat == 0 { step } else { 1 },
                    expansion,
                    dilation,
                    size,
                };
                let drop_rate = rate * blocks.len() as f64 / total as f64;
                blocks.push(Block::new(&(path / "_blocks" / blocks.len()), &shape, drop_rate)?);
                if repeat == 0 {
                    size = (size + step - 1) / step;
                }
            }
            if LAST_OF_STRIDE.contains(&index) {
                channels.push(output);
            }
        }
        let head_channels = scaled_channels(1280, width);
        let last = scaled_channels(320, width);
        Conv2d::new(&(path / "_conv_head"), last, head_channels, 1, ConvOptions::without_bias())?;
        Norm2d::with(&(path / "_bn1"), head_channels, EPS, MOMENTUM)?;
        let depth = config.depth() as usize;
        channels.truncate(depth + 1);
        Ok(EfficientNet {
            stem,
            stem_norm,
            blocks,
            taps,
            channels,
            depth,
            stride: std::cmp::min(output_stride, 1 << depth),
        })
    }
}

impl Encoder for EfficientNet {
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
        let stem = move |x: &Tensor| {
            Ok(Activation::Silu.forward(self.stem.forward_norm(&self.stem_norm, x, train)?)?) // [B, 32w, H/2, W/2]
        };
        let mut x = segments.run(x, stem)?;
        features.push(x.shallow_clone());
        for (index, block) in self.blocks.iter().enumerate() {
            if features.len() > self.depth {
                break;
            }
            x = segments.run(&x, move |x| block.forward(x, train))?; // [B, C, H/2 .. H/32, ..]
            if self.taps.contains(&index) {
                features.push(x.shallow_clone());
            }
        }
        Ok(features)
    }
}

/// A convolution whose padding makes the output's size the input's size divided by the stride, by TensorFlow's rule,
/// which pads more at the bottom and right if the total is odd. segmentation_models_pytorch
/// computes the padding for the image size with which the variant was published.
struct SameConv {
    convolution: Conv2d,
    /// Number of zeros at the left (= top) and right (= bottom) if they differ; equal padding is done by the
    /// convolution.
    uneven: Option<(i64, i64)>,
}

impl SameConv {
    fn new(
        path: &Path,
        input: i64,
        output: i64,
        kernel: i64,
        options: ConvOptions,
        size: i64,
    ) -> Result<Self, ModelError> {
        let steps = (size + options.stride - 1) / options.stride;
        let padding = std::cmp::max((steps - 1) * options.stride + kernel - size, 0);
        let (before, after) = (padding / 2, padding - padding / 2);
        let even = before == after;
        let options = if even { options.padding(before) } else { options };
        let convolution = Conv2d::new(path, input, output, kernel, options)?;
        Ok(SameConv { convolution, uneven: (!even).then_some((before, after)) })
    }

    /// The convolution and the norm after it.
    fn forward_norm(&self, norm: &Norm2d, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        match self.uneven {
            Some((before, after)) => {
                conv_norm(&self.convolution, norm, &x.f_constant_pad_nd([before, after, before, after])?, train)
            }
            None => conv_norm(&self.convolution, norm, x, train),
        }
    }
}

struct InvertedResidualShape {
    input: i64,
    output: i64,
    kernel: i64,
    stride: i64,
    expansion: i64,
    /// Replaces the stride beyond the output stride.
    dilation: Option<i64>,
    /// Image size at the block's input that the padding is computed for.
    size: i64,
}

/// Inverted bottleneck: 1x1 expansion, depthwise convolution, squeeze and excitation, 1x1 projection.
struct Block {
    expand: Option<(Conv2d, Norm2d)>,
    depthwise: SameConv,
    depthwise_norm: Norm2d,
    squeeze: Conv2d,
    excite: Conv2d,
    project: Conv2d,
    project_norm: Norm2d,
    skips: bool,
    drop_rate: f64,
}

impl Block {
    fn new(path: &Path, shape: &InvertedResidualShape, drop_rate: f64) -> Result<Self, ModelError> {
        let &InvertedResidualShape { input, output, kernel, stride, expansion, dilation, size } = shape;
        let wide = input * expansion;
        let plain = ConvOptions::without_bias();
        let norm = |name: &str, channels| Norm2d::with(&(path / name), channels, EPS, MOMENTUM);
        let expand = if expansion == 1 {
            None
        } else {
            Some((Conv2d::new(&(path / "_expand_conv"), input, wide, 1, plain)?, norm("_bn0", wide)?))
        };
        let place = path / "_depthwise_conv";
        let depthwise = match dilation {
            None => SameConv::new(&place, wide, wide, kernel, plain.groups(wide).stride(stride), size)?,
            Some(rate) => {
                let options = plain.groups(wide).dilation(rate).padding(kernel / 2 * rate);
                SameConv { convolution: Conv2d::new(&place, wide, wide, kernel, options)?, uneven: None }
            }
        };
        let squeezed = std::cmp::max(1, input / 4);
        Ok(Block {
            expand,
            depthwise,
            depthwise_norm: norm("_bn1", wide)?,
            squeeze: Conv2d::new(&(path / "_se_reduce"), wide, squeezed, 1, ConvOptions::default())?,
            excite: Conv2d::new(&(path / "_se_expand"), squeezed, wide, 1, ConvOptions::default())?,
            project: Conv2d::new(&(path / "_project_conv"), wide, output, 1, plain)?,
            project_norm: norm("_bn2", output)?,
            skips: stride == 1 && input == output,
            drop_rate,
        })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut x = input.shallow_clone();
        if let Some((expand, norm)) = &self.expand {
            x = Activation::Silu.forward(conv_norm(expand, norm, &x, train)?)?; // [B, expanded, h, w]
        }
        x = Activation::Silu.forward(self.depthwise.forward_norm(&self.depthwise_norm, &x, train)?)?; // [B, expanded, h/s, w/s]
        let pooled = x.f_adaptive_avg_pool2d([1, 1])?; // [B, expanded, 1, 1]
        let gate = self.excite.forward(&Activation::Silu.forward(self.squeeze.forward(&pooled)?)?)?.f_sigmoid()?;
        x = gated(x, &gate)?; // [B, expanded, h/s, w/s]
        x = conv_norm(&self.project, &self.project_norm, &x, train)?; // [B, output, h/s, w/s]
        if self.skips { Ok(drop_path(x, self.drop_rate, train)?.f_add_(input)?) } else { Ok(x) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_scale_as_published() {
        assert_eq!(scaled_channels(32, 1.0), 32);
        assert_eq!(scaled_channels(320, 1.2), 384);
        assert_eq!(scaled_channels(40, 1.1), 48);
        assert_eq!(scaled_channels(1280, 2.0), 2560);
    }
}
