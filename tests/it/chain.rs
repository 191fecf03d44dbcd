//! `carpus run`: the chain from one file, stages skipped when nothing changed.

use std::fs;
use std::path::Path;
use std::process::Command;

const CONFIG: &str = r#"
data = "data"
work = "work"

[phantom]
patients = 6
test-patients = 2
size = 256
seed = 5

[scan]

[split]
by = "sex"
folds = 2

[clean]
strips = "none"

[audit]

[eda]
"#;

/// Runs the chain in `folder`; the stages with whether each ran.
fn run(folder: &Path, more: &[&str]) -> Vec<(String, bool)> {
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["--json", "run", "--config", "chain.toml"])
        .args(more)
        .current_dir(folder)
        .output()
        .expect("the binary starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let reports: serde_json::Value = serde_json::from_slice(&out.stdout).expect("one JSON value");
    let reports = reports.as_array().unwrap().iter();
    reports.map(|r| (r["stage"].as_str().unwrap().to_owned(), r["ran"].as_bool().unwrap())).collect()
}

fn ran(stages: &[(String, bool)]) -> Vec<&str> {
    stages.iter().filter(|(_, ran)| *ran).map(|(name, _)| name.as_str()).collect()
}

#[test]
fn unchanged_stages_are_passed_over_and_changed_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("chain.toml"), CONFIG).unwrap();
    let all = ["phantom", "scan", "split", "clean", "audit", "eda"];
    assert_eq!(ran(&run(folder.path(), &[])), all);
    for artefact in
        ["tables/images.parquet", "folds.csv", "crops/transforms.jsonl", "audit/findings.csv", "report/index.html"]
    {
        assert!(at("work").join(artefact).exists(), "{artefact} is missing");
    }
    let report = fs::read(at("work/report/index.html")).unwrap();
    assert_eq!(ran(&run(folder.path(), &[])), [""; 0]);

    // Another number of folds: the folds and what reads them.
    fs::write(at("chain.toml"), CONFIG.replace("folds = 2", "folds = 3")).unwrap();
    assert_eq!(ran(&run(folder.path(), &[])), ["split", "clean", "eda"]);
    assert_ne!(fs::read(at("work/report/index.html")).unwrap(), report);

    // A lost artefact is made again; nothing else is, since it comes out the same.
    fs::remove_dir_all(at("work/audit")).unwrap();
    assert_eq!(ran(&run(folder.path(), &[])), ["audit"]);
    assert_eq!(ran(&run(folder.path(), &["--from", "audit"])), ["audit", "eda"]);
    assert_eq!(run(folder.path(), &["--until", "split"]).len(), 3);
}

#[test]
fn a_mistake_in_a_late_stage_is_found_before_the_first_runs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("chain.toml"), CONFIG.replace("[eda]", "[eda]\ntilte = 'x'")).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["run", "--config", "chain.toml"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(text.contains("chain.toml") && text.contains("[eda]") && text.contains("--tilte"), "{text}");
    assert!(!folder.path().join("data").exists());
}

/// What would be run, without running it.
#[cfg(feature = "torch")]
fn planned(folder: &Path, config: &str) -> Result<Vec<(String, String)>, String> {
    fs::write(folder.join("chain.toml"), config).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["--json", "run", "--config", "chain.toml", "--dry-run"])
        .current_dir(folder)
        .output()
        .unwrap();
    if !out.status.success() {
        return Err(String::from_utf8_lossy(&out.stderr).into_owned());
    }
    let reports: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    Ok(reports.as_array().unwrap().iter().map(|r| (text(&r["stage"]), text(&r["command"]))).collect())
}

