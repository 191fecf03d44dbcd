//! The training engine end to end on a few tiny drawn hands.
//!
//! libtorch has one generator a process and tests share the process, so these runs start from a file of weights
//! and use no dropout: nothing in them is drawn from that generator. Runs that do are in `train_cli`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use carpus::augment::{Augmentation, Augmentations, CopyPaste, CutMix, FittedImage, MixUp, MixedLabels};
use carpus::bones;
use carpus::dataset::{Dataset, GreyImage, Levels, WithProblems};
use carpus::geometry::Size;
use carpus::infer::{Predictor, TestTimeAugmentation, predict};
use carpus::losses::LossMix;
use carpus::models::{Input, MetadataOptions, Model, ModelConfig};
use carpus::progress::{Progress, Silent};
use carpus::tables::{EpochRow, FoldRow};
use carpus::train::{
    Amp, Data, EmaSettings, Fold, Freeze, Frozen, InputSettings, Learner, OneProcess, OptimiserKind, OptimiserSettings,
    Outcome, PatientMetadata, Ranks, RunFolder, RunStart, Samples, Sampling, Schedule, Stage, StartFrom, StepOutcome,
    Strategy, Tensors, TrainConfig, TrainError, TrainingPlan, Watcher, WeightsInfo, partition, read_weights, train,
    write_weights,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use tch::{Device, Kind, Tensor};

/// Writes `patients` patients with two 80 px images each: 29 bright boxes at places that differ a little by image. Gives
/// folds of one patient each.
pub fn draw_data(root: &Path, patients: usize) -> Vec<FoldRow> {
    let mut folds = Vec::new();
    for patient in 0..patients {
        for hand in 0..2 {
            let image_id = format!("image{}", 1_661_000_000_000u64 + (patient * 2 + hand) as u64);
            let id = format!("{:03}", patient + 1);
            let (images, annotations) =
                (root.join(format!("train/DCM/ID{id}")), root.join(format!("train/outputs_json/ID{id}")));
            std::fs::create_dir_all(&images).unwrap();
            std::fs::create_dir_all(&annotations).unwrap();
            let mut picture = image::GrayImage::from_pixel(80, 80, image::Luma([20]));
            let mut shapes = Vec::new();
            for (class, name) in bones::NAMES.iter().enumerate() {
                let (column, row) = ((class % 6) as i32, (class / 6) as i32);
                let shift = ((patient * 7 + hand * 3 + class) % 4) as i32;
                let (x, y, side) = (4 + column * 13 + shift, 6 + row * 14 + shift, 8 + (class % 3) as i32);
                for py in y..=y + side {
                    for px in x..=x + side {
                        if (0..80).contains(&px) && (0..80).contains(&py) {
                            picture.put_pixel(px as u32, py as u32, image::Luma([120 + 4 * class as u8]));
                        }
                    }
                }
                shapes.push(serde_json::json!({
                    "id": format!("{class}"), "type": "poly_seg", "attributes": {}, "label": name,
                    "points": [[x, y], [x + side, y], [x + side, y + side], [x, y + side]],
                }));
            }
            picture.save(images.join(format!("{image_id}.png"))).unwrap();
            let document = serde_json::json!({"annotations": shapes, "filename": format!("{image_id}.jpg")});
            std::fs::write(annotations.join(format!("{image_id}.json")), document.to_string()).unwrap();
            folds.push(FoldRow { image_id, patient_id: id, stratum: String::new(), fold: patient as u32 });
        }
    }
    folds
}

pub struct Bench {
    pub folder: tempfile::TempDir,
    pub training: Samples,
    pub validation: Samples,
}

impl Bench {
    pub fn new() -> Bench {
        tch::set_num_threads(1);
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let folds = draw_data(&data, 4);
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
        assert_eq!((training.len(), validation.len()), (6, 2));
        Model::new(&model(), Device::Cpu).unwrap().save(&folder.path().join("start.safetensors")).unwrap();
        Bench { training, validation, folder }
    }

    pub fn plan(&self) -> TrainingPlan {
        let input = InputSettings::normalised(vec![0.2], vec![0.3]);
        let start = self.folder.path().join("start.safetensors");
        let config = TrainConfig {
            seed: 3,
            model: model(),
            weights: Some(start),
            input,
            deterministic: true,
            workers: 1,
            pictures: 2,
            ..TrainConfig::default()
        };
        TrainingPlan { config, stages: vec![stage()], sample_weights: None }
    }

    /// As `plan`, without pictures and histograms.
    pub fn quiet(&self, stages: Vec<Stage>) -> TrainingPlan {
        let mut plan = TrainingPlan { stages, ..self.plan() };
        (plan.config.pictures, plan.config.histograms) = (0, false);
        plan
    }

    pub fn run(&self, name: &str) -> RunFolder {
        RunFolder::new(self.folder.path(), name)
    }

    pub fn train(
        &self,
        plan: &TrainingPlan,
        run: &RunFolder,
        resume: bool,
        watcher: &StopAfter,
    ) -> Result<Outcome, TrainError> {
        self.train_as(plan, &OneProcess, run, resume, watcher)
    }

    pub fn train_as(
        &self,
        plan: &TrainingPlan,
        ranks: &dyn Ranks,
        run: &RunFolder,
        resume: bool,
        watcher: &StopAfter,
    ) -> Result<Outcome, TrainError> {
        let data = Data { training: &self.training, validation: Some(&self.validation), unlabelled: None };
        let data = vec![data; plan.stages.len()];
        let start = if resume { RunStart::Resume } else { RunStart::New };
        train(plan, &data, Strategy { device: Device::Cpu, ranks }, run, start, &watcher.stop, watcher)
    }
}

fn model() -> ModelConfig {
    let (norm_momentum, dropout, drop_path) = (Some(0.1), Some(0.0), Some(0.0));
    ModelConfig { in_channels: 1, norm_momentum, dropout, drop_path, ..ModelConfig::default() }
}

pub fn stage() -> Stage {
    let config = TrainConfig {
        size: Size::square(64),
        epochs: 3,
        batch: 2,
        clip: Some(1.0),
        optimiser: OptimiserSettings { lr: 2e-3, ..Default::default() },
        schedule: Schedule::CosineWarmup { warmup: 0.2, end: 0.0 },
        ema: Some(EmaSettings { decay: 0.9, warmup: 10.0 }),
        ..TrainConfig::default()
    };
    Stage { name: "train".into(), start_from: StartFrom::Last, config }
}

/// Asks the run to stop after so many batches, and keeps the epochs' records.
pub struct StopAfter {
    pub stop: AtomicBool,
    left: AtomicUsize,
    records: std::sync::Mutex<Vec<EpochRow>>,
    skipped: std::sync::Mutex<Vec<String>>,
    notes: std::sync::Mutex<Vec<String>>,
}

impl StopAfter {
    pub fn batches(n: usize) -> StopAfter {
        StopAfter {
            stop: AtomicBool::new(false),
            left: AtomicUsize::new(n),
            records: Default::default(),
            skipped: Default::default(),
            notes: Default::default(),
        }
    }

    pub fn never() -> StopAfter {
        StopAfter::batches(usize::MAX)
    }

    pub fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    pub fn records(&self) -> Vec<EpochRow> {
        self.records.lock().unwrap().clone()
    }

    /// Notes, and warnings with their name.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

impl Progress for StopAfter {
    fn start(&self, _what: &str, _total: u64) {}
    fn advance(&self, n: u64) {
        let before = self.left.fetch_sub(n as usize, Ordering::SeqCst);
        // Said before the batch's step counts as saved, so that the run stops right after it.
        if before <= n as usize {
            self.stop.store(true, Ordering::SeqCst);
        }
    }
    fn finish(&self) {}
}

impl Watcher for StopAfter {
    fn epoch(&self, record: &EpochRow, _epochs: usize, _best: bool) {
        self.records.lock().unwrap().push(record.clone());
    }

    fn skipped(&self, image: &str, reason: &str) {
        self.skipped.lock().unwrap().push(format!("{image}: {reason}"));
    }

    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_owned());
    }

    fn warn(&self, text: &str) {
        self.notes.lock().unwrap().push(format!("warning: {text}"));
    }
}

