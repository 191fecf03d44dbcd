use std::borrow::Cow;

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{EncoderKind, Family};
use crate::closed_enum::{UnknownName, closed_enum};

closed_enum! {
    /// A decoder with its head, used with an encoder.
    pub enum DecoderKind ("decoder") {
        /// U-Net.
        Unet = "unet",
        /// U-Net++.
        UnetPlusPlus = "unetplusplus",
        /// Feature pyramid network.
        Fpn = "fpn",
        /// Pyramid attention network.
        Pan = "pan",
        /// DeepLabV3, deepest feature at stride 8.
        DeepLabV3 = "deeplabv3",
        /// DeepLabV3+, deepest feature at stride 16.
        DeepLabV3Plus = "deeplabv3plus",
        /// LinkNet.
        Linknet = "linknet",
        /// Pyramid scene parsing network.
        PspNet = "pspnet",
        /// Multi-scale attention network.
        MaNet = "manet",
        /// UPerNet, unified perceptual parsing.
        UperNet = "upernet",
        /// SegFormer's decoder.
        Segformer = "segformer",
        /// UPerNet of the transformers library: wider and with an auxiliary head.
        UperNetTransformers = "upernet-transformers",
        /// SegFormer of the transformers library.
        SegformerTransformers = "segformer-transformers",
        /// Object-contextual representations on the branches of an HRNet.
        HrNetOcr = "hrnet-ocr",
        /// SegFormer of mmsegmentation: a norm and ReLU after each projection.
        SegformerMmseg = "segformer-mmseg",
        /// Object-contextual representations on HRNet as in mmsegmentation.
        HrNetOcrMmseg = "hrnet-ocr-mmseg",
        /// UNet 3+, with skip connections between all scales.
        Unet3Plus = "unet3plus",
    }
}

closed_enum! {
    /// A whole network with its own encoder.
    pub enum NetworkKind ("network") {
        /// Swin UNETR in two dimensions.
        SwinUnetr = "swin-unetr",
        /// torchvision's DeepLabV3 with MobileNetV3-large.
        TorchvisionDeepLabV3 = "torchvision-deeplabv3",
        /// torchvision's lite R-ASPP with MobileNetV3-large.
        TorchvisionLraspp = "torchvision-lraspp",
        /// torchvision's fully convolutional network with ResNet-50.
        TorchvisionFcn = "torchvision-fcn",
        /// nnU-Net's plain U-Net.
        NnUnet = "nnunet",
        /// nnU-Net's U-Net with a residual encoder.
        NnUnetResEnc = "nnunet-resenc",
    }
}

/// A decoder that is used with an encoder, or a whole network. Configurations and commands use one name for either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged, try_from = "String")]
pub enum Architecture {
    /// A decoder, used with any encoder that it accepts.
    Decoder(DecoderKind),
    /// A whole network with its own encoder.
    Network(NetworkKind),
}

impl JsonSchema for Architecture {
    fn schema_name() -> Cow<'static, str> {
        "Architecture".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Architecture::all().map(Architecture::name).collect::<Vec<_>>() })
    }
}

