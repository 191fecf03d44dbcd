//! Times of new decisions.

use std::collections::HashSet;
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::Corrections;

impl Corrections {
    /// The time of new decisions in the format of a corrections file: now, and different from every time in this file.
    pub fn new_time(&self) -> String {
        let taken = self.history().iter().map(|(decision, _)| decision.time.as_str()).collect();
        distinct(SystemTime::now().into(), &taken)
    }
}

/// The time with as few digits as distinguish it from those of the file, if need be some nanoseconds later: a decision
/// that is added again after an undo would else be the same line, and so the undone decision itself.
fn distinct(time: DateTime<Utc>, taken: &HashSet<&str>) -> String {
    use SecondsFormat::{Micros, Millis, Nanos, Secs};
    let rounded = [Secs, Millis, Micros].into_iter().map(|format| time.to_rfc3339_opts(format, true));
    let later = (0..).map(|nanoseconds| (time + TimeDelta::nanoseconds(nanoseconds)).to_rfc3339_opts(Nanos, true));
    rounded.chain(later).find(|text| !taken.contains(text.as_str())).expect("a file has finitely many lines")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_as_few_digits_as_distinguish_them() {
        let time = DateTime::parse_from_rfc3339("2026-11-29T10:00:00.123456789Z").unwrap().to_utc();
        let mut taken: Vec<String> = Vec::new();
        for _ in 0..5 {
            taken.push(distinct(time, &taken.iter().map(String::as_str).collect()));
        }
        let digits = ["", ".123", ".123456", ".123456789", ".123456790"];
        assert_eq!(taken, digits.map(|digits| format!("2026-11-29T10:00:00{digits}Z")));
    }
}
