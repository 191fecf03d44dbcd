//! Models against segmentation_models_pytorch and torchvision, and the contract that every pair of decoder and encoder
//! and every whole network keeps.

use std::collections::BTreeSet;

use carpus::models::{
    Architecture, Attention, EncoderKind, EncoderScale, Input, Model, ModelConfig, ModelError, NnUnetOptions, Norm,
    Output, Upsampling, WeightsError, read_tensors,
};
use serde::Deserialize;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::python;

/// A model to compare with the reference.
pub struct Case {
    pub config: ModelConfig,
    batch: i64,
    height: i64,
    width: i64,
}

impl Case {
    pub fn new(architecture: Architecture, encoder: EncoderKind) -> Self {
        Case::of(architecture, Some(encoder))
    }

    /// A network without an encoder from the list. Its images need not be multiples of anything.
    pub fn whole(architecture: Architecture) -> Self {
        Case { height: 67, width: 95, ..Case::of(architecture, None) }
    }

    fn of(architecture: Architecture, encoder: Option<EncoderKind>) -> Self {
        let config = ModelConfig {
            architecture,
            encoder,
            classes: 5,
            dropout: Some(0.0),
            drop_path: Some(0.0),
            ..ModelConfig::default()
        };
        let least = config.least_side();
        Case { config, batch: 2, height: least.max(64), width: least.max(96) }
    }

    fn encoder(&self) -> &str {
        self.config.backbone().map_or("own", EncoderKind::name)
    }

    pub fn name(&self) -> String {
        let c = &self.config;
        let attention = c.attention.map_or("plain", Attention::name);
        let size = c.feature_size.map_or(String::new(), |n| format!(".{n}"));
        let heads = if c.auxiliary { "two" } else { "one" };
        let parts = [c.architecture.name(), self.encoder(), attention, heads];
        let dilated = c.output_stride.map_or(String::new(), |stride| format!(".stride-{stride}"));
        let rates = c.atrous_rates.map_or(String::new(), |rates| format!(".rate-{}", rates[0]));
        format!("{}.{}.{}{size}{dilated}{rates}.{}", parts.join("."), c.in_channels, c.depth, self.height)
    }

    pub fn describe(&self) -> serde_json::Value {
        let c = &self.config;
        json!({
            "name": self.name(), "architecture": c.architecture, "encoder": c.backbone(), "in_channels": c.in_channels,
            "feature_size": c.feature_size.unwrap_or(24), "classes": c.classes, "depth": c.depth,
            "attention": c.attention, "auxiliary": c.auxiliary, "output_stride": c.output_stride,
            "atrous_rates": c.atrous_rates, "batch": self.batch, "height": self.height, "width": self.width,
        })
    }
}

#[derive(Deserialize)]
struct Facts {
    parameters: Vec<String>,
    state: Vec<String>,
    count: usize,
    grads: Vec<String>,
}

/// Largest difference relative to the largest value of the reference.
pub fn relative(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.size(), reference.size());
    let largest = reference.abs().max().double_value(&[]).max(1e-30);
    (ours - reference).abs().max().double_value(&[]) / largest
}

/// Logits by the names that the reference's go by in `mode`.
fn heads<'a>(mode: &str, output: &'a Output) -> Vec<(String, &'a Tensor)> {
    let auxiliary = output.auxiliary.iter().enumerate().map(|(i, logits)| (format!("{mode}.auxiliary.{i}"), logits));
    std::iter::once((mode.to_owned(), &output.logits)).chain(auxiliary).collect()
}

/// Sum of the mean squares of all heads' logits.
fn mean_square(output: &Output) -> Tensor {
    let one = |logits: &Tensor| logits.square().mean(logits.kind());
    output.auxiliary.iter().fold(one(&output.logits), |sum, logits| sum + one(logits))
}

/// Single precision, the order of sums differs in a few places, and deep networks carry that on.
pub const LOGITS: f64 = 1e-4;
/// In double precision the same function gives the same digits: what is left is rounding through hundreds of layers
/// and, rarely, a ReLU that it turns.
pub const EXACT: f64 = 1e-7;

