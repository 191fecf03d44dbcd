use std::collections::BTreeMap;

use polars::prelude::*;
use serde_json::json;

use crate::audit::{FindingRow, Severity};
use crate::figures::style::{NEUTRAL, Rgb, okabe_ito};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::evidence::by_image;
use crate::report::wording::{count, counted, num, visible};
use crate::report::{AttachedFile, CheckFindings, Content, FindingCard, Section, Study};
use crate::tables::{TableRow, cells, counts, is, wholes};

/// Severities, worst first.
const SEVERITIES: [Severity; 3] = [Severity::High, Severity::Medium, Severity::Low];

/// Findings of the audit, with their pictures.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("findings", "Findings");
    let Some(findings) = study.findings else {
        section.absent("No findings were given: make them with `carpus audit` and pass them with --findings.");
        return Ok(section);
    };
    let frame = FindingRow::to_frame(findings)?;
    let by_severity @ [high, medium, low] = counts(&frame, SEVERITIES.map(|severity| is("severity", severity)))?;
    section.number("n", findings.len());
    section
        .number("by_severity", json!(SEVERITIES.iter().map(|s| s.name()).zip(by_severity).collect::<BTreeMap<_, _>>()));
    if findings.is_empty() {
        section.text("The audit found nothing suspicious.");
        return Ok(section);
    }
    let images = frame.column("image_id")?.n_unique()?;
    section.text(format!(
        "{} on {}: {} of high severity, {} medium, {} low.",
        counted(findings.len(), "finding", "findings"),
        counted(images, "image", "images"),
        count(high),
        count(medium),
        count(low),
    ));
    section.meaning(format!(
        "Findings are suspected errors, worst first; a person must check them. {}.",
        if high > 0 { "Those of high severity are the most likely errors" } else { "None has high severity" }
    ));
    let checks = checks(&frame)?;
    let by_check = checks.iter().map(|(c, n)| (c, json!({"high": n[0], "medium": n[1], "low": n[2]})));
    section.number("images", images);
    section.number("by_check", json!(by_check.collect::<BTreeMap<_, _>>()));
    section.figure(figure(&checks, findings.len()));

    cards(&mut section, study, findings);
    let [with_picture] = counts(&frame, [col("evidence").neq(lit(""))])?;
    section.number("with_picture", with_picture);
    if with_picture > 0 && with_picture < findings.len() {
        section.text(format!(
            "The audit drew pictures of {} and left out {}: set their number with `carpus audit --evidence`.",
            counted(with_picture, "finding", "findings"),
            count(findings.len() - with_picture),
        ));
    }
    let rows_shown = study.settings.rows_shown.min(findings.len());
    let rows = findings[..rows_shown]
        .iter()
        .map(|f| {
            let text = [f.severity.name(), f.check.name, &f.image_id, &f.label, &f.message, &f.suggestion].map(visible);
            let mut row = text.to_vec();
            row.insert(1, num(f.score, 2));
            row
        })
        .collect();
    section.table(
        format!("{} of {}, worst first", count(rows_shown), counted(findings.len(), "finding", "findings")),
        &["severity", "score", "check", "image", "class", "description", "suggestion"],
        rows,
    );
    section.blocks.push(Content::Link("findings.csv".into(), "All findings as CSV".into()));
    Ok(section)
}

/// Number of findings of each check by severity; checks with the most findings of high severity first.
fn checks(findings: &DataFrame) -> PolarsResult<Vec<(String, [usize; 3])>> {
    let [high, medium, low] = SEVERITIES.map(Severity::name);
    let of_severity = SEVERITIES.map(|severity| is("severity", severity).sum().alias(severity.name()));
    let order = SortMultipleOptions::default().with_order_descending_multi([true, true, true, false]);
    let checks = findings.clone().lazy().group_by([col("check").cast(DataType::String)]).agg(of_severity);
    let checks = checks.sort([high, medium, low, "check"], order).collect()?;
    let counts = [wholes(&checks, high)?, wholes(&checks, medium)?, wholes(&checks, low)?];
    let names = cells::<String>(&checks, "check")?.into_iter().enumerate();
    Ok(names.map(|(i, name)| (name, counts.each_ref().map(|of_severity| of_severity[i]))).collect())
}

