//! Which process made a temporary file or holds a lock, and whether it still runs.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What processes of other machines left is removed at this age: nothing is written for so long.
const OLD: Duration = Duration::from_secs(24 * 3600);

/// A process of this or another machine. A number alone is not enough: it is given again to later processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub host: String,
    pub pid: u32,
    /// Start time in clock ticks since the machine started.
    pub started: u64,
    /// Start of the machine and set of process numbers (a container has its own); empty where the system has no `/proc`.
    pub space: String,
}

impl Process {
    /// This process.
    pub fn current() -> &'static Process {
        static CURRENT: OnceLock<Process> = OnceLock::new();
        CURRENT.get_or_init(|| {
            let text = |path| std::fs::read_to_string(path).ok().map(|text: String| text.trim().to_owned());
            let boot = text("/proc/sys/kernel/random/boot_id");
            let numbers = std::fs::read_link("/proc/self/ns/pid").ok().map(|link| link.display().to_string());
            let pid = std::process::id();
            Process {
                host: text("/proc/sys/kernel/hostname").unwrap_or_else(|| "another host".to_owned()),
                pid,
                started: stat(pid).map_or(0, |(_, started)| started),
                space: boot.zip(numbers).map_or(String::new(), |(boot, numbers)| format!("{boot} {numbers}")),
            }
        })
    }

    /// Whether it runs; `None` where that cannot be seen from here.
    pub fn runs(&self) -> Option<bool> {
        (self.space == Process::current().space).then(|| self.runs_here()).flatten()
    }

    fn runs_here(&self) -> Option<bool> {
        if self.space.is_empty() {
            return None;
        }
        Some(match stat(self.pid) {
            Some((state, started)) => started == self.started && !matches!(state, 'Z' | 'X'),
            // Some systems hide the processes of other users.
            None => exists(self.pid),
        })
    }

    /// Prefix of its temporary names.
    pub fn prefix(&self) -> String {
        format!(".carpus-{}-{}-{:08x}-", self.pid, self.started, self.space_code())
    }

    fn space_code(&self) -> u32 {
        crc32fast::hash(self.space.as_bytes())
    }

    /// The maker of a temporary name; `None` of another name. One of another space has no space.
    fn from_name(name: &str) -> Option<Process> {
        let mut parts = name.strip_prefix(".carpus-")?.splitn(4, '-');
        let (pid, started) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let code = u32::from_str_radix(parts.next()?, 16).ok()?;
        parts.next()?;
        let here = Process::current();
        let space = if code == here.space_code() { here.space.clone() } else { String::new() };
        Some(Process { host: String::new(), pid, started, space })
    }
}

/// State and start time of a process of this machine.
fn stat(pid: u32) -> Option<(char, u64)> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    // The name in brackets may hold anything.
    let mut fields = text[text.rfind(')')? + 1..].split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

fn exists(pid: u32) -> bool {
    // SAFETY: signal 0 is not sent; the call only checks that the process is there.
    let found = unsafe { libc::kill(pid.cast_signed(), 0) } == 0;
    found || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Removes temporary files and folders that dead processes left in `folder` itself. What cannot be removed stays: it is in
/// nobody's way.
pub fn remove_leftovers(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(maker) = entry.file_name().to_str().and_then(Process::from_name) else { continue };
        let is_old = || {
            let modified = entry.metadata().and_then(|m| m.modified()).ok();
            modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > OLD)
        };
        if maker.runs().map_or_else(is_old, |runs| !runs) {
            let is_folder = entry.file_type().is_ok_and(|t| t.is_dir());
            let path = entry.path();
            let _ = if is_folder { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A process of this machine that has ended.
    pub fn dead() -> Process {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        Process { pid: child.id(), started: 1, ..Process::current().clone() }
    }

    #[test]
    fn a_process_is_known_by_number_and_start() {
        let me = Process::current();
        assert_eq!(me.runs(), Some(true));
        assert_eq!(Process { started: me.started + 1, ..me.clone() }.runs(), Some(false));
        assert_eq!(dead().runs(), Some(false));
        assert_eq!(Process { space: "elsewhere".into(), ..me.clone() }.runs(), None);
        let mut zombie = std::process::Command::new("true").stdout(std::process::Stdio::piped()).spawn().unwrap();
        let started = stat(zombie.id()).unwrap().1;
        // Its output closes when it ends; until `wait` it stays in the table of processes.
        std::io::Read::read_to_end(&mut zombie.stdout.take().unwrap(), &mut Vec::new()).unwrap();
        while stat(zombie.id()).unwrap().0 != 'Z' {
            std::thread::yield_now();
        }
        assert_eq!(Process { pid: zombie.id(), started, ..me.clone() }.runs(), Some(false));
        zombie.wait().unwrap();
    }

    #[test]
    fn leftovers_of_the_dead_go_and_those_of_the_living_stay() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: String| folder.path().join(name);
        let (me, dead) = (Process::current(), dead());
        let elsewhere = Process { space: "elsewhere".into(), ..dead.clone() };
        let gone = [at(dead.prefix() + "file"), at(dead.prefix() + "folder"), at(elsewhere.prefix() + "old")];
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