pub fn compare(cases: &[Case]) {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let list: Vec<_> = cases.iter().map(Case::describe).collect();
    std::fs::write(folder.path().join("cases.json"), serde_json::to_string(&list).unwrap()).unwrap();
    python::run("models.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    for case in cases {
        let name = case.name();
        let file = |what: &str| folder.path().join(format!("{name}.{what}"));
        let facts: Facts = serde_json::from_str(&std::fs::read_to_string(file("json")).unwrap()).unwrap();
        let io = read_tensors(&file("io.safetensors")).unwrap();
        let mut model = Model::new(&case.config, Device::Cpu).unwrap();

        let names = |list: Vec<(String, Tensor)>| list.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(model.named_parameters()), facts.parameters, "{name}");
        assert_eq!(names(model.state()), facts.state, "{name}");
        assert_eq!(model.parameters().count(), facts.count, "{name}");
        model.load(&file("weights.safetensors")).unwrap();

        let eval = tch::no_grad(|| model.forward_t(&io["x"], false)).unwrap().logits;
        let difference = relative(&eval, &io["eval"]);
        // Two that are each as far from the truth as the reference is can be twice as far from each other.
        let own = relative(&io["eval"].to_kind(Kind::Double), &io["exact_eval"]);
        assert!(
            difference <= LOGITS.max(2.0 * own),
            "{name}: logits in evaluation differ by {difference:e}; the reference is {own:e} from double precision"
        );

        let output = tch::no_grad(|| model.forward_t(&io["x"], true)).unwrap();
        for (what, ours) in heads("train", &output) {
            let difference = relative(ours, &io[&what]);
            assert!(difference <= LOGITS, "{name}: logits {what} differ by {difference:e}");
        }
        let auxiliary = io.keys().filter(|n| n.starts_with("train.auxiliary.")).count();
        assert_eq!(output.auxiliary.len(), auxiliary, "{name}");
        for (buffer, tensor) in model.named_buffers() {
            // With fewer stages the reference still runs one stage beyond the deepest feature; nothing reads it.
            let layer = buffer.rsplit_once('.').expect("a buffer belongs to a layer").0;
            let steps = model.parameters().get(&format!("{layer}.num_batches_tracked"));
            if case.config.depth < 5 && steps.is_some_and(|n| n.int64_value(&[]) == 7) {
                continue;
            }
            // Some encoders hold fixed tables beside their statistics; those are in the state dict checked above.
            if let Some(after) = io.get(&format!("after.{buffer}")) {
                let difference = relative(&tensor.to_kind(Kind::Float), &after.to_kind(Kind::Float));
                assert!(difference <= LOGITS, "{name}: {buffer} after a step differs by {difference:e}");
            }
        }

        model.load(&file("weights.safetensors")).unwrap();
        model.parameters().set_kind(Kind::Double).unwrap();
        let x = io["x"].to_kind(Kind::Double).set_requires_grad(true);
        let eval = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
        let difference = relative(&eval, &io["exact_eval"]);
        assert!(difference <= EXACT, "{name}: logits in evaluation in double precision differ by {difference:e}");
        let output = model.forward_t(&x, true).unwrap();
        for (what, ours) in heads("exact", &output) {
            let difference = relative(ours, &io[&what]);
            assert!(difference <= EXACT, "{name}: logits {what} in double precision differ by {difference:e}");
        }
        mean_square(&output).backward();
        let difference = relative(&x.grad(), &io["grad.x"]);
        assert!(difference <= EXACT, "{name}: the input's gradient differs by {difference:e}");
        for parameter in &facts.grads {
            let ours = model.parameters().get(parameter).unwrap().grad();
            let difference = relative(&ours, &io[&format!("grad.{parameter}")]);
            assert!(difference <= EXACT, "{name}: the gradient of {parameter} differs by {difference:e}");
        }
    }
}

/// `CARPUS_PARITY=all` compares everything with everything; else each test takes a sample.
pub fn all() -> bool {
    std::env::var("CARPUS_PARITY").is_ok_and(|v| v == "all")
}

