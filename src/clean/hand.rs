//! The hand in an image without masks: what is brighter than the background and hangs together.

use image::{GrayImage, Luma};
use imageproc::contrast::otsu_level;
use imageproc::distance_transform::Norm;
use imageproc::morphology;

use crate::geometry::PixelBox;
use crate::mask::RunMask;

/// Cells along the longer side of the grid on which the hand is looked for.
const GRID: u32 = 256;

/// The smallest and the largest share of the image that is believed to be a hand.
const SHARES: (f64, f64) = (0.02, 0.95);

/// Which part of an image is hand, on a grid of square cells.
#[derive(Clone, Debug, PartialEq)]
pub struct Hand {
    /// Side of a cell in pixels.
    cell: u32,
    /// 255 in the hand.
    grid: GrayImage,
    width: u32,
    height: u32,
}

/// Finds the hand: the image is averaged over cells; the threshold lies halfway between the background's median and Otsu's
/// level (Otsu, 1979), which would part bone from flesh in a well exposed image; gaps are closed, the largest component is taken
/// and its holes are filled. `None` where that covers less than 2 % or more than 95 % of the image.
///
/// An image whose upper, left and right borders are mostly above the threshold is taken for an inverted one.
pub fn find_hand(image: &GrayImage) -> Option<Hand> {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return None;
    }
    let cell = width.max(height).div_ceil(GRID);
    let mut grid = averaged(image, cell);
    let mut level = threshold(&grid);
    if bright_border(&grid, level) {
        image::imageops::invert(&mut grid);
        level = threshold(&grid);
    }
    for pixel in grid.pixels_mut() {
        pixel.0 = [if pixel.0[0] > level { 255 } else { 0 }];
    }
    let closed = morphology::close(&grid, Norm::L2, 4);
    let (columns, rows) = closed.dimensions();
    let largest = RunMask::from_dense(closed.as_raw(), columns, rows).components().into_iter().next()?;
    let hand = Hand { cell, grid: painted(&without_holes(&largest)), width, height };
    let share = hand.grid.pixels().filter(|p| p.0[0] > 0).count() as f64 / f64::from(columns * rows);
    (SHARES.0..=SHARES.1).contains(&share).then_some(hand)
}

impl Hand {
    /// The cells within `radius` pixels of a mask: a hand drawn around its bones.
    pub fn around_masks(masks: &[RunMask], radius: u32, width: u32, height: u32) -> Hand {
        let cell = width.max(height).div_ceil(GRID).max(1);
        let mut grid = GrayImage::new(width.div_ceil(cell), height.div_ceil(cell));
        for (y, start, end) in masks.iter().flat_map(RunMask::rows) {
            for x in start / cell..=(end - 1) / cell {
                grid.put_pixel(x, y / cell, Luma([255]));
            }
        }
        let cells = radius.div_ceil(cell).min(u32::from(u8::MAX)) as u8;
        Hand { cell, grid: morphology::dilate(&grid, Norm::L2, cells), width, height }
    }

