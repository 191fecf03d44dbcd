use super::{EncoderKind, Family};
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
