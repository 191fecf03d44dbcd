use std::collections::HashMap;

use super::RunMask;

impl RunMask {
    /// Polygons that give this mask when all of them are filled by [`RunMask::from_polygon`]: one per component, in
    /// order of its first pixel, without the points inside straight lines. A component with holes is one polygon too:
    /// the contour of each hole is connected with the contour to its left by two lines along the same pixels.
    pub fn polygons(&self) -> Vec<Vec<[i32; 2]>> {
        let contours = self.contours();
        let components = self.components().len();
        if contours.len() == components {
            return contours.iter().map(|path| without_straight_points(path)).collect();
        }
        // For each pixel, the first contour that it is on: an outer one, or that of a hole before.
        let mut owner: HashMap<[i32; 2], (usize, usize)> = HashMap::new();
        let mut holes: Vec<Vec<Joint>> = vec![Vec::new(); contours.len()];
        for (contour, path) in contours.iter().enumerate() {
            if contour >= components {
                let from = self.left_end(path[0]);
                let (to, position) = owner[&from];
                holes[to].push(Joint { position, hole: contour });
            }
            for (position, pixel) in path.iter().enumerate() {
                owner.entry(*pixel).or_insert((contour, position));
            }
        }
        (0..components).map(|outer| without_straight_points(&joined(&contours, &mut holes, outer))).collect()
    }

    /// The first pixel of the span, in its row, that contains this set pixel.
    fn left_end(&self, [x, y]: [i32; 2]) -> [i32; 2] {
        let width = self.width() as i32;
        let at = (y * width + x) as u32;
        let run = self.runs()[self.runs().partition_point(|run| run.start <= at) - 1];
        [(run.start as i32).max(y * width) - y * width, y]
    }
}

/// A hole that is connected with a contour at the pixel `position` of its path.
#[derive(Clone, Copy)]
struct Joint {
    position: usize,
    hole: usize,
}

/// The path of a contour, with the paths of the holes that are connected with it.
fn joined(contours: &[Vec<[i32; 2]>], holes: &mut [Vec<Joint>], outer: usize) -> Vec<[i32; 2]> {
    let mut path = Vec::new();
    holes.iter_mut().for_each(|of| of.sort_by_key(|joint| joint.position));
    // Contours that are being walked: the contour, the next position, and the next of its holes.
    let mut open = vec![(outer, 0, 0)];
    while let Some((contour, position, next)) = open.pop() {
        let points = &contours[contour];
        if let Some(joint) = holes[contour].get(next) {
            path.extend(&points[position..=joint.position]);
            open.push((contour, joint.position, next + 1));
            open.push((joint.hole, 0, 0));
            continue;
        }
        path.extend(&points[position..]);
        // Back to the pixel at which the hole was entered; the contour that it is on continues from its own pixel.
        if !open.is_empty() {
            path.push(points[0]);
        }
    }
    path
}

/// A closed path without the points in which it goes on in the same direction, and without repeated ones.
fn without_straight_points(path: &[[i32; 2]]) -> Vec<[i32; 2]> {
    let direction = |from: [i32; 2], to: [i32; 2]| {
        let step = [to[0] - from[0], to[1] - from[1]];
        let is_straight = step[0] == 0 || step[1] == 0 || step[0].abs() == step[1].abs();
        is_straight.then(|| step.map(i32::signum))
    };
    let mut kept: Vec<[i32; 2]> = Vec::new();
    for point in path {
        if kept.last() == Some(point) {
            continue;
        }
        if let [.., a, b] = kept[..]
            && direction(a, b).is_some()
            && direction(a, b) == direction(b, *point)
        {
            kept.pop();
        }
        kept.push(*point);
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(mask: &RunMask) -> RunMask {
        let (width, height) = (mask.width(), mask.height());
        let polygons = mask.polygons();
        assert_eq!(polygons.len(), mask.components().len());
        polygons
            .iter()
            .map(|points| RunMask::from_polygon(points, width, height))
            .fold(RunMask::empty(width, height), |all, one| all.union(&one).unwrap())
    }

    #[test]
    fn a_square_has_four_points_and_holes_stay_open() {
        let square = RunMask::from_polygon(&[[2, 2], [9, 2], [9, 9], [2, 9]], 12, 12);
        let [points] = &square.polygons()[..] else { panic!("one component") };
        assert!(points.len() <= 5, "{points:?}");
        let mut ring = square.to_dense();
        for (x, y) in [(4, 4), (5, 4), (7, 6), (7, 7), (4, 7)] {
            ring[y * 12 + x] = 0;
        }
        let ring = RunMask::from_dense(&ring, 12, 12);
        assert_eq!(ring.polygons().len(), 1);
        assert_eq!(filled(&ring), ring);
        assert_eq!(filled(&RunMask::empty(3, 3)), RunMask::empty(3, 3));
        assert_eq!(filled(&RunMask::full(1, 5)), RunMask::full(1, 5));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn polygons_give_the_mask_again(
            width in 1u32..24,
            height in 1u32..24,
            dense in prop::collection::vec(0u32..100, 24 * 24),
            share in 10u32..95,
        ) {
            let dense: Vec<u8> =
                dense[..(width * height) as usize].iter().map(|v| u8::from(*v < share)).collect();
            let mask = RunMask::from_dense(&dense, width, height);
            prop_assert_eq!(filled(&mask), mask);
        }
    }
}
