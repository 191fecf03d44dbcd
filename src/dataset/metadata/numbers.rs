//! Numbers with and without units, as people type them.

/// A unit of length, mass or time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Centimetre,
    Metre,
    Millimetre,
    Inch,
    Foot,
    Kilogram,
    Gram,
    Pound,
    Year,
    Month,
}

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Length,
    Mass,
    Time,
}

impl Unit {
    /// The unit with this name, in lower case.
    pub fn from_word(word: &str) -> Option<Unit> {
        Some(match word.trim_end_matches('.') {
            "cm" | "센티" | "센치" | "센티미터" | "센치미터" | "centimeter" | "centimeters" | "centimetre"
            | "centimetres" => Unit::Centimetre,
            "m" | "미터" | "meter" | "meters" | "metre" | "metres" => Unit::Metre,
            "mm" | "밀리" | "밀리미터" | "millimeter" | "millimeters" | "millimetre" | "millimetres" => {
                Unit::Millimetre
            }
            "in" | "inch" | "inches" | "인치" | "\"" | "''" | "″" | "”" => Unit::Inch,
            "ft" | "foot" | "feet" | "피트" | "'" | "′" | "’" => Unit::Foot,
            "kg" | "kgs" | "k" | "킬로" | "키로" | "킬로그램" | "키로그램" | "kilo" | "kilos" | "kilogram"
            | "kilograms" => Unit::Kilogram,
            "g" | "gr" | "그램" | "gram" | "grams" => Unit::Gram,
            "lb" | "lbs" | "파운드" | "pound" | "pounds" => Unit::Pound,
            "세" | "살" | "歳" | "y" | "yr" | "yrs" | "year" | "years" | "yo" | "y/o" | "years old" | "년" => {
                Unit::Year
            }
            "개월" | "month" | "months" | "mo" => Unit::Month,
            _ => return None,
        })
    }

    pub fn dimension(self) -> Dimension {
        match self {
            Unit::Centimetre | Unit::Metre | Unit::Millimetre | Unit::Inch | Unit::Foot => Dimension::Length,
            Unit::Kilogram | Unit::Gram | Unit::Pound => Dimension::Mass,
            Unit::Year | Unit::Month => Dimension::Time,
        }
    }

    /// Factor to centimetres, kilograms or years.
    pub fn factor(self) -> f64 {
        match self {
            Unit::Centimetre | Unit::Kilogram | Unit::Year => 1.0,
            Unit::Metre => 100.0,
            Unit::Millimetre => 0.1,
            Unit::Inch => 2.54,
            Unit::Foot => 30.48,
            Unit::Gram => 0.001,
            Unit::Pound => 0.453_592_37,
            Unit::Month => 1.0 / 12.0,
        }
    }
}

/// A number with the text around it.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberWithUnit {
    /// In `unit`; in centimetres if feet and inches, or metres and centimetres, were given.
    pub value: f64,
    pub unit: Option<Unit>,
    /// Repairs, such as `decimal comma`.
    pub repairs: Vec<String>,
    /// The text marks the number as uncertain: `약 60`, `172?`.
    pub uncertain: bool,
    /// The value if the comma separates thousands: 52000 for `52,000`.
    pub thousands: Option<f64>,
}

impl NumberWithUnit {
    /// A number without unit.
    pub fn bare(value: f64) -> NumberWithUnit {
        NumberWithUnit { value, unit: None, repairs: Vec::new(), uncertain: false, thousands: None }
    }
}

/// Repair of a comma that is read as a decimal point.
pub const DECIMAL_COMMA: &str = "decimal comma";

const EXPECTED_FINITE: &str = "expected a finite number of 0 or more";

/// The value of digits in groups of three, `52,000`.
fn thousands(number: &str) -> Option<f64> {
    let mut groups = number.split(',');
    let first = groups.next().filter(|g| (1..=3).contains(&g.len()))?;
    let rest: Vec<&str> = groups.collect();
    let whole = rest.iter().all(|g| g.len() == 3 && g.bytes().all(|b| b.is_ascii_digit()));
    (whole && first.bytes().all(|b| b.is_ascii_digit())).then(|| number.replace(',', "").parse().ok())?
}

