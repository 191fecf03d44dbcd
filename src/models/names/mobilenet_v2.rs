//! Names of MobileNetV2's tensors. SMP has torchvision's names, with one sequence of layers; timm (`mobilenetv2_100`)
//! numbers the blocks within stages.

use super::super::encoders::MOBILENET_V2_REPEATS;

/// timm's name of `features.{layer}.…`.
pub fn timm(inside: &str) -> Option<String> {
    let (layer, rest) = inside.strip_prefix("features.")?.split_once('.')?;
    let mut index: usize = layer.parse().ok()?;
    let (step, tensor) = rest.rsplit_once('.')?;
    let last = MOBILENET_V2_REPEATS.iter().sum::<usize>() + 1;
    if index == 0 || index == last {
        let layer = match (index, step) {
            (0, "0") => "conv_stem",
            (0, "1") => "bn1",
            (_, "0") => "conv_head",
            (_, "1") => "bn2",
            _ => return None,
        };
        return Some(format!("{layer}.{tensor}"));
    }
    index -= 1;
    let mut stage = 0;
    while index >= MOBILENET_V2_REPEATS[stage] {
        index -= MOBILENET_V2_REPEATS[stage];
        stage += 1;
    }
    // The first block has no expansion.
    let layer = match (step.strip_prefix("conv.")?, stage) {
        ("0.0", 0) => "conv_dw",
        ("0.1", 0) => "bn1",
        ("1", 0) => "conv_pw",
        ("2", 0) => "bn2",
        ("0.0", _) => "conv_pw",
        ("0.1", _) => "bn1",
        ("1.0", _) => "conv_dw",
        ("1.1", _) => "bn2",
        ("2", _) => "conv_pwl",
        ("3", _) => "bn3",
        _ => return None,
    };
    Some(format!("blocks.{stage}.{index}.{layer}.{tensor}"))
}
