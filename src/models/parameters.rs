use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::Div;

use tch::{Device, Kind, TchError, Tensor};

use super::Norm;
use super::layers::Scheme;

/// The role of a named tensor in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A weight that the optimiser updates.
    Parameter,
    /// State that the forward pass updates: running statistics and their counter.
    Buffer,
}

/// One named tensor of a model.
#[derive(Debug)]
pub struct ParameterEntry {
    /// Name in the state dict of [`Architecture::reference`](super::Architecture::reference):
    /// `encoder._blocks.0._bn1.weight`.
    pub name: String,
    /// The tensor; it shares storage with the layer that uses it.
    pub tensor: Tensor,
    /// Weight or buffer.
    pub role: Role,
}

/// All tensors of a model with the names and in the order of the state dict of
/// [`Architecture::reference`](super::Architecture::reference).
#[derive(Debug)]
pub struct Parameters {
    device: Device,
    /// Whether weights get their initial values; otherwise their memory is uninitialised.
    filled: bool,
    entries: Vec<ParameterEntry>,
    /// Every name of the state dict in its order, with the index of its entry: some libraries list a tensor under
    /// several names.
    names: Vec<(String, usize)>,
    index: HashMap<String, usize>,
}

impl Parameters {
    /// An empty registry whose tensors will be on `device`.
    pub fn new(device: Device) -> Self {
        Parameters { device, filled: true, entries: Vec::new(), names: Vec::new(), index: HashMap::new() }
    }

    /// As [`Parameters::new`], but weights are not initialised: for weights that are written before they are read.
    /// Memory that is never touched costs nothing.
    pub(super) fn unfilled(device: Device) -> Self {
        Parameters { filled: false, ..Self::new(device) }
    }

    /// The device of the tensors.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All tensors in order, each once.
    pub fn entries(&self) -> &[ParameterEntry] {
        &self.entries
    }

    /// Every name of the state dict in its order, with the index of its tensor in [`Parameters::entries`]. A tensor
    /// that [`Architecture::reference`](super::Architecture::reference) lists under several names occurs several times.
    pub fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// The tensor with this name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.index.get(name).map(|i| &self.entries[*i].tensor)
    }

    /// Number of weights (scalars, not tensors); buffers are not counted.
    pub fn count(&self) -> usize {
        self.entries.iter().filter(|e| e.role == Role::Parameter).map(|e| e.tensor.numel()).sum()
    }

    /// Freezes every weight whose name starts with `prefix`. A batch norm with a frozen weight does not update its
    /// running statistics either. Returns the number of frozen tensors.
    pub fn freeze(&self, prefix: &str) -> usize {
        self.set_requires_grad(prefix, false)
    }

    /// Makes every weight whose name starts with `prefix` trainable. Returns the number of these tensors.
    pub fn unfreeze(&self, prefix: &str) -> usize {
        self.set_requires_grad(prefix, true)
    }

    fn set_requires_grad(&self, prefix: &str, trainable: bool) -> usize {
        let mut changed = 0;
        for entry in self.entries.iter().filter(|e| e.role == Role::Parameter && e.name.starts_with(prefix)) {
            let _ = entry.tensor.set_requires_grad(trainable);
            changed += 1;
        }
        changed
    }

    /// Converts every floating-point tensor to `kind`, in the layers too: double precision to compare gradients without
    /// rounding errors, half precision for prediction. Call it before the first backward pass: an existing gradient is
    /// not converted.
    ///
    /// # Errors
    /// An error of libtorch, usually out of memory.
    pub fn set_kind(&self, kind: Kind) -> Result<(), TchError> {
        for entry in self.entries.iter().filter(|e| e.tensor.is_floating_point()) {
            let trainable = entry.tensor.requires_grad();
            let mut shared = entry.tensor.f_set_requires_grad(false)?;
            shared.f_set_data(&entry.tensor.f_detach()?.f_to_kind(kind)?)?;
            let _ = entry.tensor.f_set_requires_grad(trainable)?;
        }
        Ok(())
    }

    /// Converts every four-dimensional weight to the channels-last memory format, in the layers too. The images must
    /// have the same format ([`channels_last`]).
    ///
    /// # Errors
    /// An error of libtorch, usually out of memory.
    pub fn set_channels_last(&self) -> Result<(), TchError> {
        for entry in self.entries.iter().filter(|e| e.role == Role::Parameter && e.tensor.dim() == 4) {
            let trainable = entry.tensor.requires_grad();
            let mut shared = entry.tensor.f_set_requires_grad(false)?;
            shared.f_set_data(&channels_last(&entry.tensor.f_detach()?)?)?;
            let _ = entry.tensor.f_set_requires_grad(trainable)?;
        }
        Ok(())
    }

    fn insert(&mut self, name: String, tensor: Tensor, role: Role) {
        self.name(name.clone(), self.entries.len());
        self.entries.push(ParameterEntry { name, tensor, role });
    }

    fn name(&mut self, name: String, entry: usize) {
        let earlier = self.index.insert(name.clone(), entry);
        assert!(earlier.is_none(), "duplicate tensor name: {name}");
        self.names.push((name, entry));
    }

    /// Lists every tensor with the prefix `from` again with the prefix `to`.
    fn alias(&mut self, from: &str, to: &str) {
        let under = |(name, entry): &(String, usize)| name.strip_prefix(from).map(|n| (format!("{to}{n}"), *entry));
        let copies: Vec<_> = self.names.iter().filter_map(under).collect();
        for (name, entry) in copies {
            self.name(name, entry);
        }
    }
}

