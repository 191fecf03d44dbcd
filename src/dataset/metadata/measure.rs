//! Reading a cell as an age, a height or a weight.

use std::ops::RangeInclusive;

use super::columns::MetadataField;
use super::grid::Cell;
use super::numbers::{self, Dimension, NumberWithUnit, Unit};
use super::text;
use crate::dataset::ProblemSeverity;

/// Plausible ages, in years.
pub const AGE: RangeInclusive<f64> = 0.0..=120.0;
/// Plausible heights, in cm.
pub const HEIGHT_CM: RangeInclusive<f64> = 50.0..=250.0;
/// Plausible weights, in kg.
pub const WEIGHT_KG: RangeInclusive<f64> = 2.0..=300.0;

/// The value of a cell, if it has one, and the problems with it.
#[derive(Clone, Debug)]
pub struct MeasuredCell {
    /// As typed.
    pub raw: String,
    /// In years, centimetres or kilograms, by the field or, if set, by `foreign`.
    pub value: Option<f64>,
    /// The cell itself states a unit.
    pub has_unit: bool,
    /// Dimension of the unit if it does not belong to this field.
    pub foreign: Option<Dimension>,
    /// The value was swapped with that of another field.
    pub is_swapped: bool,
    /// Repairs and faults; empty for a plain number.
    pub reasons: Vec<String>,
    /// Severity of the worst reason.
    pub severity: ProblemSeverity,
}

impl MeasuredCell {
    /// Adds a reason.
    pub fn add(&mut self, severity: ProblemSeverity, reason: impl Into<String>) {
        self.reasons.push(reason.into());
        self.severity = self.severity.max(severity);
    }

    /// Removes the value, for this reason.
    pub fn refuse(&mut self, reason: impl Into<String>) {
        self.value = None;
        self.add(ProblemSeverity::Error, reason);
    }

    /// Whether the value is in `range` and has no unit, or one of `dimension`.
    pub fn could_be(&self, dimension: Dimension, range: RangeInclusive<f64>) -> bool {
        let fits = match self.foreign {
            Some(foreign) => foreign == dimension,
            None => !self.has_unit,
        };
        fits && self.value.is_some_and(|v| range.contains(&v))
    }
}

/// Unit of a field's values.
pub fn unit_name(field: MetadataField) -> &'static str {
    match field {
        MetadataField::Age => "years",
        MetadataField::Height => "cm",
        MetadataField::Weight => "kg",
        MetadataField::Id | MetadataField::Sex => "",
    }
}

