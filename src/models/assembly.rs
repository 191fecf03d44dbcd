use super::decoders::{self, Decoder};
use super::encoders::{self, Encoder};
use super::heads::{AuxiliaryHead, SegmentationHead};
use super::layers::{Scheme, note_features};
use super::metadata::MetadataGate;
use super::multi_scale_attention::MultiScaleAttention;
use super::networks::{NnUnet, SwinUnetr, torchvision};
use super::point_rend::PointRend;
use super::{Architecture, DecoderKind, Input, ModelConfig, ModelError, NetworkKind, Output, Path, Segments};

/// A complete network: images in, logits out. [`super::Model`] contains one with its weights.
pub trait Network: Send {
    /// Channels of the encoder's features at strides 1, 2, 4, …; for a whole network, those of its own stages.
    fn channels(&self) -> &[i64];
    /// Height and width of an image must be multiples of this.
    fn stride(&self) -> i64;
    /// Smallest allowed height and width of an image; see also [`ModelConfig::least_side`].
    fn least_side(&self) -> i64 {
        1
    }
    /// Logits of `input`, whose shape was checked before. With `train`, batch norms use the batch's statistics and
    /// update their running statistics, dropout is active and auxiliary heads give outputs.
    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError>;
    /// As [`Network::forward`], divided into segments. A network without segments keeps all activations.
    fn forward_in<'a>(
        &'a self,
        input: &Input,
        train: bool,
        _segments: &mut Segments<'a>,
    ) -> Result<Output, ModelError> {
        self.forward(input, train)
    }
}

/// Builds the network of `config`.
pub fn build(root: &Path, config: &ModelConfig) -> Result<Box<dyn Network>, ModelError> {
    Ok(match config.architecture {
        Architecture::Decoder(decoder) => Box::new(EncoderDecoder::new(root, decoder, config)?),
        Architecture::Network(network) => match network {
            NetworkKind::SwinUnetr => Box::new(SwinUnetr::new(root, config)?),
            NetworkKind::TorchvisionDeepLabV3 => Box::new(torchvision::TorchvisionDeepLabV3::new(root, config)?),
            NetworkKind::TorchvisionLraspp => Box::new(torchvision::Lraspp::new(root, config)?),
            NetworkKind::TorchvisionFcn => Box::new(torchvision::Fcn::new(root, config)?),
            NetworkKind::NnUnet | NetworkKind::NnUnetResEnc => Box::new(NnUnet::new(root, config)?),
        },
    })
}

/// Index (log2 of the stride) of the feature that PointRend reads.
const FINE: usize = 2;

/// An encoder, a decoder that reads its features, a head, and the optional parts of the configuration.
struct EncoderDecoder {
    encoder: Box<dyn Encoder>,
    decoder: Box<dyn Decoder>,
    head: SegmentationHead,
    metadata: Option<MetadataGate>,
    attention: Option<MultiScaleAttention>,
    point_head: Option<PointRend>,
    /// On the second-deepest feature.
    auxiliary: Option<AuxiliaryHead>,
}

impl EncoderDecoder {
    fn new(root: &Path, decoder_kind: DecoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let kind = config.encoder.unwrap_or(decoder_kind.default_encoder());
        let encoder = encoders::build(&(root / "encoder"), kind, config)?;
        // segmentation_models_pytorch leaves the first three at PyTorch's defaults.
        let (decoder_scheme, head_scheme) = match decoder_kind {
            DecoderKind::DeepLabV3 | DecoderKind::DeepLabV3Plus | DecoderKind::HrNetOcr => {
                (Scheme::Torch, Scheme::Torch)
            }
            DecoderKind::UperNetTransformers | DecoderKind::SegformerTransformers => {
                (Scheme::Transformers, Scheme::Transformers)
            }
            DecoderKind::SegformerMmseg | DecoderKind::HrNetOcrMmseg => (Scheme::HeFanOut, Scheme::MmsegHead),
            _ => (Scheme::Decoder, Scheme::Head),
        };
        let decoder =
            decoders::build(&(root / "decoder").with_scheme(decoder_scheme), decoder_kind, config, encoder.channels())?;
        let head = SegmentationHead::new(
            &(root / "segmentation_head").with_scheme(head_scheme),
            decoder.channels(),
            config.classes,
            decoders::head(decoder_kind, config),
        )?
        .configured(config);
        let channels = encoder.channels();
        let deepest = channels[channels.len() - 1];
        let metadata = config.metadata.as_ref();
        let metadata = metadata.map(|o| MetadataGate::new(&(root / "metadata"), o, deepest)).transpose()?;
        let attention = config.multi_scale_attention.as_ref();
        let attention = attention
            .map(|o| MultiScaleAttention::new(&(root / "multi_scale_attention"), o, decoder.channels()))
            .transpose()?;
        let point_head = config.point_rend.as_ref();
        let point_head = point_head
            .map(|o| PointRend::new(&(root / "point_head"), o, channels[FINE], config.classes))
            .transpose()?;
        let auxiliary = config.auxiliary.then(|| &root.with_scheme(Scheme::Decoder) / "auxiliary_head");
        let auxiliary = auxiliary
            .map(|path| AuxiliaryHead::new(&path, channels[channels.len() - 2], config.classes))
            .transpose()?;
        Ok(EncoderDecoder { encoder, decoder, head, metadata, attention, point_head, auxiliary })
    }
}

impl Network for EncoderDecoder {
    fn channels(&self) -> &[i64] {
        self.encoder.channels()
    }

    fn stride(&self) -> i64 {
        self.encoder.stride()
    }

    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        self.forward_in(input, train, &mut Segments::kept())
    }

    fn forward_in<'a>(&'a self, input: &Input, train: bool, segments: &mut Segments<'a>) -> Result<Output, ModelError> {
        let mut features = self.encoder.forward_in(input.images, train, segments)?;
        note_features(&features);
        if let (Some(metadata), Some(deepest)) = (&self.metadata, features.last_mut()) {
            *deepest = metadata.forward(deepest, input.metadata)?;
        }
        let (mut decoded, mut auxiliary) = if train {
            self.decoder.forward_supervised(&features, train)?
        } else {
            (self.decoder.forward(&features, train)?, Vec::new())
        };
        if let Some(head) = self.auxiliary.as_ref().filter(|_| train) {
            auxiliary.push(head.forward(&features[features.len() - 2], input.images, train)?);
        }
        let point_head = self.point_head.as_ref().map(|head| (head, features[FINE].shallow_clone()));
        // The head needs the most memory; from here on only autograd may still need the features.
        drop(features);
        if let Some(attention) = &self.attention {
            decoded = attention.forward(&decoded)?;
        }
        let coarse = self.head.coarse(decoded, train)?; // [B, classes, H/s, W/s]
        let (logits, points) = match point_head {
            None => (self.head.enlarge(coarse)?, None),
            Some((points, fine)) if train => {
                let sampled = points.sample(&coarse, &fine)?;
                (self.head.enlarge(coarse)?, Some(sampled))
            }
            Some((points, fine)) => {
                let size = input.images.size();
                (points.subdivide(&coarse, &fine, size[2], size[3])?, None)
            }
        };
        Ok(Output { logits, auxiliary, points })
    }
}
