//! What every pair of decoder and encoder and every whole network keeps, and what is refused when it is configured.

use std::collections::BTreeSet;

use carpus::models::Architecture::{Decoder, Network};
use carpus::models::{
    Architecture, Attention, DecoderKind, EncoderKind, EncoderScale, Input, Model, ModelConfig, ModelError,
    ModelOutline, NetworkKind, NnUnetOptions, Norm, Upsampling,
};
use tch::{Device, Kind, Tensor};

use crate::models::{EXACT, all, drawn, relative, takes_any_encoder};
use crate::python;

/// Every pair of architecture and encoder, and whole networks by themselves. Small encoders stand for their families
/// where not everything is asked for.
fn contract_configs() -> Vec<ModelConfig> {
    use EncoderKind::{ConvNeXtV2Tiny, EfficientNetB0, HrNetW18, MitB0, MobileNetV2, MobileNetV3Large, ResNet18};
    let small = [EfficientNetB0, ResNet18, MobileNetV2, MobileNetV3Large, MitB0, HrNetW18, ConvNeXtV2Tiny];
    let encoders = if all() { EncoderKind::ALL } else { &small };
    let pairs = Architecture::all().flat_map(|a| encoders.iter().map(move |e| (a, *e)));
    let config = |(architecture, encoder)| ModelConfig {
        architecture,
        encoder: Some(encoder),
        classes: 3,
        ..ModelConfig::default()
    };
    // Those that stand on few encoders or on none from the list, as they come; nnU-Net's small.
    let own = Architecture::all().filter(|a| !takes_any_encoder(*a));
    let nnunet = NnUnetOptions { stages: 5, features: 8, ..NnUnetOptions::default() };
    let small = |a: Architecture| if a.name().starts_with("nnunet") { nnunet } else { NnUnetOptions::default() };
    let own = own.map(|a| ModelConfig { architecture: a, classes: 3, nnunet: small(a), ..ModelConfig::default() });
    pairs.map(config).chain(own).collect()
}

/// Whether the reference builds the pair.
fn is_legal(config: &ModelConfig) -> bool {
    use EncoderKind::*;
    let Some(encoder) = config.backbone().filter(|_| config.architecture.default_encoder().is_some()) else {
        return config.encoder.is_none();
    };
    let is_mit = matches!(encoder, MitB0 | MitB1 | MitB2 | MitB3 | MitB4 | MitB5);
    let is_swin = matches!(encoder, SwinTiny | SwinSmall | SwinBase);
    let is_hrnet = matches!(encoder, HrNetW18 | HrNetW32 | HrNetW48);
    match config.architecture {
        Decoder(DecoderKind::HrNetOcr | DecoderKind::HrNetOcrMmseg) => is_hrnet,
        Decoder(DecoderKind::UnetPlusPlus) | Decoder(DecoderKind::Linknet) => !is_mit,
        Decoder(DecoderKind::SegformerTransformers | DecoderKind::SegformerMmseg) => is_mit,
        Decoder(DecoderKind::UperNetTransformers) => is_swin || encoder.name().starts_with("tu-convnext"),
        _ => config.output_stride() == 32 || !(is_mit || is_hrnet || is_swin),
    }
}

#[test]
fn illegal_pairs_are_refused_with_the_reason() {
    let mut legal = 0;
    for config in contract_configs() {
        let name = config.describe();
        match Model::new(&config, Device::Cpu) {
            Ok(_) => {
                assert!(is_legal(&config), "{name}");
                legal += 1;
            }
            Err(error) => {
                assert!(!is_legal(&config), "{name}: {error}");
                assert!(config.validate().is_err(), "the config says so before anything is built");
                let text = error.to_string();
                assert!(text.contains(config.backbone().unwrap().name()), "{text}");
                let is_whole = config.architecture.default_encoder().is_none();
                let fix = if is_whole { "remove `encoder`" } else { "choose another encoder" };
                assert!(text.contains(fix), "{text}");
            }
        }
    }
    assert!(legal > 3 * Architecture::all().count());
    let wrong = ModelConfig { attention: Some(Attention::Scse), ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("attention"));
    let ocr = ModelConfig { architecture: Decoder(DecoderKind::HrNetOcr), ..ModelConfig::default() };
    assert_eq!(ocr.backbone(), Some(EncoderKind::HrNetW18));
    assert!(ModelConfig { depth: Some(4), ..ocr }.validate().unwrap_err().to_string().contains("depth"));
    for (encoder, refused) in [(EncoderKind::HrNetW18, true), (EncoderKind::ConvNeXtTiny, false)] {
        let config = ModelConfig { encoder: Some(encoder), drop_path: Some(0.1), ..ModelConfig::default() };
        let text = config.validate().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text.contains("stochastic depth"), refused, "{encoder}: {text}");
    }
    let wrong = ModelConfig { auxiliary: true, ..ModelConfig::default() };
    assert!(wrong.validate().is_ok(), "any decoder takes one");
    let wrong =
        ModelConfig { architecture: Network(NetworkKind::TorchvisionFcn), depth: Some(4), ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("depth"));
    let wrong = ModelConfig { in_channels: 2, ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("1 (grey) or 3 (RGB)"));
    let wrong = ModelConfig { feature_size: Some(24), ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("swin-unetr"));
    let unetr = ModelConfig { architecture: Network(NetworkKind::SwinUnetr), ..ModelConfig::default() };
    let wrong = ModelConfig { feature_size: Some(30), ..unetr.clone() };
    assert!(wrong.validate().unwrap_err().to_string().contains("24, 36 or 48"));
    let wrong = ModelConfig { depth: Some(4), ..unetr };
    assert!(wrong.validate().unwrap_err().to_string().contains("all 5 stages"));
}

