//! Property tests: every operation on runs gives the same result as on dense bits.

use proptest::prelude::*;

use super::*;
use crate::geometry::{Moments, PixelBox};

/// A dense mask: noise of any density, or blocks with long runs.
#[derive(Clone, Debug)]
struct Dense {
    width: u32,
    height: u32,
    bits: Vec<u8>,
}

impl Dense {
    fn mask(&self) -> RunMask {
        RunMask::from_dense(&self.bits, self.width, self.height)
    }

    fn at(&self, x: i64, y: i64) -> u8 {
        let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        if inside { self.bits[(y * i64::from(self.width) + x) as usize] } else { 0 }
    }

    /// Every pixel as (x, y).
    fn pixels(&self) -> impl Iterator<Item = (i64, i64)> + use<> {
        let (width, height) = (i64::from(self.width), i64::from(self.height));
        (0..height).flat_map(move |y| (0..width).map(move |x| (x, y)))
    }

    fn from_fn(width: u32, height: u32, set: impl Fn(i64, i64) -> bool) -> Dense {
        let blank = Dense { width, height, bits: vec![] };
        let bits = blank.pixels().map(|(x, y)| u8::from(set(x, y))).collect();
        Dense { bits, ..blank }
    }

    /// The pixels that can be reached from the seeds in steps to pixels of `value`.
    fn flooded(&self, seeds: Vec<(i64, i64)>, value: u8, steps: &[(i64, i64)]) -> Vec<bool> {
        let mut reached = vec![false; self.bits.len()];
        let mut open: Vec<(i64, i64)> = seeds;
        while let Some((x, y)) = open.pop() {
            let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
            let index = if inside { (y * i64::from(self.width) + x) as usize } else { continue };
            if self.bits[index] == value && !std::mem::replace(&mut reached[index], true) {
                open.extend(steps.iter().map(|(dx, dy)| (x + dx, y + dy)));
            }
        }
        reached
    }
}

const FOUR: [(i64, i64); 4] = [(1, 0), (-1, 0), (0, 1), (0, -1)];
const EIGHT: [(i64, i64); 8] = [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)];

fn sized(width: u32, height: u32) -> impl Strategy<Value = Dense> {
    let pixels = (width * height) as usize;
    let noise = (prop::collection::vec(0u8..100, pixels), 0u8..=100)
        .prop_map(move |(values, density)| values.iter().map(|v| u8::from(*v < density)).collect());
    let corner = (0..=i64::from(width), 0..=i64::from(height));
    let blocks = prop::collection::vec((corner.clone(), corner, any::<bool>()), 0..8).prop_map(move |blocks| {
        let mut bits = Dense::from_fn(width, height, |_, _| false);
        for (a, b, set) in blocks {
            let inside = |x: i64, y: i64| (a.0..b.0).contains(&x) && (a.1..b.1).contains(&y);
            bits = Dense::from_fn(width, height, |x, y| if inside(x, y) { set } else { bits.at(x, y) == 1 });
        }
        bits.bits
    });
    prop_oneof![noise, blocks].prop_map(move |bits| Dense { width, height, bits })
}

fn dense() -> impl Strategy<Value = Dense> {
    (1u32..24, 1u32..20).prop_flat_map(|(width, height)| sized(width, height))
}

