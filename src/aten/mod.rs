//! Functions of libtorch that tch does not offer: fused optimisers, operations on lists of tensors, autocast on any
//! device, channels-last weights, deterministic algorithms, the peak memory of a device, backward passes in parts, the
//! state of the random generators.
//!
//! They are implemented in `aten.cpp`, which is compiled with the headers of the linked libtorch.

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::marker::PhantomData;

use tch::{Device, Kind, TchError, Tensor};
use torch_sys::C_tensor;

type Pointer = *const c_void;

unsafe extern "C" {
    fn carpus_fused_adamw(
        weights: *const Pointer,
        first: *const Pointer,
        second: *const Pointer,
        steps: *const Pointer,
        n: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        decay: f64,
        eps: f64,
    ) -> *mut c_char;
    fn carpus_fused_sgd(
        weights: *const Pointer,
        momenta: *const Pointer,
        n: usize,
        lr: f64,
        momentum: f64,
        decay: f64,
        nesterov: bool,
        is_first: bool,
    ) -> *mut c_char;
    fn carpus_lerp(averages: *const Pointer, values: *const Pointer, n: usize, weight: f64) -> *mut c_char;
    fn carpus_scale(tensors: *const Pointer, n: usize, factor: f64) -> *mut c_char;
    fn carpus_norm(tensors: *const Pointer, n: usize, norm: *mut f64) -> *mut c_char;
    fn carpus_unscale(tensors: *const Pointer, n: usize, inverse: f64, found: *mut bool) -> *mut c_char;
    fn carpus_clear_gradients(weights: *const Pointer, n: usize) -> *mut c_char;
    fn carpus_autocast(cuda: bool, kind: c_int, before: *mut c_int) -> *mut c_char;
    fn carpus_deterministic(on: bool) -> *mut c_char;
    fn carpus_channels_last(tensor: Pointer) -> *mut c_char;
    fn carpus_cut(tensor: Pointer, out: *mut *mut C_tensor) -> *mut c_char;
    fn carpus_is_cut(tensor: Pointer, is_cut: *mut bool) -> *mut c_char;
    fn carpus_take_gradient(cut: Pointer, out: *mut *mut C_tensor) -> *mut c_char;
    fn carpus_put_gradient(cut: Pointer, gradient: Pointer) -> *mut c_char;
    fn carpus_backward(tensors: *const Pointer, gradients: *const Pointer, n: usize) -> *mut c_char;
    fn carpus_random_state(cuda: bool, index: c_int, out: *mut *mut C_tensor) -> *mut c_char;
    fn carpus_set_random_state(cuda: bool, index: c_int, state: Pointer) -> *mut c_char;
    fn carpus_device_memory(index: c_int, peak: *mut c_longlong, reset: bool) -> *mut c_char;
}

fn done(error: *mut c_char) -> Result<(), TchError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a string from `strdup` that only this caller owns.
    let text = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast());
        text
    };
    Err(TchError::Torch(text))
}

fn pointers(tensors: &[Tensor]) -> Vec<Pointer> {
    tensors.iter().map(|t| t.as_ptr() as Pointer).collect()
}

/// Hyperparameters of a step of AdamW.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the first and second moment.
    pub betas: [f64; 2],
    /// Weight decay, multiplied by the learning rate.
    pub decay: f64,
    /// Added to the square root of the second moment.
    pub eps: f64,
}

/// One step of `torch.optim.AdamW(fused=True)`. Every weight must have a gradient. `first` and `second` are the
/// moments, with the memory layout of the weights; `steps` are single-precision scalars on the weights' device, which
/// are increased by 1.
///
/// # Errors
/// An error of libtorch.
pub fn fused_adamw(
    weights: &[Tensor],
    first: &[Tensor],
    second: &[Tensor],
    steps: &[Tensor],
    by: AdamW,
) -> Result<(), TchError> {
    let n = weights.len();
    assert!(first.len() == n && second.len() == n && steps.len() == n, "two moments and one step count per weight");
    let (w, f, s, t) = (pointers(weights), pointers(first), pointers(second), pointers(steps));
    let [beta1, beta2] = by.betas;
    // SAFETY: four arrays of `n` live tensors.
    done(unsafe {
        carpus_fused_adamw(w.as_ptr(), f.as_ptr(), s.as_ptr(), t.as_ptr(), n, by.lr, beta1, beta2, by.decay, by.eps)
    })
}

/// Hyperparameters of a step of stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Weight decay, added to the gradient.
    pub decay: f64,
    /// Whether Nesterov momentum is used.
    pub nesterov: bool,
    /// Whether this is the first step, where `momenta` are still uninitialised.
    pub is_first: bool,
}

