//! Averages of weights, stages that end by a condition, runs without validation, and how a run is stopped and observed by files
//! and commands.

use std::collections::BTreeMap;
use std::path::Path;

use carpus::models::{EncoderKind, Input, Model, ModelConfig, read_tensors};
use carpus::runs::{AverageSummary, StageEnd, StageSummary};
use carpus::tables::EpochRow;
use carpus::train::{
    Annealing, Data, HookSettings, MeanWeights, Outcome, RunFolder, RunStart, Stage, StartFrom, Strategy, SwaAverage,
    SwaSettings, TrainConfig, TrainError, TrainedModel, TrainingPlan, UntilSettings, read_weights, train, weights_info,
};
use tch::{Device, Kind, Tensor};

use crate::python;
use crate::train::{Bench, StopAfter, stage, state};

/// The greatest difference of two values, and the greatest value.
fn difference(a: &Tensor, b: &Tensor) -> (f64, f64) {
    let greatest = |x: Tensor| x.abs().max().double_value(&[]);
    (greatest(a.to_kind(Kind::Double) - b.to_kind(Kind::Double)), greatest(b.to_kind(Kind::Double)))
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn averages_batch_norms_and_rates_equal_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(format!("{name}.safetensors"));
    let seed = python::seed();
    let text = python::run("swa.py", &[folder.path().to_str().unwrap(), &seed.to_string()]);
    let config = ModelConfig {
        encoder: Some(EncoderKind::ResNet18),
        in_channels: 1,
        dropout: Some(0.0),
        ..ModelConfig::default()
    };
    let mut model = Model::new(&config, Device::Cpu).unwrap();
    let mut average = SwaAverage::new(&model);
    let epochs = (0..).take_while(|epoch| at(&format!("epoch{epoch}")).exists()).count();
    assert!(epochs >= 2);
    for epoch in 0..epochs {
        model.load(&at(&format!("epoch{epoch}"))).unwrap();
        average.update(&model).unwrap();
    }
    assert_eq!(average.epochs(), epochs);
    let compare = |name: &str, state: Vec<(String, Tensor)>, tolerance: f64| {
        let expected = read_tensors(&at(name)).unwrap();
        assert_eq!(state.len(), expected.len());
        for (tensor_name, tensor) in state {
            let (difference, greatest) = difference(&tensor, &expected[&tensor_name]);
            assert!(difference <= tolerance * greatest.max(1e-3), "{name}: {tensor_name}: {difference} of {greatest}");
        }
    };
    // The same sums in the same order; only a fused product differs.
    compare("mean", average.state(), 1e-6);
    average.swap(&model.state()).unwrap();
    // The encoder's; the decoder has group norms.
    assert_eq!(model.reset_statistics().unwrap(), 20);
    let batches = read_tensors(&at("batches")).unwrap();
    for place in 0..batches.len() {
        let input = Input { images: &batches[&place.to_string()], metadata: None };
        model.accumulate_statistics(&input).unwrap();
    }
    // Convolutions in single precision, through 20 layers.
    compare("estimated", model.state(), 1e-4);

    let cases: Vec<serde_json::Value> = serde_json::from_str(&text).expect("the script prints JSON");
    assert_eq!(cases.len(), 2 * Annealing::ALL.len());
    for case in cases {
        let number = |key: &str| case[key].as_f64().unwrap();
        let (steps, start) = (number("steps") as u64, number("start"));
        let swa = SwaSettings {
            start: 0.0,
            every: 1,
            lr: Some(number("lr")),
            anneal_epochs: steps / 3,
            anneal: case["anneal"].as_str().unwrap().parse().unwrap(),
        };
        for (step, expected) in (0..).zip(case["rates"].as_array().unwrap()) {
            let (rate, expected) = (swa.lr_at(step, 8, 3, |_| start), expected.as_f64().unwrap());
            // PyTorch computes each rate from the one before, which gathers rounding.
            assert!((rate - expected).abs() < 1e-9, "{case} step {step}: {rate}");
        }
    }
}

fn named(name: &str, start_from: StartFrom, config: TrainConfig) -> Stage {
    Stage { name: name.into(), start_from, config }
}

