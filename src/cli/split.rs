use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use polars::prelude::*;

use super::data::{read_corrections, scanned, tables_read, warn, warn_outdated};
use super::{Status, Ui, columns};
use crate::artefact::kind;
use crate::dataset::Subset;
use crate::splits::{
    Balance, FoldSize, JOINT, Keys, Method, STRATUM, SplitSettings, WeightRule, sample_weights, split, write_weights,
};
use crate::tables::{
    ImageRow, PatientRow, TableRow, correct, count, filtered, is, read_parquet, texts, with_patients, write_csv,
    write_parquet,
};
use crate::wording::counted;

/// Assign patients to stratified folds
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus split tables --by sex,rotated --folds 5 --seed 42 --out folds.csv
  carpus split tables --by sex,height_cm --quantiles 3 \\
      --corrections corrections.jsonl --out folds.csv
  carpus split tables --out folds.csv --sample-weights rotated=10,sex:M=1.34 \\
      --weights-out weights.csv

It also writes folds.parquet, balance.csv and balance.json next to folds.csv. These names follow \
--out: with --out fw.csv they are fw.parquet, fw_balance.csv, fw_balance.json and fw_weights.csv.

The folds are the same as scikit-learn's for the same input. stratified-group: \
StratifiedGroupKFold; group: GroupKFold; random-group: GroupKFold(shuffle=True).")]
pub struct SplitArgs {
    /// Folder of tables that `carpus scan` wrote
    tables: PathBuf,
    /// How to assign patients: stratified-group, group or random-group
    #[arg(long, default_value = "stratified-group", value_parser = method)]
    method: Method,
    /// Columns of the patients or images table to stratify by; numeric columns are cut into quantiles
    #[arg(long, value_delimiter = ',', default_value = "sex,rotated")]
    by: Vec<String>,
    /// Number of folds
    #[arg(long, value_name = "N", default_value_t = 5)]
    folds: usize,
    /// Random seed of the shuffle (random_state in scikit-learn)
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u32,
    /// Do not shuffle; keep the order of the tables
    #[arg(long)]
    no_shuffle: bool,
    /// Images to split: train, test or all
    #[arg(long, default_value = "train", value_parser = subset)]
    subset: Chosen,
    /// Corrections file: excluded images are in no fold; corrected sex and side are used
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// Number of quantile bins of a numeric column
    #[arg(long, value_name = "N", default_value_t = 4)]
    quantiles: usize,
    /// Also write sampling weights: COLUMN=NUMBER if the column is true, COLUMN:VALUE=NUMBER; the numbers of
    /// several rules are multiplied
    #[arg(long, value_delimiter = ',')]
    sample_weights: Vec<WeightRule>,
    /// CSV of the sampling weights [default: named after --out: weights.csv for folds.csv, fw_weights.csv for fw.csv]
    #[arg(long, value_name = "FILE", requires = "sample_weights")]
    weights_out: Option<PathBuf>,
    /// CSV of the folds to write; a Parquet file of the same name is written next to it
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

/// The value of `--subset`: one subset, or all images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chosen(Option<Subset>);

impl Chosen {
    /// The subset; `None` for all.
    pub(super) fn only(self) -> Option<Subset> {
        self.0
    }

    /// The value as text.
    pub(super) fn text(self) -> &'static str {
        self.0.map_or("all", Subset::name)
    }

    /// Whether images of this subset are chosen.
    pub(super) fn holds(self, subset: Subset) -> bool {
        self.0.is_none_or(|s| s == subset)
    }
}

