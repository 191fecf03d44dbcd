use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};

use super::layers::{Tally, tally};
use super::{Model, ModelConfig, ModelError, Parameters, Role};

/// The tensors of a model without values: names and shapes of any configuration, computed in milliseconds.
#[derive(Debug)]
pub struct ModelOutline {
    /// The state dict's tensors in the order of [`Architecture::reference`](super::Architecture::reference): name,
    /// shape, role.
    pub entries: Vec<(String, Vec<i64>, Role)>,
    /// Channels of the encoder's features at strides 1, 2, 4, …
    pub channels: Vec<i64>,
    /// Height and width of an image must be multiples of this.
    pub stride: i64,
    /// Smallest allowed height and width of an image, in pixels.
    pub least_side: i64,
}

/// The computational cost of a model and the strides of its features, measured on one forward pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of the convolutions, linear layers and attention in evaluation.
    pub operations: u64,
    /// Strides of the encoder's features in their order (side of the image divided by side of the feature). For
    /// torchvision's networks with MobileNetV3: strides of the features that the head reads.
    pub strides: Vec<i64>,
}

impl ModelOutline {
    /// The outline of `config`.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn of(config: &ModelConfig) -> Result<ModelOutline, ModelError> {
        let model = Model::with(config, Parameters::unfilled(Device::Cpu))?;
        let entries = model.parameters.entries().iter();
        Ok(ModelOutline {
            entries: entries.map(|e| (e.name.clone(), e.tensor.size(), e.role)).collect(),
            channels: model.encoder_channels().to_vec(),
            stride: model.stride(),
            least_side: model.least_side(),
        })
    }

    /// Number of weights; buffers are not counted.
    pub fn parameters(&self) -> usize {
        let weights = self.entries.iter().filter(|(_, _, role)| *role == Role::Parameter);
        weights.map(|(_, shape, _)| shape.iter().product::<i64>() as usize).sum()
    }

    /// Shape of the tensor `name`.
    pub fn shape(&self, name: &str) -> Option<&[i64]> {
        self.entries.iter().find(|(n, ..)| n == name).map(|(_, shape, _)| shape.as_slice())
    }

    /// Names of the tensors.
    pub fn names(&self) -> BTreeSet<&str> {
        self.entries.iter().map(|(name, ..)| name.as_str()).collect()
    }
}

impl Cost {
    /// The cost of `config` on one image of `side` x `side`.
    ///
    /// # Errors
    /// As [`Model::new`], and as [`Model::forward`] if the model does not accept images of this size.
    pub fn of(config: &ModelConfig, side: i64) -> Result<Cost, ModelError> {
        let model = Model::with(config, Parameters::unfilled(Device::Cpu))?;
        let x = Tensor::f_zeros([1, config.in_channels, side, side], (Kind::Float, Device::Cpu))?;
        let (output, Tally { operations, features }) = tally(|| tch::no_grad(|| model.forward_t(&x, false)));
        output?;
        // A feature that the encoder does not have has zero channels.
        let strides = features.iter().filter(|size| size[1] > 0).map(|size| side / size[2]).collect();
        Ok(Cost { operations, strides })
    }
}

/// The number of classes of the weights `tensors` of a model `config` (`config.classes` is ignored): the size of the
/// first tensor whose shape depends on it; `None` if `tensors` lack it.
///
/// # Errors
/// As [`Model::new`].
pub fn classes_of(config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Result<Option<i64>, ModelError> {
    let [one, two] = [1, 2].map(|classes| ModelOutline::of(&ModelConfig { classes, ..config.clone() }));
    let (one, two) = (one?.entries, two?.entries);
    for ((name, a, _), (_, b, _)) in one.iter().zip(&two) {
        if let Some(axis) = a.iter().zip(b).position(|(a, b)| a != b) {
            return Ok(tensors.get(name).and_then(|t| t.size().get(axis).copied()));
        }
    }
    Ok(None)
}
