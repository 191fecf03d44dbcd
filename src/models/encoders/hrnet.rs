//! HRNet: parallel branches at strides 4, 8, 16 and 32, which exchange information after each module.
//! J. Wang et al., Deep high-resolution representation learning for visual recognition, TPAMI 2020.

use tch::Tensor;

use super::residual::{ResidualBlock, ResidualKind, ResidualShape};
use super::{Encoder, stage};
use crate::models::layers::{ConvNormRelu, ConvOptions, Corners, Scheme, bilinear_to, nearest_by};
use crate::models::{Architecture, DecoderKind, EncoderKind, ModelConfig, ModelError, Path, Segments};

/// Channels of both strided convolutions at the start.
const STEM: i64 = 64;
/// Bottlenecks of the first stage, and basic blocks of a branch in a module.
const BLOCKS: usize = 4;
/// Modules of the stages with 2, 3 and 4 branches.
const MODULES: [usize; 3] = [1, 4, 3];
/// Inner channels of the bottlenecks that widen the branches into features; each outputs four times as many.
const WIDENED: [i64; 4] = [32, 64, 128, 256];
const EXPANSION: i64 = 4;
const STRIDE: i64 = 32;

/// Channels of the branches, finest first.
fn widths(kind: EncoderKind) -> [i64; 4] {
    let finest = match kind {
        EncoderKind::HrNetW48 => 48,
        EncoderKind::HrNetW32 => 32,
        _ => 18,
    };
    [1, 2, 4, 8].map(|factor| factor * finest)
}

/// Whether the features are the branches themselves, not widened.
fn reads_branches(config: &ModelConfig) -> bool {
    matches!(config.architecture, Architecture::Decoder(DecoderKind::HrNetOcr | DecoderKind::HrNetOcrMmseg))
}

/// See [`super::stages`]. Every feature except the first depends on all branches, so the stages are those of the
/// network: the branch at stride `2^N` begins in stage N.
pub fn stages(config: &ModelConfig) -> Vec<Vec<String>> {
    let mut stages = vec![Vec::new(), stage(["conv1.", "bn1."]), stage(["conv2.", "bn2.", "layer1."])];
    let branched = (1..=MODULES.len()).map(|index| vec![format!("transition{index}."), format!("stage{}.", index + 1)]);
    stages.extend(branched);
    if !reads_branches(config) {
        stages[5].push("incre_modules.".into());
    }
    stages
}

/// The backbone (timm's `HighResolutionNet`) with the names of SMP's universal encoder. Features are the output of the
/// first convolution, at stride 2, and the widened branches; hrnet-ocr and hrnet-ocr-mmseg read the branches themselves. In
/// hrnet-ocr-mmseg (mmsegmentation's `HRNet`), a fusion enlarges the coarser branches by bilinear interpolation instead
/// of repeating pixels.
pub struct HrNet {
    stem: [ConvNormRelu; 2],
    first: Vec<ResidualBlock>,
    stages: Vec<Stage>,
    widen: Option<Vec<ResidualBlock>>,
    channels: Vec<i64>,
    depth: usize,
}

impl HrNet {
    /// Builds the backbone `kind` with `config.depth` features in use.
    pub fn new(path: &Path, kind: EncoderKind, config: &ModelConfig) -> Result<Self, ModelError> {
        let path = path.with_scheme(Scheme::HeFanOut) / "model";
        let halving = ConvOptions::without_bias().stride(2).padding(1);
        let stem = [
            ConvNormRelu::named(&path, ["conv1", "bn1"], config.in_channels, STEM, 3, halving)?,
            ConvNormRelu::named(&path, ["conv2", "bn2"], STEM, STEM, 3, halving)?,
        ];
        let mut before = vec![EXPANSION * STEM];
        let mut first = Vec::new();
        for block in 0..BLOCKS {
            let input = if block == 0 { STEM } else { before[0] };
            first.push(ResidualBlock::new(
                &(&path / "layer1" / block),
                ResidualKind::Bottleneck,
                &keeping_size(input, STEM, before[0]),
            )?);
        }
        let mut stages = Vec::new();
        for (index, modules) in MODULES.into_iter().enumerate() {
            let widths = &widths(kind)[..index + 2];
            let transition = transition(&(&path / format!("transition{}", index + 1)), &before, widths)?;
            let place = &path / format!("stage{}", index + 2);
            let smooth = config.architecture.follows_mmseg();
            let modules = (0..modules).map(|module| Module::new(&(&place / module), widths, smooth));
            stages.push(Stage { transition, modules: modules.collect::<Result<_, _>>()? });
            before = widths.to_vec();
        }
        let reads_branches = reads_branches(config);
        let widen = (!reads_branches).then(|| {
            let blocks = before.iter().zip(WIDENED).enumerate().map(|(index, (input, inner))| {
                let place = &path / "incre_modules" / index / 0;
                ResidualBlock::new(&place, ResidualKind::Bottleneck, &keeping_size(*input, inner, EXPANSION * inner))
            });
            blocks.collect::<Result<_, _>>()
        });
        let mut channels = vec![config.in_channels, STEM];
        channels.extend(if reads_branches { widths(kind) } else { WIDENED.map(|inner| EXPANSION * inner) });
        let depth = config.depth() as usize;
        channels.truncate(depth + 1);
        Ok(HrNet { stem, first, stages, widen: widen.transpose()?, channels, depth })
    }
}

