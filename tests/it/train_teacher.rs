//! Mean teacher: training with unlabelled images.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use carpus::artefact::Outputs;
use carpus::augment::{Augmentation, Augmentations, BrightnessContrast};
use carpus::dataset::Dataset;
use carpus::experiment::{Existing, Experiment};
use carpus::geometry::Size;
use carpus::models::{EncoderKind, EncoderScale, Model, ModelConfig, Norm, read_tensors};
use carpus::progress::Silent;
use carpus::train::{
    Data, EmaSettings, Fold, InputSettings, Learner, Loading, MeanTeacherSettings, OneProcess, OptimiserSettings,
    Outcome, PatientMetadata, RunFolder, RunStart, Samples, Schedule, Stage, StartFrom, Strategy, TrainConfig,
    TrainError, TrainingPlan, UnlabelledBatch, UnlabelledImages, UnlabelledTensors, consistency_loss, partition,
    sigmoid_ramp_up, train,
};
use tch::{Device, Kind, Tensor};

use crate::python;
use crate::train::{StopAfter, draw_data, state};

fn model() -> ModelConfig {
    ModelConfig {
        encoder: Some(EncoderKind::ResNet18),
        encoder_scale: Some(EncoderScale { width: 0.25, depth: 0.5 }),
        in_channels: 1,
        norm: Norm::Group(4),
        dropout: Some(0.0),
        ..ModelConfig::default()
    }
}

fn config() -> TrainConfig {
    TrainConfig {
        size: Size::square(64),
        epochs: 2,
        batch: 2,
        seed: 3,
        model: model(),
        input: InputSettings::normalised(vec![0.2], vec![0.3]),
        optimiser: OptimiserSettings { lr: 2e-3, ..Default::default() },
        schedule: Schedule::Constant {},
        augment: Augmentations(
            [Augmentations::default().0, vec![Augmentation::BrightnessContrast(BrightnessContrast::default())]]
                .concat(),
        ),
        ema: Some(EmaSettings { decay: 0.99, warmup: 1.0 }),
        mean_teacher: Some(MeanTeacherSettings { batch: 3, ramp_up: 1.0, decay: Some(0.9), ..Default::default() }),
        pictures: 0,
        histograms: false,
        workers: 2,
        ..TrainConfig::default()
    }
}

fn plan(config: TrainConfig) -> TrainingPlan {
    let stage = Stage { name: "train".into(), start_from: StartFrom::Last, config: config.clone() };
    TrainingPlan { config, stages: vec![stage], sample_weights: None }
}

/// Labelled images of 3 patients, and 5 images without annotations in a flat folder.
struct Images {
    folder: tempfile::TempDir,
    training: Samples,
    validation: Samples,
}

impl Images {
    fn new() -> Images {
        tch::set_num_threads(1);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let folds = draw_data(&data, 3);
        let dataset = Arc::new(Dataset::open(&data).unwrap());
        let parts = partition(dataset.images(), &folds, Fold::Number(0)).unwrap();
        let load = |entries: &[_]| {
            Samples::load(
                &dataset,
                entries,
                &PatientMetadata::default(),
                Size::square(64),
                1 << 30,
                "training",
                &Silent,
            )
            .unwrap()
            .content
        };
        let (training, validation) = (load(&parts.training), load(&parts.validation));
        let others = folder.path().join("others");
        std::fs::create_dir_all(&others).unwrap();
        for image in 0..5u8 {
            let picture = image::GrayImage::from_fn(70, 80, |x, y| {
                image::Luma([20 + 25 * image + ((x / 8 + y / 9) % 3 * 40) as u8])
            });
            picture.save(others.join(format!("hand{image}.png"))).unwrap();
        }
        Images { folder, training, validation }
    }

    fn unlabelled(&self, cache_bytes: usize) -> UnlabelledImages {
        let dataset = Arc::new(Dataset::open(&self.folder.path().join("others")).unwrap());
        let known = PatientMetadata::default();
        let (images, problems) =
            UnlabelledImages::load(&dataset, dataset.images(), &known, Size::square(64), cache_bytes, &Silent).unwrap();
        assert!(problems.is_empty() && images.len() == 5, "{problems:?}");
        images
    }

    fn train(
        &self,
        plan: &TrainingPlan,
        unlabelled: Option<&UnlabelledImages>,
        name: &str,
        start: RunStart,
        watcher: &StopAfter,
    ) -> Result<Outcome, TrainError> {
        let data = [Data { training: &self.training, validation: Some(&self.validation), unlabelled }];
        let run = self.run(name);
        train(plan, &data, Strategy::on(Device::Cpu), &run, start, watcher.stop(), watcher)
    }

    fn run(&self, name: &str) -> RunFolder {
        RunFolder::new(self.folder.path(), name)
    }