/// A stage that averages its third and fourth epoch at a constant rate, and one that starts from the average.
fn swa_plan(bench: &Bench) -> TrainingPlan {
    let swa = SwaSettings { start: 0.5, lr: Some(1e-3), anneal_epochs: 1, ..SwaSettings::default() };
    let first = TrainConfig { epochs: 4, swa: Some(swa), ema: None, ..stage().config };
    let second = TrainConfig { epochs: 1, ema: None, ..stage().config };
    let stages = vec![named("first", StartFrom::Last, first), named("second", StartFrom::Swa, second)];
    let mut plan = bench.quiet(stages);
    plan.config.keep_best = 5;
    plan
}

fn finished(outcome: Outcome) -> Vec<StageSummary> {
    let Outcome::Finished { stages, .. } = outcome else { panic!("{outcome:?}") };
    stages
}

#[test]
fn the_last_epochs_are_averaged_and_the_next_stage_starts_from_them() {
    let bench = Bench::new();
    let mut plan = swa_plan(&bench);
    // Nothing moves in the second stage: it ends with the weights that it started from.
    let freeze = serde_json::from_str("[\"\"]").unwrap();
    plan.stages[1].config.freeze = freeze;
    let (run, watcher) = (bench.run("swa"), StopAfter::never());
    let stages = finished(bench.train(&plan, &run, false, &watcher).unwrap());
    let info = weights_info(&run.swa()).unwrap();
    assert!(info.averaged && info.epoch == Some(4), "{info:?}");
    assert_eq!(stages[0].swa, Some(AverageSummary { epochs: 2, dice: info.dice }));
    assert_eq!((stages[0].end, stages[0].epochs, &stages[1].swa), (StageEnd::Epochs, 4, &None));
    assert!(
        watcher.notes().iter().any(|note| note.contains("stage `first`: mean of the weights of 2 epochs, Dice 0."))
    );
    let [third, fourth] = [3, 4].map(|epoch| read_tensors(&run.kept(epoch)).unwrap());
    let (swa, last) = (read_tensors(&run.swa()).unwrap(), read_tensors(&run.last()).unwrap());
    let model = Model::new(&plan.config.model, Device::Cpu).unwrap();
    for (name, _) in model.named_parameters() {
        let (off, greatest) = difference(&swa[&name], &((&third[&name] + &fourth[&name]) / 2.0));
        assert!(off <= 1e-6 * greatest, "{name}: {off}");
        assert!(swa[&name] == last[&format!("model.{name}")], "{name}");
    }
    // The batch norms are estimated from three batches of all training images.
    let counters: Vec<i64> =
        swa.iter().filter(|(n, _)| n.ends_with("num_batches_tracked")).map(|(_, t)| t.int64_value(&[])).collect();
    assert!(counters.contains(&3) && counters.iter().all(|n| *n == 3 || *n == 0), "{counters:?}");
    // The rate of the last step: that of SWA, reached one epoch after averaging began.
    let records = watcher.records();
    assert_eq!(records[3].lr, 1e-3);
    assert!(records[2].lr > 1e-3 && records[2].lr < records[1].lr.max(2e-3), "{records:?}");
    // A run that has ended is not averaged again.
    let before = std::fs::read(run.swa()).unwrap();
    std::fs::remove_file(run.swa()).unwrap();
    bench.train(&plan, &run, true, &StopAfter::never()).unwrap();
    assert!(!run.swa().exists());
    std::fs::write(run.swa(), before).unwrap();
    let TrainedModel { model, .. } = read_weights(&run.swa(), Device::Cpu).unwrap();
    assert_eq!(model.config(), &plan.config.model);
}

#[test]
fn an_interrupted_run_with_averages_ends_with_the_same_bits() {
    let bench = Bench::new();
    let plan = swa_plan(&bench);
    let whole = bench.run("whole");
    let expected_stages = finished(bench.train(&plan, &whole, false, &StopAfter::never()).unwrap());
    let (expected, average) = (state(&whole.last()), std::fs::read(whole.swa()).unwrap());
    // Before averaging, between the averaged epochs, within the last one, at its end (before the batch norms are
    // estimated), and in the next stage.
    for stop_after in crate::models::drawn([5, 9, 11, 12, 13], 3) {
        let run = bench.run(&format!("broken{stop_after}"));
        let outcome = bench.train(&plan, &run, false, &StopAfter::batches(stop_after)).unwrap();
        assert!(matches!(outcome, Outcome::Interrupted { .. }), "{outcome:?}");
        let stages = finished(bench.train(&plan, &run, true, &StopAfter::never()).unwrap());
        assert_eq!(stages, expected_stages);
        assert!(average == std::fs::read(run.swa()).unwrap(), "swa.safetensors differs after a stop at {stop_after}");
        let ended = state(&run.last());
        assert_eq!(expected.keys().collect::<Vec<_>>(), ended.keys().collect::<Vec<_>>());
        for (name, bytes) in &expected {
            assert!(*bytes == ended[name], "{name} differs after a stop at batch {stop_after}");
        }
    }
}