/// The weights, averages and moments of a run, as bytes by name.
pub fn state(path: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let tensors = carpus::models::read_tensors(path).unwrap();
    tensors
        .into_iter()
        .map(|(name, tensor)| {
            let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
            tensor.copy_data_u8(&mut bytes, tensor.numel());
            (name, bytes)
        })
        .collect()
}

#[test]
fn loss_falls_and_the_run_leaves_its_files() {
    let bench = Bench::new();
    let (run, watcher) = (bench.run("golden"), StopAfter::never());
    let outcome = bench.train(&bench.plan(), &run, false, &watcher).unwrap();
    assert!(matches!(outcome, Outcome::Finished { early: false, .. }), "{outcome:?}");
    let records = watcher.records.into_inner().unwrap();
    let losses: Vec<f64> = records.iter().map(|r| r.train_loss).collect();
    assert!(losses[2] < 0.9 * losses[0], "{losses:?}");
    for file in ["metrics.csv", "metrics.parquet", "best.safetensors", "last.safetensors", "pictures/epoch003.png"] {
        assert!(run.path().join(file).is_file(), "{file}");
    }
    let log = std::fs::read_to_string(run.metrics()).unwrap();
    assert_eq!(log.lines().count(), 4);
    assert!(log.starts_with("stage,epoch,step,lr,train_loss") && log.contains("dice_Pisiform"));
    assert_eq!(carpus::tables::read::<EpochRow>(&run.metrics()).unwrap(), records);
    // A second start of the same name is refused, and going on after the end changes nothing.
    assert!(matches!(bench.train(&bench.plan(), &run, false, &StopAfter::never()), Err(TrainError::RunExists { .. })));
    let before = state(&run.last());
    bench.train(&bench.plan(), &run, true, &StopAfter::never()).unwrap();
    assert!(before == state(&run.last()));
}

