//! The report, from synthetic tables to files on disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use carpus::audit::FindingRow;
use carpus::dataset::Dataset;
use carpus::dataset::metadata::Sex;
use carpus::dataset::{MaskSource, ProblemSeverity, Subset};
use carpus::report::{self, Content, EvidencePictures, ReportOptions, Section, Study};
use carpus::scores::DiceTable;
use carpus::tables::{FoldRow, ImageRow, PatientRow, ProblemRow, TableFormats, Tables, write_csv};
use serde_json::Value;

use super::synthetic;

const IDS: [&str; 15] = [
    "overview",
    "problems",
    "metadata",
    "rotation",
    "sex",
    "train_test",
    "mask_size",
    "mask_size_by_sex",
    "regression",
    "class_areas",
    "folds",
    "scores",
    "findings",
    "tests",
    "reading",
];

/// Fewer permutations than by default, because the tests are compiled without optimisation.
fn options() -> ReportOptions {
    ReportOptions { permutations: 99, ..ReportOptions::default() }
}

fn sections(tables: &Tables, folds: Option<&[FoldRow]>, findings: Option<&[FindingRow]>) -> Vec<Section> {
    let (evidence, settings) = (EvidencePictures::default(), options());
    report::sections::all(&Study::new(tables, folds, findings, &evidence, &settings).unwrap()).unwrap()
}

fn numbers(sections: &[Section]) -> BTreeMap<&str, &Value> {
    sections.iter().map(|s| (s.id, &s.numbers)).collect()
}

fn at(value: &Value, path: &str) -> f64 {
    let found = path.split('.').fold(value, |v, key| key.parse().map_or_else(|_| &v[key], |i: usize| &v[i]));
    found.as_f64().unwrap_or_else(|| panic!("{path} is {found}"))
}

fn near(value: &Value, path: &str, expected: f64, tolerance: f64) {
    let found = at(value, path);
    assert!((found - expected).abs() <= tolerance, "{path}: {found}, expected {expected} ± {tolerance}");
}

/// All text of a section's blocks.
fn words(section: &Section) -> String {
    let words = section.blocks.iter().map(|b| match b {
        Content::Text(t) | Content::Meaning(t) | Content::Absent(t) => t.clone(),
        other => format!("{other:?}"),
    });
    words.collect::<Vec<_>>().join("\n")
}

/// All text of the section with this id.
fn of(sections: &[Section], id: &str) -> String {
    words(sections.iter().find(|s| s.id == id).unwrap_or_else(|| panic!("no section {id}")))
}

fn absent(sections: &[Section], id: &str) -> String {
    let section = sections.iter().find(|s| s.id == id).unwrap();
    let texts = section.blocks.iter().filter_map(|b| if let Content::Absent(t) = b { Some(t.as_str()) } else { None });
    texts.collect::<Vec<_>>().join("\n")
}

fn check_pictures(sections: &[Section]) {
    for block in sections.iter().flat_map(|s| &s.blocks) {
        if let Content::Figure(figure) = block {
            let collisions = figure.picture().collisions();
            assert!(collisions.is_empty(), "{}: {collisions:?}", figure.name);
        }
    }
}

