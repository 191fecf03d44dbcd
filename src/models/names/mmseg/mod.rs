//! The names of tensors in mmsegmentation's checkpoints (release 1, and release 0 where its names are the same) of three
//! models: SegFormer (`segformer-mmseg`), UPerNet with Swin, ConvNeXt or ConvNeXtV2 (`upernet-transformers`, which
//! computes the same) and OCRNet with HRNet (`hrnet-ocr-mmseg`).

use std::collections::{BTreeMap, BTreeSet};

use tch::{Device, TchError, Tensor};

use super::{NamesError, WeightsSource};
use crate::models::{Architecture, DecoderKind, EncoderKind, Family, Model, ModelConfig, ModelOutline};

mod detect;
mod settings;

pub use detect::detect;
pub use settings::check_settings;

use detect::HEADS;

/// Prefix of the auxiliary head in mmsegmentation.
const AUXILIARY: &str = "auxiliary_head.";

/// Weights under carpus's names, and what did not fit.
pub(super) struct Converted {
    pub tensors: BTreeMap<String, Tensor>,
    pub left_out: Vec<String>,
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
    /// Tensors of the model that the file cannot have, with new random values.
    pub fresh: Vec<String>,
}

/// A tensor of mmsegmentation, of which a tensor of carpus is made.
struct Place {
    theirs: String,
    part: Part,
}

impl Place {
    fn whole(theirs: String) -> Self {
        Place { theirs, part: Part::Whole }
    }
}

/// How a tensor of carpus is made of one of mmsegmentation.
#[derive(Clone, Copy)]
enum Part {
    Whole,
    /// The weight of a linear layer, which mmsegmentation may store as a 1x1 convolution.
    Linear,
    /// Some of three equal groups of rows: queries, keys, values.
    Rows {
        first: i64,
        count: i64,
    },
    /// The last dimension has the channels of 2 x 2 neighbours. mmsegmentation has the four neighbours of a channel
    /// together, row by row; carpus has the channels of a neighbour together, column by column.
    Neighbours,
    /// The weight of a convolution of four concatenated levels, in mmsegmentation the finest first, in carpus the
    /// coarsest.
    Levels,
}

impl Part {
    fn of(self, tensor: &Tensor) -> Result<Tensor, TchError> {
        let size = tensor.size();
        match (self, &size[..]) {
            (Part::Linear, [_, _, 1, 1]) => tensor.f_flatten(1, -1),
            (Part::Rows { first, count }, [rows, ..]) => {
                let group = rows / 3;
                tensor.f_narrow(0, first * group, count * group)
            }
            (Part::Neighbours, [outer @ .., inner]) => {
                let outer: i64 = outer.iter().product();
                let split = tensor.f_reshape([outer, inner / 4, 2, 2])?; // [.., C, row, column]
                split.f_permute([0, 3, 2, 1])?.f_reshape(&size)
            }
            (Part::Levels, [rows, ..]) => tensor.f_reshape([*rows, 4, -1])?.f_flip([1])?.f_reshape(&size),
            _ => Ok(tensor.shallow_clone()),
        }
    }
}

/// Converts weights with mmsegmentation's names to those of the model `config`.
///
/// # Errors
/// [`NamesError::Unrecognised`] and [`NamesError::OtherModel`]: the weights are of another model;
/// [`NamesError::NoCounterpart`]: mmsegmentation has no such model; [`NamesError::Tensor`].
pub(super) fn to_carpus(config: &ModelConfig, tensors: BTreeMap<String, Tensor>) -> Result<Converted, NamesError> {
    let places = places(config)?;
    let detected = detect(&tensors)?;
    if (detected.architecture, detected.encoder) != (config.architecture, config.backbone()) {
        return Err(NamesError::OtherModel { found: detected.describe(), model: config.describe() });
    }
    let keeps_auxiliary = auxiliary_fits(config, &tensors)?;
    let mut renamed = BTreeMap::new();
    let (mut used, mut missing, mut absent) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for (ours, _, Place { theirs, part }) in places {
        let is_auxiliary = theirs.starts_with(AUXILIARY);
        if is_auxiliary && !keeps_auxiliary && !config.auxiliary {
            absent.push(ours);
            continue;
        }
        let Some(tensor) = tensors.get(&theirs) else {
            missing.insert(theirs);
            continue;
        };
        match part.of(tensor) {
            Ok(tensor) => drop(renamed.insert(ours, tensor)),
            Err(source) => return Err(NamesError::Tensor { name: theirs, source }),
        }
        used.insert(theirs);
    }
    if !absent.is_empty() && missing.is_empty() {
        let classes = classes(&tensors).unwrap_or(config.classes);
        let start = Model::new(&ModelConfig { classes, ..config.clone() }, Device::Cpu)?;
        let start = start.state().into_iter().filter(|(name, _)| absent.contains(name));
        renamed.extend(start.map(|(name, tensor)| (name, tensor.detach())));
    }
    let has_no_place = |name: &String| {
        let is_dropped_head = name.starts_with(AUXILIARY) && !keeps_auxiliary;
        is_dropped_head || name.ends_with(".relative_position_index") || name.contains(".loss_decode.")
    };
    let rest = tensors.into_keys().filter(|name| !used.contains(name));
    let (left_out, unexpected) = rest.partition(has_no_place);
    let missing = missing.into_iter().collect();
    Ok(Converted { tensors: renamed, left_out, missing, unexpected, fresh: absent })
}

