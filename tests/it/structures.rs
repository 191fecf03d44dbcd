//! What stands around, inside or instead of encoder and decoder: PointRend, metadata, multi-scale attention, UNet 3+,
//! nnU-Net, reduced encoders, other norms and heads. Compared with independent implementations of the papers and with
//! dynamic_network_architectures, and to the contract of every model.

use std::collections::BTreeSet;
use std::process::Command;

use carpus::models::Architecture::{Decoder, Network};
use carpus::models::{
    DecoderKind, EncoderKind, EncoderScale, Input, Loaded, MetadataOptions, Model, ModelConfig, ModelError,
    MultiScaleAttentionOptions, NetworkKind, NnUnetOptions, Norm, Output, PointRendOptions, Upsampling, WeightsError,
    read_tensors, write_tensors,
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::models::drawn;
use crate::python;

const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Seed of what a training step draws, on both sides.
const DRAW: i64 = 20;

/// In double precision the same function gives the same digits: what is left is rounding through hundreds of layers.
const EXACT: f64 = 1e-7;

/// `CARPUS_PARITY=all` tries everything with everything; else each test takes a sample.
fn all() -> bool {
    std::env::var("CARPUS_PARITY").is_ok_and(|v| v == "all")
}

#[derive(Deserialize)]
struct Facts {
    parameters: Vec<String>,
    state: Vec<String>,
    count: usize,
    grads: Vec<String>,
}

/// Largest difference relative to the largest value of the reference.
fn relative(ours: &Tensor, reference: &Tensor) -> f64 {
    assert_eq!(ours.size(), reference.size());
    let largest = reference.abs().max().double_value(&[]).max(1e-30);
    (ours - reference).abs().max().double_value(&[]) / largest
}

fn outputs(output: Output) -> Vec<(String, Tensor)> {
    let mut named = vec![("logits".to_owned(), output.logits)];
    named.extend(output.auxiliary.into_iter().enumerate().map(|(i, t)| (format!("auxiliary.{i}"), t)));
    if let Some(points) = output.points {
        named.push(("points.coordinates".to_owned(), points.coordinates));
        named.push(("points.logits".to_owned(), points.logits));
    }
    named
}

fn config(decoder: DecoderKind, encoder: EncoderKind) -> ModelConfig {
    ModelConfig {
        architecture: Decoder(decoder),
        encoder: Some(encoder),
        classes: 5,
        dropout: Some(0.0),
        drop_path: Some(0.0),
        ..ModelConfig::default()
    }
}

fn whole(network: NetworkKind, nnunet: NnUnetOptions) -> ModelConfig {
    ModelConfig { architecture: Network(network), classes: 5, nnunet, ..ModelConfig::default() }
}

fn points() -> PointRendOptions {
    PointRendOptions { points: 150, channels: 24, inference_points: 300, ..PointRendOptions::default() }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn structures_equal_their_references() {
    if !is_alone("structures::structures_equal_their_references") {
        return;
    }
    use DecoderKind::{DeepLabV3, Fpn, PspNet, Segformer, Unet, Unet3Plus};
    use EncoderKind::{EfficientNetB0, MitB0, ResNet18};
    use NetworkKind::{NnUnet, NnUnetResEnc};
    let small = NnUnetOptions { stages: 4, features: 8, max_features: 32 };
    let mut cases = vec![
        ModelConfig { point_rend: Some(points()), ..config(Fpn, ResNet18) },
        ModelConfig { point_rend: Some(points()), ..config(Unet, MitB0) },
        // One of three doublings refined, the rest interpolated.
        ModelConfig {
            point_rend: Some(PointRendOptions { subdivisions: Some(1), importance: 0.5, ..points() }),
            ..config(DeepLabV3, ResNet18)
        },
        ModelConfig { deep_supervision: Some(true), ..config(Unet3Plus, ResNet18) },
        config(Unet3Plus, MitB0),
        ModelConfig {
            metadata: Some(MetadataOptions { channels: 6 }),
            multi_scale_attention: Some(MultiScaleAttentionOptions::default()),
            ..config(Unet, ResNet18)
        },
        ModelConfig { upsampling_mode: Upsampling::Bicubic, ..config(Fpn, ResNet18) },
        ModelConfig { upsampling_mode: Upsampling::Nearest, ..config(Fpn, ResNet18) },
        whole(NnUnet, small),
        whole(NnUnetResEnc, NnUnetOptions { stages: 5, ..small }),
    ];
    if all() {
        cases.extend([
            ModelConfig { point_rend: Some(points()), ..config(Segformer, MitB0) },
            ModelConfig { point_rend: Some(points()), ..config(PspNet, EfficientNetB0) },
            ModelConfig { deep_supervision: Some(true), depth: Some(4), ..config(Unet3Plus, EfficientNetB0) },
            ModelConfig { deep_supervision: Some(true), in_channels: 1, ..config(Unet3Plus, MitB0) },
            ModelConfig {
                metadata: Some(MetadataOptions::default()),
                multi_scale_attention: Some(MultiScaleAttentionOptions { groups: 32 }),
                point_rend: Some(points()),
                ..config(Fpn, EfficientNetB0)
            },
            whole(NnUnet, NnUnetOptions::default()),
            whole(NnUnetResEnc, NnUnetOptions::default()),
            ModelConfig { in_channels: 1, ..whole(NnUnetResEnc, small) },
        ]);
    }
    compare(&cases);
}

fn compare(cases: &[ModelConfig]) {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let describe = |(index, config): (usize, &ModelConfig)| {
        let mut case = serde_json::to_value(config).unwrap();
        // The default nnU-Net goes down to a hundred and twenty-eighth.
        let deep = config.encoder.is_none() && config.nnunet == NnUnetOptions::default();
        let (height, width) = if deep { (256, 256) } else { (32, 64) };
        let more = serde_json::json!({
            "name": index.to_string(), "batch": 2, "height": height, "width": width, "draw": DRAW,
        });
        case.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        case
    };
    let list: Vec<_> = cases.iter().enumerate().map(describe).collect();
    std::fs::write(folder.path().join("cases.json"), serde_json::to_string(&list).unwrap()).unwrap();
    python::run("structures.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    for (index, config) in cases.iter().enumerate() {
        let name = format!("{} ({})", config.describe(), list[index]);
        let file = |what: &str| folder.path().join(format!("{index}.{what}"));
        let facts: Facts = serde_json::from_str(&std::fs::read_to_string(file("json")).unwrap()).unwrap();
        let io = read_tensors(&file("io.safetensors")).unwrap();
        let mut model = Model::new(config, Device::Cpu).unwrap();

        let parameters: Vec<_> = model.named_parameters().into_iter().map(|(n, _)| n).collect();
        assert_eq!(parameters, facts.parameters, "{name}");
        let names: Vec<_> = model.parameters().names().iter().map(|n| n.0.clone()).collect();
        assert_eq!(names, facts.state, "{name}");
        assert_eq!(model.parameters().count(), facts.count, "{name}");
        let weights = file("weights.safetensors");
        if file("once.safetensors").exists() {
            // A tensor under one of its names is enough, and what is written has it under all.
            model.load(&file("once.safetensors")).unwrap();
            model.save(&file("ours.safetensors")).unwrap();
            let (ours, theirs) = (read_tensors(&file("ours.safetensors")).unwrap(), read_tensors(&weights).unwrap());
            assert_eq!(ours, theirs, "{name}");
        }
        model.load(&weights).unwrap();

        model.parameters().set_kind(Kind::Double).unwrap();
        let x = io["x"].to_kind(Kind::Double).set_requires_grad(true);
        let input = Input { images: &x, metadata: Some(&io["metadata"]) };
        let said = outputs(tch::no_grad(|| model.forward(&input, false)).unwrap());
        check(&name, "eval", &said, &io);
        let said = trained(&model, &input);
        check(&name, "train", &said, &io);
        let losses = said.iter().filter(|(what, _)| what != "points.coordinates");
        let losses: Vec<_> = losses.map(|(_, tensor)| tensor.square().mean(Kind::Double)).collect();
        Tensor::stack(&losses, 0).sum(Kind::Double).backward();
        let difference = relative(&x.grad(), &io["grad.x"]);
        assert!(difference <= EXACT, "{name}: the input's gradient differs by {difference:e}");
        for parameter in &facts.grads {
            let ours = model.parameters().get(parameter).unwrap().grad();
            let difference = relative(&ours, &io[&format!("grad.{parameter}")]);
            assert!(difference <= EXACT, "{name}: the gradient of {parameter} differs by {difference:e}");
        }
    }
}

/// What the model says in training on what is drawn from the seed `DRAW`.
fn trained(model: &Model, input: &Input) -> Vec<(String, Tensor)> {
    tch::manual_seed(DRAW);
    outputs(model.forward(input, true).unwrap())
}

/// Runs a test in a process of its own, where no other test draws from libtorch's generator. Whether this is that process.
pub fn is_alone(test: &str) -> bool {
    const MARK: &str = "CARPUS_TEST_ALONE";
    if std::env::var(MARK).is_ok_and(|alone| alone == test) {
        return true;
    }
    let out = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads", "1"])
        .env(MARK, test)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&out.stderr));
    false
}

