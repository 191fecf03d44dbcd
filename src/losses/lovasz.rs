//! Lovász hinge. M. Berman, A. R. Triki, M. B. Blaschko, The Lovász-softmax loss, CVPR 2018; J. Yu, M. B. Blaschko,
//! Learning submodular losses with the Lovász hinge, ICML 2015.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::LossError;
use super::batch::{Chunk, LossBatch};
use super::loss::{Computation, Loss, LossKind, SortedLoss, Term};
use super::planes::Planes;

/// Which pixels are sorted together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Over {
    /// The pixels of each class of each image; the loss is the mean over these, as is the mean Jaccard index.
    #[default]
    ClassImage,
    /// The pixels of all classes of an image: SMP's `LovaszLoss(mode="multilabel", per_image=True)`.
    Image,
    /// The pixels of the whole batch: SMP's `LovaszLoss(mode="multilabel")`.
    Batch,
}

/// The convex closure of the Jaccard loss on the hinge errors `1 - x (2 t - 1)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lovasz {
    /// Which pixels are sorted together.
    pub over: Over,
}

pub(super) const LOSS: LossKind = LossKind {
    name: "lovasz",
    about: "Lovasz hinge, a surrogate of 1 - Jaccard (Berman et al. 2018); option over = class-image, image or batch",
    read: Term::read::<Lovasz>,
};

impl Loss for Lovasz {
    fn kind(&self) -> &'static LossKind {
        &LOSS
    }

    fn refuses_class_weights(&self) -> Option<&'static str> {
        (self.over != Over::ClassImage)
            .then_some("over sorts the pixels of all classes together, so no class has a value of its own; use over = \"class-image\"")
    }

    fn computation(&self) -> Computation<'_> {
        Computation::Sorted(self)
    }
}

impl SortedLoss for Lovasz {
    fn works_by_chunk(&self) -> bool {
        self.over == Over::ClassImage
    }

    fn sorts_whole_batch(&self) -> bool {
        self.over == Over::Batch
    }

    fn accumulate(
        &self,
        batch: &LossBatch,
        chunk: &Chunk,
        class_weights: Option<&[f64]>,
        mut gradient: Option<(&mut Tensor, f64)>,
    ) -> Result<Tensor, LossError> {
        let [images, classes, height, width] = batch.size;
        let (rows, parts) = match self.over {
            Over::ClassImage => (images * chunk.count, images * classes),
            Over::Image => (images, images),
            Over::Batch => (1, 1),
        };
        let row = images * chunk.count * height * width / rows;
        let logits = chunk.logits.f_reshape([rows, row])?;
        let target = chunk.target.f_reshape([rows, row])?;
        let mut value = Tensor::f_zeros([0i64; 0], (Kind::Float, batch.device()))?;
        let mut slopes = Vec::new();
        for index in 0..rows {
            let (mut row_value, mut slope) = hinge(&logits.f_get(index)?, &target.f_get(index)?, gradient.is_some())?;
            if let Some(weights) = class_weights {
                // Rows are the classes of the first image, then those of the next.
                let weight = weights[(chunk.first + index % chunk.count) as usize];
                row_value = row_value.f_mul_scalar_(weight)?;
                slope = slope.map(|slope| slope.f_mul_scalar(weight)).transpose()?;
            }
            value = value.f_add_(&row_value)?;
            slopes.extend(slope);
        }
        if let Some((gradient, scale)) = gradient.as_mut() {
            let slope = Tensor::f_stack(&slopes, 0)?.f_reshape([images, chunk.count, height, width])?;
            let _ = gradient.f_add_(&slope.f_mul_scalar(*scale / parts as f64)?)?;
        }
        Ok(value.f_div_scalar_(parts as f64)?)
    }