fn several(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Dense>> {
    (1u32..24, 1u32..20).prop_flat_map(move |(w, h)| prop::collection::vec(sized(w, h), count.clone()))
}

fn pair() -> impl Strategy<Value = (Dense, Dense)> {
    several(2..3).prop_map(|mut two| (two.remove(0), two.remove(0)))
}

fn combined(a: &Dense, b: &Dense, with: impl Fn(u8, u8) -> bool) -> RunMask {
    Dense::from_fn(a.width, a.height, |x, y| with(a.at(x, y), b.at(x, y))).mask()
}

/// Whether the runs have the unique form that equality relies on.
fn is_canonical(mask: &RunMask) -> bool {
    let runs = mask.runs();
    runs.iter().all(|r| r.len > 0)
        && runs.windows(2).all(|w| w[0].end() < w[1].start)
        && runs.last().is_none_or(|r| r.end() <= mask.width() * mask.height())
}

proptest! {
    #[test]
    fn dense_round_trip(d in dense()) {
        let mask = d.mask();
        prop_assert!(is_canonical(&mask));
        prop_assert_eq!(mask.to_dense(), d.bits.clone());
        let again = RunMask::from_runs(d.width, d.height, mask.runs().to_vec()).unwrap();
        prop_assert_eq!(again, mask);
    }

    #[test]
    fn rows_and_contains(d in dense()) {
        let mask = d.mask();
        let from_rows = mask.rows().flat_map(|(y, a, b)| (a..b).map(move |x| (i64::from(x), i64::from(y))));
        let set: Vec<_> = d.pixels().filter(|(x, y)| d.at(*x, *y) == 1).collect();
        prop_assert_eq!(from_rows.collect::<Vec<_>>(), set);
        for (x, y) in d.pixels() {
            prop_assert_eq!(mask.contains(x as u32, y as u32), d.at(x, y) == 1);
        }
        prop_assert!(!mask.contains(d.width, 0) && !mask.contains(0, d.height));
    }

    #[test]
    fn measures(d in dense()) {
        let mask = d.mask();
        let mut expected = Moments::default();
        let mut bounds: Option<PixelBox> = None;
        for (x, y) in d.pixels().filter(|(x, y)| d.at(*x, *y) == 1) {
            let (x, y) = (x as u64, y as u64);
            expected = expected + Moments { area: 1, sum_x: x, sum_y: y, sum_xx: x * x, sum_xy: x * y, sum_yy: y * y };
            let here = PixelBox { x_min: x as u32, y_min: y as u32, x_max: x as u32, y_max: y as u32 };
            bounds = Some(bounds.map_or(here, |b| b.union(&here)));
        }
        prop_assert_eq!(mask.moments(), expected);
        prop_assert_eq!(mask.area(), expected.area);
        prop_assert_eq!(mask.bounding_box(), bounds);
        prop_assert_eq!(mask.is_empty(), expected.area == 0);
    }

    #[test]
    fn set_algebra((a, b) in pair()) {
        let (m, n) = (a.mask(), b.mask());
        let both = combined(&a, &b, |x, y| x == 1 && y == 1);
        let either = combined(&a, &b, |x, y| x == 1 || y == 1);
        prop_assert_eq!(m.union(&n).unwrap(), either.clone());
        prop_assert_eq!(m.intersection(&n).unwrap(), both.clone());
        prop_assert_eq!(m.difference(&n).unwrap(), combined(&a, &b, |x, y| x == 1 && y == 0));
        prop_assert_eq!(m.overlap(&n).unwrap(), both.area());
        let (i, u) = (both.area() as f64, either.area() as f64);
        let (dice, iou) = if u == 0.0 { (1.0, 1.0) } else { (2.0 * i / (m.area() + n.area()) as f64, i / u) };
        prop_assert_eq!(m.dice(&n).unwrap(), dice);
        prop_assert_eq!(m.iou(&n).unwrap(), iou);
    }

    #[test]
    fn votes(ds in several(1..7), at_least in 0usize..8) {
        let masks: Vec<RunMask> = ds.iter().map(Dense::mask).collect();
        let voters: Vec<&RunMask> = masks.iter().collect();
        let count = |x, y| ds.iter().filter(|d| d.at(x, y) == 1).count();
        let of = |least: usize| Dense::from_fn(ds[0].width, ds[0].height, |x, y| count(x, y) >= least).mask();
        let voted = RunMask::vote(&voters, at_least).unwrap();
        prop_assert!(is_canonical(&voted));
        prop_assert_eq!(voted, of(at_least));
        prop_assert_eq!(RunMask::majority(&voters).unwrap(), of(ds.len() / 2 + 1));
        let expected = Coverage { union_px: of(1).area(), overlap: of(2) };
        prop_assert_eq!(coverage(&masks).unwrap(), expected);
    }

    #[test]
    fn components_agree_with_flood_fill(d in dense()) {
        let parts = d.mask().components();
        let mut left = d.mask();
        for part in &parts {
            prop_assert!(is_canonical(part));
            let (y, x, _) = part.rows().next().unwrap();
            let reached = d.flooded(vec![(i64::from(x), i64::from(y))], 1, &EIGHT);
            prop_assert_eq!(part.to_dense(), reached.iter().map(|r| u8::from(*r)).collect::<Vec<_>>());
            left = left.difference(part).unwrap();
        }
        prop_assert!(left.is_empty());
        let first = |part: &RunMask| part.runs()[0].start;
        let key = |part: &RunMask| (std::cmp::Reverse(part.area()), first(part));
        prop_assert!(parts.windows(2).all(|w| key(&w[0]) < key(&w[1])));
    }

    #[test]
    fn contours_are_the_border_pixels(d in dense()) {
        let mask = d.mask();
        let contours = mask.contours();
        let mut on_border = RunMask::empty(d.width, d.height);
        for contour in &contours {
            for (i, p) in contour.iter().enumerate() {
                prop_assert_eq!(d.at(p[0].into(), p[1].into()), 1);
                let next = contour[(i + 1) % contour.len()];
                prop_assert!((p[0] - next[0]).abs().max((p[1] - next[1]).abs()) <= 1);
                on_border = on_border.union(&RunMask::from_polygon(&[*p], d.width, d.height)).unwrap();
            }
        }
        // A border pixel has an unset neighbour at its left, right, upper or lower side.
        let edge = |x: i64, y: i64| d.at(x, y) == 1 && FOUR.iter().any(|(dx, dy)| d.at(x + dx, y + dy) == 0);
        prop_assert_eq!(on_border, Dense::from_fn(d.width, d.height, edge).mask());
    }

    #[test]
    fn filled_outlines_have_no_holes(d in dense()) {
        let mut filled = RunMask::empty(d.width, d.height);
        for outline in d.mask().outlines() {
            filled = filled.union(&RunMask::from_polygon(&outline, d.width, d.height)).unwrap();
        }
        let frame = d.pixels().filter(|(x, y)| {
            *x == 0 || *y == 0 || *x + 1 == i64::from(d.width) || *y + 1 == i64::from(d.height)
        });
        let outside = d.flooded(frame.collect(), 0, &FOUR);
        let expected: Vec<u8> = outside.iter().map(|o| u8::from(!o)).collect();
        prop_assert_eq!(filled.to_dense(), expected);
    }

    #[test]
    fn crop_place_flip(d in dense(), x in -30i64..30, y in -30i64..30, w in 0u32..30, h in 0u32..30) {
        let mask = d.mask();
        prop_assert_eq!(mask.place(x, y, w, h), Dense::from_fn(w, h, |u, v| d.at(u - x, v - y) == 1).mask());
        let (x_min, y_min) = (x.unsigned_abs() as u32, y.unsigned_abs() as u32);
        let area = PixelBox { x_min, y_min, x_max: x_min + w, y_max: y_min + h };
        let cut = |u, v| d.at(u + i64::from(x_min), v + i64::from(y_min)) == 1;
        prop_assert_eq!(mask.crop(area), Dense::from_fn(w + 1, h + 1, cut).mask());
        let mirrored = Dense::from_fn(d.width, d.height, |u, v| d.at(i64::from(d.width) - 1 - u, v) == 1);
        prop_assert_eq!(mask.flipped_horizontally(), mirrored.mask());
        prop_assert_eq!(mask.flipped_horizontally().flipped_horizontally(), mask);
    }

    #[test]
    fn resize_takes_the_nearest(d in dense(), w in 0u32..50, h in 0u32..50) {
        let source = |at: i64, from: u32, to: u32| (2 * at + 1) * i64::from(from) / (2 * i64::from(to));
        let nearest = |x: i64, y: i64| d.at(source(x, d.width, w), source(y, d.height, h)) == 1;
        let resized = d.mask().resized(w, h);
        prop_assert!(is_canonical(&resized));
        prop_assert_eq!(resized, Dense::from_fn(w, h, nearest).mask());
    }

    #[test]
    fn label_images_contain_every_class(ds in several(1..6), w in 1u32..40, h in 1u32..40) {
        let masks: Vec<RunMask> = (0..crate::bones::COUNT).map(|c| ds[c * 7 % ds.len()].mask()).collect();
        // Masks of one image have one size.
        let masks: Vec<RunMask> = masks.iter().map(|m| m.resized(ds[0].width, ds[0].height)).collect();
        let masks = HandMasks::new(masks).unwrap();
        let labels = LabelImage::from_masks(&masks);
        let small = LabelImage::from_masks_resized(&masks, w, h);
        for (bone, mask) in masks.iter() {
            prop_assert_eq!(&labels.mask(bone.index()), mask);
            prop_assert_eq!(small.mask(bone.index()), mask.resized(w, h));
        }
        prop_assert!(labels.words.iter().chain(&small.words).all(|word| word >> crate::bones::COUNT == 0));
    }

    #[test]
    fn rle_round_trip(d in dense()) {
        let mask = d.mask();
        let text = rle::encode(&mask);
        prop_assert_eq!(rle::decode(&text, d.width, d.height).unwrap(), mask.clone());
        let numbers: Vec<usize> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let mut bits = vec![0; d.bits.len()];
        for pair in numbers.chunks(2) {
            bits[pair[0] - 1..pair[0] - 1 + pair[1]].fill(1);
        }
        prop_assert_eq!(bits, d.bits);
    }

    #[test]
    fn decoded_text_is_a_valid_mask_or_an_error(text in "[0-9 \t\n.x-]{0,40}", width in 0u32..9, height in 0u32..9) {
        if let Ok(mask) = rle::decode(&text, width, height) {
            prop_assert!(is_canonical(&mask));
        }
    }
}
