use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::TensorHistogram;
use super::protobuf::{text_field, varint};

/// Writes TensorBoard's event files: TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around
/// `Event` messages in protobuf's wire format.
pub struct EventsWriter {
    file: File,
    path: PathBuf,
}

impl EventsWriter {
    /// Creates a new file in `folder`; TensorBoard shows all files of a folder as one run. With `resumed_at`, it
    /// ignores the values of earlier files from that step on.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn create(folder: &Path, resumed_at: Option<u64>) -> std::io::Result<EventsWriter> {
        std::fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Readers sort files by name, also those of one second, and read the first number as seconds.
        let name = format!(
            "events.out.tfevents.{:010}.carpus.{}.{:09}",
            now.as_secs(),
            std::process::id(),
            now.subsec_nanos()
        );
        let path = folder.join(name);
        let file = File::options().create_new(true).append(true).open(&path)?;
        let mut writer = EventsWriter { file, path };
        writer.event(0, &text_field(3, b"brain.Event:2"))?;
        if let Some(step) = resumed_at {
            // SessionLog { status: START }
            writer.event(step, &text_field(7, &[0x08, 1]))?;
        }
        Ok(writer)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes numbers with their tags.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn scalars<'a>(&mut self, step: u64, values: impl IntoIterator<Item = (&'a str, f64)>) -> std::io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut message = text_field(1, tag.as_bytes());
            message.push(2 << 3 | 5);
            message.extend((value as f32).to_le_bytes());
            summary.extend(text_field(1, &message));
        }
        self.event(step, &text_field(5, &summary))
    }

    /// Writes a PNG image with its tag.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn image(&mut self, step: u64, tag: &str, width: u32, height: u32, png: &[u8]) -> std::io::Result<()> {
        let mut image = Vec::with_capacity(png.len() + 32);
        // Image { height, width, colorspace: RGB, encoded_image_string }
        for (field, value) in [(1, u64::from(height)), (2, u64::from(width)), (3, 3)] {
            image.push(field << 3);
            varint(&mut image, value);
        }
        image.extend(text_field(4, png));
        let mut message = text_field(1, tag.as_bytes());
        message.extend(text_field(4, &image));
        self.event(step, &text_field(5, &text_field(1, &message)))
    }

    /// Writes a histogram with its tag.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn histogram(&mut self, step: u64, tag: &str, histogram: &TensorHistogram) -> std::io::Result<()> {
        // HistogramProto { min, max, num, sum, sum_squares, bucket_limit, bucket }
        let h = histogram;
        let mut proto = Vec::with_capacity(64 + 16 * h.buckets.len());
        for (field, value) in [(1, h.min), (2, h.max), (3, h.count), (4, h.sum), (5, h.squares)] {
            proto.push(field << 3 | 1);
            proto.extend(value.to_le_bytes());
        }
        let packed =
            |of: fn(&(f64, f64)) -> f64| -> Vec<u8> { h.buckets.iter().flat_map(|b| of(b).to_le_bytes()).collect() };
        proto.extend(text_field(6, &packed(|b| b.0)));
        proto.extend(text_field(7, &packed(|b| b.1)));
        let mut message = text_field(1, tag.as_bytes());
        message.extend(text_field(5, &proto));
        self.event(step, &text_field(5, &text_field(1, &message)))
    }

    fn event(&mut self, step: u64, payload: &[u8]) -> std::io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut event = vec![1 << 3 | 1];
        event.extend(now.to_le_bytes());
        event.push(2 << 3);
        varint(&mut event, step);
        event.extend_from_slice(payload);
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(masked_crc(&length).to_le_bytes());
        record.extend(&event);
        record.extend(masked_crc(&event).to_le_bytes());
        self.file.write_all(&record)
    }
}

/// TFRecord's checksum: rotated and offset, so that a CRC can be stored in data that have a CRC themselves.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC with Castagnoli's polynomial, reflected.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut i = 0;
        while i < 256 {
            let mut crc = i as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_equal_those_of_the_rfc() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }
}
