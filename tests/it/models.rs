//! Models against segmentation_models_pytorch, timm, torchvision and MONAI.

use carpus::models::Architecture::{Decoder, Network};
use carpus::models::{
    Architecture, Attention, DecoderKind, EncoderKind, Model, ModelConfig, NetworkKind, Output, read_tensors,
};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
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
        format!("{}.{}.{}{size}{dilated}{rates}.{}", parts.join("."), c.in_channels, c.depth(), self.height)
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
            if case.config.depth() < 5 && steps.is_some_and(|n| n.int64_value(&[]) == 7) {
                continue;
            }
            // Some encoders have fixed tables next to their statistics; those are in the state dict checked above.
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

/// All cases with `CARPUS_PARITY=all`, else so many of them, drawn by the run's seed: others in every run.
pub fn drawn<T>(cases: impl IntoIterator<Item = T>, n: usize) -> Vec<T> {
    let mut cases: Vec<T> = cases.into_iter().collect();
    assert!(cases.len() > n, "{} cases are no more than {n}", cases.len());
    if !all() {
        cases.shuffle(&mut ChaCha8Rng::seed_from_u64(python::seed()));
        cases.truncate(n);
    }
    cases
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn fpn_on_efficientnet_equals_the_reference() {
    let mut cases = vec![Case::new(Decoder(DecoderKind::Fpn), EncoderKind::EfficientNetB0)];
    let mut grey = Case::new(Decoder(DecoderKind::Fpn), EncoderKind::EfficientNetB0);
    grey.config.in_channels = 1;
    grey.config.depth = Some(4);
    cases.push(grey);
    cases.push(Case::new(Decoder(DecoderKind::Fpn), EncoderKind::EfficientNetB1));
    compare(&cases);
}

/// One of each family; `models_matrix` has every one.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn encoders_equal_the_reference() {
    use EncoderKind::{MitB0, MobileNetV2, ResNet18, ResNet50};
    let sample = [ResNet18, ResNet50, MobileNetV2, MitB0];
    let mut cases: Vec<_> = sample.iter().map(|e| Case::new(Decoder(DecoderKind::Fpn), *e)).collect();
    for (architecture, encoder) in [
        (Decoder(DecoderKind::Segformer), MitB0),
        (Decoder(DecoderKind::UperNet), MitB0),
        (Decoder(DecoderKind::Unet), MitB0),
        (Decoder(DecoderKind::MaNet), MitB0),
        (Decoder(DecoderKind::DeepLabV3), MobileNetV2),
    ] {
        cases.push(Case::new(architecture, encoder));
    }
    let mut grey = Case::new(Decoder(DecoderKind::Segformer), MitB0);
    grey.config.in_channels = 1;
    cases.push(grey);
    compare(&drawn(cases, 4));
}

