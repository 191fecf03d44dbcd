use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, Kind, Tensor};

use super::layers::{Tally, tally};
use super::{Model, ModelConfig, ModelError, Parameters, Role};

/// A model's tensors without values: names, shapes and cost of any configuration in milliseconds.
#[derive(Debug)]
pub struct ModelOutline {
    /// The state dict's tensors in the reference's order: name, shape, role.
    pub entries: Vec<(String, Vec<i64>, Role)>,
    /// Channels of the encoder's features at strides 1, 2, 4, …
    pub channels: Vec<i64>,
    /// What height and width of an image must be multiples of.
    pub stride: i64,
    /// Least height and width of an image.
    pub least_side: i64,
}

/// What a model costs and passes on, measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Multiply-adds of convolutions, linear layers and attention in evaluation.
    pub operations: u64,
    /// Side of the image over the side of each of the encoder's features in their order; of the features that its head
    /// reads for a whole network of torchvision's on MobileNetV3.
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

    /// Names of its tensors.
    pub fn names(&self) -> BTreeSet<&str> {
        self.entries.iter().map(|(name, ..)| name.as_str()).collect()
    }
}

impl Cost {
    /// The cost of `config` on one image of `side` x `side`.
    ///
    /// # Errors
    /// As [`Model::new`], and as [`Model::forward`] where the model does not take `side`.
    pub fn of(config: &ModelConfig, side: i64) -> Result<Cost, ModelError> {
        let model = Model::with(config, Parameters::unfilled(Device::Cpu))?;
        let x = Tensor::f_zeros([1, config.in_channels, side, side], (Kind::Float, Device::Cpu))?;
        let (output, Tally { operations, features }) = tally(|| tch::no_grad(|| model.forward_t(&x, false)));
        output?;
        // A feature that an encoder lacks has no channels.
        let strides = features.iter().filter(|size| size[1] > 0).map(|size| side / size[2]).collect();
        Ok(Cost { operations, strides })
    }
}

/// The number of classes that the weights `tensors` of a `config` (whose own number is not looked at) are for: the rows
/// of the first tensor whose shape depends on it; `None` where the tensors have none of that name.
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
