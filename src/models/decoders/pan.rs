//! The decoder of the pyramid attention network (SMP's `PANDecoder`). H. Li, P. Xiong, J. An, L. Wang, Pyramid
//! attention network for semantic segmentation, BMVC 2018.

use tch::Tensor;

use super::Decoder;
use crate::models::layers::{ConvNormRelu, ConvOptions, Corners, bilinear, bilinear_to};
use crate::models::{ModelError, Path};

const CHANNELS: i64 = 32;

/// A convolution with bias (`conv`), a norm (`bn`) and ReLU.
fn layer(path: &Path, input: i64, output: i64, kernel: i64) -> Result<ConvNormRelu, ModelError> {
    let options = ConvOptions::default().padding(kernel / 2);
    ConvNormRelu::named(path, ["conv", "bn"], input, output, kernel, options)
}

/// Pyramid attention on the deepest feature, then a gated step for each finer feature down to stride 4.
pub struct Pan {
    attention: PyramidAttention,
    /// Deepest first.
    gates: Vec<Gate>,
}

impl Pan {
    /// Builds the decoder for features with these `channels` at strides 1, 2, 4, …
    pub fn new(path: &Path, channels: &[i64]) -> Result<Self, ModelError> {
        let channels = &channels[2..];
        let attention = PyramidAttention::new(&(path / "fpa"), channels[channels.len() - 1])?;
        let mut gates = Vec::new();
        for index in (0..channels.len() - 1).rev() {
            gates.push(Gate::new(&(path / format!("gau{}", index + 1)), channels[index])?);
        }
        Ok(Pan { attention, gates })
    }
}

impl Decoder for Pan {
    fn channels(&self) -> i64 {
        CHANNELS
    }

    fn forward(&self, features: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let mut deepest_first = features[2..].iter().rev();
        let deepest = deepest_first.next().expect("an encoder gives features");
        let mut x = self.attention.forward(deepest, train)?; // [B, 32, H/16, W/16] or H/32, W/32
        for (gate, feature) in self.gates.iter().zip(deepest_first) {
            x = gate.forward(feature, &x, train)?; // [B, 32, H/16 .. H/4, ..]
        }
        Ok(x)
    }
}

/// Multiplies each pixel by a weight from a small pyramid of single-channel maps, and adds the projected mean of the
/// image.
struct PyramidAttention {
    global: ConvNormRelu,
    middle: ConvNormRelu,
    down: [ConvNormRelu; 4],
    across: [ConvNormRelu; 2],
}

impl PyramidAttention {
    fn new(path: &Path, input: i64) -> Result<Self, ModelError> {
        Ok(PyramidAttention {
            global: layer(&(path / "branch1" / 1), input, CHANNELS, 1)?,
            middle: layer(&(path / "mid" / 0), input, CHANNELS, 1)?,
            down: [
                layer(&(path / "down1" / 1), input, 1, 7)?,
                layer(&(path / "down2" / 1), 1, 1, 5)?,
                layer(&(path / "down3" / 1), 1, 1, 3)?,
                layer(&(path / "down3" / 2), 1, 1, 3)?,
            ],
            across: [layer(&(path / "conv2"), 1, 1, 5)?, layer(&(path / "conv1"), 1, 1, 7)?],
        })
    }

    /// `[B, input, h, w]` to `[B, 32, h, w]`.
    fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let size = x.size();
        let (height, width) = (size[2], size[3]);
        let halve = |x: &Tensor| x.f_max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        let global = self.global.forward(&x.f_adaptive_avg_pool2d([1, 1])?, train)?; // [B, 32, 1, 1]
        let middle = self.middle.forward(x, train)?; // [B, 32, h, w]
        let half = self.down[0].forward(&halve(x)?, train)?; // [B, 1, h/2, w/2]
        let quarter = self.down[1].forward(&halve(&half)?, train)?; // [B, 1, h/4, w/4]
        let eighth = self.down[2].forward(&halve(&quarter)?, train)?; // [B, 1, h/8, w/8]
        let eighth = self.down[3].forward(&eighth, train)?;
        let up = bilinear(&eighth, height / 4, width / 4, Corners::Aligned)?
            .f_add(&self.across[0].forward(&quarter, train)?)?;
        let up =
            bilinear(&up, height / 2, width / 2, Corners::Aligned)?.f_add(&self.across[1].forward(&half, train)?)?;
        let weight = bilinear(&up, height, width, Corners::Aligned)?; // [B, 1, h, w]
        Ok(middle.f_mul(&weight)?.f_add(&global)?)
    }
}

/// Fine features whose channels are weighted by the deep ones, plus the enlarged deep features.
struct Gate {
    weigh: ConvNormRelu,
    fine: ConvNormRelu,
}

impl Gate {
    fn new(path: &Path, input: i64) -> Result<Self, ModelError> {
        Ok(Gate {
            weigh: layer(&(path / "conv1" / 1), CHANNELS, CHANNELS, 1)?,
            fine: layer(&(path / "conv2"), input, CHANNELS, 3)?,
        })
    }

    /// `fine`, `[B, input, h, w]`, and the same or smaller `deep`, `[B, 32, ..]`, to `[B, 32, h, w]`.
    fn forward(&self, fine: &Tensor, deep: &Tensor, train: bool) -> Result<Tensor, ModelError> {
        let up = bilinear_to(deep, fine, Corners::Aligned)?; // [B, 32, h, w]
        let fine = self.fine.forward(fine, train)?; // [B, 32, h, w]
        // [B, 32, 1, 1]
        let weight = self.weigh.forward_linear(&deep.f_adaptive_avg_pool2d([1, 1])?, train)?.f_sigmoid()?;
        Ok(fine.f_mul(&weight)?.f_add_(&up)?)
    }
}
