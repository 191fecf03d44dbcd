//! ConvNeXt and ConvNeXtV2: a convolutional network with the proportions of a transformer.
//! Z. Liu et al., A ConvNet for the 2020s, CVPR 2022.
//! S. Woo et al., ConvNeXt V2: co-designing and scaling ConvNets with masked autoencoders, CVPR 2023.

use tch::Tensor;

use super::{Encoder, stage};
use crate::models::layers::{Conv2d, ConvOptions, LayerNorm, Linear, Scheme, drop_path};
use crate::models::parameters::Fill;
use crate::models::{EncoderKind, ModelConfig, ModelError, Path, Segments};

const PATCH: i64 = 4;
const KERNEL: i64 = 7;
const MLP_RATIO: i64 = 4;
/// Initial value of the layer scale of the first version.
const LAYER_SCALE: f64 = 1e-6;
const EPS: f64 = 1e-6;
/// timm's default is no stochastic depth.
const DROP_PATH: f64 = 0.0;

struct Variant {
    blocks: [usize; 4],
    widths: [i64; 4],
    /// The second version: global response norm in the MLP instead of layer scale after it.
    response_norm: bool,
}

fn variant(kind: EncoderKind) -> Variant {
    use EncoderKind::*;
    let response_norm = matches!(kind, ConvNeXtV2Tiny | ConvNeXtV2Base | ConvNeXtV2Large);
    let blocks = if matches!(kind, ConvNeXtTiny | ConvNeXtV2Tiny) { [3, 3, 9, 3] } else { [3, 3, 27, 3] };
    let narrowest = match kind {
        ConvNeXtBase | ConvNeXtV2Base => 128,
        ConvNeXtV2Large => 192,
        _ => 96,
    };
    Variant { blocks, widths: [1, 2, 4, 8].map(|factor| factor * narrowest), response_norm }
}

/// See [`super::stages`].
pub fn stages(config: &ModelConfig) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(); 2];
    stages.extend((0..config.depth() - 1).map(|index| vec![format!("stages_{index}.")]));
    stages[2].extend(stage(["stem_0.", "stem_1."]));
    stages
}

/// The backbone (timm's `ConvNeXt`). There is no feature at stride 2: it has zero channels. Features have the shape
/// `[B, C, h, w]` and the channels-last memory format in which the blocks work.
pub struct ConvNeXt {
    stem: Conv2d,
    stem_norm: LayerNorm,
    stages: Vec<Stage>,
    channels: Vec<i64>,
    stride: i64,
}

impl ConvNeXt {
    /// Builds the backbone `kind` with the `config.depth - 1` stages in use; timm omits the others.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let variant = variant(kind);
        let output_stride = config.output_stride();
        let total: usize = variant.blocks.iter().sum();
        let last_rate = config.drop_path.unwrap_or(DROP_PATH);
        let path = path.with_scheme(Scheme::Truncated) / "model";
        let mut width = variant.widths[0];
        let options = ConvOptions::default().stride(PATCH);
        let stem = Conv2d::new(&(&path / "stem_0"), config.in_channels, width, PATCH, options)?;
        let stem_norm = LayerNorm::new(&(&path / "stem_1"), width, EPS)?;
        let mut stages = Vec::new();
        let mut channels = vec![config.in_channels, 0];
        let mut done = 0;
        for (index, output) in variant.widths.into_iter().take(config.depth() as usize - 1).enumerate() {
            let place = &path / format!("stages_{index}");
            // Stages beyond the output stride are dilated instead of strided.
            let dilation = std::cmp::max((PATCH << index) / output_stride, 1);
            let downsample = (index > 0).then(|| Downsample::new(&(&place / "downsample"), width, output, dilation));
            let mut blocks = Vec::new();
            for block in 0..variant.blocks[index] {
                let rate = last_rate * done as f64 / (total - 1) as f64;
                blocks.push(Block::new(&(&place / "blocks" / block), output, dilation, variant.response_norm, rate)?);
                done += 1;
            }
            stages.push(Stage { downsample: downsample.transpose()?, blocks });
            channels.push(output);
            width = output;
        }
        Ok(ConvNeXt { stem, stem_norm, stages, channels, stride: std::cmp::min(output_stride, 1 << config.depth()) })
    }
}

impl Encoder for ConvNeXt {
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
        let size = x.size();
        let missing = Tensor::f_empty([size[0], 0, size[2] / 2, size[3] / 2], (x.kind(), x.device()))?;
        let mut features = vec![x.shallow_clone(), missing];
        let mut x = segments.run(x, move |x| self.stem_norm.forward_map(&self.stem.forward(x)?))?; // [B, C, H/4, W/4]
        for stage in &self.stages {
            if let Some(downsample) = &stage.downsample {
                x = segments.run(&x, move |x| downsample.forward(x))?;
            }
            for block in &stage.blocks {
                x = segments.run(&x, move |x| block.forward(x, train))?; // [B, C .. 8 C, H/4 .. H/32, ..]
            }
            features.push(x.shallow_clone());
        }
        Ok(features)
    }
}

