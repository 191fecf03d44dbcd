use tch::{TchError, Tensor};

use super::operations::counted;

/// Which points of two grids coincide in an interpolation: PyTorch's `align_corners`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corners {
    /// The centres of the corner pixels.
    Aligned,
    /// The outer edges of the corner pixels.
    AtEdges,
}

/// Bilinear interpolation of `[.., H, W]` to `height` x `width`.
pub fn bilinear(x: &Tensor, height: i64, width: i64, corners: Corners) -> Result<Tensor, TchError> {
    if let Some(y) = counted(x, || resized(x, height, width), 0)? {
        return Ok(y);
    }
    x.f_upsample_bilinear2d([height, width], corners == Corners::Aligned, None, None)
}

/// Bilinear interpolation to the height and width of `like`.
pub fn bilinear_to(x: &Tensor, like: &Tensor, corners: Corners) -> Result<Tensor, TchError> {
    let (height, width) = plane(like);
    if plane(x) == (height, width) {
        return Ok(x.shallow_clone());
    }
    bilinear(x, height, width, corners)
}

/// Bilinear interpolation to `factor` times the size.
pub fn bilinear_by(x: &Tensor, factor: i64, corners: Corners) -> Result<Tensor, TchError> {
    let (height, width) = plane(x);
    bilinear(x, height * factor, width * factor, corners)
}

/// Bicubic interpolation to `factor` times the size.
pub fn bicubic_by(x: &Tensor, factor: i64, corners: Corners) -> Result<Tensor, TchError> {
    let (height, width) = plane(x);
    x.f_upsample_bicubic2d([height * factor, width * factor], corners == Corners::Aligned, None, None)
}

/// Each pixel repeated `factor` times in both directions.
pub fn nearest_by(x: &Tensor, factor: i64) -> Result<Tensor, TchError> {
    let (height, width) = plane(x);
    let (height, width) = (height * factor, width * factor);
    if let Some(y) = counted(x, || resized(x, height, width), 0)? {
        return Ok(y);
    }
    x.f_upsample_nearest2d([height, width], None, None)
}

fn resized(x: &Tensor, height: i64, width: i64) -> Vec<i64> {
    [&x.size()[..x.dim() - 2], &[height, width]].concat()
}

fn plane(x: &Tensor) -> (i64, i64) {
    let size = x.size();
    (size[size.len() - 2], size[size.len() - 1])
}
