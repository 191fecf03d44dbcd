use crate::geometry::PixelBox;
use crate::mask::RunMask;

use super::bytes::total;

/// The step across an outline is looked at over this share of the image's longer side to either hand: 4 px of 2048, so
/// that a hand that draws a pixel or two off the bone's rim still follows it.
const STEP: f64 = 1.0 / 512.0;
/// Most points of one bone's outline that are looked at.
const POINTS: usize = 48;
/// At places other than its own every so many of these points do.
const THINNED: usize = 3;
/// Outlines of this edge strength follow the bones: no other place is looked at, which would take most of the time.
const FOLLOWS: f64 = 0.75;
/// Fewest points with an edge strength.
const FEWEST_POINTS: usize = 5;
/// Fewest bones that say where a hand is.
const FEWEST_BONES: usize = 8;
/// How far outlines are moved to see whether they fit there as well, as shares of the image's longer side.
const MOVES: [f64; 2] = [0.02, 0.05];

/// An upright radiograph, bones bright: its grey levels row by row, 0 to 255.
#[derive(Clone, Copy, Debug)]
pub struct UprightLevels<'a> {
    /// One per pixel.
    pub levels: &'a [u8],
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Points along the outline of one mask, each with a step outwards.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskOutline {
    points: Vec<([i32; 2], [i32; 2])>,
}

/// How well the outlines of a hand follow its picture.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlineFit {
    /// Median of the bones' edge strengths.
    pub edge: f64,
    /// The greatest such median of the same outlines somewhere else in the picture: moved a little, turned or mirrored. Not
    /// looked for where `edge` leaves no doubt.
    pub elsewhere: Option<f64>,
    /// What was done to the outlines for that, in words.
    pub change: Option<String>,
}

/// Where outlines are laid: (x, y) goes to `(m[0] x + m[1] y + by[0], m[2] x + m[3] y + by[1])`.
struct Placed {
    m: [i32; 4],
    by: [i32; 2],
}

impl Placed {
    const OWN: Placed = Placed { m: [1, 0, 0, 1], by: [0, 0] };

    fn vector(&self, [x, y]: [i32; 2]) -> [i32; 2] {
        [self.m[0] * x + self.m[1] * y, self.m[2] * x + self.m[3] * y]
    }

    fn point(&self, at: [i32; 2]) -> [i32; 2] {
        let [x, y] = self.vector(at);
        [x + self.by[0], y + self.by[1]]
    }
}

