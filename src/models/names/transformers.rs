//! The names of tensors in transformers' `SegformerForSemanticSegmentation` and `UperNetForSemanticSegmentation` (with
//! Swin, ConvNeXt and ConvNeXtV2), for `segformer-transformers` and `upernet-transformers`.
//!
//! transformers has two sets of names: those in files (published checkpoints, output of `save_pretrained`, and models
//! in memory before release 5), and those of a model in memory from release 5 on. Both are read; those of files are
//! written. Queries, keys and values are separate layers in transformers and rows of one layer in carpus.

use std::collections::{BTreeMap, BTreeSet};

use tch::{TchError, Tensor};

use super::{NamesError, WeightsSource};
use crate::models::{Architecture, DecoderKind, Family, ModelConfig, Norm};

/// Converts weights with transformers' names, of either set, to those of the model `config`. Two kinds of tensors are
/// left out: tables that transformers saves with the weights, and the norm that its Swin backbone never applies.
///
/// # Errors
/// [`NamesError::NoCounterpart`]: transformers has no such model; [`NamesError::Mismatch`]: a tensor is missing or
/// unexpected; [`NamesError::Tensor`].
pub fn to_carpus(
    config: &ModelConfig,
    mut tensors: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>, NamesError> {
    let names = names(config, |place| tensors.contains_key(&place.stored) || tensors.contains_key(&place.live))?;
    let mut missing = Vec::new();
    let mut parts: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
    for Name { place, part } in names {
        let Some(tensor) = tensors.remove(&place.stored).or_else(|| tensors.remove(&place.live)) else {
            missing.push(place.stored);
            continue;
        };
        let tensor = match part {
            Part::Vector => tensor.f_flatten(0, -1).map_err(|source| torch(&place.ours, source))?,
            Part::Whole | Part::Rows { .. } => tensor,
        };
        parts.entry(place.ours).or_default().push(tensor);
    }
    let unexpected: Vec<String> = tensors.into_keys().filter(|name| !is_unused(name)).collect();
    check_names(config, missing, unexpected)?;
    let joined = parts.into_iter().map(|(name, mut parts)| match parts.len() {
        1 => Ok((name, parts.remove(0))),
        _ => match Tensor::f_cat(&parts, 0) {
            Ok(tensor) => Ok((name, tensor)),
            Err(source) => Err(NamesError::Tensor { name, source }),
        },
    });
    joined.collect()
}

/// Converts the weights of the model `config` to the names that transformers uses in files.
///
/// # Errors
/// [`NamesError::NoCounterpart`]: transformers has no such model; [`NamesError::Mismatch`]: a tensor is missing or
/// unexpected; [`NamesError::Tensor`].
pub fn from_carpus(
    config: &ModelConfig,
    tensors: BTreeMap<String, Tensor>,
) -> Result<BTreeMap<String, Tensor>, NamesError> {
    let names = names(config, |place| tensors.contains_key(&place.ours))?;
    let mut missing = Vec::new();
    let mut theirs = BTreeMap::new();
    let known: BTreeSet<String> = names.iter().map(|name| name.place.ours.clone()).collect();
    let unexpected = tensors.keys().filter(|name| !known.contains(*name)).cloned().collect();
    for Name { place, part } in names {
        let Some(tensor) = tensors.get(&place.ours) else {
            missing.push(place.ours);
            continue;
        };
        let tensor = match part {
            Part::Whole => Ok(tensor.shallow_clone()),
            Part::Rows { index, of } => {
                let rows = tensor.size()[0] / of;
                tensor.f_narrow(0, index * rows, rows)
            }
            Part::Vector => tensor.f_view([1, 1, 1, -1]),
        };
        theirs.insert(place.stored, tensor.map_err(|source| torch(&place.ours, source))?);
    }
    check_names(config, missing, unexpected)?;
    Ok(theirs)
}

fn torch(name: &str, source: TchError) -> NamesError {
    NamesError::Tensor { name: name.to_owned(), source }
}

fn check_names(config: &ModelConfig, mut missing: Vec<String>, unexpected: Vec<String>) -> Result<(), NamesError> {
    missing.dedup();
    if missing.is_empty() && unexpected.is_empty() {
        return Ok(());
    }
    Err(NamesError::Mismatch {
        source_name: WeightsSource::Transformers,
        model: config.describe(),
        missing,
        unexpected,
        mismatched: Vec::new(),
        fitting: None,
    })
}

/// Whether a file may contain the tensor `name` although no result depends on it.
fn is_unused(name: &str) -> bool {
    name.ends_with(".relative_position_index") || name.starts_with("backbone.swin.layernorm.")
}

/// The name of a tensor, or its prefix, in transformers and in carpus.
#[derive(Clone, Debug)]
struct Place {
    /// In transformers' files.
    stored: String,
    /// In a transformers model in memory.
    live: String,
    ours: String,
}

impl Place {
    fn new(stored: impl Into<String>, live: impl Into<String>, ours: impl Into<String>) -> Self {
        Place { stored: stored.into(), live: live.into(), ours: ours.into() }
    }

    /// A name that is the same in both sets of transformers.
    fn same(theirs: impl Into<String>, ours: impl Into<String>) -> Self {
        let theirs = theirs.into();
        Place { stored: theirs.clone(), live: theirs, ours: ours.into() }
    }

    fn join(&self, stored: &str, live: &str, ours: &str) -> Self {
        Place {
            stored: format!("{}.{stored}", self.stored),
            live: format!("{}.{live}", self.live),
            ours: format!("{}.{ours}", self.ours),
        }
    }
}

/// Which part of a tensor of carpus a tensor of transformers is.
#[derive(Clone, Copy, Debug)]
enum Part {
    Whole,
    /// One of `of` equal groups of rows, in order.
    Rows {
        index: i64,
        of: i64,
    },
    /// All values, with the shape `[1, 1, 1, C]` in transformers.
    Vector,
}

#[derive(Debug)]
struct Name {
    place: Place,
    part: Part,
}

/// Collects the names layer by layer.
#[derive(Default)]
struct Names(Vec<Name>);

impl Names {
    fn tensor(&mut self, place: Place, part: Part) {
        self.0.push(Name { place, part });
    }

    /// A weight and a bias.
    fn layer(&mut self, place: &Place, part: Part) {
        for tensor in ["weight", "bias"] {
            self.tensor(place.join(tensor, tensor, tensor), part);
        }
    }

    /// Layers of transformers whose weights are rows of one layer of carpus, in order.
    fn rows(&mut self, place: &Place, theirs: &[(&str, &str)], ours: &str) {
        for (index, (stored, live)) in theirs.iter().enumerate() {
            self.layer(&place.join(stored, live, ours), Part::Rows { index: index as i64, of: theirs.len() as i64 });
        }
    }

    fn layers(&mut self, place: &Place, layers: &[(&str, &str, &str)]) {
        for (stored, live, ours) in layers {
            self.layer(&place.join(stored, live, ours), Part::Whole);
        }
    }

    fn batch_norm(&mut self, place: &Place) {
        for tensor in ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"] {
            self.tensor(place.join(tensor, tensor, tensor), Part::Whole);
        }
    }

    /// A convolution without bias and a batch norm.
    fn convolution(&mut self, theirs: String, ours: String) {
        let place = Place::same(theirs, ours);
        self.tensor(place.join("conv.weight", "conv.weight", "0.weight"), Part::Whole);
        self.batch_norm(&place.join("batch_norm", "batch_norm", "1"));
    }
}