    fn planes_value(&self, planes: &Planes, class_weights: Option<&[f64]>, gradient: Option<(&mut [f32], f64)>) -> f64 {
        let all = planes.logits.len() / planes.pixels;
        let together = match self.over {
            Over::ClassImage => 1,
            Over::Image => planes.classes,
            Over::Batch => all,
        };
        let parts = all / together;
        // Class weights need one class per part.
        let weight_of = |part: usize| class_weights.map_or(1.0, |weights| weights[part % planes.classes]);
        let values: Vec<f64> = match gradient {
            Some((gradient, weight)) => {
                let scale = (weight / parts as f64) as f32;
                let pieces = gradient.par_chunks_mut(together * planes.pixels).enumerate();
                let value = |(i, piece): (usize, &mut [f32])| {
                    let of_class = weight_of(i);
                    let gradient = Some((piece, scale * of_class as f32));
                    of_class * hinge_of_planes(planes, i * together, together, gradient)
                };
                pieces.map(value).collect()
            }
            None => {
                let value = |i| weight_of(i) * hinge_of_planes(planes, i * together, together, None);
                (0..parts).into_par_iter().map(value).collect()
            }
        };
        values.iter().sum::<f64>() / parts as f64
    }
}

/// The loss of the pixels of `count` planes from `first` on, sorted together; adds `scale` times its gradient to
/// `gradient`.
fn hinge_of_planes(planes: &Planes, first: usize, count: usize, mut gradient: Option<(&mut [f32], f32)>) -> f64 {
    // A key consists of the error (it is positive, so its bits sort as its value), the label and the pixel's index.
    let mut keys = Vec::new();
    let mut total = 0u64;
    for plane in first..first + count {
        let (image, class) = (plane / planes.classes, plane % planes.classes);
        let words = &planes.words[image * planes.pixels..(image + 1) * planes.pixels];
        let logits = &planes.logits[plane * planes.pixels..(plane + 1) * planes.pixels];
        let start = (plane - first) * planes.pixels;
        for (i, (x, word)) in logits.iter().zip(words).enumerate() {
            let label = word >> class & 1;
            total += u64::from(label);
            let error = if label == 1 { 1.0 - x } else { 1.0 + x };
            // Pixels without an error would come last and contribute nothing, so they are not sorted. NaN is kept.
            if error > 0.0 || error.is_nan() {
                let bits = u64::from(error.to_bits() & 0x7fff_ffff);
                keys.push(bits << 33 | u64::from(label) << 32 | (start + i) as u64);
            }
        }
    }
    radix_sort(&mut keys);
    let (mut value, mut seen_true, mut seen_false) = (0.0, 0u64, 0u64);
    for key in keys.iter().rev() {
        let (error, label) = (f32::from_bits((key >> 33) as u32), key >> 32 & 1);
        // As in `hinge`.
        let step = if label == 1 {
            seen_true += 1;
            1.0 / (total + seen_false) as f64
        } else {
            seen_false += 1;
            let union = (total + seen_false) as f64;
            match total {
                0 if seen_false > 1 => break,
                0 => 1.0,
                _ => (total - seen_true) as f64 / (union * (union - 1.0)),
            }
        };
        value += f64::from(error) * step;
        if let Some((gradient, scale)) = &mut gradient {
            let step = step as f32 * *scale;
            gradient[(key & 0xffff_ffff) as usize] += if label == 1 { -step } else { step };
        }
    }
    value
}

/// Sorts by the upper 31 bits, from the lowest digit to the highest.
fn radix_sort(keys: &mut Vec<u64>) {
    const DIGITS: [(u32, usize); 3] = [(33, 1 << 10), (43, 1 << 10), (53, 1 << 11)];
    let mut other = vec![0u64; keys.len()];
    let mut counts = DIGITS.map(|(_, values)| vec![0usize; values]);
    for key in keys.iter() {
        for ((shift, values), counts) in DIGITS.iter().zip(&mut counts) {
            counts[(key >> shift) as usize & (values - 1)] += 1;
        }
    }
    for ((shift, values), mut places) in DIGITS.into_iter().zip(counts) {
        let mut start = 0;
        for place in &mut places {
            start += std::mem::replace(place, start);
        }
        for key in keys.iter() {
            let place = &mut places[(key >> shift) as usize & (values - 1)];
            other[*place] = *key;
            *place += 1;
        }
        std::mem::swap(keys, &mut other);
    }
}

