//! HRNet with object-contextual representations: each pixel is described by the objects that it belongs to.
//! Y. Yuan, X. Chen, J. Wang, Object-contextual representations for semantic segmentation, ECCV 2020.

use tch::{TchError, Tensor};

use super::Decoder;
use crate::models::layers::{Conv2d, ConvNormRelu, ConvOptions, Corners, Scheme, bilinear_to, channel_dropout};
use crate::models::{ModelConfig, ModelError, Path};

/// Channels of pixel, object and context representations.
const CHANNELS: i64 = 512;
/// Channels in which pixels and objects are compared.
const KEYS: i64 = 256;
/// The paper's code; mmsegmentation has no dropout here.
const DROPOUT: f64 = 0.05;

/// The branches of an HRNet are concatenated at stride 4. An auxiliary head predicts the region of each class, from
/// which one representation per class is computed; each pixel gets a mean of these representations, weighted by its
/// similarity to them. Classes may overlap: each has its own softmax over the pixels. In mmsegmentation (its `FCNHead`
/// and `OCRHead`), the convolutions before norms have no bias and interpolation does not align corners.
pub struct Ocr {
    auxiliary: Auxiliary,
    pixels: ConvNormRelu,
    attention: ObjectAttention,
    mix: ConvNormRelu,
    dropout: f64,
    /// How the branches are interpolated.
    corners: Corners,
}

impl Ocr {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let joined = channels[2..].iter().sum();
        let is_mmseg = config.architecture.follows_mmseg();
        let before_norm = if is_mmseg { ConvOptions::without_bias() } else { ConvOptions::default() };
        let pixels = ConvNormRelu::with(&(path / "conv3x3_ocr"), joined, CHANNELS, 3, before_norm.padding(1))?;
        let place = path / "ocr_distri_head";
        let attention = ObjectAttention::new(&(&place / "object_context_block"))?;
        let mix = nested(&(&place / "conv_bn_dropout"), 0, 2 * CHANNELS, CHANNELS)?;
        let auxiliary = Auxiliary::new(&(path / "aux_head"), joined, config.classes, before_norm)?;
        let dropout = config.dropout.unwrap_or(if is_mmseg { 0.0 } else { DROPOUT });
        Ok(Ocr {
            auxiliary,
            pixels,
            attention,
            mix,
            dropout,
            corners: if is_mmseg { Corners::AtEdges } else { Corners::Aligned },
        })
    }
}

impl Decoder for Ocr {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        Ok(self.forward_supervised(features, train)?.0)
    }

    /// The auxiliary logits stay at stride 4, `[B, classes, H/4, W/4]`.
    fn forward_supervised(&self, features: &[Tensor], train: bool) -> Result<(Tensor, Vec<Tensor>), ModelError> {
        let branches = &features[2..];
        let resized = branches.iter().map(|branch| bilinear_to(branch, &branches[0], self.corners));
        let joined = Tensor::f_cat(&resized.collect::<Result<Vec<_>, _>>()?, 1)?; // [B, 15 C, H/4, W/4]
        let regions = self.auxiliary.forward(&joined, train)?; // [B, classes, H/4, W/4]
        let pixels = self.pixels.forward(&joined, train)?; // [B, 512, H/4, W/4]
        drop(joined);
        let objects = gather(&pixels, &regions)?; // [B, 512, classes, 1]
        let context = self.attention.forward(&pixels, &objects, train)?; // [B, 512, H/4, W/4]
        let mixed = self.mix.forward(&Tensor::f_cat(&[context, pixels], 1)?, train)?; // [B, 512, H/4, W/4]
        Ok((channel_dropout(mixed, self.dropout, train)?, vec![regions]))
    }
}

/// A 1x1 convolution at `index` of a sequence, followed by a nested sequence of a norm and ReLU.
fn nested(path: &Path, index: usize, input: i64, output: i64) -> Result<ConvNormRelu, ModelError> {
    let names = [index.to_string(), format!("{}.0", index + 1)];
    ConvNormRelu::named(path, names.each_ref().map(String::as_str), input, output, 1, ConvOptions::without_bias())
}

/// Auxiliary head: logits of the region of each class (the paper's soft object regions).
struct Auxiliary {
    hidden: ConvNormRelu,
    classify: Conv2d,
}

