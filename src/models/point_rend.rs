//! PointRend: the logits near outlines are computed point by point at full resolution.
//! A. Kirillov, Y. Wu, K. He, R. Girshick, PointRend: image segmentation as rendering, CVPR 2020.
//!
//! The uncertainty of a point is that of its least certain class: `-min_c |logit_c|`. Classes are independent, so a
//! point is near an outline if the probability of one class is near 1/2; a mean over the classes would be dominated by
//! the many classes that are certainly absent. A rendered point gets new logits of all classes.
//!
//! Coordinates are x and y from 0 to 1 across the image. A pixel's value belongs to its centre; beyond the outermost
//! centres the border value is repeated, as in interpolation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::layers::{Conv2d, ConvOptions, Corners, Scheme, bilinear, bilinear_by};
use super::parameters::Path;
use super::{ModelError, PointLogits};
use crate::violation::Violations;

/// Options of PointRend; `point-rend = true` uses the defaults.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PointRendOptions {
    /// Points per image in training, 1 or more. Default: 2048.
    pub points: i64,
    /// Number of random candidates per point in training, from 1 to 100; the most uncertain candidates are used (k in
    /// the paper). Default: 3.
    pub oversample: f64,
    /// Share of the points that are chosen by uncertainty, from 0 to 1; the others are uniformly random (β in the
    /// paper). Default: 0.75.
    pub importance: f64,
    /// Channels of the MLP's hidden layers. Default: 256.
    pub channels: i64,
    /// Number of the MLP's hidden layers. Default: 3.
    pub layers: i64,
    /// Maximum number of times that the logits are doubled and refined, from the decoder's stride on; the remaining
    /// enlargement to the image's size is interpolation. Default: no limit. If the decoder's output has the image's
    /// size, it is refined once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2)]
    pub subdivisions: Option<i64>,
    /// Points per image that are rendered after each doubling in evaluation, 1 or more. Default: 8192.
    pub inference_points: i64,
}

impl Default for PointRendOptions {
    fn default() -> Self {
        PointRendOptions {
            points: 2048,
            oversample: 3.0,
            importance: 0.75,
            channels: 256,
            layers: 3,
            subdivisions: None,
            inference_points: 8192,
        }
    }
}

impl PointRendOptions {
    /// Every option out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        let counts = [
            ("points", Some(self.points)),
            ("channels", Some(self.channels)),
            ("layers", Some(self.layers)),
            ("subdivisions", self.subdivisions),
            ("inference-points", Some(self.inference_points)),
        ];
        for (name, count) in counts {
            if let Some(count) = count {
                wrong.expect(count >= 1, name, count, "1 or more");
            }
        }
        wrong.expect((1.0..=100.0).contains(&self.oversample), "oversample", self.oversample, "from 1 to 100");
        wrong.expect((0.0..=1.0).contains(&self.importance), "importance", self.importance, "from 0 to 1");
        wrong
    }
}

/// The point head: an MLP over fine features and coarse logits; the coarse logits are concatenated again at each layer.
pub struct PointRend {
    options: PointRendOptions,
    hidden: Vec<Conv2d>,
    predictor: Conv2d,
}

impl PointRend {
    /// A head for fine features with `fine` channels.
    pub fn new(path: &Path, options: &PointRendOptions, fine: i64, classes: i64) -> Result<Self, ModelError> {
        let mut hidden = Vec::new();
        let mut input = fine + classes;
        for index in 0..options.layers {
            let place = (path / "hidden" / index).with_scheme(Scheme::Decoder);
            hidden.push(Conv2d::new(&place, input, options.channels, 1, ConvOptions::default())?);
            input = options.channels + classes;
        }
        let place = (path / "predictor").with_scheme(Scheme::Head);
        let predictor = Conv2d::new(&place, input, classes, 1, ConvOptions::default())?;
        Ok(PointRend { options: *options, hidden, predictor })
    }

    /// Points for training and the head's logits there, from the coarse logits `[B, classes, h, w]` and the fine
    /// feature `[B, fine, h', w']`. The points are drawn from libtorch's global random generator.
    pub fn sample(&self, coarse: &Tensor, fine: &Tensor) -> Result<PointLogits, ModelError> {
        let coordinates = self.draw(coarse)?;
        let logits = self.predict(coarse, fine, &coordinates)?;
        Ok(PointLogits { coordinates, logits })
    }

