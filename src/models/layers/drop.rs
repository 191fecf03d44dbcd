use tch::{TchError, Tensor};

/// PyTorch's `Dropout2d`: in training, whole channels of a sample are dropped and the others scaled up.
pub fn channel_dropout(x: Tensor, rate: f64, train: bool) -> Result<Tensor, TchError> {
    if train && rate > 0.0 { x.f_feature_dropout(rate, true) } else { Ok(x) }
}

/// PyTorch's `Dropout`: in training, single values are dropped and the others scaled up.
pub fn dropout(x: Tensor, rate: f64, train: bool) -> Result<Tensor, TchError> {
    if train && rate > 0.0 { x.f_dropout(rate, true) } else { Ok(x) }
}

/// Stochastic depth: in training, the branch `x` of a sample is dropped with probability `rate`; otherwise it is scaled
/// up. G. Huang et al., Deep networks with stochastic depth, ECCV 2016.
pub fn drop_path(x: Tensor, rate: f64, train: bool) -> Result<Tensor, TchError> {
    if !train || rate <= 0.0 {
        return Ok(x);
    }
    let keep = 1.0 - rate;
    let mut shape = vec![1; x.dim()];
    shape[0] = x.size()[0];
    let kept = Tensor::f_empty(shape, (x.kind(), x.device()))?.f_bernoulli_float_(keep)?.f_div_scalar_(keep)?;
    x.f_mul(&kept)
}
