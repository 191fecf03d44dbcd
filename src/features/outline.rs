use crate::geometry::PixelBox;
use crate::mask::RunMask;

use super::bytes::total;

/// Distance, as a share of the image's longer side, at which grey levels are compared on both sides of an outline: 4 px
/// of 2048, so that an outline drawn a pixel or two off the bone's edge still follows it.
const STEP: f64 = 1.0 / 512.0;
/// Largest number of points used of one bone's outline.
const POINTS: usize = 48;
/// At other places than its own, every third point is used.
const THINNED: usize = 3;
/// Outlines with this edge strength or more follow the bones. Other places are not searched then, which saves most of
/// the time.
const FOLLOWS: f64 = 0.75;
/// Smallest number of points for an edge strength.
const MIN_POINTS: usize = 5;
/// Smallest number of bones for the fit of a hand.
const MIN_BONES: usize = 8;
/// Distances by which outlines are moved to search for a better fit, as shares of the image's longer side.
const MOVES: [f64; 2] = [0.02, 0.05];

/// The grey levels of a radiograph in which bones are bright (inverted back if it is stored inverted): row-major, 0 to
/// 255.
#[derive(Clone, Copy, Debug)]
pub struct UprightLevels<'a> {
    /// One per pixel.
    pub levels: &'a [u8],
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Points along the outline of one mask, each with a step along its outward normal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskOutline {
    points: Vec<([i32; 2], [i32; 2])>,
}

/// How well the outlines of a hand follow the edges in its image.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlineFit {
    /// Median of the bones' edge strengths; see [`UprightLevels::edge`].
    pub edge: f64,
    /// The greatest such median of the same outlines at another place in the image: moved a little, turned or mirrored.
    /// `None` if `edge` is so high that no other place is searched.
    pub elsewhere: Option<f64>,
    /// The change of the outlines that gives `elsewhere`, in words.
    pub change: Option<String>,
}

/// A placement of outlines: maps (x, y) to `(m[0] x + m[1] y + by[0], m[2] x + m[3] y + by[1])`.
struct Placement {
    m: [i32; 4],
    by: [i32; 2],
}

impl Placement {
    const OWN: Placement = Placement { m: [1, 0, 0, 1], by: [0, 0] };

    fn vector(&self, [x, y]: [i32; 2]) -> [i32; 2] {
        [self.m[0] * x + self.m[1] * y, self.m[2] * x + self.m[3] * y]
    }

    fn point(&self, at: [i32; 2]) -> [i32; 2] {
        let [x, y] = self.vector(at);
        [x + self.by[0], y + self.by[1]]
    }
}

impl MaskOutline {
    /// From the closed paths around a mask ([`RunMask::outlines`]) in an image of `width` x `height` pixels.
    pub fn new(paths: &[Vec<[i32; 2]>], width: u32, height: u32) -> MaskOutline {
        let step = (STEP * f64::from(width.max(height))).round().max(1.0);
        // The direction is that between two points a step before and after: neighbouring pixels have only eight
        // directions.
        let reach = step as usize + 1;
        let total_points: usize = paths.iter().map(Vec::len).sum();
        let every = total_points.div_ceil(POINTS).max(1);
        let mut points = Vec::with_capacity(POINTS);
        for path in paths.iter().filter(|path| path.len() > 2 * reach) {
            let n = path.len();
            for i in (0..n).step_by(every) {
                let (before, after) = (path[(i + n - reach) % n], path[(i + reach) % n]);
                let along = [f64::from(after[0] - before[0]), f64::from(after[1] - before[1])];
                let length = (along[0] * along[0] + along[1] * along[1]).sqrt();
                if length > 0.0 {
                    // Paths run counter-clockwise on the screen: outside is to the right.
                    let outwards = [-along[1], along[0]].map(|v| (step * v / length).round() as i32);
                    points.push((path[i], outwards));
                }
            }
        }
        MaskOutline { points }
    }
}

