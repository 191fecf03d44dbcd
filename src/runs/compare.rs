use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use polars::prelude::*;
use serde::Serialize;

use super::run::Run;
use super::settings::experiment;
use super::{HELD_OUT, RunError, UNITS};
use crate::stats::{Interval, bootstrap_mean, paired_t, welch};
use crate::tables::{self, ColumnValue, FoldRow, HeldOutRow, TableRow, filtered, texts};
use crate::wording::counted;

/// Bootstrap draws; the ends of the interval then stand to about a fortieth of a standard error.
const RESAMPLES: usize = 10_000;

/// What runs are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Mean Dice of the held-out images at their own size.
    HeldOut,
    /// Best validation Dice at the model's size, where a run has no scores of the held-out images.
    ModelSize,
}

/// Runs whose configurations differ in fold and seed alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunGroup {
    /// What the names of its runs have in common.
    pub name: String,
    /// Names of its runs.
    pub runs: Vec<String>,
    /// Folds held out.
    pub folds: Vec<i64>,
    /// Seeds.
    pub seeds: Vec<i64>,
    /// Mean over the runs of their mean Dice; absent where none was scored.
    pub mean_dice: Option<f64>,
    /// Standard deviation over the runs; absent for one run.
    pub sd_over_runs: Option<f64>,
    /// Its value of each changed setting; absent where the configuration has no such key.
    pub settings: BTreeMap<String, Option<String>>,
}

/// A difference with its 95 % interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Dice of the group less that of the first group.
    pub difference: f64,
    /// 95 % interval.
    pub ci: Interval,
    /// What was paired and how the interval came about.
    pub method: String,
}

/// How a group differs from the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Name of the group.
    pub group: String,
    /// Difference of the groups' mean Dice; absent where one was not scored.
    pub difference: Option<f64>,
    /// Over folds or seeds: what another training would give. Absent with fewer than two runs a group.
    pub over_runs: Option<Estimate>,
    /// Over images: what these weights would give on other images; the chance of training is not in it. Absent where
    /// fewer than two images were scored in both groups.
    pub over_images: Option<Estimate>,
}

/// Groups of runs held against the first of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// What is compared.
    pub measure: Measure,
    /// Settings in which the groups differ.
    pub changed: Vec<String>,
    /// Groups in the order of their first runs.
    pub groups: Vec<RunGroup>,
    /// One a group after the first.
    pub differences: Vec<Difference>,
    /// What limits the comparison.
    pub remarks: Vec<String>,
}

/// Groups the runs, names the changed settings and estimates the differences in mean Dice from the first group.
///
/// Where both groups have at least two runs, the interval over runs is Student's of the differences paired by (fold,
/// seed); where fewer than two such pairs are common, Welch's. The interval over images is the percentile bootstrap's
/// of the differences paired by image. It draws whole patients; where an image's patient is not known it draws images,
/// with a remark.
///
/// # Errors
/// No run at all, or those of polars.
pub fn compare(runs: &[Run]) -> Result<Comparison, RunError> {
    if runs.is_empty() {
        return Err(RunError::Compare("no run to compare".into()));
    }
    let mut members: Vec<(BTreeMap<String, String>, Vec<&Run>)> = Vec::new();
    for run in runs {
        let key = experiment(&run.config);
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(run),
            None => members.push((key, vec![run])),
        }
    }
    let scored = runs.iter().all(|r| r.held_out().is_some());
    let measure = if scored { Measure::HeldOut } else { Measure::ModelSize };
    let mut remarks = Vec::new();
    if !scored {
        let without: Vec<&str> = runs.iter().filter(|r| r.held_out().is_none()).map(|r| r.name.as_str()).collect();
        remarks.push(format!(
            "compared by the best validation Dice at the model's size, since {} without scores of the held-out images \
             at their own size ({})",
            if without.len() == 1 { "a run is" } else { "runs are" },
            without.join(", ")
        ));
    }
    let keys: BTreeSet<&String> = members.iter().flat_map(|(key, _)| key.keys()).collect();
    let changed: Vec<String> = keys
        .into_iter()
        .filter(|key| members.iter().any(|(settings, _)| settings.get(*key) != members[0].0.get(*key)))
        .cloned()
        .collect();
    let groups: Vec<RunGroup> =
        members.iter().map(|(settings, runs)| group(settings, runs, &changed, measure)).collect();
    let patients = Patients::read(runs)?;
    let first = &members[0].1;
    let differences = members[1..]
        .iter()
        .zip(&groups[1..])
        .map(|((_, runs), group)| {
            Ok(Difference {
                group: group.name.clone(),
                difference: group.mean_dice.zip(groups[0].mean_dice).map(|(a, b)| a - b),
                over_runs: over_runs(first, runs, measure),
                over_images: over_images(first, runs, &patients, &mut remarks)?,
            })
        })
        .collect::<PolarsResult<_>>()?;
    for ((_, runs), group) in members[1..].iter().zip(&groups[1..]) {
        remarks.extend(other_images(first, runs, &groups[0].name, &group.name));
    }
    if let [only] = &groups[..] {
        remarks.push(match only.runs.len() {
            1 => "one run: nothing to compare".into(),
            n => format!("the {n} runs differ in {} alone: one group", UNITS.join(" and ")),
        });
    }
    Ok(Comparison { measure, changed, groups, differences, remarks })
}

