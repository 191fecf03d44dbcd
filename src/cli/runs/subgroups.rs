//! `carpus runs subgroups`: Dice by subgroup of the held-out images.

use std::path::PathBuf;

use super::{Status, Ui, columns, figure, warn};
use crate::artefact::kind;
use crate::cli::data::{corrected_tables, read_corrections, tables_read};
use crate::runs::{RunListing, SubgroupGap, SubgroupRow, Subgroups, find, subgroups};
use crate::tables::write_csv;

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus runs subgroups runs/fpn-fold* --tables tables
  carpus runs subgroups runs --tables tables --out subgroups.csv

Each image counts with the Dice of the run that held it out. The intervals resample whole patients; a \
group with fewer than 6 patients has none. Heights are cut at the quartiles of the patients.")]
pub(super) struct SubgroupsArgs {
    /// Runs, or folders of runs; runs that differ only in fold and seed are one experiment
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Folder of tables that `carpus scan` wrote
    #[arg(long)]
    tables: PathBuf,
    /// Corrections file: applies the metadata that it sets
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// CSV file to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Prints the Dice by subgroup and writes its table.
pub(super) fn run(args: SubgroupsArgs, ui: &Ui) -> anyhow::Result<Status> {
    if let Some(out) = &args.out {
        let outputs = ui.outputs().inputs(&tables_read(&args.tables)).inputs(&args.corrections);
        outputs.file(out, &kind::SUBGROUPS)?;
    }
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    let (tables, fit) = corrected_tables(&args.tables, &corrections, ui)?;
    let RunListing { runs, skipped } = find(&args.runs)?;
    let status = status.worse(fit).worse(warn(&runs, &skipped, ui));
    let found = subgroups(&runs, &tables)?;
    found.warnings.iter().for_each(|warning| ui.warn(warning));
    if let Some(out) = &args.out {
        write_csv(out, &found.groups)?;
    }
    show(&found, ui);
    ui.json(&found)?;
    Ok(status.worse(ui.status()))
}

fn show(found: &Subgroups, ui: &Ui) {
    let header = ["experiment", "field", "subgroup", "images", "patients", "Dice", "95 % interval"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for SubgroupRow { experiment, field, subgroup, images, patients, dice, ci_low, ci_high, note } in &found.groups {
        let interval = match (ci_low, ci_high) {
            (Some(low), Some(high)) => format!("[{low:.4}, {high:.4}]"),
            _ => note.clone(),
        };
        let counts = [images, patients].map(ToString::to_string);
        let texts = [experiment, field, subgroup].map(Clone::clone);
        rows.push(texts.into_iter().chain(counts).chain([figure(Some(*dice), 4), interval]).collect());
    }
    columns::print(&rows, ui);
    for SubgroupGap { experiment, field, worst, best, difference, ci } in &found.gaps {
        let interval = ci.map_or_else(String::new, |ci| format!(" [{:+.4}, {:+.4}]", ci.low, ci.high));
        ui.line(format_args!("{experiment}, {field}: worst {worst}, {difference:+.4}{interval} to the best, {best}"));
    }
}
