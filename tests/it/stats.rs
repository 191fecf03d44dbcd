//! Every statistic against scipy and statsmodels, on fresh random inputs each run.

use carpus::stats::{self, TwoByTwo};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::{Value, json};

use super::python;

/// Relative error of statistics and intervals: sums over some hundred values add a few ulps.
const RELATIVE: f64 = 1e-9;
/// Relative error of p values. Tail areas come from two implementations of the incomplete beta and gamma functions; in the far
/// tail, where both subtract from 1, only the absolute error is bounded.
const RELATIVE_P: f64 = 1e-6;
const ABSOLUTE: f64 = 1e-12;
/// Numbers of one estimate: an estimate near 0 has the error of its standard error and interval.
const ONE_SCALE: [&str; 9] = ["value", "se", "low", "high", "difference", "mean", "residual", "smd", "ci"];

/// The largest number of an estimate, including those of its interval.
fn scale(fields: &serde_json::Map<String, Value>) -> f64 {
    let of = |name: &&str| match &fields.get(*name) {
        Some(Value::Object(inner)) => scale(inner),
        Some(value) => value.as_f64().map_or(0.0, f64::abs),
        None => 0.0,
    };
    ONE_SCALE.iter().map(of).fold(0.0, f64::max)
}

/// Everything the reference says must be in `ours`, numbers within tolerance.
pub fn assert_agrees(at: &str, ours: &Value, reference: &Value) {
    agrees(at, ours, reference, 0.0);
}

fn agrees(at: &str, ours: &Value, reference: &Value, least_scale: f64) {
    match reference {
        Value::Object(fields) => {
            for (name, value) in fields {
                let least = if ONE_SCALE.contains(&name.as_str()) { least_scale.max(scale(fields)) } else { 0.0 };
                agrees(&format!("{at}.{name}"), &ours[name], value, least);
            }
        }
        Value::Array(items) => {
            assert_eq!(ours.as_array().map(Vec::len), Some(items.len()), "{at}: {ours}");
            for (i, value) in items.iter().enumerate() {
                agrees(&format!("{at}[{i}]"), &ours[i], value, 0.0);
            }
        }
        Value::Null => assert!(ours.is_null(), "{at}: ours is {ours}, the reference has none"),
        Value::Bool(_) | Value::String(_) => assert_eq!(ours, reference, "{at}"),
        Value::Number(_) => {
            let (a, b) = (ours.as_f64(), reference.as_f64().expect("a number"));
            let a = a.unwrap_or_else(|| panic!("{at}: ours is {ours}, reference {b}"));
            let name = at.rsplit(['.', '[']).next().unwrap_or(at);
            // Iterative fits stop at a tolerance.
            let is_p = name == "p" || name.ends_with("_p") || at.contains(".iterative");
            let relative = if is_p { RELATIVE_P } else { RELATIVE };
            assert!((a - b).abs() <= relative * b.abs().max(least_scale) + ABSOLUTE, "{at}: ours {a}, reference {b}");
        }
    }
}

/// Runs the reference on the cases and compares its answers with ours.
pub fn compare(script: &str, cases: &Cases) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    std::fs::write(&file, serde_json::to_string(&cases.cases).unwrap()).unwrap();
    let answers: Vec<Value> = serde_json::from_str(&python::run(script, &[file.to_str().unwrap()])).unwrap();
    assert_eq!(answers.len(), cases.ours.len());
    for ((case, ours), reference) in cases.cases.iter().zip(&cases.ours).zip(&answers) {
        assert_agrees(case["kind"].as_str().unwrap(), ours, reference);
    }
}

/// Random cases with our answers.
pub struct Cases {
    pub rng: ChaCha8Rng,
    cases: Vec<Value>,
    ours: Vec<Value>,
}

impl Cases {
    pub fn new() -> Cases {
        Cases { rng: ChaCha8Rng::seed_from_u64(python::seed()), cases: vec![], ours: vec![] }
    }