/// Reads a cleaned text: `172`, `172,5`, `172cm`, `1.72 m`, `1m 72cm`, `5'8"`, `65킬로`, `만 35세`, `약 60 kg`.
///
/// # Errors
/// The text is no single number; the message says what was expected.
pub fn parse(text: &str) -> Result<NumberWithUnit, &'static str> {
    let lower = text.to_lowercase();
    let mut rest = lower.as_str();
    let mut quantity = NumberWithUnit::bare(0.0);
    if rest.bytes().any(|b| b.is_ascii_digit())
        && let Ok(value) = rest.parse::<f64>()
    {
        return if value.is_finite() && value >= 0.0 { Ok(NumberWithUnit::bare(value)) } else { Err(EXPECTED_FINITE) };
    }
    for about in ["약", "대략", "about", "approx.", "approx", "ca.", "~", "≈"] {
        if let Some(after) = rest.strip_prefix(about) {
            (rest, quantity.uncertain) = (after.trim_start(), true);
        }
    }
    if let Some(after) = rest.strip_prefix("만") {
        rest = after.trim_start();
    }
    if let Some(before) = rest.strip_suffix(['?', '~']) {
        (rest, quantity.uncertain) = (before.trim_end(), true);
    }
    let mut parts: Vec<(f64, &str)> = Vec::new();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        if number.contains(',') {
            quantity.repairs.push(DECIMAL_COMMA.into());
            quantity.thousands = thousands(number);
        }
        let value = number.replace(',', ".").parse::<f64>().map_err(|_| "expected a number")?;
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        parts.push((value, after[..end].trim()));
        rest = &after[end..];
    }
    let unit_of = |word: &str| match word {
        "" => Ok(None),
        word => Unit::from_word(word).map(Some).ok_or("expected a number with an optional unit"),
    };
    match parts[..] {
        [(value, word)] => {
            (quantity.value, quantity.unit) = (value, unit_of(word)?);
            if quantity.unit.is_some() {
                quantity.repairs.push("unit in the cell".into());
            }
        }
        [(large, first), (small, second)] => {
            let small_unit = match (unit_of(first)?, unit_of(second)?) {
                (Some(Unit::Foot), None | Some(Unit::Inch)) => Unit::Inch,
                (Some(Unit::Metre), None | Some(Unit::Centimetre)) => Unit::Centimetre,
                _ => return Err("expected one number"),
            };
            let large_unit = if small_unit == Unit::Inch { Unit::Foot } else { Unit::Metre };
            quantity.value = large * large_unit.factor() + small * small_unit.factor();
            quantity.unit = Some(Unit::Centimetre);
            quantity.repairs.push("two units in the cell".into());
        }
        _ => return Err("expected one number"),
    }
    if quantity.uncertain {
        quantity.repairs.push("marked as uncertain".into());
    }
    if quantity.value.is_finite() { Ok(quantity) } else { Err(EXPECTED_FINITE) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form() {
        for (text, value, unit) in [
            ("172", 172.0, None),
            ("172.5", 172.5, None),
            ("1.72E+02", 172.0, None),
            ("172,5", 172.5, None),
            ("172cm", 172.0, Some(Unit::Centimetre)),
            ("172 CM.", 172.0, Some(Unit::Centimetre)),
            ("1.72 m", 1.72, Some(Unit::Metre)),
            ("1m 72cm", 172.0, Some(Unit::Centimetre)),
            ("1m72", 172.0, Some(Unit::Centimetre)),
            ("5'8\"", 172.72, Some(Unit::Centimetre)),
            ("5 ft 8 in", 172.72, Some(Unit::Centimetre)),
            ("65 kg", 65.0, Some(Unit::Kilogram)),
            ("65킬로", 65.0, Some(Unit::Kilogram)),
            ("143 lbs", 143.0, Some(Unit::Pound)),
            ("만 35세", 35.0, Some(Unit::Year)),
            ("35 years old", 35.0, Some(Unit::Year)),
            ("약 60", 60.0, None),
            ("60?", 60.0, None),
        ] {
            let quantity = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert!((quantity.value - value).abs() < 1e-9, "{text}: {quantity:?}");
            assert_eq!(quantity.unit, unit, "{text}");
        }
        assert!(parse("약 60").unwrap().uncertain && parse("60?").unwrap().uncertain);
        for text in
            ["", "abc", "-5", "170~172", "170-172", "12 x", "1985-03-02", "..", "nan", "inf", "1e999", "kg", ">60"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[0-9.,' mkgc만세약~?\"-]{0,12}|.{0,12}") {
            if let Ok(quantity) = parse(&text) {
                prop_assert!(quantity.value.is_finite() && quantity.value >= 0.0);
            }
        }
    }
}
