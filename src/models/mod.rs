//! Segmentation models: an encoder, a decoder on its features, a head. Names of weights are those of
//! segmentation_models_pytorch 0.6, so that a state dict saved there as safetensors loads here and gives the
//! same logits, and the other way round.
//!
//! ```
//! # fn main() -> Result<(), carpus::models::ModelError> {
//! use carpus::models::{Model, ModelConfig};
//! let model = Model::new(&ModelConfig::default(), tch::Device::Cpu)?;
//! let x = tch::Tensor::rand([1, 3, 64, 64], (tch::Kind::Float, tch::Device::Cpu));
//! assert_eq!(model.forward_t(&x, false)?.logits.size(), [1, 29, 64, 64]);
//! # Ok(())
//! # }
//! ```

mod architecture;
mod assembly;
mod config;
mod config_checks;
mod decoders;
mod encoder_kind;
mod encoders;
mod export;
mod heads;
mod layers;
mod metadata;
mod multi_scale_attention;
pub mod names;
mod networks;
mod norm;
mod outline;
mod parameters;
mod point_rend;
mod scale;
mod suggest_config;
mod tensor_file;
mod weights;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path as FilePath;

use tch::{Device, TchError, Tensor};

pub use architecture::{Architecture, Attention, DecoderKind, NetworkKind, Upsampling};
pub use config::ModelConfig;
pub use encoder_kind::{EncoderKind, Family};
pub use export::{ExportFormat, torchscript};
pub use metadata::MetadataOptions;
pub use multi_scale_attention::MultiScaleAttentionOptions;
pub use networks::NnUnetOptions;
pub use norm::Norm;
pub use outline::{Cost, ModelOutline, classes_of};
pub use parameters::{ParameterEntry, Parameters, Role, channels_last};
pub use point_rend::PointRendOptions;
pub use scale::EncoderScale;
pub(crate) use tensor_file::{read_metadata, write_with_metadata};
pub use tensor_file::{read_tensors, write_tensors};
pub(crate) use weights::all_finite;
pub use weights::{Loaded, WeightsError};

use assembly::Network;
use layers::Scheme;
use parameters::Path;

/// What can go wrong in building or running a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The configuration names something that cannot be built.
    #[error("model: {0}")]
    Config(String),
    /// The input is no batch of images.
    #[error("the model takes images as [batch, {channels}, height, width] of floats; it got {size:?} of {kind:?}")]
    Input {
        /// Channels the model was built for.
        channels: i64,
        /// Shape of what came.
        size: Vec<i64>,
        /// Kind of what came.
        kind: tch::Kind,
    },
    /// Height or width is no multiple of the encoder's stride.
    #[error(
        "height {height} and width {width} must be multiples of {stride}; pad the image to {} x {}",
        height.div_ceil(*stride) * stride, width.div_ceil(*stride) * stride
    )]
    Indivisible {
        /// Height that came.
        height: u64,
        /// Width that came.
        width: u64,
        /// What both must be multiples of.
        stride: u64,
    },
    /// The image is too small for the encoder or the decoder.
    #[error("{model} needs images of at least {least} x {least} pixels; this one is {height} x {width}")]
    TooSmall {
        /// The model's architecture and encoder.
        model: String,
        /// Least height and width.
        least: i64,
        /// Height that came.
        height: u64,
        /// Width that came.
        width: u64,
    },
    /// What is known of the patients does not fit the images.
    #[error(
        "metadata goes with {batch} images as [{batch}, 4] of floats (age, sex, height, weight); it is {size:?} of {kind:?}"
    )]
    Metadata {
        /// Images in the batch.
        batch: i64,
        /// Shape of what came.
        size: Vec<i64>,
        /// Kind of what came.
        kind: tch::Kind,
    },
    /// Batch statistics of a single value do not exist.
    #[error(
        "batch norm cannot learn from one value a channel (features {size:?}): \
         use a batch of two or more, larger images, or another norm"
    )]
    OneValuePerChannel {
        /// Shape of the features at that layer.
        size: Vec<i64>,
    },
    /// libtorch refused: most often memory ran out.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// What a model is given.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `[B, C, H, W]`.
    pub images: &'a Tensor,
    /// What is known of each patient, `[B, 4]`: age in years, sex (0 female, 1 male), height in cm, weight in kg; NaN
    /// where it is not known. Only a model that is conditioned on it reads it.
    pub metadata: Option<&'a Tensor>,
}

/// What a model says about a batch.
#[derive(Debug)]
pub struct Output {
    /// `[B, classes, H, W]` at the size of the input; a sigmoid of each is the probability of that class.
    pub logits: Tensor,
    /// Logits of auxiliary heads for training, `[B, classes, h, w]` each, empty for models without.
    pub auxiliary: Vec<Tensor>,
    /// In training, the points that a PointRend head looked at; `None` for models without.
    pub points: Option<PointLogits>,
}