/// The same `[B, C, H, W]` in the channels-last memory format (in memory `[B, H, W, C]`).
///
/// # Errors
/// An error of libtorch: `x` does not have four dimensions, or out of memory.
pub fn channels_last(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// Initial values of a new tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// The same value everywhere.
    Constant(f64),
    /// Uniform from `-bound` to `bound`.
    Uniform(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Normal with mean 0 and this standard deviation, truncated at ±2 (absolute values, not standard deviations, as in
    /// timm and MONAI).
    TruncatedNormal(f64),
}

impl Fill {
    /// A float tensor with these values, drawn from libtorch's global random generator.
    pub fn tensor(self, shape: &[i64], device: Device) -> Result<Tensor, TchError> {
        let mut tensor = Tensor::f_zeros(shape, (Kind::Float, device))?;
        match self {
            Fill::Constant(0.0) => Ok(tensor),
            Fill::Constant(value) => tensor.f_fill_(value),
            Fill::Uniform(bound) => tensor.f_uniform_(-bound, bound),
            Fill::Normal(std) => tensor.f_normal_(0.0, std),
            Fill::TruncatedNormal(std) => {
                // Inverse transform sampling: uniform values between the quantiles of ±2, mapped by erfinv.
                let edge = erf(2.0 / std / std::f64::consts::SQRT_2);
                tensor
                    .f_uniform_(-edge, edge)?
                    .f_erfinv_()?
                    .f_mul_scalar_(std * std::f64::consts::SQRT_2)?
                    .f_clamp_(-2.0, 2.0)
            }
        }
    }
}

fn erf(x: f64) -> f64 {
    statrs::function::erf::erf(x)
}

/// A position in the tree of names while a model is built: the prefix of the layers' tensors, and the norm and
/// initialisation of the layers there.
#[derive(Clone, Debug)]
pub struct Path<'a> {
    registry: &'a RefCell<Parameters>,
    prefix: String,
    norm: Norm,
    norm_momentum: Option<f64>,
    scheme: Scheme,
}

impl<'a> Path<'a> {
    /// The root of the tree.
    pub fn root(registry: &'a RefCell<Parameters>, norm: Norm, scheme: Scheme) -> Self {
        Path { registry, prefix: String::new(), norm, norm_momentum: None, scheme }
    }

    /// The same position with another momentum of the batch norms; `None` is that of the published architecture.
    pub fn with_norm_momentum(&self, momentum: Option<f64>) -> Self {
        Path { norm_momentum: momentum, ..self.clone() }
    }

    /// Momentum of the batch norms here; `None` is that of the published architecture.
    pub fn norm_momentum(&self) -> Option<f64> {
        self.norm_momentum
    }

    /// The same position with another initialisation scheme.
    pub fn with_scheme(&self, scheme: Scheme) -> Self {
        Path { scheme, ..self.clone() }
    }

    /// The norm in place of batch norm here.
    pub fn norm(&self) -> Norm {
        self.norm
    }

    /// The initialisation scheme here.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Adds a weight.
    pub fn parameter(&self, name: &str, shape: &[i64], fill: Fill) -> Result<Tensor, TchError> {
        let Parameters { device, filled, .. } = *self.registry.borrow();
        let tensor = if filled { fill.tensor(shape, device)? } else { Tensor::f_empty(shape, (Kind::Float, device))? };
        Ok(self.add(name, tensor.f_set_requires_grad(true)?, Role::Parameter))
    }

    /// Adds a buffer.
    pub fn buffer(&self, name: &str, tensor: Tensor) -> Result<Tensor, TchError> {
        let tensor = tensor.f_to_device(self.registry.borrow().device())?;
        Ok(self.add(name, tensor, Role::Buffer))
    }

    /// Lists every tensor that exists here now again under `other`, as in a library whose modules share parts.
    pub fn alias(&self, other: &Path) {
        self.registry.borrow_mut().alias(&self.prefix, &other.prefix);
    }

    fn add(&self, name: &str, tensor: Tensor, role: Role) -> Tensor {
        let shared = tensor.shallow_clone();
        self.registry.borrow_mut().insert(format!("{}{name}", self.prefix), tensor, role);
        shared
    }
}

impl<'a, T: Display> Div<T> for &Path<'a> {
    type Output = Path<'a>;

    fn div(self, name: T) -> Path<'a> {
        Path { prefix: format!("{}{name}.", self.prefix), ..self.clone() }
    }
}

impl<'a, T: Display> Div<T> for Path<'a> {
    type Output = Path<'a>;

    fn div(self, name: T) -> Path<'a> {
        &self / name
    }
}
