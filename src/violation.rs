//! What settings are and should be: every violation at once, so that a configuration is put right in one go.

use std::fmt;

/// A setting that cannot be as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} is {found}; expected {expected}")]
pub struct Violation {
    /// The setting, by the names in a file: `optimiser.lr`.
    pub key: String,
    /// Its value.
    pub found: String,
    /// What it may be.
    pub expected: String,
}

/// The violations of some settings, in their order; none where all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

impl Violations {
    /// None yet.
    pub fn new() -> Self {
        Violations::default()
    }

    /// One more.
    pub fn push(&mut self, violation: Violation) {
        self.0.push(violation);
    }

    /// `key` cannot be `found`.
    pub fn refuse(&mut self, key: &str, found: impl fmt::Display, expected: impl Into<String>) {
        self.push(Violation { key: key.to_owned(), found: found.to_string(), expected: expected.into() });
    }

    /// Refuses `found` unless it `holds`.
    pub fn expect(&mut self, holds: bool, key: &str, found: impl fmt::Display, expected: impl Into<String>) {
        if !holds {
            self.refuse(key, found, expected);
        }
    }

    /// Takes up what is wrong in the table `section`.
    pub fn inside(&mut self, section: &str, inner: Violations) {
        self.0.extend(inner.0.into_iter().map(|v| Violation { key: format!("{section}.{}", v.key), ..v }));
    }

    /// Takes up others of the same table.
    pub fn extend(&mut self, others: Violations) {
        self.0.extend(others.0);
    }

    /// Forgets those of which `keep` says no.
    pub fn retain(&mut self, keep: impl FnMut(&Violation) -> bool) {
        self.0.retain(keep);
    }

    /// Whether all is well.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Violation> {
        self.0.iter()
    }

    /// Each of them, to say more of it.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Violation> {
        self.0.iter_mut()
    }

    /// An error where there is one.
    ///
    /// # Errors
    /// All of them.
    pub fn result(self) -> Result<(), Violations> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// One on the line, or several on a line each.
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
