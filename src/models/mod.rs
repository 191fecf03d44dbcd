//! Segmentation models: an encoder, a decoder that reads its features, and a head. Weights have the names that they
//! have in segmentation_models_pytorch 0.6 (SMP): a state dict that SMP saved as safetensors loads here and gives the
//! same logits, and vice versa.
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
mod bone_pairs;
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
mod segments;
mod suggest_config;
mod tensor_file;
mod weights;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path as FilePath;

use tch::{Device, TchError, Tensor};

pub use architecture::{Architecture, Attention, DecoderKind, EncoderFamilies, NetworkKind, Upsampling};
pub use bone_pairs::{BonePairs, MOST_PAIRS};
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
pub use segments::Segments;
pub(crate) use tensor_file::{read_metadata, write_with_metadata};
pub use tensor_file::{read_tensors, write_tensors};
pub(crate) use weights::all_finite;
pub use weights::{Loaded, WeightsError};

use assembly::Network;
use layers::Scheme;
use parameters::Path;

/// Why a model could not be built or run.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The configuration describes a model that cannot be built.
    #[error("model: {0}")]
    Config(String),
    /// The input is not a batch of images.
    #[error("the images are {size:?} of {kind:?}; expected floats of shape [batch, {channels}, height, width]")]
    Input {
        /// Channels that the model was built for.
        channels: i64,
        /// Shape of the given tensor.
        size: Vec<i64>,
        /// Kind of the given tensor.
        kind: tch::Kind,
    },
    /// Height or width is not a multiple of the encoder's stride.
    #[error(
        "height {height} and width {width} must be multiples of {stride}; pad the image to {} x {}",
        height.div_ceil(*stride) * stride, width.div_ceil(*stride) * stride
    )]
    Indivisible {
        /// Height of the image.
        height: u64,
        /// Width of the image.
        width: u64,
        /// Both must be multiples of this.
        stride: u64,
    },
    /// The image is too small for the encoder or the decoder.
    #[error("the image is {height} x {width} pixels; expected at least {least} x {least} for {model}")]
    TooSmall {
        /// The model's architecture and encoder.
        model: String,
        /// Least height and width.
        least: i64,
        /// Height of the image.
        height: u64,
        /// Width of the image.
        width: u64,
    },
    /// The patients' metadata do not fit the images.
    #[error(
        "the metadata are {size:?} of {kind:?}; expected floats of shape [{batch}, 4]: age, sex, height and weight of \
         each image's patient"
    )]
    Metadata {
        /// Images in the batch.
        batch: i64,
        /// Shape of the given tensor.
        size: Vec<i64>,
        /// Kind of the given tensor.
        kind: tch::Kind,
    },
    /// Batch statistics need more than one value per channel.
    #[error(
        "batch norm cannot be trained on one value per channel (features {size:?}): \
         use a batch of 2 or more, larger images, or another norm"
    )]
    OneValuePerChannel {
        /// Shape of the features at that layer.
        size: Vec<i64>,
    },
    /// A segment of the forward pass cannot be recomputed.
    #[error("gradient checkpointing: {0}; this is a fault in carpus, which gradient-checkpointing = false avoids")]
    Segment(&'static str),
    /// An error of libtorch, usually out of memory.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// The input of a model.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// `[B, C, H, W]`.
    pub images: &'a Tensor,
    /// Metadata of each patient, `[B, 4]`: age in years, sex (0 female, 1 male), height in cm, weight in kg; NaN where
    /// a value is unknown. Only a model with [`ModelConfig::metadata`] reads it.
    pub metadata: Option<&'a Tensor>,
}

/// The output of a model for one batch.
#[derive(Debug)]
pub struct Output {
    /// `[B, channels, H, W]` at the size of the input; the sigmoid of a logit is the probability of that class. The
    /// channels are the classes and then the pairs of bones, see [`Model::folded`].
    pub logits: Tensor,
    /// Logits of the auxiliary heads in training, `[B, classes, h, w]` each; empty for models without such heads.
    pub auxiliary: Vec<Tensor>,
    /// In training, the points that the PointRend head sampled; `None` for models without PointRend.
    pub points: Option<PointLogits>,
}

/// Points of images and the PointRend head's logits there.
#[derive(Debug)]
pub struct PointLogits {
    /// `[B, N, 2]`: x and y from 0 to 1 across the image.
    pub coordinates: Tensor,
    /// `[B, classes, N]`.
    pub logits: Tensor,
}

