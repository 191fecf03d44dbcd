//! Dice by subgroup: sex, rotation, age, height and fold of the held-out images.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::*;
use serde::Serialize;

use super::compare::{MIN_RESAMPLED, RESAMPLES, common_name, experiments};
use super::{Run, RunError};
use crate::names::image_id;
use crate::scores::DiceTable;
use crate::stats::{self, Interval, bootstrap_difference, bootstrap_mean};
use crate::tables::{
    FoldRow, ImageRow, PatientRow, TableRow, Tables, cells, filtered, numbers, table, texts, with_patients,
};
use crate::wording::counted;

/// Name of the group of images whose value is missing in the tables.
const UNKNOWN: &str = "unknown";

/// Number of groups that heights are cut into.
const QUANTILES: usize = 4;

table! {
    /// Dice of a subgroup of the held-out images of an experiment.
    pub struct SubgroupRow in "subgroups", for_people = false {
        /// Common part of the names of the experiment's runs.
        pub experiment: String,
        /// `all`, `sex`, `rotated`, `age`, `height` or `fold`.
        pub field: String,
        /// Value of the field: `F`, `20-29`.
        pub subgroup: String,
        /// Number of images.
        pub images: u32,
        /// Number of patients.
        pub patients: u32,
        /// Mean Dice over the images, 0 to 1.
        pub dice: f64,
        /// Lower bound of the 95 % confidence interval; `None` with fewer than 6 patients.
        pub ci_low: Option<f64>,
        /// Upper bound of the 95 % confidence interval.
        pub ci_high: Option<f64>,
        /// Why there is no interval; otherwise empty.
        pub note: String,
    }
}

/// The groups with the lowest and the highest mean Dice of a field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubgroupGap {
    /// Common part of the names of the experiment's runs.
    pub experiment: String,
    /// The field: `sex`.
    pub field: String,
    /// The group with the lowest mean Dice, of those with at least 6 patients and a known value.
    pub worst: String,
    /// The group with the highest mean Dice.
    pub best: String,
    /// Mean Dice of the best minus that of the worst.
    pub difference: f64,
    /// 95 % confidence interval of the difference between these two groups. Because they are chosen by their means, the
    /// interval of many groups excludes 0 more often than in 5 % of cases without a difference.
    pub ci: Option<Interval>,
}

/// Dice by subgroup of one or more experiments.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Subgroups {
    /// By experiment, field and group.
    pub groups: Vec<SubgroupRow>,
    /// By experiment and field, of fields with two groups of at least 6 patients.
    pub gaps: Vec<SubgroupGap>,
    /// Scored images that are not in the tables, and runs without scores: one sentence each.
    pub warnings: Vec<String>,
}

/// The mean Dice of the held-out images by sex, rotation, decade of age, quarter of height and fold, each with the
/// percentile bootstrap interval that resamples patients. Runs that differ only in fold and seed are one experiment; an
/// image that several of its runs scored (with other seeds) has the mean of its scores. Patients and their values come from
/// the tables of a scan. Quarters are cut at the quartiles of the heights of the scored patients, as numpy interpolates
/// them; a height equal to a quartile is in the upper group.
///
/// # Errors
/// No run has scores, two runs of an experiment held out the same image in different folds, no scored image is in the
/// tables, or polars cannot evaluate the tables.
pub fn subgroups(runs: &[Run], tables: &Tables) -> Result<Subgroups, RunError> {
    let hands = with_patients(ImageRow::to_frame(&tables.images)?, PatientRow::to_frame(&tables.patients)?)?;
    let mut found = Subgroups::default();
    for run in runs.iter().filter(|run| run.scores.is_empty()) {
        found.warnings.push(format!("{} has no scores of the held-out images and is left out", run.name));
    }
    for (_, members) in experiments(runs) {
        let members: Vec<&Run> = members.into_iter().filter(|run| !run.scores.is_empty()).collect();
        if members.is_empty() {
            continue;
        }
        let name = common_name(&members.iter().map(|run| run.name.as_str()).collect::<Vec<_>>());
        let images = images(&members, &name, &hands, &mut found.warnings)?;
        for (field, label) in fields(&images)? {
            let groups = by_label(&images, label)?;
            found.gaps.extend(gap(&name, field, &groups, RESAMPLES));
            found.groups.extend(groups.iter().map(|group| row(&name, field, group, RESAMPLES)));
        }
    }
    if found.groups.is_empty() {
        let reason = "no run has scores of the held-out images; `carpus evaluate` writes per_image_dice.csv into the folder of a run";
        return Err(RunError::Compare(reason.into()));
    }
    Ok(found)
}

