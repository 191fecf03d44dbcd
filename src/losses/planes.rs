//! The two passes of a mix over logits in single precision and label words in the CPU's memory. Each pixel is read once
//! per pass, the strips of all classes are distributed over the threads, and sums are added in the order of the strips,
//! so that the result does not depend on the number of threads.

use std::ops::Range;

use rayon::prelude::*;
use tch::{TchError, Tensor};

use super::batch::{LossBatch, LossTarget};
use super::block::{BLOCK, PixelBlock, Scratch, dot, sum};
use super::loss::{Computation, PixelLoss};
use super::memory::{elements, elements_mut};
use super::region::Overlap;
use super::{LossError, Term};
use crate::mask::SignedDistance;

/// Logits and label words as slices.
pub struct Planes<'a> {
    /// `[B, C, H, W]`.
    pub logits: &'a [f32],
    /// `[B, H, W]`.
    pub words: &'a [u32],
    /// `[B, 1 or C, H, W]`.
    weights: Option<&'a [f32]>,
    /// Distances to the outline per plane, if a term needs them.
    edges: &'a [SignedDistance],
    /// Number of classes.
    pub classes: usize,
    /// Pixels per image.
    pub pixels: usize,
    /// Pixels per row.
    width: usize,
    /// Pixels per strip; a strip consists of whole rows.
    strip: usize,
}

/// A term that is a mean over pixels.
struct PixelTerm<'a> {
    /// Its index in the mix.
    index: usize,
    /// Its weight divided by the number of pixels.
    scale: f32,
    loss: &'a dyn PixelLoss,
    /// Weight of the positive pixels per class.
    positive: Vec<f32>,
    /// Factor of the value per class.
    class_weights: Vec<f64>,
}

/// Whole rows of a plane, which are processed together.
pub struct Strip<'a> {
    planes: &'a Planes<'a>,
    plane: usize,
    start: usize,
    /// Number of pixels.
    pub len: usize,
}

impl Strip<'_> {
    /// Distances to the outline of the plane.
    pub fn edge(&self) -> &SignedDistance {
        &self.planes.edges[self.plane]
    }

    /// The rows of the strip.
    pub fn rows(&self) -> Range<u32> {
        let width = self.planes.width;
        (self.start / width) as u32..((self.start + self.len) / width) as u32
    }

    /// The given weights of its pixels.
    pub fn weights(&self) -> Option<&[f32]> {
        let planes = self.planes;
        planes.weights.map(|weights| {
            let by_class = weights.len() == planes.logits.len();
            let plane = if by_class { self.plane } else { self.plane / planes.classes };
            &weights[plane * planes.pixels + self.start..][..self.len]
        })
    }
}

/// The inputs of the second pass: terms that are means over pixels, and derivatives of the overlap losses.
struct Work<'a> {
    terms: Vec<PixelTerm<'a>>,
    /// Derivatives of the overlap losses with respect to `sum p t` and `sum p`, per plane.
    slopes: Option<Vec<[f32; 2]>>,
}

impl<'a> Planes<'a> {
    /// `None` if the tensor implementation must be used: for other kinds or devices, dense masks, or more logits than
    /// 32 bits can count.
    pub fn of(batch: &'a LossBatch) -> Option<Self> {
        let LossTarget::Words(words) = &batch.target else { return None };
        let [_, classes, height, width] = batch.size;
        let weights = match &batch.weights {
            Some(weights) => Some(elements(weights)?),
            None => None,
        };
        let logits: &[f32] = elements(&batch.logits)?;
        u32::try_from(logits.len()).ok()?;
        Some(Planes {
            logits,
            words: elements(words)?,
            weights,
            edges: &batch.edges,
            classes: classes as usize,
            pixels: (height * width) as usize,
            width: width as usize,
            strip: (batch.strip_rows() * width) as usize,
        })
    }

    /// First pass, for the overlap losses: the sums over pixels.
    pub fn overlap(&self) -> Result<Overlap, TchError> {
        let strips: Vec<Vec<[f64; 3]>> = self.each_strip(None, &|plane, start, _| {
            let (logits, words) = self.pixels_of(plane, start);
            let (mut scratch, mut sums) = (Scratch::default(), [0.0; 3]);
            for (x, words) in logits.chunks(BLOCK).zip(words.chunks(BLOCK)) {
                let (target, probability) = scratch.probabilities(x, words, plane % self.classes);
                let block_sums = [dot(probability, target), sum(probability), sum(target)];
                sums.iter_mut().zip(block_sums).for_each(|(sum, more)| *sum += more);
            }
            sums
        });
        let of = |i: usize| {
            let sums: Vec<f32> = strips.iter().map(|s| s.iter().map(|sums| sums[i]).sum::<f64>() as f32).collect();
            Tensor::f_from_slice(&sums)?.f_view([-1, self.classes as i64])
        };
        Ok(Overlap { both: of(0)?, predicted: of(1)?, true_pixels: of(2)?, class_weights: None })
    }

