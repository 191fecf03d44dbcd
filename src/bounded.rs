//! Reading files with size limits, so that a file that is far too large is an error and does not use up the memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, StringRecord};

use crate::wording::counted;

/// Maximum bytes of a CSV record: one line, or several if a quoted field spans them.
pub const MAX_RECORD: usize = 16 << 20;
/// Maximum bytes of a CSV record that holds masks. The longest run-length text of 8192 x 8192 pixels, with every second
/// pixel set, has 2^25 runs of at most 11 bytes, which is 352 MiB; that of 2048 x 2048 pixels has 20 MiB.
pub const MAX_MASK_RECORD: usize = 384 << 20;

/// Maximum bytes of a configuration file.
pub const MAX_CONFIG: u64 = 1 << 20;
/// Maximum bytes of other text files: corrections, transforms, sizes of masks.
pub const MAX_TEXT: u64 = 64 << 20;

/// Reads a file or pipe of at most `max` bytes.
///
/// # Errors
/// The file cannot be read, or is larger.
pub fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let reason = format!("larger than the limit of {} MiB; is this a file of the right kind?", max >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(bytes)
}

/// Reads a text file of at most `max` bytes.
///
/// # Errors
/// As for [`read`], or the file is not UTF-8.
pub fn read_text(path: &Path, max: u64) -> io::Result<String> {
    String::from_utf8(read(path, max)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8; save the file as UTF-8"))
}

/// A CSV file with a header, read record by record. A record over the size limit is an error that names its line; it is
/// not read into memory. Blank lines are skipped, except in a file with one column, where they may be missing values:
/// there they are errors.
pub struct Csv {
    reader: csv::Reader<Bounded>,
    /// Number of columns, once the header is read.
    columns: Option<usize>,
}

impl Csv {
    /// Opens a file whose records have at most [`MAX_RECORD`] bytes.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path) -> csv::Result<Csv> {
        Csv::with_limit(path, MAX_RECORD)
    }

    /// Opens a file of masks, whose records have at most [`MAX_MASK_RECORD`] bytes.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_masks(path: &Path) -> csv::Result<Csv> {
        Csv::with_limit(path, MAX_MASK_RECORD)
    }

    fn with_limit(path: &Path, max: usize) -> csv::Result<Csv> {
        let file = File::open(path)?;
        let bounded = Bounded { file, max, read: 0, line: 1, last: Vec::new(), end: 0, gap: Gap::default() };
        // Lengths of records are compared here, because the reader's line is wrong after blank lines and with CRLF.
        let reader = csv::ReaderBuilder::new().flexible(true).buffer_capacity(BUFFER).from_reader(bounded);
        Ok(Csv { reader, columns: None })
    }

    /// The header: the first record.
    ///
    /// # Errors
    /// The header cannot be read, is too long or is not UTF-8.
    pub fn headers(&mut self) -> csv::Result<&StringRecord> {
        self.reader.headers()
    }

    /// The header as bytes, which need not be UTF-8.
    ///
    /// # Errors
    /// The header cannot be read or is too long.
    pub fn byte_headers(&mut self) -> csv::Result<&ByteRecord> {
        self.reader.byte_headers()
    }

    /// Reads the next record into `record`; returns `false` at the end of the file. The record's position has its line.
    ///
    /// # Errors
    /// The record cannot be read, is too long, or has another number of fields than the header; a blank line in a file
    /// with one column.
    pub fn read_byte_record(&mut self, record: &mut ByteRecord) -> csv::Result<bool> {
        let columns = match self.columns {
            Some(columns) => columns,
            None => *self.columns.insert(self.reader.byte_headers()?.len()),
        };
        let before = self.reader.position().clone();
        self.reader.get_mut().begin(&before);
        let has_record = self.reader.read_byte_record(record)?;
        let gap = self.reader.get_ref().gap;
        if let (1, Some(line)) = (columns, gap.blank_line) {
            return Err(invalid(format!(
                "line {line} is blank, which may be a missing value, as the file has one column; write \"\" for a missing \
                 value, or delete the line"
            )));
        }
        if has_record && record.len() != columns {
            let found = counted(record.len(), "field", "fields");
            return Err(invalid(format!("line {} has {found}; the first line has {columns}", gap.line)));
        }
        let mut position = before;
        position.set_line(gap.line);
        record.set_position(Some(position));
        Ok(has_record)
    }

    /// The records after the header.
    pub fn records(&mut self) -> impl Iterator<Item = csv::Result<StringRecord>> + '_ {
        std::iter::from_fn(move || {
            let mut record = ByteRecord::new();
            match self.read_byte_record(&mut record) {
                Ok(false) => None,
                Ok(true) => Some(StringRecord::from_byte_record(record).map_err(|error| {
                    let line = error.into_byte_record().position().map_or(0, csv::Position::line);
                    invalid(format!("line {line} is not UTF-8; save the file as UTF-8"))
                })),
                Err(error) => Some(Err(error)),
            }
        })
    }
}

