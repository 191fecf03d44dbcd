//! A batch that is divided among several processes.

use tch::{TchError, Tensor};

use super::region::Overlap;

/// The part of a batch that this process has, if the batch is divided among several processes.
///
/// The values and gradients of the loss of all parts sum to those of the loss of the whole batch.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// Index of its first image in the batch.
    pub first: i64,
    /// Number of images in the whole batch.
    pub images: i64,
    /// Collects rows from all parts: given the rows of this part, returns those of all parts in order. All parts must
    /// call it equally often.
    pub gather: &'a dyn Fn(&Tensor) -> Result<Tensor, TchError>,
}

impl Part<'_> {
    /// The fraction of the batch's images that this part has, from 0 to 1; `own` is its number of images.
    pub(super) fn share(&self, own: i64) -> f64 {
        own as f64 / self.images as f64
    }

    /// The sums of all images of the batch.
    pub(super) fn gathered(&self, own: &Overlap) -> Result<Overlap, TchError> {
        Ok(Overlap {
            both: (self.gather)(&own.both)?,
            predicted: (self.gather)(&own.predicted)?,
            true_pixels: (self.gather)(&own.true_pixels)?,
            class_weights: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use tch::{Device, Kind};

    use super::*;
    use crate::losses::LossMix;

    /// Value and gradient of images `first..first + n`. `rows` are the gathered sums of all images; those of these
    /// images are updated.
    fn of_part(
        mix: &LossMix,
        x: &Tensor,
        words: &Tensor,
        first: i64,
        n: i64,
        rows: &RefCell<Vec<Tensor>>,
    ) -> (f64, Tensor) {
        let calls = Cell::new(0);
        let gather = |own: &Tensor| {
            let (at, mut rows) = (calls.get(), rows.borrow_mut());
            calls.set(at + 1);
            if rows.len() == at {
                rows.push(Tensor::f_zeros([x.size()[0], own.size()[1]], (Kind::Float, Device::Cpu))?);
            }
            rows[at].f_narrow(0, first, n)?.f_copy_(own)?;
            Ok(rows[at].copy())
        };
        let part = Part { first, images: x.size()[0], gather: &gather };
        let logits = x.narrow(0, first, n).contiguous().set_requires_grad(true);
        let target = words.narrow(0, first, n).contiguous();
        let loss = mix.forward_of_part(&logits, &target, None, Some(&part)).unwrap().loss;
        loss.backward();
        (loss.double_value(&[]), logits.grad())
    }

    /// Checks that the values and gradients of a part of two images and one of one image sum to those of all three.
    fn assert_adds_up(text: &str, x: &Tensor, target: &Tensor) {
        let mix: LossMix = serde_json::from_str(text).unwrap();
        let logits = x.copy().set_requires_grad(true);
        let whole = mix.forward(&logits, target).unwrap();
        whole.backward();
        let rows = RefCell::new(Vec::new());
        // In the first two calls the sums of the other part are not known yet.
        drop(of_part(&mix, x, target, 0, 2, &rows));
        drop(of_part(&mix, x, target, 2, 1, &rows));
        let (first, of_first) = of_part(&mix, x, target, 0, 2, &rows);
        let (second, of_second) = of_part(&mix, x, target, 2, 1, &rows);
        let whole = whole.double_value(&[]);
        assert!((first + second - whole).abs() < 1e-5 * whole.abs(), "{text}: {first} and {second}, not {whole}");
        let apart = (Tensor::cat(&[of_first, of_second], 0) - logits.grad()).abs().max().double_value(&[]);
        let largest = logits.grad().abs().max().double_value(&[]);
        assert!(largest > 0.0 && apart < 1e-5 * largest, "{text}: {apart} of {largest}");
    }

    #[test]
    fn parts_add_up_to_the_whole_batch() {
        let options = (Kind::Float, Device::Cpu);
        let places = Tensor::arange(3 * 4 * 6 * 5, options).view([3, 4, 6, 5]);
        let x = (places.shallow_clone() * 12.9898).sin() * 3.0;
        let words = (Tensor::arange(3 * 6 * 5, options) * 5.0).remainder(13.0).to_kind(Kind::Int).view([3, 6, 5]);
        for text in [
            r#"{ "bce": 1 }"#,
            r#"{ "bce": 0.3, "dice": 0.5, "focal": 0.2 }"#,
            r#"{ "dice": { "weight": 1, "per-image": true } }"#,
            r#"{ "jaccard": 0.4, "tversky": 0.3, "generalised-dice": 0.3 }"#,
            r#"{ "lovasz": 1 }"#,
            r#"{ "dice": { "weight": 1, "class-weights": [1, 0, 2, 0.5] } }"#,
            r#"{ "lovasz": { "weight": 0.5, "class-weights": [1, 0, 2, 0.5] }, "bce": 0.5 }"#,
            r#"{ "lovasz": { "weight": 0.5, "over": "image" }, "boundary": 0.5 }"#,
        ] {
            assert_adds_up(text, &x, &words);
        }
    }

    /// Only the first image is mixed, so one part has hard labels and the other does not.
    #[test]
    fn parts_of_soft_targets_add_up() {
        let places = Tensor::arange(3 * 4 * 6 * 5, (Kind::Float, Device::Cpu)).view([3, 4, 6, 5]);
        let x = (places.shallow_clone() * 12.9898).sin() * 3.0;
        let soft = (places * 3.1).sin().gt(0.2).to_kind(Kind::Float);
        let mut first = soft.get(0);
        let _ = first.f_mul_scalar_(0.7).unwrap().f_add_scalar_(0.1).unwrap();
        for text in [
            r#"{ "bce": 0.3, "dice": 0.5, "focal": 0.2 }"#,
            r#"{ "jaccard": { "weight": 0.3, "per-image": true }, "tversky": 0.3, "generalised-dice": 0.4 }"#,
        ] {
            assert_adds_up(text, &x, &soft);
        }
    }
}
