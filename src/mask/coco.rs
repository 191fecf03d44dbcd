//! COCO's run-length masks: lengths of alternating runs of unset and set pixels, column by column, as numbers or as
//! text. Also the mask that COCO makes from a polygon, which differs from OpenCV's.

use std::fmt::Write as _;

use super::{MAX_PIXELS, MaskError, PixelRun, RunMask};

/// Maximum number of run ends of a mask when its runs are put into the other order: twice the pixels of a column of
/// every second pixel at 2048 x 2048.
const MAX_ENDS: usize = 1 << 22;

/// Why counts are not a mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CocoRleError {
    /// The text of compressed counts ends within a number, or a number has more than 32 bits.
    #[error("character {at} of the counts does not continue a run length")]
    Text {
        /// Which character, from 1.
        at: usize,
    },
    /// The runs do not fill the mask.
    #[error("the counts have {found} pixels, but the mask of {width}x{height} has {expected}")]
    Pixels {
        /// Sum of the counts.
        found: u64,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Pixels of the mask.
        expected: u64,
    },
    /// The mask has too many pixels, or far more runs than an outline has.
    #[error("the mask has too many runs or pixels")]
    TooLarge,
}

impl From<MaskError> for CocoRleError {
    fn from(_: MaskError) -> CocoRleError {
        CocoRleError::TooLarge
    }
}

/// Length of each run of a mask in COCO's order: column by column, beginning with unset pixels (0 if the first pixel
/// is set).
///
/// # Errors
/// The mask has far more runs than an outline has.
pub fn counts(mask: &RunMask) -> Result<Vec<u32>, CocoRleError> {
    let rows = mask.rows().map(|(y, from, to)| Span { line: y, from, to });
    let ends = in_other_order(rows, mask.height(), mask.width())?;
    let mut counts = Vec::with_capacity(ends.len() + 1);
    let mut at = 0;
    for end in ends {
        counts.push(end - at);
        at = end;
    }
    let pixels = mask.width() * mask.height();
    if at < pixels || counts.is_empty() {
        counts.push(pixels - at);
    }
    Ok(counts)
}

/// The mask of counts.
///
/// # Errors
/// The counts do not add up to the pixels of the mask, or the mask is too large.
pub fn mask_of_counts(counts: &[u32], width: u32, height: u32) -> Result<RunMask, CocoRleError> {
    let expected = u64::from(width) * u64::from(height);
    if expected > MAX_PIXELS {
        return Err(CocoRleError::TooLarge);
    }
    let found: u64 = counts.iter().map(|n| u64::from(*n)).sum();
    if found != expected {
        return Err(CocoRleError::Pixels { found, width, height, expected });
    }
    let mut spans = Vec::new();
    let mut at = 0;
    for (i, count) in counts.iter().enumerate() {
        if i % 2 == 1 {
            push_lines(&mut spans, at, at + count, height)?;
        }
        at += count;
    }
    let ends = in_other_order(spans.into_iter(), width, height)?;
    Ok(mask_of_ends(&ends, width, height)?)
}

/// The text of counts as pycocotools writes it: differences to the count two before, in groups of five bits.
pub fn counts_text(counts: &[u32]) -> String {
    let mut text = String::new();
    for (i, count) in counts.iter().enumerate() {
        let before = if i > 2 { i64::from(counts[i - 2]) } else { 0 };
        let mut rest = i64::from(*count) - before;
        loop {
            let group = rest & 0x1f;
            rest >>= 5;
            let has_more = if group & 0x10 == 0 { rest != 0 } else { rest != -1 };
            let byte = group as u8 | if has_more { 0x20 } else { 0 };
            let _ = text.write_char(char::from(byte + 48));
            if !has_more {
                break;
            }
        }
    }
    text
}

/// The counts of such a text.
///
/// # Errors
/// A character is outside the code, or a count is negative or has more than 32 bits.
pub fn counts_of_text(text: &str) -> Result<Vec<u32>, CocoRleError> {
    let mut counts: Vec<u32> = Vec::with_capacity(text.len() / 2);
    let (mut value, mut shift) = (0i64, 0);
    let wrong = |at: usize| CocoRleError::Text { at: at + 1 };
    for (at, byte) in text.bytes().enumerate() {
        let group = byte.checked_sub(48).filter(|group| *group < 64 && shift < 40).ok_or(wrong(at))?;
        value |= i64::from(group & 0x1f) << shift;
        shift += 5;
        if group & 0x20 != 0 {
            continue;
        }
        if group & 0x10 != 0 {
            value |= -1 << shift;
        }
        let before = if counts.len() > 2 { i64::from(counts[counts.len() - 2]) } else { 0 };
        counts.push(u32::try_from(value + before).map_err(|_| wrong(at))?);
        (value, shift) = (0, 0);
    }
    if shift > 0 { Err(wrong(text.len())) } else { Ok(counts) }
}

