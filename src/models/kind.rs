use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::closed_enum::closed_enum;

closed_enum! {
    /// A decoder with its head on an encoder, or a whole network.
    pub enum Architecture ("architecture") {
        /// U-Net.
        Unet = "unet",
        /// U-Net++.
        UnetPlusPlus = "unetplusplus",
        /// Feature pyramid network.
        Fpn = "fpn",
        /// Pyramid attention network.
        Pan = "pan",
        /// DeepLabV3, features at stride 8.
        DeepLabV3 = "deeplabv3",
        /// DeepLabV3+, features at stride 16.
        DeepLabV3Plus = "deeplabv3plus",
        /// LinkNet.
        Linknet = "linknet",
        /// Pyramid scene parsing network. The reference's own default depth is 3.
        PspNet = "pspnet",
        /// Multi-scale attention network.
        MaNet = "manet",
        /// Unified perceptual parsing.
        UperNet = "upernet",
        /// SegFormer's decoder.
        Segformer = "segformer",
        /// UPerNet as transformers has it, wider and with an auxiliary head.
        UperNetTransformers = "upernet-transformers",
        /// SegFormer as transformers has it.
        SegformerTransformers = "segformer-transformers",
        /// Swin UNETR in two dimensions, a whole network.
        SwinUnetr = "swin-unetr",
        /// Object-contextual representations on the branches of an HRNet.
        HrNetOcr = "hrnet-ocr",
        /// torchvision's DeepLabV3 on its MobileNetV3-large, a whole network.
        TorchvisionDeepLabV3 = "torchvision-deeplabv3",
        /// torchvision's lite R-ASPP on its MobileNetV3-large, a whole network.
        TorchvisionLraspp = "torchvision-lraspp",
        /// torchvision's fully convolutional network on its ResNet-50, a whole network.
        TorchvisionFcn = "torchvision-fcn",
        /// UNet 3+, full-scale skips.
        Unet3Plus = "unet3plus",
        /// nnU-Net's plain U-Net, a whole network.
        NnUnet = "nnunet",
        /// nnU-Net's U-Net with a residual encoder, a whole network.
        NnUnetResEnc = "nnunet-resenc",
    }
}

closed_enum! {
    /// How a head brings its logits to the size of the image.
    #[derive(Default)]
    pub enum Upsampling ("upsampling mode") {
        /// Bilinear interpolation, corner pixels on corner pixels, as the reference.
        #[default]
        Bilinear = "bilinear",
        /// Each value repeated.
        Nearest = "nearest",
        /// Bicubic interpolation, corner pixels on corner pixels.
        Bicubic = "bicubic",
    }
}

closed_enum! {
    /// Attention in the blocks of a U-Net.
    pub enum Attention ("attention") {
        /// Concurrent spatial and channel squeeze and excitation.
        Scse = "scse",
    }
}

