//! Checks that a JPEG is complete: all segments exist up to the end marker, and each scan's compressed data ends where
//! its last block ends. Decoders fill missing data and decode damaged data without an error. Nearly every damage of
//! compressed data changes the number of bits of its blocks, so that the last block no longer ends where the data ends.
//! ISO/IEC 10918-1, annexes F.2 and G.2: Huffman-coded sequential and progressive frames. The scans of other frames are
//! not checked.

use super::image::MAX_SIDE;

/// Bits of the compressed data of a scan or restart interval, without stuffed bytes.
struct Bits<'a> {
    file: &'a [u8],
    at: usize,
    /// The next `available` bits, in the low end.
    next: u64,
    available: u32,
}

const DAMAGED: &str = "damaged: the compressed pixels of the JPEG";

impl Bits<'_> {
    fn fill(&mut self) {
        while self.available <= 48 {
            let byte = match self.file.get(self.at..) {
                Some([0xff, 0, ..]) => {
                    self.at += 1;
                    0xff
                }
                Some([0xff, ..] | []) | None => return,
                Some([byte, ..]) => *byte,
            };
            self.at += 1;
            self.next = self.next << 8 | u64::from(byte);
            self.available += 8;
        }
    }

    /// The next `count` bits, at most 16; zeros after the end.
    fn peek(&mut self, count: u32) -> usize {
        if self.available < count {
            self.fill();
        }
        let bits = if self.available >= count {
            self.next >> (self.available - count)
        } else {
            self.next << (count - self.available)
        };
        bits as usize & ((1 << count) - 1)
    }

    fn take(&mut self, count: u32) -> Result<usize, String> {
        let bits = self.peek(count);
        self.available =
            self.available.checked_sub(count).ok_or_else(|| format!("{DAMAGED} end before its last row"))?;
        Ok(bits)
    }

    /// Ends the data at the marker, which must follow immediately.
    fn finish(&mut self) -> Result<(), String> {
        self.fill();
        if self.available >= 8 {
            return Err(format!("{DAMAGED} do not end where its last row ends"));
        }
        (self.next, self.available) = (0, 0);
        Ok(())
    }
}

/// A Huffman table of the file, with codes in the order of their lengths.
struct Huffman {
    /// For each length, the smallest 16 bits that do not begin with a code of this or a shorter length.
    limits: [usize; 16],
    /// For each length, the first code and the position of its value.
    firsts: [(usize, usize); 16],
    values: Vec<u8>,
}

impl Huffman {
    /// `None` if there are more codes than their lengths allow.
    fn new(counts: &[u8; 16], values: &[u8]) -> Option<Huffman> {
        let mut table = Huffman { limits: [0; 16], firsts: [(0, 0); 16], values: values.to_vec() };
        let (mut code, mut place) = (0, 0);
        for (i, count) in counts.iter().enumerate() {
            table.firsts[i] = (code, place);
            code += usize::from(*count);
            place += usize::from(*count);
            table.limits[i] = code << (15 - i);
            code *= 2;
        }
        (table.limits[15] <= 1 << 16).then_some(table)
    }

    fn decode(&self, bits: &mut Bits) -> Result<u8, String> {
        let next = bits.peek(16);
        let unknown = || format!("{DAMAGED} contain a code that is not in its tables");
        let i = self.limits.iter().position(|limit| next < *limit).ok_or_else(unknown)?;
        bits.take(i as u32 + 1)?;
        let (first, place) = self.firsts[i];
        self.values.get(place + (next >> (15 - i)) - first).copied().ok_or_else(unknown)
    }
}

struct Component {
    id: u8,
    /// Columns and rows of blocks in an MCU.
    across: usize,
    down: usize,
    /// Columns and rows of blocks with pixels, and columns of blocks in whole MCUs.
    columns: usize,
    rows: usize,
    stride: usize,
    /// For each block of a progressive frame, the coefficients that are not zero.
    known: Vec<u64>,
    /// For each coefficient of a progressive frame, whether its last bit has been read.
    complete: u64,
}

struct Frame {
    is_progressive: bool,
    mcus: (usize, usize),
    components: Vec<Component>,
}

