//! The decoder of U-Net++ (SMP's `UnetPlusPlusDecoder`). Z. Zhou, M. M. R. Siddiquee, N. Tajbakhsh, J. Liang, UNet++: a
//! nested U-Net architecture for medical image segmentation, DLMIA 2018.

use std::collections::HashMap;

use tch::Tensor;

use super::Decoder;
use super::unet_block::{CHANNELS, UnetBlock};
use crate::models::{ModelConfig, ModelError, Path};

/// A grid of U-Net blocks. Node (d, l) has the size of the encoder's feature l + 1, counted from the deepest. Its
/// inputs are node (d, l - 1) of half the size and, as skip connections, every node (d + 1.., l) and the encoder's
/// feature of its own size.
pub struct UnetPlusPlus {
    nodes: HashMap<(usize, usize), UnetBlock>,
    last: UnetBlock,
    /// Number of levels with skip connections.
    levels: usize,
    channels: i64,
}

impl UnetPlusPlus {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, config: &ModelConfig, channels: &[i64]) -> Result<Self, ModelError> {
        let deepest_first: Vec<i64> = channels[1..].iter().rev().copied().collect();
        let levels = deepest_first.len() - 1;
        let skips = &deepest_first[1..];
        let below = |level: usize| if level == 0 { deepest_first[0] } else { CHANNELS[level - 1] };
        let place = |depth: usize, level: usize| path / "blocks" / format!("x_{depth}_{level}");
        let mut nodes = HashMap::new();
        for level in 0..levels {
            for depth in 0..=level {
                let (input, output) =
                    if depth == 0 { (below(level), CHANNELS[level]) } else { (skips[level - 1], skips[level]) };
                // If the encoder has no feature of this size, there are no nodes either.
                if output == 0 {
                    continue;
                }
                let joined = skips[level] * (level + 1 - depth) as i64;
                nodes.insert((depth, level), UnetBlock::new(&place(depth, level), config, input, joined, output)?);
            }
        }
        let last = UnetBlock::new(&place(0, levels), config, below(levels), 0, CHANNELS[levels])?;
        Ok(UnetPlusPlus { nodes, last, levels, channels: CHANNELS[levels] })
    }
}

impl Decoder for UnetPlusPlus {
    fn channels(&self) -> i64 {
        self.channels
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let deepest_first: Vec<&Tensor> = features[1..].iter().rev().collect();
        let mut maps: HashMap<(usize, usize), Tensor> = HashMap::new();
        for span in 0..self.levels {
            for depth in 0..self.levels - span {
                let level = depth + span;
                let Some(node) = self.nodes.get(&(depth, level)) else { continue };
                let below = if span == 0 { deepest_first[depth] } else { &maps[&(depth, level - 1)] };
                let mut skips: Vec<&Tensor> = (depth + 1..=level).filter_map(|d| maps.get(&(d, level))).collect();
                skips.push(deepest_first[level + 1]);
                let map = node.forward(below, &skips, train)?;
                maps.insert((depth, level), map);
            }
        }
        self.last.forward(&maps[&(0, self.levels - 1)], &[], train)
    }
}