closed_enum! {
    /// Interpolation of the logits to the size of the image.
    #[derive(Default)]
    pub enum Upsampling ("upsampling mode") {
        /// Bilinear interpolation with aligned corners, as in segmentation_models_pytorch.
        #[default]
        Bilinear = "bilinear",
        /// Nearest neighbour: each value is repeated.
        Nearest = "nearest",
        /// Bicubic interpolation with aligned corners.
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

/// The families of encoders that an architecture is limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncoderFamilies {
    /// The families.
    pub families: &'static [Family],
    /// Their names, for messages.
    pub names: &'static str,
}

impl Architecture {
    /// All architectures: the decoders, then the whole networks.
    pub fn all() -> impl Iterator<Item = Architecture> + Clone {
        let decoders = DecoderKind::ALL.iter().copied().map(Architecture::Decoder);
        decoders.chain(NetworkKind::ALL.iter().copied().map(Architecture::Network))
    }

    /// The name used in configs, on the command line and in listings.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::Decoder(decoder) => decoder.name(),
            Architecture::Network(network) => network.name(),
        }
    }

    /// The architecture with exactly this name.
    pub fn from_name(name: &str) -> Option<Architecture> {
        let decoder = DecoderKind::from_name(name).map(Architecture::Decoder);
        decoder.or(NetworkKind::from_name(name).map(Architecture::Network))
    }

    /// The implementation in another library whose names of weights and results are reproduced here: `smp Unet`, with
    /// `smp` for segmentation_models_pytorch.
    pub fn reference(self) -> &'static str {
        self.facts().reference
    }

    /// The encoder if the configuration sets none; `None` for a whole network.
    pub fn default_encoder(self) -> Option<EncoderKind> {
        match self {
            Architecture::Decoder(decoder) => Some(decoder.default_encoder()),
            Architecture::Network(_) => None,
        }
    }

    /// Number of encoder stages if the configuration does not set it: the default of [`Architecture::reference`].
    pub fn default_depth(self) -> i64 {
        self.facts().depth
    }

    /// The possible values of the largest stride of the encoder's features, the default of [`Architecture::reference`]
    /// first. Later stages are dilated instead of strided.
    pub fn output_strides(self) -> &'static [i64] {
        self.facts().strides
    }

    /// The families of encoders that it is limited to; `None` if it accepts every
    /// encoder or has its own.
    pub fn own_encoders(self) -> Option<EncoderFamilies> {
        self.facts().encoders
    }

    /// Why [`super::ModelConfig::auxiliary`] cannot add an auxiliary head; `None` if it can.
    pub fn refuses_auxiliary(self) -> Option<&'static str> {
        self.facts().no_auxiliary
    }

    /// Whether it uses [`super::ModelConfig::dropout`].
    pub fn takes_dropout(self) -> bool {
        self.facts().dropout
    }

    /// Whether it has [`super::ModelConfig::deep_supervision`].
    pub fn takes_deep_supervision(self) -> bool {
        self == Architecture::Decoder(DecoderKind::Unet3Plus) || self.is_nnunet()
    }

    /// Whether [`super::NnUnetOptions`] set its size.
    pub fn is_nnunet(self) -> bool {
        matches!(self, Architecture::Network(NetworkKind::NnUnet | NetworkKind::NnUnetResEnc))
    }

    /// Whether [`Architecture::reference`] is of the transformers library, whose encoders differ in details from those
    /// of the same name in other libraries.
    pub fn follows_transformers(self) -> bool {
        matches!(self, Architecture::Decoder(DecoderKind::UperNetTransformers | DecoderKind::SegformerTransformers))
    }

    /// Whether the reference is mmsegmentation, whose encoders differ in details from those of the same name in other
    /// libraries.
    pub fn follows_mmseg(self) -> bool {
        matches!(self, Architecture::Decoder(DecoderKind::SegformerMmseg | DecoderKind::HrNetOcrMmseg))
    }

    fn facts(self) -> Facts {
        use {DecoderKind as D, NetworkKind as N};
        const OWN_HEAD: Option<&str> = Some("it already has one, which is always on");
        const DEEP_SUPERVISION: Option<&str> = Some("deep-supervision adds its auxiliary heads");
        const NO_HEAD: Option<&str> = Some("the implementation that it follows has none");
        let of = Facts::of;
        match self {
            Architecture::Decoder(decoder) => match decoder {
                D::Unet => of("smp.Unet"),
                D::UnetPlusPlus => of("smp.UnetPlusPlus"),
                D::Fpn => Facts { dropout: true, ..of("smp.FPN") },
                D::Pan => Facts { strides: &[16, 32], ..of("smp.PAN") },
                D::DeepLabV3 => Facts { strides: &[8, 16], dropout: true, ..of("smp.DeepLabV3") },
                D::DeepLabV3Plus => Facts { strides: &[16, 8], dropout: true, ..of("smp.DeepLabV3Plus") },
                D::Linknet => of("smp.Linknet"),
                D::PspNet => Facts { depth: 3, dropout: true, ..of("smp.PSPNet") },
                D::MaNet => of("smp.MAnet"),
                D::UperNet => of("smp.UPerNet"),
                D::Segformer => Facts { dropout: true, ..of("smp.Segformer") },
                D::UperNetTransformers => Facts {
                    encoders: limited_to(
                        &[Family::Swin, Family::ConvNeXt, Family::ConvNeXtV2],
                        "a tu-swin, tu-convnext or tu-convnextv2 encoder",
                    ),
                    no_auxiliary: OWN_HEAD,
                    ..of("transformers UperNetForSemanticSegmentation")
                },
                D::SegformerTransformers => Facts {
                    encoders: limited_to(&[Family::MixTransformer], "one of mit_b0 to mit_b5"),
                    dropout: true,
                    ..of("transformers SegformerForSemanticSegmentation")
                },
                D::HrNetOcr => Facts {
                    encoders: limited_to(&[Family::HrNet], "a tu-hrnet encoder"),
                    no_auxiliary: OWN_HEAD,
                    dropout: true,
                    ..of("Yuan, Chen, Wang, ECCV 2020")
                },
                D::SegformerMmseg => Facts {
                    encoders: limited_to(&[Family::MixTransformer], "one of mit_b0 to mit_b5"),
                    dropout: true,
                    ..of("mmsegmentation SegformerHead")
                },
                D::HrNetOcrMmseg => Facts {
                    encoders: limited_to(&[Family::HrNet], "a tu-hrnet encoder"),
                    no_auxiliary: OWN_HEAD,
                    dropout: true,
                    ..of("mmsegmentation OCRHead")
                },
                D::Unet3Plus => Facts { no_auxiliary: DEEP_SUPERVISION, ..of("the paper (Huang et al. 2020)") },
            },
            Architecture::Network(network) => match network {
                N::SwinUnetr => Facts { no_auxiliary: NO_HEAD, dropout: true, ..of("monai SwinUNETR") },
                N::TorchvisionDeepLabV3 => {
                    Facts { strides: &[16], dropout: true, ..of("torchvision deeplabv3_mobilenet_v3_large") }
                }
                N::TorchvisionLraspp => {
                    Facts { strides: &[16], no_auxiliary: NO_HEAD, ..of("torchvision lraspp_mobilenet_v3_large") }
                }
                N::TorchvisionFcn => Facts { strides: &[8], dropout: true, ..of("torchvision fcn_resnet50") },
                N::NnUnet => {
                    Facts { no_auxiliary: DEEP_SUPERVISION, ..of("dynamic_network_architectures PlainConvUNet") }
                }
                N::NnUnetResEnc => {
                    Facts { no_auxiliary: DEEP_SUPERVISION, ..of("dynamic_network_architectures ResidualEncoderUNet") }
                }
            },
        }
    }
}

