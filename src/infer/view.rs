use tch::{Device, Kind, Tensor};

use super::InferError;
use crate::geometry::Size;

/// Codes of libtorch's `grid_sampler`.
const BILINEAR: i64 = 0;
const ZEROS: i64 = 0;
const BORDER: i64 = 1;

/// How a window of an image is changed before it is predicted. In this order: turned, mirrored, scaled, then gamma and
/// brightness.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AugmentedView {
    /// Degrees by which the content is turned to the right, about the window's centre.
    pub degrees: f64,
    /// Mirrored left-right.
    pub mirrored: bool,
    /// Mirrored top-bottom.
    pub upside_down: bool,
    /// Scale of the window.
    pub scale: f64,
    /// Exponent of the grey levels.
    pub gamma: f64,
    /// Added to the grey levels, as a share of the full range.
    pub brightness: f64,
}

impl Default for AugmentedView {
    fn default() -> AugmentedView {
        AugmentedView { degrees: 0.0, mirrored: false, upside_down: false, scale: 1.0, gamma: 1.0, brightness: 0.0 }
    }
}

/// A window's place in an image, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowPlace {
    /// First column.
    pub x: u32,
    /// First row.
    pub y: u32,
    /// Width and height.
    pub size: Size,
}

/// Predictions of a view in the pixels of its window.
#[derive(Debug)]
pub struct UndoneView {
    /// `[B, C, H, W]`.
    pub probabilities: Tensor,
    /// `[H, W]`: 1 where the view shows the window, else 0; `None` if it shows all of it.
    pub shown: Option<Tensor>,
}

impl AugmentedView {
    /// The size in px of the view of a window, a multiple of `stride` and at least `least`.
    pub fn size(&self, window: Size, stride: u32, least: u32) -> Size {
        let side = |side: u32| {
            let steps = (f64::from(side) * self.scale / f64::from(stride)).round().max(1.0) as u32;
            (steps * stride).max(least.next_multiple_of(stride))
        };
        if self.scale == 1.0 { window } else { Size { width: side(window.width), height: side(window.height) } }
    }

    /// The grey levels `[h, w]` of the view of a window, in size `to`. `image` has the grey levels `[H, W]` from 0 to 255
    /// of the whole image, which contains the window; a turned view also shows what lies around it, and 0 outside the
    /// image.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn levels(&self, image: &Tensor, place: WindowPlace, to: Size) -> Result<Tensor, InferError> {
        let [width, height] = [place.size.width, place.size.height].map(i64::from);
        let mut levels = if self.degrees == 0.0 {
            image.f_narrow(0, place.y.into(), height)?.f_narrow(1, place.x.into(), width)?
        } else {
            let grid = turned_grid(place, self.degrees, image.size()[1], image.size()[0], image.device())?;
            let sampled = image.f_view([1, 1, image.size()[0], image.size()[1]])?;
            sampled.f_grid_sampler_2d(&grid, BILINEAR, ZEROS, false)?.f_view([height, width])?
        };
        levels = self.flipped(levels, 0)?;
        if to != place.size {
            let size = [i64::from(to.height), i64::from(to.width)];
            let four = levels.f_contiguous()?.f_view([1, 1, height, width])?;
            levels = four.f_internal_upsample_bilinear2d_aa(size, false, None, None)?.f_view(size)?;
        }
        if self.gamma != 1.0 {
            levels = levels.f_div_scalar(255.0)?.f_pow_tensor_scalar(self.gamma)?.f_mul_scalar(255.0)?;
        }
        if self.brightness != 0.0 {
            levels = levels.f_add_scalar(255.0 * self.brightness)?.f_clamp(0.0, 255.0)?;
        }
        Ok(levels)
    }

    /// The inverse for predictions `[B, C, h, w]` of views of windows of size `window`.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn undo(&self, predictions: Tensor, window: Size) -> Result<UndoneView, InferError> {
        let mut undone = predictions;
        let size = [i64::from(window.height), i64::from(window.width)];
        if undone.size()[2..] != size {
            undone = undone.f_upsample_bilinear2d(size, false, None, None)?;
        }
        undone = self.flipped(undone, 2)?;
        if self.degrees == 0.0 {
            return Ok(UndoneView { probabilities: undone, shown: None });
        }
        let place = WindowPlace { x: 0, y: 0, size: window };
        let grid = turned_grid(place, -self.degrees, size[1], size[0], undone.device())?;
        // Between the centres of the outermost pixels: beyond them there is nothing to interpolate.
        let centres = [1.0 - 1.0 / size[1] as f32, 1.0 - 1.0 / size[0] as f32];
        let centres = Tensor::f_from_slice(&centres)?.f_to_device(grid.device())?;
        let inside = grid.f_abs()?.f_le_tensor(&centres)?.f_all_dim(3, false)?.f_to_kind(Kind::Float)?.f_view(size)?;
        let batch = undone.size()[0];
        let grid = grid.f_expand([batch, size[0], size[1], 2], false)?;
        let probabilities = undone.f_grid_sampler_2d(&grid, BILINEAR, BORDER, false)?;
        Ok(UndoneView { probabilities, shown: Some(inside) })
    }

    /// Mirrored along the dimensions `first` (rows) and `first` + 1 (columns); undoes itself.
    fn flipped(&self, tensor: Tensor, first: i64) -> Result<Tensor, InferError> {
        let dims: Vec<i64> = [(self.upside_down, first), (self.mirrored, first + 1)]
            .into_iter()
            .filter_map(|(is_flipped, dim)| is_flipped.then_some(dim))
            .collect();
        Ok(if dims.is_empty() { tensor } else { tensor.f_flip(dims)? })
    }
}