/// A decoder of the first reference: whole networks and the second reference's models are compared on their own.
pub fn takes_any_encoder(architecture: Architecture) -> bool {
    architecture.default_encoder().is_some() && architecture.own_encoders().is_none()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn swin_equals_the_reference_at_any_size() {
    use EncoderKind::{SwinBase, SwinSmall, SwinTiny};
    let mut cases = Vec::new();
    let kinds: &[_] = if all() { &[SwinTiny, SwinSmall, SwinBase] } else { &[SwinTiny] };
    for kind in kinds {
        // 64 x 96 leaves grids smaller than a window.
        cases.push(Case::new(Decoder(DecoderKind::Fpn), *kind));
        if all() {
            cases.push(Case::new(Decoder(DecoderKind::Unet), *kind));
        }
    }
    // Here the fourth stage has more than one window.
    cases.push(Case { height: 256, width: 288, ..Case::new(Decoder(DecoderKind::UperNet), SwinTiny) });
    for depth in [3, 4] {
        let mut grey = Case::new(Decoder(DecoderKind::Unet), SwinTiny);
        grey.config.in_channels = 1;
        grey.config.depth = Some(depth);
        if all() || depth == 4 {
            cases.push(grey);
        }
    }
    compare(&drawn(cases, 2));
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn swin_unetr_equals_the_reference() {
    // Windows that are smaller than 7 x 7 in both directions, and in one.
    let sizes = [(1, None, 64, 96), (3, Some(36), 96, 256), (3, Some(48), 128, 64)];
    let mut cases = Vec::new();
    for (in_channels, feature_size, height, width) in sizes.into_iter().take(if all() { 3 } else { 2 }) {
        let mut case = Case { height, width, ..Case::new(Network(NetworkKind::SwinUnetr), EncoderKind::SwinTiny) };
        case.config = ModelConfig { encoder: None, in_channels, feature_size, ..case.config };
        cases.push(case);
    }
    compare(&cases);
}

/// Networks of timm's under SMP's decoders: a grey image, fewer stages, stages dilated in both ways, and decoders
/// that do without a feature at stride 2.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn timms_encoders_equal_the_reference() {
    use EncoderKind::{ConvNeXtTiny, ConvNeXtV2Tiny, HrNetW18};
    let mut cases = vec![Case::new(Decoder(DecoderKind::UperNet), ConvNeXtV2Tiny)];
    let mut add = |architecture, encoder, in_channels, depth| {
        let mut case = Case::new(architecture, encoder);
        case.config.in_channels = in_channels;
        case.config.depth = Some(depth);
        cases.push(case);
    };
    add(Decoder(DecoderKind::Fpn), HrNetW18, 1, 5);
    add(Decoder(DecoderKind::Unet), HrNetW18, 3, 3);
    add(Decoder(DecoderKind::Unet), ConvNeXtTiny, 1, 4);
    add(Decoder(DecoderKind::DeepLabV3), ConvNeXtTiny, 3, 5);
    add(Decoder(DecoderKind::DeepLabV3Plus), ConvNeXtV2Tiny, 3, 5);
    add(Decoder(DecoderKind::UnetPlusPlus), ConvNeXtTiny, 3, 5);
    if all() {
        for encoder in [HrNetW18, ConvNeXtTiny] {
            let pairs = Architecture::all().flat_map(|a| (3..=5).map(move |depth| (a, depth)));
            let pairs = pairs.filter(|(a, _)| a.reference().starts_with("smp."));
            for (architecture, depth) in pairs {
                add(architecture, encoder, 3, depth);
            }
        }
    }
    if all() {
        let mut gated = Case::new(Decoder(DecoderKind::UnetPlusPlus), ConvNeXtTiny);
        gated.config.attention = Some(Attention::Scse);
        cases.push(gated);
    }
    cases.retain(|case| case.config.validate().is_ok());
    compare(&drawn(cases, 3));
}

/// Against our own writing of the paper's equations in PyTorch.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn hrnet_with_object_contexts_equals_the_equations() {
    use EncoderKind::{HrNetW18, HrNetW32, HrNetW48};
    let encoders: &[EncoderKind] = if all() { &[HrNetW18, HrNetW32, HrNetW48] } else { &[HrNetW18] };
    let mut cases: Vec<_> = encoders.iter().map(|e| Case::new(Decoder(DecoderKind::HrNetOcr), *e)).collect();
    cases[0].config.in_channels = 1;
    compare(&cases);
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn timms_mobile_encoders_equal_the_reference() {
    use EncoderKind::{EfficientNetV2S, MobileNetV3Large};
    let mut cases: Vec<_> = [EfficientNetV2S, MobileNetV3Large].map(|e| Case::new(Decoder(DecoderKind::Fpn), e)).into();
    // The larger one has hundreds of layers, which take their time in double precision.
    let more = if all() { &[MobileNetV3Large, EfficientNetV2S][..] } else { &[MobileNetV3Large] };
    for encoder in more.iter().copied() {
        cases.push(Case::new(Decoder(DecoderKind::DeepLabV3), encoder));
        let mut grey = Case::new(Decoder(DecoderKind::Unet), encoder);
        grey.config.in_channels = 1;
        grey.config.depth = Some(4);
        cases.push(grey);
        if all() {
            cases.push(Case::new(Decoder(DecoderKind::DeepLabV3Plus), encoder));
            let mut shallow = Case::new(Decoder(DecoderKind::Linknet), encoder);
            shallow.config.depth = Some(3);
            cases.push(shallow);
        }
    }
    compare(&drawn(cases, 2));
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn torchvisions_networks_equal_the_reference() {
    let mut cases = Vec::new();
    for architecture in Architecture::all().filter(|a| a.name().starts_with("torchvision-")) {
        cases.push(Case::whole(architecture));
        if architecture.refuses_auxiliary().is_none() {
            let mut two = Case::whole(architecture);
            two.config.auxiliary = true;
            cases.push(two);
        }
        if all() || architecture != Network(NetworkKind::TorchvisionDeepLabV3) {
            let mut grey = Case::whole(architecture);
            grey.config.in_channels = 1;
            cases.push(grey);
        }
    }
    compare(&drawn(cases, 5));
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn every_decoder_equals_the_reference() {
    let mut cases = Vec::new();
    let decoders: Vec<_> = Architecture::all().filter(|a| a.reference().starts_with("smp.")).collect();
    for architecture in &decoders {
        cases.push(Case::new(*architecture, EncoderKind::EfficientNetB0));
        // Dilated stages differ between the families.
        if all() || architecture.output_strides()[0] < 32 {
            cases.push(Case::new(*architecture, EncoderKind::ResNet34));
        }
    }
    for architecture in [Decoder(DecoderKind::Unet), Decoder(DecoderKind::UnetPlusPlus)] {
        let mut case = Case::new(architecture, EncoderKind::ResNet18);
        case.config.attention = Some(Attention::Scse);
        cases.push(case);
    }
    for depth in [3, 4, 5] {
        for architecture in decoders.iter().filter(|a| a.default_depth() != depth) {
            if all() || matches!(architecture, Decoder(DecoderKind::PspNet | DecoderKind::Unet | DecoderKind::Fpn)) {
                let mut case = Case::new(*architecture, EncoderKind::ResNet18);
                case.config.depth = Some(depth);
                cases.push(case);
            }
        }
    }
    // The strides and dilations that the reference can be asked for.
    for (architecture, encoder, stride, rates) in [
        (Decoder(DecoderKind::DeepLabV3), EncoderKind::ResNet18, 16, None),
        (Decoder(DecoderKind::DeepLabV3Plus), EncoderKind::MobileNetV2, 8, Some([6, 12, 18])),
        (Decoder(DecoderKind::Pan), EncoderKind::MitB0, 32, None),
    ] {
        let mut case = Case::new(architecture, encoder);
        case.config.output_stride = Some(stride);
        case.config.atrous_rates = rates;
        let least = case.config.least_side();
        cases.push(Case { height: case.height.max(least), width: case.width.max(least), ..case });
    }
    // hrnet-ocr stands on an HRNet alone and has a test of its own.
    cases.retain(|case| case.config.architecture != Decoder(DecoderKind::HrNetOcr));
    compare(&drawn(cases, 9));
}

/// The reference is given names and sizes alone, carpus the same: the other defaults agree. `models.py` holds that these
/// are all classes of the reference but DPT, which stands on vision transformers.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn every_class_of_smp_built_with_its_defaults_loads_under_ours() {
    let classes = Architecture::all().filter(|a| a.reference().starts_with("smp."));
    let cases: Vec<_> = classes.map(|a| Case::new(a, EncoderKind::ResNet18)).collect();
    assert_eq!(cases.len(), 11);
    assert!(cases.iter().all(|case| case.config.depth.is_none() && case.config.output_stride.is_none()));
    compare(&cases);
}
