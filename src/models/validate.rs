//! What cannot be built is refused before anything is, with the reason and the way out: no option is accepted and then
//! ignored.

use super::config::is_default;
use super::{
    Architecture, EncoderKind, Family, MetadataOptions, ModelConfig, ModelError, MultiScaleAttentionOptions, Norm,
    Upsampling, decoders,
};

/// What is wrong.
type Refusal = Result<(), String>;

impl ModelConfig {
    /// Refuses what cannot be built, with the reason.
    ///
    /// # Errors
    /// [`ModelError::Config`]: a value out of its range, an encoder that the architecture cannot stand on, or an option
    /// that has no place in the architecture.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.check().map_err(ModelError::Config)
    }

    fn check(&self) -> Refusal {
        self.check_ranges()?;
        self.check_strides()?;
        if self.architecture.default_encoder().is_none() {
            self.check_whole_network()?;
        }
        if let Some(encoder) = self.backbone() {
            self.check_encoder(encoder)?;
        }
        self.check_training()?;
        self.check_norm()?;
        self.check_head()?;
        self.check_parts()
    }

    fn check_ranges(&self) -> Refusal {
        if ![1, 3].contains(&self.in_channels) {
            return Err(format!("in-channels is {}; images have 1 or 3 channels", self.in_channels));
        }
        if self.classes < 1 {
            return Err(format!("classes is {}; at least one is needed", self.classes));
        }
        if !(3..=5).contains(&self.depth) {
            return Err(format!("depth is {}; it goes from 3 to 5", self.depth));
        }
        if let Some(share) = self.norm_momentum.filter(|m| !(0.0..=1.0).contains(m)) {
            return Err(format!("norm-momentum is {share}; it goes from 0 to 1"));
        }
        for (name, rate) in
            [("dropout", self.dropout), ("drop-path", self.drop_path), ("head-dropout", self.head_dropout)]
        {
            if let Some(rate) = rate.filter(|r| !(0.0..1.0).contains(r)) {
                return Err(format!("{name} is {rate}; it goes from 0 to below 1"));
            }
        }
        Ok(())
    }

    fn check_strides(&self) -> Refusal {
        let strides = self.architecture.output_strides();
        if let Some(stride) = self.output_stride.filter(|stride| !strides.contains(stride)) {
            let strides: Vec<String> = strides.iter().map(i64::to_string).collect();
            return Err(format!("output-stride is {stride}; {} has {}", self.architecture, strides.join(" or ")));
        }
        Ok(())
    }

    /// Options that go with an encoder and a decoder are refused where there are none.
    fn check_whole_network(&self) -> Refusal {
        let architecture = self.architecture;
        if let Some(encoder) = self.encoder {
            return Err(format!(
                "{architecture} is a whole network with an encoder of its own, so it takes no {encoder}; \
                 leave `encoder` out"
            ));
        }
        if self.depth != 5 {
            return Err(match architecture {
                Architecture::NnUnet | Architecture::NnUnetResEnc => {
                    format!("depth is {}; {architecture} is sized by nnunet.stages instead", self.depth)
                }
                _ => format!("depth is {}; {architecture} has all 5 stages", self.depth),
            });
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

    /// Refuses an encoder that the architecture cannot stand on.
    fn check_encoder(&self, encoder: EncoderKind) -> Refusal {
        let (architecture, family) = (self.architecture, encoder.family());
        if let Some((families, names)) = architecture.own_encoders() {
            if !families.contains(&family) {
                return Err(format!("{architecture} stands on {names}; take another encoder than {encoder}"));
            }
            if self.depth != 5 {
                return Err(format!("depth is {}; {architecture} has all 5 stages", self.depth));
            }
        }
        let wants_stride_2 = matches!(architecture, Architecture::UnetPlusPlus | Architecture::Linknet);
        if wants_stride_2 && family == Family::MixTransformer {
            return Err(format!(
                "{architecture} needs a feature at stride 2, which {encoder} has not; \
                 take another encoder, or unet, fpn, upernet or segformer"
            ));
        }
        if self.output_stride() < 32
            && let Some(reason) = family.cannot_dilate()
        {
            let wider = architecture.output_strides().contains(&32);
            return Err(format!(
                "{architecture} dilates the encoder's last stages, which {encoder} cannot ({reason}); \
                 take another encoder, or unet, fpn, upernet or segformer{}",
                if wider { ", or output-stride = 32" } else { "" }
            ));
        }
        if architecture == Architecture::Fpn && encoder.starts_at_stride_4() && self.depth != 5 {
            return Err(format!("fpn needs four features, which {encoder} has at depth 5 alone"));
        }
        if let Some(scale) = &self.encoder_scale {
            if !family.scales() {
                return Err(format!(
                    "encoder-scale: {encoder} is not to be had reduced; resnet, resnext, efficientnet and mit are"
                ));
            }
            scale.validate()?;
        }
        Ok(())
    }

    /// What only training sees.
    fn check_training(&self) -> Refusal {
        let architecture = self.architecture;
        if self.deep_supervision == Some(true) && !architecture.takes_deep_supervision() {
            return Err(format!("{architecture} has no deep supervision; unet3plus, nnunet and nnunet-resenc have"));
        }
        if let Some(reason) = architecture.refuses_auxiliary().filter(|_| self.auxiliary) {
            return Err(format!("{architecture} takes no auxiliary head: {reason}"));
        }
        if let Some(rate) = self.dropout.filter(|rate| *rate > 0.0 && !architecture.takes_dropout()) {
            let instead = match architecture.default_encoder() {
                Some(_) => "; head-dropout goes with any decoder",
                None => "",
            };
            return Err(format!(
                "dropout is {rate}, but {architecture} has none{instead}; leave it out or set it to 0"
            ));
        }
        if let Some(rate) = self.drop_path.filter(|rate| *rate > 0.0) {
            let without = match self.backbone() {
                Some(encoder) if !encoder.family().drops_paths() => Some(encoder.name()),
                None if architecture != Architecture::SwinUnetr => Some(architecture.name()),
                _ => None,
            };
            if let Some(name) = without {
                return Err(format!(
                    "drop-path is {rate}, but {name} has no stochastic depth; leave it out or set it to 0"
                ));
            }
        }
        Ok(())
    }

    fn check_norm(&self) -> Refusal {
        if !self.has_batch_norms() && (self.norm != Norm::Batch || self.norm_momentum.is_some()) {
            return Err(format!(
                "{} has no batch norm that norm or norm-momentum could stand for; leave both out",
                self.describe()
            ));
        }
        Ok(())
    }

    fn has_batch_norms(&self) -> bool {
        match self.architecture {
            Architecture::SwinUnetr | Architecture::NnUnet | Architecture::NnUnetResEnc => false,
            // Its own are group norms; the auxiliary head has a batch norm.
            Architecture::Fpn => self.auxiliary || self.backbone().is_none_or(|e| e.family().has_batch_norms()),
            _ => true,
        }
    }

    fn check_head(&self) -> Refusal {
        let mode = self.upsampling_mode;
        if mode == Upsampling::Bilinear {
            return Ok(());
        }
        if self.point_rend.is_some() {
            return Err(format!("point-rend interpolates bilinearly; upsampling-mode is {mode}"));
        }
        let head = decoders::head(self).map_err(|error| error.to_string())?;
        if head.upsampling == 1 {
            return Err(format!(
                "upsampling-mode is {mode}, but {} gives its logits at the size of the image; leave it out",
                self.architecture
            ));
        }
        Ok(())
    }

    /// What one architecture or a few have, and what is added to any.
    fn check_parts(&self) -> Refusal {
        let architecture = self.architecture;
        if let Some(rates) = self.atrous_rates {
            let pyramid = matches!(
                architecture,
                Architecture::DeepLabV3 | Architecture::DeepLabV3Plus | Architecture::TorchvisionDeepLabV3
            );
            if !pyramid {
                return Err(format!(
                    "{architecture} has no pyramid for atrous-rates; \
                     deeplabv3, deeplabv3plus and torchvision-deeplabv3 have"
                ));
            }
            if rates.iter().any(|rate| *rate < 1) {
                return Err(format!("atrous-rates is {rates:?}; each is 1 or more"));
            }
        }
        let takes_attention = matches!(architecture, Architecture::Unet | Architecture::UnetPlusPlus);
        if let Some(attention) = self.attention.filter(|_| !takes_attention) {
            return Err(format!("{architecture} has no attention {attention}; unet and unetplusplus have"));
        }
        if let Some(size) = self.feature_size {
            if architecture != Architecture::SwinUnetr {
                return Err(format!("feature-size is that of swin-unetr; {architecture} has none"));
            }
            if ![24, 36, 48].contains(&size) {
                return Err(format!("feature-size is {size}; swin-unetr comes with 24, 36 and 48"));
            }
        }
        if matches!(architecture, Architecture::NnUnet | Architecture::NnUnetResEnc) {
            self.nnunet.validate()?;
        } else if !is_default(&self.nnunet) {
            return Err(format!("nnunet sizes nnunet and nnunet-resenc; the architecture is {architecture}"));
        }
        if let Some(options) = &self.point_rend {
            options.validate()?;
        }
        self.metadata.as_ref().map_or(Ok(()), MetadataOptions::validate)?;
        self.multi_scale_attention.as_ref().map_or(Ok(()), MultiScaleAttentionOptions::validate)
    }
}