/// Properties of an [`Architecture`]; [`Facts::of`] gives the values that most share.
struct Facts {
    reference: &'static str,
    encoders: Option<EncoderFamilies>,
    depth: i64,
    strides: &'static [i64],
    no_auxiliary: Option<&'static str>,
    dropout: bool,
}

fn limited_to(families: &'static [Family], names: &'static str) -> Option<EncoderFamilies> {
    Some(EncoderFamilies { families, names })
}

impl Facts {
    fn of(reference: &'static str) -> Facts {
        Facts { reference, encoders: None, depth: 5, strides: &[32], no_auxiliary: None, dropout: false }
    }
}

impl DecoderKind {
    /// The encoder if the configuration sets none.
    pub fn default_encoder(self) -> EncoderKind {
        match self {
            DecoderKind::HrNetOcr | DecoderKind::HrNetOcrMmseg => EncoderKind::HrNetW18,
            DecoderKind::UperNetTransformers => EncoderKind::SwinTiny,
            DecoderKind::SegformerTransformers | DecoderKind::SegformerMmseg => EncoderKind::MitB0,
            _ => EncoderKind::EfficientNetB0,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Architecture {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Architecture::from_name(name).ok_or_else(|| UnknownName {
            what: "architecture",
            name: name.to_owned(),
            known: Architecture::all().map(Architecture::name).collect::<Vec<_>>().join(", "),
        })
    }
}

impl TryFrom<String> for Architecture {
    type Error = UnknownName;

    fn try_from(name: String) -> Result<Self, UnknownName> {
        name.parse()
    }
}
