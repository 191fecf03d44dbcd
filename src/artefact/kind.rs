//! Kinds of files and folders that commands write, and how they are recognised.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde::de::IgnoredAny;

/// Number of bytes at the start of a file that are read to recognise it.
const HEAD: u64 = 1 << 20;

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct FileKind {
    /// Name with its article, for messages: `a submission CSV`.
    pub name: &'static str,
    mark: Mark,
}

#[derive(Clone, Copy, Debug)]
enum Mark {
    Any,
    /// CSV with these columns; other columns only if `more` is set.
    Csv {
        columns: &'static [&'static str],
        more: bool,
    },
    /// CSV that begins with these columns, followed by any of the others.
    CsvOf {
        first: &'static [&'static str],
        others: &'static [&'static str],
    },
    Parquet(&'static [&'static str]),
    /// A JSON object with these keys.
    Json(&'static [&'static str]),
    /// A JSON object per line, the first with these keys.
    JsonLines(&'static [&'static str]),
    Safetensors,
    /// Bytes at the start of the file (in any case) and bytes anywhere in its head.
    Bytes {
        start: &'static [u8],
        holds: &'static [u8],
    },
}

impl FileKind {
    /// A CSV file with these columns and no others, in any order.
    pub const fn csv(name: &'static str, columns: &'static [&'static str]) -> FileKind {
        FileKind { name, mark: Mark::Csv { columns, more: false } }
    }

    /// A Parquet file with these columns. Their names are searched in the footer, which holds them as plain text, so
    /// that nothing has to be decoded.
    pub const fn parquet(name: &'static str, columns: &'static [&'static str]) -> FileKind {
        FileKind { name, mark: Mark::Parquet(columns) }
    }

    /// A file that holds one JSON object with these keys.
    pub const fn json(name: &'static str, keys: &'static [&'static str]) -> FileKind {
        FileKind { name, mark: Mark::Json(keys) }
    }

    /// Whether the file is of this kind. An empty file is of no kind.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn matches(&self, path: &Path) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let mut head = Vec::new();
        (&mut file).take(HEAD).read_to_end(&mut head)?;
        Ok(match self.mark {
            Mark::Any => true,
            _ if head.is_empty() => false,
            Mark::CsvOf { first, others } => {
                let header = csv_header(&head);
                let mut names = header.iter().map(str::trim);
                first.iter().all(|column| names.next() == Some(column)) && names.all(|name| others.contains(&name))
            }
            Mark::Csv { columns, more } => {
                let header = csv_header(&head);
                let has = |column: &&str| header.iter().any(|h| h.trim() == *column);
                columns.iter().all(has) && (more || header.len() == columns.len())
            }
            Mark::Parquet(columns) => {
                let footer = parquet_footer(&mut file).unwrap_or_default();
                // In the footer, the length of a name is written before it.
                columns.iter().all(|c| holds(&footer, &[&[c.len() as u8], c.as_bytes()].concat()))
            }
            Mark::Json(keys) => {
                file.seek(SeekFrom::Start(0))?;
                has_keys(serde_json::from_reader(BufReader::new(file)), keys)
            }
            Mark::JsonLines(keys) => {
                let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
                has_keys(serde_json::from_slice(line), keys)
            }
            Mark::Safetensors => {
                let length = head.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                head.get(8) == Some(&b'{') && length < file.metadata()?.len()
            }
            Mark::Bytes { start, holds: part } => {
                head.get(..start.len()).is_some_and(|s| s.eq_ignore_ascii_case(start)) && holds(&head, part)
            }
        })
    }
}

fn csv_header(head: &[u8]) -> csv::StringRecord {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    csv::Reader::from_reader(text).headers().cloned().unwrap_or_default()
}

fn has_keys(read: serde_json::Result<HashMap<String, IgnoredAny>>, keys: &[&str]) -> bool {
    read.is_ok_and(|object| keys.iter().all(|key| object.contains_key(*key)))
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Reads the footer of a Parquet file. The file ends with the footer, the footer's length and `PAR1`.
fn parquet_footer(file: &mut File) -> Option<Vec<u8>> {
    let mut end = [0; 8];
    let at = file.seek(SeekFrom::End(-8)).ok()?;
    file.read_exact(&mut end).ok()?;
    let length = u64::from(u32::from_le_bytes(*end.first_chunk()?));
    if !end.ends_with(b"PAR1") {
        return None;
    }
    file.seek(SeekFrom::Start(at.checked_sub(length)?)).ok()?;
    let mut footer = Vec::new();
    file.take(length).read_to_end(&mut footer).ok()?;
    Some(footer)
}

/// Masks that `predict`, `vote` and `restore` write.
pub const SUBMISSION: FileKind = FileKind::csv("a submission CSV", &["image_name", "class", "rle"]);
const FOLD_COLUMNS: &[&str] = &["image_id", "patient_id", "stratum", "fold"];
/// Folds that `split` writes.
pub const FOLDS: FileKind = FileKind::csv("a fold table", FOLD_COLUMNS);
/// Folds that `split` writes, as Parquet.
pub const FOLDS_PARQUET: FileKind = FileKind::parquet("a fold table", FOLD_COLUMNS);
/// Sampling weights that `split` writes.
pub const WEIGHTS: FileKind = FileKind::csv("a table of sampling weights", &["image_id", "weight"]);
/// Balance of the folds that `split` writes; the other columns depend on the number of folds.
pub const BALANCE: FileKind = FileKind {
    name: "a balance report",
    mark: Mark::Csv { columns: &["key", "value", "images", "patients", "share", "worst_deviation"], more: true },
};
/// Balance of the folds, as JSON.
pub const BALANCE_JSON: FileKind = FileKind::json("a balance report", &["folds", "rows", "worst_deviation"]);
/// Dice per image that `evaluate` writes: `image_id`, one column per bone, `mean`.
pub const SCORES: FileKind = FileKind {
    name: "a table of Dice per image",
    mark: Mark::Csv { columns: &["image_id", "finger-1", "Ulna", "mean"], more: true },
};
/// Dice by subgroup that `runs subgroups` writes.
pub const SUBGROUPS: FileKind = FileKind::csv(
    "a table of Dice by subgroup",
    &["experiment", "field", "subgroup", "images", "patients", "dice", "ci_low", "ci_high", "note"],
);
/// Means that `evaluate` writes.
pub const SCORE_SUMMARY: FileKind = FileKind::json("a summary of Dice", &["mean_dice", "per_class"]);
/// Metrics per image and class that `evaluate --metrics` writes.
pub const METRICS: FileKind = FileKind {
    name: "a table of metrics per image and class",
    mark: Mark::CsvOf {
        first: &["image_id", "class"],
        others: &[
            "dice",
            "iou",
            "precision",
            "recall",
            "nsd",
            "hd95",
            "hd",
            "assd",
            "area-difference",
            "relative-area-difference",
            "centroid-distance",
        ],
    },
};
/// Means that `evaluate --metrics` writes.
pub const METRIC_SUMMARY: FileKind = FileKind::json("a summary of metrics", &["nsd_tolerance", "metrics"]);
/// Summary of a training run.
pub const RUN_SUMMARY: FileKind = FileKind::json("a summary of a run", &["run", "best_epoch"]);
/// Recall and precision that `audit --truth` writes.
pub const BENCHMARK: FileKind = FileKind::json("a benchmark of findings", &["recall", "precision"]);
/// Result of `audit bench`.
pub const AUDIT_BENCHMARK: FileKind =
    FileKind::json("a benchmark of the audit", &["kinds", "average_precision", "clean_share_high", "faults"]);
/// Corrections: one decision per line.
pub const CORRECTIONS: FileKind =
    FileKind { name: "a corrections file", mark: Mark::JsonLines(&["version", "action", "author"]) };
/// Pictures that `draw` and `schedule plot` write.
pub const PNG: FileKind = FileKind {
    name: "a PNG picture made by carpus",
    mark: Mark::Bytes { start: b"\x89PNG\r\n\x1a\n", holds: b"tEXtSoftware\0carpus" },
};
/// Figures as SVG. They are recognised by the length that is set for every text; other programs do not set it.
pub const SVG: FileKind = FileKind {
    name: "an SVG picture made by carpus",
    mark: Mark::Bytes { start: b"<svg xmlns=", holds: b"lengthAdjust=\"spacingAndGlyphs\"" },
};
/// HTML pages of reports.
pub const PAGE: FileKind = FileKind {
    name: "a report made by carpus",
    mark: Mark::Bytes { start: b"<!doctype html", holds: b"<meta name=\"generator\" content=\"carpus" },
};
/// Manual pages that `man` writes.
pub const MANUAL: FileKind =
    FileKind { name: "a manual page of carpus", mark: Mark::Bytes { start: b".", holds: b".TH carpus" } };
/// Weights and other tensors that `models convert` and `models forward` write.
pub const SAFETENSORS: FileKind = FileKind { name: "a safetensors file", mark: Mark::Safetensors };
/// Modules that `models export` writes: a zip archive whose first file is the module.
pub const TORCHSCRIPT: FileKind =
    FileKind { name: "a TorchScript module", mark: Mark::Bytes { start: b"PK\x03\x04", holds: b"data.pkl" } };
/// Decision rules that `thresholds` writes.
pub const DECISION: FileKind =
    FileKind { name: "a decision file made by carpus", mark: Mark::Bytes { start: b"# ", holds: b"[decision" } };
/// Ensembles that `ensemble compare` writes.
pub const ENSEMBLES: FileKind =
    FileKind { name: "a file of ensembles made by carpus", mark: Mark::Bytes { start: b"# ", holds: b"[[ensemble]]" } };
const ANY: FileKind = FileKind { name: "a file", mark: Mark::Any };

/// A kind of folder.
#[derive(Clone, Copy, Debug)]
pub struct FolderKind {
    /// Name with its article, for messages: `a report`.
    pub name: &'static str,
    /// The command that writes it: `eda`.
    pub command: &'static str,
    /// A folder with any of these files is of this kind.
    pub manifest: &'static [(&'static str, FileKind)],
    /// Files that commands write in it: relative paths, in which one `*` matches any text, also with `/`.
    pub owned: &'static [&'static str],
}

