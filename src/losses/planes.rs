//! The two walks of a mix over logits in single precision and label words, both in the CPU's memory: each pixel is read
//! once a walk, the strips of all classes are shared out among the threads, and sums are added in the order of the
//! strips, so that the number of threads changes nothing.

use rayon::prelude::*;
use tch::{TchError, Tensor};

use super::batch::{Batch, Target};
use super::block::{BLOCK, Block, Scratch, dot, sum};
use super::memory::{elements, elements_mut};
use super::pixel_weight::Around;
use super::region::Overlap;
use super::{Bce, Boundary, Focal, LossError, Term};
use crate::mask::SignedDistance;

/// Logits and words as slices.
pub struct Planes<'a> {
    /// `[B, C, H, W]`.
    pub logits: &'a [f32],
    /// `[B, H, W]`.
    pub words: &'a [u32],
    /// `[B, 1 or C, H, W]`.
    weights: Option<&'a [f32]>,
    /// Distances by plane, where a term needs them.
    edges: &'a [SignedDistance],
    /// Number of classes.
    pub classes: usize,
    /// Pixels of an image.
    pub pixels: usize,
    /// Pixels of a row.
    width: usize,
    /// Pixels of a strip: whole rows.
    strip: usize,
}

/// A term whose share of a pixel depends on that pixel alone.
enum OfPixels<'a> {
    Bce(&'a Bce, Vec<[f32; 2]>),
    Focal(&'a Focal),
    Boundary(&'a Boundary),
}

/// What the second walk adds to the gradient and to the values of the terms.
struct Work<'a> {
    /// Index of the term in the mix, its weight by pixel, the term.
    terms: Vec<(usize, f32, OfPixels<'a>)>,
    /// Slopes of the losses of overlap with respect to `sum p t` and `sum p`, by plane.
    slopes: Option<Vec<[f32; 2]>>,
}

impl<'a> Planes<'a> {
    /// `None` for what has to go the way of tensors: other kinds, devices, masks that are spread out, or more logits
    /// than 32 bits count.
    pub fn of(batch: &'a Batch) -> Option<Self> {
        let Target::Words(words) = &batch.target else { return None };
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

    /// First walk, for the losses of overlap.
    pub fn overlap(&self) -> Result<Overlap, TchError> {
        let strips: Vec<Vec<[f64; 3]>> = self.each_strip(None, &|plane, start, _| {
            let (logits, words) = self.pixels_of(plane, start);
            let (mut scratch, mut sums) = (Scratch::default(), [0.0; 3]);
            for (x, words) in logits.chunks(BLOCK).zip(words.chunks(BLOCK)) {
                let (target, probability) = scratch.probabilities(x, words, plane % self.classes);
                let of_block = [dot(probability, target), sum(probability), sum(target)];
                sums.iter_mut().zip(of_block).for_each(|(sum, more)| *sum += more);
            }
            sums
        });
        let of = |i: usize| {
            let sums: Vec<f32> = strips.iter().map(|s| s.iter().map(|sums| sums[i]).sum::<f64>() as f32).collect();
            Tensor::f_from_slice(&sums)?.f_view([-1, self.classes as i64])
        };
        Ok(Overlap { both: of(0)?, predicted: of(1)?, true_pixels: of(2)? })
    }

    /// Second walk: value of each term that is a mean over pixels (0 for the others), and the gradient of all terms
    /// but Lovász into `gradient`.
    pub fn rest(
        &self,
        terms: &'a [(f64, Term)],
        slopes: Option<(Tensor, Tensor)>,
        gradient: Option<&mut Tensor>,
    ) -> Result<Vec<f64>, LossError> {
        let count = self.logits.len() as f64;
        let mut work = Work { terms: Vec::new(), slopes: None };
        for (index, (weight, term)) in terms.iter().enumerate() {
            let term = match term {
                Term::Bce(bce) => OfPixels::Bce(bce, bce.factors(self.classes as i64)?),
                Term::Focal(focal) => OfPixels::Focal(focal),
                Term::Boundary(boundary) => OfPixels::Boundary(boundary),
                _ => continue,
            };
            work.terms.push((index, (weight / count) as f32, term));
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
        let gradient = gradient.map(|g| elements_mut(g).expect("made by the mix, in one piece"));
        let strips = self.each_strip(gradient, &|plane, start, gradient| self.strip(&work, plane, start, gradient));
        for sums in strips.iter().flatten() {
            work.terms.iter().zip(sums).for_each(|((index, ..), sum)| values[*index] += sum / count);
        }
        Ok(values)
    }

    /// Calls `of` with each plane, each of its strips' first pixel, and the gradient there; results by plane and strip.
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

    /// Logits and words of a strip.
    fn pixels_of(&self, plane: usize, start: usize) -> (&[f32], &[u32]) {
        let end = (start + self.strip).min(self.pixels);
        let at = |plane: usize| plane * self.pixels + start..plane * self.pixels + end;
        (&self.logits[at(plane)], &self.words[at(plane / self.classes)])
    }

    /// Sums of the terms over a strip; their gradient into `gradient`.
    fn strip(&self, work: &Work, plane: usize, start: usize, mut gradient: Option<&mut [f32]>) -> Vec<f64> {
        let (logits, words) = self.pixels_of(plane, start);
        let maps: Vec<Option<Vec<f32>>> =
            work.terms.iter().map(|(_, _, term)| self.map(term, plane, start, logits.len())).collect();
        let mut sums = vec![0.0; work.terms.len()];
        let mut scratch = Scratch::default();
        for (i, (x, words)) in logits.chunks(BLOCK).zip(words.chunks(BLOCK)).enumerate() {
            let at = i * BLOCK..i * BLOCK + x.len();
            let block = scratch.block(x, words, plane % self.classes);
            let mut gradient = gradient.as_mut().map(|gradient| &mut gradient[at.clone()]);
            if let Some(gradient) = &mut gradient {
                of_overlap(work.slopes.as_ref().map(|slopes| slopes[plane]), &block, gradient);
            }
            for (((_, scale, term), map), sum) in work.terms.iter().zip(&maps).zip(&mut sums) {
                let map = map.as_ref().map(|map| &map[at.clone()]);
                let gradient = gradient.as_mut().map(|gradient| (&mut **gradient, *scale));
                *sum += match term {
                    OfPixels::Bce(bce, factors) => bce.of_block(factors[plane % self.classes], &block, map, gradient),
                    OfPixels::Focal(focal) => focal.of_block(&block, gradient),
                    OfPixels::Boundary(boundary) => {
                        boundary.of_block(&block, map.expect("drawn for this term"), gradient)
                    }
                };
            }
        }
        sums
    }

    /// What a term needs to know of a strip beside logits and words: distances, or weights.
    fn map(&self, term: &OfPixels, plane: usize, start: usize, len: usize) -> Option<Vec<f32>> {
        let rows = (start / self.width) as u32..((start + len) / self.width) as u32;
        match term {
            OfPixels::Boundary(boundary) => {
                let mut map = vec![0.0; len];
                self.edges[plane].fill(rows, boundary.band.map(|band| band as f32), &mut map);
                Some(map)
            }
            OfPixels::Bce(bce, _) => {
                let given = self.weights.map(|weights| {
                    let by_class = weights.len() == self.logits.len();
                    let plane = if by_class { plane } else { plane / self.classes };
                    &weights[plane * self.pixels + start..][..len]
                });
                let rule = bce.pixel_weight.as_ref().filter(|rule| rule.around == Around::Outline);
                let Some(rule) = rule else { return given.map(<[f32]>::to_vec) };
                let mut map = vec![0.0; len];
                rule.around_outline(&self.edges[plane], rows, &mut map);
                if let Some(given) = given {
                    map.iter_mut().zip(given).for_each(|(weight, given)| *weight *= given);
                }
                Some(map)
            }
            OfPixels::Focal(_) => None,
        }
    }
}

/// `(dL/dboth t + dL/dpredicted) p (1 - p)`, or zeros, as the gradient to start from.
fn of_overlap(slopes: Option<[f32; 2]>, block: &Block, gradient: &mut [f32]) {
    let Some([of_both, of_predicted]) = slopes else { return gradient.fill(0.0) };
    for ((g, p), t) in gradient.iter_mut().zip(block.probability).zip(block.target) {
        *g = (of_both * t + of_predicted) * p * (1.0 - p);
    }
}
