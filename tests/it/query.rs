//! `carpus query` compared with sums over the typed rows.

use std::collections::BTreeMap;
use std::process::Output;

use carpus::dataset::metadata::Sex;
use carpus::tables::{FoldRow, ImageRow, PatientRow, Tables, write_csv};
use serde_json::Value;

use crate::corrections::Bench;

const BY_SEX: &str = "select sex, rotated, count(*) as n, avg(mask_px) as m from images join patients using (patient_id) \
                      group by sex, rotated order by sex, rotated";

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn json(out: &Output) -> Value {
    assert!(out.status.success(), "{}", text(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("one JSON value and nothing else")
}

fn scanned() -> (Bench, Tables) {
    let bench = Bench::new();
    let out = bench.run(&["scan", "data", "--out", "tables"]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let tables = Tables::read(&bench.at("tables")).unwrap();
    (bench, tables)
}

#[test]
fn groups_and_joins_equal_sums_over_the_rows() {
    let (bench, tables) = scanned();
    let patient = |image: &ImageRow| -> &PatientRow { tables.patient(&image.patient_id).unwrap() };
    let mut expected = BTreeMap::<_, Vec<Option<u64>>>::new();
    for image in &tables.images {
        expected.entry((patient(image).sex.map(Sex::name), image.rotated)).or_default().push(image.mask_px);
    }
    let rows = json(&bench.run(&["--json", "query", "tables", BY_SEX]));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), expected.len());
    for row in rows {
        let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["sex", "rotated", "n", "m"]);
        let group = &expected[&(row["sex"].as_str(), row["rotated"].as_bool())];
        assert_eq!(row["n"], group.len());
        let known: Vec<u64> = group.iter().flatten().copied().collect();
        match row["m"].as_f64() {
            Some(mean) => {
                let expected = known.iter().sum::<u64>() as f64 / known.len() as f64;
                assert!((mean - expected).abs() <= 1e-9 * expected, "{mean} and {expected}");
            }
            None => assert!(known.is_empty() && row["m"].is_null()),
        }
    }

    // Columns are unsigned on disk, but differences can be below 0.
    let sql = "select min(n_bones - 100) as least, count(*) as n from images where union_px - mask_px < 0";
    let below = json(&bench.run(&["--json", "query", "tables", sql]));
    let fewer: Vec<&ImageRow> = tables.images.iter().filter(|i| i.union_px < i.mask_px).collect();
    assert!(!fewer.is_empty() && below[0]["n"] == fewer.len(), "{below}");
    let least = fewer.iter().map(|i| i64::from(i.n_bones) - 100).min();
    assert_eq!(below[0]["least"].as_i64(), least);

    let sql = "select count(*) - 1000 as n, sum(usable) - 1000 as s, sum(n_bones) as b from images";
    let small = json(&bench.run(&["--json", "query", "tables", sql]));
    let (n, usable) = (tables.images.len() as i64, tables.images.iter().filter(|i| i.usable).count() as i64);
    let bones: u32 = tables.images.iter().map(|i| i.n_bones).sum();
    assert_eq!(small, serde_json::json!([{"n": n - 1000, "s": usable - 1000, "b": bones}]));

    // The same result as aligned columns and as CSV.
    let shown = bench.run(&["query", "tables", BY_SEX]);
    let shown: Vec<Vec<&str>> = text(&shown.stdout).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((shown.len(), &shown[0][..]), (rows.len() + 1, &["sex", "rotated", "n", "m"][..]));
    let csv = bench.run(&["query", "tables", "--csv", BY_SEX]);
    let lines: Vec<&str> = text(&csv.stdout).lines().collect();
    assert_eq!((lines.len(), lines[0]), (rows.len() + 1, "sex,rotated,n,m"));
    for ((row, cells), line) in rows.iter().zip(&shown[1..]).zip(&lines[1..]) {
        let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let expected: Vec<String> = row.as_object().unwrap().values().map(cell).collect();
        let number = |text: &str| text.parse::<f64>();
        let same = |a: &str, b: &str| a == b || number(a).is_ok() && number(a) == number(b);
        assert!(expected.iter().zip(cells).all(|(a, b)| same(a, b)), "{expected:?} {cells:?}");
        assert!(expected.iter().zip(line.split(',')).all(|(a, b)| same(a, b) || a == "null" && b.is_empty()), "{line}");
    }
}

