use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::batch::LossBatch;
use super::loss::{CLASS_WEIGHTS, Computation};
use super::memory::elements_mut;
use super::part::Part;
use super::planes::Planes;
use super::region::Overlap;
use super::{Bce, Dice, LOSSES, LossError, LossKind, LossValues, PerClass, Term};
use crate::violation::Violations;

/// A weighted sum of losses: `{ bce = 0.5, dice = 0.5 }`, or with options
/// `{ bce = 0.5, tversky = { weight = 0.5, alpha = 0.3, beta = { Pisiform = 0.9, default = 0.7 } } }`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use carpus::losses::LossMix;
/// let mix: LossMix = serde_json::from_str(r#"{ "bce": 0.5, "dice": 0.5 }"#)?;
/// let logits = tch::Tensor::zeros([1, 29, 8, 8], (tch::Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
/// let target = logits.ones_like();
/// let loss = mix.forward(&logits, &target)?;
/// loss.backward();
/// assert!(logits.grad().abs().max().double_value(&[]) > 0.0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct LossMix {
    terms: Vec<(f64, Term)>,
}

/// The result of a forward pass of a [`LossMix`].
#[derive(Debug)]
pub struct LossOutput {
    /// The weighted sum, a scalar with a gradient.
    pub loss: Tensor,
    /// The value of each term before weighting, without gradient.
    pub terms: LossValues,
}

impl Default for LossMix {
    /// BCE and Dice, half each.
    fn default() -> Self {
        LossMix { terms: vec![(0.5, Term::of(Bce::default())), (0.5, Term::of(Dice::default()))] }
    }
}

impl LossMix {
    /// The weighted sum of `terms`.
    pub fn new(terms: Vec<(f64, Term)>) -> Self {
        LossMix { terms }
    }

    /// The terms with their weights.
    pub fn terms(&self) -> &[(f64, Term)] {
        &self.terms
    }

    /// The weighted sum, a scalar. `logits` are `[B, C, H, W]` of any float kind; `target` is {0,1} of the same shape
    /// and any kind, a soft target from 0 to 1 of the same shape (floats), or 32-bit label words `[B, H, W]`.
    ///
    /// # Errors
    /// [`LossError::Logits`] and [`LossError::Target`]: a wrong shape or kind; [`LossError::Classes`]: an option per
    /// class has another number of values than the logits have classes; [`LossError::SoftTarget`]: a loss needs a hard
    /// target; [`LossError::Torch`].
    pub fn forward(&self, logits: &Tensor, target: &Tensor) -> Result<Tensor, LossError> {
        Ok(self.forward_weighted(logits, target, None)?.loss)
    }

    /// The value of each term before weighting, without gradient.
    ///
    /// # Errors
    /// As [`LossMix::forward`].
    pub fn values(&self, logits: &Tensor, target: &Tensor) -> Result<LossValues, LossError> {
        let values = tch::no_grad(|| self.compute(logits, target, None, None, None))?;
        Ok(self.terms.iter().map(|(_, term)| term.kind()).zip(values).collect())
    }

    /// As [`LossMix::forward`], with the value of each term. `weights` are pixel weights for the cross entropy (PyTorch's
    /// `weight`), `[B, H, W]` or `[B, 1 or C, H, W]`.
    ///
    /// # Errors
    /// As [`LossMix::forward`]; [`LossError::Weights`]: the pixel weights do not fit the logits;
    /// [`LossError::WeightsUnused`]: no term uses them.
    pub fn forward_weighted(
        &self,
        logits: &Tensor,
        target: &Tensor,
        weights: Option<&Tensor>,
    ) -> Result<LossOutput, LossError> {
        self.forward_of_part(logits, target, weights, None)
    }