/// The mask that COCO makes from a polygon. It contains the pixels whose centre, half a pixel to the right of and below
/// the vertices' grid, is inside; OpenCV also draws the outline, so that its masks are larger.
///
/// # Errors
/// The mask is too large.
pub fn mask_of_polygon(points: &[[i32; 2]], width: u32, height: u32) -> Result<RunMask, CocoRleError> {
    /// Steps per pixel along the outline.
    const SCALE: f64 = 5.0;
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(CocoRleError::TooLarge);
    }
    let fine: Vec<[i64; 2]> = points.iter().map(|p| p.map(|v| (SCALE * f64::from(v) + 0.5) as i64)).collect();
    let mut ends: Vec<u32> = Vec::new();
    let mut last: Option<[i64; 2]> = None;
    let mut visit = |at: [i64; 2]| {
        // A step to another column crosses the boundary between the two.
        if let Some(before) = last.replace(at)
            && before[0] != at[0]
        {
            let left = if at[0] < before[0] { at[0] } else { at[0] - 1 };
            let x = (left as f64 + 0.5) / SCALE - 0.5;
            if x.floor() != x || x < 0.0 || x > f64::from(width) - 1.0 {
                return;
            }
            let y = (at[1].min(before[1]) as f64 + 0.5) / SCALE - 0.5;
            let y = y.clamp(0.0, height.into()).ceil();
            ends.push(x as u32 * height + y as u32);
        }
    };
    for (i, from) in fine.iter().enumerate() {
        visit_edge(*from, fine[(i + 1) % fine.len()], &mut visit);
    }
    ends.sort_unstable();
    let ends = without_pairs(ends);
    let mut spans = Vec::new();
    let pixels = width * height;
    for pair in ends.chunks(2) {
        push_lines(&mut spans, pair[0], *pair.get(1).unwrap_or(&pixels), height)?;
    }
    let ends = in_other_order(spans.into_iter(), width, height)?;
    Ok(mask_of_ends(&ends, width, height)?)
}

/// The points of an edge in steps of one along its longer side, computed from the end with the smaller coordinate.
fn visit_edge(from: [i64; 2], to: [i64; 2], visit: &mut impl FnMut([i64; 2])) {
    let (dx, dy) = ((from[0] - to[0]).abs(), (from[1] - to[1]).abs());
    let long = usize::from(dx < dy);
    let is_flipped = from[long] > to[long];
    let (low, high) = if is_flipped { (to, from) } else { (from, to) };
    let length = dx.max(dy);
    let slope = (high[1 - long] - low[1 - long]) as f64 / length as f64;
    for step in 0..=length {
        let t = if is_flipped { length - step } else { step };
        // Of an edge without length, the slope is NaN, which becomes 0.
        let across = (low[1 - long] as f64 + slope * t as f64 + 0.5) as i64;
        let mut at = [0; 2];
        at[long] = low[long] + t;
        at[1 - long] = across;
        visit(at);
    }
}

/// Set pixels `from..to` of a row or column.
#[derive(Clone, Copy, Debug)]
struct Span {
    line: u32,
    from: u32,
    to: u32,
}

/// Cuts the run `from..to` at the ends of lines of this length.
fn push_lines(spans: &mut Vec<Span>, mut from: u32, to: u32, length: u32) -> Result<(), CocoRleError> {
    while from < to {
        let line = from / length;
        let end = to.min((line + 1) * length);
        spans.push(Span { line, from: from - line * length, to: end - line * length });
        from = end;
        if spans.len() > MAX_ENDS {
            return Err(CocoRleError::TooLarge);
        }
    }
    Ok(())
}