fn group(settings: &BTreeMap<String, String>, runs: &[&Run], changed: &[String], measure: Measure) -> RunGroup {
    let dice: Vec<f64> = runs.iter().filter_map(|r| value(r, measure)).collect();
    let summary = crate::stats::summary(&dice);
    let whole = |place: usize| {
        let found: BTreeSet<i64> = runs.iter().filter_map(|r| unit(r)[place]).collect();
        found.into_iter().collect()
    };
    RunGroup {
        name: common_name(&runs.iter().map(|r| r.name.as_str()).collect::<Vec<_>>()),
        runs: runs.iter().map(|r| r.name.clone()).collect(),
        folds: whole(0),
        seeds: whole(1),
        mean_dice: summary.as_ref().map(|s| s.mean),
        sd_over_runs: summary.and_then(|s| s.sd),
        settings: changed.iter().map(|key| (key.clone(), settings.get(key).cloned())).collect(),
    }
}

fn value(run: &Run, measure: Measure) -> Option<f64> {
    match measure {
        Measure::HeldOut => run.held_out(),
        Measure::ModelSize => run.best().map(|b| b.1),
    }
}

/// Fold and seed of a run.
fn unit(run: &Run) -> [Option<i64>; UNITS.len()] {
    UNITS.map(|key| run.setting(key).and_then(toml::Value::as_integer))
}

/// The longest common start of the names, without what only a number was to follow.
fn common_name(names: &[&str]) -> String {
    let Some((first, others)) = names.split_first() else { return String::new() };
    if others.is_empty() {
        return (*first).to_owned();
    }
    let shared = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let length = others.iter().map(|name| shared(first, name)).min().unwrap_or(0);
    let start: String = first.chars().take(length).collect();
    let start = start.trim_end_matches(|c: char| c.is_ascii_digit());
    let start = ["fold", "seed"].iter().fold(start, |name, unit| name.strip_suffix(unit).unwrap_or(name));
    match start.trim_end_matches(['-', '_', '.']) {
        "" => (*first).to_owned(),
        name => name.to_owned(),
    }
}

/// Mean of each (fold, seed); a pair that was run twice counts once.
fn by_unit(runs: &[&Run], measure: Measure) -> BTreeMap<[Option<i64>; UNITS.len()], f64> {
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for run in runs {
        values.entry(unit(run)).or_default().extend(value(run, measure));
    }
    values.retain(|_, dice| !dice.is_empty());
    values.into_iter().map(|(unit, dice)| (unit, dice.iter().sum::<f64>() / dice.len() as f64)).collect()
}

fn over_runs(first: &[&Run], second: &[&Run], measure: Measure) -> Option<Estimate> {
    let (first, second) = (by_unit(first, measure), by_unit(second, measure));
    let pairs: Vec<(f64, f64)> = second.iter().filter_map(|(unit, dice)| Some((*dice, *first.get(unit)?))).collect();
    if pairs.len() >= 2 {
        let paired = paired_t(&pairs)?;
        let method = format!("paired by fold and seed, t interval, n = {}", paired.n);
        return Some(Estimate { difference: paired.difference, ci: paired.ci, method });
    }
    let values = |dice: &BTreeMap<_, f64>| dice.values().copied().collect::<Vec<f64>>();
    let unpaired = welch(&values(&second), &values(&first))?;
    let method =
        format!("not paired (no fold and seed in common), Welch's t interval, n = {} and {}", unpaired.n1, unpaired.n2);
    Some(Estimate { difference: unpaired.difference, ci: unpaired.ci, method })
}

/// Whose each image is: by the runs themselves, else by the folds that they were trained on.
struct Patients {
    /// Image and patient, each image once.
    of_images: DataFrame,
    /// Why a run without patients of its own has none from its folds either.
    reasons: Vec<String>,
}

