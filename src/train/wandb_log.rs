//! The frame of W&B's log files (`run-ID.wandb`): LevelDB's log format with a header of its own. Records lie in blocks of
//! 32 KiB; one that does not fit into the rest of a block is continued in the next. A piece is: checksum (u32), length (u16),
//! kind (u8), data, little-endian. The checksum is the plain CRC-32 of kind and data (the polynomial of zlib), not LevelDB's
//! masked CRC-32C: W&B's readers, in Python and in Go, check that one.

/// `:W&B`, the magic number 0xBEE1 and version 0.
const HEADER: [u8; 7] = *b":W&B\xe1\xbe\x00";
const BLOCK: usize = 32 * 1024;
/// Bytes before the data of a piece.
const PIECE_HEADER: usize = 7;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The content of a log file with these records.
pub(super) fn log_file(records: &[Vec<u8>]) -> Vec<u8> {
    let mut out = HEADER.to_vec();
    for record in records {
        let mut rest = &record[..];
        let mut is_first = true;
        loop {
            let mut room = BLOCK - out.len() % BLOCK;
            if room < PIECE_HEADER {
                out.resize(out.len() + room, 0);
                room = BLOCK;
            }
            let (data, after) = rest.split_at(rest.len().min(room - PIECE_HEADER));
            let kind = match (is_first, after.is_empty()) {
                (true, true) => FULL,
                (true, false) => FIRST,
                (false, false) => MIDDLE,
                (false, true) => LAST,
            };
            let mut crc = crc32fast::Hasher::new();
            crc.update(&[kind]);
            crc.update(data);
            out.extend(crc.finalize().to_le_bytes());
            out.extend((data.len() as u16).to_le_bytes());
            out.push(kind);
            out.extend_from_slice(data);
            rest = after;
            is_first = false;
            if rest.is_empty() {
                break;
            }
        }
    }
    out
}

/// The records of a log file, read by the rules of the format.
#[cfg(test)]
pub(super) fn read_log(bytes: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(bytes[..7], HEADER);
    let (mut at, mut records, mut open) = (7, Vec::new(), None::<Vec<u8>>);
    while at < bytes.len() {
        let room = BLOCK - at % BLOCK;
        if room < PIECE_HEADER {
            assert!(bytes[at..at + room].iter().all(|b| *b == 0));
            at += room;
        }
        let [c0, c1, c2, c3, l0, l1, kind] = *bytes[at..].first_chunk().unwrap();
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        let data = &bytes[at + PIECE_HEADER..at + PIECE_HEADER + length];
        assert!(at % BLOCK + PIECE_HEADER + length <= BLOCK, "a piece ends with its block");
        assert_eq!(u32::from_le_bytes([c0, c1, c2, c3]), crc32fast::hash(&[&[kind], data].concat()));
        at += PIECE_HEADER + length;
        match (kind, open.take()) {
            (FULL, None) => records.push(data.to_vec()),
            (FIRST, None) => open = Some(data.to_vec()),
            (MIDDLE, Some(begun)) => open = Some([&begun, data].concat()),
            (LAST, Some(begun)) => records.push([&begun, data].concat()),
            (kind, _) => panic!("kind {kind} at {at}"),
        }
    }
    assert_eq!(open, None);
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_any_length_are_read_again() {
        // Ends of blocks with less room than a piece's header, with exactly one header, and records of several blocks.
        let room = BLOCK - HEADER.len() - PIECE_HEADER;
        for first in [0, 1, room - 8, room - 7, room - 6, room - 1, room, room + 1, 3 * BLOCK] {
            let records: Vec<Vec<u8>> =
                [first, 5, 0, 40_000].iter().map(|n| (0..*n).map(|i| (i % 251) as u8).collect()).collect();
            assert!(read_log(&log_file(&records)) == records, "{first}");
        }
        assert_eq!(log_file(&[]), HEADER);
    }
}
