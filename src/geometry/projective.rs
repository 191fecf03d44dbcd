use nalgebra::Matrix3;

use super::{Affine, Point};

/// A projective map (homography) of the plane: `[x', y'] = [u, v] / w` with `[u, v, w] = M [x, y, 1]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projective(Matrix3<f64>);

impl Projective {
    /// From the matrix, row-major.
    pub fn new(rows: [f64; 9]) -> Projective {
        Projective(Matrix3::from_row_slice(&rows))
    }

    /// The matrix, row-major.
    pub fn rows(&self) -> [f64; 9] {
        std::array::from_fn(|i| self.0[(i / 3, i % 3)])
    }

    /// The map that takes each of four points `from` to the point of `to` at the same place; `None` if three of the
    /// points are on one line, so that there is no such map.
    pub fn through(from: [Point; 4], to: [Point; 4]) -> Option<Projective> {
        let mut equations = nalgebra::SMatrix::<f64, 8, 8>::zeros();
        let mut right = nalgebra::SVector::<f64, 8>::zeros();
        for (i, (a, b)) in from.iter().zip(to).enumerate() {
            for (row, value, place) in [(2 * i, b.x, 0), (2 * i + 1, b.y, 3)] {
                equations[(row, place)] = a.x;
                equations[(row, place + 1)] = a.y;
                equations[(row, place + 2)] = 1.0;
                equations[(row, 6)] = -a.x * value;
                equations[(row, 7)] = -a.y * value;
                right[row] = value;
            }
        }
        let m = equations.lu().solve(&right)?;
        let map = Projective::new([m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], 1.0]);
        map.inverse().map(|_| map)
    }

    /// Maps a point. A point on the line that is mapped to infinity gets coordinates that are not finite.
    pub fn apply(&self, p: Point) -> Point {
        let m = &self.0;
        let w = m[(2, 0)] * p.x + m[(2, 1)] * p.y + m[(2, 2)];
        Point::new(
            (m[(0, 0)] * p.x + m[(0, 1)] * p.y + m[(0, 2)]) / w,
            (m[(1, 0)] * p.x + m[(1, 1)] * p.y + m[(1, 2)]) / w,
        )
    }

    /// The inverse map; `None` if there is none.
    pub fn inverse(&self) -> Option<Projective> {
        let inverse = self.0.try_inverse()?;
        inverse.iter().all(|v| v.is_finite()).then_some(Projective(inverse))
    }

    /// The map that applies first `self`, then `next`.
    pub fn then(&self, next: &Projective) -> Projective {
        Projective(next.0 * self.0)
    }
}

impl<A, B> From<Affine<A, B>> for Projective {
    fn from(map: Affine<A, B>) -> Projective {
        let [a, b, tx, c, d, ty] = map.coefficients();
        Projective::new([a, b, tx, c, d, ty, 0.0, 0.0, 1.0])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn corners(at: [f64; 8]) -> [Point; 4] {
        std::array::from_fn(|i| Point::new(at[2 * i], at[2 * i + 1]))
    }

    proptest! {
        /// A square with corners that move by less than a third of the side stays convex.
        #[test]
        fn a_map_through_four_points_takes_them_there_and_back(
            moved in prop::array::uniform8(-0.3f64..0.3),
            x in 0.0f64..1.0,
            y in 0.0f64..1.0,
        ) {
            let square = [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
            let to = corners(std::array::from_fn(|i| square[i] + moved[i]));
            let map = Projective::through(corners(square), to).unwrap();
            for (from, to) in corners(square).into_iter().zip(to) {
                prop_assert!(map.apply(from).distance(to) < 1e-9);
            }
            let p = Point::new(x, y);
            prop_assert!(map.inverse().unwrap().apply(map.apply(p)).distance(p) < 1e-9);
            let round = map.then(&map.inverse().unwrap());
            prop_assert!(round.apply(p).distance(p) < 1e-9);
        }
    }

    #[test]
    fn points_on_one_line_have_no_map() {
        let line = corners([0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
        let square = corners([0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0]);
        assert!(Projective::through(line, square).is_none() && Projective::through(square, line).is_none());
    }
}