#[test]
fn the_published_numbers_are_reproduced() {
    let tables = synthetic::tables(7);
    let all = sections(&tables, None, None);
    let n = numbers(&all);
    // The counts are exactly the published ones; the tolerances are those of the printed digits.
    near(n["rotation"], "train.rotated.count", 94.0, 0.0);
    near(n["rotation"], "test.rotated.count", 166.0, 0.0);
    near(n["rotation"], "test_against_train.odds_ratio.value", 10.2, 0.05);
    near(n["rotation"], "test_against_train.share_ratio.value", 4.9, 0.05);
    near(n["sex"], "test_against_train.odds_ratio.value", 1.34, 0.005);
    near(n["sex"], "test_against_train.share_ratio.value", 1.16, 0.005);
    // The synthetic patients only approximate the published means and correlations.
    near(n["rotation"], "test.absolute_angle_deg.straight.mean", 15.7, 0.7);
    near(n["rotation"], "test.absolute_angle_deg.rotated.mean", 46.2, 0.8);
    near(n["mask_size"], "train.height_cm.pearson.r", 0.794, 0.06);
    near(n["mask_size"], "train.weight_kg.pearson.r", 0.649, 0.08);
    near(n["mask_size"], "train.age.pearson.r", 0.127, 0.12);
    assert!(at(n["mask_size_by_sex"], "train.welch_by_patient.p") < 1e-6);
    assert_eq!(at(n["regression"], "train.ols.n"), 800.0);
    assert_eq!(at(n["regression"], "train.ols_by_patient.n"), 400.0);
    assert!(at(n["regression"], "train.ols_by_patient.r2") > 0.5);
    // The two hands of a patient are rotated alike, so the cluster-robust interval must be wider.
    let width = |path: &str| at(n["rotation"], &format!("{path}.high")) / at(n["rotation"], &format!("{path}.low"));
    let plain = width("test_against_train.odds_ratio.ci");
    assert!(width("test_against_train.allowing_for_patients.odds_ratio.ci") > 1.3 * plain);
    assert!(of(&all, "rotation").contains("above 1"), "{}", of(&all, "rotation"));
    assert!(
        of(&all, "sex").contains("contains 1: these data cannot show whether test differs from train"),
        "{}",
        of(&all, "sex")
    );
}

#[test]
fn every_section_is_made_and_no_text_overlaps() {
    let tables = synthetic::tables(8);
    let (folds, findings) = (synthetic::folds(&tables), synthetic::findings(&tables, 90, 0));
    let all = sections(&tables, Some(&folds), Some(&findings));
    assert_eq!(all.iter().map(|s| s.id).collect::<Vec<_>>(), IDS);
    let figures = all.iter().flat_map(|s| &s.blocks).filter(|b| matches!(b, Content::Figure(_))).count();
    assert_eq!(figures, 26);
    check_pictures(&all);
}

