use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::process::{Process, remove_leftovers};

/// Writes `path` atomically: into a temporary file in the same folder, which is synced and then renamed. The folder is
/// synced too, so that after a power failure the file has either the old or the new content. Missing folders are
/// created.
///
/// A symbolic link stays: the file that it points to is replaced or created. An existing file keeps its mode; a new one
/// gets the mode of the process's umask. A path that is not a regular file (a device, a pipe, standard output under any
/// name) is written to directly.
///
/// # Errors
/// The path is a folder, or the system or `write` reports an error; the old file is then unchanged.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut files = Together::default();
    files.add(path, write)?;
    files.commit()
}

/// Files that are replaced together: all are written under temporary names before the first is renamed. Without
/// [`Together::commit`], nothing is changed.
#[derive(Debug, Default)]
pub struct Together(Vec<(NamedTempFile, PathBuf)>);

impl Together {
    /// Writes a file as [`write_atomically`] does, but does not rename it yet.
    ///
    /// # Errors
    /// As for [`write_atomically`].
    pub fn add(&mut self, path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
        let Some(path) = destination(path)? else {
            // Append: standard output may be a file that other programs have written to.
            return fill(&OpenOptions::new().append(true).open(path)?, write);
        };
        let temporary = write_temporary(&path, write)?;
        self.0.push((temporary, path));
        Ok(())
    }

    /// Renames the files to their final names, in the order in which they were added.
    ///
    /// # Errors
    /// The system reports an error; files that were already renamed stay.
    pub fn commit(self) -> io::Result<()> {
        let folders: BTreeSet<PathBuf> = self.0.iter().map(|(_, path)| folder_of(path).to_owned()).collect();
        for (temporary, path) in self.0 {
            temporary.persist(&path).map_err(|e| e.error)?;
        }
        folders.iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }
}

