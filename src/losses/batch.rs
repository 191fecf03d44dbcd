use rayon::prelude::*;
use tch::{Device, Kind, TchError, Tensor};

use super::memory::elements;
use super::pixel_weight::Around;
use super::{LossError, PixelWeight};
use crate::mask::{RunMask, SignedDistance, masks_of_words};

/// Logits and target of a batch, which are read a few classes at a time.
pub struct LossBatch {
    /// `[B, C, H, W]`.
    pub logits: Tensor,
    /// Masks or label words.
    pub target: LossTarget,
    /// Weights of the pixels in single precision, `[B, 1 or C, H, W]`.
    pub weights: Option<Tensor>,
    /// Distances to the outline of each class of each image (image by image); empty unless a term needs them.
    pub edges: Vec<SignedDistance>,
    /// Images, classes, height, width.
    pub size: [i64; 4],
    /// Whether the target has values other than 0 and 1.
    pub is_soft: bool,
}

/// The ground truth.
pub enum LossTarget {
    /// Masks of {0,1}, or soft targets from 0 to 1, `[B, C, H, W]`.
    Dense(Tensor),
    /// Label words, `[B, H, W]`; bit c of a word is class c.
    Words(Tensor),
}

/// Elements of a chunk: few enough for the cache of a CPU core, enough to use a whole GPU.
const CHUNK_CPU: i64 = 1 << 19;
const CHUNK_GPU: i64 = 1 << 24;

impl LossBatch {
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
        let is_soft = !words
            && target.is_floating_point()
            && target.f_ne(0)?.f_logical_and_(&target.f_ne(1)?)?.f_any()?.f_int64_value(&[])? != 0;
        let target = if words { LossTarget::Words(target) } else { LossTarget::Dense(target) };
        Ok(LossBatch { logits, target, weights: None, edges: Vec::new(), size: [b, c, h, w], is_soft })
    }

    /// Sets the weights of the pixels, `[B, H, W]` or `[B, 1 or C, H, W]`.
    pub fn set_weights(&mut self, weights: &Tensor) -> Result<(), LossError> {
        let [b, c, h, w] = self.size;
        let size = weights.size();
        let weights = if size == [b, h, w] { weights.f_unsqueeze(1)? } else { weights.shallow_clone() };
        if weights.size() != [b, 1, h, w] && weights.size() != [b, c, h, w] {
            return Err(LossError::Weights { logits: self.size, size });
        }
        self.weights = Some(weights.f_detach()?.f_to_kind(Kind::Float)?.f_to_device(self.device())?.f_contiguous()?);
        Ok(())
    }

    /// Computes the distances to all outlines, on the CPU.
    pub fn compute_distances(&mut self) -> Result<(), LossError> {
        let [b, c, h, w] = self.size;
        let (width, height) = (w as u32, h as u32);
        let masks: Vec<Vec<RunMask>> = match &self.target {
            LossTarget::Words(words) => {
                let words = words.f_to_device(Device::Cpu)?.f_contiguous()?;
                let words: &[u32] = elements(&words).expect("the tensor was made contiguous on the CPU");
                words
                    .par_chunks((h * w) as usize)
                    .map(|image| masks_of_words(image, width, height, c as usize))
                    .collect()
            }
            LossTarget::Dense(dense) => {
                let dense = dense.f_gt(0.5)?.f_to_kind(Kind::Uint8)?.f_to_device(Device::Cpu)?.f_contiguous()?;
                let dense: &[u8] = elements(&dense).expect("the tensor was made contiguous on the CPU");
                let plane = |plane: &[u8]| RunMask::from_dense(plane, width, height);
                vec![dense.par_chunks((h * w) as usize).map(plane).collect()]
            }
        };
        self.edges = masks.par_iter().flat_map(|masks| masks.par_iter().map(SignedDistance::new)).collect();
        debug_assert_eq!(self.edges.len() as i64, b * c);
        Ok(())
    }

    /// Multiplies the pixel weights by those of a rule for the gaps between bones, which are equal for all classes of
    /// an image. The distances must have been computed.
    pub fn apply_gap_weights(&mut self, rule: &PixelWeight) -> Result<(), LossError> {
        if rule.around != Around::Gaps {
            return Ok(());
        }
        let [b, c, h, w] = self.size;
        let strip = self.strip_rows() as usize;
        let mut map = vec![0f32; (b * h * w) as usize];
        map.par_chunks_mut((h * w) as usize).zip(self.edges.par_chunks(c as usize)).for_each(|(map, edges)| {
            map.par_chunks_mut(strip * w as usize).enumerate().for_each(|(i, map)| {
                let first = (i * strip) as u32;
                rule.in_gaps(edges, first..first + (map.len() / w as usize) as u32, map);
            });
        });
        let map = Tensor::f_from_slice(&map)?.f_view([b, 1, h, w])?.f_to_device(self.device())?;
        self.weights = Some(match self.weights.take() {
            Some(weights) => weights.f_mul(&map)?,
            None => map,
        });
        Ok(())
    }

    /// Number of rows that are processed together on the CPU.
    pub fn strip_rows(&self) -> i64 {
        const PIXELS: i64 = 1 << 15;
        (PIXELS / self.size[3]).clamp(1, self.size[2])
    }

    /// The device of the logits.
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
            LossTarget::Dense(dense) => dense.f_narrow(1, first, count)?.f_to_kind(Kind::Float)?,
            LossTarget::Words(words) => {
                let bits: Vec<i32> = (first..first + count).map(|c| (1u32 << c) as i32).collect();
                let bits = Tensor::f_from_slice(&bits)?.f_to_device(words.device())?.f_view([1, count, 1, 1])?;
                words.f_unsqueeze(1)?.f_bitwise_and_tensor(&bits)?.f_ne(0)?.f_to_kind(Kind::Float)?
            }
        };
        Ok(Chunk { first, count, logits, target, is_soft: self.is_soft })
    }

    /// Signed distances of a chunk's classes, `[B, count, H, W]`.
    pub fn distances(&self, chunk: &Chunk, band: Option<f64>) -> Result<Tensor, TchError> {
        let band = band.map(|band| band as f32);
        self.map(chunk, |edge, out| edge.fill(0..edge.height(), band, out))
    }

    /// Weights of a chunk's pixels, to be broadcast: the given weights times those of the rule; `None` if all are 1.
    pub fn pixel_weights(&self, chunk: &Chunk, rule: Option<&PixelWeight>) -> Result<Option<Tensor>, TchError> {
        let given = match &self.weights {
            Some(weights) if weights.size()[1] == 1 => Some(weights.shallow_clone()),
            Some(weights) => Some(weights.f_narrow(1, chunk.first, chunk.count)?),
            None => None,
        };
        let Some(rule) = rule.filter(|rule| rule.around == Around::Outline) else { return Ok(given) };
        let map = self.map(chunk, |edge, out| rule.around_outline(edge, 0..edge.height(), out))?;
        Ok(Some(match given {
            Some(given) => map.f_mul(&given)?,
            None => map,
        }))
    }

    /// Maps of the classes of a chunk, `[B, count, H, W]`, which `draw` computes on the CPU.
    fn map(&self, chunk: &Chunk, draw: impl Fn(&SignedDistance, &mut [f32]) + Sync) -> Result<Tensor, TchError> {
        let [b, c, h, w] = self.size;
        let (first, count, edges) = (chunk.first, chunk.count, self.edges.as_slice());
        let mut map = vec![0f32; (b * count * h * w) as usize];
        map.par_chunks_mut((h * w) as usize).enumerate().for_each(|(i, out)| {
            let (image, class) = (i as i64 / count, i as i64 % count + first);
            draw(&edges[(image * c + class) as usize], out);
        });
        Tensor::f_from_slice(&map)?.f_view([b, count, h, w])?.f_to_device(self.device())
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
    /// {0,1}, or from 0 to 1 if the target is soft, in single precision, `[B, count, H, W]`.
    pub target: Tensor,
    /// Whether the target has values other than 0 and 1.
    pub is_soft: bool,
}

