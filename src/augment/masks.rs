use rayon::prelude::*;

use super::Letterbox;
use crate::bones;
use crate::mask::{HandMasks, PixelRun, RunMask};

impl Letterbox {
    /// Masks at the image's original size from logits at the model's size, `[29, height, width]` row-major. Logits are upsampled
    /// bilinearly (half-pixel centres, as PyTorch's `interpolate` without align_corners); a pixel is set where its
    /// logit is at least 0, that is, its probability at least 0.5. Each row is written directly as runs: rows without a
    /// positive logit cost nothing, and no class is in memory at full size.
    pub fn masks(&self, logits: &[f32]) -> HandMasks {
        let plane = self.size.pixels();
        debug_assert_eq!(logits.len(), bones::COUNT * plane);
        let columns = Axis::new(self.inner_width, self.width);
        let rows = Axis::new(self.inner_height, self.height);
        let masks: Vec<RunMask> =
            logits.par_chunks_exact(plane).map(|class| self.class_mask(class, &columns, &rows)).collect();
        HandMasks::new(masks).expect("logits hold one plane per class")
    }

    fn class_mask(&self, logits: &[f32], columns: &Axis, rows: &Axis) -> RunMask {
        let (width, inner) = (self.size.width as usize, self.inner_width as usize);
        let source = |row: u32| &logits[row as usize * width..row as usize * width + inner];
        let any: Vec<bool> = (0..self.inner_height).map(|y| source(y).iter().any(|v| *v >= 0.0)).collect();
        let mut runs: Vec<PixelRun> = Vec::new();
        let mut row = vec![0.0f32; inner];
        for (y, tap) in rows.taps.iter().enumerate() {
            if !any[tap.first as usize] && !any[tap.second as usize] {
                continue;
            }
            let (above, below) = (source(tap.first), source(tap.second));
            row.iter_mut().zip(above.iter().zip(below)).for_each(|(v, (a, b))| *v = a + (b - a) * tap.share);
            let start = y as u32 * self.width;
            for (x0, x1) in columns.positive(&row) {
                match runs.last_mut() {
                    Some(last) if last.start + last.len == start + x0 => last.len += x1 - x0,
                    _ => runs.push(PixelRun { start: start + x0, len: x1 - x0 }),
                }
            }
        }
        RunMask::from_runs(self.width, self.height, runs).expect("runs are made in order within the image")
    }
}

/// For each pixel of a target side the two source pixels that it is interpolated from.
struct Axis {
    taps: Vec<Tap>,
}

struct Tap {
    first: u32,
    second: u32,
    share: f32,
}

impl Axis {
    fn new(source: u32, target: u32) -> Axis {
        let scale = f64::from(source) / f64::from(target);
        let taps = (0..target).map(|i| {
            let at = ((f64::from(i) + 0.5) * scale - 0.5).max(0.0);
            let first = (at.floor() as u32).min(source - 1);
            Tap { first, second: (first + 1).min(source - 1), share: (at - f64::from(first)) as f32 }
        });
        Axis { taps: taps.collect() }
    }

    /// The parts `[from, to)` of the target where the interpolated row is at least 0.
    fn positive(&self, row: &[f32]) -> Vec<(u32, u32)> {
        let mut parts: Vec<(u32, u32)> = Vec::new();
        for (x, tap) in self.taps.iter().enumerate() {
            let (a, b) = (row[tap.first as usize], row[tap.second as usize]);
            let set = if (a >= 0.0) == (b >= 0.0) { a >= 0.0 } else { a + (b - a) * tap.share >= 0.0 };
            if set {
                let x = x as u32;
                match parts.last_mut() {
                    Some(last) if last.1 == x => last.1 += 1,
                    _ => parts.push((x, x + 1)),
                }
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;
    use crate::geometry::Size;

    /// ATen rounds the interpolation in another order, so pixels within a few millionths of the threshold may differ;
    /// random logits have almost none.
    #[test]
    fn masks_equal_interpolation_and_threshold() {
        let wide = Size { width: 48, height: 16 };
        let square = [(100, 100, 32), (75, 100, 32), (32, 32, 32), (20, 16, 32), (64, 40, 16)];
        let square = square.map(|(width, height, side)| (width, height, Size::square(side)));
        for (width, height, size) in square.into_iter().chain([(70, 40, wide), (30, 100, wide), (96, 32, wide)]) {
            let fit = Letterbox::new(width, height, size);
            let [rows, columns] = size.shape();
            let logits = Tensor::randn([29, rows, columns], (Kind::Float, tch::Device::Cpu));
            let inner = logits.narrow(1, 0, fit.inner_height.into()).narrow(2, 0, fit.inner_width.into());
            let up = inner.unsqueeze(0).upsample_bilinear2d([i64::from(height), i64::from(width)], false, None, None);
            let expected = Vec::<u8>::try_from(up.ge(0.0).to_kind(Kind::Uint8).view([-1])).unwrap();
            let masks = fit.masks(&Vec::<f32>::try_from(logits.view([-1])).unwrap());
            let ours: Vec<u8> = masks.as_slice().iter().flat_map(RunMask::to_dense).collect();
            let wrong = ours.iter().zip(&expected).filter(|(a, b)| a != b).count();
            assert!(wrong <= 3, "{wrong} of {} pixels differ at {width}x{height}", ours.len());
        }
    }
}
