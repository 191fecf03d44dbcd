use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::HumanDuration;
use serde::{Deserialize, Serialize};

use super::file::{temporary, tidy};
use super::process::Process;

/// Name of the file in the folder that is locked.
const FILE: &str = ".carpus.lock";
/// How often the owner touches its file.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// A process of another machine whose file was not touched for so long is dead.
const SILENCE: Duration = Duration::from_secs(120);

/// A folder that only this process writes to, until this is dropped.
///
/// The folder has a file that names the owner, who touches it every ten seconds. The lock of a dead owner is taken over. Dead is
/// one on this machine that does not run any more, or one on another machine whose file was not touched for two minutes.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: File,
    /// Dropping it ends the heartbeat.
    _alive: Sender<()>,
}

/// A folder that cannot be locked.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum LockError {
    #[error("{folder} is in use by {owner}; wait for it or stop it")]
    Held { folder: PathBuf, owner: String },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
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
    /// [`LockError::Held`] where a process that runs has it, this one included; [`LockError::Io`] where the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Lock, LockError> {
        let path = folder.join(FILE);
        let io = |source| LockError::Io { path: path.clone(), source };
        tidy(folder);
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
            // Of several processes that find the same dead owner, one at a time gets past here; for the others the name then leads
            // to another file. On file systems without such locks the check of the name alone has to do.
            let _ = old.lock();
            if !leads_to(&path, &old) {
                continue;
            }
            let mut text = String::new();
            old.read_to_string(&mut text).map_err(io)?;
            // Both times are of the clock of the file system, so that clocks of machines need not agree.
            let age = age(&old.metadata().map_err(io)?, &new.as_file().metadata().map_err(io)?);
            let owner = serde_json::from_str::<Owner>(&text).ok();
            if owner.as_ref().and_then(|o| o.process.runs()).unwrap_or(age < SILENCE) {
                let owner = owner.map_or("a process that did not write its name".to_owned(), |o| o.describe());
                return Err(LockError::Held { folder: folder.into(), owner });
            }
            let file = new.persist(&path).map_err(|e| io(e.error))?;
            return Lock::hold(path.clone(), file).map_err(io);
        }
    }

    fn hold(path: PathBuf, file: File) -> io::Result<Lock> {
        let (alive, ended) = mpsc::channel::<()>();
        let touched = file.try_clone()?;
        std::thread::Builder::new().name("lock".into()).spawn(move || {
            while ended.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                // The first byte as it is: the file system sets the time.
                let _ = touched.write_all_at(b"{", 0);
            }
        })?;
        Ok(Lock { path, file, _alive: alive })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Another process may have it if this one was stopped for long.
        let _ = self.file.lock();
        if leads_to(&self.path, &self.file) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether a name still leads to an open file: what holds a lock on a file must know.
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

    use super::super::process::tests::dead;
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
    fn the_lock_of_a_dead_owner_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let me = Process::current();
        let elsewhere = Process { space: "elsewhere".into(), ..me.clone() };
        let reused = Process { started: me.started + 1, ..me.clone() };
        let long = SILENCE + Duration::from_secs(60);
        for (process, age, held) in [
            (&dead(), Duration::ZERO, false),
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
            assert_eq!(is_held(folder.path()), held, "torn, {age:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left");
    }

    #[test]
    fn one_of_many_takes_over() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            leave(folder.path(), &dead(), Duration::ZERO);
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
    fn an_owner_that_lost_its_lock_leaves_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        fs::remove_file(&first.path).unwrap();
        let second = Lock::take(folder.path()).unwrap();
        drop(first);
        assert!(leads_to(&second.path, &second.file));
    }
}