impl FolderKind {
    /// Whether the folder may be written without `--force`: it does not exist, is empty, or is of this kind.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn is_free(&self, folder: &Path) -> io::Result<bool> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(e),
        };
        let mut is_empty = true;
        for entry in entries {
            // A lock, or a temporary file of an ended process.
            is_empty &= entry?.file_name().as_encoded_bytes().starts_with(b".carpus");
        }
        let is_there = |(name, kind): &(&str, FileKind)| kind.matches(&folder.join(name)).unwrap_or(false);
        Ok(is_empty || self.manifest.iter().any(is_there))
    }

    /// Whether the folder has a file of its manifest that is recognised by its content.
    pub fn has_manifest(&self, folder: &Path) -> bool {
        let is_there = |(name, kind): &(&str, FileKind)| {
            !matches!(kind.mark, Mark::Any) && kind.matches(&folder.join(name)).unwrap_or(false)
        };
        self.manifest.iter().any(is_there)
    }

    /// Whether commands write a file of this relative path.
    pub fn owns(&self, relative: &Path) -> bool {
        let relative = relative.to_string_lossy();
        self.owned.iter().any(|pattern| match pattern.split_once('*') {
            Some((start, end)) => relative.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
            None => relative == *pattern,
        })
    }
}

/// Data sets that `phantom` writes.
pub const PHANTOM: FolderKind = FolderKind {
    name: "a synthetic data set (`phantom`)",
    command: "phantom",
    manifest: &[("truth.json", FileKind::json("the truth about a phantom", &["settings", "classes", "images"]))],
    owned: &["truth.json", "meta_data.xlsx", "train/*.png", "train/*.json", "test/*.png", "truth/*.json"],
};
/// Hashes of the tables that `scan` writes.
pub const TABLE_HASHES: FileKind = FileKind::json("hashes of tables", &["sha256"]);
/// Crops that `clean` writes.
pub const CROPS: FolderKind = FolderKind {
    name: "a folder of crops",
    command: "clean",
    manifest: &[
        ("transforms.jsonl", FileKind { name: "transforms", mark: Mark::JsonLines(&["image_id", "crop_from_image"]) }),
        (".transforms.partial.jsonl", ANY),
    ],
    owned: &[
        "transforms.jsonl",
        ".transforms.partial.jsonl",
        "folds.csv",
        "folds.parquet",
        "problems.csv",
        "meta_data.*",
        "train/*.png",
        "train/*.json",
        "test/*.png",
        "test/*.json",
    ],
};
/// Copies of a data set in other formats that `convert` writes.
pub const CONVERSION: FolderKind = FolderKind {
    name: "a converted copy of a data set",
    command: "convert",
    manifest: &[(
        "conversion.jsonl",
        FileKind { name: "the images of a copy", mark: Mark::JsonLines(&["image_id", "format", "original_image"]) },
    )],
    owned: &[
        "conversion.jsonl",
        "*.json",
        "annotations.xml",
        "*.png",
        "*.jpg",
        "*.tif",
        "*.xlsx",
        "*.xlsm",
        "*.xls",
        "*.ods",
        "*.csv",
        "*.tsv",
    ],
};
/// Runs that `train` writes.
pub const RUN: FolderKind = FolderKind {
    name: "a training run",
    command: "train",
    manifest: &[("config.toml", ANY), ("last.safetensors", SAFETENSORS), ("summary.json", RUN_SUMMARY)],
    owned: &[
        "last.safetensors",
        "best.safetensors",
        "best/*.safetensors",
        "final.safetensors",
        "swa.safetensors",
        "average.safetensors",
        "metrics.csv",
        "metrics.parquet",
        "config.toml",
        "summary.json",
        "predictions.csv",
        "predictions_crops.csv",
        "predictions_crops.csv.json",
        "*_dice.csv",
        "held_out.csv",
        "pictures/*.png",
        "report.html",
        "report.json",
        "events.out.tfevents.*",
        "wandb/offline-run-*",
    ],
};
/// Losses by learning rate that `train --find-lr` writes.
pub const LR_FINDER: FolderKind = FolderKind {
    name: "the result of a learning-rate finder",
    command: "train --find-lr",
    manifest: &[("lr_finder.csv", FileKind::csv("losses by learning rate", &["step", "lr", "loss", "smoothed"]))],
    owned: &["lr_finder.csv", "lr_finder.png"],
};
/// Reports that `eda` writes.
pub const REPORT: FolderKind = FolderKind {
    name: "a report",
    command: "eda",
    manifest: &[("index.html", PAGE), ("numbers.json", FileKind::json("numbers of a report", &[]))],
    owned: &[
        "index.html",
        "report.md",
        "numbers.json",
        "problems.csv",
        "findings.csv",
        "table1.csv",
        "table1.md",
        "table1.tex",
        "metadata_forms.csv",
        "pictures/*.jpg",
        "figures/*.png",
        "figures/*.svg",
    ],
};
/// Copies of annotations that `corrections apply` writes.
pub const CORRECTED: FolderKind = FolderKind {
    name: "a corrected copy of annotations",
    command: "corrections apply",
    // Not .json, which would be an annotation.
    manifest: &[(
        "applied.jsonl",
        FileKind {
            name: "a record of applied corrections",
            mark: Mark::JsonLines(&["corrections_applied", "data", "changed"]),
        },
    )],
    owned: &[
        "applied.jsonl",
        "corrections.jsonl",
        "*.json",
        "*.png",
        "*.jpg",
        "*.jpeg",
        "*.tif",
        "*.tiff",
        "*.xlsx",
        "*.csv",
    ],
};
/// Findings that `audit` writes.
pub const FINDINGS: FolderKind = FolderKind {
    name: "findings",
    command: "audit",
    // Not findings.csv, because a report has that file too.
    manifest: &[("findings.parquet", FileKind::parquet("findings", &["image_id", "check", "score", "severity"]))],
    owned: &["findings.csv", "findings.parquet", "benchmark.json", "evidence/*.png"],
};
/// Comparisons of two sets of masks that `audit compare` writes.
pub const COMPARISON: FolderKind = FolderKind {
    name: "a comparison of masks",
    command: "audit compare",
    manifest: &[(
        "differences.parquet",
        FileKind::parquet("differences of masks", &["image_id", "kind", "other_label", "other_area_px"]),
    )],
    owned: &["differences.csv", "differences.parquet", "findings.csv", "findings.parquet", "confusion.csv"],
};
/// Probabilities per image.
pub const PROBABILITIES: FolderKind = FolderKind {
    name: "a folder of probabilities",
    command: "predict --probabilities",
    manifest: &[("probabilities.json", FileKind::json("what made probabilities", &["made_by", "images", "bits"]))],
    owned: &["probabilities.json", "*.probabilities"],
};
/// Data sets of pseudo-labels.
pub const PSEUDO_LABELS: FolderKind = FolderKind {
    name: "a data set of pseudo-labels",
    command: "ensemble --pseudo-labels",
    manifest: &[("pseudo_labels.json", FileKind::json("what made pseudo-labels", &["teacher", "classes", "labelled"]))],
    owned: &["pseudo_labels.json", "weights.csv", "meta_data.*", "train/DCM/*", "train/outputs_json/*.json"],
};
/// Tables that `scan` writes.
pub const TABLES: FolderKind = FolderKind {
    name: "tables of a scan",
    command: "scan",
    manifest: &[("scan.json", FileKind::json("the record of a scan", &["version", "settings", "files"]))],
    owned: &[
        "scan.json",
        "tables.json",
        "patients.parquet",
        "patients.csv",
        "images.parquet",
        "images.csv",
        "bones.parquet",
        "bones.csv",
        "overlaps.parquet",
        "overlaps.csv",
        "shapes.parquet",
        "shapes.csv",
        "problems.parquet",
        "problems.csv",
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_recognises_only_its_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let mut png = Vec::new();
        image::GrayImage::new(2, 2).write_to(&mut io::Cursor::new(&mut png), image::ImageFormat::Png).unwrap();
        let foreign_png = png.clone();
        super::super::sign_png(&mut png);
        assert!(image::load_from_memory(&png).is_ok());
        let fold = crate::tables::FoldRow { image_id: "a".into(), ..Default::default() };
        let parquet = folder.path().join("folds.parquet");
        crate::tables::write_parquet(&parquet, &[fold]).unwrap();
        let bones = crate::bones::NAMES.join(",");
        let correction = r#"{"version":1,"image_id":"a","action":{"do":"exclude"},"reason":"","author":"k","date":""}"#;
        let own: Vec<(FileKind, Vec<u8>)> = vec![
            (SUBMISSION, b"\xef\xbb\xbfimage_name,class,rle\na.png,Ulna,1 2\n".into()),
            (FOLDS, b"image_id,patient_id,stratum,fold\n".into()),
            (FOLDS_PARQUET, fs::read(parquet).unwrap()),
            (WEIGHTS, b"image_id,weight\n".into()),
            (BALANCE, b"key,value,images,patients,share,fold_0_images,fold_0_share,worst_deviation\n".into()),
            (BALANCE_JSON, br#"{"folds":[],"rows":[],"worst_deviation":0.0,"bins":{}}"#.into()),
            (SCORES, format!("image_id,{bones},mean\n").into()),
            (SCORE_SUMMARY, br#"{"images":1,"mean_dice":0.5,"per_class":{}}"#.into()),
            (METRICS, b"image_id,class,hd95,dice\n".into()),
            (METRIC_SUMMARY, br#"{"images":1,"nsd_tolerance":2.0,"metrics":{}}"#.into()),
            (RUN_SUMMARY, br#"{"run":"runs/a","best_epoch":3}"#.into()),
            (BENCHMARK, br#"{"recall":[],"precision":[]}"#.into()),
            (CORRECTIONS, correction.into()),
            (PNG, png),
            (SVG, b"<svg xmlns=\"\"><text textLength=\"9\" lengthAdjust=\"spacingAndGlyphs\">a</text></svg>".into()),
            (PAGE, b"<!DOCTYPE html>\n<meta name=\"generator\" content=\"carpus 0.1.0\">".into()),
            (MANUAL, b".ie \\n(.g .ds Aq \\(aq\n.TH carpus 1".into()),
            (DECISION, b"# Thresholds\n[decision]\nthreshold = 0.5\n".into()),
            (ENSEMBLES, b"# Selected\n[[ensemble]]\nname = \"a\"\n".into()),
            (SAFETENSORS, [&2_u64.to_le_bytes()[..], b"{}"].concat()),
            (TORCHSCRIPT, b"PK\x03\x04..........m/data.pkl".into()),
        ];
        let path = folder.path().join("file");
        for (i, (_, bytes)) in own.iter().enumerate() {
            fs::write(&path, bytes).unwrap();
            for (j, (kind, _)) in own.iter().enumerate() {
                assert_eq!(kind.matches(&path).unwrap(), i == j, "{} by {} ({i}, {j})", own[i].0.name, kind.name);
            }
        }
        let foreign: [&[u8]; 7] = [
            b"",
            b"image_id,weight,height\n",
            b"{\"a\":1}",
            b"[1]",
            b"PK\x03\x04[Content_Types].xml",
            &foreign_png,
            b"PAR1PAR1",
        ];
        for bytes in foreign {
            fs::write(&path, bytes).unwrap();
            for (kind, _) in &own {
                assert!(!kind.matches(&path).unwrap(), "{}: {bytes:?}", kind.name);
            }
        }
    }

    #[test]
    fn a_folder_is_free_if_it_is_new_empty_or_of_the_kind() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("out");
        let kinds = [PHANTOM, CROPS, RUN, REPORT, FINDINGS, TABLES];
        assert!(kinds.iter().all(|k| k.is_free(&folder).unwrap()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(".carpus.lock"), "{}").unwrap();
        assert!(kinds.iter().all(|k| k.is_free(&folder).unwrap()));
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        assert!(!kinds.iter().any(|k| k.is_free(&folder).unwrap()));
        fs::write(folder.join("numbers.json"), "{}").unwrap();
        assert!(REPORT.is_free(&folder).unwrap() && !FINDINGS.is_free(&folder).unwrap());
        assert!(kinds[0].is_free(&folder.join("notes.txt")).is_err());

        let owns = |kind: FolderKind, name: &str| kind.owns(Path::new(name));
        assert!(
            owns(RUN, "band3_dice.csv") && owns(RUN, "events.out.tfevents.1.a") && owns(PHANTOM, "train/DCM/ID1/a.png")
        );
        assert!(!owns(RUN, "notes.txt") && !owns(REPORT, "figures/notes.txt") && !owns(REPORT, "a/numbers.json"));
    }
}
