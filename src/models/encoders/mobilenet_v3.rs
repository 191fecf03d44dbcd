//! MobileNetV3-large: inverted residuals with squeeze and excitation and hard swish, found by architecture search. A.
//! Howard et al., Searching for MobileNetV3, ICCV 2019.
//! This is timm's; torchvision's, with the same blocks and other names, is in `networks::torchvision`.

use super::mobile_trunk::{self, MobileTrunk};
use crate::models::layers::{Activation, BlockKind, InvertedResidualShape, MobileStyle};
use crate::models::{ModelConfig, ModelError, Path};

/// Channels of the stem.
pub const STEM: i64 = 16;
/// Channels of the last layer, a 1x1 convolution.
pub const LAST: i64 = 960;

/// Kernel, wide channels, output channels, channels of squeeze and excitation, activation and stride of each block.
type Row = (i64, i64, i64, Option<i64>, Activation, i64);

const BLOCKS: [Row; 15] = [
    (3, 16, 16, None, Activation::Relu, 1),
    (3, 64, 24, None, Activation::Relu, 2),
    (3, 72, 24, None, Activation::Relu, 1),
    (5, 72, 40, Some(24), Activation::Relu, 2),
    (5, 120, 40, Some(32), Activation::Relu, 1),
    (5, 120, 40, Some(32), Activation::Relu, 1),
    (3, 240, 80, None, Activation::HardSwish, 2),
    (3, 200, 80, None, Activation::HardSwish, 1),
    (3, 184, 80, None, Activation::HardSwish, 1),
    (3, 184, 80, None, Activation::HardSwish, 1),
    (3, 480, 112, Some(120), Activation::HardSwish, 1),
    (3, 672, 112, Some(168), Activation::HardSwish, 1),
    (5, 672, 160, Some(168), Activation::HardSwish, 2),
    (5, 960, 160, Some(240), Activation::HardSwish, 1),
    (5, 960, 160, Some(240), Activation::HardSwish, 1),
];

/// Blocks of each of timm's stages.
const STAGES: [usize; 6] = [1, 2, 3, 4, 2, 3];

const STYLE: MobileStyle =
    MobileStyle { eps: 1e-5, momentum: 0.1, same: false, squeeze: Activation::Relu, gate: Activation::HardSigmoid };

/// The blocks between the stem and the last layer.
pub fn blocks() -> Vec<InvertedResidualShape> {
    let mut input = STEM;
    let shape = |(kernel, wide, output, squeezed, activation, stride): Row| {
        let kind = BlockKind::Inverted;
        let shape =
            InvertedResidualShape { kind, input, wide, output, kernel, stride, dilation: 1, squeezed, activation };
        input = output;
        shape
    };
    BLOCKS.into_iter().map(shape).collect()
}

/// timm's stages of blocks; the last layer is a stage of its own.
fn trunk() -> Vec<Vec<InvertedResidualShape>> {
    let mut blocks = blocks().into_iter();
    let mut stages: Vec<Vec<InvertedResidualShape>> =
        STAGES.iter().map(|count| blocks.by_ref().take(*count).collect()).collect();
    stages.push(vec![InvertedResidualShape {
        kind: BlockKind::Plain,
        input: BLOCKS[BLOCKS.len() - 1].2,
        wide: LAST,
        output: LAST,
        kernel: 1,
        stride: 1,
        dilation: 1,
        squeezed: None,
        activation: Activation::HardSwish,
    }]);
    stages
}

/// Builds the backbone with `config.depth` stages in use.
pub fn build(path: &Path, config: &ModelConfig) -> Result<MobileTrunk, ModelError> {
    MobileTrunk::new(path, &trunk(), Activation::HardSwish, &STYLE, config)
}

/// See [`super::stages`].
pub fn stages() -> Vec<Vec<String>> {
    mobile_trunk::stages(&trunk())
}
