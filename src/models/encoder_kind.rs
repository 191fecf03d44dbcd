use crate::closed_enum::closed_enum;

closed_enum! {
    /// An encoder (backbone) with features at strides 1 to 32.
    pub enum EncoderKind ("encoder") {
        /// EfficientNet-B0.
        EfficientNetB0 = "efficientnet-b0",
        /// EfficientNet-B1.
        EfficientNetB1 = "efficientnet-b1",
        /// EfficientNet-B2.
        EfficientNetB2 = "efficientnet-b2",
        /// EfficientNet-B3.
        EfficientNetB3 = "efficientnet-b3",
        /// EfficientNet-B4.
        EfficientNetB4 = "efficientnet-b4",
        /// EfficientNet-B5.
        EfficientNetB5 = "efficientnet-b5",
        /// EfficientNet-B6.
        EfficientNetB6 = "efficientnet-b6",
        /// EfficientNet-B7.
        EfficientNetB7 = "efficientnet-b7",
        /// EfficientNetV2-S with TensorFlow's padding.
        EfficientNetV2S = "tu-tf_efficientnetv2_s",
        /// EfficientNetV2-M with TensorFlow's padding.
        EfficientNetV2M = "tu-tf_efficientnetv2_m",
        /// EfficientNetV2-L with TensorFlow's padding.
        EfficientNetV2L = "tu-tf_efficientnetv2_l",
        /// ResNet-18.
        ResNet18 = "resnet18",
        /// ResNet-34.
        ResNet34 = "resnet34",
        /// ResNet-50.
        ResNet50 = "resnet50",
        /// ResNet-101.
        ResNet101 = "resnet101",
        /// ResNeXt-101, 32 groups of width 8.
        ResNeXt101x32x8d = "resnext101_32x8d",
        /// MobileNetV2.
        MobileNetV2 = "mobilenet_v2",
        /// MobileNetV3-large.
        MobileNetV3Large = "tu-mobilenetv3_large_100",
        /// Mix transformer B0.
        MitB0 = "mit_b0",
        /// Mix transformer B1.
        MitB1 = "mit_b1",
        /// Mix transformer B2.
        MitB2 = "mit_b2",
        /// Mix transformer B3.
        MitB3 = "mit_b3",
        /// Mix transformer B4.
        MitB4 = "mit_b4",
        /// Mix transformer B5.
        MitB5 = "mit_b5",
        /// Swin transformer, tiny, windows of 7.
        SwinTiny = "tu-swin_tiny_patch4_window7_224",
        /// Swin transformer, small, windows of 7.
        SwinSmall = "tu-swin_small_patch4_window7_224",
        /// Swin transformer, base, windows of 7.
        SwinBase = "tu-swin_base_patch4_window7_224",
        /// HRNet-W18.
        HrNetW18 = "tu-hrnet_w18",
        /// HRNet-W32.
        HrNetW32 = "tu-hrnet_w32",
        /// HRNet-W48.
        HrNetW48 = "tu-hrnet_w48",
        /// ConvNeXt-T.
        ConvNeXtTiny = "tu-convnext_tiny",
        /// ConvNeXt-S.
        ConvNeXtSmall = "tu-convnext_small",
        /// ConvNeXt-B.
        ConvNeXtBase = "tu-convnext_base",
        /// ConvNeXtV2-T.
        ConvNeXtV2Tiny = "tu-convnextv2_tiny",
        /// ConvNeXtV2-B.
        ConvNeXtV2Base = "tu-convnextv2_base",
        /// ConvNeXtV2-L.
        ConvNeXtV2Large = "tu-convnextv2_large",
    }
}

/// A family of encoders with the same structure and different sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// EfficientNet with TensorFlow's padding.
    EfficientNet,
    /// EfficientNetV2.
    EfficientNetV2,
    /// ResNet and ResNeXt.
    ResNet,
    /// MobileNetV2.
    MobileNetV2,
    /// MobileNetV3.
    MobileNetV3,
    /// Mix transformer, SegFormer's encoder.
    MixTransformer,
    /// Swin transformer.
    Swin,
    /// HRNet.
    HrNet,
    /// ConvNeXt.
    ConvNeXt,
    /// ConvNeXtV2.
    ConvNeXtV2,
}

