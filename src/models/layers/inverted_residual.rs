//! The blocks of MobileNetV2, MobileNetV3 and EfficientNetV2: wide in the middle, narrow and linear where they are added.
//! M. Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018.
//! S. Gupta, M. Tan, EfficientNet-EdgeTPU, 2019 (the fused block).

use tch::Tensor;

use super::{Activation, ConvNormAct, ConvShape, MobileStyle, SqueezeExcite, drop_path};
use crate::models::{ModelError, Path};

/// The reference by whose names a block's weights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `conv_pw`, `bn1`, `conv_dw`, `bn2`, `se.conv_reduce`, …
    Timm,
    /// torchvision's MobileNetV3: `block.0.0`, `block.0.1`, `block.1.0`, …
    Torchvision,
    /// torchvision's and SMP's MobileNetV2, the last layer without a level of its own: `conv.0.0`, `conv.0.1`, …,
    /// `conv.2`, `conv.3`.
    TorchvisionV2,
}

/// The layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// One convolution.
    Plain,
    /// A convolution that widens, a linear one of a pixel that narrows.
    Fused,
    /// A convolution of a pixel that widens (left out where the width stays), one of each channel by itself, squeeze
    /// and excitation where wanted, a linear one of a pixel that narrows.
    Inverted,
}

/// Sizes of a block.
#[derive(Clone, Copy, Debug)]
pub struct InvertedResidualShape {
    /// Its layers.
    pub kind: BlockKind,
    /// Channels in.
    pub input: i64,
    /// Channels in the middle.
    pub wide: i64,
    /// Channels out.
    pub output: i64,
    /// Pixels of the kernel that looks at neighbours.
    pub kernel: i64,
    /// Its step.
    pub stride: i64,
    /// Distance of its taps.
    pub dilation: i64,
    /// Channels of squeeze and excitation.
    pub squeezed: Option<i64>,
    /// After every layer but a linear one.
    pub activation: Activation,
}

/// Layers, added to their input where the shape allows it.
pub struct InvertedResidual {
    layers: Vec<ConvNormAct>,
    /// Before the last layer.
    gate: Option<SqueezeExcite>,
    skips: bool,
    drop_rate: f64,
}

impl InvertedResidual {
    /// `drop_rate` is that of stochastic depth.
    pub fn new(
        path: &Path,
        naming: Naming,
        shape: &InvertedResidualShape,
        style: &MobileStyle,
        drop_rate: f64,
    ) -> Result<Self, ModelError> {
        let &InvertedResidualShape { kind, input, wide, output, kernel, stride, dilation, squeezed, activation } =
            shape;
        let spatial = |input, output, groups| ConvShape { input, output, kernel, stride, dilation, groups };
        let narrow = ConvShape::point(wide, output);
        let linear = Activation::Identity;
        let steps = match kind {
            BlockKind::Plain => vec![("conv", spatial(input, output, 1), activation)],
            BlockKind::Fused => {
                vec![("conv_exp", spatial(input, wide, 1), activation), ("conv_pwl", narrow, linear)]
            }
            BlockKind::Inverted if wide == input => {
                vec![("conv_dw", spatial(wide, wide, wide), activation), ("conv_pw", narrow, linear)]
            }
            BlockKind::Inverted => vec![
                ("conv_pw", ConvShape::point(input, wide), activation),
                ("conv_dw", spatial(wide, wide, wide), activation),
                ("conv_pwl", narrow, linear),
            ],
        };
        let last = steps.len() - 1;
        let sequence = path / if naming == Naming::TorchvisionV2 { "conv" } else { "block" };
        let mut layers = Vec::new();
        let mut gate = None;
        for (index, (name, shape, activation)) in steps.into_iter().enumerate() {
            if let Some(squeezed) = squeezed.filter(|_| index == last) {
                let (place, names) = match naming {
                    Naming::Timm => (path / "se", ["conv_reduce", "conv_expand"]),
                    Naming::Torchvision | Naming::TorchvisionV2 => (&sequence / index, ["fc1", "fc2"]),
                };
                gate = Some(SqueezeExcite::new(&place, names, wide, squeezed, style)?);
            }
            // The gate takes a place in the sequence.
            let position = index + usize::from(gate.is_some());
            let (place, names) = match naming {
                Naming::Timm => (path.clone(), [name.to_owned(), format!("bn{}", index + 1)]),
                Naming::TorchvisionV2 if index == last => {
                    (sequence.clone(), [position.to_string(), (position + 1).to_string()])
                }
                Naming::Torchvision | Naming::TorchvisionV2 => (&sequence / position, ["0".into(), "1".into()]),
            };
            let names = [names[0].as_str(), names[1].as_str()];
            layers.push(ConvNormAct::new(&place, names, shape, activation, style)?);
        }
        Ok(InvertedResidual { layers, gate, skips: stride == 1 && input == output, drop_rate })
    }

    /// `[B, input, H, W]` to `[B, output, H / stride, W / stride]`, rounded up.
    pub fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut x = input.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if let Some(gate) = self.gate.as_ref().filter(|_| index + 1 == self.layers.len()) {
                x = gate.forward(&x)?; // [B, wide, h, w]
            }
            x = layer.forward(&x, train)?;
        }
        if self.skips { Ok(drop_path(x, self.drop_rate, train)?.f_add_(input)?) } else { Ok(x) }
    }
}