/// Reads a cell. `column_unit` is the unit in the column's name. In a workbook (`is_sheet`) a number should not be
/// stored as text; in a text file every number is.
pub fn measure(cell: Option<&Cell>, field: MetadataField, column_unit: Option<Unit>, is_sheet: bool) -> MeasuredCell {
    let mut m = MeasuredCell {
        raw: cell.map(Cell::shown).unwrap_or_default(),
        value: None,
        has_unit: false,
        foreign: None,
        is_swapped: false,
        reasons: Vec::new(),
        severity: ProblemSeverity::Info,
    };
    let quantity = match cell {
        None => {
            m.add(ProblemSeverity::Info, format!("no {}", field.name()));
            return m;
        }
        Some(Cell::Number(n)) => NumberWithUnit::bare(*n),
        Some(Cell::Date(n)) => {
            m.add(ProblemSeverity::Warning, "number formatted as a date");
            NumberWithUnit::bare(*n)
        }
        Some(Cell::Truth(_)) => {
            m.refuse("expected a number");
            return m;
        }
        Some(Cell::Broken(error)) => {
            m.refuse(format!("the cell contains an error: {error}"));
            return m;
        }
        Some(Cell::Text(raw)) => {
            let cleaned = text::clean(raw);
            if text::means_missing(&cleaned.text) {
                m.add(ProblemSeverity::Info, format!("no {}", field.name()));
                return m;
            }
            let quantity = match numbers::parse(&cleaned.text) {
                Ok(quantity) => quantity,
                Err(reason) => {
                    m.refuse(reason);
                    return m;
                }
            };
            if is_sheet {
                m.add(ProblemSeverity::Info, "number stored as text");
            }
            for repair in cleaned.repairs.into_iter().chain(quantity.repairs.iter().cloned()) {
                m.add(if quantity.uncertain { ProblemSeverity::Warning } else { ProblemSeverity::Info }, repair);
            }
            quantity
        }
    };
    m.has_unit = quantity.unit.is_some();
    let dimension = match field {
        MetadataField::Height => Dimension::Length,
        MetadataField::Weight => Dimension::Mass,
        MetadataField::Age | MetadataField::Id | MetadataField::Sex => Dimension::Time,
    };
    // Grams and millimetres are typed with thousands separators; the unit shows which of the two readings is meant.
    let stated = quantity.unit.or(column_unit);
    if let (Some(thousands), Some(unit)) = (quantity.thousands, stated)
        && plausible(field).is_some_and(|range| range.contains(&(thousands * unit.factor())))
        && unit.dimension() == dimension
    {
        m.reasons.retain(|reason| reason != numbers::DECIMAL_COMMA);
        m.add(ProblemSeverity::Info, "comma as thousands separator");
        m.value = Some((thousands * unit.factor() * 1e6).round() / 1e6);
        return m;
    }
    let factor = match quantity.unit {
        Some(unit) => {
            m.foreign = Some(unit.dimension()).filter(|d| *d != dimension);
            unit.factor()
        }
        None => factor_of_bare(field, quantity.value, column_unit, &mut m),
    };
    // Conversions such as metres to centimetres produce digits that nobody typed.
    m.value = Some((quantity.value * factor * 1e6).round() / 1e6);
    m
}

fn factor_of_bare(field: MetadataField, value: f64, column_unit: Option<Unit>, m: &mut MeasuredCell) -> f64 {
    let stated = column_unit.map(Unit::factor);
    if field != MetadataField::Height {
        return stated.unwrap_or(1.0);
    }
    let (unit, factor) = match value {
        1.0..2.5 => ("metres", Unit::Metre.factor()),
        50.0..=250.0 if column_unit != Some(Unit::Inch) => ("centimetres", 1.0),
        1000.0..=2500.0 => ("millimetres", Unit::Millimetre.factor()),
        _ => return stated.unwrap_or(1.0),
    };
    if factor != stated.unwrap_or(1.0) {
        m.add(ProblemSeverity::Warning, format!("no unit; only {unit} give a plausible height"));
    }
    factor
}

/// Plausible values, in years, centimetres or kilograms.
fn plausible(field: MetadataField) -> Option<RangeInclusive<f64>> {
    match field {
        MetadataField::Age => Some(AGE),
        MetadataField::Height => Some(HEIGHT_CM),
        MetadataField::Weight => Some(WEIGHT_KG),
        MetadataField::Id | MetadataField::Sex => None,
    }
}

/// Usual values of an adult, in years, centimetres or kilograms.
pub fn adult(field: MetadataField) -> RangeInclusive<f64> {
    match field {
        MetadataField::Height => 140.0..=200.0,
        MetadataField::Weight => 35.0..=150.0,
        MetadataField::Age | MetadataField::Id | MetadataField::Sex => 18.0..=90.0,
    }
}

/// Removes implausible values, and adds a warning to values that are unusual for an adult.
pub fn check_range(m: &mut MeasuredCell, field: MetadataField) {
    let Some(plausible) = plausible(field) else { return };
    let adult = adult(field);
    let (name, unit) = (field.name(), unit_name(field));
    if m.foreign.is_some() {
        m.refuse(format!("wrong unit for {name}"));
    }
    let Some(value) = m.value else { return };
    if !plausible.contains(&value) {
        let (least, most) = (plausible.start(), plausible.end());
        m.refuse(format!("implausible {name}: {value} {unit}; expected {least} to {most}"));
    } else if !adult.contains(&value) {
        let (least, most) = (adult.start(), adult.end());
        m.add(ProblemSeverity::Warning, format!("unusual {name} for an adult; {least} to {most} {unit} is usual"));
    }
}
