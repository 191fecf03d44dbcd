use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::FolderKind;
use super::file::{clean_up, destination, folder_of, temporary};

/// A folder that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct FolderError {
    /// The folder.
    pub path: PathBuf,
    /// The system's error.
    pub source: io::Error,
}

/// Writes the folder `path` atomically: `build` fills a new folder next to it, which is synced and then replaces the
/// old one. Files of the old folder that commands of this `kind` do not write are kept, at any depth: they are put into
/// the new folder before it replaces the old one. A symbolic link stays, and the folder that it points to is replaced.
///
/// A folder on which a file system is mounted cannot be renamed. Its files are then replaced one after another, each
/// atomically; at the end, old files that are no longer written are removed.
///
/// Call [`super::Outputs::folder`] or [`FolderKind::is_free`] first to check that the old folder may be replaced.
///
/// # Errors
/// `build` or the system reports an error; the old folder is then unchanged.
pub fn replace_folder<T, E: From<FolderError>>(
    path: &Path,
    kind: &FolderKind,
    build: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let at = |source| FolderError { path: path.to_owned(), source };
    let (real, new) = start(path).map_err(at)?;
    let built = build(new.path())?;
    finish(&real, new.path(), kind).map_err(at)?;
    Ok(built)
}

/// Removes the files in `folder` that commands of this `kind` write, and subfolders that are empty afterwards.
///
/// # Errors
/// A file or folder cannot be read or removed.
pub fn remove_owned(folder: &Path, kind: &FolderKind) -> Result<(), FolderError> {
    remove_inside(folder, Path::new(""), kind)
}

fn remove_inside(folder: &Path, inside: &Path, kind: &FolderKind) -> Result<(), FolderError> {
    let here = folder.join(inside);
    let at = |source| FolderError { path: here.clone(), source };
    let mut emptied = false;
    for entry in fs::read_dir(&here).map_err(at)? {
        let (path, name, is_folder) =
            entry.and_then(|e| Ok((e.path(), e.file_name(), e.file_type()?.is_dir()))).map_err(at)?;
        let relative = inside.join(name);
        if is_folder {
            remove_inside(folder, &relative, kind)?;
        } else if kind.owns(&relative) {
            fs::remove_file(path).map_err(at)?;
            emptied = true;
        }
    }
    emptied &= !inside.as_os_str().is_empty() && fs::read_dir(&here).map_err(at)?.next().is_none();
    if emptied { fs::remove_dir(&here).map_err(at) } else { Ok(()) }
}

/// The folder to replace, with links followed, and a new temporary folder. Dropping the latter removes the folder that
/// has the temporary name at that time: the old folder, if the two were exchanged.
fn start(path: &Path) -> io::Result<(PathBuf, tempfile::TempDir)> {
    let path = destination(path)?.ok_or(io::ErrorKind::NotADirectory)?;
    // `.` has no name of its own.
    let path = path.canonicalize().unwrap_or(path);
    if path.is_file() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let parent = folder_of(&path);
    fs::create_dir_all(parent)?;
    clean_up(parent);
    let new = temporary(0o777, |new| new.tempdir_in(parent))?;
    Ok((path, new))
}

fn finish(path: &Path, new: &Path, kind: &FolderKind) -> io::Result<()> {
    sync(new)?;
    if path.is_dir() {
        fs::set_permissions(new, fs::metadata(path)?.permissions())?;
        keep_others(path, new, Path::new(""), kind)?;
        File::open(new)?.sync_all()?;
        if renameat_with(CWD, new, CWD, path, RenameFlags::EXCHANGE).is_err() {
            match swap_in_steps(new, path) {
                Err(error) if is_mount_point(&error) => replace_inside(new, path, kind)?,
                swapped => swapped?,
            }
        }
    } else {
        fs::rename(new, path)?;
    }
    File::open(folder_of(path))?.sync_all()
}

/// For file systems that cannot exchange two names. A crash between the two steps leaves the old folder as
/// `.carpus-old-…`, which is not removed automatically.
fn swap_in_steps(new: &Path, path: &Path) -> io::Result<()> {
    let backup = tempfile::Builder::new().prefix(".carpus-old-").tempdir_in(folder_of(path))?;
    let old = backup.path().join("old");
    fs::rename(path, &old)?;
    let Err(error) = fs::rename(new, path) else { return Ok(()) };
    if fs::rename(&old, path).is_err() {
        let _ = backup.keep();
    }
    Err(error)
}

