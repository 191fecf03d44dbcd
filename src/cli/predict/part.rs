use std::str::FromStr;

/// One part of the images: `2/4` is the second of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartNumber {
    /// From 1.
    number: usize,
    of: usize,
}

impl FromStr for PartNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<PartNumber, String> {
        let numbers = text.split_once('/').and_then(|(i, n)| Some((i.trim().parse().ok()?, n.trim().parse().ok()?)));
        match numbers {
            Some((number, of)) if (1..=of).contains(&number) => Ok(PartNumber { number, of }),
            _ => Err(format!("{text:?}: expected I/N, as in 2/4, with I from 1 to N")),
        }
    }
}

impl PartNumber {
    /// Neighbouring items, so that parts in order are the whole; the parts differ in length by one at most.
    pub fn of<T>(self, items: &[T]) -> &[T] {
        let at = |part: usize| (items.len() as u128 * part as u128 / self.of as u128) as usize;
        &items[at(self.number - 1)..at(self.number)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_in_order_are_the_whole() {
        for (items, parts) in [(10, 3), (2, 5), (0, 2), (7, 7)] {
            let all: Vec<usize> = (0..items).collect();
            let joined: Vec<usize> = (1..=parts)
                .flat_map(|i| format!("{i}/{parts}").parse::<PartNumber>().unwrap().of(&all).to_vec())
                .collect();
            assert_eq!(joined, all);
        }
        for text in ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "99999999999999999999/2"] {
            assert!(text.parse::<PartNumber>().unwrap_err().contains("expected I/N"), "{text}");
        }
    }
}