    /// A file of weights to start from, so that nothing is drawn from libtorch's generator, which all tests share.
    fn started(&self, config: TrainConfig) -> TrainConfig {
        let path = self.folder.path().join("start.safetensors");
        if !path.exists() {
            Model::new(&config.model, Device::Cpu).unwrap().save(&path).unwrap();
        }
        TrainConfig { weights: Some(path), ..config }
    }
}

/// Student and teacher see random images of which the teacher's are a little brighter.
fn random_pair(config: &TrainConfig) -> UnlabelledTensors {
    let count = 2 * 64 * 64;
    let pixels = Vec::<f32>::try_from(Tensor::rand([count], (Kind::Float, Device::Cpu))).unwrap();
    let batch = UnlabelledBatch {
        teacher: pixels.iter().map(|v| v * 1.1).collect(),
        student: pixels,
        metadata: vec![f32::NAN; 8],
        indices: vec![0, 1],
        broken: vec![],
    };
    let loading = Loading {
        batch: 2,
        augment: None,
        augment_on_device: false,
        input: &config.input,
        channels: 1,
        pairs: &config.model.pairs,
        channels_last: false,
        seed: 0,
        workers: 1,
        unlabelled: None,
        ranks: &OneProcess,
    };
    UnlabelledTensors::new(&batch, Size::square(64), &loading, Device::Cpu).unwrap()
}

#[test]
fn the_consistency_loss_falls_and_gradients_reach_only_the_student() {
    tch::set_num_threads(1);
    for gradient_checkpointing in [false, true] {
        let plan = plan(TrainConfig { gradient_checkpointing, ..config() });
        let given = random_pair(&plan.config);
        let mut learner = Learner::new(Model::new(&model(), Device::Cpu).unwrap(), &plan, 0, &OneProcess).unwrap();
        // The student starts somewhere else than the teacher.
        tch::no_grad(|| {
            for (_, mut weight) in learner.model().named_parameters() {
                let noise = weight.randn_like() * 0.05;
                let _ = weight.g_add_(&noise);
            }
        });
        let copy = |named: Vec<(String, Tensor)>| named.into_iter().map(|(_, t)| t.copy()).collect::<Vec<_>>();
        let (student, teacher) = (copy(learner.model().state()), copy(learner.ema().unwrap().state()));
        let first = learner.teach(&given, 1.0).unwrap();
        assert_eq!(student, copy(learner.model().state()), "the student's weights are in the model again");
        assert_eq!(teacher, copy(learner.ema().unwrap().state()), "the teacher is not changed");
        assert!(learner.ema().unwrap().state().iter().all(|(_, average)| !average.grad().defined()));
        let reached =
            learner.optimiser().gradients().iter().filter(|(_, g)| g.abs().max().double_value(&[]) > 0.0).count();
        assert!(reached > 20, "{reached} weights have a gradient");
        let mut last = first;
        for step in 1..=12 {
            learner.step(2e-3, step).unwrap();
            learner.clear_gradients().unwrap();
            last = learner.teach(&given, 1.0).unwrap();
        }
        assert!(first > 1e-5 && last < 0.5 * first, "{first} fell to {last}");
    }
}

#[test]
fn a_teacher_needs_averaged_weights_and_unlabelled_images() {
    let images = Images::new();
    let without = plan(images.started(TrainConfig { ema: None, ..config() }));
    let given = random_pair(&without.config);
    let mut learner = Learner::new(Model::new(&model(), Device::Cpu).unwrap(), &without, 0, &OneProcess).unwrap();
    assert!(matches!(learner.teach(&given, 1.0), Err(TrainError::NoTeacher)));
    let plan = plan(images.started(config()));
    let error = images.train(&plan, None, "lacking", RunStart::New, &StopAfter::never()).unwrap_err();
    assert!(matches!(error, TrainError::NoUnlabelled { .. }), "{error}");
}

