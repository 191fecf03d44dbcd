//! A checksum inside a Parquet file, between the data and the footer, where readers of Parquet do not look.
//!
//! The reader takes numbers in a file on trust: a flipped bit can make it ask for more memory than there is, which ends the
//! program, or give other values. So it is given only what carpus wrote.

use sha2::{Digest, Sha256};

/// What the checksum begins with.
const MARK: &[u8] = b"carpus-1";
const LENGTH: usize = MARK.len() + 32;

/// The footer's place: the last bytes of a file are its footer, the footer's length and `PAR1`.
fn footer(bytes: &[u8]) -> Option<usize> {
    let end = bytes.strip_suffix(b"PAR1")?;
    let length = u32::from_le_bytes(*end.last_chunk()?);
    (end.len() - 4).checked_sub(length as usize)
}

fn checksum(data: &[u8], footer: &[u8]) -> Vec<u8> {
    [MARK, &Sha256::new().chain_update(data).chain_update(footer).finalize()].concat()
}

/// The file with its checksum.
pub fn add(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = footer(&bytes).expect("the writer ends a file with its footer");
    let sum = checksum(&bytes[..at], &bytes[at..]);
    bytes.splice(at..at, sum);
    bytes
}

/// Whether a file has a checksum and it is right.
pub fn is_right(bytes: &[u8]) -> bool {
    let Some((at, from)) = footer(bytes).and_then(|at| Some((at, at.checked_sub(LENGTH)?))) else { return false };
    bytes[from..at] == checksum(&bytes[..from], &bytes[at..])
}
