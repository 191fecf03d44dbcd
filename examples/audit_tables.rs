//! Run every audit check on the tables of a scan, and print the ten worst findings.
//!
//! `cargo run --release --no-default-features --example audit_tables -- TABLES`

use std::error::Error;
use std::path::PathBuf;

use carpus::audit::{AuditSettings, audit};
use carpus::tables::Tables;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from).ok_or("usage: audit_tables TABLES")?;
    let tables = Tables::read(&folder)?;
    let findings = audit(&tables, None, &AuditSettings::default())?;
    println!("{} findings", findings.len());
    for finding in findings.iter().take(10) {
        let row = finding.row(&tables);
        println!("{:<6} {:<18} {:<14} {}: {}", row.severity, row.check.name, row.label, row.image_id, row.message);
    }
    Ok(())
}
