//! The decoder of UPerNet (SMP's `UPerNetDecoder`, transformers' `UperNetHead`). T. Xiao, Y. Liu, B. Zhou, Y. Jiang, J.
//! Sun, Unified perceptual parsing for scene understanding, ECCV 2018.

use tch::Tensor;

use super::Decoder;
use crate::models::heads::AuxiliaryHead;
use crate::models::layers::{ConvNormRelu, Corners, LayerNorm, bilinear_to};
use crate::models::{Architecture, DecoderKind, EncoderKind, ModelConfig, ModelError, Path};

const GRIDS: [i64; 4] = [1, 2, 3, 6];
/// Index of the auxiliary head's feature, counted from the feature at stride 4.
const AUXILIARY: usize = 2;

/// Pooling over grids on the deepest feature, then a feature pyramid; all levels are concatenated at stride 4.
pub struct UperNet {
    /// Finest first.
    norms: Vec<LayerNorm>,
    grids: Vec<ConvNormRelu>,
    pooled: ConvNormRelu,
    /// Second-deepest first, as is the next.
    lateral: Vec<ConvNormRelu>,
    smooth: Vec<ConvNormRelu>,
    fusion: ConvNormRelu,
    /// On the feature at stride 16; only in transformers.
    auxiliary: Option<AuxiliaryHead>,
    channels: i64,
}

/// Width, and epsilon of the features' norms. transformers has these norms in its backbones, each with its own epsilon.
fn shape(config: &ModelConfig) -> (i64, f64) {
    use EncoderKind::{SwinBase, SwinSmall, SwinTiny};
    match (config.architecture, config.backbone()) {
        (Architecture::Decoder(DecoderKind::UperNetTransformers), Some(SwinTiny | SwinSmall | SwinBase)) => (512, 1e-5),
        (Architecture::Decoder(DecoderKind::UperNetTransformers), _) => (512, 1e-6),
        _ => (256, 1e-6),
    }
}

impl UperNet {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let (width, eps) = shape(config);
        let channels = &channels[2..];
        let (deepest, finer) = channels.split_last().expect("an encoder gives features at stride 4 and more");
        let norms = channels.iter().enumerate();
        let norms = norms.map(|(i, c)| LayerNorm::new(&(path / "feature_norms" / i), *c, eps));
        let norms = norms.collect::<Result<_, _>>()?;
        let psp = path / "psp";
        let mut grids = Vec::new();
        for index in 0..GRIDS.len() {
            grids.push(ConvNormRelu::new(&(&psp / "blocks" / index / 1), *deepest, width, 1)?);
        }
        let joined = deepest + GRIDS.len() as i64 * width;
        let pooled = ConvNormRelu::new(&(&psp / "out_conv"), joined, width, 3)?;
        let mut lateral = Vec::new();
        for (index, input) in finer.iter().rev().enumerate() {
            let place = path / "fpn_lateral_blocks" / index / "conv_norm_relu";
            lateral.push(ConvNormRelu::new(&place, *input, width, 1)?);
        }
        let mut smooth = Vec::new();
        for index in 0..finer.len() {
            smooth.push(ConvNormRelu::new(&(path / "fpn_conv_blocks" / index), width, width, 3)?);
        }
        let fusion = ConvNormRelu::new(&(path / "fusion_block"), channels.len() as i64 * width, width, 3)?;
        let auxiliary = (config.architecture == Architecture::Decoder(DecoderKind::UperNetTransformers))
            .then(|| AuxiliaryHead::new(&(path / "auxiliary_head"), finer[AUXILIARY], config.classes))
            .transpose()?;
        Ok(UperNet { norms, grids, pooled, lateral, smooth, fusion, auxiliary, channels: width })
    }
}

impl UperNet {
    /// Each feature from stride 4 on, normalised over its channels.
    fn normed(&self, features: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        features[2..].iter().zip(&self.norms).map(|(x, norm)| norm.forward_map(x)).collect()
    }

    fn decode(&self, normed: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let (deepest, finer) = normed.split_last().expect("an encoder gives features at stride 4 and more");
        let mut parts = vec![deepest.shallow_clone()];
        for (cells, layer) in GRIDS.into_iter().zip(&self.grids) {
            let pooled = layer.forward(&deepest.f_adaptive_avg_pool2d([cells, cells])?, train)?; // [B, C, cells, cells]
            parts.push(bilinear_to(&pooled, deepest, Corners::AtEdges)?);
        }
        let mut state = self.pooled.forward(&Tensor::f_cat(&parts, 1)?, train)?; // [B, C, H/32, W/32]
        let mut levels = vec![state.shallow_clone()];
        for (index, feature) in finer.iter().rev().enumerate() {
            let lateral = self.lateral[index].forward(feature, train)?; // [B, C, H/16 .. H/4, ..]
            state = bilinear_to(&state, &lateral, Corners::AtEdges)?.f_add(&lateral)?;
            levels.push(self.smooth[index].forward(&state, train)?);
        }
        let finest = &levels[levels.len() - 1];
        let resized = levels.iter().rev().map(|level| bilinear_to(level, finest, Corners::AtEdges));
        let joined = Tensor::f_cat(&resized.collect::<Result<Vec<_>, _>>()?, 1)?; // [B, 4 C, H/4, W/4]
        self.fusion.forward(&joined, train) // [B, C, H/4, W/4]
    }
}

impl Decoder for UperNet {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        self.decode(&self.normed(features)?, train)
    }

    fn forward_supervised(&self, features: &[Tensor], train: bool) -> Result<(Tensor, Vec<Tensor>), ModelError> {
        let normed = self.normed(features)?;
        let decoded = self.decode(&normed, train)?;
        let heads = self.auxiliary.iter().filter(|_| train);
        let auxiliary = heads.map(|head| head.forward(&normed[AUXILIARY], &features[0], train));
        Ok((decoded, auxiliary.collect::<Result<_, _>>()?))
    }
}