/// Number of classes of the head.
fn classes(tensors: &BTreeMap<String, Tensor>) -> Option<i64> {
    let heads = ["decode_head.conv_seg.weight", "decode_head.1.conv_seg.weight"];
    heads.iter().find_map(|name| tensors.get(*name)?.size().first().copied())
}

/// Whether the auxiliary head of `tensors` has the layers, the input and the classes of that of `config`.
fn auxiliary_fits(config: &ModelConfig, tensors: &BTreeMap<String, Tensor>) -> Result<bool, NamesError> {
    let config = ModelConfig { classes: classes(tensors).unwrap_or(config.classes), ..config.clone() };
    let expected = places(&config)?.into_iter().filter(|(_, _, place)| place.theirs.starts_with(AUXILIARY));
    let expected: BTreeMap<String, Vec<i64>> = expected.map(|(_, shape, place)| (place.theirs, shape)).collect();
    let given = tensors.iter().filter(|(name, _)| name.starts_with(AUXILIARY) && !name.contains(".loss_decode."));
    let given: BTreeMap<String, Vec<i64>> = given.map(|(name, tensor)| (name.clone(), tensor.size())).collect();
    Ok(!expected.is_empty() && expected == given)
}

/// Each tensor of the model `config`: its name, its shape and its place in mmsegmentation.
fn places(config: &ModelConfig) -> Result<Vec<(String, Vec<i64>, Place)>, NamesError> {
    let none = || NamesError::NoCounterpart { source_name: WeightsSource::Mmseg, model: config.describe() };
    let decoder = match config.architecture {
        Architecture::Decoder(decoder) if HEADS.iter().any(|head| head.3 == decoder) => decoder,
        _ => return Err(none()),
    };
    let family = config.backbone().map(EncoderKind::family);
    let place = |ours: &str| {
        let parts: Vec<&str> = ours.split('.').collect();
        match (&parts[..], family?, decoder) {
            (["encoder", "model", rest @ ..], Family::Swin, _) => swin(rest),
            (["encoder", "model", rest @ ..], Family::ConvNeXt | Family::ConvNeXtV2, _) => convnext(rest),
            (["encoder", "model", rest @ ..], Family::HrNet, _) => {
                Some(Place::whole(format!("backbone.{}", rest.join("."))))
            }
            (["encoder", rest @ ..], Family::MixTransformer, _) => mix_transformer(rest),
            (["segmentation_head", "0", leaf], _, DecoderKind::HrNetOcrMmseg) => {
                Some(Place::whole(format!("decode_head.1.conv_seg.{leaf}")))
            }
            (["segmentation_head", "0", leaf], ..) => Some(Place::whole(format!("decode_head.conv_seg.{leaf}"))),
            (["auxiliary_head", rest @ ..] | ["decoder", "auxiliary_head", rest @ ..], ..) => auxiliary(rest),
            (["decoder", rest @ ..], _, DecoderKind::SegformerMmseg) => segformer(rest),
            (["decoder", rest @ ..], _, DecoderKind::HrNetOcrMmseg) => ocr(rest),
            (["decoder", rest @ ..], ..) => upernet(rest),
            _ => None,
        }
    };
    let entries = ModelOutline::of(config)?.entries.into_iter();
    entries.map(|(name, shape, _)| place(&name).map(|place| (name, shape, place)).ok_or_else(none)).collect()
}

/// mmcv's `ConvModule`: a convolution (`0` in carpus) and a batch norm (`1`).
fn conv_module(theirs: String, rest: &[&str]) -> Option<Place> {
    match rest {
        ["0", leaf] => Some(Place::whole(format!("{theirs}.conv.{leaf}"))),
        ["1", leaf] | ["1", "0", leaf] => Some(Place::whole(format!("{theirs}.bn.{leaf}"))),
        _ => None,
    }
}