impl MaskOutline {
    /// Of the closed paths around a mask ([`RunMask::outlines`]) in a picture of that size.
    pub fn new(paths: &[Vec<[i32; 2]>], width: u32, height: u32) -> MaskOutline {
        let step = (STEP * f64::from(width.max(height))).round().max(1.0);
        // As far along the path as the step goes out: pixels next to each other give eight directions alone.
        let reach = step as usize + 1;
        let whole: usize = paths.iter().map(Vec::len).sum();
        let every = whole.div_ceil(POINTS).max(1);
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
    /// Mean grey level under a mask of the picture's size; `None` for an empty one.
    pub fn inside(&self, mask: &RunMask) -> Option<f64> {
        let sum: u64 = mask.runs().iter().map(|r| total(&self.levels[r.start as usize..r.end() as usize])).sum();
        let area = mask.area();
        (area > 0).then(|| sum as f64 / area as f64)
    }

    /// Mean grey level one and two steps outside an outline, where none of the `masks` lies; `None` where there is no such point.
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

    /// Edge strength along an outline: the sum of the grey levels' slopes against the outward normal over that of the slopes in
    /// whatever direction. 1 where every point lies on an edge along the outline with the brighter side inside, -1 with the darker
    /// side inside, about 0 where the outline has nothing to do with the picture. Contrast cancels. `None` where less
    /// than half of the outline lies in the picture.
    pub fn edge(&self, outline: &MaskOutline) -> Option<f64> {
        self.edge_at(outline, &Placed::OWN, 1)
    }

    fn edge_at(&self, outline: &MaskOutline, place: &Placed, every: usize) -> Option<f64> {
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
        if seen < FEWEST_POINTS || 2 * seen < expected {
            return None;
        }
        Some(if all > 0.0 { f64::from(inwards) / all } else { 0.0 })
    }

    /// How well the outlines of a hand, which have the edge strengths `own`, fit where they are and elsewhere; `None` for too few
    /// bones.
    pub fn fit(&self, outlines: &[MaskOutline], own: Vec<f64>) -> Option<OutlineFit> {
        let at = |place: &Placed, every: usize| -> Option<f64> {
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

    /// The picture's turns and mirror images, as viewers apply them, and small moves to all sides.
    fn other_places(&self) -> Vec<(Placed, &'static str)> {
        let (right, bottom) = (self.width as i32 - 1, self.height as i32 - 1);
        let mut places = vec![
            (Placed { m: [0, -1, 1, 0], by: [right, 0] }, "turned by 90° clockwise"),
            (Placed { m: [-1, 0, 0, -1], by: [right, bottom] }, "turned by 180°"),
            (Placed { m: [0, 1, -1, 0], by: [0, bottom] }, "turned by 90° counter-clockwise"),
            (Placed { m: [-1, 0, 0, 1], by: [right, 0] }, "mirrored left to right"),
            (Placed { m: [1, 0, 0, -1], by: [0, bottom] }, "mirrored top to bottom"),
            (Placed { m: [0, 1, 1, 0], by: [0, 0] }, "with x and y exchanged"),
            (Placed { m: [0, -1, -1, 0], by: [right, bottom] }, "with x and y exchanged and turned by 180°"),
        ];
        for share in MOVES {
            let far = (share * f64::from(self.width.max(self.height))).round() as i32;
            let near = (f64::from(far) * std::f64::consts::FRAC_1_SQRT_2).round() as i32;
            for [x, y] in [[far, 0], [near, near], [0, far], [-near, near]] {
                places.extend([1, -1].map(|s| (Placed { by: [s * x, s * y], ..Placed::OWN }, "moved a little")));
            }
        }
        places
    }

    fn at(&self, x: i32, y: i32) -> Option<i32> {
        let is_inside = (x as u32) < self.width && (y as u32) < self.height;
        is_inside.then(|| i32::from(self.levels[y as usize * self.width as usize + x as usize]))
    }
}

/// The median of the bones' edge strengths; `None` for too few.
fn median(mut edges: Vec<f64>) -> Option<f64> {
    if edges.len() < FEWEST_BONES {
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

    /// Grey levels by distance from the middle of each disc.
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
            // Not quite 1: without smoothing, the rim is a staircase.
            edges.push(p.edge(&o).unwrap());
        }
        assert!(edges[0] > 0.8 && (edges[0] - edges[1]).abs() < 1e-9, "{edges:?}");
        let levels = drawn(&[[100, 90]], 30, 50, 200);
        let edge = picture(&levels).edge(&outline(&mask)).unwrap();
        assert!((edge + edges[0]).abs() < 1e-9, "a dark disc: {edge}");
    }

    #[test]
    fn a_mask_off_its_disc_has_no_edge() {
        let levels = drawn(&[[100, 90]], 30, 200, 50);
        let p = picture(&levels);
        let edge = |at| p.edge(&outline(&disc(at, 30))).unwrap();
        assert_eq!(edge([168, 160]), 0.0, "nothing to be seen there");
        assert_eq!(p.inside(&disc([168, 160], 30)), Some(50.0));
        // A hill whose slopes all point to its top: a small disc on its flank has as much of it uphill as downhill.
        let pixels =
            (0..SIDE as i32).flat_map(|y| (0..SIDE as i32).map(move |x| f64::from(x - 100).hypot(f64::from(y - 90))));
        let hill: Vec<u8> = pixels.map(|far| (250.0 - far) as u8).collect();
        let edge = |at| picture(&hill).edge(&outline(&disc(at, 10))).unwrap();
        let (top, flank) = (edge([100, 90]), edge([40, 90]));
        assert!(top > 0.9 && flank.abs() < 0.2, "{top} on the top, {flank} on the flank");
        // Half of the outline is outside the picture.
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
            // The picture is that of the hand after the change: so must the outlines be.
            let moved: Vec<[i32; 2]> = discs.iter().map(|p| map(*p, last)).collect();
            let mut levels = drawn(&moved, 9, 180, 60);
            // Texture, without which the few points of an outline that touch a disc would speak for all.
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
    fn masks_too_small_for_an_outline_have_none() {
        let levels = drawn(&[], 1, 0, 9);
        for mask in [RunMask::empty(SIDE, SIDE), disc([50, 50], 0)] {
            let o = outline(&mask);
            assert_eq!((o.points.len(), picture(&levels).edge(&o)), (0, None));
        }
        assert_eq!(picture(&levels).inside(&RunMask::empty(SIDE, SIDE)), None);
    }
}