impl Output {
    /// Logits alone, without auxiliary outputs or points.
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
    /// Builds `config` on `device`. Initial weights have the distributions of [`Architecture::reference`] and are drawn
    /// from libtorch's global random generator: seed it first with [`tch::manual_seed`].
    ///
    /// # Errors
    /// [`ModelError::Config`]: `config` cannot be built; [`ModelError::Torch`]: usually out of memory.
    pub fn new(config: &ModelConfig, device: Device) -> Result<Model, ModelError> {
        Self::with(config, Parameters::new(device))
    }

    /// Builds `config` on `device` with the weights of the safetensors file `path`, which must contain every part of
    /// the model. The same as [`Model::new`] and [`Model::load`], but faster: no random initial values are drawn.
    ///
    /// # Errors
    /// The variants of [`WeightsError`].
    pub fn open(config: &ModelConfig, path: &FilePath, device: Device) -> Result<Model, WeightsError> {
        Self::from_tensors(config, read_tensors(path)?, path, device)
    }

    /// As [`Model::open`], with `tensors` that were already read from `path`.
    ///
    /// # Errors
    /// [`WeightsError::Mismatch`], [`WeightsError::Model`] and [`WeightsError::Torch`].
    pub fn from_tensors(
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
        let network = assembly::build(&root, &config.with_all_channels())?;
        Ok(Model { config: config.clone(), parameters: registry.into_inner(), network })
    }

    /// The configuration that the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The model's tensors by name; [`Parameters::freeze`] freezes weights.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The device of the model's tensors.
    pub fn device(&self) -> Device {
        self.parameters.device()
    }

    /// Height and width of an image must be multiples of this.
    pub fn stride(&self) -> i64 {
        self.network.stride()
    }

    /// Smallest allowed height and width of an image, in pixels.
    pub fn least_side(&self) -> i64 {
        self.config.least_side().max(self.network.least_side())
    }

    /// Channels of the encoder's features at strides 1, 2, 4, …
    pub fn encoder_channels(&self) -> &[i64] {
        self.network.channels()
    }

    /// Weights with their names, in the order of [`Architecture::reference`]. Frozen weights are included (their
    /// `requires_grad` is false). The tensors share storage with the model.
    pub fn named_parameters(&self) -> Vec<(String, Tensor)> {
        self.named(Some(Role::Parameter))
    }

    /// Running statistics and their counters with their names. The tensors share storage with the model.
    pub fn named_buffers(&self) -> Vec<(String, Tensor)> {
        self.named(Some(Role::Buffer))
    }