/// Bytes that the reader buffers.
const BUFFER: usize = 1 << 18;

fn invalid(reason: String) -> csv::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason).into()
}

/// A file that gives at most `max` bytes per record, plus those that the reader buffers ahead.
struct Bounded {
    file: File,
    max: usize,
    /// Bytes read since the start of the record.
    read: usize,
    /// Line on which the record starts.
    line: u64,
    /// The bytes that were read last, after the byte before them.
    last: Vec<u8>,
    /// Position in the file at which `last` ends.
    end: u64,
    /// The line ends before the record.
    gap: Gap,
}

impl Bounded {
    /// Starts a record. `at` is the reader's position after the earlier one.
    fn begin(&mut self, at: &csv::Position) {
        let read_ahead = (self.end - at.byte()) as usize;
        let (before, ahead) = self.last.split_at(self.last.len() - read_ahead);
        self.gap = Gap { is_open: true, after_cr: before.last() == Some(&b'\r'), line: at.line(), blank_line: None };
        self.gap.read(ahead);
        (self.read, self.line) = (0, self.gap.line);
    }
}

impl Read for Bounded {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(room)?;
        if self.read > self.max && read > 0 {
            let reason = format!(
                "line {} is longer than the limit of {} MiB; is this a CSV file of the right kind?",
                self.line,
                self.max >> 20
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.read += read;
        self.end += read as u64;
        let before = self.last.pop();
        self.last.clear();
        self.last.extend(before.iter().chain(&room[..read]));
        self.gap.read(&room[..read]);
        Ok(read)
    }
}

/// The line ends between two records, which the CSV reader skips.
#[derive(Clone, Copy, Default)]
struct Gap {
    /// Whether no other byte was found yet.
    is_open: bool,
    after_cr: bool,
    line: u64,
    blank_line: Option<u64>,
}

impl Gap {
    fn read(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                _ if !self.is_open => return,
                // The second half of CRLF.
                b'\n' if self.after_cr => {}
                b'\n' | b'\r' => self.blank_line = self.blank_line.or(Some(self.line)),
                _ => self.is_open = false,
            }
            self.line += u64::from(*byte == b'\n');
            self.after_cr = *byte == b'\r';
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_error_of_a_record_that_is_too_long_names_its_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let max = 1 << 20;
        file.write_all(b"a,b\n1,2\n").unwrap();
        let filler = "x".repeat(max - 2);
        // Several long records in a row are accepted.
        writeln!(file, "{filler},").unwrap();
        writeln!(file, "{filler},").unwrap();
        let lines = |csv: &mut Csv| csv.records().map(|r| r.map(|_| ())).collect::<csv::Result<Vec<()>>>();
        let mut csv = Csv::with_limit(file.path(), max).unwrap();
        assert_eq!(csv.headers().unwrap().len(), 2);
        assert_eq!(lines(&mut csv).unwrap().len(), 3);
        // Also if a quoted field spans several lines.
        for long in [filler.repeat(3), format!("\"{}", format!("{}\n", &filler[..999]).repeat(3000))] {
            let mut longer = tempfile::NamedTempFile::new().unwrap();
            longer.write_all(&std::fs::read(file.path()).unwrap()).unwrap();
            longer.write_all(long.as_bytes()).unwrap();
            let message = lines(&mut Csv::with_limit(longer.path(), max).unwrap()).unwrap_err().to_string();
            assert!(message.contains("line 5 is longer than the limit of 1 MiB"), "{message}");
            // Also when reading bytes, which need not be UTF-8.
            let mut csv = Csv::with_limit(longer.path(), max).unwrap();
            let mut record = ByteRecord::new();
            let failed = (0..9).find_map(|_| csv.read_byte_record(&mut record).err()).unwrap();
            assert!(failed.to_string().contains("line 5"), "{failed}");
        }
        let mut header = tempfile::NamedTempFile::new().unwrap();
        header.write_all(filler.repeat(3).as_bytes()).unwrap();
        let message = Csv::with_limit(header.path(), max).unwrap().headers().unwrap_err().to_string();
        assert!(message.contains("line 1 is longer"), "{message}");
    }