/// The starts and ends of runs in the other order (column by column, of spans in rows), sorted. `lines` is the number of
/// lines that the spans are in, `length` the length of a line.
fn in_other_order(spans: impl Iterator<Item = Span>, lines: u32, length: u32) -> Result<Vec<u32>, CocoRleError> {
    let mut ends: Vec<u32> = Vec::new();
    // Ends of the spans in the last line and in the one before.
    let (mut before, mut now): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
    let mut line = 0;
    let mut close = |line: u32, before: &[u32], now: &[u32]| {
        // Between an even and an odd end, one of the two lines is set and the other is not.
        let mut both: Vec<u32> = before.iter().chain(now).copied().collect();
        both.sort_unstable();
        for pair in both.chunks_exact(2) {
            if ends.len() + (pair[1] - pair[0]) as usize > MAX_ENDS {
                return Err(CocoRleError::TooLarge);
            }
            ends.extend((pair[0]..pair[1]).map(|at| at * lines + line));
        }
        Ok(())
    };
    for span in spans {
        while line < span.line {
            close(line, &before, &now)?;
            before = std::mem::take(&mut now);
            line += 1;
            if before.is_empty() {
                line = span.line;
            }
        }
        now.extend([span.from, span.to]);
    }
    while line < lines && !(before.is_empty() && now.is_empty()) {
        close(line, &before, &now)?;
        before = std::mem::take(&mut now);
        line += 1;
    }
    close(lines, &before, &[])?;
    debug_assert!(length > 0 || ends.is_empty());
    ends.sort_unstable();
    Ok(without_pairs(ends))
}

/// Sorted ends without those that occur twice: there, one run ends and the next begins.
fn without_pairs(ends: Vec<u32>) -> Vec<u32> {
    let mut kept: Vec<u32> = Vec::with_capacity(ends.len());
    for end in ends {
        if kept.last() == Some(&end) {
            kept.pop();
        } else {
            kept.push(end);
        }
    }
    kept
}

fn mask_of_ends(ends: &[u32], width: u32, height: u32) -> Result<RunMask, MaskError> {
    let pixels = width * height;
    let runs = ends.chunks(2).map(|pair| {
        let end = *pair.get(1).unwrap_or(&pixels);
        PixelRun { start: pair[0], len: end - pair[0] }
    });
    RunMask::from_runs(width, height, runs.filter(|run| run.len > 0).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn counts_are_column_by_column() {
        let mask = RunMask::from_dense(&[0, 1, 1, 0, 1, 0], 3, 2);
        assert_eq!(counts(&mask).unwrap(), [2, 3, 1]);
        assert_eq!(counts(&RunMask::empty(3, 2)).unwrap(), [6]);
        assert_eq!(counts(&RunMask::full(3, 2)).unwrap(), [0, 6]);
        assert_eq!(counts(&RunMask::empty(0, 0)).unwrap(), [0]);
        let found = CocoRleError::Pixels { found: 7, width: 3, height: 2, expected: 6 };
        assert_eq!(mask_of_counts(&[3, 4], 3, 2), Err(found));
        assert_eq!(mask_of_counts(&[u32::MAX, u32::MAX], 1 << 16, 1 << 16), Err(CocoRleError::TooLarge));
    }

    #[test]
    fn wrong_texts_are_errors() {
        for text in ["~~~~", "P", "PPPPPPPPPPPP0", "\u{7f}", "!", "손", "O"] {
            assert!(counts_of_text(text).is_err(), "{text}");
        }
        assert_eq!(counts_of_text("").unwrap(), Vec::<u32>::new());
    }

    #[test]
    fn masks_with_too_many_runs_are_refused() {
        // Every second column is set: few runs in columns, many in rows.
        let (width, height) = (8192u32, 8192u32);
        let columns = vec![height; width as usize];
        assert_eq!(mask_of_counts(&columns, width, height), Err(CocoRleError::TooLarge));
    }

    proptest! {
        #[test]
        fn counts_and_text_give_the_mask_again(
            width in 1u32..40,
            height in 1u32..40,
            seed in prop::collection::vec(0u8..4, 1..2000),
        ) {
            let dense: Vec<u8> =
                (0..(width * height) as usize).map(|i| u8::from(seed[(i * 7) % seed.len()] == 0)).collect();
            let mask = RunMask::from_dense(&dense, width, height);
            let counts = counts(&mask).unwrap();
            prop_assert_eq!(&mask_of_counts(&counts, width, height).unwrap(), &mask);
            let mut expected = vec![0u32];
            let mut state = 0;
            for x in 0..width {
                for y in 0..height {
                    let set = dense[(y * width + x) as usize];
                    if set != state {
                        expected.push(0);
                        state = set;
                    }
                    *expected.last_mut().unwrap() += 1;
                }
            }
            prop_assert_eq!(&counts, &expected);
            prop_assert_eq!(counts_of_text(&counts_text(&counts)).unwrap(), counts);
        }
    }
}
