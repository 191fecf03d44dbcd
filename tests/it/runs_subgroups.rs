//! Dice by subgroup against a plain Python version, on random patients.

use std::path::Path;
use std::process::Command;

use carpus::bones::COUNT;
use carpus::dataset::metadata::Sex;
use carpus::runs::{Run, SubgroupRow, subgroups};
use carpus::scores::{ImageScore, write_scores};
use carpus::tables::{ImageRow, PatientRow, TableFormats, Tables, read_csv};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::python;

/// An image with its patient's values and its Dice in one run or, with two seeds, two.
struct Hand {
    image: String,
    patient: usize,
    rotated: Option<bool>,
    fold: usize,
    dice: Vec<f64>,
}

struct Study {
    patients: Vec<PatientRow>,
    hands: Vec<Hand>,
}

/// Patients with missing values, ties in height, and groups of few patients; one or two hands each.
fn study(random: &mut ChaCha8Rng, patients: usize) -> Study {
    let mut study = Study { patients: Vec::new(), hands: Vec::new() };
    for id in 0..patients {
        let mut known = |share| random.random_bool(share);
        let (has_sex, has_age, has_height, second) = (known(0.9), known(0.9), known(0.9), known(0.8));
        study.patients.push(PatientRow {
            patient_id: format!("{id:03}"),
            sex: has_sex.then(|| if random.random_bool(0.4) { Sex::M } else { Sex::F }),
            age: has_age.then(|| f64::from(random.random_range(19..70))),
            height_cm: has_height.then(|| f64::from(random.random_range(150..188))),
            ..PatientRow::default()
        });
        let own = random.random_range(0.0f64..1.0).powi(4) * 0.3;
        for hand in 0..1 + usize::from(second) {
            let dice = 1.0 - own - random.random_range(0.0..0.1);
            study.hands.push(Hand {
                image: format!("image{id:03}{hand}"),
                patient: id,
                rotated: random.random_bool(0.95).then(|| random.random_bool(0.2)),
                fold: id % 3,
                // Written with six decimals.
                dice: (0..2).map(|seed| ((dice - 0.01 * f64::from(seed)) * 1e6).round() / 1e6).collect(),
            });
        }
    }
    study
}

/// Tables, and runs of three folds; fold 0 is trained with two seeds.
fn write(study: &Study, home: &Path) -> Vec<(usize, usize)> {
    let image = |hand: &Hand| ImageRow {
        image_id: hand.image.clone(),
        patient_id: format!("{:03}", hand.patient),
        rotated: hand.rotated,
        usable: true,
        ..ImageRow::default()
    };
    let images = study.hands.iter().map(image).collect();
    let tables = Tables { patients: study.patients.clone(), images, ..Tables::default() };
    tables.write(&home.join("tables"), TableFormats::Parquet).unwrap();
    let runs = vec![(0, 0), (0, 1), (1, 0), (2, 0)];
    for (fold, seed) in &runs {
        let run = home.join(format!("runs/fpn-fold{fold}-seed{seed}"));
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join("config.toml"), format!("size = 64\nseed = {seed}\n[data]\nfold = {fold}\n")).unwrap();
        let of_fold = study.hands.iter().filter(|hand| hand.fold == *fold);
        let score = |hand: &Hand| ImageScore { image_id: hand.image.clone(), dice: [hand.dice[*seed]; COUNT] };
        write_scores(&run.join("per_image_dice.csv"), &of_fold.map(score).collect::<Vec<_>>()).unwrap();
    }
    runs
}

fn read_runs(home: &Path, runs: &[(usize, usize)]) -> Vec<Run> {
    runs.iter().map(|(fold, seed)| Run::read(&home.join(format!("runs/fpn-fold{fold}-seed{seed}"))).unwrap()).collect()
}

