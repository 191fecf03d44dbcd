use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::super::data::open;
use super::super::values::expect_different;
use super::super::{Status, Ui};
use crate::artefact::{kind, write_atomically};
use crate::bones::Bone;
use crate::dataset::Dataset;
use crate::ensemble::{
    Agreement, Annotations, ClassSelection, EnsembleConfig, EnsembleList, EnsembleMember, EnsembleMethod,
    HeldOutBallots, ImageBallots, Member, Selection, SelectionOptions, agreement, ballots, select_by_class,
    select_members,
};
use crate::stats::Bootstrap;
use crate::tables::{self, FoldRow};

/// Compare the members of an ensemble, and select some of them
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus ensemble compare --members probabilities/a probabilities/b c.csv
  carpus ensemble compare --members oof/a oof/b oof/c --data data \\
      --folds folds.csv --out selected.toml

Prints the Dice of every pair of members and, with --data, the correlation of their errors. With --folds, the \
predictions must be out of fold: members are added one by one, also repeatedly, while the soft vote improves \
(greedy forward selection). The selection is scored on each fold as made on the other folds. --per-class selects \
members for each bone on its own.")]
pub struct CompareMembersArgs {
    /// Folders of probabilities and submission CSVs, two or more
    #[arg(long, num_args = 1.., required = true, value_name = "DIR_OR_CSV")]
    members: Vec<PathBuf>,
    /// Data folder with the annotations
    #[arg(long)]
    data: Option<PathBuf>,
    /// Corrections file to apply to the annotations
    #[arg(long, requires = "data")]
    corrections: Option<PathBuf>,
    /// Folds that `carpus split` wrote: select members on the images of these folds
    #[arg(long, requires = "data")]
    folds: Option<PathBuf>,
    /// Select members for each bone on its own, and write them as class-weights
    #[arg(long, requires = "folds")]
    per_class: bool,
    /// Rounds of the selection: the largest sum of the weights
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Bootstrap samples of patients for the intervals
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    resamples: u32,
    /// Seed of the bootstrap
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// TOML file to write with the selected ensemble, for `carpus ensemble --config`
    #[arg(long, requires = "folds")]
    out: Option<PathBuf>,
}

/// Compares the members, selects some and writes the ensemble.
pub fn run(args: &CompareMembersArgs, ui: &Ui) -> anyhow::Result<Status> {
    ensure!(args.members.len() >= 2, "--members has one member; expected two or more");
    expect_different(&args.members)?;
    let (dataset, status) = match &args.data {
        Some(data) => {
            let (dataset, status) = open(data, args.corrections.as_deref(), ui)?;
            (Some(dataset), status)
        }
        None => (None, Status::Done),
    };
    if let Some(out) = &args.out {
        let inputs = args.members.iter().chain(&args.folds).chain(&args.corrections);
        let outputs = ui.outputs().inputs(inputs).data(dataset.iter().flat_map(Dataset::folders));
        outputs.file(out, &kind::ENSEMBLES)?;
    }
    let members: Vec<Member> = args.members.iter().map(|path| Member::open(path)).collect::<Result<_, _>>()?;
    let folds = args.folds.as_deref().map(|path| held_out_images(path, dataset.as_ref())).transpose()?;
    let images: Vec<String> = match &folds {
        Some(rows) => rows.iter().map(|row| row.image_id.clone()).collect(),
        None => members.iter().flat_map(Member::ids).collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
    };
    let read = ballots(&members, &images, dataset.as_ref(), ui)?;
    let known = if dataset.is_some() { Annotations::Known } else { Annotations::Unknown };
    let agreement = agreement(&read, members.len(), known);
    print_agreement(args, &agreement, ui);
    let held = folds.as_ref().map(|rows| held_out(rows, &read));
    let selection = held.as_ref().map(|held| select_members(held, members.len(), options(args))).transpose()?;
    let by_class = held.filter(|_| args.per_class);
    let by_class = by_class.map(|held| select_by_class(&held, members.len(), options(args))).transpose()?;
    if let Some(selection) = &selection {
        print_selection(args, selection, ui);
        by_class.iter().for_each(|by_class| print_by_class(args, by_class, ui));
        if let Some(out) = &args.out {
            let text = match &by_class {
                Some(by_class) => file_by_class(args, by_class),
                None => file(args, selection),
            };
            write_atomically(out, |file| file.write_all(text.as_bytes())).with_context(|| out.display().to_string())?;
            ui.line(out.display());
        }
    }
    ui.json(&serde_json::json!({
        "members": args.members, "images": images.len(), "agreement": agreement, "selection": selection,
        "selection_by_class": by_class,
    }))?;
    Ok(status)
}

