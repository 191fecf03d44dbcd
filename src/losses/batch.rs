use tch::{Device, Kind, TchError, Tensor};

use super::LossError;

/// Logits and target of a batch, read a few classes at a time.
pub struct Batch {
    logits: Tensor,
    target: Target,
    /// Images, classes, height, width.
    pub size: [i64; 4],
}

enum Target {
    /// {0,1}, `[B, C, H, W]`.
    Dense(Tensor),
    /// Bit c of a word is class c, `[B, H, W]`.
    Words(Tensor),
}

/// Elements of a chunk that stay in a core's cache, or keep a GPU busy.
const CHUNK_CPU: i64 = 1 << 19;
const CHUNK_GPU: i64 = 1 << 24;

impl Batch {
    /// Checks shapes and kinds; nothing is copied.
    pub fn new(logits: &Tensor, target: &Tensor) -> Result<Self, LossError> {
        let shape = logits.size();
        let &[b, c, h, w] = shape.as_slice() else {
            return Err(LossError::Logits { size: shape, kind: logits.kind() });
        };
        if !logits.is_floating_point() || shape.contains(&0) {
            return Err(LossError::Logits { size: shape, kind: logits.kind() });
        }
        let (logits, target) = (logits.f_detach()?, target.f_detach()?.f_to_device(logits.device())?);
        let kind = target.kind();
        let words = kind == Kind::Int && target.size() == [b, h, w] && c <= 32;
        if !words && target.size() != shape {
            return Err(LossError::Target { logits: shape, size: target.size(), kind });
        }
        let target = if words { Target::Words(target) } else { Target::Dense(target) };
        Ok(Batch { logits, target, size: [b, c, h, w] })
    }

    /// Where the logits are.
    pub fn device(&self) -> Device {
        self.logits.device()
    }

    /// First class and number of classes of each chunk.
    pub fn chunks(&self) -> Vec<(i64, i64)> {
        let [b, c, h, w] = self.size;
        let budget = if self.device() == Device::Cpu { CHUNK_CPU } else { CHUNK_GPU };
        let count = (budget / (b * h * w)).clamp(1, c);
        (0..c).step_by(count as usize).map(|first| (first, count.min(c - first))).collect()
    }

    /// Logits and target of `count` classes from `first` on, in single precision: `[B, count, H, W]` each.
    pub fn chunk(&self, first: i64, count: i64) -> Result<Chunk, TchError> {
        let logits = self.logits.f_narrow(1, first, count)?.f_to_kind(Kind::Float)?;
        let target = match &self.target {
            Target::Dense(dense) => dense.f_narrow(1, first, count)?.f_to_kind(Kind::Float)?,
            Target::Words(words) => {
                let bits: Vec<i32> = (first..first + count).map(|c| (1u32 << c) as i32).collect();
                let bits = Tensor::f_from_slice(&bits)?.f_to_device(words.device())?.f_view([1, count, 1, 1])?;
                words.f_unsqueeze(1)?.f_bitwise_and_tensor(&bits)?.f_ne(0)?.f_to_kind(Kind::Float)?
            }
        };
        Ok(Chunk { first, count, logits, target })
    }
}

/// A few classes of a batch.
pub struct Chunk {
    /// Index of the first class.
    pub first: i64,
    /// Number of classes.
    pub count: i64,
    /// Single precision, `[B, count, H, W]`.
    pub logits: Tensor,
    /// {0,1} in single precision, `[B, count, H, W]`.
    pub target: Tensor,
}

impl Chunk {
    /// Those of the values `[C]` that belong to this chunk, to be broadcast over images and pixels.
    pub fn of_class(&self, values: &Tensor) -> Result<Tensor, TchError> {
        values.f_narrow(0, self.first, self.count)?.f_view([1, self.count, 1, 1])
    }

    /// The logit with its sign turned so that positive is wrong: `x (1 - 2 t)`.
    pub fn wrongness(&self) -> Result<Tensor, TchError> {
        self.logits.f_mul(&self.target.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?)
    }
}

/// Sum over a tensor, kept on its device.
pub fn total(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_sum(Kind::Float)
}
