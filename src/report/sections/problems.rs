use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::json;

use crate::dataset::ProblemSeverity;
use crate::figures::style::{NEUTRAL, Rgb, okabe_ito};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::wording::{count, counted, visible};
use crate::report::{Content, Section, Study};
use crate::tables::{ProblemRow, TableRow, counts, filtered, is, tally};

/// Severities, worst first.
const SEVERITIES: [ProblemSeverity; 3] = [ProblemSeverity::Error, ProblemSeverity::Warning, ProblemSeverity::Info];
/// Number of kinds in the figure.
const KINDS_SHOWN: usize = 12;

/// Errors, warnings and repairs while the data were read.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("problems", "Data problems");
    let problems = &study.tables.problems;
    let frame = ProblemRow::to_frame(problems)?;
    let by_severity = counts(&frame, SEVERITIES.map(|severity| is("severity", severity)))?;
    section.number("n", problems.len());
    section
        .number("by_severity", json!(SEVERITIES.iter().map(|s| s.name()).zip(by_severity).collect::<BTreeMap<_, _>>()));
    if problems.is_empty() {
        section.text("No problems: every file was read without repair.");
        return Ok(section);
    }
    let [errors, warnings, infos] = by_severity;
    section.text(format!(
        "{} found while reading: {} (not usable or missing), {} (guessed or dropped), {} (severity info).",
        counted(problems.len(), "problem", "problems"),
        counted(errors, "error", "errors"),
        counted(warnings, "warning", "warnings"),
        counted(infos, "repair without loss", "repairs without loss"),
    ));
    section.meaning(if errors > 0 {
        "The numbers below do not include missing or unusable data: correct the source files and scan again."
    } else if warnings > 0 {
        "Check the warnings in the table below."
    } else {
        "All repairs are certain; the numbers below use all data."
    });

    let shown = study.settings.rows_shown.min(problems.len());
    let (mut ranked, mut worst) = (Vec::new(), Vec::new());
    for severity in SEVERITIES {
        let of_severity = filtered(&frame, is("severity", severity))?;
        ranked.extend(tally(&of_severity, col("reason"))?.into_iter().map(|(reason, n)| (severity, reason, n)));
        worst.extend(ProblemRow::from_frame(&of_severity.head(Some(shown - worst.len())))?);
    }
    section.number(
        "by_reason",
        json!(ranked.iter().map(|(s, r, n)| json!({"severity": s.name(), "reason": r, "n": n})).collect::<Vec<_>>()),
    );
    section.figure(figure(&ranked, problems.len()));

    let rows = worst
        .iter()
        .map(|p| {
            let subject = p.image_id.as_ref().or(p.patient_id.as_ref()).map_or("", String::as_str);
            [p.severity.name(), &p.file, &p.place, subject, &p.raw, &p.reason, &p.action].map(visible).to_vec()
        })
        .collect();
    section.table(
        format!("{} of {}, worst first", count(shown), counted(problems.len(), "problem", "problems")),
        &["severity", "file", "place", "image or patient", "raw value", "reason", "action"],
        rows,
    );
    section.blocks.push(Content::Link("problems.csv".into(), "All problems as CSV".into()));
    Ok(section)
}

fn figure(ranked: &[(ProblemSeverity, String, usize)], n: usize) -> Figure {
    let colour = |s: ProblemSeverity| -> Rgb {
        match s {
            ProblemSeverity::Error => okabe_ito::VERMILION,
            ProblemSeverity::Warning => okabe_ito::ORANGE,
            ProblemSeverity::Info => NEUTRAL,
        }
    };
    let rows = ranked
        .iter()
        .take(KINDS_SHOWN)
        .map(|(severity, reason, n)| CategoryRow {
            label: reason.clone(),
            marks: vec![Mark::Bar {
                name: severity.name().into(),
                colour: colour(*severity),
                value: *n as f64,
                interval: None,
            }],
            note: count(*n),
        })
        .collect();
    let rest = ranked.len().saturating_sub(KINDS_SHOWN);
    Figure {
        name: "problems-by-kind".into(),
        title: format!("Problems by kind (n = {})", count(n)),
        note: if rest > 0 {
            format!("{rest} kinds that are rarer or less severe are not shown.")
        } else {
            String::new()
        },
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("problems", ranked.iter().map(|r| r.2 as f64)).whole(),
            rows,
            reference: None,
        })],
    }
}
