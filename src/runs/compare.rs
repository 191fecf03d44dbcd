use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use polars::prelude::*;
use serde::Serialize;

use super::leaderboard::{GroupLeaderboard, Leaderboard, rank_conflicts};
use super::noise::seed_noise;
use super::run::Run;
use super::settings::{choices, experiment};
use super::{HELD_OUT, RunError, TRAINING_KEYS};
use crate::stats::{Interval, PooledSd, bootstrap_mean, paired_t, welch};
use crate::tables::{self, ColumnValue, HeldOutRow, TableRow, filtered, texts};
use crate::wording::counted;

/// Number of bootstrap samples; the limits of the interval then have a random error of about 1/40 of the standard error.
pub(super) const RESAMPLES: usize = 10_000;

/// Smallest number of patients (of images, if the patients are unknown) for a bootstrap interval. With fewer, percentile
/// intervals are much too narrow.
pub(super) const MIN_RESAMPLED: usize = 6;

/// Dice by which runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Mean Dice of the held-out images at original size.
    HeldOut,
    /// Best validation Dice at the model's input size; used if a run has no scores of the held-out images.
    ModelSize,
}

impl Measure {
    /// The measure that all of these runs have.
    pub fn of(runs: &[Run]) -> Measure {
        if runs.iter().all(|run| run.held_out().is_some()) { Measure::HeldOut } else { Measure::ModelSize }
    }
}

/// Runs whose configurations differ only in fold and seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunGroup {
    /// Common part of the names of its runs.
    pub name: String,
    /// Names of its runs.
    pub runs: Vec<String>,
    /// Held-out folds.
    pub folds: Vec<i64>,
    /// Seeds.
    pub seeds: Vec<i64>,
    /// Mean over its trainings of the mean Dice; absent if none has a score. Runs of the same fold and seed are one training.
    pub mean_dice: Option<f64>,
    /// Standard deviation over its trainings; absent for one training.
    pub sd_over_runs: Option<f64>,
    /// Number of its trainings with a score.
    pub trainings: usize,
    /// Leaderboard scores: means over its runs that have one.
    pub leaderboard: Leaderboard,
    /// Validation Dice minus leaderboard, over the same runs.
    pub gap: Leaderboard,
    /// Value of each changed setting; absent if the configuration does not have it.
    pub settings: BTreeMap<String, Option<String>>,
}

/// A mean difference with its 95 % confidence interval.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Dice of the group minus Dice of the first group.
    pub difference: f64,
    /// 95 % confidence interval.
    pub ci: Interval,
    /// Pairing, kind of interval and number of values.
    pub method: String,
}

/// A difference compared with the noise between seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeedNoiseBound {
    /// Difference that the seeds alone exceed by chance in 5 % of comparisons of as many trainings.
    pub bound: f64,
    /// Whether the difference is smaller.
    pub is_smaller: bool,
}

/// Difference between a group and the first group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Name of the group.
    pub group: String,
    /// Difference of the groups' mean Dice; absent if a group has none.
    pub difference: Option<f64>,
    /// Whether both groups were scored on the same images. If not, `difference` includes the difference between the images.
    pub same_images: bool,
    /// Estimate over folds or seeds: expected difference for other trainings. Absent with fewer than two trainings per group.
    pub over_runs: Option<Estimate>,
    /// Estimate over images: expected difference of these weights on other images, without the variation between
    /// trainings. Absent if the images scored in both groups belong to too few patients.
    pub over_images: Option<Estimate>,
    /// The difference compared with the noise between seeds; absent if the noise is unknown.
    pub seed_noise: Option<SeedNoiseBound>,
}