#[test]
fn a_stage_that_ends_before_averaging_says_so() {
    let bench = Bench::new();
    let mut plan = swa_plan(&bench);
    plan.stages[0].config.until = Some(UntilSettings { dice: Some(1e-9), worst: None });
    let watcher = StopAfter::never();
    let error = bench.train(&plan, &bench.run("too-early"), false, &watcher).unwrap_err().to_string();
    assert!(error.contains("stage second cannot start from swa: the stage before averaged no epoch"), "{error}");
    assert!(watcher.notes().iter().any(|note| note.contains("before the first epoch to average (swa.start)")));
}

#[test]
fn a_stage_ends_when_its_scores_are_reached_also_after_an_interruption() {
    let bench = Bench::new();
    let plan = |until: Option<UntilSettings>| {
        let first = TrainConfig { epochs: 4, until, ..stage().config };
        let second = TrainConfig { epochs: 1, ..stage().config };
        bench.quiet(vec![named("first", StartFrom::Last, first), named("second", StartFrom::Last, second)])
    };
    // Which epoch has the best Dice, with which worst class.
    let watcher = StopAfter::never();
    bench.train(&plan(None), &bench.run("all"), false, &watcher).unwrap();
    let records = watcher.records();
    let dice = |row: &EpochRow| row.valid_dice.unwrap();
    let best = (0..4).max_by(|a, b| dice(&records[*a]).total_cmp(&dice(&records[*b])).then(b.cmp(a))).unwrap();
    let until = UntilSettings { dice: Some(dice(&records[best])), worst: None };
    let plan = |until: UntilSettings| plan(Some(until));

    let (whole, watcher) = (bench.run("whole"), StopAfter::never());
    let stages = finished(bench.train(&plan(until.clone()), &whole, false, &watcher).unwrap());
    assert_eq!((stages[0].epochs, stages[0].end, stages[1].epochs), (best + 1, StageEnd::Until, 1));
    let note = format!("stage `first` ended: mean Dice {:.4} >= ", dice(&records[best]));
    assert!(watcher.notes().iter().any(|text| text.starts_with(&note)), "{:?}", watcher.notes());
    let expected = state(&whole.last());
    // Within the last epoch of the stage, at its end, and in the next stage.
    for stop_after in [3 * best + 2, 3 * best + 3, 3 * best + 4] {
        let run = bench.run(&format!("broken{stop_after}"));
        let outcome = bench.train(&plan(until.clone()), &run, false, &StopAfter::batches(stop_after)).unwrap();
        assert!(matches!(outcome, Outcome::Interrupted { .. }), "{outcome:?}");
        assert_eq!(finished(bench.train(&plan(until.clone()), &run, true, &StopAfter::never()).unwrap()), stages);
        assert!(expected == state(&run.last()), "other bits after a stop at batch {stop_after}");
    }
    // A run with other scores is another run.
    let other = UntilSettings { worst: Some(0.5), ..until };
    let error = bench.train(&plan(other), &whole, true, &StopAfter::never()).unwrap_err().to_string();
    assert!(error.contains("stages.0.until.worst: was null, is now 0.5"), "{error}");
    // A stage that does not reach them has all its epochs, and a warning.
    let (run, watcher) = (bench.run("never"), StopAfter::never());
    let never = UntilSettings { dice: Some(1e-9), worst: Some(1.0) };
    let stages = finished(bench.train(&plan(never), &run, false, &watcher).unwrap());
    assert_eq!((stages[0].epochs, stages[0].end), (4, StageEnd::Epochs));
    let warned = |text: &String| {
        text.starts_with("warning: stage `first` ended after 4 epochs without reaching its `until`: mean Dice 0.")
            && text.contains(" < 1 in the last epoch")
    };
    assert!(watcher.notes().iter().any(warned), "{:?}", watcher.notes());
}

