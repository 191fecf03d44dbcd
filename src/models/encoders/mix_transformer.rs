//! Mix transformer, the encoder of SegFormer: overlapping patches, attention whose keys and values come from a coarser
//! grid, and a depthwise convolution in the MLP instead of position embeddings.
//! E. Xie et al., SegFormer: simple and efficient design for semantic segmentation with transformers, NeurIPS 2021.

use tch::Tensor;

use super::Encoder;
use crate::models::layers::{Conv2d, ConvOptions, LayerNorm, Linear, Scheme, dot_product_attention, drop_path, gelu};
use crate::models::{Architecture, EncoderKind, ModelConfig, ModelError, Path, Segments};

const HEADS: [i64; 4] = [1, 2, 5, 8];
/// Side of the square of positions that share one key and value, by stage.
const REDUCTIONS: [i64; 4] = [8, 4, 2, 1];
const MLP_RATIO: i64 = 4;
const DROP_PATH: f64 = 0.1;

/// Epsilons of the layer norms.
#[derive(Clone, Copy)]
struct Epsilons {
    /// In blocks and after stages.
    block: f64,
    /// In attention and patch embedding.
    inner: f64,
}

impl Epsilons {
    /// SMP has PyTorch's default in attention and patch embedding, transformers everywhere, mmsegmentation nowhere.
    fn of(architecture: Architecture) -> Self {
        const PYTORCH: f64 = 1e-5;
        const PAPER: f64 = 1e-6;
        let block = if architecture.follows_transformers() { PYTORCH } else { PAPER };
        let inner = if architecture.follows_mmseg() { PAPER } else { PYTORCH };
        Epsilons { block, inner }
    }
}

/// Widths and blocks of the four stages.
fn variant(kind: EncoderKind) -> ([i64; 4], [usize; 4]) {
    const WIDE: [i64; 4] = [64, 128, 320, 512];
    match kind {
        EncoderKind::MitB1 => (WIDE, [2, 2, 2, 2]),
        EncoderKind::MitB2 => (WIDE, [3, 4, 6, 3]),
        EncoderKind::MitB3 => (WIDE, [3, 4, 18, 3]),
        EncoderKind::MitB4 => (WIDE, [3, 8, 27, 3]),
        EncoderKind::MitB5 => (WIDE, [3, 6, 40, 3]),
        _ => ([32, 64, 160, 256], [2, 2, 2, 2]),
    }
}

/// See [`super::stages`].
pub fn stages() -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(); 2];
    stages.extend((1..=4).map(|i| ["patch_embed", "block", "norm"].map(|part| format!("{part}{i}.")).to_vec()));
    stages
}

/// The backbone (SMP's `MixVisionTransformerEncoder`). There is no feature at stride 2: it has zero channels.
pub struct MixTransformer {
    stages: Vec<Stage>,
    channels: Vec<i64>,
    depth: usize,
}

