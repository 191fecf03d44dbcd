//! Efficient multi-scale attention with cross-spatial learning.
//! D. Ouyang et al., Efficient multi-scale attention module with cross-spatial learning, ICASSP 2023.
//!
//! The block keeps the shape of its input, so it works with any decoder; it is placed between the decoder and the head,
//! where it costs about 1 % of the decoder. (Hierarchical multi-scale attention, Tao et al. 2020, runs the whole
//! network once per image scale.) The channels are divided into groups. Each group has two branches: a 1x1 convolution
//! over the means of rows and columns, which reach across the whole image, and a 3x3 convolution. The global mean of
//! each branch weights the pixels of the other.
//!
//! The result is blended with the input by a learned factor that starts at 0: at 0 the model equals the one without the
//! block, at 1 the block is that of the paper.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::ModelError;
use super::layers::{Conv2d, ConvOptions, GroupNorm, Scheme, common_divisor};
use super::parameters::{Fill, Path};
use crate::violation::Violations;

/// Options of multi-scale attention; `multi-scale-attention = true` uses the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MultiScaleAttentionOptions {
    /// Number of groups of channels, which share the block's weights, 1 or more; reduced to the greatest common divisor
    /// with the number of the decoder's channels. Default: 8.
    pub groups: i64,
}

impl Default for MultiScaleAttentionOptions {
    fn default() -> Self {
        MultiScaleAttentionOptions { groups: 8 }
    }
}

impl MultiScaleAttentionOptions {
    /// Every option out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(self.groups >= 1, "groups", self.groups, "at least 1");
        wrong
    }
}

/// The multi-scale attention block.
pub struct MultiScaleAttention {
    groups: i64,
    /// Channels per group.
    width: i64,
    lines: Conv2d,
    norm: GroupNorm,
    local: Conv2d,
    blend: Tensor,
}

impl MultiScaleAttention {
    /// A block for maps with this many channels.
    pub fn new(path: &Path, options: &MultiScaleAttentionOptions, channels: i64) -> Result<Self, ModelError> {
        let path = path.with_scheme(Scheme::Torch);
        let groups = common_divisor(channels, options.groups);
        let width = channels / groups;
        Ok(MultiScaleAttention {
            groups,
            width,
            blend: path.parameter("blend", &[], Fill::Constant(0.0))?,
            lines: Conv2d::new(&(&path / "conv1x1"), width, width, 1, ConvOptions::default())?,
            norm: GroupNorm::new(&(&path / "gn"), width, width, 1e-5)?,
            local: Conv2d::new(&(&path / "conv3x3"), width, width, 3, ConvOptions::default().padding(1))?,
        })
    }

    /// `[B, C, H, W]` to the same.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let size = x.size();
        let [height, width] = [size[2], size[3]];
        let group = x.f_reshape([size[0] * self.groups, self.width, height, width])?; // [B G, c, H, W]
        let rows = group.f_mean_dim([3].as_slice(), true, None::<Kind>)?; // [B G, c, H, 1]
        let columns = group.f_mean_dim([2].as_slice(), true, None::<Kind>)?.f_transpose(2, 3)?; // [B G, c, W, 1]
        let lines = self.lines.forward(&Tensor::f_cat(&[rows, columns], 2)?)?.f_sigmoid()?; // [B G, c, H + W, 1]
        let rows = lines.f_narrow(2, 0, height)?; // [B G, c, H, 1]
        let columns = lines.f_narrow(2, height, width)?.f_transpose(2, 3)?; // [B G, c, 1, W]
        let wide = self.norm.forward(&group.f_mul(&rows)?.f_mul(&columns)?)?; // [B G, c, H, W]
        let local = self.local.forward(&group)?; // [B G, c, H, W]
        let weights = cross_attention(&wide, &local)?.f_add(&cross_attention(&local, &wide)?)?; // [B G, 1, H W]
        let weights = weights.f_view([-1, 1, height, width])?.f_sigmoid()?; // [B G, 1, H, W]
        let attended = group.f_mul(&weights)?.f_view(size.as_slice())?; // [B, C, H, W]
        Ok(x.f_lerp_tensor(&attended, &self.blend.f_to_kind(x.kind())?)?)
    }
}

/// The sum over the channels of `map`, `[B G, c, H, W]`, each weighted by the softmax of the global means of `guide`:
/// `[B G, 1, H W]`.
fn cross_attention(guide: &Tensor, map: &Tensor) -> Result<Tensor, ModelError> {
    let mean = guide.f_mean_dim([2, 3].as_slice(), false, None::<Kind>)?; // [B G, c]
    let weights = mean.f_softmax(1, None::<Kind>)?.f_unsqueeze(1)?; // [B G, 1, c]
    Ok(weights.f_bmm(&map.f_flatten(2, -1)?)?)
}