fn check(name: &str, mode: &str, said: &[(String, Tensor)], io: &std::collections::BTreeMap<String, Tensor>) {
    let prefix = format!("{mode}.");
    let mut expected: Vec<&str> = io.keys().filter_map(|k| k.strip_prefix(&prefix)).collect();
    let mut given: Vec<&str> = said.iter().map(|(what, _)| what.as_str()).collect();
    expected.sort_unstable();
    given.sort_unstable();
    assert_eq!(given, expected, "{name}, {mode}");
    for (what, tensor) in said {
        let difference = relative(tensor, &io[&format!("{prefix}{what}")]);
        assert!(difference <= EXACT, "{name}: {what} in {mode} differs by {difference:e}");
    }
}

/// Every legal pair; as a sample, `first` with every decoder and `others` with two that take any.
fn pairs(first: EncoderKind, others: &[EncoderKind]) -> Vec<ModelConfig> {
    let sampled = |decoder, encoder| {
        let takes_any = matches!(decoder, DecoderKind::Unet3Plus | DecoderKind::Segformer);
        encoder == first || (takes_any && others.contains(&encoder))
    };
    let pairs = DecoderKind::ALL.iter().flat_map(|d| EncoderKind::ALL.iter().map(move |e| (*d, *e)));
    let pairs = pairs.filter(|(d, e)| all() || sampled(*d, *e));
    let pairs = pairs.map(|(d, e)| ModelConfig { classes: 3, ..config(d, e) });
    pairs.filter(|c| c.validate().is_ok()).collect()
}

