use polars::prelude::*;
use serde_json::json;

use super::mask_size::{complete_hands, patient_means};
use crate::dataset::metadata::Sex;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows, VIOLIN_POINTS};
use crate::report::block::outcome;
use crate::report::study::{SEXES, SUBSETS, sex_colour};
use crate::report::wording::{
    Directions, Evidence, capital, count, counted, difference_conclusion, disagreement, few_patients, interval,
    mean_sd, num, p_text,
};
use crate::report::{Section, Study};
use crate::stats::{mann_whitney, summary, welch};
use crate::tables::{is, numbers};

/// Mask sizes of men and women, and tests of their difference.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("mask_size_by_sex", "Mask size by sex");
    let sizes = |hands: &DataFrame, sex| numbers(hands, col("mask_px").filter(is("sex", sex)));
    let mut violins: Vec<(String, Sex, Vec<f64>)> = Vec::new();
    for subset in SUBSETS {
        let hands = complete_hands(&mut section, subset, &study.masked(subset)?)?;
        let patients = patient_means(&hands)?;
        let (women, men) = (sizes(&hands, Sex::F)?, sizes(&hands, Sex::M)?);
        let (mean_women, mean_men) = (sizes(&patients, Sex::F)?, sizes(&patients, Sex::M)?);
        let (of_women, of_men) = (summary(&women), summary(&men));
        let (by_image, by_patient) = (welch(&men, &women), welch(&mean_men, &mean_women));
        let ranks = mann_whitney(&men, &women);
        let ranks_by_patient = mann_whitney(&mean_men, &mean_women);
        for ((sex, name), values) in SEXES.into_iter().zip([&mean_women, &mean_men]) {
            if !values.is_empty() {
                violins.push((format!("{name}, {subset}"), sex, values.clone()));
            }
        }
        if let (Some(w), Some(m)) = (&of_women, &of_men) {
            section.text(format!(
                "{}: women {} px (n = {}), men {} px (n = {}), mean ± sd over images.",
                capital(subset.name()),
                mean_sd(w, 0),
                count(w.n),
                mean_sd(m, 0),
                count(m.n)
            ));
            if let (Ok(test), Ok(rank)) = (&by_patient, &ranks_by_patient) {
                section.text(format!(
                    "Per-patient means ({}, {}): men minus women = {} px {}, {} % of the women's mean (Welch's test, {}; \
                     Mann-Whitney test, {}; Cohen's d = {}). In {} % of pairs of a man and a woman, the man's mask is larger.",
                    counted(test.n1, "man", "men"),
                    counted(test.n2, "woman", "women"),
                    num(test.difference, 0),
                    interval(&test.ci, 0),
                    num(100.0 * test.difference / w.mean, 1),
                    p_text(test.p),
                    p_text(rank.p),
                    num(test.cohen_d, 2),
                    num(100.0 * rank.superiority, 1),
                ));
                let directions = Directions {
                    positive: "men's masks are significantly larger",
                    negative: "men's masks are significantly smaller",
                };
                section.test(format!("mask size, men against women, {subset}"), "Welch", test.n1 + test.n2, test.p);
                section.test(
                    format!("mask size, men against women, {subset}"),
                    "Mann-Whitney",
                    rank.n1 + rank.n2,
                    rank.p,
                );
                let (n1, n2) = (test.n1, test.n2);
                let few = if n1 <= n2 { few_patients(n1, "man", "men") } else { few_patients(n2, "woman", "women") };
                let conclusion = difference_conclusion(&Evidence::of_means(test), 0, "px", directions);
                let differ = disagreement(&[("Welch", test.p), ("Mann-Whitney", rank.p)]);
                let differ = differ.map_or_else(String::new, |why| format!(" {}.", capital(&why)));
                section.meaning(format!("In {subset}, {conclusion}{few}.{differ}"));
            } else {
                let reason = by_patient.as_ref().err().or(ranks_by_patient.as_ref().err());
                let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
                section
                    .absent(format!("{} has too few patients of one sex for a test{reason}.", capital(subset.name())));
            }
        } else if hands.height() > 0 {
            section.absent(format!("{} has masks of one sex only, so there is no comparison.", capital(subset.name())));
        }
        section.number(
            subset.name(),
            json!({
                "women": of_women, "men": of_men, "welch": outcome(&by_image), "mann_whitney": outcome(&ranks),
                "welch_by_patient": outcome(&by_patient), "mann_whitney_by_patient": outcome(&ranks_by_patient),
            }),
        );
    }
    if violins.is_empty() {
        section.absent("No image has both complete masks and a patient of known sex.");
    } else {
        section.figure(figure(&violins));
    }
    Ok(section)
}

fn figure(violins: &[(String, Sex, Vec<f64>)]) -> Figure {
    let in_thousands = |values: &[f64]| values.iter().map(|v| v / 1e3).collect::<Vec<_>>();
    let rows: Vec<CategoryRow> = violins
        .iter()
        .map(|(label, sex, values)| {
            let values = in_thousands(values);
            let middle = summary(&values).map_or(f64::NAN, |s| s.median);
            let note = format!("median {}, n = {}", num(middle, 1), count(values.len()));
            let marks = vec![Mark::Violin { name: String::new(), colour: sex_colour(Some(*sex)), values }];
            CategoryRow { label: label.clone(), marks, note }
        })
        .collect();
    let all = violins.iter().flat_map(|v| in_thousands(&v.2)).collect::<Vec<_>>();
    Figure {
        name: "mask-size-by-sex".into(),
        title: format!("Mask size by sex (n = {})", counted(all.len(), "patient", "patients")),
        note: format!(
            "Per-patient means of complete hands. Shape: density; box: quartiles and median; points: patients (at most \
             {VIOLIN_POINTS} evenly spaced ones of each group)."
        ),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("mask size (1,000 px)", all),
            rows,
            reference: None,
        })],
    }
}