#[test]
fn a_run_with_unlabelled_images_resumes_to_the_same_bits() {
    let images = Images::new();
    let (unlabelled, uncached) = (images.unlabelled(1 << 30), images.unlabelled(0));
    let teaching = plan(images.started(config()));
    let run = |name: &str, start, watcher: &StopAfter| images.train(&teaching, Some(&unlabelled), name, start, watcher);
    run("whole", RunStart::New, &StopAfter::never()).unwrap();
    let whole = state(&images.run("whole").last());
    for batches in [1, 2, 3] {
        let name = format!("after-{batches}");
        let interrupted = run(&name, RunStart::New, &StopAfter::batches(batches)).unwrap();
        assert!(matches!(interrupted, Outcome::Interrupted { .. }), "{batches}: {interrupted:?}");
        run(&name, RunStart::Resume, &StopAfter::never()).unwrap();
        assert!(whole == state(&images.run(&name).last()), "after {batches} batches");
    }
    // Neither the number of threads nor the cache changes the draws; recomputation changes no bit.
    let mut other = plan(TrainConfig { workers: 1, gradient_checkpointing: true, ..teaching.config.clone() });
    images.train(&other, Some(&uncached), "uncached", RunStart::New, &StopAfter::never()).unwrap();
    assert!(whole == state(&images.run("uncached").last()));
    // The unlabelled images do change the weights.
    other.stages[0].config.mean_teacher = None;
    images.train(&other, None, "without", RunStart::New, &StopAfter::never()).unwrap();
    assert!(whole != state(&images.run("without").last()));
    // A run is not resumed with other images.
    std::fs::remove_file(images.folder.path().join("others/hand0.png")).unwrap();
    let dataset = Arc::new(Dataset::open(&images.folder.path().join("others")).unwrap());
    let fewer = UnlabelledImages::load(
        &dataset,
        dataset.images(),
        &PatientMetadata::default(),
        Size::square(64),
        1 << 30,
        &Silent,
    )
    .unwrap()
    .0;
    let error = images.train(&teaching, Some(&fewer), "whole", RunStart::Resume, &StopAfter::never()).unwrap_err();
    assert!(matches!(&error, TrainError::Changed { changes, .. } if changes[0].contains("training data")), "{error}");
}

#[test]
fn a_configuration_with_a_mean_teacher_runs_on_drawn_hands() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = TrainConfig { epochs: 1, evaluate: false, ..config() };
    config.data.root = "phantom".into();
    config.output.runs = folder.path().join("runs");
    config.output.name = Some("run".into());
    let experiment = |config| Experiment {
        config,
        config_file: "run.toml".into(),
        existing: Existing::Replace,
        outputs: Outputs::default(),
    };
    let summary = experiment(config.clone()).run_fold(&AtomicBool::new(false), &Silent).unwrap().unwrap();
    assert_eq!((summary.best_epoch, summary.validation_images), (Some(1), 2));
    // A folder of its own: without annotations, and with an image of the validation set, which is not used.
    let others = folder.path().join("others");
    std::fs::create_dir_all(&others).unwrap();
    config.mean_teacher.as_mut().unwrap().unlabelled = Some(others.clone());
    let held_out = std::fs::read_to_string(folder.path().join("runs/run/held_out.csv")).unwrap();
    let held_out = held_out.lines().nth(1).unwrap().split(',').next().unwrap().to_owned();
    let data = Dataset::open(&phantom_root(folder.path())).unwrap();
    let from = data.root().join(&data.find(&held_out).unwrap().image);
    std::fs::copy(&from, others.join(from.file_name().unwrap())).unwrap();
    let error = experiment(config.clone()).run_fold(&AtomicBool::new(false), &Silent).unwrap_err().to_string();
    assert!(error.contains("no usable unlabelled images"), "{error}");
    image::GrayImage::from_pixel(50, 60, image::Luma([90])).save(others.join("plain.png")).unwrap();
    assert!(experiment(config).run_fold(&AtomicBool::new(false), &Silent).unwrap().is_some());
}

fn phantom_root(folder: &Path) -> std::path::PathBuf {
    folder.join("runs/.phantom/64-with-unlabelled/data")
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn ramp_up_and_consistency_loss_equal_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    python::run("mean_teacher.py", &[folder.path().to_str().unwrap(), &python::seed().to_string()]);
    let reference = read_tensors(&folder.path().join("reference.safetensors")).unwrap();
    let values = |name: &str| Vec::<f64>::try_from(&reference[name]).unwrap();
    for ((epoch, length), wanted) in values("epochs").iter().zip(values("lengths")).zip(values("weights")) {
        assert!((sigmoid_ramp_up(*epoch, length) - wanted).abs() < 1e-14, "{epoch} of {length}");
    }
    let logits = reference["student"].copy().set_requires_grad(true);
    let teacher = reference["teacher"].copy().set_requires_grad(true);
    let loss = consistency_loss(&logits, &teacher.sigmoid()).unwrap();
    loss.backward();
    let wanted = reference["loss"].double_value(&[0]);
    // Single precision has seven digits; the reference is computed in double precision.
    assert!((loss.double_value(&[]) - wanted).abs() < 1e-6 * wanted, "{loss:?} for {wanted}");
    let gradient = &reference["gradient"];
    let apart = (logits.grad().to_kind(Kind::Double) - gradient).abs().max().double_value(&[]);
    assert!(apart < 1e-6 * gradient.abs().max().double_value(&[]), "{apart}");
    assert!(!teacher.grad().defined());
}
