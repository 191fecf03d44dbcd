use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::smooth_noise::{greatest_of, smooth_noise};
use super::{Amount, Border, Change, Displacement, Geometry, SampleView, Step};
use crate::geometry::{Point, Size};
use crate::violation::Violations;

/// Cells between two nodes of U-Net's coarse grid, on which its bicubic interpolation is computed; bilinear in each, it
/// differs from the cubic by less than 1/5000 of the displacement.
const CELLS: usize = 64;

/// Elastic deformation, in one of two forms: `form = "smooth"` is albumentations' `ElasticTransform` (Simard et al.,
/// 2003), `form = "u-net"` that of the U-Net paper (Ronneberger et al., 2015).
///
/// `smooth`: one Gaussian number per pixel and direction, divided by the greatest absolute value of all, smoothed by a
/// Gaussian of `sigma` px and multiplied by `alpha`. The displacements have a standard deviation of about
/// `alpha / (19 sigma)` px. albumentations repeats the noise of the outermost pixels beyond the image, which makes the
/// displacements at its edges many times larger than inside; here they are the same everywhere.
///
/// `u-net`: Gaussian displacements of `sigma` px at 3 x 3 nodes from corner to corner, bicubic between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Elastic {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// `smooth` or `u-net`. Default `smooth`.
    pub form: ElasticForm,
    /// Only with `smooth`: the factor of the smoothed field. From 0 to 1000000; default 2000, that is 2 px with the
    /// default `sigma` (albumentations' default 1 displaces by 0.001 px).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2000.0)]
    pub alpha: Option<Amount>,
    /// `smooth`: standard deviation of the Gaussian in px, from 1 to 500; default 50. `u-net`: standard deviation of
    /// the displacements in px, from 0 to 500; default 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 50.0)]
    pub sigma: Option<Amount>,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
}

/// The random field of an elastic deformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ElasticForm {
    /// Noise smoothed by a Gaussian.
    #[default]
    Smooth,
    /// Bicubic between 3 x 3 nodes.
    UNet,
}

impl Default for Elastic {
    fn default() -> Self {
        Elastic { p: 0.5, form: ElasticForm::Smooth, alpha: None, sigma: None, border: Border::Black }
    }
}

impl Step for Elastic {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let size = view.size();
        let field = match self.form {
            ElasticForm::Smooth => {
                let alpha = self.alpha.unwrap_or(Amount::Fixed(2000.0)).draw(rng);
                let sigma = self.sigma.unwrap_or(Amount::Fixed(50.0)).draw(rng);
                let greatest = greatest_of(2 * size.pixels(), rng);
                smooth_noise(size, sigma, alpha / greatest, rng)
            }
            ElasticForm::UNet => {
                let sigma = self.sigma.unwrap_or(Amount::Fixed(10.0)).draw(rng);
                let nodes = [(); 9].map(|()| [(); 2].map(|()| sigma * rng.sample::<f64, _>(StandardNormal)));
                bicubic(size, &nodes)
            }
        };
        Some(Change::Geometry { source_from_target: Geometry::Displacement(field), border: Some(self.border) })
    }

    fn draws_from_size_alone(&self) -> bool {
        true
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        if let Some(alpha) = self.alpha {
            let used = self.form == ElasticForm::Smooth;
            wrong.expect(used, "alpha", alpha, "no value with form = \"u-net\", whose displacements are `sigma` px");
            alpha.expect(&mut wrong, "alpha", |v| (0.0..=1e6).contains(&v), "a factor from 0 to 1000000");
        }
        if let Some(sigma) = self.sigma {
            let least = if self.form == ElasticForm::Smooth { 1.0 } else { 0.0 };
            let expected = format!("px from {least} to 500");
            sigma.expect(&mut wrong, "sigma", |v| (least..=500.0).contains(&v), &expected);
        }
        wrong
    }
}

/// Displacements that are bicubic between 3 x 3 nodes from corner to corner, as PyTorch's `interpolate` (bicubic,
/// align_corners): Keys's cubic with a = -0.75, the outer nodes repeated beyond the image.
fn bicubic(size: Size, nodes: &[[f64; 2]; 9]) -> Displacement {
    let lattice = |side: u32| (2 * CELLS + 1).min(side as usize);
    let along = |place: f64, side: u32| weights(if side > 1 { 2.0 * place / (f64::from(side) - 1.0) } else { 0.0 });
    Displacement::of(size, lattice(size.width), lattice(size.height), |Point { x, y }| {
        let (across, down) = (along(x, size.width), along(y, size.height));
        let sum = |i: usize| (0..9).map(|n| across[n % 3] * down[n / 3] * nodes[n][i]).sum::<f64>();
        [sum(0), sum(1)]
    })
}