    /// As [`LossMix::forward_weighted`] on a part of a batch.
    ///
    /// # Errors
    /// As [`LossMix::forward_weighted`]; [`LossError::Parts`]: a loss sorts the pixels of the whole batch.
    pub(super) fn forward_of_part(
        &self,
        logits: &Tensor,
        target: &Tensor,
        weights: Option<&Tensor>,
        part: Option<&Part>,
    ) -> Result<LossOutput, LossError> {
        let mut gradient = if logits.requires_grad() && grad_is_on() {
            Some(Tensor::f_empty(logits.size(), (Kind::Float, logits.device()))?)
        } else {
            None
        };
        let values = tch::no_grad(|| self.compute(logits, target, weights, part, gradient.as_mut()))?;
        let mut sum = Tensor::f_zeros([0i64; 0], (Kind::Float, logits.device()))?;
        for ((weight, _), value) in self.terms.iter().zip(&values) {
            sum = sum.f_add(&value.f_mul_scalar(*weight)?)?;
        }
        if let Some(gradient) = gradient {
            sum = with_gradient(&sum, logits, &gradient)?;
        }
        let terms = self.terms.iter().map(|(_, term)| term.kind()).zip(values).collect();
        Ok(LossOutput { loss: sum, terms })
    }

    /// Why the mix cannot be computed for soft targets, as mix-up makes them, and which losses can; `None` if it can.
    pub fn refuses_soft_targets(&self) -> Option<String> {
        let hard = self.terms.iter().filter(|(_, term)| !term.loss.takes_soft_targets());
        let hard: Vec<_> = hard.map(|(_, term)| term.kind().name).collect();
        let hard = (!hard.is_empty()).then(|| hard.join(", "))?;
        Some(format!("{hard} in `loss` cannot take soft targets; losses that do: {}", soft_losses()))
    }

    /// Every weight and option out of range. If `classes` is known, the lengths of options per class are checked too.
    pub fn violations(&self, classes: Option<i64>) -> Violations {
        let mut wrong = Violations::new();
        for (weight, term) in &self.terms {
            let name = term.kind().name;
            wrong.expect(weight.is_finite() && *weight >= 0.0, name, weight, "a weight of 0 or more");
            wrong.inside(name, term.violations(classes));
        }
        if let Some((weight, term)) = self.terms.first()
            && self.terms.iter().all(|(weight, _)| *weight == 0.0)
        {
            wrong.refuse(term.kind().name, weight, "above 0 for at least one loss");
        }
        wrong
    }

    /// Logits and target with the weights and distances that the terms need.
    fn batch(&self, logits: &Tensor, target: &Tensor, weights: Option<&Tensor>) -> Result<LossBatch, LossError> {
        let mut batch = LossBatch::new(logits, target)?;
        if batch.is_soft
            && let Some((_, term)) = self.terms.iter().find(|(_, term)| !term.loss.takes_soft_targets())
        {
            return Err(LossError::SoftTarget { loss: term.kind() });
        }
        if let Some(weights) = weights {
            if !self.terms.iter().any(|(_, term)| term.loss.takes_weights()) {
                return Err(LossError::WeightsUnused);
            }
            batch.set_weights(weights)?;
        }
        let rule = self.terms.iter().find_map(|(_, term)| term.loss.pixel_weight());
        if self.terms.iter().any(|(_, term)| term.loss.needs_distances()) {
            batch.compute_distances()?;
        }
        rule.map_or(Ok(()), |rule| batch.apply_gap_weights(rule))?;
        Ok(batch)
    }

    /// Returns the value of each term and writes the gradient of the weighted sum to `gradient`, in single precision and
    /// with the shape of the logits.
    fn compute(
        &self,
        logits: &Tensor,
        target: &Tensor,
        weights: Option<&Tensor>,
        part: Option<&Part>,
        gradient: Option<&mut Tensor>,
    ) -> Result<Vec<Tensor>, LossError> {
        let batch = self.batch(logits, target, weights)?;
        let on = |mix: &LossMix, gradient| match Planes::of(&batch) {
            Some(planes) => mix.on_planes(&planes, part, gradient),
            None => mix.on_tensors(&batch, part, gradient),
        };
        let Some(part) = part else { return on(self, gradient) };
        let share = part.share(batch.size[0]);
        let values = on(&self.for_share(share)?, gradient)?;
        Ok(values.into_iter().map(|value| value.f_mul_scalar(share)).collect::<Result<_, _>>()?)
    }

