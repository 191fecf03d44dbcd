use super::bytes::count;

/// Bright strips that the digitiser leaves along the upper and the left edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strips {
    /// Height in rows from the top, 0 for no strip.
    pub top_px: u32,
    /// Width in columns from the left, 0 for no strip.
    pub left_px: u32,
}

/// A row or column belongs to a strip if this share of its pixels is bright. A hand never fills as much of a row at the
/// upper edge or a column at the left edge, because the background there is dark.
const BRIGHT_SHARE: f64 = 0.6;
/// Grey level from which a pixel counts as bright in this file: strips are white, and skin on background is darker.
const BRIGHT: u8 = 180;
/// A strip is at most this share of the image's side.
const MAX_SHARE: f64 = 0.15;
/// Number of columns counted together: a cache line.
const COLUMNS: usize = 64;

/// Bright pixels per column of the first columns, counted row by row: reading down a column would miss the cache at
/// each pixel.
pub struct StripCounts {
    width: usize,
    height: usize,
    /// Counts of the leftmost columns.
    left: [u32; COLUMNS],
}

impl StripCounts {
    pub fn new(width: usize, height: usize) -> Self {
        StripCounts { width, height, left: [0; COLUMNS] }
    }

    /// Adds a row.
    pub fn add(&mut self, row: &[u8]) {
        add_bright(&mut self.left, row);
    }

    /// The strips; call it after every row of `pixels` was added. A strip ends before the first row (from the top) or
    /// column (from the left) that is not bright; up to 2 dark ones at the very edge are skipped.
    pub fn strips(&self, pixels: &[u8]) -> Strips {
        let (width, height) = (self.width, self.height);
        let rows = (height as f64 * MAX_SHARE) as usize;
        let columns = (width as f64 * MAX_SHARE) as usize;
        let top = extent(
            pixels
                .chunks_exact(width)
                .take(rows)
                .map(|row| count(row, |v| v >= BRIGHT) as f64 >= BRIGHT_SHARE * width as f64),
        );
        let is_bright = |c: u32| f64::from(c) >= BRIGHT_SHARE * height as f64;
        // Most images have no strip; their first few columns show it, and the iterator stops there.
        let further = (COLUMNS..columns).step_by(COLUMNS).flat_map(|first| {
            let mut counts = [0; COLUMNS];
            pixels.chunks_exact(width).for_each(|row| add_bright(&mut counts, &row[first..]));
            counts
        });
        let left = extent(self.left.into_iter().chain(further).take(columns).map(is_bright));
        // A strip that does not end within the examined rows or columns is a bright image instead.
        let within = |px: u32, lines: usize| if px as usize >= lines { 0 } else { px };
        Strips { top_px: within(top, rows), left_px: within(left, columns) }
    }
}

fn add_bright(counts: &mut [u32; COLUMNS], row: &[u8]) {
    counts.iter_mut().zip(row).for_each(|(count, v)| *count += u32::from(*v >= BRIGHT));
}

/// Number of rows or columns from the edge to the end of the strip.
fn extent(bright: impl Iterator<Item = bool>) -> u32 {
    let mut end = 0;
    for (i, b) in bright.enumerate() {
        if b {
            end = i + 1;
        } else if end > 0 || i >= 2 {
            break;
        }
    }
    end as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strips(pixels: &[u8], width: usize, height: usize) -> Strips {
        crate::features::levels(pixels, width, height, 240).strips
    }

    fn canvas(w: usize, h: usize, top: usize, left: usize) -> Vec<u8> {
        let mut p = vec![20u8; w * h];
        for y in 0..h {
            for x in 0..w {
                if (y < top) || (x < left) {
                    p[y * w + x] = 235;
                }
            }
        }
        p
    }

    #[test]
    fn finds_each_strip_and_nothing_on_a_clean_image() {
        assert_eq!(strips(&canvas(400, 300, 0, 0), 400, 300), Strips::default());
        assert_eq!(strips(&canvas(400, 300, 17, 0), 400, 300), Strips { top_px: 17, left_px: 0 });
        assert_eq!(strips(&canvas(400, 300, 0, 21), 400, 300), Strips { top_px: 0, left_px: 21 });
        assert_eq!(strips(&canvas(400, 300, 5, 9), 400, 300), Strips { top_px: 5, left_px: 9 });
        // A strip wider than the columns that are counted first; then one wider than the limit, which does not count.
        assert_eq!(strips(&canvas(1000, 50, 0, 131), 1000, 50), Strips { top_px: 0, left_px: 131 });
        assert_eq!(strips(&canvas(1000, 50, 0, 170), 1000, 50), Strips::default());
    }

    #[test]
    fn a_dark_line_at_the_edge_does_not_hide_a_strip() {
        let mut p = canvas(400, 300, 12, 0);
        p[..400].fill(0);
        assert_eq!(strips(&p, 400, 300).top_px, 12);
    }

    #[test]
    fn a_bright_hand_at_the_edge_is_not_a_strip() {
        let mut p = canvas(400, 300, 0, 0);
        for y in 0..100 {
            p[y * 400 + 100..y * 400 + 300].fill(230);
        }
        assert_eq!(strips(&p, 400, 300), Strips::default());
    }
}
