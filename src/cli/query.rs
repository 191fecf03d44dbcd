//! `carpus query`: SQL over the tables.

use std::path::PathBuf;

use super::{Status, Ui, columns};
use crate::tables::{NamedTable, are_numbers, csv_text, json_rows, query, tables_at, text_rows};

/// Query tables with SQL
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus query tables \"select sex, count(*) as n from patients group by sex\"
  carpus query tables --csv \\
      \"select image_id, angle_deg from images where rotated\" > rotated.csv
  carpus query audit \"select severity, count(*) as n from findings \\
      group by severity order by n desc\"
  carpus query tables --table folds=folds.csv \"select fold, avg(mask_px) as m \\
      from images join folds using (image_id) group by fold order by fold\"
  carpus --json query runs/demo-fold0 \"select epoch, valid_dice from metrics\"

The SQL is that of polars. A table is called by the name of its file without ending. Missing values
are null; text sorts by its letters. A count is unsigned: for a difference that may be below 0, write
cast(count(*) as bigint) - 20. With --json the result is an array of objects.")]
pub struct Args {
    /// Folder of tables (of a scan, an audit, a run), or one file, Parquet or CSV
    tables: PathBuf,
    /// The query
    sql: String,
    /// Another table, by the name that the query gives it; may be given more than once
    #[arg(long = "table", value_name = "NAME=FILE", value_parser = named)]
    others: Vec<NamedTable>,
    /// Print CSV instead of aligned columns
    #[arg(long)]
    csv: bool,
}

fn named(text: &str) -> Result<NamedTable, String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok(NamedTable { name: name.into(), path: file.into() })
        }
        _ => Err("expected NAME=FILE".into()),
    }
}

/// Prints the result.
pub fn run(args: Args, ui: &Ui) -> anyhow::Result<Status> {
    let mut tables = tables_at(&args.tables)?;
    tables.extend(args.others);
    let mut frame = query(&tables, &args.sql)?;
    if ui.wants_json() {
        ui.json(&json_rows(&frame))?;
    } else if args.csv {
        ui.output(csv_text(&mut frame)?);
    } else {
        ui.output(columns::table(&text_rows(&frame), &are_numbers(&frame)));
    }
    Ok(Status::Done)
}
