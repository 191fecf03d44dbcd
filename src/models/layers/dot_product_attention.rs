use tch::{TchError, Tensor};

use super::operations::counted;

/// Scaled dot-product attention without a mask: queries `[B, heads, N, d]`, keys `[B, heads, M, d]`, values
/// `[B, heads, M, v]`, to `[B, heads, N, v]`, by libtorch's fused kernels.
/// A. Vaswani et al., Attention is all you need, NeurIPS 2017.
pub fn dot_product_attention(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor, TchError> {
    let (q, k, v) = (query.size(), key.size(), value.size());
    let shape = || vec![q[0], q[1], q[2], v[3]];
    // Each output value is a sum of M weighted values; the M weights, sums of d products each, are shared by v output
    // values.
    let terms = k[2] + k[2] * q[3] / v[3];
    if let Some(y) = counted(query, shape, terms)? {
        return Ok(y);
    }
    Tensor::f_scaled_dot_product_attention(query, key, value, None::<&Tensor>, 0.0, false, None, false)
}
