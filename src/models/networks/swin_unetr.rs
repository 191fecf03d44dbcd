//! Swin UNETR in two dimensions: a U-Net of residual blocks whose encoder is a Swin transformer with patches of 2 x 2
//! pixels. Names and results are those of MONAI's `SwinUNETR(spatial_dims=2)`.
//! A. Hatamizadeh et al., Swin UNETR: Swin transformers for semantic segmentation of brain tumors in MRI images,
//! BrainLes 2021.

use tch::Tensor;

use crate::models::assembly::Network;
use crate::models::layers::{
    Conv2d, ConvOptions, ConvTranspose2d, Masks, PatchMerging, SwinBlock, SwinBlockOptions, SwinStyle, dropout,
    instance_norm, note_features,
};
use crate::models::{Input, ModelConfig, ModelError, Output, Path};

/// Channels of the first stage if the configuration does not set them.
pub const FEATURE_SIZE: i64 = 24;
const PATCH: i64 = 2;
const STAGES: i64 = 4;
const BLOCKS: i64 = 2;
/// Attention heads of the first stage; each next stage has twice as many.
const HEADS: i64 = 3;
const EPS: f64 = 1e-5;

/// The network. Its norms use each image alone, so it can be trained with a batch of one.
pub struct SwinUnetr {
    project: Conv2d,
    stages: Vec<Stage>,
    masks: Masks,
    /// Blocks on the image and on the features at strides 2, 4 and 8; the feature at stride 16 is used unchanged.
    skips: Vec<Residual>,
    /// The block on the feature at stride 32.
    bottom: Residual,
    /// Deepest first.
    ups: Vec<Up>,
    classify: Conv2d,
    dropout: f64,
    channels: Vec<i64>,
}

struct Stage {
    blocks: Vec<SwinBlock>,
    merging: PatchMerging,
}

impl SwinUnetr {
    /// Builds the network of `config` at `root`.
    pub fn new(root: &Path, config: &ModelConfig) -> Result<Self, ModelError> {
        let width = config.feature_size.unwrap_or(FEATURE_SIZE);
        let transformer = root / "swinViT";
        let patches = ConvOptions::default().stride(PATCH);
        let project = Conv2d::new(&(&transformer / "patch_embed" / "proj"), config.in_channels, width, PATCH, patches)?;
        let dropout = config.dropout.unwrap_or(0.0);
        let mut stages = Vec::new();
        for stage in 0..STAGES {
            let place = &transformer / format!("layers{}", stage + 1) / 0;
            let mut blocks = Vec::new();
            for block in 0..BLOCKS {
                let place_in_all = (stage * BLOCKS + block) as f64 / (STAGES * BLOCKS - 1) as f64;
                let options = SwinBlockOptions {
                    width: width << stage,
                    heads: HEADS << stage,
                    last_stage: stage + 1 == STAGES,
                    shifted: block % 2 == 1,
                    drop_path: config.drop_path.unwrap_or(0.0) * place_in_all,
                    dropout,
                    style: SwinStyle::Monai,
                };
                blocks.push(SwinBlock::new(&(&place / "blocks" / block), options)?);
            }
            let merging = PatchMerging::new(&(&place / "downsample"), width << stage, SwinStyle::Monai)?;
            stages.push(Stage { blocks, merging });
        }
        let mut channels = vec![config.in_channels];
        channels.extend((0..=STAGES).map(|stage| width << stage));
        let mut skips = vec![Residual::new(&(root / "encoder1" / "layer"), config.in_channels, width)?];
        for (index, skip) in channels[1..4].iter().enumerate() {
            skips.push(Residual::new(&(root / format!("encoder{}", index + 2) / "layer"), *skip, *skip)?);
        }
        let bottom = Residual::new(&(root / "encoder10" / "layer"), channels[5], channels[5])?;
        let mut ups = Vec::new();
        for index in (1..=STAGES).rev() {
            let path = root / format!("decoder{}", index + 1);
            ups.push(Up::new(&path, channels[index as usize + 1], channels[index as usize])?);
        }
        ups.push(Up::new(&(root / "decoder1"), width, width)?);
        let classify =
            Conv2d::new(&(root / "out" / "conv" / "conv"), width, config.classes, 1, ConvOptions::default())?;
        Ok(SwinUnetr { project, stages, masks: Masks::default(), skips, bottom, ups, classify, dropout, channels })
    }

