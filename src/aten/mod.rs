//! What libtorch offers and tch does not reach: fused optimisers, operations on lists of tensors, autocast on any
//! device, channels-last weights, deterministic algorithms, the peak of a device's memory.
//!
//! All of it goes through the functions of `aten.cpp`, compiled against the headers of the libtorch that is linked.

use std::ffi::{CStr, c_char, c_int, c_longlong, c_void};
use std::marker::PhantomData;

use tch::{Device, Kind, TchError, Tensor};

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
    fn carpus_device_memory(index: c_int, peak: *mut c_longlong, reset: bool) -> *mut c_char;
}

fn done(error: *mut c_char) -> Result<(), TchError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a text made by `strdup`, handed over to this caller alone.
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

/// What a step of AdamW needs beside the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Rate.
    pub lr: f64,
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// Decay of the weights, times the rate.
    pub decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One step of `torch.optim.AdamW(fused=True)`. Every weight has a gradient; `first` and `second` lie in memory as
/// the weights do; `steps` are single-precision scalars on the weights' device, which are counted up.
pub fn fused_adamw(
    weights: &[Tensor],
    first: &[Tensor],
    second: &[Tensor],
    steps: &[Tensor],
    by: AdamW,
) -> Result<(), TchError> {
    let n = weights.len();
    assert!(first.len() == n && second.len() == n && steps.len() == n, "one moment and one count a weight");
    let (w, f, s, t) = (pointers(weights), pointers(first), pointers(second), pointers(steps));
    let [beta1, beta2] = by.betas;
    // SAFETY: four arrays of `n` live tensors.
    done(unsafe {
        carpus_fused_adamw(w.as_ptr(), f.as_ptr(), s.as_ptr(), t.as_ptr(), n, by.lr, beta1, beta2, by.decay, by.eps)
    })
}

/// What a step of gradient descent needs beside the tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Rate.
    pub lr: f64,
    /// Momentum.
    pub momentum: f64,
    /// Decay, added to the gradient.
    pub decay: f64,
    /// Nesterov's form.
    pub nesterov: bool,
    /// Whether `momenta` hold nothing yet.
    pub is_first: bool,
}

/// One step of `torch.optim.SGD(fused=True)`. Every weight has a gradient.
pub fn fused_sgd(weights: &[Tensor], momenta: &[Tensor], by: Sgd) -> Result<(), TchError> {
    assert!(momenta.len() == weights.len(), "one momentum a weight");
    let (w, m) = (pointers(weights), pointers(momenta));
    // SAFETY: two arrays of as many live tensors.
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
pub fn lerp(averages: &[Tensor], values: &[Tensor], weight: f64) -> Result<(), TchError> {
    assert!(averages.len() == values.len(), "one average a value");
    let (a, v) = (pointers(averages), pointers(values));
    // SAFETY: two arrays of as many live tensors.
    done(unsafe { carpus_lerp(a.as_ptr(), v.as_ptr(), a.len(), weight) })
}

/// Multiplies each by `factor`.
pub fn scale(tensors: &[Tensor], factor: f64) -> Result<(), TchError> {
    let t = pointers(tensors);
    // SAFETY: an array of live tensors.
    done(unsafe { carpus_scale(t.as_ptr(), t.len(), factor) })
}

/// The Euclidean norm of all together; 0 of none.
pub fn norm(tensors: &[Tensor]) -> Result<f64, TchError> {
    let (t, mut norm) = (pointers(tensors), 0.0);
    // SAFETY: an array of live tensors and a place for a number.
    done(unsafe { carpus_norm(t.as_ptr(), t.len(), &mut norm) })?;
    Ok(norm)
}

/// Multiplies each by `inverse`; whether a value is infinite or no number.
pub fn unscale(tensors: &[Tensor], inverse: f64) -> Result<bool, TchError> {
    let (t, mut found) = (pointers(tensors), false);
    // SAFETY: an array of live tensors and a place for a flag.
    done(unsafe { carpus_unscale(t.as_ptr(), t.len(), inverse, &mut found) })?;
    Ok(found)
}

/// Lets go of the gradients, so that the next backward pass puts its own in place and adds to none.
pub fn clear_gradients(weights: &[Tensor]) -> Result<(), TchError> {
    let w = pointers(weights);
    // SAFETY: an array of live tensors.
    done(unsafe { carpus_clear_gradients(w.as_ptr(), w.len()) })
}

/// While it lives, operations on `device` that gain from it compute in a half kind on this thread.
#[derive(Debug)]
pub struct Autocast {
    cuda: bool,
    before: c_int,
    /// Autocast is of the thread.
    stays: PhantomData<*const ()>,
}

impl Autocast {
    /// `Half` or `BFloat16` from here on.
    ///
    /// # Errors
    /// Another kind.
    pub fn enter(device: Device, kind: Kind) -> Result<Autocast, TchError> {
        let cuda = matches!(device, Device::Cuda(_));
        // Numbers of `c10::ScalarType`.
        let kind = match kind {
            Kind::Half => 5,
            Kind::BFloat16 => 15,
            other => return Err(TchError::Kind(format!("autocast to {other:?}; there is Half and BFloat16"))),
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

/// Whether libtorch must use algorithms that give the same bits each time; those that have none fail.
pub fn deterministic(on: bool) -> Result<(), TchError> {
    // SAFETY: no arguments to hold up.
    done(unsafe { carpus_deterministic(on) })
}

/// Lays a tensor of four dimensions out with channels innermost; all that shares it follows.
pub fn channels_last(tensor: &Tensor) -> Result<(), TchError> {
    // SAFETY: a live tensor.
    done(unsafe { carpus_channels_last(tensor.as_ptr() as Pointer) })
}

/// Most bytes of a CUDA device that tensors took since the last reset.
pub fn peak_memory(index: usize, reset: bool) -> Result<u64, TchError> {
    let mut peak = 0;
    // SAFETY: a place for a number.
    done(unsafe { carpus_device_memory(index as c_int, &mut peak, reset) })?;
    Ok(u64::try_from(peak).unwrap_or(0))
}
