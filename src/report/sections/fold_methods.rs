use std::collections::BTreeMap;

use polars::prelude::*;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::dataset::Subset;
use crate::figures::style::{NEUTRAL, Rgb, okabe_ito};
use crate::figures::{Chart, Figure, Histogram, HistogramSeries, Marker, edges_for};
use crate::report::wording::{count, counted, num};
use crate::report::{Section, Study};
use crate::splits::{
    Keys, RandomState, STRATUM, group_k_fold, shuffled_group_k_fold, stratified_group_k_fold, stratum,
};
use crate::stats::{SampleSummary, summary};
use crate::tables::{cells, filtered, is, texts, wholes};

/// Number of folds that are compared, as `carpus split` makes by default.
const FOLDS: usize = 5;
/// Columns of the strata, as in `carpus split`.
const BY: [&str; 2] = ["sex", "rotated"];
/// Quantiles of numeric columns; the columns above have none.
const QUANTILES: usize = 4;
/// Deviations, in percentage points, whose frequency is reported.
const LIMITS: [f64; 3] = [1.0, 3.0, 5.0];

/// Ways to assign images to folds.
const METHODS: [(FoldMethod, &str, Rgb); 4] = [
    (FoldMethod::RandomImages, "random images (patients are split)", okabe_ito::VERMILION),
    (FoldMethod::RandomPatients, "random patients", okabe_ito::ORANGE),
    (FoldMethod::Group, "patients, equal sizes (group)", NEUTRAL),
    (FoldMethod::StratifiedGroup, "patients, stratified (stratified-group)", okabe_ito::BLUE),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum FoldMethod {
    RandomImages,
    RandomPatients,
    Group,
    StratifiedGroup,
}

/// What random, group and stratified group folds do to the shares of the strata, over many seeds.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("fold_methods", "Comparison of fold methods");
    let Some(sample) = Sample::of(study)? else {
        section.absent(format!(
            "{FOLDS} folds need at least {FOLDS} patients with usable train images, so there is nothing to compare."
        ));
        return Ok(section);
    };
    let seeds = study.settings.seeds.max(1);
    let results: Vec<MethodResult> =
        METHODS.iter().map(|(method, name, _)| sample.result(*method, name, seeds)).collect();
    section.number("folds", FOLDS);
    section.number("seeds", seeds);
    section.number("by", json!(BY));
    section.number("images", sample.strata.len());
    section.number("patients", sample.n_patients);
    section.number("methods", json!(results));
    let [images, patients, _, stratified] = &results[..] else { return Ok(section) };
    section.text(format!(
        "{} of {} in {FOLDS} folds, strata by {}, over {} seeds. The worst deviation of a stratum's share in a fold from its share in \
         all images has a median of {} percentage points with random patients and {} with stratified groups. With random patients it \
         exceeds 3 points for {} % of the seeds, with stratified groups for {} %.",
        counted(sample.strata.len(), "image", "images"),
        counted(sample.n_patients, "patient", "patients"),
        BY.join(" and "),
        count(seeds as usize),
        num(patients.worst_deviation.median, 2),
        num(stratified.worst_deviation.median, 2),
        num(100.0 * patients.share_above(3.0), 1),
        num(100.0 * stratified.share_above(3.0), 1),
    ));
    section.meaning(format!(
        "Folds of random images put the two hands of {} of {} into different folds (median), so validation scores would be too high: \
         never use them. {}",
        count(images.split_patients.median as usize),
        counted(sample.n_patients, "patient", "patients"),
        if patients.worst_deviation.median > stratified.worst_deviation.median {
            "Stratified groups keep the strata in proportion with any seed."
        } else {
            "With these data, stratification changes little."
        }
    ));
    section.code(format!(
        "carpus split {} --method stratified-group --by {} --folds {FOLDS} --out {}",
        study.settings.paths.tables,
        BY.join(","),
        study.settings.paths.folds
    ));
    section.figure(figure(&results, &sample, seeds));
    section.table(
        "Worst deviation of a stratum's share in a fold, in percentage points, over the seeds",
        &[
            "method",
            "seeds",
            "median",
            "5 % to 95 %",
            "largest",
            "above 1",
            "above 3",
            "above 5",
            "split patients (median)",
        ],
        results.iter().map(MethodResult::cells).collect(),
    );
    shares(&mut section, &sample);
    Ok(section)
}

/// Usable train images with stratum and patient as numbers.
struct Sample {
    /// Names of the strata.
    names: Vec<String>,
    /// Stratum of each image.
    strata: Vec<usize>,
    /// Patient of each image.
    patients: Vec<usize>,
    n_patients: usize,
    /// Number of images of each stratum.
    totals: Vec<usize>,
}

