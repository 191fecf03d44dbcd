use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Architecture, Attention, BonePairs, DecoderKind, EncoderKind, EncoderScale, Family, MetadataOptions,
    MultiScaleAttentionOptions, NetworkKind, NnUnetOptions, Norm, PointRendOptions, Upsampling,
};
use crate::bones;

/// The model to build.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", remote = "Self")]
pub struct ModelConfig {
    /// Decoder with its head, or a whole network; `carpus models list` prints all.
    pub architecture: Architecture,
    /// Encoder (backbone); default: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = EncoderKind::ResNet34)]
    pub encoder: Option<EncoderKind>,
    /// Channels of the image: 1 (grey) or 3 (RGB).
    #[serde(alias = "in_channels")]
    #[schemars(extend("aliases" = ["in_channels"]))]
    pub in_channels: i64,
    /// Number of classes: channels of the logits.
    pub classes: i64,
    /// Pairs of overlapping bones, three at most: the pixels that both bones have become an extra channel in training,
    /// which prediction folds back into the 29 (the logit of a bone is the greatest of its own and those of its pairs).
    /// Options of losses per class are those of the bones; a pair has the mean over them. Default: none.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(example = [["Triquetrum", "Pisiform"], ["Trapezium", "Trapezoid"]])]
    pub pairs: BonePairs,
    /// Number of encoder stages in use, 3 to 5; the deepest feature has stride `2^depth`. Default: 3 for `pspnet`, 5
    /// for the others.
    pub depth: Option<i64>,
    /// Largest stride of the encoder's features; later stages are dilated instead of strided. `deeplabv3` allows 8
    /// (default) and 16, `deeplabv3plus` 16 (default) and 8, `pan` 16 (default) and 32. A plain state dict does
    /// not record it: use the value that the weights were trained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 16)]
    pub output_stride: Option<i64>,
    /// Dilations of the three 3x3 convolutions in the pyramid of `deeplabv3`, `deeplabv3plus` and
    /// `torchvision-deeplabv3`, in pixels of the feature; default: 12, 24 and 36. A plain state dict does not
    /// record them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = [12, 24, 36])]
    pub atrous_rates: Option<[i64; 3]>,
    /// Normalisation layer in place of the batch norm of the original library (the library that the model comes from,
    /// column `reference` of `carpus models list`): `batch`, `frozen-batch`, `group:N` or `layer`.
    /// `group:N` uses, in each layer, the greatest common divisor of N and the layer's channels as the number of groups: N
    /// groups if N divides the channels, 1 group if they have no common divisor (`group:7` on 64 channels).
    #[schemars(with = "String")]
    pub norm: Norm,
    /// Momentum of the batch norms: the weight of a new batch in the running statistics, 0 to 1. Default: that of the
    /// original library (0.01 for EfficientNet, 0.1 for most others). With 0.01, a short training from scratch ends before the
    /// running statistics have adapted. Ignored if `norm` is `group:N` or `layer`.
    #[schemars(example = 0.1)]
    pub norm_momentum: Option<f64>,
    /// Attention in the blocks of `unet` and `unetplusplus`: `scse`. Default: none.
    #[schemars(example = Attention::Scse)]
    pub attention: Option<Attention>,
    /// Add an auxiliary head, used only in training: torchvision's own for `torchvision-deeplabv3` and
    /// `torchvision-fcn`; otherwise a 3x3 convolution to 256 channels and a 1x1 convolution to the classes, on the
    /// encoder's second-deepest feature. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(example = true)]
    pub auxiliary: bool,
    /// Dropout rate of the decoder, at least 0 and below 1; default: the architecture's own.
    #[schemars(example = 0.2)]
    pub dropout: Option<f64>,
    /// Stochastic depth: rate at which residual blocks are skipped in training, at least 0 and below 1. It grows over
    /// the blocks: block i of n (from 0) has this rate times i / (n - 1) in transformers and ConvNeXt, times i / n in
    /// EfficientNet, EfficientNetV2 and MobileNetV3, as in the original library. Default: the encoder's own.
    #[serde(alias = "drop_path")]
    #[schemars(example = 0.2, extend("aliases" = ["drop_path"]))]
    pub drop_path: Option<f64>,
    /// Interpolation of the logits to the size of the image: `bilinear`, `nearest` or `bicubic`.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(example = Upsampling::Bicubic)]
    pub upsampling_mode: Upsampling,
    /// Rate at which the head drops whole channels of the decoder's output in training, at least 0 and below 1;
    /// default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.2)]
    pub head_dropout: Option<f64>,
    /// Deep supervision: auxiliary heads on the decoder's coarser levels, used only in training. For `unet3plus`,
    /// `nnunet` and `nnunet-resenc`; default: true for `nnunet` and `nnunet-resenc`, false otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub deep_supervision: Option<bool>,
    /// Make the encoder narrower and shallower: factors of width and depth. Default: the published size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_scale: Option<EncoderScale>,
    /// PointRend: refine the outlines of the masks point by point. `true`, `false` (default) or a table of options.
    #[serde(deserialize_with = "switch", skip_serializing_if = "Option::is_none")]
    pub point_rend: Option<PointRendOptions>,
    /// Condition the deepest feature on the patients' age, sex, height and weight. `true`, `false` (default) or a table
    /// of options.
    #[serde(deserialize_with = "switch", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataOptions>,
    /// Add a block of multi-scale attention before the head. `true`, `false` (default) or a table of options.
    #[serde(deserialize_with = "switch", skip_serializing_if = "Option::is_none")]
    pub multi_scale_attention: Option<MultiScaleAttentionOptions>,
    /// Size of `nnunet` and `nnunet-resenc`: stages and channels.
    #[serde(skip_serializing_if = "is_default")]
    pub nnunet: NnUnetOptions,
    /// Channels of `swin-unetr` at the image's full size: 24 (default), 36 or 48.
    #[serde(alias = "feature_size", skip_serializing_if = "Option::is_none")]
    #[schemars(example = 48, extend("aliases" = ["feature_size"]))]
    pub feature_size: Option<i64>,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// `true` for the defaults, `false` for none, or a table of options.
fn switch<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Switch<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Switch<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("true, false or a table of options")
        }

        fn visit_bool<E>(self, on: bool) -> Result<Option<T>, E> {
            Ok(on.then(T::default))
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Switch(PhantomData))
}

