//! Checkpoints of mmsegmentation: converted from the command line, with the logits of models that are written from the
//! papers with mmsegmentation's names (tests/parity/mmseg_models.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use carpus::models::Architecture::Decoder;
use carpus::models::names::{WeightsSource, from_carpus, mmseg, to_carpus};
use carpus::models::{
    Architecture, DecoderKind, EncoderKind, Model, ModelConfig, classes_of, read_tensors, write_tensors,
};
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::models::{EXACT, LOGITS, all, drawn, relative};
use crate::python;

struct Case {
    encoder: EncoderKind,
    in_channels: i64,
    auxiliary: bool,
    aligned: bool,
}

impl Case {
    fn of(encoder: EncoderKind) -> Self {
        Case { encoder, in_channels: 3, auxiliary: false, aligned: false }
    }

    fn name(&self) -> String {
        format!("{}.{}.{}.{}", self.encoder, self.in_channels, self.auxiliary, self.aligned)
    }

    fn architecture(&self) -> Architecture {
        Decoder(match self.encoder.name() {
            name if name.starts_with("mit_") => DecoderKind::SegformerMmseg,
            name if name.starts_with("tu-hrnet_") => DecoderKind::HrNetOcrMmseg,
            _ => DecoderKind::UperNetTransformers,
        })
    }
}

/// The checkpoints of `cases` and their conversion to safetensors, in a new folder. Three classes each.
fn checkpoints(cases: &[Case]) -> tempfile::TempDir {
    tch::set_num_threads(2);
    let folder = tempfile::tempdir().unwrap();
    let list = cases.iter().map(|case| {
        // Windows are shifted in every stage; no grid is made of whole ones, and the last is lower than one.
        let (height, width) = if case.encoder.name().contains("swin") { (160, 288) } else { (64, 96) };
        json!({
            "name": case.name(), "encoder": case.encoder, "in_channels": case.in_channels, "classes": 3,
            "auxiliary": case.auxiliary, "aligned": case.aligned, "height": height, "width": width,
        })
    });
    std::fs::write(folder.path().join("cases.json"), json!(list.collect::<Vec<_>>()).to_string()).unwrap();
    python::run("mmseg_models.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    for case in cases {
        let (pickle, file) = (path(&folder, case, "pth"), path(&folder, case, "safetensors"));
        python::run("../../assets/pt_to_safetensors.py", &[pickle.to_str().unwrap(), file.to_str().unwrap()]);
    }
    folder
}

fn path(folder: &tempfile::TempDir, case: &Case, what: &str) -> PathBuf {
    folder.path().join(format!("{}.{what}", case.name()))
}