/// The loss of pixels that are sorted together, and its gradient with respect to their logits.
fn hinge(logits: &Tensor, target: &Tensor, with_slope: bool) -> Result<(Tensor, Option<Tensor>), LossError> {
    let sign = target.f_mul_scalar(-2.0)?.f_add_scalar_(1.0)?; // d error / d logit
    let error = logits.f_mul(&sign)?.f_add_scalar_(1.0)?;
    // Pixels without an error would come last and contribute nothing, so they are not sorted. NaN is kept.
    let wrong = error.f_le(0.0)?.f_logical_not()?.f_nonzero()?.f_squeeze_dim(1)?;
    let (error, order) = error.f_index_select(0, &wrong)?.f_sort(0, true)?;
    let place = wrong.f_index_select(0, &order)?;
    let label = target.f_index_select(0, &place)?;
    // The i-th largest error is a missed true pixel, which reduces the intersection by one, or a false pixel, which
    // increases the union by one. The increase of the Jaccard loss is 1 / union, or intersection / (union (union - 1));
    // in this form with integers, no precision is lost.
    let total = target.f_sum(Kind::Double)?;
    let seen_true = label.f_cumsum(0, Kind::Double)?;
    let rank = Tensor::f_arange_start(1, label.size()[0] + 1, (Kind::Double, label.device()))?;
    let union = rank.f_sub(&seen_true)?.f_add_(&total)?; // after this pixel
    let left = seen_true.f_rsub_scalar(0.0)?.f_add_(&total)?; // intersection after this pixel
    let label = label.f_to_kind(Kind::Double)?;
    let of_true = union.f_reciprocal()?;
    let first = total.f_eq(0.0)?; // without true pixels the loss is that of the first false pixel alone
    let of_false = left.f_div(&union)?.f_div(&union.f_sub_scalar(1.0)?.f_clamp_min(1.0)?)?;
    let mut step = of_false.f_add(&of_true.f_sub(&of_false)?.f_mul_(&label)?)?;
    if label.size()[0] > 0 {
        let head = step.f_narrow(0, 0, 1)?;
        let one = head.f_ones_like()?;
        step.f_narrow(0, 0, 1)?.f_copy_(&one.f_where_self(&first, &head)?)?;
    }
    step = step.f_to_kind(Kind::Float)?;
    let value = error.f_dot(&step)?;
    if !with_slope {
        return Ok((value, None));
    }
    let slope = logits.f_zeros_like()?.f_scatter_(0, &place, &step)?;
    Ok((value, Some(sign.f_mul(&slope)?)))
}

#[cfg(test)]
mod tests {
    use super::super::worked_example::check_on;
    use super::*;

    #[test]
    fn by_hand() {
        // The errors of the true pixels are 0.5 and 2, those of the others 0 and 1. In sorted order: 2 misses one of
        // two pixels (Jaccard loss 1/2), 1 adds a false pixel (2/3), 0.5 misses the other pixel (1). In the absent
        // class, the loss is the first error, 3.
        let logits = [0.5, -1.0, -2.0, 0.0, 2.0, 1.0, -5.0, -5.0];
        let target = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let (first, second) = (2.0 / 2.0 + 1.0 / 6.0 + 0.5 / 3.0, 3.0);
        let slope = [-1.0 / 3.0, -0.5, 0.0, 1.0 / 6.0, 1.0, 0.0, 0.0, 0.0].map(|s: f64| s / 2.0);
        check_on(r#"{"lovasz": 1}"#, &logits, &target, (first + second) / 2.0, Some(&slope));
        // Both classes together: 3 false, 2 false, 2 true, 1 false, 0.5 true, with 2 true pixels; unions 3, 4, 4, 5, 5
        // and intersections 2, 2, 1, 1, 0. The two errors of 2 may come in either order.
        let value = 3.0 / 3.0 + 2.0 * (3.0 / 4.0 - 1.0 / 3.0) + (4.0 / 5.0 - 3.0 / 4.0) + 0.5 / 5.0;
        for over in ["image", "batch"] {
            let loss = format!(r#"{{"lovasz": {{"weight": 1, "over": "{over}"}}}}"#);
            check_on(&loss, &logits, &target, value, None);
        }
    }

    #[test]
    fn keys_are_sorted_by_their_upper_bits() {
        use rand::{RngExt, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for count in [0, 1, 2, 1000] {
            let mut keys: Vec<u64> = (0..count).map(|_| rng.random()).collect();
            let mut wanted = keys.clone();
            wanted.sort_by_key(|key| key >> 33);
            radix_sort(&mut keys);
            assert_eq!(keys, wanted);
        }
    }
}