/// Points of images and what a PointRend head says about them.
#[derive(Debug)]
pub struct PointLogits {
    /// `[B, N, 2]`: x and y from 0 to 1 across the image.
    pub coordinates: Tensor,
    /// `[B, classes, N]`.
    pub logits: Tensor,
}

impl Output {
    /// Logits and nothing beside them.
    pub fn of(logits: Tensor) -> Output {
        Output { logits, auxiliary: Vec::new(), points: None }
    }
}

/// A model with its weights.
pub struct Model {
    config: ModelConfig,
    parameters: Parameters,
    network: Box<dyn Network>,
}

impl Model {
    /// Builds `config` on `device`. Weights start as the reference starts them, drawn from libtorch's global
    /// generator: seed it first with [`tch::manual_seed`].
    ///
    /// # Errors
    /// [`ModelError::Config`] with the reason why it cannot be built; [`ModelError::Torch`] where memory runs out.
    pub fn new(config: &ModelConfig, device: Device) -> Result<Model, ModelError> {
        Self::with(config, Parameters::new(device))
    }

    /// Builds `config` on `device` with the weights of the safetensors file `path`, which has every part of the model; as
    /// [`Model::new`] and [`Model::load`], without drawing values that are then replaced.
    ///
    /// # Errors
    /// What [`WeightsError`] lists.
    pub fn open(config: &ModelConfig, path: &FilePath, device: Device) -> Result<Model, WeightsError> {
        Self::holding(config, read_tensors(path)?, path, device)
    }

    /// As [`Model::open`], with the `tensors` that were read from `path`.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`], [`WeightsError::Model`] and [`WeightsError::Torch`].
    pub fn holding(
        config: &ModelConfig,
        tensors: BTreeMap<String, Tensor>,
        path: &FilePath,
        device: Device,
    ) -> Result<Model, WeightsError> {
        let model = Self::with(config, Parameters::unfilled(device))?;
        let given = shared(&tensors);
        weights::take(&model.parameters, path, tensors).map_err(|error| error.with_fitting(config, &given))?;
        Ok(model)
    }

    fn with(config: &ModelConfig, parameters: Parameters) -> Result<Model, ModelError> {
        config.validate()?;
        let registry = RefCell::new(parameters);
        let root = Path::root(&registry, config.norm, Scheme::Torch).with_norm_momentum(config.norm_momentum);
        let network = assembly::build(&root, config)?;
        Ok(Model { config: config.clone(), parameters: registry.into_inner(), network })
    }

    /// What it was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its tensors by name; freezing goes through here too.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where its tensors are.
    pub fn device(&self) -> Device {
        self.parameters.device()
    }

    /// Height and width of an input must be multiples of this.
    pub fn stride(&self) -> i64 {
        self.network.stride()
    }

    /// Least height and width of an input.
    pub fn least_side(&self) -> i64 {
        self.config.least_side().max(self.network.least_side())
    }

    /// Channels of the encoder's features at strides 1, 2, 4, ...
    pub fn encoder_channels(&self) -> &[i64] {
        self.network.channels()
    }

