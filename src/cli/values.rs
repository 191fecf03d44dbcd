//! Values on the command line with bounds that a machine can bear.

use clap::builder::{RangedU64ValueParser, TypedValueParser};

/// Degrees between 0 and 180.
pub fn angle(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    if value > 0.0 && value < 180.0 { Ok(value) } else { Err("must lie between 0 and 180".to_owned()) }
}

/// Threads; 0 for one per core.
pub fn jobs() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(0..=1024)
}
