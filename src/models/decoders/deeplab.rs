//! The decoders of DeepLabV3 and DeepLabV3+ (SMP's `DeepLabV3Decoder` and `DeepLabV3PlusDecoder`): parallel
//! convolutions with several dilations see several scales at once.
//! L.-C. Chen, G. Papandreou, F. Schroff, H. Adam, Rethinking atrous convolution for semantic image segmentation, 2017.
//! L.-C. Chen et al., Encoder-decoder with atrous separable convolution for semantic image segmentation, ECCV 2018.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{ConvNormRelu, ConvOptions, Corners, SeparableConvNormRelu, bilinear_by, dropout};
use crate::models::{ModelConfig, ModelError, Path};

/// Channels of the pyramid's output.
pub const CHANNELS: i64 = 256;
const RATES: [i64; 3] = [12, 24, 36];
const DROPOUT: f64 = 0.5;
/// Channels to which the fine features are reduced, so that they do not outweigh the deep ones.
const FINE: i64 = 48;

/// Atrous spatial pyramid pooling: a 1x1 convolution, three dilated 3x3 convolutions and the image's mean, concatenated
/// and projected.
pub struct Pyramid {
    point: ConvNormRelu,
    rates: Vec<Dilated>,
    pooled: ConvNormRelu,
    project: ConvNormRelu,
    dropout: f64,
}

/// The dilated convolutions of a [`Pyramid`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DilatedKind {
    /// Full convolutions.
    Full,
    /// Depthwise separable convolutions.
    Separable,
}

enum Dilated {
    Full(ConvNormRelu),
    Separable(SeparableConvNormRelu),
}

impl Pyramid {
    /// A pyramid on features with `input` channels.
    pub fn new(path: &Path, config: &ModelConfig, input: i64, kind: DilatedKind) -> Result<Self, ModelError> {
        let branches = path / "convs";
        let point = ConvNormRelu::new(&(&branches / 0), input, CHANNELS, 1)?;
        let mut rates = Vec::new();
        for (index, rate) in config.atrous_rates.unwrap_or(RATES).into_iter().enumerate() {
            let place = &branches / (index + 1);
            rates.push(match kind {
                DilatedKind::Separable => {
                    Dilated::Separable(SeparableConvNormRelu::new(&place, 0, input, CHANNELS, rate)?)
                }
                DilatedKind::Full => {
                    let options = ConvOptions::without_bias().padding(rate).dilation(rate);
                    Dilated::Full(ConvNormRelu::with(&place, input, CHANNELS, 3, options)?)
                }
            });
        }
        let plain = ConvOptions::without_bias();
        let pooled = ConvNormRelu::named(&(&branches / 4), ["1", "2"], input, CHANNELS, 1, plain)?;
        let project = ConvNormRelu::new(&(path / "project"), 5 * CHANNELS, CHANNELS, 1)?;
        Ok(Pyramid { point, rates, pooled, project, dropout: config.dropout.unwrap_or(DROPOUT) })
    }

    /// `[B, input, h, w]` to `[B, 256, h, w]`.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut branches = vec![self.point.forward(x, train)?];
        for rate in &self.rates {
            branches.push(match rate {
                Dilated::Full(layer) => layer.forward(x, train)?,
                Dilated::Separable(layer) => layer.forward(x, train)?,
            });
        }
        let pooled = self.pooled.forward(&x.f_adaptive_avg_pool2d([1, 1])?, train)?; // [B, 256, 1, 1]
        branches.push(pooled.f_expand(branches[0].size(), false)?);
        let joined = Tensor::f_cat(&branches, 1)?; // [B, 1280, h, w]
        Ok(dropout(self.project.forward(&joined, train)?, self.dropout, train)?)
    }
}

/// DeepLabV3: the pyramid on the deepest feature, then a 3x3 convolution.
pub struct DeepLabV3 {
    pyramid: Pyramid,
    last: ConvNormRelu,
}

impl DeepLabV3 {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest = channels[channels.len() - 1];
        let options = ConvOptions::without_bias().padding(1);
        Ok(DeepLabV3 {
            pyramid: Pyramid::new(&(path / "aspp"), config, deepest, DilatedKind::Full)?,
            last: ConvNormRelu::named(path, ["conv", "bn"], CHANNELS, CHANNELS, 3, options)?,
        })
    }
}

impl Decoder for DeepLabV3 {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let x = self.pyramid.forward(&features[features.len() - 1], train)?; // [B, 256, H/8, W/8] or H/16, W/16
        self.last.forward(&x, train)
    }
}

/// DeepLabV3+: the pyramid on the deepest feature, concatenated with the feature at stride 4.
pub struct DeepLabV3Plus {
    pyramid: Pyramid,
    deep: SeparableConvNormRelu,
    fine: ConvNormRelu,
    joined: SeparableConvNormRelu,
    /// From the deepest feature's stride to 4.
    upsampling: i64,
}

impl DeepLabV3Plus {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest = channels[channels.len() - 1];
        Ok(DeepLabV3Plus {
            pyramid: Pyramid::new(&(path / "aspp" / 0), config, deepest, DilatedKind::Separable)?,
            deep: SeparableConvNormRelu::new(&(path / "aspp"), 1, CHANNELS, CHANNELS, 1)?,
            fine: ConvNormRelu::new(&(path / "block1"), channels[2], FINE, 1)?,
            joined: SeparableConvNormRelu::new(&(path / "block2"), 0, FINE + CHANNELS, CHANNELS, 1)?,
            upsampling: std::cmp::min(config.output_stride(), 1 << config.depth()) / 4,
        })
    }
}

impl Decoder for DeepLabV3Plus {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let deep = self.pyramid.forward(&features[features.len() - 1], train)?; // [B, 256, H/16, W/16] or H/8, W/8
        let deep = bilinear_by(&self.deep.forward(&deep, train)?, self.upsampling, Corners::Aligned)?; // [B, 256, H/4, W/4]
        let fine = self.fine.forward(&features[2], train)?; // [B, 48, H/4, W/4]
        self.joined.forward(&Tensor::f_cat(&[deep, fine], 1)?, train) // [B, 256, H/4, W/4]
    }
}
