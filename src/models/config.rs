use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    Architecture, Attention, EncoderKind, EncoderScale, MetadataOptions, ModelError, MultiScaleAttentionOptions,
    NnUnetOptions, Norm, PointRendOptions, Upsampling,
};
use crate::bones;

/// What model to build.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelConfig {
    /// Decoder and head.
    pub architecture: Architecture,
    /// Backbone; absent: that of [`Architecture::default_encoder`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoder: Option<EncoderKind>,
    /// Channels of the image: 1 or 3.
    #[serde(alias = "in_channels")]
    pub in_channels: i64,
    /// Channels of the logits.
    pub classes: i64,
    /// Stages of the encoder that are used, 3 to 5: the deepest feature has stride `2^depth`.
    pub depth: i64,
    /// What stands where the reference has a batch norm.
    pub norm: Norm,
    /// Share of a new batch in a batch norm's running statistics; absent: the reference's own, which is as low as 0.01
    /// in EfficientNet and leaves a short run from scratch with the statistics of its start.
    pub norm_momentum: Option<f64>,
    /// Attention in the blocks of `unet` and `unetplusplus`.
    pub attention: Option<Attention>,
    /// A second head on a middle feature, for training alone; for `torchvision-deeplabv3` and `torchvision-fcn`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auxiliary: bool,
    /// Dropout rate of the decoder; absent: the architecture's own.
    pub dropout: Option<f64>,
    /// Stochastic depth of the encoder's last block (it grows linearly from 0); absent: the encoder's own.
    #[serde(alias = "drop_path")]
    pub drop_path: Option<f64>,
    /// How the head brings its logits to the size of the image.
    #[serde(skip_serializing_if = "is_default")]
    pub upsampling_mode: Upsampling,
    /// Rate at which the head drops whole channels of the decoder's map; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dropout: Option<f64>,
    /// Auxiliary heads on the way up, in training; absent: the architecture's own, which is on for nnU-Net's.
    #[serde(skip_serializing_if = "Option::is_none")]
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
    pub feature_size: Option<i64>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
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

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            architecture: Architecture::Fpn,
            encoder: None,
            in_channels: 3,
            classes: bones::COUNT as i64,
            depth: 5,
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

    /// What the names of the encoder's weights begin with.
    pub fn weights_prefix(&self) -> &'static str {
        self.backbone().map_or("backbone.", EncoderKind::weights_prefix)
    }

    /// Whether auxiliary heads speak on the way up.
    pub fn deep_supervision(&self) -> bool {
        let own = matches!(self.architecture, Architecture::NnUnet | Architecture::NnUnetResEnc);
        self.deep_supervision.unwrap_or(own)
    }

    /// `fpn on efficientnet-b0`, for messages.
    pub fn describe(&self) -> String {
        match self.backbone() {
            Some(encoder) => format!("{} on {encoder}", self.architecture),
            None => self.architecture.to_string(),
        }
    }

    /// Refuses what cannot be built, with the reason.
    pub fn validate(&self) -> Result<(), ModelError> {
        let wrong = |reason: String| Err(ModelError::Config(reason));
        if ![1, 3].contains(&self.in_channels) {
            return wrong(format!("in-channels is {}; images have 1 or 3 channels", self.in_channels));
        }
        if self.classes < 1 {
            return wrong(format!("classes is {}; at least one is needed", self.classes));
        }
        if !(3..=5).contains(&self.depth) {
            return wrong(format!("depth is {}; it goes from 3 to 5", self.depth));
        }
        let architecture = self.architecture;
        if let Some(encoder) = self.encoder.filter(|_| architecture.default_encoder().is_none()) {
            return wrong(format!(
                "{architecture} is a whole network with an encoder of its own, so it takes no {encoder}; \
                 leave `encoder` out"
            ));
        }
        if let (Some((kinds, names)), Some(encoder)) = (architecture.own_encoders(), self.backbone())
            && !kinds.contains(&encoder)
        {
            return wrong(format!(
                "the reference of {architecture} has it on {names}; take another encoder than {encoder}"
            ));
        }
        let whole = architecture.default_encoder().is_none() || architecture.own_encoders().is_some();
        if whole && self.depth != 5 {
            return match architecture {
                Architecture::NnUnet | Architecture::NnUnetResEnc => {
                    wrong(format!("depth is {}; {architecture} is sized by nnunet.stages instead", self.depth))
                }
                _ => wrong(format!("depth is {}; {architecture} has all 5 stages", self.depth)),
            };
        }
        if self.auxiliary && !architecture.takes_auxiliary() {
            return wrong(format!(
                "{architecture} has no auxiliary head to switch on; torchvision-deeplabv3 and torchvision-fcn have"
            ));
        }
        if let Some(size) = self.feature_size {
            if architecture != Architecture::SwinUnetr {
                return wrong(format!("feature-size is that of swin-unetr; {architecture} has none"));
            }
            if ![24, 36, 48].contains(&size) {
                return wrong(format!("feature-size is {size}; swin-unetr comes with 24, 36 and 48"));
            }
        }
        if let Some(encoder) = self.backbone() {
            self.validate_encoder(encoder)?;
        }
        let takes_attention = matches!(self.architecture, Architecture::Unet | Architecture::UnetPlusPlus);
        if let Some(attention) = self.attention.filter(|_| !takes_attention) {
            return wrong(format!("{} has no attention {attention}; unet and unetplusplus have", self.architecture));
        }
        if let Some(share) = self.norm_momentum.filter(|m| !(0.0..=1.0).contains(m)) {
            return wrong(format!("norm-momentum is {share}; it goes from 0 to 1"));
        }
        for (name, rate) in
            [("dropout", self.dropout), ("drop-path", self.drop_path), ("head-dropout", self.head_dropout)]
        {
            if let Some(rate) = rate.filter(|r| !(0.0..1.0).contains(r)) {
                return wrong(format!("{name} is {rate}; it goes from 0 to below 1"));
            }
        }
        self.validate_options().map_err(ModelError::Config)
    }

    /// What is added to an architecture.
    fn validate_options(&self) -> Result<(), String> {
        let architecture = self.architecture;
        if self.deep_supervision == Some(true) && !architecture.takes_deep_supervision() {
            return Err(format!("{architecture} has no deep supervision; unet3plus, nnunet and nnunet-resenc have"));
        }
        if architecture.default_encoder().is_none() {
            self.validate_whole_network()?;
        }
        if matches!(architecture, Architecture::NnUnet | Architecture::NnUnetResEnc) {
            self.validate_nnunet()?;
        } else if !is_default(&self.nnunet) {
            return Err(format!("nnunet sizes nnunet and nnunet-resenc; the architecture is {architecture}"));
        }
        if let (Some(scale), Some(encoder)) = (&self.encoder_scale, self.backbone()) {
            if !encoder.scales() {
                return Err(format!(
                    "encoder-scale: {encoder} is not to be had reduced; resnet, resnext, efficientnet and mit are"
                ));
            }
            scale.validate()?;
        }
        if let Some(options) = &self.point_rend {
            if self.upsampling_mode != Upsampling::Bilinear {
                return Err(format!("point-rend interpolates bilinearly; upsampling-mode is {}", self.upsampling_mode));
            }
            options.validate()?;
        }
        self.metadata.as_ref().map_or(Ok(()), MetadataOptions::validate)?;
        self.multi_scale_attention.as_ref().map_or(Ok(()), MultiScaleAttentionOptions::validate)
    }

    /// Options that go with an encoder and a decoder are refused where there are none.
    fn validate_whole_network(&self) -> Result<(), String> {
        let architecture = self.architecture;
        if let Some(encoder) = self.encoder {
            return Err(format!("{architecture} is a whole network: it does not take {encoder}; leave `encoder` out"));
        }
        let given = [
            ("upsampling-mode", self.upsampling_mode != Upsampling::Bilinear),
            ("head-dropout", self.head_dropout.is_some()),
            ("encoder-scale", self.encoder_scale.is_some()),
            ("point-rend", self.point_rend.is_some()),
            ("metadata", self.metadata.is_some()),
            ("multi-scale-attention", self.multi_scale_attention.is_some()),
        ];
        match given.iter().find(|g| g.1) {
            Some((key, _)) => {
                Err(format!("{architecture} is a whole network: {key} goes with an encoder and a decoder"))
            }
            None => Ok(()),
        }
    }

    fn validate_nnunet(&self) -> Result<(), String> {
        let architecture = self.architecture;
        if self.norm != Norm::Batch || self.norm_momentum.is_some() {
            return Err(format!(
                "{architecture} has instance norms and no batch norm that norm or norm-momentum could stand for; leave both out"
            ));
        }
        if self.depth != 5 {
            return Err(format!("depth counts the stages of an encoder; those of {architecture} are nnunet.stages"));
        }
        for (name, rate) in [("dropout", self.dropout), ("drop-path", self.drop_path)] {
            if rate.is_some_and(|r| r > 0.0) {
                return Err(format!("{architecture} has no {name}; leave it out"));
            }
        }
        self.nnunet.validate()
    }

    /// Refuses an encoder that the architecture cannot stand on.
    fn validate_encoder(&self, encoder: EncoderKind) -> Result<(), ModelError> {
        use EncoderKind::*;
        let wrong = |reason: String| Err(ModelError::Config(reason));
        let architecture = self.architecture;
        if architecture == Architecture::HrNetOcr {
            if !matches!(encoder, HrNetW18 | HrNetW32 | HrNetW48) {
                return wrong(format!(
                    "hrnet-ocr joins the branches of an HRNet, which {encoder} has not; \
                     take another encoder: {HrNetW18}, {HrNetW32} or {HrNetW48}"
                ));
            }
            if self.depth != 5 {
                return wrong(format!(
                    "hrnet-ocr joins all four branches of the HRNet: depth is 5, not {}",
                    self.depth
                ));
            }
        }
        let mixes = matches!(encoder, MitB0 | MitB1 | MitB2 | MitB3 | MitB4 | MitB5);
        if mixes && matches!(architecture, Architecture::UnetPlusPlus | Architecture::Linknet) {
            return wrong(format!(
                "{architecture} needs a feature at stride 2, which {encoder} has not; \
                 take another encoder, or unet, fpn, upernet or segformer"
            ));
        }
        if architecture.output_stride() < 32 && !encoder.dilates() {
            let reason = match encoder {
                HrNetW18 | HrNetW32 | HrNetW48 => "its branches keep their strides",
                SwinTiny | SwinSmall | SwinBase => "joined patches have no dilated form",
                _ => "overlapping patches have no dilated form",
            };
            return wrong(format!(
                "{architecture} dilates the encoder's last stages, which {encoder} cannot ({reason}); \
                 take another encoder, or unet, fpn, upernet or segformer"
            ));
        }
        if architecture == Architecture::Fpn && encoder.starts_at_stride_4() && self.depth != 5 {
            return wrong(format!("fpn needs four features, which {encoder} has at depth 5 alone"));
        }
        if let Some(rate) = self.drop_path.filter(|rate| *rate > 0.0 && !encoder.drops_paths()) {
            return wrong(format!(
                "drop-path is {rate}, but {encoder} has no stochastic depth; leave it out or set it to 0"
            ));
        }
        Ok(())
    }
}
