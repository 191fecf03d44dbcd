//! Finding the hand in an image without masks: the largest connected region that is brighter than the background.

use image::{GrayImage, Luma};
use imageproc::distance_transform::Norm;
use imageproc::filter::median_filter;
use imageproc::morphology;

use crate::geometry::PixelBox;
use crate::mask::RunMask;

/// Cells along the longer side of the grid that is searched for the hand.
const GRID: u32 = 256;

/// The smallest and the largest share of the image that a hand can have.
const SHARES: (f64, f64) = (0.02, 0.95);

/// The part of an image that is hand, on a grid of square cells.
#[derive(Clone, Debug, PartialEq)]
pub struct HandRegion {
    /// Side of a cell in pixels.
    cell: u32,
    /// 255 in the hand, 0 outside.
    grid: GrayImage,
    width: u32,
    height: u32,
}

/// Finds the hand: averages the image over cells, separates hand and background by a threshold, closes gaps, takes the
/// largest component and fills its holes. `None` if the result covers less than 2 % or more than 95 % of the image.
///
/// The first threshold is Otsu's (1979). In a well exposed image it separates bone from flesh. If the levels below it
/// form two clearly different groups, the threshold between these groups is tried next, and then each higher one, until
/// the upper, left and right border and half of the image are dark: an uneven background reaches these borders, whereas
/// the hand enters from below. An image whose borders are mostly above Otsu's threshold is treated as inverted. The
/// first `strip_top` rows and `strip_left` columns are ignored.
pub fn find_hand(image: &GrayImage, strip_top: u32, strip_left: u32) -> Option<HandRegion> {
    let (width, height) = image.dimensions();
    if strip_left >= width || strip_top >= height {
        return None;
    }
    let cell = width.max(height).div_ceil(GRID);
    let mut grid = averaged(image, cell);
    let (columns, rows) = grid.dimensions();
    // The first cells without a pixel of a strip.
    let (first_column, first_row) =
        (strip_left.div_ceil(cell).min(columns - 1), strip_top.div_ceil(cell).min(rows - 1));
    let mut histogram = [0u32; 256];
    for (x, y, pixel) in grid.enumerate_pixels() {
        if x >= first_column && y >= first_row {
            histogram[usize::from(pixel.0[0])] += 1;
        }
    }
    let mut upper = otsu(&histogram)?;
    if border_above(&grid, upper.level, first_column, first_row) > 0.5 {
        image::imageops::invert(&mut grid);
        histogram.reverse();
        upper = otsu(&histogram)?;
    }
    let level = flesh_level(&histogram, &upper, |level| border_above(&grid, level, first_column, first_row));
    for (x, y, pixel) in grid.enumerate_pixels_mut() {
        let hand = x >= first_column && y >= first_row && pixel.0[0] > level;
        pixel.0 = [if hand { 255 } else { 0 }];
    }
    // Remove specks of noise first; closing gaps would join them.
    let closed = morphology::close(&median_filter(&grid, 1, 1), Norm::L2, 4);
    let largest = RunMask::from_dense(closed.as_raw(), columns, rows).components().into_iter().next()?;
    let hand = HandRegion { cell, grid: painted(&without_holes(&largest)), width, height };
    let share = hand.grid.pixels().filter(|p| p.0[0] > 0).count() as f64 / f64::from(columns * rows);
    (SHARES.0..=SHARES.1).contains(&share).then_some(hand)
}

impl HandRegion {
    /// The cells within `radius` pixels of a mask, in an image of `width` x `height` pixels: an estimate of the hand
    /// from its bones.
    pub fn around_masks(masks: &[RunMask], radius: u32, width: u32, height: u32) -> HandRegion {
        let cell = width.max(height).div_ceil(GRID).max(1);
        let mut grid = GrayImage::new(width.div_ceil(cell), height.div_ceil(cell));
        for (y, start, end) in masks.iter().flat_map(RunMask::rows) {
            for x in start / cell..=(end - 1) / cell {
                grid.put_pixel(x, y / cell, Luma([255]));
            }
        }
        let cells = radius.div_ceil(cell).min(u32::from(u8::MAX)) as u8;
        HandRegion { cell, grid: morphology::dilate(&grid, Norm::L2, cells), width, height }
    }