/// Adds a card for each image with findings, up to the number of the settings.
fn cards(section: &mut Section, study: &Study<'_>, findings: &[FindingRow]) {
    let images = by_image(findings);
    let shown = study.settings.pictures_shown.min(images.len());
    let mut cards = Vec::with_capacity(shown);
    for (i, of_image) in images[..shown].iter().enumerate() {
        let evidence = of_image.iter().map(|f| &f.evidence).find(|evidence| !evidence.is_empty());
        let file = evidence.and_then(|evidence| study.evidence.full.get(evidence)).map(|bytes| {
            let file = AttachedFile { name: format!("pictures/finding-{:03}.jpg", i + 1), bytes: bytes.clone() };
            let name = file.name.clone();
            section.files.push(file);
            name
        });
        cards.push(FindingCard {
            jpeg: evidence.and_then(|e| study.evidence.pictures.get(e)).cloned().unwrap_or_default(),
            file: file.unwrap_or_default(),
            image: visible(&of_image[0].image_id),
            patient: visible(&of_image[0].patient_id),
            severity: worst(of_image).name(),
            checks: by_check(of_image),
        });
    }
    section.blocks.push(Content::Findings(cards));
    if images.len() > shown {
        let n: usize = images[shown..].iter().map(Vec::len).sum();
        section.text(format!(
            "{} with {} not shown with pictures; `carpus eda --pictures` sets their number.",
            counted(images.len() - shown, "more image", "more images"),
            counted(n, "finding is", "findings are"),
        ));
    }
}

/// The findings of an image by check, in the order of each check's first finding.
fn by_check(findings: &[&FindingRow]) -> Vec<CheckFindings> {
    let mut checks: Vec<CheckFindings> = Vec::new();
    for finding in findings {
        let at = checks.iter().position(|group| group.check == finding.check.name).unwrap_or(checks.len());
        if at == checks.len() {
            let of_check: Vec<&FindingRow> = findings.iter().copied().filter(|f| f.check == finding.check).collect();
            let (check, severity) = (finding.check.name, worst(&of_check).name());
            checks.push(CheckFindings { check, severity, n: of_check.len(), lines: Vec::new() });
        }
        checks[at].lines.push(line(finding));
    }
    checks
}

fn worst(findings: &[&FindingRow]) -> Severity {
    findings.iter().map(|f| f.severity).max().unwrap_or_default()
}

fn line(finding: &FindingRow) -> String {
    let class = if finding.label.is_empty() { String::new() } else { format!("{}: ", visible(&finding.label)) };
    let suggestion = if finding.suggestion.is_empty() { String::new() } else { format!(" → {}", finding.suggestion) };
    format!("{class}{} (score {}){}", visible(&finding.message), num(finding.score, 2), visible(&suggestion))
}

fn figure(checks: &[(String, [usize; 3])], n: usize) -> Figure {
    let colours: [Rgb; 3] = [okabe_ito::VERMILION, okabe_ito::ORANGE, NEUTRAL];
    let rows = checks
        .iter()
        .map(|(check, counts)| CategoryRow {
            label: check.clone(),
            marks: (0..3)
                .filter(|i| counts[*i] > 0)
                .map(|i| Mark::Bar {
                    name: SEVERITIES[i].to_string(),
                    colour: colours[i],
                    value: counts[i] as f64,
                    interval: None,
                })
                .collect(),
            note: format!("{} high, {} medium, {} low", counts[0], counts[1], counts[2]),
        })
        .collect();
    Figure {
        name: "findings-by-check".into(),
        title: format!("Findings by check (n = {})", count(n)),
        note: String::new(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("findings", checks.iter().flat_map(|(_, counts)| counts).map(|c| *c as f64)).whole(),
            rows,
            reference: None,
        })],
    }
}
