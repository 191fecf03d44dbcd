//! Swin transformer: attention within windows of 7 x 7 positions, shifted by half a window in every second block;
//! between stages, four neighbouring patches are merged into one. A grid that is not a multiple of 7 is padded.
//! Z. Liu et al., Swin transformer: hierarchical vision transformer using shifted windows, ICCV 2021.

use tch::Tensor;

use super::Encoder;
use crate::models::layers::{
    Conv2d, ConvOptions, LayerNorm, Masks, PatchMerging, Scheme, SwinBlock, SwinBlockOptions, SwinStyle,
};
use crate::models::{EncoderKind, ModelConfig, ModelError, Path, Segments};

const PATCH: i64 = 4;
const DROP_PATH: f64 = 0.1;
const EPS: f64 = 1e-5;

/// Width and heads of the first stage, which double in each next stage, and blocks of the four stages.
fn variant(kind: EncoderKind) -> (i64, i64, [usize; 4]) {
    match kind {
        EncoderKind::SwinSmall => (96, 3, [2, 2, 18, 2]),
        EncoderKind::SwinBase => (128, 4, [2, 2, 18, 2]),
        _ => (96, 3, [2, 2, 6, 2]),
    }
}

/// See [`super::stages`].
pub fn stages(config: &ModelConfig) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(); 2];
    stages.extend((0..config.depth() - 1).map(|index| vec![format!("layers_{index}.")]));
    stages[2].push("patch_embed.".into());
    stages
}

/// The backbone (timm's `SwinTransformer`). There is no feature at stride 2: it has zero channels.
pub struct Swin {
    project: Conv2d,
    embed_norm: LayerNorm,
    stages: Vec<Stage>,
    masks: Masks,
    channels: Vec<i64>,
}

struct Stage {
    merging: Option<PatchMerging>,
    blocks: Vec<SwinBlock>,
}

impl Swin {
    /// Builds the backbone `kind` with `config.depth` stages in use; timm omits the others.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let (style, scheme) = match config.architecture.follows_transformers() {
            true => (SwinStyle::Transformers, Scheme::Transformers),
            false => (SwinStyle::Timm, Scheme::Swin),
        };
        let path = path.with_scheme(scheme) / "model";
        let (width, heads, counts) = variant(kind);
        let total: usize = counts.iter().sum();
        let last_rate = config.drop_path.unwrap_or(DROP_PATH);
        let embed = &path / "patch_embed";
        let options = ConvOptions::default().stride(PATCH);
        let project = Conv2d::new(&(&embed / "proj"), config.in_channels, width, PATCH, options)?;
        let embed_norm = LayerNorm::new(&(&embed / "norm"), width, EPS)?;
        let mut channels = vec![config.in_channels, 0];
        let mut stages = Vec::new();
        let mut done = 0;
        for (index, count) in counts.into_iter().enumerate().take(config.depth() as usize - 1) {
            let place = &path / format!("layers_{index}");
            let width = width << index;
            let merging =
                (index > 0).then(|| PatchMerging::new(&(&place / "downsample"), width / 2, style)).transpose()?;
            let mut blocks = Vec::new();
            for block in 0..count {
                let options = SwinBlockOptions {
                    width,
                    heads: heads << index,
                    last_stage: index == 3,
                    shifted: block % 2 == 1,
                    drop_path: last_rate * done as f64 / (total - 1) as f64,
                    dropout: 0.0,
                    style,
                };
                blocks.push(SwinBlock::new(&(&place / "blocks" / block), options)?);
                done += 1;
            }
            stages.push(Stage { merging, blocks });
            channels.push(width);
        }
        Ok(Swin { project, embed_norm, stages, masks: Masks::default(), channels })
    }
}

impl Encoder for Swin {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        1 << (self.channels.len() - 1)
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
        let embed = move |x: &Tensor| self.embed_norm.forward(&self.project.forward(x)?.f_permute([0, 2, 3, 1])?);
        let mut x = segments.run(x, embed)?; // [B, H/4, W/4, C]
        for stage in &self.stages {
            if let Some(merging) = &stage.merging {
                x = segments.run(&x, move |x| merging.forward(x))?; // [B, H/8 .. H/32, .., 2 C .. 8 C]
            }
            for block in &stage.blocks {
                x = segments.run(&x, move |x| block.forward(x, &self.masks, train))?;
            }
            features.push(x.f_permute([0, 3, 1, 2])?.f_contiguous()?);
        }
        Ok(features)
    }
}