/// The place with number `index` of `count`, in reverse order.
fn reversed(index: &str, count: usize) -> Option<usize> {
    count.checked_sub(1 + index.parse::<usize>().ok()?)
}

fn mix_transformer(rest: &[&str]) -> Option<Place> {
    let (first, rest) = rest.split_first()?;
    let (kind, number) = first.split_at_checked(first.len().checked_sub(1)?)?;
    let stage = format!("backbone.layers.{}", number.parse::<usize>().ok()?.checked_sub(1)?);
    let (theirs, part) = match (kind, rest) {
        ("patch_embed", ["proj", leaf]) => (format!("0.projection.{leaf}"), Part::Whole),
        ("patch_embed", ["norm", leaf]) => (format!("0.norm.{leaf}"), Part::Whole),
        ("norm", [leaf]) => (format!("2.{leaf}"), Part::Whole),
        ("block", [block, rest @ ..]) => {
            let (theirs, part) = match rest {
                ["attn", "q", leaf] => (format!("attn.attn.in_proj_{leaf}"), Part::Rows { first: 0, count: 1 }),
                ["attn", "kv", leaf] => (format!("attn.attn.in_proj_{leaf}"), Part::Rows { first: 1, count: 2 }),
                ["attn", "proj", leaf] => (format!("attn.attn.out_proj.{leaf}"), Part::Whole),
                ["mlp", "fc1", leaf] => (format!("ffn.layers.0.{leaf}"), Part::Linear),
                ["mlp", "dwconv", "dwconv", leaf] => (format!("ffn.layers.1.{leaf}"), Part::Whole),
                ["mlp", "fc2", leaf] => (format!("ffn.layers.4.{leaf}"), Part::Linear),
                // norm1, norm2, attn.sr and attn.norm have the same names.
                same => (same.join("."), Part::Whole),
            };
            (format!("1.{block}.{theirs}"), part)
        }
        _ => return None,
    };
    Some(Place { theirs: format!("{stage}.{theirs}"), part })
}

fn swin(rest: &[&str]) -> Option<Place> {
    let stage = |name: &str| name.strip_prefix("layers_")?.parse::<usize>().ok();
    match rest {
        ["patch_embed", "proj", leaf] => Some(Place::whole(format!("backbone.patch_embed.projection.{leaf}"))),
        ["patch_embed", rest @ ..] => Some(Place::whole(format!("backbone.patch_embed.{}", rest.join(".")))),
        // mmsegmentation merges patches at the end of a stage, carpus at the beginning of the next one.
        [name, "downsample", rest @ ..] => {
            let stage = stage(name)?.checked_sub(1)?;
            let theirs = format!("backbone.stages.{stage}.downsample.{}", rest.join("."));
            Some(Place { theirs, part: Part::Neighbours })
        }
        [name, "blocks", block, rest @ ..] => {
            let theirs = match rest {
                ["attn", rest @ ..] => format!("attn.w_msa.{}", rest.join(".")),
                ["mlp", "fc1", leaf] => format!("ffn.layers.0.0.{leaf}"),
                ["mlp", "fc2", leaf] => format!("ffn.layers.1.{leaf}"),
                norm => norm.join("."),
            };
            Some(Place::whole(format!("backbone.stages.{}.blocks.{block}.{theirs}", stage(name)?)))
        }
        _ => None,
    }
}

fn convnext(rest: &[&str]) -> Option<Place> {
    let (first, rest) = rest.split_first()?;
    if let Some(layer) = first.strip_prefix("stem_") {
        return Some(Place::whole(format!("backbone.downsample_layers.0.{layer}.{}", rest.join("."))));
    }
    let stage = first.strip_prefix("stages_")?;
    match rest {
        ["downsample", rest @ ..] => {
            Some(Place::whole(format!("backbone.downsample_layers.{stage}.{}", rest.join("."))))
        }
        ["blocks", block, rest @ ..] => {
            let (theirs, part) = match rest {
                ["conv_dw", leaf] => (format!("depthwise_conv.{leaf}"), Part::Whole),
                ["mlp", "fc1", leaf] => (format!("pointwise_conv1.{leaf}"), Part::Linear),
                ["mlp", "fc2", leaf] => (format!("pointwise_conv2.{leaf}"), Part::Linear),
                ["mlp", "grn", "weight"] => ("grn.gamma".to_owned(), Part::Whole),
                ["mlp", "grn", "bias"] => ("grn.beta".to_owned(), Part::Whole),
                // gamma and norm have the same names.
                same => (same.join("."), Part::Whole),
            };
            Some(Place { theirs: format!("backbone.stages.{stage}.{block}.{theirs}"), part })
        }
        _ => None,
    }
}

