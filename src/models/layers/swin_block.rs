//! The blocks of Swin transformers. Z. Liu et al., Swin transformer: hierarchical vision transformer using shifted
//! windows, ICCV 2021.

use tch::{Device, Kind, Tensor};

use super::{LayerNorm, Linear, Masks, Windows, drop_path, dropout};
use crate::models::parameters::Fill;
use crate::models::{ModelError, Path};

/// Positions along each side of a window.
pub const WINDOW: i64 = 7;
const MLP_RATIO: i64 = 4;
/// PyTorch's default epsilon of layer norms.
const EPS: f64 = 1e-5;

/// The library whose Swin transformer is reproduced. All compute the same in the middle of an image and differ in names
/// and at its borders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwinStyle {
    /// timm.
    Timm,
    /// transformers, with timm's names of weights.
    Transformers,
    /// MONAI.
    Monai,
}

impl SwinStyle {
    fn mlp_names(self) -> [&'static str; 2] {
        match self {
            SwinStyle::Timm | SwinStyle::Transformers => ["fc1", "fc2"],
            SwinStyle::Monai => ["linear1", "linear2"],
        }
    }

    /// Whether the table of relative positions is part of the state dict.
    fn stores_positions(self) -> bool {
        self == SwinStyle::Monai
    }

    /// Initial values of the relative position bias.
    fn bias(self) -> Fill {
        match self {
            SwinStyle::Timm | SwinStyle::Monai => Fill::TruncatedNormal(0.02),
            SwinStyle::Transformers => Fill::Constant(0.0),
        }
    }

    /// The windows of a block in a stage whose grid is `height` x `width`; `last`: in the fourth stage; `shifted`: a
    /// block with shifted windows.
    fn windows(self, height: i64, width: i64, last: bool, shifted: bool) -> Windows {
        let half = if shifted { WINDOW / 2 } else { 0 };
        match self {
            // timm builds the model for 224 x 224 pixels, where the last stage is a single window, and keeps the last
            // stage unshifted at other sizes.
            SwinStyle::Timm => {
                let shift = if last { 0 } else { half };
                Windows { side: [WINDOW; 2], shift: [shift; 2], pads_first: false }
            }
            SwinStyle::Transformers => Windows { side: [WINDOW; 2], shift: [half; 2], pads_first: true },
            // A grid smaller than a window is one window.
            SwinStyle::Monai => Windows {
                side: [height, width].map(|n| n.min(WINDOW)),
                shift: [height, width].map(|n| if n <= WINDOW { 0 } else { half }),
                pads_first: true,
            },
        }
    }
}

/// Options of a Swin block.
#[derive(Clone, Copy, Debug)]
pub struct SwinBlockOptions {
    /// Channels.
    pub width: i64,
    /// Heads of attention.
    pub heads: i64,
    /// Whether it is in the fourth stage.
    pub last_stage: bool,
    /// Whether its windows are shifted.
    pub shifted: bool,
    /// Rate of stochastic depth.
    pub drop_path: f64,
    /// Rate of dropout after attention and in the MLP.
    pub dropout: f64,
    /// The library that it follows.
    pub style: SwinStyle,
}

/// Attention within windows, then an MLP; each is a residual branch with a norm at its beginning.
#[derive(Debug)]
pub struct SwinBlock {
    attention_norm: LayerNorm,
    attention: WindowAttention,
    mlp_norm: LayerNorm,
    widen: Linear,
    narrow: Linear,
    options: SwinBlockOptions,
}

impl SwinBlock {
    /// A block at `path`.
    pub fn new(path: &Path, options: SwinBlockOptions) -> Result<Self, ModelError> {
        let SwinBlockOptions { width, heads, style, .. } = options;
        let [widen, narrow] = style.mlp_names();
        let mlp = path / "mlp";
        Ok(SwinBlock {
            attention_norm: LayerNorm::new(&(path / "norm1"), width, EPS)?,
            attention: WindowAttention::new(&(path / "attn"), width, heads, style)?,
            mlp_norm: LayerNorm::new(&(path / "norm2"), width, EPS)?,
            widen: Linear::new(&(&mlp / widen), width, MLP_RATIO * width)?,
            narrow: Linear::new(&(&mlp / narrow), MLP_RATIO * width, width)?,
            options,
        })
    }

    /// `[B, H, W, C]` to the same.
    pub fn forward(&self, x: &Tensor, masks: &Masks, train: bool) -> Result<Tensor, ModelError> {
        let SwinBlockOptions { drop_path: path_rate, dropout: rate, style, last_stage, shifted, .. } = self.options;
        let size = x.size();
        let windows = style.windows(size[1], size[2], last_stage, shifted);
        let attended = windows.apply(&self.attention_norm.forward(x)?, masks, |x, mask| {
            Ok::<_, ModelError>(dropout(self.attention.forward(x, mask)?, rate, train)?)
        })?;
        let x = drop_path(attended, path_rate, train)?.f_add(x)?;
        let wide = dropout(self.widen.forward(&self.mlp_norm.forward(&x)?)?.f_gelu("none")?, rate, train)?;
        let mixed = dropout(self.narrow.forward(&wide)?, rate, train)?;
        Ok(drop_path(mixed, path_rate, train)?.f_add(&x)?)
    }
}