fn close(at: &str, ours: &Value, reference: &Value, tolerance: f64) {
    let (a, b) = (ours.as_f64(), reference.as_f64());
    let (Some(a), Some(b)) = (a, b) else { panic!("{at}: {ours} and {reference}") };
    assert!((a - b).abs() <= tolerance, "{at}: ours {a}, reference {b}, tolerance {tolerance}");
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn subgroups_agree_with_a_plain_python_version() {
    let seed = python::seed();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for case in 0..3u64 {
        let home = tempfile::tempdir().unwrap();
        let study = study(&mut random, 150);
        let runs = write(&study, home.path());
        let hand = |hand: &Hand| {
            let patient = &study.patients[hand.patient];
            // In fold 0 the mean over the two seeds.
            let dice = if hand.fold == 0 { (hand.dice[0] + hand.dice[1]) / 2.0 } else { hand.dice[0] };
            json!({
                "patient": patient.patient_id, "sex": patient.sex, "age": patient.age, "height": patient.height_cm,
                "rotated": hand.rotated, "fold": hand.fold, "dice": dice,
            })
        };
        let file = home.path().join("case.json");
        let hands: Vec<Value> = study.hands.iter().map(hand).collect();
        std::fs::write(&file, json!({"hands": hands, "seed": (seed + case) % (1 << 31)}).to_string()).unwrap();
        let reference: Value = serde_json::from_str(&python::run("subgroups.py", &[file.to_str().unwrap()]))
            .expect("the script prints JSON");
        let tables = Tables::read(&home.path().join("tables")).unwrap();
        let found = json!(subgroups(&read_runs(home.path(), &runs), &tables).unwrap());
        assert_eq!(found["warnings"], json!([]));
        let (ours, theirs) = (found["groups"].as_array().unwrap(), reference["groups"].as_array().unwrap());
        let names = |rows: &Vec<Value>| -> Vec<String> {
            rows.iter()
                .map(|row| format!("{} {} {} {}", row["field"], row["subgroup"], row["images"], row["patients"]))
                .collect()
        };
        assert_eq!(names(ours), names(theirs));
        // An end of a percentile interval of 10,000 draws has a standard deviation of sqrt(.025 * .975 / 10000) / phi(1.96) =
        // 0.027 standard errors, the difference of two such ends 0.038: six of these. Means of few skewed values are not
        // normal, and the density at the outer end is lower: intervals of 25 patients and more are compared.
        for (ours, theirs) in ours.iter().zip(theirs) {
            let at = format!("{} {}", ours["field"], ours["subgroup"]);
            close(&at, &ours["dice"], &theirs["dice"], 1e-12);
            let patients = ours["patients"].as_u64().unwrap();
            assert_eq!(ours["ci_low"].is_null(), patients < 6, "{at}");
            assert_eq!(ours["note"] == "", patients >= 6, "{at}");
            if patients >= 25 {
                let se = (theirs["ci_high"].as_f64().unwrap() - theirs["ci_low"].as_f64().unwrap()) / 3.92;
                for end in ["ci_low", "ci_high"] {
                    close(&at, &ours[end], &theirs[end], 6.0 * 0.038 * 1.5 * se);
                }
            }
        }
        let (ours, theirs) = (found["gaps"].as_array().unwrap(), reference["gaps"].as_array().unwrap());
        assert_eq!(ours.len(), theirs.len(), "{found}");
        for (ours, theirs) in ours.iter().zip(theirs) {
            let at = ours["field"].as_str().unwrap();
            assert_eq!(
                (at, &ours["worst"], &ours["best"]),
                (theirs["field"].as_str().unwrap(), &theirs["worst"], &theirs["best"])
            );
            close(at, &ours["difference"], &theirs["difference"], 1e-12);
            if theirs["least_patients"].as_u64().unwrap() >= 25 {
                let se = (theirs["ci"]["high"].as_f64().unwrap() - theirs["ci"]["low"].as_f64().unwrap()) / 3.92;
                for end in ["low", "high"] {
                    close(at, &ours["ci"][end], &theirs["ci"][end], 6.0 * 0.038 * 1.5 * se);
                }
            }
        }
    }
}

#[test]
fn the_command_prints_and_writes_the_subgroups() {
    let home = tempfile::tempdir().unwrap();
    let mut study = study(&mut ChaCha8Rng::seed_from_u64(4), 60);
    // Only five patients are known to be men.
    study
        .patients
        .iter_mut()
        .enumerate()
        .for_each(|(i, patient)| patient.sex = Some(if i < 5 { Sex::M } else { Sex::F }));
    let runs = write(&study, home.path());
    let carpus = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_carpus")).current_dir(home.path()).args(arguments).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let asked = ["runs", "subgroups", "runs", "--tables", "tables", "--out", "groups.csv"];
    let out = carpus(&asked);
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let shown = text(&out.stdout);
    let men = shown.lines().find(|line| line.contains(" sex ") && line.contains(" M ")).unwrap();
    assert!(men.contains("fewer than 6 patients:"), "{shown}");
    assert!(shown.contains("fpn, rotated: worst ") && shown.contains("fpn, height: worst "), "{shown}");
    assert!(!shown.contains("fpn, sex: worst"), "one group of sex has enough patients: {shown}");
    let rows: Vec<SubgroupRow> = read_csv(&home.path().join("groups.csv")).unwrap();
    let tables = Tables::read(&home.path().join("tables")).unwrap();
    assert_eq!(rows, subgroups(&read_runs(home.path(), &runs), &tables).unwrap().groups);
    // Its own file is written again, another one is not.
    assert_eq!(carpus(&asked).status.code(), Some(0));
    std::fs::write(home.path().join("groups.csv"), "a,b\n").unwrap();
    assert_eq!(carpus(&asked).status.code(), Some(1));
    let out = carpus(&["--json", "runs", "subgroups", "runs", "--tables", "tables"]);
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["groups"].as_array().unwrap().len(), rows.len());

    // Scored images that the tables do not have are reported; other folds of the same image are refused.
    let stranger = ImageScore { image_id: "imageX".into(), dice: [0.5; COUNT] };
    write_scores(&home.path().join("runs/fpn-fold1-seed0/per_image_dice.csv"), &[stranger]).unwrap();
    let out = carpus(&asked[..5]);
    assert_eq!(out.status.code(), Some(3));
    assert!(
        text(&out.stderr).contains("fpn: 1 scored image is not in the tables, for example imageX"),
        "{}",
        text(&out.stderr)
    );
    let twice = ImageScore { image_id: study.hands[0].image.clone(), dice: [0.5; COUNT] };
    write_scores(&home.path().join("runs/fpn-fold1-seed0/per_image_dice.csv"), &[twice]).unwrap();
    let out = carpus(&asked[..5]);
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("was held out in two folds of fpn"), "{}", text(&out.stderr));
}
