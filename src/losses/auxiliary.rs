//! The loss of several outputs: auxiliary heads (H. Zhao et al., Pyramid scene parsing network, CVPR 2017) and deep
//! supervision (C.-Y. Lee et al., Deeply-supervised nets, AISTATS 2015).

use tch::{Kind, Tensor};

use super::{LossError, LossMix, LossOutput, Part};

impl LossMix {
    /// The loss of the logits plus the loss of each auxiliary output times its weight; the terms are those of the
    /// logits alone. An output of another size is compared with the target resampled to that size. `weights` has one
    /// number per output, or one for all. `part` is set if the images are a part of a larger batch.
    ///
    /// # Errors
    /// [`LossError::Auxiliary`]: another number of weights than of outputs; otherwise as [`LossMix::forward_weighted`];
    /// [`LossError::Parts`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tch::{Device, Kind, Tensor};
    /// use carpus::losses::LossMix;
    /// let logits = Tensor::zeros([1, 29, 8, 8], (Kind::Float, Device::Cpu));
    /// let half = Tensor::zeros([1, 29, 4, 4], (Kind::Float, Device::Cpu));
    /// let words = Tensor::zeros([1, 8, 8], (Kind::Int, Device::Cpu));
    /// let output = LossMix::default().forward_with_auxiliary(&logits, &[half], &words, &[0.4], None)?;
    /// assert_eq!(output.terms.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn forward_with_auxiliary(
        &self,
        logits: &Tensor,
        auxiliary: &[Tensor],
        target: &Tensor,
        weights: &[f64],
        part: Option<&Part>,
    ) -> Result<LossOutput, LossError> {
        if weights.len() != auxiliary.len() && !(weights.len() == 1 || auxiliary.is_empty()) {
            return Err(LossError::Auxiliary { outputs: auxiliary.len(), weights: weights.len() });
        }
        let LossOutput { mut loss, terms } = self.forward_of_part(logits, target, None, part)?;
        for (output, weight) in auxiliary.iter().zip(weights.iter().cycle()) {
            // An output with weight 0 is skipped.
            if *weight != 0.0 {
                let &[.., height, width] = output.size().as_slice() else {
                    return Err(LossError::Logits { size: output.size(), kind: output.kind() });
                };
                let output = self.forward_of_part(output, &resampled(target, height, width)?, None, part)?;
                loss = loss.f_add(&output.loss.f_mul_scalar(*weight)?)?;
            }
        }
        Ok(LossOutput { loss, terms })
    }
}

/// Resamples label words `[B, H, W]` or masks `[B, C, H, W]` to another size. Each pixel takes the value of the pixel
/// in which its centre lies, row `floor((y + 1/2) H / height)`, as in [`crate::mask::LabelImage::from_masks_resized`].
///
/// # Errors
/// [`LossError::Target`]: fewer than two dimensions; [`LossError::Torch`].
pub fn resampled(target: &Tensor, height: i64, width: i64) -> Result<Tensor, LossError> {
    let size = target.size();
    let rank = size.len();
    let (true, [.., h, w]) = (rank >= 2, size.as_slice()) else {
        return Err(LossError::Target { logits: vec![height, width], size, kind: target.kind() });
    };
    let pick = |x: &Tensor, axis: usize, from: i64, to: i64| {
        if from == to {
            return Ok(x.shallow_clone());
        }
        let odd = Tensor::f_arange_start_step(1, 2 * to, 2, (Kind::Int64, x.device()))?;
        x.f_index_select(axis as i64, &odd.f_mul_scalar(from)?.f_div_scalar_mode(2 * to, "floor")?)
    };
    Ok(pick(&pick(target, rank - 2, *h, height)?, rank - 1, *w, width)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_compared_with_resampled_words() {
        let words = Tensor::from_slice(&(0i32..15).collect::<Vec<_>>()).view([1, 3, 5]);
        let half = resampled(&words, 2, 2).unwrap();
        assert_eq!(half.size(), [1, 2, 2]);
        assert_eq!(Vec::<i32>::try_from(half.view([-1])).unwrap(), [1, 3, 11, 13]);
        let logits = |h, w| Tensor::randn([1, 4, h, w], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let (whole, small, least) = (logits(3, 5), logits(2, 2), logits(1, 1));
        let mix = LossMix::default();
        let of = |x: &Tensor, h, w| mix.forward(x, &resampled(&words, h, w).unwrap()).unwrap().double_value(&[]);
        let wanted = of(&whole, 3, 5) + 0.5 * of(&small, 2, 2) + 0.25 * of(&least, 1, 1);
        let auxiliary = [small.shallow_clone(), least];
        let LossOutput { loss, terms } =
            mix.forward_with_auxiliary(&whole, &auxiliary, &words, &[0.5, 0.25], None).unwrap();
        assert!((loss.double_value(&[]) - wanted).abs() < 1e-6);
        assert_eq!(terms.len(), 2);
        loss.backward();
        let alone = small.detach().copy().set_requires_grad(true);
        mix.forward(&alone, &half).unwrap().backward();
        assert!((small.grad() - alone.grad() * 0.5).abs().max().double_value(&[]) < 1e-8);
        let error = mix.forward_with_auxiliary(&whole, &auxiliary, &words, &[0.5, 0.25, 0.1], None).unwrap_err();
        assert!(error.to_string().contains("3 weights for 2 auxiliary outputs"), "{error}");
    }
}