    /// Whether the pixel is in the hand.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        self.grid.get_pixel(x / self.cell, y / self.cell).0[0] > 0
    }

    /// The box of the hand in pixels of the image; `None` where no cell is hand.
    pub fn bounding_box(&self) -> Option<PixelBox> {
        let cells = RunMask::from_dense(self.grid.as_raw(), self.grid.width(), self.grid.height()).bounding_box()?;
        Some(PixelBox {
            x_min: cells.x_min * self.cell,
            y_min: cells.y_min * self.cell,
            x_max: ((cells.x_max + 1) * self.cell - 1).min(self.width - 1),
            y_max: ((cells.y_max + 1) * self.cell - 1).min(self.height - 1),
        })
    }

    /// Share of the masks' pixels that are in the hand, 0 to 1; 1 where there are none.
    pub fn share_of(&self, masks: &[RunMask]) -> f64 {
        let (mut inside, mut all) = (0u64, 0u64);
        for (y, start, end) in masks.iter().flat_map(RunMask::rows) {
            all += u64::from(end - start);
            inside += (start..end).filter(|x| self.contains(*x, y)).count() as u64;
        }
        if all == 0 { 1.0 } else { inside as f64 / all as f64 }
    }

    /// The hand grown by `radius` pixels, so that its rim is kept.
    pub fn grown(&self, radius: u32) -> Hand {
        let cells = radius.div_ceil(self.cell).min(u32::from(u8::MAX)) as u8;
        Hand { grid: morphology::dilate(&self.grid, Norm::L2, cells), ..self.clone() }
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

/// Halfway between the median of what is at or below Otsu's level and that level.
fn threshold(grid: &GrayImage) -> u8 {
    let otsu = otsu_level(grid);
    let mut below: Vec<u8> = grid.pixels().map(|p| p.0[0]).filter(|v| *v <= otsu).collect();
    if below.is_empty() {
        return otsu;
    }
    let middle = below.len() / 2;
    let background = *below.select_nth_unstable(middle).1;
    background + (otsu - background) / 2
}

/// Whether most of the upper, left and right border is above the level. The forearm leaves through the lower one.
fn bright_border(grid: &GrayImage, level: u8) -> bool {
    let (columns, rows) = grid.dimensions();
    let top = (0..columns).map(|x| (x, 0));
    let sides = (0..rows).flat_map(|y| [(0, y), (columns - 1, y)]);
    let (mut bright, mut all) = (0, 0);
    for (x, y) in top.chain(sides) {
        bright += u32::from(grid.get_pixel(x, y).0[0] > level);
        all += 1;
    }
    2 * bright > all
}

/// The mask with what it encloses.
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
    GrayImage::from_raw(mask.width(), mask.height(), dense).expect("a dense mask has a byte a pixel")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bright disc with brighter bone on a dark, noisy, uneven ground.
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
        let hand = find_hand(image).expect("there is a disc");
        let b = hand.bounding_box().unwrap();
        for (found, expected) in
            [(b.x_min, cx - radius), (b.y_min, cy - radius), (b.x_max, cx + radius), (b.y_max, cy + radius)]
        {
            assert!(found.abs_diff(expected) <= 8, "{b:?}");
        }
        assert!(hand.contains(cx, cy) && !hand.contains(2, 2));
    }

    #[test]
    fn finds_flesh_and_bone_on_dark_ground() {
        assert_found(&disc(600, 400, 300, 180, 120), 300, 180, 120);
        assert_found(&disc(100, 130, 50, 60, 30), 50, 60, 30);
    }

    #[test]
    fn finds_it_in_an_inverted_image() {
        let mut image = disc(600, 400, 300, 180, 120);
        image::imageops::invert(&mut image);
        assert_found(&image, 300, 180, 120);
    }

    #[test]
    fn dark_spots_within_belong_to_it() {
        let mut image = disc(600, 400, 300, 180, 120);
        for y in 160..200 {
            for x in 230..270 {
                image.put_pixel(x, y, Luma([10]));
            }
        }
        assert!(find_hand(&image).unwrap().contains(250, 180));
    }

    #[test]
    fn nothing_is_found_in_an_even_image() {
        assert_eq!(find_hand(&GrayImage::from_pixel(300, 200, Luma([40]))), None);
        assert_eq!(find_hand(&GrayImage::new(0, 0)), None);
        assert!(find_hand(&GrayImage::new(1, 1)).is_none());
    }

    #[test]
    fn a_hand_around_masks_holds_them() {
        let mask = RunMask::from_polygon(&[[100, 100], [140, 100], [140, 180], [100, 180]], 600, 400);
        let hand = Hand::around_masks(std::slice::from_ref(&mask), 20, 600, 400);
        assert_eq!(hand.share_of(std::slice::from_ref(&mask)), 1.0);
        assert!(hand.contains(85, 140) && !hand.contains(60, 140));
        let elsewhere = RunMask::from_polygon(&[[400, 300], [500, 350]], 600, 400);
        assert_eq!(hand.share_of(std::slice::from_ref(&elsewhere)), 0.0);
    }
}
