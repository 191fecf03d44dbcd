use polars::prelude::PolarsResult;
use serde_json::json;

use super::rotation;
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::style::{MEN, NEUTRAL};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{
    Evidence, capital, count, counted, few_patients, odds_ratio_conclusion, p_text, ratio, share,
};
use crate::report::{Section, Study};
use crate::stats::{Proportion, Ratio, TwoByTwo, wilson};
use crate::tables::{counts, is};

/// Share of men, test compared with train, as odds ratio and as risk ratio.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("sex", "Sex by subset");
    let (mut cells, mut known, mut patients) = ([[0; 2]; 2], Vec::new(), 0);
    for (subset, cells) in SUBSETS.into_iter().zip(&mut cells) {
        let of_subset = study.patients(subset)?;
        *cells = counts(&of_subset, [is("sex", Sex::M), is("sex", Sex::F)])?;
        let [men, women] = *cells;
        let unknown = of_subset.height() - men - women;
        patients += of_subset.height();
        if unknown > 0 {
            let n = counted(unknown, &format!("{subset} patient"), &format!("{subset} patients"));
            section.absent(format!("The sex of {n} is unknown; this section does not include them."));
        }
        let Some(p) = wilson(men, men + women) else { continue };
        section.text(format!(
            "{}: {} and {}; share of men {}.",
            capital(subset.name()),
            counted(men, "man", "men"),
            counted(women, "woman", "women"),
            share(&p)
        ));
        section.number(subset.name(), json!({"men": men, "women": women, "unknown": unknown, "share_of_men": p}));
        known.push((subset, p));
    }
    if known.is_empty() {
        if patients == 0 {
            section.absent("There are no patients with images.");
        }
        return Ok(section);
    }
    let [[with_base, without_base], [with, without]] = cells;
    let table = TwoByTwo { with, without, with_base, without_base };
    if let (Some(odds), Some(shares)) = (table.odds_ratio(), table.share_ratio()) {
        section.text(format!(
            "Men, test compared with train: odds ratio {}, risk ratio {} (Fisher's exact test, {}){}.",
            ratio(&odds),
            ratio(&shares),
            p_text(table.fisher_p()),
            if odds.corrected { "; a count is zero, so 0.5 was added to all four" } else { "" },
        ));
        let patients = (with + without).min(with_base + without_base);
        let evidence = Evidence::of_odds(&odds, "Fisher's exact test", table.fisher_p(), patients);
        let few = few_patients(patients, "patient in the smaller subset", "patients in the smaller subset");
        section.meaning(format!("{}{few}.", capital(&odds_ratio_conclusion(&evidence, "test", "train"))));
        section.number(
            "test_against_train",
            json!({"counts": table, "odds_ratio": odds, "share_ratio": shares, "fisher_p": table.fisher_p()}),
        );
        section.figure(shares_figure(study, &known)?);
        section.figure(ratios_figure(study, &odds, &shares, table)?);
    } else {
        section.absent("One subset has no patient of known sex, so there is nothing to compare.");
        section.figure(shares_figure(study, &known)?);
    }
    Ok(section)
}

fn shares_figure(study: &Study<'_>, men: &[(Subset, Proportion)]) -> PolarsResult<Figure> {
    let mut rows = Vec::new();
    let mut add = |group: &str, subset: Subset, p: &Proportion| {
        rows.push(CategoryRow {
            label: format!("{group}, {subset}"),
            marks: vec![Mark::Bar {
                name: subset.to_string(),
                colour: subset_colour(subset),
                value: 100.0 * p.share,
                interval: Some((100.0 * p.ci.low, 100.0 * p.ci.high)),
            }],
            note: format!("{}, n = {}", share(p), count(p.n)),
        });
    };
    men.iter().for_each(|(subset, p)| add("men", *subset, p));
    for subset in SUBSETS {
        let [rotated, straight] = rotation::poses(study, subset)?;
        if let Some(p) = wilson(rotated, rotated + straight) {
            add("rotated hands", subset, &p);
        }
    }
    Ok(Figure {
        name: "shares".into(),
        title: "Share of men among patients, and of rotated hands among hands".into(),
        note: "Lines: 95 % confidence intervals (Wilson). Hands are treated as independent.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::between("share (%)", 0.0, 100.0),
            rows,
            reference: None,
        })],
    })
}

fn ratios_figure(study: &Study<'_>, odds: &Ratio, shares: &Ratio, table: TwoByTwo) -> PolarsResult<Figure> {
    let mut all = vec![("men, odds ratio", *odds, MEN), ("men, risk ratio", *shares, MEN)];
    if let Some(rotated) = rotation::two_by_two(study)? {
        all.extend(rotated.odds_ratio().map(|r| ("rotated hands, odds ratio", r, NEUTRAL)));
        all.extend(rotated.share_ratio().map(|r| ("rotated hands, risk ratio", r, NEUTRAL)));
    }
    let ends =
        all.iter().flat_map(|(_, r, _)| [r.ci.low, r.ci.high, 1.0]).filter(|v| v.is_finite()).collect::<Vec<_>>();
    let rows = all
        .iter()
        .map(|(label, r, colour)| CategoryRow {
            label: (*label).to_owned(),
            marks: vec![Mark::Dot {
                name: String::new(),
                colour: *colour,
                value: r.value,
                interval: Some((r.ci.low, r.ci.high)),
            }],
            note: ratio(r),
        })
        .collect();
    Ok(Figure {
        name: "ratios".into(),
        title: "Test compared with train: odds ratios and risk ratios".into(),
        note: format!(
            "Lines: 95 % confidence intervals. An odds ratio is farther from 1 than the risk ratio of the same counts (men: {} of {} compared with {} of {}).",
            count(table.with),
            count(table.with + table.without),
            count(table.with_base),
            count(table.with_base + table.without_base),
        ),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::logarithmic("ratio, test : train (logarithmic)", ends),
            rows,
            reference: Some(("no difference (1)".into(), 1.0)),
        })],
    })
}
