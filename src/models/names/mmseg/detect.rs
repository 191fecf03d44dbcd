//! Which model a state dict of mmsegmentation is of.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

use super::{auxiliary_fits, places};
use crate::models::names::{NamesError, WeightsSource};
use crate::models::{Architecture, DecoderKind, EncoderKind, Family, ModelConfig};

/// What distinguishes a backbone of mmsegmentation.
struct Backbone {
    name: &'static str,
    family: Family,
    /// Prefix of some of its tensors, which no other backbone has.
    mark: &'static str,
    /// A tensor whose first dimension is the width of the network.
    width: &'static str,
    first_layer: &'static str,
    /// Prefixes of its stages, before the number of a block.
    stages: [&'static str; 4],
}

const BACKBONES: [Backbone; 4] = [
    Backbone {
        name: "MixVisionTransformer",
        family: Family::MixTransformer,
        mark: "backbone.layers.0.0.projection.",
        width: "backbone.layers.0.0.projection.weight",
        first_layer: "backbone.layers.0.0.projection.weight",
        stages: ["backbone.layers.0.1.", "backbone.layers.1.1.", "backbone.layers.2.1.", "backbone.layers.3.1."],
    },
    Backbone {
        name: "SwinTransformer",
        family: Family::Swin,
        mark: "backbone.stages.0.blocks.0.attn.w_msa.",
        width: "backbone.patch_embed.projection.weight",
        first_layer: "backbone.patch_embed.projection.weight",
        stages: [
            "backbone.stages.0.blocks.",
            "backbone.stages.1.blocks.",
            "backbone.stages.2.blocks.",
            "backbone.stages.3.blocks.",
        ],
    },
    Backbone {
        name: "ConvNeXt",
        family: Family::ConvNeXt,
        mark: "backbone.downsample_layers.",
        width: "backbone.downsample_layers.0.0.weight",
        first_layer: "backbone.downsample_layers.0.0.weight",
        stages: ["backbone.stages.0.", "backbone.stages.1.", "backbone.stages.2.", "backbone.stages.3."],
    },
    Backbone {
        name: "HRNet",
        family: Family::HrNet,
        mark: "backbone.transition1.",
        width: "backbone.transition1.0.0.weight",
        first_layer: "backbone.conv1.weight",
        stages: ["backbone.layer1.", "backbone.stage2.", "backbone.stage3.", "backbone.stage4."],
    },
];

/// Name and prefix of some of the tensors of each head, and the family and decoder that it makes a model of.
pub(super) const HEADS: [(&str, &str, &[Family], DecoderKind); 3] = [
    ("SegformerHead", "decode_head.fusion_conv.", &[Family::MixTransformer], DecoderKind::SegformerMmseg),
    ("UPerHead", "decode_head.fpn_bottleneck.", &[Family::Swin, Family::ConvNeXt], DecoderKind::UperNetTransformers),
    ("OCRHead", "decode_head.1.object_context_block.", &[Family::HrNet], DecoderKind::HrNetOcrMmseg),
];

/// The model whose weights a state dict of mmsegmentation has: architecture, encoder, input channels, and whether it
/// has an auxiliary head that carpus has too.
///
/// # Errors
/// [`NamesError::Unrecognised`]: the model is none of those that can be converted, or a mixture of several.
pub fn detect(tensors: &BTreeMap<String, Tensor>) -> Result<ModelConfig, NamesError> {
    let unrecognised = |found: String| NamesError::Unrecognised { source_name: WeightsSource::Mmseg, found };
    let has = |mark: &str| tensors.keys().any(|name| name.starts_with(mark));
    let backbones: Vec<_> = BACKBONES.iter().filter(|backbone| has(backbone.mark)).collect();
    let heads: Vec<_> = HEADS.iter().filter(|head| has(head.1)).collect();
    let names = || backbones.iter().map(|b| b.name).chain(heads.iter().map(|h| h.0)).collect::<Vec<_>>().join(", ");
    let ([backbone], [head]) = (&backbones[..], &heads[..]) else {
        let mixture = backbones.len() > 1 || heads.len() > 1;
        return Err(unrecognised(match names() {
            known if mixture => format!("a mixture of several models: {known}"),
            known if known.is_empty() => format!("names that begin with {}", beginnings(tensors)),
            known => format!("{known} and names that begin with {}", beginnings(tensors)),
        }));
    };
    let (head_name, _, families, decoder) = head;
    if !families.contains(&backbone.family) {
        return Err(unrecognised(format!("{} with {head_name}", backbone.name)));
    }
    let size = |name: &str| tensors.get(name).map(Tensor::size).unwrap_or_default();
    let in_channels = size(backbone.first_layer).get(1).copied().unwrap_or(3);
    if ![1, 3].contains(&in_channels) {
        return Err(unrecognised(format!("{} for images of {in_channels} channels", backbone.name)));
    }
    let second_version = tensors.keys().any(|name| name.starts_with("backbone.stages.") && name.contains(".grn."));
    let family = if second_version { Family::ConvNeXtV2 } else { backbone.family };
    let blocks = blocks(backbone, tensors.keys().map(String::as_str));
    let width = size(backbone.width).first().copied();
    let config = ModelConfig { architecture: Architecture::Decoder(*decoder), in_channels, ..ModelConfig::default() };
    for encoder in EncoderKind::ALL.iter().copied().filter(|encoder| encoder.family() == family) {
        let mut config = ModelConfig { encoder: Some(encoder), ..config.clone() };
        let places = places(&config)?;
        let own_width =
            places.iter().find(|(_, _, place)| place.theirs == backbone.width).map(|(_, shape, _)| shape[0]);
        let own_blocks = self::blocks(backbone, places.iter().map(|(_, _, place)| place.theirs.as_str()));
        if own_blocks == blocks && width.is_none_or(|width| Some(width) == own_width) {
            let with_head = ModelConfig { auxiliary: true, ..config.clone() };
            config.auxiliary = with_head.validate().is_ok() && auxiliary_fits(&with_head, tensors)?;
            return Ok(config);
        }
    }
    let version = if second_version { "V2" } else { "" };
    let width = width.map_or(String::new(), |width| format!(" of width {width}"));
    Err(unrecognised(format!("{}{version}{width} with {blocks:?} blocks in its stages", backbone.name)))
}

/// The first two parts of the names, the first ten of them.
fn beginnings(tensors: &BTreeMap<String, Tensor>) -> String {
    const SHOWN: usize = 10;
    let beginning = |name: &String| name.split('.').take(2).collect::<Vec<_>>().join(".");
    let all: BTreeSet<String> = tensors.keys().map(beginning).collect();
    let more = if all.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", all.into_iter().take(SHOWN).collect::<Vec<_>>().join(", "))
}

/// Number of blocks in each stage (of modules, for HRNet after its first stage).
fn blocks<'a>(backbone: &Backbone, names: impl Iterator<Item = &'a str> + Clone) -> [usize; 4] {
    backbone.stages.map(|stage| {
        let numbers = names.clone().filter_map(|name| name.strip_prefix(stage)?.split('.').next());
        numbers.collect::<BTreeSet<_>>().len()
    })
}
