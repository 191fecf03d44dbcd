//! SegFormer and UPerNet against transformers: names there and back, values, gradients.

use std::collections::BTreeMap;

use carpus::models::Architecture::Decoder;
use carpus::models::names::{NamesError, transformers};
use carpus::models::{Architecture, DecoderKind, EncoderKind, Model, ModelConfig, read_tensors, write_tensors};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::encoders::{assert_same_start, moments};
use crate::models::{EXACT, LOGITS, all, drawn, relative};
use crate::python;

struct Case {
    config: ModelConfig,
    height: i64,
    width: i64,
}

impl Case {
    fn new(architecture: Architecture, encoder: EncoderKind) -> Self {
        let config = ModelConfig {
            architecture,
            encoder: Some(encoder),
            classes: 5,
            dropout: Some(0.0),
            drop_path: Some(0.0),
            ..ModelConfig::default()
        };
        Case { config, height: 64, width: 96 }
    }

    fn name(&self) -> String {
        let c = &self.config;
        format!("{}.{}.{}.{}", c.architecture, c.backbone().unwrap(), c.in_channels, self.height)
    }

    fn describe(&self) -> serde_json::Value {
        let c = &self.config;
        json!({
            "name": self.name(), "encoder": c.backbone(), "in_channels": c.in_channels, "classes": c.classes,
            "batch": 2, "height": self.height, "width": self.width,
        })
    }
}

