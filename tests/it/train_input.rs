//! From the images to the model's input: sizes that are not square, window and percentiles, 16 bits, pairs of overlapping bones, and
//! specialists for some bones.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use carpus::augment::FittedImage;
use carpus::bones::Bone;
use carpus::dataset::{Dataset, GreyImage, Levels};
use carpus::geometry::Size;
use carpus::losses::LossMix;
use carpus::mask::HandMasks;
use carpus::mask::submission;
use carpus::models::{
    BonePairs, EncoderKind, EncoderScale, Input, Model, ModelConfig, Norm, torchscript, write_tensors,
};
use carpus::tables::EpochRow;
use carpus::train::{
    Batch, InputImage, InputSettings, Loading, OneProcess, SpecialistSettings, Tensors, target, weights_info,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use crate::python;
use crate::train::draw_data;

fn carpus(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
    command.current_dir(folder).args(arguments).env("OMP_NUM_THREADS", "1").output().unwrap()
}

fn said(out: &Output) -> String {
    [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat()
}

fn done(folder: &Path, arguments: &[&str]) -> String {
    let out = carpus(folder, arguments);
    assert!(out.status.success(), "{arguments:?}: {}", said(&out));
    said(&out)
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let out = carpus(folder, arguments);
    assert!(!out.status.success(), "{arguments:?}: {}", said(&out));
    said(&out)
}

/// A folder with data of three patients, folds, and the configuration `text` as `run.toml`.
fn bench(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let folds = draw_data(&folder.path().join("data"), 3);
    carpus::tables::write_csv(&folder.path().join("folds.csv"), &folds).unwrap();
    std::fs::write(folder.path().join("run.toml"), format!("{TINY}{text}")).unwrap();
    folder
}

const TINY: &str = "
epochs = 1
batch = 2
pictures = 1
histograms = false
data = { root = 'data', folds = 'folds.csv', fold = 1 }
output = { runs = 'runs', name = 'run' }
optimiser = { lr = 2e-3 }
";

/// Masks of 80 x 80 px by image.
fn masks(file: &Path) -> BTreeMap<String, HandMasks> {
    submission::read(file, 80, 80).unwrap().into_iter().map(|image| (image.image_name, image.masks)).collect()
}

#[test]
fn stages_of_growing_sizes_that_are_not_square_are_trained_and_predicted() {
    let folder = bench(
        "size = [96, 64]
augment = [{ kind = 'flip' }, { kind = 'shift-scale-rotate' }, { kind = 'cut-mix' }, { kind = 'mix-up', p = 1.0 }]
loss = { bce = { weight = 0.5, class-weights = { Pisiform = 3.0, default = 1.0 } }, dice = 0.5 }
input = { percentiles = [1, 99], statistics = 'per-image' }
[model]
encoder = 'resnet18'
encoder-scale = { width = 0.25, depth = 0.5 }
in-channels = 1
norm-momentum = 0.1
pairs = [['Triquetrum', 'Pisiform'], ['Trapezium', 'Trapezoid'], ['finger-1', 'finger-2']]
[[stages]]
name = 'coarse'
size = 32
[[stages]]
name = 'high'
size = [32, 96]
[[stages]]
name = 'fine'
epochs = 2
",
    );
    let folder = folder.path();
    let text = done(folder, &["train", "--config", "run.toml"]);
    assert!(text.contains("at 32, then 32x96, then 96x64 px"), "{text}");
    let rows: Vec<EpochRow> = carpus::tables::read(&folder.join("runs/run/metrics.csv")).unwrap();
    let stages: Vec<&str> = rows.iter().map(|row| row.stage.as_str()).collect();
    assert_eq!(stages, ["coarse", "high", "fine", "fine"]);
    assert!(rows.iter().all(|row| row.dice.len() == 29 && row.train_loss.is_finite()));
    // A file of weights knows its size and how its input is made.
    let best = weights_info(&folder.join("runs/run/best.safetensors")).unwrap();
    let of_stage = match stages[best.epoch.unwrap() - 1] {
        "coarse" => Size::square(32),
        "high" => Size { width: 32, height: 96 },
        _ => Size { width: 96, height: 64 },
    };
    assert_eq!((best.size, best.input.percentiles, best.model.pairs.len()), (of_stage, Some([1.0, 99.0]), 3));
    // The finished run is resumed without a change.
    done(folder, &["train", "--config", "run.toml", "--resume"]);
    let error = refused(folder, &["train", "--config", "run.toml", "--resume", "--set", "size=[64,96]"]);
    assert!(error.contains("size") && error.contains("[96,64]") && error.contains("[64,96]"), "{error}");

    let predict =
        ["predict", "--checkpoint", "runs/run", "--data", "data", "--subset", "train", "--folds", "folds.csv"];
    done(folder, &[&predict[..], &["--fold", "1", "--out", "held.csv"]].concat());
    assert_eq!(masks(&folder.join("held.csv")), masks(&folder.join("runs/run/predictions.csv")));

    // Exported at its own size, and at another one.
    let weights = "runs/run/best.safetensors";
    let text = done(folder, &["models", "export", "--weights", weights, "--out", "m.pt", "--size", "96x32"]);
    assert!(text.contains("[1, 1, 32, 96]") && text.contains("percentiles 1 and 99"), "{text}");
    let error = refused(folder, &["models", "export", "--weights", weights, "--out", "n.pt", "--size", "96x"]);
    assert!(error.contains("\"96x\" is no size") && error.contains("768x512"), "{error}");
    let error = refused(folder, &["models", "export", "--weights", weights, "--out", "n.pt", "--size", "96x40"]);
    assert!(error.contains("multiples of 32"), "{error}");
}

#[test]
fn wrong_sizes_and_inputs_are_named() {
    let folder = bench("");
    let train = |set: &str| refused(folder.path(), &["train", "--config", "run.toml", "--set", set]);
    for (set, says) in [
        ("size=[96,40]", "size is [96, 40]; expected width and height that are multiples of 32 up to 8192"),
        ("size=[0,64]", "size is [0, 64]"),
        ("size=[64]", "a number of pixels, or [width, height]"),
        ("size='64x64'", "a number of pixels, or [width, height]"),
        ("input={window=[0.5,0.2]}", "input.window is [0.5, 0.2]"),
        ("model={pairs=[['Ulna','Ulna']]}", "model.pairs[0] is [\"Ulna\", \"Ulna\"]; expected two different bones"),
        ("model={pairs=[['Ulna','Radiuss']]}", "did you mean Radius?"),
        ("specialist={bones=['carpal-bones']}", "specialist.bones[0] is \"carpal-bones\""),
        ("stages=[{size=[64,33]}]", "stages[0].size is [64, 33]"),
    ] {
        let error = train(set);
        assert!(error.contains(says), "{set}: {error}");
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn the_input_equals_the_reference() {
    let seed = python::seed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut cases = Vec::new();
    for (top, size) in [(4095, Size { width: 48, height: 32 }), (65_535, Size::square(32)), (255, Size::square(40))] {
        let (width, height) = (rng.random_range(20..90u32), rng.random_range(20..90u32));
        let levels: Vec<u16> = (0..width * height).map(|_| rng.random_range(0..=top)).collect();
        let own = match top {
            255 => Levels::Eight(levels.iter().map(|v| *v as u8).collect()),
            _ => Levels::Sixteen(levels.clone()),
        };
        let image = FittedImage::new(GreyImage::new(width, height, own).unwrap().with_top(top), size);
        cases.push((image, levels, [rng.random_range(0.0..20.0), rng.random_range(70.0..100.0)]));
    }
    let given = cases.iter().map(|(image, levels, percentiles)| {
        let fit = image.fit();
        let fitted: Vec<u16> = match image.grey().levels() {
            Levels::Eight(levels) => image.inner(levels).map(|v| u16::from(*v)).collect(),
            Levels::Sixteen(levels) => image.inner(levels).copied().collect(),
        };
        json!({ "width": fit.width, "height": fit.height, "inner": [fit.inner_width, fit.inner_height],
                "levels": levels, "fitted": fitted, "percentiles": percentiles })
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(&given.collect::<Vec<_>>()).unwrap()).unwrap();
    let expected: Vec<BTreeMap<String, Vec<f64>>> =
        serde_json::from_str(&python::run("input.py", &[file.to_str().unwrap()])).unwrap();
    for ((image, _, percentiles), expected) in cases.iter().zip(&expected) {
        let scaled = image.grey().to_scaled();
        let top = f64::from(image.grey().top());
        let found = image.inner(&scaled).map(|v| f64::from(*v) / 255.0 * top);
        let apart = found.zip(&expected["resized"]).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // Each of the two passes rounds to a whole level.
        assert!(apart <= 1.5, "{apart} levels of {top}");
        let input = InputSettings {
            percentiles: Some(*percentiles),
            statistics: carpus::train::Statistics::PerImage,
            ..InputSettings::default()
        };
        let InputImage { levels, normalisation } = input.prepare(image);
        let mut batch = Vec::new();
        normalisation.push(&mut batch, &levels, 1);
        let apart = image.inner(&batch).zip(&expected["input"]).map(|(a, b)| (f64::from(*a) - b).abs());
        // Single precision.
        assert!(apart.fold(0.0, f64::max) < 1e-4);
    }
}

fn pairs(names: &[[&str; 2]]) -> BonePairs {
    BonePairs::new(names.iter().map(|pair| pair.map(|name| Bone::from_name(name).unwrap())).collect())
}

/// Overlaps are marked in the labels of both images of a mix, after everything that changes labels.
#[test]
fn overlaps_become_channels_when_the_labels_are_final() {
    let pairs = pairs(&[["Triquetrum", "Pisiform"], ["Radius", "Ulna"]]);
    let bit = |name: &str| Bone::from_name(name).unwrap().bit();
    let (both, one) = (bit("Triquetrum") | bit("Pisiform"), bit("Radius") | bit("Triquetrum"));
    let words = [vec![both, one, 0, both], vec![0, bit("Radius") | bit("Ulna"), 0, 0]].concat();
    let second = carpus::augment::MixedLabels { words: vec![both, 0, 0, 0], share: 0.25 };
    let batch = Batch {
        pixels: vec![0.0; 8],
        rest: None,
        normalisations: vec![],
        words: words.iter().map(|word| *word as i32).collect(),
        metadata: vec![0.0; 8],
        indices: vec![0, 1],
        broken: vec![],
        unlabelled: None,
        mixed: vec![None, Some(second)],
    };
    let input = InputSettings::default();
    let loading = Loading {
        batch: 2,
        augment: None,
        augment_on_device: false,
        input: &input,
        channels: 1,
        pairs: &pairs,
        channels_last: false,
        seed: 0,
        workers: 1,
        unlabelled: None,
        ranks: &OneProcess,
    };
    let given = Tensors::new(&batch, Size::square(2), &loading, Device::Cpu).unwrap();
    let own = Vec::<i32>::try_from(given.words.view([-1])).unwrap().into_iter().map(|word| word as u32 >> 29);
    assert_eq!(own.collect::<Vec<_>>(), [1, 0, 0, 1, 0, 2, 0, 0]);
    let soft = given.target();
    assert_eq!(soft.size(), [2, 31, 2, 2]);
    let at = |image: i64, channel: i64, x: i64| soft.double_value(&[image, channel, 0, x]);
    assert_eq!([at(0, 29, 0), at(1, 29, 0), at(1, 30, 1), at(1, 29, 1)], [1.0, 0.25, 0.75, 0.0]);
}

#[test]
fn a_model_with_pairs_has_29_channels_for_everyone_else() {
    tch::set_num_threads(1);
    let config = ModelConfig {
        encoder: Some(EncoderKind::ResNet18),
        encoder_scale: Some(EncoderScale { width: 0.25, depth: 0.5 }),
        in_channels: 1,
        norm: Norm::Group(4),
        pairs: pairs(&[["Triquetrum", "Pisiform"], ["Trapezium", "Trapezoid"], ["Radius", "Ulna"]]),
        ..ModelConfig::default()
    };
    let model = Model::new(&config, Device::Cpu).unwrap();
    let x = Tensor::rand([2, 1, 32, 64], (Kind::Float, Device::Cpu));
    let input = Input { images: &x, metadata: None };
    let logits = tch::no_grad(|| model.forward(&input, false)).unwrap().logits;
    assert_eq!((logits.size(), config.channels()), (vec![2, 32, 32, 64], 32));
    let predicted = model.predict(&input).unwrap();
    assert_eq!(predicted.size(), [2, 29, 32, 64]);
    // Folding keeps every pixel of a bone, and adds those of its pair.
    let index = |name: &str| Bone::from_name(name).unwrap().index() as i64;
    let expected = logits.select(1, index("Ulna")).maximum(&logits.select(1, 31));
    let difference = |a: &Tensor, b: &Tensor| (a - b).abs().max().double_value(&[]);
    assert!(difference(&predicted.select(1, index("Ulna")), &expected) < 1e-4);
    assert!(difference(&predicted.select(1, index("Hamate")), &logits.select(1, index("Hamate"))) < 1e-4);
    // Losses with options per class take the channels of the pairs.
    let words = Tensor::randint_low(i64::from(i32::MIN), i64::from(i32::MAX), [2, 32, 64], (Kind::Int, Device::Cpu));
    let loss: LossMix = serde_json::from_value(json!({
        "bce": { "weight": 0.5, "pos-weight": { "Pisiform": 4.0, "default": 1.0 } },
        "dice": { "weight": 0.5, "class-weights": vec![1.0; 29] },
    }))
    .unwrap();
    assert!(loss.violations(Some(29)).is_empty());
    let hard = loss.forward(&logits, &words).unwrap().double_value(&[]);
    let dense = loss.forward(&logits, &target(&words, 32).to_kind(Kind::Float)).unwrap().double_value(&[]);
    assert!((hard - dense).abs() < 1e-5, "{hard} {dense}");
    // Exported, it has 29 channels.
    let module = torchscript(&model, [1, 32, 32]).unwrap();
    let small = x.narrow(0, 0, 1).narrow(3, 0, 32);
    let exported = module.forward_ts(&[small.shallow_clone()]).unwrap();
    assert!(difference(&exported, &model.predict(&Input { images: &small, metadata: None }).unwrap()) < 1e-4);
    let other = ModelConfig { classes: 5, ..config };
    assert!(
        other.violations().to_string().contains("classes is 5; expected 29, the number of bones, for pairs of them")
    );
}

#[test]
fn converted_weights_predict_at_a_size_that_is_not_square() {
    let folder = bench("");
    let folder = folder.path();
    let config = ModelConfig { encoder: Some(EncoderKind::ResNet18), in_channels: 1, ..ModelConfig::default() };
    let model = Model::new(&config, Device::Cpu).unwrap();
    write_tensors(&folder.join("smp.safetensors"), &model.state()).unwrap();
    let convert = |size: &str| {
        let convert =
            ["models", "convert", "smp.safetensors", "--from", "smp", "--arch", "fpn", "--encoder", "resnet18"];
        let rest =
            ["--in-channels", "1", "--mean", "0.2", "--sd", "0.3", "--out", "own.safetensors", "--force", "--size"];
        carpus(folder, &[&convert[..], &rest, &[size]].concat())
    };
    let text = said(&convert("96x64"));
    assert!(text.contains("images of 96 x 64 px"), "{text}");
    let info = weights_info(&folder.join("own.safetensors")).unwrap();
    assert_eq!(
        (info.size, info.input),
        (Size { width: 96, height: 64 }, InputSettings::normalised(vec![0.2], vec![0.3]))
    );
    done(
        folder,
        &["predict", "--checkpoint", "own.safetensors", "--data", "data", "--subset", "train", "--out", "o.csv"],
    );
    assert_eq!(masks(&folder.join("o.csv")).len(), 6);
    let text = said(&convert("96x50"));
    assert!(text.contains("size is [96, 50]; expected width and height that are multiples of 32"), "{text}");
    assert!(said(&convert("32")).contains("images of 32 x 32 px"));
}

#[test]
fn a_specialist_is_trained_around_its_bones_and_puts_its_masks_back() {
    let folder = bench(
        "size = [64, 32]
evaluate = true
[specialist]
bones = ['carpal']
margin = 0.1
[model]
encoder = 'resnet18'
encoder-scale = { width = 0.25, depth = 0.5 }
in-channels = 1
norm-momentum = 0.1
",
    );
    let folder = folder.path();
    done(folder, &["train", "--config", "run.toml", "--set", "epochs=6", "--set", "augment=[]"]);
    let info = weights_info(&folder.join("runs/run/best.safetensors")).unwrap();
    let carpals = info.specialist.unwrap();
    assert_eq!(carpals, SpecialistSettings { margin: 0.1, ..SpecialistSettings::default() });
    // The mean is that of its bones: absent ones, whose Dice is 1, do not count.
    let rows: Vec<EpochRow> = carpus::tables::read(&folder.join("runs/run/metrics.csv")).unwrap();
    for row in &rows {
        let own: Vec<f64> = carpals.bones().map(|bone| row.dice[bone.index()]).collect();
        assert!((row.valid_dice.unwrap() - own.iter().sum::<f64>() / 8.0).abs() < 1e-9);
    }
    let summary: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("runs/run/summary.json")).unwrap()).unwrap();
    assert_eq!(summary["held_out"]["per_class"].as_object().unwrap().len(), 8);
    let losses: Vec<f64> = rows.iter().map(|row| row.train_loss).collect();
    assert!(losses[5] < 0.9 * losses[0], "{losses:?}");

    let predict = ["predict", "--checkpoint", "runs/run", "--data", "data", "--subset", "train"];
    let held = ["--folds", "folds.csv", "--fold", "1"];
    let error = refused(folder, &[&predict[..], &["--out", "none.csv"]].concat());
    assert!(error.contains("specialist for carpal") && error.contains("--around"), "{error}");
    done(folder, &[&predict[..], &held, &["--around", "annotations", "--out", "held.csv"]].concat());
    let found = masks(&folder.join("held.csv"));
    assert_eq!(found, masks(&folder.join("runs/run/predictions.csv")));

    // Around the masks of another model: here the annotations themselves, in the pixels of the images.
    let dataset = Dataset::open(&folder.join("data")).unwrap();
    let truth = |name: &str| dataset.annotation(dataset.find(name).unwrap()).unwrap().unwrap().annotation.masks(80, 80);
    let guide: Vec<submission::ImageMasks> = dataset
        .images()
        .iter()
        .map(|entry| submission::ImageMasks { image_name: entry.file_name().to_owned(), masks: truth(&entry.image_id) })
        .collect();
    submission::write(&folder.join("guide.csv"), &guide).unwrap();
    done(folder, &[&predict[..], &held, &["--around", "guide.csv", "--out", "around.csv"]].concat());
    assert_eq!(masks(&folder.join("around.csv")), found);
    for (name, masks) in &found {
        let part = carpals.part(&truth(name)).unwrap();
        assert!(masks.iter().all(|(bone, mask)| carpals.word() & bone.bit() != 0 || mask.is_empty()));
        assert_eq!(part.masks_back(&part.masks_in(masks)), *masks, "nothing lies outside the part");
    }

    // On crops, the guide may be in the pixels of the originals; so is the result.
    // The data have no spreadsheet, which is a warning.
    assert_eq!(carpus(folder, &["scan", "data", "--out", "tables"]).status.code(), Some(3));
    let text = said(&carpus(folder, &["clean", "data", "--tables", "tables", "--out", "crops"]));
    assert!(folder.join("crops/transforms.jsonl").is_file(), "{text}");
    let crops =
        ["predict", "--checkpoint", "runs/run", "--data", "crops", "--subset", "train", "--around", "guide.csv"];
    done(folder, &[&crops[..], &held, &["--out", "of-crops.csv"]].concat());
    let of_crops = masks(&folder.join("of-crops.csv"));
    assert_eq!(of_crops.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
    for (name, masks) in &of_crops {
        let part = carpals.part(&truth(name)).unwrap();
        assert_eq!(part.masks_back(&part.masks_in(masks)), *masks, "the crop shows the whole part");
    }

    // An image whose guide has none of the bones, and one without a guide.
    let mut fewer = guide;
    fewer.truncate(3);
    fewer[2].masks = HandMasks::empty(80, 80);
    submission::write(&folder.join("fewer.csv"), &fewer).unwrap();
    let out = carpus(folder, &[&predict[..], &held, &["--around", "fewer.csv", "--out", "fewer-out.csv"]].concat());
    let text = said(&out);
    assert_eq!(out.status.code(), Some(3), "{text}");
    assert!(text.contains("have none of the bones carpal") && text.contains("no masks of it to look around"), "{text}");
    assert!(masks(&folder.join("fewer-out.csv")).values().all(|masks| masks.iter().all(|(_, mask)| mask.is_empty())));
}

/// Every image is cut around the bones that it has; one without them is left out of the training with its reason.
#[test]
fn images_without_the_bones_of_a_specialist_are_left_out() {
    let folder =
        bench("size = 32\n[specialist]\nbones = ['Pisiform']\n[model]\nencoder = 'resnet18'\nin-channels = 1\n");
    let folder = folder.path();
    let path = folder.join("data/train/outputs_json/ID001/image1661000000000.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["annotations"].as_array_mut().unwrap().retain(|shape| shape["label"] != "Pisiform");
    std::fs::write(&path, document.to_string()).unwrap();
    let out = carpus(folder, &["train", "--config", "run.toml", "--set", "evaluate=false"]);
    let text = said(&out);
    assert!(folder.join("runs/run/best.safetensors").is_file(), "{text}");
    assert!(text.contains("has none of the bones Pisiform, around which a specialist cuts"), "{text}");
    assert!(text.contains("3 training images"), "{text}");
}
