//! A configuration that cannot be built is refused before anything is built, with the reason and how to fix it: no
//! option is accepted and then ignored.

use super::config::is_default;
use super::{
    Architecture, DecoderKind, EncoderFamilies, EncoderKind, Family, ModelConfig, ModelError, NetworkKind, Norm,
    Upsampling, decoders,
};
use crate::bones;
use crate::violation::Violations;

impl ModelConfig {
    /// Checks that the model can be built.
    ///
    /// # Errors
    /// [`ModelError::Config`]: a value out of range, an encoder that the architecture cannot use, or an option that the
    /// architecture does not have.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.violations().result().map_err(|wrong| ModelError::Config(wrong.to_string()))
    }

    /// Every value out of range, and every option that the architecture does not have.
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
        // The shape of the head is defined only for a valid encoder and decoder.
        if wrong.is_empty() {
            self.check_head(&mut wrong);
        }
        wrong
    }

    fn check_ranges(&self, wrong: &mut Violations) {
        wrong.expect([1, 3].contains(&self.in_channels), "in-channels", self.in_channels, "1 (grey) or 3 (RGB)");
        wrong.expect(self.classes >= 1, "classes", self.classes, "at least 1");
        wrong.extend(self.pairs.violations());
        let are_bones = self.pairs.is_empty() || self.classes == bones::COUNT as i64;
        wrong.expect(are_bones, "classes", self.classes, "29, the number of bones, for pairs of them");
        wrong.expect((3..=5).contains(&self.depth()), "depth", self.depth(), "3 to 5");
        if let Some(share) = self.norm_momentum {
            wrong.expect((0.0..=1.0).contains(&share), "norm-momentum", share, "from 0 to 1");
        }
        for (key, rate) in
            [("dropout", self.dropout), ("drop-path", self.drop_path), ("head-dropout", self.head_dropout)]
        {
            if let Some(rate) = rate {
                wrong.expect((0.0..1.0).contains(&rate), key, rate, "at least 0 and below 1");
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

    /// Refuses the options of encoder-decoder models for a whole network.
    fn check_whole_network(&self, wrong: &mut Violations) {
        let architecture = self.architecture;
        if let Some(encoder) = self.encoder {
            let expected = format!("no value: {architecture} has its own encoder; remove `encoder`");
            wrong.refuse("encoder", encoder, expected);
        }
        let depth = if architecture.is_nnunet() { "takes its depth from nnunet.stages" } else { "has all 5 stages" };
        wrong.expect(self.depth() == 5, "depth", self.depth(), format!("5: {architecture} {depth}"));
        for (key, given) in [
            ("upsampling-mode", self.upsampling_mode != Upsampling::Bilinear),
            ("head-dropout", self.head_dropout.is_some()),
            ("encoder-scale", self.encoder_scale.is_some()),
            ("point-rend", self.point_rend.is_some()),
            ("metadata", self.metadata.is_some()),
            ("multi-scale-attention", self.multi_scale_attention.is_some()),
        ] {
            let expected = format!(
                "no value: {key} needs an encoder and a decoder, and {architecture} is a whole network; remove it"
            );
            wrong.expect(!given, key, "set", expected);
        }
    }

    /// Refuses an encoder that the architecture cannot use.
    fn check_encoder(&self, encoder: EncoderKind, wrong: &mut Violations) {
        let (architecture, family) = (self.architecture, encoder.family());
        if let Some(EncoderFamilies { families, names }) = architecture.own_encoders() {
            let expected = format!("{names}: {architecture} works with no others; choose another encoder");
            wrong.expect(families.contains(&family), "encoder", encoder, expected);
            wrong.expect(self.depth() == 5, "depth", self.depth(), format!("5: {architecture} has all 5 stages"));
        }
        let wants_stride_2 =
            matches!(architecture, Architecture::Decoder(DecoderKind::UnetPlusPlus | DecoderKind::Linknet));
        if wants_stride_2 && family == Family::MixTransformer {
            let expected = format!(
                "an encoder with a feature at stride 2, which {architecture} needs; choose another encoder, or the \
                 architecture unet, fpn, upernet or segformer"
            );
            wrong.refuse("encoder", encoder, expected);
        }
        if self.output_stride() < 32
            && let Some(reason) = family.cannot_dilate()
        {
            let wider = if architecture.output_strides().contains(&32) { ", or output-stride = 32" } else { "" };
            let expected = format!(
                "an encoder whose last stages can be dilated, which {architecture} needs ({encoder}: {reason}); choose \
                 another encoder, or the architecture unet, fpn, upernet or segformer{wider}"
            );
            wrong.refuse("encoder", encoder, expected);
        }
        if architecture == Architecture::Decoder(DecoderKind::Fpn) && encoder.starts_at_stride_4() {
            let expected = format!("5: fpn needs four features, and {encoder} has four only at depth 5");
            wrong.expect(self.depth() == 5, "depth", self.depth(), expected);
        }
        if let Some(scale) = &self.encoder_scale {
            if !family.scales() {
                let expected =
                    format!("no value: {encoder} cannot be scaled; resnet, resnext, efficientnet and mit encoders can");
                wrong.refuse("encoder-scale", scale, expected);
            }
            wrong.inside("encoder-scale", scale.violations());
        }
    }

    /// Options that only affect training.
    fn check_training(&self, wrong: &mut Violations) {
        let architecture = self.architecture;
        if self.deep_supervision == Some(true) {
            let expected =
                format!("false: {architecture} has no deep supervision; unet3plus, nnunet and nnunet-resenc have it");
            wrong.expect(architecture.takes_deep_supervision(), "deep-supervision", true, expected);
        }
        if let Some(reason) = architecture.refuses_auxiliary().filter(|_| self.auxiliary) {
            wrong.refuse("auxiliary", true, format!("false: {architecture} takes no auxiliary head, because {reason}"));
        }
        if let Some(rate) = self.dropout.filter(|rate| *rate > 0.0 && !architecture.takes_dropout()) {
            let instead = architecture.default_encoder().map_or("", |_| "; head-dropout works with every decoder");
            wrong.refuse(
                "dropout",
                format_args!("{rate}, but {architecture} has no dropout"),
                format!("0 or no value{instead}"),
            );
        }
        if let Some(rate) = self.drop_path.filter(|rate| *rate > 0.0) {
            let without = match self.backbone() {
                Some(encoder) if !encoder.family().drops_paths() => Some(encoder.name()),
                None if architecture != Architecture::Network(NetworkKind::SwinUnetr) => Some(architecture.name()),
                _ => None,
            };
            if let Some(name) = without {
                wrong.refuse("drop-path", format_args!("{rate}, but {name} has no stochastic depth"), "0 or no value");
            }
        }
    }

    fn check_norm(&self, wrong: &mut Violations) {
        if self.has_batch_norms() {
            return;
        }
        let expected = || format!("no value: {} has no batch norm; remove the key", self.describe());
        wrong.expect(self.norm == Norm::Batch, "norm", self.norm, expected());
        if let Some(share) = self.norm_momentum {
            wrong.refuse("norm-momentum", share, expected());
        }
    }

    fn has_batch_norms(&self) -> bool {
        match self.architecture {
            Architecture::Network(NetworkKind::SwinUnetr | NetworkKind::NnUnet | NetworkKind::NnUnetResEnc) => false,
            // The decoder has group norms; the auxiliary head has a batch norm.
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
            wrong.refuse("upsampling-mode", mode, "bilinear, which point-rend needs");
        }
        let expected = format!("no value: the logits of {} already have the image's size", self.architecture);
        let grows =
            matches!(self.architecture, Architecture::Decoder(kind) if decoders::head(kind, self).upsampling > 1);
        wrong.expect(grows, "upsampling-mode", mode, expected);
    }

    /// Options of one or a few architectures, and options of the optional parts.
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
                "no value: {architecture} has no pyramid of dilated convolutions; deeplabv3, deeplabv3plus and \
                 torchvision-deeplabv3 have one"
            );
            wrong.expect(pyramid, "atrous-rates", &found, expected);
            wrong.expect(rates.iter().all(|rate| *rate >= 1), "atrous-rates", found, "1 or more each");
        }
        if let Some(attention) = self.attention {
            let takes = matches!(
                architecture,
                Architecture::Decoder(DecoderKind::Unet) | Architecture::Decoder(DecoderKind::UnetPlusPlus)
            );
            let expected = format!("no value: {architecture} has no attention; unet and unetplusplus have it");
            wrong.expect(takes, "attention", attention, expected);
        }
        if let Some(size) = self.feature_size {
            let expected = format!("no value: it sizes swin-unetr; the architecture is {architecture}");
            wrong.expect(architecture == Architecture::Network(NetworkKind::SwinUnetr), "feature-size", size, expected);
            let sizes = [24, 36, 48].contains(&size);
            wrong.expect(sizes, "feature-size", size, "24, 36 or 48");
        }
        let sized = architecture.is_nnunet();
        if !sized && !is_default(&self.nnunet) {
            let expected = format!("no value: it sizes nnunet and nnunet-resenc; the architecture is {architecture}");
            wrong.refuse("nnunet", "set", expected);
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
