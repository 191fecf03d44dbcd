//! Leaderboard scores and notes that people keep with a run.

use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::artefact::{Lock, write_atomically};
use crate::bounded;
use crate::digest::sha256;

/// File of a run: one note per line, as JSON.
pub const NOTES: &str = "notes.jsonl";

/// A note about a run. Of several notes, the last that has a score counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunNote {
    /// Time at which it was added, UTC: `2026-01-02T10:00:00Z`.
    pub time: String,
    /// Dice on the public leaderboard, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<f64>,
    /// Dice on the private leaderboard, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<f64>,
    /// Date of the submission: `2026-01-02`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submitted: Option<String>,
    /// Text of the note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// First 12 hex digits of the SHA-256 of the run's `metrics.csv` when the note was added; absent if there was none. A
    /// training that replaces the run changes it, and the scores then do not count for the new weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<String>,
}

impl RunNote {
    /// What is wrong with the note.
    fn violation(&self) -> Option<String> {
        for (name, value) in [("public", self.public), ("private", self.private)] {
            if let Some(value) = value.filter(|v| !(0.0..=1.0).contains(v)) {
                return Some(format!("{name} is {value}; expected a Dice from 0 to 1, for example 0.9728"));
            }
        }
        if let Some(date) = &self.submitted
            && !(date.len() == 10 && NaiveDate::parse_from_str(date, "%Y-%m-%d").is_ok())
        {
            return Some(format!("submitted is {date:?}; expected a date as 2026-01-02"));
        }
        let has_text = self.text.as_ref().is_some_and(|text| !text.trim().is_empty());
        let is_empty = self.public.is_none() && self.private.is_none() && !has_text;
        is_empty.then(|| "the note is empty; give a score (public, private) or a text".into())
    }

    /// Whether it has a leaderboard score.
    fn is_scored(&self) -> bool {
        self.public.is_some() || self.private.is_some()
    }
}

/// Adds a note to the run in `folder`, after its earlier notes. `time` and `metrics` of the note are those of this moment.
///
/// # Errors
/// The folder is not a run or is in use by another process, the note is empty, a score is not a number from 0 to 1,
/// `submitted` is not a date, a note in the file cannot be read, or the file cannot be written.
pub fn add_note(folder: &Path, note: RunNote) -> Result<RunNote, RunError> {
    if folder.is_file() {
        return Err(RunError::NotAFolder { path: folder.into() });
    }
    if !folder.join("config.toml").is_file() {
        return Err(RunError::NoConfig { path: folder.into() });
    }
    let path = folder.join(NOTES);
    if let Some(reason) = note.violation() {
        return Err(RunError::Note { path, reason });
    }
    let _lock = Lock::take(folder)?;
    let mut notes = read_notes(folder)?;
    let note = RunNote {
        time: DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true),
        metrics: metrics_digest(folder)?,
        ..note
    };
    notes.push(note.clone());
    write_atomically(&path, |out| {
        notes.iter().try_for_each(|note| {
            serde_json::to_writer(&mut *out, note)?;
            out.write_all(b"\n")
        })
    })
    .map_err(|source| RunError::Io { path, source })?;
    Ok(note)
}

/// The notes of the run in `folder`, in the order in which they were added; none if it has no file of notes.
///
/// # Errors
/// The file cannot be read, or a line is not a note.
pub fn read_notes(folder: &Path) -> Result<Vec<RunNote>, RunError> {
    let path = folder.join(NOTES);
    let text = match bounded::read_text(&path, bounded::MAX_TEXT) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RunError::Io { path, source }),
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let note = |(i, line): (usize, &str)| {
        let read = serde_json::from_str(line).map_err(|e| e.to_string());
        let checked = read.and_then(|note: RunNote| note.violation().map_or(Ok(note), Err));
        checked.map_err(|reason| RunError::Content {
            path: path.clone(),
            reason: format!("line {}: {reason}; correct or remove the line", i + 1),
        })
    };
    lines.map(note).collect()
}

