use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::figures::{Cell, Chart, Figure, Heatmap};
use crate::report::wording::{count, counted, listed, num, p_text, visible};
use crate::report::{Section, Study};
use crate::stats::chi_square;
use crate::tables::FoldRow;

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
    let balance = Balance::of(rows);
    let (folds, strata) = (&balance.folds, &balance.strata);
    let leaks = balance.leaks();
    let test =
        chi_square(&strata.iter().map(|s| folds.iter().map(|f| balance.cell(s, *f)).collect()).collect::<Vec<_>>());

    section.text(format!(
        "{} of {} in {}: {} images, {}.",
        counted(balance.n, "image", "images"),
        counted(balance.homes.len(), "patient", "patients"),
        counted(folds.len(), "fold", "folds"),
        listed(&folds.iter().map(|f| count(balance.size(*f))).collect::<Vec<_>>()),
        counted(strata.len(), "stratum", "strata"),
    ));
    if let Some((stratum, fold, deviation)) = balance.worst() {
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
        .filter(|s| folds.iter().any(|f| balance.cell(s, *f) == 0))
        .map(|s| format!("{} ({})", visible(s), counted(balance.of_stratum(s), "image", "images")))
        .collect();
    if !thin.is_empty() {
        section.absent(format!("Not in every fold: {}.", thin.join(", ")));
    }
    section.figure(figure(&balance));
    section.table(
        "Images and patients a fold",
        &["fold", "images", "patients"],
        folds.iter().map(|f| vec![f.to_string(), count(balance.size(*f)), count(balance.patients(*f))]).collect(),
    );
    let per_fold = folds.iter().map(|f| {
        let of: BTreeMap<&str, usize> = strata.iter().map(|s| (*s, balance.cell(s, *f))).collect();
        json!({"fold": f, "images": balance.size(*f), "patients": balance.patients(*f), "strata": of})
    });
    section.number("n", balance.n);
    section.number("folds", per_fold.collect::<Vec<_>>());
    section.number("patients_in_several_folds", json!(leaks));
    section.number("chi_square", json!(test));
    section
}

/// Images by stratum and fold, and the folds of each patient.
struct Balance<'a> {
    /// Images.
    n: usize,
    folds: Vec<u32>,
    strata: Vec<&'a str>,
    counts: BTreeMap<(&'a str, u32), usize>,
    homes: BTreeMap<&'a str, BTreeSet<u32>>,
}

impl<'a> Balance<'a> {
    fn of(rows: &'a [FoldRow]) -> Balance<'a> {
        let folds = rows.iter().map(|r| r.fold).collect::<BTreeSet<_>>().into_iter().collect();
        let strata = rows.iter().map(|r| r.stratum.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
        let (mut counts, mut homes) = (BTreeMap::new(), BTreeMap::<&str, BTreeSet<u32>>::new());
        for row in rows {
            *counts.entry((row.stratum.as_str(), row.fold)).or_default() += 1;
            homes.entry(row.patient_id.as_str()).or_default().insert(row.fold);
        }
        Balance { n: rows.len(), folds, strata, counts, homes }
    }

    fn cell(&self, stratum: &str, fold: u32) -> usize {
        self.counts.get(&(stratum, fold)).copied().unwrap_or(0)
    }

    /// Images of a fold.
    fn size(&self, fold: u32) -> usize {
        self.strata.iter().map(|s| self.cell(s, fold)).sum()
    }

    /// Images of a stratum.
    fn of_stratum(&self, stratum: &str) -> usize {
        self.folds.iter().map(|f| self.cell(stratum, *f)).sum()
    }

    /// Patients with an image in a fold.
    fn patients(&self, fold: u32) -> usize {
        self.homes.values().filter(|f| f.contains(&fold)).count()
    }

    /// Patients in more than one fold.
    fn leaks(&self) -> Vec<&'a str> {
        self.homes.iter().filter(|(_, f)| f.len() > 1).map(|(p, _)| *p).collect()
    }

    /// Per cent of a fold's images that are of a stratum.
    fn share(&self, stratum: &str, fold: u32) -> f64 {
        100.0 * self.cell(stratum, fold) as f64 / self.size(fold) as f64
    }

    /// Per cent of all images that are of a stratum.
    fn overall(&self, stratum: &str) -> f64 {
        100.0 * self.of_stratum(stratum) as f64 / self.n as f64
    }

    /// The stratum and fold whose share is farthest from that in all folds, and how far.
    fn worst(&self) -> Option<(&'a str, u32, f64)> {
        let cells = self.strata.iter().flat_map(|s| self.folds.iter().map(move |f| (*s, *f)));
        cells.map(|(s, f)| (s, f, self.share(s, f) - self.overall(s))).max_by(|a, b| a.2.abs().total_cmp(&b.2.abs()))
    }
}

fn figure(balance: &Balance<'_>) -> Figure {
    let name = |s: &str| if s.is_empty() { "all images".to_owned() } else { visible(s) };
    let mut by_size = balance.strata.clone();
    by_size.sort_by_key(|s| std::cmp::Reverse(balance.of_stratum(s)));
    let hidden = by_size.len().saturating_sub(STRATA_SHOWN);
    by_size.truncate(STRATA_SHOWN);
    let cell = |share: f64, n: usize, tint: f64| Cell { text: format!("{} % ({})", num(share, 1), count(n)), tint };
    let rows = by_size
        .iter()
        .map(|s| {
            let overall = balance.overall(s);
            let of_fold = |f: &u32| cell(balance.share(s, *f), balance.cell(s, *f), balance.share(s, *f) - overall);
            let all = cell(overall, balance.of_stratum(s), 0.0);
            (name(s), balance.folds.iter().map(of_fold).chain([all]).collect())
        })
        .collect();
    let columns = balance.folds.iter().map(|f| format!("fold {f} (n = {})", count(balance.size(*f))));
    Figure {
        name: "fold-balance".into(),
        title: format!("Strata by fold (n = {})", counted(balance.n, "image", "images")),
        note: format!(
            "Share of the fold and number of images. Orange: more than in all folds, blue: fewer; full colour at {FULL} percentage points.{}",
            if hidden > 0 { format!(" The {hidden} smallest strata are left out.") } else { String::new() }
        ),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: columns.chain([format!("all (n = {})", count(balance.n))]).collect(),
            rows,
            full: FULL,
        })],
    }
}
