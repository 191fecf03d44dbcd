//! The blocks of MobileNetV2, MobileNetV3 and EfficientNetV2: wide in the middle, narrow and linear at the end, where
//! the input is added.
//! M. Sandler et al., MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018.
//! S. Gupta, M. Tan, EfficientNet-EdgeTPU, 2019 (the fused block).

use tch::Tensor;

use super::{Activation, ConvNormAct, ConvShape, MobileStyle, SqueezeExcite, drop_path};
use crate::models::{ModelError, Path};

/// The library whose names a block's weights have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `conv_pw`, `bn1`, `conv_dw`, `bn2`, `se.conv_reduce`, …
    Timm,
    /// torchvision's MobileNetV3: `block.0.0`, `block.0.1`, `block.1.0`, …
    Torchvision,
    /// torchvision's and SMP's MobileNetV2, where the last layer is one level higher: `conv.0.0`, `conv.0.1`, …,
    /// `conv.2`, `conv.3`.
    TorchvisionV2,
}

/// The layers of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockKind {
    /// One convolution.
    Plain,
    /// A convolution that widens, then a linear 1x1 convolution that narrows.
    Fused,
    /// A 1x1 convolution that widens (omitted if the width stays), a depthwise convolution, optional squeeze and
    /// excitation, a linear 1x1 convolution that narrows.
    Inverted,
}

/// Shape of a block.
#[derive(Clone, Copy, Debug)]
pub struct InvertedResidualShape {
    /// The layers of the block.
    pub kind: BlockKind,
    /// Input channels.
    pub input: i64,
    /// Channels in the middle.
    pub wide: i64,
    /// Output channels.
    pub output: i64,
    /// Side of the spatial kernel, in pixels.
    pub kernel: i64,
    /// Stride of the spatial convolution.
    pub stride: i64,
    /// Dilation of the spatial convolution.
    pub dilation: i64,
    /// Channels of squeeze and excitation; `None`: without it.
    pub squeezed: Option<i64>,
    /// Activation after every layer that is not linear.
    pub activation: Activation,
}

/// The block; its input is added to its output if both have the same shape.
pub struct InvertedResidual {
    layers: Vec<ConvNormAct>,
    /// Applied before the last layer.
    gate: Option<SqueezeExcite>,
    skips: bool,
    drop_rate: f64,
}

impl InvertedResidual {
    /// `drop_rate` is the rate of stochastic depth.
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
            // The gate takes one position in the sequence.
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
