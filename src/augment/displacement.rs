use rayon::prelude::*;

use super::warp::blend;
use crate::geometry::{Point, Size};

/// Steps of the search for a place whose displacement leads to a given place.
const STEPS: usize = 100;
/// The distance in px at which the search ends.
const CLOSE: f64 = 1e-3;

/// Displacements in px on a lattice over an image: the corners of the lattice are the centres of the corner pixels.
/// Between the nodes they are bilinear; outside the image they are those of the nearest edge.
#[derive(Clone, Debug)]
pub struct Displacement {
    size: Size,
    columns: usize,
    by: Vec<[f32; 2]>,
}

impl Displacement {
    /// A displacement of an image of `size` from the `[x, y]` of the nodes, row-major, `columns` in each row; with as
    /// many nodes as pixels there is one per pixel. `None` if there is no full row.
    pub fn new(size: Size, columns: usize, by: Vec<[f32; 2]>) -> Option<Displacement> {
        let whole = columns > 0 && !by.is_empty() && by.len().is_multiple_of(columns) && size.pixels() > 0;
        whole.then_some(Displacement { size, columns, by })
    }

    /// Width and height of the image in px.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Nodes in a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// The `[x, y]` of the nodes in px, row-major.
    pub fn nodes(&self) -> &[[f32; 2]] {
        &self.by
    }

    /// The displacement by `by` of a place in the image, evaluated at the nodes of a lattice of `columns` and `rows`, each
    /// at least 1.
    pub(super) fn of(size: Size, columns: usize, rows: usize, by: impl Fn(Point) -> [f64; 2] + Sync) -> Displacement {
        let place = |node: usize, pixels: u32, nodes: usize| match nodes {
            1 => 0.0,
            _ => node as f64 * (f64::from(pixels) - 1.0) / (nodes - 1) as f64,
        };
        let row = |y: usize| {
            let y = place(y, size.height, rows);
            let by = &by;
            (0..columns).map(move |x| by(Point::new(place(x, size.width, columns), y)).map(|v| v as f32))
        };
        let by = (0..rows).into_par_iter().flat_map_iter(row).collect();
        Displacement::new(size, columns, by).expect("full rows")
    }

    /// The place in the source from which the pixel at `target` is read.
    pub fn apply(&self, target: Point) -> Point {
        let (columns, rows) = self.axes();
        let [x, y] = self.at(target.x, target.y, columns, rows);
        Point::new(target.x + x, target.y + y)
    }

    fn axes(&self) -> (Axis, Axis) {
        (Axis::new(self.size.width, self.columns), Axis::new(self.size.height, self.by.len() / self.columns))
    }

    fn at(&self, x: f64, y: f64, columns: Axis, rows: Axis) -> [f64; 2] {
        let ((x0, x1, fx), (y0, y1, fy)) = (columns.cell(x), rows.cell(y));
        let (top, bottom) =
            (&self.by[y0 * self.columns..][..self.columns], &self.by[y1 * self.columns..][..self.columns]);
        let corners = [top[x0], top[x1], bottom[x0], bottom[x1]];
        [0, 1].map(|i| f64::from(blend(corners.map(|c| c[i]), fx, fy)))
    }

    /// Moves any places, as [`Displacement::apply`].
    pub(super) fn move_places(&self, xs: &mut [f64], ys: &mut [f64]) {
        let (columns, rows) = self.axes();
        for (px, py) in xs.iter_mut().zip(ys) {
            let [x, y] = self.at(*px, *py, columns, rows);
            (*px, *py) = (*px + x, *py + y);
        }
    }

    /// Moves the places of row `y` of the image itself, as [`Displacement::apply`] up to rounding: nodes are
    /// interpolated between two rows of the lattice once for the whole row.
    pub(super) fn move_grid_row(&self, xs: &mut [f64], ys: &mut [f64], y: f64) {
        let (columns, rows) = self.axes();
        let (y0, y1, fy) = rows.cell(y);
        let lattice_row = |row: usize| &self.by[row * self.columns..][..self.columns];
        let between = |(a, b): (&[f32; 2], &[f32; 2])| [0, 1].map(|i| a[i] + (b[i] - a[i]) * fy);
        let line: Vec<[f32; 2]> = lattice_row(y0).iter().zip(lattice_row(y1)).map(between).collect();
        for (i, (px, py)) in xs.iter_mut().zip(ys).enumerate() {
            let (x0, x1, fx) = columns.cell(i as f64);
            let (a, b) = (line[x0], line[x1]);
            *px += f64::from(a[0] + (b[0] - a[0]) * fx);
            *py += f64::from(a[1] + (b[1] - a[1]) * fx);
        }
    }

    /// The place in the target that is read from `source`, found by half steps towards `source - displacement(t)`; `None`
    /// if they do not end, because the displacement folds the image over itself or stretches it more than fourfold.
    pub fn target_from_source(&self, source: Point) -> Option<Point> {
        let mut target = source;
        for _ in 0..STEPS {
            let read = self.apply(target);
            let (dx, dy) = (source.x - read.x, source.y - read.y);
            target = Point::new(target.x + dx / 2.0, target.y + dy / 2.0);
            if dx.hypot(dy) < CLOSE {
                return Some(target);
            }
        }
        None
    }