    /// `[B, N, 2]`: the most uncertain of random candidates over the whole image, and uniformly random points.
    fn draw(&self, coarse: &Tensor) -> Result<Tensor, ModelError> {
        let PointRendOptions { points, oversample, importance, .. } = self.options;
        let candidates = (oversample * points as f64) as i64;
        let important = (importance * points as f64) as i64;
        let batch = coarse.size()[0];
        tch::no_grad(|| {
            let drawn = uniform(coarse, batch, candidates)?;
            let uncertainty = uncertainty(&values_at(coarse, &drawn)?)?.f_flatten(1, -1)?; // [B, k N]
            let most = most_uncertain(&uncertainty, important)?; // [B, β N]
            let most = most.f_unsqueeze(2)?.f_expand([-1, -1, 2], false)?;
            let even = uniform(coarse, batch, points - important)?;
            Ok(Tensor::f_cat(&[drawn.f_gather(1, &most, false)?, even], 1)?)
        })
    }

    /// Logits `[B, classes, N]` at points `[B, N, 2]`.
    fn predict(&self, coarse: &Tensor, fine: &Tensor, coordinates: &Tensor) -> Result<Tensor, ModelError> {
        let coarse = values_at(coarse, coordinates)?; // [B, classes, N, 1]
        let mut x = Tensor::f_cat(&[&values_at(fine, coordinates)?, &coarse], 1)?; // [B, fine + classes, N, 1]
        for layer in &self.hidden {
            x = Tensor::f_cat(&[&layer.forward(&x)?.f_relu_()?, &coarse], 1)?; // [B, channels + classes, N, 1]
        }
        Ok(self.predictor.forward(&x)?.f_squeeze_dim(3)?)
    }

    /// Logits `[B, classes, height, width]` from the coarse ones: they are repeatedly doubled in size, and after each
    /// doubling the most uncertain points are computed again by the point head.
    pub fn subdivide(&self, coarse: &Tensor, fine: &Tensor, height: i64, width: i64) -> Result<Tensor, ModelError> {
        let mut logits = coarse.shallow_clone();
        for _ in 0..self.options.subdivisions.unwrap_or(i64::MAX) {
            let doubled = logits.size()[2] * 2;
            if doubled <= height {
                logits = bilinear_by(&logits, 2, Corners::AtEdges)?;
            }
            logits = self.render(&logits, coarse, fine)?;
            if doubled >= height {
                break;
            }
        }
        let reached = logits.size()[2..] == [height, width];
        Ok(if reached { logits } else { bilinear(&logits, height, width, Corners::AtEdges)? })
    }

    /// `logits` with new values at the most uncertain points; the same shape.
    fn render(&self, logits: &Tensor, coarse: &Tensor, fine: &Tensor) -> Result<Tensor, ModelError> {
        let size = logits.size();
        let &[batch, classes, height, width] = size.as_slice() else { unreachable!("logits have four dimensions") };
        let count = self.options.inference_points.min(height * width);
        let index = most_uncertain(&uncertainty(logits)?.f_flatten(1, -1)?, count)?; // [B, N]
        let kind = precise(coarse);
        let centre = |place: Tensor, of: i64| place.f_to_kind(kind)?.f_add_scalar(0.5)?.f_div_scalar(of as f64);
        let x = centre(index.f_remainder(width)?, width)?;
        let y = centre(index.f_div_scalar_mode(width, "floor")?, height)?;
        let rendered = self.predict(coarse, fine, &Tensor::f_stack(&[x, y], 2)?)?; // [B, classes, N]
        let index = index.f_unsqueeze(1)?.f_expand([batch, classes, count], false)?;
        let flat = logits.f_reshape([batch, classes, -1])?;
        Ok(flat.f_scatter(2, &index, &rendered.f_to_kind(logits.kind())?)?.f_view([batch, classes, height, width])?)
    }
}

/// `-min_c |logit_c|` of logits `[B, classes, ..]`: `[B, ..]`, at most 0.
fn uncertainty(logits: &Tensor) -> Result<Tensor, ModelError> {
    Ok(logits.f_abs()?.f_amin([1].as_slice(), false)?.f_neg()?)
}

/// Single precision instead of half: half precision distinguishes too few places in an image.
fn precise(map: &Tensor) -> Kind {
    if map.kind() == Kind::Double { Kind::Double } else { Kind::Float }
}

/// Indices of the `count` largest values in each row of `[B, N]`, largest first. Points in a corner of the map have
/// equal logits; of equal values the first is taken, so that the choice is the same on every device.
fn most_uncertain(uncertainty: &Tensor, count: i64) -> Result<Tensor, ModelError> {
    let (_, order) = uncertainty.f_sort_stable(true, 1, true)?;
    Ok(order.f_narrow(1, 0, count)?)
}

/// Uniformly random points `[batch, count, 2]` of the image, on the device of `like`.
fn uniform(like: &Tensor, batch: i64, count: i64) -> Result<Tensor, ModelError> {
    Ok(Tensor::f_rand([batch, count, 2], (Kind::Float, like.device()))?.f_to_kind(precise(like))?)
}

