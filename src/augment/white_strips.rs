use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::TchError;

use super::{Amount, Change, DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView, Step};
use crate::closed_enum::closed_enum;
use crate::geometry::Size;
use crate::violation::Violations;

closed_enum! {
    /// A border of an image.
    pub enum ImageBorder ("border") {
        /// The first rows.
        Top = "top",
        /// The first columns.
        Left = "left",
        /// The last rows.
        Bottom = "bottom",
        /// The last columns.
        Right = "right",
    }
}

/// A white strip along one border, as digitisers leave it. Labels stay as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct WhiteStrips {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Width of the strip as a share of the image's side, at least one pixel: a number, or a pair to draw from. Above
    /// 0, up to 0.5; default `[0.007, 0.039]`, 14 to 80 px of 2048.
    pub width: Amount,
    /// Grey level of the strip: a number, or a pair to draw from. From 0 to 255; default `[230, 255]`.
    pub level: Amount,
    /// The borders of which one is drawn for each sample: some of `top`, `left`, `bottom` and `right`. Default
    /// `["top", "left"]`, where digitisers leave them.
    pub borders: Vec<ImageBorder>,
}

impl Default for WhiteStrips {
    fn default() -> Self {
        WhiteStrips {
            p: 0.5,
            width: Amount::Between([0.007, 0.039]),
            level: Amount::Between([230.0, 255.0]),
            borders: vec![ImageBorder::Top, ImageBorder::Left],
        }
    }
}

impl Step for WhiteStrips {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, _view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let border = self.borders[rng.random_range(0..self.borders.len())];
        let [width, level] = [self.width, self.level].map(|amount| amount.draw(rng));
        Some(Change::operation(Strip { border, width, level: level as f32 }))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        self.width.expect(&mut wrong, "width", |v| v > 0.0 && v <= 0.5, "above 0, up to 0.5");
        self.level.expect(&mut wrong, "level", |v| (0.0..=255.0).contains(&v), "from 0 to 255");
        wrong.expect(!self.borders.is_empty(), "borders", "[]", "at least one of top, left, bottom, right");
        wrong
    }
}

/// The parameters of one sample.
struct Strip {
    border: ImageBorder,
    width: f64,
    level: f32,
}

impl Strip {
    /// The columns and rows of the strip.
    fn covered(&self, size: Size) -> [std::ops::Range<usize>; 2] {
        let [columns, rows] = [size.width, size.height].map(|side| side as usize);
        let width = |side: usize| ((self.width * side as f64).round() as usize).clamp(side.min(1), side);
        match self.border {
            ImageBorder::Top => [0..columns, 0..width(rows)],
            ImageBorder::Bottom => [0..columns, rows - width(rows)..rows],
            ImageBorder::Left => [0..width(columns), 0..rows],
            ImageBorder::Right => [columns - width(columns)..columns, 0..rows],
        }
    }
}

impl Operation for Strip {
    fn apply(&self, image: &mut LabelledImage) {
        let [columns, rows] = self.covered(image.size);
        for y in rows {
            image.levels[y * image.size.width as usize..][columns.clone()].fill(self.level);
        }
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

impl DeviceOperation for Strip {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        let (height, width) = image.levels.size2()?;
        let [columns, rows] = self.covered(Size { width: width as u32, height: height as u32 });
        let mut levels = image.levels.f_empty_like()?;
        levels.f_copy_(&image.levels)?;
        let strip = levels.f_narrow(0, rows.start as i64, rows.len() as i64)?;
        let _ = strip.f_narrow(1, columns.start as i64, columns.len() as i64)?.f_fill_(f64::from(self.level))?;
        image.levels = levels;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::trial::{assert_same_on_device, changed, noise};
    use crate::features;

    #[test]
    fn each_border_is_covered() {
        for (border, first, last) in [
            (ImageBorder::Top, 12, 0),
            (ImageBorder::Bottom, 0, 12),
            (ImageBorder::Left, 5, 0),
            (ImageBorder::Right, 0, 5),
        ] {
            let size = Size { width: 12, height: 5 };
            let image = LabelledImage::new(size, vec![7.0; 60], vec![0; 60]);
            let (width, level) = (Amount::Fixed(0.01), Amount::Fixed(240.0));
            let step = WhiteStrips { width, level, borders: vec![border], ..WhiteStrips::default() };
            let levels = changed(&step, image.clone(), 1);
            let white = |at: &dyn Fn(usize) -> bool| (0..60).filter(|i| levels[*i] == 240.0 && at(*i)).count();
            let (near, far) = match border {
                ImageBorder::Top | ImageBorder::Bottom => (white(&|i| i < 12), white(&|i| i >= 48)),
                ImageBorder::Left | ImageBorder::Right => (white(&|i| i % 12 == 0), white(&|i| i % 12 == 11)),
            };
            assert_eq!((near, far), (first, last), "{border}");
            assert_eq!(white(&|_| true), first + last, "one row or column");
            assert_same_on_device(&step, &noise(1, true));
        }
    }

    /// What the scan finds in such an image.
    #[test]
    fn strips_are_found_as_strips() {
        let size = Size::square(256);
        let mut seen = [0; 2];
        for seed in 0..40 {
            let image = LabelledImage::new(size, vec![20.0; size.pixels()], vec![0; size.pixels()]);
            let levels: Vec<u8> = changed(&WhiteStrips::default(), image, seed).iter().map(|v| *v as u8).collect();
            let found = features::levels(&levels, 256, 256, 240).strips;
            let widths = [found.top_px, found.left_px];
            assert!(widths.contains(&0) && (2..=10).contains(&widths[0].max(widths[1])), "{widths:?}");
            seen[usize::from(widths[0] == 0)] += 1;
        }
        assert!(seen.iter().all(|n| *n >= 8), "{seen:?}");
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let wrong = WhiteStrips { width: Amount::Fixed(0.6), borders: vec![], ..WhiteStrips::default() }.violations();
        assert_eq!(wrong.iter().map(|v| &*v.key).collect::<Vec<_>>(), ["width", "borders"]);
    }
}