#[test]
#[cfg(feature = "torch")]
fn an_ensemble_trains_its_members_and_lets_them_vote() {
    let folder = tempfile::tempdir().unwrap();
    let members = "\n[[train]]\nconfig = 'a.toml'\nfold = 0\n[[train]]\nconfig = 'b.toml'\nfold = 1\n";
    let config = |tail: &str| CONFIG.replace("[audit]", &format!("{members}[predict]\n[evaluate]\n{tail}\n[audit]"));
    let stages = planned(folder.path(), &config("[vote]\nat-least = 2")).unwrap();
    let names: Vec<&str> = stages.iter().map(|s| s.0.as_str()).skip(4).collect();
    let of_member = |n: &str| ["train", "predict", "evaluate", "predict-test"].map(|s| format!("{s}-{n}")).to_vec();
    let rest = ["vote", "audit", "scan-predictions", "eda"].map(str::to_owned).to_vec();
    assert_eq!(names, [of_member("1"), of_member("2"), rest].concat());
    let command = |name: &str| stages.iter().find(|s| s.0 == name).unwrap().1.as_str();
    assert!(command("train-2").contains("--name member-2") && command("train-2").contains("--config b.toml"));
    assert!(
        command("predict-2").contains("runs/member-2/best.safetensors") && command("predict-2").contains("--fold 1")
    );
    let files = "vote work/predictions/test-1.csv work/predictions/test-2.csv --out work/predictions/test.csv";
    assert!(command("vote").contains(files) && command("vote").contains("--at-least 2"), "{}", command("vote"));
    assert!(!command("audit").contains("--scores"));

    assert!(planned(folder.path(), &config("")).unwrap_err().contains("add [vote]"));
    let single = CONFIG.replace("[audit]", "[train]\nconfig = 'a.toml'\n[predict]\n[evaluate]\n[audit]");
    let stages = planned(folder.path(), &single).unwrap();
    let names: Vec<&str> = stages.iter().map(|s| s.0.as_str()).skip(4).collect();
    assert_eq!(names, ["train", "predict", "evaluate", "predict-test", "audit", "scan-predictions", "eda"]);
    assert!(stages[4].1.contains("--name chain") && stages[8].1.contains("--scores work/scores/per_image_dice.csv"));
}

#[test]
#[cfg(feature = "torch")]
fn ensembles_of_a_chain_combine_probabilities_of_named_models() {
    let folder = tempfile::tempdir().unwrap();
    let members = "\n[[train]]\nname = 'fpn'\nconfig = 'a.toml'\nfold = 0\npredict = { window = 64, tta = 'flip' }\n\
                   [[train]]\nconfig = 'b.toml'\nfold = 1\n";
    let config = |tail: &str| CONFIG.replace("[audit]", &format!("{members}[predict]\nbatch = 2\n{tail}\n[audit]"));
    let stages = planned(
        folder.path(),
        &config(
            "[[ensemble]]\nname = 'both'\nmethod = 'soft'\n[[ensemble]]\nname = 'final'\nmethod = 'hard'\n\
             members = ['both', 'fpn', 'train-2']\n[ensemble-options]\ndecision = 'd.toml'",
        ),
    )
    .unwrap();
    let names: Vec<&str> = stages.iter().map(|s| s.0.as_str()).skip(4).collect();
    let of_member = |n: &str| ["train", "predict", "predict-test"].map(|s| format!("{s}-{n}")).to_vec();
    let rest = ["ensemble", "audit", "scan-predictions", "eda"].map(str::to_owned).to_vec();
    assert_eq!(names, [of_member("fpn"), of_member("2"), rest].concat());
    let command = |name: &str| stages.iter().find(|s| s.0 == name).unwrap().1.as_str();
    assert!(command("train-fpn").contains("--name fpn") && !command("train-fpn").contains("predict"));
    let predict = command("predict-test-fpn");
    assert!(
        predict.contains("--probabilities work/probabilities/test-fpn") && predict.contains("--tta flip --window 64")
    );
    assert!(!command("predict-test-2").contains("--tta") && command("predict-test-2").contains("--batch 2"));
    let ensemble = command("ensemble");
    assert!(
        ensemble.contains("--config work/ensembles.toml --data data --out work/ensembles --decision d.toml"),
        "{ensemble}"
    );
    assert!(command("scan-predictions").contains("--predictions work/ensembles/final.csv"));

    for (tail, expected) in [
        ("[ensemble]\nmethod = 'soft'\n[vote]", "keep one of them"),
        ("[ensemble]\nmethod = 'mean'", "unknown method"),
        ("[ensemble]\nmethod = 'soft'\nweights = [1.0]", "ensemble 1.weights is 1 number; expected 2"),
        ("[ensemble]\nname = 'a'\nmethod = 'soft'\nmembers = ['a']", "an ensemble that comes before this one"),
        ("[ensemble]\nmethod = 'soft'\nmember = ['fpn']", "unknown field `member`"),
        ("[ensemble-options]\n[vote]", "[ensemble-options] needs an [ensemble] table"),
        ("[ensemble]\nmethod = 'soft'\n[ensemble-options]\ndecisions = 'd.toml'", "--decisions"),
    ] {
        let error = planned(folder.path(), &config(tail)).unwrap_err();
        assert!(error.contains(expected), "{tail}: {error}");
    }
    let twice = config("[ensemble]\nmethod = 'soft'").replace("config = 'b.toml'", "name = 'fpn'\nconfig = 'b.toml'");
    assert!(planned(folder.path(), &twice).unwrap_err().contains("two models have the name fpn"));
}
