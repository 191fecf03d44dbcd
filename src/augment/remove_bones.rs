use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, TchError, Tensor};

use super::{DeviceImage, DeviceOperation, LabelledImage, Operation, SampleView};
use crate::bones::Bone;
use crate::geometry::PixelBox;
use crate::violation::Violations;

/// Removes whole bones with their labels. The pixels that no other bone has get the mean level of the background around
/// the bone: of the pixels without a label whose distance from the bone, in the larger of the two directions, is at most
/// `ring` px, or a power of two as many if there are none. Pixels that another bone has keep their level and its label.
/// Bones are removed one after another, in the order of the classes.
pub(super) struct RemoveBones {
    /// Bit c = class c.
    pub bones: u32,
    /// Width of the ring in px, 1 or more.
    pub ring: u32,
}

impl RemoveBones {
    /// `ring` is a share of the shorter side.
    pub fn new(bones: u32, ring: f64, view: &SampleView) -> RemoveBones {
        let side = view.size().width.min(view.size().height);
        RemoveBones { bones, ring: ((f64::from(side) * ring).round() as u32).max(1) }
    }

    fn each(&self) -> impl Iterator<Item = u32> {
        Bone::all().map(Bone::bit).filter(move |bit| self.bones & bit != 0)
    }
}

/// Refuses a width of the ring that is out of range.
pub(super) fn ring_violations(ring: f64) -> Violations {
    let mut wrong = Violations::new();
    wrong.expect(ring > 0.0 && ring <= 0.5, "ring", ring, "a share of the shorter side, above 0 to 0.5");
    wrong
}

/// `count` of the bones of `word`, or all if there are fewer, each equally likely.
pub(super) fn choose(word: u32, count: usize, rng: &mut ChaCha8Rng) -> Vec<Bone> {
    let bones: Vec<Bone> = Bone::all().filter(|bone| word & bone.bit() != 0).collect();
    index::sample(rng, bones.len(), count.min(bones.len())).into_iter().map(|at| bones[at]).collect()
}

impl Operation for RemoveBones {
    fn apply(&self, image: &mut LabelledImage) {
        self.each().for_each(|bit| remove(image, bit, self.ring));
    }

    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        Some(self)
    }
}

/// All labels of a pixel, of both images if two were blended.
fn labels(image: &LabelledImage, at: usize) -> u32 {
    image.words[at] | image.mixed.as_ref().map_or(0, |mixed| mixed.words[at])
}

fn remove(image: &mut LabelledImage, bit: u32, ring: u32) {
    let places: Vec<usize> = (0..image.levels.len()).filter(|at| labels(image, *at) & bit != 0).collect();
    let level = background(image, &places, ring);
    for at in places {
        image.words[at] &= !bit;
        if let Some(mixed) = &mut image.mixed {
            mixed.words[at] &= !bit;
        }
        if labels(image, at) == 0 {
            image.levels[at] = level;
        }
    }
}

/// Mean level of the pixels without a label around the pixels `places`; 0 if the image has none.
fn background(image: &LabelledImage, places: &[usize], mut ring: u32) -> f32 {
    let (width, height) = (image.size.width, image.size.height);
    let point = |at: usize| ((at % width as usize) as u32, (at / width as usize) as u32);
    let boxes = places.iter().map(|at| {
        let (x, y) = point(*at);
        PixelBox { x_min: x, y_min: y, x_max: x, y_max: y }
    });
    let Some(bounds) = boxes.reduce(|a, b| a.union(&b)) else { return 0.0 };
    loop {
        let window = bounds.grown(ring, width, height);
        let counts = Counts::new(&window, places.iter().map(|at| point(*at)));
        let (mut sum, mut n) = (0.0, 0u32);
        for y in window.y_min..=window.y_max {
            for x in window.x_min..=window.x_max {
                let at = (y * width + x) as usize;
                if labels(image, at) == 0 && counts.is_near(x, y, ring) {
                    (sum, n) = (sum + f64::from(image.levels[at]), n + 1);
                }
            }
        }
        if n > 0 || ring >= width.max(height) {
            return if n > 0 { (sum / f64::from(n)) as f32 } else { 0.0 };
        }
        ring *= 2;
    }
}

