use polars::prelude::*;
use serde_json::json;

use super::mask_size::patient_means;
use crate::dataset::metadata::Sex;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::study::{SEXES, SUBSETS, sex_colour};
use crate::report::wording::{
    capital, count, counted, difference_conclusion, few_patients, interval, mean_sd, median, num, p_text,
};
use crate::report::{Section, Study};
use crate::stats::{SampleSummary, mann_whitney, summary, welch};
use crate::tables::{is, numbers};

/// Mask sizes of men and women, and tests of their difference.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("mask_size_by_sex", "Mask size by sex");
    let sizes = |hands: &DataFrame, sex| numbers(hands, col("mask_px").filter(is("sex", sex)));
    let mut boxes: Vec<(String, Sex, SampleSummary)> = Vec::new();
    for subset in SUBSETS {
        let hands = study.masked(subset)?;
        let patients = patient_means(&hands)?;
        let (women, men) = (sizes(&hands, Sex::F)?, sizes(&hands, Sex::M)?);
        let (mean_women, mean_men) = (sizes(&patients, Sex::F)?, sizes(&patients, Sex::M)?);
        let (of_women, of_men) = (summary(&women), summary(&men));
        let (by_image, by_patient) = (welch(&men, &women), welch(&mean_men, &mean_women));
        let ranks = mann_whitney(&men, &women);
        let ranks_by_patient = mann_whitney(&mean_men, &mean_women);
        for ((sex, name), found) in SEXES.into_iter().zip([&of_women, &of_men]) {
            boxes.extend(found.clone().map(|s| (format!("{name}, {subset}"), sex, s)));
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
            if let (Some(test), Some(rank)) = (&by_patient, &ranks_by_patient) {
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
                let directions = ["men's masks are significantly larger", "men's masks are significantly smaller"];
                let (n1, n2) = (test.n1, test.n2);
                let few = if n1 <= n2 { few_patients(n1, "man", "men") } else { few_patients(n2, "woman", "women") };
                let conclusion = difference_conclusion(&test.ci, 0, "px", directions);
                section.meaning(format!("In {subset}, {conclusion}{few}."));
            } else {
                section.absent(format!("{} has too few patients of one sex for a test.", capital(subset.name())));
            }
        } else if hands.height() > 0 {
            section.absent(format!("{} has masks of one sex only, so there is no comparison.", capital(subset.name())));
        }
        section.number(
            subset.name(),
            json!({
                "women": of_women, "men": of_men, "welch": by_image, "mann_whitney": ranks,
                "welch_by_patient": by_patient, "mann_whitney_by_patient": ranks_by_patient,
            }),
        );
    }
    if boxes.is_empty() {
        section.absent("No image has both masks and a patient of known sex.");
    } else {
        section.figure(figure(&boxes));
    }
    Ok(section)
}

fn figure(boxes: &[(String, Sex, SampleSummary)]) -> Figure {
    let in_thousands = |s: &SampleSummary| SampleSummary {
        mean: s.mean / 1e3,
        sd: s.sd.map(|v| v / 1e3),
        min: s.min / 1e3,
        q05: s.q05 / 1e3,
        q25: s.q25 / 1e3,
        median: s.median / 1e3,
        q75: s.q75 / 1e3,
        q95: s.q95 / 1e3,
        max: s.max / 1e3,
        n: s.n,
    };
    let rows: Vec<CategoryRow> = boxes
        .iter()
        .map(|(label, sex, s)| CategoryRow {
            label: label.clone(),
            marks: vec![Mark::Box { name: String::new(), colour: sex_colour(Some(*sex)), summary: in_thousands(s) }],
            note: format!("median {}, n = {}", median(s.median / 1e3), count(s.n)),
        })
        .collect();
    Figure {
        name: "mask-size-by-sex".into(),
        title: format!("Mask size by sex (n = {})", counted(boxes.iter().map(|b| b.2.n).sum(), "image", "images")),
        note: "Box: quartiles and median; whiskers: 5th to 95th percentile.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("mask size (1,000 px)", boxes.iter().flat_map(|b| [b.2.q05 / 1e3, b.2.q95 / 1e3])),
            rows,
            reference: None,
        })],
    }
}
