//! What cannot be built is refused before anything is, with the reason and the way out: no option is accepted and then
//! ignored.

use super::config::is_default;
use super::{
    Architecture, DecoderKind, EncoderKind, Family, ModelConfig, ModelError, NetworkKind, Norm, Upsampling, decoders,
};
use crate::violation::Violations;

impl ModelConfig {
    /// Refuses what cannot be built, with the reasons.
    ///
    /// # Errors
    /// [`ModelError::Config`]: a value out of its range, an encoder that the architecture cannot stand on, or an option
    /// that has no place in the architecture.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.violations().result().map_err(|wrong| ModelError::Config(wrong.to_string()))
    }

    /// Every value out of its range, and every option that has no place in the architecture.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.check_ranges(&mut wrong);
        if self.architecture.default_encoder().is_none() {
            self.check_whole_network(&mut wrong);
        }
        if let Some(encoder) = self.backbone() {
            self.check_encoder(encoder, &mut wrong);
        }
        self.check_training(&mut wrong);
        self.check_norm(&mut wrong);
        self.check_parts(&mut wrong);
        // A head is one of an encoder and a decoder that can be.
        if wrong.is_empty() {
            self.check_head(&mut wrong);
        }
        wrong
    }

    fn check_ranges(&self, wrong: &mut Violations) {
        wrong.expect([1, 3].contains(&self.in_channels), "in-channels", self.in_channels, "1 or 3, as images have");
        wrong.expect(self.classes >= 1, "classes", self.classes, "at least 1");
        wrong.expect((3..=5).contains(&self.depth()), "depth", self.depth(), "3 to 5");
        if let Some(share) = self.norm_momentum {
            wrong.expect((0.0..=1.0).contains(&share), "norm-momentum", share, "from 0 to 1");
        }
        for (key, rate) in
            [("dropout", self.dropout), ("drop-path", self.drop_path), ("head-dropout", self.head_dropout)]
        {
            if let Some(rate) = rate {
                wrong.expect((0.0..1.0).contains(&rate), key, rate, "from 0 to below 1");
            }
        }
        let strides = self.architecture.output_strides();
        if let Some(stride) = self.output_stride.filter(|stride| !strides.contains(stride)) {
            let expected = match strides {
                [only] => format!("{only}: {} has stride {only} only", self.architecture),
                several => {
                    let strides: Vec<String> = several.iter().map(i64::to_string).collect();
                    format!("{}, the strides of {}", strides.join(" or "), self.architecture)
                }
            };
            wrong.refuse("output-stride", stride, expected);
        }
    }

    /// Options that go with an encoder and a decoder are refused where there are none.
    fn check_whole_network(&self, wrong: &mut Violations) {
        let architecture = self.architecture;
        if let Some(encoder) = self.encoder {
            let expected =
                format!("none: {architecture} is a whole network with an encoder of its own; leave `encoder` out");
            wrong.refuse("encoder", encoder, expected);
        }
        let sized_by = if architecture.is_nnunet() { "is sized by nnunet.stages instead" } else { "has all 5 stages" };
        wrong.expect(self.depth() == 5, "depth", self.depth(), format!("5: {architecture} {sized_by}"));
        for (key, given) in [
            ("upsampling-mode", self.upsampling_mode != Upsampling::Bilinear),
            ("head-dropout", self.head_dropout.is_some()),
            ("encoder-scale", self.encoder_scale.is_some()),
            ("point-rend", self.point_rend.is_some()),
            ("metadata", self.metadata.is_some()),
            ("multi-scale-attention", self.multi_scale_attention.is_some()),
        ] {
            let expected =
                format!("no such key: {architecture} is a whole network, and {key} goes with an encoder and a decoder");
            wrong.expect(!given, key, "given", expected);
        }
    }

    /// Refuses an encoder that the architecture cannot stand on.
    fn check_encoder(&self, encoder: EncoderKind, wrong: &mut Violations) {
        let (architecture, family) = (self.architecture, encoder.family());
        if let Some((families, names)) = architecture.own_encoders() {
            let expected = format!("another: {architecture} stands on {names}; take another encoder");
            wrong.expect(families.contains(&family), "encoder", encoder, expected);
            wrong.expect(self.depth() == 5, "depth", self.depth(), format!("5: {architecture} has all 5 stages"));
        }
        let wants_stride_2 =
            matches!(architecture, Architecture::Decoder(DecoderKind::UnetPlusPlus | DecoderKind::Linknet));
        if wants_stride_2 && family == Family::MixTransformer {
            let expected = format!(
                "another: {architecture} needs a feature at stride 2, which it has not; take another encoder, or unet, \
                 fpn, upernet or segformer"
            );
            wrong.refuse("encoder", encoder, expected);
        }
        if self.output_stride() < 32
            && let Some(reason) = family.cannot_dilate()
        {
            let wider = if architecture.output_strides().contains(&32) { ", or output-stride = 32" } else { "" };
            let expected = format!(
                "another: {architecture} dilates the encoder's last stages, which it cannot ({reason}); take another \
                 encoder, or unet, fpn, upernet or segformer{wider}"
            );
            wrong.refuse("encoder", encoder, expected);
        }
        if architecture == Architecture::Decoder(DecoderKind::Fpn) && encoder.starts_at_stride_4() {
            let expected = format!("5: fpn needs four features, which {encoder} has at depth 5 alone");
            wrong.expect(self.depth() == 5, "depth", self.depth(), expected);
        }
        if let Some(scale) = &self.encoder_scale {
            if !family.scales() {
                let expected =
                    format!("none: {encoder} is not to be had reduced; resnet, resnext, efficientnet and mit are");
                wrong.refuse("encoder-scale", scale, expected);
            }
            wrong.inside("encoder-scale", scale.violations());
        }
    }

    /// What only training sees.
    fn check_training(&self, wrong: &mut Violations) {
        let architecture = self.architecture;
        if self.deep_supervision == Some(true) {
            let expected =
                format!("false: {architecture} has no deep supervision; unet3plus, nnunet and nnunet-resenc have");
            wrong.expect(architecture.takes_deep_supervision(), "deep-supervision", true, expected);
        }
        if let Some(reason) = architecture.refuses_auxiliary().filter(|_| self.auxiliary) {
            wrong.refuse("auxiliary", true, format!("false: {architecture} takes no auxiliary head: {reason}"));
        }
        if let Some(rate) = self.dropout.filter(|rate| *rate > 0.0 && !architecture.takes_dropout()) {
            let instead = architecture.default_encoder().map_or("", |_| "; head-dropout goes with any decoder");
            wrong.refuse(
                "dropout",
                format_args!("{rate}, but {architecture} has none"),
                format!("0 or no such key{instead}"),
            );
        }
        if let Some(rate) = self.drop_path.filter(|rate| *rate > 0.0) {
            let without = match self.backbone() {
                Some(encoder) if !encoder.family().drops_paths() => Some(encoder.name()),
                None if architecture != Architecture::Network(NetworkKind::SwinUnetr) => Some(architecture.name()),
                _ => None,
            };
            if let Some(name) = without {
                wrong.refuse(
                    "drop-path",
                    format_args!("{rate}, but {name} has no stochastic depth"),
                    "0 or no such key",
                );
            }
        }
    }

    fn check_norm(&self, wrong: &mut Violations) {
        if self.has_batch_norms() {
            return;
        }
        let expected = || format!("no such key: {} has no batch norm that it could stand for", self.describe());
        wrong.expect(self.norm == Norm::Batch, "norm", self.norm, expected());
        if let Some(share) = self.norm_momentum {
            wrong.refuse("norm-momentum", share, expected());
        }
    }

    fn has_batch_norms(&self) -> bool {
        match self.architecture {
            Architecture::Network(NetworkKind::SwinUnetr | NetworkKind::NnUnet | NetworkKind::NnUnetResEnc) => false,
            // Its own are group norms; the auxiliary head has a batch norm.
            Architecture::Decoder(DecoderKind::Fpn) => {
                self.auxiliary || self.backbone().is_none_or(|e| e.family().has_batch_norms())
            }
            _ => true,
        }
    }

    fn check_head(&self, wrong: &mut Violations) {
        let mode = self.upsampling_mode;
        if mode == Upsampling::Bilinear {
            return;
        }
        if self.point_rend.is_some() {
            wrong.refuse("upsampling-mode", mode, "bilinear: point-rend interpolates so");
        }
        let expected = format!("no such key: {} gives its logits at the size of the image", self.architecture);
        let grows =
            matches!(self.architecture, Architecture::Decoder(kind) if decoders::head(kind, self).upsampling > 1);
        wrong.expect(grows, "upsampling-mode", mode, expected);
    }

    /// What one architecture or a few have, and what is added to any.
    fn check_parts(&self, wrong: &mut Violations) {
        let architecture = self.architecture;
        if let Some(rates) = self.atrous_rates {
            let pyramid = matches!(
                architecture,
                Architecture::Decoder(DecoderKind::DeepLabV3 | DecoderKind::DeepLabV3Plus)
                    | Architecture::Network(NetworkKind::TorchvisionDeepLabV3)
            );
            let found = format!("{rates:?}");
            let expected = format!(
                "no such key: {architecture} has no pyramid; deeplabv3, deeplabv3plus and torchvision-deeplabv3 have"
            );
            wrong.expect(pyramid, "atrous-rates", &found, expected);
            wrong.expect(rates.iter().all(|rate| *rate >= 1), "atrous-rates", found, "1 or more each");
        }
        if let Some(attention) = self.attention {
            let takes = matches!(
                architecture,
                Architecture::Decoder(DecoderKind::Unet) | Architecture::Decoder(DecoderKind::UnetPlusPlus)
            );
            let expected = format!("none: {architecture} has no attention; unet and unetplusplus have");
            wrong.expect(takes, "attention", attention, expected);
        }
        if let Some(size) = self.feature_size {
            let expected = format!("no such key: it is that of swin-unetr; {architecture} has none");
            wrong.expect(architecture == Architecture::Network(NetworkKind::SwinUnetr), "feature-size", size, expected);
            let sizes = [24, 36, 48].contains(&size);
            wrong.expect(sizes, "feature-size", size, "one of those that swin-unetr comes with: 24, 36 and 48");
        }
        let sized = architecture.is_nnunet();
        if !sized && !is_default(&self.nnunet) {
            let expected =
                format!("no such key: it sizes nnunet and nnunet-resenc; the architecture is {architecture}");
            wrong.refuse("nnunet", "given", expected);
        }
        wrong.inside("nnunet", self.nnunet.violations());
        if let Some(options) = &self.point_rend {
            wrong.inside("point-rend", options.violations());
        }
        if let Some(options) = &self.metadata {
            wrong.inside("metadata", options.violations());
        }
        if let Some(options) = &self.multi_scale_attention {
            wrong.inside("multi-scale-attention", options.violations());
        }
    }
}
