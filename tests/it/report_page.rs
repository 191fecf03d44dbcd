//! What a report promises beyond its sections: the schema of its numbers, anonymity, Markdown, and agreement with the
//! reference libraries.

use std::path::{Path, PathBuf};
use std::process::Command;

use carpus::features::{Strips, exposure};
use carpus::report::{self, EvidencePictures, Study, cohen_kappa, gaussian_density, modes};
use carpus::tables::{TableFormats, Tables, write_csv};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

use super::report::{few_seeds, shared};
use super::{python, schema, synthetic};

fn numbers_of(tables: &Tables) -> Value {
    let (evidence, settings) = (EvidencePictures::default(), few_seeds());
    let folds = synthetic::folds(tables);
    let findings = if tables.images.is_empty() { Vec::new() } else { synthetic::findings(tables, 40, 0) };
    let study = Study::new(tables, Some(&folds), Some(&findings), &evidence, &settings).unwrap();
    let sections = report::sections::all(&study).unwrap();
    serde_json::from_str(&report::numbers(&sections, &settings, tables.rotated_deg).unwrap()).unwrap()
}

#[test]
fn numbers_follow_their_schema() {
    let path = python::root().join("assets/report/numbers.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(schema["properties"]["version"]["properties"]["format"]["enum"][0], report::NUMBERS_FORMAT);
    let full = synthetic::tables(21);
    let mut only_train = full.clone();
    only_train.images.retain(|image| image.subset == carpus::dataset::Subset::Train);
    for tables in [full, only_train, Tables::default()] {
        let found = schema::violations(&schema, &numbers_of(&tables));
        assert!(found.is_empty(), "{found:#?}");
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// Ids, file names and free texts all contain this mark; no output of an anonymised report may.
#[test]
fn an_anonymised_report_has_no_ids() {
    const MARK: &str = "SECRET";
    let home = tempfile::tempdir().unwrap();
    let mut tables = synthetic::tables(22);
    let marked = |text: &str| format!("{MARK}{text}");
    for patient in &mut tables.patients {
        patient.patient_id = marked(&patient.patient_id);
        patient.note = marked("note");
        patient.height_raw = marked("172");
    }
    tables.patients[0].height_cm = None;
    for image in &mut tables.images {
        image.image_id = marked(&image.image_id);
        image.patient_id = marked(&image.patient_id);
        image.path = marked(&image.path);
        image.annotation_path = Some(marked("a.json"));
        image.sha256 = Some(marked(&image.image_id));
    }
    tables.images[3].unusable_reason = Some(marked("reason"));
    tables.images[3].usable = false;
    tables.bones.iter_mut().for_each(|bone| bone.image_id = marked(&bone.image_id));
    for problem in &mut tables.problems {
        problem.file = marked(&problem.file);
        problem.place = marked(&problem.place);
        problem.raw = marked("raw");
        problem.reason = format!("{} in \"{MARK}\" or {MARK}/file", problem.reason);
        problem.patient_id = problem.patient_id.as_deref().map(marked);
    }
    let mut folds: Vec<_> = Vec::new();
    for image in tables.images.iter().filter(|image| image.subset == carpus::dataset::Subset::Train) {
        folds.push(carpus::tables::FoldRow {
            image_id: image.image_id.clone(),
            patient_id: image.patient_id.clone(),
            stratum: "F|true".into(),
            fold: folds.len() as u32 / 2 % 5,
        });
    }
    folds[0].fold = 4;
    folds.last_mut().unwrap().image_id = marked("unknown");
    let mut findings = synthetic::findings(&tables, 30, 5);
    for finding in &mut findings {
        finding.message = marked("message");
        finding.suggestion = marked("suggestion");
        finding.label = marked("label");
        finding.evidence = format!("evidence/{MARK}.png");
    }
    tables.write(&home.path().join("SECRET-tables"), TableFormats::Parquet).unwrap();
    write_csv(&home.path().join("SECRET-folds.csv"), &folds).unwrap();
    write_csv(&home.path().join("SECRET-audit/findings.csv"), &findings).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["eda", "SECRET-tables", "--folds", "SECRET-folds.csv", "--findings", "SECRET-audit"])
        .args(["--out", "anonymous", "--seeds", "20", "--anonymise"])
        .current_dir(home.path())
        .output()
        .unwrap();
    assert!(matches!(out.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&out.stderr));
    let mut written = Vec::new();
    files(&home.path().join("anonymous"), &mut written);
    assert!(written.len() > 30, "{written:?}");
    for path in written {
        let bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(MARK.len()).position(|window| window == MARK.as_bytes());
        let around = at
            .map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(120)..(at + 80).min(bytes.len())]).into_owned());
        assert!(around.is_none(), "{}: {}", path.display(), around.unwrap());
        assert!(!path.display().to_string().contains("pictures"), "{}", path.display());
        assert!(!bytes.windows(16).any(|window| window == b"data:image/jpeg;"), "{}", path.display());
    }
    let page = std::fs::read_to_string(home.path().join("anonymous/index.html")).unwrap();
    assert!(page.contains("1 patient is in more than one fold (patient ") && page.contains("numbers instead of ids"));
}