#[test]
fn additions_fit_every_pair_and_change_nothing_at_first() {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let (mut architectures, mut encoders) = (BTreeSet::new(), BTreeSet::new());
    for plain in drawn(pairs(EncoderKind::ResNet18, &[EncoderKind::MitB0]), 8) {
        let name = plain.describe();
        // Through a file with each part once: all pairs would write hundreds of GB.
        let first = architectures.insert(plain.architecture) | encoders.insert(plain.encoder);
        let deep_supervision = plain.architecture.takes_deep_supervision().then_some(true);
        let auxiliary = plain.architecture.refuses_auxiliary().is_none();
        let added = ModelConfig {
            metadata: Some(MetadataOptions::default()),
            multi_scale_attention: Some(MultiScaleAttentionOptions::default()),
            head_dropout: Some(0.1),
            deep_supervision,
            auxiliary,
            ..plain.clone()
        };
        let pointed = ModelConfig { point_rend: Some(points()), ..added.clone() };
        tch::manual_seed(2);
        let plain = Model::new(&plain, Device::Cpu).unwrap();
        let mut added = Model::new(&added, Device::Cpu).unwrap();
        let pointed = Model::new(&pointed, Device::Cpu).unwrap();
        let carried_on = deep_supervision.is_none() && first;
        if carried_on {
            // A trained model is carried on with them.
            plain.save(&path).unwrap();
            let kept = ["metadata", "multi_scale_attention", "auxiliary_head"];
            let kept = if auxiliary { &kept[..] } else { &kept[..2] };
            assert_eq!(added.load(&path).unwrap(), Loaded { norms_converted: 0, parts_kept: kept.into() }, "{name}");
            // A part that is there in part is none.
            let mut tensors: Vec<_> = read_tensors(&path).unwrap().into_iter().collect();
            tensors.push(("metadata.gate".into(), added.parameters().get("metadata.gate").unwrap().shallow_clone()));
            write_tensors(&path, &tensors).unwrap();
            let error = added.load(&path).unwrap_err();
            assert!(error.to_string().contains("missing: metadata."), "{error}");
        }
        for model in [&added, &pointed].into_iter().skip(usize::from(carried_on)) {
            tch::no_grad(|| {
                for (name, tensor) in plain.state() {
                    model.parameters().get(&name).unwrap().shallow_clone().copy_(&tensor);
                }
            });
        }
        let side = plain.config().least_side().max(64);
        let x = Tensor::randn([2, 3, side, side], CPU);
        let metadata = Tensor::from_slice(&[30f32, 1.0, f32::NAN, 70.0, f32::NAN, f32::NAN, 160.0, 55.0]).view([2, 4]);
        let input = Input { images: &x, metadata: Some(&metadata) };

        // Gate and blend start closed.
        let logits = tch::no_grad(|| plain.forward_t(&x, false)).unwrap().logits;
        let with = tch::no_grad(|| added.forward(&input, false)).unwrap();
        assert_eq!(with.logits, logits, "{name}");
        assert!(with.auxiliary.is_empty() && with.points.is_none(), "{name}");

        let output = pointed.forward(&input, true).unwrap();
        assert_eq!(output.logits.size(), [2, 3, side, side], "{name}");
        // A head that was asked for, or the architecture's own.
        assert!(!output.auxiliary.is_empty(), "{name}");
        assert!(output.auxiliary.iter().all(|logits| logits.size()[..2] == [2, 3]), "{name}");
        let said = output.points.as_ref().unwrap();
        assert_eq!((said.coordinates.size(), said.logits.size()), (vec![2, 150, 2], vec![2, 3, 150]), "{name}");
        let (least, most) = (said.coordinates.min().double_value(&[]), said.coordinates.max().double_value(&[]));
        assert!(least >= 0.0 && most <= 1.0, "{name}");
        let losses: Vec<_> =
            outputs(output).iter().filter(|o| o.1.requires_grad()).map(|o| o.1.square().mean(Kind::Float)).collect();
        Tensor::stack(&losses, 0).sum(Kind::Float).backward();
        for part in [
            "encoder.",
            "decoder.",
            "segmentation_head.",
            "metadata.gate",
            "multi_scale_attention.blend",
            "point_head.",
        ] {
            let reached = pointed.named_parameters();
            let reached = reached.iter().filter(|(n, t)| n.starts_with(part) && t.grad().defined());
            let sum: f64 = reached.map(|(_, t)| t.grad().abs().sum(Kind::Double).double_value(&[])).sum();
            assert!(sum.is_finite() && sum > 0.0, "{name}: gradients of {part} sum to {sum}");
        }
        let refined = tch::no_grad(|| pointed.forward(&input, false)).unwrap();
        assert_eq!(refined.logits.size(), [2, 3, side, side], "{name}");
        assert!(refined.points.is_none(), "{name}");
        assert_eq!(refined.logits.isfinite().all().int64_value(&[]), 1, "{name}");
    }
}