impl Frame {
    /// `None` if the header is invalid; decoding then reports the error.
    fn new(marker: u8, header: &[u8]) -> Option<Frame> {
        let &[_, h1, h0, w1, w0, count, ref components @ ..] = header else { return None };
        let side = |high, low| usize::from(u16::from_be_bytes([high, low]));
        let (width, height) = (side(w1, w0), side(h1, h0));
        let components: Vec<[u8; 3]> = components.as_chunks().0.iter().take(count.into()).copied().collect();
        let factors = |[_, factors, _]: &[u8; 3]| (usize::from(factors >> 4), usize::from(factors & 15));
        let most_across = components.iter().map(|c| factors(c).0).max()?;
        let most_down = components.iter().map(|c| factors(c).1).max()?;
        // An image that is too large is refused before it is decoded.
        if width == 0
            || height == 0
            || width.max(height) > MAX_SIDE as usize
            || components.iter().any(|c| factors(c).0 == 0 || factors(c).1 == 0)
        {
            return None;
        }
        let mcus = (width.div_ceil(8 * most_across), height.div_ceil(8 * most_down));
        let is_progressive = marker == 0xc2;
        let component = |c: &[u8; 3]| {
            let (across, down) = factors(c);
            let (stride, lines) = (mcus.0 * across, mcus.1 * down);
            Component {
                id: c[0],
                across,
                down,
                columns: (width * across).div_ceil(most_across).div_ceil(8),
                rows: (height * down).div_ceil(most_down).div_ceil(8),
                stride,
                known: if is_progressive { vec![0; stride * lines] } else { Vec::new() },
                complete: 0,
            }
        };
        Some(Frame { is_progressive, mcus, components: components.iter().map(component).collect() })
    }
}

/// A scan of coefficients `first` to `last`, with their bits from `high` on (0: no bits are known yet).
struct Scan<'a> {
    bits: Bits<'a>,
    is_progressive: bool,
    first: u32,
    last: u32,
    high: u8,
    /// Remaining blocks of a run of blocks without further coefficients.
    empty: usize,
}

