//! A checksum inside a Parquet file, between the data and the footer, where Parquet readers ignore it.
//!
//! The reader trusts the sizes in a file: with a flipped bit it can allocate more memory than there is, which aborts the program,
//! or return wrong values. So it reads only files with a valid checksum; queries alone read files of other programs.

use sha2::{Digest, Sha256};

/// First bytes of the checksum.
const MARK: &[u8] = b"carpus-1";
const LENGTH: usize = MARK.len() + 32;

/// Position of the footer: a file ends with its footer, the footer's length and `PAR1`.
fn footer(bytes: &[u8]) -> Option<usize> {
    let end = bytes.strip_suffix(b"PAR1")?;
    let length = u32::from_le_bytes(*end.last_chunk()?);
    (end.len() - 4).checked_sub(length as usize)
}

fn checksum(data: &[u8], footer: &[u8]) -> Vec<u8> {
    [MARK, &Sha256::new().chain_update(data).chain_update(footer).finalize()].concat()
}

/// Adds the checksum to a file.
pub fn add(mut bytes: Vec<u8>) -> Vec<u8> {
    let at = footer(&bytes).expect("the writer ends a file with its footer");
    let sum = checksum(&bytes[..at], &bytes[at..]);
    bytes.splice(at..at, sum);
    bytes
}

/// Whether a file has a checksum and it is correct.
pub fn is_correct(bytes: &[u8]) -> bool {
    let Some((at, from)) = footer(bytes).and_then(|at| Some((at, at.checked_sub(LENGTH)?))) else { return false };
    bytes[from..at] == checksum(&bytes[..from], &bytes[at..])
}

/// Whether a file has a checksum, correct or not.
pub fn is_present(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK)
}