/// The rows of the folds whose images the corrections do not exclude.
fn held_out_images(path: &Path, dataset: Option<&Dataset>) -> anyhow::Result<Vec<FoldRow>> {
    let mut rows = tables::read_folds_of_patients(path)?;
    let excluded =
        |row: &FoldRow| dataset.is_some_and(|data| data.find(&row.image_id).is_some_and(|e| data.excludes(e)));
    rows.retain(|row| !excluded(row));
    Ok(rows)
}

fn held_out<'a>(rows: &'a [FoldRow], read: &'a [ImageBallots]) -> Vec<HeldOutBallots<'a>> {
    let of = |(row, ballots): (&'a FoldRow, &'a ImageBallots)| HeldOutBallots {
        ballots,
        patient_id: &row.patient_id,
        fold: row.fold,
    };
    rows.iter().zip(read).map(of).collect()
}

fn options(args: &CompareMembersArgs) -> SelectionOptions {
    SelectionOptions { rounds: args.rounds as usize, resamples: args.resamples as usize, seed: args.seed }
}

fn print_agreement(args: &CompareMembersArgs, agreement: &Agreement, ui: &Ui) {
    for (i, member) in args.members.iter().enumerate() {
        ui.line(format_args!("{:>3}  {}", i + 1, member.display()));
    }
    let header: String = (1..=args.members.len()).map(|i| format!("{i:>8}")).collect();
    ui.line(format_args!("Dice of masks, mean over images and classes\n    {header}"));
    for (i, row) in agreement.dice.iter().enumerate() {
        let row: String = row.iter().map(|dice| format!("{dice:8.4}")).collect();
        ui.line(format_args!("{:>3} {row}", i + 1));
    }
    if agreement.error_correlation.is_empty() {
        return;
    }
    ui.line(format_args!("correlation of errors, mean over classes\n    {header}"));
    for i in 0..args.members.len() {
        let mean = |j: usize| {
            let values: Vec<f64> = agreement.error_correlation.iter().filter_map(|class| class.values[i][j]).collect();
            if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / values.len() as f64 }
        };
        let row: String = (0..args.members.len()).map(|j| format!("{:8.4}", mean(j))).collect();
        ui.line(format_args!("{:>3} {row}", i + 1));
    }
}

fn in_words(gain: &Bootstrap) -> String {
    format!("{:+.5} (95 % confidence interval {:+.5} to {:+.5})", gain.mean, gain.ci.low, gain.ci.high)
}

fn print_selection(args: &CompareMembersArgs, selection: &Selection, ui: &Ui) {
    for (i, member) in args.members.iter().enumerate() {
        let (weight, dice) = (selection.weights[i], selection.single[i]);
        ui.line(format_args!("{:>3}  weight {weight:>2}   Dice alone {dice:.5}   {}", i + 1, member.display()));
    }
    ui.line(format_args!("mean Dice of the selection on the images that it was made on: {:.5}", selection.in_sample));
    ui.line(format_args!("mean Dice on each fold of the selection made on the others:   {:.5}", selection.nested));
    ui.line(format_args!("gain over the best single member: {}", in_words(&selection.gain_over_best)));
    ui.line(format_args!("gain over equal weights:          {}", in_words(&selection.gain_over_all)));
    if selection.gain_over_all.ci.contains(0.0) {
        ui.note(format_args!(
            "the interval of the gain over equal weights contains 0: a gain is not shown, and up to {:+.5} is not ruled out",
            selection.gain_over_all.ci.high
        ));
    }
}