    /// Whether the pixel is in the hand. Panics for a pixel outside the image.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        self.grid.get_pixel(x / self.cell, y / self.cell).0[0] > 0
    }

    /// The bounding box of the hand in pixels of the image; `None` if no cell is hand.
    pub fn bounding_box(&self) -> Option<PixelBox> {
        let cells = RunMask::from_dense(self.grid.as_raw(), self.grid.width(), self.grid.height()).bounding_box()?;
        Some(PixelBox {
            x_min: cells.x_min * self.cell,
            y_min: cells.y_min * self.cell,
            x_max: ((cells.x_max + 1) * self.cell - 1).min(self.width - 1),
            y_max: ((cells.y_max + 1) * self.cell - 1).min(self.height - 1),
        })
    }

    /// Share of the masks' pixels that are in the hand, 0 to 1; 1 for empty masks.
    pub fn share_of(&self, masks: &[RunMask]) -> f64 {
        let (mut inside, mut all) = (0u64, 0u64);
        for (y, start, end) in masks.iter().flat_map(RunMask::rows) {
            all += u64::from(end - start);
            inside += (start..end).filter(|x| self.contains(*x, y)).count() as u64;
        }
        if all == 0 { 1.0 } else { inside as f64 / all as f64 }
    }

    /// The hand grown by `radius` pixels.
    pub fn grown(&self, radius: u32) -> HandRegion {
        let cells = radius.div_ceil(self.cell).min(u32::from(u8::MAX)) as u8;
        HandRegion { grid: morphology::dilate(&self.grid, Norm::L2, cells), ..self.clone() }
    }
}

/// Mean of each cell; cells at the right and lower edge may be smaller.
fn averaged(image: &GrayImage, cell: u32) -> GrayImage {
    let (width, height) = image.dimensions();
    let columns = width.div_ceil(cell);
    let mut grid = GrayImage::new(columns, height.div_ceil(cell));
    let mut sums = vec![0u32; columns as usize];
    for row in 0..grid.height() {
        let lines = row * cell..((row + 1) * cell).min(height);
        sums.fill(0);
        for y in lines.clone() {
            let line = &image.as_raw()[(y * width) as usize..((y + 1) * width) as usize];
            for (sum, pixels) in sums.iter_mut().zip(line.chunks(cell as usize)) {
                *sum += pixels.iter().map(|p| u32::from(*p)).sum::<u32>();
            }
        }
        for (column, sum) in (0..).zip(&sums) {
            let pixels = ((column + 1) * cell).min(width) - column * cell;
            grid.put_pixel(column, row, Luma([(sum / (pixels * lines.len() as u32)) as u8]));
        }
    }
    grid
}

/// A threshold that divides grey levels into two groups.
struct Threshold {
    /// Highest level of the lower group; in the middle of the gap if there is one between the groups.
    level: u8,
    /// Mean levels of the lower and the upper group.
    means: [f64; 2],
}

/// The difference of flesh and background is at least this share of that of bone and background; a smaller one is
/// noise.
const MIN_STEP: f64 = 0.15;
/// Largest share of the border that may be above the threshold.
const MAX_BORDER: f64 = 0.05;
/// Largest share of the image that may be above the threshold.
const MAX_AREA: f64 = 0.5;

/// The highest grey level of the background. `upper` is Otsu's threshold of the whole histogram; `border_above` gives
/// the share of the border that is above a level.
fn flesh_level(histogram: &[u32; 256], upper: &Threshold, border_above: impl Fn(u8) -> f64) -> u8 {
    let Some(lower) = otsu(&histogram[..=usize::from(upper.level)]) else { return upper.level };
    if lower.means[1] - lower.means[0] < MIN_STEP * (upper.means[1] - lower.means[0]) {
        return upper.level;
    }
    let sum = |counts: &[u32]| counts.iter().map(|n| f64::from(*n)).sum::<f64>();
    let most = MAX_AREA * sum(histogram);
    let dark = |level: &u8| sum(&histogram[usize::from(*level) + 1..]) <= most && border_above(*level) <= MAX_BORDER;
    (lower.level..upper.level).find(dark).unwrap_or(upper.level)
}