/// Ids of only digits stay text, and other tables can be joined by name.
#[test]
fn other_tables_join() {
    let (bench, tables) = scanned();
    let folds: Vec<FoldRow> = tables
        .images
        .iter()
        .enumerate()
        .map(|(i, image)| FoldRow {
            image_id: image.image_id.clone(),
            patient_id: image.patient_id.clone(),
            stratum: "001".into(),
            fold: i as u32 % 2,
        })
        .collect();
    write_csv(&bench.at("folds.csv"), &folds).unwrap();
    let sql = "select fold, stratum, patient_id, count(*) as n from images join f using (image_id, patient_id) \
               group by fold, stratum, patient_id order by n desc, patient_id";
    let rows = json(&bench.run(&["--json", "query", "tables", "--table", "f=folds.csv", sql]));
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["n"].as_u64().unwrap()).sum::<u64>(), tables.images.len() as u64);
    assert!(rows.iter().all(|row| row["stratum"] == "001" && row["patient_id"].as_str().unwrap().len() == 3));
    // A single file; a result without rows is an empty array, and its CSV has a header.
    let none = json(&bench.run(&["--json", "query", "folds.csv", "select fold from folds where fold > 5"]));
    assert_eq!(none, serde_json::json!([]));
    let csv = bench.run(&["query", "folds.csv", "--csv", "select fold from folds where fold > 5"]);
    assert_eq!(text(&csv.stdout), "fold\n");
}

#[test]
fn tables_are_listed_and_notes_are_printed() {
    let (bench, _) = scanned();
    let columns = json(&bench.run(&["--json", "query", "tables"]));
    let age = serde_json::json!({"table": "patients", "column": "age", "type": "number"});
    assert!(columns.as_array().unwrap().contains(&age), "{columns}");
    let out = bench.run(&["query", "tables", "select count(*) as n from patients where sex = 'female'"]);
    assert!(out.status.success() && text(&out.stderr).contains("note: no row has sex = 'female'; values: "));
    assert_eq!(text(&out.stdout), "n\n0\n");
}

#[test]
fn mistakes_are_named() {
    let (bench, _) = scanned();
    for (arguments, says) in [
        (&["query", "tables", "drop table images"][..], "only read"),
        (&["query", "tables", "show tables"], "only read"),
        (&["query", "tables", "--table", "x=missing.csv", "select 1"], "missing.csv"),
        (&["--json", "query", "tables", "--csv", "select 1"], "--csv and --json"),
        (&["query", "tables", "select nothing from images"], "nothing"),
        (&["query", "tables", "select * from pictures"], "bones, images, overlaps, patients, problems, shapes"),
        (&["query", "tables", "selec * from images"], "selec"),
        (&["query", "tables", ""], "0 statements; expected one query"),
        (&["query", "missing", "select 1"], "missing"),
        (&["query", "data", "select 1"], "no table in this folder"),
        (&["query", "tables", "select side, count(*) from images"], "`side` is neither in GROUP BY"),
        (&["query", "tables", "--table", "images=folds.csv", "select 1"], "two tables are called `images`"),
        (&["query", "tables", "--table", "folds", "select 1"], "NAME=FILE"),
    ] {
        let out = bench.run(arguments);
        let error = text(&out.stderr);
        assert!(matches!(out.status.code(), Some(1 | 2)) && error.contains(says), "{arguments:?}: {error}");
        assert!(
            (out.stdout.is_empty() || arguments[0] == "--json") && !error.contains("panicked"),
            "{arguments:?}: {error}"
        );
    }
}