/// Runs the command; returns whether it succeeded, and what it printed.
fn carpus(arguments: &[&str]) -> (bool, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_carpus")).args(arguments).env("OMP_NUM_THREADS", "2").output().unwrap();
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// Converts `input` with further arguments.
fn convert(input: &Path, out: &Path, more: &[&str]) -> (bool, String) {
    let files = ["models", "convert", input.to_str().unwrap(), "--from", "mmseg", "--out", out.to_str().unwrap()];
    carpus(&[&files, more].concat())
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn checkpoints_of_mmsegmentation_give_the_same_logits() {
    use EncoderKind::{ConvNeXtTiny, ConvNeXtV2Tiny, HrNetW18, MitB0, MitB1, SwinTiny};
    let kinds: Vec<EncoderKind> = match all() {
        true => {
            let names = ["mit_", "tu-swin_", "tu-convnext", "tu-hrnet_"];
            let is_mmseg = |kind: &EncoderKind| names.iter().any(|name| kind.name().starts_with(name));
            EncoderKind::ALL.iter().copied().filter(is_mmseg).collect()
        }
        false => drawn([MitB0, MitB1, SwinTiny, ConvNeXtTiny, ConvNeXtV2Tiny, HrNetW18], 3),
    };
    let mut cases: Vec<Case> = kinds.into_iter().map(Case::of).collect();
    for case in &mut cases {
        case.auxiliary = matches!(case.encoder, MitB0 | SwinTiny | ConvNeXtV2Tiny);
        case.in_channels = if matches!(case.encoder, MitB1 | ConvNeXtTiny) { 1 } else { 3 };
    }
    let folder = checkpoints(&cases);
    for case in &cases {
        let name = case.name();
        let io = read_tensors(&path(&folder, case, "io.safetensors")).unwrap();
        let weights = folder.path().join("weights");
        let (converted, said) = convert(&path(&folder, case, "safetensors"), &weights, &[]);
        assert!(converted, "{name}: {said}");
        let auxiliary = case.auxiliary && case.encoder == MitB0;
        let flag = if auxiliary { " --auxiliary" } else { "" };
        let model = format!("the model is --arch {} --encoder {}{flag}\n", case.architecture(), case.encoder);
        assert!(said.contains(&model) && said.contains("3 classes, not the 29"), "{name}: {said}");
        // Only UPerNet has an auxiliary head that is always there.
        let is_upernet = case.architecture() == Decoder(DecoderKind::UperNetTransformers);
        let new = "new, with random values: decoder.auxiliary_head.classifier.bias";
        assert_eq!(said.contains(new), is_upernet && !case.auxiliary, "{name}: {said}");
        let tables = "left out, because there is no such parameter: backbone.stages.0.blocks.0.attn.w_msa.relative_";
        assert_eq!(said.contains(tables), case.encoder == SwinTiny, "{name}: {said}");

        let [input, output] = ["x", "y"].map(|file| folder.path().join(file));
        write_tensors(&input, &[("x".to_owned(), io["x"].shallow_clone())]).unwrap();
        let channels = case.in_channels.to_string();
        let mut arguments = vec!["models", "forward", "--arch", case.architecture().name(), "--encoder"];
        arguments.extend([case.encoder.name(), "--in-channels", &channels, "--weights", weights.to_str().unwrap()]);
        arguments.extend(["--input", input.to_str().unwrap(), "--output", output.to_str().unwrap()]);
        arguments.extend(auxiliary.then_some("--auxiliary"));
        let (ran, said) = carpus(&arguments);
        assert!(ran, "{name}: {said}");
        let difference = relative(&read_tensors(&output).unwrap()["y"], &io["eval"]);
        assert!(difference <= LOGITS, "{name}: logits differ by {difference:e}");

        // In training batch norms use the batch's statistics, and the auxiliary head gives logits.
        let config = ModelConfig {
            architecture: case.architecture(),
            encoder: Some(case.encoder),
            in_channels: case.in_channels,
            classes: 3,
            auxiliary,
            dropout: Some(0.0),
            drop_path: (case.encoder != HrNetW18).then_some(0.0),
            ..ModelConfig::default()
        };
        let model = Model::open(&config, &weights, Device::Cpu).unwrap();
        model.parameters().set_kind(Kind::Double).unwrap();
        let output = tch::no_grad(|| model.forward_t(&io["x"].to_kind(Kind::Double), true)).unwrap();
        let difference = relative(&output.logits, &io["train"]);
        assert!(difference <= EXACT, "{name}: logits in training differ by {difference:e}");
        if let Some(reference) = io.get("auxiliary") {
            let difference = relative(&output.auxiliary[0], reference);
            assert!(difference <= EXACT, "{name}: auxiliary logits differ by {difference:e}");
        }
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn what_cannot_be_converted_is_refused_with_the_reason() {
    use EncoderKind::{HrNetW18, MitB0, SwinTiny};
    let cases = [Case::of(MitB0), Case::of(SwinTiny), Case::of(HrNetW18), Case { aligned: true, ..Case::of(MitB0) }];
    let folder = checkpoints(&cases);
    let [mit, swin, hrnet, aligned] = cases.each_ref().map(|case| path(&folder, case, "safetensors"));
    let [changed, out] = ["changed", "out"].map(|file| folder.path().join(file));
    let refused = |input: &Path, more: &[&str], words: &[&str]| {
        let (done, said) = convert(input, &out, more);
        assert!(!done && !out.exists(), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{words:?}: {said}");
    };
    let with = |input: &Path, change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let mut tensors = read_tensors(input).unwrap();
        change(&mut tensors);
        write_tensors(&changed, &tensors.into_iter().collect::<Vec<_>>()).unwrap();
        changed.as_path()
    };
    let rename = |tensors: &mut BTreeMap<String, Tensor>, from: &str, to: &str| {
        *tensors = std::mem::take(tensors).into_iter().map(|(name, t)| (name.replace(from, to), t)).collect();
    };

    refused(&aligned, &[], &["align_corners = True", "segformer-mmseg on mit_b0 has align_corners = False"]);
    let merged = with(&mit, &|tensors| tensors.extend(read_tensors(&swin).unwrap()));
    refused(
        merged,
        &[],
        &["a mixture of several models: MixVisionTransformer, SwinTransformer, SegformerHead, UPerHead"],
    );
    let heads = with(&mit, &|tensors| rename(tensors, "decode_head.fusion_conv.", "decode_head.fpn_bottleneck."));
    refused(heads, &[], &["MixVisionTransformer with UPerHead"]);
    let unknown = with(&mit, &|tensors| rename(tensors, "backbone.layers.0.0.projection", "backbone.ln0"));
    refused(unknown, &[], &["SegformerHead and names that begin with backbone.layers, backbone.ln0, decode_head.conv"]);
    let size = with(&hrnet, &|tensors| tensors.retain(|name, _| !name.starts_with("backbone.stage3.3.")));
    refused(size, &[], &["HRNet of width 18 with [4, 1, 3, 3] blocks"]);
    let short = with(&mit, &|tensors| tensors.retain(|name, _| !name.starts_with("decode_head.convs.0.")));
    refused(short, &[], &["6 missing: decode_head.convs.0.bn.bias, "]);
    let short = with(&mit, &|tensors| tensors.retain(|name, _| !name.starts_with("decode_head.convs.")));
    refused(short, &[], &["24 missing: ", "decode_head.convs.1.bn.running_var, …"]);
    let more = with(&mit, &|tensors| rename(tensors, "decode_head.conv_seg", "decode_head.conv_cls"));
    refused(more, &[], &["2 missing: decode_head.conv_seg.bias", "2 unexpected: decode_head.conv_cls.bias"]);
    refused(&mit, &["--arch", "segformer-mmseg", "--encoder", "mit_b2"], &["of segformer-mmseg on mit_b0, not of"]);
    refused(&mit, &["--arch", "segformer", "--encoder", "mit_b0"], &["mmseg has no segformer on mit_b0"]);

    // Files that are no checkpoints, or not complete.
    let bytes = std::fs::read(&mit).unwrap();
    std::fs::write(&changed, &bytes[..bytes.len() / 2]).unwrap();
    refused(&changed, &[], &["not a safetensors file"]);
    std::fs::write(&changed, "a text").unwrap();
    refused(&changed, &[], &["not a safetensors file"]);
    refused(&path(&folder, &cases[0], "pth"), &[], &["assets/pt_to_safetensors.py"]);

    // Nothing is converted to mmsegmentation.
    let config = mmseg::detect(&read_tensors(&mit).unwrap()).unwrap();
    let error = from_carpus(WeightsSource::Mmseg, &config, BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("converted from mmseg, but not to it"), "{error}");
    // An auxiliary head of another shape has no place.
    let mut tensors = read_tensors(&mit).unwrap();
    let other = Tensor::zeros([64, 32, 3, 3], (Kind::Float, Device::Cpu));
    tensors.insert("auxiliary_head.convs.0.conv.weight".into(), other);
    assert!(!mmseg::detect(&tensors).unwrap().auxiliary);
    let left_out = to_carpus(WeightsSource::Mmseg, &config, tensors).unwrap().left_out;
    assert_eq!(left_out, ["auxiliary_head.convs.0.conv.weight"]);
}

/// The decoder is kept, the last layers are new, and the model can be trained.
#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn other_classes_get_new_last_layers() {
    use EncoderKind::{HrNetW18, MitB0, SwinTiny};
    let cases = drawn([Case::of(MitB0), Case { auxiliary: true, ..Case::of(SwinTiny) }, Case::of(HrNetW18)], 1);
    let folder = checkpoints(&cases);
    for case in &cases {
        let input = path(&folder, case, "safetensors");
        let [out, again] = ["out", "again"].map(|file| folder.path().join(file));
        for out in [&out, &again] {
            let (done, said) = convert(&input, out, &["--classes", "29"]);
            assert!(done && said.contains("segmentation_head.0.weight") && !said.contains("not the 29"), "{said}");
        }
        assert!(std::fs::read(&out).unwrap() == std::fs::read(&again).unwrap(), "the same values every time");
        let tensors = read_tensors(&out).unwrap();
        let config =
            ModelConfig { architecture: case.architecture(), encoder: Some(case.encoder), ..ModelConfig::default() };
        assert_eq!(classes_of(&config, &tensors).unwrap(), Some(29));
        Model::open(&config, &out, Device::Cpu).unwrap();
        let kept = to_carpus(WeightsSource::Mmseg, &config, read_tensors(&input).unwrap()).unwrap().tensors;
        let differs: Vec<&str> =
            kept.iter().filter(|(name, tensor)| tensors[*name] != **tensor).map(|(name, _)| name.as_str()).collect();
        let expected: &[&str] = match case.encoder {
            MitB0 => &["segmentation_head.0.bias", "segmentation_head.0.weight"],
            SwinTiny => &[
                "decoder.auxiliary_head.classifier.bias",
                "decoder.auxiliary_head.classifier.weight",
                "segmentation_head.0.bias",
                "segmentation_head.0.weight",
            ],
            _ => &[
                "decoder.aux_head.3.bias",
                "decoder.aux_head.3.weight",
                "segmentation_head.0.bias",
                "segmentation_head.0.weight",
            ],
        };
        assert_eq!(differs, expected, "{}", case.name());
    }
}