impl Scan<'_> {
    fn block(&mut self, dc: Option<&Huffman>, ac: Option<&Huffman>, known: &mut u64) -> Result<(), String> {
        let table = |table| Option::ok_or_else(table, || format!("{DAMAGED} use a table that is not in the file"));
        let bits = &mut self.bits;
        if self.first == 0 {
            match self.high {
                0 => {
                    let length = table(dc)?.decode(bits)?;
                    bits.take(u32::from(length).min(16))?;
                }
                _ => drop(bits.take(1)?),
            }
            if self.is_progressive {
                return Ok(());
            }
        }
        match self.high {
            0 => self.first_bits(table(ac)?, known),
            _ => self.next_bits(table(ac)?, known),
        }
    }

    fn first_bits(&mut self, ac: &Huffman, known: &mut u64) -> Result<(), String> {
        if self.empty > 0 {
            self.empty -= 1;
            return Ok(());
        }
        let mut at = self.first.max(1);
        while at <= self.last {
            let code = ac.decode(&mut self.bits)?;
            let (zeros, length) = (u32::from(code >> 4), u32::from(code & 15));
            match (zeros, length) {
                (15, 0) => at += 16,
                (0, 0) => break,
                (_, 0) => {
                    self.empty = (1 << zeros) + self.bits.take(zeros)? - 1;
                    break;
                }
                _ => {
                    at += zeros;
                    if at > self.last {
                        return Err(format!("{DAMAGED} contain a block of more than 64 coefficients"));
                    }
                    self.bits.take(length)?;
                    *known |= 1 << at;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    fn next_bits(&mut self, ac: &Huffman, known: &mut u64) -> Result<(), String> {
        let mut at = self.first;
        while self.empty == 0 && at <= self.last {
            let code = ac.decode(&mut self.bits)?;
            let (mut zeros, length) = (u32::from(code >> 4), code & 15);
            if length == 0 && zeros < 15 {
                self.empty = (1 << zeros) + self.bits.take(zeros)?;
                break;
            }
            if length > 0 {
                self.bits.take(1)?;
            }
            while at <= self.last {
                if *known >> at & 1 == 1 {
                    self.bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                at += 1;
            }
            if length > 0 && at <= self.last {
                *known |= 1 << at;
            }
            at += 1;
        }
        if self.empty > 0 {
            let rest = (at..=self.last).filter(|at| *known >> at & 1 == 1).count();
            for _ in 0..rest {
                self.bits.take(1)?;
            }
            self.empty -= 1;
        }
        Ok(())
    }
}

/// Tables and settings that remain active from one scan to the next.
#[derive(Default)]
struct State {
    tables: [[Option<Huffman>; 4]; 2],
    restart_every: usize,
    frame: Option<Frame>,
    scans: usize,
}

/// Maximum number of scans; a progressive file has about ten.
const MAX_SCANS: usize = 200;

impl State {
    fn add_tables(&mut self, mut segment: &[u8]) {
        while let Some((&[class, ref counts @ ..], rest)) = segment.split_first_chunk::<17>() {
            let values = counts.iter().map(|n| usize::from(*n)).sum::<usize>().min(rest.len());
            let (values, rest) = rest.split_at(values);
            if let Some(table) = self.tables.get_mut(usize::from(class >> 4)) {
                table[usize::from(class & 3)] = Huffman::new(counts, values);
            }
            segment = rest;
        }
    }

    /// Reads the data of a scan and returns the position of its end.
    fn scan(&mut self, header: &[u8], file: &[u8], at: usize) -> Result<usize, String> {
        let Some(frame) = &mut self.frame else { return Ok(at) };
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(format!("{DAMAGED} have more than {MAX_SCANS} scans"));
        }
        let count = usize::from(header.first().copied().unwrap_or(0));
        let Some(&[first, last, approximation]) = header.get(1 + 2 * count..).and_then(|h| h.first_chunk()) else {
            return Ok(at);
        };
        let mut chosen = Vec::new();
        for [id, tables] in header[1..=2 * count].as_chunks().0 {
            let Some(place) = frame.components.iter().position(|c| c.id == *id) else { return Ok(at) };
            let [dc, ac] = &self.tables;
            chosen.push((place, dc[usize::from(tables >> 4 & 3)].as_ref(), ac[usize::from(tables & 3)].as_ref()));
        }
        let is_progressive = frame.is_progressive;
        let (first, last, high) = if is_progressive { (first, last.min(63), approximation >> 4) } else { (0, 63, 0) };
        let bits = Bits { file, at, next: 0, available: 0 };
        let mut scan = Scan { bits, is_progressive, first: first.into(), last: last.into(), high, empty: 0 };
        // A scan of one component contains its blocks one by one; a scan of several contains them MCU by MCU.
        let is_single = chosen.len() == 1;
        let (columns, rows) = match chosen[..] {
            [(place, ..)] => (frame.components[place].columns, frame.components[place].rows),
            _ => frame.mcus,
        };
        let mut unused = 0;
        for mcu in 0..columns * rows {
            if mcu > 0 && self.restart_every > 0 && mcu % self.restart_every == 0 {
                scan.bits.finish()?;
                // Fill bytes may precede any marker.
                let fill = file[scan.bits.at..].iter().take_while(|byte| **byte == 0xff).count();
                scan.bits.at += fill;
                let expected = 0xd0 + ((mcu / self.restart_every - 1) % 8) as u8;
                if fill == 0 || file.get(scan.bits.at) != Some(&expected) {
                    return Err(format!("{DAMAGED} have a missing or wrong restart marker"));
                }
                scan.bits.at += 1;
                scan.empty = 0;
            }
            let (column, row) = (mcu % columns, mcu / columns);
            for (place, dc, ac) in &chosen {
                let component = &mut frame.components[*place];
                let (across, down) = if is_single { (1, 1) } else { (component.across, component.down) };
                for block in 0..across * down {
                    let (x, y) = (column * across + block % across, row * down + block / across);
                    let known = component.known.get_mut(y * component.stride + x).unwrap_or(&mut unused);
                    scan.block(*dc, *ac, known)?;
                }
            }
        }
        scan.bits.finish()?;
        let at = scan.bits.at;
        if is_progressive && approximation & 15 == 0 {
            let coded = (first..=last).fold(0, |all, coefficient| all | 1 << coefficient);
            for (place, ..) in chosen {
                frame.components[place].complete |= coded;
            }
        }
        Ok(at)
    }

    /// Whether all bits of each coefficient of a progressive frame have been read. Decoders show an incomplete image
    /// without an error.
    fn has_all_scans(&self) -> bool {
        let frame = self.frame.iter().filter(|frame| frame.is_progressive);
        frame.flat_map(|frame| &frame.components).all(|component| component.complete == u64::MAX)
    }
}

/// Reads a JPEG up to its end marker.
///
/// # Errors
/// It ends early, or its compressed pixels are damaged.
pub(super) fn check_complete(file: &[u8]) -> Result<(), String> {
    let cut = || format!("truncated: a JPEG of {} bytes without its end marker", file.len());
    let mut state = State::default();
    let mut at = 2;
    loop {
        // Skip fill bytes and unchecked data up to the next marker.
        let marker = loop {
            match file.get(at..at + 2) {
                None => return Err(cut()),
                Some(&[0xff, code]) if code != 0 && code != 0xff => break code,
                Some(_) => at += 1,
            }
        };
        at += 2;
        // Restart markers, the start marker and TEM have no length.
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if marker == 0xd9 {
            return match state.has_all_scans() {
                true => Ok(()),
                false => Err("truncated: the last scans of the progressive JPEG are missing".into()),
            };
        }
        let &[high, low] = file.get(at..at + 2).and_then(|l| l.first_chunk()).ok_or_else(cut)?;
        let end = at + usize::from(u16::from_be_bytes([high, low])).max(2);
        let segment = file.get(at + 2..end).ok_or_else(cut)?;
        at = end;
        match marker {
            0xc0..=0xc2 => state.frame = Frame::new(marker, segment),
            0xc4 => state.add_tables(segment),
            0xdd => state.restart_every = segment.first_chunk().map_or(0, |n| u16::from_be_bytes(*n).into()),
            0xda => at = state.scan(segment, file, at)?,
            _ => {}
        }
    }
}