impl Patients {
    fn read(runs: &[Run]) -> PolarsResult<Patients> {
        let (mut rows, mut reasons) = (Vec::new(), Vec::new());
        let row = |image_id, patient_id| HeldOutRow { image_id, patient_id };
        for run in runs.iter().filter(|run| run.patients.is_empty()) {
            let file = run.setting("data.folds").and_then(toml::Value::as_str).unwrap_or_default();
            let reason = match tables::read::<FoldRow>(file.as_ref()) {
                Ok(folds) => {
                    rows.extend(folds.into_iter().map(|of| row(of.image_id, of.patient_id)));
                    continue;
                }
                Err(_) if !Path::new(file).exists() => {
                    format!("{} has no {HELD_OUT}, and its folds file {file:?} is not in this folder", run.name)
                }
                Err(error) => format!("{} has no {HELD_OUT}, and of its folds, {error}", run.name),
            };
            reasons.push(reason);
        }
        for run in runs {
            rows.extend(run.patients.iter().map(|(image, patient)| row(image.clone(), patient.clone())));
        }
        let of_images = HeldOutRow::to_frame(&rows)?.lazy();
        let of_images = of_images.unique_stable_generic(Some(vec![col("image_id")]), UniqueKeepStrategy::Last);
        Ok(Patients { of_images: of_images.collect()?, reasons })
    }

    /// Why whole patients cannot be drawn.
    fn remark(&self, image: &str) -> String {
        let reason = self
            .reasons
            .first()
            .cloned()
            .unwrap_or_else(|| format!("neither {HELD_OUT} nor the folds of a run have it"));
        format!(
            "images and not whole patients were drawn for the interval over images, which is then too narrow where patients \
             have several images: the patient of image {image} is not known ({reason}); run this where the folds file is \
             found by the path in the runs' config.toml"
        )
    }
}

/// Mean Dice of each image over the group's runs.
fn by_image(runs: &[&Run], dice: &str) -> PolarsResult<LazyFrame> {
    let scores = runs.iter().flat_map(|run| &run.scores);
    let (images, means): (Vec<&str>, Vec<f64>) = scores.map(|score| (score.image_id.as_str(), score.mean())).unzip();
    Ok(df!("image_id" => images, dice => means)?.lazy().group_by([col("image_id")]).agg([col(dice).mean()]))
}

/// What is to be said where two groups were scored on different images: other folds, or other data.
fn other_images(first: &[&Run], second: &[&Run], first_name: &str, second_name: &str) -> Option<String> {
    let images = |runs: &[&Run]| -> BTreeSet<String> {
        runs.iter().flat_map(|run| &run.scores).map(|score| score.image_id.clone()).collect()
    };
    let (first, second) = (images(first), images(second));
    let common = first.intersection(&second).count();
    let (alone, other) = (first.len() - common, second.len() - common);
    if first.is_empty() || second.is_empty() || alone + other == 0 {
        return None;
    }
    let counted = |n| counted(n, "image", "images");
    Some(format!(
        "{first_name} and {second_name} were scored on different images: {} in both, {} in {first_name} alone, {} in \
         {second_name} alone; their mean Dice differ by the images too",
        counted(common),
        counted(alone),
        counted(other)
    ))
}

fn over_images(
    first: &[&Run],
    second: &[&Run],
    patients: &Patients,
    remarks: &mut Vec<String>,
) -> PolarsResult<Option<Estimate>> {
    let key = [col("image_id")];
    let common =
        by_image(first, "first")?.join(by_image(second, "second")?, &key, &key, JoinArgs::new(JoinType::Inner));
    let common = common.join(patients.of_images.clone().lazy(), &key, &key, JoinArgs::new(JoinType::Left));
    let common = common.sort(["image_id"], SortMultipleOptions::default());
    let common = common.with_column((col("second") - col("first")).alias("difference")).collect()?;
    let unknown = texts(&filtered(&common, col("patient_id").is_null())?, "image_id")?.into_iter().flatten().next();
    let clusters = texts(&common, if unknown.is_some() { "image_id" } else { "patient_id" })?;
    let clustered: Vec<_> = clusters.into_iter().zip(f64::values(common.column("difference")?)?).collect();
    let Some(found) = bootstrap_mean(&clustered, RESAMPLES, 0) else { return Ok(None) };
    let drawn = match unknown {
        None => format!("{} drawn", counted(found.clusters, "patient", "patients")),
        Some(image) => {
            let remark = patients.remark(&image);
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
            "single images drawn, not whole patients".into()
        }
    };
    let method = format!("paired by image, percentile bootstrap, {drawn}, n = {}", counted(found.n, "image", "images"));
    Ok(Some(Estimate { difference: found.mean, ci: found.ci, method }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_named_by_what_their_runs_share() {
        assert_eq!(common_name(&["fpn-b0-fold0", "fpn-b0-fold1"]), "fpn-b0");
        assert_eq!(common_name(&["ema_seed10", "ema_seed11"]), "ema");
        assert_eq!(common_name(&["a", "b"]), "a");
        assert_eq!(common_name(&["alone-fold0"]), "alone-fold0");
        assert_eq!(common_name(&["손-fold0", "손-fold1"]), "손");
    }
}