/// Numbers of set pixels above and to the left of each place of a window (a summed area table).
struct Counts<'a> {
    window: &'a PixelBox,
    sums: Vec<u32>,
}

impl<'a> Counts<'a> {
    fn new(window: &'a PixelBox, set: impl Iterator<Item = (u32, u32)>) -> Counts<'a> {
        let (columns, rows) = (window.width() as usize + 1, window.height() as usize + 1);
        let mut sums = vec![0; columns * rows];
        set.for_each(|(x, y)| {
            sums[(y - window.y_min + 1) as usize * columns + (x - window.x_min + 1) as usize] = 1;
        });
        for y in 1..rows {
            for x in 1..columns {
                let at = y * columns + x;
                sums[at] += sums[at - 1] + sums[at - columns] - sums[at - columns - 1];
            }
        }
        Counts { window, sums }
    }

    /// Whether a set pixel is at most `distance` columns and rows away.
    fn is_near(&self, x: u32, y: u32, distance: u32) -> bool {
        let PixelBox { x_min, y_min, x_max, y_max } = *self.window;
        let range = |place: u32, first: u32, last: u32| {
            (place.saturating_sub(distance).max(first) - first, (place + distance).min(last) - first + 1)
        };
        let ((left, right), (top, bottom)) = (range(x, x_min, x_max), range(y, y_min, y_max));
        let sum = |x: u32, y: u32| self.sums[(y * (self.window.width() + 1) + x) as usize];
        sum(right, bottom) + sum(left, top) > sum(left, bottom) + sum(right, top)
    }
}

impl DeviceOperation for RemoveBones {
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        self.each().try_for_each(|bit| remove_on_device(image, i64::from(bit), i64::from(self.ring)))
    }
}

fn remove_on_device(image: &mut DeviceImage, bit: i64, mut ring: i64) -> Result<(), TchError> {
    let labels = |image: &DeviceImage| match &image.mixed {
        Some((second, _)) => image.words.f_bitwise_or_tensor(second),
        None => Ok(image.words.shallow_clone()),
    };
    let all = labels(image)?;
    let is_bone = all.f_bitwise_and(bit)?.f_ne(0)?;
    let free = all.f_eq(0)?.f_to_kind(Kind::Float)?;
    let longer = image.words.size().into_iter().max().unwrap_or(0);
    let level = loop {
        let around = grown(&is_bone, ring)?.f_mul_(&free)?;
        let n = around.f_sum(Kind::Double)?.f_double_value(&[])?;
        if n > 0.0 {
            break image.levels.f_mul(&around)?.f_sum(Kind::Double)?.f_double_value(&[])? / n;
        }
        if ring >= longer {
            break 0.0;
        }
        ring *= 2;
    };
    image.words = image.words.f_bitwise_and(!bit)?;
    if let Some((second, _)) = &mut image.mixed {
        *second = second.f_bitwise_and(!bit)?;
    }
    let is_empty = labels(image)?.f_eq(0)?.f_logical_and_(&is_bone)?;
    image.levels = image.levels.f_masked_fill(&is_empty, level)?;
    Ok(())
}