/// Attention within a window, with a learned bias for each relative position.
#[derive(Debug)]
struct WindowAttention {
    heads: i64,
    /// `[13 * 13, heads]`.
    bias: Tensor,
    /// Row of `bias` for each pair of positions, `[49, 49]`.
    positions: Tensor,
    query_key_value: Linear,
    project: Linear,
}

impl WindowAttention {
    fn new(path: &Path, width: i64, heads: i64, style: SwinStyle) -> Result<Self, ModelError> {
        let differences = 2 * WINDOW - 1;
        let bias = path.parameter("relative_position_bias_table", &[differences * differences, heads], style.bias())?;
        let positions = relative_positions(bias.device())?;
        let positions =
            if style.stores_positions() { path.buffer("relative_position_index", positions)? } else { positions };
        Ok(WindowAttention {
            heads,
            bias,
            positions,
            query_key_value: Linear::new(&(path / "qkv"), width, 3 * width)?,
            project: Linear::new(&(path / "proj"), width, width)?,
        })
    }

    /// `[B n, N, C]` to the same, with a mask `[n, N, N]`. The scores are computed here instead of by a fused kernel:
    /// with a trainable bias, the fused kernels fall back to the same computation and copy the bias for every window.
    fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor, ModelError> {
        let size = x.size();
        let (all, places, width) = (size[0], size[1], size[2]);
        let head = width / self.heads;
        let parts = self.query_key_value.forward(x)?.f_view([all, places, 3, self.heads, head])?;
        let parts = parts.f_permute([2, 0, 3, 1, 4])?; // [3, B n, heads, N, C/heads]
        let query = parts.f_get(0)?.f_mul_scalar((head as f64).powf(-0.5))?;
        let mut scores = query.f_matmul(&parts.f_get(1)?.f_transpose(-2, -1)?)?; // [B n, heads, N, N]
        scores = scores.f_add_(&self.bias_of(places)?)?;
        if let Some(mask) = mask {
            // Uses the result of the addition and not the view that it changes in place: ONNX has no views.
            let mut images = scores.f_view([-1, mask.size()[0], self.heads, places, places])?;
            scores = images.f_add_(&mask.f_unsqueeze(1)?)?.f_view([all, self.heads, places, places])?;
        }
        let mixed = scores.f_softmax(-1, None)?.f_matmul(&parts.f_get(2)?)?; // [B n, heads, N, C/heads]
        let mixed = mixed.f_transpose(1, 2)?.f_reshape([all, places, width])?; // [B n, N, C]
        Ok(self.project.forward(&mixed)?)
    }

    /// The bias between the positions of a window with N = `places` positions, `[heads, N, N]`. Windows smaller than 7
    /// x 7 use the first rows and columns of the table, as in MONAI.
    fn bias_of(&self, places: i64) -> Result<Tensor, ModelError> {
        let rows = self.positions.f_narrow(0, 0, places)?.f_narrow(1, 0, places)?.f_reshape([-1])?;
        let bias = self.bias.f_index_select(0, &rows)?.f_view([places, places, self.heads])?;
        Ok(bias.f_permute([2, 0, 1])?.f_contiguous()?)
    }
}

/// Index of the relative position for each pair of positions in a window, `[49, 49]`.
fn relative_positions(device: Device) -> Result<Tensor, ModelError> {
    let place = Tensor::f_arange(WINDOW, (Kind::Int64, device))?;
    let difference = place.f_unsqueeze(1)?.f_sub(&place)?.f_add_scalar(WINDOW - 1)?; // [7, 7], from 0 to 12
    let rows = difference.f_mul_scalar(2 * WINDOW - 1)?.f_view([WINDOW, 1, WINDOW, 1])?;
    let columns = difference.f_view([1, WINDOW, 1, WINDOW])?;
    Ok(rows.f_add(&columns)?.f_reshape([WINDOW * WINDOW, WINDOW * WINDOW])?)
}

/// Concatenates the channels of four neighbours and projects them: half the size, twice the channels.
#[derive(Debug)]
pub struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerging {
    /// For `width` input channels. The libraries have the two layers in different orders in their state dicts.
    pub fn new(path: &Path, width: i64, style: SwinStyle) -> Result<Self, ModelError> {
        let norm = || LayerNorm::new(&(path / "norm"), 4 * width, EPS);
        let reduction = || Linear::without_bias(&(path / "reduction"), 4 * width, 2 * width);
        let (norm, reduction) = match style {
            SwinStyle::Timm | SwinStyle::Transformers => (norm()?, reduction()?),
            SwinStyle::Monai => {
                let reduction = reduction()?;
                (norm()?, reduction)
            }
        };
        Ok(PatchMerging { norm, reduction })
    }

    /// `[B, H, W, C]` of even height and width to `[B, H/2, W/2, 2 C]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let size = x.size();
        let (height, width) = (size[1] / 2, size[2] / 2);
        let x = x.f_reshape([size[0], height, 2, width, 2, size[3]])?.f_permute([0, 1, 3, 4, 2, 5])?;
        let joined = x.f_reshape([size[0], height, width, 4 * size[3]])?; // neighbours column by column
        Ok(self.reduction.forward(&self.norm.forward(&joined)?)?)
    }
}
