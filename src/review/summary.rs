//! The summary of a review: what was found, what was decided and by whom, and what remains.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde_json::{Value, json};

use super::Review;
use super::agreement::{ReviewProgress, StateCounts, progress};
use super::judgement::{JudgementKind, is_disputed, outcome};
use super::refusal::Refusal;

const TEMPLATE: &str = include_str!("assets/summary.html");
const COLUMNS: [&str; 13] = [
    "finding",
    "image_id",
    "patient_id",
    "check",
    "label",
    "severity",
    "score",
    "state",
    "disputed",
    "authors",
    "reasons",
    "decisions",
    "message",
];

impl Review {
    /// Progress of all curators.
    pub(super) fn progress(&self) -> Result<ReviewProgress, Refusal> {
        Ok(progress(&self.findings, &self.snapshot()?.judgements))
    }

    /// One row per finding.
    pub(super) fn summary_csv(&self) -> Result<String, Refusal> {
        let snapshot = self.snapshot()?;
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(COLUMNS).map_err(Refusal::failed)?;
        for (finding, judgements) in self.findings.iter().zip(&snapshot.judgements) {
            let row = &finding.row;
            let join = |texts: Vec<&str>| texts.join("; ");
            let reasons = judgements.iter().map(|j| j.reason.as_str()).filter(|reason| !reason.is_empty());
            let record = [
                finding.id.clone(),
                row.image_id.clone(),
                row.patient_id.clone(),
                row.check.name.to_owned(),
                row.label.clone(),
                row.severity.name().to_owned(),
                row.score.to_string(),
                outcome(judgements).map_or("open", JudgementKind::name).to_owned(),
                is_disputed(judgements).to_string(),
                join(judgements.iter().map(|j| j.author.as_str()).collect()),
                join(reasons.collect()),
                join(judgements.iter().map(|j| j.decision.as_str()).collect()),
                row.message.clone(),
            ];
            table.write_record(record).map_err(Refusal::failed)?;
        }
        let bytes = table.into_inner().map_err(Refusal::failed)?;
        String::from_utf8(bytes).map_err(Refusal::failed)
    }

    /// A page with the progress and every judged finding.
    pub(super) fn summary_html(&self) -> Result<String, Refusal> {
        let snapshot = self.snapshot()?;
        let progress = progress(&self.findings, &snapshot.judgements);
        let judged = self.findings.iter().zip(&snapshot.judgements).filter(|(_, judgements)| !judgements.is_empty());
        let rows: Vec<Value> = judged
            .map(|(finding, judgements)| {
                json!({
                    "image": finding.row.image_id, "patient": finding.row.patient_id, "check": finding.row.check.name,
                    "label": finding.row.label.replace('|', ", "), "severity": finding.row.severity.name(),
                    "message": finding.row.message, "disputed": is_disputed(judgements),
                    "state": outcome(judgements).map_or("open", JudgementKind::name), "judgements": judgements,
                })
            })
            .collect();
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let tally = |name: &str, tally: &StateCounts| {
            let of = |state: &str| tally.by_state.get(state).copied().unwrap_or(0);
            json!({
                "name": name, "all": tally.all, "done": tally.done, "open": of("open"), "kept": of("kept"),
                "corrected": of("corrected"), "excluded": of("excluded"), "flagged": of("flagged"),
            })
        };
        let total = &progress.total;
        let by_check = progress.by_check.iter().map(|(name, of)| tally(name, of));
        let by_author: Vec<Value> = progress.by_author.iter().map(|(name, of)| tally(name, of)).collect();
        let mut tables = vec![json!({
            "by": "check", "rows": by_check.chain([tally("all checks", total)]).collect::<Vec<_>>(),
        })];
        if !by_author.is_empty() {
            tables.push(json!({ "by": "curator", "rows": by_author }));
        }
        let page = json!({
            "data": self.data.root(), "corrections": self.ledger.path(),
            "decisions": snapshot.corrections.decisions().count(), "disputed": progress.disputed,
            "all": total.all, "done": total.done, "remaining": total.all - total.done,
            "tables": tables, "agreement": progress.agreement, "rows": rows,
        });
        environment.render_str(TEMPLATE, Serde(&page)).map_err(Refusal::failed)
    }
}