/// Otsu's threshold of a histogram; `None` if all pixels have one level.
fn otsu(histogram: &[u32]) -> Option<Threshold> {
    let count: f64 = histogram.iter().map(|n| f64::from(*n)).sum();
    let sum: f64 = (0..).zip(histogram).map(|(level, n)| f64::from(level) * f64::from(*n)).sum();
    let (mut below, mut sum_below) = (0.0, 0.0);
    let mut best: Option<(f64, Threshold)> = None;
    for (level, n) in (0u8..=255).zip(histogram) {
        below += f64::from(*n);
        sum_below += f64::from(level) * f64::from(*n);
        let above = count - below;
        if below == 0.0 || above == 0.0 {
            continue;
        }
        let means = [sum_below / below, (sum - sum_below) / above];
        let between = below * above * (means[1] - means[0]).powi(2);
        if best.as_ref().is_none_or(|(most, _)| between > *most) {
            best = Some((between, Threshold { level, means }));
        }
    }
    let (_, mut best) = best?;
    let gap = histogram[usize::from(best.level) + 1..].iter().take_while(|n| **n == 0).count();
    best.level += (gap / 2) as u8;
    Some(best)
}

/// Share of the upper, left and right border that is above the level. The lower border is left out: the forearm crosses
/// it.
fn border_above(grid: &GrayImage, level: u8, first_column: u32, first_row: u32) -> f64 {
    let (columns, rows) = grid.dimensions();
    let top = (first_column..columns).map(|x| (x, first_row));
    let sides = (first_row..rows).flat_map(|y| [(first_column, y), (columns - 1, y)]);
    let (mut above, mut all) = (0u32, 0u32);
    for (x, y) in top.chain(sides) {
        above += u32::from(grid.get_pixel(x, y).0[0] > level);
        all += 1;
    }
    f64::from(above) / f64::from(all)
}

/// The mask with its holes filled.
fn without_holes(mask: &RunMask) -> RunMask {
    let (width, height) = (mask.width(), mask.height());
    let outside: Vec<u8> = mask.to_dense().iter().map(|v| 1 - v).collect();
    let holes = RunMask::from_dense(&outside, width, height).components().into_iter().filter(|part| {
        part.bounding_box().is_some_and(|b| b.x_min > 0 && b.y_min > 0 && b.x_max < width - 1 && b.y_max < height - 1)
    });
    holes.fold(mask.clone(), |filled, hole| filled.union(&hole).expect("parts have the size of the whole"))
}

