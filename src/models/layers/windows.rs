use std::cell::RefCell;

use tch::{Device, Kind, TchError, Tensor};

/// Added to the attention score of two positions that must not attend to each other.
const APART: f64 = -100.0;

/// A division of a grid into windows; attention works within one window. With a shift, the grid is rolled first, so
/// that the windows cross the borders of the unshifted windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// Height and width of a window.
    pub side: [i64; 2],
    /// How far the grid is rolled up and to the left.
    pub shift: [i64; 2],
    /// Whether a grid that is not a multiple of the windows is padded before it is rolled (true) or after (false).
    pub pads_first: bool,
}

impl Windows {
    /// Applies `attention` within each window of `x`, `[B, H, W, C]` to the same. `attention` gets the windows,
    /// `[B n, N, C]` with N positions in each of the n windows of an image, and their mask from [`Masks::of`].
    pub fn apply<E: From<TchError>>(
        &self,
        x: &Tensor,
        masks: &Masks,
        attention: impl FnOnce(&Tensor, Option<&Tensor>) -> Result<Tensor, E>,
    ) -> Result<Tensor, E> {
        let size = x.size();
        let [height, width] = [size[1], size[2]];
        let mut x = x.shallow_clone();
        if self.pads_first {
            x = self.roll(&self.pad(&x)?, -1)?;
        } else {
            x = self.pad(&self.roll(&x, -1)?)?;
        }
        let padded = x.size();
        let mask = masks.of(*self, padded[1], padded[2], x.kind(), x.device())?;
        x = self.join(&attention(&self.cut(&x)?, mask.as_ref())?, &padded)?;
        let crop = |x: Tensor| x.f_narrow(1, 0, height)?.f_narrow(2, 0, width);
        Ok(if self.pads_first { crop(self.roll(&x, 1)?)? } else { self.roll(&crop(x)?, 1)? })
    }

    fn is_shifted(&self) -> bool {
        self.shift != [0, 0]
    }

    /// Pads with zeros at the bottom and right up to whole windows.
    fn pad(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let size = x.size();
        let missing = |i: usize| (-size[1 + i]).rem_euclid(self.side[i]);
        match (missing(0), missing(1)) {
            (0, 0) => Ok(x.shallow_clone()),
            (below, right) => x.f_constant_pad_nd([0, 0, 0, right, 0, below]),
        }
    }

    fn roll(&self, x: &Tensor, sign: i64) -> Result<Tensor, TchError> {
        if self.is_shifted() { x.f_roll(self.shift.map(|s| sign * s), [1, 2]) } else { Ok(x.shallow_clone()) }
    }

    /// `[B, H, W, C]` to `[B n, N, C]`.
    fn cut(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let [high, wide] = self.side;
        let size = x.size();
        x.f_reshape([size[0], size[1] / high, high, size[2] / wide, wide, size[3]])?
            .f_permute([0, 1, 3, 2, 4, 5])?
            .f_reshape([-1, high * wide, size[3]])
    }

    /// `[B n, N, C]` to `size`, `[B, H, W, C]`.
    fn join(&self, windows: &Tensor, size: &[i64]) -> Result<Tensor, TchError> {
        let [high, wide] = self.side;
        windows
            .f_reshape([size[0], size[1] / high, size[2] / wide, high, wide, size[3]])?
            .f_permute([0, 1, 3, 2, 4, 5])?
            .f_reshape(size)
    }

    /// The mask `[n, N, N]` of a grid of whole windows: 0 between positions of a window that belonged together before
    /// the grid was rolled, -100 between positions that only the roll brought together.
    fn mask(&self, height: i64, width: i64, kind: Kind, device: Device) -> Result<Tensor, TchError> {
        let region = |length: i64, side: i64, shift: i64| -> Result<Tensor, TchError> {
            let place = Tensor::f_arange(length, (Kind::Int64, device))?;
            let (last, rolled) = (place.f_ge(length - side)?, place.f_ge(length - shift)?);
            last.f_to_kind(Kind::Int64)?.f_add(&rolled.f_to_kind(Kind::Int64)?)
        };
        let rows = region(height, self.side[0], self.shift[0])?.f_view([1, height, 1, 1])?;
        let columns = region(width, self.side[1], self.shift[1])?.f_view([1, 1, width, 1])?;
        let regions = self.cut(&rows.f_mul_scalar(3)?.f_add(&columns)?)?.f_squeeze_dim(2)?; // [n, N]
        let apart = regions.f_unsqueeze(1)?.f_ne_tensor(&regions.f_unsqueeze(2)?)?;
        apart.f_to_kind(kind)?.f_mul_scalar(APART)
    }
}

/// Cache of the masks of shifted windows, by the size of their grid.
#[derive(Debug, Default)]
pub struct Masks(RefCell<Vec<(Key, Tensor)>>);

/// Windows, height and width of the grid, kind and device.
type Key = (Windows, i64, i64, Kind, Device);

impl Masks {
    /// Maximum number of masks in the cache: image sizes are few and alternate, and a mask is as large as the scores.
    const KEPT: usize = 12;

    /// The mask `[n, N, N]` to add to the scores; `None` without a shift.
    fn of(
        &self,
        windows: Windows,
        height: i64,
        width: i64,
        kind: Kind,
        device: Device,
    ) -> Result<Option<Tensor>, TchError> {
        if !windows.is_shifted() {
            return Ok(None);
        }
        let key = (windows, height, width, kind, device);
        let mut kept = self.0.borrow_mut();
        if let Some((_, mask)) = kept.iter().find(|(k, _)| *k == key) {
            return Ok(Some(mask.shallow_clone()));
        }
        let mask = windows.mask(height, width, kind, device)?;
        if kept.len() == Self::KEPT {
            drop(kept.remove(0));
        }
        kept.push((key, mask.shallow_clone()));
        Ok(Some(mask))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn windows(shift: i64, pads_first: bool) -> Windows {
        Windows { side: [3, 2], shift: [shift; 2], pads_first }
    }

    #[test]
    fn cutting_and_joining_windows_round_trips() {
        let x = Tensor::randn([2, 7, 5, 4], CPU);
        for shift in [0, 1] {
            for pads_first in [false, true] {
                let same = |x: &Tensor, _: Option<&Tensor>| Ok::<_, TchError>(x.shallow_clone());
                let back = windows(shift, pads_first).apply(&x, &Masks::default(), same).unwrap();
                assert_eq!(back, x, "shift {shift}, pads first: {pads_first}");
            }
        }
    }

    #[test]
    fn only_former_neighbours_attend_to_each_other() {
        // One row of four positions, windows of two, rolled by one: 1 2 | 3 0. The positions of the last window were
        // not neighbours.
        let windows = Windows { side: [1, 2], shift: [0, 1], pads_first: true };
        let masks = Masks::default();
        let mask = masks.of(windows, 1, 4, Kind::Float, Device::Cpu).unwrap().unwrap();
        let expected = Tensor::from_slice(&[0f32, 0.0, 0.0, 0.0, 0.0, -100.0, -100.0, 0.0]).view([2, 2, 2]);
        assert_eq!(mask, expected);
        for width in (2..60).step_by(2) {
            let _ = masks.of(windows, 1, width, Kind::Float, Device::Cpu).unwrap();
        }
        assert_eq!(masks.0.borrow().len(), Masks::KEPT);
        assert!(masks.of(Windows { shift: [0, 0], ..windows }, 1, 4, Kind::Float, Device::Cpu).unwrap().is_none());
    }
}
