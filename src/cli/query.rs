//! `carpus query`: SQL over the tables.

use std::path::PathBuf;

use anyhow::ensure;

use super::{Status, Ui, columns};
use crate::tables::{NamedTable, are_numbers, json_rows, query, tables_at, text_rows};

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
are null; text sorts by its letters. With --json the result is an array of objects, in which numbers
that JSON cannot write (NaN, infinity) are null too.")]
pub struct QueryArgs {
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
pub fn run(args: QueryArgs, ui: &Ui) -> anyhow::Result<Status> {
    ensure!(!(args.csv && ui.wants_json()), "--csv and --json are two forms of the same result; give one of them");
    let mut tables = tables_at(&args.tables)?;
    tables.extend(args.others);
    let frame = quietly(|| query(&tables, &args.sql))?;
    if ui.wants_json() {
        ui.json(&json_rows(&frame))?;
        return Ok(Status::Done);
    }
    let rows = text_rows(&frame);
    if args.csv {
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in &rows {
            csv.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or_default()))?;
        }
        ui.output(String::from_utf8(csv.into_inner()?)?);
    } else {
        let shown = |cell: Option<String>| cell.unwrap_or_else(|| "null".into());
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect();
        ui.output(columns::table(&rows, &are_numbers(&frame)));
    }
    Ok(Status::Done)
}

/// Runs what may panic in a library and says so by its error: the report of the panic itself is not printed.
fn quietly<T>(run: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = run();
    std::panic::set_hook(hook);
    result
}