/// Weights of three nodes at 0, 1 and 2 at a place between them.
fn weights(place: f64) -> [f64; 3] {
    const A: f64 = -0.75;
    let cubic = |d: f64| match d {
        d if d <= 1.0 => ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0,
        d if d < 2.0 => ((d - 5.0) * d + 8.0) * d * A - 4.0 * A,
        _ => 0.0,
    };
    let mut weights = [0.0; 3];
    let first = place.floor();
    for node in -1..=2 {
        let at = first + f64::from(node);
        weights[at.clamp(0.0, 2.0) as usize] += cubic((place - at).abs());
    }
    weights
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::list::tests::drawn;

    fn field(step: &Elastic, size: Size, seed: u64) -> Displacement {
        let Change::Geometry { source_from_target: Geometry::Displacement(field), .. } = drawn(step, size, seed) else {
            panic!("a displacement")
        };
        field
    }

    #[test]
    fn the_same_seed_gives_the_same_field_with_any_number_of_threads() {
        let size = Size { width: 90, height: 50 };
        for sigma in [2.0, 15.0] {
            let step = Elastic { sigma: Some(Amount::Fixed(sigma)), ..Elastic::default() };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            assert_eq!(pool.install(|| field(&step, size, 3)).nodes(), field(&step, size, 3).nodes());
            assert_ne!(field(&step, size, 4).nodes(), field(&step, size, 3).nodes());
        }
    }

    /// ATen's interpolation is the reference; a lattice of 129 nodes is exact to 0.02 % of the displacement.
    #[test]
    fn the_coarse_grid_is_interpolated_as_in_pytorch() {
        let step = Elastic { form: ElasticForm::UNet, ..Elastic::default() };
        for (width, height) in [(50, 40), (300, 200)] {
            let size = Size { width, height };
            for seed in 0..3 {
                let field = field(&step, size, seed);
                let at = |x: f64, y: f64| {
                    let p = field.apply(Point::new(x, y));
                    [p.x - x, p.y - y]
                };
                let (last_x, last_y) = (f64::from(width) - 1.0, f64::from(height) - 1.0);
                // The displacements of the nodes, drawn as the step does.
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let nodes = [(); 9].map(|()| [(); 2].map(|()| 10.0 * rng.sample::<f64, _>(StandardNormal)));
                for axis in 0..2 {
                    let coarse: Vec<f64> = nodes.iter().map(|n| n[axis]).collect();
                    let coarse = tch::Tensor::from_slice(&coarse).view([1, 1, 3, 3]);
                    let fine = coarse.upsample_bicubic2d(
                        [i64::from(height), i64::from(width)],
                        true,
                        None::<f64>,
                        None::<f64>,
                    );
                    for (x, y) in [(0.0, 0.0), (last_x, 0.0), (3.0, 31.0), (27.0, 11.0), (last_x, last_y)] {
                        let expected = fine.double_value(&[0, 0, y as i64, x as i64]);
                        assert!((at(x, y)[axis] - expected).abs() < 0.01, "{:?} {expected}", at(x, y));
                    }
                }
            }
        }
    }

    #[test]
    fn displacements_have_their_standard_deviation() {
        let mean_square = |step: &Elastic, size: Size, at: Point| {
            let of = |seed| field(step, size, seed).apply(at).distance(at).powi(2);
            (0..800).map(of).sum::<f64>() / 1600.0
        };
        // The corner is a node. The standard error of a variance of 1600 values is 3.5 %.
        let corners = Elastic { form: ElasticForm::UNet, sigma: Some(Amount::Fixed(4.0)), ..Elastic::default() };
        let ratio = mean_square(&corners, Size { width: 20, height: 10 }, Point::default()) / 16.0;
        assert!((ratio - 1.0).abs() < 0.14, "{ratio}");
        // The greatest of 2 * 30 * 20 normal numbers is about 3.3; within the image and at its corner alike.
        let smooth =
            Elastic { alpha: Some(Amount::Fixed(100.0)), sigma: Some(Amount::Fixed(3.0)), ..Elastic::default() };
        for at in [Point::new(14.0, 9.0), Point::default()] {
            let ratio = mean_square(&smooth, Size { width: 30, height: 20 }, at).sqrt() / (100.0 / 3.35 / 10.63);
            assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
        }
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        let keys = |step: Elastic| step.violations().iter().map(|v| v.key.clone()).collect::<Vec<_>>();
        let (alpha, sigma) = (Some(Amount::Fixed(-1.0)), Some(Amount::Fixed(0.5)));
        assert_eq!(keys(Elastic { alpha, sigma, ..Elastic::default() }), ["alpha", "sigma"]);
        let alpha = Some(Amount::Fixed(30.0));
        assert_eq!(keys(Elastic { form: ElasticForm::UNet, alpha, sigma, ..Elastic::default() }), ["alpha"]);
        let read: Elastic = toml::from_str("form = 'u-net'\nsigma = [5, 15]").unwrap();
        assert_eq!((read.form, read.sigma), (ElasticForm::UNet, Some(Amount::Between([5.0, 15.0]))));
    }
}
