use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::json;

use crate::figures::{Chart, Figure, Heatmap, HeatmapCell};
use crate::report::wording::{capital, count, counted, listed, num, p_text, visible};
use crate::report::{Section, Study};
use crate::stats::chi_square;
use crate::tables::{FoldRow, TableRow, cells, wholes};

/// Deviation, in percentage points, at which a cell of the figure has full colour.
const FULL: f64 = 5.0;
/// Number of strata in the figure.
const STRATA_SHOWN: usize = 24;

/// Whether the strata are balanced over the folds and each patient is in one fold only.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("folds", "Fold balance");
    let Some(check) = study.fold_check() else {
        section.absent("No folds were given: make them with `carpus split` and pass them with --folds.");
        return Ok(section);
    };
    for warning in &check.warnings {
        section.absent(format!("{}.", visible(&capital(warning))));
    }
    section.number("warnings", json!(check.warnings));
    if check.rows.is_empty() {
        return Ok(section);
    }
    let balance = Balance::of(&FoldRow::to_frame(&check.rows)?)?;
    let leaks = &check.patients_in_several_folds;
    let test = chi_square(&(0..balance.strata.len()).map(|s| balance.by_fold(s)).collect::<Vec<_>>()).ok();

    section.text(format!(
        "{} of {} in {}: {} images, {}.",
        counted(balance.images, "image", "images"),
        counted(balance.patients, "patient", "patients"),
        counted(balance.folds.len(), "fold", "folds"),
        listed(&balance.of_fold.iter().map(|n| count(*n)).collect::<Vec<_>>()),
        counted(balance.strata.len(), "stratum", "strata"),
    ));
    if let Some((stratum, fold, deviation)) = balance.worst() {
        section.text(format!(
            "Largest deviation of a stratum's share in a fold from its share in all folds: {} percentage points ({} in fold \
             {fold}){}.",
            num(deviation, 2),
            stratum_name(stratum),
            test.map_or(String::new(), |t| format!(
                "; chi-square test of strata by fold: {} ({} degrees of freedom, {}{})",
                num(t.chi2, 2),
                t.df,
                p_text(t.p),
                if t.least_expected < 5.0 { ", approximate because an expected count is below 5" } else { "" },
            )),
        ));
        section.number("worst_deviation", json!({"stratum": stratum, "fold": fold, "percentage_points": deviation}));
    }
    section.meaning(match (&leaks[..], test) {
        ([], None) => "No patient is in two folds. There are not enough strata and folds for a test of balance.".to_owned(),
        ([], Some(test)) if test.p < 0.05 => {
            "No patient is in two folds, but the strata are not balanced, which adds to the differences between the scores \
             of the folds."
                .to_owned()
        }
        ([], Some(_)) => {
            "No patient is in two folds. The test does not show an imbalance of the strata; with few images it detects only \
             large ones."
                .to_owned()
        }
        _ => format!(
            "{} in more than one fold ({}), so validation scores are too high. Make the folds again by patient.",
            counted(leaks.len(), "patient is", "patients are"),
            visible(&leaks[..leaks.len().min(10)].join(", "))
        ),
    });
    let thin: Vec<String> = (0..balance.strata.len())
        .filter(|s| balance.by_fold(*s).contains(&0))
        .map(|s| {
            format!("{} ({})", stratum_name(&balance.strata[s]), counted(balance.of_stratum[s], "image", "images"))
        })
        .collect();
    if !thin.is_empty() {
        section.absent(format!("Strata that are not in every fold: {}.", thin.join(", ")));
    }
    section.figure(figure(&balance));
    section.table(
        "Images and patients per fold",
        &["fold", "images", "patients"],
        (0..balance.folds.len())
            .map(|f| vec![balance.folds[f].to_string(), count(balance.of_fold[f]), count(balance.patients_of_fold[f])])
            .collect(),
    );
    let per_fold = balance.folds.iter().enumerate().map(|(f, fold)| {
        let of: BTreeMap<_, _> = balance.strata.iter().zip(&balance.cells[f]).collect();
        json!({"fold": fold, "images": balance.of_fold[f], "patients": balance.patients_of_fold[f], "strata": of})
    });
    section.number("n", balance.images);
    section.number("folds", per_fold.collect::<Vec<_>>());
    section.number("patients_in_several_folds", json!(leaks));
    section.number("chi_square", json!(test));
    Ok(section)
}