#[test]
fn the_best_epochs_are_averaged_when_the_run_ends() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    (plan.config.keep_best, plan.config.average_best) = (3, Some(2));
    let (run, watcher) = (bench.run("average"), StopAfter::never());
    let outcome = bench.train(&plan, &run, false, &watcher).unwrap();
    let Outcome::Finished { average_best: Some(AverageSummary { epochs: 2, dice: Some(dice) }), .. } = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(weights_info(&run.average()).unwrap().dice, Some(dice));
    let records = watcher.records();
    let mut by_dice: Vec<&EpochRow> = records.iter().collect();
    by_dice.sort_by(|a, b| b.valid_dice.unwrap().total_cmp(&a.valid_dice.unwrap()));
    let files = [0, 1].map(|place| run.kept(by_dice[place].epoch as usize));
    let [a, b] = files.clone().map(|file| read_tensors(&file).unwrap());
    let average = read_tensors(&run.average()).unwrap();
    let model = Model::new(&plan.config.model, Device::Cpu).unwrap();
    for (name, _) in model.named_parameters() {
        let (off, greatest) = difference(&average[&name], &((&a[&name] + &b[&name]) / 2.0));
        assert!(off <= 1e-6 * greatest, "{name}: {off}");
    }
    // Estimated batch norms: three batches each, where the files have counted more.
    let counter = |tensors: &BTreeMap<String, Tensor>| tensors["encoder._bn0.num_batches_tracked"].int64_value(&[]);
    assert_eq!(counter(&average), 3);
    let mean = MeanWeights::read(&files, Device::Cpu).unwrap();
    assert!(mean.norms > 20 && mean.info.averaged && mean.info.dice.is_none());
    let read: BTreeMap<String, Tensor> = mean.model.state().into_iter().collect();
    assert_eq!(counter(&read), counter(&a), "counters are those of the first file");
    // The same file twice: nothing differs, so nothing is estimated.
    assert_eq!(MeanWeights::read(&[files[0].clone(), files[0].clone()], Device::Cpu).unwrap().norms, 0);

    let refused = |files: &[std::path::PathBuf]| MeanWeights::read(files, Device::Cpu).err().unwrap().to_string();
    assert!(refused(&files[..1]).contains("1 file of weights to average; expected two or more"));
    let other = bench.folder.path().join("other.safetensors");
    let config = ModelConfig { encoder: Some(EncoderKind::ResNet18), ..plan.config.model.clone() };
    let info = weights_info(&files[0]).unwrap();
    let state = Model::new(&config, Device::Cpu).unwrap().state();
    carpus::train::write_weights(&other, &state, &carpus::train::WeightsInfo { model: config, ..info.clone() })
        .unwrap();
    let error = refused(&[files[0].clone(), other.clone()]);
    assert!(error.contains("other.safetensors: the model is ") && error.contains("resnet18"), "{error}");
    let state = Model::new(&info.model, Device::Cpu).unwrap().state();
    carpus::train::write_weights(
        &other,
        &state,
        &carpus::train::WeightsInfo { size: carpus::geometry::Size::square(96), ..info },
    )
    .unwrap();
    assert!(refused(&[files[0].clone(), other]).contains("the image size is 96 px, but 64 px in "));
}