    /// Second pass: returns the value of each term that is a mean over pixels (0 for the others) and writes the
    /// gradient of all terms except Lovász to `gradient`.
    pub fn pixel_losses(
        &self,
        terms: &'a [(f64, Term)],
        slopes: Option<(Tensor, Tensor)>,
        gradient: Option<&mut Tensor>,
    ) -> Result<Vec<f64>, LossError> {
        let count = self.logits.len() as f64;
        let mut work = Work { terms: Vec::new(), slopes: None };
        for (index, (weight, term)) in terms.iter().enumerate() {
            if let Computation::Pixels(loss) = term.loss.computation() {
                let classes = self.classes as i64;
                let positive = loss.positive_weights(classes)?;
                let class_weights = term.class_weights(classes)?.unwrap_or_else(|| vec![1.0; self.classes]);
                work.terms.push(PixelTerm { index, scale: (weight / count) as f32, loss, positive, class_weights });
            }
        }
        if let Some((of_both, of_predicted)) = slopes {
            let values = |x: Tensor| Vec::<f32>::try_from(x.f_contiguous()?.f_view([-1])?);
            let pairs = values(of_both)?.into_iter().zip(values(of_predicted)?);
            work.slopes = Some(pairs.map(|(both, predicted)| [both, predicted]).collect());
        }
        let mut values = vec![0.0; terms.len()];
        if work.terms.is_empty() && gradient.is_none() {
            return Ok(values);
        }
        let gradient = gradient.map(|g| elements_mut(g).expect("the mix made it contiguous"));
        let strips = self.each_strip(gradient, &|plane, start, gradient| self.strip(&work, plane, start, gradient));
        for sums in strips.iter().flatten() {
            work.terms.iter().zip(sums).for_each(|(term, sum)| values[term.index] += sum / count);
        }
        Ok(values)
    }

    /// Calls `of` for each strip with its plane, its first pixel and its part of the gradient; returns the results by
    /// plane and strip.
    fn each_strip<T: Send>(
        &self,
        gradient: Option<&mut [f32]>,
        of: &(impl Fn(usize, usize, Option<&mut [f32]>) -> T + Sync),
    ) -> Vec<Vec<T>> {
        let planes = self.logits.len() / self.pixels;
        match gradient {
            Some(gradient) => {
                let plane = |(plane, gradient): (usize, &mut [f32])| {
                    let strips = gradient.par_chunks_mut(self.strip).enumerate();
                    strips.map(|(i, gradient)| of(plane, i * self.strip, Some(gradient))).collect()
                };
                gradient.par_chunks_mut(self.pixels).enumerate().map(plane).collect()
            }
            None => {
                let starts = || (0..self.pixels).into_par_iter().step_by(self.strip);
                (0..planes).into_par_iter().map(|p| starts().map(|start| of(p, start, None)).collect()).collect()
            }
        }
    }

    /// Logits and label words of a strip.
    fn pixels_of(&self, plane: usize, start: usize) -> (&[f32], &[u32]) {
        let end = (start + self.strip).min(self.pixels);
        let at = |plane: usize| plane * self.pixels + start..plane * self.pixels + end;
        (&self.logits[at(plane)], &self.words[at(plane / self.classes)])
    }

    /// Returns the sums of the terms over a strip; writes their gradient to `gradient`.
    fn strip(&self, work: &Work, plane: usize, start: usize, mut gradient: Option<&mut [f32]>) -> Vec<f64> {
        let (logits, words) = self.pixels_of(plane, start);
        let strip = Strip { planes: self, plane, start, len: logits.len() };
        let maps: Vec<Option<Vec<f32>>> = work.terms.iter().map(|term| term.loss.map(&strip)).collect();
        let mut sums = vec![0.0; work.terms.len()];
        let mut scratch = Scratch::default();
        for (i, (x, words)) in logits.chunks(BLOCK).zip(words.chunks(BLOCK)).enumerate() {
            let at = i * BLOCK..i * BLOCK + x.len();
            let block = scratch.block(x, words, plane % self.classes);
            let mut gradient = gradient.as_mut().map(|gradient| &mut gradient[at.clone()]);
            if let Some(gradient) = &mut gradient {
                overlap_gradient(work.slopes.as_ref().map(|slopes| slopes[plane]), &block, gradient);
            }
            for ((term, map), sum) in work.terms.iter().zip(&maps).zip(&mut sums) {
                let map = map.as_ref().map(|map| &map[at.clone()]);
                let class = plane % self.classes;
                let weight = term.class_weights[class];
                let gradient = gradient.as_mut().map(|gradient| (&mut **gradient, term.scale * weight as f32));
                *sum += weight * term.loss.block_sum(term.positive[class], &block, map, gradient);
            }
        }
        sums
    }
}

/// Writes the gradient of the overlap losses, `(dL/dboth t + dL/dpredicted) p (1 - p)`, or zeros if there are none.
fn overlap_gradient(slopes: Option<[f32; 2]>, block: &PixelBlock, gradient: &mut [f32]) {
    let Some([of_both, of_predicted]) = slopes else { return gradient.fill(0.0) };
    for ((g, p), t) in gradient.iter_mut().zip(block.probability).zip(block.target) {
        *g = (of_both * t + of_predicted) * p * (1.0 - p);
    }
}
