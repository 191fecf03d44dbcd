use tch::{TchError, Tensor};

use super::operations::counted;

/// Scaled dot-product attention without a mask: queries `[B, heads, N, d]`, keys `[B, heads, M, d]`, values
/// `[B, heads, M, v]`, to `[B, heads, N, v]`, by libtorch's fused kernels.
/// A. Vaswani et al., Attention is all you need, NeurIPS 2017.
pub fn dot_product_attention(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor, TchError> {
    let (asked, kept, given) = (query.size(), key.size(), value.size());
    let shape = || vec![asked[0], asked[1], asked[2], given[3]];
    // Each output value sums M weighted values; its share of the weights is M products of d numbers over v values.
    let terms = kept[2] + kept[2] * asked[3] / given[3];
    if let Some(y) = counted(query, shape, terms)? {
        return Ok(y);
    }
    Tensor::f_scaled_dot_product_attention(query, key, value, None::<&Tensor>, 0.0, false, None, false)
}
