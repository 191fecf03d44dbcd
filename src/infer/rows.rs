use rayon::prelude::*;

use crate::augment::ResizeAxis;
use crate::geometry::Size;
use crate::probability::{LEAST, MapBuilder, ProbabilityMap};

/// Probabilities are limited to the least and the greatest below 1 that single precision has before they become logits.
const LIMITS: [f32; 2] = [f32::MIN_POSITIVE, 1.0 - f32::EPSILON / 2.0];

/// What the rows of a scaled image hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowValues {
    /// Probabilities, for instance means over windows and views.
    Probabilities,
    /// Logits, which single precision holds far beyond the greatest probability below 1.
    Logits,
}

impl RowValues {
    fn logit(self, value: f32) -> f32 {
        match self {
            RowValues::Probabilities => logit(value),
            RowValues::Logits => value,
        }
    }

    fn is_kept(self, value: f32) -> bool {
        match self {
            RowValues::Probabilities => value >= LEAST,
            RowValues::Logits => value >= logit(LEAST),
        }
    }
}

/// Makes the maps of an image from rows of the scaled image, in order. Rows and columns are interpolated linearly between
/// the logits of the probabilities, as the masks of a prediction are; of the scaled image only the last row is kept.
pub(super) struct RowWriter {
    values: RowValues,
    columns: ResizeAxis,
    rows: ResizeAxis,
    /// Whether the scaled image has the image's own size.
    is_same: bool,
    /// Size of the scaled image.
    scaled: Size,
    /// Number of rows of the scaled image that were given.
    given: u32,
    classes: Vec<ClassRows>,
}

struct ClassRows {
    builder: MapBuilder,
    /// The next row of the image.
    next: u32,
    /// The last row of the scaled image that was given.
    last: Vec<f32>,
}

impl RowWriter {
    /// Maps of `classes` classes of an image of `size`, from rows of an image of size `scaled`.
    pub fn new(classes: usize, scaled: Size, size: Size, values: RowValues) -> RowWriter {
        let class = || ClassRows { builder: MapBuilder::new(size), next: 0, last: Vec::new() };
        RowWriter {
            values,
            columns: ResizeAxis::new(scaled.width, size.width),
            rows: ResizeAxis::new(scaled.height, size.height),
            is_same: scaled == size,
            scaled,
            given: 0,
            classes: (0..classes).map(|_| class()).collect(),
        }
    }

    /// Adds rows: `values` are `[classes, rows, columns]`, of which columns right of the scaled image and rows
    /// below it are ignored.
    pub fn push(&mut self, values: &[f32], rows: usize, columns: usize) {
        let used = rows.min((self.scaled.height - self.given) as usize);
        if used == 0 {
            return;
        }
        let (given, width) = (self.given, self.scaled.width as usize);
        let (is_same, row_axis, column_axis, kind) = (self.is_same, &self.rows, &self.columns, self.values);
        self.classes.par_iter_mut().zip(values.par_chunks_exact(rows * columns)).for_each(|(class, values)| {
            let row = |y: usize| &values[y * columns..][..width];
            if is_same {
                for y in 0..used {
                    match kind {
                        RowValues::Probabilities => class.builder.push_row(row(y)),
                        RowValues::Logits => {
                            class.builder.push_row(&row(y).iter().map(|v| sigmoid(*v)).collect::<Vec<f32>>());
                        }
                    }
                }
                return;
            }
            let until = given + used as u32;
            while let Some(tap) = row_axis.taps.get(class.next as usize).filter(|tap| tap.second < until) {
                let source = |y: u32| if y < given { &class.last[..] } else { row((y - given) as usize) };
                let between =
                    Between { above: source(tap.first), below: source(tap.second), share: tap.share, values: kind };
                match between.interpolated(column_axis) {
                    Some((x, part)) => class.builder.push_part(x, &part),
                    None => class.builder.push_part(0, &[]),
                }
                class.next += 1;
            }
            class.last = row(used - 1).to_vec();
        });
        self.given += used as u32;
    }

    /// The maps; rows that were not given are 0.
    pub fn finish(self) -> Vec<ProbabilityMap> {
        self.classes.into_iter().map(|class| class.builder.finish()).collect()
    }
}

/// Two rows of the scaled image, and the share of the lower one.
struct Between<'a> {
    above: &'a [f32],
    below: &'a [f32],
    share: f32,
    values: RowValues,
}

