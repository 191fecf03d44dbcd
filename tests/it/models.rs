//! Models against segmentation_models_pytorch, and the contract that every pair of decoder and encoder keeps.

use carpus::models::{
    Architecture, Attention, EncoderKind, Model, ModelConfig, ModelError, Norm, WeightsError, read_tensors,
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
        let config = ModelConfig {
            architecture,
            encoder: Some(encoder),
            classes: 5,
            dropout: Some(0.0),
            drop_path: Some(0.0),
            ..ModelConfig::default()
        };
        let least = architecture.least_side();
        Case { config, batch: 2, height: least.max(64), width: least.max(96) }
    }

    fn encoder(&self) -> &str {
        self.config.backbone().map_or("own", EncoderKind::name)
    }

    pub fn name(&self) -> String {
        let c = &self.config;
        let attention = c.attention.map_or("plain", Attention::name);
        format!("{}.{}.{}.{}.{attention}", c.architecture, self.encoder(), c.in_channels, c.depth)
    }

    pub fn describe(&self) -> serde_json::Value {
        let c = &self.config;
        json!({
            "name": self.name(), "architecture": c.architecture, "encoder": c.backbone(), "in_channels": c.in_channels,
            "classes": c.classes, "depth": c.depth, "attention": c.attention, "batch": self.batch, "height": self.height, "width": self.width,
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

/// Single precision, the order of sums differs in a few places, and deep networks carry that on.
pub const LOGITS: f64 = 1e-4;
/// In double precision the same function gives the same digits: what is left is rounding through hundreds of layers
/// and, rarely, a ReLU that it turns.
const EXACT: f64 = 1e-7;

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
        assert!(difference <= LOGITS, "{name}: logits in evaluation differ by {difference:e}");

        let logits = tch::no_grad(|| model.forward_t(&io["x"], true)).unwrap().logits;
        let difference = relative(&logits, &io["train"]);
        assert!(difference <= LOGITS, "{name}: logits in training differ by {difference:e}");
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
        let logits = model.forward_t(&x, true).unwrap().logits;
        let difference = relative(&logits, &io["exact"]);
        assert!(difference <= EXACT, "{name}: logits in double precision differ by {difference:e}");
        logits.square().mean(Kind::Double).backward();
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

#[test]
fn every_encoder_equals_the_reference() {
    use EncoderKind::{MitB0, MobileNetV2, ResNet18, ResNet50};
    let sample = [ResNet18, ResNet50, MobileNetV2, MitB0];
    let encoders = if all() { EncoderKind::ALL } else { &sample };
    let mut cases: Vec<_> = encoders.iter().map(|e| Case::new(Architecture::Fpn, *e)).collect();
    if all() {
        cases.extend(encoders.iter().map(|e| Case::new(Architecture::Unet, *e)));
    }
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

#[test]
fn every_decoder_equals_the_reference() {
    let mut cases = Vec::new();
    for architecture in Architecture::ALL {
        cases.push(Case::new(*architecture, EncoderKind::EfficientNetB0));
        // Dilated stages differ between the families.
        if all() || architecture.output_stride() < 32 {
            cases.push(Case::new(*architecture, EncoderKind::ResNet34));
        }
    }
    for architecture in [Architecture::Unet, Architecture::UnetPlusPlus] {
        let mut case = Case::new(architecture, EncoderKind::ResNet18);
        case.config.attention = Some(Attention::Scse);
        cases.push(case);
    }
    for depth in [3, 4] {
        for architecture in Architecture::ALL {
            if all() || matches!(architecture, Architecture::PspNet | Architecture::Unet) {
                let mut case = Case::new(*architecture, EncoderKind::ResNet18);
                case.config.depth = depth;
                cases.push(case);
            }
        }
    }
    compare(&cases);
}

/// Small encoders stand for their families where every pair is tried.
fn contract_configs() -> Vec<ModelConfig> {
    let small = [EncoderKind::EfficientNetB0, EncoderKind::ResNet18, EncoderKind::MobileNetV2, EncoderKind::MitB0];
    let encoders = if all() { EncoderKind::ALL } else { &small };
    let pairs = Architecture::ALL.iter().flat_map(|a| encoders.iter().map(move |e| (*a, *e)));
    let config = |(architecture, encoder)| ModelConfig {
        architecture,
        encoder: Some(encoder),
        classes: 3,
        ..ModelConfig::default()
    };
    pairs.map(config).collect()
}

#[test]
fn illegal_pairs_are_refused_with_the_reason() {
    let mut legal = 0;
    for config in contract_configs() {
        match Model::new(&config, Device::Cpu) {
            Ok(_) => legal += 1,
            Err(error) => {
                assert!(config.validate().is_err(), "the config says so before anything is built");
                let text = error.to_string();
                assert!(
                    config.backbone().unwrap().starts_at_stride_4() && text.contains("take another encoder"),
                    "{text}"
                );
            }
        }
    }
    assert!(legal > 3 * Architecture::ALL.len());
    let wrong = ModelConfig { attention: Some(Attention::Scse), ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("attention"));
    let wrong = ModelConfig { in_channels: 2, ..ModelConfig::default() };
    assert!(wrong.validate().unwrap_err().to_string().contains("1 or 3"));
}

#[test]
fn every_model_keeps_the_contract() {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    for config in contract_configs().into_iter().filter(|c| c.validate().is_ok()) {
        let name = config.describe();
        tch::manual_seed(1);
        let mut model = Model::new(&config, Device::Cpu).unwrap();
        let side = config.architecture.least_side().max(64);
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
        for part in ["encoder.", "decoder.", "segmentation_head."] {
            let sum = total(part);
            assert!(sum.is_finite() && sum > 0.0, "{name}: gradients of {part} sum to {sum}");
        }

        // A batch of one in evaluation equals its row in a larger one.
        let rows = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
        let one = tch::no_grad(|| model.forward_t(&x.narrow(0, 1, 1), false)).unwrap().logits;
        assert!(relative(&one, &rows.narrow(0, 1, 1)) < 1e-4, "{name}");

        // What cannot be run is refused.
        let odd = Tensor::zeros([1, 3, side, side + 1], (Kind::Float, Device::Cpu));
        let error = model.forward_t(&odd, false).unwrap_err();
        assert!(matches!(error, ModelError::Indivisible { .. }), "{name}: {error}");
        if side > 64 {
            let small = Tensor::zeros([1, 3, 64, 64], (Kind::Float, Device::Cpu));
            assert!(matches!(model.forward_t(&small, false).unwrap_err(), ModelError::TooSmall { .. }), "{name}");
        }
        let grey = Tensor::zeros([1, 1, 64, 64], (Kind::Float, Device::Cpu));
        assert!(matches!(model.forward_t(&grey, false).unwrap_err(), ModelError::Input { .. }), "{name}");

        // Saved, changed, loaded: as it was. Saved twice: the same bytes.
        let path = folder.path().join("w.safetensors");
        model.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
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
