use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Status;
use crate::artefact::Outputs;
use crate::progress::Progress;

/// Where commands print: text or JSON on standard output, progress and warnings on standard error.
pub struct Ui {
    json: bool,
    quiet: bool,
    force: bool,
    bar: Mutex<Option<Task>>,
    /// Why standard output could not be written.
    lost: Mutex<Option<std::io::Error>>,
    /// Whether a warning or an error of the data was printed.
    warned: AtomicBool,
}

/// The text with control characters written as escapes: a file's name must not speak to the terminal, or look like a line of
/// its own.
pub fn visible(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if hidden(c) { c.escape_unicode().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
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
        Ui { json, quiet, force, bar: Mutex::new(None), lost: Mutex::new(None), warned: AtomicBool::new(false) }
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

    /// Characters in a line of the terminal; where there is none, of `COLUMNS` or 100.
    pub fn width(&self) -> usize {
        let asked = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        terminal_size::terminal_size().map(|(width, _)| width.0.into()).or_else(asked).unwrap_or(100)
    }

    /// A line of the result for people; nothing with `--json` or `--quiet`.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.json && !self.quiet {
            self.print(format_args!("{}\n", visible(&text.to_string())));
        }
    }

    fn print(&self, text: std::fmt::Arguments) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
            // A reader that has seen enough, as `head`, is no fault.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                self.lost.lock().expect("no panic while the error is held").get_or_insert(error);
            }
        }
    }

    /// What standard output did not take: results of a command that are lost.
    ///
    /// # Errors
    /// The first failure to write, but for a pipe that was closed.
    pub fn finish_output(&self) -> std::io::Result<()> {
        self.lost.lock().expect("no panic while the error is held").take().map_or(Ok(()), Err)
    }

    /// The result for machines; nothing without `--json`.
    pub fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        if self.json {
            let text = serde_json::to_string_pretty(value)?;
            self.print(format_args!("{text}\n"));
        }
        Ok(())
    }

    /// Text that is itself the result asked for (a listing, a file's content): printed even with `--quiet`.
    pub fn output(&self, text: impl std::fmt::Display) {
        self.print(format_args!("{text}"));
    }

    /// A warning on standard error. The command then ends with [`Status::DoneWithProblems`] at least.
    pub fn warn(&self, text: impl std::fmt::Display) {
        self.warned.store(true, Ordering::Relaxed);
        self.aside(format_args!("warning: {text}"));
    }

    /// Something in the data that could not be used, on standard error. The status is that of [`Ui::warn`].
    pub fn error(&self, text: impl std::fmt::Display) {
        self.warned.store(true, Ordering::Relaxed);
        self.aside(format_args!("error: {text}"));
    }

    /// The status of a command by what it printed.
    pub fn status(&self) -> Status {
        if self.warned.load(Ordering::Relaxed) { Status::DoneWithProblems } else { Status::Done }
    }

    /// A remark on standard error; nothing with `--quiet`.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            self.aside(text);
        }
    }

    fn aside(&self, text: impl std::fmt::Display) {
        let text = visible(&text.to_string()).into_owned();
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
