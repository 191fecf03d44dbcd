use serde::{Deserialize, Serialize};

use super::{Architecture, Attention, EncoderKind, ModelError, Norm};
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
        if let Some(backbone) = architecture.own_backbone() {
            if let Some(encoder) = self.encoder {
                return wrong(format!(
                    "{architecture} takes no encoder, so not {encoder}: it has a backbone of its own, {backbone}; \
                     leave `encoder` out"
                ));
            }
            if self.depth != 5 {
                return wrong(format!("depth is {}; {architecture} uses all 5 stages of {backbone}", self.depth));
            }
        }
        if self.auxiliary && !architecture.takes_auxiliary() {
            return wrong(format!(
                "{architecture} has no auxiliary head; torchvision-deeplabv3 and torchvision-fcn have"
            ));
        }
        if let Some(encoder) = self.backbone().filter(|e| e.starts_at_stride_4()) {
            if matches!(architecture, Architecture::UnetPlusPlus | Architecture::Linknet) {
                return wrong(format!(
                    "{architecture} needs a feature at stride 2, which {encoder} has not; \
                     take another encoder, or unet, fpn, upernet or segformer"
                ));
            }
            if architecture.output_stride() < 32 {
                return wrong(format!(
                    "{architecture} dilates the encoder's last stages, which {encoder} cannot; \
                     take another encoder, or unet, fpn, upernet or segformer"
                ));
            }
            if architecture == Architecture::Fpn && self.depth != 5 {
                return wrong(format!("fpn needs four features, which {encoder} has at depth 5 alone"));
            }
        }
        let takes_attention = matches!(self.architecture, Architecture::Unet | Architecture::UnetPlusPlus);
        if let Some(attention) = self.attention.filter(|_| !takes_attention) {
            return wrong(format!("{} has no attention {attention}; unet and unetplusplus have", self.architecture));
        }
        if let Some(share) = self.norm_momentum.filter(|m| !(0.0..=1.0).contains(m)) {
            return wrong(format!("norm-momentum is {share}; it goes from 0 to 1"));
        }
        for (name, rate) in [("dropout", self.dropout), ("drop-path", self.drop_path)] {
            if let Some(rate) = rate.filter(|r| !(0.0..1.0).contains(r)) {
                return wrong(format!("{name} is {rate}; it goes from 0 to below 1"));
            }
        }
        Ok(())
    }
}
