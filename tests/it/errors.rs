//! The errors that people meet most: each names the file, the place, what was expected and how to fix it. Snapshots hold
//! their words.

use std::path::Path;
use std::process::Command;

/// Files with a fault each, made in the folder that the commands run in.
const FILES: [(&str, &str); 6] = [
    ("header.csv", "name,class,rle\n"),
    ("class.csv", "image_name,class,rle\na.png,Ulnar,1 3\n"),
    ("rle.csv", "image_name,class,rle\na.png,Ulna,7 3 2 1\n"),
    ("key.toml", "sise = 256\n"),
    ("value.toml", "epochs = \"many\"\nbatch = 4\n"),
    ("model.pt", "PK\u{3}\u{4} archive/data.pkl"),
];

/// Command lines with the name of their snapshot and their exit code.
const ERRORS: &[(&str, i32, &[&str])] = &[
    ("no_data_folder", 1, &["scan", "no/such/folder", "--out", "tables"]),
    ("no_images", 1, &["scan", "empty", "--out", "tables2"]),
    ("unknown_option", 2, &["scan", "data", "--outt", "tables"]),
    ("missing_option", 2, &["scan", "data"]),
    ("no_tables", 1, &["eda", "empty", "--out", "report"]),
    ("tables_over_data", 1, &["scan", "data", "--out", "data"]),
    ("overwrite_of_another_kind", 1, &["split", "tables", "--folds", "2", "--out", "key.toml"]),
    ("more_folds_than_patients", 1, &["split", "tables", "--folds", "40", "--out", "folds.csv"]),
    ("unknown_strata", 1, &["split", "tables", "--by", "sexx", "--folds", "2", "--out", "folds.csv"]),
    ("query_unknown_column", 1, &["query", "tables", "select sexx from patients"]),
    ("query_unknown_table", 1, &["query", "tables", "select sex from patient"]),
    ("query_syntax", 1, &["query", "tables", "select sex form patients"]),
    ("draw_unknown_image", 1, &["draw", "data", "image1", "--out", "hand.png"]),
    (
        "correct_unknown_image",
        1,
        &["corrections", "add", "--data", "data", "--image", "image1", "--action", "exclude", "--author", "me"],
    ),
    ("correct_without_value", 2, &["corrections", "add", "--data", "data", "--image", "image1", "--author", "me"]),
    ("submission_header", 1, &["evaluate", "--predictions", "header.csv", "--data", "data", "--out", "scores.csv"]),
    ("submission_class", 1, &["evaluate", "--predictions", "class.csv", "--data", "data", "--out", "scores.csv"]),
    ("submission_rle", 1, &["evaluate", "--predictions", "rle.csv", "--data", "data", "--out", "scores.csv"]),
    ("submissions_of_other_images", 1, &["vote", "one.csv", "other.csv", "--out", "voted.csv"]),
    ("no_chain", 1, &["run", "--config", "no/such.toml"]),
    ("no_runs", 1, &["runs", "compare", "empty"]),
    ("no_transforms", 1, &["restore", "data", "other.csv", "--out", "restored.csv"]),
];

/// Those of commands that need libtorch.
#[cfg(feature = "torch")]
const TORCH_ERRORS: &[(&str, i32, &[&str])] = &[
    ("unknown_key", 1, &["train", "--config", "key.toml", "--print-config"]),
    ("value_of_another_type", 1, &["train", "--config", "value.toml", "--print-config"]),
    (
        "several_invalid_values",
        1,
        &[
            "train",
            "--config",
            "empty.toml",
            "--print-config",
            "--set",
            "epochs=0",
            "--set",
            "optimiser.lr=-1",
            "--set",
            "batch=0",
        ],
    ),
    (
        "unknown_architecture",
        1,
        &["train", "--config", "empty.toml", "--print-config", "--set", "model.architecture=fpm"],
    ),
    (
        "no_folds",
        1,
        &["train", "--config", "empty.toml", "--set", "data.root=data", "--set", "data.folds=none.csv", "--fold", "0"],
    ),
    ("weights_are_a_pickle", 1, &["predict", "--checkpoint", "model.pt", "--data", "data", "--out", "p.csv"]),
    ("no_weights", 1, &["predict", "--checkpoint", "no.safetensors", "--data", "data", "--out", "p.csv"]),
    ("unknown_encoder", 1, &["train", "--config", "empty.toml", "--print-config", "--set", "model.encoder=resnet-18"]),
];
#[cfg(not(feature = "torch"))]
const TORCH_ERRORS: &[(&str, i32, &[&str])] = &[];

fn carpus(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(arguments)
        .env("COLUMNS", "100")
        .current_dir(folder)
        .output()
        .expect("the binary starts");
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn errors_name_the_place_and_how_to_fix_it() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (name, text) in FILES {
        std::fs::write(here.join(name), text).unwrap();
    }
    for (name, image) in [("one.csv", "a.png"), ("other.csv", "b.png")] {
        let rows: String = carpus::bones::NAMES.iter().map(|bone| format!("{image},{bone},1 3\n")).collect();
        std::fs::write(here.join(name), format!("image_name,class,rle\n{rows}")).unwrap();
    }
    std::fs::write(here.join("empty.toml"), "").unwrap();
    std::fs::create_dir(here.join("empty")).unwrap();
    let phantom =
        ["phantom", "--out", "data", "--patients", "3", "--test-patients", "0", "--size", "128", "--seed", "1"];
    assert_eq!(carpus(here, &phantom).0, Some(0));
    assert_eq!(carpus(here, &["scan", "data", "--out", "tables"]).0, Some(0));
    for (name, code, arguments) in ERRORS.iter().chain(TORCH_ERRORS) {
        let (found, text) = carpus(here, arguments);
        assert_eq!(found, Some(*code), "carpus {}\n{text}", arguments.join(" "));
        insta::assert_snapshot!(*name, text);
    }
}
