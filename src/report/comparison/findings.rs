use std::collections::{BTreeMap, HashMap};

use serde_json::json;

use super::ComparedTables;
use crate::audit::FindingRow;
use crate::names::image_id;
use crate::report::Section;
use crate::report::wording::{count, counted, num, visible};

/// Findings in a table; all are in the findings' own files.
const SHOWN: usize = 100;

/// What makes two findings the same: image, or patient without one, bones and check.
fn key(row: &FindingRow) -> (String, String, String, &'static str) {
    (image_id(&row.image_id), row.patient_id.clone(), row.label.clone(), row.check.name)
}

/// Findings that are only in one of two lists, in their order, and how many are in both.
pub(super) struct FindingChanges<'a> {
    /// Only in the first list.
    pub gone: Vec<&'a FindingRow>,
    /// Only in the second list.
    pub new: Vec<&'a FindingRow>,
    /// Number in both.
    pub kept: usize,
}

impl<'a> FindingChanges<'a> {
    /// Several findings of one image, check and bones are matched one to one.
    pub(super) fn of(base: &'a [FindingRow], other: &'a [FindingRow]) -> FindingChanges<'a> {
        let mut left: HashMap<_, usize> = HashMap::new();
        other.iter().for_each(|row| *left.entry(key(row)).or_default() += 1);
        let mut matched: HashMap<_, usize> = HashMap::new();
        let mut gone = Vec::new();
        for row in base {
            match left.get_mut(&key(row)).filter(|n| **n > 0) {
                Some(n) => {
                    *n -= 1;
                    *matched.entry(key(row)).or_default() += 1;
                }
                None => gone.push(row),
            }
        }
        let mut new = Vec::new();
        for row in other {
            match matched.get_mut(&key(row)).filter(|n| **n > 0) {
                Some(n) => *n -= 1,
                None => new.push(row),
            }
        }
        FindingChanges { kept: base.len() - gone.len(), gone, new }
    }
}

/// Findings that are gone and findings that are new.
pub(super) fn section(base: ComparedTables<'_>, other: ComparedTables<'_>) -> Section {
    let mut section = Section::new("findings", "Findings gone and new");
    let (Some(first), Some(second)) = (base.findings, other.findings) else {
        section.absent(
            "Findings of both sets were not given: make them with `carpus audit` and pass both with --findings.",
        );
        return section;
    };
    let changes = FindingChanges::of(first, second);
    section.text(format!(
        "{} in {} and {} in {}: {} in both, {} gone, {} new. Two findings are the same if check, image and bones are.",
        counted(first.len(), "finding", "findings"),
        base.name,
        counted(second.len(), "finding", "findings"),
        other.name,
        count(changes.kept),
        count(changes.gone.len()),
        count(changes.new.len()),
    ));
    let mut by_check: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (at, rows) in [first.iter().collect(), second.iter().collect(), changes.gone.clone(), changes.new.clone()]
        .into_iter()
        .enumerate()
        .collect::<Vec<(usize, Vec<&FindingRow>)>>()
    {
        rows.into_iter().for_each(|row| by_check.entry(row.check.name).or_default()[at] += 1);
    }
    if !by_check.is_empty() {
        section.table(
            "Findings by check",
            &["check", base.name, other.name, "gone", "new"],
            by_check
                .iter()
                .map(|(check, n)| std::iter::once((*check).to_owned()).chain(n.map(count)).collect())
                .collect(),
        );
    }
    for (rows, what) in [(&changes.gone, "gone"), (&changes.new, "new")] {
        let shown = rows.len().min(SHOWN);
        if shown == 0 {
            continue;
        }
        section.table(
            format!(
                "{} of {} that {} {what}, worst first",
                count(shown),
                counted(rows.len(), "finding", "findings"),
                if rows.len() == 1 { "is" } else { "are" }
            ),
            &["check", "severity", "score", "image", "patient", "bones", "finding"],
            rows[..shown]
                .iter()
                .map(|row| {
                    let texts = [&row.image_id, &row.patient_id, &row.label, &row.message].map(|text| visible(text));
                    let first = [row.check.name.to_owned(), row.severity.to_string(), num(row.score, 2)];
                    first.into_iter().chain(texts).collect()
                })
                .collect(),
        );
    }
    section.number("kept", changes.kept);
    section.number("gone", changes.gone.len());
    section.number("new", changes.new.len());
    section.number(
        "by_check",
        json!(
            by_check
                .iter()
                .map(|(check, [a, b, gone, new])| {
                    ((*check).to_owned(), json!({base.name: a, other.name: b, "gone": gone, "new": new}))
                })
                .collect::<serde_json::Map<_, _>>()
        ),
    );
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_findings_are_matched_one_to_one() {
        let row = |image: &str, label: &str| FindingRow {
            image_id: image.into(),
            label: label.into(),
            ..FindingRow::default()
        };
        let base = [row("a", ""), row("a", ""), row("b", "Lunate"), row("c", "")];
        let other = [row("folder/a.png", ""), row("b", "Pisiform"), row("c", "")];
        let changes = FindingChanges::of(&base, &other);
        assert_eq!(changes.kept, 2);
        assert_eq!(changes.gone.iter().map(|r| r.image_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(changes.new.iter().map(|r| r.label.as_str()).collect::<Vec<_>>(), ["Pisiform"]);
    }
}
