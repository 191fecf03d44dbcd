use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Status;
use crate::artefact::{Outputs, Overwrite};
use crate::progress::Progress;

/// Output of commands: text or JSON on standard output, progress and warnings on standard error.
pub struct Ui {
    options: UiOptions,
    bar: Mutex<Option<Task>>,
    /// The first error of writing to standard output.
    output_error: Mutex<Option<std::io::Error>>,
    /// Whether a warning, or an error about the data, was printed.
    warned: AtomicBool,
}

/// The global options that control the output of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UiOptions {
    /// `--json`: print one JSON value instead of text.
    pub json: bool,
    /// `--quiet`: print only errors, warnings and requested text.
    pub quiet: bool,
    /// `--force`: allow overwriting.
    pub force: bool,
}

/// The text with control characters escaped, so that a file name cannot control the terminal or look like a separate
/// line.
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
    /// When progress was last printed as a line, if standard error is not a terminal.
    last_printed: Instant,
}

impl Ui {
    /// Output with these global options.
    pub fn new(options: UiOptions) -> Self {
        Ui { options, bar: Mutex::new(None), output_error: Mutex::new(None), warned: AtomicBool::new(false) }
    }

    /// Checks of a command's outputs, before its inputs are added.
    pub fn outputs(&self) -> Outputs {
        Outputs::new(if self.options.force { Overwrite::Force } else { Overwrite::Refuse })
    }

    /// Whether `--force` was given.
    pub fn force(&self) -> bool {
        self.options.force
    }

    /// Output for a command that runs as a stage of another: without JSON, which would be a second value on standard
    /// output.
    pub fn for_stage(&self) -> Ui {
        let UiOptions { json, quiet, force } = self.options;
        Ui::new(UiOptions { json: false, quiet: quiet || json, force })
    }

    /// Whether `--json` was given: print one JSON value by [`Ui::json`] and no other line on standard output.
    pub fn wants_json(&self) -> bool {
        self.options.json
    }

    /// Characters per line of the terminal. Without a terminal: the variable `COLUMNS`, or 100.
    pub fn width(&self) -> usize {
        let asked = || std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        terminal_size::terminal_size().map(|(width, _)| width.0.into()).or_else(asked).unwrap_or(100)
    }

    /// Prints a line of the result for people; nothing with `--json` or `--quiet`.
    pub fn line(&self, text: impl std::fmt::Display) {
        if !self.options.json && !self.options.quiet {
            self.print(format_args!("{}\n", visible(&text.to_string())));
        }
    }

    fn print(&self, text: std::fmt::Arguments) {
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_fmt(text).and_then(|()| out.flush()) {
            // A closed pipe is not an error: a reader such as `head` may stop early.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                self.output_error.lock().expect("no panic while the error is held").get_or_insert(error);
            }
        }
    }

    /// Checks that all results were written to standard output.
    ///
    /// # Errors
    /// The first error of writing, except that of a closed pipe.
    pub fn finish_output(&self) -> std::io::Result<()> {
        self.output_error.lock().expect("no panic while the error is held").take().map_or(Ok(()), Err)
    }

    /// Prints the result as JSON; nothing without `--json`.
    ///
    /// # Errors
    /// The value cannot be serialised.
    pub fn json(&self, value: &impl serde::Serialize) -> anyhow::Result<()> {
        if self.options.json {
            let text = serde_json::to_string_pretty(value)?;
            self.print(format_args!("{text}\n"));
        }
        Ok(())
    }

    /// Prints text that is itself the requested result (a listing, the content of a file), also with `--quiet`.
    pub fn output(&self, text: impl std::fmt::Display) {
        self.print(format_args!("{text}"));
    }

    /// Prints a warning on standard error. The command then ends with [`Status::DoneWithProblems`] or worse.
    pub fn warn(&self, text: impl std::fmt::Display) {
        self.warned.store(true, Ordering::Relaxed);
        self.print_error_line(format_args!("warning: {text}"));
    }

    /// Prints an error about data that could not be used on standard error. The status is that of [`Ui::warn`].
    pub fn error(&self, text: impl std::fmt::Display) {
        self.warned.store(true, Ordering::Relaxed);
        self.print_error_line(format_args!("error: {text}"));
    }

    /// The status of a command according to the warnings and errors that were printed.
    pub fn status(&self) -> Status {
        if self.warned.load(Ordering::Relaxed) { Status::DoneWithProblems } else { Status::Done }
    }

    /// Prints a note on standard error; nothing with `--quiet`.
    pub fn note(&self, text: impl std::fmt::Display) {
        if !self.options.quiet {
            self.print_error_line(text);
        }
    }

    fn print_error_line(&self, text: impl std::fmt::Display) {
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
        if self.options.quiet {
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
        let task = Task { bar, what: what.to_owned(), total, done: 0, started: now, last_printed: now };
        *self.bar.lock().expect("no panic while the bar is held") = Some(task);
    }

    fn advance(&self, n: u64) {
        let mut guard = self.bar.lock().expect("no panic while the bar is held");
        let Some(task) = guard.as_mut() else { return };
        task.done += n;
        task.bar.inc(n);
        if task.bar.is_hidden() && task.last_printed.elapsed() > Duration::from_secs(10) {
            task.last_printed = Instant::now();
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