    pub fn add(&mut self, case: Value, ours: Value) {
        self.cases.push(case);
        self.ours.push(ours);
    }

    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.rng)
    }

    /// Normal values, sometimes rounded so that there are ties.
    pub fn sample(&mut self, n: usize, mean: f64, sd: f64) -> Vec<f64> {
        let rounded = self.rng.random_bool(0.5);
        (0..n).map(|_| mean + sd * self.normal()).map(|v| if rounded { v.round() } else { v }).collect()
    }

    pub fn with_gaps(&mut self, values: &[f64]) -> Vec<Option<f64>> {
        values.iter().map(|v| (!self.rng.random_bool(0.08)).then_some(*v)).collect()
    }

    pub fn size(&mut self) -> usize {
        self.rng.random_range(12..200)
    }

    fn correlations(&mut self) {
        let n = self.size();
        let slope = self.rng.random_range(-1.0..1.0);
        let x = self.sample(n, 165.0, 8.0);
        let y: Vec<f64> = x.iter().map(|v| slope * v + 6.0 * self.normal()).collect();
        let (x, y) = (self.with_gaps(&x), self.with_gaps(&y));
        let ours = |c: Result<stats::Correlation, stats::Undefined>| json!(c.unwrap());
        self.add(json!({"kind": "pearson", "x": x, "y": y}), ours(stats::pearson(&x, &y)));
        self.add(json!({"kind": "spearman", "x": x, "y": y}), ours(stats::spearman(&x, &y)));
        let (age, sex) = (self.sample(n, 40.0, 12.0), self.sample(n, 0.0, 1.0));
        let (age, sex) = (self.with_gaps(&age), self.with_gaps(&sex));
        let controls: [(&str, &[Option<f64>]); 2] = [("age", &age), ("sex", &sex)];
        for (kind, found) in [
            ("partial", stats::partial(&x, &y, &controls)),
            ("partial_spearman", stats::partial_spearman(&x, &y, &controls)),
        ] {
            self.add(json!({"kind": kind, "x": x, "y": y, "controls": [age, sex]}), ours(found));
        }
    }

    fn two_samples(&mut self) {
        let (n1, n2) = (self.size(), self.size());
        let shift = self.rng.random_range(-4.0..4.0);
        let (first, second) = (self.sample(n1, 50.0, 5.0), self.sample(n2, 50.0 + shift, 9.0));
        let case = |kind| json!({"kind": kind, "first": first, "second": second});
        self.add(case("welch"), json!(stats::welch(&first, &second).unwrap()));
        let pairs: Vec<(f64, f64)> = first.iter().copied().zip(second.iter().copied()).collect();
        let (one, other): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        let paired = json!(stats::paired_t(&pairs).unwrap());
        self.add(json!({"kind": "paired_t", "first": one, "second": other}), paired);
        self.add(json!({"kind": "summary", "values": first}), json!(stats::summary(&first).unwrap()));
        let edges: Vec<f64> = (0..9).map(|i| 38.0 + 3.0 * f64::from(i)).collect();
        let counts = stats::histogram(&first, &edges);
        let groups: Vec<Vec<f64>> =
            first.chunks(5).take(4).chain([&second[..2], &second[..1]]).map(<[f64]>::to_vec).collect();
        let pooled = stats::pooled_sd(&groups).unwrap();
        let mut ours = json!(pooled);
        ours["bound"] = json!(pooled.bound(3, 7));
        self.add(json!({"kind": "pooled_sd", "groups": groups, "n1": 3, "n2": 7}), ours);
        self.add(json!({"kind": "histogram", "values": first, "edges": edges}), json!({"counts": counts}));
    }

    /// Tests of two distributions, on samples with or without ties.
    fn distributions(&mut self, n1: usize, n2: usize) {
        let shift = self.rng.random_range(-4.0..4.0);
        let (first, second) = (self.sample(n1, 50.0, 5.0), self.sample(n2, 50.0 + shift, 6.0));
        let margin = self.rng.random_range(0.5..6.0);
        let case = |kind, exact: bool| json!({"kind": kind, "first": first, "second": second, "exact": exact, "margin": margin});
        let ks = stats::kolmogorov_smirnov(&first, &second).unwrap();
        self.add(case("kolmogorov_smirnov", ks.exact), json!(ks));
        let cvm = stats::cramer_von_mises(&first, &second).unwrap();
        self.add(case("cramer_von_mises", cvm.exact), json!(cvm));
        let distance = stats::wasserstein(&first, &second).unwrap();
        self.add(case("wasserstein", false), json!({"distance": distance}));
        // All values of both tiny samples may be equal after rounding.
        if let Ok(rank) = stats::mann_whitney(&first, &second) {
            self.add(case("mann_whitney", rank.exact), json!(rank));
        }
        if let Ok(smd) = stats::standardised_difference(&first, &second) {
            self.add(case("smd", false), json!(smd));
        }
        if let Ok(equal) = stats::equivalence_of_means(&first, &second, margin) {
            self.add(case("tost", false), json!(equal));
        }
        if let Ok(index) = stats::stability_index(&first, &second) {
            self.add(case("psi", false), json!(index));
        }
    }

    fn p_values(&mut self) {
        let n = self.rng.random_range(1..30);
        let p: Vec<f64> = (0..n).map(|_| self.rng.random_range(0.0f64..1.0).powi(3)).collect();
        let p: Vec<f64> = p.iter().map(|v| if n % 2 == 0 { (v * 20.0).round() / 20.0 } else { *v }).collect();
        let ours = json!({"holm": stats::holm(&p), "bh": stats::benjamini_hochberg(&p)});
        self.add(json!({"kind": "multiple", "values": p}), ours);
    }

    fn shares(&mut self) {
        let (n1, n2) = (self.size(), self.size());
        let mut share = || self.rng.random_range(0.02..0.98);
        let (share1, share2) = (share(), share());
        let visible = stats::visible_odds_ratio(n1, n2, share2, 0.8).unwrap();
        let power = stats::power_of_two_shares(n1, n2, share1, share2).unwrap();
        let case = json!({"kind": "power", "n1": n1, "n2": n2, "share1": share1, "share2": share2});
        self.add(case, json!({"power": power, "above": visible.above, "below": visible.below}));
    }

    fn tables(&mut self) {
        let mut cell = |least: usize| self.rng.random_range(least..90);
        let (a, b, c, d) = (cell(0), cell(1), cell(0), cell(1));
        let table: Vec<Vec<usize>> = (0..3).map(|_| (0..4).map(|_| cell(1)).collect()).collect();
        let (count, n) = (a, a + b);
        let two = TwoByTwo { with: a, without: b, with_base: c, without_base: d };
        let ours = json!({
            "odds_ratio": two.odds_ratio(), "share_ratio": two.share_ratio(), "fisher_p": two.fisher_p(),
        });
        self.add(json!({"kind": "two_by_two", "cells": [[a, b], [c, d]]}), ours);
        self.add(json!({"kind": "chi_square", "table": table}), json!(stats::chi_square(&table).unwrap()));
        self.add(json!({"kind": "wilson", "count": count, "n": n}), json!(stats::wilson(count, n).unwrap()));
    }

    fn regression(&mut self) {
        let n = self.size() + 20;
        let height = self.sample(n, 165.0, 8.0);
        let weight: Vec<f64> = height.iter().map(|h| 0.8 * h - 70.0 + 7.0 * self.normal()).collect();
        let sex: Vec<f64> = height.iter().map(|h| f64::from(u8::from(h + 6.0 * self.normal() > 165.0))).collect();
        let y: Vec<f64> = (0..n).map(|i| 3e5 + 2e3 * height[i] + 1e4 * sex[i] + 3e4 * self.normal()).collect();
        let columns = [self.with_gaps(&height), self.with_gaps(&weight), self.with_gaps(&sex)];
        let y = self.with_gaps(&y);
        let names = ["height", "weight", "sex"];
        let regressors: Vec<(&str, &[Option<f64>])> = names.iter().zip(&columns).map(|(n, c)| (*n, &c[..])).collect();
        let fit = stats::ols(&y, &regressors).unwrap();
        let at = [171.0, 64.0, 1.0];
        let stats::MeanResponse { mean, ci } = fit.mean_at(&at);
        let mut ours = json!(fit);
        ours["mean_at"] = json!(mean);
        ours["mean_at_ci"] = json!(ci);
        self.add(json!({"kind": "ols", "response": y, "regressors": columns, "at": at}), ours);
    }

    fn clusters(&mut self) {
        let patients = self.size() + 40;
        let (mut cluster, mut group, mut has) = (Vec::new(), Vec::new(), Vec::new());
        for patient in 0..patients {
            let second = patient % 3 == 0;
            let own: f64 = self.rng.random_range(-0.25..0.25);
            for _ in 0..self.rng.random_range(1..4) {
                cluster.push(patient);
                group.push(second);
                has.push(self.rng.random_bool(0.4 + own + if second { 0.2 } else { 0.0 }));
            }
        }
        let of = |wanted: bool| -> Vec<(usize, bool)> {
            (0..cluster.len()).filter(|i| group[*i] == wanted).map(|i| (cluster[i], has[i])).collect()
        };
        let ours = stats::clustered_ratios(&of(true), &of(false)).unwrap();
        let group: Vec<u8> = group.iter().map(|g| u8::from(*g)).collect();
        self.add(json!({"kind": "clustered", "cluster": cluster, "group": group, "has": has}), json!(ours));
    }
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn statistics_agree_with_scipy_and_statsmodels() {
    let mut cases = Cases::new();
    for round in 0..25 {
        cases.correlations();
        cases.two_samples();
        cases.tables();
        cases.regression();
        cases.clusters();
        let (n1, n2) = (cases.size(), cases.size());
        cases.distributions(n1, n2);
        // Tiny groups, whose p values are exact.
        cases.distributions(2 + round % 9, 2 + round % 5);
        cases.distributions(3, 40 + round);
        cases.p_values();
        cases.shares();
    }
    compare("stats.py", &cases);
}