/// The Dice of a table of scores by sex, rotation, age, height, mask size and, if given, fold, as [`subgroups`] does for runs, with
/// `resamples` draws per interval. The experiment is `name`. Mask sizes are cut at the quartiles of the scored images.
///
/// # Errors
/// No scored image is in the tables, or polars cannot evaluate them.
pub fn subgroups_of_scores(
    name: &str,
    scores: &DiceTable,
    folds: Option<&[FoldRow]>,
    tables: &Tables,
    resamples: usize,
) -> Result<Subgroups, RunError> {
    let hands = with_patients(ImageRow::to_frame(&tables.images)?, PatientRow::to_frame(&tables.patients)?)?;
    let fold_of: HashMap<String, i64> =
        folds.into_iter().flatten().map(|row| (image_id(&row.image_id), i64::from(row.fold))).collect();
    let (mut ids, mut dice, mut of_fold) = (Vec::new(), Vec::new(), Vec::new());
    for image in scores.images() {
        let known: Vec<f64> = scores.image(image).into_iter().flatten().copied().flatten().collect();
        if known.is_empty() {
            continue;
        }
        ids.push(image.to_owned());
        dice.push(known.iter().sum::<f64>() / known.len() as f64);
        of_fold.push(fold_of.get(image).copied());
    }
    let scored = df!("image_id" => ids, "dice" => dice, "fold" => of_fold)?;
    let mut found = Subgroups::default();
    let images = with_tables(scored, name, &hands, &mut found.warnings)?;
    let mut wanted = fields(&images)?;
    let size = col("mask_px").cast(DataType::Float64);
    let mut sizes = numbers(&images, size.clone().filter(col("mask_px").gt(lit(0u64))))?;
    let size = size / lit(1000.0);
    sizes.iter_mut().for_each(|px| *px /= 1000.0);
    let unknown = lit(NULL).cast(DataType::String);
    let by_size = quarter(sizes, size, "mask sizes", "thousand px");
    wanted.push(("mask size", when(col("mask_px").gt(lit(0u64))).then(by_size).otherwise(unknown)));
    if folds.is_none() {
        wanted.retain(|(field, _)| *field != "fold");
    }
    for (field, label) in wanted {
        let groups = by_label(&images, label)?;
        found.gaps.extend(gap(name, field, &groups, resamples));
        found.groups.extend(groups.iter().map(|group| row(name, field, group, resamples)));
    }
    Ok(found)
}

/// One row per scored image: id, patient, mean Dice, fold, and the columns of images and patients.
fn images(runs: &[&Run], name: &str, hands: &DataFrame, warnings: &mut Vec<String>) -> Result<DataFrame, RunError> {
    let (mut ids, mut dice, mut folds) = (Vec::new(), Vec::new(), Vec::new());
    for run in runs {
        let fold = run.setting("data.fold").and_then(toml::Value::as_integer);
        for score in &run.scores {
            ids.push(image_id(&score.image_id));
            dice.push(score.mean());
            folds.push(fold);
        }
    }
    let scores = df!("image_id" => ids, "dice" => dice, "fold" => folds)?.lazy();
    let by = [col("image_id")];
    let fold = [col("fold").min().alias("fold"), col("fold").max().alias("last_fold"), col("dice").mean()];
    let scores = scores.group_by(by.clone()).agg(fold).sort(["image_id"], SortMultipleOptions::default()).collect()?;
    let twice = filtered(&scores, col("fold").neq(col("last_fold")))?;
    if let Some(image) = texts(&twice, "image_id")?.into_iter().flatten().next() {
        return Err(RunError::Compare(format!(
            "image {image} was held out in two folds of {name}: the runs were trained with different folds files. Give the runs of \
             one folds file"
        )));
    }
    with_tables(scores, name, hands, warnings)
}

/// Scores with the columns of images and patients, in the order of the ids. Images that the tables do not have are a warning.
fn with_tables(
    scores: DataFrame,
    name: &str,
    hands: &DataFrame,
    warnings: &mut Vec<String>,
) -> Result<DataFrame, RunError> {
    let by = [col("image_id")];
    let known = scores.clone().lazy().join(hands.clone().lazy(), &by, &by, JoinArgs::new(JoinType::Inner));
    let known = known.sort(["image_id"], SortMultipleOptions::default()).collect()?;
    let unknown = scores.lazy().join(hands.clone().lazy(), &by, &by, JoinArgs::new(JoinType::Anti)).collect()?;
    if let Some(first) = texts(&unknown, "image_id")?.into_iter().flatten().min() {
        let text = format!(
            "{name}: {} not in the tables, for example {first}; give the tables of the data that the run was trained on",
            counted(unknown.height(), "scored image is", "scored images are")
        );
        if known.height() == 0 {
            return Err(RunError::Compare(text));
        }
        warnings.push(text);
    }
    Ok(known)
}

/// The fields, each with an expression of the group's name; null where the value is unknown.
fn fields(images: &DataFrame) -> PolarsResult<Vec<(&'static str, Expr)>> {
    let unknown = || lit(NULL).cast(DataType::String);
    let rotated = when(col("rotated")).then(lit("rotated")).otherwise(lit("straight"));
    let decade = (col("age") / lit(10.0)).floor() * lit(10.0);
    let number = |value: Expr| value.cast(DataType::Int64).cast(DataType::String);
    let age = number(decade.clone()) + lit("-") + number(decade + lit(9.0));
    let by_height = quarter(heights(images)?, col("height_cm"), "heights", "cm");
    Ok(vec![
        ("all", lit("all")),
        ("sex", col("sex").cast(DataType::String)),
        ("rotated", when(col("rotated").is_null()).then(unknown()).otherwise(rotated)),
        ("age", when(col("age").is_finite()).then(age).otherwise(unknown())),
        ("height", when(col("height_cm").is_finite()).then(by_height).otherwise(unknown())),
        ("fold", col("fold").cast(DataType::String)),
    ])
}

