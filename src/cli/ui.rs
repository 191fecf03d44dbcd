use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::artefact::Outputs;
use crate::progress::Progress;

/// Where commands print: text or JSON on standard output, progress and warnings on standard error.
pub struct Ui {
    json: bool,
    quiet: bool,
    force: bool,
    bar: Mutex<Option<Task>>,
}

struct Task {
    bar: ProgressBar,
    what: String,
    total: u64,
    done: u64,
    started: Instant,
    /// Last plain line, where standard error is no terminal.
    said: Instant,
}

impl Ui {
    /// By the options that all commands have.
    pub fn new(json: bool, quiet: bool, force: bool) -> Self {
        Ui { json, quiet, force, bar: Mutex::new(None) }
    }

    /// What a command may write over, before its inputs are known.
    pub fn outputs(&self) -> Outputs {
        Outputs::new(self.force)
    }

    /// Whether `--force` was given.
    pub fn force(&self) -> bool {
        self.force
    }

    /// For a command run as a stage of another: its own JSON would be a second value on standard output.
    pub fn for_stage(&self) -> Ui {
        Ui::new(false, self.quiet || self.json, self.force)
    }

    /// Whether `--json` was given: print one JSON value by [`Ui::json`] and no other line on standard output.
    pub fn wants_json(&self) -> bool {
        self.json
    }

    /// A line of the result for people; nothing with `--json` or `--quiet`.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.json && !self.quiet {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// The result for machines; nothing without `--json`.
    pub fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        if self.json {
            let text = serde_json::to_string_pretty(value)?;
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
        Ok(())
    }

    /// Text that is itself the result asked for (a listing, a file's content): printed even with `--quiet`.
    pub fn output(&self, text: impl std::fmt::Display) {
        let _ = write!(std::io::stdout().lock(), "{text}");
    }

    /// A warning on standard error.
    pub fn warn(&self, text: impl std::fmt::Display) {
        self.aside(format_args!("warning: {text}"));
    }

    /// A remark on standard error; nothing with `--quiet`.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.aside(text);
        }
    }

    fn aside(&self, text: impl std::fmt::Display) {
        match &*self.bar.lock().expect("no panic while the bar is held") {
            Some(task) => task.bar.suspend(|| {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }),
            None => {
                let _ = writeln!(std::io::stderr().lock(), "{text}");
            }
        }
    }
}

impl Progress for Ui {
    fn start(&self, what: &str, total: u64) {
        if self.quiet {
            return;
        }
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("{msg:>12} {wide_bar} {pos}/{len} {per_sec} ETA {eta}")
                .expect("the template is a constant");
            ProgressBar::new(total).with_style(style).with_message(what.to_owned())
        } else {
            ProgressBar::hidden()
        };
        let now = Instant::now();
        let task = Task { bar, what: what.to_owned(), total, done: 0, started: now, said: now };
        *self.bar.lock().expect("no panic while the bar is held") = Some(task);
    }

    fn advance(&self, n: u64) {
        let mut guard = self.bar.lock().expect("no panic while the bar is held");
        let Some(task) = guard.as_mut() else { return };
        task.done += n;
        task.bar.inc(n);
        if task.bar.is_hidden() && task.said.elapsed() > Duration::from_secs(10) {
            task.said = Instant::now();
            let rate = task.done as f64 / task.started.elapsed().as_secs_f64();
            let left = (task.total.saturating_sub(task.done)) as f64 / rate.max(1e-9);
            let _ = writeln!(
                std::io::stderr().lock(),
                "{} {}/{}, {rate:.1}/s, {left:.0} s left",
                task.what,
                task.done,
                task.total
            );
        }
    }

    fn finish(&self) {
        if let Some(task) = self.bar.lock().expect("no panic while the bar is held").take() {
            task.bar.finish_and_clear();
        }
    }
}
