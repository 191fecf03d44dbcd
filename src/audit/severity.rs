//! Severity of findings.

use crate::closed_enum::closed_enum;

closed_enum! {
    /// How urgently a person should review a finding.
    #[derive(Default)]
    pub enum Severity ("severity") {
        /// Worth knowing.
        #[default]
        Low = "low",
        /// Worth reviewing.
        Medium = "medium",
        /// Almost certainly an error.
        High = "high",
    }
}

impl Severity {
    /// The severity of a score (1 at the threshold of the check): medium from 1.4, high from 2.
    pub fn of_score(score: f64) -> Severity {
        match score {
            s if s >= 2.0 => Severity::High,
            s if s >= 1.4 => Severity::Medium,
            _ => Severity::Low,
        }
    }
}
