use std::cell::Cell;

use tch::{Device, Kind, TchError, Tensor};

use super::operations::counting;
use crate::models::parameters::{Fill, Path};
use crate::models::{ModelError, Norm};

/// PyTorch's default epsilon, which is added to the variance.
const EPS: f64 = 1e-5;
/// PyTorch's default momentum: the weight of a new batch in the running statistics.
const MOMENTUM: f64 = 0.1;

thread_local! {
    static RECOMPUTING: Cell<bool> = const { Cell::new(false) };
    static CUMULATIVE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, a forward pass that this thread computes a second time: batch norms do not update their running
/// statistics.
pub fn recomputing<T>(work: impl FnOnce() -> T) -> T {
    let outer = RECOMPUTING.replace(true);
    let done = work();
    RECOMPUTING.set(outer);
    done
}

/// Runs `work` while the running statistics of the batch norms on this thread are plain means over the batches that
/// their counters count, as with PyTorch's `momentum=None`.
pub fn cumulative<T>(work: impl FnOnce() -> T) -> T {
    let outer = CUMULATIVE.replace(true);
    let done = work();
    CUMULATIVE.set(outer);
    done
}

/// The layer that the model's [`Norm`] puts in place of a batch norm, with the same names.
#[derive(Debug)]
pub enum Norm2d {
    /// Batch norm with running statistics.
    Batch(BatchNorm),
    /// Group norm.
    Group(GroupNorm),
}

impl Norm2d {
    /// A norm with PyTorch's default `eps` and `momentum`.
    pub fn new(path: &Path, channels: i64) -> Result<Self, ModelError> {
        Self::with(path, channels, EPS, MOMENTUM)
    }

    /// `eps` is added to the variance. `momentum` is the weight of a new batch in the running statistics, unless the
    /// model's configuration sets another.
    pub fn with(path: &Path, channels: i64, eps: f64, momentum: f64) -> Result<Self, ModelError> {
        let momentum = path.norm_momentum().unwrap_or(momentum);
        match path.norm() {
            Norm::Batch => Ok(Norm2d::Batch(BatchNorm::new(path, channels, eps, momentum)?)),
            Norm::FrozenBatch => {
                let norm = BatchNorm::new(path, channels, eps, momentum)?;
                for tensor in [&norm.weight, &norm.bias] {
                    let _ = tensor.f_set_requires_grad(false)?;
                }
                Ok(Norm2d::Batch(norm))
            }
            Norm::Group(groups) => {
                let groups = common_divisor(channels, groups.into());
                Ok(Norm2d::Group(GroupNorm::new(path, groups, channels, eps)?))
            }
            Norm::Layer => Ok(Norm2d::Group(GroupNorm::new(path, 1, channels, eps)?)),
        }
    }

    /// `[B, C, H, W]` to the same.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        if counting() {
            return Ok(x.shallow_clone());
        }
        match self {
            Norm2d::Batch(norm) => norm.forward(x, train),
            Norm2d::Group(norm) => norm.forward(x),
        }
    }

    /// Factor and offset of a batch norm in evaluation mode, `[C]` each; `None` for other norms.
    pub(super) fn stored(&self) -> Result<Option<(Tensor, Tensor)>, TchError> {
        let Norm2d::Batch(norm) = self else { return Ok(None) };
        let scale = norm.running_var.f_add_scalar(norm.eps)?.f_rsqrt_()?.f_mul_(&norm.weight)?;
        let shift = norm.bias.f_sub(&norm.running_mean.f_mul(&scale)?)?;
        Ok(Some((scale, shift)))
    }
}

/// The greatest common divisor.
pub fn common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// PyTorch's `BatchNorm2d`. It uses and updates batch statistics only if its weight requires a gradient, so freezing a
/// layer also freezes its statistics.
#[derive(Debug)]
pub struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    num_batches_tracked: Tensor,
    eps: f64,
    momentum: f64,
}

