//! Ask the tables of a scan in SQL, and go on with the result as a Polars frame.
//!
//! `cargo run --release --no-default-features --example query_tables -- TABLES`

use std::error::Error;
use std::path::PathBuf;

use carpus::tables::{query, tables_at};
use polars::prelude::ChunkAgg;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).map(PathBuf::from).ok_or("usage: query_tables TABLES")?;
    let tables = tables_at(&folder)?;
    let result = query(
        &tables,
        "select sex, rotated, count(*) as n, avg(mask_px) as mean_mask_px
         from images join patients using (patient_id)
         where usable group by sex, rotated order by sex, rotated",
    )?;
    for note in &result.notes {
        eprintln!("note: {note}");
    }
    println!("{}", result.frame);

    // A column of the frame, as polars has it.
    let counts = result.frame.column("n")?.i64()?;
    println!("{} usable images", counts.sum().unwrap_or(0));
    Ok(())
}