/// Two stages that differ in all that has a state: rule, averages, loss scale, frozen weights, what they start from.
fn two_stages() -> Vec<Stage> {
    let mixing = vec![
        Augmentation::CopyPaste(CopyPaste { p: 0.7, ..CopyPaste::default() }),
        Augmentation::CutMix(CutMix::default()),
        Augmentation::MixUp(MixUp { p: 0.7, ..MixUp::default() }),
    ];
    let first = TrainConfig {
        epochs: 2,
        accumulate: 2,
        augment: Augmentations(mixing),
        freeze: vec![Freeze { what: Frozen::EncoderStages(5), from: 0, until: Some(1) }],
        ..stage().config
    };
    let second = TrainConfig {
        epochs: 1,
        optimiser: OptimiserSettings { kind: OptimiserKind::RAdam, lr: 1e-3, ..Default::default() },
        ema: None,
        sampling: Some(Sampling::ClassAware {}),
        amp: Amp::Fp16,
        ..stage().config
    };
    let named = |name: &str, start_from, config| Stage { name: name.into(), start_from, config };
    vec![named("first", StartFrom::Last, first), named("second", StartFrom::Ema, second)]
}

#[test]
fn a_run_broken_off_anywhere_ends_with_the_same_bits() {
    let bench = Bench::new();
    // Three batches an epoch, in the first stage in groups of two and one; workers and saves must not matter.
    let mut plan = bench.quiet(two_stages());
    let whole = bench.run("whole");
    bench.train(&plan, &whole, false, &StopAfter::never()).unwrap();
    let expected = state(&whole.last());
    plan.config.workers = 3;
    plan.config.save_every = Some(1);
    // In the first epoch's first group, in the second epoch, at the end of the first stage, within the second.
    for stop_after in crate::models::drawn([1, 4, 6, 7], 2) {
        let run = bench.run(&format!("broken{stop_after}"));
        let outcome = bench.train(&plan, &run, false, &StopAfter::batches(stop_after)).unwrap();
        assert!(matches!(outcome, Outcome::Interrupted { .. }), "{outcome:?}");
        assert!(expected != state(&run.last()), "it was not interrupted");
        bench.train(&plan, &run, true, &StopAfter::never()).unwrap();
        let ended = state(&run.last());
        assert_eq!(expected.keys().collect::<Vec<_>>(), ended.keys().collect::<Vec<_>>());
        for (name, bytes) in &expected {
            assert!(*bytes == ended[name], "{name} differs after a stop at batch {stop_after}");
        }
    }
}

/// The weights of names that begin with `prefix`, for a whole stage.
fn frozen(prefix: &str) -> Freeze {
    Freeze { what: Frozen::Prefix(prefix.into()), from: 0, until: None }
}

