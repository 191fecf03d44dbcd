use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::violation::Violations;

/// A parameter of a step: a number is fixed, a pair `[a, b]` is drawn uniformly between the two for each sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Amount {
    /// The same value for every sample.
    Fixed(f64),
    /// The least and the greatest value.
    Between([f64; 2]),
}

impl Amount {
    /// The least and the greatest value.
    pub fn ends(self) -> [f64; 2] {
        match self {
            Amount::Fixed(value) => [value; 2],
            Amount::Between(ends) => ends,
        }
    }

    /// The value for one sample. A fixed value does not use `rng`.
    pub fn draw(self, rng: &mut ChaCha8Rng) -> f64 {
        match self {
            Amount::Fixed(value) => value,
            Amount::Between([least, most]) => least + (most - least) * rng.random_range(0.0..=1.0),
        }
    }

    /// The whole number for one sample, each from the least to the greatest equally often.
    pub fn draw_whole(self, rng: &mut ChaCha8Rng) -> u32 {
        match self {
            Amount::Fixed(value) => value as u32,
            Amount::Between([least, most]) => rng.random_range(least as u32..=most as u32),
        }
    }

    /// Refuses ends that are not finite, not in order, or not `valid`; `expected` describes valid values.
    pub(super) fn expect(self, wrong: &mut Violations, key: &str, valid: impl Fn(f64) -> bool, expected: &str) {
        let [least, most] = self.ends();
        let holds = least <= most && [least, most].iter().all(|v| v.is_finite() && valid(*v));
        wrong.expect(holds, key, self, format!("{expected}: a number, or a pair [least, most]"));
    }

    /// Refuses ends that are not whole numbers from `least` to `most`.
    pub(super) fn expect_whole(self, wrong: &mut Violations, key: &str, least: u32, most: u32) {
        let valid = |v: f64| v.fract() == 0.0 && (f64::from(least)..=f64::from(most)).contains(&v);
        self.expect(wrong, key, valid, &format!("whole, from {least} to {most}"));
    }
}

/// By hand: the message of an untagged enum has neither the invalid value nor what is expected.
impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrPair;
        impl<'de> Visitor<'de> for NumberOrPair {
            type Value = Amount;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a number, or a pair [least, most]")
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Amount, E> {
                Ok(Amount::Fixed(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Amount, E> {
                Ok(Amount::Fixed(value as f64))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Amount, E> {
                Ok(Amount::Fixed(value as f64))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Amount, A::Error> {
                let mut read: Vec<f64> = Vec::new();
                while let Some(value) = values.next_element()? {
                    read.push(value);
                }
                let pair = <[f64; 2]>::try_from(read);
                pair.map(Amount::Between).map_err(|read| A::Error::invalid_length(read.len(), &self))
            }
        }
        deserializer.deserialize_any(NumberOrPair)
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Amount::Fixed(value) => write!(f, "{value}"),
            Amount::Between([least, most]) => write!(f, "[{least}, {most}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_number_is_fixed_and_a_pair_is_drawn() {
        #[derive(Deserialize)]
        struct File {
            v: Vec<Amount>,
        }
        let read = toml::from_str::<File>("v = [2, 0.5, [1, 3], [-1.0, 1.0]]").unwrap().v;
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        assert_eq!(read[..2], [Amount::Fixed(2.0), Amount::Fixed(0.5)]);
        for (text, found) in [("[1]", "invalid length 1"), ("[1, 2, 3]", "invalid length 3"), ("'x'", "string \"x\"")] {
            let error = toml::from_str::<File>(&format!("v = [{text}]")).map(|file| file.v).unwrap_err().to_string();
            assert!(error.contains(&format!("{found}, expected a number, or a pair [least, most]")), "{error}");
        }
        assert_eq!((read[1].draw(&mut rng), read[0].draw_whole(&mut rng)), (0.5, 2));
        let drawn: Vec<f64> = (0..4000).map(|_| read[3].draw(&mut rng)).collect();
        crate::augment::list::tests::assert_uniform(&drawn);
        let whole: Vec<u32> = (0..3000).map(|_| read[2].draw_whole(&mut rng)).collect();
        for value in 1..=3 {
            let count = whole.iter().filter(|v| **v == value).count();
            // Four standard deviations about 1000.
            assert!((897..=1103).contains(&count), "{value}: {count}");
        }
    }

    #[test]
    fn invalid_ends_are_refused() {
        for (amount, valid) in [
            (Amount::Fixed(1.0), true),
            (Amount::Fixed(f64::NAN), false),
            (Amount::Between([0.0, 2.0]), true),
            (Amount::Between([2.0, 0.0]), false),
            (Amount::Between([-1.0, 2.0]), false),
        ] {
            let mut wrong = Violations::new();
            amount.expect(&mut wrong, "limit", |v| v >= 0.0, "0 or more");
            assert_eq!(wrong.is_empty(), valid, "{amount}");
        }
        let mut wrong = Violations::new();
        Amount::Fixed(1.5).expect_whole(&mut wrong, "tiles", 1, 8);
        let text = wrong.iter().next().unwrap().to_string();
        assert_eq!(text, "tiles is 1.5; expected whole, from 1 to 8: a number, or a pair [least, most]");
    }
}