    /// The mix for a fraction `share` of a batch's images: losses that are means over images get this factor; the sums
    /// of the overlap losses are gathered over all parts.
    fn for_share(&self, share: f64) -> Result<LossMix, LossError> {
        let term = |(weight, term): &(f64, Term)| match term.loss.computation() {
            Computation::Overlap(_) => Ok((*weight, term.clone())),
            Computation::Sorted(loss) if loss.sorts_whole_batch() && share != 1.0 => {
                Err(LossError::Parts { loss: term.kind() })
            }
            Computation::Pixels(_) | Computation::Sorted(_) => Ok((weight * share, term.clone())),
        };
        Ok(LossMix { terms: self.terms.iter().map(term).collect::<Result<_, _>>()? })
    }

    /// As `compute`, on slices in the CPU's memory.
    fn on_planes(
        &self,
        planes: &Planes,
        part: Option<&Part>,
        mut gradient: Option<&mut Tensor>,
    ) -> Result<Vec<Tensor>, LossError> {
        let scalar = |value: f64| Tensor::from(value).f_to_kind(Kind::Float);
        let mut overlap_values: Vec<Tensor> = self.terms.iter().map(|_| Tensor::new()).collect();
        let slopes = if self.has_overlaps() {
            self.overlap_losses(&planes.overlap()?, part, &mut overlap_values, gradient.is_some())?
        } else {
            None
        };
        let mut values = planes.pixel_losses(&self.terms, slopes, gradient.as_deref_mut())?;
        for ((weight, term), value) in self.terms.iter().zip(&mut values) {
            if let Computation::Sorted(loss) = term.loss.computation() {
                let gradient = gradient.as_deref_mut().map(|g| elements_mut(g).expect("it was made contiguous"));
                let class_weights = term.class_weights(planes.classes as i64)?;
                *value =
                    loss.planes_value(planes, class_weights.as_deref(), gradient.map(|gradient| (gradient, *weight)));
            }
        }
        let values = self.terms.iter().zip(overlap_values).zip(values);
        values
            .map(|(((_, term), own), value)| match term.loss.computation() {
                Computation::Overlap(_) => Ok(own),
                Computation::Pixels(_) | Computation::Sorted(_) => Ok(scalar(value)?),
            })
            .collect()
    }

