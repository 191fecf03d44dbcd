/// The normalisation of an image: level v, from 0 to 255, becomes `(v / 255 - mean) / sd` in each input channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalisation {
    /// Mean grey level as a share of the full range: one value, or one per channel.
    pub mean: Vec<f64>,
    /// Standard deviation of the grey levels as a share of the full range, above 0, in the same form.
    pub sd: Vec<f64>,
}

/// A straight line: `scale * v + offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LevelLine {
    /// Factor of the grey level.
    pub scale: f32,
    /// Added after it.
    pub offset: f32,
}

impl Normalisation {
    /// The line of an input channel, by which its values follow from the grey levels.
    pub fn line(&self, channel: usize) -> LevelLine {
        let (mean, sd) = (self.mean[channel % self.mean.len()], self.sd[channel % self.sd.len()]);
        LevelLine { scale: (1.0 / (255.0 * sd)) as f32, offset: (-mean / sd) as f32 }
    }

    /// Appends an image with the grey levels `levels` to a batch, as `channels` channels.
    pub fn push(&self, batch: &mut Vec<f32>, levels: &[f32], channels: usize) {
        for channel in 0..channels {
            let LevelLine { scale, offset } = self.line(channel);
            batch.extend(levels.iter().map(|v| v.mul_add(scale, offset)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_values_by_hand() {
        let mut batch = vec![7.0];
        Normalisation { mean: vec![0.5, 0.0], sd: vec![0.25] }.push(&mut batch, &[25.5, 145.5, 255.0], 2);
        assert_eq!((batch.len(), batch[0]), (7, 7.0));
        assert!((batch[1] + 1.6).abs() < 1e-6 && (batch[3] - 2.0).abs() < 1e-6 && (batch[6] - 4.0).abs() < 1e-6);
    }
}