/// Groups of runs, compared with the first group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Dice that is compared.
    pub measure: Measure,
    /// Settings in which the groups differ.
    pub changed: Vec<String>,
    /// Standard deviation of the mean Dice between trainings that differ only in their seed, pooled over equal settings
    /// and folds; absent if no run was repeated with another seed.
    pub seed_noise: Option<PooledSd>,
    /// Groups in the order of their first runs.
    pub groups: Vec<RunGroup>,
    /// One difference per group after the first.
    pub differences: Vec<Difference>,
    /// Limits of the comparison.
    pub remarks: Vec<String>,
    /// Probable mistakes: the same training twice, runs that disagree about the patient of an image, groups that differ in
    /// several settings, or whose order on the leaderboard is not that of the validation.
    pub warnings: Vec<String>,
}

impl Difference {
    /// The difference of the mean Dice with its sign, marked if the groups were not scored on the same images; empty if
    /// there is none.
    pub fn text(&self) -> String {
        let mark = if self.same_images { "" } else { " (not on the same images)" };
        self.difference.map_or(String::new(), |difference| format!("{difference:+.4}{mark}"))
    }
}

/// Groups the runs, lists the changed settings and estimates the differences in mean Dice from the first group.
///
/// The interval over runs needs at least two trainings per group. It is Student's interval of the differences paired by
/// (fold, seed), or Welch's interval if the groups have fewer than two such pairs in common. The interval over images is
/// the percentile bootstrap interval of the differences paired by image. It resamples patients or, if the patient of an
/// image is unknown, images, and needs at least 6 of them; a note gives the reason for both. If the runs contain repeated
/// seeds, each difference is compared with the noise between seeds: Student's 95 % bound by the pooled deviation.
///
/// # Errors
/// There is no run, or polars cannot evaluate the scores.
pub fn compare(runs: &[Run]) -> Result<Comparison, RunError> {
    if runs.is_empty() {
        return Err(RunError::Compare("no runs to compare".into()));
    }
    let members = experiments(runs);
    let measure = Measure::of(runs);
    let mut remarks = Vec::new();
    if measure == Measure::ModelSize {
        let without: Vec<&str> = runs.iter().filter(|r| r.held_out().is_none()).map(|r| r.name.as_str()).collect();
        remarks.push(format!(
            "compared by the best validation Dice at the model's input size, because {} no usable scores of the held-out images at \
             original size: {}",
            counted(without.len(), "run has", "runs have"),
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
    let mut warnings: Vec<String> = members.iter().flat_map(|(_, runs)| repeated_trainings(runs)).collect();
    warnings.extend(patients.conflicts.clone());
    warnings.extend(groups[1..].iter().flat_map(|group| doubts(&groups[0], group)));
    let noise = seed_noise(runs);
    let first = &members[0].1;
    let differences = members[1..]
        .iter()
        .zip(&groups[1..])
        .map(|((_, runs), group)| {
            let difference = group.mean_dice.zip(groups[0].mean_dice).map(|(a, b)| a - b);
            let bound = noise.as_ref().map(|noise| noise.bound(groups[0].trainings, group.trainings));
            Ok(Difference {
                group: group.name.clone(),
                difference,
                seed_noise: difference
                    .zip(bound)
                    .map(|(d, bound)| SeedNoiseBound { bound, is_smaller: d.abs() < bound }),
                same_images: on_same_images(first, runs),
                over_runs: over_runs(first, runs, measure),
                over_images: over_images([(&groups[0].name, first), (&group.name, runs)], &patients, &mut remarks)?,
            })
        })
        .collect::<PolarsResult<_>>()?;
    for ((_, runs), group) in members[1..].iter().zip(&groups[1..]) {
        remarks.extend(different_images(first, runs, &groups[0].name, &group.name));
    }
    if let [only] = &groups[..] {
        remarks.push(match only.runs.len() {
            1 => "one run: nothing to compare".into(),
            n if runs.iter().all(|run| fold_and_seed(run) == fold_and_seed(&runs[0])) => {
                format!("the {n} runs are one training: nothing to compare")
            }
            n => format!("the {n} runs differ only in {}: one experiment, nothing to compare", differing(runs)),
        });
    }
    Ok(Comparison { measure, changed, seed_noise: noise, groups, differences, remarks, warnings })
}

/// The runs by experiment: those with equal settings except fold and seed, in the order of their first runs.
pub(super) fn experiments(runs: &[Run]) -> Vec<(BTreeMap<String, String>, Vec<&Run>)> {
    let mut members: Vec<(BTreeMap<String, String>, Vec<&Run>)> = Vec::new();
    for run in runs {
        let key = experiment(&run.config);
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(run),
            None => members.push((key, vec![run])),
        }
    }
    members
}

/// Warnings about a comparison of two groups: several settings differ, or validation and leaderboard disagree.
fn doubts(first: &RunGroup, second: &RunGroup) -> Vec<String> {
    let differ = first.settings.keys().filter(|key| first.settings[*key] != second.settings[*key]);
    let changed = choices(&differ.map(String::as_str).collect::<Vec<_>>());
    let several = (changed.len() > 1).then(|| {
        format!(
            "{} and {} differ in {} settings: {}; the difference in Dice cannot be attributed to one of them",
            first.name,
            second.name,
            changed.len(),
            changed.into_iter().collect::<Vec<_>>().join(", ")
        )
    });
    let of = |group: &RunGroup| GroupLeaderboard { score: group.leaderboard, gap: group.gap };
    several.into_iter().chain(rank_conflicts((&first.name, &of(first)), (&second.name, &of(second)))).collect()
}

fn group(settings: &BTreeMap<String, String>, runs: &[&Run], changed: &[String], measure: Measure) -> RunGroup {
    let dice: Vec<f64> = by_training(runs, measure).into_values().collect();
    let summary = crate::stats::summary(&dice);
    let GroupLeaderboard { score, gap } = GroupLeaderboard::new(runs, |run| value(run, measure));
    let values = |place: usize| {
        let found: BTreeSet<i64> = runs.iter().filter_map(|r| fold_and_seed(r)[place]).collect();
        found.into_iter().collect()
    };
    RunGroup {
        name: common_name(&runs.iter().map(|r| r.name.as_str()).collect::<Vec<_>>()),
        runs: runs.iter().map(|r| r.name.clone()).collect(),
        folds: values(0),
        seeds: values(1),
        mean_dice: summary.as_ref().map(|s| s.mean),
        sd_over_runs: summary.and_then(|s| s.sd),
        trainings: dice.len(),
        leaderboard: score,
        gap,
        settings: changed.iter().map(|key| (key.clone(), settings.get(key).cloned())).collect(),
    }
}

fn value(run: &Run, measure: Measure) -> Option<f64> {
    match measure {
        Measure::HeldOut => run.held_out(),
        Measure::ModelSize => run.best().map(|b| b.dice),
    }
}

/// Fold and seed of a run.
fn fold_and_seed(run: &Run) -> [Option<i64>; TRAINING_KEYS.len()] {
    TRAINING_KEYS.map(|key| run.setting(key).and_then(toml::Value::as_integer))
}

/// The training keys in which the runs differ: `the fold`, `the fold and the seed`.
fn differing(runs: &[Run]) -> String {
    let differs = |at: &usize| runs.iter().any(|run| fold_and_seed(run)[*at] != fold_and_seed(&runs[0])[*at]);
    let name = |at: usize| format!("the {}", TRAINING_KEYS[at].rsplit('.').next().unwrap_or_default());
    (0..TRAINING_KEYS.len()).filter(differs).map(name).collect::<Vec<_>>().join(" and ")
}

/// The longest common prefix of the names, without a trailing number and the words before it (`-fold0`, `_seed1`).
pub(super) fn common_name(names: &[&str]) -> String {
    let Some((first, others)) = names.split_first() else { return String::new() };
    if others.is_empty() {
        return (*first).to_owned();
    }
    let common = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count();
    let length = others.iter().map(|name| common(first, name)).min().unwrap_or(0);
    let start: String = first.chars().take(length).collect();
    let start = start.trim_end_matches(|c: char| c.is_ascii_digit());
    let start = ["fold", "seed"].iter().fold(start, |name, unit| name.strip_suffix(unit).unwrap_or(name));
    match start.trim_end_matches(['-', '_', '.']) {
        "" => (*first).to_owned(),
        name => name.to_owned(),
    }
}

/// Mean Dice of each training, which is a pair of fold and seed. Runs of the same training are averaged.
pub(super) fn by_training(runs: &[&Run], measure: Measure) -> BTreeMap<[Option<i64>; TRAINING_KEYS.len()], f64> {
    let mut values: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for run in runs {
        values.entry(fold_and_seed(run)).or_default().extend(value(run, measure));
    }
    values.retain(|_, dice| !dice.is_empty());
    values.into_iter().map(|(training, dice)| (training, dice.iter().sum::<f64>() / dice.len() as f64)).collect()
}

fn over_runs(first: &[&Run], second: &[&Run], measure: Measure) -> Option<Estimate> {
    let (first, second) = (by_training(first, measure), by_training(second, measure));
    let pairs: Vec<(f64, f64)> =
        second.iter().filter_map(|(training, dice)| Some((*dice, *first.get(training)?))).collect();
    if pairs.len() >= 2 {
        let paired = paired_t(&pairs).ok()?;
        let method = format!("paired by fold and seed, t interval, n = {}", paired.n);
        return Some(Estimate { difference: paired.difference, ci: paired.ci, method });
    }
    let values = |dice: &BTreeMap<_, f64>| dice.values().copied().collect::<Vec<f64>>();
    let unpaired = welch(&values(&second), &values(&first)).ok()?;
    let method = format!(
        "not paired (fewer than 2 common pairs of fold and seed), Welch's t interval, n = {} and {}",
        unpaired.n1, unpaired.n2
    );
    Some(Estimate { difference: unpaired.difference, ci: unpaired.ci, method })
}

/// Warnings about runs of a group with the same fold and seed.
fn repeated_trainings(runs: &[&Run]) -> Vec<String> {
    let mut names: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    runs.iter().for_each(|run| names.entry(fold_and_seed(run)).or_default().push(&run.name));
    let repeated = names.into_values().filter(|names| names.len() > 1);
    let warning = |names: Vec<&str>| {
        format!(
            "{} are the same training, run {} times: their configuration, fold and seed are equal. They count as one training",
            names.join(", "),
            names.len()
        )
    };
    repeated.map(warning).collect()
}

/// The patient of each image: from the run's own file, otherwise from the folds file of the run.
struct Patients {
    /// Image and patient, one row per image.
    of_images: DataFrame,
    /// Reasons why runs without patients of their own have none from their folds file either.
    reasons: Vec<String>,
    /// A warning if runs disagree about the patients of scored images.
    conflicts: Option<String>,
}

impl Patients {
    fn read(runs: &[Run]) -> PolarsResult<Patients> {
        let (mut found, mut reasons) = (Vec::new(), Vec::new());
        for run in runs.iter().filter(|run| run.patients.is_empty()) {
            let file = run.setting("data.folds").and_then(toml::Value::as_str).unwrap_or_default();
            let reason = match tables::read_folds(file.as_ref()) {
                Ok(folds) => {
                    found.extend(folds.into_iter().map(|row| (row.image_id, row.patient_id, &run.name)));
                    continue;
                }
                Err(_) if !Path::new(file).exists() => {
                    format!(
                        "{} has no {HELD_OUT}, and its folds file {file:?} was not found from this folder",
                        run.name
                    )
                }
                Err(error) => format!("{} has no {HELD_OUT}, and its folds file cannot be used: {error}", run.name),
            };
            reasons.push(reason);
        }
        for run in runs {
            found.extend(run.patients.iter().map(|(image, patient)| (image.clone(), patient.clone(), &run.name)));
        }
        let scored: BTreeSet<&str> = runs.iter().flat_map(|run| &run.scores).map(|score| &*score.image_id).collect();
        // The last source of an image counts: a run's own file after the folds files.
        let mut by_image: BTreeMap<String, (String, &String)> = BTreeMap::new();
        let mut conflicts: BTreeMap<String, String> = BTreeMap::new();
        for (image, patient, run) in found {
            if let Some((other, other_run)) = by_image.insert(image.clone(), (patient.clone(), run))
                && other != patient
                && scored.contains(&*image)
            {
                let text = format!("{image} is of patient {other} in {other_run} and of patient {patient} in {run}");
                conflicts.entry(image).or_insert(text);
            }
        }
        let conflicts = conflicts.values().next().map(|first| {
            format!(
                "the runs disagree about the patients of {}, for example {first}; the interval over images uses the patient \
                 that was read last",
                counted(conflicts.len(), "image", "images")
            )
        });
        let row = |(image_id, (patient_id, _))| HeldOutRow { image_id, patient_id };
        let of_images = HeldOutRow::to_frame(&by_image.into_iter().map(row).collect::<Vec<_>>())?;
        Ok(Patients { of_images, reasons, conflicts })
    }

    /// Why patients cannot be resampled.
    fn remark(&self, image: &str) -> String {
        let reason = self
            .reasons
            .first()
            .cloned()
            .unwrap_or_else(|| format!("it is neither in {HELD_OUT} nor in the folds file of a run"));
        format!(
            "the interval over images resamples images instead of patients, so it is too narrow if patients have several \
             images: the patient of image {image} is unknown ({reason}). Run this command in the folder from which the path of \
             the folds file in config.toml is correct"
        )
    }
}

/// Mean Dice of each image over the runs of a group.
fn by_image(runs: &[&Run], dice: &str) -> PolarsResult<LazyFrame> {
    let scores = runs.iter().flat_map(|run| &run.scores);
    let (images, means): (Vec<&str>, Vec<f64>) = scores.map(|score| (score.image_id.as_str(), score.mean())).unzip();
    Ok(df!("image_id" => images, dice => means)?.lazy().group_by([col("image_id")]).agg([col(dice).mean()]))
}

/// Ids of the images that the runs of a group have scores of.
fn scored_images<'a>(runs: &[&'a Run]) -> BTreeSet<&'a str> {
    runs.iter().flat_map(|run| &run.scores).map(|score| &*score.image_id).collect()
}

