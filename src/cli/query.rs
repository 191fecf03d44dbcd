//! `carpus query`: SQL over the tables.

use std::path::PathBuf;

use anyhow::ensure;
use polars::prelude::DataFrame;

use super::{Status, Ui, columns};
use crate::tables::{NamedTable, are_numbers, json_rows, query, table_columns, tables_at, text_rows};

/// Query tables with SQL
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus query tables
  carpus query tables \"select sex, count(*) as n from patients group by sex\"
  carpus query tables \"select i.image_id, b.area_px from images i \\
      join bones b on i.image_id = b.image_id where b.label = 'Radius'\"
  carpus query tables --csv \\
      \"select image_id, angle_deg from images where rotated\" > rotated.csv
  carpus query audit \"select severity, count(*) as n from findings \\
      group by severity order by n desc\"
  carpus query tables --table folds=folds.csv \"select fold, avg(mask_px) as m \\
      from images join folds using (image_id) group by fold order by fold\"
  carpus --json query runs/demo-fold0 \"select epoch, valid_dice from metrics\"

Without a query, the tables and their columns are listed. A table has the name of its file without
the ending. The SQL is that of Polars; queries that Polars answers differently from standard SQL
are rewritten or refused. Missing values and empty texts are null. ORDER BY, also that of a window,
puts nulls last, with DESC first; NULLS FIRST and NULLS LAST change this. `/` divides real numbers (7 / 2 is 3.5) and `//`
rounds down; round() rounds halves to the even digit; LIKE distinguishes upper and lower case.
position() and strpos() are not supported. With --json the result is an array of objects, in which
numbers that JSON cannot write (NaN, infinity) are null.")]
pub struct QueryArgs {
    /// Folder of tables (of a scan, an audit, a run), or one Parquet or CSV file
    tables: PathBuf,
    /// The query; without it, list the tables and their columns
    sql: Option<String>,
    /// Another table and its name in the query; may be given more than once
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

/// Runs the query and prints its result.
pub fn run(args: QueryArgs, ui: &Ui) -> anyhow::Result<Status> {
    ensure!(!(args.csv && ui.wants_json()), "--csv and --json are two forms of the same result; give one of them");
    let mut tables = tables_at(&args.tables)?;
    tables.extend(args.others);
    let frame = match &args.sql {
        None => without_panic_message(|| table_columns(&tables))?,
        Some(sql) => {
            let result = without_panic_message(|| query(&tables, sql))?;
            result.notes.iter().for_each(|note| ui.note(format_args!("note: {note}")));
            result.frame
        }
    };
    print(&frame, args.csv, ui)?;
    Ok(Status::Done)
}

fn print(frame: &DataFrame, as_csv: bool, ui: &Ui) -> anyhow::Result<()> {
    if ui.wants_json() {
        return ui.json(&json_rows(frame));
    }
    let rows = text_rows(frame);
    if as_csv {
        let mut csv = csv::Writer::from_writer(Vec::new());
        for row in &rows {
            csv.write_record(row.iter().map(|cell| cell.as_deref().unwrap_or_default()))?;
        }
        ui.output(String::from_utf8(csv.into_inner()?)?);
    } else {
        let shown = |cell: Option<String>| cell.unwrap_or_else(|| "null".into());
        let rows: Vec<Vec<String>> = rows.into_iter().map(|row| row.into_iter().map(shown).collect()).collect();
        ui.output(columns::table(&rows, &are_numbers(frame)));
    }
    Ok(())
}

/// Runs code that may panic in a library and returns that as an error: the message of the panic itself is not printed.
fn without_panic_message<T>(run: impl FnOnce() -> T) -> T {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = run();
    std::panic::set_hook(hook);
    result
}
