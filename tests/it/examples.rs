//! The programs in `examples/` run, on a small phantom, and print what they should.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cargo builds the examples next to the tests' folder.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join(name);
    assert!(path.is_file(), "{} is missing: `cargo test` without `--test` builds it", path.display());
    path
}

fn run(program: &Path, arguments: &[&Path]) -> String {
    let out = Command::new(program).args(arguments).output().expect("the program starts");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let success = matches!(out.status.code(), Some(0 | 3));
    assert!(success, "{}\n{text}\n{}", program.display(), String::from_utf8_lossy(&out.stderr));
    text
}

#[test]
fn examples_scan_query_audit_and_compare() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let carpus = Path::new(env!("CARGO_BIN_EXE_carpus"));
    let [data, tables] = [at("data"), at("tables")];
    let phantom = [
        "phantom",
        "--out",
        data.to_str().unwrap(),
        "--patients",
        "6",
        "--test-patients",
        "1",
        "--size",
        "256",
        "--defects",
    ];
    run(carpus, &phantom.map(Path::new));

    let scan = run(&example("scan_to_tables"), &[&data, &tables]);
    assert!(scan.contains("14 images of"), "{scan}");
    let query = run(&example("query_tables"), &[&tables]);
    assert!(query.contains("14 usable images"), "{query}");
    let audit = run(&example("audit_tables"), &[&tables]);
    assert!(audit.contains("high"), "{audit}");

    let submission = |name: &str, width: u32| {
        let row = |class: &str| format!("a.png,{class},1 {width}\n");
        let rows: String = carpus::bones::Bone::all().map(|b| row(b.name())).collect();
        std::fs::write(at(name), format!("image_name,class,rle\n{rows}")).unwrap();
        at(name)
    };
    let dice = run(&example("dice_of_two"), &[&submission("a.csv", 30), &submission("b.csv", 10)]);
    assert!(dice.contains("mean Dice of 1 images: 0.5000"), "{dice}");
}

#[cfg(feature = "torch")]
#[test]
fn the_example_predicts_with_a_run_s_weights() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let config = crate::python::root().join("configs/train/demo.toml");
    let (runs, out) = (at("runs"), at("out.csv"));
    let train = [
        "train",
        "--config",
        config.to_str().unwrap(),
        "--set",
        "data=phantom",
        "--set",
        "size=32",
        "--set",
        "epochs=1",
    ];
    let train = train.iter().copied().chain(["--name", "a", "--runs", runs.to_str().unwrap()]);
    let train: Vec<&Path> = train.map(Path::new).collect();
    run(Path::new(env!("CARGO_BIN_EXE_carpus")), &train);
    let data = at("data");
    let phantom =
        ["phantom", "--out", data.to_str().unwrap(), "--patients", "2", "--test-patients", "0", "--size", "128"];
    run(Path::new(env!("CARGO_BIN_EXE_carpus")), &phantom.map(Path::new));
    let text = run(&example("predict"), &[&runs.join("a/best.safetensors"), &data, &out]);
    assert!(text.contains("fpn") && text.contains("4 images predicted"), "{text}");
    let predicted = carpus::mask::submission::read(&out, 128, 128).unwrap();
    assert_eq!(predicted.len(), 4);
}