/// Tables with little or no data: each section reports the missing data, none panics.
#[test]
fn missing_data_are_reported() {
    let full = synthetic::tables(9);
    let run = |change: &dyn Fn(&mut Tables)| {
        let mut tables = full.clone();
        change(&mut tables);
        let all = sections(&tables, None, None);
        assert_eq!(all.len(), IDS.len());
        check_pictures(&all);
        report::page(&all, &ReportOptions::default()).unwrap();
        all
    };

    let nothing = run(&|t| *t = Tables::default());
    for id in [
        "overview",
        "metadata",
        "sex",
        "train_test",
        "mask_size",
        "mask_size_by_sex",
        "regression",
        "class_areas",
        "folds",
        "scores",
        "findings",
        "tests",
    ] {
        assert!(!absent(&nothing, id).is_empty(), "{id}");
    }

    let only_train = run(&|t| {
        t.images.retain(|i| i.subset == Subset::Train);
        t.patients.retain(|p| p.subset == Some(Subset::Train));
    });
    assert!(absent(&only_train, "overview").contains("no test images"));
    assert!(absent(&only_train, "sex").contains("nothing to compare"));
    assert_eq!(numbers(&only_train)["rotation"]["test_against_train"], Value::Null);

    let no_masks = run(&|t| {
        t.bones.clear();
        t.images.iter_mut().for_each(|i| {
            (i.angle_deg, i.rotated, i.mask_px, i.n_bones) = (None, None, None, 0);
            i.mask_source = MaskSource::None;
        });
    });
    assert!(absent(&no_masks, "rotation").contains("800 train images are without an angle"));
    assert!(absent(&no_masks, "mask_size").contains("no masks to measure"));
    assert!(absent(&no_masks, "class_areas").contains("no masks to measure"));

    let one_patient = run(&|t| {
        let first = t.patients[0].patient_id.clone();
        t.patients.retain(|p| p.patient_id == first);
        t.images.retain(|i| i.patient_id == first);
    });
    assert!(absent(&one_patient, "regression").contains("1 complete rows"), "{}", absent(&one_patient, "regression"));

    let no_metadata = run(&|t| {
        t.patients.iter_mut().for_each(|p| {
            *p = PatientRow {
                patient_id: p.patient_id.clone(),
                subset: p.subset,
                n_images: p.n_images,
                ..PatientRow::default()
            };
        });
    });
    assert!(absent(&no_metadata, "overview").contains("no row in the spreadsheet"));
    assert!(absent(&no_metadata, "metadata").contains("No age, height or weight"));
    assert!(absent(&no_metadata, "sex").contains("is unknown"));

    let no_rotated_train = run(&|t| {
        t.images.iter_mut().filter(|i| i.subset == Subset::Train).for_each(|i| i.rotated = i.angle_deg.map(|_| false));
        t.rotated_deg = Some(77.5);
    });
    assert!(of(&no_rotated_train, "rotation").contains("0.5 was added"), "{}", of(&no_rotated_train, "rotation"));
    assert_eq!(numbers(&no_rotated_train)["rotation"]["threshold_deg"], 77.5);
    assert!(
        of(&no_rotated_train, "rotation").contains("at least 77.5° counts as rotated"),
        "{}",
        of(&no_rotated_train, "rotation")
    );
    assert_eq!(numbers(&no_rotated_train)["rotation"]["test_against_train"]["odds_ratio"]["corrected"], true);

    // Older tables without the threshold.
    let without_threshold = run(&|t| t.rotated_deg = None);
    let (text, found) = (of(&without_threshold, "rotation"), numbers(&without_threshold)["rotation"].clone());
    assert!(text.contains("do not contain the smallest angle") && !text.contains("threshold"), "{text}");
    assert_eq!((&found["threshold_deg"], &found["train"]["within_5_deg_of_threshold"]), (&Value::Null, &Value::Null));
    near(&found, "train.rotated.count", 94.0, 0.0);

    let only_men = run(&|t| t.patients.iter_mut().for_each(|p| p.sex = Some(Sex::M)));
    assert!(absent(&only_men, "regression").contains("`male`"), "{}", absent(&only_men, "regression"));
    assert!(absent(&only_men, "mask_size_by_sex").contains("no comparison"));

    let unknown = run(&|t| t.patients.clear());
    assert!(!absent(&unknown, "metadata").is_empty());

    let odd = run(&|t| {
        t.images[0].angle_deg = Some(f64::NAN);
        t.patients[0].height_cm = Some(f64::INFINITY);
        t.images[1].mask_px = Some(u64::MAX);
        t.bones.retain(|b| b.label != "Pisiform");
        t.bones[0].class = 77;
        (t.images[5].usable, t.images[5].unusable_reason) =
            (false, Some("excluded by corrections.jsonl line 3".into()));
    });
    assert!(absent(&odd, "class_areas").contains("Pisiform (800)"), "{}", absent(&odd, "class_areas"));
    assert!(absent(&odd, "overview").contains("1 image cannot be used or is excluded"), "{}", absent(&odd, "overview"));
    assert_eq!(numbers(&odd)["overview"]["images_not_used"], 1);
    let tables = odd[0].blocks.iter().filter_map(|b| if let Content::Table(table) = b { Some(table) } else { None });
    assert!(tables.flat_map(|t| &t.rows).any(|row| row[2] == "excluded by corrections.jsonl line 3"));
}

