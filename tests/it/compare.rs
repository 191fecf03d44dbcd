//! `carpus compare`: two folders of tables.

use std::path::Path;
use std::process::{Command, Output};

use carpus::dataset::metadata::Sex;
use carpus::tables::{TableFormats, Tables, write_csv};
use serde_json::Value;

use super::synthetic;

fn compare(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
    command.args(["--json", "compare"]).args(arguments).current_dir(folder).output().unwrap()
}

fn written(folder: &Path, arguments: &[&str]) -> Value {
    let out = compare(folder, arguments);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    let numbers = folder.join(report["numbers"].as_str().unwrap());
    serde_json::from_str(&std::fs::read_to_string(numbers).unwrap()).unwrap()
}

fn write(tables: &Tables, folder: &Path) {
    tables.write(folder, TableFormats::Parquet).unwrap();
}

#[test]
fn corrections_are_changes_of_the_same_patients() {
    let home = tempfile::tempdir().unwrap();
    let before = synthetic::tables(31);
    let mut after = before.clone();
    after.patients[0].sex = Some(Sex::F);
    after.patients[1].height_cm = after.patients[1].height_cm.map(|h| h + 10.0);
    after.images[4].usable = false;
    after.images[4].unusable_reason = Some("excluded by corrections.jsonl line 3".into());
    write(&before, &home.path().join("before"));
    write(&after, &home.path().join("after"));
    write_csv(&home.path().join("a/findings.csv"), &synthetic::findings(&before, 30, 0)).unwrap();
    let mut findings = synthetic::findings(&after, 30, 0);
    findings.remove(2);
    findings[7].label = "Lunate".into();
    write_csv(&home.path().join("b/findings.csv"), &findings).unwrap();
    let numbers = written(home.path(), &["before", "after", "--findings", "a", "b", "--out", "out"]);
    assert_eq!(numbers["content"]["images_in_both"], 1088);
    assert_eq!(numbers["content"]["patients_in_both"], 544);
    // A classifier cannot be tested on the patients that it was trained on.
    let reason = numbers["shift"]["classifier"]["undefined"].as_str().unwrap();
    assert_eq!(reason, "544 of the patients are in both groups");
    // The sex, the height, and whether an image is usable.
    assert_eq!(numbers["changes"]["changed_values"], 3);
    assert_eq!(numbers["changes"]["paired"]["height_cm"]["changed"], 1);
    assert_eq!(numbers["changes"]["paired"]["age"]["changed"], 0);
    assert_eq!((&numbers["findings"]["gone"], &numbers["findings"]["new"]), (&Value::from(2), &Value::from(1)));
    let page = std::fs::read_to_string(home.path().join("out/index.html")).unwrap();
    assert!(page.contains("544 of 544 are in both sets") && page.contains("excluded by corrections.jsonl line 3"));
    let rows = std::fs::read_to_string(home.path().join("out/findings.csv")).unwrap();
    assert!(rows.lines().count() == 2 && rows.contains("Lunate"), "{rows}");
    // The same command again replaces its own folder, with the same bytes.
    let again = written(home.path(), &["before", "after", "--findings", "a", "b", "--out", "out"]);
    assert_eq!(numbers, again);
}

#[test]
fn another_data_set_is_a_shift() {
    let home = tempfile::tempdir().unwrap();
    let first = synthetic::tables(32);
    let mut second = synthetic::tables(33);
    for image in &mut second.images {
        image.image_id = format!("other{}", image.image_id);
        image.mask_px = image.mask_px.map(|px| px * 5 / 4);
    }
    second.bones.iter_mut().for_each(|bone| bone.image_id = format!("other{}", bone.image_id));
    write(&first, &home.path().join("one"));
    write(&second, &home.path().join("two"));
    let numbers = written(home.path(), &["one", "two", "--out", "out"]);
    assert_eq!(
        (&numbers["content"]["images_in_both"], &numbers["content"]["patients_in_both"]),
        (&0.into(), &0.into())
    );
    assert!(numbers["shift"]["columns"]["mask_px"]["welch"]["p"].as_f64().unwrap() < 1e-9);
    assert!(numbers["shift"]["classifier"]["p"].as_f64().unwrap() <= 0.001);
    assert_eq!(numbers["shift"]["classifier"]["columns"][0]["name"], "mask size");
    let page = std::fs::read_to_string(home.path().join("out/index.html")).unwrap();
    assert!(page.contains("The sets have no image in common") && page.contains("Findings of both sets were not given"));
}

#[test]
fn empty_and_missing_tables_have_named_messages() {
    let home = tempfile::tempdir().unwrap();
    write(&Tables::default(), &home.path().join("empty"));
    write(&synthetic::tables(34), &home.path().join("full"));
    written(home.path(), &["empty", "full", "--out", "out"]);
    written(home.path(), &["empty", "empty", "--out", "out"]);
    let error = |arguments: &[&str]| {
        let out = compare(home.path(), arguments);
        assert_ne!(out.status.code(), Some(0));
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(error(&["nowhere", "full", "--out", "out2"]).contains("carpus scan"));
    assert!(error(&["full", "full", "--findings", "nowhere", "nowhere", "--out", "out2"]).contains("carpus audit"));
    let inputs = error(&["full", "full", "--out", "full"]);
    assert!(inputs.contains("full"), "{inputs}");
    assert!(error(&["full", "full", "--findings", "one", "--out", "out2"]).contains("--findings"));
}