fn painted(mask: &RunMask) -> GrayImage {
    let dense = mask.to_dense().into_iter().map(|v| v * 255).collect();
    GrayImage::from_raw(mask.width(), mask.height(), dense).expect("a dense mask has one byte per pixel")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright disc with brighter bone on a dark, noisy, uneven background.
    fn disc(width: u32, height: u32, cx: i64, cy: i64, radius: i64) -> GrayImage {
        GrayImage::from_fn(width, height, |x, y| {
            let (dx, dy) = (i64::from(x) - cx, i64::from(y) - cy);
            let d = dx * dx + dy * dy;
            let grain = (x * 31 + y * 17) % 11 + 12 * x / width;
            let base = if d < radius * radius / 9 {
                190
            } else if d < radius * radius {
                95
            } else {
                12
            };
            Luma([(base + grain) as u8])
        })
    }

    fn assert_found(image: &GrayImage, cx: u32, cy: u32, radius: u32) {
        let hand = find_hand(image, 0, 0).expect("there is a disc");
        let b = hand.bounding_box().unwrap();
        for (found, expected) in
            [(b.x_min, cx - radius), (b.y_min, cy - radius), (b.x_max, cx + radius), (b.y_max, cy + radius)]
        {
            assert!(found.abs_diff(expected) <= 8, "{b:?}");
        }
        assert!(hand.contains(cx, cy) && !hand.contains(2, 2));
    }

    #[test]
    fn finds_flesh_and_bone_on_a_dark_background() {
        assert_found(&disc(600, 400, 300, 180, 120), 300, 180, 120);
        assert_found(&disc(100, 130, 50, 60, 30), 50, 60, 30);
    }

    #[test]
    fn finds_the_hand_in_an_inverted_image() {
        let mut image = disc(600, 400, 300, 180, 120);
        image::imageops::invert(&mut image);
        assert_found(&image, 300, 180, 120);
    }

    #[test]
    fn finds_faint_flesh_on_an_uneven_background() {
        // Bone 140, flesh falling from 55 to 35, background rising from 8 to 29 towards the right border.
        let image = GrayImage::from_fn(512, 512, |x, y| {
            let d = f64::from(x.abs_diff(250)).hypot(f64::from(y.abs_diff(260)));
            let background = 8.0 + 21.0 * f64::from(x) / 512.0;
            let level = if d < 60.0 {
                140.0
            } else if d < 120.0 {
                55.0 - (d - 60.0) / 3.0
            } else {
                background
            };
            Luma([(level + f64::from((x * 31 + y * 17) % 5)) as u8])
        });
        assert_found(&image, 250, 260, 120);
    }

    #[test]
    fn dark_spots_inside_belong_to_the_hand() {
        let mut image = disc(600, 400, 300, 180, 120);
        for y in 160..200 {
            for x in 230..270 {
                image.put_pixel(x, y, Luma([10]));
            }
        }
        assert!(find_hand(&image, 0, 0).unwrap().contains(250, 180));
    }

    #[test]
    fn nothing_is_found_in_a_uniform_image() {
        assert_eq!(find_hand(&GrayImage::from_pixel(300, 200, Luma([40])), 0, 0), None);
        assert_eq!(find_hand(&GrayImage::new(0, 0), 0, 0), None);
        assert_eq!(find_hand(&GrayImage::new(1, 1), 0, 0), None);
        assert_eq!(find_hand(&disc(100, 130, 50, 60, 30), 130, 0), None);
    }

    #[test]
    fn blackened_strips_are_not_taken_for_background() {
        let mut image = disc(600, 400, 300, 180, 120);
        let blacken = |image: &mut GrayImage| {
            for (x, y, pixel) in image.enumerate_pixels_mut() {
                if x < 40 || y < 30 {
                    pixel.0 = [0];
                }
            }
        };
        blacken(&mut image);
        for (top, left) in [(30, 40), (0, 0)] {
            let hand = find_hand(&image, top, left).expect("there is a disc");
            assert!(hand.contains(300, 180) && !hand.contains(60, 50) && !hand.contains(580, 380));
        }
        image::imageops::invert(&mut image);
        // Strips blackened after inversion, as in an inverted image.
        blacken(&mut image);
        let hand = find_hand(&image, 30, 40).expect("there is a disc");
        assert!(hand.contains(300, 180) && !hand.contains(60, 50) && !hand.contains(5, 5));
    }

    #[test]
    fn a_hand_around_masks_contains_them() {
        let mask = RunMask::from_polygon(&[[100, 100], [140, 100], [140, 180], [100, 180]], 600, 400);
        let hand = HandRegion::around_masks(std::slice::from_ref(&mask), 20, 600, 400);
        assert_eq!(hand.share_of(std::slice::from_ref(&mask)), 1.0);
        assert!(hand.contains(85, 140) && !hand.contains(60, 140));
        let elsewhere = RunMask::from_polygon(&[[400, 300], [500, 350]], 600, 400);
        assert_eq!(hand.share_of(std::slice::from_ref(&elsewhere)), 0.0);
    }
}
