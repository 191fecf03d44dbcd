use std::collections::BTreeMap;

use tch::{Kind, TchError, Tensor};

/// A histogram of the values of tensors, with TensorBoard's statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorHistogram {
    /// Smallest value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
    /// Number of values.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
    /// For each bucket its upper edge and the number of values in it.
    pub buckets: Vec<(f64, f64)>,
}

const BUCKETS: i64 = 48;

impl TensorHistogram {
    /// The histogram of all values of `tensors`; `None` if there are no values, or if one is infinite or NaN.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn of(tensors: &[Tensor]) -> Result<Option<TensorHistogram>, TchError> {
        tch::no_grad(|| {
            let flat =
                tensors.iter().map(|t| t.f_reshape([-1])?.f_to_kind(Kind::Float)).collect::<Result<Vec<_>, _>>()?;
            let values = Tensor::f_cat(&flat, 0)?;
            if values.numel() == 0 {
                return Ok(None);
            }
            let (min, max) = (values.f_min()?.f_double_value(&[])?, values.f_max()?.f_double_value(&[])?);
            if !min.is_finite() || !max.is_finite() {
                return Ok(None);
            }
            let counts = Vec::<f32>::try_from(values.f_histc(BUCKETS)?.f_to_device(tch::Device::Cpu)?)?;
            let width = (max - min) / BUCKETS as f64;
            // Where all values are equal, libtorch's buckets span one below to one above the value.
            let (from, width) = if width == 0.0 { (min - 1.0, 2.0 / BUCKETS as f64) } else { (min, width) };
            let double = values.f_to_kind(Kind::Double)?;
            Ok(Some(TensorHistogram {
                min,
                max,
                count: values.numel() as f64,
                sum: double.f_sum(Kind::Double)?.f_double_value(&[])?,
                squares: double.f_square()?.f_sum(Kind::Double)?.f_double_value(&[])?,
                buckets: (1..).zip(counts).map(|(i, n)| (from + width * f64::from(i), f64::from(n))).collect(),
            }))
        })
    }
}

/// One histogram per part of the model that the tensors belong to, named `KIND/encoder._blocks.3`.
pub(super) fn by_part<'a>(
    kind: &str,
    tensors: impl IntoIterator<Item = (&'a str, Tensor)>,
) -> Result<Vec<(String, TensorHistogram)>, TchError> {
    let mut parts: BTreeMap<String, Vec<Tensor>> = BTreeMap::new();
    for (name, tensor) in tensors {
        let names: Vec<&str> = name.split('.').collect();
        let part = names[..names.len().saturating_sub(1).clamp(1, 3)].join(".");
        parts.entry(format!("{kind}/{part}")).or_default().push(tensor);
    }
    let made = parts.into_iter().map(|(tag, tensors)| Ok(TensorHistogram::of(&tensors)?.map(|h| (tag, h))));
    made.filter_map(Result::transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_by_hand() {
        let values = Tensor::from_slice(&[0.0f32, 0.0, 48.0, 12.5]);
        let histogram = TensorHistogram::of(&[values]).unwrap().unwrap();
        assert_eq!((histogram.min, histogram.max, histogram.count), (0.0, 48.0, 4.0));
        assert_eq!((histogram.sum, histogram.squares), (60.5, 48.0 * 48.0 + 12.5 * 12.5));
        let at = |i: usize| histogram.buckets[i];
        assert_eq!((at(0), at(12), at(47)), ((1.0, 2.0), (13.0, 1.0), (48.0, 1.0)));
        assert_eq!(TensorHistogram::of(&[Tensor::from_slice(&[f32::NAN])]).unwrap(), None);
        let equal = TensorHistogram::of(&[Tensor::from_slice(&[3.0f32, 3.0])]).unwrap().unwrap();
        assert_eq!(equal.buckets.iter().map(|b| b.1).sum::<f64>(), 2.0);
        let place = equal.buckets.iter().position(|b| b.1 > 0.0).unwrap();
        assert!(equal.buckets[place].0 >= 3.0 && (place == 0 || equal.buckets[place - 1].0 <= 3.0));
    }

    #[test]
    fn parts_are_named_by_their_modules() {
        let one = || Tensor::from_slice(&[1.0f32]);
        let names = ["encoder._blocks.3._bn1.weight", "encoder._blocks.3._conv.weight", "head.0.weight", "scale"];
        let made = by_part("weights", names.map(|n| (n, one()))).unwrap();
        let found: Vec<(&str, f64)> = made.iter().map(|(tag, h)| (tag.as_str(), h.count)).collect();
        assert_eq!(found, [("weights/encoder._blocks.3", 2.0), ("weights/head.0", 1.0), ("weights/scale", 1.0)]);
    }
}
