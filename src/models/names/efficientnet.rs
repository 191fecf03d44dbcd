//! Names of EfficientNet's tensors. SMP numbers the blocks of the whole network; timm (`tf_efficientnet_b*`) and
//! torchvision (`efficientnet_b*`) number them within stages. Each library has its own names of layers.

use super::super::encoders::efficientnet_repeats;
use crate::models::EncoderKind;

/// The stage of the block `index`, and its index in that stage.
fn place(encoder: EncoderKind, mut index: usize) -> Option<(usize, usize)> {
    for (stage, repeats) in efficientnet_repeats(encoder).into_iter().enumerate() {
        if index < repeats {
            return Some((stage, index));
        }
        index -= repeats;
    }
    None
}

/// The parts of a name: index of the block (`None` outside the blocks), layer, tensor.
fn parts(inside: &str) -> Option<(Option<usize>, &str, &str)> {
    let (layer, tensor) = inside.rsplit_once('.')?;
    match layer.strip_prefix("_blocks.") {
        Some(rest) => {
            let (index, layer) = rest.split_once('.')?;
            Some((Some(index.parse().ok()?), layer, tensor))
        }
        None => Some((None, layer, tensor)),
    }
}

/// timm's name of the tensor `inside` of SMP's encoder.
pub fn timm(encoder: EncoderKind, inside: &str) -> Option<String> {
    let (block, layer, tensor) = parts(inside)?;
    let Some(index) = block else {
        let layer = match layer {
            "_conv_stem" => "conv_stem",
            "_bn0" => "bn1",
            "_conv_head" => "conv_head",
            "_bn1" => "bn2",
            _ => return None,
        };
        return Some(format!("{layer}.{tensor}"));
    };
    let (stage, block) = place(encoder, index)?;
    // Blocks of the first stage have no expansion: one convolution and norm fewer, and another name of the last
    // convolution.
    let layer = match (layer, stage) {
        ("_expand_conv", _) => "conv_pw",
        ("_bn0", _) => "bn1",
        ("_depthwise_conv", _) => "conv_dw",
        ("_bn1", 0) => "bn1",
        ("_bn1", _) => "bn2",
        ("_se_reduce", _) => "se.conv_reduce",
        ("_se_expand", _) => "se.conv_expand",
        ("_project_conv", 0) => "conv_pw",
        ("_project_conv", _) => "conv_pwl",
        ("_bn2", 0) => "bn2",
        ("_bn2", _) => "bn3",
        _ => return None,
    };
    Some(format!("blocks.{stage}.{block}.{layer}.{tensor}"))
}

/// torchvision's name of the tensor `inside` of SMP's encoder.
pub fn torchvision(encoder: EncoderKind, inside: &str) -> Option<String> {
    let (block, layer, tensor) = parts(inside)?;
    let Some(index) = block else {
        let layer = match layer {
            "_conv_stem" => "0.0",
            "_bn0" => "0.1",
            "_conv_head" => "8.0",
            "_bn1" => "8.1",
            _ => return None,
        };
        return Some(format!("features.{layer}.{tensor}"));
    };
    let (stage, block) = place(encoder, index)?;
    let shift = usize::from(stage > 0);
    let layer = match layer {
        "_expand_conv" => "0.0".to_owned(),
        "_bn0" => "0.1".to_owned(),
        "_depthwise_conv" => format!("{shift}.0"),
        "_bn1" => format!("{shift}.1"),
        "_se_reduce" => format!("{}.fc1", shift + 1),
        "_se_expand" => format!("{}.fc2", shift + 1),
        "_project_conv" => format!("{}.0", shift + 2),
        "_bn2" => format!("{}.1", shift + 2),
        _ => return None,
    };
    Some(format!("features.{}.{block}.block.{layer}.{tensor}", stage + 1))
}
