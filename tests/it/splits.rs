//! Folds equal scikit-learn's, for random problems of every shape.

use std::io::Write;

use carpus::splits::{Method, SplitSettings, split};
use carpus::tables::{ImageRow, TableRow};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::python;

struct Problem {
    images: Vec<ImageRow>,
    settings: SplitSettings,
}

/// A problem of one of several shapes: like the data set, one class, many classes (numpy sums eight and more
/// in another order), rare classes, groups of very unequal size, thousands of groups.
fn problem(rng: &mut ChaCha8Rng, number: usize) -> Problem {
    let (n_groups, n_classes, largest) = match number % 8 {
        0 => (rng.random_range(2..120), rng.random_range(2..6), 2),
        1 => (rng.random_range(2..40), 1, rng.random_range(1..5)),
        2 => (rng.random_range(2..60), rng.random_range(7..40), rng.random_range(1..30)),
        3 => (rng.random_range(2..12), rng.random_range(1..12), rng.random_range(1..4)),
        4 => (rng.random_range(2..30), rng.random_range(2..5), rng.random_range(1..60)),
        5 => (rng.random_range(2..40), rng.random_range(100..320), rng.random_range(1..30)),
        6 if number % 64 == 6 => (rng.random_range(1000..3000), rng.random_range(2..9), 3),
        _ => (rng.random_range(2..200), rng.random_range(2..9), rng.random_range(1..8)),
    };
    let skewed = rng.random_bool(0.5);
    let mut images = Vec::new();
    for group in 0..n_groups {
        for _ in 0..rng.random_range(1..=largest) {
            let draw: f64 = rng.random();
            let class = (if skewed { draw.powi(4) } else { draw } * f64::from(n_classes)) as u32;
            images.push(ImageRow {
                patient_id: format!("{:03}", group * 7 % 5000),
                unusable_reason: Some(format!("s{class}")),
                ..ImageRow::default()
            });
        }
    }
    // Members of a group need not be neighbours.
    if rng.random_bool(0.3) {
        for i in (1..images.len()).rev() {
            let j = rng.random_range(0..=i);
            images.swap(i, j);
        }
    }
    for (i, image) in images.iter_mut().enumerate() {
        image.image_id = i.to_string();
    }
    let method = Method::ALL[rng.random_range(0..10usize).saturating_sub(7)];
    let shuffled = method == Method::RandomGroup || method == Method::StratifiedGroup && rng.random_bool(0.5);
    let seed = shuffled.then(|| if rng.random_bool(0.2) { rng.random() } else { rng.random_range(0..100) });
    let folds = if rng.random_bool(0.15) { rng.random_range(8..20) } else { rng.random_range(2..8) };
    Problem {
        images,
        settings: SplitSettings { method, by: vec!["unusable_reason".into()], folds, seed, quantiles: 4 },
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn folds_equal_those_of_scikit_learn() {
    let mut rng = ChaCha8Rng::seed_from_u64(python::seed());
    let problems: Vec<Problem> = (0..640).map(|number| problem(&mut rng, number)).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for problem in &problems {
        let groups: Vec<&str> = problem.images.iter().map(|i| i.patient_id.as_str()).collect();
        let strata: Vec<&str> = problem.images.iter().filter_map(|i| i.unusable_reason.as_deref()).collect();
        let line = serde_json::json!({
            "groups": groups, "strata": strata, "folds": problem.settings.folds,
            "seed": problem.settings.seed, "method": problem.settings.method.name(),
        });
        writeln!(file, "{line}").unwrap();
    }
    file.flush().unwrap();
    let answers = python::run("splits.py", &[file.path().to_str().unwrap()]);
    let answers: Vec<serde_json::Value> = answers.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(answers.len(), problems.len());

    let (mut equal, mut refused) = (0, 0);
    for (number, (problem, answer)) in problems.iter().zip(&answers).enumerate() {
        let made = split(&ImageRow::to_frame(&problem.images).unwrap(), &problem.settings);
        let name = format!("problem {number}: {:?}, {} images", problem.settings, problem.images.len());
        match (made, answer.get("folds")) {
            (Ok(made), Some(expected)) => {
                let folds: Vec<u32> = made.folds.iter().map(|r| r.fold).collect();
                let expected: Vec<u32> = serde_json::from_value(expected.clone()).unwrap();
                assert_eq!(folds, expected, "{name}");
                equal += 1;
            }
            (Err(_), None) => refused += 1,
            (Ok(_), None) => panic!("{name}: scikit-learn refuses: {answer}"),
            (Err(error), Some(_)) => panic!("{name}: refused: {error}"),
        }
    }
    println!("{equal} equal, {refused} refused by both");
    assert!(equal > 400, "only {equal} problems could be split");
}