impl Sample {
    /// `None` with too few patients.
    fn of(study: &Study<'_>) -> PolarsResult<Option<Sample>> {
        let mut train = filtered(&study.hands, is("subset", Subset::Train).and(col("unusable_reason").is_null()))?;
        let excluded = texts(&train, "image_id")?.into_iter().flatten().map(|id| study.excluded.contains(&id));
        let excluded: Vec<bool> = excluded.collect();
        train.with_column(Column::new("excluded".into(), excluded))?;
        let train = filtered(&train, col("excluded").not())?;
        if train.height() == 0 {
            return Ok(None);
        }
        let invalid = |error: crate::splits::SplitError| polars_err!(ComputeError: "{error}");
        let keys = Keys::new(&train, QUANTILES).map_err(invalid)?;
        let labels =
            BY.iter().map(|key| Ok(keys.key(key).map_err(invalid)?.label)).collect::<PolarsResult<Vec<Expr>>>()?;
        let rank =
            |column: Expr| column.rank(RankOptions { method: RankMethod::Dense, descending: false }, None) - lit(1);
        let frame = train.clone().lazy().with_column(stratum(labels).alias(STRATUM));
        let frame = frame
            .select([
                col(STRATUM),
                rank(col(STRATUM)).alias("stratum_code"),
                rank(col("patient_id")).alias("patient_code"),
            ])
            .collect()?;
        let (strata, patients) = (wholes(&frame, "stratum_code")?, wholes(&frame, "patient_code")?);
        let n_patients = patients.iter().max().map_or(0, |last| last + 1);
        if n_patients < FOLDS {
            return Ok(None);
        }
        let names: BTreeMap<usize, String> = strata.iter().copied().zip(cells::<String>(&frame, STRATUM)?).collect();
        let mut totals = vec![0; names.len()];
        strata.iter().for_each(|stratum| totals[*stratum] += 1);
        Ok(Some(Sample { names: names.into_values().collect(), strata, patients, n_patients, totals }))
    }

    /// Fold of each image.
    fn assign(&self, method: FoldMethod, seed: u32) -> Vec<usize> {
        let of_patients = |folds: Vec<usize>| self.patients.iter().map(|patient| folds[*patient]).collect();
        match method {
            FoldMethod::RandomImages => {
                let mut order: Vec<usize> = (0..self.strata.len()).collect();
                RandomState::new(seed).shuffle(&mut order);
                let mut folds = vec![0; order.len()];
                order.iter().enumerate().for_each(|(place, image)| folds[*image] = place * FOLDS / order.len());
                folds
            }
            FoldMethod::RandomPatients => of_patients(shuffled_group_k_fold(self.n_patients, FOLDS, seed)),
            FoldMethod::Group => of_patients(group_k_fold(&self.patients, self.n_patients, FOLDS)),
            FoldMethod::StratifiedGroup => of_patients(stratified_group_k_fold(
                &self.strata,
                self.names.len(),
                &self.patients,
                self.n_patients,
                FOLDS,
                Some(seed),
            )),
        }
    }

    /// Number of images by fold and stratum.
    fn counts(&self, folds: &[usize]) -> Vec<Vec<usize>> {
        let mut counts = vec![vec![0; self.names.len()]; FOLDS];
        folds.iter().zip(&self.strata).for_each(|(fold, stratum)| counts[*fold][*stratum] += 1);
        counts
    }

    /// Largest deviation of a stratum's share in a fold from its overall share, percentage points.
    fn worst_deviation(&self, folds: &[usize]) -> f64 {
        let n = self.strata.len() as f64;
        let of_fold = |counts: Vec<usize>| {
            let size = counts.iter().sum::<usize>().max(1) as f64;
            let deviation = |(count, total): (&usize, &usize)| (*count as f64 / size - *total as f64 / n).abs();
            counts.iter().zip(&self.totals).map(deviation).fold(0.0, f64::max)
        };
        100.0 * self.counts(folds).into_iter().map(of_fold).fold(0.0, f64::max)
    }

    /// Number of patients with images in more than one fold.
    fn split_patients(&self, folds: &[usize]) -> usize {
        let mut first = vec![None; self.n_patients];
        let mut is_split = vec![false; self.n_patients];
        for (fold, patient) in folds.iter().zip(&self.patients) {
            is_split[*patient] |= *first[*patient].get_or_insert(*fold) != *fold;
        }
        is_split.into_iter().filter(|split| *split).count()
    }