    /// A file with these bytes, read record by record in pieces of any size.
    fn records(bytes: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        let mut csv = Csv::open(file.path()).unwrap();
        csv.records()
            .map(|record| {
                let record = record.map_err(|e| e.to_string())?;
                Ok((record.position().unwrap().line(), record.iter().collect::<Vec<_>>().join("|")))
            })
            .collect()
    }

    #[test]
    fn records_have_their_lines() {
        let expected = |lines: [u64; 4]| {
            let cells = ["1|2", "3|x", "4|5", "6|7"].map(str::to_owned);
            Ok(lines.into_iter().zip(cells).collect::<Vec<_>>())
        };
        assert_eq!(records(b"\na,b\n1,2\n\n3,x\n4,5\n\n\n6,7"), expected([3, 5, 6, 9]));
        assert_eq!(records(b"a,b\r\n1,2\r\n\r\n3,x\r\n4,5\r\n6,7\r\n"), expected([2, 4, 5, 6]));
        assert_eq!(records(b"\xef\xbb\xbfa,b\n1,2\n\"3\",x\n4,5\n6,7\n\n"), expected([2, 3, 4, 5]));
        assert_eq!(records(b"a,b\r\n\"1\r\n\",2\r\n3,4\r\n"), Ok(vec![(2, "1\r\n|2".into()), (4, "3|4".into())]));
        let filler = "x".repeat(BUFFER);
        // A buffer ends with the record, or in the middle of its CRLF.
        for line_end in ["\n", "\r\n"] {
            let text = format!("a,b\n1,{}{line_end}{line_end}2,3\n", &filler[..BUFFER - 7]);
            assert_eq!(records(text.as_bytes()).unwrap()[1], (4, "2|3".into()), "{line_end:?}");
        }
        for (text, expected) in [
            (&b"a,b\r\n1,2\r\n\r\n3\r\n"[..], "line 4 has 1 field; the first line has 2"),
            (b"a\n1\n2,3\n", "line 3 has 2 fields; the first line has 1"),
            (b"a,b\n1,2\n\n\xff,3\n", "line 4 is not UTF-8"),
        ] {
            let error = records(text).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_blank_line_of_a_file_with_one_column_is_refused() {
        for (text, line) in [
            (&b"a\n1\n\n2\n"[..], 3),
            (b"a\n\n1", 2),
            (b"\xef\xbb\xbfa\n1\n\n", 3),
            (b"a\r\n1\r\n\r\n2\r\n", 3),
            (b"a\r\n\"x\r\n\"\r\n2\r\n\r\n", 5),
        ] {
            let error = records(text).unwrap_err();
            assert!(error.contains(&format!("line {line} is blank, which may be a missing value")), "{error}");
        }
        let kept = [(2, ""), (3, "1"), (4, "\n")].map(|(line, cell)| (line, cell.to_owned()));
        assert_eq!(records(b"a\n\"\"\n1\n\"\n\"\n"), Ok(kept.into()));
        assert_eq!(records(b"a,b\n\n1,2\n").unwrap(), [(3, "1|2".into())]);
    }

    #[test]
    fn the_densest_masks_fit() {
        // Every second pixel of a square: per run a start, a blank, the length 1 and a blank.
        let bytes = |side: u64| {
            (0..side * side / 2).step_by(97).map(|run| (2 * run + 1).to_string().len() as u64 + 3).sum::<u64>() * 97
        };
        assert!(bytes(2048) < 21 << 20);
        assert!(bytes(8192) < MAX_MASK_RECORD as u64 && bytes(8192) > 340 << 20, "{}", bytes(8192));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![b'a'; 1 << 20]).unwrap();
        assert_eq!(read(file.path(), 1 << 20).unwrap().len(), 1 << 20);
        file.write_all(b"\xff").unwrap();
        assert!(read(file.path(), 1 << 20).unwrap_err().to_string().contains("larger than the limit of 1 MiB"));
        assert!(read(Path::new("/dev/zero"), 1 << 20).is_err());
        assert!(read_text(file.path(), 2 << 20).unwrap_err().to_string().contains("UTF-8"));
    }
}