    /// Weights with their names, in the reference's order; frozen ones too (`requires_grad` tells). The tensors
    /// share storage with the model.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.named(Some(Role::Parameter))
    }

    /// Running statistics and their counters with their names, sharing storage with the model.
    pub fn named_buffers(&self) -> Vec<(String, Tensor)> {
        self.named(Some(Role::Buffer))
    }

    /// The reference's state dict: weights and buffers in its order, each once, sharing storage with the model.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.named(None)
    }

    fn named(&self, role: Option<Role>) -> Vec<(String, Tensor)> {
        let chosen = self.parameters.entries().iter().filter(|e| role.is_none_or(|r| r == e.role));
        chosen.map(|e| (e.name.clone(), e.tensor.shallow_clone())).collect()
    }

    /// Logits of the images `x`, `[B, C, H, W]`. With `train`, batch norms use and follow the batch's
    /// statistics and dropout is on.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_t(&self, x: &Tensor, train: bool) -> Result<Output, ModelError> {
        self.forward(&Input { images: x, metadata: None }, train)
    }

    /// As [`Model::forward_t`], with what is known of the patients.
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::Indivisible`], [`ModelError::TooSmall`] and [`ModelError::Metadata`]: what came does not
    /// fit the model; [`ModelError::OneValuePerChannel`]: a batch norm cannot learn from it; [`ModelError::Torch`].
    pub fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        self.check(input.images)?;
        if let Some(metadata) = input.metadata {
            let (batch, size) = (input.images.size()[0], metadata.size());
            if size != [batch, metadata::VALUES] || !metadata.is_floating_point() {
                return Err(ModelError::Metadata { batch, size, kind: metadata.kind() });
            }
        }
        self.network.forward(input, train)
    }

    /// The logits of `input` in evaluation, without gradients and faster than [`Model::forward`]: batch norms are folded
    /// into the convolutions before them. The same function, rounded elsewhere.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn predict(&self, input: &Input) -> Result<Tensor, ModelError> {
        Ok(tch::no_grad(|| layers::folded(|| self.forward(input, false)))?.logits)
    }

    fn check(&self, x: &Tensor) -> Result<(), ModelError> {
        let size = x.size();
        let channels = self.config.in_channels;
        let fits = matches!(size[..], [b, c, h, w] if b >= 1 && c == channels && h >= 1 && w >= 1);
        if !fits || !x.is_floating_point() {
            return Err(ModelError::Input { channels, size, kind: x.kind() });
        }
        let stride = self.stride() as u64;
        let (height, width) = (size[2] as u64, size[3] as u64);
        if height % stride != 0 || width % stride != 0 {
            return Err(ModelError::Indivisible { height, width, stride });
        }
        let least = self.least_side();
        if size[2] < least || size[3] < least {
            return Err(ModelError::TooSmall { model: self.config.describe(), least, height, width });
        }
        Ok(())
    }

    /// Loads a whole model's weights by name from a safetensors file. Nothing changes unless every tensor is there, none
    /// is over and each has the right shape. A tensor that the reference lists under several names may come under any
    /// of them.
    ///
    /// A checkpoint with batch norms also loads where the configuration puts group or layer norms in their place: affine
    /// weights are kept, and the running statistics, for which there is no place, left out. One from before a metadata
    /// gate, multi-scale attention or an auxiliary head was added loads too: they keep their start, which changes
    /// no logits.
    ///
    /// # Errors
    /// What [`WeightsError`] lists; the model is as it was then.
    pub fn load(&mut self, path: &FilePath) -> Result<Loaded, WeightsError> {
        let tensors = read_tensors(path)?;
        let given = shared(&tensors);
        weights::load(&self.parameters, path, tensors).map_err(|error| error.with_fitting(&self.config, &given))
    }

    /// Loads the encoder's weights alone (the backbone's of a whole network), as published for the encoder or as part
    /// of a whole model. A classifier's head in the file and stages beyond the model's depth are left out; a first
    /// layer for three channels is fitted to one as the reference does (its sum over the channels); batch norms become
    /// what the model has in their place.
    ///
    /// # Errors
    /// What [`WeightsError`] lists; the model is as it was then.
    pub fn load_encoder(&mut self, path: &FilePath) -> Result<(), WeightsError> {
        let prefix = self.config.weights_prefix();
        weights::load_encoder(&self.parameters, prefix, path).map_err(|error| {
            if !matches!(error, WeightsError::Mismatch { .. }) {
                return error;
            }
            match (&self.config.encoder_scale, self.config.backbone()) {
                (Some(scale), _) => WeightsError::Reduced { scale: scale.to_string(), mismatch: Box::new(error) },
                (None, Some(encoder)) => WeightsError::Encoder {
                    path: path.into(),
                    architecture: self.config.architecture,
                    encoder,
                    mismatch: Box::new(error),
                },
                (None, None) => error,
            }
        })
    }

    /// Writes the state as safetensors, by rename, as the reference's strict loading wants it: a tensor that it lists
    /// under several names is written under each.
    ///
    /// # Errors
    /// [`WeightsError::Io`]; a file of that name is as it was then.
    pub fn save(&self, path: &FilePath) -> Result<(), WeightsError> {
        let entries = self.parameters.entries();
        let named = self.parameters.names().iter();
        let named: Vec<_> = named.map(|(name, entry)| (name.clone(), entries[*entry].tensor.shallow_clone())).collect();
        write_tensors(path, &named)
    }

    /// Copies the values of every tensor of `other`, a model of the same configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`] where `other` is of another configuration.
    pub fn copy_from(&mut self, other: &Model) -> Result<(), ModelError> {
        if self.config != other.config {
            return Err(ModelError::Config("weights are copied between models of one configuration".into()));
        }
        tch::no_grad(|| {
            for (to, from) in self.parameters.entries().iter().zip(other.parameters.entries()) {
                to.tensor.shallow_clone().f_copy_(&from.tensor)?;
            }
            Ok(())
        })
    }
}

/// The same tensors once more; none is copied.
fn shared(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}
