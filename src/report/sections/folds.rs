use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::figures::{Cell, Chart, Figure, Heatmap};
use crate::report::wording::{count, counted, listed, num, p_text, visible};
use crate::report::{Section, Study};
use crate::stats::chi_square;

/// Deviation, in percentage points, at which a cell of the figure has its full colour.
const FULL: f64 = 5.0;
/// Strata shown in the figure.
const STRATA_SHOWN: usize = 24;

/// Whether the folds are alike, and no patient is in two.
pub(super) fn section(study: &Study<'_>) -> Section {
    let mut section = Section::new("folds", "Fold balance");
    let Some(rows) = study.folds else {
        section.absent("No folds were given: make them with `carpus split` and pass them with --folds.");
        return section;
    };
    if rows.is_empty() {
        section.absent("The folds file has no rows.");
        return section;
    }
    let folds: Vec<u32> = rows.iter().map(|r| r.fold).collect::<BTreeSet<_>>().into_iter().collect();
    let strata: Vec<&str> = rows.iter().map(|r| r.stratum.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let mut counts: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    rows.iter().for_each(|r| *counts.entry((r.stratum.as_str(), r.fold)).or_default() += 1);
    let cell = |stratum: &str, fold: u32| counts.get(&(stratum, fold)).copied().unwrap_or(0);
    let size = |fold: u32| strata.iter().map(|s| cell(s, fold)).sum::<usize>();
    let of_stratum = |stratum: &str| folds.iter().map(|f| cell(stratum, *f)).sum::<usize>();

    let mut homes: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for row in rows {
        homes.entry(row.patient_id.as_str()).or_default().insert(row.fold);
    }
    let leaks: Vec<&str> = homes.iter().filter(|(_, f)| f.len() > 1).map(|(p, _)| *p).collect();
    let patients = |fold: u32| homes.values().filter(|f| f.contains(&fold)).count();

    let sizes: Vec<String> = folds.iter().map(|f| count(size(*f))).collect();
    section.text(format!(
        "{} of {} in {}: {} images, {}.",
        counted(rows.len(), "image", "images"),
        counted(homes.len(), "patient", "patients"),
        counted(folds.len(), "fold", "folds"),
        listed(&sizes),
        counted(strata.len(), "stratum", "strata"),
    ));
    let share = |stratum: &str, fold: u32| 100.0 * cell(stratum, fold) as f64 / size(fold) as f64;
    let overall = |stratum: &str| 100.0 * of_stratum(stratum) as f64 / rows.len() as f64;
    let worst = strata
        .iter()
        .flat_map(|s| folds.iter().map(move |f| (*s, *f)))
        .map(|(s, f)| (s, f, share(s, f) - overall(s)))
        .max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()));
    let table: Vec<Vec<usize>> = strata.iter().map(|s| folds.iter().map(|f| cell(s, *f)).collect()).collect();
    let test = chi_square(&table);
    if let Some((stratum, fold, deviation)) = worst {
        section.text(format!(
            "Largest deviation of a stratum's share from its share in all folds: {} percentage points ({} in fold {fold}){}.",
            num(deviation, 2),
            visible(stratum),
            test.map_or(String::new(), |t| format!("; chi-square of strata by folds {} ({} df, {})", num(t.chi2, 2), t.df, p_text(t.p))),
        ));
        section.number("worst_deviation", json!({"stratum": stratum, "fold": fold, "percentage_points": deviation}));
    }
    section.meaning(match leaks[..] {
        [] if test.is_some_and(|t| t.p < 0.05) => {
            "No patient is in two folds, but the strata are not spread alike: scores of the folds differ for that reason too.".to_owned()
        }
        [] => "No patient is in two folds, and the strata are spread no worse than chance would.".to_owned(),
        _ => format!(
            "{} in more than one fold ({}): validation scores are too good. Make the folds again by patient.",
            counted(leaks.len(), "patient is", "patients are"),
            visible(&leaks.iter().take(10).copied().collect::<Vec<_>>().join(", "))
        ),
    });
    let thin: Vec<String> = strata
        .iter()
        .filter(|s| folds.iter().any(|f| cell(s, *f) == 0))
        .map(|s| format!("{} ({})", visible(s), counted(of_stratum(s), "image", "images")))
        .collect();
    if !thin.is_empty() {
        section.absent(format!("Not in every fold: {}.", thin.join(", ")));
    }

    let name = |s: &str| if s.is_empty() { "all images".to_owned() } else { visible(s) };
    let mut by_size = strata.clone();
    by_size.sort_by_key(|s| std::cmp::Reverse(of_stratum(s)));
    let hidden = by_size.len().saturating_sub(STRATA_SHOWN);
    by_size.truncate(STRATA_SHOWN);
    let rows_of_figure = by_size
        .iter()
        .map(|s| {
            let cells = folds.iter().map(|f| Cell {
                text: format!("{} % ({})", num(share(s, *f), 1), count(cell(s, *f))),
                tint: share(s, *f) - overall(s),
            });
            let all = Cell { text: format!("{} % ({})", num(overall(s), 1), count(of_stratum(s))), tint: 0.0 };
            (name(s), cells.chain([all]).collect())
        })
        .collect();
    let columns = folds.iter().map(|f| format!("fold {f} (n = {})", count(size(*f))));
    section.figure(Figure {
        name: "fold-balance".into(),
        title: format!("Strata by fold (n = {})", counted(rows.len(), "image", "images")),
        note: format!(
            "Share of the fold and number of images. Orange: more than in all folds, blue: fewer; full colour at {FULL} percentage points.{}",
            if hidden > 0 { format!(" The {hidden} smallest strata are left out.") } else { String::new() }
        ),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: columns.chain([format!("all (n = {})", count(rows.len()))]).collect(),
            rows: rows_of_figure,
            full: FULL,
        })],
    });
    section.table(
        "Images and patients a fold",
        &["fold", "images", "patients"],
        folds.iter().map(|f| vec![f.to_string(), count(size(*f)), count(patients(*f))]).collect(),
    );
    let per_fold: Vec<_> = folds
        .iter()
        .map(|f| {
            let of: BTreeMap<&str, usize> = strata.iter().map(|s| (*s, cell(s, *f))).collect();
            json!({"fold": f, "images": size(*f), "patients": patients(*f), "strata": of})
        })
        .collect();
    section.number("n", rows.len());
    section.number("folds", per_fold);
    section.number("patients_in_several_folds", json!(leaks));
    section.number("chi_square", json!(test));
    section
}