/// The planted shift: rotated hands are ten times as likely in test; height, weight and age have none.
#[test]
fn the_shift_between_train_and_test_is_found_and_nothing_else() {
    let all = sections(&synthetic::tables(21), None, None);
    let (n, text) = (numbers(&all), of(&all, "train_test"));
    let shift = n["train_test"];
    near(shift, "patients.train", 400.0, 0.0);
    near(shift, "sex.odds_ratio.value", 1.34, 0.005);
    assert!(at(shift, "columns.angle_deg.kolmogorov_smirnov.p") < 1e-9);
    assert!(at(shift, "columns.angle_deg.population_stability_index.psi") > 0.5);
    // Without a shift the index is about its mean of 0.085, and below its bound in 95 % of cases.
    near(shift, "columns.age.population_stability_index.null_mean", 0.085, 0.001);
    assert!(at(shift, "classifier.auc") > 0.7 && at(shift, "classifier.p") <= 0.01);
    assert_eq!(shift["classifier"]["columns"][0]["name"], "absolute angle");
    assert!(
        text.contains("absolute angle") && text.contains("the columns that give it away most: absolute angle"),
        "{text}"
    );
    assert!(text.contains("With 144 patients in test and 400 patients in train, an odds ratio between"), "{text}");
    assert!(
        text.contains("Not compared: ") && text.contains("mean grey level (no values in train and test)"),
        "{text}"
    );
    let tests = n["tests"]["tests"].as_array().unwrap();
    let of_shift = tests.iter().filter(|t| t["section"] == "train_test").count();
    assert!(of_shift > 15 && tests.len() > of_shift, "{of_shift} of {}", tests.len());
    for test in tests {
        let p = |key: &str| test[key].as_f64().unwrap();
        let at_most = |a: f64, b: f64| a <= b * (1.0 + 1e-12);
        assert!(at_most(p("p"), p("p_benjamini_hochberg")), "{test}");
        assert!(at_most(p("p_benjamini_hochberg"), p("p_holm")) && p("p_holm") <= 1.0, "{test}");
    }
}

#[test]
fn mask_size_is_related_to_height_also_within_sex() {
    let mut tables = synthetic::tables(22);
    // Ten hands lack a bone.
    tables.images[..10].iter_mut().for_each(|image| image.n_bones = 28);
    let all = sections(&tables, None, None);
    let n = numbers(&all);
    assert!(
        absent(&all, "mask_size").contains("10 train images with masks are left out"),
        "{}",
        absent(&all, "mask_size")
    );
    let train = &n["mask_size"]["train"];
    near(train, "images", 790.0, 0.0);
    near(train, "height_cm.pearson_by_patient.r", 0.82, 0.08);
    for within in ["women", "men", "partial_given_sex", "partial_spearman_given_sex"] {
        let r = at(train, &format!("height_cm.{within}.r"));
        assert!(r > 0.3 && r < at(train, "height_cm.pearson_by_patient.r"), "{within}: {r}");
    }
    assert!(at(train, "spearman_by_bone.Radius.height_cm.r") > 0.3);
    near(
        train,
        "correlation_matrix_by_patient.height_cm.mask_px.r",
        at(train, "height_cm.pearson_by_patient.r"),
        1e-12,
    );
    let regression = &n["regression"]["train"];
    assert_eq!(at(regression, "ols_clustered.clusters"), at(regression, "ols_by_patient.n"));
    let se = |model: &str| at(&regression[model]["coefficients"][1], "se");
    // Two hands of a patient say less than two patients.
    assert!(se("ols_clustered") > 1.1 * se("ols"), "{} {}", se("ols_clustered"), se("ols"));
    assert!(at(regression, "metadata_given_sex.p") < 1e-6 && at(regression, "metadata_given_sex_by_image.p") < 1e-6);
    assert!(at(regression, "fields_on_sex.height_cm.hc3.coefficients.1.value") > 8.0);
}