impl BatchNorm {
    fn new(path: &Path, channels: i64, eps: f64, momentum: f64) -> Result<Self, ModelError> {
        let cpu = Device::Cpu;
        Ok(BatchNorm {
            weight: path.parameter("weight", &[channels], Fill::Constant(1.0))?,
            bias: path.parameter("bias", &[channels], Fill::Constant(0.0))?,
            running_mean: path.buffer("running_mean", Tensor::f_zeros([channels], (Kind::Float, cpu))?)?,
            running_var: path.buffer("running_var", Tensor::f_ones([channels], (Kind::Float, cpu))?)?,
            num_batches_tracked: path.buffer("num_batches_tracked", Tensor::f_zeros([0i64; 0], (Kind::Int64, cpu))?)?,
            eps,
            momentum,
        })
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let learns = train && self.weight.requires_grad();
        let mut momentum = self.momentum;
        if learns {
            let size = x.size();
            if size[0] * size[2..].iter().product::<i64>() <= 1 {
                return Err(ModelError::OneValuePerChannel { size });
            }
        }
        let updates = learns && !RECOMPUTING.get();
        if updates {
            let _ = self.num_batches_tracked.shallow_clone().f_add_scalar_(1)?;
            if CUMULATIVE.get() {
                momentum = 1.0 / self.num_batches_tracked.f_int64_value(&[])? as f64;
            }
        }
        // With the batch's statistics, the running statistics are only updated and not read.
        let running = |statistics| (updates || !learns).then_some(statistics);
        Ok(x.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            running(&self.running_mean),
            running(&self.running_var),
            learns,
            momentum,
            self.eps,
            true,
        )?)
    }
}

/// PyTorch's `GroupNorm`.
#[derive(Debug)]
pub struct GroupNorm {
    groups: i64,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl GroupNorm {
    /// `channels` in `groups` groups.
    pub fn new(path: &Path, groups: i64, channels: i64, eps: f64) -> Result<Self, ModelError> {
        Self::starting_at(path, groups, channels, eps, 1.0)
    }

    /// With another initial weight: 0 makes the initial output of a branch zero.
    pub fn starting_at(path: &Path, groups: i64, channels: i64, eps: f64, weight: f64) -> Result<Self, ModelError> {
        let weight = path.parameter("weight", &[channels], Fill::Constant(weight))?;
        let bias = path.parameter("bias", &[channels], Fill::Constant(0.0))?;
        Ok(GroupNorm { groups, weight, bias, eps })
    }

    /// `[B, C, H, W]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        if counting() {
            return Ok(x.shallow_clone());
        }
        Ok(x.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }
}

/// PyTorch's `LayerNorm` over the last dimension.
#[derive(Debug)]
pub struct LayerNorm {
    channels: i64,
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// A norm over this many channels.
    pub fn new(path: &Path, channels: i64, eps: f64) -> Result<Self, ModelError> {
        let weight = path.parameter("weight", &[channels], Fill::Constant(1.0))?;
        let bias = path.parameter("bias", &[channels], Fill::Constant(0.0))?;
        Ok(LayerNorm { channels, weight, bias, eps })
    }

    /// `[.., C]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        if counting() {
            return Ok(x.shallow_clone());
        }
        Ok(x.f_layer_norm([self.channels], Some(&self.weight), Some(&self.bias), self.eps, true)?)
    }

    /// Normalises over the channels of each pixel of a map: `[B, C, H, W]` to the same.
    pub fn forward_map(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        Ok(self.forward(&x.f_permute([0, 2, 3, 1])?)?.f_permute([0, 3, 1, 2])?)
    }
}

/// PyTorch's `InstanceNorm2d` without weights: normalises each channel of each sample to mean 0 and variance 1.
pub fn instance_norm(x: &Tensor) -> Result<Tensor, ModelError> {
    Ok(x.f_instance_norm(None::<&Tensor>, None, None, None, true, MOMENTUM, EPS, true)?)
}
