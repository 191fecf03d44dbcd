/// Sum of bytes. Short pieces are summed in 16 bits first, because a vector register holds more of these.
pub(super) fn total(row: &[u8]) -> u64 {
    row.chunks(128).map(|piece| u64::from(piece.iter().map(|v| u16::from(*v)).sum::<u16>())).sum()
}

/// Number of bytes for which `wanted` is true, counted in short pieces as in [`total`].
pub(super) fn count(row: &[u8], wanted: impl Fn(u8) -> bool) -> u64 {
    row.chunks(128).map(|piece| u64::from(piece.iter().map(|v| u8::from(wanted(*v))).sum::<u8>())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_single_bytes() {
        let row: Vec<u8> = (0..1000u32).map(|i| (i * 97 % 256) as u8).collect();
        assert_eq!(total(&row), row.iter().map(|v| u64::from(*v)).sum::<u64>());
        assert_eq!(count(&row, |v| v > 99), row.iter().filter(|v| **v > 99).count() as u64);
        assert_eq!(total(&[255; 129]), 255 * 129);
    }
}
