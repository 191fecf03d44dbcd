//! Converts rows of cells to patients.

use std::collections::HashMap;

use super::columns::{self, Column, Header, MetadataField};
use super::grid::{Cell, Grid, GridRow};
use super::measure::{MeasuredCell, check_range, measure, unit_name};
use super::numbers::Dimension;
use super::{Patient, Sex, normalise_patient_id, sex, swaps, text};
use crate::dataset::corrections::CorrectableField;
use crate::dataset::{Problem, ProblemSeverity};

/// Words in the ID column that mark a row of totals.
const TOTALS: [&str; 13] =
    ["평균", "합계", "총계", "소계", "계", "표준편차", "mean", "average", "total", "sum", "sd", "median", "중앙값"];

/// One patient per row with an ID; of several rows with the same ID, the first.
pub fn read(grid: &Grid, mut header: Header, file: &str, problems: &mut Vec<Problem>) -> Vec<Patient> {
    swaps::correct_columns(grid, &mut header, file, problems);
    let mut rows = Rows { grid, header: &header, file, problems };
    rows.report_header();
    let mut patients: Vec<Patient> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut previous = header.row;
    for row in grid.rows.iter().filter(|r| r.number > header.row) {
        rows.report_gap(previous, row);
        previous = row.last;
        let Some(patient) = rows.patient(row) else { continue };
        match places.get(&patient.patient_id) {
            Some(&first) => rows.report_repeated(row, &patients[first], &patient),
            None => {
                places.insert(patient.patient_id.clone(), patients.len());
                patients.push(patient);
            }
        }
    }
    patients
}