impl UprightLevels<'_> {
    /// Mean grey level inside a mask of the image's size; `None` for an empty one.
    pub fn inside(&self, mask: &RunMask) -> Option<f64> {
        let sum: u64 = mask.runs().iter().map(|r| total(&self.levels[r.start as usize..r.end() as usize])).sum();
        let area = mask.area();
        (area > 0).then(|| sum as f64 / area as f64)
    }

    /// Mean grey level one and two steps outside an outline, without the pixels of any of the `masks`, which are given
    /// with their bounding boxes; `None` if no pixel remains.
    pub fn ring(&self, outline: &MaskOutline, masks: &[(PixelBox, &RunMask)]) -> Option<f64> {
        let (mut sum, mut count) = (0u64, 0u64);
        for (at, out) in &outline.points {
            for k in 1..=2 {
                let (x, y) = (at[0] + k * out[0], at[1] + k * out[1]);
                let Some(level) = self.at(x, y) else { continue };
                let (x, y) = (x as u32, y as u32);
                let is_in = |b: &PixelBox| x >= b.x_min && x <= b.x_max && y >= b.y_min && y <= b.y_max;
                if !masks.iter().any(|(bounds, mask)| is_in(bounds) && mask.contains(x, y)) {
                    sum += level as u64;
                    count += 1;
                }
            }
        }
        (count > 0).then(|| sum as f64 / count as f64)
    }

    /// Edge strength along an outline: the sum of the grey-level gradient's components along the inward normal, divided
    /// by the sum of the gradient's magnitudes. 1 if every point lies on an edge along the outline with the brighter
    /// side inside, -1 with the darker side inside, about 0 if the outline is unrelated to the image. Independent of
    /// contrast. `None` if less than half of the outline lies in the image.
    pub fn edge(&self, outline: &MaskOutline) -> Option<f64> {
        self.edge_at(outline, &Placement::OWN, 1)
    }

    fn edge_at(&self, outline: &MaskOutline, place: &Placement, every: usize) -> Option<f64> {
        let (mut inwards, mut all, mut seen) = (0i32, 0.0, 0);
        for (at, out) in outline.points.iter().step_by(every) {
            let ([x, y], [dx, dy]) = (place.point(*at), place.vector(*out));
            let across = self.at(x - dx, y - dy).zip(self.at(x + dx, y + dy));
            let along = self.at(x + dy, y - dx).zip(self.at(x - dy, y + dx));
            let (Some((inner, outer)), Some((before, after))) = (across, along) else { continue };
            let (normal, tangent) = (inner - outer, before - after);
            inwards += normal;
            all += f64::from(normal * normal + tangent * tangent).sqrt();
            seen += 1;
        }
        let expected = outline.points.len().div_ceil(every);
        if seen < MIN_POINTS || 2 * seen < expected {
            return None;
        }
        Some(if all > 0.0 { f64::from(inwards) / all } else { 0.0 })
    }

    /// Compares the fit of a hand's outlines at their place and at other places. `own` are their edge strengths at
    /// their own place. `None` for fewer than eight bones.
    pub fn fit(&self, outlines: &[MaskOutline], own: Vec<f64>) -> Option<OutlineFit> {
        let at = |place: &Placement, every: usize| -> Option<f64> {
            median(outlines.iter().filter_map(|o| self.edge_at(o, place, every)).collect())
        };
        let edge = median(own)?;
        if edge >= FOLLOWS {
            return Some(OutlineFit { edge, elsewhere: None, change: None });
        }
        let mut best: Option<(f64, &'static str)> = None;
        for (place, change) in self.other_places() {
            if let Some(edge) = at(&place, THINNED)
                && best.is_none_or(|(most, _)| edge > most)
            {
                best = Some((edge, change));
            }
        }
        let (elsewhere, change) = best.unzip();
        Some(OutlineFit { edge, elsewhere, change: change.map(str::to_owned) })
    }

    /// The rotations and mirror images of the whole image that viewers apply, and small moves in all directions.
    fn other_places(&self) -> Vec<(Placement, &'static str)> {
        let (right, bottom) = (self.width as i32 - 1, self.height as i32 - 1);
        let mut places = vec![
            (Placement { m: [0, -1, 1, 0], by: [right, 0] }, "turned by 90° clockwise"),
            (Placement { m: [-1, 0, 0, -1], by: [right, bottom] }, "turned by 180°"),
            (Placement { m: [0, 1, -1, 0], by: [0, bottom] }, "turned by 90° counter-clockwise"),
            (Placement { m: [-1, 0, 0, 1], by: [right, 0] }, "mirrored left to right"),
            (Placement { m: [1, 0, 0, -1], by: [0, bottom] }, "mirrored top to bottom"),
            (Placement { m: [0, 1, 1, 0], by: [0, 0] }, "with x and y exchanged"),
            (Placement { m: [0, -1, -1, 0], by: [right, bottom] }, "with x and y exchanged and turned by 180°"),
        ];
        for share in MOVES {
            let far = (share * f64::from(self.width.max(self.height))).round() as i32;
            let near = (f64::from(far) * std::f64::consts::FRAC_1_SQRT_2).round() as i32;
            for [x, y] in [[far, 0], [near, near], [0, far], [-near, near]] {
                places.extend([1, -1].map(|s| (Placement { by: [s * x, s * y], ..Placement::OWN }, "moved a little")));
            }
        }
        places
    }

    fn at(&self, x: i32, y: i32) -> Option<i32> {
        let is_inside = (x as u32) < self.width && (y as u32) < self.height;
        is_inside.then(|| i32::from(self.levels[y as usize * self.width as usize + x as usize]))
    }
}