/// The table of docs/models.md names every key of a configuration's model, and no other.
#[test]
fn every_key_of_a_model_is_in_the_docs() {
    let page = std::fs::read_to_string(python::root().join("docs/models.md")).unwrap();
    let table = page.split("| key | values | meaning |").nth(1).unwrap().split("\n\n").next().unwrap();
    let first_cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let listed: BTreeSet<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    // The TOML reader lists the known names.
    let error = toml::from_str::<ModelConfig>("no-such-key = 1").unwrap_err().to_string();
    let known = error.split("expected one of").nth(1).unwrap_or_else(|| panic!("{error}"));
    // Other spellings of some are taken from state dicts' habits.
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).filter(|key| !key.contains('_')).collect();
    assert_eq!(listed, known);
}

/// An option that an architecture has no place for is not taken and ignored.
#[test]
fn options_without_a_place_are_refused() {
    let on = |architecture| ModelConfig { architecture, ..ModelConfig::default() };
    let (dropout, drop_path) = (Some(0.2), Some(0.2));
    let nearest = Upsampling::Nearest;
    let stem = || on(Decoder(DecoderKind::Unet));
    for (config, words) in [
        (ModelConfig { dropout, ..stem() }, vec!["dropout is 0.2", "unet has no dropout", "head-dropout"]),
        (
            ModelConfig { upsampling_mode: nearest, ..stem() },
            vec!["upsampling-mode is nearest", "already have the image's size"],
        ),
        (
            ModelConfig { dropout, ..on(Network(NetworkKind::TorchvisionLraspp)) },
            vec!["dropout is 0.2", "torchvision-lraspp"],
        ),
        (
            ModelConfig { drop_path, ..on(Network(NetworkKind::TorchvisionFcn)) },
            vec!["drop-path is 0.2", "torchvision-fcn"],
        ),
        (ModelConfig { drop_path, ..on(Network(NetworkKind::NnUnet)) }, vec!["drop-path is 0.2", "nnunet"]),
        (
            ModelConfig { norm: Norm::Layer, ..on(Network(NetworkKind::SwinUnetr)) },
            vec!["swin-unetr has no batch norm"],
        ),
        (ModelConfig { norm_momentum: Some(0.1), ..on(Network(NetworkKind::SwinUnetr)) }, vec!["norm-momentum"]),
        (ModelConfig { auxiliary: true, ..on(Decoder(DecoderKind::HrNetOcr)) }, vec!["auxiliary", "always on"]),
        (ModelConfig { auxiliary: true, ..on(Network(NetworkKind::NnUnet)) }, vec!["deep-supervision"]),
        (ModelConfig { output_stride: Some(16), ..stem() }, vec!["output-stride is 16", "unet has stride 32 only"]),
        (
            ModelConfig { output_stride: Some(4), ..on(Decoder(DecoderKind::Pan)) },
            vec!["expected 16 or 32, the strides of pan"],
        ),
        (
            ModelConfig { atrous_rates: Some([1, 2, 3]), ..on(Decoder(DecoderKind::Pan)) },
            vec!["atrous-rates", "deeplabv3"],
        ),
        (ModelConfig { atrous_rates: Some([1, 0, 3]), ..on(Decoder(DecoderKind::DeepLabV3)) }, vec!["[1, 0, 3]"]),
        (
            ModelConfig { encoder: Some(EncoderKind::MitB0), ..on(Decoder(DecoderKind::Pan)) },
            vec!["or output-stride = 32"],
        ),
    ] {
        let text = config.validate().expect_err("it has no place").to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    // At rates of 0 nothing is asked for.
    ModelConfig { dropout: Some(0.0), drop_path: Some(0.0), ..on(Network(NetworkKind::TorchvisionLraspp)) }
        .validate()
        .unwrap();
    let pan =
        ModelConfig { encoder: Some(EncoderKind::MitB0), output_stride: Some(32), ..on(Decoder(DecoderKind::Pan)) };
    pan.validate().unwrap();
}

/// Another norm is taken where a batch norm stands, and refused where none does.
#[test]
fn a_norm_is_taken_where_it_changes_something() {
    let mut refused = BTreeSet::new();
    for plain in contract_configs().into_iter().filter(|config| config.validate().is_ok()) {
        for auxiliary in [false, plain.architecture.refuses_auxiliary().is_none()] {
            let batch = ModelConfig { auxiliary, ..plain.clone() };
            let has_batch_norms = ModelOutline::of(&batch).unwrap().names().iter().any(|n| n.ends_with("running_mean"));
            let other = ModelConfig { norm: Norm::Group(4), ..batch.clone() };
            let momentum = ModelConfig { norm_momentum: Some(0.1), ..batch };
            for changed in [other, momentum] {
                let taken = changed.validate().map_err(|error| error.to_string());
                assert_eq!(taken.is_ok(), has_batch_norms, "{} {auxiliary}: {taken:?}", changed.describe());
                if let Err(text) = taken {
                    assert!(text.contains("no batch norm"), "{text}");
                    refused.insert(changed.architecture);
                }
            }
        }
    }
    assert!(
        refused.contains(&Decoder(DecoderKind::Fpn)) && refused.contains(&Network(NetworkKind::SwinUnetr)),
        "{refused:?}"
    );
}

/// At every depth and output stride logits have the size of the image, at the smallest image that is taken.
#[test]
fn logits_have_the_size_of_the_image_at_every_depth_and_stride() {
    tch::set_num_threads(2);
    let encoders = [EncoderKind::ResNet18, EncoderKind::MitB0, EncoderKind::MobileNetV3Large];
    let mut tried = BTreeSet::new();
    for architecture in Architecture::all().filter(|a| takes_any_encoder(*a)) {
        for (encoder, depth) in encoders.into_iter().flat_map(|e| (3..=5).map(move |depth| (e, depth))) {
            for stride in architecture.output_strides().iter().copied() {
                let config = ModelConfig {
                    architecture,
                    encoder: Some(encoder),
                    depth: Some(depth),
                    output_stride: Some(stride),
                    classes: 2,
                    ..ModelConfig::default()
                };
                if config.validate().is_err() {
                    continue;
                }
                tried.insert((architecture, depth, stride));
                let model = Model::new(&config, Device::Cpu).unwrap();
                let least = model.least_side().max(model.stride());
                let x = Tensor::zeros([1, 3, least, 2 * least], (Kind::Float, Device::Cpu));
                let logits = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
                assert_eq!(logits.size(), [1, 2, least, 2 * least], "{} {depth} {stride}", config.describe());
            }
        }
    }
    for architecture in [
        Decoder(DecoderKind::Fpn),
        Decoder(DecoderKind::Pan),
        Decoder(DecoderKind::DeepLabV3),
        Decoder(DecoderKind::DeepLabV3Plus),
    ] {
        let strides = architecture.output_strides();
        let pairs = (3..=5).flat_map(|depth| strides.iter().map(move |stride| (architecture, depth, *stride)));
        assert!(pairs.into_iter().all(|pair| tried.contains(&pair)), "{architecture}");
    }
}

/// Gates squeeze the few channels of a reduced encoder into one.
#[test]
fn attention_gates_fit_narrow_maps() {
    let config = ModelConfig {
        architecture: Decoder(DecoderKind::UnetPlusPlus),
        encoder: Some(EncoderKind::ResNet18),
        attention: Some(Attention::Scse),
        encoder_scale: Some(EncoderScale { width: 0.125, depth: 1.0 }),
        ..ModelConfig::default()
    };
    let model = Model::new(&config, Device::Cpu).unwrap();
    let x = Tensor::randn([1, 3, 32, 32], (Kind::Float, Device::Cpu));
    assert_eq!(model.forward_t(&x, false).unwrap().logits.isfinite().all().int64_value(&[]), 1);
}

#[test]
fn every_model_keeps_the_contract() {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let (mut architectures, mut encoders) = (BTreeSet::new(), BTreeSet::new());
    for config in drawn(contract_configs().into_iter().filter(|c| c.validate().is_ok()), 30) {
        let name = config.describe();
        tch::manual_seed(1);
        let mut model = Model::new(&config, Device::Cpu).unwrap();
        let side = config.least_side().max(64);
        let x = Tensor::randn([2, 3, side, side], (Kind::Float, Device::Cpu));

        // Forward and backward: every output is finite, gradients arrive at both ends.
        let logits = model.forward_t(&x, true).unwrap().logits;
        assert_eq!(logits.size(), [2, 3, side, side], "{name}");
        logits.square().mean(Kind::Float).backward();
        let total = |prefix: &str| -> f64 {
            let chosen =
                model.named_parameters().into_iter().filter(|(n, t)| n.starts_with(prefix) && t.grad().defined());
            chosen.map(|(_, t)| t.grad().abs().sum(Kind::Double).double_value(&[])).sum()
        };
        let part = |(name, _): (String, Tensor)| name.split('.').next().unwrap().to_owned() + ".";
        let parts: BTreeSet<String> = model.named_parameters().into_iter().map(part).collect();
        assert!(parts.len() > 1, "{name}: {parts:?}");
        for part in &parts {
            let sum = total(part);
            assert!(sum.is_finite() && sum > 0.0, "{name}: gradients of {part} sum to {sum}");
        }

        // A batch of one in evaluation equals its row in a larger one; in double precision, since rounding grows with
        // depth where nothing was learned. An untrained EfficientNetV2-m makes 6e7 of it, so that what a nudge of the
        // input by 1e-12, some thousand roundings, does is allowed where that is more.
        let mut exact = Model::new(&config, Device::Cpu).unwrap();
        exact.copy_from(&model).unwrap();
        exact.parameters().set_kind(Kind::Double).unwrap();
        let wide = x.to_kind(Kind::Double);
        let evaluate = |x: &Tensor| tch::no_grad(|| exact.forward_t(x, false)).unwrap().logits;
        let several = evaluate(&wide);
        let apart = relative(&evaluate(&wide.narrow(0, 1, 1)), &several.narrow(0, 1, 1));
        let allowed = || relative(&evaluate(&(&wide * (1.0 + 1e-12))), &several).min(1e-3);
        assert!(apart < 1e-9 || apart < allowed(), "{name}: {apart:.1e}");

        // What cannot be run is refused.
        let odd = Tensor::zeros([1, 3, side, side + 1], (Kind::Float, Device::Cpu));
        match tch::no_grad(|| model.forward_t(&odd, false)) {
            Ok(output) => {
                assert_eq!(model.stride(), 1, "{name}");
                assert_eq!(output.logits.size(), [1, 3, side, side + 1], "{name}");
            }
            Err(error) => {
                assert!(model.stride() > 1, "{name}");
                assert!(matches!(error, ModelError::Indivisible { .. }), "{name}: {error}");
            }
        }
        if side > 64 {
            let small = Tensor::zeros([1, 3, 64, 64], (Kind::Float, Device::Cpu));
            assert!(matches!(model.forward_t(&small, false).unwrap_err(), ModelError::TooSmall { .. }), "{name}");
        }
        let grey = Tensor::zeros([1, 1, 64, 64], (Kind::Float, Device::Cpu));
        assert!(matches!(model.forward_t(&grey, false).unwrap_err(), ModelError::Input { .. }), "{name}");

        // Saved, changed, loaded: as it was. Saved twice: the same bytes. Each part once: all pairs would write 200 GB.
        if !(architectures.insert(config.architecture) | encoders.insert(config.encoder)) {
            continue;
        }
        let path = folder.path().join("w.safetensors");
        model.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let rows = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
        let mut other = Model::new(&config, Device::Cpu).unwrap();
        other.load(&path).unwrap();
        let again = tch::no_grad(|| other.forward_t(&x, false)).unwrap().logits;
        assert_eq!(again, rows, "{name}");
        other.save(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
        model.copy_from(&other).unwrap();
    }
}

#[test]
fn freezing_stops_weights_and_statistics() {
    tch::set_num_threads(2);
    let model = Model::new(&ModelConfig { classes: 2, ..ModelConfig::default() }, Device::Cpu).unwrap();
    assert!(model.parameters().freeze("encoder.") > 100);
    let x = Tensor::randn([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    let before: Vec<Tensor> = model.named_buffers().iter().map(|(_, t)| t.copy()).collect();
    model.forward_t(&x, true).unwrap().logits.sum(Kind::Float).backward();
    for ((name, now), then) in model.named_buffers().iter().zip(&before) {
        assert_eq!(now, then, "{name}");
    }
    for (name, tensor) in model.named_parameters() {
        assert_eq!(tensor.grad().defined(), !name.starts_with("encoder."), "{name}");
    }
}

#[test]
fn other_norms_take_the_place_of_batch_norm() {
    tch::set_num_threads(2);
    let x = Tensor::randn([1, 3, 64, 64], (Kind::Float, Device::Cpu));
    let batch = Model::new(&ModelConfig { classes: 2, ..ModelConfig::default() }, Device::Cpu).unwrap();
    for norm in [Norm::Group(8), Norm::Layer, Norm::FrozenBatch] {
        let model = Model::new(&ModelConfig { norm, classes: 2, ..ModelConfig::default() }, Device::Cpu).unwrap();
        let names = |m: &Model| m.named_parameters().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(&model), names(&batch), "{norm}: the affine weights keep their names");
        assert_eq!(model.named_buffers().is_empty(), norm != Norm::FrozenBatch, "{norm}");
        let logits = model.forward_t(&x, true).unwrap().logits;
        assert!(logits.isfinite().all().int64_value(&[]) == 1, "{norm}");
    }
}

/// To predict, a batch norm is folded into the convolution before it: the same function, in double precision to
/// rounding. The statistics are those of a batch: with arbitrary ones a deep network carries a difference of 1e-13 in
/// the image on to one of 1e-5 in the logits, folded or not.
#[test]
fn folded_norms_change_nothing() {
    use EncoderKind::{EfficientNetB0, EfficientNetV2S, HrNetW18, MobileNetV2, MobileNetV3Large, ResNet18};
    tch::set_num_threads(2);
    for encoder in [EfficientNetB0, EfficientNetV2S, HrNetW18, MobileNetV2, MobileNetV3Large, ResNet18] {
        tch::manual_seed(5);
        let (classes, norm_momentum) = (3, Some(1.0));
        let config = ModelConfig { encoder: Some(encoder), classes, norm_momentum, ..ModelConfig::default() };
        let model = Model::new(&config, Device::Cpu).unwrap();
        model.parameters().set_kind(Kind::Double).unwrap();
        let x = Tensor::randn([2, 3, 64, 64], (Kind::Double, Device::Cpu));
        tch::no_grad(|| model.forward_t(&x, true)).unwrap();
        let plain = model.forward_t(&x, false).unwrap().logits.detach();
        let folded = model.predict(&Input { images: &x, metadata: None }).unwrap();
        assert!(folded != plain, "{encoder}: nothing was folded");
        let difference = relative(&folded, &plain);
        assert!(difference < EXACT, "{encoder}: {difference:e}");
    }
}

#[test]
fn depth_is_the_references_unless_it_is_stated() {
    let read = |text: &str| toml::from_str::<ModelConfig>(text).unwrap();
    for (text, depth) in [
        ("architecture = 'pspnet'", 3),
        ("architecture = 'pspnet'\ndepth = 5", 5),
        ("architecture = 'unet'", 5),
        ("architecture = 'swin-unetr'", 5),
    ] {
        let config = read(text);
        assert_eq!(config.depth(), depth, "{text}");
        // A file of weights states it, so that it means the same whatever a later default is.
        assert_eq!(read(&toml::to_string(&config).unwrap()).depth, Some(depth), "{text}");
    }
}

#[test]
fn architectures_go_by_one_flat_list_of_names() {
    let names: BTreeSet<&str> = Architecture::all().map(Architecture::name).collect();
    assert_eq!((names.len(), Architecture::all().count()), (23, 23));
    for architecture in Architecture::all() {
        assert_eq!(Architecture::from_name(architecture.name()), Some(architecture));
        assert_eq!(serde_json::to_value(architecture).unwrap(), architecture.name());
        assert_eq!(serde_json::from_value::<Architecture>(architecture.name().into()).unwrap(), architecture);
    }
    let error = "unett".parse::<Architecture>().unwrap_err().to_string();
    assert!(
        error.starts_with("unknown architecture \"unett\"; did you mean unet? Expected one of unet, unetplusplus"),
        "{error}"
    );
    assert!(error.ends_with("nnunet, nnunet-resenc"), "{error}");
}
