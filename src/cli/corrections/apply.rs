use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use clap::ValueEnum;
use serde_json::json;

use super::{Place, counted};
use crate::artefact::{kind, replace_folder, write_atomically};
use crate::cli::data::{read_corrections, warn_all};
use crate::cli::{Status, Ui};
use crate::dataset::annotation::{self, edited};
use crate::dataset::corrections::{Decision, append};
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity};
use crate::digest::sha256;
use crate::progress::Progress;

/// Write a corrected copy of the annotations; the data is not changed
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Example:
  carpus corrections apply --data data --out corrected
  carpus scan corrected --corrections corrected/corrections.jsonl \\
      --out work/tables

Annotations without corrections are copied byte for byte; in the others only the corrected labels \
and points are replaced. Decisions that are not about shapes (exclude, set-side, \
set-metadata, keep, …) are in corrections.jsonl of the copy. Decisions that do not fit are \
reported and not applied; the command then ends with exit code 3.")]
pub struct CorrectionsApplyArgs {
    #[command(flatten)]
    place: Place,
    /// Data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder to write: a data folder with the corrected annotations
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Images and the spreadsheet in the copy
    #[arg(long, value_enum, default_value_t = Originals::Link)]
    images: Originals,
}

/// What the copy holds of the files that are not annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Originals {
    /// Symbolic links to the files in the data folder.
    Link,
    /// Copies.
    Copy,
    /// Nothing.
    None,
}

/// What was done.
#[derive(Default)]
struct Applied {
    /// Images with changed annotations, and the decisions in them.
    changed: BTreeMap<String, Vec<String>>,
    unchanged: usize,
    problems: Vec<Problem>,
    failed: Vec<String>,
}

/// Writes the copy and prints what changed.
pub fn run(args: &CorrectionsApplyArgs, ui: &Ui) -> anyhow::Result<Status> {
    let path = args.place.path();
    let (corrections, mut status) = read_corrections(Some(path), ui)?;
    let original = Dataset::open(&args.data)?;
    let root = args.data.display();
    ensure!(!original.is_copy(), "{root} is a copy with corrections applied; use the original data");
    ensure!(
        original.one_file_per_annotation(),
        "{root} does not have one annotation file per image; corrections can be applied to such files only"
    );
    let outputs = ui.outputs().inputs([&path.to_owned()]).data(original.folders());
    outputs.folder(&args.out, &kind::CORRECTED)?;
    let others: Vec<Decision> = corrections.decisions().filter(|d| !d.action.is_about_shapes()).cloned().collect();
    let data = Dataset::open(&args.data)?.with_corrections(corrections.clone());
    let mut applied = Applied { problems: corrections.contradictions(), ..Applied::default() };
    applied.problems.extend(data.unfit_corrections().iter().cloned());
    replace_folder(&args.out, &kind::CORRECTED, |new| {
        write(&original, &data, new, args.images, &mut applied, ui)?;
        if !others.is_empty() {
            append(&new.join("corrections.jsonl"), &others)?;
        }
        let record = json!({
            "corrections_applied": corrections.sha256(), "data": data.root(), "changed": applied.changed,
        });
        write_atomically(&new.join("applied.jsonl"), |out| writeln!(out, "{record}"))?;
        anyhow::Ok(())
    })?;
    warn_all(&applied.problems, ui);
    applied.failed.iter().for_each(|reason| ui.error(reason));
    if !applied.problems.is_empty() || !applied.failed.is_empty() {
        status = Status::DoneWithProblems;
    }
    let decisions: usize = applied.changed.values().map(Vec::len).sum();
    ui.line(format_args!(
        "{} changed by {}, {} copied unchanged",
        counted(applied.changed.len(), "annotation", "annotations"),
        counted(decisions, "decision", "decisions"),
        applied.unchanged
    ));
    if !others.is_empty() {
        ui.line(format_args!(
            "{} not about shapes: {}",
            counted(others.len(), "decision", "decisions"),
            args.out.join("corrections.jsonl").display()
        ));
    }
    ui.line(format_args!("-> {}", args.out.display()));
    ui.json(&json!({
        "out": args.out, "changed": applied.changed, "unchanged": applied.unchanged, "other_decisions": others.len(),
        "problems": applied.problems, "failed": applied.failed,
    }))?;
    Ok(status)
}

/// Writes the annotations and the other files into `out`.
fn write(
    original: &Dataset,
    data: &Dataset,
    out: &Path,
    images: Originals,
    applied: &mut Applied,
    ui: &Ui,
) -> anyhow::Result<()> {
    ui.start("images", data.images().len() as u64);
    for entry in data.images() {
        put(original.root(), &entry.image, out, images)?;
        if let Some(file) = &entry.annotation {
            let from = original.root().join(file);
            match corrected(original, data, entry, &from, applied) {
                Ok(bytes) => write_file(&out.join(file), &bytes)?,
                Err(reason) => applied.failed.push(format!("{reason:#}; annotation left out")),
            }
        }
        ui.advance(1);
    }
    ui.finish();
    if let Some(file) = data.metadata() {
        put(original.root(), file, out, images)?;
    }
    Ok(())
}

/// The bytes of an annotation file after the decisions about it.
fn corrected(
    original: &Dataset,
    data: &Dataset,
    entry: &ImageEntry,
    path: &Path,
    applied: &mut Applied,
) -> anyhow::Result<Vec<u8>> {
    let bytes = annotation::read_bytes(path)?;
    let decisions = data.corrections().about_shapes(&entry.image_id);
    if decisions.is_empty() {
        applied.unchanged += 1;
        return Ok(bytes);
    }
    let none = || anyhow!("{} has no annotation", entry.image_id);
    let (before, after) =
        (original.annotation(entry)?.with_context(none)?, data.annotation(entry)?.with_context(none)?);
    ensure!(sha256(&bytes) == before.sha256, "{} changed while it was read", path.display());
    let is_unfit = |p: &&Problem| p.file == data.corrections().file() && p.severity > ProblemSeverity::Info;
    let unfit: Vec<Problem> = after.problems.iter().filter(is_unfit).cloned().collect();
    let Some(new) = edited(&bytes, &before.annotation, &after.annotation) else {
        bail!("{}: the corrected shapes are not found in its text", path.display());
    };
    if new == bytes {
        applied.unchanged += 1;
    } else {
        let fits = |d: &&Decision| !unfit.iter().any(|problem| problem.place == format!("line {}", d.line));
        let ids = decisions.into_iter().filter(fits).map(Decision::id).collect();
        applied.changed.insert(entry.image_id.clone(), ids);
    }
    applied.problems.extend(unfit);
    Ok(new)
}

/// Puts a file that is no annotation into the copy.
fn put(root: &Path, file: &str, out: &Path, images: Originals) -> anyhow::Result<()> {
    let (from, to) = (root.join(file), out.join(file));
    if images == Originals::None {
        return Ok(());
    }
    let failed = || format!("cannot write {}", to.display());
    fs::create_dir_all(to.parent().unwrap_or(out)).with_context(failed)?;
    match images {
        Originals::Link => {
            let target = from.canonicalize().with_context(|| from.display().to_string())?;
            std::os::unix::fs::symlink(target, &to).with_context(failed)
        }
        _ => fs::copy(&from, &to).map(|_| ()).with_context(failed),
    }
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).with_context(failed)?;
    fs::write(path, bytes).with_context(failed)
}
