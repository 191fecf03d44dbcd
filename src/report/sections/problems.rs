use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::json;

use crate::dataset::{ProblemSeverity, kind_of_problem};
use crate::figures::style::{NEUTRAL, Rgb, okabe_ito};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::wording::{count, counted, visible};
use crate::report::{Content, Section, Study, TextTable};
use crate::tables::{ProblemRow, TableRow, cells, counts, filtered, is, wholes};

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

    let kinds = kinds(problems)?;
    section.number(
        "by_kind",
        json!(
            kinds.iter().map(|k| json!({"severity": k.severity.name(), "kind": k.kind, "n": k.n})).collect::<Vec<_>>()
        ),
    );
    section.figure(figure(&kinds, problems.len()));
    let (serious, repaired): (Vec<&Kind>, Vec<&Kind>) =
        kinds.iter().partition(|kind| kind.severity > ProblemSeverity::Info);
    if !serious.is_empty() {
        let caption = counted(serious.len(), "kind of error or warning", "kinds of errors and warnings");
        section.table(caption, &HEAD, serious.iter().map(|kind| kind.row()).collect());
    }
    rows(&mut section, study, &frame)?;
    if !repaired.is_empty() {
        let n: usize = repaired.iter().map(|kind| kind.n).sum();
        let title = format!(
            "{} of {}",
            counted(n, "repair without loss", "repairs without loss"),
            counted(repaired.len(), "kind", "kinds")
        );
        let table = TextTable::new(title.clone(), &HEAD, repaired.iter().map(|kind| kind.row()).collect());
        section.folded(title, vec![Content::Table(table)]);
    }
    section.blocks.push(Content::Link("problems.csv".into(), "All problems as CSV".into()));
    Ok(section)
}

/// Columns of a table of kinds.
const HEAD: [&str; 7] = ["severity", "kind", "n", "images", "patients", "example", "action"];

/// Adds the table of errors and warnings.
fn rows(section: &mut Section, study: &Study<'_>, frame: &DataFrame) -> PolarsResult<()> {
    let mut worst = Vec::new();
    for severity in [ProblemSeverity::Error, ProblemSeverity::Warning] {
        worst.extend(ProblemRow::from_frame(&filtered(frame, is("severity", severity))?)?);
    }
    let shown = study.settings.rows_shown.min(worst.len());
    if shown == 0 {
        return Ok(());
    }
    let rows = worst[..shown]
        .iter()
        .map(|p| {
            let subject = p.image_id.as_ref().or(p.patient_id.as_ref()).map_or("", String::as_str);
            [p.severity.name(), subject, &p.reason, &p.action, &p.raw, &p.file, &p.place].map(visible).to_vec()
        })
        .collect();
    let caption = format!(
        "{} of {}, worst first",
        count(shown),
        counted(worst.len(), "error and warning", "errors and warnings")
    );
    let head = ["severity", "image or patient", "reason", "action", "raw value", "file", "place"];
    section.table(caption, &head, rows);
    Ok(())
}

/// Problems that differ only in their values.
struct Kind {
    severity: ProblemSeverity,
    /// The reason without values; the reason itself if all problems have the same.
    kind: String,
    n: usize,
    images: usize,
    patients: usize,
    /// Raw value, else place, of the first.
    example: String,
    action: String,
}

impl Kind {
    fn row(&self) -> Vec<String> {
        let numbers = [self.n, self.images, self.patients].map(count);
        let [n, images, patients] = numbers;
        let text = |text: &str| visible(text);
        vec![
            self.severity.name().to_owned(),
            text(&self.kind),
            n,
            images,
            patients,
            text(&self.example),
            text(&self.action),
        ]
    }
}

/// The kinds, worst and most frequent first.
fn kinds(problems: &[ProblemRow]) -> PolarsResult<Vec<Kind>> {
    let frame = ProblemRow::to_frame(problems)?;
    let kind = Column::new("kind".into(), problems.iter().map(|p| kind_of_problem(&p.reason)).collect::<Vec<_>>());
    let action = Column::new("general".into(), problems.iter().map(|p| kind_of_problem(&p.action)).collect::<Vec<_>>());
    let rank = Column::new("rank".into(), problems.iter().map(|p| p.severity as u32).collect::<Vec<_>>());
    let mut frame = frame;
    frame.with_column(kind)?;
    frame.with_column(action)?;
    frame.with_column(rank)?;
    let known = |name: &str| col(name).drop_nulls().n_unique().alias(format!("n_{name}"));
    let order = SortMultipleOptions::default().with_order_descending_multi([true, true, false]);
    let groups = frame
        .lazy()
        .group_by([col("rank"), col("kind")])
        .agg([
            len().alias("n"),
            known("image_id"),
            known("patient_id"),
            col("reason").n_unique().alias("reasons"),
            col("reason").first(),
            col("raw").first(),
            col("place").first(),
            col("general").n_unique().alias("actions"),
            col("general").first(),
        ])
        .sort(["rank", "n", "kind"], order)
        .collect()?;
    let text = |name: &str| cells::<String>(&groups, name);
    let number = |name: &str| wholes(&groups, name);
    let (ranks, n, images, patients) = (number("rank")?, number("n")?, number("n_image_id")?, number("n_patient_id")?);
    let (reasons, actions) = (number("reasons")?, number("actions")?);
    let (kind, reason, raw, place, action) =
        (text("kind")?, text("reason")?, text("raw")?, text("place")?, text("general")?);
    Ok((0..groups.height())
        .map(|i| Kind {
            severity: ProblemSeverity::ALL[ranks[i]],
            kind: if reasons[i] == 1 { reason[i].clone() } else { kind[i].clone() },
            n: n[i],
            images: images[i],
            patients: patients[i],
            example: if raw[i].is_empty() { place[i].clone() } else { raw[i].clone() },
            action: if actions[i] == 1 { action[i].clone() } else { format!("{}, or another", action[i]) },
        })
        .collect())
}

fn figure(ranked: &[Kind], n: usize) -> Figure {
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
        .map(|kind| CategoryRow {
            label: kind.kind.clone(),
            marks: vec![Mark::Bar {
                name: kind.severity.name().into(),
                colour: colour(kind.severity),
                value: kind.n as f64,
                interval: None,
            }],
            note: count(kind.n),
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
            axis: Axis::from_zero("problems", ranked.iter().map(|kind| kind.n as f64)).whole(),
            rows,
            reference: None,
        })],
    }
}