impl Auxiliary {
    fn new(path: &Path, input: i64, classes: i64, before_norm: ConvOptions) -> Result<Self, ModelError> {
        let scheme = if before_norm.bias { path.scheme() } else { Scheme::MmsegHead };
        Ok(Auxiliary {
            hidden: ConvNormRelu::with(path, input, input, 1, before_norm)?,
            classify: Conv2d::new(&(path / 3).with_scheme(scheme), input, classes, 1, ConvOptions::default())?,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        Ok(self.classify.forward(&self.hidden.forward(x, train)?)?)
    }
}

/// One representation per class, `[B, C, K, 1]`: the mean of the `pixels`, `[B, C, H, W]`, weighted by the softmax over
/// all pixels of the class's `regions`, `[B, K, H, W]` (equation 1 of the paper).
fn gather(pixels: &Tensor, regions: &Tensor) -> Result<Tensor, TchError> {
    let weights = regions.f_flatten(2, -1)?.f_softmax(-1, None)?; // [B, K, N]
    let objects = pixels.f_flatten(2, -1)?.f_matmul(&weights.f_transpose(1, 2)?)?; // [B, C, K]
    objects.f_unsqueeze(3)
}

/// For each pixel the mean of the `values`, `[B, C, K]`, weighted by the softmax over the classes of the similarity of
/// its `queries`, `[B, C, N]`, to the `keys`, `[B, C, K]`: `[B, C, N]` (equations 2 and 3 of the paper). Channels stay
/// before pixels, so that nothing has to be copied into another order.
fn dot_product_attention(queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor, TchError> {
    let scale = 1.0 / (keys.size()[1] as f64).sqrt();
    let similarity = keys.f_mul_scalar(scale)?.f_transpose(1, 2)?.f_matmul(queries)?; // [B, K, N]
    values.f_matmul(&similarity.f_softmax(1, None)?)
}

/// Attention of pixels to objects.
struct ObjectAttention {
    query: [ConvNormRelu; 2],
    key: [ConvNormRelu; 2],
    value: ConvNormRelu,
    widen: ConvNormRelu,
}

impl ObjectAttention {
    fn new(path: &Path) -> Result<Self, ModelError> {
        let twice = |name: &str| -> Result<[ConvNormRelu; 2], ModelError> {
            let place = path / name;
            Ok([nested(&place, 0, CHANNELS, KEYS)?, nested(&place, 2, KEYS, KEYS)?])
        };
        Ok(ObjectAttention {
            query: twice("f_pixel")?,
            key: twice("f_object")?,
            value: nested(&(path / "f_down"), 0, CHANNELS, KEYS)?,
            widen: nested(&(path / "f_up"), 0, KEYS, CHANNELS)?,
        })
    }

    /// The context of each pixel, `[B, 512, H, W]`, from pixels of that shape and objects `[B, 512, K, 1]`.
    fn forward(&self, pixels: &Tensor, objects: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let transform = |layers: &[ConvNormRelu], x: &Tensor| -> Result<Tensor, ModelError> {
            let x = layers.iter().try_fold(x.shallow_clone(), |x, layer| layer.forward(&x, train))?;
            Ok(x.f_flatten(2, -1)?)
        };
        let queries = transform(&self.query, pixels)?; // [B, 256, H W]
        let keys = transform(&self.key, objects)?; // [B, 256, K]
        let values = transform(std::slice::from_ref(&self.value), objects)?; // [B, 256, K]
        let size = pixels.size();
        let context = dot_product_attention(&queries, &keys, &values)?.f_view([size[0], KEYS, size[2], size[3]])?;
        self.widen.forward(&context, train)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Double, Device::Cpu))
    }

    fn softmax(values: &[f64]) -> Vec<f64> {
        let sum: f64 = values.iter().map(|v| v.exp()).sum();
        values.iter().map(|v| v.exp() / sum).collect()
    }

    #[test]
    fn an_object_is_the_mean_of_its_pixels() {
        let (pixels, regions) = (random(&[2, 3, 2, 4]), random(&[2, 5, 2, 4]));
        let objects = gather(&pixels, &regions).unwrap();
        assert_eq!(objects.size(), [2, 3, 5, 1]);
        let at = |x: &Tensor, b, c, n: i64| x.double_value(&[b, c, n / 4, n % 4]);
        for (b, c, k) in [(0, 0, 0), (0, 2, 4), (1, 1, 3)] {
            let weights = softmax(&(0..8).map(|n| at(&regions, b, k, n)).collect::<Vec<_>>());
            let mean: f64 = weights.iter().zip(0..8).map(|(w, n)| w * at(&pixels, b, c, n)).sum();
            assert!((objects.double_value(&[b, c, k, 0]) - mean).abs() < 1e-12);
        }
    }

    #[test]
    fn a_pixel_attends_to_similar_objects() {
        let (queries, keys, values) = (random(&[2, 4, 6]), random(&[2, 4, 3]), random(&[2, 4, 3]));
        let context = dot_product_attention(&queries, &keys, &values).unwrap();
        assert_eq!(context.size(), [2, 4, 6]);
        let at = |x: &Tensor, b, c, n| x.double_value(&[b, c, n]);
        for (b, n) in [(0, 0), (0, 5), (1, 2)] {
            let similarity = |k| (0..4).map(|c| at(&queries, b, c, n) * at(&keys, b, c, k)).sum::<f64>() / 2.0;
            let weights = softmax(&(0..3).map(similarity).collect::<Vec<_>>());
            for c in 0..4 {
                let mean: f64 = weights.iter().zip(0..3).map(|(w, k)| w * at(&values, b, c, k)).sum();
                assert!((at(&context, b, c, n) - mean).abs() < 1e-12);
            }
        }
    }
}