/// The heights of the scored patients.
fn heights(images: &DataFrame) -> PolarsResult<Vec<f64>> {
    let patients = images.clone().lazy().group_by([col("patient_id")]).agg([col("height_cm").first()]).collect()?;
    numbers(&patients, col("height_cm"))
}

/// The name of the quarter that `value` is in, by the quartiles of `all`. Equal quartiles are one limit.
fn quarter(mut all: Vec<f64>, value: Expr, plural: &str, unit: &str) -> Expr {
    all.sort_by(f64::total_cmp);
    let mut limits: Vec<f64> = match all.is_empty() {
        true => Vec::new(),
        false => (1..QUANTILES).map(|i| stats::quantile_sorted(&all, i as f64 / QUANTILES as f64)).collect(),
    };
    limits.dedup();
    let name = |i: usize| match (i.checked_sub(1).and_then(|i| limits.get(i)), limits.get(i)) {
        (None, None) => format!("all {plural}"),
        (None, Some(high)) => format!("{}: below {high:.1} {unit}", i + 1),
        (Some(low), None) => format!("{}: {low:.1} {unit} and more", i + 1),
        (Some(low), Some(high)) => format!("{}: {low:.1} to below {high:.1} {unit}", i + 1),
    };
    let above =
        |lower: Expr, i: usize| when(value.clone().gt_eq(lit(limits[i]))).then(lit(name(i + 1))).otherwise(lower);
    (0..limits.len()).fold(lit(name(0)), above)
}

/// Patients and Dice of the images of each group, in the order of the groups: numbers by value, texts by alphabet, unknown
/// values last.
fn by_label(images: &DataFrame, label: Expr) -> PolarsResult<Vec<Subgroup>> {
    let frame = images.clone().lazy().select([label.alias("label"), col("patient_id"), col("dice")]).collect()?;
    let patients = cells::<String>(&frame, "patient_id")?;
    let dice = cells::<f64>(&frame, "dice")?;
    // Whether the label is unknown, its number, and the label.
    type Place = (bool, Option<i64>, String);
    let mut groups: BTreeMap<Place, Vec<(String, f64)>> = BTreeMap::new();
    for (label, value) in texts(&frame, "label")?.into_iter().zip(patients.into_iter().zip(dice)) {
        let is_unknown = label.is_none();
        let label = label.unwrap_or_else(|| UNKNOWN.into());
        groups.entry((is_unknown, label.parse().ok(), label)).or_default().push(value);
    }
    Ok(groups.into_iter().map(|((.., label), values)| Subgroup { label, values }).collect())
}

/// The images of a subgroup.
struct Subgroup {
    label: String,
    /// Patient and Dice of each image.
    values: Vec<(String, f64)>,
}

fn patients(values: &[(String, f64)]) -> usize {
    values.iter().map(|(patient, _)| patient).collect::<BTreeSet<_>>().len()
}

fn mean(values: &[(String, f64)]) -> f64 {
    values.iter().map(|(_, dice)| dice).sum::<f64>() / values.len() as f64
}

fn row(experiment: &str, field: &str, Subgroup { label, values }: &Subgroup, resamples: usize) -> SubgroupRow {
    let patients = patients(values);
    let ci = (patients >= MIN_RESAMPLED).then(|| bootstrap_mean(values, resamples, 0)).flatten().map(|found| found.ci);
    SubgroupRow {
        experiment: experiment.into(),
        field: field.into(),
        subgroup: label.clone(),
        images: values.len() as u32,
        patients: patients as u32,
        dice: mean(values),
        ci_low: ci.map(|ci| ci.low),
        ci_high: ci.map(|ci| ci.high),
        note: match ci {
            Some(_) => String::new(),
            None => format!("fewer than {MIN_RESAMPLED} patients: no interval"),
        },
    }
}

fn gap(experiment: &str, field: &str, groups: &[Subgroup], resamples: usize) -> Option<SubgroupGap> {
    let known = groups.iter().filter(|group| group.label != UNKNOWN && patients(&group.values) >= MIN_RESAMPLED);
    let by_mean = |a: &&Subgroup, b: &&Subgroup| mean(&a.values).total_cmp(&mean(&b.values));
    let (worst, best) = (known.clone().min_by(by_mean)?, known.max_by(by_mean)?);
    if worst.label == best.label {
        return None;
    }
    Some(SubgroupGap {
        experiment: experiment.into(),
        field: field.into(),
        worst: worst.label.clone(),
        best: best.label.clone(),
        difference: mean(&best.values) - mean(&worst.values),
        ci: bootstrap_difference(&best.values, &worst.values, resamples, 0).map(|found| found.ci),
    })
}
