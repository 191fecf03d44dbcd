//! The report's experiments, `configs/report`: every file loads, or is on the list of those that wait for something.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use carpus::config::chain::{ChainConfig, scalar};
use carpus::train::TrainConfig;
use serde_json::Value;

/// Files that cannot run yet: with each, what its error says that it waits for. A file that waits for several things is
/// here with the first that is met.
const WAITING: &[(&str, &str)] = &[];

/// What the report's sections hold at least.
const SECTIONS: [(&str, usize); 15] = [
    ("3.1.3-oversampling", 3),
    ("3.1.4-folds", 2),
    ("3.1.5-strips-background", 3),
    ("3.1.6-outliers", 3),
    ("3.2-augmentation", 10),
    ("3.3.1-losses", 9),
    ("3.3.2-ema-pointrend", 4),
    ("3.3.3-schedules", 8),
    ("3.3.4-resolution-model-size", 14),
    ("3.4.1-base-model", 5),
    ("3.4.2-encoders", 21),
    ("3.4.3-transformers", 10),
    ("3.4.4-full-resolution", 9),
    ("3.4.5-two-stages", 2),
    ("3.5-ensembles", 5),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every experiment by its path below `configs/report`, sorted.
fn experiments() -> Vec<(String, PathBuf)> {
    let report = root().join("configs/report");
    let mut files = Vec::new();
    for section in std::fs::read_dir(&report).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        files.extend(std::fs::read_dir(section).unwrap().map(|e| e.unwrap().path()));
    }
    files.sort();
    let name = |path: &PathBuf| path.strip_prefix(&report).unwrap().to_string_lossy().into_owned();
    files.into_iter().map(|path| (name(&path), path)).collect()
}

fn is_chain(path: &Path) -> bool {
    std::fs::read_to_string(path).unwrap().lines().any(|line| line.starts_with("work = "))
}

/// Loads and checks a file as its command would: a chain's flags are parsed, and the training configurations that it
/// names are loaded with its settings overridden.
fn load(path: &Path) -> Result<(), String> {
    if !is_chain(path) {
        let config = TrainConfig::load(path, &[]).map_err(|e| e.to_string())?;
        // As `train --print-config` prints it, it is the same.
        let printed = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(printed.path(), config.to_commented_toml()).unwrap();
        let again = TrainConfig::load(printed.path(), &[]).map_err(|e| e.to_string())?;
        assert_eq!(again, config, "{}", path.display());
        return Ok(());
    }
    let chain = ChainConfig::read(path).map_err(|e| e.to_string())?;
    for member in &chain.train {
        let config = member.get("config").and_then(scalar).expect("a chain names its training configuration");
        let sets = match member.get("set") {
            Some(toml::Value::Array(sets)) => sets.iter().filter_map(scalar).collect(),
            _ => Vec::new(),
        };
        TrainConfig::load(&root().join(config), &sets).map_err(|e| e.to_string())?;
    }
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["run", "--dry-run", "--config"])
        .arg(path)
        .current_dir(root())
        .output()
        .unwrap();
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}

#[test]
fn every_experiment_loads_or_says_what_it_waits_for() {
    let all = experiments();
    for (section, least) in SECTIONS {
        let held = all.iter().filter(|(name, _)| name.starts_with(&format!("{section}/"))).count();
        assert!(held >= least, "{section} holds {held} experiments, not {least}");
    }
    let mut found = String::new();
    let mut wrong = Vec::new();
    for (name, path) in &all {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        let section = name.split(['-', '/']).next().unwrap();
        assert!(
            lines.next().unwrap().starts_with(&format!("# {section} ")),
            "{name}: the first line names the section"
        );
        assert!(lines.next().unwrap().starts_with("# Report: "), "{name}: the second line has the report's figure");
        let trains = !is_chain(path) || ChainConfig::read(path).map_or(true, |chain| !chain.train.is_empty());
        assert!(trains, "{name}: an experiment trains");
        let waits = WAITING.iter().find(|(waiting, _)| waiting == name).map(|w| w.1);
        let error = load(path).err();
        if let Some(error) = &error {
            // The error without the file and without what is there instead.
            let short = error.split_once(": ").map_or(error.as_str(), |(_, rest)| rest);
            let short = short.split([';', ',']).next().unwrap_or_default().lines().last().unwrap_or_default();
            found += &format!("    ({name:?}, {short:?}),\n");
        }
        match (waits, error) {
            (None, None) => {}
            (Some(reason), Some(error)) if error.contains(reason) => {}
            (Some(reason), None) => wrong.push(format!("{name} waits for {reason:?} no more: take it off the list")),
            (waits, Some(error)) => wrong.push(format!("{name} is listed as waiting for {waits:?}, and says: {error}")),
        }
    }
    wrong.extend(
        WAITING.iter().filter(|(w, _)| all.iter().all(|(name, _)| name != w)).map(|(w, _)| format!("{w} is not there")),
    );
    assert!(wrong.is_empty(), "{}\nwhat waits now:\n{found}", wrong.join("\n"));
}

/// The value at a path such as `stage.1.loss.bce`; a loss that is only its weight is that weight.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let found = path.split('.').try_fold(value, |value, key| match value {
        Value::Array(values) => values.get(key.parse::<usize>().ok()?),
        _ => value.get(key),
    })?;
    Some(found).filter(|found| !found.is_null())
}

