//! Weights and models that go to other libraries and come from them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use carpus::models::names::{NamesError, Source, from_carpus, to_carpus};
use carpus::models::{Architecture, EncoderKind, Model, ModelConfig, Norm, read_tensors, write_tensors};
use carpus::train::{InputSettings, WeightsInfo, write_weights};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::models::{LOGITS, all, relative};
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
fn encoders(source: Source) -> Vec<EncoderKind> {
    use EncoderKind::{ConvNeXtTiny, EfficientNetB0, EfficientNetB1, MobileNetV2, ResNet18, ResNet50, SwinTiny};
    let sample = [EfficientNetB0, EfficientNetB1, MobileNetV2, ResNet18, ResNet50, ConvNeXtTiny, SwinTiny];
    let has = |encoder: &EncoderKind| {
        let answer = from_carpus(source, &fpn(*encoder), Default::default());
        !matches!(answer, Err(NamesError::NoCounterpart { .. }))
    };
    let chosen = if all() { EncoderKind::ALL } else { &sample };
    chosen.iter().copied().filter(has).collect()
}

#[test]
fn classifiers_of_timm_and_torchvision_are_encoders_here_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let cases: Vec<(Source, EncoderKind)> = [Source::Timm, Source::Torchvision]
        .into_iter()
        .flat_map(|source| encoders(source).into_iter().map(move |encoder| (source, encoder)))
        .collect();
    assert!(cases.len() >= 10);
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
    assert!(refused(&[&arguments[..], &common, &[&path("no")]].concat()).contains("batch norm alone"));

    let told = command("w", "timm", &["--to", "timm"]);
    assert!(told.contains("left out") && told.contains("segmentation_head.0.weight"), "{told}");
    assert!(read_tensors(Path::new(&path("timm"))).unwrap().contains_key("layer1.0.conv1.weight"));
    let arguments =
        ["models", "convert", &path("w"), "--from", "timm", "--arch", "fpn", "--encoder", "mit_b0", "--out"];
    assert!(refused(&[&arguments[..], &[&path("no")]].concat()).contains("timm has no mit_b0"));
}

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

#[test]
fn exported_modules_give_the_same_logits_in_python_onnx_and_cpp() {
    tch::set_num_threads(2);
    let seed = python::seed();
    tch::manual_seed(seed as i64);
    let folder = tempfile::tempdir().unwrap();
    let mut configs = vec![fpn(EncoderKind::EfficientNetB0), fpn(EncoderKind::MitB0)];
    configs[1].architecture = Architecture::Segformer;
    if all() {
        let every =
            Architecture::ALL.iter().map(|a| ModelConfig { architecture: *a, classes: 3, ..Default::default() });
        configs.extend(every);
        configs.extend(EncoderKind::ALL.iter().map(|e| fpn(*e)));
    }
    let mut cases = Vec::new();
    for (index, config) in configs.iter().enumerate() {
        let model = Model::new(config, Device::Cpu).unwrap();
        let side = config.architecture.least_side().max(model.stride()).max(64);
        let file = |what: &str| folder.path().join(format!("{index}.{what}"));
        let x = Tensor::randn([2, 3, side, side], (Kind::Float, Device::Cpu));
        // Statistics away from their start, or nothing would show that they are in the module.
        for _ in 0..2 {
            tch::no_grad(|| model.forward_t(&x, true)).unwrap();
        }
        let y = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
        let (weights, module) = (file("w"), file("pt"));
        let mut arguments = vec!["models", "export", "--to", "torchscript", "--batch", "2"];
        let size = side.to_string();
        arguments.extend(["--weights", weights.to_str().unwrap(), "--out", module.to_str().unwrap(), "--size", &size]);
        let encoder = config.backbone().map(EncoderKind::name);
        if index == 0 {
            // As a run leaves it: the file says its model. Its classes are the bones.
            let config = ModelConfig { classes: 29, ..config.clone() };
            let model = Model::new(&config, Device::Cpu).unwrap();
            let info = WeightsInfo {
                model: config,
                size: 64,
                input: InputSettings::default(),
                classes: carpus::bones::NAMES.map(str::to_owned).to_vec(),
                epoch: 1,
                dice: 0.5,
                averaged: false,
            };
            write_weights(&weights, &model.state(), &info).unwrap();
            done(&arguments);
            let y = tch::no_grad(|| model.forward_t(&x, false)).unwrap().logits;
            write_tensors(&file("expected"), &[("y".to_owned(), y)]).unwrap();
        } else {
            model.save(&weights).unwrap();
            arguments.extend(["--arch", config.architecture.name()]);
            arguments.extend(encoder.iter().flat_map(|e| ["--encoder", e]));
            done(&arguments);
            write_tensors(&file("expected"), &[("y".to_owned(), y)]).unwrap();
        }
        write_tensors(&file("x.safetensors"), &[("x".to_owned(), x.shallow_clone())]).unwrap();
        std::fs::write(file("x.raw"), floats(&x)).unwrap();
        cases.push(json!({ "name": index.to_string() }));
    }
    std::fs::write(folder.path().join("cases.json"), json!(cases).to_string()).unwrap();
    python::run("exchange.py", &["modules", folder.path().to_str().unwrap()]);
    let program = compile(folder.path());
    for (index, config) in configs.iter().enumerate() {
        let name = config.describe();
        let file = |what: &str| folder.path().join(format!("{index}.{what}"));
        let expected = &read_tensors(&file("expected")).unwrap()["y"];
        for (what, y) in read_tensors(&file("y.safetensors")).unwrap() {
            let difference = relative(&y, expected);
            assert!(difference <= LOGITS, "{name}: logits by {what} differ by {difference:e}");
        }
        let size = read_tensors(&file("x.safetensors")).unwrap()["x"].size();
        let mut command = Command::new(&program);
        command.args([file("pt"), file("x.raw"), file("y.raw")]).args(size.iter().map(i64::to_string));
        let out = command.output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        let bytes = std::fs::read(file("y.raw")).unwrap();
        let y = Tensor::from_data_size(&bytes, &expected.size(), Kind::Float);
        let difference = relative(&y, expected);
        assert!(difference <= LOGITS, "{name}: logits in C++ differ by {difference:e}");
    }
}