/// One step of `torch.optim.SGD(fused=True)`. Every weight must have a gradient.
///
/// # Errors
/// An error of libtorch.
pub fn fused_sgd(weights: &[Tensor], momenta: &[Tensor], by: Sgd) -> Result<(), TchError> {
    assert!(momenta.len() == weights.len(), "one momentum per weight");
    let (w, m) = (pointers(weights), pointers(momenta));
    // SAFETY: two arrays of equally many live tensors.
    done(unsafe {
        carpus_fused_sgd(
            w.as_ptr(),
            m.as_ptr(),
            w.len(),
            by.lr,
            by.momentum,
            by.decay,
            by.nesterov && by.momentum > 0.0,
            by.is_first,
        )
    })
}

/// `average += weight * (value - average)` for each pair.
///
/// # Errors
/// An error of libtorch.
pub fn lerp(averages: &[Tensor], values: &[Tensor], weight: f64) -> Result<(), TchError> {
    assert!(averages.len() == values.len(), "one average per value");
    let (a, v) = (pointers(averages), pointers(values));
    // SAFETY: two arrays of equally many live tensors.
    done(unsafe { carpus_lerp(a.as_ptr(), v.as_ptr(), a.len(), weight) })
}

/// Multiplies each tensor by `factor`, in place.
///
/// # Errors
/// An error of libtorch.
pub fn scale(tensors: &[Tensor], factor: f64) -> Result<(), TchError> {
    let t = pointers(tensors);
    // SAFETY: an array of live tensors.
    done(unsafe { carpus_scale(t.as_ptr(), t.len(), factor) })
}

/// The Euclidean norm of all tensors together; 0 for no tensors.
///
/// # Errors
/// An error of libtorch.
pub fn norm(tensors: &[Tensor]) -> Result<f64, TchError> {
    let (t, mut norm) = (pointers(tensors), 0.0);
    // SAFETY: an array of live tensors and a place for a number.
    done(unsafe { carpus_norm(t.as_ptr(), t.len(), &mut norm) })?;
    Ok(norm)
}

/// Multiplies each tensor by `inverse`, in place; returns whether any value is infinite or NaN.
///
/// # Errors
/// An error of libtorch.
pub fn unscale(tensors: &[Tensor], inverse: f64) -> Result<bool, TchError> {
    let (t, mut found) = (pointers(tensors), false);
    // SAFETY: an array of live tensors and a place for a flag.
    done(unsafe { carpus_unscale(t.as_ptr(), t.len(), inverse, &mut found) })?;
    Ok(found)
}

/// Removes the gradients, so that the next backward pass stores its own instead of adding to them.
///
/// # Errors
/// An error of libtorch.
pub fn clear_gradients(weights: &[Tensor]) -> Result<(), TchError> {
    let w = pointers(weights);
    // SAFETY: an array of live tensors.
    done(unsafe { carpus_clear_gradients(w.as_ptr(), w.len()) })
}

/// Guard: while it exists, operations on its device that benefit from it run in half precision on this thread.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    before: c_int,
    /// Autocast belongs to the thread, so the guard must not move to another.
    stays: PhantomData<*const ()>,
}

impl Autocast {
    /// Starts autocast to `Half` or `BFloat16`.
    ///
    /// # Errors
    /// [`TchError::Kind`]: another kind; or an error of libtorch.
    pub fn enter(device: Device, kind: Kind) -> Result<Autocast, TchError> {
        let cuda = matches!(device, Device::Cuda(_));
        // Numbers of `c10::ScalarType`.
        let kind = match kind {
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            other => return Err(TchError::Kind(format!("autocast to {other:?}; expected Half or BFloat16"))),
        };
        let mut before = -1;
        // SAFETY: a place for a number.
        done(unsafe { carpus_autocast(cuda, kind, &mut before) })?;
        Ok(Autocast { cuda, before, stays: PhantomData })
    }
}

impl Drop for Autocast {
    fn drop(&mut self) {
        let mut ended = -1;
        // SAFETY: a place for a number.
        let restored = done(unsafe { carpus_autocast(self.cuda, self.before, &mut ended) });
        debug_assert!(restored.is_ok(), "{restored:?}");
    }
}

/// The algorithms that libtorch may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithms {
    /// Those that give the same bits each time; an operation without such an algorithm fails.
    Deterministic,
    /// All.
    Any,
}

/// Sets the algorithms that libtorch may use.
///
/// # Errors
/// An error of libtorch.
pub fn use_algorithms(algorithms: Algorithms) -> Result<(), TchError> {
    // SAFETY: no pointer arguments.
    done(unsafe { carpus_deterministic(algorithms == Algorithms::Deterministic) })
}

/// Converts a tensor of four dimensions to the channels-last memory format; tensors that share it change too. Other
/// tensors are unchanged.
///
/// # Errors
/// An error of libtorch.
pub fn channels_last(tensor: &Tensor) -> Result<(), TchError> {
    // SAFETY: a live tensor.
    done(unsafe { carpus_channels_last(tensor.as_ptr() as Pointer) })
}

/// What happens to a device's peak memory when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeakReading {
    /// It stays.
    Keep,
    /// It starts again from now.
    Reset,
}