impl Between<'_> {
    /// The interpolated row from its first column that can be kept on; `None` if there is none.
    fn interpolated(&self, columns: &ResizeAxis) -> Option<(u32, Vec<f32>)> {
        // Interpolation exceeds no value, so what lies between negligible pixels is negligible.
        let kept = |x: &usize| self.values.is_kept(self.above[*x]) || self.values.is_kept(self.below[*x]);
        let first = (0..self.above.len()).find(kept)?;
        let last = (first..self.above.len()).rfind(kept)?;
        let logits: Vec<f32> = (first.saturating_sub(1)..(last + 2).min(self.above.len()))
            .map(|x| {
                let (a, b) = (self.values.logit(self.above[x]), self.values.logit(self.below[x]));
                a + (b - a) * self.share
            })
            .collect();
        let offset = first.saturating_sub(1);
        let inside = |x: u32| (offset..offset + logits.len()).contains(&(x as usize));
        let mut from = None;
        let mut part = Vec::new();
        for (x, tap) in columns.taps.iter().enumerate() {
            if inside(tap.first) && inside(tap.second) {
                from.get_or_insert(x as u32);
                let [a, b] = [tap.first, tap.second].map(|x| logits[x as usize - offset]);
                part.push(sigmoid(a + (b - a) * tap.share));
            }
        }
        Some((from?, part))
    }
}

fn logit(p: f32) -> f32 {
    let p = p.clamp(LIMITS[0], LIMITS[1]);
    (p / (1.0 - p)).ln()
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::augment::Letterbox;
    use crate::bones;

    /// Rows in uneven portions give the interpolation of the whole.
    #[test]
    fn rows_equal_the_interpolation_of_the_whole() {
        for (scaled, size) in [
            (Size { width: 24, height: 16 }, Size { width: 100, height: 70 }),
            (Size { width: 40, height: 30 }, Size { width: 20, height: 15 }),
            (Size { width: 9, height: 7 }, Size { width: 9, height: 7 }),
        ] {
            let sides = [3, i64::from(scaled.height), i64::from(scaled.width)];
            let logits = Tensor::randn(sides, (Kind::Float, tch::Device::Cpu)) * 2.0;
            let up =
                logits.unsqueeze(0).upsample_bilinear2d([size.height.into(), size.width.into()], false, None, None);
            let expected = Vec::<f32>::try_from(up.sigmoid().view([-1])).unwrap();
            let padded = logits.sigmoid().constant_pad_nd([0, 5, 0, 4]);
            let mut writer = RowWriter::new(3, scaled, size, RowValues::Probabilities);
            let columns = scaled.width as usize + 5;
            let (mut y, height) = (0, i64::from(scaled.height) + 4);
            for rows in [1, 5, 2, 100] {
                let rows = rows.min(height - y);
                let part = padded.narrow(1, y, rows).contiguous();
                writer.push(&Vec::<f32>::try_from(part.view([-1])).unwrap(), rows as usize, columns);
                y += rows;
            }
            let maps = writer.finish();
            for (i, expected) in expected.iter().enumerate() {
                let (class, at) = (i / size.pixels(), (i % size.pixels()) as u32);
                let found = maps[class].at(at % size.width, at / size.width);
                let negligible = *expected < LEAST * 1.001 && found == 0.0;
                // The logit of a probability near 1 is rounded: at 1 - 1/3000 by 2e-4.
                assert!(negligible || (found - expected).abs() < 1e-4, "{size:?} {i}: {found} {expected}");
            }
        }
    }

    /// Strong logits, whose probability is 1 in single precision: the same pixels as in a prediction of masks.
    #[test]
    fn masks_of_logits_are_those_of_a_prediction() {
        let size = Size { width: 90, height: 61 };
        let fit = Letterbox::new(size.width, size.height, Size { width: 24, height: 16 });
        let sides = [bones::COUNT as i64, 16, 24];
        let logits = Tensor::randn(sides, (Kind::Float, tch::Device::Cpu)) * 40.0;
        let logits = Vec::<f32>::try_from(logits.view([-1])).unwrap();
        let scaled = Size { width: fit.inner_width, height: fit.inner_height };
        let mut writer = RowWriter::new(bones::COUNT, scaled, size, RowValues::Logits);
        writer.push(&logits, 16, 24);
        let expected = fit.masks(&logits);
        for (map, (bone, mask)) in writer.finish().iter().zip(expected.iter()) {
            let differing =
                map.mask(0.5).difference(mask).unwrap().area() + mask.difference(&map.mask(0.5)).unwrap().area();
            // Maps hold steps of 1/65535: a pixel within half a step below one half is set.
            assert!(differing <= 1, "{bone}: {differing} px of {}", mask.area());
        }
    }
}