#[test]
fn fpn_on_efficientnet_equals_the_reference() {
    let mut cases = vec![Case::new(Architecture::Fpn, EncoderKind::EfficientNetB0)];
    let mut grey = Case::new(Architecture::Fpn, EncoderKind::EfficientNetB0);
    grey.config.in_channels = 1;
    grey.config.depth = 4;
    cases.push(grey);
    cases.push(Case::new(Architecture::Fpn, EncoderKind::EfficientNetB1));
    compare(&cases);
}

/// One of each family; `models_matrix` has every one.
#[test]
fn encoders_equal_the_reference() {
    use EncoderKind::{MitB0, MobileNetV2, ResNet18, ResNet50};
    let sample = [ResNet18, ResNet50, MobileNetV2, MitB0];
    let mut cases: Vec<_> = sample.iter().map(|e| Case::new(Architecture::Fpn, *e)).collect();
    for (architecture, encoder) in [
        (Architecture::Segformer, MitB0),
        (Architecture::UperNet, MitB0),
        (Architecture::Unet, MitB0),
        (Architecture::MaNet, MitB0),
        (Architecture::DeepLabV3, MobileNetV2),
    ] {
        cases.push(Case::new(architecture, encoder));
    }
    let mut grey = Case::new(Architecture::Segformer, MitB0);
    grey.config.in_channels = 1;
    cases.push(grey);
    compare(&cases);
}

/// A decoder of the first reference: whole networks and the second reference's models are compared on their own.
fn takes_any_encoder(architecture: Architecture) -> bool {
    architecture.default_encoder().is_some() && architecture.own_encoders().is_none()
}

#[test]
fn swin_equals_the_reference_at_any_size() {
    use EncoderKind::{SwinBase, SwinSmall, SwinTiny};
    let mut cases = Vec::new();
    let kinds: &[_] = if all() { &[SwinTiny, SwinSmall, SwinBase] } else { &[SwinTiny] };
    for kind in kinds {
        // 64 x 96 leaves grids smaller than a window.
        cases.push(Case::new(Architecture::Fpn, *kind));
        if all() {
            cases.push(Case::new(Architecture::Unet, *kind));
        }
    }
    // Here the fourth stage has more than one window.
    cases.push(Case { height: 256, width: 288, ..Case::new(Architecture::UperNet, SwinTiny) });
    for depth in [3, 4] {
        let mut grey = Case::new(Architecture::Unet, SwinTiny);
        grey.config.in_channels = 1;
        grey.config.depth = depth;
        if all() || depth == 4 {
            cases.push(grey);
        }
    }
    compare(&cases);
}

#[test]
fn swin_unetr_equals_the_reference() {
    // Windows that are smaller than 7 x 7 in both directions, and in one.
    let sizes = [(1, None, 64, 96), (3, Some(36), 96, 256), (3, Some(48), 128, 64)];
    let mut cases = Vec::new();
    for (in_channels, feature_size, height, width) in sizes.into_iter().take(if all() { 3 } else { 2 }) {
        let mut case = Case { height, width, ..Case::new(Architecture::SwinUnetr, EncoderKind::SwinTiny) };
        case.config = ModelConfig { encoder: None, in_channels, feature_size, ..case.config };
        cases.push(case);
    }
    compare(&cases);
}