#[test]
fn stages_start_from_what_they_say_and_frozen_weights_stay() {
    let bench = Bench::new();
    let still = |from| {
        let augment = Augmentations::none();
        let config = TrainConfig { epochs: 1, augment, freeze: vec![frozen("")], ema: None, ..stage().config };
        Stage { name: "still".into(), start_from: from, config }
    };
    let learned = |state: &std::collections::BTreeMap<String, Vec<u8>>,
                   part: &str|
     -> std::collections::BTreeMap<String, Vec<u8>> {
        let of_part = state.iter().filter_map(|(n, b)| Some((n.strip_prefix(part)?.to_owned(), b.clone())));
        of_part.filter(|(n, _)| n.ends_with("weight") || n.ends_with("bias")).collect()
    };
    let mut first = stage();
    first.config.epochs = 2;
    first.config.freeze = vec![frozen("encoder.")];
    let mut ends = std::collections::BTreeMap::new();
    for from in [StartFrom::Last, StartFrom::Ema, StartFrom::Best] {
        let run = bench.run(from.name());
        let mut plan = bench.quiet(vec![first.clone(), still(from)]);
        plan.config.keep_best = 2;
        bench.train(&plan, &run, false, &StopAfter::never()).unwrap();
        ends.insert(from.name(), learned(&state(&run.last()), "model."));
        // Of three epochs the two best are kept, and the best of them is the best.
        let kept = std::fs::read_dir(run.kept_folder()).unwrap().count();
        assert_eq!(kept, 2);
        let names: Vec<String> =
            carpus::tables::read::<EpochRow>(&run.metrics()).unwrap().into_iter().map(|r| r.stage).collect();
        assert_eq!(names, ["train", "train", "still"]);
    }
    // The first stage alone says what it ended with.
    let run = bench.run("alone");
    let plan = bench.quiet(vec![first]);
    bench.train(&plan, &run, false, &StopAfter::never()).unwrap();
    let alone = state(&run.last());
    assert!(ends["last"] == learned(&alone, "model.") && ends["ema"] == learned(&alone, "ema."));
    assert!(ends["best"] == learned(&state(&run.best()), ""));
    assert!(ends["last"] != ends["ema"]);
    let start = learned(&state(&bench.folder.path().join("start.safetensors")), "");
    for (name, bytes) in &ends["last"] {
        assert_eq!(*bytes == start[name], name.starts_with("encoder."), "{name}");
    }
    let mut nothing = plan.clone();
    nothing.stages[0].config.freeze = vec![frozen("backbone.")];
    let error = bench.train(&nothing, &bench.run("nothing"), false, &StopAfter::never()).unwrap_err().to_string();
    assert!(error.contains("backbone.") && error.contains("encoder._conv_stem."), "{error}");
}

/// Weights and statistics of the frozen stages keep their bits; all others that run move.
#[test]
fn frozen_encoder_stages_stay_and_the_rest_moves() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    plan.stages[0].config.epochs = 1;
    plan.stages[0].config.freeze = vec![Freeze { what: Frozen::EncoderStages(3), from: 0, until: None }];
    let run = bench.run("frozen-stages");
    bench.train(&plan, &run, false, &StopAfter::never()).unwrap();
    let (start, end) = (state(&bench.folder.path().join("start.safetensors")), state(&run.last()));
    // B0's feature at stride 8 follows five blocks; the classifier's last layers never run.
    let still = ["_conv_stem.", "_bn0.", "_blocks.0.", "_blocks.1.", "_blocks.2.", "_blocks.3.", "_blocks.4."];
    let still = still.iter().chain(&["_conv_head.", "_bn1."]).map(|part| format!("encoder.{part}")).collect::<Vec<_>>();
    for (name, bytes) in &start {
        let stays = still.iter().any(|part| name.starts_with(part));
        assert_eq!(*bytes == end[&format!("model.{name}")], stays, "{name}");
    }
    plan.stages[0].config.freeze[0].what = Frozen::EncoderStages(6);
    let error = bench.train(&plan, &bench.run("no-stages"), false, &StopAfter::never()).unwrap_err().to_string();
    assert!(error.contains("freeze") && error.contains("from 1 to 5"), "{error}");
}

/// One epoch with hardly any learning: its loss is that of the batches.
#[test]
fn batches_augmented_on_the_device_are_those_of_the_cpu() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    let stage = &mut plan.stages[0].config;
    (stage.epochs, stage.ema) = (1, None);
    stage.optimiser = OptimiserSettings { kind: OptimiserKind::Sgd, lr: 1e-9, ..Default::default() };
    stage.augment = Augmentations(Augmentation::all());
    let results: Vec<[f64; 2]> = [Some(false), None, Some(true)]
        .into_iter()
        .enumerate()
        .map(|(i, on_device)| {
            plan.config.augment_on_device = on_device;
            let watcher = StopAfter::never();
            bench.train(&plan, &bench.run(&format!("on-device-{i}")), false, &watcher).unwrap();
            let record = &watcher.records()[0];
            [record.train_loss, record.gradient_norm]
        })
        .collect();
    println!("{results:?}");
    // The device is the CPU, which does not count as one unless asked.
    assert_eq!(results[0], results[1]);
    // Sums and products are rounded in another order. A loss alone, in single precision, can be the same by chance.
    assert_ne!(results[0], results[2]);
    assert!((results[0][0] - results[2][0]).abs() < 1e-3 * results[0][0].abs(), "{results:?}");
}