#[test]
fn metadata_must_fit_the_images() {
    let model =
        ModelConfig { metadata: Some(MetadataOptions::default()), ..config(DecoderKind::Fpn, EncoderKind::ResNet18) };
    let model = Model::new(&model, Device::Cpu).unwrap();
    let x = Tensor::zeros([2, 3, 64, 64], CPU);
    for wrong in
        [Tensor::zeros([1, 4], CPU), Tensor::zeros([2, 3], CPU), Tensor::zeros([2, 4], (Kind::Int64, Device::Cpu))]
    {
        let error = model.forward(&Input { images: &x, metadata: Some(&wrong) }, false).unwrap_err();
        assert!(matches!(error, ModelError::Metadata { batch: 2, .. }), "{error}");
        assert!(error.to_string().contains("[2, 4]"), "{error}");
    }
}

#[test]
fn reduced_encoders_fit_every_decoder() {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let scale = EncoderScale { width: 0.5, depth: 0.5 };
    for whole in pairs(EncoderKind::EfficientNetB0, &[EncoderKind::ResNet34, EncoderKind::MitB0]) {
        let name = whole.describe();
        let reduced = ModelConfig { encoder_scale: Some(scale), ..whole.clone() };
        if !whole.backbone().unwrap().family().scales() {
            let error = Model::new(&reduced, Device::Cpu).err().unwrap().to_string();
            assert!(error.contains("cannot be scaled"), "{error}");
            continue;
        }
        let mut model = Model::new(&reduced, Device::Cpu).unwrap();
        for channels in &model.encoder_channels()[1..] {
            assert_eq!(channels % 8, 0, "{name}: {:?}", model.encoder_channels());
        }
        let side = whole.least_side().max(64);
        let x = Tensor::randn([2, 3, side, side], CPU);
        let logits = model.forward_t(&x, true).unwrap().logits;
        assert_eq!(logits.size(), [2, 3, side, side], "{name}");
        logits.square().mean(Kind::Float).backward();
        let path = folder.path().join("w.safetensors");
        model.save(&path).unwrap();
        model.load(&path).unwrap();
        model.load_encoder(&path).unwrap();
    }
}

