//! A batch that several processes hold together.

use tch::{TchError, Tensor};

use super::region::Overlap;

/// The images of a batch that are here, where several processes hold the batch together.
///
/// A loss of such a part has this gradient: added up over the parts, it is that of the loss of the whole batch. So has its value.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Place of its first image in the batch.
    pub first: i64,
    /// Images of the whole batch.
    pub images: i64,
    /// The rows of all parts, one below the other in their order, from the rows of this one. Every part calls it as often.
    pub gather: &'a dyn Fn(&Tensor) -> Result<Tensor, TchError>,
}

impl Part<'_> {
    /// Its share of the batch's images, 0 to 1; `own` are here.
    pub(super) fn share(&self, own: i64) -> f64 {
        own as f64 / self.images as f64
    }

    /// The sums of all images of the batch.
    pub(super) fn gathered(&self, own: &Overlap) -> Result<Overlap, TchError> {
        Ok(Overlap {
            both: (self.gather)(&own.both)?,
            predicted: (self.gather)(&own.predicted)?,
            true_pixels: (self.gather)(&own.true_pixels)?,
        })
    }
}
