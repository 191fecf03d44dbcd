//! Conditioning on the patient's metadata: the size of the bones to expect depends on age, sex, height and weight.
//!
//! Age, sex, height and weight each have their own embedding: linear in the normalised value if it is known, a learned
//! vector if it is not. An MLP maps the four embeddings to the channels of the deepest feature. The result is
//! multiplied by a gate (one factor per channel) and added to each pixel. The gate starts at zero, where the model
//! equals the one without metadata, so training can continue from a model without metadata.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::ModelError;
use super::layers::{Linear, Scheme};
use super::parameters::{Fill, Path};
use crate::violation::Violations;

/// Columns of the metadata: age, sex, height, weight.
pub const VALUES: i64 = 4;
/// Mean and standard deviation by which the values are normalised: age in years, sex (0 female, 1 male), height in cm
/// and weight in kg. Rounded values of adults; they are fixed so that a model's result does not depend on the data set.
const NORMAL: [(f64, f64); VALUES as usize] = [(40.0, 13.0), (0.5, 0.5), (168.0, 9.0), (66.0, 13.0)];
/// Normalised values are limited to this many standard deviations, so that a typing error (1680 cm) does not dominate
/// the features.
const MAX_DEVIATIONS: f64 = 4.0;

/// A value beyond this counts as missing.
const LARGEST: f64 = 1e30;

/// Options of metadata conditioning; `metadata = true` uses the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MetadataOptions {
    /// Channels of the embedding of each value.
    pub channels: i64,
}

impl Default for MetadataOptions {
    fn default() -> Self {
        MetadataOptions { channels: 32 }
    }
}

impl MetadataOptions {
    /// The options out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(self.channels >= 1, "channels", self.channels, "at least 1");
        wrong
    }
}

/// The embeddings, the MLP and the gate.
pub struct MetadataGate {
    /// `[4, channels]` each: an embedding is `slope * value + offset`, or `missing`.
    slope: Tensor,
    offset: Tensor,
    missing: Tensor,
    /// `[4]` each. They are created here and not in the forward pass, because a traced module would contain zeros for a
    /// tensor that is filled from outside libtorch.
    means: Tensor,
    deviations: Tensor,
    hidden: Linear,
    output: Linear,
    gate: Tensor,
}

impl MetadataGate {
    /// For a deepest feature with this many channels.
    pub fn new(path: &Path, options: &MetadataOptions, deepest: i64) -> Result<Self, ModelError> {
        let path = path.with_scheme(Scheme::Decoder);
        let shape = [VALUES, options.channels];
        let joined = VALUES * options.channels;
        let slope = path.parameter("slope", &shape, Fill::Normal(1.0))?;
        let row = |row: [f64; 4]| Tensor::f_from_slice(&row)?.f_to_device(slope.device());
        Ok(MetadataGate {
            means: row(NORMAL.map(|n| n.0))?,
            deviations: row(NORMAL.map(|n| n.1))?,
            slope,
            offset: path.parameter("offset", &shape, Fill::Normal(1.0))?,
            missing: path.parameter("missing", &shape, Fill::Normal(1.0))?,
            gate: path.parameter("gate", &[deepest], Fill::Constant(0.0))?,
            hidden: Linear::new(&(&path / "hidden"), joined, joined)?,
            output: Linear::new(&(&path / "output"), joined, deepest)?,
        })
    }

