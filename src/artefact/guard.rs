use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{FileKind, FolderKind, kind};

/// Checks that the outputs of a command do not overwrite its inputs or other files.
///
/// Without `--force`, it refuses
/// - a path that is an input, a link to one or a hard link of one;
/// - a path in a folder that holds the images, annotations or workbook of the given data, or in a folder laid out as one
///   (`train/DCM`);
/// - a file that `train` writes in a run's folder, such as `best.safetensors`;
/// - an existing file that is not of the kind that the command writes, or a folder with other content.
///
/// With `--force`, all of these are allowed. Devices and pipes are always allowed. The checks write nothing.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    overwrite: Overwrite,
    /// Paths as given, and with links followed.
    inputs: Vec<(PathBuf, PathBuf)>,
    data: Vec<(PathBuf, PathBuf)>,
    /// The folder of the run whose files the command may write.
    run: Option<PathBuf>,
}

/// Whether a command may overwrite its inputs, the original data and files of another kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// No: such outputs are an error.
    #[default]
    Refuse,
    /// Yes: `--force` was given.
    Force,
}

/// An output that is refused.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// An output is an input of the command, or a link to one.
    #[error(
        "{path} is an input of this command (the same as {input}); name another path, or give --force to overwrite it"
    )]
    Input {
        /// The output.
        path: PathBuf,
        /// The input, as given.
        input: PathBuf,
    },
    /// An output is in the folder of the original data.
    #[error("{path} is in {data}, which holds the original data; name another path, or give --force to write there")]
    InData {
        /// The output.
        path: PathBuf,
        /// The data folder, as given.
        data: PathBuf,
    },
    /// An output has the name of a file of a run, in its folder.
    #[error("{path} belongs to the run in this folder; name another file, or give --force to replace the run's own")]
    InRun {
        /// The output.
        path: PathBuf,
    },
    /// An output is an existing file of another kind.
    #[error("{path} exists and is not {kind}; name another file, or give --force to overwrite it")]
    OtherFile {
        /// The output.
        path: PathBuf,
        /// The kind of output that the command writes.
        kind: &'static str,
    },
    /// An output is an existing folder with files of another kind.
    #[error(
        "{path} contains files that `carpus {command}` did not write; name a new or empty folder, or give --force to write \
         into it"
    )]
    OtherFolder {
        /// The output.
        path: PathBuf,
        /// The command that writes this kind of folder.
        command: &'static str,
    },
    /// The command writes a file, but the output is an existing folder.
    #[error("{path} is a folder; name a file for {kind}")]
    IsFolder {
        /// The output.
        path: PathBuf,
        /// The kind of output that the command writes.
        kind: &'static str,
    },
    /// The command writes a folder, but the output is an existing file.
    #[error("{path} is a file; name a folder for {kind}")]
    IsFile {
        /// The output.
        path: PathBuf,
        /// The kind of output that the command writes.
        kind: &'static str,
    },
    /// The command writes PNG, but the file's ending is that of another format.
    #[error("{path}: the picture is written as PNG; name a file that ends in .png")]
    NotPng {
        /// The output.
        path: PathBuf,
    },
    /// An output's path cannot be resolved, or what is there cannot be read.
    #[error("{path}: {source}")]
    Io {
        /// The output.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Outputs {
    /// Checks for a command without inputs.
    pub fn new(overwrite: Overwrite) -> Outputs {
        Outputs { overwrite, ..Outputs::default() }
    }

    fn is_forced(&self) -> bool {
        self.overwrite == Overwrite::Force
    }

    /// Adds a file or folder that the command reads.
    #[must_use]
    pub fn input(mut self, path: &Path) -> Self {
        self.inputs.push(as_given(path));
        self
    }

    /// Adds files or folders that the command reads.
    #[must_use]
    pub fn inputs<'a>(self, paths: impl IntoIterator<Item = &'a PathBuf>) -> Self {
        paths.into_iter().fold(self, |outputs, path| outputs.input(path))
    }

    /// Adds folders that hold the images, annotations or workbook of the given data.
    #[must_use]
    pub fn data(mut self, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        self.data.extend(folders.into_iter().map(|folder| as_given(&folder)));
        self
    }

    /// Allows the files of the run in this folder: the command makes them.
    #[must_use]
    pub fn of_run(self, folder: &Path) -> Self {
        Outputs { run: Some(folder.to_owned()), ..self }
    }

    /// Checks that a file of this kind may be written to `path`.
    ///
    /// # Errors
    /// One of the reasons above; the path is a folder; the existing file cannot be read.
    pub fn file(&self, path: &Path, kind: &FileKind) -> Result<(), OutputError> {
        // Written to directly, also if standard output is a file that already has content.
        if super::file::destination(path).map_err(io_error(path))?.is_none() {
            return Ok(());
        }
        let found = fs::metadata(path).ok();
        if found.as_ref().is_some_and(|found| found.is_dir()) {
            return Err(OutputError::IsFolder { path: path.into(), kind: kind.name });
        }
        if kind.name == kind::PNG.name && has_ending_of_other_picture(path) {
            return Err(OutputError::NotPng { path: path.into() });
        }
        self.path(path)?;
        self.is_outside_layouts(path)?;
        if !self.is_forced() && self.run.as_deref() != path.parent() && belongs_to_run(path) {
            return Err(OutputError::InRun { path: path.into() });
        }
        if self.is_forced()
            || found.is_none_or(|found| found.len() == 0)
            || kind.matches(path).map_err(io_error(path))?
        {
            return Ok(());
        }
        Err(OutputError::OtherFile { path: path.into(), kind: kind.name })
    }

    /// Checks that a folder of this kind may be written to `path`.
    ///
    /// # Errors
    /// One of the reasons above; an input in the folder has a name that the command writes; the path is a file.
    pub fn folder(&self, path: &Path, kind: &FolderKind) -> Result<(), OutputError> {
        if fs::metadata(path).is_ok_and(|found| !found.is_dir()) {
            return Err(OutputError::IsFile { path: path.into(), kind: kind.name });
        }
        self.path(path)?;
        self.is_outside_layouts(path)?;
        let here = real(path).map_err(io_error(path))?;
        let owned = |real: &Path| real.strip_prefix(&here).is_ok_and(|relative| kind.owns(relative));
        if let Some((input, real)) = self.inputs.iter().find(|(_, real)| owned(real)).filter(|_| !self.is_forced()) {
            return Err(OutputError::Input { path: real.clone(), input: input.clone() });
        }
        if self.is_forced() || kind.is_free(path).map_err(io_error(path))? {
            return Ok(());
        }
        Err(OutputError::OtherFolder { path: path.into(), command: kind.command })
    }

    /// Checks that `path` is neither an input nor in the data: for files in a folder that was already checked.
    ///
    /// # Errors
    /// The path is an input, is in the data or cannot be resolved.
    pub fn path(&self, path: &Path) -> Result<(), OutputError> {
        if self.is_forced() {
            return Ok(());
        }
        let here = real(path).map_err(io_error(path))?;
        let id = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        let own = id(path);
        let same = |real: &Path| *real == here || own.is_some() && own == id(real);
        if let Some((input, _)) = self.inputs.iter().find(|(_, real)| same(real)) {
            return Err(OutputError::Input { path: path.into(), input: input.clone() });
        }
        if let Some((data, _)) = self.data.iter().find(|(_, real)| here.starts_with(real)) {
            return Err(OutputError::InData { path: path.into(), data: data.clone() });
        }
        Ok(())
    }

    /// Checks that a file or folder that a user named is in no folder that looks like one of a data set.
    fn is_outside_layouts(&self, path: &Path) -> Result<(), OutputError> {
        let here = real(path).map_err(io_error(path))?;
        match laid_out_as_data(&here).filter(|_| !self.is_forced()) {
            Some(data) => Err(OutputError::InData { path: path.into(), data }),
            None => Ok(()),
        }
    }
}

