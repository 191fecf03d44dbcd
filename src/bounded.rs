//! Reading files with size limits, so that a file that is far too large is an error and does not use up the memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, StringRecord};

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
/// not read into memory.
pub struct Csv {
    reader: csv::Reader<Bounded>,
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
        let bounded = Bounded { file: File::open(path)?, max, read: 0, line: 1 };
        Ok(Csv { reader: csv::ReaderBuilder::new().buffer_capacity(1 << 18).from_reader(bounded) })
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

    /// Reads the next record into `record`; returns `false` at the end of the file.
    ///
    /// # Errors
    /// The record cannot be read, is too long, or has another number of fields than the header.
    pub fn read_byte_record(&mut self, record: &mut ByteRecord) -> csv::Result<bool> {
        self.begin();
        self.reader.read_byte_record(record)
    }

    /// The records after the header.
    pub fn records(&mut self) -> impl Iterator<Item = csv::Result<StringRecord>> + '_ {
        let mut record = StringRecord::new();
        std::iter::from_fn(move || {
            self.begin();
            self.reader.read_record(&mut record).map(|more| more.then(|| record.clone())).transpose()
        })
    }

    fn begin(&mut self) {
        let line = self.reader.position().line();
        let bounded = self.reader.get_mut();
        (bounded.read, bounded.line) = (0, line);
    }
}

/// A file that gives at most `max` bytes per record, plus those that the reader buffers ahead.
struct Bounded {
    file: File,
    max: usize,
    /// Bytes read since the start of the record.
    read: usize,
    /// Line on which the record starts.
    line: u64,
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
        Ok(read)
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
