use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::closed_enum::closed_enum;

closed_enum! {
    /// A decoder with its head on top of any encoder.
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
            Architecture::Unet3Plus => "the paper (Huang et al. 2020)",
            Architecture::NnUnet => "dynamic_network_architectures PlainConvUNet",
            Architecture::NnUnetResEnc => "dynamic_network_architectures ResidualEncoderUNet",
        }
    }

    /// The encoder where a configuration names none; `None` for a network without an encoder from the list.
    pub fn default_encoder(self) -> Option<EncoderKind> {
        match self {
            Architecture::NnUnet | Architecture::NnUnetResEnc => None,
            _ => Some(EncoderKind::EfficientNetB0),
        }
    }

    /// Whether auxiliary heads on the way up can be asked for with `deep-supervision`.
    pub fn takes_deep_supervision(self) -> bool {
        matches!(self, Architecture::Unet3Plus | Architecture::NnUnet | Architecture::NnUnetResEnc)
    }

    /// The stride at which the encoder keeps its deep features: stages beyond it are dilated instead of strided.
    pub fn output_stride(self) -> i64 {
        match self {
            Architecture::DeepLabV3 => 8,
            Architecture::DeepLabV3Plus | Architecture::Pan => 16,
            _ => 32,
        }
    }

    /// Least height and width of an image.
    pub fn least_side(self) -> i64 {
        match self {
            // Three halvings of the features at stride 16.
            Architecture::Pan => 128,
            _ => 1,
        }
    }
}

impl EncoderKind {
    /// Whether its first feature is at stride 4, with none at stride 2.
    pub fn starts_at_stride_4(self) -> bool {
        use EncoderKind::*;
        matches!(self, MitB0 | MitB1 | MitB2 | MitB3 | MitB4 | MitB5)
    }

    /// Whether `encoder-scale` can make it narrower and shallower.
    pub fn scales(self) -> bool {
        use EncoderKind::*;
        matches!(
            self,
            EfficientNetB0
                | EfficientNetB1
                | EfficientNetB2
                | EfficientNetB3
                | EfficientNetB4
                | EfficientNetB5
                | EfficientNetB6
                | EfficientNetB7
                | ResNet18
                | ResNet34
                | ResNet50
                | ResNet101
                | ResNeXt101x32x8d
                | MitB0
                | MitB1
                | MitB2
                | MitB3
                | MitB4
                | MitB5
        )
    }

    /// The reference whose names and values it has.
    pub fn reference(self) -> &'static str {
        use EncoderKind::*;
        match self {
            EfficientNetB0 | EfficientNetB1 | EfficientNetB2 | EfficientNetB3 | EfficientNetB4 | EfficientNetB5
            | EfficientNetB6 | EfficientNetB7 => "smp EfficientNetEncoder",
            ResNet18 | ResNet34 | ResNet50 | ResNet101 | ResNeXt101x32x8d => "smp ResNetEncoder",
            MobileNetV2 => "smp MobileNetV2Encoder",
            MitB0 | MitB1 | MitB2 | MitB3 | MitB4 | MitB5 => "smp MixVisionTransformerEncoder",
        }
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