/// Networks of timm's under SMP's decoders: a grey image, fewer stages, stages dilated in both ways, and decoders
/// that do without a feature at stride 2.
#[test]
fn timms_encoders_equal_the_reference() {
    use EncoderKind::{ConvNeXtTiny, ConvNeXtV2Tiny, HrNetW18};
    let mut cases = vec![Case::new(Architecture::UperNet, ConvNeXtV2Tiny)];
    let mut add = |architecture, encoder, in_channels, depth| {
        let mut case = Case::new(architecture, encoder);
        case.config.in_channels = in_channels;
        case.config.depth = depth;
        cases.push(case);
    };
    add(Architecture::Fpn, HrNetW18, 1, 5);
    add(Architecture::Unet, HrNetW18, 3, 3);
    add(Architecture::Unet, ConvNeXtTiny, 1, 4);
    add(Architecture::DeepLabV3, ConvNeXtTiny, 3, 5);
    add(Architecture::DeepLabV3Plus, ConvNeXtV2Tiny, 3, 5);
    add(Architecture::UnetPlusPlus, ConvNeXtTiny, 3, 5);
    if all() {
        for encoder in [HrNetW18, ConvNeXtTiny] {
            let pairs = Architecture::ALL.iter().flat_map(|a| (3..=5).map(move |depth| (*a, depth)));
            let pairs = pairs.filter(|(a, _)| a.reference().starts_with("smp."));
            for (architecture, depth) in pairs {
                add(architecture, encoder, 3, depth);
            }
        }
    }
    if all() {
        let mut gated = Case::new(Architecture::UnetPlusPlus, ConvNeXtTiny);
        gated.config.attention = Some(Attention::Scse);
        cases.push(gated);
    }
    cases.retain(|case| case.config.validate().is_ok());
    compare(&cases);
}

/// Against our own writing of the paper's equations in PyTorch.
#[test]
fn hrnet_with_object_contexts_equals_the_equations() {
    use EncoderKind::{HrNetW18, HrNetW32, HrNetW48};
    let encoders: &[EncoderKind] = if all() { &[HrNetW18, HrNetW32, HrNetW48] } else { &[HrNetW18] };
    let mut cases: Vec<_> = encoders.iter().map(|e| Case::new(Architecture::HrNetOcr, *e)).collect();
    cases[0].config.in_channels = 1;
    compare(&cases);
}

#[test]
fn timms_mobile_encoders_equal_the_reference() {
    use EncoderKind::{EfficientNetV2S, MobileNetV3Large};
    let mut cases: Vec<_> = [EfficientNetV2S, MobileNetV3Large].map(|e| Case::new(Architecture::Fpn, e)).into();
    // The larger one has hundreds of layers, which take their time in double precision.
    let more = if all() { &[MobileNetV3Large, EfficientNetV2S][..] } else { &[MobileNetV3Large] };
    for encoder in more.iter().copied() {
        cases.push(Case::new(Architecture::DeepLabV3, encoder));
        let mut grey = Case::new(Architecture::Unet, encoder);
        grey.config.in_channels = 1;
        grey.config.depth = 4;
        cases.push(grey);
        if all() {
            cases.push(Case::new(Architecture::DeepLabV3Plus, encoder));
            let mut shallow = Case::new(Architecture::Linknet, encoder);
            shallow.config.depth = 3;
            cases.push(shallow);
        }
    }
    compare(&cases);
}

#[test]
fn torchvisions_networks_equal_the_reference() {
    let mut cases = Vec::new();
    for architecture in Architecture::ALL.iter().copied().filter(|a| a.name().starts_with("torchvision-")) {
        cases.push(Case::whole(architecture));
        if architecture.refuses_auxiliary().is_none() {
            let mut two = Case::whole(architecture);
            two.config.auxiliary = true;
            cases.push(two);
        }
        if all() || architecture != Architecture::TorchvisionDeepLabV3 {
            let mut grey = Case::whole(architecture);
            grey.config.in_channels = 1;
            cases.push(grey);
        }
    }
    compare(&cases);
}