fn method(text: &str) -> Result<Method, String> {
    let names: Vec<&str> = Method::ALL.iter().map(|m| m.name()).collect();
    Method::from_name(text).ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

pub(super) fn subset(text: &str) -> Result<Chosen, String> {
    match text {
        "all" => Ok(Chosen(None)),
        "train" => Ok(Chosen(Some(Subset::Train))),
        "test" => Ok(Chosen(Some(Subset::Test))),
        _ => Err("expected train, test or all".to_owned()),
    }
}

/// Writes the folds, their balance and the sampling weights.
pub fn run(args: SplitArgs, ui: &Ui) -> anyhow::Result<Status> {
    let mut images: Vec<ImageRow> = scanned(read_parquet(&args.tables.join("images.parquet")))?;
    let mut patients: Vec<PatientRow> = read_parquet(&args.tables.join("patients.parquet"))?;
    let (corrections, status) = read_corrections(args.corrections.as_deref(), ui)?;
    let status = status.worse(warn(&correct(&mut images, &mut patients, &corrections), ui));
    let status = status.worse(warn_outdated(&args.tables, &images, &corrections, ui));
    let [balance_path, weights_path] = output_paths(&args, ui)?;
    let excluded = images.iter().map(|i| corrections.excludes(&i.image_id, &i.patient_id)).collect::<Vec<_>>();
    let mut hands = with_patients(ImageRow::to_frame(&images)?, PatientRow::to_frame(&patients)?)?;
    hands.with_column(Column::new("excluded".into(), excluded))?;
    if let Some(subset) = args.subset.only() {
        hands = filtered(&hands, is("subset", subset))?;
    }
    let n_excluded = count(&hands, col("excluded"))?;
    let unusable = filtered(&hands, not(col("excluded")).and(col("unusable_reason").is_not_null()))?;
    let hands = filtered(&hands, not(col("excluded")).and(col("unusable_reason").is_null()))?;
    for (image, reason) in texts(&unusable, "image_id")?.iter().zip(texts(&unusable, "unusable_reason")?).take(5) {
        let [image, reason] = [image, &reason].map(|text| text.as_deref().unwrap_or_default());
        ui.note(format_args!("{image} is in no fold: {reason}"));
    }
    if unusable.height() > 5 {
        ui.note(format_args!(
            "… and {} in no fold",
            counted(unusable.height() - 5, "more image is", "more images are")
        ));
    }

    let settings = SplitSettings {
        method: args.method,
        by: args.by.iter().map(|k| k.trim().to_owned()).filter(|k| !k.is_empty()).collect(),
        folds: args.folds,
        seed: (!args.no_shuffle).then_some(args.seed),
        quantiles: args.quantiles,
    };
    let made = split(&hands, &settings)?;
    let weights = if args.sample_weights.is_empty() {
        None
    } else {
        Some(sample_weights(&Keys::new(&hands, settings.quantiles)?, &args.sample_weights)?)
    };
    let mut warnings = made.warnings;
    warnings.extend(weights.iter().flat_map(|made| made.warnings.iter().cloned()));
    for warning in &warnings {
        ui.warn(warning);
    }

    write_csv(&args.out.with_extension("csv"), &made.folds)?;
    write_parquet(&args.out.with_extension("parquet"), &made.folds)?;
    made.balance.write(&balance_path, &balance_path.with_extension("json"))?;
    if let Some(made) = &weights {
        write_weights(&weights_path, &made.weights)?;
    }
    let usual_path = named_after(&args.out, "weights");
    if weights.is_none() || usual_path != weights_path {
        remove_stale_weights(&usual_path, ui)?;
    }

    for line in balance_lines(&made.balance, &settings.by) {
        ui.line(line);
    }
    ui.line(format_args!(
        "{} of {} in {}{} -> {}",
        counted(made.folds.len(), "image", "images"),
        counted(made.balance.folds.iter().map(|f| f.patients).sum(), "patient", "patients"),
        counted(args.folds, "fold", "folds"),
        if n_excluded > 0 { format!(" ({} excluded)", counted(n_excluded, "image", "images")) } else { String::new() },
        args.out.display()
    ));
    ui.line(format_args!(
        "largest deviation: in one fold a stratum's share differs by {:.1} percentage points from its share in all images",
        100.0 * made.balance.worst_deviation
    ));
    if weights.is_some() {
        ui.line(format_args!("sampling weights: {}", weights_path.display()));
    }
    ui.json(&serde_json::json!({
        "folds": args.out, "balance_csv": balance_path, "weights": weights.is_some().then_some(weights_path),
        "method": settings.method.name(), "by": settings.by, "seed": settings.seed,
        "images": made.folds.len(), "excluded": n_excluded, "unusable": unusable.height(),
        "balance": made.balance, "warnings": warnings,
    }))?;
    Ok(status)
}

/// Paths of the balance and the weights, after checking that no output overwrites an input or a file of another kind.
fn output_paths(args: &SplitArgs, ui: &Ui) -> anyhow::Result<[PathBuf; 2]> {
    let balance = named_after(&args.out, "balance");
    let weights = args.weights_out.clone().unwrap_or_else(|| named_after(&args.out, "weights"));
    ensure!(
        args.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")),
        "--out {}: give a name that ends in .csv; a .parquet file of the same name is written next to it",
        args.out.display()
    );
    let mut all = vec![args.out.clone(), balance.clone(), weights.clone()];
    all.extend([args.out.with_extension("parquet"), balance.with_extension("json")]);
    all.sort();
    all.dedup();
    ensure!(
        all.len() == 5,
        "--weights-out {} is also another output of this command; give another name",
        weights.display()
    );
    let outputs = ui.outputs().inputs(&tables_read(&args.tables)).inputs(&args.corrections);
    outputs.file(&args.out.with_extension("csv"), &kind::FOLDS)?;
    outputs.file(&args.out.with_extension("parquet"), &kind::FOLDS_PARQUET)?;
    outputs.file(&balance, &kind::BALANCE)?;
    outputs.file(&balance.with_extension("json"), &kind::BALANCE_JSON)?;
    if !args.sample_weights.is_empty() {
        outputs.file(&weights, &kind::WEIGHTS)?;
    }
    Ok([balance, weights])
}

/// Removes sampling weights of an earlier run: they belong to other folds, and training would use them with the new
/// ones.
fn remove_stale_weights(path: &Path, ui: &Ui) -> anyhow::Result<()> {
    if kind::WEIGHTS.matches(path).unwrap_or(false) {
        std::fs::remove_file(path).with_context(|| path.display().to_string())?;
        ui.note(format_args!("removed {}: sampling weights of an earlier run", path.display()));
    }
    Ok(())
}

/// Path of a file next to the fold table: `folds.csv` → `balance.csv`, `folds_sex.csv` → `balance_sex.csv`, `a.csv` →
/// `a_balance.csv`. Each fold table has its own.
fn named_after(folds: &Path, what: &str) -> PathBuf {
    let stem = folds.file_stem().unwrap_or_default().to_string_lossy();
    let name = if stem.contains("folds") { stem.replace("folds", what) } else { format!("{stem}_{what}") };
    folds.with_file_name(format!("{name}.csv"))
}

/// The balance as aligned lines, with shares in percent.
fn balance_lines(balance: &Balance, by: &[String]) -> Vec<String> {
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let mut table: Vec<Vec<String>> = Vec::new();
    let mut head: Vec<String> = ["", "value", "images", "patients", "all %"].map(str::to_owned).into();
    head.extend(balance.folds.iter().map(|f| format!("fold {} %", f.fold)));
    head.push("largest deviation".into());
    table.push(head);
    for row in &balance.rows {
        let mut cells = vec![
            if row.key == STRATUM && !by.is_empty() {
                format!("{STRATUM} ({})", by.join(JOINT))
            } else {
                row.key.clone()
            },
            row.value.clone(),
            row.images.to_string(),
            row.patients.to_string(),
            percent(row.share),
        ];
        cells.extend(row.fold_shares.iter().map(|s| percent(*s)));
        cells.push(percent(row.worst_deviation));
        table.push(cells);
    }
    for (name, count) in [("images", (|f| f.images) as fn(&FoldSize) -> usize), ("patients", |f| f.patients)] {
        let mut cells: Vec<String> = vec![name.to_owned(), String::new(), String::new(), String::new(), String::new()];
        cells[if name == "images" { 2 } else { 3 }] = balance.folds.iter().map(count).sum::<usize>().to_string();
        cells.extend(balance.folds.iter().map(|f| count(f).to_string()));
        cells.push(String::new());
        table.push(cells);
    }
    let are_numbers: Vec<bool> = (0..table[0].len()).map(|column| column >= 2).collect();
    let mut lines: Vec<String> = columns::table(&table, &are_numbers).lines().map(str::to_owned).collect();
    for (key, bins) in &balance.bins {
        let bins: Vec<String> = bins.iter().map(|b| format!("{} {:.1} to {:.1}", b.label, b.low, b.high)).collect();
        lines.push(format!("{key}: {}", bins.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fold_table_has_its_own_companion_files() {
        assert_eq!(named_after(Path::new("a/folds.csv"), "balance"), Path::new("a/balance.csv"));
        assert_eq!(named_after(Path::new("folds_sex.csv"), "weights"), Path::new("weights_sex.csv"));
        assert_eq!(named_after(Path::new("five.csv"), "balance"), Path::new("five_balance.csv"));
    }
}