/// Values of `map`, `[B, C, h, w]`, at `coordinates`, `[B, N, 2]`: `[B, C, N, 1]`.
fn values_at(map: &Tensor, coordinates: &Tensor) -> Result<Tensor, ModelError> {
    const BILINEAR: i64 = 0;
    const BORDER: i64 = 1;
    let grid = coordinates.f_mul_scalar(2.0)?.f_sub_scalar(1.0)?.f_unsqueeze(2)?; // [B, N, 1, 2], from -1 to 1
    Ok(map.f_to_kind(precise(map))?.f_grid_sampler(&grid, BILINEAR, BORDER, false)?)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tch::Device;

    use super::*;
    use crate::models::{Norm, Parameters};

    const CPU: (Kind, Device) = (Kind::Float, Device::Cpu);

    fn head(options: PointRendOptions) -> PointRend {
        let registry = RefCell::new(Parameters::new(Device::Cpu));
        PointRend::new(&Path::root(&registry, Norm::Batch, Scheme::Torch), &options, 4, 2).unwrap()
    }

    #[test]
    fn values_belong_to_pixel_centres() {
        let map = Tensor::arange(6, CPU).view([1, 1, 2, 3]);
        let at = |x: f32, y: f32| values_at(&map, &Tensor::from_slice(&[x, y]).view([1, 1, 2])).unwrap();
        let value = |x, y| at(x, y).double_value(&[0, 0, 0, 0]);
        assert!((value(0.5 / 3.0, 0.25) - 0.0).abs() < 1e-6);
        assert!((value(2.5 / 3.0, 0.75) - 5.0).abs() < 1e-6);
        assert!((value(0.5, 0.5) - 2.5).abs() < 1e-6);
        assert!((value(0.0, 0.0) - 0.0).abs() < 1e-6, "the border value is repeated");
    }

    #[test]
    fn a_point_is_as_uncertain_as_its_least_certain_class() {
        let logits = Tensor::from_slice(&[-9f32, 4.0, 0.5, 8.0]).view([1, 2, 1, 2]);
        assert_eq!(Vec::<f32>::try_from(uncertainty(&logits).unwrap().view(-1)).unwrap(), [-0.5, -4.0]);
    }

    #[test]
    fn important_points_lie_on_the_outline() {
        tch::manual_seed(5);
        // One class, its edge at x = 0.5.
        let coarse = (Tensor::arange(16, CPU) - 7.5).view([1, 1, 1, 16]).expand([1, 2, 16, 16], false);
        let options = PointRendOptions { points: 200, ..PointRendOptions::default() };
        let share = |importance| {
            let drawn = head(PointRendOptions { importance, ..options }).draw(&coarse).unwrap();
            assert_eq!(drawn.size(), [1, 200, 2]);
            let near = (drawn.select(2, 0) - 0.5).abs().lt(0.2).to_kind(Kind::Float);
            near.mean(Kind::Float).double_value(&[])
        };
        // The quarter of the candidates nearest to the edge lies within 0.125; of uniform points, 0.4 lie within 0.2.
        assert!(share(0.75) > 0.75, "{}", share(0.75));
        assert!((share(0.0) - 0.4).abs() < 0.15, "{}", share(0.0));
    }

    #[test]
    fn only_the_most_uncertain_points_change() {
        tch::manual_seed(6);
        let coarse = Tensor::randn([2, 2, 4, 6], CPU);
        let fine = Tensor::randn([2, 4, 8, 12], CPU);
        let options = PointRendOptions { inference_points: 10, ..PointRendOptions::default() };
        let head = head(options);
        let logits = head.subdivide(&coarse, &fine, 8, 12).unwrap();
        let plain = bilinear(&coarse, 8, 12, Corners::AtEdges).unwrap();
        let differs = logits.ne_tensor(&plain).any_dim(1, false); // [2, 8, 12]
        assert_eq!(differs.sum(Kind::Int64).int64_value(&[]), 20, "ten per image, after one doubling");
        for image in 0..2 {
            let (doubt, differs) = (uncertainty(&plain).unwrap().get(image), differs.get(image));
            let least = doubt.masked_select(&differs).min().double_value(&[]);
            let most = doubt.masked_select(&differs.logical_not()).max().double_value(&[]);
            assert!(least >= most, "the rendered points are the most uncertain");
        }
        // Logits that already have the image's size are refined once.
        let whole = head.subdivide(&coarse, &fine, 4, 6).unwrap();
        let differs = whole.ne_tensor(&coarse).any_dim(1, false).sum(Kind::Int64).int64_value(&[]);
        assert_eq!(differs, 20);
    }
}