/// The cross entropy of each pixel and what the focal loss needs of it, `[B, count, H, W]` each.
pub struct Entropy {
    /// The cross entropy E between target and probability.
    pub value: Tensor,
    /// `1 - e^-E`: the probability of the wrong label, if the target is hard.
    pub wrong: Tensor,
    /// `e^-E`, without loss of precision.
    pub right: Tensor,
    /// `dE/dx` divided by `wrong`.
    pub slope: Tensor,
}

impl Chunk {
    /// The part of `values`, `[C]`, for the classes of this chunk, to be broadcast over images and pixels.
    pub fn of_class(&self, values: &Tensor) -> Result<Tensor, TchError> {
        values.f_narrow(0, self.first, self.count)?.f_view([1, self.count, 1, 1])
    }

    /// The part of the target that the prediction covers, whose sum is the true positives: `p t` if the target is hard,
    /// `min(p, t)` if it is soft, so that a prediction equal to the target is the best one. Z. Wang et al., Dice
    /// semimetric losses, MICCAI 2023.
    pub fn covered(&self, probability: &Tensor) -> Result<Tensor, TchError> {
        if self.is_soft { probability.f_minimum(&self.target) } else { probability.f_mul(&self.target) }
    }

    /// The derivative of [`Chunk::covered`] with respect to the probability.
    pub fn covered_slope(&self, probability: &Tensor) -> Result<Tensor, TchError> {
        if self.is_soft {
            self.target.f_sub(probability)?.f_sign_()?.f_mul_scalar_(0.5)?.f_add_scalar_(0.5)
        } else {
            Ok(self.target.shallow_clone())
        }
    }

    /// The cross entropy of each pixel.
    pub fn entropy(&self) -> Result<Entropy, TchError> {
        if !self.is_soft {
            let wrongness = self.wrongness()?;
            return Ok(Entropy {
                value: wrongness.f_softplus()?,
                wrong: wrongness.f_sigmoid()?,
                right: wrongness.f_neg()?.f_sigmoid()?,
                slope: self.target.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?,
            });
        }
        // Each of the two labels by its share; p - t is (1 - t) p - t (1 - p), which stays exact near 0.
        let (x, other) = (&self.logits, self.logits.f_neg()?);
        let rest = self.target.f_rsub_scalar(1.0)?;
        let value = other.f_softplus()?.f_mul_(&self.target)?.f_add_(&x.f_softplus()?.f_mul_(&rest)?)?;
        let (right, wrong) = (value.f_neg()?.f_exp_()?, value.f_neg()?.f_expm1_()?.f_neg_()?);
        let mut slope = x.f_sigmoid()?.f_mul_(&rest)?.f_sub_(&other.f_sigmoid()?.f_mul_(&self.target)?)?;
        slope = slope.f_div_(&wrong.f_clamp_min(f64::from(f32::MIN_POSITIVE))?)?;
        Ok(Entropy { value, wrong, right, slope })
    }

    /// The logit with a sign that makes wrong predictions positive: `x (1 - 2 t)`, for a hard target.
    pub fn wrongness(&self) -> Result<Tensor, TchError> {
        self.logits.f_mul(&self.target.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?)
    }
}

/// The sum of a tensor, on its device.
pub fn total(x: &Tensor) -> Result<Tensor, TchError> {
    x.f_sum(Kind::Float)
}
