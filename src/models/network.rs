use super::decoders::{self, Decoder};
use super::encoders::{self, Encoder};
use super::heads::SegmentationHead;
use super::layers::{Scheme, note_features};
use super::{Architecture, Input, ModelConfig, ModelError, Output, Path};

/// A whole network: images in, logits out. [`super::Model`] holds one with its weights.
pub trait Network: Send {
    /// Channels of the encoder's features at strides 1, 2, 4, …; for a network without an encoder from the list,
    /// those of its own stages.
    fn channels(&self) -> &[i64];
    /// What height and width must be multiples of.
    fn stride(&self) -> i64;
    /// Logits of `input`, whose shape was checked. With `train`, batch norms use and follow the batch's statistics,
    /// dropout is on and auxiliary heads speak.
    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError>;
}

/// The network of `config`.
pub fn build(root: &Path, config: &ModelConfig) -> Result<Box<dyn Network>, ModelError> {
    Ok(Box::new(EncoderDecoder::new(root, config)?))
}

/// An encoder, a decoder on its features, a head.
struct EncoderDecoder {
    encoder: Box<dyn Encoder>,
    decoder: Box<dyn Decoder>,
    head: SegmentationHead,
}

impl EncoderDecoder {
    fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let kind = config.backbone().ok_or_else(|| {
            ModelError::Config(format!("{} needs an encoder; name one of `carpus models list`", config.architecture))
        })?;
        let encoder = encoders::build(&(root / "encoder"), kind, config)?;
        // The reference leaves DeepLab at PyTorch's defaults.
        let (decoder_scheme, head_scheme) = match config.architecture {
            Architecture::DeepLabV3 | Architecture::DeepLabV3Plus => (Scheme::Torch, Scheme::Torch),
            _ => (Scheme::Decoder, Scheme::Head),
        };
        let decoder = decoders::build(&(root / "decoder").with_scheme(decoder_scheme), config, encoder.channels())?;
        let head = SegmentationHead::new(
            &(root / "segmentation_head").with_scheme(head_scheme),
            decoder.channels(),
            config.classes,
            decoders::head(config),
        )?;
        Ok(EncoderDecoder { encoder, decoder, head })
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
        let features = self.encoder.forward(input.images, train)?;
        note_features(&features);
        let decoded = self.decoder.forward(&features, train)?;
        // The head is the largest step in memory; nothing but autograd needs the features beyond this point.
        drop(features);
        Ok(Output::of(self.head.forward(&decoded)?))
    }
}
