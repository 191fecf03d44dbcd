//! Invalid settings: all violations are collected, so that a configuration can be corrected in one step.

use std::fmt;

/// An invalid value of a setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}; expected {expected}")]
pub struct Violation {
    /// The key of the setting in a file: `optimiser.lr`.
    pub key: String,
    /// The invalid value.
    pub found: String,
    /// The values that are valid.
    pub expected: String,
}

/// The violations of some settings, in order; empty if all settings are valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// No violations.
    pub fn new() -> Self {
        Violations::default()
    }

    /// Adds a violation.
    pub fn push(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// Adds a violation: `key` is `found`, but must be `expected`.
    pub fn refuse(&mut self, key: &str, found: impl fmt::Display, expected: impl Into<String>) {
        self.push(Violation { key: key.to_owned(), found: found.to_string(), expected: expected.into() });
    }

    /// Adds a violation unless the condition `holds`.
    pub fn expect(&mut self, holds: bool, key: &str, found: impl fmt::Display, expected: impl Into<String>) {
        if !holds {
            self.refuse(key, found, expected);
        }
    }

    /// Adds the violations of the table `section`.
    pub fn inside(&mut self, section: &str, inner: Violations) {
        self.0.extend(inner.0.into_iter().map(|v| Violation { key: format!("{section}.{}", v.key), ..v }));
    }

    /// Adds other violations of the same table.
    pub fn extend(&mut self, others: Violations) {
        self.0.extend(others.0);
    }

    /// Removes the violations for which `keep` returns `false`.
    pub fn retain(&mut self, keep: impl FnMut(&Violation) -> bool) {
        self.0.retain(keep);
    }

    /// Whether there are no violations.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the violations.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// Iterates over the violations, to change them.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Violation> {
        self.0.iter_mut()
    }

    /// An error if there are violations.
    ///
    /// # Errors
    /// All violations.
    pub fn result(self) -> Result<(), Violations> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// A single violation on one line; several with one line each.
impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0[..] {
            [one] => one.fmt(f),
            all => {
                write!(f, "{} invalid values:", all.len())?;
                all.iter().try_for_each(|violation| write!(f, "\n  {violation}"))
            }
        }
    }
}

impl std::error::Error for Violations {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_a_line_and_several_are_a_list() {
        let mut optimiser = Violations::new();
        optimiser.expect(false, "lr", 0.0, "above 0");
        optimiser.expect(true, "eps", 1e-8, "above 0");
        let mut all = Violations::new();
        all.inside("optimiser", optimiser);
        assert_eq!(all.to_string(), "optimiser.lr is 0; expected above 0");
        all.refuse("size", 100, "a multiple of 32");
        assert_eq!(
            all.to_string(),
            "2 invalid values:\n  optimiser.lr is 0; expected above 0\n  size is 100; expected a multiple of 32"
        );
        assert!(all.clone().result().is_err() && Violations::new().result().is_ok());
    }
}
