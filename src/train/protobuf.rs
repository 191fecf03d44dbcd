//! Fields of messages in protobuf's wire format, for the few messages that event files need.

/// Appends a number in base 128, lowest digits first.
pub(super) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field that is a text, bytes or a message.
pub(super) fn text_field(field: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 8);
    varint(&mut out, u64::from(field) << 3 | 2);
    varint(&mut out, bytes.len() as u64);
    out.extend_from_slice(bytes);
    out
}

/// A field that is a whole number.
pub(super) fn number_field(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    varint(&mut out, u64::from(field) << 3);
    varint(&mut out, value);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_by_hand() {
        let mut out = Vec::new();
        varint(&mut out, 300);
        assert_eq!(out, [0xac, 0x02]);
        // The key of field 17 needs two bytes: 17 * 8 + 2 = 138.
        assert_eq!(text_field(17, b"ab"), [0x8a, 0x01, 2, b'a', b'b']);
        assert_eq!(number_field(1, 5), [8, 5]);
    }
}
