//! Commands that a user has run after each epoch and when a run ends.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Watcher;
use crate::violation::Violations;

/// Greatest number of bytes of a command's output that are printed.
const MOST_OUTPUT: u64 = 16 << 10;

/// Commands that the run starts with `sh -c`. Each has the environment variables CARPUS_RUN (the run's folder),
/// CARPUS_STATUS, CARPUS_EPOCH (finished epochs), CARPUS_DICE and CARPUS_BEST_DICE (mean validation Dice of the last and
/// of the best epoch; not set without a validation). A command that fails is a warning and does not stop the run. Its
/// output is printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HookSettings {
    /// Command after each epoch, with CARPUS_STATUS=running. Absent: none.
    #[schemars(example = &"echo epoch $CARPUS_EPOCH: $CARPUS_DICE")]
    pub epoch: Option<String>,
    /// Command when the run ends. CARPUS_STATUS is finished, interrupted or failed; CARPUS_ERROR is the error of a run
    /// that failed. Absent: none.
    #[schemars(example = &"notify-send \"$CARPUS_RUN $CARPUS_STATUS\"")]
    pub run: Option<String>,
    /// Seconds after which a command that has not ended is killed. Above 0; default 60.
    pub timeout: f64,
}

impl Default for HookSettings {
    fn default() -> Self {
        HookSettings { epoch: None, run: None, timeout: 60.0 }
    }
}

/// The state of a run, for the environment of a command.
#[derive(Clone, Copy, Debug)]
pub struct HookEvent<'a> {
    /// Folder of the run.
    pub run: &'a Path,
    /// How the run goes on or ended.
    pub status: HookStatus<'a>,
    /// Number of finished epochs.
    pub epoch: usize,
    /// Mean validation Dice of the last epoch.
    pub dice: Option<f64>,
    /// Mean validation Dice of the best epoch.
    pub best_dice: Option<f64>,
}

/// How a run goes on or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStatus<'a> {
    /// An epoch has ended.
    Running,
    /// The run has ended.
    Finished,
    /// The run was asked to stop and has saved its state.
    Interrupted,
    /// The run ended with this error.
    Failed(&'a str),
}

impl HookSettings {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        // A day is more than any command needs; greater numbers may not fit a duration.
        let fits = self.timeout > 0.0 && self.timeout <= 86_400.0;
        wrong.expect(fits, "timeout", self.timeout, "above 0 to 86400 seconds");
        for (key, command) in [("epoch", &self.epoch), ("run", &self.run)] {
            if let Some(command) = command {
                wrong.expect(!command.trim().is_empty(), key, "empty", "a command (leave the key out for none)");
            }
        }
        wrong
    }

    /// Runs the command for the event, if there is one, and waits for it: `epoch` while the run goes on, otherwise
    /// `run`. Its output are notes of `watcher`; a failure is a warning.
    pub fn notify(&self, event: &HookEvent, watcher: &dyn Watcher) {
        let (key, command) = match event.status {
            HookStatus::Running => ("epoch", &self.epoch),
            _ => ("run", &self.run),
        };
        let Some(command) = command else { return };
        let warn =
            |reason: &str| watcher.warn(&format!("the command of hooks.{key} {reason}; the run is not affected"));
        let ended = tempfile::tempfile().and_then(|mut output| {
            let ended = self.run_command(command, event, &output)?;
            print(key, &mut output, watcher)?;
            Ok(ended)
        });
        match ended {
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => warn(&format!("failed ({status})")),
            Ok(None) => warn(&format!("was killed after {} s (hooks.timeout)", self.timeout)),
            Err(error) => warn(&format!("could not be run: {error}")),
        }
    }

    /// How the command ended; `None` if it was killed because it took too long.
    fn run_command(&self, command: &str, event: &HookEvent, output: &File) -> std::io::Result<Option<ExitStatus>> {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output.try_clone()?);
        // An own process group: Ctrl-C ends the run and not the command, and a kill reaches what the command started.
        shell.process_group(0);
        for (name, value) in event.variables() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let mut child = shell.spawn()?;
        let group = child.id();
        let (sender, ended) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || sender.send(child.wait()));
            match ended.recv_timeout(Duration::from_secs_f64(self.timeout)) {
                Ok(status) => status.map(Some),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    // SAFETY: a system call without pointers. The group is that of the command and of what it started.
                    unsafe { libc::kill(-group.cast_signed(), libc::SIGKILL) };
                    Ok(None)
                }
            }
        })
    }
}

