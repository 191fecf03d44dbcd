//! Weights from files: what fits, what is converted on the way, what is refused and what is said then.

use carpus::models::Architecture::{Decoder, Network};
use carpus::models::names::{self, NamesError, WeightsSource};
use carpus::models::{
    Attention, DecoderKind, EncoderKind, Model, ModelConfig, NetworkKind, Norm, WeightsError, read_tensors,
    write_tensors,
};
use tch::{Device, Kind, Tensor};

use crate::models::{drawn, relative};

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
    write_tensors(&path, &tensors).unwrap();
    let before = model.parameters().get("decoder.p4.skip_conv.bias").unwrap().copy();
    let error = model.load(&path).unwrap_err();
    let WeightsError::Mismatch { missing, unexpected, mismatched, .. } = &error else { panic!("{error}") };
    assert_eq!(missing, &["decoder.p5.bias"]);
    assert_eq!(unexpected, &["stranger"]);
    assert!(mismatched[0].starts_with("segmentation_head.0.weight"), "{mismatched:?}");
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
    write_tensors(&path, &tensors).unwrap();
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
        (whole(Network(NetworkKind::TorchvisionLraspp)), "backbone.", "features.", &torchvision[..]),
        (whole(Network(NetworkKind::TorchvisionFcn)), "backbone.", "", &["fc.weight"]),
        (whole(Network(NetworkKind::TorchvisionDeepLabV3)), "backbone.", "backbone.", &torchvision[..]),
    ] {
        let name = format!("{} from {wrapping:?}", config.describe());
        tch::manual_seed(1);
        let from = Model::new(&config, Device::Cpu).unwrap();
        write_tensors(&path, &published(&from, prefix, wrapping, head)).unwrap();
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

/// A user who names the wrong depth, encoder or architecture is printed the right one.
#[test]
fn a_mismatch_says_which_model_the_weights_fit() {
    use EncoderKind::{MitB0, ResNet18, ResNet34, SwinTiny};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let on = |architecture, encoder, classes| ModelConfig {
        architecture,
        encoder: Some(encoder),
        classes,
        ..ModelConfig::default()
    };
    let fpn = || on(Decoder(DecoderKind::Fpn), ResNet18, 4);
    let unet = || on(Decoder(DecoderKind::Unet), ResNet18, 4);
    let cases = [
        (ModelConfig { depth: Some(3), ..fpn() }, fpn(), "depth = 3"),
        (ModelConfig { depth: Some(3), classes: 7, ..fpn() }, fpn(), "classes = 7, depth = 3"),
        (on(Decoder(DecoderKind::Fpn), ResNet18, 7), fpn(), "classes = 7"),
        (ModelConfig { auxiliary: true, ..fpn() }, fpn(), "auxiliary = true"),
        (ModelConfig { in_channels: 1, ..fpn() }, fpn(), "in-channels = 1"),
        (ModelConfig { attention: Some(Attention::Scse), ..unet() }, unet(), "attention = \"scse\""),
        (unet(), ModelConfig { attention: Some(Attention::Scse), ..unet() }, "no attention"),
        (on(Decoder(DecoderKind::Unet), ResNet34, 4), unet(), "architecture = \"unet\", encoder = \"resnet34\""),
        (on(Decoder(DecoderKind::PspNet), ResNet34, 4), fpn(), "architecture = \"pspnet\", encoder = \"resnet34\""),
        (
            ModelConfig { depth: Some(5), ..on(Decoder(DecoderKind::PspNet), ResNet34, 4) },
            fpn(),
            "architecture = \"pspnet\", encoder = \"resnet34\", depth = 5",
        ),
        (
            on(Decoder(DecoderKind::PspNet), ResNet34, 4),
            ModelConfig { depth: Some(5), ..fpn() },
            "architecture = \"pspnet\", encoder = \"resnet34\", depth = 3",
        ),
        (
            on(Decoder(DecoderKind::UperNetTransformers), SwinTiny, 4),
            fpn(),
            "architecture = \"upernet-transformers\", encoder = \"tu-swin_tiny_patch4_window7_224\"",
        ),
        (
            ModelConfig { encoder: None, ..on(Network(NetworkKind::TorchvisionLraspp), ResNet18, 4) },
            fpn(),
            "architecture = \"torchvision-lraspp\"",
        ),
        (on(Decoder(DecoderKind::Segformer), MitB0, 4), fpn(), "architecture = \"segformer\", encoder = \"mit_b0\""),
        // Converted on the way.
        (ModelConfig { depth: Some(4), ..fpn() }, ModelConfig { norm: Norm::Group(8), ..fpn() }, "depth = 4"),
    ];
    for (of, given_to, change) in drawn(cases, 5) {
        Model::new(&of, Device::Cpu).unwrap().save(&path).unwrap();
        let wanted = format!("they fit a model with {change}");
        let mut model = Model::new(&given_to, Device::Cpu).unwrap();
        let errors = [model.load(&path).unwrap_err(), Model::open(&given_to, &path, Device::Cpu).err().unwrap()];
        for text in errors.map(|error| error.to_string()) {
            assert!(text.ends_with(&wanted), "{wanted}\n{text}");
        }
        let both_of_smp = of.architecture.reference().starts_with("smp") && !of.auxiliary;
        if both_of_smp && given_to.norm == Norm::Batch && of.classes == given_to.classes {
            let error = names::to_carpus(WeightsSource::Smp, &given_to, read_tensors(&path).unwrap()).unwrap_err();
            assert!(matches!(error, NamesError::Mismatch { .. }), "{error}");
            assert!(error.to_string().ends_with(&wanted), "{wanted}\n{error}");
        }
    }
    // Where nothing fits, nothing is said.
    let mut model = Model::new(&fpn(), Device::Cpu).unwrap();
    let mut tensors = model.state();
    tensors.pop();
    write_tensors(&path, &tensors).unwrap();
    let text = model.load(&path).unwrap_err().to_string();
    assert!(text.contains("1 missing") && !text.contains("they fit"), "{text}");
}