    /// As `compute`, by operations on tensors of any kind on any device.
    fn on_tensors(
        &self,
        batch: &LossBatch,
        part: Option<&Part>,
        mut gradient: Option<&mut Tensor>,
    ) -> Result<Vec<Tensor>, LossError> {
        let zero = || Tensor::f_zeros([0i64; 0], (Kind::Float, batch.device()));
        let class_weights = self.class_weights(batch.size[1], batch.device())?;
        let mut values = self.terms.iter().map(|_| zero()).collect::<Result<Vec<_>, _>>()?;

        // First pass: the sums of the overlap losses. The probabilities are stored in the memory of the gradient.
        let overlaps = self.has_overlaps();
        let slopes = if overlaps {
            let mut overlap = Overlap::zeros(batch)?;
            for (first, count) in batch.chunks() {
                let chunk = batch.chunk(first, count)?;
                let probability = chunk.logits.f_sigmoid()?;
                overlap.add(&chunk, &probability)?;
                if let Some(gradient) = gradient.as_ref() {
                    gradient.f_narrow(1, first, count)?.f_copy_(&probability)?;
                }
            }
            self.overlap_losses(&overlap, part, &mut values, gradient.is_some())?
        } else {
            None
        };

        // Second pass: all other losses, and the gradient of all losses.
        for (first, count) in batch.chunks() {
            let chunk = batch.chunk(first, count)?;
            let place = match gradient.as_ref() {
                Some(gradient) => Some(gradient.f_narrow(1, first, count)?),
                None => None,
            };
            let probability = match &place {
                Some(place) if overlaps => place.shallow_clone(),
                Some(_) => chunk.logits.f_sigmoid()?,
                None => chunk.logits.shallow_clone(), // read for gradients only
            };
            let mut sum = match (&place, &slopes) {
                (None, _) => None,
                (Some(_), None) => Some(chunk.logits.f_zeros_like()?),
                (Some(_), Some((of_both, of_predicted))) => {
                    // d/dx = (dL/dboth t + dL/dpredicted) p (1 - p); instead of t, 1 where p < t, if the target is soft
                    let pick = |slope: &Tensor| slope.f_narrow(1, first, count)?.f_unsqueeze(2)?.f_unsqueeze(3);
                    let covered = chunk.covered_slope(&probability)?;
                    let mut outer = covered.f_mul(&pick(of_both)?)?.f_add_(&pick(of_predicted)?)?;
                    Some(outer.f_mul_(&probability)?.f_mul_(&probability.f_rsub_scalar(1.0)?)?)
                }
            };
            for (((weight, term), value), by_class) in self.terms.iter().zip(&mut values).zip(&class_weights) {
                let gradient = sum.as_mut().map(|sum| (sum, *weight));
                let share = match term.loss.computation() {
                    Computation::Pixels(loss) => {
                        let by_class = by_class.as_ref().map(|weights| chunk.of_class(weights)).transpose()?;
                        loss.accumulate(batch, &chunk, &probability, by_class.as_ref(), gradient)?
                    }
                    Computation::Sorted(loss) if loss.works_by_chunk() => {
                        loss.accumulate(batch, &chunk, term.class_weights(batch.size[1])?.as_deref(), gradient)?
                    }
                    Computation::Overlap(_) | Computation::Sorted(_) => continue,
                };
                *value = value.f_add(&share)?;
            }
            if let (Some(mut place), Some(sum)) = (place, sum) {
                place.f_copy_(&sum)?;
            }
        }

        // Losses that need all classes at once.
        for ((weight, term), value) in self.terms.iter().zip(&mut values) {
            if let Computation::Sorted(loss) = term.loss.computation()
                && !loss.works_by_chunk()
            {
                let whole = batch.chunk(0, batch.size[1])?;
                *value = loss.accumulate(
                    batch,
                    &whole,
                    term.class_weights(batch.size[1])?.as_deref(),
                    gradient.as_mut().map(|g| (&mut **g, *weight)),
                )?;
            }
        }
        Ok(values)
    }

    /// The class weights of each term as a tensor, `[classes]`.
    fn class_weights(&self, classes: i64, device: Device) -> Result<Vec<Option<Tensor>>, LossError> {
        let of = |(_, term): &(f64, Term)| match term.class_weights(classes)? {
            Some(weights) => Ok(Some(Tensor::f_from_slice(&weights)?.f_to_kind(Kind::Float)?.f_to_device(device)?)),
            None => Ok(None),
        };
        self.terms.iter().map(of).collect()
    }

    fn has_overlaps(&self) -> bool {
        self.terms.iter().any(|(_, term)| matches!(term.loss.computation(), Computation::Overlap(_)))
    }

    /// Writes the values of the overlap losses to `values` and returns the derivatives of their weighted sum with
    /// respect to `sum p t` and `sum p` of this part's images.
    fn overlap_losses(
        &self,
        overlap: &Overlap,
        part: Option<&Part>,
        values: &mut [Tensor],
        with_slopes: bool,
    ) -> Result<Option<(Tensor, Tensor)>, LossError> {
        tch::with_grad(|| {
            let leaves = part.map(|part| part.gathered(overlap)).transpose()?.as_ref().unwrap_or(overlap).leaves()?;
            let here = |slopes: Tensor| match part {
                Some(part) => slopes.f_narrow(0, part.first, overlap.both.size()[0]),
                None => Ok(slopes),
            };
            let class_weights = self.class_weights(overlap.both.size()[1], overlap.both.device())?;
            let mut sum: Option<Tensor> = None;
            for (((weight, term), value), by_class) in self.terms.iter().zip(values).zip(class_weights) {
                let Computation::Overlap(loss) = term.loss.computation() else { continue };
                let loss = loss.value(&leaves.weighted(by_class))?;
                *value = loss.f_detach()?;
                let weighed = loss.f_mul_scalar(*weight)?;
                sum = Some(match sum {
                    Some(sum) => sum.f_add(&weighed)?,
                    None => weighed,
                });
            }
            match sum.filter(|_| with_slopes) {
                None => Ok(None),
                Some(sum) => {
                    let mut slopes = Tensor::f_run_backward(&[sum], &[&leaves.both, &leaves.predicted], false, false)?;
                    let of_predicted = slopes.pop().expect("one gradient per input");
                    let of_both = slopes.pop().expect("one gradient per input");
                    Ok(Some((here(of_both)?, here(of_predicted)?)))
                }
            }
        })
    }
}