/// Whether two groups were scored on the same images; without the scores of all runs, whether they have the same folds.
fn on_same_images(first: &[&Run], second: &[&Run]) -> bool {
    if first.iter().chain(second).all(|run| !run.scores.is_empty()) {
        return scored_images(first) == scored_images(second);
    }
    let folds = |runs: &[&Run]| runs.iter().map(|run| fold_and_seed(run)[0]).collect::<BTreeSet<_>>();
    folds(first) == folds(second)
}

/// The remark that two groups were scored on different images, because of other folds or other data.
fn different_images(first: &[&Run], second: &[&Run], first_name: &str, second_name: &str) -> Option<String> {
    let (first, second) = (scored_images(first), scored_images(second));
    let common = first.intersection(&second).count();
    let (only_first, only_second) = (first.len() - common, second.len() - common);
    if first.is_empty() || second.is_empty() || only_first + only_second == 0 {
        return None;
    }
    let counted = |n| counted(n, "image", "images");
    Some(format!(
        "{first_name} and {second_name} were scored on different images: {} in both, {} only in {first_name}, {} only in \
         {second_name}; the difference of their mean Dice includes the difference between the images",
        counted(common),
        counted(only_first),
        counted(only_second)
    ))
}

fn over_images(
    [(first_name, first), (second_name, second)]: [(&str, &[&Run]); 2],
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
    let (images, n) = (counted(common.height(), "image", "images"), clusters.iter().collect::<BTreeSet<_>>().len());
    if n < MIN_RESAMPLED {
        let reason = match (common.height(), &unknown) {
            (0, _) => "no image has a score in both".to_owned(),
            (_, Some(_)) => format!("{images} with a score in both, at least {MIN_RESAMPLED} are needed"),
            (_, None) => format!(
                "{images} of {} with a score in both, at least {MIN_RESAMPLED} patients are needed",
                counted(n, "patient", "patients")
            ),
        };
        remarks.push(format!("no interval over images for {first_name} and {second_name}: {reason}"));
        return Ok(None);
    }
    let clustered: Vec<_> = clusters.into_iter().zip(f64::values(common.column("difference")?)?).collect();
    let Some(found) = bootstrap_mean(&clustered, RESAMPLES, 0) else { return Ok(None) };
    let resampled = match unknown {
        None => format!("{} resampled", counted(found.clusters, "patient", "patients")),
        Some(image) => {
            let remark = patients.remark(&image);
            if !remarks.contains(&remark) {
                remarks.push(remark);
            }
            "images resampled instead of patients".into()
        }
    };
    let method = format!("paired by image, percentile bootstrap, {resampled}, n = {images}");
    Ok(Some(Estimate { difference: found.mean, ci: found.ci, method }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones::COUNT;
    use crate::scores::ImageScore;

    #[test]
    fn groups_have_the_common_part_of_the_run_names() {
        assert_eq!(common_name(&["fpn-b0-fold0", "fpn-b0-fold1"]), "fpn-b0");
        assert_eq!(common_name(&["ema_seed10", "ema_seed11"]), "ema");
        assert_eq!(common_name(&["a", "b"]), "a");
        assert_eq!(common_name(&["alone-fold0"]), "alone-fold0");
        assert_eq!(common_name(&["손-fold0", "손-fold1"]), "손");
    }

    /// A run of a fold and seed with a score and a patient per image.
    fn run(name: &str, fold_and_seed: [i64; 2], more: &str, images: &[(&str, f64, &str)]) -> Run {
        let [fold, seed] = fold_and_seed;
        let score =
            |(image, dice, _): &(&str, f64, &str)| ImageScore { image_id: (*image).into(), dice: [*dice; COUNT] };
        Run {
            name: name.into(),
            path: name.into(),
            config: format!("seed = {seed}\n{more}\n[data]\nfold = {fold}\n").parse().unwrap(),
            epochs: Vec::new(),
            summary: None,
            scores: images.iter().map(score).collect(),
            scores_unusable: false,
            patients: images.iter().map(|(image, _, patient)| ((*image).into(), (*patient).into())).collect(),
            notes: Vec::new(),
            problems: Vec::new(),
        }
    }

    const IMAGES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    const PATIENTS: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

    /// Two images per patient.
    fn scored(patients: usize, dice: f64) -> Vec<(&'static str, f64, &'static str)> {
        (0..2 * patients).map(|i| (IMAGES[i], dice + 0.001 * i as f64, PATIENTS[i / 2])).collect()
    }

    #[test]
    fn fewer_than_six_patients_give_no_interval_over_images() {
        for (patients, reason) in
            [(1, "2 images of 1 patient"), (2, "4 images of 2 patients"), (5, "10 images of 5 patients")]
        {
            let runs =
                [run("a", [0, 1], "", &scored(patients, 0.8)), run("b", [0, 1], "size = 1", &scored(patients, 0.9))];
            let found = compare(&runs).unwrap();
            assert_eq!(found.differences[0].over_images, None);
            let expected = format!(
                "no interval over images for a and b: {reason} with a score in both, at least 6 patients are needed"
            );
            assert_eq!(found.remarks, [expected]);
        }
        let runs = [run("a", [0, 1], "", &scored(6, 0.8)), run("b", [0, 1], "size = 1", &scored(6, 0.9))];
        let found = compare(&runs).unwrap();
        let estimate = found.differences[0].over_images.as_ref().unwrap();
        assert!(estimate.method.contains("6 patients resampled, n = 12 images"), "{}", estimate.method);
        assert_eq!((found.remarks.len(), found.warnings.len()), (0, 0), "{found:?}");
        assert_eq!(found.differences[0].text(), "+0.1000");
    }

    #[test]
    fn fewer_than_six_images_of_unknown_patients_give_no_interval_over_images() {
        let mut runs = [run("a", [0, 1], "", &scored(2, 0.8)), run("b", [0, 1], "size = 1", &scored(2, 0.9))];
        runs.iter_mut().for_each(|run| run.patients.clear());
        let found = compare(&runs).unwrap();
        assert_eq!(found.differences[0].over_images, None);
        assert!(found.remarks[0].ends_with("4 images with a score in both, at least 6 are needed"), "{found:?}");
    }

    #[test]
    fn a_difference_on_other_images_is_marked() {
        let all = scored(6, 0.8);
        let runs = [run("a", [0, 1], "", &all), run("b", [0, 1], "size = 1", &all[..10])];
        let found = compare(&runs).unwrap();
        assert!(!found.differences[0].same_images);
        assert_eq!(found.differences[0].text(), "-0.0010 (not on the same images)");
        let apart = [run("a", [0, 1], "", &all[..2]), run("b", [1, 1], "size = 1", &all[2..])];
        let remarks = compare(&apart).unwrap().remarks.join("\n");
        assert!(remarks.contains("no image has a score in both"), "{remarks}");
        // Without scores, by the folds.
        let mut unscored = [run("a", [0, 1], "", &[]), run("b", [1, 1], "size = 1", &[])];
        assert!(!compare(&unscored).unwrap().differences[0].same_images);
        unscored[1] = run("b", [0, 1], "size = 1", &[]);
        assert!(compare(&unscored).unwrap().differences[0].same_images);
    }

    #[test]
    fn the_same_training_twice_is_reported_and_counts_once() {
        let images = scored(6, 0.8);
        let twice = [run("a", [0, 1], "", &images), run("copy", [0, 1], "", &images)];
        let found = compare(&twice).unwrap();
        assert_eq!((found.groups.len(), found.groups[0].sd_over_runs), (1, None));
        assert!(found.warnings[0].starts_with("a, copy are the same training, run 2 times"), "{found:?}");
        assert_eq!(found.remarks, ["the 2 runs are one training: nothing to compare"]);
        let other = run("seed2", [0, 2], "", &scored(6, 0.9));
        let [first, copy] = twice;
        let found = compare(&[first, copy, other]).unwrap();
        assert_eq!(found.warnings.len(), 1);
        assert!((found.groups[0].mean_dice.unwrap() - (0.8055 + 0.9055) / 2.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_difference_is_compared_with_the_noise_between_seeds() {
        let one = |name: &str, training, more, dice| run(name, training, more, &scored(6, dice));
        let mut runs = vec![one("a", [0, 1], "", 0.8), one("b", [0, 1], "size = 1", 0.81)];
        let found = compare(&runs).unwrap();
        assert_eq!((found.seed_noise, found.differences[0].seed_noise), (None, None));
        // Another fold is not another seed.
        runs.push(one("a-fold1", [1, 1], "", 0.7));
        assert_eq!(compare(&runs).unwrap().seed_noise, None);
        runs.pop();
        // Deviations of -.01 and .01: sd = sqrt(.0002) with one degree of freedom, t(1, .975) = 12.706205.
        runs.push(one("a-seed2", [0, 2], "", 0.82));
        let found = compare(&runs).unwrap();
        let noise = found.seed_noise.unwrap();
        assert!((noise.sd - 0.0002f64.sqrt()).abs() < 1e-9 && (noise.n, noise.groups, noise.df) == (2, 1, 1));
        let compared = found.differences[0].seed_noise.unwrap();
        assert!((compared.bound - 12.706_205 * 0.0002f64.sqrt() * 1.5f64.sqrt()).abs() < 1e-6, "{compared:?}");
        assert!(compared.is_smaller);
        // Runs without repeated seeds do not count; four seeds per group with little variation.
        let many = |name: &str, more, dice: f64| -> Vec<Run> {
            (0..4).map(|i| one(&format!("{name}-seed{i}"), [0, i], more, dice + 1e-4 * i as f64)).collect()
        };
        let found = compare(&[many("a", "", 0.8), many("b", "size = 1", 0.81)].concat()).unwrap();
        assert_eq!(found.seed_noise.unwrap().df, 6);
        assert!(!found.differences[0].seed_noise.unwrap().is_smaller, "{found:?}");
    }

    #[test]
    fn groups_that_differ_in_several_settings_are_reported() {
        let warnings = |more: &str| {
            let images = scored(6, 0.8);
            compare(&[run("a", [0, 1], "", &images), run("b", [0, 1], more, &images)]).unwrap().warnings
        };
        assert!(warnings("size = 1").is_empty());
        // A loss mix is one choice.
        assert!(warnings("loss = { bce = 0.5, dice = 0.5 }").is_empty());
        let found = warnings("size = 1\nepochs = 3\nloss = { bce = 0.5, dice = 0.5 }");
        assert!(found[0].starts_with("a and b differ in 3 settings: epochs, loss, size; "), "{found:?}");
    }

    #[test]
    fn validation_and_leaderboard_that_rank_differently_are_reported() {
        let board = |public, private| vec![crate::runs::RunNote { public, private, ..Default::default() }];
        let mut runs = [run("a", [0, 1], "", &scored(6, 0.8)), run("b", [0, 1], "size = 1", &scored(6, 0.9))];
        runs[0].notes = board(Some(0.79), Some(0.70));
        runs[1].notes = board(Some(0.78), Some(0.71));
        let found = compare(&runs).unwrap();
        assert_eq!(found.warnings.len(), 1, "{found:?}");
        let expected = "validation and public leaderboard rank a and b differently: by validation b is better (0.8055 and \
                        0.9055), on the leaderboard a (0.7900 and 0.7800)";
        assert_eq!(found.warnings[0], expected);
        let gap = found.groups[1].gap;
        assert!((gap.public.unwrap() - 0.1255).abs() < 1e-9 && (gap.private.unwrap() - 0.1955).abs() < 1e-9);
        runs[1].notes = board(None, Some(0.71));
        assert!(compare(&runs).unwrap().warnings.is_empty());
        // Equal leaderboard scores contradict nothing.
        runs[1].notes = board(Some(0.79), None);
        assert!(compare(&runs).unwrap().warnings.is_empty());
    }

    #[test]
    fn runs_of_one_experiment_name_only_the_keys_that_differ() {
        let remark = |second| compare(&[run("a", [0, 1], "", &[]), run("b", second, "", &[])]).unwrap().remarks.pop();
        for (second, keys) in [([1, 1], "the fold"), ([0, 2], "the seed"), ([1, 2], "the fold and the seed")] {
            let expected = format!("the 2 runs differ only in {keys}: one experiment, nothing to compare");
            assert_eq!(remark(second), Some(expected));
        }
    }

    #[test]
    fn runs_that_disagree_about_a_patient_are_reported() {
        let (images, mut other) = (scored(6, 0.8), scored(6, 0.9));
        other[3].2 = "6";
        let found = compare(&[run("a", [0, 1], "", &images), run("b", [0, 1], "size = 1", &other)]).unwrap();
        let expected =
            "the runs disagree about the patients of 1 image, for example d is of patient 2 in a and of patient 6 in b";
        assert!(found.warnings.len() == 1 && found.warnings[0].starts_with(expected), "{found:?}");
    }
}
