//! The decoder of the pyramid scene parsing network (SMP's `PSPDecoder`). H. Zhao, J. Shi, X. Qi, X. Wang, J. Jia,
//! Pyramid scene parsing network, CVPR 2017.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions, Corners, bilinear_to, channel_dropout};
use crate::models::{ModelConfig, ModelError, Path};

const CHANNELS: i64 = 512;
const DROPOUT: f64 = 0.2;

/// The deepest feature concatenated with its means over the whole image and over grids of 2 x 2, 3 x 3 and 6 x 6 cells.
pub struct PspNet {
    /// The layer on the mean of the whole image, which has no norm: a single position has no statistics over pixels.
    whole: Conv2d,
    grids: Vec<(i64, ConvNormRelu)>,
    last: ConvNormRelu,
    dropout: f64,
}

impl PspNet {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let input = channels[channels.len() - 1];
        let blocks = path / "psp" / "blocks";
        let whole = Conv2d::new(&(&blocks / 0 / "pool" / 1 / 0), input, input / 4, 1, ConvOptions::default())?;
        let mut grids = Vec::new();
        for (index, cells) in [2, 3, 6].into_iter().enumerate() {
            let place = &blocks / (index + 1) / "pool" / 1;
            grids.push((cells, ConvNormRelu::new(&place, input, input / 4, 1)?));
        }
        let last = ConvNormRelu::new(&(path / "conv"), input * 2, CHANNELS, 1)?;
        Ok(PspNet { whole, grids, last, dropout: config.dropout.unwrap_or(DROPOUT) })
    }
}

impl Decoder for PspNet {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let x = &features[features.len() - 1]; // [B, C, h, w]
        let whole = self.whole.forward(&x.f_adaptive_avg_pool2d([1, 1])?)?.f_relu_()?; // [B, C/4, 1, 1]
        let mut parts = vec![bilinear_to(&whole, x, Corners::Aligned)?];
        for (cells, layer) in &self.grids {
            let pooled = layer.forward(&x.f_adaptive_avg_pool2d([*cells, *cells])?, train)?;
            parts.push(bilinear_to(&pooled, x, Corners::Aligned)?); // [B, C/4, h, w]
        }
        parts.push(x.shallow_clone());
        let x = self.last.forward(&Tensor::f_cat(&parts, 1)?, train)?; // [B, 512, h, w]
        Ok(channel_dropout(x, self.dropout, train)?)
    }
}