struct Stage {
    downsample: Option<Downsample>,
    blocks: Vec<Block>,
}

/// A norm and a 2x2 convolution that halves the size, or keeps it if the stage is dilated.
struct Downsample {
    norm: LayerNorm,
    convolution: Conv2d,
    /// Whether a row and a column of zeros are added at the end, so that the even kernel keeps the size.
    pads_end: bool,
}

impl Downsample {
    fn new(path: &Path, input: i64, output: i64, dilation: i64) -> Result<Self, ModelError> {
        let plain = ConvOptions::default();
        let options = match dilation {
            1 => plain.stride(2),
            2 => plain,
            _ => plain.dilation(2).padding(1),
        };
        Ok(Downsample {
            norm: LayerNorm::new(&(path / 0), input, EPS)?,
            convolution: Conv2d::new(&(path / 1), input, output, 2, options)?,
            pads_end: dilation == 2,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let mut x = self.norm.forward_map(x)?;
        if self.pads_end {
            x = x.f_constant_pad_nd([0, 1, 0, 1])?;
        }
        Ok(self.convolution.forward(&x)?)
    }
}

/// A residual block: a depthwise 7x7 convolution, then an MLP at each pixel.
struct Block {
    /// Layer scale, `[C]`.
    scale: Option<Tensor>,
    depthwise: Conv2d,
    norm: LayerNorm,
    widen: Linear,
    response: Option<ResponseNorm>,
    narrow: Linear,
    drop_rate: f64,
}

impl Block {
    fn new(path: &Path, width: i64, dilation: i64, response_norm: bool, drop_rate: f64) -> Result<Self, ModelError> {
        let wide = MLP_RATIO * width;
        let scale =
            (!response_norm).then(|| path.parameter("gamma", &[width], Fill::Constant(LAYER_SCALE))).transpose()?;
        let options = ConvOptions::default().groups(width).padding(KERNEL / 2 * dilation).dilation(dilation);
        let depthwise = Conv2d::new(&(path / "conv_dw"), width, width, KERNEL, options)?;
        let norm = LayerNorm::new(&(path / "norm"), width, EPS)?;
        let mlp = path / "mlp";
        let widen = Linear::new(&(&mlp / "fc1"), width, wide)?;
        let response = response_norm.then(|| ResponseNorm::new(&(&mlp / "grn"), wide)).transpose()?;
        let narrow = Linear::new(&(&mlp / "fc2"), wide, width)?;
        Ok(Block { scale, depthwise, norm, widen, response, narrow, drop_rate })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let y = self.depthwise.forward(x)?.f_permute([0, 2, 3, 1])?; // [B, h, w, C]
        let y = self.widen.forward(&self.norm.forward(&y)?)?.f_gelu("none")?; // [B, h, w, 4 C]
        let y = match &self.response {
            Some(response) => response.forward(&y)?,
            None => y,
        };
        let y = self.narrow.forward(&y)?.f_permute([0, 3, 1, 2])?; // [B, C, h, w]
        let mut y = drop_path(y, self.drop_rate, train)?;
        Ok(match &self.scale {
            Some(scale) => x.f_addcmul(&y, &scale.f_view([-1, 1, 1])?)?,
            None => y.f_add_(x)?,
        })
    }
}

/// Global response norm: scales each channel by its Euclidean norm over the image relative to the mean of all channels.
struct ResponseNorm {
    weight: Tensor,
    bias: Tensor,
}

impl ResponseNorm {
    fn new(path: &Path, channels: i64) -> Result<Self, ModelError> {
        let weight = path.parameter("weight", &[channels], Fill::Constant(0.0))?;
        let bias = path.parameter("bias", &[channels], Fill::Constant(0.0))?;
        Ok(ResponseNorm { weight, bias })
    }

    /// `[B, h, w, C]` to the same: `x + weight * x * n + bias`, computed with one factor per channel, so that only the
    /// input is kept for the gradient and no other large tensor.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let norm = x.f_norm_scalaropt_dim(2, [1, 2], true)?; // [B, 1, 1, C]
        let mean = norm.f_mean_dim([-1i64].as_slice(), true, norm.kind())?;
        let relative = norm.f_div(&mean.f_add_scalar(EPS)?)?; // [B, 1, 1, C]
        Ok(self.bias.f_addcmul(x, &relative.f_mul(&self.weight)?.f_add_scalar(1.0)?)?)
    }
}