/// 1 where a pixel of the mask is at most `distance` columns and rows away, else 0.
fn grown(mask: &Tensor, distance: i64) -> Result<Tensor, TchError> {
    let side = 2 * distance + 1;
    let x = mask.f_to_kind(Kind::Float)?.f_unsqueeze(0)?.f_unsqueeze(0)?;
    let x = x.f_max_pool2d([1, side], [1, 1], [0, distance], [1, 1], false)?;
    x.f_max_pool2d([side, 1], [1, 1], [distance, 0], [1, 1], false)?.f_view_as(mask)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::augment::paste::tests::{assert_same_on_device, random_image};
    use crate::geometry::Size;

    fn row(levels: &[f32], words: &[u32]) -> LabelledImage {
        LabelledImage::new(Size { width: levels.len() as u32, height: 1 }, levels.to_vec(), words.to_vec())
    }

    #[test]
    fn a_bone_is_replaced_by_the_background_around_it() {
        let levels = [9.0, 10.0, 100.0, 110.0, 120.0, 130.0, 20.0, 50.0];
        let words = [0, 0, 1, 1, 3, 2, 0, 0];
        let mut image = row(&levels, &words);
        Operation::apply(&RemoveBones { bones: 1, ring: 1 }, &mut image);
        // One free pixel within one column; the shared pixel stays with the other bone.
        assert_eq!(image.levels, [9.0, 10.0, 10.0, 10.0, 120.0, 130.0, 20.0, 50.0]);
        assert_eq!(image.words, [0, 0, 0, 0, 2, 2, 0, 0]);
        // Two columns: 9, 10 and 20.
        let mut image = row(&levels, &words);
        Operation::apply(&RemoveBones { bones: 1, ring: 2 }, &mut image);
        assert_eq!(image.levels[2..4], [13.0, 13.0]);
        // Both bones: the second one finds the first one's place free.
        let mut image = row(&levels, &words);
        Operation::apply(&RemoveBones { bones: 3, ring: 1 }, &mut image);
        assert_eq!(
            (&image.levels[..], &image.words[..]),
            (&[9.0, 10.0, 10.0, 10.0, 15.0, 15.0, 20.0, 50.0][..], &[0; 8][..])
        );
        // No free pixel near: the ring is doubled until there is one; without any, black.
        let mut image = row(&[5.0, 60.0, 60.0, 60.0, 70.0], &[0, 2, 2, 2, 1]);
        Operation::apply(&RemoveBones { bones: 1, ring: 1 }, &mut image);
        assert_eq!(image.levels[4], 5.0);
        let mut image = row(&[60.0, 70.0], &[2, 1]);
        Operation::apply(&RemoveBones { bones: 1, ring: 1 }, &mut image);
        assert_eq!((image.levels[1], image.words[1]), (0.0, 0));
    }

    #[test]
    fn the_same_as_by_looking_at_every_pair_of_pixels() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let size = Size { width: 31, height: 22 };
        let mut image = random_image(size, &mut rng);
        // Labels in a part of the image only, so that rings are of both kinds.
        let free = |at: usize| at % 31 > 14 || at / 31 > 12;
        let clear = |words: &mut Vec<u32>| (0..words.len()).filter(|at| free(*at)).for_each(|at| words[at] = 0);
        clear(&mut image.words);
        clear(&mut image.mixed.as_mut().unwrap().words);
        let bit = 1 << 16;
        let places: Vec<usize> = (0..size.pixels()).filter(|at| labels(&image, *at) & bit != 0).collect();
        for ring in [1, 3, 40] {
            let near = |at: &usize| {
                let away = |a: usize, b: usize| (a % 31).abs_diff(b % 31).max((a / 31).abs_diff(b / 31));
                labels(&image, *at) == 0 && places.iter().any(|place| away(*at, *place) <= ring as usize)
            };
            let ring_pixels: Vec<usize> = (0..size.pixels()).filter(near).collect();
            let mean =
                ring_pixels.iter().map(|at| f64::from(image.levels[*at])).sum::<f64>() / ring_pixels.len() as f64;
            assert!((f64::from(background(&image, &places, ring)) - mean).abs() < 1e-4, "{ring}");
        }
        for (bones, ring) in [(bit, 1), (0x1111_0011, 2), (1, 40)] {
            assert_same_on_device(&RemoveBones { bones, ring }, &image);
        }
    }

    #[test]
    fn bones_are_chosen_equally_often() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut counts = [0; 29];
        for _ in 0..4000 {
            let chosen = choose(0b1011_0010, 2, &mut rng);
            assert!(chosen.len() == 2 && chosen[0] != chosen[1]);
            chosen.iter().for_each(|bone| counts[bone.index()] += 1);
        }
        for class in [1, 4, 5, 7] {
            // Four standard deviations about 2000.
            assert!((1873..=2127).contains(&counts[class]), "{class}: {}", counts[class]);
        }
        assert_eq!((counts.iter().sum::<i32>(), choose(0b11, 9, &mut rng).len()), (8000, 2));
    }
}