#[test]
fn published_weights_do_not_fit_a_reduced_encoder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let sample = [EncoderKind::ResNet50, EncoderKind::EfficientNetB1, EncoderKind::MitB1];
    let scaling: Vec<_> = EncoderKind::ALL.iter().copied().filter(|e| e.family().scales()).collect();
    for encoder in if all() { scaling.as_slice() } else { &sample }.iter().copied() {
        let whole = Model::new(&config(DecoderKind::Fpn, encoder), Device::Cpu).unwrap();
        whole.save(&path).unwrap();
        for scale in [EncoderScale { width: 0.5, depth: 1.0 }, EncoderScale { width: 1.0, depth: 0.4 }] {
            let reduced = ModelConfig { encoder_scale: Some(scale), ..whole.config().clone() };
            let mut reduced = Model::new(&reduced, Device::Cpu).unwrap();
            assert!(reduced.parameters().count() < whole.parameters().count(), "{encoder}");
            let error = reduced.load_encoder(&path).unwrap_err();
            assert!(matches!(error, WeightsError::Reduced { .. }), "{error}");
            assert!(error.to_string().contains(&format!("width {}", scale.width)), "{error}");
        }
        // At factors of 1 it is the published one.
        let same = ModelConfig { encoder_scale: Some(EncoderScale::default()), ..whole.config().clone() };
        let mut same = Model::new(&same, Device::Cpu).unwrap();
        same.load(&path).unwrap();
        same.load_encoder(&path).unwrap();
    }
}