/// The names of the losses that take soft targets.
pub(super) fn soft_losses() -> String {
    let soft = LOSSES.iter().map(Term::new).filter(|term| term.loss.takes_soft_targets());
    let name = |term: Term| match term.kind().name {
        "bce" => "bce without pixel-weight",
        name => name,
    };
    soft.map(name).collect::<Vec<_>>().join(", ")
}

/// Whether autograd currently records operations.
fn grad_is_on() -> bool {
    // A result computed from a leaf requires a gradient only while autograd records.
    let leaf = Tensor::zeros([1], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    leaf.g_add_scalar(0.0).requires_grad()
}

/// A scalar with this value whose gradient with respect to `logits` is `gradient`.
fn with_gradient(value: &Tensor, logits: &Tensor, gradient: &Tensor) -> Result<Tensor, LossError> {
    // The gradient of a product with a constant is the constant; the value of the product is subtracted again.
    let product = logits.f_to_kind(Kind::Float)?.f_reshape([-1])?.f_dot(&gradient.f_reshape([-1])?)?;
    let offset = value.f_sub(&product.f_detach()?)?;
    Ok(product.f_add(&offset)?)
}

/// The losses that a mix may contain, each with its options.
impl JsonSchema for LossMix {
    fn schema_name() -> Cow<'static, str> {
        "LossMix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let entry = |kind: &LossKind| {
            let schema = json_schema!({ "description": kind.about, "examples": [0.5] });
            (kind.name.to_owned(), Value::from(schema))
        };
        json_schema!({ "properties": LOSSES.iter().map(entry).collect::<serde_json::Map<_, _>>() })
    }
}

impl Serialize for LossMix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.terms.len()))?;
        for (weight, term) in &self.terms {
            if *term == Term::new(term.kind()) {
                map.serialize_entry(term.kind().name, weight)?;
                continue;
            }
            let mut options = term.options.clone();
            if let Value::Object(fields) = &mut options {
                fields.insert("weight".to_owned(), Value::from(*weight));
                if let Some(weights) = &term.class_weights {
                    let weights = serde_json::to_value(weights).map_err(S::Error::custom)?;
                    fields.insert(CLASS_WEIGHTS.to_owned(), weights);
                }
            }
            map.serialize_entry(term.kind().name, &options)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for LossMix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Terms;
        impl<'de> Visitor<'de> for Terms {
            type Value = LossMix;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("losses with their weights, as in { bce = 0.5, dice = 0.5 }")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LossMix, A::Error> {
                let mut terms: Vec<(f64, Term)> = Vec::new();
                while let Some(kind) = map.next_key::<&LossKind>()? {
                    let value = map.next_value_seed(FiniteValue)?;
                    let (weight, term) = term(kind, value).map_err(A::Error::custom)?;
                    if terms.iter().any(|(_, t)| t.kind() == kind) {
                        return Err(A::Error::custom(format!("{kind} is listed twice")));
                    }
                    terms.push((weight, term));
                }
                if terms.is_empty() {
                    return Err(A::Error::custom(
                        "the loss is empty; expected at least one term, as in { bce = 0.5, dice = 0.5 }",
                    ));
                }
                Ok(LossMix { terms })
            }
        }
        deserializer.deserialize_map(Terms)
    }
}

/// Reads the options of a loss as a JSON value. JSON has neither NaN nor infinity, and `null` would mean that the option is
/// absent: both numbers are refused.
struct FiniteValue;

