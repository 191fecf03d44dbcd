//! Reading files of others within stated limits, so that one of an absurd size is an error and not the end of the memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, StringRecord};

/// Most bytes of a record of a CSV: a line, or several where a quoted field spans them.
pub const MAX_RECORD: usize = 16 << 20;
/// The same where records hold masks. The longest run-length text of 8192 x 8192 pixels, every second one set, has 2^25
/// runs of at most 11 bytes, which are 352 MiB; one of 2048 x 2048 has 20.
pub const MAX_MASK_RECORD: usize = 384 << 20;

/// Most bytes of a configuration.
pub const MAX_CONFIG: u64 = 1 << 20;
/// Most bytes of other text: corrections, transforms, sizes of masks.
pub const MAX_TEXT: u64 = 64 << 20;

/// The bytes of a file or pipe, if they are at most `most`.
///
/// # Errors
/// It cannot be read, or is larger.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let reason = format!("larger than the {} MiB that are read; is this a file of the right kind?", most >> 20);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(bytes)
}

/// As [`read`], as text.
///
/// # Errors
/// As for [`read`], or the bytes are not UTF-8.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    String::from_utf8(read(path, most)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "not UTF-8; save the file as UTF-8"))
}

/// A CSV file with a header, read record by record. A record that is too long is an error with its line before it takes more
/// memory than the limit.
pub struct Csv {
    reader: csv::Reader<Bounded>,
}

impl Csv {
    /// Opens a file whose records have at most [`MAX_RECORD`] bytes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(path: &Path) -> csv::Result<Csv> {
        Csv::with_most(path, MAX_RECORD)
    }

    /// Opens a file of masks, whose records have at most [`MAX_MASK_RECORD`] bytes.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_masks(path: &Path) -> csv::Result<Csv> {
        Csv::with_most(path, MAX_MASK_RECORD)
    }

    fn with_most(path: &Path, most: usize) -> csv::Result<Csv> {
        let bounded = Bounded { file: File::open(path)?, most, since: 0, line: 1 };
        Ok(Csv { reader: csv::ReaderBuilder::new().buffer_capacity(1 << 18).from_reader(bounded) })
    }

    /// The first record.
    ///
    /// # Errors
    /// It cannot be read, is too long or is not UTF-8.
    pub fn headers(&mut self) -> csv::Result<&StringRecord> {
        self.reader.headers()
    }

    /// As [`Csv::headers`], of any bytes.
    ///
    /// # Errors
    /// It cannot be read or is too long.
    pub fn byte_headers(&mut self) -> csv::Result<&ByteRecord> {
        self.reader.byte_headers()
    }

    /// The next record into `record`; `false` at the end.
    ///
    /// # Errors
    /// It cannot be read, is too long, or has another number of fields than the header.
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
        (bounded.since, bounded.line) = (0, line);
    }
}

/// A file that gives no more than a number of bytes per record, and some that are read ahead.
struct Bounded {
    file: File,
    most: usize,
    /// Bytes read since the record began.
    since: usize,
    /// Where it began.
    line: u64,
}

impl Read for Bounded {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(room)?;
        if self.since > self.most && read > 0 {
            let reason = format!(
                "line {} is longer than the {} MiB that are read; is this a CSV file of the right kind?",
                self.line,
                self.most >> 20
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        self.since += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_record_that_is_too_long_is_named_by_its_line() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let most = 1 << 20;
        file.write_all(b"a,b\n1,2\n").unwrap();
        let filler = "x".repeat(most - 2);
        // Long ones one after another are fine.
        writeln!(file, "{filler},").unwrap();
        writeln!(file, "{filler},").unwrap();
        let lines = |csv: &mut Csv| csv.records().map(|r| r.map(|_| ())).collect::<csv::Result<Vec<()>>>();
        let mut csv = Csv::with_most(file.path(), most).unwrap();
        assert_eq!(csv.headers().unwrap().len(), 2);
        assert_eq!(lines(&mut csv).unwrap().len(), 3);
        // Also where a quoted field goes over lines.
        for long in [filler.repeat(3), format!("\"{}", format!("{}\n", &filler[..999]).repeat(3000))] {
            let mut longer = tempfile::NamedTempFile::new().unwrap();
            longer.write_all(&std::fs::read(file.path()).unwrap()).unwrap();
            longer.write_all(long.as_bytes()).unwrap();
            let message = lines(&mut Csv::with_most(longer.path(), most).unwrap()).unwrap_err().to_string();
            assert!(message.contains("line 5 is longer than the 1 MiB"), "{message}");
            // And in bytes, which need not be text.
            let mut csv = Csv::with_most(longer.path(), most).unwrap();
            let mut record = ByteRecord::new();
            let failed = (0..9).find_map(|_| csv.read_byte_record(&mut record).err()).unwrap();
            assert!(failed.to_string().contains("line 5"), "{failed}");
        }
        let mut header = tempfile::NamedTempFile::new().unwrap();
        header.write_all(filler.repeat(3).as_bytes()).unwrap();
        let message = Csv::with_most(header.path(), most).unwrap().headers().unwrap_err().to_string();
        assert!(message.contains("line 1 is longer"), "{message}");
    }

    #[test]
    fn the_densest_masks_fit() {
        // Every second pixel of a square: a start, a blank, the length 1, and a blank but after the last.
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
        assert!(read(file.path(), 1 << 20).unwrap_err().to_string().contains("larger than the 1 MiB"));
        assert!(read(Path::new("/dev/zero"), 1 << 20).is_err());
        assert!(read_text(file.path(), 2 << 20).unwrap_err().to_string().contains("UTF-8"));
    }
}