    fn result(&self, method: FoldMethod, name: &'static str, seeds: u32) -> MethodResult {
        // Without a shuffle, every seed gives the same folds.
        let seeds = if method == FoldMethod::Group { 1 } else { seeds };
        let of_seed = |seed| {
            let folds = self.assign(method, seed);
            (self.worst_deviation(&folds), self.split_patients(&folds) as f64)
        };
        let (deviations, split): (Vec<f64>, Vec<f64>) = (0..seeds).into_par_iter().map(of_seed).unzip();
        let above = |limit: f64| deviations.iter().filter(|d| **d > limit).count() as f64 / deviations.len() as f64;
        let summary = |values: &[f64]| summary(values).expect("there is at least one seed");
        MethodResult {
            method: name,
            seeds,
            worst_deviation: summary(&deviations),
            share_above: LIMITS.iter().map(|limit| (format!("{limit:.0}"), above(*limit))).collect(),
            split_patients: summary(&split),
            deviations,
        }
    }
}

/// A method over all seeds.
#[derive(Serialize)]
struct MethodResult {
    method: &'static str,
    seeds: u32,
    /// Percentage points.
    worst_deviation: SampleSummary,
    /// Share of the seeds whose worst deviation is above a number of percentage points.
    share_above: BTreeMap<String, f64>,
    split_patients: SampleSummary,
    #[serde(skip)]
    deviations: Vec<f64>,
}

impl MethodResult {
    fn share_above(&self, limit: f64) -> f64 {
        self.share_above.get(&format!("{limit:.0}")).copied().unwrap_or_default()
    }

    fn cells(&self) -> Vec<String> {
        let d = &self.worst_deviation;
        let mut cells = vec![
            self.method.to_owned(),
            count(self.seeds as usize),
            num(d.median, 2),
            format!("{}–{}", num(d.q05, 2), num(d.q95, 2)),
            num(d.max, 2),
        ];
        cells.extend(LIMITS.iter().map(|limit| format!("{} %", num(100.0 * self.share_above(*limit), 1))));
        cells.push(count(self.split_patients.median as usize));
        cells
    }
}

fn figure(results: &[MethodResult], sample: &Sample, seeds: u32) -> Figure {
    let all: Vec<f64> = results.iter().flat_map(|r| r.deviations.iter().copied()).collect();
    let shown = results.iter().zip(METHODS).filter(|(r, _)| r.seeds > 1);
    let series = shown.map(|(r, (_, name, colour))| HistogramSeries {
        name: name.to_owned(),
        colour,
        values: r.deviations.clone(),
    });
    let single = results.iter().filter(|r| r.seeds == 1);
    let markers = single.map(|r| Marker { name: r.method.to_owned(), value: r.worst_deviation.median });
    Figure {
        name: "fold-methods".into(),
        title: format!(
            "Worst deviation of a stratum over {} seeds (n = {} of {})",
            count(seeds as usize),
            counted(sample.strata.len(), "image", "images"),
            counted(sample.n_patients, "patient", "patients")
        ),
        note: "The bars of each method add up to 100 %.".into(),
        columns: 1,
        charts: vec![Chart::Histogram(Histogram {
            title: String::new(),
            x_label: "worst deviation (percentage points)".into(),
            y_label: "share of seeds (%)".into(),
            edges: edges_for(&all, 50),
            series: series.collect(),
            markers: markers.collect(),
        })],
    }
}

/// Shares of the strata by fold for each method, with one seed.
fn shares(section: &mut Section, sample: &Sample) {
    const SEED: u32 = 42;
    let n = sample.strata.len() as f64;
    let mut rows = Vec::new();
    for (method, name, _) in METHODS {
        let counts = sample.counts(&sample.assign(method, SEED));
        for (stratum, stratum_name) in sample.names.iter().enumerate() {
            let mut row = vec![name.to_owned(), stratum_name.clone()];
            row.push(format!("{} %", num(100.0 * sample.totals[stratum] as f64 / n, 1)));
            row.extend(counts.iter().map(|fold| {
                let size = fold.iter().sum::<usize>().max(1) as f64;
                format!("{} %", num(100.0 * fold[stratum] as f64 / size, 1))
            }));
            rows.push(row);
        }
    }
    let mut head = vec!["method".to_owned(), "stratum".to_owned(), "all".to_owned()];
    head.extend((0..FOLDS).map(|fold| format!("fold {fold}")));
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    section.table(format!("Shares of the strata by fold, seed {SEED}"), &head, rows);
}