    /// The deepest feature `[B, C, h, w]` plus the contribution of `metadata`, `[B, 4]`; the same shape. Without
    /// metadata, all values count as missing.
    pub fn forward(&self, feature: &Tensor, metadata: Option<&Tensor>) -> Result<Tensor, ModelError> {
        let kind = self.slope.kind();
        let values = match metadata {
            Some(metadata) => metadata.f_to_device(feature.device())?.f_to_kind(kind)?,
            None => Tensor::f_full([feature.size()[0], VALUES], f64::NAN, (kind, feature.device()))?,
        };
        // NaN compares as false. ONNX has no exact equivalent of `isfinite`.
        let known = values.f_abs()?.f_le(LARGEST)?; // [B, 4]
        let normal = values
            .f_sub(&self.means.f_to_kind(kind)?)?
            .f_div(&self.deviations.f_to_kind(kind)?)?
            .f_clamp(-MAX_DEVIATIONS, MAX_DEVIATIONS)?; // [B, 4]
        // Masked, not multiplied: NaN times 0 is NaN.
        let normal = normal.f_masked_fill(&known.f_logical_not()?, 0.0)?.f_unsqueeze(2)?; // [B, 4, 1]
        let present = normal.f_mul(&self.slope)?.f_add(&self.offset)?; // [B, 4, channels]
        let embedded = present.f_where_self(&known.f_unsqueeze(2)?, &self.missing)?; // [B, 4, channels]
        let hidden = self.hidden.forward(&embedded.f_flatten(1, -1)?)?.f_relu()?; // [B, 4 channels]
        let added = self.output.forward(&hidden)?.f_mul(&self.gate)?; // [B, C]
        Ok(feature.f_add(&added.f_to_kind(feature.kind())?.f_unsqueeze(2)?.f_unsqueeze(3)?)?)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tch::{Device, Kind};

    use super::*;
    use crate::models::{Norm, Parameters};

    fn gate() -> (MetadataGate, Parameters) {
        let registry = RefCell::new(Parameters::new(Device::Cpu));
        let root = Path::root(&registry, Norm::Batch, Scheme::Torch);
        let gate = MetadataGate::new(&root, &MetadataOptions::default(), 6).unwrap();
        (gate, registry.into_inner())
    }

    /// `None` means unknown.
    fn row(age: Option<f32>, male: Option<bool>, height: Option<f32>, weight: Option<f32>) -> [f32; 4] {
        let sex = male.map(|m| if m { 1.0 } else { 0.0 });
        [age, sex, height, weight].map(|v| v.unwrap_or(f32::NAN))
    }

    fn table(rows: &[[f32; 4]]) -> Tensor {
        Tensor::from_slice(rows.as_flattened()).view([-1, 4])
    }

    #[test]
    fn a_missing_value_has_its_own_vector_and_never_gives_nan() {
        let (gate, parameters) = gate();
        let _ = tch::no_grad(|| parameters.get("gate").unwrap().shallow_clone().fill_(1.0));
        let x = Tensor::zeros([2, 6, 1, 1], (Kind::Float, Device::Cpu));
        let conditioned = |rows: &[[f32; 4]]| gate.forward(&x, Some(&table(rows))).unwrap();
        let all_missing = row(None, None, None, None);
        let rows = conditioned(&[all_missing, row(Some(40.0), Some(true), Some(168.0), None)]);
        assert_eq!(rows.isfinite().all().int64_value(&[]), 1);
        assert_ne!(rows.get(0), rows.get(1));
        // Without metadata, all values count as missing. A value at the mean differs from a missing value.
        assert_eq!(gate.forward(&x, None).unwrap().get(0), rows.get(0));
        let mean = conditioned(&[row(Some(40.0), None, None, None), all_missing]);
        assert_ne!(mean.get(0), mean.get(1));
        // Beyond four deviations nothing changes.
        let far = conditioned(&[row(None, None, Some(1680.0), None), row(None, None, Some(204.0), None)]);
        assert_eq!(far.get(0), far.get(1));
    }

    #[test]
    fn a_closed_gate_adds_nothing_and_can_be_trained() {
        let (gate, parameters) = gate();
        let x = Tensor::randn([1, 6, 2, 3], (Kind::Float, Device::Cpu));
        let known = table(&[row(Some(61.0), Some(false), None, Some(48.0))]);
        let y = gate.forward(&x, Some(&known)).unwrap();
        assert_eq!(y, x);
        (&y * &x).sum(Kind::Float).backward();
        let gradient = |name: &str| parameters.get(name).unwrap().grad().abs().sum(Kind::Double).double_value(&[]);
        assert!(gradient("gate") > 0.0);
        assert_eq!(gradient("slope"), 0.0, "no gradient until the gate opens");
        let _ = tch::no_grad(|| parameters.get("gate").unwrap().shallow_clone().fill_(0.1));
        (gate.forward(&x, Some(&known)).unwrap() * &x).sum(Kind::Float).backward();
        for name in ["slope", "offset", "missing", "hidden.weight", "output.bias"] {
            let gradient = gradient(name);
            assert!(gradient.is_finite() && gradient > 0.0, "{name}: {gradient}");
        }
    }
}