#[test]
fn every_decoder_equals_the_reference() {
    let mut cases = Vec::new();
    let decoders: Vec<_> = Architecture::ALL.iter().filter(|a| a.reference().starts_with("smp.")).collect();
    for architecture in &decoders {
        cases.push(Case::new(**architecture, EncoderKind::EfficientNetB0));
        // Dilated stages differ between the families.
        if all() || architecture.output_strides()[0] < 32 {
            cases.push(Case::new(**architecture, EncoderKind::ResNet34));
        }
    }
    for architecture in [Architecture::Unet, Architecture::UnetPlusPlus] {
        let mut case = Case::new(architecture, EncoderKind::ResNet18);
        case.config.attention = Some(Attention::Scse);
        cases.push(case);
    }
    for depth in [3, 4] {
        for architecture in &decoders {
            if all() || matches!(architecture, Architecture::PspNet | Architecture::Unet | Architecture::Fpn) {
                let mut case = Case::new(**architecture, EncoderKind::ResNet18);
                case.config.depth = depth;
                cases.push(case);
            }
        }
    }
    // The strides and dilations that the reference can be asked for.
    for (architecture, encoder, stride, rates) in [
        (Architecture::DeepLabV3, EncoderKind::ResNet18, 16, None),
        (Architecture::DeepLabV3Plus, EncoderKind::MobileNetV2, 8, Some([6, 12, 18])),
        (Architecture::Pan, EncoderKind::MitB0, 32, None),
    ] {
        let mut case = Case::new(architecture, encoder);
        case.config.output_stride = Some(stride);
        case.config.atrous_rates = rates;
        let least = case.config.least_side();
        cases.push(Case { height: case.height.max(least), width: case.width.max(least), ..case });
    }
    // hrnet-ocr stands on an HRNet alone and has a test of its own.
    cases.retain(|case| case.config.architecture != Architecture::HrNetOcr);
    compare(&cases);
}

/// Every pair of architecture and encoder, and whole networks by themselves. Small encoders stand for their families
/// where not everything is asked for.
fn contract_configs() -> Vec<ModelConfig> {
    use EncoderKind::{ConvNeXtV2Tiny, EfficientNetB0, HrNetW18, MitB0, MobileNetV2, MobileNetV3Large, ResNet18};
    let small = [EfficientNetB0, ResNet18, MobileNetV2, MobileNetV3Large, MitB0, HrNetW18, ConvNeXtV2Tiny];
    let encoders = if all() { EncoderKind::ALL } else { &small };
    let pairs = Architecture::ALL.iter().flat_map(|a| encoders.iter().map(move |e| (*a, *e)));
    let config = |(architecture, encoder)| ModelConfig {
        architecture,
        encoder: Some(encoder),
        classes: 3,
        ..ModelConfig::default()
    };
    // Those that stand on few encoders or on none from the list, as they come; nnU-Net's small.
    let own = Architecture::ALL.iter().filter(|a| !takes_any_encoder(**a));
    let nnunet = NnUnetOptions { stages: 5, features: 8, ..NnUnetOptions::default() };
    let small = |a: Architecture| if a.name().starts_with("nnunet") { nnunet } else { NnUnetOptions::default() };
    let own = own.map(|a| ModelConfig { architecture: *a, classes: 3, nnunet: small(*a), ..ModelConfig::default() });
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
        Architecture::HrNetOcr => is_hrnet,
        Architecture::UnetPlusPlus | Architecture::Linknet => !is_mit,
        Architecture::SegformerTransformers => is_mit,
        Architecture::UperNetTransformers => {
            is_swin || matches!(encoder, ConvNeXtV2Tiny | ConvNeXtV2Base | ConvNeXtV2Large)
        }
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
                let way_out = if is_whole { "leave `encoder` out" } else { "take another encoder" };
                assert!(text.contains(way_out), "{text}");
            }
        }
    }
    assert!(legal > 3 * Architecture::ALL.len());
    let wrong = ModelConfig { attention: Some(Attention::Scse), ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("attention"));
    let ocr = ModelConfig { architecture: Architecture::HrNetOcr, ..ModelConfig::default() };
    assert_eq!(ocr.backbone(), Some(EncoderKind::HrNetW18));
    assert!(ModelConfig { depth: 4, ..ocr }.validate().unwrap_err().to_string().contains("depth"));
    for (encoder, refused) in [(EncoderKind::HrNetW18, true), (EncoderKind::ConvNeXtTiny, false)] {
        let config = ModelConfig { encoder: Some(encoder), drop_path: Some(0.1), ..ModelConfig::default() };
        let text = config.validate().err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(text.contains("stochastic depth"), refused, "{encoder}: {text}");
    }
    let wrong = ModelConfig { auxiliary: true, ..ModelConfig::default() };
    assert!(wrong.validate().is_ok(), "any decoder takes one");
    let wrong = ModelConfig { architecture: Architecture::TorchvisionFcn, depth: 4, ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("depth"));
    let wrong = ModelConfig { in_channels: 2, ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("1 or 3"));
    let wrong = ModelConfig { feature_size: Some(24), ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("swin-unetr"));
    let unetr = ModelConfig { architecture: Architecture::SwinUnetr, ..ModelConfig::default() };
    let wrong = ModelConfig { feature_size: Some(30), ..unetr.clone() };
    assert!(wrong.validate().unwrap_err().to_string().contains("24, 36 and 48"));
    let wrong = ModelConfig { depth: 4, ..unetr };
    assert!(wrong.validate().unwrap_err().to_string().contains("all 5 stages"));
}