/// The median of the bones' edge strengths; `None` for too few bones.
fn median(mut edges: Vec<f64>) -> Option<f64> {
    if edges.len() < MIN_BONES {
        return None;
    }
    edges.sort_by(f64::total_cmp);
    let n = edges.len();
    Some((edges[(n - 1) / 2] + edges[n / 2]) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: u32 = 200;

    /// An image of discs: `inside` within `radius` of a disc's centre, else `outside`.
    fn drawn(discs: &[[i32; 2]], radius: i32, inside: u8, outside: u8) -> Vec<u8> {
        let near = |x: i32, y: i32| discs.iter().any(|[u, v]| (x - u).pow(2) + (y - v).pow(2) <= radius * radius);
        let pixels = (0..SIDE as i32).flat_map(|y| (0..SIDE as i32).map(move |x| (x, y)));
        pixels.map(|(x, y)| if near(x, y) { inside } else { outside }).collect()
    }

    fn disc(at: [i32; 2], radius: i32) -> RunMask {
        let dense: Vec<u8> = drawn(&[at], radius, 1, 0);
        RunMask::from_dense(&dense, SIDE, SIDE)
    }

    fn outline(mask: &RunMask) -> MaskOutline {
        MaskOutline::new(&mask.outlines(), SIDE, SIDE)
    }

    fn picture(levels: &[u8]) -> UprightLevels<'_> {
        UprightLevels { levels, width: SIDE, height: SIDE }
    }

    fn fit(picture: UprightLevels<'_>, outlines: &[MaskOutline]) -> Option<OutlineFit> {
        picture.fit(outlines, outlines.iter().filter_map(|o| picture.edge(o)).collect())
    }

    /// Twelve discs in rows without symmetry.
    fn hand() -> Vec<[i32; 2]> {
        (0..12).map(|i| [30 + 27 * (i % 5) + 3 * (i / 5), 40 + 33 * (i / 5) + 2 * (i % 5)]).collect()
    }

    #[test]
    fn a_bright_disc_has_an_edge_of_1_whatever_the_contrast() {
        let mask = disc([100, 90], 30);
        let mut edges = Vec::new();
        for (inside, outside) in [(200, 50), (53, 50)] {
            let levels = drawn(&[[100, 90]], 30, inside, outside);
            let (p, o) = (picture(&levels), outline(&mask));
            assert_eq!(p.inside(&mask), Some(f64::from(inside)));
            assert_eq!(p.ring(&o, &[(mask.bounding_box().unwrap(), &mask)]), Some(f64::from(outside)));
            // Below 1 because the rim of a disc without smoothing is a staircase.
            edges.push(p.edge(&o).unwrap());
        }
        assert!(edges[0] > 0.8 && (edges[0] - edges[1]).abs() < 1e-9, "{edges:?}");
        let levels = drawn(&[[100, 90]], 30, 50, 200);
        let edge = picture(&levels).edge(&outline(&mask)).unwrap();
        assert!((edge + edges[0]).abs() < 1e-9, "a dark disc: {edge}");
    }

    #[test]
    fn a_mask_away_from_its_disc_has_no_edge() {
        let levels = drawn(&[[100, 90]], 30, 200, 50);
        let p = picture(&levels);
        let edge = |at| p.edge(&outline(&disc(at, 30))).unwrap();
        assert_eq!(edge([168, 160]), 0.0, "a uniform area");
        assert_eq!(p.inside(&disc([168, 160], 30)), Some(50.0));
        // A hill: on its flank a small disc has as much of its outline uphill as downhill.
        let pixels =
            (0..SIDE as i32).flat_map(|y| (0..SIDE as i32).map(move |x| f64::from(x - 100).hypot(f64::from(y - 90))));
        let hill: Vec<u8> = pixels.map(|far| (250.0 - far) as u8).collect();
        let edge = |at| picture(&hill).edge(&outline(&disc(at, 10))).unwrap();
        let (top, flank) = (edge([100, 90]), edge([40, 90]));
        assert!(top > 0.9 && flank.abs() < 0.2, "{top} on the top, {flank} on the flank");
        // Half of the outline is outside the image.
        let cut = RunMask::from_polygon(&[[0, 0], [199, 0], [199, 199], [0, 199]], SIDE, SIDE);
        assert_eq!(p.edge(&outline(&cut)), None);
    }

    #[test]
    fn the_ring_leaves_out_other_masks() {
        let mut levels = drawn(&[[100, 90]], 30, 200, 50);
        let (own, other) =
            (disc([100, 90], 30), RunMask::from_polygon(&[[131, 0], [199, 0], [199, 199], [131, 199]], SIDE, SIDE));
        for (y, from, to) in other.rows() {
            levels[(y * SIDE + from) as usize..(y * SIDE + to) as usize].fill(255);
        }
        let p = picture(&levels);
        let of = |masks: &[&RunMask]| {
            let masks: Vec<_> = masks.iter().map(|m| (m.bounding_box().unwrap(), *m)).collect();
            p.ring(&outline(&own), &masks)
        };
        assert_eq!(of(&[&own, &other]), Some(50.0));
        assert!(of(&[&own]).unwrap() > 50.0);
        let all = RunMask::full(SIDE, SIDE);
        assert_eq!(of(&[&all]), None);
    }

    #[test]
    fn turns_and_mirror_images_are_recognised() {
        let discs = hand();
        let outlines: Vec<MaskOutline> = discs.iter().map(|at| outline(&disc(*at, 9))).collect();
        let last = SIDE as i32 - 1;
        type Change = fn([i32; 2], i32) -> [i32; 2];
        let changed: [(&str, Change); 8] = [
            ("", |p, _| p),
            ("turned by 90° clockwise", |[x, y], l| [l - y, x]),
            ("turned by 180°", |[x, y], l| [l - x, l - y]),
            ("turned by 90° counter-clockwise", |[x, y], l| [y, l - x]),
            ("mirrored left to right", |[x, y], l| [l - x, y]),
            ("mirrored top to bottom", |[x, y], l| [x, l - y]),
            ("with x and y exchanged", |[x, y], _| [y, x]),
            ("with x and y exchanged and turned by 180°", |[x, y], l| [l - y, l - x]),
        ];
        for (change, map) in changed {
            // The image shows the changed hand, so the outlines must be changed in the same way.
            let moved: Vec<[i32; 2]> = discs.iter().map(|p| map(*p, last)).collect();
            let mut levels = drawn(&moved, 9, 180, 60);
            // Texture, without which the few points of an outline that touch a disc would decide the result.
            let mut state = 1u32;
            for level in &mut levels {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *level += (state >> 26) as u8;
            }
            let fit = fit(picture(&levels), &outlines).unwrap();
            if change.is_empty() {
                assert!(fit.edge > FOLLOWS && fit.elsewhere.is_none() && fit.change.is_none(), "{fit:?}");
            } else {
                let found = fit.change.as_deref();
                assert!(fit.edge < 0.5 && fit.elsewhere.unwrap() > 0.75 && found == Some(change), "{change}: {fit:?}");
            }
        }
        let levels = drawn(&discs, 9, 180, 60);
        assert_eq!(fit(picture(&levels), &outlines[..7]), None, "too few bones");
    }

    #[test]
    fn masks_too_small_for_an_outline_have_no_edge() {
        let levels = drawn(&[], 1, 0, 9);
        for mask in [RunMask::empty(SIDE, SIDE), disc([50, 50], 0)] {
            let o = outline(&mask);
            assert_eq!((o.points.len(), picture(&levels).edge(&o)), (0, None));
        }
        assert_eq!(picture(&levels).inside(&RunMask::empty(SIDE, SIDE)), None);
    }
}
