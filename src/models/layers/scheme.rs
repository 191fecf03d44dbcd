use crate::models::parameters::Fill;

/// Initialisation of the weights of convolutions and linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// PyTorch's default: weight and bias uniform within `1 / sqrt(fan_in)`.
    Torch,
    /// SMP's decoders: convolutions He uniform for ReLU by fan-in, linear layers Glorot uniform, biases 0.
    Decoder,
    /// SMP's heads: Glorot uniform, biases 0.
    Head,
    /// torchvision's ResNet and MobileNets: He normal for ReLU by fan-out, biases 0.
    HeFanOut,
    /// timm's EfficientNetV2 and MobileNetV3: convolutions He normal for ReLU by the fan-out of a group, biases 0.
    GroupFanOut,
    /// SMP's mix transformer: convolutions normal by the fan-out of a group, linear layers normal with standard
    /// deviation 0.02 truncated at 2, biases 0.
    MixTransformer,
    /// timm's Swin: convolutions as PyTorch, linear layers normal with standard deviation 0.02 truncated at 2, their
    /// biases 0.
    Swin,
    /// mmsegmentation's last layers: normal with standard deviation 0.01, biases 0.
    MmsegHead,
    /// transformers: convolutions and linear layers normal with standard deviation 0.02, biases 0.
    Transformers,
    /// timm's ConvNeXt: normal with standard deviation 0.02 truncated at 2, biases 0.
    Truncated,
    /// nnU-Net: He normal for a leaky ReLU of slope 0.01 by fan-in, transposed convolutions too, biases 0.
    NnUnet,
}

/// Square of the slope of nnU-Net's leaky ReLU, by which He initialisation reduces the variance.
const LEAK: f64 = 0.01 * 0.01;

impl Scheme {
    /// Weight of a convolution, `[out, in / groups, height, width]`.
    pub fn convolution(self, shape: &[i64], groups: i64) -> Fill {
        let (fan_in, fan_out) = fans(shape);
        match self {
            Scheme::Torch | Scheme::Swin => Fill::Uniform(1.0 / fan_in.sqrt()),
            Scheme::Decoder => Fill::Uniform((6.0 / fan_in).sqrt()),
            Scheme::Head => Fill::Uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Scheme::HeFanOut => Fill::Normal((2.0 / fan_out).sqrt()),
            Scheme::GroupFanOut | Scheme::MixTransformer => Fill::Normal((2.0 * groups as f64 / fan_out).sqrt()),
            Scheme::MmsegHead => Fill::Normal(0.01),
            Scheme::Transformers => Fill::Normal(0.02),
            Scheme::Truncated => Fill::TruncatedNormal(0.02),
            Scheme::NnUnet => Fill::Normal((2.0 / (1.0 + LEAK) / fan_in).sqrt()),
        }
    }

    /// Weight of a linear layer, `[out, in]`.
    pub fn linear(self, shape: &[i64]) -> Fill {
        let (fan_in, fan_out) = fans(shape);
        match self {
            Scheme::Torch | Scheme::HeFanOut | Scheme::NnUnet => Fill::Uniform(1.0 / fan_in.sqrt()),
            Scheme::Decoder | Scheme::Head => Fill::Uniform((6.0 / (fan_in + fan_out)).sqrt()),
            Scheme::GroupFanOut => Fill::Uniform(1.0 / fan_out.sqrt()),
            Scheme::MixTransformer | Scheme::Swin | Scheme::Truncated => Fill::TruncatedNormal(0.02),
            Scheme::MmsegHead => Fill::Normal(0.01),
            Scheme::Transformers => Fill::Normal(0.02),
        }
    }

    /// Bias of a layer whose weight has this shape.
    pub fn bias(self, weight: &[i64]) -> Fill {
        match self {
            Scheme::Torch => Fill::Uniform(1.0 / fans(weight).0.sqrt()),
            // Weights of linear layers have two dimensions, those of convolutions four.
            Scheme::Swin if weight.len() > 2 => Fill::Uniform(1.0 / fans(weight).0.sqrt()),
            Scheme::Decoder
            | Scheme::Head
            | Scheme::HeFanOut
            | Scheme::GroupFanOut
            | Scheme::MixTransformer
            | Scheme::Swin
            | Scheme::Truncated
            | Scheme::MmsegHead
            | Scheme::Transformers
            | Scheme::NnUnet => Fill::Constant(0.0),
        }
    }
}

/// Connections into and out of one unit.
fn fans(shape: &[i64]) -> (f64, f64) {
    let field: i64 = shape[2..].iter().product();
    ((shape[1] * field) as f64, (shape[0] * field) as f64)
}