/// Whether the error means that one of the two folders to exchange is the root of a file system.
fn is_mount_point(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::CrossesDevices)
}

/// Replaces the content of `path` by that of `new`, if neither can be renamed.
fn replace_inside(new: &Path, path: &Path, kind: &FolderKind) -> io::Result<()> {
    clean_up(path);
    // On the file system of `path`, so that each file can be renamed into its place.
    let staged = temporary(0o777, |new| new.tempdir_in(path))?;
    let mut files = Vec::new();
    // Other files are already in `path`.
    let is_new = |file: &Path| kind.owns(file) || path.join(file).symlink_metadata().is_err();
    copy_files(new, Path::new(""), staged.path(), &is_new, &mut files)?;
    for file in &files {
        let to = path.join(file);
        fs::create_dir_all(folder_of(&to))?;
        fs::rename(staged.path().join(file), to)?;
    }
    drop(staged);
    remove_stale(path, Path::new(""), new, kind)?;
    sync(path)
}

/// Copies the `wanted` files of `from/inside` to `to/inside` and adds their relative paths to `files`.
fn copy_files(
    from: &Path,
    inside: &Path,
    to: &Path,
    wanted: &impl Fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
) -> io::Result<()> {
    fs::create_dir_all(to.join(inside))?;
    for entry in fs::read_dir(from.join(inside))? {
        let entry = entry?;
        let relative = inside.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_files(from, &relative, to, wanted, files)?;
        } else if wanted(&relative) {
            copy(&entry.path(), &to.join(&relative))?;
            files.push(relative);
        }
    }
    Ok(())
}

/// Removes files in `path` that commands of this `kind` write and that are not in `new`.
fn remove_stale(path: &Path, inside: &Path, new: &Path, kind: &FolderKind) -> io::Result<()> {
    for entry in fs::read_dir(path.join(inside))? {
        let entry = entry?;
        let relative = inside.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_stale(path, &relative, new, kind)?;
        } else if kind.owns(&relative) && new.join(&relative).symlink_metadata().is_err() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, kind) = entry.and_then(|e| Ok((e.path(), e.file_type()?)))?;
        if kind.is_dir() {
            sync(&path)?;
        } else if kind.is_file() {
            File::open(path)?.sync_all()?;
        }
    }
    File::open(folder)?.sync_all()
}

/// Links or copies files of `old/inside` to `new/inside`, except those that commands of this kind write.
fn keep_others(old: &Path, new: &Path, inside: &Path, kind: &FolderKind) -> io::Result<()> {
    for entry in fs::read_dir(old.join(inside))? {
        let entry = entry?;
        let relative = inside.join(entry.file_name());
        let (from, to) = (entry.path(), new.join(&relative));
        if !entry.file_type()?.is_dir() {
            // A PNG of the user may have a name that matches ours.
            let is_ours = kind.owns(&relative)
                && (from.extension().is_none_or(|e| e != "png") || super::kind::PNG.matches(&from).unwrap_or(false));
            if !is_ours && to.symlink_metadata().is_err() {
                fs::create_dir_all(folder_of(&to))?;
                fs::hard_link(&from, &to).or_else(|_| copy(&from, &to))?;
            }
            continue;
        }
        let is_new = !to.exists();
        keep_others(old, new, &relative, kind)?;
        if fs::read_dir(&from)?.next().is_none() {
            fs::create_dir_all(&to)?;
        }
        if is_new && to.exists() {
            fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
            File::open(&to)?.sync_all()?;
        }
    }
    Ok(())
}