/// Whether the file has the value; numbers are compared as numbers.
fn agrees(found: Option<&Value>, expected: &Value) -> bool {
    let found = found.map(|found| found.get("weight").unwrap_or(found));
    match (found, expected) {
        (None, expected) => expected == "absent",
        (Some(found), expected) if expected.is_number() => found.as_f64() == expected.as_f64(),
        (Some(found), expected) => found == expected,
    }
}

/// The settings of a file with all defaults: of a training configuration with its stages under `stage`, or of a chain.
fn settings(path: &Path) -> Value {
    if is_chain(path) {
        let text = std::fs::read_to_string(path).unwrap();
        return serde_json::to_value(toml::from_str::<toml::Value>(&text).unwrap()).unwrap();
    }
    let config = TrainConfig::load(path, &[]).unwrap();
    let stages = config.stages(path).unwrap();
    let mut value = serde_json::to_value(&config).unwrap();
    value["stage"] = stages.iter().map(|stage| serde_json::to_value(&stage.config).unwrap()).collect();
    value
}

/// `experiments.toml` lists every file, and every file has the settings that it lists.
#[test]
fn every_experiment_has_the_settings_of_the_report() {
    let report = root().join("configs/report");
    let table: Value = toml::from_str(&std::fs::read_to_string(report.join("experiments.toml")).unwrap()).unwrap();
    let rows = table["experiment"].as_array().unwrap();
    let mut wrong = Vec::new();
    for row in rows {
        let file = row["file"].as_str().unwrap();
        let held = settings(&report.join(file));
        for (key, expected) in row["settings"].as_object().unwrap() {
            let found = at(&held, key);
            if !agrees(found, expected) {
                let found = found.map_or_else(|| "absent".to_owned(), Value::to_string);
                wrong.push(format!("{file}: {key} is {found}, the table has {expected}"));
            }
        }
    }
    for (name, _) in experiments() {
        let listed = rows.iter().filter(|row| row["file"] == *name).count();
        if listed != 1 {
            wrong.push(format!("{name} is listed {listed} times"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The recipes of `configs/best` load.
#[test]
fn the_best_recipes_load() {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(root().join("configs/best")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    assert_eq!(files.len(), 3);
    for path in files {
        load(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}

/// What `make evidence` runs: the pairs differ in what they compare and in nothing else.
#[test]
fn the_evidence_loads_and_its_pairs_differ_in_one_thing() {
    let file = |name: &str| root().join("configs/evidence").join(name);
    for name in ["patients-60", "one-stage", "two-stage", "plain", "point-rend", "hands-2048", "hands-384"] {
        load(&file(&format!("{name}.toml"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let config = |name: &str| TrainConfig::load(&file(name), &[]).unwrap();
    let (one, two) = (config("one-stage.toml"), config("two-stage.toml"));
    let epochs: usize = two.stages(&file("two-stage.toml")).unwrap().iter().map(|s| s.config.epochs).sum();
    assert_eq!(epochs, one.epochs, "as many epochs in two stages");
    assert_eq!(TrainConfig { epochs: one.epochs, loss: one.loss.clone(), stages: Vec::new(), ..two }, one);
    let (plain, with) = (config("plain.toml"), config("point-rend.toml"));
    let mut model = with.model.clone();
    assert!(model.point_rend.take().is_some());
    assert_eq!(TrainConfig { model, point_weight: plain.point_weight, ..with }, plain);
    let (flip, moved) = (config("augment-baseline.toml"), config("augment-shift-scale-rotate.toml"));
    assert_eq!(moved.augment.0.len(), flip.augment.0.len() + 1);
    assert_eq!(TrainConfig { augment: flip.augment.clone(), ..moved }, flip);
}

/// Every training run that loads goes from drawn hands to weights: all of them with `CARPUS_CONFIGS=all`, one of each
/// section by default.
#[test]
fn experiments_run_on_drawn_hands() {
    let all = std::env::var("CARPUS_CONFIGS").is_ok_and(|v| v == "all");
    let home = tempfile::tempdir().unwrap();
    let mut sections: Vec<String> = Vec::new();
    let mut runs = 0;
    for (name, path) in experiments() {
        let section = name.split('/').next().unwrap().to_owned();
        if is_chain(&path) || load(&path).is_err() || (!all && sections.contains(&section)) {
            continue;
        }
        sections.push(section);
        let started = Instant::now();
        let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
            .args(["--json", "train", "--config"])
            .arg(&path)
            .args(["--set", "data=phantom", "--set", "size=128", "--set", "epochs=1", "--set", "data.limit=2"])
            .args(["--set", "evaluate=false", "--set", "pictures=0", "--set", "workers=1", "--set", "device=cpu"])
            .args(["--name", "tried", "--existing", "replace"])
            .current_dir(home.path())
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "{name}: {printed}");
        let summary: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON value");
        assert!(summary["best_dice_at_model_size"].is_number(), "{name}: {summary}");
        println!("{name}: {:.1} s", started.elapsed().as_secs_f64());
        runs += 1;
    }
    assert!(runs >= 4, "{runs} runs");
}