#[test]
fn going_on_with_something_else_is_refused_and_named() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    plan.stages[0].config.epochs = 1;
    let run = bench.run("changed");
    assert!(matches!(bench.train(&plan, &run, true, &StopAfter::never()), Err(TrainError::NothingToResume { .. })));
    bench.train(&plan, &run, false, &StopAfter::never()).unwrap();
    let mut other = plan.clone();
    other.stages[0].config.optimiser.lr = 1e-4;
    other.stages[0].config.epochs = 2;
    let error = bench.train(&other, &run, true, &StopAfter::never()).unwrap_err().to_string();
    assert!(
        error.contains("stages.0.optimiser.lr: was 0.002, is now 0.0001")
            && error.contains("stages.0.epochs: was 1, is now 2"),
        "{error}"
    );
    let swapped = [Data { training: &bench.validation, validation: Some(&bench.training), unlabelled: None }];
    let swapped =
        train(&plan, &swapped, Strategy::on(Device::Cpu), &run, RunStart::Resume, &AtomicBool::new(false), &Silent);
    let error = swapped.unwrap_err().to_string();
    assert!(error.contains("training data") && error.contains("validation data"), "{error}");
}

#[test]
fn what_is_no_number_stops_the_run_and_names_the_images() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    plan.stages[0].config.clip = None;
    plan.stages[0].config.optimiser.lr = 1e38;
    plan.stages[0].config.schedule = Schedule::Constant {};
    let error = bench.train(&plan, &bench.run("nan"), false, &StopAfter::never()).unwrap_err();
    let TrainError::NotFinite { images, .. } = &error else { panic!("{error}") };
    assert!(images.len() == 2 && error.to_string().contains("image1661"), "{error}");
}

#[test]
fn a_gradient_that_is_no_number_moves_nothing() {
    let bench = Bench::new();
    let plan = bench.plan();
    let start = bench.folder.path().join("start.safetensors");
    let mut learner = learner(&plan, &start);
    let batch = given(&bench, &plan, &[0, 1]);
    assert!(learner.learn(&batch, f64::INFINITY, 1.0).unwrap().is_finite());
    assert!(matches!(learner.step(0.1, 1).unwrap(), StepOutcome::NotFinite(norm) if !norm.is_finite()));
    let before = carpus::models::read_tensors(&start).unwrap();
    assert!(learner.model().named_parameters().iter().all(|(name, t)| *t == before[name]));
}

/// A learner with group norms, which do not look across images, on all six training images.
pub fn grouped(bench: &Bench, config: TrainConfig) -> TrainingPlan {
    let mut plan = TrainingPlan { stages: vec![Stage { config, ..stage() }], ..bench.plan() };
    plan.config.model = ModelConfig { norm: carpus::models::Norm::Group(8), ..model() };
    plan.config.weights = None;
    plan
}

fn given(bench: &Bench, plan: &TrainingPlan, indices: &[usize]) -> Tensors {
    given_mixed(bench, plan, indices, vec![])
}

fn given_mixed(bench: &Bench, plan: &TrainingPlan, indices: &[usize], mixed: Vec<Option<MixedLabels>>) -> Tensors {
    let mut batch = carpus::train::Batch {
        pixels: vec![],
        rest: None,
        normalisations: vec![],
        words: vec![],
        metadata: vec![],
        indices: indices.to_vec(),
        broken: vec![],
        unlabelled: None,
        mixed,
    };
    for index in indices {
        let sample = bench.training.sample(*index).unwrap();
        batch.pixels.extend(sample.image.eight_bit().iter().map(|v| (f32::from(*v) / 255.0 - 0.2) / 0.3));
        batch.words.extend(sample.words().into_iter().map(|w| w as i32));
        batch.metadata.extend(bench.training.metadata(*index));
    }
    let loading = carpus::train::Loading {
        batch: indices.len(),
        augment: None,
        augment_on_device: false,
        input: &plan.config.input,
        channels: 1,
        pairs: &plan.config.model.pairs,
        channels_last: plan.config.channels_last,
        seed: 0,
        workers: 1,
        unlabelled: None,
        ranks: &OneProcess,
    };
    Tensors::new(&batch, Size::square(64), &loading, Device::Cpu).unwrap()
}

fn learner<'a>(plan: &'a TrainingPlan, start: &Path) -> Learner<'a> {
    let mut model = Model::new(&plan.config.model, Device::Cpu).unwrap();
    model.load(start).unwrap();
    Learner::new(model, plan, 0, &OneProcess).unwrap()
}

/// A model whose weights are the same in each test run. (Those that libtorch draws depend on the tests that run at the same
/// time, and how far rounding grows depends on the weights.)
pub fn drawn(config: &ModelConfig) -> Model {
    let model = Model::new(config, Device::Cpu).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for (_, mut weight) in model.named_parameters().into_iter().filter(|(_, weight)| weight.dim() > 1) {
        let inputs = weight.numel() as f64 / weight.size()[0] as f64;
        let normal = Normal::new(0.0, (2.0 / inputs).sqrt()).unwrap();
        let values: Vec<f32> = (0..weight.numel()).map(|_| normal.sample(&mut rng) as f32).collect();
        tch::no_grad(|| weight.copy_(&Tensor::from_slice(&values).view_as(&weight)));
    }
    // libtorch draws the biases of convolutions too; those of norms are 0 already.
    for (_, mut bias) in model.named_parameters().into_iter().filter(|(name, _)| name.ends_with("bias")) {
        tch::no_grad(|| drop(bias.zero_()));
    }
    model
}