impl<'de> DeserializeSeed<'de> for FiniteValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FiniteValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a weight, or a table of weight and options")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = serde_json::Number::from_f64(value).map(Value::Number);
        number.ok_or_else(|| E::custom(format_args!("{value} is not a finite number")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(FiniteValue)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = serde_json::Map::new();
        while let Some(key) = map.next_key::<String>()? {
            values.insert(key, map.next_value_seed(FiniteValue)?);
        }
        Ok(Value::Object(values))
    }
}

/// A term from its weight, or from a table of weight and options.
fn term(kind: &LossKind, value: Value) -> Result<(f64, Term), String> {
    let wrong = |what: &dyn fmt::Display| format!("{kind}: {what}");
    let (weight, term) = match value {
        Value::Object(mut options) => {
            let weight =
                options.remove("weight").ok_or_else(|| wrong(&"weight is missing; expected a number of 0 or more"))?;
            let by_class = class_weights(&mut options).map_err(|what| wrong(&what))?;
            let term = (kind.read)(Value::Object(options)).map_err(|e| wrong(&e))?;
            (weight, Term { class_weights: by_class, ..term })
        }
        weight => (weight, Term::new(kind)),
    };
    let weight =
        weight.as_f64().ok_or_else(|| wrong(&format_args!("weight is {weight}; expected a number of 0 or more")))?;
    Ok((weight, term))
}

