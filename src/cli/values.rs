//! Parsers of command-line values, with limits.

use clap::builder::{RangedU64ValueParser, TypedValueParser};

/// An angle in degrees, above 0 and below 180.
///
/// # Errors
/// The text is not a number, or out of range.
pub fn angle(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if value > 0.0 && value < 180.0 { Ok(value) } else { Err("expected an angle above 0 and below 180".to_owned()) }
}

/// A number of threads up to 1024; 0 for one per core.
pub fn jobs() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(0..=1024)
}
