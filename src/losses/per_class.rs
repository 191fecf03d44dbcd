use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::LossError;

/// One number for every class, or one a class: `2.0` or `[1.0, 2.0, …]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerClass {
    /// The same for all.
    All(f64),
    /// One a class, in channel order.
    Each(Vec<f64>),
}

impl PerClass {
    /// As `[classes]`; `option` names it in the error of a wrong length.
    pub fn tensor(&self, option: &'static str, classes: i64, device: Device) -> Result<Tensor, LossError> {
        match self {
            PerClass::All(value) => Ok(Tensor::f_full([classes], *value, (Kind::Float, device))?),
            PerClass::Each(values) if values.len() as i64 == classes => {
                Ok(Tensor::f_from_slice(values)?.f_to_kind(Kind::Float)?.f_to_device(device)?)
            }
            PerClass::Each(values) => Err(LossError::Classes { option, has: values.len(), classes }),
        }
    }
}
