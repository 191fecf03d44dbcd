//! A cell as an age, a height or a weight.

use std::ops::RangeInclusive;

use super::columns::MetadataField;
use super::grid::Cell;
use super::numbers::{self, Dimension, NumberWithUnit, Unit};
use super::text;
use crate::dataset::ProblemSeverity;

/// Years that a human can have.
pub const AGE: RangeInclusive<f64> = 0.0..=120.0;
/// Height that a human can have.
pub const HEIGHT_CM: RangeInclusive<f64> = 50.0..=250.0;
/// Weight that a human can have.
pub const WEIGHT_KG: RangeInclusive<f64> = 2.0..=300.0;

/// What a cell gave: a value perhaps, and what to say about it.
#[derive(Clone, Debug)]
pub struct MeasuredCell {
    /// As typed.
    pub raw: String,
    /// Years, centimetres or kilograms; those of `foreign` where that is set.
    pub value: Option<f64>,
    /// The cell itself states a unit.
    pub has_unit: bool,
    /// The unit is none of this field's.
    pub foreign: Option<Dimension>,
    /// What was put right or is wrong; empty for a plain number.
    pub reasons: Vec<String>,
    /// Of the worst reason.
    pub severity: ProblemSeverity,
}

impl MeasuredCell {
    /// Adds a reason.
    pub fn say(&mut self, severity: ProblemSeverity, reason: impl Into<String>) {
        self.reasons.push(reason.into());
        self.severity = self.severity.max(severity);
    }

    /// Takes the value away, with the reason.
    pub fn refuse(&mut self, reason: impl Into<String>) {
        self.value = None;
        self.say(ProblemSeverity::Error, reason);
    }

    /// A value without a unit, or with one of `dimension`.
    pub fn could_be(&self, dimension: Dimension, range: RangeInclusive<f64>) -> bool {
        let fits = match self.foreign {
            Some(foreign) => foreign == dimension,
            None => !self.has_unit,
        };
        fits && self.value.is_some_and(|v| range.contains(&v))
    }
}

/// Unit that a field's values are in.
pub fn unit_name(field: MetadataField) -> &'static str {
    match field {
        MetadataField::Age => "years",
        MetadataField::Height => "cm",
        MetadataField::Weight => "kg",
        MetadataField::Id | MetadataField::Sex => "",
    }
}

/// Reads a cell. `column_unit` is the unit in the column's name; in a workbook (`is_sheet`) a number should not be
/// typed as text, while a text file has nothing else.
pub fn measure(cell: Option<&Cell>, field: MetadataField, column_unit: Option<Unit>, is_sheet: bool) -> MeasuredCell {
    let mut m = MeasuredCell {
        raw: cell.map(Cell::shown).unwrap_or_default(),
        value: None,
        has_unit: false,
        foreign: None,
        reasons: Vec::new(),
        severity: ProblemSeverity::Info,
    };
    let quantity = match cell {
        None => {
            m.say(ProblemSeverity::Info, format!("no {}", field.name()));
            return m;
        }
        Some(Cell::Number(n)) => NumberWithUnit::bare(*n),
        Some(Cell::Date(n)) => {
            m.say(ProblemSeverity::Warning, "a number shown as a date");
            NumberWithUnit::bare(*n)
        }
        Some(Cell::Truth(_)) => {
            m.refuse("expected a number");
            return m;
        }
        Some(Cell::Broken(error)) => {
            m.refuse(format!("the cell holds an error: {error}"));
            return m;
        }
        Some(Cell::Text(raw)) => {
            let cleaned = text::clean(raw);
            if text::says_missing(&cleaned.text) {
                m.say(ProblemSeverity::Info, format!("no {}", field.name()));
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
                m.say(ProblemSeverity::Info, "number typed as text");
            }
            for repair in cleaned.repairs.into_iter().chain(quantity.repairs.iter().cloned()) {
                m.say(if quantity.doubtful { ProblemSeverity::Warning } else { ProblemSeverity::Info }, repair);
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
    // Grams and millimetres are typed with thousands; the unit says which of the two readings is meant.
    let stated = quantity.unit.or(column_unit);
    if let (Some(thousands), Some(unit)) = (quantity.thousands, stated)
        && human(field).is_some_and(|range| range.contains(&(thousands * unit.factor())))
        && unit.dimension() == dimension
    {
        m.reasons.retain(|reason| reason != numbers::DECIMAL_COMMA);
        m.say(ProblemSeverity::Info, "comma between thousands");
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
    // Centimetres from metres and the like come out with digits that nobody typed.
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
        m.say(ProblemSeverity::Warning, format!("no unit, and only {unit} make a height of it"));
    }
    factor
}

/// What a human can have, in years, centimetres or kilograms.
fn human(field: MetadataField) -> Option<RangeInclusive<f64>> {
    match field {
        MetadataField::Age => Some(AGE),
        MetadataField::Height => Some(HEIGHT_CM),
        MetadataField::Weight => Some(WEIGHT_KG),
        MetadataField::Id | MetadataField::Sex => None,
    }
}

/// What is usual for an adult.
pub fn adult(field: MetadataField) -> RangeInclusive<f64> {
    match field {
        MetadataField::Height => 140.0..=200.0,
        MetadataField::Weight => 35.0..=150.0,
        MetadataField::Age | MetadataField::Id | MetadataField::Sex => 18.0..=90.0,
    }
}

/// Takes away what no human has, remarks on what is odd for an adult.
pub fn check_range(m: &mut MeasuredCell, field: MetadataField) {
    let Some(human) = human(field) else { return };
    let adult = adult(field);
    if m.foreign.is_some() {
        m.refuse(format!("the unit is not one of {}", field.name()));
    }
    let Some(value) = m.value else { return };
    let unit = unit_name(field);
    if !human.contains(&value) {
        m.refuse(format!("{value} {unit} is no human {}: expected {} to {}", field.name(), human.start(), human.end()));
    } else if !adult.contains(&value) {
        let name = field.name();
        m.say(
            ProblemSeverity::Warning,
            format!("odd for an adult's {name}: {} to {} {unit} is usual", adult.start(), adult.end()),
        );
    }
}