/// Every name of `config`. `has` is whether a tensor exists in the given state dict, from which the number of blocks is
/// found.
fn names(config: &ModelConfig, has: impl Fn(&Place) -> bool) -> Result<Vec<Name>, NamesError> {
    let none = || NamesError::NoCounterpart { source_name: WeightsSource::Transformers, model: config.describe() };
    if !matches!(config.norm, Norm::Batch | Norm::FrozenBatch) || config.validate().is_err() {
        return Err(none());
    }
    let mut names = Names::default();
    match (config.architecture, config.backbone()) {
        (Architecture::Decoder(DecoderKind::SegformerTransformers), _) => {
            mix_transformer(&mut names, has);
            segformer(&mut names);
        }
        (Architecture::Decoder(DecoderKind::UperNetTransformers), Some(kind)) => {
            match kind.family() {
                Family::Swin => swin(&mut names, has),
                family => convnext(&mut names, family, has),
            }
            upernet(&mut names);
        }
        _ => return Err(none()),
    }
    Ok(names.0)
}

/// The blocks of a stage: all whose first tensor exists.
fn blocks(
    place: impl Fn(usize) -> Place,
    first: [&str; 3],
    has: impl Fn(&Place) -> bool,
) -> impl Iterator<Item = Place> {
    let [stored, live, ours] = first;
    (0..).map(place).take_while(move |block| has(&block.join(stored, live, ours)))
}

