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

    /// The place in the source from which the pixel at `target` is read.
    pub fn apply(&self, target: Point) -> Point {
        let [x, y] = self.at(target);
        Point::new(target.x + x, target.y + y)
    }

    fn at(&self, p: Point) -> [f64; 2] {
        let rows = self.by.len() / self.columns;
        let (x0, x1, fx) = cell(p.x, self.size.width, self.columns);
        let (y0, y1, fy) = cell(p.y, self.size.height, rows);
        let read = |x: usize, y: usize| self.by[y * self.columns + x];
        let corners = [read(x0, y0), read(x1, y0), read(x0, y1), read(x1, y1)];
        std::array::from_fn(|i| f64::from(blend(corners.map(|c| c[i]), fx, fy)))
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

/// The two nodes around a place of a side with `pixels` pixels and `nodes` nodes, and the share of the second.
fn cell(place: f64, pixels: u32, nodes: usize) -> (usize, usize, f32) {
    let last = f64::from(pixels) - 1.0;
    let per_pixel = if last > 0.0 { (nodes - 1) as f64 / last } else { 0.0 };
    let place = place.clamp(0.0, last) * per_pixel;
    let first = (place as usize).min(nodes - 1);
    (first, (first + 1).min(nodes - 1), (place - first as f64) as f32)
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
