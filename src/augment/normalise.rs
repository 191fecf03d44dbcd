/// Appends an image to a batch as `channels` channels of `(v / 255 - mean) / sd`, where v are the grey levels `pixels`.
/// `mean` and `sd` have one value, or one per channel.
pub fn push_normalised(batch: &mut Vec<f32>, pixels: &[f32], mean: &[f64], sd: &[f64], channels: usize) {
    for channel in 0..channels {
        let (mean, sd) = (mean[channel % mean.len()], sd[channel % sd.len()]);
        let (scale, offset) = ((1.0 / (255.0 * sd)) as f32, (-mean / sd) as f32);
        batch.extend(pixels.iter().map(|v| v.mul_add(scale, offset)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_values_by_hand() {
        let mut batch = vec![7.0];
        push_normalised(&mut batch, &[25.5, 145.5, 255.0], &[0.5, 0.0], &[0.25], 2);
        assert_eq!((batch.len(), batch[0]), (7, 7.0));
        assert!((batch[1] + 1.6).abs() < 1e-6 && (batch[3] - 2.0).abs() < 1e-6 && (batch[6] - 4.0).abs() < 1e-6);
    }
}