    /// The state dict of [`Architecture::reference`]: weights and buffers in its order, each once. The tensors share
    /// storage with the model.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.named(None)
    }

    fn named(&self, role: Option<Role>) -> Vec<(String, Tensor)> {
        let chosen = self.parameters.entries().iter().filter(|e| role.is_none_or(|r| r == e.role));
        chosen.map(|e| (e.name.clone(), e.tensor.shallow_clone())).collect()
    }

    /// Logits of the images `x`, `[B, C, H, W]`, without metadata. With `train`, batch norms use the batch's statistics
    /// and update their running statistics, and dropout is active.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn forward_t(&self, x: &Tensor, train: bool) -> Result<Output, ModelError> {
        self.forward(&Input { images: x, metadata: None }, train)
    }

    /// As [`Model::forward_t`], with metadata of the patients.
    ///
    /// # Errors
    /// [`ModelError::Input`], [`ModelError::Indivisible`], [`ModelError::TooSmall`] and [`ModelError::Metadata`]: the
    /// input does not fit the model; [`ModelError::OneValuePerChannel`]: a batch norm cannot be trained on it;
    /// [`ModelError::Torch`].
    pub fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        self.forward_in(input, train, &mut Segments::kept())
    }

    /// As [`Model::forward`], divided into segments whose activations the backward pass computes again. The weights must
    /// not change before it. Whole networks have no segments: they keep all activations (see
    /// [`ModelConfig::has_segments`]).
    ///
    /// # Errors
    /// As [`Model::forward`]; [`ModelError::Segment`].
    pub fn forward_in<'a>(
        &'a self,
        input: &Input,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Output, ModelError> {
        self.check(input.images)?;
        if let Some(metadata) = input.metadata {
            let (batch, size) = (input.images.size()[0], metadata.size());
            if size != [batch, metadata::VALUES] || !metadata.is_floating_point() {
                return Err(ModelError::Metadata { batch, size, kind: metadata.kind() });
            }
        }
        self.network.forward_in(input, train, segments)
    }

    /// The logits of the classes, `[B, classes, H, W]`, in evaluation mode, without gradients and faster than [`Model::forward`]: batch norms are
    /// folded into the convolutions before them. The results differ from [`Model::forward`] only by rounding.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn predict(&self, input: &Input) -> Result<Tensor, ModelError> {
        let logits = tch::no_grad(|| layers::folded(|| self.forward(input, false)))?.logits;
        self.folded(&logits)
    }

    /// The logits of the classes, `[B, classes, H, W]`, from those of all channels: pairs of bones are folded into their
    /// bones.
    ///
    /// # Errors
    /// [`ModelError::Torch`].
    pub fn folded(&self, logits: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.config.pairs.folded(logits)?)
    }

    /// Resets the running statistics of the batch norms that are trained (those whose weight requires a gradient) to
    /// mean 0 and variance 1, and their counters to 0, for [`Model::accumulate_statistics`]. Returns the number of these
    /// norms.
    ///
    /// # Errors
    /// [`ModelError::Torch`].
    pub fn reset_statistics(&self) -> Result<usize, ModelError> {
        let mut norms = 0;
        tch::no_grad(|| -> Result<(), TchError> {
            for entry in self.parameters.entries() {
                let Some(layer) = entry.name.strip_suffix(".running_mean") else { continue };
                let of_layer = |name: &str| self.parameters.get(&format!("{layer}.{name}")).map(Tensor::shallow_clone);
                if !of_layer("weight").is_some_and(|weight| weight.requires_grad()) {
                    continue;
                }
                for (name, value) in [("running_mean", 0), ("running_var", 1), ("num_batches_tracked", 0)] {
                    if let Some(mut tensor) = of_layer(name) {
                        let _ = tensor.f_fill_(value)?;
                    }
                }
                norms += 1;
            }
            Ok(())
        })?;
        Ok(norms)
    }

    /// Adds a batch to the running statistics of the batch norms that are trained: means over all batches since
    /// [`Model::reset_statistics`], as in `torch.optim.swa_utils.update_bn`. Dropout is active, as there.
    ///
    /// # Errors
    /// As [`Model::forward`].
    pub fn accumulate_statistics(&self, input: &Input) -> Result<(), ModelError> {
        tch::no_grad(|| layers::cumulative(|| self.forward(input, true))).map(drop)
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

    /// Loads the weights of a whole model by name from a safetensors file. Nothing changes unless the file contains
    /// every tensor, no unknown tensor, and each has the right shape. A tensor that [`Architecture::reference`] lists
    /// under several names may have any of them in the file.
    ///
    /// A checkpoint with batch norms also loads into a model that replaces them by group or layer norms: the affine
    /// weights are kept and the running statistics are dropped. A checkpoint without a metadata gate, multi-scale
    /// attention or auxiliary head also loads into a model that has them: these parts keep their initial values, with
    /// which they do not change the logits.
    ///
    /// # Errors
    /// The variants of [`WeightsError`]; the model is then unchanged.
    pub fn load(&mut self, path: &FilePath) -> Result<Loaded, WeightsError> {
        let tensors = read_tensors(path)?;
        let given = shared(&tensors);
        weights::load(&self.parameters, path, tensors).map_err(|error| error.with_fitting(&self.config, &given))
    }

    /// Loads only the encoder's weights (the backbone's for a whole network), from a file as published for the encoder
    /// or from a file of a whole model. The head of a classifier and stages beyond the model's depth are ignored. A
    /// first layer for three channels is converted to one channel as in timm (the sum over the channels).
    /// Batch norms are converted to the model's norm.
    ///
    /// # Errors
    /// The variants of [`WeightsError`]; the model is then unchanged.
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

    /// Writes the state as safetensors, atomically, in the form that strict loading in
    /// [`Architecture::reference`] needs: a tensor that it lists under several names is written under each of them.
    ///
    /// # Errors
    /// [`WeightsError::Io`]; an existing file of that name is then unchanged.
    pub fn save(&self, path: &FilePath) -> Result<(), WeightsError> {
        let entries = self.parameters.entries();
        let named = self.parameters.names().iter();
        let named: Vec<_> = named.map(|(name, entry)| (name.clone(), entries[*entry].tensor.shallow_clone())).collect();
        write_tensors(path, &named)
    }

    /// Copies the values of every tensor of `other`, a model of the same configuration.
    ///
    /// # Errors
    /// [`ModelError::Config`]: `other` has another configuration; [`ModelError::Torch`].
    pub fn copy_from(&mut self, other: &Model) -> Result<(), ModelError> {
        if self.config != other.config {
            return Err(ModelError::Config("weights can only be copied between equal configurations".into()));
        }
        tch::no_grad(|| {
            for (to, from) in self.parameters.entries().iter().zip(other.parameters.entries()) {
                to.tensor.shallow_clone().f_copy_(&from.tensor)?;
            }
            Ok(())
        })
    }
}

/// A second map to the same tensors; no tensor is copied.
fn shared(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}