impl HookEvent<'_> {
    /// The environment variables; those without a value are not set.
    fn variables(&self) -> [(&'static str, Option<String>); 6] {
        let (status, error) = match self.status {
            HookStatus::Running => ("running", None),
            HookStatus::Finished => ("finished", None),
            HookStatus::Interrupted => ("interrupted", None),
            HookStatus::Failed(error) => ("failed", Some(error.replace('\0', ""))),
        };
        [
            ("CARPUS_RUN", Some(self.run.display().to_string())),
            ("CARPUS_STATUS", Some(status.to_owned())),
            ("CARPUS_ERROR", error),
            ("CARPUS_EPOCH", Some(self.epoch.to_string())),
            ("CARPUS_DICE", self.dice.map(|dice| dice.to_string())),
            ("CARPUS_BEST_DICE", self.best_dice.map(|dice| dice.to_string())),
        ]
    }
}

/// Prints the output of a command line by line.
fn print(key: &str, output: &mut File, watcher: &dyn Watcher) -> std::io::Result<()> {
    let size = output.seek(SeekFrom::End(0))?;
    output.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    output.take(MOST_OUTPUT).read_to_end(&mut bytes)?;
    for line in String::from_utf8_lossy(&bytes).lines() {
        watcher.note(&format!("hooks.{key}: {line}"));
    }
    if size > MOST_OUTPUT {
        watcher.note(&format!("hooks.{key}: the other {} bytes of its output are not printed", size - MOST_OUTPUT));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::progress::Progress;
    use crate::tables::EpochRow;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Progress for Log {
        fn start(&self, _what: &str, _total: u64) {}
        fn advance(&self, _n: u64) {}
        fn finish(&self) {}
    }

    impl Watcher for Log {
        fn epoch(&self, _record: &EpochRow, _epochs: usize, _best: bool) {}
        fn note(&self, text: &str) {
            self.0.lock().unwrap().push(format!("note: {text}"));
        }
        fn warn(&self, text: &str) {
            self.0.lock().unwrap().push(format!("warning: {text}"));
        }
    }

    fn printed(hooks: &HookSettings, status: HookStatus) -> Vec<String> {
        let log = Log::default();
        let event = HookEvent { run: Path::new("runs/a"), status, epoch: 3, dice: Some(0.5), best_dice: Some(0.75) };
        hooks.notify(&event, &log);
        log.0.into_inner().unwrap()
    }

    #[test]
    fn a_command_has_the_state_of_the_run_in_its_environment() {
        let hooks = HookSettings {
            epoch: Some("echo $CARPUS_RUN $CARPUS_STATUS $CARPUS_EPOCH $CARPUS_DICE $CARPUS_BEST_DICE".into()),
            run: Some("echo \"$CARPUS_STATUS: $CARPUS_ERROR\" >&2".into()),
            ..HookSettings::default()
        };
        assert_eq!(printed(&hooks, HookStatus::Running), ["note: hooks.epoch: runs/a running 3 0.5 0.75"]);
        assert_eq!(printed(&hooks, HookStatus::Failed("no 'disk'")), ["note: hooks.run: failed: no 'disk'"]);
        assert_eq!(printed(&hooks, HookStatus::Interrupted), ["note: hooks.run: interrupted: "]);
        assert!(printed(&HookSettings::default(), HookStatus::Finished).is_empty());
    }

    #[test]
    fn a_command_that_fails_or_hangs_is_a_warning() {
        let hooks =
            |command: &str, timeout| HookSettings { epoch: Some(command.into()), timeout, ..Default::default() };
        let log = printed(&hooks("echo before; exit 4", 60.0), HookStatus::Running);
        assert_eq!(log[0], "note: hooks.epoch: before");
        let expected = "warning: the command of hooks.epoch failed (exit status: 4); the run is not affected";
        assert_eq!(log[1], expected);
        let started = Instant::now();
        // Also what the command started is killed.
        let log = printed(&hooks("echo begun; sleep 600 & sleep 600", 0.5), HookStatus::Running);
        assert_eq!(log[0], "note: hooks.epoch: begun");
        assert!(log[1].contains("was killed after 0.5 s (hooks.timeout)"), "{log:?}");
        assert!(started.elapsed() < Duration::from_secs(300));
        let log = printed(&hooks("head -c 20000 /dev/zero | tr '\\0' 'x'", 60.0), HookStatus::Running);
        assert_eq!(log[1], "note: hooks.epoch: the other 3616 bytes of its output are not printed");
        let wrong = HookSettings { timeout: 0.0, run: Some(" ".into()), ..HookSettings::default() }.violations();
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["timeout", "run"]);
    }
}
