//! Loss of a point head. A. Kirillov, Y. Wu, K. He, R. Girshick, PointRend: Image segmentation as rendering, CVPR 2020.

use tch::{Kind, Reduction, Tensor};

use super::LossError;
use crate::models::PointLogits;

/// Mean over points and classes of the binary cross entropy between a point head's logits and the labels at its points.
/// Returns a scalar, to be added with a weight to the loss of the full logits. It is differentiable with respect to
/// `points.logits`.
///
/// `target` are label words `[B, H, W]` (`i32`, bit c = class c), or masks `[B, C, H, W]`, which may be soft. A point has
/// the label of the pixel in which it lies, column `floor(x W)` and row `floor(y H)`, as in detectron2's PointRend
/// (`grid_sample` with nearest and without aligned corners). A coordinate of 1, or outside 0 to 1, belongs to the nearest
/// border pixel.
///
/// # Errors
/// [`LossError::Points`]: shapes or kinds do not fit; [`LossError::Torch`].
pub fn point_loss(points: &PointLogits, target: &Tensor) -> Result<Tensor, LossError> {
    let (coordinates, logits) = (points.coordinates.size(), points.logits.size());
    let wrong = || LossError::Points {
        coordinates: coordinates.clone(),
        logits: logits.clone(),
        target: target.size(),
        kind: target.kind(),
    };
    let (&[b, n, 2], &[b_logits, classes, n_logits]) = (coordinates.as_slice(), logits.as_slice()) else {
        return Err(wrong());
    };
    let (planes, height, width) = match *target.size().as_slice() {
        [b_words, height, width] if b_words == b && target.kind() == Kind::Int && classes <= 32 => (1, height, width),
        [b_masks, c, height, width] if b_masks == b && c == classes => (classes, height, width),
        _ => return Err(wrong()),
    };
    if (b, n) != (b_logits, n_logits) || b == 0 || n == 0 || height == 0 || width == 0 {
        return Err(wrong());
    }
    let device = points.logits.device();
    let labels = tch::no_grad(|| {
        let at = |axis: i64, size: i64| {
            let coordinate = points.coordinates.f_detach()?.f_to_device(device)?.f_select(2, axis)?;
            let scaled = coordinate.f_to_kind(Kind::Float)?.f_mul_scalar(size as f64)?;
            scaled.f_floor()?.f_clamp(0.0, (size - 1) as f64)?.f_to_kind(Kind::Int64)
        };
        let place = at(1, height)?.f_mul_scalar(width)?.f_add(&at(0, width)?)?; // [B, N]
        let place = place.f_unsqueeze(1)?.f_expand([b, planes, n], false)?;
        let planes = target.f_to_device(device)?.f_reshape([b, planes, height * width])?;
        let labels = planes.f_gather(2, &place, false)?; // [B, 1 or C, N]
        if target.size().len() == 4 {
            return labels.f_to_kind(Kind::Float);
        }
        let bits: Vec<i32> = (0..classes).map(|c| (1u32 << c) as i32).collect();
        let bits = Tensor::f_from_slice(&bits)?.f_to_device(device)?.f_view([1, classes, 1])?;
        labels.f_bitwise_and_tensor(&bits)?.f_ne(0)?.f_to_kind(Kind::Float) // [B, C, N]
    })?;
    let logits = points.logits.f_to_kind(Kind::Float)?;
    Ok(logits.f_binary_cross_entropy_with_logits::<Tensor>(&labels, None, None, Reduction::Mean)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_by_hand() {
        // Words of a 2 x 2 image: class 0 in the first row, class 1 at the lower right.
        let words = Tensor::from_slice(&[1i32, 1, 0, 2]).view([1, 2, 2]);
        // Upper left, lower right corner (clamped), lower right, upper right.
        let places = [[0.1f32, 0.2], [1.0, 1.0], [0.5, 0.75], [0.9, 0.4]];
        let logits = Tensor::from_slice(&[2f32, -1.0, -3.0, 0.0, 1.0, 4.0, -2.0, 0.5]).view([1, 2, 4]);
        let points = PointLogits {
            coordinates: Tensor::from_slice(&places.concat()).view([1, 4, 2]),
            logits: logits.set_requires_grad(true),
        };
        let loss = point_loss(&points, &words).unwrap();
        loss.backward();
        let labels = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0];
        let x = [2f64, -1.0, -3.0, 0.0, 1.0, 4.0, -2.0, 0.5];
        let wanted: f64 = x.iter().zip(labels).map(|(x, t)| (1.0 + x.exp()).ln() - t * x).sum::<f64>() / 8.0;
        assert!((loss.double_value(&[]) - wanted).abs() < 1e-6);
        let gradient = Vec::<f32>::try_from(points.logits.grad().view([-1])).unwrap();
        for ((g, x), t) in gradient.iter().zip(x).zip(labels) {
            assert!((f64::from(*g) - (1.0 / (1.0 + (-x).exp()) - t) / 8.0).abs() < 1e-7);
        }
        let other = PointLogits { coordinates: points.coordinates.copy(), logits: points.logits.narrow(2, 0, 3) };
        assert!(matches!(point_loss(&other, &words), Err(LossError::Points { .. })));
    }
}