#[test]
fn scores_are_given_by_subgroup_and_class() {
    let tables = synthetic::tables(23);
    // Small bones score lower, and so do rotated hands; image 5 has a wrong Lunate.
    let rows = tables.images.iter().filter(|i| i.subset == Subset::Train).enumerate().map(|(i, image)| {
        let drop = if image.rotated == Some(true) { 0.03 } else { 0.0 };
        let dice = std::array::from_fn(|class| {
            let area: f64 = tables.bones[class].area_px as f64;
            let wrong = if i == 5 && class == 24 { 0.7 } else { 0.0 };
            Some(1.0 - 4.0 / area.sqrt() - drop - wrong - 0.002 * ((i * 7 + class * 3) % 5) as f64)
        });
        (image.image_id.clone(), dice)
    });
    let scores = DiceTable::new(rows.chain([("elsewhere".to_owned(), [Some(0.5); 29])]));
    let (evidence, settings, folds) = (EvidencePictures::default(), options(), synthetic::folds(&tables));
    let mut study = Study::new(&tables, Some(&folds), None, &evidence, &settings).unwrap();
    study.scores = Some(&scores);
    let all = report::sections::all(&study).unwrap();
    check_pictures(&all);
    let (text, n) = (of(&all, "scores"), numbers(&all)["scores"]);
    assert!(text.contains("Rotated: rotated is 0.0") && text.contains("the difference is shown"), "{text}");
    assert!(
        absent(&all, "scores").contains("1 of 801 scored images are not in the tables"),
        "{}",
        absent(&all, "scores")
    );
    assert!(at(n, "dice_with_mean_area_spearman.r") > 0.9);
    assert_eq!(at(n, "images_with_unusually_low_classes"), 1.0);
    let fields: std::collections::BTreeSet<&str> =
        n["groups"].as_array().unwrap().iter().map(|g| g["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["age", "all", "fold", "height", "mask size", "rotated", "sex"].into());
    assert!(at(n, "bone_groups.forearm.images.mean") > at(n, "bone_groups.carpals.images.mean"));
    let foreign = DiceTable::new([("elsewhere".to_owned(), [Some(0.5); 29])]);
    study.scores = Some(&foreign);
    let all = report::sections::all(&study).unwrap();
    assert!(
        absent(&all, "scores").contains("No score belongs to an image of the tables"),
        "{}",
        absent(&all, "scores")
    );
}

#[test]
fn a_patient_in_two_folds_is_reported() {
    let tables = synthetic::tables(10);
    let mut folds = synthetic::folds(&tables);
    let clean = sections(&tables, Some(&folds), None);
    assert!(of(&clean, "folds").contains("No patient is in two folds"));
    folds[0].fold = (folds[0].fold + 1) % 5;
    let leaking = sections(&tables, Some(&folds), None);
    assert!(of(&leaking, "folds").contains("1 patient is in more than one fold (001)"), "{}", of(&leaking, "folds"));
    assert_eq!(numbers(&leaking)["folds"]["patients_in_several_folds"], serde_json::json!(["001"]));
}

#[test]
fn examples_are_typical_hands() {
    let tables = synthetic::tables(13);
    let (evidence, settings) = (EvidencePictures::default(), options());
    let mut study = Study::new(&tables, None, None, &evidence, &settings).unwrap();
    let mut examples = study.example_images().unwrap();
    examples.retain(|(_, image)| image.subset == Subset::Test);
    let angles: Vec<f64> = examples.iter().map(|(_, image)| image.angle_deg.unwrap().abs()).collect();
    assert!((angles[0] - 15.7).abs() < 1.0 && (angles[1] - 46.2).abs() < 1.5, "{angles:?}");
    let most = tables
        .images
        .iter()
        .filter(|i| i.subset == Subset::Test)
        .map(|i| i.angle_deg.unwrap().abs())
        .fold(0.0, f64::max);
    assert_eq!(angles[2], most);

    let home = tempfile::tempdir().unwrap();
    let path = &examples[1].1.path;
    std::fs::create_dir_all(home.path().join(path).parent().unwrap()).unwrap();
    image::GrayImage::new(900, 900).save(home.path().join(path)).unwrap();
    let dataset = Dataset::open(home.path()).unwrap();
    // An image of another size is not the one that was scanned.
    let pictures = report::read_examples(&dataset, examples.iter().map(|(_, image)| image));
    assert_eq!((pictures.pictures.len(), pictures.failures.len()), (0, 3));
    assert!(pictures.failures.iter().any(|f| f.contains("give the data folder that was scanned")), "{pictures:?}");
    let scanned = examples.iter().map(|(_, image)| ImageRow { width: 900, height: 900, sha256: None, ..image.clone() });
    let scanned: Vec<ImageRow> = scanned.collect();
    let pictures = report::read_examples(&dataset, scanned.iter());
    assert_eq!((pictures.pictures.len(), pictures.failures.len()), (1, 2));
    study.examples = Some(&pictures);
    let all = report::sections::all(&study).unwrap();
    assert!(of(&all, "rotation").contains("test: typical rotated hand"));
}

#[test]
fn html_in_the_data_is_escaped() {
    let evil = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>\u{8}&amp;";
    let mut tables = synthetic::tables(11);
    tables.problems.insert(
        0,
        ProblemRow {
            file: evil.into(),
            place: evil.into(),
            raw: evil.into(),
            reason: evil.into(),
            action: evil.into(),
            severity: ProblemSeverity::Error,
            image_id: Some(evil.into()),
            ..ProblemRow::default()
        },
    );
    let mut findings = synthetic::findings(&tables, 3, 0);
    findings[0] = FindingRow {
        image_id: evil.into(),
        label: evil.into(),
        message: evil.into(),
        suggestion: evil.into(),
        evidence: evil.into(),
        ..FindingRow::default()
    };
    let mut folds = synthetic::folds(&tables);
    folds[0].stratum = evil.into();
    let all = sections(&tables, Some(&folds), Some(&findings));
    let settings = ReportOptions { title: evil.into(), ..ReportOptions::default() };
    let page = report::page(&all, &settings).unwrap();
    assert!(!page.contains("<script") && !page.contains("<img src=x"));
    assert!(page.contains("&lt;script&gt;alert(&#x27;x&#x27;)"));
    assert!(page.contains("\\u{8}") && !page.contains('\u{8}'));
    for block in all.iter().flat_map(|s| &s.blocks) {
        if let Content::Figure(figure) = block {
            let svg = figure.picture().svg().unwrap();
            assert!(!svg.contains("<script") && !svg.contains("<img") && !svg.contains('\u{8}'), "{}", figure.name);
        }
    }
}

/// Every file of a folder with its bytes.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path).into_iter().map(|(p, b)| (Path::new(path.file_name().unwrap()).join(p), b)));
        } else {
            found.insert(path.file_name().unwrap().into(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn write_inputs(folder: &Path) {
    let tables = synthetic::tables(12);
    tables.write(&folder.join("tables"), TableFormats::Parquet).unwrap();
    write_csv(&folder.join("folds.csv"), &synthetic::folds(&tables)).unwrap();
    write_csv(&folder.join("audit/findings.csv"), &synthetic::findings(&tables, 80, 6)).unwrap();
    std::fs::create_dir(folder.join("audit/evidence")).unwrap();
    for i in 0..5u8 {
        let picture = image::RgbImage::from_fn(600, 500, |x, y| image::Rgb([(x / 3) as u8, (y / 2) as u8, 40 * i]));
        picture.save(folder.join(format!("audit/evidence/{i}.png"))).unwrap();
    }
}

pub fn eda(folder: &Path, out: &str, threads: usize) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_carpus"))
        .args([
            "--json",
            "eda",
            "tables",
            "--folds",
            "folds.csv",
            "--findings",
            "audit",
            "--title",
            "손 방사선 사진 / Hands",
        ])
        .args(["--out", out])
        .env("RAYON_NUM_THREADS", threads.to_string())
        .current_dir(folder)
        .output()
        .unwrap()
}

pub fn written() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write_inputs(home.path());
    home
}

#[test]
fn the_command_writes_the_same_bytes_with_any_number_of_threads() {
    let home = written();
    let first = eda(home.path(), "report", 1);
    // One of the six evidence pictures is missing: it is reported and the report is written.
    assert_eq!(first.status.code(), Some(3), "{}", String::from_utf8_lossy(&first.stderr));
    assert!(String::from_utf8_lossy(&first.stderr).contains("5.png"));
    let result: Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(result["figures"].as_array().unwrap().len(), 26);
    assert_eq!(eda(home.path(), "again/report", 2).status.code(), Some(3));
    let (a, b) = (content(&home.path().join("report")), content(&home.path().join("again/report")));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in &a {
        assert!(bytes == &b[name], "{} differs", name.display());
    }
    for name in
        ["index.html", "numbers.json", "problems.csv", "findings.csv", "figures/rotation.png", "figures/ratios.svg"]
    {
        assert!(a.contains_key(Path::new(name)), "{name}");
    }
    let keys: Value = serde_json::from_slice(&a[Path::new("numbers.json")]).unwrap();
    assert_eq!(keys.as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(), IDS);
    assert_eq!(keys["rotation"]["threshold_deg"], 33.0);
    let page = String::from_utf8(a[Path::new("index.html")].clone()).unwrap();
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("@import"));
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 5);
    assert!(page.contains("20 more findings are not shown with pictures"));
}