fn mix_transformer(names: &mut Names, has: impl Fn(&Place) -> bool) {
    for stage in 0..4 {
        let number = stage + 1;
        let embed = Place::new(
            format!("segformer.encoder.patch_embeddings.{stage}"),
            format!("segformer.stages.{stage}.patch_embeddings"),
            format!("encoder.patch_embed{number}"),
        );
        names.layers(&embed, &[("proj", "proj", "proj"), ("layer_norm", "layer_norm", "norm")]);
        let block = |b| {
            Place::new(
                format!("segformer.encoder.block.{stage}.{b}"),
                format!("segformer.stages.{stage}.blocks.{b}"),
                format!("encoder.block{number}.{b}"),
            )
        };
        let first = ["layer_norm_1.weight", "layernorm_before.weight", "norm1.weight"];
        for block in blocks(block, first, &has) {
            names.rows(&block, &[("attention.self.query", "attention.q_proj")], "attn.q");
            let pair = [("attention.self.key", "attention.k_proj"), ("attention.self.value", "attention.v_proj")];
            names.rows(&block, &pair, "attn.kv");
            names.layers(
                &block,
                &[
                    ("attention.output.dense", "attention.o_proj", "attn.proj"),
                    ("layer_norm_1", "layernorm_before", "norm1"),
                    ("layer_norm_2", "layernorm_after", "norm2"),
                    ("mlp.dense1", "mlp.fc1", "mlp.fc1"),
                    ("mlp.dwconv.dwconv", "mlp.dwconv.dwconv", "mlp.dwconv.dwconv"),
                    ("mlp.dense2", "mlp.fc2", "mlp.fc2"),
                ],
            );
            if stage < 3 {
                let coarse = "attention.sequence_reduction";
                names.layers(
                    &block,
                    &[
                        ("attention.self.sr", &format!("{coarse}.sequence_reduction"), "attn.sr"),
                        ("attention.self.layer_norm", &format!("{coarse}.layer_norm"), "attn.norm"),
                    ],
                );
            }
        }
        let norm = Place::new(
            format!("segformer.encoder.layer_norm.{stage}"),
            format!("segformer.stages.{stage}.layer_norm"),
            format!("encoder.norm{number}"),
        );
        names.layer(&norm, Part::Whole);
    }
}

fn segformer(names: &mut Names) {
    for stage in 0..4 {
        let place = Place::new(
            format!("decode_head.linear_c.{stage}.proj"),
            format!("decode_head.linear_projections.{stage}.proj"),
            format!("decoder.mlp_stage.{}.linear", 3 - stage),
        );
        names.layer(&place, Part::Whole);
    }
    names.tensor(Place::same("decode_head.linear_fuse.weight", "decoder.fuse_stage.0.weight"), Part::Whole);
    names.batch_norm(&Place::same("decode_head.batch_norm", "decoder.fuse_stage.1"));
    names.layer(&Place::same("decode_head.classifier", "segmentation_head.0"), Part::Whole);
}

