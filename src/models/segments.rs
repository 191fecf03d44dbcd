//! Gradient checkpointing. T. Chen, B. Xu, C. Zhang, C. Guestrin, Training deep nets with sublinear memory cost, 2016.
//!
//! A network divides its forward pass into segments. Of a segment only the inputs are kept; the backward pass computes
//! its forward pass again. Gradients have the same bits as without recomputation (on the CPU): the random generator is
//! set back, batch norms do not update their running statistics a second time, and the gradients of a tensor that
//! several parts of the network use are added in the same order.

use tch::{Device, TchError, Tensor};

use super::ModelError;
use super::layers::recomputing;
use crate::aten;

/// Computes the outputs of a segment from its inputs.
type Forward<'a> = Box<dyn Fn(&[Tensor]) -> Result<Vec<Tensor>, ModelError> + 'a>;

/// The segments of one forward pass.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use carpus::models::{Input, Model, ModelConfig, Segments};
/// use tch::{Device, Kind, Tensor};
/// let model = Model::new(&ModelConfig::default(), Device::Cpu)?;
/// let images = Tensor::rand([2, 3, 64, 64], (Kind::Float, Device::Cpu));
/// let mut segments = Segments::recomputed(Device::Cpu);
/// let output = model.forward_in(&Input { images: &images, metadata: None }, true, &mut segments)?;
/// segments.backward(&output.logits.square().mean(Kind::Float), || Ok(()))?;
/// assert!(model.named_parameters()[0].1.grad().defined());
/// # Ok(())
/// # }
/// ```
pub struct Segments<'a> {
    /// The device of the tensors, and the segments in the order of the forward pass; `None`: nothing is recomputed.
    recorded: Option<(Device, Vec<Segment<'a>>)>,
}

struct Segment<'a> {
    forward: Forward<'a>,
    inputs: Vec<Tensor>,
    /// How often each input had been changed in place.
    versions: Vec<i64>,
    outputs: Vec<Tensor>,
    /// State of the random generator before the segment.
    random: Tensor,
}

impl<'a> Segments<'a> {
    /// All activations are kept and nothing is recomputed.
    pub fn kept() -> Segments<'a> {
        Segments { recorded: None }
    }

    /// The activations within segments are recomputed in the backward pass. The tensors are on `device`.
    pub fn recomputed(device: Device) -> Segments<'a> {
        Segments { recorded: Some((device, Vec::new())) }
    }

    /// Runs a segment with one input and one output. See [`Segments::run_all`].
    pub(super) fn run(
        &mut self,
        input: &Tensor,
        forward: impl Fn(&Tensor) -> Result<Tensor, ModelError> + 'a,
    ) -> Result<Tensor, ModelError> {
        if self.recorded.is_none() {
            return forward(input);
        }
        let mut outputs = self.run_all(std::slice::from_ref(input), move |inputs| Ok(vec![forward(&inputs[0])?]))?;
        Ok(outputs.pop().expect("the segment has one output"))
    }

    /// Runs a segment. Its inputs must be outputs of segments or tensors that require no gradient, and neither `forward`
    /// nor later operations may change them in place.
    pub(super) fn run_all(
        &mut self,
        inputs: &[Tensor],
        forward: impl Fn(&[Tensor]) -> Result<Vec<Tensor>, ModelError> + 'a,
    ) -> Result<Vec<Tensor>, ModelError> {
        let Some((device, segments)) = &mut self.recorded else { return forward(inputs) };
        for input in inputs {
            if input.requires_grad() && !aten::is_cut(input)? {
                return Err(ModelError::Segment("an input that requires a gradient is not the output of a segment"));
            }
        }
        let random = aten::random_state(*device)?;
        // The graph of the segment, and with it its activations, is dropped here.
        let outputs = forward(inputs)?;
        if !outputs.iter().any(Tensor::requires_grad) {
            return Ok(outputs);
        }
        let cut = |x: &Tensor| if x.requires_grad() { aten::cut(x) } else { Ok(x.shallow_clone()) };
        let outputs = outputs.iter().map(cut).collect::<Result<Vec<_>, _>>()?;
        segments.push(Segment {
            forward: Box::new(forward),
            versions: versions(inputs)?,
            inputs: shared(inputs),
            outputs: shared(&outputs),
            random,
        });
        Ok(outputs)
    }

    /// Adds the gradients of `loss`, a scalar computed from the outputs of the forward pass, to those of the weights.
    /// `enter` sets what the forward pass was computed in, autocast for example; its value is dropped after each
    /// segment's forward pass.
    ///
    /// # Errors
    /// [`ModelError::Segment`]: an input of a segment was changed in place; otherwise those of the forward pass.
    pub fn backward<G>(self, loss: &Tensor, enter: impl Fn() -> Result<G, TchError>) -> Result<(), ModelError> {
        aten::backward(std::slice::from_ref(loss), &[Tensor::new()])?;
        let Some((device, segments)) = self.recorded else { return Ok(()) };
        let random = aten::random_state(device)?;
        for segment in segments.into_iter().rev() {
            segment.backward(device, &enter)?;
        }
        Ok(aten::set_random_state(device, &random)?)
    }
}