closed_enum! {
    /// A backbone that gives features at strides 1 to 32.
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

impl Architecture {
    /// The reference whose names and values it has.
    pub fn reference(self) -> &'static str {
        match self {
            Architecture::Unet => "smp.Unet",
            Architecture::UnetPlusPlus => "smp.UnetPlusPlus",
            Architecture::Fpn => "smp.FPN",
            Architecture::Pan => "smp.PAN",
            Architecture::DeepLabV3 => "smp.DeepLabV3",
            Architecture::DeepLabV3Plus => "smp.DeepLabV3Plus",
            Architecture::Linknet => "smp.Linknet",
            Architecture::PspNet => "smp.PSPNet",
            Architecture::MaNet => "smp.MAnet",
            Architecture::UperNet => "smp.UPerNet",
            Architecture::Segformer => "smp.Segformer",
            Architecture::UperNetTransformers => "transformers UperNetForSemanticSegmentation",
            Architecture::SegformerTransformers => "transformers SegformerForSemanticSegmentation",
            Architecture::SwinUnetr => "monai SwinUNETR",
            Architecture::HrNetOcr => "Yuan, Chen, Wang, ECCV 2020",
            Architecture::TorchvisionDeepLabV3 => "torchvision deeplabv3_mobilenet_v3_large",
            Architecture::TorchvisionLraspp => "torchvision lraspp_mobilenet_v3_large",
            Architecture::TorchvisionFcn => "torchvision fcn_resnet50",
            Architecture::Unet3Plus => "the paper (Huang et al. 2020)",
            Architecture::NnUnet => "dynamic_network_architectures PlainConvUNet",
            Architecture::NnUnetResEnc => "dynamic_network_architectures ResidualEncoderUNet",
        }
    }

    /// The encoder where a configuration names none; `None` for a network without an encoder from the list.
    pub fn default_encoder(self) -> Option<EncoderKind> {
        match self {
            Architecture::HrNetOcr => Some(EncoderKind::HrNetW18),
            Architecture::SwinUnetr
            | Architecture::TorchvisionDeepLabV3
            | Architecture::TorchvisionLraspp
            | Architecture::TorchvisionFcn
            | Architecture::NnUnet
            | Architecture::NnUnetResEnc => None,
            Architecture::UperNetTransformers => Some(EncoderKind::SwinTiny),
            Architecture::SegformerTransformers => Some(EncoderKind::MitB0),
            _ => Some(EncoderKind::EfficientNetB0),
        }
    }

    /// Whether the reference is transformers, whose encoders differ from those of the same name elsewhere.
    pub fn follows_transformers(self) -> bool {
        matches!(self, Architecture::UperNetTransformers | Architecture::SegformerTransformers)
    }

    /// The families of encoders that the reference has it on, with their names for messages; `None` where it takes any.
    pub fn own_encoders(self) -> Option<(&'static [Family], &'static str)> {
        match self {
            Architecture::HrNetOcr => Some((&[Family::HrNet], "the branches of an HRNet: a tu-hrnet")),
            Architecture::UperNetTransformers => {
                Some((&[Family::Swin, Family::ConvNeXtV2], "a tu-swin or a tu-convnextv2"))
            }
            Architecture::SegformerTransformers => Some((&[Family::MixTransformer], "mit_b0 to mit_b5")),
            _ => None,
        }
    }

    /// Why [`super::ModelConfig::auxiliary`] cannot give it a second head; `None` where it can.
    pub fn refuses_auxiliary(self) -> Option<&'static str> {
        match self {
            Architecture::UperNetTransformers | Architecture::HrNetOcr => Some("it has one of its own, always on"),
            Architecture::Unet3Plus | Architecture::NnUnet | Architecture::NnUnetResEnc => {
                Some("its auxiliary heads are those of deep-supervision")
            }
            Architecture::SwinUnetr | Architecture::TorchvisionLraspp => Some("the reference has none"),
            Architecture::Unet
            | Architecture::UnetPlusPlus
            | Architecture::Fpn
            | Architecture::Pan
            | Architecture::DeepLabV3
            | Architecture::DeepLabV3Plus
            | Architecture::Linknet
            | Architecture::PspNet
            | Architecture::MaNet
            | Architecture::UperNet
            | Architecture::Segformer
            | Architecture::SegformerTransformers
            | Architecture::TorchvisionDeepLabV3
            | Architecture::TorchvisionFcn => None,
        }
    }

    /// Whether [`super::ModelConfig::dropout`] has a place in it.
    pub fn takes_dropout(self) -> bool {
        match self {
            Architecture::Fpn
            | Architecture::DeepLabV3
            | Architecture::DeepLabV3Plus
            | Architecture::PspNet
            | Architecture::Segformer
            | Architecture::SegformerTransformers
            | Architecture::HrNetOcr
            | Architecture::SwinUnetr
            | Architecture::TorchvisionDeepLabV3
            | Architecture::TorchvisionFcn => true,
            Architecture::Unet
            | Architecture::UnetPlusPlus
            | Architecture::Pan
            | Architecture::Linknet
            | Architecture::MaNet
            | Architecture::UperNet
            | Architecture::UperNetTransformers
            | Architecture::TorchvisionLraspp
            | Architecture::Unet3Plus
            | Architecture::NnUnet
            | Architecture::NnUnetResEnc => false,
        }
    }

    /// Whether it has batch norms, in whose place [`super::ModelConfig::norm`] can put others.
    pub fn has_batch_norms(self) -> bool {
        !matches!(self, Architecture::SwinUnetr | Architecture::NnUnet | Architecture::NnUnetResEnc)
    }

    /// Whether auxiliary heads on the way up can be asked for with `deep-supervision`.
    pub fn takes_deep_supervision(self) -> bool {
        matches!(self, Architecture::Unet3Plus | Architecture::NnUnet | Architecture::NnUnetResEnc)
    }

    /// The strides at which the encoder can keep its deep features, the reference's own first: stages beyond it are
    /// dilated instead of strided.
    pub fn output_strides(self) -> &'static [i64] {
        match self {
            Architecture::DeepLabV3 => &[8, 16],
            Architecture::DeepLabV3Plus => &[16, 8],
            Architecture::Pan => &[16, 32],
            Architecture::TorchvisionFcn => &[8],
            Architecture::TorchvisionDeepLabV3 | Architecture::TorchvisionLraspp => &[16],
            Architecture::Unet
            | Architecture::UnetPlusPlus
            | Architecture::Fpn
            | Architecture::Linknet
            | Architecture::PspNet
            | Architecture::MaNet
            | Architecture::UperNet
            | Architecture::Segformer
            | Architecture::UperNetTransformers
            | Architecture::SegformerTransformers
            | Architecture::SwinUnetr
            | Architecture::HrNetOcr
            | Architecture::Unet3Plus
            | Architecture::NnUnet
            | Architecture::NnUnetResEnc => &[32],
        }
    }
}

