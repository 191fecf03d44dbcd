use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::holes::Holes;
use super::{Amount, Change, HoleFill, SampleView, Step};
use crate::geometry::{PixelBox, Size};
use crate::violation::Violations;

/// Drops one rectangle in each cell of a grid, as albumentations' `GridDropout`. P. Chen et al., GridMask data
/// augmentation, 2020.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct GridDropout {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Side of a hole as a share of its cell's side: a number, or [least, most]. Above 0 to 1; default 0.5. A hole has at
    /// least one pixel, and at least one less than its cell in each direction.
    pub ratio: Amount,
    /// Side of a cell as a share of the image's side: a number, or [least, most]. Above 0 to 0.5; default 0.1. Cells that
    /// do not divide the image evenly differ by a pixel.
    pub unit: Amount,
    /// Place of each hole in its cell as shares of the free space to the right and down, `[0.0, 0.0]` for the upper left
    /// corner; absent: a random place, drawn for each hole.
    #[schemars(example = [0.0, 0.0])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<[f64; 2]>,
    /// Grey level of the dropped pixels: a number from 0 to 255, `random` (one random level for each hole;
    /// albumentations' `random_uniform`) or `noise` (a random level for each pixel; albumentations' `random`). Default 0.
    pub fill: HoleFill,
    /// Whether the dropped pixels lose their labels too. Default false: the model has to guess the hidden bone.
    pub erase_labels: bool,
}

impl Default for GridDropout {
    fn default() -> Self {
        GridDropout {
            p: 0.5,
            ratio: Amount::Fixed(0.5),
            unit: Amount::Fixed(0.1),
            shift: None,
            fill: HoleFill::default(),
            erase_labels: false,
        }
    }
}

impl GridDropout {
    /// The holes of one sample, row by row.
    fn holes(&self, size: Size, rng: &mut ChaCha8Rng) -> Vec<PixelBox> {
        let (ratio, unit) = (self.ratio.draw(rng), self.unit.draw(rng));
        let rows = cells(size.height, unit, rng);
        let columns = cells(size.width, unit, rng);
        let mut holes = Vec::with_capacity(rows.len() * columns.len());
        for &(top, height) in &rows {
            for &(left, width) in &columns {
                let mut place = |start: u32, length: u32, axis: usize| {
                    let hole = ((f64::from(length) * ratio) as u32).clamp(1, (length - 1).max(1));
                    let free = length - hole;
                    let shift = match self.shift {
                        Some(shift) => (shift[axis] * f64::from(free)).round() as u32,
                        None => rng.random_range(0..=free),
                    };
                    (start + shift, start + shift + hole - 1)
                };
                let (y_min, y_max) = place(top, height, 1);
                let (x_min, x_max) = place(left, width, 0);
                holes.push(PixelBox { x_min, y_min, x_max, y_max });
            }
        }
        holes
    }
}

/// Start and length of the cells along a side. The cells that are a pixel longer, if it cannot be divided evenly, are at
/// random places.
fn cells(side: u32, unit: f64, rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
    let length = ((f64::from(side) * unit) as u32).max(2);
    let count = (side / length).max(1);
    let mut lengths: Vec<u32> = (0..count).map(|i| side / count + u32::from(i < side % count)).collect();
    lengths.shuffle(rng);
    let mut start = 0;
    let cell = |length: u32| {
        start += length;
        (start - length, length)
    };
    lengths.into_iter().map(cell).collect()
}

impl Step for GridDropout {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let holes = self.holes(view.size(), rng);
        Some(Change::operation(Holes::new(view.size(), &holes, self.fill, self.erase_labels, rng)))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.ratio.expect(&mut wrong, "ratio", |v| v > 0.0 && v <= 1.0, "a share above 0 to 1");
        self.unit.expect(&mut wrong, "unit", |v| v > 0.0 && v <= 0.5, "a share above 0 to 0.5");
        if let Some(shift) = self.shift {
            let holds = shift.iter().all(|v| (0.0..=1.0).contains(v));
            wrong.expect(holds, "shift", format_args!("{shift:?}"), "two shares from 0 to 1 (leave it out for random)");
        }
        wrong.extend(self.fill.violations());
        wrong
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::list::tests::assert_uniform;

    #[test]
    fn a_grid_by_hand() {
        let (ratio, unit) = (Amount::Fixed(0.5), Amount::Fixed(0.5));
        let step = GridDropout { ratio, unit, shift: Some([1.0, 0.0]), ..GridDropout::default() };
        let holes = step.holes(Size { width: 8, height: 4 }, &mut ChaCha8Rng::seed_from_u64(1));
        let hole = |x_min, y_min, x_max, y_max| PixelBox { x_min, y_min, x_max, y_max };
        assert_eq!(holes, [hole(2, 0, 3, 0), hole(6, 0, 7, 0), hole(2, 2, 3, 2), hole(6, 2, 7, 2)]);
        // A ratio of 1 leaves a pixel of each cell, and a side of one pixel is one hole.
        let whole = GridDropout { ratio: Amount::Fixed(1.0), shift: Some([0.0; 2]), ..step };
        assert_eq!(whole.holes(Size { width: 8, height: 4 }, &mut ChaCha8Rng::seed_from_u64(1))[3], hole(4, 2, 6, 2));
        assert_eq!(whole.holes(Size::square(1), &mut ChaCha8Rng::seed_from_u64(1)), [hole(0, 0, 0, 0)]);
    }

    #[test]
    fn cells_cover_the_side_and_the_longer_ones_are_anywhere() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut first_is_longer = 0;
        for _ in 0..400 {
            let cells = cells(1037, 0.1, &mut rng);
            assert_eq!(cells.iter().map(|(start, length)| start + length).collect::<Vec<_>>()[9], 1037);
            assert!(cells.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
            assert_eq!(cells.iter().filter(|(_, length)| *length == 104).count(), 7);
            first_is_longer += u32::from(cells[0].1 == 104);
        }
        // Four standard deviations about 280.
        assert!((243..=317).contains(&first_is_longer), "{first_is_longer}");
    }

    #[test]
    fn holes_are_anywhere_in_their_cells() {
        let step = GridDropout { ratio: Amount::Fixed(0.3), unit: Amount::Fixed(0.5), ..GridDropout::default() };
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let drawn: Vec<Vec<PixelBox>> = (0..4000).map(|_| step.holes(Size::square(4000), &mut rng)).collect();
        for (hole, corner) in [(0, [0.0, 0.0]), (3, [2000.0, 2000.0])] {
            let scaled = |of: fn(&PixelBox) -> u32, start: f64| -> Vec<f64> {
                drawn.iter().map(|holes| (f64::from(of(&holes[hole])) - start) / 700.0 - 1.0).collect()
            };
            assert_uniform(&scaled(|hole| hole.x_min, corner[0]));
            assert_uniform(&scaled(|hole| hole.y_min, corner[1]));
            assert!(drawn.iter().all(|holes| holes[hole].width() == 600 && holes[hole].height() == 600));
        }
        let wrong = GridDropout {
            ratio: Amount::Between([0.5, 1.5]),
            unit: Amount::Fixed(0.0),
            shift: Some([0.0, 2.0]),
            ..GridDropout::default()
        };
        let keys: Vec<String> = wrong.violations().iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["ratio", "unit", "shift"]);
    }
}