/// The folder of images or annotations of a data set with subset folders that the path is in: `data/train` if the path is
/// in it and there is `data/train/DCM`. Commands that take no data folder know no other.
fn laid_out_as_data(path: &Path) -> Option<PathBuf> {
    let is_part = |folder: &&Path| {
        let name = folder.file_name().is_some_and(|name| name == "train" || name == "test");
        name && ["DCM", "outputs_json"].iter().any(|kind| folder.join(kind).is_dir())
    };
    path.ancestors().skip(1).find(is_part).map(Path::to_owned)
}

/// Whether programs would take the file for a picture in another format than PNG.
fn has_ending_of_other_picture(path: &Path) -> bool {
    const OTHERS: [&str; 8] = ["jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp", "svg"];
    path.extension().is_some_and(|ending| OTHERS.iter().any(|other| ending.eq_ignore_ascii_case(other)))
}

/// Whether the path is that of a file that `train` writes, in a folder in which it has written.
fn belongs_to_run(path: &Path) -> bool {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return false };
    let name = Path::new(name);
    // Scores by any other name may lie next to those of the run.
    let is_other_score = name.to_string_lossy().ends_with("_dice.csv") && name != "per_image_dice.csv";
    kind::RUN.owns(name) && !is_other_score && kind::RUN.has_manifest(folder)
}

