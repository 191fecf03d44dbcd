use super::bytes::count;

/// Bright strips that the digitiser leaves along the upper and the left edge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strips {
    /// Rows from the top, 0 for none.
    pub top_px: u32,
    /// Columns from the left, 0 for none.
    pub left_px: u32,
}

/// A line along the edge belongs to a strip where this share of it is bright; a hand never fills a line
/// at the upper or left edge so far, since the background there is dark.
const BRIGHT_SHARE: f64 = 0.6;
/// Grey level from which a pixel is bright here: strips are white, skin over background stays below.
const BRIGHT: u8 = 180;
/// A strip is at most this share of the image's side.
const MAX_SHARE: f64 = 0.15;
/// Columns counted together: a cache line.
const COLUMNS: usize = 64;

/// Bright pixels of the first columns, counted row by row: down a single column every read would miss the cache.
pub struct StripCounts {
    width: usize,
    height: usize,
    /// Of the leftmost columns.
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

    /// The strips, once every row of `pixels` was added. Rows are counted from the top edge, columns from the left, each
    /// until the first line that is not bright; up to 2 dark lines at the very edge are skipped.
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
        // Most images have no strip, and the first few columns say so.
        let further = (COLUMNS..columns).step_by(COLUMNS).flat_map(|first| {
            let mut counts = [0; COLUMNS];
            pixels.chunks_exact(width).for_each(|row| add_bright(&mut counts, &row[first..]));
            counts
        });
        let left = extent(self.left.into_iter().chain(further).take(columns).map(is_bright));
        // What goes on beyond the farthest line looked at is no strip but a bright image.
        let within = |px: u32, lines: usize| if px as usize >= lines { 0 } else { px };
        Strips { top_px: within(top, rows), left_px: within(left, columns) }
    }
}

fn add_bright(counts: &mut [u32; COLUMNS], row: &[u8]) {
    counts.iter_mut().zip(row).for_each(|(count, v)| *count += u32::from(*v >= BRIGHT));
}

/// Lines from the edge to the end of the strip.
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
        // Beyond the columns that are counted first; what goes on beyond where a strip can reach is none.
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
    fn a_bright_hand_across_the_edge_is_no_strip() {
        let mut p = canvas(400, 300, 0, 0);
        for y in 0..100 {
            p[y * 400 + 100..y * 400 + 300].fill(230);
        }
        assert_eq!(strips(&p, 400, 300), Strips::default());
    }
}