impl Encoder for HrNet {
    fn channels(&self) -> &[i64] {
        &self.channels
    }

    /// The stride of the coarsest branch, which is needed at any depth.
    fn stride(&self) -> i64 {
        STRIDE
    }

    fn forward_in<'a>(
        &'a self,
        x: &Tensor,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let fine = segments.run(x, move |x| self.stem[0].forward(x, train))?; // [B, 64, H/2, W/2]
        let mut features = vec![x.shallow_clone(), fine.shallow_clone()];
        let mut x = segments.run(&fine, move |x| self.stem[1].forward(x, train))?; // [B, 64, H/4, W/4]
        for block in &self.first {
            x = segments.run(&x, move |x| block.forward(x, train))?; // [B, 256, H/4, W/4]
        }
        let mut branches = vec![x];
        for (index, stage) in self.stages.iter().enumerate() {
            // In the last stage, only the branches that are features are computed.
            let wanted = if index + 1 == self.stages.len() { self.depth - 1 } else { index + 2 };
            branches = stage.forward(branches, wanted, train, segments)?; // [B, C, H/4, W/4], [B, 2 C, H/8, W/8], ..
        }
        match &self.widen {
            Some(widen) => {
                for (branch, block) in branches.into_iter().zip(widen) {
                    features.push(segments.run(&branch, move |x| block.forward(x, train))?); // [B, 128 .. 1024, H/4 .. H/32, ..]
                }
            }
            None => features.extend(branches),
        }
        Ok(features)
    }
}

/// The shape of a residual block that keeps the size.
fn keeping_size(input: i64, inner: i64, output: i64) -> ResidualShape {
    ResidualShape { input, inner, output, stride: 1, dilation: None, groups: 1 }
}

/// The layers between the branches of one stage and those of the next, which has one more: a convolution if the
/// channels change, and a strided one from the coarsest branch to the new branch.
fn transition(path: &Path, before: &[i64], after: &[i64]) -> Result<Vec<Option<ConvNormRelu>>, ModelError> {
    let same = ConvOptions::without_bias().padding(1);
    let steps = after.iter().enumerate().map(|(index, width)| match before.get(index) {
        Some(input) if input == width => Ok(None),
        Some(input) => ConvNormRelu::with(&(path / index), *input, *width, 3, same).map(Some),
        None => {
            let coarsest = before[before.len() - 1];
            ConvNormRelu::with(&(path / index / 0), coarsest, *width, 3, same.stride(2)).map(Some)
        }
    });
    steps.collect()
}

struct Stage {
    /// The layer before each branch; `None` if the branch continues unchanged.
    transition: Vec<Option<ConvNormRelu>>,
    modules: Vec<Module>,
}

impl Stage {
    fn enter(&self, before: &[Tensor], train: bool) -> Result<Vec<Tensor>, ModelError> {
        let enter = |(index, step): (usize, &Option<ConvNormRelu>)| {
            let source = &before[index.min(before.len() - 1)];
            match step {
                Some(layer) => layer.forward(source, train),
                None => Ok(source.shallow_clone()),
            }
        };
        self.transition.iter().enumerate().map(enter).collect()
    }

    /// The `wanted` finest branches after all modules of the stage.
    fn forward<'a>(
        &'a self,
        before: Vec<Tensor>,
        wanted: usize,
        train: bool,
        segments: &mut Segments<'a>,
    ) -> Result<Vec<Tensor>, ModelError> {
        let mut branches = segments.run_all(&before, move |before| self.enter(before, train))?;
        for (index, module) in self.modules.iter().enumerate() {
            let wanted = if index + 1 == self.modules.len() { wanted } else { branches.len() };
            branches = segments.run_all(&branches, move |branches| module.forward(branches, wanted, train))?;
        }
        Ok(branches)
    }
}

/// Blocks on each branch, then a fusion: each branch becomes a sum over all branches.
struct Module {
    branches: Vec<Vec<ResidualBlock>>,
    fusions: Vec<Fusion>,
}