#[test]
fn all_images_are_trained_without_scores() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    plan.config.pictures = 2;
    let data = [Data { training: &bench.training, validation: None, unlabelled: None }];
    let start = |plan: &TrainingPlan, run: &RunFolder, start: RunStart, watcher: &StopAfter| {
        train(plan, &data, Strategy::on(Device::Cpu), run, start, &watcher.stop, watcher)
    };
    let (run, watcher) = (bench.run("all"), StopAfter::never());
    let outcome = start(&plan, &run, RunStart::New, &watcher).unwrap();
    assert!(matches!(outcome, Outcome::Finished { best: None, early: false, .. }), "{outcome:?}");
    assert!(!run.best().exists() && !run.picture(1).exists());
    let records = carpus::tables::read::<EpochRow>(&run.metrics()).unwrap();
    assert_eq!(records, watcher.records());
    assert!(records.iter().all(|row| row.valid_loss.is_none() && row.valid_dice.is_none() && row.dice.is_empty()));
    // The averages of the stage's EMA are what is kept, as in `best.safetensors`.
    let info = weights_info(&run.final_weights()).unwrap();
    assert!(info.averaged && info.dice.is_none() && info.epoch == Some(3), "{info:?}");
    let (last, kept) = (state(&run.last()), state(&run.final_weights()));
    assert!(kept.iter().all(|(name, bytes)| last[&format!("ema.{name}")] == *bytes));
    assert_eq!(RunFolder::weights_at(run.path()).unwrap(), run.final_weights());
    let error = RunFolder::weights_at(&run.best()).unwrap_err().to_string();
    assert!(error.contains("held out no fold") && error.contains("final.safetensors"), "{error}");
    assert_eq!(RunFolder::weights_at(Path::new("x.safetensors")).unwrap(), Path::new("x.safetensors"));

    let broken = bench.run("broken");
    start(&plan, &broken, RunStart::New, &StopAfter::batches(4)).unwrap();
    assert!(!broken.final_weights().exists());
    assert!(RunFolder::weights_at(broken.path()).unwrap_err().to_string().contains("give the folder of a run"));
    start(&plan, &broken, RunStart::Resume, &StopAfter::never()).unwrap();
    assert!(last == state(&broken.last()) && kept == state(&broken.final_weights()));

    let mut refused = plan.clone();
    refused.stages[0].config.early_stop = Some(2);
    let error = start(&refused, &bench.run("refused"), RunStart::New, &StopAfter::never()).unwrap_err();
    assert!(matches!(error, TrainError::NoValidation { key: "early-stop" }), "{error}");
    let error = bench.train(&plan, &run, true, &StopAfter::never()).unwrap_err().to_string();
    assert!(error.contains("the validation data: content hash was"), "{error}");
}

#[test]
fn a_stop_file_ends_the_run_after_a_step_and_is_removed() {
    let bench = Bench::new();
    let plan = bench.quiet(vec![stage()]);
    let whole = bench.run("whole");
    bench.train(&plan, &whole, false, &StopAfter::never()).unwrap();
    let (run, watcher) = (bench.run("stopped"), StopAfter::never());
    std::fs::create_dir_all(run.path()).unwrap();
    std::fs::write(run.stop(), "").unwrap();
    let outcome = bench.train(&plan, &run, false, &watcher).unwrap();
    assert_eq!(outcome, Outcome::Interrupted { epoch: 0, step: 1 });
    assert!(!run.stop().exists());
    let notes = watcher.notes();
    assert!(notes[0].contains("stopped/stop, which was removed"), "{notes:?}");
    bench.train(&plan, &run, true, &StopAfter::never()).unwrap();
    assert!(state(&whole.last()) == state(&run.last()));
    // One that is found when there is nothing left to stop does not stop the next run.
    std::fs::write(run.stop(), "").unwrap();
    assert!(matches!(bench.train(&plan, &run, true, &StopAfter::never()), Ok(Outcome::Finished { .. })));
    assert!(!run.stop().exists());
}

#[test]
fn a_command_runs_after_each_epoch() {
    let bench = Bench::new();
    let mut plan = bench.quiet(vec![stage()]);
    plan.stages[0].config.epochs = 2;
    let epoch = "echo \"$CARPUS_EPOCH $CARPUS_STATUS $CARPUS_DICE\" >> \"$CARPUS_RUN/epochs.txt\"; exit $CARPUS_EPOCH";
    plan.config.hooks = Some(HookSettings { epoch: Some(epoch.into()), ..HookSettings::default() });
    let (run, watcher) = (bench.run("hooks"), StopAfter::never());
    bench.train(&plan, &run, false, &watcher).unwrap();
    let expected: Vec<String> =
        watcher.records().iter().map(|row| format!("{} running {}", row.epoch, row.valid_dice.unwrap())).collect();
    let written = std::fs::read_to_string(run.path().join("epochs.txt")).unwrap();
    assert_eq!(written.lines().collect::<Vec<_>>(), expected);
    // The commands fail, and the run does not.
    let warnings = watcher.notes();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("hooks.epoch failed (exit status: 2)"), "{warnings:?}");
    // Another command does not make it another run.
    plan.config.hooks = None;
    bench.train(&plan, &run, true, &StopAfter::never()).unwrap();
}