#[test]
fn batch_norms_become_group_norms_and_keep_their_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let mut batch = Model::new(&config(DecoderKind::Unet, EncoderKind::ResNet18), Device::Cpu).unwrap();
    tch::no_grad(|| {
        for (_, tensor) in batch.named_parameters().iter_mut().filter(|(_, t)| t.dim() == 1) {
            let _ = tensor.uniform_(0.5, 1.5);
        }
    });
    batch.save(&path).unwrap();
    let norms = batch.named_buffers().len() / 3;
    assert_eq!(batch.load(&path).unwrap(), Loaded::default(), "nothing to convert");
    for norm in [Norm::Group(8), Norm::Layer] {
        let mut model = Model::new(&ModelConfig { norm, ..batch.config().clone() }, Device::Cpu).unwrap();
        assert_eq!(model.load(&path).unwrap().norms_converted, norms, "{norm}");
        assert_eq!(model.state(), batch.named_parameters(), "{norm}: every weight is kept, affine ones too");
        // An encoder's published weights convert as well.
        let mut model = Model::new(&ModelConfig { norm, ..batch.config().clone() }, Device::Cpu).unwrap();
        model.load_encoder(&path).unwrap();
        let weight = |m: &Model| m.parameters().get("encoder.layer1.0.bn1.weight").unwrap().copy();
        assert_eq!(weight(&model), weight(&batch), "{norm}");

        // The way back has no statistics to give.
        model.save(&path).unwrap();
        let error = batch.load(&path).unwrap_err();
        let WeightsError::Mismatch { missing, .. } = &error else { panic!("{error}") };
        assert_eq!(missing.len(), 2 * norms, "{norm}: a file without any counters is an old one");
        batch.save(&path).unwrap();

        // Files from before norms counted their batches have no counters.
        let old: Vec<_> = batch.state().into_iter().filter(|(n, _)| !n.ends_with("num_batches_tracked")).collect();
        write_tensors(&path, &old).unwrap();
        assert_eq!(model.load(&path).unwrap().norms_converted, norms, "{norm}");
        model.load_encoder(&path).unwrap();
        let mut again = Model::new(batch.config(), Device::Cpu).unwrap();
        assert_eq!(again.load(&path).unwrap(), Loaded::default());
        assert_eq!(again.named_parameters(), batch.named_parameters());
        // Into a model with a part that the file has not, too.
        let second = ModelConfig { auxiliary: true, ..batch.config().clone() };
        let loaded = Model::new(&second, Device::Cpu).unwrap().load(&path).unwrap();
        assert_eq!(loaded.parts_kept, ["auxiliary_head"]);
        batch.save(&path).unwrap();

        // Only whole statistics of norms that are there are left out.
        let mut tensors: Vec<_> = read_tensors(&path).unwrap().into_iter().collect();
        tensors.retain(|(name, _)| name != "encoder.bn1.running_var");
        tensors.push(("stranger.running_mean".to_owned(), Tensor::zeros([4], CPU)));
        let broken = folder.path().join("broken.safetensors");
        write_tensors(&broken, &tensors).unwrap();
        let error = model.load(&broken).unwrap_err();
        let WeightsError::Mismatch { mut unexpected, .. } = error else { panic!("{error}") };
        unexpected.sort();
        let left = ["encoder.bn1.num_batches_tracked", "encoder.bn1.running_mean", "stranger.running_mean"];
        assert_eq!(unexpected, left, "{norm}");
    }
}

#[test]
fn a_shared_tensor_that_differs_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let small = NnUnetOptions { stages: 3, features: 4, max_features: 8 };
    let mut model = Model::new(&whole(NetworkKind::NnUnet, small), Device::Cpu).unwrap();
    model.save(&path).unwrap();
    let mut tensors: Vec<_> = read_tensors(&path).unwrap().into_iter().collect();
    let name = "decoder.encoder.stages.0.0.convs.0.all_modules.0.bias";
    let shared = tensors.iter_mut().find(|(n, _)| n == name).unwrap();
    shared.1 = &shared.1 + 1.0;
    write_tensors(&path, &tensors).unwrap();
    let error = model.load(&path).unwrap_err();
    let WeightsError::Mismatch { mismatched, .. } = &error else { panic!("{error}") };
    assert!(mismatched[0].starts_with(name) && mismatched[0].contains("same tensor"), "{mismatched:?}");
}