/// The README's table names every key of a configuration's model, and no other.
#[test]
fn every_key_of_a_model_is_in_the_readme() {
    let readme = std::fs::read_to_string(python::root().join("README.md")).unwrap();
    let table = readme.split("| key | values | what |").nth(1).unwrap().split("\n\n").next().unwrap();
    let first_cells = table.lines().filter_map(|line| line.split('|').nth(1));
    let listed: BTreeSet<&str> = first_cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    // The reader of TOML tells what there is.
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
    let stem = || on(Architecture::Unet);
    for (config, words) in [
        (ModelConfig { dropout, ..stem() }, vec!["dropout is 0.2", "unet has none", "head-dropout"]),
        (
            ModelConfig { upsampling_mode: nearest, ..stem() },
            vec!["upsampling-mode is nearest", "at the size of the image"],
        ),
        (ModelConfig { dropout, ..on(Architecture::TorchvisionLraspp) }, vec!["dropout is 0.2", "torchvision-lraspp"]),
        (ModelConfig { drop_path, ..on(Architecture::TorchvisionFcn) }, vec!["drop-path is 0.2", "torchvision-fcn"]),
        (ModelConfig { drop_path, ..on(Architecture::NnUnet) }, vec!["drop-path is 0.2", "nnunet"]),
        (ModelConfig { norm: Norm::Layer, ..on(Architecture::SwinUnetr) }, vec!["swin-unetr has no batch norm"]),
        (ModelConfig { norm_momentum: Some(0.1), ..on(Architecture::SwinUnetr) }, vec!["norm-momentum"]),
        (ModelConfig { auxiliary: true, ..on(Architecture::HrNetOcr) }, vec!["auxiliary", "always on"]),
        (ModelConfig { auxiliary: true, ..on(Architecture::NnUnet) }, vec!["deep-supervision"]),
        (ModelConfig { output_stride: Some(16), ..stem() }, vec!["output-stride is 16", "unet has 32"]),
        (ModelConfig { output_stride: Some(4), ..on(Architecture::Pan) }, vec!["pan has 16 or 32"]),
        (ModelConfig { atrous_rates: Some([1, 2, 3]), ..on(Architecture::Pan) }, vec!["atrous-rates", "deeplabv3"]),
        (ModelConfig { atrous_rates: Some([1, 0, 3]), ..on(Architecture::DeepLabV3) }, vec!["[1, 0, 3]"]),
        (ModelConfig { encoder: Some(EncoderKind::MitB0), ..on(Architecture::Pan) }, vec!["or output-stride = 32"]),
    ] {
        let text = config.validate().expect_err("it has no place").to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    // At rates of 0 nothing is asked for.
    ModelConfig { dropout: Some(0.0), drop_path: Some(0.0), ..on(Architecture::TorchvisionLraspp) }.validate().unwrap();
    let pan = ModelConfig { encoder: Some(EncoderKind::MitB0), output_stride: Some(32), ..on(Architecture::Pan) };
    pan.validate().unwrap();
}

/// At every depth and output stride logits have the size of the image, at the smallest image that is taken.
#[test]
fn logits_have_the_size_of_the_image_at_every_depth_and_stride() {
    tch::set_num_threads(2);
    let encoders = [EncoderKind::ResNet18, EncoderKind::MitB0, EncoderKind::MobileNetV3Large];
    let mut tried = BTreeSet::new();
    for architecture in Architecture::ALL.iter().copied().filter(|a| takes_any_encoder(*a)) {
        for (encoder, depth) in encoders.into_iter().flat_map(|e| (3..=5).map(move |depth| (e, depth))) {
            for stride in architecture.output_strides().iter().copied() {
                let config = ModelConfig {
                    architecture,
                    encoder: Some(encoder),
                    depth,
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
    for architecture in [Architecture::Fpn, Architecture::Pan, Architecture::DeepLabV3, Architecture::DeepLabV3Plus] {
        let strides = architecture.output_strides();
        let pairs = (3..=5).flat_map(|depth| strides.iter().map(move |stride| (architecture, depth, *stride)));
        assert!(pairs.into_iter().all(|pair| tried.contains(&pair)), "{architecture}");
    }
}

/// Gates squeeze the few channels of a reduced encoder into one.
#[test]
fn attention_gates_fit_narrow_maps() {
    let config = ModelConfig {
        architecture: Architecture::UnetPlusPlus,
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
    for config in contract_configs().into_iter().filter(|c| c.validate().is_ok()) {
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
fn a_checkpoint_that_does_not_fit_is_refused_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut model = Model::new(&ModelConfig::default(), Device::Cpu).unwrap();
    let mut tensors = model.state();
    tensors.retain(|(name, _)| name != "decoder.p5.bias");
    tensors.push(("stranger".to_owned(), Tensor::zeros([1], (Kind::Float, Device::Cpu))));
    for (name, tensor) in &mut tensors {
        if name == "segmentation_head.0.weight" {
            *tensor = tensor.narrow(0, 0, 7).copy();
        }
        if name == "decoder.p4.skip_conv.bias" {
            *tensor = tensor.ones_like();
        }
    }
    carpus::models::write_tensors(&path, &tensors).unwrap();
    let before = model.parameters().get("decoder.p4.skip_conv.bias").unwrap().copy();
    let error = model.load(&path).unwrap_err();
    let WeightsError::Mismatch { missing, surplus, misshapen, .. } = &error else { panic!("{error}") };
    assert_eq!(missing, &["decoder.p5.bias"]);
    assert_eq!(surplus, &["stranger"]);
    assert!(misshapen[0].starts_with("segmentation_head.0.weight"), "{misshapen:?}");
    assert!(error.to_string().contains("stranger"));
    assert_eq!(model.parameters().get("decoder.p4.skip_conv.bias").unwrap(), &before, "nothing was changed");
    std::fs::write(&path, b"not weights").unwrap();
    assert!(matches!(model.load(&path), Err(WeightsError::Format { .. })));
}

#[test]
fn an_encoders_weights_fit_one_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let config = ModelConfig { encoder: Some(EncoderKind::ResNet18), ..ModelConfig::default() };
    let rgb = Model::new(&config, Device::Cpu).unwrap();
    // As published for the encoder: no prefix, with a classifier.
    let mut tensors: Vec<_> = rgb
        .state()
        .into_iter()
        .filter_map(|(name, t)| name.strip_prefix("encoder.").map(|n| (n.to_owned(), t)))
        .collect();
    tensors.push(("fc.weight".to_owned(), Tensor::zeros([10, 512], (Kind::Float, Device::Cpu))));
    carpus::models::write_tensors(&path, &tensors).unwrap();
    let mut grey = Model::new(&ModelConfig { in_channels: 1, ..config }, Device::Cpu).unwrap();
    grey.load_encoder(&path).unwrap();
    let ours = grey.parameters().get("encoder.conv1.weight").unwrap();
    let sum =
        rgb.parameters().get("encoder.conv1.weight").unwrap().sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    assert_eq!(ours.size(), [64, 1, 7, 7]);
    assert!(relative(&ours.detach(), &sum.detach()) < 1e-6);
    // A grey image says the same to both stems.
    let x = Tensor::randn([1, 1, 64, 64], (Kind::Float, Device::Cpu));
    let stem = |m: &Model, x: &Tensor| {
        let w = m.parameters().get("encoder.conv1.weight").unwrap();
        x.conv2d(w, None::<Tensor>, [2, 2], [3, 3], [1, 1], 1).detach()
    };
    assert!(relative(&stem(&grey, &x), &stem(&rgb, &x.expand([1, 3, 64, 64], false))) < 1e-5);
}

/// What an encoder's own library publishes: no prefix, a classifier, no counters of batches.
fn published(model: &Model, prefix: &str, wrapping: &str, head: &[&str]) -> Vec<(String, Tensor)> {
    let kept = |name: &str| !name.ends_with("num_batches_tracked");
    let inside = |(name, tensor): (String, Tensor)| {
        name.strip_prefix(prefix).filter(|n| kept(n)).map(|n| (format!("{wrapping}{n}"), tensor))
    };
    let float = (Kind::Float, Device::Cpu);
    let head = head.iter().map(|name| (name.to_string(), Tensor::zeros([3, 8], float)));
    model.state().into_iter().filter_map(inside).chain(head).collect()
}

#[test]
fn published_weights_load_into_wrapped_encoders_and_backbones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let on = |encoder| ModelConfig { encoder: Some(encoder), classes: 2, ..ModelConfig::default() };
    let whole = |architecture| ModelConfig { architecture, classes: 2, ..ModelConfig::default() };
    let timm = ["conv_head.weight", "bn2.running_mean", "classifier.weight"];
    let torchvision = ["classifier.0.weight"];
    for (config, prefix, wrapping, head) in [
        (on(EncoderKind::MobileNetV3Large), "encoder.model.", "", &timm[..]),
        (on(EncoderKind::EfficientNetV2S), "encoder.model.", "", &timm[..]),
        (on(EncoderKind::MobileNetV3Large), "encoder.model.", "model.", &[]),
        (on(EncoderKind::MobileNetV2), "encoder.", "", &torchvision[..]),
        (whole(Architecture::TorchvisionLraspp), "backbone.", "features.", &torchvision[..]),
        (whole(Architecture::TorchvisionFcn), "backbone.", "", &["fc.weight"]),
        (whole(Architecture::TorchvisionDeepLabV3), "backbone.", "backbone.", &torchvision[..]),
    ] {
        let name = format!("{} from {wrapping:?}", config.describe());
        tch::manual_seed(1);
        let from = Model::new(&config, Device::Cpu).unwrap();
        carpus::models::write_tensors(&path, &published(&from, prefix, wrapping, head)).unwrap();
        let mut to = Model::new(&ModelConfig { in_channels: 1, ..config }, Device::Cpu).unwrap();
        to.load_encoder(&path).unwrap();
        let mut differ = Vec::new();
        for ((parameter, ours), (_, theirs)) in to.named_parameters().into_iter().zip(from.named_parameters()) {
            if !parameter.starts_with(prefix) {
                continue;
            }
            if ours.size() == theirs.size() {
                assert_eq!(ours, theirs, "{name}: {parameter}");
            } else {
                assert!(
                    relative(&ours, &theirs.sum_dim_intlist([1i64].as_slice(), true, Kind::Float)) < 1e-6,
                    "{name}"
                );
                differ.push(parameter);
            }
        }
        assert_eq!(differ.len(), 1, "{name}: the first layer alone is fitted: {differ:?}");
    }
    // The weights of another encoder are refused.
    let mut other = Model::new(&on(EncoderKind::ResNet18), Device::Cpu).unwrap();
    let error = other.load_encoder(&path).unwrap_err();
    assert!(matches!(error, WeightsError::Encoder { .. }));
    assert!(error.to_string().contains("carpus models convert"), "{error}");
}

#[test]
fn freezing_stops_weights_and_statistics() {
    tch::set_num_threads(2);
    let model = Model::new(&ModelConfig { classes: 2, ..ModelConfig::default() }, Device::Cpu).unwrap();
    assert!(model.parameters().set_trainable("encoder.", false) > 100);
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

/// To predict, a batch norm is folded into the convolution before it: the same function, in double precision to rounding. The statistics are those of a batch: with arbitrary ones a deep network carries a difference of 1e-13 in the
/// image on to one of 1e-5 in the logits, folded or not.
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