impl Family {
    /// The implementation in another library whose names of weights and results are reproduced here; `smp` is
    /// segmentation_models_pytorch.
    fn reference(self) -> &'static str {
        match self {
            Family::EfficientNet => "smp EfficientNetEncoder",
            Family::ResNet => "smp ResNetEncoder",
            Family::EfficientNetV2 | Family::MobileNetV3 => "smp TimmUniversalEncoder",
            Family::MobileNetV2 => "smp MobileNetV2Encoder",
            Family::MixTransformer => "smp MixVisionTransformerEncoder",
            Family::Swin => "timm SwinTransformer (strict_img_size=False)",
            Family::HrNet => "timm HighResolutionNet",
            Family::ConvNeXt | Family::ConvNeXtV2 => "timm ConvNeXt",
        }
    }

    /// Whether its first feature is at stride 4, with none at stride 2.
    fn starts_at_stride_4(self) -> bool {
        match self {
            Family::MixTransformer | Family::ConvNeXt | Family::ConvNeXtV2 | Family::Swin => true,
            Family::EfficientNet
            | Family::EfficientNetV2
            | Family::ResNet
            | Family::MobileNetV2
            | Family::MobileNetV3
            | Family::HrNet => false,
        }
    }

    /// Why its last stages cannot be dilated for features at stride 8 or 16, as in
    /// segmentation_models_pytorch; `None` if they can.
    pub(super) fn cannot_dilate(self) -> Option<&'static str> {
        match self {
            Family::MixTransformer => Some("overlapping patches have no dilated form"),
            Family::Swin => Some("patch merging has no dilated form"),
            Family::HrNet => Some("its branches keep their strides"),
            Family::EfficientNet
            | Family::EfficientNetV2
            | Family::ResNet
            | Family::MobileNetV2
            | Family::MobileNetV3
            | Family::ConvNeXt
            | Family::ConvNeXtV2 => None,
        }
    }

    /// Whether it supports stochastic depth, as in timm.
    pub(super) fn drops_paths(self) -> bool {
        match self {
            Family::ResNet | Family::MobileNetV2 | Family::HrNet => false,
            Family::EfficientNet
            | Family::EfficientNetV2
            | Family::MobileNetV3
            | Family::MixTransformer
            | Family::Swin
            | Family::ConvNeXt
            | Family::ConvNeXtV2 => true,
        }
    }

    /// Whether it has batch norms; otherwise it has layer norms.
    pub(super) fn has_batch_norms(self) -> bool {
        match self {
            Family::MixTransformer | Family::Swin | Family::ConvNeXt | Family::ConvNeXtV2 => false,
            Family::EfficientNet
            | Family::EfficientNetV2
            | Family::ResNet
            | Family::MobileNetV2
            | Family::MobileNetV3
            | Family::HrNet => true,
        }
    }

    /// Whether `encoder-scale` can make it narrower and shallower.
    pub fn scales(self) -> bool {
        match self {
            Family::EfficientNet | Family::ResNet | Family::MixTransformer => true,
            Family::EfficientNetV2
            | Family::MobileNetV2
            | Family::MobileNetV3
            | Family::Swin
            | Family::HrNet
            | Family::ConvNeXt
            | Family::ConvNeXtV2 => false,
        }
    }
}

impl EncoderKind {
    /// Its family.
    pub fn family(self) -> Family {
        use EncoderKind::*;
        match self {
            EfficientNetB0 | EfficientNetB1 | EfficientNetB2 | EfficientNetB3 | EfficientNetB4 | EfficientNetB5
            | EfficientNetB6 | EfficientNetB7 => Family::EfficientNet,
            EfficientNetV2S | EfficientNetV2M | EfficientNetV2L => Family::EfficientNetV2,
            ResNet18 | ResNet34 | ResNet50 | ResNet101 | ResNeXt101x32x8d => Family::ResNet,
            MobileNetV2 => Family::MobileNetV2,
            MobileNetV3Large => Family::MobileNetV3,
            MitB0 | MitB1 | MitB2 | MitB3 | MitB4 | MitB5 => Family::MixTransformer,
            SwinTiny | SwinSmall | SwinBase => Family::Swin,
            HrNetW18 | HrNetW32 | HrNetW48 => Family::HrNet,
            ConvNeXtTiny | ConvNeXtSmall | ConvNeXtBase => Family::ConvNeXt,
            ConvNeXtV2Tiny | ConvNeXtV2Base | ConvNeXtV2Large => Family::ConvNeXtV2,
        }
    }

    /// The implementation in another library whose names of weights and results are reproduced here; `smp` is
    /// segmentation_models_pytorch.
    pub fn reference(self) -> &'static str {
        self.family().reference()
    }

    /// Whether its first feature is at stride 4, with none at stride 2.
    pub fn starts_at_stride_4(self) -> bool {
        self.family().starts_at_stride_4()
    }

    /// The prefix of the encoder's weights in a model; the rest of a name is that of the published encoder. Encoders
    /// from timm (`tu-`) are one level deeper, inside SMP's universal encoder.
    pub fn weights_prefix(self) -> &'static str {
        if self.name().starts_with("tu-") { "encoder.model." } else { "encoder." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for kind in EncoderKind::ALL {
            assert_eq!(EncoderKind::from_name(kind.name()), Some(*kind));
        }
        let error = "vgg".parse::<EncoderKind>().unwrap_err().to_string();
        assert!(error.contains("vgg") && error.contains("resnet34"), "{error}");
    }
}
