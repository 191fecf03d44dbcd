use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Architecture, Attention, DecoderKind, EncoderKind, EncoderScale, Family, MetadataOptions,
    MultiScaleAttentionOptions, NetworkKind, NnUnetOptions, Norm, PointRendOptions, Upsampling,
};
use crate::bones;

/// What model to build.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case", remote = "Self")]
pub struct ModelConfig {
    /// Decoder and head.
    pub architecture: Architecture,
    /// Backbone; absent: the architecture's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = EncoderKind::ResNet34)]
    pub encoder: Option<EncoderKind>,
    /// Channels of the image: 1 or 3.
    #[serde(alias = "in_channels")]
    #[schemars(extend("aliases" = ["in_channels"]))]
    pub in_channels: i64,
    /// Channels of the logits.
    pub classes: i64,
    /// Stages of the encoder that are used, 3 to 5: the deepest feature has stride `2^depth`; absent: as the reference of the
    /// architecture, 3 for `pspnet` and 5 for the others.
    pub depth: Option<i64>,
    /// Stride at which the encoder keeps its deep features, stages beyond it dilated; absent: the architecture's own.
    /// `deeplabv3` and `deeplabv3plus` take 8 and 16, `pan` 16 and 32. Weights do not tell: give what they were trained with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 16)]
    pub output_stride: Option<i64>,
    /// Dilations of the three 3x3 convolutions in the pyramid of `deeplabv3`, `deeplabv3plus` and
    /// `torchvision-deeplabv3`; absent: 12, 24 and 36. Weights do not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = [12, 24, 36])]
    pub atrous_rates: Option<[i64; 3]>,
    /// Norm in place of the reference's batch norms: `batch`, `frozen-batch`, `group:N` or `layer`. `group:N` has as many
    /// groups in each layer as the greatest common divisor of N and the layer's channels: N groups where N divides the
    /// channels, 1 group where they have no common divisor (`group:7` on 64 channels).
    #[schemars(with = "String")]
    pub norm: Norm,
    /// Share of a new batch in a batch norm's running statistics; absent: the reference's own, which is as low as 0.01
    /// in EfficientNet and leaves a short run from scratch with the statistics of its start. It waits where `norm` puts
    /// others in their place, so that one key changes the norm.
    #[schemars(example = 0.1)]
    pub norm_momentum: Option<f64>,
    /// Attention in the blocks of `unet` and `unetplusplus`.
    #[schemars(example = Attention::Scse)]
    pub attention: Option<Attention>,
    /// A second head, for training alone: torchvision's own on `torchvision-deeplabv3` and `torchvision-fcn`, else
    /// a 3x3 convolution to 256 channels and one to the classes on the encoder's deepest feature but one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(example = true)]
    pub auxiliary: bool,
    /// Dropout rate of the decoder; absent: the architecture's own.
    #[schemars(example = 0.2)]
    pub dropout: Option<f64>,
    /// Stochastic depth: the rate of block i of n is this times i / (n - 1) in transformers and ConvNeXt, times i / n in
    /// EfficientNet, EfficientNetV2 and MobileNetV3, as the reference's; absent: the encoder's own.
    #[serde(alias = "drop_path")]
    #[schemars(example = 0.2, extend("aliases" = ["drop_path"]))]
    pub drop_path: Option<f64>,
    /// How the head brings its logits to the size of the image.
    #[serde(skip_serializing_if = "is_default")]
    #[schemars(example = Upsampling::Bicubic)]
    pub upsampling_mode: Upsampling,
    /// Rate at which the head drops whole channels of the decoder's map; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 0.2)]
    pub head_dropout: Option<f64>,
    /// Auxiliary heads on the way up, in training; absent: the architecture's own, which is on for nnU-Net's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub deep_supervision: Option<bool>,
    /// A narrower and shallower encoder of the same kind; absent: as published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder_scale: Option<EncoderScale>,
    /// Outlines rendered point by point; absent or `false`: not.
    #[serde(deserialize_with = "switch", skip_serializing_if = "Option::is_none")]
    pub point_rend: Option<PointRendOptions>,
    /// What is known of the patients joined to the deepest feature; absent or `false`: not.
    #[serde(deserialize_with = "switch", skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataOptions>,
    /// A block of multi-scale attention before the head; absent or `false`: none.
    #[serde(deserialize_with = "switch", skip_serializing_if = "Option::is_none")]
    pub multi_scale_attention: Option<MultiScaleAttentionOptions>,
    /// Size of `nnunet` and `nnunet-resenc`.
    #[serde(skip_serializing_if = "is_default")]
    pub nnunet: NnUnetOptions,
    /// Channels of `swin-unetr` at full size: 24, 36 or 48; absent: 24, as the reference.
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

/// Equal as they are written: a depth that is the default is that depth.
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
    /// The encoder that is built; `None` for a network that has none of its own kind.
    pub fn backbone(&self) -> Option<EncoderKind> {
        self.encoder.or(self.architecture.default_encoder())
    }

    /// The stages of the encoder that are used.
    pub fn depth(&self) -> i64 {
        self.depth.unwrap_or(self.architecture.default_depth())
    }

    /// The stride at which the encoder keeps its deep features.
    pub fn output_stride(&self) -> i64 {
        self.output_stride.unwrap_or(self.architecture.output_strides()[0])
    }

    /// Least height and width of an image.
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
            // An instance norm cannot learn from the single position that 32 pixels leave at stride 32.
            Architecture::Network(NetworkKind::SwinUnetr) => 64,
            _ => 1,
        }
    }

    /// What the names of the encoder's weights begin with.
    pub fn weights_prefix(&self) -> &'static str {
        self.backbone().map_or("backbone.", EncoderKind::weights_prefix)
    }

    /// Whether auxiliary heads speak on the way up.
    pub fn deep_supervision(&self) -> bool {
        self.deep_supervision.unwrap_or(self.architecture.is_nnunet())
    }

    /// `fpn on efficientnet-b0`, for messages.
    pub fn describe(&self) -> String {
        match self.backbone() {
            Some(encoder) => format!("{} on {encoder}", self.architecture),
            None => self.architecture.to_string(),
        }
    }
}
