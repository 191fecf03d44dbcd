//! `carpus start`: from a data folder to the report in one command.

use std::path::Path;
use std::process::{Command, Output};

use carpus::tables::Tables;
use serde_json::Value;

fn carpus(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_carpus")).args(arguments).current_dir(folder).output().unwrap()
}

fn draw(folder: &Path, patients: &str, test_patients: &str) {
    let out = carpus(
        folder,
        &[
            "phantom",
            "--out",
            "data",
            "--patients",
            patients,
            "--test-patients",
            test_patients,
            "--size",
            "192",
            "--seed",
            "3",
        ],
    );
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn the_first_day_is_one_command() {
    let home = tempfile::tempdir().unwrap();
    draw(home.path(), "9", "3");
    let out = carpus(home.path(), &["start", "data"]);
    let (text, errors) =
        (String::from_utf8_lossy(&out.stdout).into_owned(), String::from_utf8_lossy(&out.stderr).into_owned());
    assert!(matches!(out.status.code(), Some(0 | 3)), "{errors}");
    for stage in [
        "[scan] carpus scan data --out work/tables",
        "[audit] ",
        "[split] ",
        "[eda] ",
        "open the report in a browser: ",
    ] {
        assert!(text.contains(stage), "{stage}: {text}");
    }
    let page = std::fs::read_to_string(home.path().join("work/report/index.html")).unwrap();
    assert!(page.contains("<title>data</title>") && page.contains("What needs action"));
    // The report names the folders that were used, and has pictures of the data.
    let text = std::fs::read_to_string(home.path().join("work/report/report.md")).unwrap();
    assert!(text.contains("carpus split work/tables --method stratified-group --by sex,rotated"), "{text}");
    assert!(page.contains("data:image/jpeg;base64,") && home.path().join("work/folds.csv").is_file());
    let numbers: Value =
        serde_json::from_slice(&std::fs::read(home.path().join("work/report/numbers.json")).unwrap()).unwrap();
    assert!(
        numbers["rotation_threshold"]["estimate_from_images"]["n"].as_u64() >= Some(10),
        "{}",
        numbers["rotation_threshold"]
    );
    assert!(numbers["image_noise"]["exposure"]["sharpness"]["train"]["n"].as_u64() == Some(18));
    assert!(numbers["left_right"]["patients"].as_u64() == Some(9));
    assert!(numbers["bone_positions"]["hands"].as_u64() == Some(18));
    assert!(numbers["class_overlap"]["pairs"].as_array().is_some_and(|pairs| !pairs.is_empty()));

    let tables = Tables::read(&home.path().join("work/tables")).unwrap();
    let masked = tables.bones.iter().filter(|bone| bone.area_px > 0).count();
    assert!(tables.shapes.len() == masked && masked == 18 * 29, "{} shapes, {masked} bones", tables.shapes.len());
    for pair in &tables.overlaps {
        let area = |class| {
            let bone = tables.bones.iter().find(|bone| bone.image_id == pair.image_id && bone.class == class).unwrap();
            (bone.area_px, bone.shared_px)
        };
        let ((a, shared_a), (b, shared_b)) = (area(pair.class_a), area(pair.class_b));
        assert!(
            pair.shared_px > 0 && pair.shared_px <= shared_a.min(shared_b) && pair.class_a < pair.class_b,
            "{pair:?}"
        );
        assert_eq!(pair.union_px, a + b - pair.shared_px, "{pair:?}");
    }

    // Nothing changed: nothing runs again.
    let again = carpus(home.path(), &["--json", "start", "data"]);
    let result: Value = serde_json::from_slice(&again.stdout).unwrap();
    let stages = result["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 4);
    assert!(stages.iter().all(|stage| stage["ran"] == false), "{result}");
    assert_eq!((&result["folds"], again.status.code()), (&Value::Bool(true), out.status.code()));
}

#[test]
fn too_few_patients_for_folds_still_give_a_report() {
    let home = tempfile::tempdir().unwrap();
    draw(home.path(), "2", "1");
    let out = carpus(home.path(), &["start", "data", "--out", "new/work"]);
    let errors = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(3), "{errors}");
    assert!(errors.contains("5 folds need at least 5 patients") && errors.contains("without folds"), "{errors}");
    assert!(home.path().join("new/work/report/index.html").is_file());
    assert!(!home.path().join("new/work/folds.csv").exists());
}

#[test]
fn a_missing_data_folder_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let out = carpus(home.path(), &["start", "nowhere"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("nowhere"));
}