/// For file systems without hard links.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let kind = fs::symlink_metadata(from)?.file_type();
    if kind.is_symlink() {
        symlink(fs::read_link(from)?, to)
    } else if kind.is_file() {
        fs::copy(from, to)?;
        File::open(to)?.sync_all()
    } else {
        Err(io::Error::other(format!(
            "{} is not a regular file and cannot be copied; move it to another folder",
            from.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::REPORT;
    use super::*;

    fn report(folder: &Path, text: &str) -> Result<(), FolderError> {
        replace_folder(folder, &REPORT, |new| {
            let write = || {
                fs::create_dir(new.join("figures"))?;
                let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
                png.resize(33, 0);
                super::super::sign_png(&mut png);
                fs::write(new.join(format!("figures/{text}.png")), png)?;
                fs::write(new.join("numbers.json"), text)
            };
            write().map_err(|source| FolderError { path: new.into(), source })
        })
    }

    #[test]
    fn on_a_mount_point_the_files_are_replaced() {
        let home = tempfile::tempdir().unwrap();
        let (folder, new) = (home.path().join("report"), home.path().join("new"));
        report(&folder, "old").unwrap();
        report(&new, "new").unwrap();
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        // The steps of `finish` after the system has refused to rename.
        keep_others(&folder, &new, Path::new(""), &REPORT).unwrap();
        replace_inside(&new, &folder, &REPORT).unwrap();
        assert_eq!(fs::read_to_string(folder.join("numbers.json")).unwrap(), "new");
        assert_eq!(fs::read_to_string(folder.join("notes.txt")).unwrap(), "mine");
        assert!(folder.join("figures/new.png").is_file() && !folder.join("figures/old.png").exists());
        let hidden = |e: fs::DirEntry| e.file_name().to_string_lossy().starts_with('.');
        assert!(!fs::read_dir(&folder).unwrap().flatten().any(hidden));
        assert!(is_mount_point(&io::Error::from_raw_os_error(rustix::io::Errno::BUSY.raw_os_error())));
    }

    #[test]
    fn other_files_stay_and_old_outputs_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("report");
        report(&folder, "old").unwrap();
        fs::write(folder.join("notes.txt"), "mine").unwrap();
        fs::write(folder.join("figures/notes.txt"), "mine").unwrap();
        fs::create_dir_all(folder.join("talk/empty")).unwrap();
        fs::write(folder.join("talk/a.png"), "mine").unwrap();
        symlink("../elsewhere", folder.join("link")).unwrap();
        symlink("report", home.path().join("link")).unwrap();

        let failed = replace_folder(&folder, &REPORT, |new| {
            fs::write(new.join("numbers.json"), "half").unwrap();
            Err::<(), _>(FolderError { path: new.into(), source: io::Error::other("disk full") })
        });
        assert!(failed.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read_to_string(folder.join("numbers.json")).unwrap(), "old");

        report(&home.path().join("link"), "new").unwrap();
        assert_eq!(fs::read_to_string(folder.join("numbers.json")).unwrap(), "new");
        assert!(folder.join("figures/new.png").exists() && !folder.join("figures/old.png").exists());
        for file in ["notes.txt", "figures/notes.txt", "talk/a.png"] {
            assert_eq!(fs::read_to_string(folder.join(file)).unwrap(), "mine", "{file}");
        }
        assert!(folder.join("talk/empty").is_dir());
        assert_eq!(fs::read_link(folder.join("link")).unwrap(), Path::new("../elsewhere"));
        assert!(home.path().join("link").is_symlink());
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no temporary folder is left");

        remove_owned(&folder, &REPORT).unwrap();
        assert!(!folder.join("numbers.json").exists() && !folder.join("figures/new.png").exists());
        assert!(folder.join("figures/notes.txt").exists() && folder.join("talk/empty").is_dir());

        let file = folder.join("notes.txt");
        assert!(report(&file, "x").is_err());
        assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    }

    #[test]
    fn folders_are_exchanged_in_two_steps() {
        let home = tempfile::tempdir().unwrap();
        let (new, path) = (home.path().join("new"), home.path().join("path"));
        for folder in [&new, &path] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("name"), folder.file_name().unwrap().as_encoded_bytes()).unwrap();
        }
        swap_in_steps(&new, &path).unwrap();
        assert_eq!(fs::read_to_string(path.join("name")).unwrap(), "new");
        assert!(swap_in_steps(&new, &path).is_err());
        assert_eq!(fs::read_to_string(path.join("name")).unwrap(), "new");
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    }
}
