use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::Point;

/// Coordinates of an image as stored on disk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Image {}
/// Coordinates of a cleaned crop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CropSpace {}
/// Coordinates of a model's input tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ModelSpace {}

/// An affine map from coordinates `From` to coordinates `To`. Name a value after its direction:
/// `crop_from_image: Affine<Image, Crop>`.
///
/// `[x', y'] = [[a, b], [c, d]] [x, y] + [tx, ty]`, stored as `[a, b, tx, c, d, ty]`.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
pub struct Affine<From, To> {
    coefficients: [f64; 6],
    #[serde(skip)]
    direction: PhantomData<fn(From) -> To>,
}

impl<A, B> Clone for Affine<A, B> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<A, B> Copy for Affine<A, B> {}
impl<A, B> PartialEq for Affine<A, B> {
    fn eq(&self, other: &Self) -> bool {
        self.coefficients == other.coefficients
    }
}
impl<A, B> std::fmt::Debug for Affine<A, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Affine{:?}", self.coefficients)
    }
}

impl<A, B> Affine<A, B> {
    /// From `[a, b, tx, c, d, ty]`.
    pub const fn new(coefficients: [f64; 6]) -> Self {
        Affine { coefficients, direction: PhantomData }
    }

    /// `[a, b, tx, c, d, ty]`.
    pub const fn coefficients(&self) -> [f64; 6] {
        self.coefficients
    }

    /// Scale by `(sx, sy)` about the origin, then shift by `(tx, ty)`.
    pub const fn scale_shift(sx: f64, sy: f64, tx: f64, ty: f64) -> Self {
        Self::new([sx, 0.0, tx, 0.0, sy, ty])
    }

    /// Shift by `(tx, ty)`.
    pub const fn shift(tx: f64, ty: f64) -> Self {
        Self::scale_shift(1.0, 1.0, tx, ty)
    }

    /// Maps a point.
    pub fn apply(&self, p: Point) -> Point {
        let [a, b, tx, c, d, ty] = self.coefficients;
        Point::new(a * p.x + b * p.y + tx, c * p.x + d * p.y + ty)
    }

    /// The inverse map; `None` if the determinant is zero or not finite.
    pub fn inverse(&self) -> Option<Affine<B, A>> {
        let [a, b, tx, c, d, ty] = self.coefficients;
        let det = a * d - b * c;
        if det == 0.0 || !det.is_finite() {
            return None;
        }
        let (ia, ib, ic, id) = (d / det, -b / det, -c / det, a / det);
        Some(Affine::new([ia, ib, -(ia * tx + ib * ty), ic, id, -(ic * tx + id * ty)]))
    }

    /// The map that applies first `self`, then `next`.
    pub fn then<C>(&self, next: &Affine<B, C>) -> Affine<A, C> {
        let [a, b, tx, c, d, ty] = self.coefficients;
        let [e, f, ux, g, h, uy] = next.coefficients;
        Affine::new([
            e * a + f * c,
            e * b + f * d,
            e * tx + f * ty + ux,
            g * a + h * c,
            g * b + h * d,
            g * tx + h * ty + uy,
        ])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn inverse_undoes(c in prop::array::uniform6(-3.0f64..3.0), x in -2048.0f64..2048.0, y in -2048.0f64..2048.0) {
            let crop_from_image = Affine::<Image, CropSpace>::new(c);
            prop_assume!((c[0] * c[4] - c[1] * c[3]).abs() > 0.05);
            let back = crop_from_image.inverse().unwrap();
            let p = Point::new(x, y);
            prop_assert!(back.apply(crop_from_image.apply(p)).distance(p) < 1e-6);
            let round: Affine<Image, Image> = crop_from_image.then(&back);
            prop_assert!(round.apply(p).distance(p) < 1e-6);
        }
    }

    #[test]
    fn flat_map_has_no_inverse() {
        assert!(Affine::<Image, CropSpace>::scale_shift(1.0, 0.0, 0.0, 0.0).inverse().is_none());
    }
}