fn print_by_class(args: &CompareMembersArgs, selection: &ClassSelection, ui: &Ui) {
    ui.line("weights of the members by bone");
    for (bone, weights) in Bone::all().zip(&selection.weights) {
        let weights: String = weights.iter().map(|weight| format!("{weight:>4}")).collect();
        ui.line(format_args!("{bone:<12}{weights}"));
    }
    ui.line(format_args!("mean Dice by bone on each fold, selected on the others: {:.5}", selection.nested));
    ui.line(format_args!("gain over equal weights:          {}", in_words(&selection.gain_over_all)));
    ui.line(format_args!("gain over one selection for all:  {}", in_words(&selection.gain_over_common)));
    if selection.gain_over_common.ci.contains(0.0) {
        let other = if args.out.is_some() { "; without --per-class the file has the one selection" } else { "" };
        ui.note(format_args!(
            "the interval of the gain over one selection contains 0: one selection for all bones is as good{other}"
        ));
    }
}

/// The ensemble with weights by bone as a file, with the figures as comments.
fn file_by_class(args: &CompareMembersArgs, selection: &ClassSelection) -> String {
    let weights = |weights: &Vec<u32>| weights.iter().map(|weight| f64::from(*weight)).collect::<Vec<f64>>();
    let table = Bone::all().zip(&selection.weights).map(|(bone, w)| (bone.name().to_owned(), weights(w)));
    let config = EnsembleConfig {
        name: "selected".into(),
        method: EnsembleMethod::Soft,
        members: args.members.iter().map(|member| EnsembleMember::Named(member.display().to_string())).collect(),
        weights: None,
        class_weights: Some(table.collect()),
        at_least: None,
    };
    format!(
        "# Selected for each bone by forward selection with replacement on out-of-fold predictions.\n\
         # Mean Dice on the images that it was selected on: {:.5}\n\
         # Mean Dice on each fold of the selection made on the other folds: {:.5}\n\
         # Gain over equal weights of all members: {}\n\
         # Gain over one selection for all bones: {}\n\
         # The members are those that were compared; replace them by the same models' predictions of other images.\n\n{}",
        selection.in_sample,
        selection.nested,
        in_words(&selection.gain_over_all),
        in_words(&selection.gain_over_common),
        EnsembleList { ensemble: vec![config] }.to_toml()
    )
}

/// The selected ensemble as a file, with the figures as comments.
fn file(args: &CompareMembersArgs, selection: &Selection) -> String {
    let chosen = || args.members.iter().zip(&selection.weights).filter(|(_, weight)| **weight > 0);
    let config = EnsembleConfig {
        name: "selected".into(),
        method: EnsembleMethod::Soft,
        members: chosen().map(|(member, _)| EnsembleMember::Named(member.display().to_string())).collect(),
        weights: Some(chosen().map(|(_, weight)| f64::from(*weight)).collect()),
        class_weights: None,
        at_least: None,
    };
    format!(
        "# Selected by forward selection with replacement on out-of-fold predictions.\n\
         # Mean Dice on the images that it was selected on: {:.5}\n\
         # Mean Dice on each fold of the selection made on the other folds: {:.5}\n\
         # Gain over the best single member: {}\n\
         # Gain over equal weights of all members: {}\n\
         # The members are those that were compared; replace them by the same models' predictions of other images.\n\n{}",
        selection.in_sample,
        selection.nested,
        in_words(&selection.gain_over_best),
        in_words(&selection.gain_over_all),
        EnsembleList { ensemble: vec![config] }.to_toml()
    )
}
