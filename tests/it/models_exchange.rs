//! Weights and models that go to other libraries and come from them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use carpus::geometry::Size;
use carpus::models::Architecture::{Decoder, Network};
use carpus::models::names::{NamesError, WeightsSource, from_carpus, to_carpus};
use carpus::models::{
    Architecture, DecoderKind, EncoderKind, Input, MetadataOptions, Model, ModelConfig, NetworkKind, NnUnetOptions,
    Norm, read_tensors, write_tensors,
};
use carpus::train::{InputSettings, WeightsInfo, write_weights};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::models::{LOGITS, all, drawn, relative};
use crate::python;

fn carpus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus")).args(arguments).env("OMP_NUM_THREADS", "2").output().unwrap()
}

fn done(arguments: &[&str]) -> String {
    let out = carpus(arguments);
    assert!(out.status.success(), "{arguments:?}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn refused(arguments: &[&str]) -> String {
    let out = carpus(arguments);
    assert_eq!(out.status.code(), Some(1), "{arguments:?}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn fpn(encoder: EncoderKind) -> ModelConfig {
    ModelConfig { encoder: Some(encoder), classes: 3, ..ModelConfig::default() }
}

/// Encoders that `source` has, small ones of each family unless all are asked for.
fn encoders(source: WeightsSource) -> Vec<EncoderKind> {
    use EncoderKind::{ConvNeXtTiny, EfficientNetB0, EfficientNetB1, MobileNetV2, ResNet18, ResNet50, SwinTiny};
    let sample = [EfficientNetB0, EfficientNetB1, MobileNetV2, ResNet18, ResNet50, ConvNeXtTiny, SwinTiny];
    let has = |encoder: &EncoderKind| {
        let answer = from_carpus(source, &fpn(*encoder), Default::default());
        !matches!(answer, Err(NamesError::NoCounterpart { .. }))
    };
    let chosen = if all() { EncoderKind::ALL } else { &sample };
    chosen.iter().copied().filter(has).collect()
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn classifiers_of_timm_and_torchvision_are_encoders_here_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<(WeightsSource, EncoderKind)> = [WeightsSource::Timm, WeightsSource::Torchvision]
        .into_iter()
        .flat_map(|source| encoders(source).into_iter().map(move |encoder| (source, encoder)))
        .collect();
    let cases = drawn(cases, 3);
    let seed = python::seed().to_string();
    for (source, encoder) in cases {
        let name = format!("{source}.{encoder}");
        let list = json!([{ "name": name, "library": source, "encoder": encoder }]);
        std::fs::write(folder.path().join("cases.json"), list.to_string()).unwrap();
        python::run("exchange.py", &["classifiers", folder.path().to_str().unwrap(), &seed]);
        let [theirs, expected] = ["theirs", "ours"].map(|w| folder.path().join(format!("{name}.{w}.safetensors")));
        let [theirs_read, expected_read] = [&theirs, &expected].map(|path| read_tensors(path).unwrap());

        let ours = to_carpus(source, &fpn(encoder), read_tensors(&theirs).unwrap()).unwrap();
        assert_eq!(ours.tensors, expected_read, "{name}");
        let back = from_carpus(source, &fpn(encoder), ours.tensors).unwrap();
        assert!(back.left_out.is_empty());
        for (tensor, value) in &back.tensors {
            assert_eq!(value, &theirs_read[tensor], "{name}: {tensor}");
        }
        assert_eq!(back.tensors.len() + ours.left_out.len(), theirs_read.len(), "{name}");
        assert!(ours.left_out.iter().all(|n| !back.tensors.contains_key(n)), "{name}");

        // A tensor too many, one too few, one of another shape: each is named.
        let mut wrong = read_tensors(&theirs).unwrap();
        let (first, _) = wrong.pop_first().unwrap();
        wrong.insert("stranger".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
        let text = to_carpus(source, &fpn(encoder), wrong).unwrap_err().to_string();
        assert!(text.contains("stranger") && (text.contains(&first) || ours.left_out.contains(&first)), "{text}");
        for path in [theirs, expected] {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_converted_checkpoint_keeps_its_types_and_its_affine_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = Model::new(&fpn(EncoderKind::ResNet18), Device::Cpu).unwrap();
    let short = |t: &Tensor| if t.is_floating_point() { t.to_kind(Kind::BFloat16) } else { t.shallow_clone() };
    let state: Vec<_> = model.state().iter().map(|(name, t)| (name.clone(), short(t))).collect();
    write_tensors(Path::new(&path("w")), &state).unwrap();
    let common = ["--arch", "fpn", "--encoder", "resnet18", "--out"];
    let command = |input: &str, out: &str, more: &[&str]| {
        let (input, out) = (path(input), path(out));
        let mut arguments = vec!["models", "convert", &input];
        arguments.extend(common);
        arguments.push(&out);
        arguments.extend(more);
        done(&arguments)
    };
    command("w", "same", &["--from", "smp"]);
    assert_eq!(read_tensors(Path::new(&path("same"))).unwrap(), state.into_iter().collect());

    command("w", "grouped", &["--from", "smp", "--norm", "group:8"]);
    let grouped = read_tensors(Path::new(&path("grouped"))).unwrap();
    let config = ModelConfig { norm: Norm::Group(8), ..fpn(EncoderKind::ResNet18) };
    let loaded = Model::open(&config, Path::new(&path("grouped")), Device::Cpu).unwrap();
    assert_eq!(loaded.state().len(), grouped.len());
    let weight = "encoder.layer2.0.bn1.weight";
    assert_eq!(grouped[weight], model.parameters().get(weight).unwrap().to_kind(Kind::BFloat16));
    let arguments = ["models", "convert", &path("grouped"), "--to", "smp", "--norm", "group:8"];
    assert!(refused(&[&arguments[..], &common, &[&path("no")]].concat()).contains("only with batch norm"));

    let printed = command("w", "timm", &["--to", "timm"]);
    assert!(printed.contains("left out") && printed.contains("segmentation_head.0.weight"), "{printed}");
    assert!(read_tensors(Path::new(&path("timm"))).unwrap().contains_key("layer1.0.conv1.weight"));
    let arguments =
        ["models", "convert", &path("w"), "--from", "timm", "--arch", "fpn", "--encoder", "mit_b0", "--out"];
    assert!(refused(&[&arguments[..], &[&path("no")]].concat()).contains("timm has no mit_b0"));
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn a_pickle_is_refused_with_the_way_out_and_the_way_out_works() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let seed = python::seed().to_string();
    python::run("exchange.py", &["checkpoint", folder.path().to_str().unwrap(), &seed]);
    let forward = |weights: &str, input: &str| {
        let model = ["models", "forward", "--arch", "fpn", "--encoder", "resnet18"];
        let files = ["--weights", &path(weights), "--input", &path(input), "--output", &path("ours")];
        carpus(&[&model[..], &files].concat())
    };
    for pickle in ["nested.pt", "old.pt"] {
        let out = forward(pickle, "x.safetensors");
        assert_eq!(out.status.code(), Some(1));
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(text.contains("assets/pt_to_safetensors.py") && text.contains(pickle), "{text}");
        let text = refused(&["models", "export", "--weights", &path(pickle), "--out", &path("m.pt")]);
        assert!(text.contains("assets/pt_to_safetensors.py"), "{text}");

        python::run("../../assets/pt_to_safetensors.py", &[&path(pickle), &path("w")]);
        assert!(forward("w", "x.safetensors").status.success());
        let (ours, reference) =
            (read_tensors(Path::new(&path("ours"))), read_tensors(Path::new(&path("y.safetensors"))));
        let difference = relative(&ours.unwrap()["y"], &reference.unwrap()["y"]);
        assert!(difference <= LOGITS, "{pickle}: logits differ by {difference:e}");
    }
    let odd = forward("w", "odd.safetensors");
    assert_eq!(odd.status.code(), Some(1));
    let text = String::from_utf8_lossy(&odd.stderr).into_owned();
    assert!(text.contains("height 65 and width 70 must be multiples of 32; pad the image to 96 x 96"), "{text}");
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn a_checkpoint_of_any_maker_is_converted_whole_or_refused_with_the_way_out() {
    use std::os::unix::fs::PermissionsExt;
    const NAMES: [&str; 4] = ["decoder.bias", "decoder.weight", "encoder.bias", "encoder.weight"];
    const WAY_OUT: &str = "torch.save(model.state_dict(), \"weights.pt\")";
    // Arguments, what is said, the value that all tensors have.
    let converted: &[(&str, &[&str], f64)] = &[
        ("plain.pt a", &["4 tensors from the top of the file in a"], 1.0),
        ("elsewhere.pt b --key student", &["from student.state_dict"], 2.0),
        ("elsewhere.pt c --key student.state_dict", &["from student.state_dict"], 2.0),
        ("lightning.pt d --strip model", &["left out 1 not under model.: loss.weight", "4 tensors"], 3.0),
        ("lightning.pt e --strip model.", &["left out 1 not under model.: loss.weight"], 3.0),
        ("compiled.pt f --strip model", &["left out 1"], 4.0),
        ("parallel.pt g --strip net", &["left out 1 not under net.: loss.weight"], 5.0),
        ("parallel.pt h --strip module.net", &["left out 1 not under module.net.: module.loss.weight"], 5.0),
        ("nnunet.pt i", &["from network_weights"], 7.0),
        ("timm.pt j", &["took state_dict;", "--key state_dict_ema"], 8.0),
        ("timm.pt k --key state_dict_ema", &["from state_dict_ema"], 9.0),
        ("calls.pt l", &["from state_dict in l"], 10.0),
    ];
    // Arguments, how the hint ends.
    let hinted: &[(&str, &str)] = &[
        ("lightning.pt m", "--strip model"),
        ("compiled.pt n", "--strip model._orig_mod"),
        ("parallel.pt o", "--strip net"),
        ("transformers.pt p", ""),
    ];
    // Arguments, what is said.
    let refused: &[(&str, &[&str])] = &[
        ("whole.pt x", &["a Python object (__main__.Net)", WAY_OUT]),
        ("whole_old.pt x", &["(__main__.Net), which runs code when it is read", WAY_OUT]),
        ("inside.pt x", &["epoch (int), model (__main__.Net)", WAY_OUT]),
        ("inside.pt x --key model", &["no state dict in model", "__main__.Net", WAY_OUT]),
        ("system.pt x", &["system), which runs code when it is read", WAY_OUT]),
        ("protocol.pt x", &["torch.load cannot read it", WAY_OUT]),
        ("pointer.pt x", &["torch.load cannot read it", "version https", WAY_OUT]),
        ("script.pt x", &["TorchScript", "torch.save(torch.jit.load(\"script.pt\").state_dict(), \"weights.pt\")"]),
        ("done.safetensors x", &["safetensors already"]),
        ("cut.pt x", &["damaged or cut short"]),
        ("empty.pt x", &["the file is empty"]),
        ("other.pt x", &["a zip archive, but not one of torch.save", WAY_OUT]),
        ("tar.pt x", &["a tar archive", WAY_OUT]),
        ("folder x", &["not a file"]),
        ("nothing.pt x", &["no such file"]),
        ("extra.pt x", &["2 in state_dict are not tensors: encoder._extra_state (dict), steps (int)", "torch.save({"]),
        ("elsewhere.pt x", &["epoch (int), student (dict)", "--key"]),
        ("elsewhere.pt x --key student.ema", &["no 'student.ema'", "state_dict (dict)"]),
        ("elsewhere.pt x --key epoch.ema", &["no 'epoch.ema'", "(int)"]),
        ("lightning.pt x --strip net", &["no name starts with net.", "model (4), loss (1)"]),
        ("plain.pt plain.pt", &["this is the input"]),
        ("plain.pt folder/../plain.pt", &["this is the input"]),
        ("plain.pt folder", &["not a file"]),
        ("full plain.pt old", &["old: not written: the disk is full"]),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut cases: Vec<&str> = converted.iter().map(|case| case.0).collect();
    cases.extend(hinted.iter().map(|case| case.0));
    cases.extend(refused.iter().map(|case| case.0));
    let words: Vec<Vec<&str>> = cases.iter().map(|arguments| arguments.split(' ').collect()).collect();
    std::fs::write(folder.path().join("cases.json"), json!(words).to_string()).unwrap();
    let printed = python::run("checkpoints.py", &[folder.path().to_str().unwrap()]);
    let printed: Vec<serde_json::Value> = serde_json::from_str(&printed).unwrap();
    assert_eq!(printed.len(), cases.len());

    for (index, arguments) in cases.iter().enumerate() {
        let fails = index >= converted.len() + hinted.len();
        let changed = if fails { json!([]) } else { json!([words[index][1]]) };
        assert!(
            printed[index]["failed"] == fails && printed[index]["changed"] == changed,
            "{arguments}: {}",
            printed[index]
        );
    }
    for (index, (arguments, said, value)) in converted.iter().enumerate() {
        let (out, err) = (printed[index]["stdout"].as_str().unwrap(), printed[index]["stderr"].as_str().unwrap());
        assert!(said.iter().all(|part| out.contains(*part)) && err.is_empty(), "{arguments}: {out}{err}");
        let path = folder.path().join(words[index][1]);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o644, "{arguments}");
        let tensors = read_tensors(&path).unwrap();
        assert!(tensors.keys().map(String::as_str).eq(NAMES), "{arguments}: {:?}", tensors.keys());
        let right = |tensor: &Tensor| tensor.mean(Kind::Float).double_value(&[]) == *value;
        assert!(tensors.values().all(right), "{arguments}");
    }
    for (index, (arguments, hint)) in hinted.iter().enumerate() {
        let err = printed[converted.len() + index]["stderr"].as_str().unwrap();
        assert!(err.trim_end().ends_with(*hint) && err.is_empty() == hint.is_empty(), "{arguments}: {err}");
    }
    for (index, (arguments, said)) in refused.iter().enumerate() {
        let err = printed[converted.len() + hinted.len() + index]["stderr"].as_str().unwrap();
        assert!(said.iter().all(|part| err.contains(*part)), "{arguments}: {err}");
    }
}

/// Where the wheel that the tests are linked to keeps its headers and libraries.
fn libtorch() -> PathBuf {
    let folders = carpus::device::libtorch_folders();
    let lib = folders.iter().find(|lib| lib.join("libtorch.so").exists()).expect("the tests are linked to libtorch");
    lib.parent().unwrap().to_owned()
}

/// Compiles tests/parity/run_module.cpp against the wheel.
fn compile(folder: &Path) -> PathBuf {
    let (torch, program) = (libtorch(), folder.join("run_module"));
    let lib = torch.join("lib");
    let out = Command::new("g++")
        .args(["-std=c++17", "-O0", "-w"])
        .arg(python::root().join("tests/parity/run_module.cpp"))
        .arg("-I")
        .arg(torch.join("include"))
        .arg("-I")
        .arg(torch.join("include/torch/csrc/api/include"))
        .arg("-L")
        .arg(&lib)
        .args(["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"])
        .arg(format!("-Wl,-rpath,{}", lib.display()))
        .arg("-o")
        .arg(&program)
        .output()
        .expect("g++ is there: libtorch's bindings were built with it");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    program
}

fn floats(tensor: &Tensor) -> Vec<u8> {
    let tensor = tensor.contiguous();
    let mut bytes = vec![0; tensor.numel() * 4];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    bytes
}

/// What a run says of the weights it leaves. Their classes are the bones.
fn info(model: ModelConfig) -> WeightsInfo {
    WeightsInfo {
        model,
        size: Size::square(64),
        input: InputSettings::default(),
        specialist: None,
        classes: carpus::bones::NAMES.map(str::to_owned).to_vec(),
        top_level: None,
        epoch: Some(1),
        dice: Some(0.5),
        averaged: false,
    }
}

/// A run's weights say their model, whatever it is; for others each key of a configuration can be given.
#[test]
fn any_model_can_be_run_and_converted_from_the_command_line() {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let small = NnUnetOptions { stages: 3, features: 4, max_features: 8 };
    let nnunet = ModelConfig { architecture: Network(NetworkKind::NnUnet), nnunet: small, ..ModelConfig::default() };
    let gated = ModelConfig {
        encoder: Some(EncoderKind::ResNet18),
        metadata: Some(MetadataOptions { channels: 8 }),
        head_dropout: Some(0.5),
        ..ModelConfig::default()
    };
    let given: [(ModelConfig, &[&str]); 2] = [
        (nnunet, &["--arch", "nnunet", "--set", "nnunet={stages=3,features=4,max-features=8}"]),
        (gated, &["--arch", "fpn", "--encoder", "resnet18", "--set", "metadata.channels=8"]),
    ];
    let x = Tensor::randn([2, 3, 64, 64], (Kind::Float, Device::Cpu));
    let metadata = Tensor::from_slice(&[30f32, 1.0, f32::NAN, 70.0, f32::NAN, 0.0, 160.0, 55.0]).view([2, 4]);
    for (config, flags) in given {
        let model = Model::new(&config, Device::Cpu).unwrap();
        let mut tensors = vec![("x".to_owned(), x.shallow_clone())];
        if config.metadata.is_some() {
            let mut gate = model.parameters().get("metadata.gate").unwrap().shallow_clone();
            let _ = tch::no_grad(|| gate.fill_(1.0));
            tensors.push(("metadata".to_owned(), metadata.shallow_clone()));
        }
        let input = Input { images: &x, metadata: tensors.get(1).map(|(_, tensor)| tensor) };
        let expected = tch::no_grad(|| model.forward(&input, false)).unwrap().logits;
        write_tensors(Path::new(&path("x")), &tensors).unwrap();
        write_weights(Path::new(&path("run")), &model.state(), &info(config.clone())).unwrap();
        model.save(Path::new(&path("plain"))).unwrap();
        for (weights, flags) in [("run", &[][..]), ("plain", flags)] {
            let files = ["--weights", &path(weights), "--input", &path("x"), "--output", &path("y")];
            done(&[&["models", "forward"], &files[..], flags].concat());
            let y = &read_tensors(Path::new(&path("y"))).unwrap()["y"];
            assert!(relative(y, &expected) <= 1e-6, "{} from {weights}", config.describe());
        }
        let files = ["--weights", &path("plain"), "--input", &path("x"), "--output", &path("y")];
        let text = refused(&[&["models", "forward"], &files[..]].concat());
        assert!(text.contains("not the weights of a run; for other weights, give --arch"), "{text}");
    }
    // Metadata for a model that takes none, integers for an image, a key that is none.
    let forward = |weights: &str, more: &[&str]| {
        let files = ["--weights", &path(weights), "--input", &path("x"), "--output", &path("y")];
        refused(&[&["models", "forward"], &files[..], more].concat())
    };
    let plain = Model::new(&fpn(EncoderKind::ResNet18), Device::Cpu).unwrap();
    plain.save(Path::new(&path("plain"))).unwrap();
    let fpn = ["--arch", "fpn", "--encoder", "resnet18"];
    assert!(forward("plain", &fpn).contains("takes no metadata"));
    write_tensors(Path::new(&path("x")), &[("x".to_owned(), x.to_kind(Kind::Int64))]).unwrap();
    assert!(forward("plain", &fpn).contains("expected floats"));
    let text = forward("plain", &[&fpn[..], &["--set", "depht=4"]].concat());
    assert!(text.contains("--set") && text.contains("depht"), "{text}");

    let [three, eight] = [vec!["--set", "nnunet.stages=3"], vec![]]
        .map(|more| done(&[&["models", "show", "nnunet"], &more[..]].concat()).lines().count());
    assert!(three < eight);
}

/// segmentation_models_pytorch's second head has no place here; its first layer for three channels is fitted to one.
#[test]
fn what_smp_adds_is_left_out_and_its_first_layer_is_summed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let model = Model::new(&fpn(EncoderKind::ResNet18), Device::Cpu).unwrap();
    let mut state = model.state();
    for what in ["weight", "bias"] {
        let name = format!("classification_head.3.{what}");
        state.push((name, Tensor::zeros([4], (Kind::Float, Device::Cpu))));
    }
    write_tensors(Path::new(&path("w")), &state).unwrap();
    let (input, output) = (path("w"), path("grey"));
    let arguments = ["models", "convert", &input, "--from", "smp", "--arch", "fpn", "--encoder", "resnet18"];
    let said = done(&[&arguments[..], &["--in-channels", "1", "--out", &output]].concat());
    assert!(said.contains("classification_head.3.weight") && said.contains("summed into one"), "{said}");
    let grey = ModelConfig { in_channels: 1, ..fpn(EncoderKind::ResNet18) };
    let grey = Model::open(&grey, Path::new(&output), Device::Cpu).unwrap();
    let first = "encoder.conv1.weight";
    let sum = model.parameters().get(first).unwrap().sum_dim_intlist([1i64].as_slice(), true, Kind::Float);
    assert!(relative(&grey.parameters().get(first).unwrap().detach(), &sum.detach()) < 1e-6);
}

/// What no other library has is left out where the logits are the same without it, and refused where they are not.
#[test]
fn what_is_ours_alone_does_not_go_to_smp() {
    let config = ModelConfig { auxiliary: true, ..fpn(EncoderKind::ResNet18) };
    let model = Model::new(&config, Device::Cpu).unwrap();
    let sent = from_carpus(WeightsSource::Smp, &config, model.state().into_iter().collect()).unwrap();
    assert!(sent.left_out.iter().all(|name| name.starts_with("auxiliary_head.")) && !sent.left_out.is_empty());
    let plain = Model::new(&fpn(EncoderKind::ResNet18), Device::Cpu).unwrap();
    assert!(sent.tensors.keys().eq(plain.state().into_iter().collect::<std::collections::BTreeMap<_, _>>().keys()));
    let gated = ModelConfig { metadata: Some(MetadataOptions::default()), ..fpn(EncoderKind::ResNet18) };
    let state = Model::new(&gated, Device::Cpu).unwrap().state().into_iter().collect();
    let text = from_carpus(WeightsSource::Smp, &gated, state).unwrap_err().to_string();
    assert!(text.contains("smp has no fpn with metadata"), "{text}");
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn exported_modules_give_the_same_logits_in_python_onnx_and_cpp() {
    tch::set_num_threads(2);
    let seed = python::seed();
    tch::manual_seed(seed as i64);
    let folder = tempfile::tempdir().unwrap();
    use EncoderKind::{EfficientNetB0, MitB0, ResNet18, SwinTiny};
    // PSPNet has means over cells that do not divide the feature, for which ONNX has no operator; Swin has masks.
    let mut configs = [EfficientNetB0, MitB0, ResNet18, SwinTiny].map(fpn).to_vec();
    configs[1].architecture = Decoder(DecoderKind::Segformer);
    configs[2].architecture = Decoder(DecoderKind::PspNet);
    if all() {
        let every = Architecture::all().map(|a| ModelConfig { architecture: a, classes: 3, ..Default::default() });
        configs.extend(every);
        configs.extend(EncoderKind::ALL.iter().map(|e| fpn(*e)));
    }
    let mut configs = drawn(configs, 2);
    configs.push(ModelConfig { metadata: Some(MetadataOptions::default()), ..fpn(ResNet18) });
    let (mut cases, mut allowed) = (Vec::new(), Vec::new());
    for (index, config) in configs.iter().enumerate() {
        // Statistics away from their start, or nothing would show that they are in the module; those of many pixels,
        // since under others an untrained network of many layers makes more of rounding than its logits.
        let follows = ModelConfig { norm_momentum: Some(1.0), ..config.clone() };
        let model = Model::new(if follows.validate().is_ok() { &follows } else { config }, Device::Cpu).unwrap();
        let side = model.least_side().max(model.stride()).max(64);
        let file = |what: &str| folder.path().join(format!("{index}.{what}"));
        let x = Tensor::randn([2, 3, side, side], (Kind::Float, Device::Cpu));
        let many = Tensor::randn([8, 3, 2 * side, 2 * side], (Kind::Float, Device::Cpu));
        tch::no_grad(|| model.forward_t(&many, true)).unwrap();
        let mut inputs = vec![("x".to_owned(), x.shallow_clone())];
        if config.metadata.is_some() {
            // A gate that is closed would show nothing.
            let mut gate = model.parameters().get("metadata.gate").unwrap().shallow_clone();
            let _ = tch::no_grad(|| gate.uniform_(-1.0, 1.0));
            let known = [30f32, 1.0, f32::NAN, 70.0, f32::NAN, f32::NAN, 160.0, 55.0];
            inputs.push(("metadata".to_owned(), Tensor::from_slice(&known).view([2, 4])));
        }
        let input = Input { images: &x, metadata: inputs.get(1).map(|(_, metadata)| metadata) };
        let y = tch::no_grad(|| model.forward(&input, false)).unwrap().logits;
        // Another library rounds elsewhere: where a nudge of the images by a millionth, some ten roundings, does more
        // than is allowed in general, as much is allowed.
        let nudged = Input { images: &(&x * (1.0 + 1e-6)), ..input };
        let nudged = tch::no_grad(|| model.forward(&nudged, false)).unwrap().logits;
        allowed.push(relative(&nudged, &y).clamp(LOGITS, 10.0 * LOGITS));
        let (weights, module) = (file("w"), file("pt"));
        let mut arguments = vec!["models", "export", "--to", "torchscript", "--batch", "2"];
        let size = side.to_string();
        arguments.extend(["--weights", weights.to_str().unwrap(), "--out", module.to_str().unwrap(), "--size", &size]);
        let encoder = config.backbone().map(EncoderKind::name);
        if index == 0 {
            // As a run leaves it: the file says its model. Its classes are the bones.
            let config = ModelConfig { classes: 29, ..config.clone() };
            let model = Model::new(&config, Device::Cpu).unwrap();
            write_weights(&weights, &model.state(), &info(config)).unwrap();
            done(&arguments);
            let y = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
            write_tensors(&file("expected"), &[("y".to_owned(), y)]).unwrap();
        } else {
            model.save(&weights).unwrap();
            arguments.extend(["--arch", config.architecture.name()]);
            arguments.extend(encoder.iter().flat_map(|e| ["--encoder", e]));
            arguments.extend(config.metadata.iter().flat_map(|_| ["--set", "metadata=true"]));
            assert_eq!(done(&arguments).contains("and metadata [2, 4] to logits"), config.metadata.is_some());
            write_tensors(&file("expected"), &[("y".to_owned(), y)]).unwrap();
        }
        for (name, tensor) in &inputs {
            std::fs::write(file(&format!("{name}.raw")), floats(tensor)).unwrap();
        }
        write_tensors(&file("x.safetensors"), &inputs).unwrap();
        cases.push(json!({ "name": index.to_string(), "model": config.describe() }));
    }
    std::fs::write(folder.path().join("cases.json"), json!(cases).to_string()).unwrap();
    python::run("exchange.py", &["modules", folder.path().to_str().unwrap()]);
    let program = compile(folder.path());
    let mut differ = Vec::new();
    for ((index, config), allowed) in configs.iter().enumerate().zip(allowed) {
        let name = config.describe();
        let mut hold = |what: &str, y: &Tensor, expected: &Tensor| {
            let difference = relative(y, expected);
            if difference.is_nan() || difference > allowed {
                differ.push(format!("{name}: logits {what} differ by {difference:.1e}, {allowed:.1e} is allowed"));
            }
        };
        let file = |what: &str| folder.path().join(format!("{index}.{what}"));
        let expected = &read_tensors(&file("expected")).unwrap()["y"];
        for (what, y) in read_tensors(&file("y.safetensors")).unwrap() {
            hold(&format!("by {what}"), &y, expected);
        }
        let inputs = read_tensors(&file("x.safetensors")).unwrap();
        let mut command = Command::new(&program);
        command.args([file("pt"), file("y.raw")]);
        for what in ["x", "metadata"] {
            if let Some(tensor) = inputs.get(what) {
                let sides: Vec<String> = tensor.size().iter().map(i64::to_string).collect();
                command.arg(sides.join("x")).arg(file(&format!("{what}.raw")));
            }
        }
        let out = command.output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        let bytes = std::fs::read(file("y.raw")).unwrap();
        let y = Tensor::from_data_size(&bytes, &expected.size(), Kind::Float);
        hold("in C++", &y, expected);
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
