//! Checks the declared lengths of a DICOM file's elements, because the reader allocates them before it reads.

/// Bytes before the first element: the preamble and `DICM`.
const START: usize = 132;
/// The group of the items and delimiters of sequences.
const ITEMS: u16 = 0xfffe;
/// A length that is not known in advance.
const UNDEFINED: u32 = u32::MAX;
/// Transfer syntaxes with another order of bytes or without value representations; in all others, both are as in the
/// group of meta information.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
const IMPLICIT: &str = "1.2.840.10008.1.2";

/// How elements are written.
#[derive(Clone, Copy)]
struct Syntax {
    is_big_endian: bool,
    is_implicit: bool,
}

/// Checks that no element of a file is longer than the rest of the file. Sequences are entered, so that the lengths of
/// their elements are checked too.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let meta = Syntax { is_big_endian: false, is_implicit: false };
    let mut syntax = meta;
    let mut is_meta = true;
    let mut at = START;
    while at < bytes.len() {
        is_meta &= bytes[at..].starts_with(&[2, 0]);
        let own = if is_meta { meta } else { syntax };
        // The reader reports a header that is cut off; padding after the last element is no fault.
        let Some(element) = Element::at(bytes, at, own) else { break };
        let rest = bytes.len() - element.value;
        let value = &bytes[element.value..];
        let enters = element.length == UNDEFINED
            || element.group == ITEMS
            || value.starts_with(if own.is_big_endian { &[0xff, 0xfe, 0xe0, 0] } else { &[0xfe, 0xff, 0, 0xe0] });
        if element.length != UNDEFINED && element.length as usize > rest {
            let (group, number) = (element.group, element.number);
            return Err(format!(
                "truncated: the element ({group:04x},{number:04x}) has {} bytes, but only {rest} follow",
                element.length
            ));
        }
        if is_meta && element.number == 0x10 && element.length != UNDEFINED {
            let text = String::from_utf8_lossy(&value[..element.length as usize]);
            let text = text.trim_matches(['\0', ' ']);
            syntax = Syntax { is_big_endian: text == BIG_ENDIAN, is_implicit: text == IMPLICIT };
        }
        // The pixels of compressed images are a sequence of fragments without elements.
        let is_pixels = (element.group, element.number) == (0x7fe0, 0x10) && element.length == UNDEFINED;
        at = match (is_pixels, enters) {
            (true, _) => fragments(bytes, element.value)?,
            (_, true) => element.value,
            _ => element.value + element.length as usize,
        };
    }
    Ok(())
}

/// Checks the lengths of the fragments of compressed pixels, from byte `at`, and returns where they end.
fn fragments(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    while let Some(head) = bytes.get(at..at + 8) {
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        if head.starts_with(&[0xfe, 0xff, 0xdd, 0xe0]) {
            return Ok(at + 8);
        }
        if length as usize > bytes.len() - at - 8 {
            return Err(format!(
                "truncated: a part of the pixels has {length} bytes, but only {} follow",
                bytes.len() - at - 8
            ));
        }
        at += 8 + length as usize;
    }
    Ok(bytes.len())
}

/// The header of an element.
struct Element {
    group: u16,
    number: u16,
    length: u32,
    /// Where its value begins.
    value: usize,
}

impl Element {
    fn at(bytes: &[u8], at: usize, syntax: Syntax) -> Option<Element> {
        let short = |at: usize| -> Option<u16> {
            let pair = *bytes.get(at..)?.first_chunk()?;
            Some(if syntax.is_big_endian { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) })
        };
        let long = |at: usize| -> Option<u32> {
            let four = *bytes.get(at..)?.first_chunk()?;
            Some(if syntax.is_big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
        };
        let (group, number) = (short(at)?, short(at + 2)?);
        if syntax.is_implicit || group == ITEMS {
            return Some(Element { group, number, length: long(at + 4)?, value: at + 8 });
        }
        let kind = bytes.get(at + 4..at + 6)?;
        let has_short_length = [
            b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
            b"SS", b"ST", b"TM", b"UI", b"UL", b"US",
        ];
        if has_short_length.iter().any(|known| known[..] == *kind) {
            return Some(Element { group, number, length: short(at + 6)?.into(), value: at + 8 });
        }
        Some(Element { group, number, length: long(at + 8)?, value: at + 12 })
    }
}