/// Encoders of one make: they differ in their numbers alone.
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
    /// The reference whose names and values it has.
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

    /// Why it cannot dilate its last stages for features at stride 8 or 16; `None` where it can. As the reference's.
    pub(super) fn cannot_dilate(self) -> Option<&'static str> {
        match self {
            Family::MixTransformer => Some("overlapping patches have no dilated form"),
            Family::Swin => Some("joined patches have no dilated form"),
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

    /// Whether stochastic depth can drop its blocks, as the reference's can.
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
    /// Its make.
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

    /// The reference whose names and values it has.
    pub fn reference(self) -> &'static str {
        self.family().reference()
    }

    /// Whether its first feature is at stride 4, with none at stride 2.
    pub fn starts_at_stride_4(self) -> bool {
        self.family().starts_at_stride_4()
    }

    /// What stands in a model's names before those of the published encoder's weights. timm's networks lie one level
    /// deeper, in SMP's universal encoder.
    pub fn weights_prefix(self) -> &'static str {
        if self.name().starts_with("tu-") { "encoder.model." } else { "encoder." }
    }
}

/// What stands where the reference has a batch norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Norm {
    /// Batch norm, as the reference: `batch`.
    #[default]
    Batch,
    /// Batch norm by its stored statistics, its affine weights fixed too: `frozen-batch`.
    FrozenBatch,
    /// Group norm of at most this many groups (the largest common divisor with the channels): `group:32`.
    /// It keeps the names of batch norm's affine weights, so that a checkpoint converts by dropping its statistics:
    /// [`super::Model::load`].
    Group(u32),
    /// Group norm of one group, which is layer norm over channels and pixels: `layer`.
    Layer,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Norm::Batch => f.pad("batch"),
            Norm::FrozenBatch => f.pad("frozen-batch"),
            Norm::Group(groups) => f.pad(&format!("group:{groups}")),
            Norm::Layer => f.pad("layer"),
        }
    }
}

impl FromStr for Norm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "batch" => Ok(Norm::Batch),
            "frozen-batch" => Ok(Norm::FrozenBatch),
            "layer" => Ok(Norm::Layer),
            _ => text
                .strip_prefix("group:")
                .and_then(|n| n.parse().ok())
                .filter(|n| *n >= 1)
                .map(Norm::Group)
                .ok_or_else(|| format!("there is no norm {text:?}; there is batch, frozen-batch, group:N, layer")),
        }
    }
}

impl Serialize for Norm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Norm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for kind in EncoderKind::ALL {
            assert_eq!(EncoderKind::from_name(kind.name()), Some(*kind));
        }
        for norm in [Norm::Batch, Norm::FrozenBatch, Norm::Group(8), Norm::Layer] {
            assert_eq!(norm.to_string().parse(), Ok(norm));
        }
        assert!("group:0".parse::<Norm>().is_err());
        let error = "vgg".parse::<EncoderKind>().unwrap_err().to_string();
        assert!(error.contains("vgg") && error.contains("resnet34"), "{error}");
    }
}
