use crate::closed_enum::closed_enum;

closed_enum! {
    /// How soon a person should look.
    #[derive(Default)]
    pub enum Severity ("severity") {
        /// Worth knowing.
        #[default]
        Low = "low",
        /// Worth a look.
        Medium = "medium",
        /// Almost surely wrong.
        High = "high",
    }
}

impl Severity {
    /// Of a score that is 1 at the check's threshold.
    pub fn of_score(score: f64) -> Severity {
        match score {
            s if s >= 2.0 => Severity::High,
            s if s >= 1.4 => Severity::Medium,
            _ => Severity::Low,
        }
    }
}