#[test]
fn an_anonymised_report_takes_no_data_folder() {
    let out = Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args(["eda", "tables", "--out", "report", "--anonymise", "--data", "data"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(2) && error.contains("--anonymise") && error.contains("--data"), "{error}");
}

#[test]
fn markdown_and_table_1_are_written() {
    let report = shared().join("report");
    let read = |name: &str| std::fs::read_to_string(report.join(name)).unwrap();
    let text = read("report.md");
    // Every figure that the Markdown names is there.
    let figures: Vec<&str> = text.split("](figures/").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(figures.len() >= 12, "{figures:?}");
    for figure in figures {
        assert!(report.join("figures").join(figure).is_file(), "{figure}");
    }
    assert!(text.contains("This report names patients, files and values as typed"), "{text}");
    assert!(text.contains("\n## What needs action\n") && text.contains("```text\ncarpus "), "{text}");
    assert!(read("table1.csv").starts_with("characteristic,train,test,SMD,missing in train,missing in test\n"));
    assert!(read("table1.tex").contains("\\toprule") && read("table1.md").contains("| Women |"));
    assert!(read("metadata_forms.csv").contains("sex,"));
}

/// Densities and kappa agree to 1e-9, percentiles and the variance of the Laplacian to 1e-9; standardised mean differences too.
#[test]
fn measures_of_the_report_agree_with_the_reference_libraries() {
    let seed = python::seed();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut cases, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let n = rng.random_range(40..300);
        let share = rng.random_range(0.3..0.7);
        let mut normal = |mean: f64, sd: f64| {
            let z: f64 = StandardNormal.sample(&mut rng);
            mean + sd * z
        };
        let values: Vec<f64> =
            (0..n).map(|i| if (i as f64) < share * n as f64 { normal(15.0, 2.5) } else { normal(46.0, 4.4) }).collect();
        let Ok(found) = modes(&values) else { panic!("two clear groups have two modes: {values:?}") };
        let at: Vec<f64> = [found.modes[0], found.valley, found.modes[1]].into();
        let density: Vec<f64> = at.iter().map(|x| gaussian_density(&values, found.bandwidth, *x)).collect();
        cases.push(json!({"kind": "modes", "values": values, "at": at}));
        ours.push(json!({
            "bandwidth": found.bandwidth, "density": density, "depth": found.depth, "is_valley": 1.0, "are_peaks": 1.0,
            "ashman_d": found.ashman_d,
        }));
    }
    for _ in 0..10 {
        let counts: [usize; 4] = std::array::from_fn(|_| rng.random_range(0..30));
        let [both, first, second, neither] = counts;
        if let Some(kappa) = cohen_kappa(both, first, second, neither) {
            cases.push(json!({"kind": "kappa", "counts": counts}));
            ours.push(json!({"kappa": kappa}));
        }
    }
    for _ in 0..6 {
        let (width, height) = (rng.random_range(3..40usize), rng.random_range(3..40usize));
        let levels = rng.random_range(1..256);
        let pixels: Vec<u8> = (0..width * height).map(|_| rng.random_range(0..levels) as u8).collect();
        let found = exposure(&pixels, width, height, Strips::default()).unwrap();
        cases.push(json!({"kind": "exposure", "pixels": pixels, "width": width}));
        ours.push(json!({"percentiles": found.percentiles, "sd": found.sd, "sharpness": found.sharpness}));
    }
    let tables = synthetic::tables(seed % 1000);
    let found = numbers_of(&tables);
    let subset = |subset| tables.patients.iter().filter(move |p| p.subset == Some(subset) && p.n_images > 0);
    let ages = |s| subset(s).filter_map(|p| p.age).collect::<Vec<f64>>();
    let women = |s| {
        subset(s).map(|p| f64::from(u8::from(p.sex == Some(carpus::dataset::metadata::Sex::F)))).collect::<Vec<_>>()
    };
    let (train, test) = (carpus::dataset::Subset::Train, carpus::dataset::Subset::Test);
    let smd = |key: &str| {
        let rows = found["table1"]["characteristics"].as_array().unwrap();
        rows.iter().find(|row| row["key"] == key).unwrap()["smd"].clone()
    };
    cases.push(json!({"kind": "smd", "train": ages(train), "test": ages(test), "binary": false}));
    ours.push(json!({"smd": smd("age")}));
    cases.push(json!({"kind": "smd", "train": women(train), "test": women(test), "binary": true}));
    ours.push(json!({"smd": smd("women")}));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_vec(&cases).unwrap()).unwrap();
    let printed = python::run("report.py", &[file.to_str().unwrap()]);
    let reference: Vec<Value> = serde_json::from_str(&printed).unwrap();
    assert_eq!(reference.len(), ours.len());
    for ((case, ours), reference) in cases.iter().zip(&ours).zip(&reference) {
        for (key, value) in reference.as_object().unwrap() {
            let numbers = |value: &Value| match value {
                Value::Array(items) => items.iter().map(|item| item.as_f64().unwrap()).collect(),
                one => vec![one.as_f64().unwrap_or_else(|| panic!("{key}: {one}"))],
            };
            for (a, b) in numbers(&ours[key]).into_iter().zip(numbers(value)) {
                assert!((a - b).abs() <= 1e-9 * b.abs() + 1e-9, "{} {key}: ours {a}, reference {b}", case["kind"]);
            }
        }
    }
}
