//! Lists the files of a data folder in a fixed order.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::dataset::{Problem, ProblemSeverity, Subset, image_id};
use crate::names::nfc;
use crate::wording::counted;

/// Endings of the images that are read, best first.
const IMAGES: [&str; 7] = ["png", "tif", "tiff", "jpg", "jpeg", "dcm", "dicom"];
/// Endings of images that are not read, but reported as a problem.
const OTHER_IMAGES: [&str; 6] = ["bmp", "gif", "webp", "heic", "jp2", "nii"];
/// Endings of files that may be the patients' spreadsheet.
const SHEETS: [&str; 6] = ["xlsx", "xlsm", "csv", "tsv", "ods", "xls"];
/// Names of folders for a kind of file, which are not names of patients.
const KINDS: [&str; 28] = [
    "dcm",
    "dicom",
    "outputs_json",
    "output_json",
    "json",
    "jsons",
    "image",
    "images",
    "img",
    "imgs",
    "label",
    "labels",
    "ann",
    "annotation",
    "annotations",
    "polygons",
    "png",
    "jpg",
    "tiff",
    "xray",
    "data",
    "train",
    "training",
    "val",
    "valid",
    "validation",
    "test",
    "testing",
];
/// Maximum depth of folders that are searched.
const DEPTH: usize = 16;

/// A file under the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundFile {
    /// Folders from the root to the file.
    pub folders: Vec<String>,
    /// Name without ending, as on disk.
    pub stem: String,
    /// Normalised name, equal for an image and its annotation.
    pub id: String,
    /// Ending as written.
    pub ending: String,
}

impl FoundFile {
    /// Relative to the root, with `/`.
    pub fn path(&self) -> String {
        let mut path = String::new();
        for folder in &self.folders {
            path.push_str(folder);
            path.push('/');
        }
        path += &self.stem;
        if self.ending.is_empty() { path } else { path + "." + &self.ending }
    }

    /// The subset that the outermost folder `train` or `test` names.
    pub fn subset(&self) -> Option<Subset> {
        self.folders.iter().find_map(|f| subset_of_folder(f))
    }

    /// The folders without those named after a kind of file or a subset.
    pub fn own_folders(&self) -> Vec<String> {
        let own = self.folders.iter().filter(|f| !KINDS.iter().any(|k| k.eq_ignore_ascii_case(f)));
        own.map(|f| nfc(f)).collect()
    }

    /// Position of the ending among the image endings, lossless formats first.
    pub fn rank(&self) -> usize {
        rank(&IMAGES, &self.ending).unwrap_or(IMAGES.len())
    }
}

/// Files found under the root.
#[derive(Default)]
pub struct Walked {
    /// Images.
    pub images: Vec<FoundFile>,
    /// JSON files.
    pub annotations: Vec<FoundFile>,
    /// Spreadsheets at the top level.
    pub sheets: Vec<FoundFile>,
    /// Whether `train` or `test` exist at the top level, and only they were searched.
    pub by_subset: bool,
    /// Files and folders that could not be listed.
    pub problems: Vec<Problem>,
    visited: HashSet<PathBuf>,
    /// Unsupported images: kind, first path, number of files.
    unsupported: Vec<(String, String, usize)>,
}

/// The subset that a folder's name means. Validation data is annotated, so it is used to make folds, as training data
/// is.
pub fn subset_of_folder(name: &str) -> Option<Subset> {
    match name.to_lowercase().as_str() {
        "train" | "training" | "val" | "valid" | "validation" => Some(Subset::Train),
        "test" | "testing" => Some(Subset::Test),
        _ => None,
    }
}

fn rank(endings: &[&str], ending: &str) -> Option<usize> {
    endings.iter().position(|e| e.eq_ignore_ascii_case(ending))
}

fn is_skipped(name: &str) -> bool {
    name.starts_with('.') || name.starts_with("~$") || name == "__MACOSX"
}

/// The spreadsheets at the top level of `root`; none if it cannot be listed.
pub fn sheets(root: &Path) -> Vec<FoundFile> {
    let listed = Walked::default().list(root, &[]);
    let files = listed.map(|(files, _)| files).unwrap_or_default();
    files.into_iter().filter(|file| rank(&SHEETS, &file.ending).is_some()).collect()
}

/// Lists images, JSON files and spreadsheets under `root`, sorted by name at each level.
///
/// # Errors
/// The root cannot be listed.
pub fn walk(root: &Path) -> std::io::Result<Walked> {
    let mut walked = Walked::default();
    let (files, folders) = walked.list(root, &[])?;
    let subsets: Vec<&String> = folders.iter().filter(|f| subset_of_folder(f).is_some()).collect();
    walked.by_subset = !subsets.is_empty();
    for file in files {
        if rank(&SHEETS, &file.ending).is_some() {
            walked.sheets.push(file);
        } else if !walked.by_subset {
            walked.add(root, file);
        }
    }
    let searched: Vec<&String> = if walked.by_subset { subsets } else { folders.iter().collect() };
    if let Ok(canonical) = root.canonicalize() {
        walked.visited.insert(canonical);
    }
    for folder in searched {
        walked.descend(root, std::slice::from_ref(folder));
    }
    for (kind, first, count) in std::mem::take(&mut walked.unsupported) {
        let files = counted(count, "file", "files");
        let reason = format!("unsupported format: {files} {kind}, such as this; expected {}", IMAGES.join(", "));
        walked.problems.push(Problem::new(ProblemSeverity::Warning, first, reason, "left out; convert to PNG"));
    }
    Ok(walked)
}