/// Peak memory of tensors on a CUDA device since the last reset, in bytes.
///
/// # Errors
/// An error of libtorch.
pub fn peak_memory(index: usize, reading: PeakReading) -> Result<u64, TchError> {
    let mut peak = 0;
    // SAFETY: a place for a number.
    done(unsafe { carpus_device_memory(index as c_int, &mut peak, reading == PeakReading::Reset) })?;
    Ok(u64::try_from(peak).unwrap_or(0))
}

/// A tensor that shares the values of `tensor` and requires a gradient. Backward passes end at it, and leave the gradient
/// for [`take_gradient`].
///
/// # Errors
/// An error of libtorch: the tensor is not of floats.
pub fn cut(tensor: &Tensor) -> Result<Tensor, TchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor and a place for a pointer.
    done(unsafe { carpus_cut(tensor.as_ptr() as Pointer, &mut out) })?;
    // SAFETY: a new tensor that only this caller owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Whether the tensor is one of [`cut`].
///
/// # Errors
/// An error of libtorch.
pub fn is_cut(tensor: &Tensor) -> Result<bool, TchError> {
    let mut is_cut = false;
    // SAFETY: a live tensor and a place for a flag.
    done(unsafe { carpus_is_cut(tensor.as_ptr() as Pointer, &mut is_cut) })?;
    Ok(is_cut)
}

/// Takes the gradient that backward passes left at a tensor of [`cut`]; `None` if none reached it.
///
/// # Errors
/// The tensor is not one of [`cut`].
pub fn take_gradient(cut: &Tensor) -> Result<Option<Tensor>, TchError> {
    let mut out = std::ptr::null_mut();
    // SAFETY: a live tensor and a place for a pointer.
    done(unsafe { carpus_take_gradient(cut.as_ptr() as Pointer, &mut out) })?;
    // SAFETY: a new tensor that only this caller owns.
    Ok((!out.is_null()).then(|| unsafe { Tensor::from_ptr(out) }))
}

/// Leaves a gradient at a tensor of [`cut`], in place of the one that is there.
///
/// # Errors
/// The tensor is not one of [`cut`].
pub fn put_gradient(cut: &Tensor, gradient: &Tensor) -> Result<(), TchError> {
    // SAFETY: two live tensors.
    done(unsafe { carpus_put_gradient(cut.as_ptr() as Pointer, gradient.as_ptr() as Pointer) })
}

/// A backward pass from several tensors, each with its gradient; the gradient of a scalar may be undefined
/// ([`Tensor::new`]), which means 1.
///
/// # Errors
/// An error of libtorch.
pub fn backward(tensors: &[Tensor], gradients: &[Tensor]) -> Result<(), TchError> {
    assert!(tensors.len() == gradients.len(), "one gradient per tensor");
    let (t, g) = (pointers(tensors), pointers(gradients));
    // SAFETY: two arrays of equally many live tensors.
    done(unsafe { carpus_backward(t.as_ptr(), g.as_ptr(), t.len()) })
}

/// Whether the device is a CUDA device, and its index.
fn place(device: Device) -> (bool, c_int) {
    match device {
        Device::Cuda(index) => (true, index as c_int),
        _ => (false, 0),
    }
}

/// The state of the random generator that operations on `device` use.
///
/// # Errors
/// An error of libtorch.
pub fn random_state(device: Device) -> Result<Tensor, TchError> {
    let ((cuda, index), mut out) = (place(device), std::ptr::null_mut());
    // SAFETY: a place for a pointer.
    done(unsafe { carpus_random_state(cuda, index, &mut out) })?;
    // SAFETY: a new tensor that only this caller owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// Restores a state that [`random_state`] returned for this device.
///
/// # Errors
/// An error of libtorch: the state is of another generator.
pub fn set_random_state(device: Device, state: &Tensor) -> Result<(), TchError> {
    let (cuda, index) = place(device);
    // SAFETY: a live tensor.
    done(unsafe { carpus_set_random_state(cuda, index, state.as_ptr() as Pointer) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backward_pass_ends_at_a_cut_and_goes_on_from_it() {
        let x = Tensor::from_slice(&[1f32, 2.0]).set_requires_grad(true);
        let square = x.square();
        let part = cut(&square).unwrap();
        assert!(is_cut(&part).unwrap() && !is_cut(&square).unwrap() && part.requires_grad());
        (&part * 3.0).sum(Kind::Float).backward();
        assert!(!x.grad().defined());
        let gradient = take_gradient(&part).unwrap().unwrap();
        assert_eq!(Vec::<f32>::try_from(&gradient).unwrap(), [3.0, 3.0]);
        assert!(take_gradient(&part).unwrap().is_none());
        backward(&[square], &[gradient]).unwrap();
        assert_eq!(Vec::<f32>::try_from(x.grad()).unwrap(), [6.0, 12.0]);
        assert!(take_gradient(&x).is_err());
    }
}