/// Takes the class weights out of the options of a loss. Bones that a table does not name have the weight 1.
fn class_weights(options: &mut serde_json::Map<String, Value>) -> Result<Option<PerClass>, String> {
    // The other names are those of the cross entropy's option in earlier versions.
    let mut given = [CLASS_WEIGHTS, "class_weights", "class-weight", "class_weight"]
        .into_iter()
        .filter_map(|name| options.remove(name).map(|value| (name, value)));
    let Some((name, mut value)) = given.next() else { return Ok(None) };
    if let Some((other, _)) = given.next() {
        return Err(format!("{name} and {other} are both given; expected {CLASS_WEIGHTS} only"));
    }
    if let Value::Object(by_name) = &mut value {
        by_name.entry("default").or_insert_with(|| Value::from(1.0));
    }
    let weights = serde_json::from_value(value).map_err(|error| format!("{name}: {error}"))?;
    Ok(Some(weights))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixes_round_trip() {
        let text = "[loss]\nbce = 0.5\ntversky = { weight = 0.25, alpha = 0.3, beta = [0.5, 0.7] }\n\
                    dice = { weight = 0.25, class-weights = { Ulna = 2, carpal = 3 } }\n";
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Config {
            loss: LossMix,
        }
        let config: Config = toml::from_str(text).unwrap();
        assert_eq!(config.loss.terms().len(), 3);
        assert_eq!(config.loss.terms()[0].0, 0.5);
        let weights = config.loss.terms().iter().find_map(|(_, term)| term.class_weights(29).unwrap()).unwrap();
        assert_eq!((weights[0], weights[19], weights[28]), (1.0, 3.0, 2.0));
        let again: Config = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
        assert_eq!(config, again);
    }

    #[test]
    fn errors_name_the_mistake() {
        for (text, says) in [
            (r#"{"bec": 1.0}"#, "bec"),
            (r#"{"bce": -1.0}"#, "weight"),
            (r#"{"bce": {"weight": 1, "smooth": 2}}"#, "smooth"),
            (r#"{"dice": {"smooth": 2}}"#, "weight is missing"),
            (r#"{"dice": {"weight": 1, "smooth": -2}}"#, "dice.smooth is -2"),
            (r#"{"boundary": {"weight": 1, "band": 0}}"#, "boundary.band is 0"),
            (r#"{"bce": {"weight": 1, "label-smoothing": 0.7}}"#, "0 to 0.5"),
            (r#"{"bce": {"weight": 1, "pixel-weight": {"around": "outline", "sigma": 0}}}"#, "sigma"),
            (r#"{"bce": {"weight": 1, "pixel-weight": {"around": "edge"}}}"#, "outline, gaps"),
            (r#"{"tversky": {"weight": 1, "alpha": {"Pissiform": 1, "default": 1}}}"#, "Pissiform"),
            (r#"{"focal-tversky": {"weight": 1, "gamma": 0}}"#, "gamma"),
            (r#"{"bce": {"weight": 1, "class-weight": 0}}"#, "bce.class-weights is 0 for every class"),
            (r#"{"dice": {"weight": 1, "class-weights": {"default": 0}}}"#, "dice.class-weights is 0 for every class"),
            (r#"{"dice": {"weight": 1, "class-weights": [1, 2]}}"#, "dice.class-weights is 2 values; expected 29"),
            (r#"{"dice": {"weight": 1, "class-weights": -1}}"#, "dice.class-weights is -1; expected 0 or more"),
            (
                r#"{"dice": {"weight": 1, "class-weights": {"wrist": 1}}}"#,
                "dice: class-weights: unknown bone or group \"wrist\"",
            ),
            (r#"{"dice": {"weight": 1, "class-weights": 1, "class-weight": 2}}"#, "are both given"),
            (r#"{"lovasz": {"weight": 1, "over": "image", "class-weights": 2}}"#, "use over = \"class-image\""),
            (r#"{"tversky": {"weight": 1, "alpha": 0, "beta": 0}}"#, "tversky.alpha is 0 for every class, as beta is"),
            (r#"{"focal-tversky": {"weight": 1, "alpha": 0, "beta": 0}}"#, "focal-tversky.alpha is 0 for every class"),
            ("{}", "at least one"),
        ] {
            let error = match serde_json::from_str::<LossMix>(text) {
                Ok(mix) => mix.violations(Some(29)).result().unwrap_err().to_string(),
                Err(error) => error.to_string(),
            };
            assert!(error.contains(says), "{text}: {error}");
        }
        for text in [
            r#"{"bce": {"weight": 1, "class-weights": {"Ulna": 1, "default": 0}, "pos-weight": 0}}"#,
            r#"{"tversky": {"weight": 1, "alpha": 0, "beta": 1}}"#,
        ] {
            let wrong = serde_json::from_str::<LossMix>(text).unwrap().violations(Some(29));
            assert!(wrong.is_empty(), "{text}: {wrong}");
        }
        let two = r#"{"bce": -1, "focal": {"weight": 1, "gamma": -1, "alpha": 2}}"#;
        let wrong = serde_json::from_str::<LossMix>(two).unwrap().violations(Some(29));
        assert_eq!(wrong.iter().map(|v| v.key.as_str()).collect::<Vec<_>>(), ["bce", "focal.gamma", "focal.alpha"]);
    }

    #[test]
    fn options_that_are_not_finite_are_refused_with_their_key() {
        #[derive(Debug, Deserialize)]
        #[allow(dead_code)]
        struct Config {
            loss: LossMix,
        }
        for (loss, key, number) in [
            ("bce = nan", "loss.bce", "NaN"),
            ("bce = { weight = inf }", "loss.bce.weight", "inf"),
            ("bce = { weight = 1, pos-weight = nan }", "loss.bce.pos-weight", "NaN"),
            ("bce = { weight = 1, class-weight = inf }", "loss.bce.class-weight", "inf"),
            ("bce = { weight = 1, class-weight = { Ulna = -inf, default = 1 } }", "loss.bce.class-weight.Ulna", "-inf"),
            ("tversky = { weight = 1, alpha = [0.5, nan] }", "loss.tversky.alpha", "NaN"),
            ("focal = { weight = 1, alpha = nan }", "loss.focal.alpha", "NaN"),
            ("boundary = { weight = 1, band = nan }", "loss.boundary.band", "NaN"),
        ] {
            let table: toml::Table = format!("loss = {{ {loss} }}").parse().unwrap();
            let error = Config::deserialize(toml::Value::Table(table)).unwrap_err().to_string();
            let is_named =
                error.contains(&format!("{number} is not a finite number")) && error.contains(&format!("`{key}`"));
            assert!(is_named, "{loss}: {error}");
        }
    }
}