fn compare(cases: &[Case]) {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let list: Vec<_> = cases.iter().map(Case::describe).collect();
    std::fs::write(folder.path().join("cases.json"), serde_json::to_string(&list).unwrap()).unwrap();
    let seed = python::seed();
    python::run("second_reference.py", &[folder.path().to_str().unwrap(), &seed.to_string()]);
    tch::manual_seed(seed as i64 + 1);
    for case in cases {
        let (name, config) = (case.name(), &case.config);
        let read = |what: &str| read_tensors(&folder.path().join(format!("{name}.{what}.safetensors"))).unwrap();
        let (stored, live, io) = (read("stored"), read("live"), read("io"));
        let mut model = Model::new(config, Device::Cpu).unwrap();
        let start = transformers::to_carpus(config, read("initial")).unwrap();
        for (parameter, tensor) in model.named_parameters() {
            assert_same_start(&format!("{name}: {parameter}"), moments(&tensor), moments(&start[&parameter]));
        }

        // Both sets of names give every tensor of the model, and nothing else.
        let ours = transformers::to_carpus(config, copy(&stored)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again = transformers::to_carpus(config, live).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(ours == again, "{name}: the two sets of names differ");
        let weights = folder.path().join("weights.safetensors");
        write_tensors(&weights, &ours.into_iter().collect::<Vec<_>>()).unwrap();
        model.load(&weights).unwrap();

        // Back again: the file as it was, but for what nothing reads.
        let mut back = transformers::from_carpus(config, model.state().into_iter().collect()).unwrap();
        for (key, tensor) in &stored {
            match back.remove(key) {
                Some(ours) => assert!(ours.detach() == *tensor, "{name}: {key}"),
                None => assert!(key.starts_with("backbone.swin.layernorm."), "{name}: {key} is not written"),
            }
        }
        assert!(back.is_empty(), "{name}: {:?}", back.keys());

        for (mode, train) in [("eval", false), ("train", true)] {
            let output = tch::no_grad(|| model.forward_t(&io["x"], train)).unwrap();
            let difference = relative(&output.logits, &io[mode]);
            assert!(difference <= LOGITS, "{name}: logits in {mode} mode differ by {difference:e}");
            assert_eq!(output.auxiliary.len(), usize::from(train && io.contains_key("auxiliary")), "{name}");
        }

        model.load(&weights).unwrap();
        model.parameters().set_kind(Kind::Double).unwrap();
        let x = io["x"].to_kind(Kind::Double).set_requires_grad(true);
        let output = model.forward_t(&x, true).unwrap();
        let mut loss = output.logits.square().mean(Kind::Double);
        let difference = relative(&output.logits, &io["exact"]);
        assert!(difference <= EXACT, "{name}: logits in double precision differ by {difference:e}");
        for auxiliary in &output.auxiliary {
            let difference = relative(auxiliary, &io["auxiliary"]);
            assert!(difference <= EXACT, "{name}: auxiliary logits differ by {difference:e}");
            loss += auxiliary.square().mean(Kind::Double);
        }
        loss.backward();
        let difference = relative(&x.grad(), &io["grad.x"]);
        assert!(difference <= EXACT, "{name}: the input's gradient differs by {difference:e}");
        // Gradients of all weights: they change names as the weights do. One that is 0 but for rounding (of a bias
        // before a batch norm, of the keys' bias) is compared with the largest of all.
        let reference = transformers::to_carpus(config, read("grads")).unwrap();
        let largest = |t: &Tensor| t.abs().max().double_value(&[]);
        let scale = reference.values().filter(|t| t.is_floating_point()).map(largest).fold(0.0, f64::max);
        for (parameter, tensor) in model.named_parameters() {
            let reference = &reference[&parameter];
            let difference = largest(&(tensor.grad() - reference));
            let allowed = EXACT * largest(reference).max(1e-6 * scale);
            assert!(difference <= allowed, "{name}: the gradient of {parameter} differs by {difference:e}");
        }
    }
}

fn copy(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn segformer_equals_transformers() {
    use EncoderKind::{MitB0, MitB1, MitB2, MitB3, MitB4, MitB5};
    let kinds: &[_] = if all() { &[MitB0, MitB1, MitB2, MitB3, MitB4, MitB5] } else { &[MitB0] };
    let mut cases: Vec<_> = kinds.iter().map(|k| Case::new(Decoder(DecoderKind::SegformerTransformers), *k)).collect();
    let mut grey = Case::new(Decoder(DecoderKind::SegformerTransformers), MitB0);
    grey.config.in_channels = 1;
    cases.push(grey);
    compare(&cases);
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn upernet_equals_transformers() {
    let architecture = Decoder(DecoderKind::UperNetTransformers);
    let families = architecture.own_encoders().unwrap().families;
    let kinds = EncoderKind::ALL.iter().filter(|kind| families.contains(&kind.family()));
    let mut cases = Vec::new();
    for kind in kinds.filter(|k| all() || k.name().contains("tiny")) {
        // Windows are shifted in every stage; no grid is made of whole ones, and the last is lower than one.
        let swin = kind.name().contains("swin");
        let (height, width) = if swin { (160, 288) } else { (64, 96) };
        cases.push(Case { height, width, ..Case::new(architecture, *kind) });
    }
    compare(&drawn(cases, 1));
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let config = ModelConfig { architecture: Decoder(DecoderKind::SegformerTransformers), ..ModelConfig::default() };
    let model = Model::new(&config, Device::Cpu).unwrap();
    let state = || model.state().into_iter().collect::<BTreeMap<_, _>>();
    let mut theirs = transformers::from_carpus(&config, state()).unwrap();
    let value = theirs.remove("segformer.encoder.block.1.0.attention.self.value.weight").unwrap();
    theirs.insert("stranger".into(), value);
    theirs.insert("backbone.embeddings.relative_position_index".into(), Tensor::zeros([1], (Kind::Int64, Device::Cpu)));
    let error = transformers::to_carpus(&config, theirs).unwrap_err();
    let NamesError::Mismatch { missing, unexpected, .. } = &error else { panic!("{error}") };
    assert_eq!(missing, &["segformer.encoder.block.1.0.attention.self.value.weight"]);
    assert_eq!(unexpected, &["stranger"]);
    assert!(error.to_string().contains("stranger"), "{error}");

    let mut ours = state();
    drop(ours.remove("decoder.fuse_stage.0.weight").unwrap());
    let error = transformers::from_carpus(&config, ours).unwrap_err();
    assert!(
        matches!(&error, NamesError::Mismatch { missing, .. } if missing == &["decoder.fuse_stage.0.weight"]),
        "{error}"
    );

    let other = ModelConfig::default();
    let error = transformers::to_carpus(&other, BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("transformers has no fpn on efficientnet-b0"), "{error}");
}