#[test]
fn errors_say_how_to_fix_them() {
    let home = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
        let out = command.arg("eda").args(arguments).current_dir(home.path()).output().unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, error) = run(&["nowhere", "--out", "report"]);
    assert!(code == Some(1) && error.contains("carpus scan") && error.contains("nowhere"), "{error}");
    synthetic::tables(1).write(&home.path().join("tables"), TableFormats::Parquet).unwrap();
    let (code, error) = run(&["tables", "--out", "tables"]);
    assert!(code == Some(1) && error.contains("files that `carpus eda` did not write"), "{error}");
    assert!(!home.path().join("report").exists());
}

#[test]
fn folds_that_do_not_fit_the_tables_are_reported() {
    let home = tempfile::tempdir().unwrap();
    let tables = synthetic::tables(14);
    tables.write(&home.path().join("tables"), TableFormats::Parquet).unwrap();
    let run = |folds: &[FoldRow]| {
        write_csv(&home.path().join("folds.csv"), folds).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_carpus"));
        let arguments = ["eda", "tables", "--folds", "folds.csv", "--out", "report"];
        let out = command.args(arguments).current_dir(home.path()).output().unwrap();
        let numbers: Value =
            serde_json::from_slice(&std::fs::read(home.path().join("report/numbers.json")).unwrap()).unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned(), numbers["folds"].clone())
    };
    let mut folds = synthetic::folds(&tables);
    let (code, error, numbers) = run(&folds);
    assert_eq!((code, &numbers["n"], &numbers["warnings"]), (Some(0), &800.into(), &serde_json::json!([])), "{error}");
    // Ids may be file names.
    folds[1].image_id += ".png";
    assert_eq!(run(&folds).0, Some(0));

    folds.push(folds[0].clone());
    folds[3].image_id = "unknown".into();
    folds[4].patient_id = "999".into();
    let (code, error, numbers) = run(&folds);
    assert_eq!((code, &numbers["n"]), (Some(3), &799.into()));
    for warning in [
        "1 image has more than one row in the folds file",
        "1 image of the folds file is not in the tables and not counted: unknown",
        "1 usable image has no fold",
        "1 row of the folds file has another patient than the tables",
    ] {
        assert!(error.contains(&format!("warning: folds: {warning}")), "{warning}: {error}");
        assert!(std::fs::read_to_string(home.path().join("report/index.html")).unwrap().contains(warning), "{warning}");
    }
    let (code, error, _) = run(&[]);
    assert!(code == Some(3) && error.contains("the folds file has no rows"), "{error}");
}