fn swin(names: &mut Names, has: impl Fn(&Place) -> bool) {
    let root = Place::new("backbone", "backbone.swin", "encoder.model");
    names.layers(
        &root,
        &[
            ("embeddings.patch_embeddings.projection", "embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.norm", "embeddings.norm", "patch_embed.norm"),
        ],
    );
    for stage in 0..4 {
        let theirs = format!("encoder.layers.{stage}");
        let block = |b| {
            let theirs = format!("{theirs}.blocks.{b}");
            root.join(&theirs, &theirs, &format!("layers_{stage}.blocks.{b}"))
        };
        let first = ["layernorm_before.weight", "layernorm_before.weight", "norm1.weight"];
        for block in blocks(block, first, &has) {
            let table = "relative_position_bias_table";
            let (stored, live) =
                (format!("attention.self.{table}"), format!("attention.relative_position_bias.{table}"));
            names.tensor(block.join(&stored, &live, &format!("attn.{table}")), Part::Whole);
            let triple = [
                ("attention.self.query", "attention.q_proj"),
                ("attention.self.key", "attention.k_proj"),
                ("attention.self.value", "attention.v_proj"),
            ];
            names.rows(&block, &triple, "attn.qkv");
            names.layers(
                &block,
                &[
                    ("attention.output.dense", "attention.o_proj", "attn.proj"),
                    ("layernorm_before", "layernorm_before", "norm1"),
                    ("layernorm_after", "layernorm_after", "norm2"),
                    ("intermediate.dense", "mlp.fc1", "mlp.fc1"),
                    ("output.dense", "mlp.fc2", "mlp.fc2"),
                ],
            );
        }
        // transformers merges patches at the end of a stage, carpus at the beginning of the next one.
        if stage < 3 {
            let theirs = format!("{theirs}.downsample");
            let merging = root.join(&theirs, &theirs, &format!("layers_{}.downsample", stage + 1));
            names.tensor(merging.join("reduction.weight", "reduction.weight", "reduction.weight"), Part::Whole);
            names.layers(&merging, &[("norm", "norm", "norm")]);
        }
    }
}

fn convnext(names: &mut Names, family: Family, has: impl Fn(&Place) -> bool) {
    let root = Place::same("backbone", "encoder.model");
    for (theirs, ours) in [("embeddings.patch_embeddings", "stem_0"), ("embeddings.layernorm", "stem_1")] {
        names.layers(&root, &[(theirs, theirs, ours)]);
    }
    for stage in 0..4 {
        let place = |theirs: &str, ours: &str| {
            let theirs = format!("encoder.stages.{stage}.{theirs}");
            root.join(&theirs, &theirs, &format!("stages_{stage}.{ours}"))
        };
        if stage > 0 {
            for layer in 0..2 {
                let downsample = place(&format!("downsampling_layer.{layer}"), &format!("downsample.{layer}"));
                names.layer(&downsample, Part::Whole);
            }
        }
        let block = |b| place(&format!("layers.{b}"), &format!("blocks.{b}"));
        for block in blocks(block, ["dwconv.weight", "dwconv.weight", "conv_dw.weight"], &has) {
            names.layers(
                &block,
                &[
                    ("dwconv", "dwconv", "conv_dw"),
                    ("layernorm", "layernorm", "norm"),
                    ("pwconv1", "pwconv1", "mlp.fc1"),
                    ("pwconv2", "pwconv2", "mlp.fc2"),
                ],
            );
            if family == Family::ConvNeXtV2 {
                names.layer(&block.join("grn", "grn", "mlp.grn"), Part::Vector);
            } else {
                let scale = "layer_scale_parameter";
                names.tensor(block.join(scale, scale, "gamma"), Part::Whole);
            }
        }
    }
}

fn upernet(names: &mut Names) {
    for stage in 0..4 {
        let norm = format!("backbone.hidden_states_norms.stage{}", stage + 1);
        names.layer(&Place::same(norm, format!("decoder.feature_norms.{stage}")), Part::Whole);
        names.convolution(format!("decode_head.psp_modules.{stage}.1"), format!("decoder.psp.blocks.{stage}.1"));
    }
    names.convolution("decode_head.bottleneck".into(), "decoder.psp.out_conv".into());
    for level in 0..3 {
        let ours = 2 - level;
        let lateral = format!("decoder.fpn_lateral_blocks.{ours}.conv_norm_relu");
        names.convolution(format!("decode_head.lateral_convs.{level}"), lateral);
        names.convolution(format!("decode_head.fpn_convs.{level}"), format!("decoder.fpn_conv_blocks.{ours}"));
    }
    names.convolution("decode_head.fpn_bottleneck".into(), "decoder.fusion_block".into());
    names.layer(&Place::same("decode_head.classifier", "segmentation_head.0"), Part::Whole);
    names.convolution("auxiliary_head.convs.0".into(), "decoder.auxiliary_head.convs.0".into());
    names.layer(&Place::same("auxiliary_head.classifier", "decoder.auxiliary_head.classifier"), Part::Whole);
}
