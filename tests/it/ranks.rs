//! Training by several ranks, here threads of one process, against training by one.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use carpus::augment::{Augmentation, Augmentations, MixUp};
use carpus::losses::LossMix;
use carpus::runs::StageEnd;
use carpus::train::{
    HookSettings, OneProcess, OptimiserKind, OptimiserSettings, Outcome, Ranks, RunFolder, SwaSettings, TrainConfig,
    TrainError, TrainingPlan, UntilSettings,
};
use tch::{TchError, Tensor};

use crate::train::{Bench, StopAfter, drawn, grouped, stage, state};

/// One of several threads; each sends what it has to every other.
struct Thread {
    rank: usize,
    to: Vec<Sender<Vec<Tensor>>>,
    from: Vec<Mutex<Receiver<Vec<Tensor>>>>,
}

fn threads(world: usize) -> Vec<Thread> {
    let mut ranks: Vec<Thread> = (0..world).map(|rank| Thread { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..world {
        for to in 0..world {
            let (sender, receiver) = channel();
            ranks[from].to.push(sender);
            ranks[to].from.push(Mutex::new(receiver));
        }
    }
    ranks
}

impl Thread {
    /// What every rank gave, by rank.
    fn exchange(&self, own: &[Tensor]) -> Result<Vec<Vec<Tensor>>, TchError> {
        for to in &self.to {
            let copies =
                own.iter().map(|tensor| Ok(tensor.f_detach()?.copy())).collect::<Result<Vec<_>, TchError>>()?;
            let _ = to.send(copies);
        }
        let lost = |_| TchError::Kind("a rank does not answer".into());
        self.from.iter().map(|from| from.lock().unwrap().recv_timeout(Duration::from_secs(120)).map_err(lost)).collect()
    }
}

impl Ranks for Thread {
    fn rank(&self) -> usize {
        self.rank
    }

    fn world(&self) -> usize {
        self.to.len()
    }

    fn sum(&self, tensors: &[Tensor]) -> Result<(), TchError> {
        let given = self.exchange(tensors)?;
        for (at, tensor) in tensors.iter().enumerate() {
            let mut sum = given[0][at].copy();
            for other in &given[1..] {
                sum = sum.f_add_(&other[at])?;
            }
            tensor.shallow_clone().f_copy_(&sum)?;
        }
        Ok(())
    }

    fn gather(&self, rows: &Tensor) -> Result<Tensor, TchError> {
        let given = self.exchange(std::slice::from_ref(rows))?;
        Tensor::f_cat(&given.iter().map(|of_rank| &of_rank[0]).collect::<Vec<_>>(), 0)
    }
}

/// A plan with group norm and these settings, which starts from a file of weights: libtorch draws first ones from a generator that
/// all threads share.
fn plan(bench: &Bench, loss: &str, config: TrainConfig) -> TrainingPlan {
    let loss: LossMix = serde_json::from_str(loss).unwrap();
    let mut plan = grouped(bench, TrainConfig { loss, ema: None, ..config });
    (plan.config.pictures, plan.config.histograms) = (0, false);
    let start = bench.folder.path().join("grouped.safetensors");
    drawn(&plan.config.model).save(&start).unwrap();
    plan.config.weights = Some(start);
    plan
}

/// Trains as `world` ranks; the outcome and the records of each.
fn together(
    bench: &Bench,
    plan: &TrainingPlan,
    run: &RunFolder,
    resume: bool,
    watchers: &[StopAfter],
) -> Vec<Result<Outcome, TrainError>> {
    std::thread::scope(|scope| {
        let ranks: Vec<_> = threads(watchers.len())
            .into_iter()
            .zip(watchers)
            .map(|(rank, watcher)| {
                scope.spawn(move || {
                    tch::set_num_threads(1);
                    bench.train_as(plan, &rank, run, resume, watcher)
                })
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

fn never(n: usize) -> Vec<StopAfter> {
    (0..n).map(|_| StopAfter::never()).collect()
}

fn sgd() -> OptimiserSettings {
    OptimiserSettings { kind: OptimiserKind::Sgd, lr: 0.05, ..Default::default() }
}

/// The largest difference of two runs' weights, as a share of how far the weights moved.
fn apart(start: &std::path::Path, one: &RunFolder, other: &RunFolder) -> f64 {
    let read = |path: &std::path::Path| carpus::models::read_tensors(path).unwrap();
    let (start, one, other) = (read(start), read(&one.last()), read(&other.last()));
    let (mut difference, mut moved) = (0.0, 0.0);
    for (name, was) in &start {
        let name = format!("model.{name}");
        difference += (&one[&name] - &other[&name]).square().sum(tch::Kind::Double).double_value(&[]);
        moved += (&one[&name] - was).square().sum(tch::Kind::Double).double_value(&[]);
    }
    assert!(moved > 0.0);
    f64::sqrt(difference / moved)
}

/// A mean over pixels and losses of overlap over the batch: batches of five of six images are cut into three and two.
#[test]
fn two_ranks_learn_what_one_does() {
    let bench = Bench::new();
    let loss = r#"{ "bce": 0.4, "dice": 0.3, "jaccard": 0.2, "generalised-dice": 0.1 }"#;
    let config = TrainConfig { batch: 5, epochs: 8, optimiser: sgd(), clip: Some(0.5), ..stage().config };
    let plan = plan(&bench, loss, config);
    let start = bench.folder.path().join("grouped.safetensors");
    let (alone, two) = (bench.run("alone"), bench.run("two"));
    let watcher = StopAfter::never();
    bench.train_as(&plan, &OneProcess, &alone, false, &watcher).unwrap();
    let watchers = never(2);
    for outcome in together(&bench, &plan, &two, false, &watchers) {
        assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    }
    let worst = apart(&start, &alone, &two);
    println!("two ranks differ from one by {worst:e} of the way");
    // Single precision: sums in another order; means of the ranks' own losses of overlap are 8e-4 off.
    // Lovász, which sorts pixels that are nearly equal, would make more of it; `losses::part` holds it to one batch.
    assert!(worst < 1e-4, "{worst}");
    let [first, second] = [&watchers[0], &watchers[1]].map(StopAfter::records);
    assert_eq!(first.len(), 8);
    for ((a, b), one) in first.iter().zip(&second).zip(watcher.records()) {
        // What decides is the same to the last bit on both ranks; the numbers are those of one process. Other tests set the
        // number of libtorch's threads meanwhile, by which sums round.
        assert_eq!((a.train_loss, a.valid_loss, &a.dice), (b.train_loss, b.valid_loss, &b.dice));
        assert!((a.gradient_norm - b.gradient_norm).abs() < 1e-5 * a.gradient_norm, "{a:?} {b:?}");
        assert!((a.train_loss - one.train_loss).abs() < 1e-4 * one.train_loss, "{a:?} {one:?}");
    }
    let (ours, one) = (&first[0], &watcher.records()[0]);
    assert!((ours.train_loss - one.train_loss).abs() < 1e-6 * one.train_loss, "before any step: {ours:?} {one:?}");
    assert!((ours.gradient_norm - one.gradient_norm).abs() < 1e-4 * one.gradient_norm, "{ours:?} {one:?}");
    // One rank writes.
    assert_eq!(std::fs::read_dir(two.path()).unwrap().count(), std::fs::read_dir(alone.path()).unwrap().count());
}

/// Mixed labels in some samples of each batch, which are in one rank's part or in both.
#[test]
fn two_ranks_learn_soft_targets_as_one_does() {
    let bench = Bench::new();
    let augment = Augmentations(vec![Augmentation::MixUp(MixUp::default())]);
    let config = TrainConfig { batch: 5, epochs: 3, optimiser: sgd(), augment, clip: Some(0.5), ..stage().config };
    let plan = plan(&bench, r#"{ "bce": 0.3, "dice": 0.4, "focal": 0.3 }"#, config);
    let start = bench.folder.path().join("grouped.safetensors");
    let (alone, two) = (bench.run("alone"), bench.run("two"));
    bench.train_as(&plan, &OneProcess, &alone, false, &StopAfter::never()).unwrap();
    for outcome in together(&bench, &plan, &two, false, &never(2)) {
        assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    }
    let worst = apart(&start, &alone, &two);
    println!("two ranks differ from one by {worst:e} of the way");
    // Single precision, as for hard targets.
    assert!(worst < 1e-4, "{worst}");
}

/// A rank that is asked to stop stops all; others go on from there, as many as they are.
#[test]
fn ranks_stop_together_and_go_on_in_another_number() {
    let bench = Bench::new();
    let config = TrainConfig { batch: 2, accumulate: 2, epochs: 2, optimiser: sgd(), ..stage().config };
    let plan = plan(&bench, r#"{ "bce": 0.5, "dice": 0.5 }"#, config);
    let (whole, broken) = (bench.run("whole"), bench.run("broken"));
    for outcome in together(&bench, &plan, &whole, false, &never(2)) {
        outcome.unwrap();
    }
    let outcomes = together(&bench, &plan, &broken, false, &[StopAfter::never(), StopAfter::batches(2)]);
    for outcome in outcomes {
        assert_eq!(outcome.unwrap(), Outcome::Interrupted { epoch: 0, step: 1 });
    }
    for outcome in together(&bench, &plan, &broken, true, &never(2)) {
        outcome.unwrap();
    }
    assert!(state(&whole.last()) == state(&broken.last()), "the same bits as without a stop");
    let alone = bench.run("alone");
    together(&bench, &plan, &alone, false, &[StopAfter::batches(2), StopAfter::never()]);
    let outcome = bench.train_as(&plan, &OneProcess, &alone, true, &StopAfter::never()).unwrap();
    assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}");
}

/// Both ranks end a stage in the same epoch and average the same weights.
#[test]
fn ranks_end_a_stage_and_average_together() {
    let bench = Bench::new();
    let (swa, until) =
        (SwaSettings { start: 1.0, ..SwaSettings::default() }, UntilSettings { dice: Some(1e-9), worst: None });
    let config = TrainConfig { batch: 4, epochs: 3, optimiser: sgd(), ..stage().config };
    let mut plan = plan(&bench, r#"{ "bce": 0.5, "dice": 0.5 }"#, config);
    let mut first = plan.stages[0].clone();
    first.name = "first".into();
    first.config.until = Some(until);
    plan.stages[0].config.swa = Some(swa);
    plan.stages.insert(0, first);
    let epoch = "echo >> \"$CARPUS_RUN/epochs.txt\"";
    plan.config.hooks = Some(HookSettings { epoch: Some(epoch.into()), ..HookSettings::default() });
    let run = bench.run("two");
    let stages = together(&bench, &plan, &run, false, &never(2)).into_iter().map(|outcome| match outcome.unwrap() {
        Outcome::Finished { stages, .. } => stages,
        other => panic!("{other:?}"),
    });
    let [one, other] = &stages.collect::<Vec<_>>()[..] else { panic!("two ranks") };
    assert_eq!(one, other);
    assert_eq!((one[0].end, one[0].epochs, one[1].epochs), (StageEnd::Until, 1, 3));
    assert_eq!(one[1].swa.as_ref().map(|swa| swa.epochs), Some(2));
    assert!(run.swa().is_file());
    // Only the first rank runs the command.
    let lines = std::fs::read_to_string(run.path().join("epochs.txt")).unwrap();
    assert_eq!(lines.lines().count(), 4);
}

#[test]
fn what_ranks_cannot_compute_is_refused_by_each() {
    let bench = Bench::new();
    let config = TrainConfig { batch: 2, epochs: 1, optimiser: sgd(), ..stage().config };
    let plan = plan(&bench, r#"{ "lovasz": { "weight": 1, "over": "batch" } }"#, config);
    for outcome in together(&bench, &plan, &bench.run("refused"), false, &never(2)) {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains("lovasz with over = \"batch\" cannot be computed by several processes"), "{error}");
    }
    bench.train_as(&plan, &OneProcess, &bench.run("alone"), false, &StopAfter::never()).unwrap();
}