impl MixTransformer {
    /// Builds the backbone `kind` with `config.depth` stages in use.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let (widths, blocks) = variant(kind);
        let scale = config.encoder_scale.unwrap_or_default();
        // The width of each head is scaled, so that all heads have the same width.
        let widths: [i64; 4] = std::array::from_fn(|i| HEADS[i] * scale.channels(widths[i] / HEADS[i]));
        let blocks = blocks.map(|count| scale.blocks(count));
        let total: usize = blocks.iter().sum();
        let last_rate = config.drop_path.unwrap_or(DROP_PATH);
        let eps = Epsilons::of(config.architecture);
        let whole = match config.architecture.follows_transformers() {
            true => Scheme::Transformers,
            false => Scheme::MixTransformer,
        };
        let path = path.with_scheme(whole);
        let mut embeddings = Vec::new();
        let mut input = config.in_channels;
        for (index, width) in widths.into_iter().enumerate() {
            let (kernel, stride) = if index == 0 { (7, 4) } else { (3, 2) };
            let place = &path / format!("patch_embed{}", index + 1);
            // For images that are not RGB, segmentation_models_pytorch replaces the first layer, which changes its
            // initial distribution.
            let replaced = index == 0 && config.in_channels != 3 && whole == Scheme::MixTransformer;
            let scheme = if replaced { Scheme::Torch } else { whole };
            let options = ConvOptions::default().stride(stride).padding(kernel / 2);
            let project = Conv2d::new(&(&place / "proj").with_scheme(scheme), input, width, kernel, options)?;
            embeddings.push((project, LayerNorm::new(&(&place / "norm"), width, eps.inner)?));
            input = width;
        }
        let mut stages = Vec::new();
        let mut done = 0;
        for (index, (project, embed_norm)) in embeddings.into_iter().enumerate() {
            let mut stage = Vec::new();
            for block in 0..blocks[index] {
                let place = &path / format!("block{}", index + 1) / block;
                let rate = last_rate * done as f64 / (total - 1) as f64;
                stage.push(Block::new(&place, widths[index], HEADS[index], REDUCTIONS[index], rate, eps)?);
                done += 1;
            }
            let norm = LayerNorm::new(&(&path / format!("norm{}", index + 1)), widths[index], eps.block)?;
            stages.push(Stage { project, embed_norm, blocks: stage, norm });
        }
        let depth = config.depth() as usize;
        let mut channels = vec![config.in_channels, 0];
        channels.extend(widths);
        channels.truncate(depth + 1);
        Ok(MixTransformer { stages, channels, depth })
    }
}

impl Encoder for MixTransformer {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        1 << self.depth
    }

    fn forward_in<'a>(
        &'a self,
        x: &Tensor,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let size = x.size();
        let missing = Tensor::f_empty([size[0], 0, size[2] / 2, size[3] / 2], (x.kind(), x.device()))?;
        let mut features = vec![x.shallow_clone(), missing];
        let mut x = x.shallow_clone();
        for stage in self.stages.iter().take(self.depth - 1) {
            x = stage.forward(&x, train, segments)?; // [B, width, H/4 .. H/32, ..]
            features.push(x.shallow_clone());
        }
        Ok(features)
    }
}

struct Stage {
    project: Conv2d,
    embed_norm: LayerNorm,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Stage {
    fn forward<'a>(&'a self, x: &Tensor, train: bool, segments: &mut Segments<'a>) -> Result<Tensor, ModelError> {
        let embed = move |x: &Tensor| self.embed_norm.forward(&self.project.forward(x)?.f_permute([0, 2, 3, 1])?);
        let mut x = segments.run(x, embed)?; // [B, h, w, C]
        for block in &self.blocks {
            x = segments.run(&x, move |x| {
                let size = x.size();
                let grid = [size[0], size[1], size[2], size[3]];
                let tokens = x.f_reshape([size[0], -1, size[3]])?; // [B, h w, C]
                Ok(block.forward(&tokens, grid, train)?.f_view(grid)?)
            })?;
        }
        segments.run(&x, move |x| Ok(self.norm.forward(x)?.f_permute([0, 3, 1, 2])?.f_contiguous()?))
    }
}

/// Tokens `[B, h w, C]` as a map `[B, C, h, w]` that shares their storage (channels last).
fn as_map(tokens: &Tensor, [batch, height, width, _]: [i64; 4]) -> Result<Tensor, ModelError> {
    Ok(tokens.f_reshape([batch, height, width, -1])?.f_permute([0, 3, 1, 2])?)
}

/// A map `[B, C, h, w]` as tokens `[B, h w, C]`.
fn as_tokens(map: &Tensor) -> Result<Tensor, ModelError> {
    Ok(map.f_flatten(2, -1)?.f_transpose(1, 2)?)
}

/// Attention, then an MLP; each is a residual branch with a norm at its beginning.
struct Block {
    attention_norm: LayerNorm,
    attention: Attention,
    mlp_norm: LayerNorm,
    mlp: Mlp,
    drop_rate: f64,
}