    /// Features at strides 2 to 32, normalised over their channels: `[B, C .. 16 C, H/2 .. H/32, ..]`.
    fn features(&self, images: &Tensor, train: bool) -> Result<Vec<Tensor>, ModelError> {
        let x = dropout(self.project.forward(images)?, self.dropout, train)?; // [B, C, H/2, W/2]
        let mut x = x.f_permute([0, 2, 3, 1])?.f_contiguous()?; // [B, H/2, W/2, C]
        let mut features = vec![normed_map(&x)?];
        for stage in &self.stages {
            for block in &stage.blocks {
                x = block.forward(&x, &self.masks, train)?;
            }
            x = stage.merging.forward(&x)?; // [B, H/4 .. H/32, .., 2 C .. 16 C]
            features.push(normed_map(&x)?);
        }
        Ok(features)
    }
}

impl Network for SwinUnetr {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    fn stride(&self) -> i64 {
        1 << (self.channels.len() - 1)
    }

    fn forward(&self, input: &Input, train: bool) -> Result<Output, ModelError> {
        let mut features = self.features(input.images, train)?;
        note_features(&features);
        let mut x = features.pop().expect("there is a feature at every stride");
        x = self.bottom.forward(&x)?; // [B, 16 C, H/32, W/32]
        features.insert(0, input.images.shallow_clone());
        for (stage, up) in (0..features.len()).rev().zip(&self.ups) {
            let skip = match self.skips.get(stage) {
                Some(block) => block.forward(&features[stage])?,
                None => features[stage].shallow_clone(),
            };
            x = up.forward(&x, &skip)?; // [B, 8 C .. C, H/16 .. H, ..]
        }
        Ok(Output::of(self.classify.forward(&x)?)) // [B, classes, H, W]
    }
}

/// Normalises each position of `[B, H, W, C]` to mean 0 and variance 1 over its channels: `[B, C, H, W]`.
fn normed_map(x: &Tensor) -> Result<Tensor, ModelError> {
    let channels = x.size()[3];
    let normed = x.f_layer_norm([channels], None::<&Tensor>, None, EPS, true)?;
    Ok(normed.f_permute([0, 3, 1, 2])?.f_contiguous()?)
}

/// A residual block: two 3x3 convolutions with instance norms; a 1x1 convolution in the shortcut if the channels
/// differ.
struct Residual {
    first: Conv2d,
    second: Conv2d,
    shortcut: Option<Conv2d>,
}

impl Residual {
    fn new(path: &Path, input: i64, output: i64) -> Result<Self, ModelError> {
        let convolution = |name: &str, input, kernel: i64| {
            let options = ConvOptions::without_bias().padding(kernel / 2);
            Conv2d::new(&(path / name / "conv"), input, output, kernel, options)
        };
        Ok(Residual {
            first: convolution("conv1", input, 3)?,
            second: convolution("conv2", output, 3)?,
            shortcut: (input != output).then(|| convolution("conv3", input, 1)).transpose()?,
        })
    }

    /// `[B, input, H, W]` to `[B, output, H, W]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let inner = instance_norm(&self.first.forward(x)?)?.f_leaky_relu_()?;
        let mut y = instance_norm(&self.second.forward(&inner)?)?;
        y = match &self.shortcut {
            Some(shortcut) => y.f_add_(&instance_norm(&shortcut.forward(x)?)?)?,
            None => y.f_add_(x)?,
        };
        Ok(y.f_leaky_relu_()?)
    }
}

/// A step of the decoder: doubles the size, concatenates the skip connection, applies a residual block.
struct Up {
    enlarge: ConvTranspose2d,
    mix: Residual,
}

impl Up {
    fn new(path: &Path, input: i64, output: i64) -> Result<Self, ModelError> {
        Ok(Up {
            enlarge: ConvTranspose2d::doubling(&(path / "transp_conv" / "conv"), input, output)?,
            mix: Residual::new(&(path / "conv_block"), 2 * output, output)?,
        })
    }

    /// `[B, input, H, W]` and the skip `[B, output, 2 H, 2 W]` to `[B, output, 2 H, 2 W]`.
    fn forward(&self, x: &Tensor, skip: &Tensor) -> Result<Tensor, ModelError> {
        self.mix.forward(&Tensor::f_cat(&[self.enlarge.forward(x)?, skip.shallow_clone()], 1)?)
    }
}