/// Two configurations are equal if they are written in the same way: an absent depth equals the default depth.
impl PartialEq for ModelConfig {
    fn eq(&self, other: &ModelConfig) -> bool {
        let written = |config: &ModelConfig| serde_json::to_value(config).expect("keys are text and values are plain");
        written(self) == written(other)
    }
}

impl Serialize for ModelConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ModelConfig::serialize(&ModelConfig { depth: Some(self.depth()), ..self.clone() }, serializer)
    }
}

impl<'de> Deserialize<'de> for ModelConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ModelConfig::deserialize(deserializer)
    }
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            architecture: Architecture::Decoder(DecoderKind::Fpn),
            encoder: None,
            in_channels: 3,
            classes: bones::COUNT as i64,
            pairs: BonePairs::default(),
            depth: None,
            output_stride: None,
            atrous_rates: None,
            norm: Norm::Batch,
            norm_momentum: None,
            attention: None,
            auxiliary: false,
            dropout: None,
            drop_path: None,
            upsampling_mode: Upsampling::Bilinear,
            head_dropout: None,
            deep_supervision: None,
            encoder_scale: None,
            point_rend: None,
            metadata: None,
            multi_scale_attention: None,
            nnunet: NnUnetOptions::default(),
            feature_size: None,
        }
    }
}

impl ModelConfig {
    /// The encoder that is built; `None` for a whole network.
    pub fn backbone(&self) -> Option<EncoderKind> {
        self.encoder.or(self.architecture.default_encoder())
    }

    /// Number of channels of the logits in training: classes and pairs.
    pub fn channels(&self) -> i64 {
        self.classes + self.pairs.len() as i64
    }

    /// The same model with its channels as classes.
    pub(super) fn with_all_channels(&self) -> ModelConfig {
        ModelConfig { classes: self.channels(), pairs: BonePairs::default(), ..self.clone() }
    }

    /// Whether the forward pass has segments that can be recomputed in the backward pass ([`super::Segments`]): those of
    /// an encoder, which whole networks do not have.
    pub fn has_segments(&self) -> bool {
        matches!(self.architecture, Architecture::Decoder(_))
    }

    /// Number of encoder stages in use.
    pub fn depth(&self) -> i64 {
        self.depth.unwrap_or(self.architecture.default_depth())
    }

    /// Largest stride of the encoder's features.
    pub fn output_stride(&self) -> i64 {
        self.output_stride.unwrap_or(self.architecture.output_strides()[0])
    }

    /// Smallest allowed height and width of an image, in pixels.
    pub fn least_side(&self) -> i64 {
        let encoder = match self.backbone().map(EncoderKind::family) {
            // Keys and values of the first stage, at stride 4, are pooled over 8 x 8 positions.
            Some(Family::MixTransformer) => 32,
            _ => 1,
        };
        std::cmp::max(encoder, self.least_side_of_decoder())
    }

    fn least_side_of_decoder(&self) -> i64 {
        match self.architecture {
            // Three halvings of the deepest feature.
            Architecture::Decoder(DecoderKind::Pan) => 8 * std::cmp::min(self.output_stride(), 1 << self.depth()),
            // 32 pixels leave a single position at stride 32, on which an instance norm cannot be trained.
            Architecture::Network(NetworkKind::SwinUnetr) => 64,
            _ => 1,
        }
    }

    /// The prefix of the names of the encoder's weights.
    pub fn weights_prefix(&self) -> &'static str {
        self.backbone().map_or("backbone.", EncoderKind::weights_prefix)
    }

    /// Whether the decoder has auxiliary heads in training.
    pub fn deep_supervision(&self) -> bool {
        self.deep_supervision.unwrap_or(self.architecture.is_nnunet())
    }

    /// The model's name in messages: `fpn on efficientnet-b0`.
    pub fn describe(&self) -> String {
        match self.backbone() {
            Some(encoder) => format!("{} on {encoder}", self.architecture),
            None => self.architecture.to_string(),
        }
    }
}
