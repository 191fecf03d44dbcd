use tch::{Device, Kind, Tensor};

use super::InferError;

/// Weighted sums of the predictions of overlapping windows, for as many rows of the image as a window has. The rows move
/// down the image, past those that no later window reaches.
pub(super) struct WindowStrip {
    /// `[C, h, W]`.
    sums: Tensor,
    /// `[h, W]`.
    weights: Tensor,
    rows: i64,
}

/// Rows of means, `[C, rows, W]` row-major.
pub(super) struct MeanRows {
    pub values: Vec<f32>,
    pub rows: usize,
}

impl WindowStrip {
    /// An empty strip of `rows` rows of an image of `width` px.
    ///
    /// # Errors
    /// libtorch reports an error, usually out of memory.
    pub fn new(classes: i64, rows: i64, width: i64, device: Device) -> Result<WindowStrip, InferError> {
        let zeros = |size: &[i64]| Tensor::f_zeros(size, (Kind::Float, device));
        Ok(WindowStrip { sums: zeros(&[classes, rows, width])?, weights: zeros(&[rows, width])?, rows })
    }

    /// Adds predictions `[C, h, w]` of a window at column `x` with weights `[h, w]`.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn add(&mut self, x: i64, predictions: &Tensor, weights: &Tensor) -> Result<(), InferError> {
        let columns = weights.size()[1];
        let _ = self.sums.f_narrow(2, x, columns)?.f_addcmul_(predictions, weights)?;
        let _ = self.weights.f_narrow(1, x, columns)?.f_add_(weights)?;
        Ok(())
    }

    /// The means of `rows` rows from row `from` on.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn means(&self, from: i64, rows: i64) -> Result<MeanRows, InferError> {
        let sums = self.sums.f_narrow(1, from, rows)?;
        // A place without weight is one that no window shows, and has no sum either.
        let least = f64::from(f32::MIN_POSITIVE);
        let means = sums.f_div(&self.weights.f_narrow(0, from, rows)?.f_clamp_min(least)?)?;
        let values = Vec::<f32>::try_from(means.f_to_device(Device::Cpu)?.f_view([-1])?)?;
        Ok(MeanRows { values, rows: rows as usize })
    }

    /// Removes the first `rows` rows and moves the others up.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn advance(&mut self, rows: i64) -> Result<(), InferError> {
        // In parts that do not overlap, so that nothing is copied as a whole.
        let mut at = rows;
        while at < self.rows {
            let part = rows.min(self.rows - at);
            self.sums.f_narrow(1, at - rows, part)?.f_copy_(&self.sums.f_narrow(1, at, part)?)?;
            self.weights.f_narrow(0, at - rows, part)?.f_copy_(&self.weights.f_narrow(0, at, part)?)?;
            at += part;
        }
        let _ = self.sums.f_narrow(1, self.rows - rows, rows)?.f_zero_()?;
        let _ = self.weights.f_narrow(0, self.rows - rows, rows)?.f_zero_()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_means_and_move_up() {
        let mut strip = WindowStrip::new(1, 3, 2, Device::Cpu).unwrap();
        let column = |values: [f32; 3]| Tensor::from_slice(&values).view([1, 3, 1]);
        let weights = |values: [f32; 3]| Tensor::from_slice(&values).view([3, 1]);
        strip.add(0, &column([1.0, 2.0, 3.0]), &weights([1.0, 1.0, 1.0])).unwrap();
        strip.add(0, &column([4.0, 2.0, 6.0]), &weights([2.0, 1.0, 2.0])).unwrap();
        strip.add(1, &column([7.0, 8.0, 9.0]), &weights([1.0, 1.0, 0.0])).unwrap();
        assert_eq!(strip.means(0, 1).unwrap().values, [3.0, 7.0]);
        strip.advance(1).unwrap();
        strip.add(1, &column([2.0, 5.0, 5.0]), &weights([1.0, 1.0, 1.0])).unwrap();
        let rest = strip.means(0, 3).unwrap();
        assert_eq!((rest.rows, rest.values), (3, vec![2.0, 5.0, 5.0, 5.0, 0.0, 5.0]));
        assert_eq!(strip.means(1, 1).unwrap().values, [5.0, 5.0]);
        strip.advance(3).unwrap();
        assert_eq!(strip.means(0, 3).unwrap().values, [0.0; 6]);
    }
}