/// mmsegmentation has the finest level first, carpus the coarsest.
fn segformer(rest: &[&str]) -> Option<Place> {
    match rest {
        ["mlp_stage", index, rest @ ..] => conv_module(format!("decode_head.convs.{}", reversed(index, 4)?), rest),
        ["fuse_stage", "0", "weight"] => {
            Some(Place { theirs: "decode_head.fusion_conv.conv.weight".into(), part: Part::Levels })
        }
        ["fuse_stage", rest @ ..] => conv_module("decode_head.fusion_conv".into(), rest),
        _ => None,
    }
}

fn upernet(rest: &[&str]) -> Option<Place> {
    match rest {
        ["feature_norms", index, leaf] => Some(Place::whole(format!("backbone.norm{index}.{leaf}"))),
        ["psp", "blocks", index, "1", rest @ ..] => conv_module(format!("decode_head.psp_modules.{index}.1"), rest),
        ["psp", "out_conv", rest @ ..] => conv_module("decode_head.bottleneck".into(), rest),
        ["fpn_lateral_blocks", index, "conv_norm_relu", rest @ ..] => {
            conv_module(format!("decode_head.lateral_convs.{}", reversed(index, 3)?), rest)
        }
        ["fpn_conv_blocks", index, rest @ ..] => {
            conv_module(format!("decode_head.fpn_convs.{}", reversed(index, 3)?), rest)
        }
        ["fusion_block", rest @ ..] => conv_module("decode_head.fpn_bottleneck".into(), rest),
        _ => None,
    }
}

fn ocr(rest: &[&str]) -> Option<Place> {
    let block = "decode_head.1.object_context_block";
    match rest {
        ["aux_head", "3", leaf] => Some(Place::whole(format!("decode_head.0.conv_seg.{leaf}"))),
        ["aux_head", rest @ ..] => conv_module("decode_head.0.convs.0".into(), rest),
        ["conv3x3_ocr", rest @ ..] => conv_module("decode_head.1.bottleneck".into(), rest),
        ["ocr_distri_head", "conv_bn_dropout", rest @ ..] => conv_module(format!("{block}.bottleneck"), rest),
        ["ocr_distri_head", "object_context_block", "f_down", rest @ ..] => {
            conv_module(format!("{block}.value_project"), rest)
        }
        ["ocr_distri_head", "object_context_block", "f_up", rest @ ..] => {
            conv_module(format!("{block}.out_project"), rest)
        }
        ["ocr_distri_head", "object_context_block", transform, rest @ ..] => {
            let project = match *transform {
                "f_pixel" => "query_project",
                "f_object" => "key_project",
                _ => return None,
            };
            // Two of them: 0 and 1.0, then 2 and 3.0.
            match rest {
                ["2", leaf] => conv_module(format!("{block}.{project}.1"), &["0", leaf]),
                ["3", rest @ ..] => conv_module(format!("{block}.{project}.1"), &[&["1"], rest].concat()),
                rest => conv_module(format!("{block}.{project}.0"), rest),
            }
        }
        _ => None,
    }
}

fn auxiliary(rest: &[&str]) -> Option<Place> {
    match rest {
        ["convs", "0", rest @ ..] => conv_module("auxiliary_head.convs.0".into(), rest),
        ["classifier", leaf] => Some(Place::whole(format!("auxiliary_head.conv_seg.{leaf}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_reordered() {
        // Two channels of four neighbours, named CHANNEL ROW COLUMN.
        let theirs = Tensor::from_slice(&[0i64, 1, 10, 11, 100, 101, 110, 111]);
        let ours = Part::Neighbours.of(&theirs).unwrap();
        assert_eq!(Vec::<i64>::try_from(&ours).unwrap(), [0, 100, 10, 110, 1, 101, 11, 111]);
    }

    #[test]
    fn levels_are_reversed() {
        // Two output channels, four levels of two channels.
        let theirs = Tensor::from_slice(&(0..16i64).collect::<Vec<_>>()).reshape([2, 8, 1, 1]);
        let ours = Part::Levels.of(&theirs).unwrap();
        assert_eq!(ours.size(), [2, 8, 1, 1]);
        let expected = [6, 7, 4, 5, 2, 3, 0, 1, 14, 15, 12, 13, 10, 11, 8, 9];
        assert_eq!(Vec::<i64>::try_from(&ours.flatten(0, -1)).unwrap(), expected);
    }
}
