use tch::{Kind, Reduction, Tensor};

use super::{TrainError, target};
use crate::models::Points;

/// Binary cross-entropy of a PointRend head at its points, mean over points, classes and images. The labels are those
/// of the pixels `[B, S, S]` that the points lie in.
pub(super) fn point_loss(points: &Points, words: &Tensor) -> Result<Tensor, TrainError> {
    let side = *words.size().last().expect("words are [B, S, S]");
    let place = (&points.coordinates * side as f64).f_floor()?.f_clamp(0, side - 1)?.f_to_kind(Kind::Int64)?;
    // [B, N]
    let flat = place.f_select(2, 1)?.f_mul_scalar(side)?.f_add(&place.f_select(2, 0)?)?;
    let chosen = words.f_flatten(1, 2)?.f_gather(1, &flat, false)?;
    // [B, classes, N]
    let truth = target(&chosen.f_unsqueeze(1)?, points.logits.size()[1]).f_squeeze_dim(2)?;
    let logits = points.logits.f_to_kind(Kind::Float)?;
    let truth = truth.f_to_kind(Kind::Float)?;
    Ok(logits.f_binary_cross_entropy_with_logits(&truth, None::<&Tensor>, None::<&Tensor>, Reduction::Mean)?)
}

/// Label words at the size `height` x `width` of a smaller output: that of the pixel in the middle of each cell.
pub(super) fn words_at(words: &Tensor, height: i64, width: i64) -> Result<Tensor, TrainError> {
    let mut words = words.shallow_clone();
    for (axis, to) in [(1, height), (2, width)] {
        let from = words.size()[axis as usize];
        if from != to {
            let middles: Vec<i64> = (0..to).map(|i| (2 * i + 1) * from / (2 * to)).collect();
            words = words.f_index_select(axis, &Tensor::from_slice(&middles).f_to_device(words.device())?)?;
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_take_the_label_of_their_pixel() {
        let words = Tensor::from_slice(&[0i32, 1, 2, 3]).view([1, 2, 2]);
        let coordinates = Tensor::from_slice(&[0.9f32, 0.1, 0.1, 1.0]).view([1, 2, 2]);
        let sure = |right: [f32; 4]| {
            let logits = Tensor::from_slice(&right).view([1, 2, 2]) * 30.0;
            point_loss(&Points { coordinates: coordinates.shallow_clone(), logits }, &words).unwrap().double_value(&[])
        };
        // The first point is in the pixel of word 1, the second in that of word 2.
        assert!(sure([1.0, -1.0, -1.0, 1.0]) < 1e-6);
        assert!((sure([-1.0, 1.0, 1.0, -1.0]) - 30.0).abs() < 1e-3);
    }

    #[test]
    fn words_keep_every_bit_when_they_shrink() {
        let words = Tensor::from_slice(&(0..16).map(|i| 1i32 << 28 | i).collect::<Vec<_>>()).view([1, 4, 4]);
        let small = Vec::<i32>::try_from(words_at(&words, 2, 2).unwrap().view([-1])).unwrap();
        assert_eq!(small, [5, 7, 13, 15].map(|i| 1 << 28 | i));
    }
}