impl Block {
    fn new(
        path: &Path,
        width: i64,
        heads: i64,
        reduction: i64,
        drop_rate: f64,
        eps: Epsilons,
    ) -> Result<Self, ModelError> {
        Ok(Block {
            attention_norm: LayerNorm::new(&(path / "norm1"), width, eps.block)?,
            attention: Attention::new(&(path / "attn"), width, heads, reduction, eps.inner)?,
            mlp_norm: LayerNorm::new(&(path / "norm2"), width, eps.block)?,
            mlp: Mlp::new(&(path / "mlp"), width)?,
            drop_rate,
        })
    }

    fn forward(&self, x: &Tensor, grid: [i64; 4], train: bool) -> Result<Tensor, ModelError> {
        let attended = self.attention.forward(&self.attention_norm.forward(x)?, grid)?;
        let x = drop_path(attended, self.drop_rate, train)?.f_add(x)?;
        let mixed = self.mlp.forward(&self.mlp_norm.forward(&x)?, grid)?;
        Ok(drop_path(mixed, self.drop_rate, train)?.f_add(&x)?)
    }
}

struct Attention {
    heads: i64,
    query: Linear,
    key_value: Linear,
    project: Linear,
    /// Reduces the positions to the coarser grid of keys and values.
    reduce: Option<(Conv2d, LayerNorm)>,
}

impl Attention {
    fn new(path: &Path, width: i64, heads: i64, reduction: i64, eps: f64) -> Result<Self, ModelError> {
        let query = Linear::new(&(path / "q"), width, width)?;
        let key_value = Linear::new(&(path / "kv"), width, 2 * width)?;
        let project = Linear::new(&(path / "proj"), width, width)?;
        let reduce = if reduction > 1 {
            let options = ConvOptions::default().stride(reduction);
            let convolution = Conv2d::new(&(path / "sr"), width, width, reduction, options)?;
            Some((convolution, LayerNorm::new(&(path / "norm"), width, eps)?))
        } else {
            None
        };
        Ok(Attention { heads, query, key_value, project, reduce })
    }

    /// `[B, N, C]` to the same.
    fn forward(&self, x: &Tensor, grid: [i64; 4]) -> Result<Tensor, ModelError> {
        let [batch, _, _, width] = grid;
        let head = width / self.heads;
        let query = self.query.forward(x)?.f_view([batch, -1, self.heads, head])?.f_transpose(1, 2)?; // [B, heads, N, C/heads]
        let coarse = match &self.reduce {
            Some((convolution, norm)) => norm.forward(&as_tokens(&convolution.forward(&as_map(x, grid)?)?)?)?,
            None => x.shallow_clone(),
        };
        let pair = self.key_value.forward(&coarse)?; // [B, M, 2 C]
        let pair = pair.f_view([batch, -1, 2, self.heads, head])?.f_permute([2, 0, 3, 1, 4])?;
        let (key, value) = (pair.f_get(0)?, pair.f_get(1)?); // [B, heads, M, C/heads]
        let mixed = dot_product_attention(&query, &key, &value)?; // [B, heads, N, C/heads]
        let mixed = mixed.f_transpose(1, 2)?.f_reshape([batch, -1, width])?; // [B, N, C]
        Ok(self.project.forward(&mixed)?)
    }
}

struct Mlp {
    widen: Linear,
    depthwise: Conv2d,
    narrow: Linear,
}

impl Mlp {
    fn new(path: &Path, width: i64) -> Result<Self, ModelError> {
        let wide = MLP_RATIO * width;
        Ok(Mlp {
            widen: Linear::new(&(path / "fc1"), width, wide)?,
            depthwise: Conv2d::new(
                &(path / "dwconv" / "dwconv"),
                wide,
                wide,
                3,
                ConvOptions::default().padding(1).groups(wide),
            )?,
            narrow: Linear::new(&(path / "fc2"), wide, width)?,
        })
    }

    /// `[B, N, C]` to the same.
    fn forward(&self, x: &Tensor, grid: [i64; 4]) -> Result<Tensor, ModelError> {
        let map = self.depthwise.forward(&as_map(&self.widen.forward(x)?, grid)?)?; // [B, 4 C, h, w]
        Ok(self.narrow.forward(&gelu(as_tokens(&map)?)?)?)
    }
}