struct Rows<'a> {
    grid: &'a Grid,
    header: &'a Header,
    file: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Rows<'_> {
    fn problem(&self, severity: ProblemSeverity, reason: impl Into<String>, action: impl Into<String>) -> Problem {
        Problem::new(severity, self.file, reason, action)
    }

    fn place(&self, row: &GridRow, column: &Column) -> String {
        self.grid.place(row.number, column.column, &column.name)
    }

    /// Titles above the header, fields without a column, columns without a field.
    fn report_header(&mut self) {
        for row in self.grid.rows.iter().filter(|r| r.number < self.header.first) {
            let cells: Vec<String> = row.cells.iter().map(|(_, cell)| cell.shown()).collect();
            let problem = self.problem(ProblemSeverity::Info, "text above the header", "skipped");
            self.problems.push(problem.at(self.grid.place_of_rows(row.number, row.last)).raw(&cells.join("; ")));
        }
        for field in MetadataField::ALL.iter().copied() {
            if !self.header.columns.contains_key(&field) {
                let reason = format!("no column for the patient's {}", field.name());
                let problem = self.problem(ProblemSeverity::Warning, reason, "left empty for all patients");
                self.problems.push(problem.at(self.grid.place_of_rows(self.header.row, self.header.row)));
            }
        }
        for (column, field) in &self.header.others {
            let place = self.grid.place(self.header.row, column.column, &column.name);
            let problem = match field {
                Some(field) => {
                    let reason = format!("a second column for the patient's {}", field.name());
                    self.problem(
                        ProblemSeverity::Warning,
                        reason,
                        "the first is read; the values of this one are kept as notes",
                    )
                }
                None => self.problem(
                    ProblemSeverity::Info,
                    "unknown column name",
                    "its values are kept as notes; rename it if it is the ID, age, sex, weight or height",
                ),
            };
            self.problems.push(problem.at(place).raw(&column.name));
        }
    }

    fn report_gap(&mut self, previous: u32, row: &GridRow) {
        if row.number > previous.saturating_add(1) {
            let is_one = row.number == previous.saturating_add(2);
            let reason = if is_one { "empty row between filled rows" } else { "empty rows between filled rows" };
            let problem = self.problem(ProblemSeverity::Info, reason, "skipped");
            self.problems.push(problem.at(self.grid.place_of_rows(previous + 1, row.number - 1)));
        }
    }

    /// The row's patient, unless it has no ID.
    fn patient(&mut self, row: &GridRow) -> Option<Patient> {
        let patient_id = self.id(row)?;
        let (sex, sex_raw) = self.sex(row, &patient_id);
        let mut age = self.measured(row, MetadataField::Age);
        let mut height = self.measured(row, MetadataField::Height);
        let mut weight = self.measured(row, MetadataField::Weight);
        if let (Some(height), Some(weight)) = (&mut height, &mut weight) {
            swap_back(height, weight);
        }
        let raw = |m: &Option<MeasuredCell>| m.as_ref().map(|m| m.raw.clone()).unwrap_or_default();
        let (age_raw, height_raw, weight_raw) = (raw(&age), raw(&height), raw(&weight));
        let mut value = |m: &mut Option<MeasuredCell>, field| {
            let m = m.as_mut()?;
            check_range(m, field);
            self.report_measured(row, field, m, &patient_id);
            m.value
        };
        Some(Patient {
            age_raw,
            height_raw,
            weight_raw,
            age: value(&mut age, MetadataField::Age),
            height_cm: value(&mut height, MetadataField::Height),
            weight_kg: value(&mut weight, MetadataField::Weight),
            sex,
            sex_raw,
            note: self.note(row, &patient_id),
            row: Some(row.number),
            patient_id,
        })
    }

    fn id(&mut self, row: &GridRow) -> Option<String> {
        let column = &self.header.columns[&MetadataField::Id];
        let place = self.place(row, column);
        let cell = row.cell(column.column);
        let raw = cell.map(Cell::shown).unwrap_or_default();
        let cleaned = text::clean(&raw);
        let left_out = |severity, reason: String| Some(self.problem(severity, reason, "row left out"));
        let refusal = match cell {
            Some(Cell::Broken(error)) => {
                left_out(ProblemSeverity::Error, format!("the cell contains an error: {error}"))
            }
            Some(Cell::Truth(_)) => left_out(ProblemSeverity::Error, "expected an ID".into()),
            Some(Cell::Text(_)) if columns::is_id_name(&cleaned.text) => {
                left_out(ProblemSeverity::Info, "repeated header".into())
            }
            Some(Cell::Text(_)) if TOTALS.contains(&cleaned.text.to_lowercase().as_str()) => {
                left_out(ProblemSeverity::Warning, "row of totals, not a patient".into())
            }
            _ => None,
        };
        if let Some(problem) = refusal {
            self.problems.push(problem.at(place).raw(&raw));
            return None;
        }
        let id = if text::means_missing(&cleaned.text) { None } else { normalise_patient_id(&raw) };
        let Some(id) = id else {
            let cells: Vec<String> = row.cells.iter().map(|(_, cell)| cell.shown()).collect();
            let reason = "no ID, but other cells of the row are filled";
            let problem = self.problem(ProblemSeverity::Error, reason, "row left out");
            self.problems.push(problem.at(place).raw(&cells.join("; ")));
            return None;
        };
        if !cleaned.repairs.is_empty() {
            let problem = self.problem(ProblemSeverity::Info, cleaned.repairs.join(", "), format!("read as {id}"));
            self.problems.push(problem.at(place).raw(&raw).of_patient(&id));
        }
        Some(id)
    }

    fn sex(&mut self, row: &GridRow, id: &str) -> (Option<Sex>, String) {
        let Some(column) = self.header.columns.get(&MetadataField::Sex) else { return (None, String::new()) };
        let cell = row.cell(column.column);
        let raw = cell.map(Cell::shown).unwrap_or_default();
        let cleaned = text::clean(&raw);
        let (sex, reported) = match cell {
            None => (None, Some((ProblemSeverity::Info, "no sex".to_owned()))),
            Some(Cell::Broken(error)) => {
                (None, Some((ProblemSeverity::Error, format!("the cell contains an error: {error}"))))
            }
            Some(Cell::Text(_)) if text::means_missing(&cleaned.text) => {
                (None, Some((ProblemSeverity::Info, "no sex".into())))
            }
            Some(Cell::Text(_)) => match sex::parse(&cleaned.text) {
                Some(sex) if cleaned.repairs.is_empty() => (Some(sex), None),
                Some(sex) => (
                    Some(sex),
                    Some((
                        ProblemSeverity::Info,
                        format!("{}; cleaned text: {}", cleaned.repairs.join(", "), cleaned.text),
                    )),
                ),
                None => (None, Some((ProblemSeverity::Error, sex::EXPECTED.to_owned()))),
            },
            Some(_) => (None, Some((ProblemSeverity::Error, format!("unknown code; {}", sex::EXPECTED)))),
        };
        if let Some((severity, reason)) = reported {
            let action = sex.map_or("left empty".to_owned(), |sex| format!("read as {}", sex.name()));
            let problem = self.problem(severity, reason, action).of_fields([CorrectableField::Sex]);
            self.problems.push(problem.at(self.place(row, column)).raw(&raw).of_patient(id));
        }
        (sex, raw)
    }

    /// The field's cell; `None` if no column contains the field.
    fn measured(&self, row: &GridRow, field: MetadataField) -> Option<MeasuredCell> {
        let column = self.header.columns.get(&field)?;
        Some(measure(row.cell(column.column), field, column.unit, self.grid.sheet.is_some()))
    }

    fn report_measured(&mut self, row: &GridRow, field: MetadataField, m: &MeasuredCell, id: &str) {
        if m.reasons.is_empty() {
            return;
        }
        let whose = if m.is_swapped { format!("{} ", field.name()) } else { String::new() };
        let read_as = |value: f64| format!("{whose}read as {value} {}", unit_name(field));
        let action = m.value.map_or("left empty".to_owned(), read_as);
        let problem = self.problem(m.severity, m.reasons.join("; "), action).of_fields(field.correctable());
        let place = self.place(row, &self.header.columns[&field]);
        self.problems.push(problem.at(place).raw(&m.raw).of_patient(id));
    }

    fn note(&mut self, row: &GridRow, id: &str) -> String {
        let mut notes = Vec::new();
        for (at, cell) in &row.cells {
            if self.header.columns.values().any(|c| c.column == *at) {
                continue;
            }
            let raw = cell.shown();
            let text = text::clean(&raw).text;
            if text.is_empty() {
                continue;
            }
            let other = self.header.others.binary_search_by_key(at, |(column, _)| column.column);
            match other.ok().map(|i| &self.header.others[i]) {
                // The notes column of a copy made by carpus.
                Some((column, None)) if column.name.eq_ignore_ascii_case("note") => notes.push(text),
                Some((column, _)) => notes.push(format!("{}: {text}", column.name)),
                None => {
                    let problem =
                        self.problem(ProblemSeverity::Info, "text in a column without a name", "kept as note");
                    let place = self.grid.place(row.number, *at, "");
                    let problem = problem.at(place).raw(&raw).of_patient(id);
                    self.problems.push(problem.of_fields([CorrectableField::Note]));
                    notes.push(text);
                }
            }
        }
        notes.join("; ")
    }

    fn report_repeated(&mut self, row: &GridRow, first: &Patient, second: &Patient) {
        let shown = |v: Option<f64>| v.map_or("none".to_owned(), |v| v.to_string());
        let sex = |p: &Patient| p.sex.map_or("none", Sex::name).to_owned();
        let values = [
            (CorrectableField::Sex, sex(first), sex(second)),
            (CorrectableField::Age, shown(first.age), shown(second.age)),
            (CorrectableField::HeightCm, shown(first.height_cm), shown(second.height_cm)),
            (CorrectableField::WeightKg, shown(first.weight_kg), shown(second.weight_kg)),
            (CorrectableField::Note, first.note.clone(), second.note.clone()),
        ];
        let different = values.into_iter().filter(|(_, a, b)| a != b);
        let (fields, differences): (Vec<CorrectableField>, Vec<String>) =
            different.map(|(field, a, b)| (field, format!("{} {b} instead of {a}", field.word()))).unzip();
        let earlier = first.row.unwrap_or_default();
        let (severity, reason) = if differences.is_empty() {
            (ProblemSeverity::Info, format!("the same ID and values as row {earlier}"))
        } else {
            let differences = differences.join(", ");
            (ProblemSeverity::Warning, format!("the same ID as row {earlier} with other values: {differences}"))
        };
        let action = format!("row left out; row {earlier} is read");
        let problem = self.problem(severity, reason, action).of_fields(fields);
        let place = self.place(row, &self.header.columns[&MetadataField::Id]);
        self.problems.push(problem.at(place).raw(&second.patient_id).of_patient(&first.patient_id));
    }
}

/// Swaps height and weight if they are plausible only when swapped, by their units or values.
fn swap_back(height: &mut MeasuredCell, weight: &mut MeasuredCell) {
    let tall = weight.could_be(Dimension::Length, 130.0..=220.0);
    let heavy = height.could_be(Dimension::Mass, 25.0..=125.0);
    if !(tall && heavy) {
        return;
    }
    std::mem::swap(&mut height.value, &mut weight.value);
    let reason = format!("height and weight look swapped (height {}, weight {})", height.raw, weight.raw);
    for m in [height, weight] {
        m.foreign = None;
        m.is_swapped = true;
        m.add(ProblemSeverity::Warning, reason.clone());
    }
}
