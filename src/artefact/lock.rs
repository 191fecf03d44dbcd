use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::HumanDuration;
use serde::{Deserialize, Serialize};

use super::file::{clean_up, temporary};
use super::process::Process;

/// Name of the lock file in the locked folder.
const FILE: &str = ".carpus.lock";
/// Interval at which the owner updates the time of its file.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A process on another machine that has not updated its file for this time has ended.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A lock on a folder: until it is dropped, only this process writes to the folder.
///
/// A file in the folder names the owner, which updates the time of the file every ten seconds. The lock of an owner
/// that has ended is taken over: a process on this machine that is no longer running, or a process on another machine
/// that has not updated its file for two minutes.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
    /// Dropping this ends the thread that updates the file.
    _alive: Sender<()>,
}

/// A folder that cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A running process, also this one, has locked the folder.
    #[error("{folder} is in use by {owner}; wait for it or stop it")]
    Held {
        /// The folder.
        folder: PathBuf,
        /// The process, its machine and its command.
        owner: String,
    },
    /// The lock file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Owner {
    #[serde(flatten)]
    process: Process,
    /// Seconds since 1970.
    since: u64,
    command: String,
}

impl Owner {
    fn describe(&self) -> String {
        let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().saturating_sub(self.since);
        let age = HumanDuration(Duration::from_secs(age));
        format!("process {} on {}, which locked it {age} ago ({})", self.process.pid, self.process.host, self.command)
    }
}

impl Lock {
    /// Locks a folder, which must exist.
    ///
    /// # Errors
    /// [`LockError::Held`] if a running process, also this one, holds the lock; [`LockError::Io`] if the folder cannot
    /// be written to.
    pub fn take(folder: &Path) -> Result<Lock, LockError> {
        let path = folder.join(FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        clean_up(folder);
        let mut new = temporary(0o666, |new| new.tempfile_in(folder)).map_err(io)?;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let command: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let owner = Owner { process: Process::current().clone(), since, command: command.join(" ") };
        serde_json::to_writer(new.as_file(), &owner).map_err(|e| io(e.into()))?;
        loop {
            new = match new.persist_noclobber(&path) {
                Ok(file) => return Lock::hold(path.clone(), file).map_err(io),
                Err(e) if e.error.kind() == io::ErrorKind::AlreadyExists => e.file,
                Err(e) => return Err(io(e.error)),
            };
            let mut old = match File::options().read(true).write(true).open(&path) {
                Ok(old) => old,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(io(e)),
            };
            // Of several processes that find the same ended owner, one at a time continues here; for the others, the
            // name then refers to another file. On file systems without file locks, only the name is checked.
            let _ = old.lock();
            if !leads_to(&path, &old) {
                continue;
            }
            let mut text = String::new();
            old.read_to_string(&mut text).map_err(io)?;
            // Both times come from the clock of the file system, so the clocks of the machines may differ.
            let age = age(&old.metadata().map_err(io)?, &new.as_file().metadata().map_err(io)?);
            let owner = serde_json::from_str::<Owner>(&text).ok();
            if owner.as_ref().and_then(|o| o.process.is_running()).unwrap_or(age < TIMEOUT) {
                let owner = owner.map_or("an unknown process".to_owned(), |o| o.describe());
                return Err(LockError::Held { folder: folder.into(), owner });
            }
            let file = new.persist(&path).map_err(|e| io(e.error))?;
            return Lock::hold(path.clone(), file).map_err(io);
        }
    }

    fn hold(path: PathBuf, file: File) -> io::Result<Lock> {
        let (alive, ended) = mpsc::channel::<()>();
        let updated = file.try_clone()?;
        std::thread::Builder::new().name("lock".into()).spawn(move || {
            while ended.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                // Writes the same first byte again, so that the file system updates the time.
                let _ = updated.write_all_at(b"{", 0);
            }
        })?;
        Ok(Lock { path, file, _alive: alive })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Another process may hold the lock if this one was suspended for a long time.
        let _ = self.file.lock();
        if leads_to(&self.path, &self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a path still refers to an open file. The holder of a file lock must check this.
pub(crate) fn leads_to(path: &Path, file: &File) -> bool {
    let id = |found: Metadata| (found.dev(), found.ino());
    matches!((fs::symlink_metadata(path).map(id), file.metadata().map(id)), (Ok(a), Ok(b)) if a == b)
}

fn age(old: &Metadata, now: &Metadata) -> Duration {
    let times = old.modified().ok().zip(now.modified().ok());
    times.and_then(|(old, now)| now.duration_since(old).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::process::tests::ended;
    use super::*;

    fn leave(folder: &Path, process: &Process, age: Duration) {
        let owner = Owner { process: process.clone(), since: 0, command: "carpus train".into() };
        let mut file = File::create(folder.join(FILE)).unwrap();
        file.write_all(&serde_json::to_vec(&owner).unwrap()).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
    }

    fn is_held(folder: &Path) -> bool {
        matches!(Lock::take(folder), Err(LockError::Held { .. }))
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} on ", std::process::id())), "{error}");
        assert!(error.contains(" ago (") && error.contains("wait for it or stop it"), "{error}");
        drop(lock);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        drop(Lock::take(folder.path()).unwrap());
        assert!(matches!(Lock::take(&folder.path().join("none")), Err(LockError::Io { .. })));
    }

    #[test]
    fn the_lock_of_an_ended_owner_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let me = Process::current();
        let elsewhere = Process { namespace: "elsewhere".into(), ..me.clone() };
        let reused = Process { started: me.started + 1, ..me.clone() };
        let long = TIMEOUT + Duration::from_secs(60);
        for (process, age, held) in [
            (&ended(), Duration::ZERO, false),
            (&reused, Duration::ZERO, false),
            (me, long, true),
            (&elsewhere, Duration::ZERO, true),
            (&elsewhere, long, false),
        ] {
            leave(folder.path(), process, age);
            assert_eq!(is_held(folder.path()), held, "{process:?} {age:?}");
        }
        for (age, held) in [(Duration::ZERO, true), (long, false)] {
            leave(folder.path(), me, age);
            let file = File::options().write(true).open(folder.path().join(FILE)).unwrap();
            file.set_len(7).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            assert_eq!(is_held(folder.path()), held, "incomplete file, {age:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn only_one_of_several_processes_takes_over() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            leave(folder.path(), &ended(), Duration::ZERO);
            let start = std::sync::Barrier::new(8);
            let taken: Vec<_> = std::thread::scope(|scope| {
                let take = || {
                    start.wait();
                    Lock::take(folder.path())
                };
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
                threads.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(taken.iter().filter(|t| t.is_ok()).count(), 1, "{taken:?}");
            assert!(taken.iter().flatten().all(|lock| leads_to(&lock.path, &lock.file)));
        }
    }

    #[test]
    fn an_owner_that_lost_its_lock_does_not_remove_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        fs::remove_file(&first.path).unwrap();
        let second = Lock::take(folder.path()).unwrap();
        drop(first);
        assert!(leads_to(&second.path, &second.file));
    }
}