/// The places `[1, h, w, 2]` in an image of `width` x `height` px from which the pixels of a window are read if its content is
/// turned to the right by `degrees` about its centre; from -1 to 1 across the image's outermost edges, as `grid_sampler` takes
/// them without aligned corners.
fn turned_grid(
    place: WindowPlace,
    degrees: f64,
    width: i64,
    height: i64,
    device: Device,
) -> Result<Tensor, InferError> {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let centre = place.size.centre();
    // In double precision: an image of 2048 px has places of 1/4096, of which single precision keeps a thousandth.
    let along = |n: u32, centre: f64| {
        Tensor::f_arange(i64::from(n), (Kind::Double, device)).and_then(|places| places.f_sub_scalar(centre))
    };
    let dx = along(place.size.width, centre.x)?.f_view([1, -1])?;
    let dy = along(place.size.height, centre.y)?.f_view([-1, 1])?;
    // The inverse of a turn to the right, with y down.
    let x = dx.f_mul_scalar(cos)?.f_add(&dy.f_mul_scalar(sin)?)?.f_add_scalar(centre.x + f64::from(place.x))?;
    let y = dy.f_mul_scalar(cos)?.f_sub(&dx.f_mul_scalar(sin)?)?.f_add_scalar(centre.y + f64::from(place.y))?;
    let scaled = |places: Tensor, side: i64| {
        let side = side as f64;
        places.f_mul_scalar(2.0 / side).and_then(|places| places.f_add_scalar(1.0 / side - 1.0))
    };
    let grid = Tensor::f_stack(&[scaled(x, width)?, scaled(y, height)?], 2)?;
    Ok(grid.f_unsqueeze(0)?.f_to_kind(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A smooth picture, `[rows, columns]`.
    fn picture(width: i64, height: i64) -> Tensor {
        let x = Tensor::arange(width, (Kind::Float, Device::Cpu)) * 0.11;
        let y = Tensor::arange(height, (Kind::Float, Device::Cpu)) * 0.07;
        (x.sin().view([1, -1]) * 60.0 + y.cos().view([-1, 1]) * 50.0) + 128.0
    }

    fn largest(difference: &Tensor) -> f64 {
        difference.abs().max().double_value(&[])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// What a view changes is undone, where it shows the window: exactly for flips, else within what interpolating a
        /// smooth picture twice changes.
        #[test]
        fn every_geometric_view_is_undone(
            mirrored: bool,
            upside_down: bool,
            degrees in prop_oneof![Just(0.0f64), -20.0..20.0],
            scale in prop_oneof![Just(1.0f64), 0.8..1.6],
            // Away from the image's edge, beyond which a turned view is black.
            x in 4u32..40,
            y in 4u32..40,
        ) {
            let image = picture(150, 140);
            let size = Size { width: 96, height: 64 };
            let place = WindowPlace { x, y, size };
            let view = AugmentedView { degrees, mirrored, upside_down, scale, ..AugmentedView::default() };
            let to = view.size(size, 8, 8);
            prop_assert!(to.width.is_multiple_of(8) && to.height.is_multiple_of(8));
            let seen = view.levels(&image, place, to).unwrap();
            prop_assert_eq!(seen.size(), [i64::from(to.height), i64::from(to.width)]);
            let undone = view.undo(seen.unsqueeze(0).unsqueeze(0), size).unwrap();
            let window = image.narrow(0, y.into(), 64).narrow(1, x.into(), 96);
            let mut difference = undone.probabilities.view([64, 96]) - window;
            let shown = undone.shown.unwrap_or_else(|| Tensor::ones([64, 96], (Kind::Float, Device::Cpu)));
            prop_assert!((degrees == 0.0) == (shown.sum(Kind::Float).double_value(&[]) == 64.0 * 96.0) || degrees.abs() < 0.5);
            prop_assert!(shown.mean(Kind::Float).double_value(&[]) > 0.7);
            difference *= shown;
            // At the rim, resizing repeats the outermost pixels.
            let inner = difference.narrow(0, 3, 58).narrow(1, 3, 90);
            let limit = if degrees == 0.0 && to == size { 0.0 } else { 1.5 };
            prop_assert!(largest(&inner) <= limit, "{}", largest(&inner));
        }
    }

    #[test]
    fn content_turns_to_the_right() {
        // A bright spot to the right of the centre moves down when turned to the right.
        let image = Tensor::zeros([65, 65], (Kind::Float, Device::Cpu));
        let _ = image.get(32).get(52).fill_(255.0);
        let place = WindowPlace { x: 0, y: 0, size: Size::square(65) };
        let seen =
            AugmentedView { degrees: 90.0, ..AugmentedView::default() }.levels(&image, place, place.size).unwrap();
        assert!((seen.double_value(&[52, 32]) - 255.0).abs() < 0.1);
    }

    #[test]
    fn levels_change_by_gamma_and_brightness() {
        let image = Tensor::from_slice(&[0.0f32, 63.75, 255.0]).view([1, 3]);
        let place = WindowPlace { x: 0, y: 0, size: Size { width: 3, height: 1 } };
        let of = |view: AugmentedView| {
            Vec::<f32>::try_from(view.levels(&image, place, place.size).unwrap().view([-1])).unwrap()
        };
        assert_eq!(of(AugmentedView { gamma: 0.5, ..AugmentedView::default() }), [0.0, 127.5, 255.0]);
        assert_eq!(of(AugmentedView { brightness: 0.5, ..AugmentedView::default() }), [127.5, 191.25, 255.0]);
        assert_eq!(of(AugmentedView { brightness: -0.25, ..AugmentedView::default() }), [0.0, 0.0, 191.25]);
    }

    #[test]
    fn a_view_has_a_size_that_the_model_takes() {
        let size = |scale: f64| AugmentedView { scale, ..AugmentedView::default() }.size(Size::square(96), 32, 64);
        assert_eq!([1.0, 0.75, 0.3, 1.34].map(|s| size(s).width), [96, 64, 64, 128]);
    }
}
