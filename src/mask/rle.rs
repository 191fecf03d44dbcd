//! RLE text: 1-based `start length start length …` over the row-major flattened mask; empty text is an empty mask.

use super::runs::RunBuilder;
use super::{MAX_PIXELS, MaskError, RunMask};
use crate::wording::counted;

/// Why a text is not a valid RLE of a mask. Tokens and runs are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RleError {
    /// A token that is not a number, or is zero.
    #[error("token {token} ({text:?}) is not a positive whole number")]
    Token {
        /// Which token.
        token: usize,
        /// The token, cut after 40 bytes.
        text: String,
    },
    /// A start without a length.
    #[error("{}; expected pairs of start and length", counted(*count, "number", "numbers"))]
    OddCount {
        /// How many there are.
        count: usize,
    },
    /// Numbers that are not runs of the mask. Pixels are counted from 1, as in the text.
    #[error(transparent)]
    Runs(#[from] MaskError),
}

/// The RLE text of a mask.
pub fn encode(mask: &RunMask) -> String {
    let mut text = Vec::new();
    encode_into(mask, &mut text);
    String::from_utf8(text).expect("digits and blanks")
}

/// Appends the RLE text of a mask.
pub(super) fn encode_into(mask: &RunMask, text: &mut Vec<u8>) {
    // A run at 2048² takes about 12 bytes.
    text.reserve(12 * mask.runs().len());
    let mut digits = itoa::Buffer::new();
    for (i, run) in mask.runs().iter().enumerate() {
        if i > 0 {
            text.push(b' ');
        }
        text.extend_from_slice(digits.format(run.start + 1).as_bytes());
        text.push(b' ');
        text.extend_from_slice(digits.format(run.len).as_bytes());
    }
}

/// The mask of an RLE text. Runs must be sorted and disjoint; adjacent ones are joined.
///
/// # Errors
/// A token is not a positive whole number, the count of numbers is odd, or the runs are unsorted, overlap or exceed the
/// mask.
pub fn decode(text: &str, width: u32, height: u32) -> Result<RunMask, RleError> {
    decode_bytes(text.as_bytes(), width, height)
}

/// As [`decode`], for a text that may not be UTF-8.
pub(crate) fn decode_bytes(text: &[u8], width: u32, height: u32) -> Result<RunMask, RleError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(MaskError::TooLarge { width, height }.into());
    }
    let mut runs = RunBuilder::with_capacity(text.len() / 10 + 1);
    let mut numbers = Numbers { text, at: 0, token: 0 };
    let mut previous_end = 0;
    let mut index = 0;
    while let Some(start) = numbers.next()? {
        let Some(len) = numbers.next()? else { return Err(RleError::OddCount { count: numbers.token }) };
        index += 1;
        // Pixels are counted from 1, so this is the last pixel of the run.
        let end = start.saturating_add(len - 1);
        if start <= previous_end {
            return numbers.fail(MaskError::Overlap { index, start, previous_end });
        }
        if end > pixels {
            return numbers.fail(MaskError::OutOfRange { index, end, width, height, pixels });
        }
        runs.push((start - 1) as u32, end as u32);
        previous_end = end;
    }
    Ok(RunMask::from_maximal_runs(width, height, runs.finish()))
}

/// Positive whole numbers between white space.
struct Numbers<'a> {
    text: &'a [u8],
    at: usize,
    /// Number of tokens read so far.
    token: usize,
}

impl Numbers<'_> {
    /// The next number. A number beyond 64 bits gives the largest one, which is beyond every mask.
    #[inline]
    fn next(&mut self) -> Result<Option<u64>, RleError> {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
        let from = self.at;
        let mut number = 0u64;
        while let Some(digit) = self.text.get(self.at).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            self.at += 1;
        }
        // Up to 19 digits always fit, so the usual number needs no check per digit.
        if self.at - from > 19 {
            number = self.text[from..self.at]
                .iter()
                .fold(0u64, |number, byte| number.saturating_mul(10).saturating_add(u64::from(byte - b'0')));
        }
        match self.text.get(self.at) {
            None if from == self.at => return Ok(None),
            None => {}
            Some(byte) if byte.is_ascii_whitespace() => {}
            Some(_) => number = 0,
        }
        self.token += 1;
        if number > 0 {
            return Ok(Some(number));
        }
        let token = self.text[from..].split(u8::is_ascii_whitespace).next().unwrap_or_default();
        let text = String::from_utf8_lossy(&token[..token.len().min(40)]).into_owned();
        Err(RleError::Token { token: self.token, text })
    }

    /// The error to report for a wrong run. A missing number shifts all later ones, so an odd count or a malformed
    /// token anywhere in the text is the likelier cause and is reported instead.
    fn fail(&mut self, error: MaskError) -> Result<RunMask, RleError> {
        while self.next()?.is_some() {}
        Err(if self.token % 2 == 1 { RleError::OddCount { count: self.token } } else { error.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_based_and_row_major() {
        let mask = RunMask::from_dense(&[1, 1, 0, 1, 0, 1], 3, 2);
        assert_eq!(encode(&mask), "1 2 4 1 6 1");
        assert_eq!(decode("1 2 4 1 6 1", 3, 2).unwrap(), mask);
        assert_eq!(decode(" 1 1\t2 1  4 1 6 1 ", 3, 2).unwrap(), mask, "blanks and touching runs");
        assert_eq!(encode(&RunMask::empty(3, 2)), "");
        assert!(decode("", 3, 2).unwrap().is_empty());
        assert_eq!(decode("1 6", 3, 2).unwrap(), RunMask::full(3, 2));
        assert_eq!(decode("00000000000000000000001 06", 3, 2).unwrap(), RunMask::full(3, 2));
    }

    #[test]
    fn errors_name_the_malformed_token() {
        let error = |text| decode(text, 3, 2).unwrap_err().to_string();
        let number = |token: usize, text: &str| format!("token {token} ({text:?}) is not a positive whole number");
        assert_eq!(error("1"), "1 number; expected pairs of start and length");
        assert_eq!(error("1 1 3"), "3 numbers; expected pairs of start and length");
        assert_eq!(error("0 1"), number(1, "0"));
        assert_eq!(error("1 0"), number(2, "0"));
        assert_eq!(error("1 -2"), number(2, "-2"));
        assert_eq!(error("1 2 x4 1"), number(3, "x4"));
        assert_eq!(error("1 2.0"), number(2, "2.0"));
        assert_eq!(error("nan"), number(1, "nan"));
        assert_eq!(error("1 2 2 1"), "run 2 starts at 2, inside or before the run that ends at 2");
        assert_eq!(error("4 1 1 1"), "run 2 starts at 1, inside or before the run that ends at 4");
        assert_eq!(error("6 2"), "run 1 ends at pixel 7, but the mask of 3x2 has 6 pixels");
        assert!(error("99999999999999999999999 1").starts_with("run 1 ends at pixel"));
        assert!(error("18446744073709551615 18446744073709551615").starts_with("run 1 ends at pixel"));
        // The second length is missing: what follows overlaps, but the count is the cause.
        assert_eq!(error("1 1 3 2 1"), "5 numbers; expected pairs of start and length");
        assert_eq!(error("4 1 1 1 y"), number(5, "y"));
        assert!(matches!(decode("1 1", 1 << 20, 1 << 20), Err(RleError::Runs(MaskError::TooLarge { .. }))));
    }
}