/// Writes the content to a temporary file in the folder of `path`, and syncs it.
fn write_temporary(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> io::Result<NamedTempFile> {
    let old = match fs::metadata(path) {
        Ok(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(old) => Some(old.permissions()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    clean_up(folder);
    let temporary = temporary(0o666, |new| new.tempfile_in(folder))?;
    fill(temporary.as_file(), write)?;
    if let Some(permissions) = old {
        temporary.as_file().set_permissions(permissions)?;
    }
    temporary.as_file().sync_all()?;
    Ok(temporary)
}

fn fill(file: &File, write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush()
}

/// The path with symbolic links followed; the last link may be broken. `None` if the path exists and is neither a
/// regular file nor a folder, and for files that are open in this process (`/dev/stdout`).
pub(super) fn destination(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut at = path.to_owned();
    // The number of links that the system follows; for a longer chain, `metadata` reports the error.
    for _ in 0..40 {
        let folder = folder_of(&at);
        if folder.canonicalize().is_ok_and(|folder| folder.starts_with("/proc")) {
            return Ok(None);
        }
        match fs::read_link(&at) {
            Ok(to) => at = folder.join(to),
            Err(_) => break,
        }
    }
    match fs::metadata(&at) {
        Ok(found) if !found.is_file() && !found.is_dir() => Ok(None),
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(Some(at)),
    }
}

/// The folder that contains a path.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a temporary file or folder with the mode `mode`, reduced by the umask.
pub(super) fn temporary<T>(mode: u32, make: impl FnOnce(&tempfile::Builder<'_, '_>) -> io::Result<T>) -> io::Result<T> {
    let prefix = Process::current().prefix();
    make(tempfile::Builder::new().prefix(&prefix).permissions(Permissions::from_mode(mode))).map_err(without_path)
}

/// Removes the path of the temporary file that tempfile adds to the system's message; callers name the real file.
fn without_path(error: io::Error) -> io::Error {
    match error.to_string().rsplit_once(" at path ") {
        Some((message, _)) => io::Error::new(error.kind(), message),
        None => error,
    }
}

/// Removes temporary files of ended processes from a folder, at the first write of this process into it.
pub(super) fn clean_up(folder: &Path) {
    static DONE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if DONE.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned()) {
        remove_leftovers(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_error_does_not_name_the_temporary_file() {
        let error = temporary(0o666, |new| new.tempfile_in("no/such/folder")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(!error.to_string().contains("no/such") && error.to_string().contains("os error 2"), "{error}");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        write_atomically(&path, |w| w.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |w| {
            w.write_all(b"half of the new")?;
            Err(io::Error::other("disk full"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        assert_eq!(write_atomically(folder.path(), |_| Ok(())).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn devices_and_pipes_are_written_to_directly() {
        let folder = tempfile::tempdir().unwrap();
        write_atomically(Path::new("/dev/null"), |w| w.write_all(b"gone")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());

        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        symlink("pipe", &link).unwrap();
        for path in [&pipe, &link] {
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || fs::read_to_string(pipe).unwrap()
            });
            write_atomically(path, |w| w.write_all(b"rows")).unwrap();
            assert_eq!(reader.join().unwrap(), "rows");
        }
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());

        // The case of `--out /dev/stdout >> FILE`.
        let path = folder.path().join("open.txt");
        fs::write(&path, "old\n").unwrap();
        let open = OpenOptions::new().append(true).open(&path).unwrap();
        let by_number = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
        write_atomically(Path::new(&by_number), |w| w.write_all(b"new\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old\nnew\n");
    }

    #[test]
    fn links_and_modes_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).unwrap();
        fs::write(at("real/a.txt"), "old").unwrap();
        fs::set_permissions(at("real/a.txt"), Permissions::from_mode(0o640)).unwrap();
        symlink("real/a.txt", at("link")).unwrap();
        symlink("link", at("second")).unwrap();
        symlink("real/new.txt", at("dangling")).unwrap();
        write_atomically(&at("second"), |w| w.write_all(b"new")).unwrap();
        write_atomically(&at("dangling"), |w| w.write_all(b"made")).unwrap();
        for link in ["link", "second", "dangling"] {
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink(), "{link}");
        }
        assert_eq!(fs::read(at("real/a.txt")).unwrap(), b"new");
        assert_eq!(fs::read(at("real/new.txt")).unwrap(), b"made");
        assert_eq!(mode(&at("real/a.txt")), 0o640);
        symlink("b", at("a")).unwrap();
        symlink("a", at("b")).unwrap();
        assert!(write_atomically(&at("a"), |_| Ok(())).is_err());
    }

    /// Run by [`new_files_have_the_mode_of_the_umask`] under another umask.
    #[test]
    #[ignore = "part of another test"]
    fn write_under_umask() {
        let folder = PathBuf::from(std::env::var_os("CARPUS_TEST_FOLDER").unwrap());
        write_atomically(&folder.join("a.txt"), |w| w.write_all(b"x")).unwrap();
        crate::artefact::replace_folder(&folder.join("report"), &crate::artefact::kind::REPORT, |_| {
            Ok::<_, crate::artefact::FolderError>(())
        })
        .unwrap();
    }

    #[test]
    fn new_files_have_the_mode_of_the_umask() {
        for (umask, file, report) in [("077", 0o600, 0o700), ("002", 0o664, 0o775)] {
            let folder = tempfile::tempdir().unwrap();
            let name = format!("{}::write_under_umask", module_path!().split_once("::").unwrap().1);
            let done = std::process::Command::new("sh")
                .args(["-c", "umask $0; exec \"$@\"", umask])
                .arg(std::env::current_exe().unwrap())
                .args(["--exact", &name, "--ignored"])
                .env("CARPUS_TEST_FOLDER", folder.path())
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            assert_eq!(mode(&folder.path().join("a.txt")), file);
            assert_eq!(mode(&folder.path().join("report")), report);
        }
    }

    #[test]
    fn the_next_write_removes_files_of_an_ended_process() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(crate::artefact::process::tests::ended().prefix() + "x");
        fs::write(&left, "half").unwrap();
        write_atomically(&folder.path().join("a.txt"), |w| w.write_all(b"x")).unwrap();
        assert!(!left.exists());
    }
}