impl Segment<'_> {
    fn backward<G>(self, device: Device, enter: impl Fn() -> Result<G, TchError>) -> Result<(), ModelError> {
        let taken = |tensor: &Tensor| if aten::is_cut(tensor)? { aten::take_gradient(tensor) } else { Ok(None) };
        let of_outputs = self.outputs.iter().map(taken).collect::<Result<Vec<_>, TchError>>()?;
        if of_outputs.iter().all(Option::is_none) {
            return Ok(());
        }
        if versions(&self.inputs)? != self.versions {
            return Err(ModelError::Segment("an input was changed in place after the segment had read it"));
        }
        let again = |x: &Tensor| if aten::is_cut(x)? { aten::cut(x) } else { Ok(x.shallow_clone()) };
        let inputs = self.inputs.iter().map(again).collect::<Result<Vec<_>, TchError>>()?;
        aten::set_random_state(device, &self.random)?;
        let outputs = {
            let _entered = enter()?;
            tch::with_grad(|| recomputing(|| (self.forward)(&inputs)))?
        };
        // What later parts of the network added to the gradient of an input comes first, as it does without segments.
        let of_inputs = self.inputs.iter().map(taken).collect::<Result<Vec<_>, TchError>>()?;
        let (mut roots, mut gradients) = (Vec::new(), Vec::new());
        for (tensor, gradient) in outputs.iter().zip(of_outputs).chain(inputs.iter().zip(of_inputs)) {
            if let Some(gradient) = gradient {
                roots.push(tensor.shallow_clone());
                gradients.push(gradient);
            }
        }
        drop(outputs);
        aten::backward(&roots, &gradients)?;
        for (before, now) in self.inputs.iter().zip(&inputs) {
            if aten::is_cut(now)?
                && let Some(gradient) = aten::take_gradient(now)?
            {
                aten::put_gradient(before, &gradient)?;
            }
        }
        Ok(())
    }
}

fn shared(tensors: &[Tensor]) -> Vec<Tensor> {
    tensors.iter().map(Tensor::shallow_clone).collect()
}

fn versions(tensors: &[Tensor]) -> Result<Vec<i64>, TchError> {
    tensors.iter().map(Tensor::f_internal_version).collect()
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    fn input() -> (Tensor, Tensor) {
        let weight = Tensor::from_slice(&[0.5f32, -2.0]).set_requires_grad(true);
        (Tensor::from_slice(&[3f32, 4.0]), weight)
    }

    #[test]
    fn a_segment_that_is_used_twice_gets_the_sum_of_the_gradients() {
        let (x, weight) = input();
        let mut segments = Segments::recomputed(Device::Cpu);
        let w = weight.shallow_clone();
        let y = segments.run(&x, move |x| Ok(x.f_mul(&w)?)).unwrap();
        let z = segments.run(&y, |y| Ok(y.f_square()?)).unwrap();
        // d/dw of sum (w x)^2 + w x = 2 w x^2 + x
        segments.backward(&(z + y).sum(Kind::Float), || Ok(())).unwrap();
        assert_eq!(Vec::<f32>::try_from(weight.grad()).unwrap(), [12.0, -60.0]);
    }

    #[test]
    fn what_cannot_be_recomputed_is_refused() {
        let (x, weight) = input();
        let mut segments = Segments::recomputed(Device::Cpu);
        let w = weight.shallow_clone();
        let mut y = segments.run(&x, move |x| Ok(x.f_mul(&w)?)).unwrap();
        let z = segments.run(&y, |y| Ok(y.f_square()?)).unwrap();
        let error = segments.run(&(&y * 2.0), |y| Ok(y.shallow_clone())).unwrap_err().to_string();
        assert!(error.contains("not the output of a segment"), "{error}");
        let _ = y.relu_();
        let error = segments.backward(&z.sum(Kind::Float), || Ok(())).unwrap_err().to_string();
        assert!(error.contains("changed in place"), "{error}");
    }

    #[test]
    fn a_segment_without_weights_to_train_is_not_recomputed() {
        let (x, weight) = input();
        let (calls, mut segments) = (std::cell::Cell::new(0), Segments::recomputed(Device::Cpu));
        let count = |x: &Tensor| {
            calls.set(calls.get() + 1);
            Ok(x.f_square()?)
        };
        let y = segments.run(&x, count).unwrap();
        assert!(!y.requires_grad());
        let w = weight.shallow_clone();
        let z = segments.run(&y, move |y| Ok(y.f_mul(&w)?)).unwrap();
        segments.backward(&z.sum(Kind::Float), || Ok(())).unwrap();
        assert_eq!(calls.get(), 1);
        assert_eq!(Vec::<f32>::try_from(weight.grad()).unwrap(), [9.0, 16.0]);
    }
}