impl Module {
    fn new(path: &Path, widths: &[i64], smooth: bool) -> Result<Self, ModelError> {
        let mut branches = Vec::new();
        for (index, width) in widths.iter().copied().enumerate() {
            let place = path / "branches" / index;
            let blocks = (0..BLOCKS).map(|block| {
                ResidualBlock::new(&(&place / block), ResidualKind::Basic, &keeping_size(width, width, width))
            });
            branches.push(blocks.collect::<Result<Vec<_>, _>>()?);
        }
        let fusions = (0..widths.len()).map(|own| Fusion::new(&(path / "fuse_layers" / own), widths, own, smooth));
        Ok(Module { branches, fusions: fusions.collect::<Result<_, _>>()? })
    }

    fn forward(&self, branches: &[Tensor], wanted: usize, train: bool) -> Result<Vec<Tensor>, ModelError> {
        let outputs = branches.iter().zip(&self.branches);
        let through = |(x, blocks): (&Tensor, &Vec<ResidualBlock>)| {
            blocks.iter().try_fold(x.shallow_clone(), |x, block| block.forward(&x, train))
        };
        let outputs = outputs.map(through);
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        self.fusions[..wanted].iter().map(|fusion| fusion.forward(&outputs, train)).collect()
    }
}

/// Converts all branches to the channels and size of one branch and adds them.
struct Fusion {
    /// For each finer branch, finest first: one strided convolution per halving, the last without ReLU.
    down: Vec<Vec<ConvNormRelu>>,
    /// For each coarser branch, finest first: a 1x1 convolution.
    up: Vec<ConvNormRelu>,
    /// Whether coarser branches are enlarged by bilinear interpolation instead of repeating pixels.
    smooth: bool,
}

impl Fusion {
    fn new(path: &Path, widths: &[i64], own: usize, smooth: bool) -> Result<Self, ModelError> {
        let halving = ConvOptions::without_bias().stride(2).padding(1);
        let mut down = Vec::new();
        for (index, width) in widths[..own].iter().copied().enumerate() {
            let place = path / index;
            let halvings = own - index;
            let steps = (0..halvings).map(|step| {
                let output = if step + 1 == halvings { widths[own] } else { width };
                ConvNormRelu::with(&(&place / step), width, output, 3, halving)
            });
            down.push(steps.collect::<Result<Vec<_>, _>>()?);
        }
        let coarser = widths.iter().copied().enumerate().skip(own + 1);
        let up = coarser.map(|(index, width)| ConvNormRelu::new(&(path / index), width, widths[own], 1));
        Ok(Fusion { down, up: up.collect::<Result<_, _>>()?, smooth })
    }

    /// All sums are in place: the gradients of norms and interpolation do not need their results.
    fn forward(&self, branches: &[Tensor], train: bool) -> Result<Tensor, ModelError> {
        let own = self.down.len();
        let mut sum: Option<Tensor> = None;
        let coarser = self.up.iter().zip(&branches[own + 1..]);
        if self.smooth {
            for (layer, branch) in coarser.clone() {
                let x = bilinear_to(&layer.forward_linear(branch, train)?, &branches[own], Corners::AtEdges)?;
                sum = Some(added(x, sum.as_ref())?);
            }
        }
        // Repeating pixels 4 times equals repeating them twice, two times. So the sum starts with the coarsest branch
        // and is enlarged by 2 in each step.
        for (layer, branch) in coarser.rev().filter(|_| !self.smooth) {
            let x = added(layer.forward_linear(branch, train)?, sum.as_ref())?;
            sum = Some(nearest_by(&x, 2)?);
        }
        let mut sum = sum.map(|x| added(x, Some(&branches[own]))).transpose()?;
        for (steps, branch) in self.down.iter().zip(branches) {
            let (last, strided) = steps.split_last().expect("a finer branch is halved at least once");
            let x = strided.iter().try_fold(branch.shallow_clone(), |x, step| step.forward(&x, train))?;
            let x = last.forward_linear(&x, train)?;
            sum = Some(match sum {
                Some(sum) => added(sum, Some(&x))?,
                // The coarsest branch is needed for its own gradient, so it is added to another tensor and not changed.
                None => added(x, Some(&branches[own]))?,
            });
        }
        Ok(sum.expect("a fusion has two branches at least").f_relu_()?)
    }
}

/// `x` with `other` added to it in place.
fn added(mut x: Tensor, other: Option<&Tensor>) -> Result<Tensor, ModelError> {
    if let Some(other) = other {
        x = x.f_add_(other)?;
    }
    Ok(x)
}
