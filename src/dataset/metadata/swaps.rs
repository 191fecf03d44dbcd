//! Columns with swapped names, or in other units than expected.

use super::columns::{Header, MetadataField};
use super::grid::{Cell, Grid};
use super::measure::{adult, measure};
use super::numbers::Unit;
use super::{sex, text};
use crate::dataset::{Problem, ProblemSeverity};

/// Minimum number of values for a decision about a column.
const FEWEST: usize = 3;

/// Swaps columns whose contents are plausible only when swapped (sex with a column of numbers, height with weight), and
/// sets the unit of columns in inches or pounds.
pub fn correct_columns(grid: &Grid, header: &mut Header, file: &str, problems: &mut Vec<Problem>) {
    for field in [MetadataField::Age, MetadataField::Weight, MetadataField::Height] {
        let share_of_sex = |f| share(grid, header, f, |text| sex::parse(text).is_some());
        let (Some(under_sex), Some(under_field)) = (share_of_sex(MetadataField::Sex), share_of_sex(field)) else {
            continue;
        };
        if under_sex == 0.0 && under_field > 0.5 {
            let reason = format!("the {} column contains sexes, the sex column contains none", field.name());
            swap(grid, header, file, problems, [MetadataField::Sex, field], reason);
        }
    }
    let [heights, weights] =
        [MetadataField::Height, MetadataField::Weight].map(|field| bare_values(grid, header, field));
    let (Some(height), Some(weight)) = (median(&heights), median(&weights)) else { return };
    let bmi = |kg: f64, cm: f64| kg / (cm / 100.0).powi(2);
    let (inch, pound) = (Unit::Inch.factor(), Unit::Pound.factor());
    if height < 120.0 && weight > 130.0 || (48.0..=84.0).contains(&height) && (70.0..=400.0).contains(&weight) {
        // People differ more in weight than in height, so the spread shows which column is which.
        if spread(&heights) < spread(&weights) && PLAUSIBLE_BMI.contains(&bmi(weight * pound, height * inch)) {
            let reason =
                format!("the median height {height} and weight {weight}, without units, fit inches and pounds");
            set_units(
                grid,
                header,
                file,
                problems,
                &[(MetadataField::Height, Unit::Inch), (MetadataField::Weight, Unit::Pound)],
                &reason,
            );
        } else if height < 120.0 && weight > 130.0 {
            let reason = format!("the median height would be {height} cm and the median weight {weight} kg");
            swap(grid, header, file, problems, [MetadataField::Height, MetadataField::Weight], reason);
        }
    } else if !PLAUSIBLE_BMI.contains(&bmi(weight, height)) && adult(MetadataField::Height).contains(&height) {
        if PLAUSIBLE_BMI.contains(&bmi(weight * pound, height)) && weight > 90.0 {
            let reason = format!("the median weight {weight} at a median height of {height} cm fits pounds");
            set_units(grid, header, file, problems, &[(MetadataField::Weight, Unit::Pound)], &reason);
        } else {
            let bmi = bmi(weight, height);
            let reason = format!("medians of {height} cm and {weight} kg give a body mass index of {bmi:.0}");
            let place = header.columns.get(&MetadataField::Weight).map(|c| grid.place(header.row, c.column, &c.name));
            let problem = Problem::new(ProblemSeverity::Warning, file, reason, "read as they are; check the units");
            problems.push(problem.at(place.unwrap_or_default()));
        }
    }
}

/// Plausible median body mass indices of a group of adults, kg/m².
const PLAUSIBLE_BMI: std::ops::RangeInclusive<f64> = 14.0..=40.0;

/// Sets the units of columns, with a warning for each.
fn set_units(
    grid: &Grid,
    header: &mut Header,
    file: &str,
    problems: &mut Vec<Problem>,
    units: &[(MetadataField, Unit)],
    reason: &str,
) {
    for (field, unit) in units {
        let Some(column) = header.columns.get_mut(field) else { continue };
        column.unit = Some(*unit);
        let action = format!("the column is read in {}", if *unit == Unit::Inch { "inches" } else { "pounds" });
        let place = grid.place(header.row, column.column, &column.name);
        problems.push(Problem::new(ProblemSeverity::Warning, file, reason, action).at(place).raw(&column.name));
    }
}

/// Standard deviation as a share of the mean.
fn spread(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt() / mean
}

fn swap(
    grid: &Grid,
    header: &mut Header,
    file: &str,
    problems: &mut Vec<Problem>,
    fields: [MetadataField; 2],
    reason: String,
) {
    let [Some(mut a), Some(mut b)] = fields.map(|f| header.columns.remove(&f)) else { return };
    let problem = Problem::new(ProblemSeverity::Warning, file, reason, "the two columns are read as swapped")
        .at(grid.place(header.row, a.column, &a.name))
        .raw(&format!("{}; {}", a.name, b.name));
    problems.push(problem);
    // A unit in the name belongs to the expected content of the column.
    (a.unit, b.unit) = (None, None);
    header.columns.insert(fields[0], b);
    header.columns.insert(fields[1], a);
}

fn cells<'a>(grid: &'a Grid, header: &Header, field: MetadataField) -> Vec<&'a Cell> {
    let Some(column) = header.columns.get(&field).map(|c| c.column) else { return Vec::new() };
    grid.rows.iter().filter(|r| r.number > header.row).filter_map(|r| r.cell(column)).collect()
}

/// Share of a column's cells whose cleaned text matches; `None` if there are too few cells.
fn share(grid: &Grid, header: &Header, field: MetadataField, matches: impl Fn(&str) -> bool) -> Option<f64> {
    let cells = cells(grid, header, field);
    let matching = cells.iter().filter(|c| matches(&text::clean(&c.shown()).text)).count();
    (cells.len() >= FEWEST).then(|| matching as f64 / cells.len() as f64)
}

/// A column's numbers without a unit in the cell, sorted.
fn bare_values(grid: &Grid, header: &Header, field: MetadataField) -> Vec<f64> {
    let stated = header.columns.get(&field).and_then(|c| c.unit);
    let mut values: Vec<f64> = cells(grid, header, field)
        .into_iter()
        .map(|cell| measure(Some(cell), field, stated, false))
        .filter(|m| !m.has_unit)
        .filter_map(|m| m.value)
        .collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Median of sorted values; `None` if there are too few.
fn median(values: &[f64]) -> Option<f64> {
    (values.len() >= FEWEST).then(|| values[values.len() / 2])
}