#[cfg_attr(not(reference_libraries), ignore = "needs the reference libraries: run `make test`")]
#[test]
fn bootstrap_intervals_agree_with_scipy_within_chance() {
    const RESAMPLES: usize = 20_000;
    let seed = python::seed();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // Skewed, as the Dice of images is.
    let values: Vec<f64> = (0..80).map(|_| 1.0 - random.random_range(0.0f64..1.0).powi(4)).collect();
    let ours = stats::bootstrap_mean(&values.iter().copied().enumerate().collect::<Vec<_>>(), RESAMPLES, seed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cases.json");
    let case = json!([{"kind": "bootstrap_mean", "values": values, "resamples": RESAMPLES, "seed": seed % (1 << 31)}]);
    std::fs::write(&file, case.to_string()).unwrap();
    let answers: Vec<Value> = serde_json::from_str(&python::run("stats.py", &[file.to_str().unwrap()])).unwrap();
    let reference = |key: &str| answers[0]["ci"][key].as_f64().unwrap();
    let se = (reference("high") - reference("low")) / 3.92;
    // An end of a percentile interval of 20,000 draws has a standard deviation of sqrt(.025 * .975 / 20000) / phi(1.96)
    // = 0.019 standard errors, the difference of two such ends 0.027: six of these.
    for (ours, key) in [(ours.ci.low, "low"), (ours.ci.high, "high")] {
        assert!((ours - reference(key)).abs() < 0.16 * se, "{key}: {ours}, {}", reference(key));
    }
    assert!((ours.mean - answers[0]["mean"].as_f64().unwrap()).abs() < 1e-12);
}