impl Walked {
    /// The files and folders in a folder, each sorted by name.
    fn list(&mut self, root: &Path, folders: &[String]) -> std::io::Result<(Vec<FoundFile>, Vec<String>)> {
        let here = folders.iter().fold(root.to_path_buf(), |p, f| p.join(f));
        let relative = |name: &str| folders.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join("/");
        let (mut files, mut inner) = (Vec::new(), Vec::new());
        for entry in fs::read_dir(&here)? {
            let entry = entry?;
            let name = match entry.file_name().into_string() {
                Ok(name) => name,
                Err(raw) => {
                    let lossy = raw.to_string_lossy().into_owned();
                    let reason = "the name is not UTF-8";
                    let problem = Problem::new(ProblemSeverity::Error, relative(&lossy), reason, "left out; rename it");
                    self.problems.push(problem.raw(&lossy));
                    continue;
                }
            };
            if is_skipped(&name) {
                continue;
            }
            match fs::metadata(entry.path()) {
                Ok(what) if what.is_dir() => inner.push(name),
                Ok(what) => {
                    let (stem, ending) = name.rsplit_once('.').unwrap_or((&name, ""));
                    let id = image_id(&name);
                    let file = FoundFile { folders: folders.to_vec(), stem: stem.into(), id, ending: ending.into() };
                    if what.is_file() {
                        files.push(file);
                    } else if rank(&IMAGES, ending).is_some() {
                        let reason = "a pipe, socket or device, not a file";
                        self.problems.push(Problem::new(ProblemSeverity::Error, relative(&name), reason, "left out"));
                    }
                }
                Err(error) => {
                    let reason = format!("cannot be read: {error}");
                    self.problems.push(Problem::new(ProblemSeverity::Error, relative(&name), reason, "left out"));
                }
            }
        }
        files.sort_by(|a, b| (&a.id, &a.stem, &a.ending).cmp(&(&b.id, &b.stem, &b.ending)));
        inner.sort();
        Ok((files, inner))
    }

    fn descend(&mut self, root: &Path, folders: &[String]) {
        let here = folders.iter().fold(root.to_path_buf(), |p, f| p.join(f));
        let mut report = |reason: String| {
            self.problems.push(Problem::new(ProblemSeverity::Error, folders.join("/"), reason, "folder left out"));
        };
        if folders.len() > DEPTH {
            return report(format!("nested more than {DEPTH} folders deep"));
        }
        let canonical = match here.canonicalize() {
            Ok(canonical) => canonical,
            Err(error) => return report(format!("cannot be listed: {error}")),
        };
        // A link to a parent folder, or two links to one folder, would list the same images twice.
        if self.visited.contains(&canonical) {
            return report("a link to a folder that was listed already".into());
        }
        self.visited.insert(canonical);
        match self.list(root, folders) {
            Ok((files, inner)) => {
                for file in files {
                    self.add(root, file);
                }
                for folder in inner {
                    let deeper: Vec<String> = folders.iter().cloned().chain([folder]).collect();
                    self.descend(root, &deeper);
                }
            }
            Err(error) => self.problems.push(Problem::new(
                ProblemSeverity::Error,
                folders.join("/"),
                format!("cannot be listed: {error}"),
                "folder left out",
            )),
        }
    }

    /// Adds the file to the list of its kind.
    fn add(&mut self, root: &Path, file: FoundFile) {
        if rank(&IMAGES, &file.ending).is_some() {
            self.images.push(file);
        } else if file.ending.eq_ignore_ascii_case("json") {
            self.annotations.push(file);
        } else if let Some(other) = rank(&OTHER_IMAGES, &file.ending) {
            self.add_unsupported(format!("ending in .{}", OTHER_IMAGES[other]), &file);
        } else if rank(&SHEETS, &file.ending).is_none() {
            // Without an ending, or with an unknown one, the kind is determined by the content.
            match content(&root.join(file.path())) {
                Some(Content::Image) if file.ending.is_empty() => self.images.push(file),
                Some(Content::Image) => {
                    self.add_unsupported(format!("with images as content and ending in .{}", file.ending), &file)
                }
                None => {}
            }
        }
    }

    fn add_unsupported(&mut self, kind: String, file: &FoundFile) {
        match self.unsupported.iter_mut().find(|u| u.0 == kind) {
            Some(seen) => seen.2 += 1,
            None => self.unsupported.push((kind, file.path(), 1)),
        }
    }
}

enum Content {
    /// PNG, JPEG, TIFF or DICOM.
    Image,
}

/// The kind of a file's content, by its first bytes.
fn content(path: &Path) -> Option<Content> {
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(132).read_to_end(&mut head).ok()?;
    let starts = |mark: &[u8]| head.starts_with(mark);
    if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"II*\0") || starts(b"MM\0*") {
        return Some(Content::Image);
    }
    (head.get(128..132) == Some(b"DICM")).then_some(Content::Image)
}