fn as_given(path: &Path) -> (PathBuf, PathBuf) {
    (path.to_owned(), real(path).unwrap_or_else(|_| path.to_owned()))
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> OutputError {
    let path = path.to_owned();
    move |source| OutputError::Io { path: path.clone(), source }
}

/// The path with links followed, as far as it exists.
fn real(path: &Path) -> io::Result<PathBuf> {
    // If a link is broken, a write would create the file that it points to.
    let path = super::file::destination(path)?.unwrap_or_else(|| path.to_owned());
    let absolute = std::path::absolute(path)?;
    // In `a/../b`, a part that does not exist yet is resolved as text; the system resolves existing parts.
    let mut plain = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => {
                plain = plain.canonicalize().unwrap_or(plain);
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    let mut missing = Vec::new();
    let mut existing = plain.as_path();
    loop {
        match existing.canonicalize() {
            Ok(mut real) => {
                real.extend(missing.iter().rev());
                return Ok(real);
            }
            Err(error) => match (existing.parent(), existing.file_name()) {
                (Some(parent), Some(name)) => {
                    missing.push(name.to_owned());
                    existing = parent;
                }
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::kind::{FINDINGS, REPORT, SUBMISSION, TABLES};
    use super::*;

    const CSV: &str = "image_name,class,rle\n";

    #[test]
    fn inputs_are_refused_by_name_link_and_hard_link() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::write(at("in.csv"), CSV).unwrap();
        fs::hard_link(at("in.csv"), at("hard.csv")).unwrap();
        symlink("in.csv", at("soft.csv")).unwrap();
        fs::write(at("other.csv"), CSV).unwrap();
        for input in ["in.csv", "soft.csv"] {
            let outputs = Outputs::new(Overwrite::Refuse).input(&at(input));
            let refused = |name: &str| matches!(outputs.file(&at(name), &SUBMISSION), Err(OutputError::Input { .. }));
            for name in ["in.csv", "hard.csv", "soft.csv", "new/../in.csv"] {
                assert!(refused(name), "{name}");
            }
            assert!(!refused("other.csv") && !refused("new.csv"));
        }
        assert!(Outputs::new(Overwrite::Force).input(&at("in.csv")).file(&at("in.csv"), &SUBMISSION).is_ok());
        // A broken link to a file that the command will read.
        symlink("later.csv", at("dangling.csv")).unwrap();
        assert!(
            Outputs::new(Overwrite::Refuse).input(&at("later.csv")).file(&at("dangling.csv"), &SUBMISSION).is_err()
        );
    }

    #[test]
    fn outputs_in_the_data_folders_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let (data, out) = (root.path().join("data"), root.path().join("out"));
        fs::create_dir_all(data.join("train")).unwrap();
        fs::create_dir_all(&out).unwrap();
        symlink(data.join("train"), out.join("train")).unwrap();
        symlink(data.join("new.csv"), out.join("link.csv")).unwrap();
        let outputs = Outputs::new(Overwrite::Refuse).data([data.clone()]);
        let refused = |path: PathBuf| matches!(outputs.path(&path), Err(OutputError::InData { .. }));
        assert!(refused(data.clone()));
        assert!(refused(data.join("train/crops/new")));
        assert!(refused(root.path().join("new/../data/crops")));
        assert!(refused(out.join("train/DCM/a.png")), "links are followed");
        assert!(refused(out.join("link.csv")));
        assert!(!refused(root.path().join("crops")));
        assert!(!refused(root.path().join("data2")));
        assert!(!refused(data.join("../crops")));
        assert!(!refused(out.join("test/DCM/a.png")));
        let error = outputs.file(&data.join("a.csv"), &SUBMISSION).unwrap_err().to_string();
        assert!(error.contains("original data") && error.contains("--force"), "{error}");
        assert!(Outputs::new(Overwrite::Force).data([data.clone()]).file(&data.join("a.csv"), &SUBMISSION).is_ok());
    }

    #[test]
    fn data_folders_that_the_command_was_not_given_are_recognised() {
        let root = tempfile::tempdir().unwrap();
        let train = root.path().join("data/train");
        fs::create_dir_all(train.join("DCM/ID001")).unwrap();
        let outputs = Outputs::new(Overwrite::Refuse);
        let refused =
            |path: &str| matches!(outputs.file(&root.path().join(path), &SUBMISSION), Err(OutputError::InData { .. }));
        assert!(refused("data/train/DCM/ID001/new.csv") && refused("data/train/new.csv"));
        assert!(!refused("data/new.csv") && !refused("new/train/a.csv"));
        assert!(matches!(outputs.folder(&train.join("runs"), &REPORT), Err(OutputError::InData { .. })));
        assert!(Outputs::new(Overwrite::Force).file(&train.join("DCM/a.csv"), &SUBMISSION).is_ok());
        // Files within a folder that was checked as a whole.
        assert!(outputs.path(&train.join("DCM/a.png")).is_ok());
    }

    #[test]
    fn files_of_a_run_are_not_replaced_by_other_commands() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let outputs = Outputs::new(Overwrite::Refuse);
        let refused = |name: &str| matches!(outputs.file(&at(name), &SUBMISSION), Err(OutputError::InRun { .. }));
        fs::write(at("config.toml"), "epochs = 1").unwrap();
        assert!(!refused("predictions.csv"), "any tool may have a file config.toml");
        fs::write(at("summary.json"), r#"{"run": "a", "best_epoch": 1}"#).unwrap();
        for name in ["predictions.csv", "per_image_dice.csv", "best.safetensors", "last.safetensors", "metrics.csv"] {
            assert!(refused(name), "{name}");
        }
        assert!(!refused("band3_dice.csv") && !refused("mine.csv"));
        assert!(outputs.clone().of_run(root.path()).file(&at("predictions.csv"), &SUBMISSION).is_ok());
        assert!(Outputs::new(Overwrite::Force).file(&at("predictions.csv"), &SUBMISSION).is_ok());
    }

    #[test]
    fn pictures_are_not_named_as_another_format() {
        let root = tempfile::tempdir().unwrap();
        let outputs = Outputs::new(Overwrite::Refuse);
        let file = |name: &str| outputs.file(&root.path().join(name), &kind::PNG);
        assert!(matches!(file("a.JPG"), Err(OutputError::NotPng { .. })));
        assert!(file("a.png").is_ok() && file("a").is_ok());
    }

    #[test]
    fn files_of_another_kind_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.csv");
        let outputs = Outputs::new(Overwrite::Refuse);
        let file = |text: &str| {
            fs::write(&path, text).unwrap();
            outputs.file(&path, &SUBMISSION)
        };
        assert!(file("").is_ok() && file(CSV).is_ok());
        let error = file("name,age\n").unwrap_err().to_string();
        assert!(error.contains("a.csv exists and is not a submission CSV"), "{error}");
        assert!(Outputs::new(Overwrite::Force).file(&path, &SUBMISSION).is_ok());
        assert!(outputs.file(Path::new("/dev/null"), &SUBMISSION).is_ok());
        assert!(outputs.file(Path::new("/dev/stdout"), &SUBMISSION).is_ok());
        assert!(matches!(outputs.file(root.path(), &SUBMISSION), Err(OutputError::IsFolder { .. })));
    }

    #[test]
    fn folders_of_another_kind_or_with_inputs_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let (tables, report) = (root.path().join("tables"), root.path().join("report"));
        fs::create_dir_all(&tables).unwrap();
        fs::create_dir_all(&report).unwrap();
        fs::write(report.join("numbers.json"), "{}").unwrap();
        fs::write(report.join("findings.csv"), "image_id,check,score,severity\n").unwrap();
        let outputs = Outputs::new(Overwrite::Refuse).input(&tables);
        assert!(matches!(outputs.folder(&tables, &TABLES), Err(OutputError::Input { .. })));
        assert!(outputs.folder(&report, &REPORT).is_ok() && outputs.folder(&report, &FINDINGS).is_err());
        assert!(matches!(outputs.folder(root.path(), &REPORT), Err(OutputError::OtherFolder { .. })));
        assert!(matches!(outputs.folder(&report.join("numbers.json"), &REPORT), Err(OutputError::IsFile { .. })));
        let reads_its_output = outputs.clone().input(&report.join("findings.csv"));
        assert!(matches!(reads_its_output.folder(&report, &REPORT), Err(OutputError::Input { .. })));
        assert!(outputs.input(&report.join("notes.csv")).folder(&report, &REPORT).is_ok());
        assert!(Outputs::new(Overwrite::Force).folder(root.path(), &REPORT).is_ok());
    }
}
