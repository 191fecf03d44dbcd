//! Regressions, classifiers and permutation tests against statsmodels, scikit-learn and scipy, on fresh random inputs each run.

use carpus::stats::{self, ClassifierTestOptions, Covariance, NamedColumn};
use rand::RngExt;
use serde_json::{Value, json};

use super::python;
use super::stats::{Cases, compare};

/// A regression on three columns with gaps, rows in clusters of one to three.
fn regression(cases: &mut Cases) {
    let n = cases.size() + 30;
    let (mut clusters, mut own) = (Vec::new(), Vec::new());
    while clusters.len() < n {
        let (id, effect) = (own.len(), cases.normal());
        own.push(effect);
        let size = cases.rng.random_range(1..4);
        clusters.extend(std::iter::repeat_n(id, size));
    }
    clusters.truncate(n);
    let height = cases.sample(n, 165.0, 8.0);
    let weight: Vec<f64> = height.iter().map(|h| 0.8 * h - 70.0 + 7.0 * cases.normal()).collect();
    let sex: Vec<f64> = height.iter().map(|h| f64::from(u8::from(h + 6.0 * cases.normal() > 165.0))).collect();
    let y: Vec<f64> = (0..n)
        .map(|i| 3e5 + 2e3 * height[i] + 1e4 * sex[i] + 2e4 * own[clusters[i]] + 200.0 * height[i] * cases.normal())
        .collect();
    let columns = [cases.with_gaps(&height), cases.with_gaps(&weight), cases.with_gaps(&sex)];
    let y = cases.with_gaps(&y);
    let names = ["height", "weight", "sex"];
    let regressors: Vec<(&str, &[Option<f64>])> = names.iter().zip(&columns).map(|(n, c)| (*n, &c[..])).collect();
    let fit = stats::ols(&y, &regressors).unwrap();
    let clustered = fit.robust(Covariance::Clusters(&clusters)).unwrap();
    let ours = json!({
        "log_likelihood": fit.log_likelihood, "aic": fit.aic, "condition_number": fit.condition_number,
        "statsmodels_condition_number": fit.condition_number, "scaled_condition_number": fit.scaled_condition_number,
        "hc3": fit.robust(Covariance::Hc3).unwrap(), "clustered": clustered,
        "wald": clustered.wald(&["height", "weight"]).unwrap(), "influence": fit.influence(),
        "nested": stats::nested_f(&y, &regressors[2..], &regressors[..2]).unwrap(),
    });
    cases.add(json!({"kind": "regression", "response": y, "regressors": columns, "clusters": clusters}), ours);
}

fn logistic(cases: &mut Cases) {
    let n = cases.size() + 40;
    let x: Vec<Vec<f64>> = (0..3).map(|_| cases.sample(n, 0.0, 1.5)).collect();
    let positive: Vec<bool> = (0..n)
        .map(|i| {
            let linear = 0.7 * x[0][i] - 0.4 * x[1][i] - 0.3;
            cases.rng.random_bool(1.0 / (1.0 + (-linear).exp()))
        })
        .collect();
    let columns: Vec<(&str, &[f64])> = ["a", "b", "c"].into_iter().zip(&x).map(|(n, c)| (n, &c[..])).collect();
    let plain = stats::logistic(&positive, &columns, 0.0).unwrap();
    cases.add(json!({"kind": "logit", "columns": x, "positive": positive}), json!(plain));
    let ridge: f64 = cases.rng.random_range(0.05..20.0);
    let found = stats::logistic(&positive, &columns, ridge).unwrap();
    let rounded: Vec<f64> = found.coefficients.iter().map(|c| c.value).collect();
    cases.add(
        json!({"kind": "logistic_ridge", "columns": x, "positive": positive, "ridge": ridge}),
        json!({"iterative": rounded}),
    );
}

fn classifier(cases: &mut Cases) {
    let patients = cases.size() + 40;
    let groups: Vec<usize> = (0..2 * patients).map(|i| i / 2).collect();
    let is_second: Vec<bool> = groups.iter().map(|g| g % 3 == 0).collect();
    let shift = cases.rng.random_range(0.0..1.5);
    let values: Vec<Vec<Option<f64>>> = (0..4)
        .map(|j| {
            let sample = cases.sample(2 * patients, 5.0, 2.0);
            let with: Vec<f64> =
                sample.iter().zip(&is_second).map(|(v, s)| if *s && j == 1 { v + shift } else { *v }).collect();
            if j == 2 {
                with.iter().map(|v| Some(f64::from(u8::from(*v > 5.0)))).collect()
            } else {
                cases.with_gaps(&with)
            }
        })
        .collect();
    let names = ["0", "1", "2", "3"];
    let columns: Vec<NamedColumn<'_>> =
        names.into_iter().zip(&values).map(|(name, values)| NamedColumn { name, values }).collect();
    let seed = cases.rng.random_range(0..1000);
    let options = ClassifierTestOptions { permutations: 19, seed };
    let found = stats::classifier_test(&columns, &is_second, &groups, options).unwrap();
    let by_name: serde_json::Map<String, Value> = found.columns.iter().map(|c| (c.name.clone(), json!(c))).collect();
    let case = json!({"kind": "classifier", "columns": values, "second": is_second, "folds": found.fold_of_row});
    cases.add(case, json!({"auc": found.auc, "columns": by_name}));
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn regressions_and_classifiers_agree_with_statsmodels_and_scikit_learn() {
    let mut cases = Cases::new();
    for _ in 0..8 {
        regression(&mut cases);
        logistic(&mut cases);
        classifier(&mut cases);
    }
    compare("stats_models.py", &cases);
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn permutation_tests_agree_with_scipy_within_chance() {
    let mut cases = Cases::new();
    let shift = cases.rng.random_range(0.0..1.0);
    let (first, second) = (cases.sample(25, 0.0, 1.0), cases.sample(40, shift, 1.0));
    let numbered = |values: &[f64], from: usize| -> Vec<(usize, f64)> {
        values.iter().enumerate().map(|(i, v)| (from + i, *v)).collect()
    };
    let found = stats::permutation_of_clusters(&numbered(&first, 0), &numbered(&second, 100), 9999, 5).unwrap();
    let seed = cases.rng.random_range(0..1000);
    let case = json!([{"kind": "permutation", "first": first, "second": second, "seed": seed}]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, case.to_string()).unwrap();
    let answers: Value = serde_json::from_str(&python::run("stats_models.py", &[file.to_str().unwrap()])).unwrap();
    let (p, difference) = (answers[0]["p"].as_f64().unwrap(), answers[0]["difference"].as_f64().unwrap());
    assert!((found.difference - difference).abs() < 1e-12);
    // Two shares of 10,000 draws differ by at most 0.0071 (one standard deviation): six of these.
    assert!((found.p - p).abs() < 0.043, "{found:?} {p}");
}
