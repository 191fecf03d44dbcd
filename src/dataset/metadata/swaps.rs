//! Columns that stand under each other's names.

use super::columns::{Field, Header};
use super::grid::{Cell, Grid};
use super::measure::measure;
use super::{sex, text};
use crate::dataset::{Problem, Severity};

/// Fewest values on which a column is judged.
const FEWEST: usize = 3;

/// Swaps columns back whose contents can only be each other's: sex with a column of numbers, height with weight.
pub fn mend(grid: &Grid, header: &mut Header, file: &str, problems: &mut Vec<Problem>) {
    for field in [Field::Age, Field::Weight, Field::Height] {
        let share_of_sex = |f| share(grid, header, f, |text| sex::parse(text).is_some());
        let (Some(under_sex), Some(under_field)) = (share_of_sex(Field::Sex), share_of_sex(field)) else { continue };
        if under_sex == 0.0 && under_field > 0.5 {
            let reason = format!("the column {} holds sexes, the column of sex holds none", field.name());
            swap(grid, header, file, problems, [Field::Sex, field], reason);
        }
    }
    let (Some(height), Some(weight)) = (median(grid, header, Field::Height), median(grid, header, Field::Weight))
    else {
        return;
    };
    if height < 120.0 && weight > 130.0 {
        let reason = format!("the median height would be {height} cm, the median weight {weight} kg");
        swap(grid, header, file, problems, [Field::Height, Field::Weight], reason);
    }
}

fn swap(grid: &Grid, header: &mut Header, file: &str, problems: &mut Vec<Problem>, fields: [Field; 2], reason: String) {
    let [Some(mut a), Some(mut b)] = fields.map(|f| header.columns.remove(&f)) else { return };
    let problem = Problem::new(Severity::Warning, file, reason, "the two columns are read as each other's")
        .at(grid.place(header.row, a.column, &a.name))
        .raw(&format!("{}; {}", a.name, b.name));
    problems.push(problem);
    // A unit in the name belongs to what the column should have held.
    (a.unit, b.unit) = (None, None);
    header.columns.insert(fields[0], b);
    header.columns.insert(fields[1], a);
}

fn cells<'a>(grid: &'a Grid, header: &Header, field: Field) -> Vec<&'a Cell> {
    let Some(column) = header.columns.get(&field).map(|c| c.column) else { return Vec::new() };
    grid.rows.iter().filter(|r| r.number > header.row).filter_map(|r| r.cell(column)).collect()
}

/// Share of a column's cells whose clean text passes; `None` for too few cells.
fn share(grid: &Grid, header: &Header, field: Field, passes: impl Fn(&str) -> bool) -> Option<f64> {
    let cells = cells(grid, header, field);
    let passing = cells.iter().filter(|c| passes(&text::clean(&c.shown()).text)).count();
    (cells.len() >= FEWEST).then(|| passing as f64 / cells.len() as f64)
}

/// Median of a column's numbers without a unit of their own; `None` for too few.
fn median(grid: &Grid, header: &Header, field: Field) -> Option<f64> {
    let unit = header.columns.get(&field)?.unit;
    let mut values: Vec<f64> = cells(grid, header, field)
        .into_iter()
        .map(|cell| measure(Some(cell), field, unit, false))
        .filter(|m| !m.has_unit)
        .filter_map(|m| m.value)
        .collect();
    values.sort_by(f64::total_cmp);
    (values.len() >= FEWEST).then(|| values[values.len() / 2])
}
