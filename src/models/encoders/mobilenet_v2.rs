//! MobileNetV2: inverted residuals whose narrow ends are linear.
//! M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, MobileNetV2: inverted residuals and linear bottlenecks,
//! CVPR 2018.

use tch::Tensor;

use super::Encoder;
use crate::models::layers::{Conv2d, ConvOptions, Norm2d, Scheme, conv_norm};
use crate::models::{ModelConfig, ModelError, Path};

/// Expansion, output channels and stride of each group of blocks.
const GROUPS: [(i64, i64, i64); 7] =
    [(1, 16, 1), (6, 24, 2), (6, 32, 2), (6, 64, 2), (6, 96, 1), (6, 160, 2), (6, 320, 1)];
const LAST: i64 = 1280;
/// Blocks of each group.
pub const REPEATS: [usize; 7] = [1, 2, 3, 4, 3, 3, 1];
/// Layers of the sequence after which a feature is taken, strides 2 to 32.
const TAPS: [usize; 5] = [1, 3, 6, 13, 18];

/// The backbone without its classifier.
pub struct MobileNetV2 {
    layers: Vec<Layer>,
    channels: Vec<i64>,
    depth: usize,
    stride: i64,
}

impl MobileNetV2 {
    /// The backbone with `config.depth` stages in use.
    pub fn new(path: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let output_stride = config.architecture.output_stride();
        let path = path.with_scheme(Scheme::HeFanOut) / "features";
        // The reference replaces the first layer when the image is not RGB, and with it its distribution.
        let stem_scheme = if config.in_channels == 3 { Scheme::HeFanOut } else { Scheme::Torch };
        let stem = ConvOptions::without_bias().stride(2).padding(1);
        let place = &path / 0;
        let stem = Conv2d::new(&(&place / 0).with_scheme(stem_scheme), config.in_channels, 32, 3, stem)?;
        let mut layers = vec![Layer {
            steps: vec![Step { convolution: stem, norm: Norm2d::new(&(&place / 1), 32)?, bends: true }],
            skips: false,
        }];
        let mut input = 32;
        for ((expansion, output, stride), repeats) in GROUPS.into_iter().zip(REPEATS) {
            for repeat in 0..repeats {
                let index = layers.len();
                // The stride of the features this layer leads to: a finer one asked for dilates it instead.
                let target = 2 << TAPS.iter().position(|tap| index <= *tap).expect("the last layer is a tap");
                let dilation = (target > output_stride).then(|| target / output_stride);
                let stride = if repeat == 0 { stride } else { 1 };
                layers.push(Layer::inverted(&(&path / index / "conv"), input, output, expansion, stride, dilation)?);
                input = output;
            }
        }
        let place = &path / layers.len();
        let last = Conv2d::new(&(&place / 0), input, LAST, 1, ConvOptions::without_bias())?;
        let last = Step { convolution: last, norm: Norm2d::new(&(&place / 1), LAST)?, bends: true };
        layers.push(Layer { steps: vec![last], skips: false });
        let depth = config.depth as usize;
        let mut channels = vec![config.in_channels, 16, 24, 32, 96, LAST];
        channels.truncate(depth + 1);
        Ok(MobileNetV2 { layers, channels, depth, stride: std::cmp::min(output_stride, 1 << depth) })
    }
}

impl Encoder for MobileNetV2 {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        self.stride
    }

    fn forward(&self, x: &Tensor, train: bool) -> Result<Vec<Tensor>, ModelError> {
        let mut features = vec![x.shallow_clone()];
        let mut x = x.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            if features.len() > self.depth {
                break;
            }
            x = layer.forward(&x, train)?;
            if TAPS.contains(&index) {
                features.push(x.shallow_clone());
            }
        }
        Ok(features)
    }
}

struct Step {
    convolution: Conv2d,
    norm: Norm2d,
    /// ReLU6 follows.
    bends: bool,
}

struct Layer {
    steps: Vec<Step>,
    skips: bool,
}

impl Layer {
    /// Expand, filter each channel, project without bending.
    fn inverted(
        path: &Path,
        input: i64,
        output: i64,
        expansion: i64,
        stride: i64,
        dilation: Option<i64>,
    ) -> Result<Self, ModelError> {
        let wide = input * expansion;
        let plain = ConvOptions::without_bias();
        let depthwise = match dilation {
            None => plain.groups(wide).stride(stride).padding(1),
            Some(rate) => plain.groups(wide).dilation(rate).padding(rate),
        };
        let mut steps = Vec::new();
        let bent = [(input, 1, plain, expansion != 1), (wide, 3, depthwise, true)];
        for (from, kernel, options, _) in bent.into_iter().filter(|b| b.3) {
            let place = path / steps.len();
            let convolution = Conv2d::new(&(&place / 0), from, wide, kernel, options)?;
            steps.push(Step { convolution, norm: Norm2d::new(&(&place / 1), wide)?, bends: true });
        }
        let convolution = Conv2d::new(&(path / steps.len()), wide, output, 1, plain)?;
        let norm = Norm2d::new(&(path / (steps.len() + 1)), output)?;
        steps.push(Step { convolution, norm, bends: false });
        Ok(Layer { steps, skips: stride == 1 && input == output })
    }

    fn forward(&self, input: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let mut x = input.shallow_clone();
        for step in &self.steps {
            x = conv_norm(&step.convolution, &step.norm, &x, train)?;
            if step.bends {
                x = x.f_relu6_()?;
            }
        }
        if self.skips { Ok(x.f_add_(input)?) } else { Ok(x) }
    }
}