/// Images and patients by fold and stratum, both in rising order.
struct Balance {
    images: usize,
    patients: usize,
    folds: Vec<u32>,
    /// Number of images in each fold.
    of_fold: Vec<usize>,
    /// Number of patients in each fold.
    patients_of_fold: Vec<usize>,
    strata: Vec<String>,
    /// Number of images in each stratum.
    of_stratum: Vec<usize>,
    /// Number of images by fold (outer) and stratum.
    cells: Vec<Vec<usize>>,
}

impl Balance {
    fn of(rows: &DataFrame) -> PolarsResult<Balance> {
        let by = |key: &str, found: Vec<Expr>| {
            rows.clone().lazy().group_by([col(key)]).agg(found).sort([key], SortMultipleOptions::default()).collect()
        };
        let by_fold = by("fold", vec![len().alias("images"), col("patient_id").n_unique().alias("patients")])?;
        let folds = cells::<u32>(&by_fold, "fold")?;
        let in_fold = folds.iter().map(|fold| col("fold").eq(lit(*fold)).sum().alias(fold.to_string()));
        let by_stratum = by("stratum", in_fold.chain([len().alias("images")]).collect())?;
        Ok(Balance {
            images: rows.height(),
            patients: rows.column("patient_id")?.n_unique()?,
            of_fold: wholes(&by_fold, "images")?,
            patients_of_fold: wholes(&by_fold, "patients")?,
            strata: cells::<String>(&by_stratum, "stratum")?,
            of_stratum: wholes(&by_stratum, "images")?,
            cells: folds.iter().map(|fold| wholes(&by_stratum, &fold.to_string())).collect::<PolarsResult<_>>()?,
            folds,
        })
    }

    /// Number of images of a stratum in each fold.
    fn by_fold(&self, stratum: usize) -> Vec<usize> {
        self.cells.iter().map(|of_fold| of_fold[stratum]).collect()
    }

    /// Share of a stratum in a fold's images, per cent.
    fn share(&self, stratum: usize, fold: usize) -> f64 {
        100.0 * self.cells[fold][stratum] as f64 / self.of_fold[fold] as f64
    }

    /// Share of a stratum in all images, per cent.
    fn overall(&self, stratum: usize) -> f64 {
        100.0 * self.of_stratum[stratum] as f64 / self.images as f64
    }

    /// Stratum and fold with the largest deviation from the share in all folds, and the deviation in percentage points.
    fn worst(&self) -> Option<(&str, u32, f64)> {
        let cells = (0..self.strata.len()).flat_map(|s| (0..self.folds.len()).map(move |f| (s, f)));
        let deviations = cells.map(|(s, f)| (s, f, self.share(s, f) - self.overall(s)));
        let (s, f, deviation) = deviations.max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()))?;
        Some((&self.strata[s], self.folds[f], deviation))
    }
}

/// The values of a stratum as text; without strata, all images are one.
fn stratum_name(stratum: &str) -> String {
    if stratum.is_empty() { "all images".to_owned() } else { visible(stratum) }
}

fn figure(balance: &Balance) -> Figure {
    let mut by_size: Vec<usize> = (0..balance.strata.len()).collect();
    by_size.sort_by_key(|s| std::cmp::Reverse(balance.of_stratum[*s]));
    let hidden = by_size.len().saturating_sub(STRATA_SHOWN);
    by_size.truncate(STRATA_SHOWN);
    let cell =
        |share: f64, n: usize, tint: f64| HeatmapCell { text: format!("{} % ({})", num(share, 1), count(n)), tint };
    let rows = by_size
        .into_iter()
        .map(|s| {
            let overall = balance.overall(s);
            let of_fold = |(f, n)| cell(balance.share(s, f), n, balance.share(s, f) - overall);
            let all = cell(overall, balance.of_stratum[s], 0.0);
            (
                stratum_name(&balance.strata[s]),
                balance.by_fold(s).into_iter().enumerate().map(of_fold).chain([all]).collect(),
            )
        })
        .collect();
    let columns = balance.folds.iter().zip(&balance.of_fold).map(|(f, n)| format!("fold {f} (n = {})", count(*n)));
    Figure {
        name: "fold-balance".into(),
        title: format!("Strata by fold (n = {})", counted(balance.images, "image", "images")),
        note: format!(
            "Share of the fold's images (number of images). Orange: larger than in all folds; blue: smaller; full colour at {FULL} percentage points.{}",
            if hidden > 0 { format!(" The {hidden} smallest strata are not shown.") } else { String::new() }
        ),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: columns.chain([format!("all (n = {})", count(balance.images))]).collect(),
            rows,
            full: FULL,
        })],
    }
}
