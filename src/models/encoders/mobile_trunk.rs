//! The common structure of timm's mobile networks: a stem and stages of inverted residuals; a stage's output is a
//! feature if the next stage halves the size.

use tch::Tensor;

use super::{Encoder, numbered, stage};
use crate::models::layers::{
    Activation, ConvNormAct, ConvShape, InvertedResidual, InvertedResidualShape, MobileStyle, Naming, Scheme,
};
use crate::models::{ModelConfig, ModelError, Path, Segments};

/// Whether the output of stage `index` is a feature: the next stage halves the size, or there is no next stage.
fn is_tapped(stages: &[Vec<InvertedResidualShape>], index: usize) -> bool {
    stages.get(index + 1).is_none_or(|next| next[0].stride > 1)
}

/// See [`super::stages`]; `trunk` is the `stages` argument of [`MobileTrunk::new`].
pub fn stages(trunk: &[Vec<InvertedResidualShape>]) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new()];
    stages.extend(numbered("blocks", (0..trunk.len()).filter(|index| is_tapped(trunk, *index))));
    stages[1].extend(stage(["conv_stem.", "bn1."]));
    stages
}

/// A backbone without its classifier. The state dict has all stages at any depth.
pub struct MobileTrunk {
    stem: ConvNormAct,
    stages: Vec<Stage>,
    channels: Vec<i64>,
    depth: usize,
    stride: i64,
}

struct Stage {
    blocks: Vec<InvertedResidual>,
    /// Whether its output is a feature.
    tapped: bool,
}

impl MobileTrunk {
    /// Builds a stem with the first block's input channels and `activation`, then `stages` of blocks, given with the
    /// strides of the undilated network.
    pub fn new(
        path: &Path,
        stages: &[Vec<InvertedResidualShape>],
        activation: Activation,
        style: &MobileStyle,
        config: &ModelConfig,
    ) -> Result<Self, ModelError> {
        let path = (path / "model").with_scheme(Scheme::GroupFanOut);
        let output = stages[0][0].input;
        let shape = ConvShape { input: config.in_channels, output, kernel: 3, stride: 2, dilation: 1, groups: 1 };
        let stem = ConvNormAct::new(&path, ["conv_stem", "bn1"], shape, activation, style)?;

        let output_stride = config.output_stride();
        let rate = config.drop_path.unwrap_or(0.0);
        let total: usize = stages.iter().map(Vec::len).sum();
        let (mut stride, mut dilation, mut count) = (2, 1, 0);
        let mut channels = vec![config.in_channels];
        let mut built = Vec::new();
        for (index, stage) in stages.iter().enumerate() {
            let mut blocks = Vec::new();
            for (place, block) in stage.iter().enumerate() {
                // A block that would exceed the output stride gets stride 1; the blocks after it are dilated.
                let exceeds = stride * block.stride > output_stride;
                let shape =
                    InvertedResidualShape { stride: if exceeds { 1 } else { block.stride }, dilation, ..*block };
                let drop_rate = rate * count as f64 / total as f64;
                let path = &path / "blocks" / index / place;
                blocks.push(InvertedResidual::new(&path, Naming::Timm, &shape, style, drop_rate)?);
                stride *= shape.stride;
                dilation *= block.stride / shape.stride;
                count += 1;
            }
            let tapped = is_tapped(stages, index);
            if tapped {
                channels.push(stage[stage.len() - 1].output);
            }
            built.push(Stage { blocks, tapped });
        }
        let depth = config.depth() as usize;
        channels.truncate(depth + 1);
        let stride = std::cmp::min(output_stride, 1 << depth);
        Ok(MobileTrunk { stem, stages: built, channels, depth, stride })
    }
}

impl Encoder for MobileTrunk {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        self.stride
    }

    fn forward_in<'a>(
        &'a self,
        x: &Tensor,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let mut features = vec![x.shallow_clone()];
        let mut x = segments.run(x, move |x| self.stem.forward(x, train))?; // [B, stem, H/2, W/2]
        for stage in &self.stages {
            if features.len() > self.depth {
                break;
            }
            for block in &stage.blocks {
                x = segments.run(&x, move |x| block.forward(x, train))?;
            }
            if stage.tapped {
                features.push(x.shallow_clone());
            }
        }
        Ok(features)
    }
}
