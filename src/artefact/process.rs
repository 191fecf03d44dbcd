//! The process that made a temporary file or holds a lock, and whether it is still running.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Temporary files of processes on other machines are removed at this age: no write takes so long.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// A process on this or another machine. A process number alone is not enough, because later processes reuse it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub host: String,
    pub pid: u32,
    /// Start time in clock ticks since the machine started.
    pub started: u64,
    /// Boot of the machine and namespace of process numbers (a container has its own); empty if the system has no
    /// `/proc`.
    #[serde(rename = "space")]
    pub namespace: String,
}

impl Process {
    /// This process.
    pub fn current() -> &'static Process {
        static CURRENT: OnceLock<Process> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let text = |path| std::fs::read_to_string(path).ok().map(|text: String| text.trim().to_owned());
            let boot = text("/proc/sys/kernel/random/boot_id");
            let namespace = std::fs::read_link("/proc/self/ns/pid").ok().map(|link| link.display().to_string());
            let pid = std::process::id();
            Process {
                host: text("/proc/sys/kernel/hostname").unwrap_or_else(|| "another host".to_owned()),
                pid,
                started: stat(pid).map_or(0, |(_, started)| started),
                namespace: boot.zip(namespace).map_or(String::new(), |(boot, namespace)| format!("{boot} {namespace}")),
            }
        })
    }

    /// Whether it is running; `None` if this process cannot know.
    pub fn is_running(&self) -> Option<bool> {
        (self.namespace == Process::current().namespace).then(|| self.is_running_here()).flatten()
    }

    fn is_running_here(&self) -> Option<bool> {
        if self.namespace.is_empty() {
            return None;
        }
        Some(match stat(self.pid) {
            Some((state, started)) => started == self.started && !matches!(state, 'Z' | 'X'),
            // Some systems hide the processes of other users in /proc.
            None => exists(self.pid),
        })
    }

    /// Prefix of the names of its temporary files.
    pub fn prefix(&self) -> String {
        format!(".carpus-{}-{}-{:08x}-", self.pid, self.started, self.namespace_code())
    }

    fn namespace_code(&self) -> u32 {
        crc32fast::hash(self.namespace.as_bytes())
    }

    /// The process that made a temporary name; `None` for other names. If it belongs to another namespace, `namespace`
    /// is empty.
    fn from_name(name: &str) -> Option<Process> {
        let mut parts = name.strip_prefix(".carpus-")?.splitn(4, '-');
        let (pid, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let code = u32::from_str_radix(parts.next()?, 16).ok()?;
        parts.next()?;
        let here = Process::current();
        let namespace = if code == here.namespace_code() { here.namespace.clone() } else { String::new() };
        Some(Process { host: String::new(), pid, started, namespace })
    }
}

/// State and start time of a process on this machine.
fn stat(pid: u32) -> Option<(char, u64)> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The process name in brackets may hold any characters.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn exists(pid: u32) -> bool {
    // SAFETY: signal 0 is not sent; the call only checks that the process exists.
    let found = unsafe { libc::kill(pid.cast_signed(), 0) } == 0;
    found || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Removes temporary files and folders of processes that have ended, directly in `folder`. Files that cannot be removed
/// stay; they do no harm.
pub fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(Process::from_name) else { continue };
        let is_old = || {
            let modified = entry.metadata().and_then(|m| m.modified()).ok();
            modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > OLD)
        };
        if process.is_running().map_or_else(is_old, |running| !running) {
            let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
            let path = entry.path();
            let _ = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A process on this machine that has ended.
    pub fn ended() -> Process {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        Process { pid: child.id(), started: 1, ..Process::current().clone() }
    }

    #[test]
    fn a_process_is_identified_by_number_and_start_time() {
        let me = Process::current();
        assert_eq!(me.is_running(), Some(true));
        assert_eq!(Process { started: me.started + 1, ..me.clone() }.is_running(), Some(false));
        assert_eq!(ended().is_running(), Some(false));
        assert_eq!(Process { namespace: "elsewhere".into(), ..me.clone() }.is_running(), None);
        let mut zombie = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().unwrap();
        let started = stat(zombie.id()).unwrap().1;
        // Its output closes when it ends; until `wait` it stays in the table of processes.
        std::io::Read::read_to_end(&mut zombie.stdout.take().unwrap(), &mut Vec::new()).unwrap();
        while stat(zombie.id()).unwrap().0 != 'Z' {
            std::thread::yield_now();
        }
        assert_eq!(Process { pid: zombie.id(), started, ..me.clone() }.is_running(), Some(false));
        zombie.wait().unwrap();
    }

    #[test]
    fn only_leftovers_of_ended_processes_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: String| folder.path().join(name);
        let (me, ended) = (Process::current(), ended());
        let elsewhere = Process { namespace: "elsewhere".into(), ..ended.clone() };
        let gone = [at(ended.prefix() + "file"), at(ended.prefix() + "folder"), at(elsewhere.prefix() + "old")];
        let stay = [
            at(me.prefix() + "a"),
            at(elsewhere.prefix() + "b"),
            at(".carpus-notes".into()),
            at("carpus-1-1-1-x".into()),
        ];
        std::fs::create_dir_all(gone[1].join("sub")).unwrap();
        for file in [&gone[0], &gone[2], &gone[1].join("sub/a.png")].into_iter().chain(&stay) {
            std::fs::write(file, "x").unwrap();
        }
        let old = std::fs::File::options().write(true).open(&gone[2]).unwrap();
        old.set_modified(std::time::SystemTime::now() - OLD - Duration::from_secs(60)).unwrap();
        remove_leftovers(folder.path());
        assert!(gone.iter().all(|path| !path.exists()));
        assert!(stay.iter().all(|path| path.exists()));
    }
}