    /// The inverse, with one node per pixel; `None` where [`Displacement::target_from_source`] finds no place.
    pub fn inverse(&self) -> Option<Displacement> {
        let Size { width, height } = self.size;
        let mut by = Vec::with_capacity(self.size.pixels());
        for y in 0..height {
            for x in 0..width {
                let source = Point::new(f64::from(x), f64::from(y));
                let target = self.target_from_source(source)?;
                by.push([(target.x - source.x) as f32, (target.y - source.y) as f32]);
            }
        }
        Displacement::new(self.size, width as usize, by)
    }
}

/// The nodes along one side of the image.
#[derive(Clone, Copy)]
struct Axis {
    /// The last pixel.
    last: f64,
    nodes_per_pixel: f64,
    last_node: usize,
}

impl Axis {
    fn new(pixels: u32, nodes: usize) -> Axis {
        let last = f64::from(pixels) - 1.0;
        Axis { last, nodes_per_pixel: if last > 0.0 { (nodes - 1) as f64 / last } else { 0.0 }, last_node: nodes - 1 }
    }

    /// The two nodes around a place, and the share of the second.
    #[inline]
    fn cell(self, place: f64) -> (usize, usize, f32) {
        let place = place.max(0.0).min(self.last) * self.nodes_per_pixel;
        let first = (place as u32 as usize).min(self.last_node);
        (first, (first + 1).min(self.last_node), (place - first as f64) as f32)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn displacements_between_nodes_are_bilinear() {
        let size = Size { width: 9, height: 5 };
        let by = vec![[0.0, 0.0], [8.0, 0.0], [0.0, 4.0], [8.0, 4.0]];
        let displacement = Displacement::new(size, 2, by).unwrap();
        for (x, y) in [(0.0, 0.0), (2.0, 3.0), (8.0, 4.0), (7.5, 0.5)] {
            assert!(displacement.apply(Point::new(x, y)).distance(Point::new(2.0 * x, 2.0 * y)) < 1e-6);
        }
        // Outside: the displacement of the nearest edge.
        assert!(displacement.apply(Point::new(20.0, 4.0)).distance(Point::new(28.0, 8.0)) < 1e-6);
        assert!(Displacement::new(size, 2, vec![[0.0; 2]; 3]).is_none());
        assert!(Displacement::new(size, 0, Vec::new()).is_none());
    }

    #[test]
    fn rows_and_places_are_moved_as_points_are() {
        let size = Size { width: 50, height: 30 };
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        for (columns, rows) in [(1, 1), (7, 4), (50, 30), (2, 30)] {
            let by = (0..columns * rows).map(|_| [(); 2].map(|()| rng.random_range(-9.0..9.0))).collect();
            let displacement = Displacement::new(size, columns, by).unwrap();
            for y in 0..30 {
                let grid = || ((0..50).map(f64::from).collect::<Vec<_>>(), vec![f64::from(y); 50]);
                let ((mut xs, mut ys), (mut us, mut vs)) = (grid(), grid());
                displacement.move_grid_row(&mut xs, &mut ys, f64::from(y));
                displacement.move_places(&mut us, &mut vs);
                for x in 0..50 {
                    let p = displacement.apply(Point::new(x as f64, f64::from(y)));
                    assert!(p.distance(Point::new(xs[x], ys[x])) < 1e-5 && p == Point::new(us[x], vs[x]));
                }
            }
        }
        // The nodes of a field that is linear in the place are enough for it.
        let linear = Displacement::of(size, 3, 2, |p| [0.5 * p.x - p.y, 0.25 * p.y]);
        assert!(linear.apply(Point::new(7.0, 11.0)).distance(Point::new(-0.5, 13.75)) < 1e-5);
    }

    #[test]
    fn the_inverse_leads_back_unless_the_image_is_folded() {
        let size = Size { width: 40, height: 30 };
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let by = (0..5 * 4).map(|_| [(); 2].map(|()| rng.random_range(-2.0..2.0))).collect();
        let displacement = Displacement::new(size, 5, by).unwrap();
        let inverse = displacement.inverse().unwrap();
        for (x, y) in [(3.0, 4.0), (20.0, 10.0), (35.0, 25.0)] {
            let p = Point::new(x, y);
            assert!(displacement.apply(inverse.apply(p)).distance(p) < 0.01);
            assert!(displacement.apply(displacement.target_from_source(p).unwrap()).distance(p) < 0.01);
        }
        // Neighbouring pixels are read from places that are far apart.
        let by = (0..40 * 30).map(|_| [(); 2].map(|()| rng.random_range(-20.0..20.0))).collect();
        assert!(Displacement::new(size, 40, by).unwrap().inverse().is_none());
    }
}