/// The norm of the difference of all weights, relative to that of the step from `start`.
fn apart(a: &Learner, b: &Learner, start: &Path) -> f64 {
    let start = carpus::models::read_tensors(start).unwrap();
    let (a, b) = (a.model().named_parameters(), b.model().named_parameters());
    let square = |x: Tensor| x.square().sum(tch::Kind::Double).double_value(&[]);
    tch::no_grad(|| {
        let difference: f64 = a.iter().zip(&b).map(|((_, x), (_, y))| square(x - y)).sum();
        let moved: f64 = a.iter().map(|(name, x)| square(x - &start[name])).sum();
        (difference / moved).sqrt()
    })
}

#[test]
fn summed_gradients_are_those_of_the_large_batch() {
    let bench = Bench::new();
    let loss: LossMix = serde_json::from_str(r#"{ "bce": 1.0 }"#).unwrap();
    let optimiser = OptimiserSettings { kind: OptimiserKind::Sgd, lr: 0.1, ..Default::default() };
    let plan = grouped(&bench, TrainConfig { loss, optimiser, ema: None, clip: Some(0.01), ..stage().config });
    let start = bench.folder.path().join("grouped.safetensors");
    Model::new(&plan.config.model, Device::Cpu).unwrap().save(&start).unwrap();
    let (mut large, mut small) = (learner(&plan, &start), learner(&plan, &start));
    large.learn(&given(&bench, &plan, &[0, 1, 2, 3, 4, 5]), 1.0, 1.0).unwrap();
    for (indices, share) in [(&[0usize, 1, 2, 3][..], 4.0 / 6.0), (&[4], 1.0 / 6.0), (&[5], 1.0 / 6.0)] {
        small.learn(&given(&bench, &plan, indices), share, 1.0).unwrap();
    }
    for learner in [&mut large, &mut small] {
        assert!(matches!(learner.step(0.1, 1).unwrap(), StepOutcome::Updated(norm) if norm > 0.01));
    }
    let worst = apart(&large, &small, &start);
    println!("{worst:e}");
    // Single precision: the same sums in another order.
    assert!(worst < 1e-4, "{worst}");
}

/// Cross entropy is linear in the target: that of mixed labels is the mean of those of both labels, by their shares.
#[test]
fn mixed_labels_are_learned_as_soft_targets() {
    let bench = Bench::new();
    let loss: LossMix = serde_json::from_str(r#"{ "bce": 1.0 }"#).unwrap();
    let plan = grouped(&bench, TrainConfig { loss, ema: None, ..stage().config });
    let start = bench.folder.path().join("grouped.safetensors");
    drawn(&plan.config.model).save(&start).unwrap();
    // Every bone in every pixel, which differs much from the first labels.
    let loss_of = |share: Option<f32>| {
        let mixed = share.map(|share| MixedLabels { words: vec![(1 << bones::COUNT) - 1; 64 * 64], share });
        let batch = given_mixed(&bench, &plan, &[0, 1], vec![mixed, None]);
        assert_eq!(batch.soft.is_some(), share.is_some(), "only mixed labels are expanded");
        learner(&plan, &start).learn(&batch, 1.0, 1.0).unwrap()
    };
    let (first, second) = (loss_of(None), loss_of(Some(1.0)));
    assert!((first - second).abs() > 1e-3 * first, "{first} {second}");
    for share in [0.3, 0.75] {
        let wanted = (1.0 - f64::from(share)) * first + f64::from(share) * second;
        let found = loss_of(Some(share));
        assert!((found - wanted).abs() < 1e-6 * wanted, "{share}: {found} for {wanted}");
    }
}

#[test]
fn channels_last_and_brain_floats_learn_the_same_thing() {
    let bench = Bench::new();
    let optimiser = OptimiserSettings { kind: OptimiserKind::Sgd, lr: 0.1, ..Default::default() };
    let plain = grouped(&bench, TrainConfig { optimiser, ema: None, clip: None, ..stage().config });
    let start = bench.folder.path().join("grouped.safetensors");
    drawn(&plain.config.model).save(&start).unwrap();
    let mut last = plain.clone();
    last.config.channels_last = true;
    let mut half = plain.clone();
    half.stages[0].config.amp = Amp::Bf16;
    let mut scaled = plain.clone();
    scaled.stages[0].config.amp = Amp::Fp16;
    let mut reference = learner(&plain, &start);
    let mut losses = vec![];
    let mut learn = |learner: &mut Learner, plan: &TrainingPlan| {
        // A batch of one: group norm needs no other image.
        losses.push(learner.learn(&given(&bench, plan, &[0]), 1.0, 1.0).unwrap());
        assert!(matches!(learner.step(0.1, 1).unwrap(), StepOutcome::Updated(_)));
    };
    learn(&mut reference, &plain);
    // The order of sums in single precision; then units in the last place of 2^-8 and 2^-11, which grow some seventyfold
    // through a network from random weights.
    for (plan, tolerance) in [(&last, 1e-4), (&half, 0.3), (&scaled, 0.08)] {
        let mut other = learner(plan, &start);
        learn(&mut other, plan);
        let worst = apart(&reference, &other, &start);
        let (amp, channels_last) = (plan.stages[0].config.amp, plan.config.channels_last);
        println!("{amp} {channels_last}: {worst:e}");
        assert!(worst > 0.0 && worst < tolerance, "{amp} {channels_last}: {worst}");
    }
    assert!(losses.iter().all(|l| (l - losses[0]).abs() < 0.01 * losses[0]), "{losses:?}");
    // The same numbers in another order of memory.
    assert!((losses[0] - losses[1]).abs() < 1e-6 * losses[0], "{losses:?}");
}

#[test]
fn a_half_precision_step_that_overflows_is_left_out() {
    let bench = Bench::new();
    let mut plan = grouped(&bench, TrainConfig { ema: None, ..stage().config });
    plan.stages[0].config.amp = Amp::Fp16;
    let start = bench.folder.path().join("grouped.safetensors");
    Model::new(&plan.config.model, Device::Cpu).unwrap().save(&start).unwrap();
    let mut learner = learner(&plan, &start);
    let before = carpus::models::read_tensors(&start).unwrap();
    let batch = given(&bench, &plan, &[0]);
    // A share of the loss so large that the scaled gradients overflow half precision.
    learner.learn(&batch, 1e6, 1.0).unwrap();
    assert_eq!(learner.step(0.1, 1).unwrap(), StepOutcome::Skipped);
    assert_eq!(learner.scaler().unwrap().scale(), 32768.0);
    assert!(learner.model().named_parameters().iter().all(|(name, t)| *t == before[name]));
    learner.clear_gradients().unwrap();
    learner.learn(&batch, 1.0, 1.0).unwrap();
    assert!(matches!(learner.step(0.1, 1).unwrap(), StepOutcome::Updated(_)));
    // One that no scale can save is said instead of left out for ever.
    let moved = (0..20).map(|_| {
        learner.clear_gradients().unwrap();
        learner.learn(&batch, 1e12, 1.0).unwrap();
        learner.step(0.1, 2).unwrap()
    });
    let moved: Vec<StepOutcome> = moved.collect();
    assert!(moved.iter().any(|m| matches!(m, StepOutcome::NotFinite(_))), "{moved:?}");
}

#[test]
fn predictions_use_what_is_known_of_the_patient() {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    draw_data(folder.path(), 1);
    std::fs::write(folder.path().join("meta.csv"), "ID,Age,Gender,Weight,Height\n1,71,M,95,190\n").unwrap();
    let dataset = Dataset::open(folder.path()).unwrap();
    let entries: Vec<_> = dataset.images().iter().collect();
    let config = ModelConfig { metadata: Some(MetadataOptions::default()), ..model() };
    let model = Model::new(&config, Device::Cpu).unwrap();
    let gate = model.named_parameters().into_iter().find(|(name, _)| name.ends_with("gate")).expect("a gate").1;
    let _ = tch::no_grad(|| gate.shallow_clone().fill_(3.0));
    let weights = folder.path().join("gated.safetensors");
    let info = WeightsInfo {
        model: config,
        size: Size::square(64),
        input: InputSettings::normalised(vec![0.2], vec![0.3]),
        specialist: None,
        classes: bones::NAMES.map(str::to_owned).to_vec(),
        top_level: None,
        epoch: Some(1),
        dice: Some(0.0),
        averaged: false,
    };
    write_weights(&weights, &model.state(), &info).unwrap();
    let predictor = Predictor::open(&weights, Device::Cpu, TestTimeAugmentation::None).unwrap();
    let masks = |known: &PatientMetadata| predict(&predictor, &dataset, &entries, known, 2, &Silent).unwrap().images;
    let known = PatientMetadata::read(&dataset).unwrap();
    assert_eq!(known.patient("001"), [71.0, 1.0, 190.0, 95.0]);
    assert!(known.patient("002").iter().all(|v| v.is_nan()));
    assert!(masks(&known) == masks(&known));
    assert!(masks(&known) != masks(&PatientMetadata::default()), "the patient changes nothing");
    // What the model is given is what training gives it.
    let grey = GreyImage::new(64, 64, Levels::Eight(vec![90; 64 * 64])).unwrap();
    let image = FittedImage::new(grey, Size::square(64));
    let said = predictor.logits(&[&image], &[known.patient("001")]).unwrap();
    let x = Tensor::full([1, 1, 64, 64], (90.0 / 255.0 - 0.2) / 0.3, (Kind::Float, Device::Cpu));
    let metadata = Tensor::from_slice(&[71f32, 1.0, 190.0, 95.0]).view([1, 4]);
    let model = read_weights(&weights, Device::Cpu).unwrap().model;
    let direct = tch::no_grad(|| model.predict(&Input { images: &x, metadata: Some(&metadata) }).unwrap());
    assert!((said - &direct).abs().max().double_value(&[]) <= 1e-4 * direct.abs().max().double_value(&[]));
}

#[test]
fn batches_do_not_depend_on_the_cache() {
    let bench = Bench::new();
    let data = bench.folder.path().join("data");
    let entries = bench.training.entries();
    let dataset = Arc::new(Dataset::open(&data).unwrap());
    let uncached =
        Samples::load(&dataset, entries, &PatientMetadata::default(), Size::square(64), 0, "training", &Silent)
            .unwrap()
            .content;
    assert_eq!((uncached.uncached(), uncached.hash()), (6, bench.training.hash()));
    for index in 0..6 {
        let (a, b) = (bench.training.sample(index).unwrap(), uncached.sample(index).unwrap());
        assert!(a.image == b.image && a.words() == b.words());
        // Every class is there and lies where the image is bright, but for rims that the two resamplings see apart.
        let all = a.words().iter().fold(0, |all, w| all | w);
        assert_eq!(all, (1 << 29) - 1);
        let bright: Vec<bool> = a
            .words()
            .iter()
            .zip(a.image.eight_bit().as_raw())
            .filter(|(w, _)| **w != 0)
            .map(|(_, p)| *p > 40)
            .collect();
        let dark = bright.iter().filter(|b| !**b).count();
        assert!(dark * 20 < bright.len(), "{dark} of {} labelled pixels are dark", bright.len());
    }
}

#[test]
fn broken_images_are_left_out_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let folds = draw_data(folder.path(), 2);
    let first = folder.path().join(format!("train/DCM/ID001/{}.png", folds[0].image_id));
    let bytes = std::fs::read(&first).unwrap();
    std::fs::write(&first, &bytes[..bytes.len() / 2]).unwrap();
    let dataset = Arc::new(Dataset::open(folder.path()).unwrap());
    let entries = dataset.images();
    let WithProblems { content: samples, problems } =
        Samples::load(&dataset, entries, &PatientMetadata::default(), Size::square(64), 1 << 30, "training", &Silent)
            .unwrap();
    assert_eq!((samples.len(), entries.len()), (3, 4));
    assert!(problems.iter().any(|p| p.image_id.as_deref() == Some(&*folds[0].image_id)), "{problems:?}");
}

#[test]
fn an_image_that_breaks_in_mid_training_is_named_skipped_and_counted() {
    let bench = Bench::new();
    let data = bench.folder.path().join("data");
    let dataset = Arc::new(Dataset::open(&data).unwrap());
    let load = |entries: &[_]| {
        Samples::load(&dataset, entries, &PatientMetadata::default(), Size::square(64), 0, "training", &Silent)
            .unwrap()
            .content
    };
    let (training, validation) = (load(bench.training.entries()), load(bench.validation.entries()));
    let entry = &training.entries()[2];
    let path = data.join(&entry.image);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let mut plan = bench.quiet(vec![stage()]);
    plan.stages[0].config.epochs = 2;
    let watcher = StopAfter::never();
    let run = bench.run("breaks");
    let here = [Data { training: &training, validation: Some(&validation), unlabelled: None }];
    train(&plan, &here, Strategy::on(Device::Cpu), &run, RunStart::New, &watcher.stop, &watcher).unwrap();
    let records = carpus::tables::read::<EpochRow>(&run.metrics()).unwrap();
    assert_eq!(records.iter().map(|r| r.images_skipped).collect::<Vec<_>>(), [1, 1]);
    let printed = watcher.skipped.into_inner().unwrap();
    assert_eq!(printed.len(), 1, "{printed:?}");
    assert!(printed[0].starts_with(&entry.image_id) && printed[0].contains("end"), "{printed:?}");
}