/// The notes that belong to the weights of the run, and a sentence if only notes of an earlier training have scores.
pub(super) fn current_notes(folder: &Path) -> Result<(Vec<RunNote>, Option<String>), RunError> {
    let all = read_notes(folder)?;
    if all.is_empty() {
        return Ok((all, None));
    }
    let now = metrics_digest(folder)?;
    let (current, earlier): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|note| !note.is_scored() || note.metrics.is_none() || note.metrics == now);
    let outdated = earlier.last().filter(|_| !current.iter().any(RunNote::is_scored)).map(|note| {
        format!(
            "{}: the leaderboard scores of {} were noted before the run was trained again (metrics.csv has changed) and are \
             not used; add those of the new weights with `carpus runs note`, or remove the line",
            folder.join(NOTES).display(),
            note.time
        )
    });
    Ok((current, outdated))
}

fn metrics_digest(folder: &Path) -> Result<Option<String>, RunError> {
    let path = folder.join("metrics.csv");
    match bounded::read(&path, bounded::MAX_TEXT) {
        Ok(bytes) => Ok(Some(sha256(&bytes)[..12].to_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(RunError::Io { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::{Leaderboard, Run};

    fn note(public: f64) -> RunNote {
        RunNote { public: Some(public), ..RunNote::default() }
    }

    #[test]
    fn of_several_notes_the_last_score_counts() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        assert!(matches!(add_note(run, note(0.9)), Err(RunError::NoConfig { .. })));
        std::fs::write(run.join("config.toml"), "seed = 1").unwrap();
        add_note(run, RunNote { private: Some(0.95), ..note(0.9) }).unwrap();
        add_note(run, RunNote { text: Some("흐림".into()), ..RunNote::default() }).unwrap();
        add_note(run, RunNote { submitted: Some("2026-01-02".into()), ..note(0.91) }).unwrap();
        let notes = read_notes(run).unwrap();
        assert_eq!(notes.len(), 3);
        assert!(notes.iter().all(|note| note.time.len() == 20 && note.time.ends_with('Z')), "{notes:?}");
        let read = Run::read(run).unwrap();
        assert_eq!(read.leaderboard(), Leaderboard { public: Some(0.91), private: Some(0.95) });
        assert!(read.problems.is_empty(), "{:?}", read.problems);
    }

    #[test]
    fn invalid_notes_are_refused_and_nothing_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        std::fs::write(run.join("config.toml"), "").unwrap();
        let dated = |date: &str| RunNote { submitted: Some(date.into()), ..note(0.9) };
        for (given, reason) in [
            (note(1.5), "public is 1.5; expected a Dice from 0 to 1"),
            (note(-0.1), "public is -0.1"),
            (note(f64::NAN), "public is NaN"),
            (RunNote { private: Some(97.28), ..RunNote::default() }, "private is 97.28"),
            (dated("2026-02-30"), "submitted is \"2026-02-30\"; expected a date"),
            (dated("2026-1-2"), "expected a date"),
            (RunNote::default(), "the note is empty"),
        ] {
            let error = add_note(run, given).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(!run.join(NOTES).exists());
        // A damaged file is not written over.
        std::fs::write(run.join(NOTES), "{\"time\": \"\", \"public\": 2}\n").unwrap();
        let error = add_note(run, note(0.9)).unwrap_err().to_string();
        assert!(error.contains("notes.jsonl: line 1: public is 2"), "{error}");
        let read = Run::read(run).unwrap();
        assert!(read.problems[0].contains("line 1: public is 2"), "{:?}", read.problems);
    }

    #[test]
    fn scores_of_an_earlier_training_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        std::fs::write(run.join("config.toml"), "").unwrap();
        std::fs::write(run.join("metrics.csv"), "first").unwrap();
        add_note(run, note(0.9)).unwrap();
        assert_eq!(current_notes(run).unwrap().0.len(), 1);
        std::fs::write(run.join("metrics.csv"), "second").unwrap();
        let (notes, outdated) = current_notes(run).unwrap();
        assert!(notes.is_empty() && outdated.unwrap().contains("trained again"));
        add_note(run, note(0.8)).unwrap();
        let (notes, outdated) = current_notes(run).unwrap();
        assert_eq!((notes[0].public, outdated), (Some(0.8), None));
        assert_eq!(read_notes(run).unwrap().len(), 2);
    }
}