#[test]
fn nnunet_starts_as_its_reference() {
    tch::manual_seed(3);
    let size = NnUnetOptions { stages: 5, ..NnUnetOptions::default() };
    let model = Model::new(&whole(NetworkKind::NnUnetResEnc, size), Device::Cpu).unwrap();
    let weight = |name: &str| model.parameters().get(name).unwrap().detach();
    // He normal for a leaky ReLU of slope 0.01: sd = sqrt(2 / (1 + 0.01^2) / fan-in), a transposed convolution's fan-in
    // being its outputs. Tens of thousands of values or more: 2 % are four standard errors and more.
    let cases = [("encoder.stages.2.blocks.1.conv1.conv.weight", 128 * 9), ("decoder.transpconvs.0.weight", 256 * 4)];
    for (name, fan_in) in cases {
        let expected = (2.0 / 1.0001 / fan_in as f64).sqrt();
        let sd = weight(name).std(true).double_value(&[]);
        assert!((sd / expected - 1.0).abs() < 0.02, "{name}: {sd}, expected {expected}");
    }
    assert_eq!(weight("encoder.stages.2.blocks.1.conv2.norm.weight"), Tensor::zeros([128], CPU));
    assert_eq!(weight("encoder.stages.2.blocks.1.conv1.norm.weight"), Tensor::ones([128], CPU));
    assert_eq!(weight("decoder.transpconvs.0.bias"), Tensor::zeros([256], CPU));

    // Its sizes: a multiple of the deepest stage's stride, of two pixels there at least.
    let error = model.forward_t(&Tensor::zeros([1, 3, 40, 48], CPU), false).unwrap_err();
    assert!(matches!(error, ModelError::Indivisible { stride: 16, .. }), "{error}");
    let error = model.forward_t(&Tensor::zeros([1, 3, 16, 32], CPU), false).unwrap_err();
    assert!(matches!(error, ModelError::TooSmall { least: 32, .. }), "{error}");
}

#[test]
fn options_that_cannot_be_are_refused_with_the_reason() {
    let read = |text: &str| -> Result<ModelConfig, String> {
        let config: ModelConfig = toml::from_str(text).map_err(|e| e.to_string())?;
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    };
    assert_eq!(read("point-rend = true").unwrap().point_rend, Some(PointRendOptions::default()));
    assert_eq!(read("point-rend = false").unwrap(), ModelConfig::default());
    assert_eq!(read("metadata = { channels = 8 }").unwrap().metadata, Some(MetadataOptions { channels: 8 }));
    let given = "architecture = 'unet'\nmulti-scale-attention = true\nupsampling-mode = 'bicubic'\nhead-dropout = 0.2\n\
                 encoder-scale = { width = 0.5 }\npoint-rend = { points = 64, subdivisions = 2 }\nmetadata = true";
    let config: ModelConfig = toml::from_str(given).unwrap();
    assert_eq!(toml::from_str::<ModelConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
    for (text, says) in [
        (given, "upsampling-mode is bicubic"),
        ("point-rend = { pionts = 3 }", "pionts"),
        ("point-rend = 3", "true, false or a table"),
        ("point-rend = { importance = 1.5 }", "importance is 1.5"),
        ("point-rend = { oversample = 0.5 }", "oversample is 0.5"),
        ("point-rend = { subdivisions = 0 }", "subdivisions is 0"),
        ("metadata = { channels = 0 }", "metadata.channels is 0"),
        ("multi-scale-attention = { groups = 0 }", "groups is 0"),
        ("head-dropout = 1.0", "head-dropout is 1"),
        ("upsampling-mode = 'lanczos'", "bicubic"),
        ("encoder = 'mobilenet_v2'\nencoder-scale = { depth = 0.5 }", "mobilenet_v2 cannot be scaled"),
        ("encoder-scale = { width = 2.0 }", "width is 2"),
        ("deep-supervision = true", "fpn has no deep supervision"),
        ("nnunet = { stages = 6 }", "the architecture is fpn"),
        ("architecture = 'nnunet'\nencoder = 'resnet18'", "remove `encoder`"),
        ("architecture = 'nnunet'\nnorm = 'group:8'", "nnunet has no batch norm"),
        ("architecture = 'nnunet-resenc'\ndepth = 4", "nnunet.stages"),
        ("architecture = 'nnunet'\ndropout = 0.5", "dropout is 0.5, but nnunet has no dropout"),
        ("architecture = 'nnunet'\npoint-rend = true", "point-rend needs an encoder"),
        ("architecture = 'nnunet'\nmetadata = true", "metadata needs an encoder"),
        ("architecture = 'nnunet'\nnnunet = { stages = 1 }", "stages is 1"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}
