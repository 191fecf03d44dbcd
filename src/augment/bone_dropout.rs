use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::remove_bones::{RemoveBones, choose, ring_violations};
use super::{Amount, Change, SampleView, Step};
use crate::bones;
use crate::violation::Violations;

/// Removes whole bones with their labels, as in an amputated hand. Their pixels get the mean grey level of the unlabelled
/// pixels in a ring around the bone; pixels that the bone shares with one that stays keep their level and the label of
/// the other bone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct BoneDropout {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Number of bones to remove: a number, or [least, most]; all if the hand has fewer. Whole, from 1 to 29; default
    /// [1, 3], unless `share` is given.
    #[schemars(example = [1, 3])]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bones: Option<Amount>,
    /// In place of `bones`: share of the present bones to remove, rounded, at least one bone: a number, or [least, most].
    /// Above 0 to 1; absent: `bones` is used.
    #[schemars(example = 0.1)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Amount>,
    /// Width of the ring whose mean level the removed pixels get, as a share of the image's shorter side. Above 0 to 0.5;
    /// default 0.02. Where all pixels of the ring have labels, it is widened.
    pub ring: f64,
}

impl Default for BoneDropout {
    fn default() -> Self {
        BoneDropout { p: 0.5, bones: None, share: None, ring: 0.02 }
    }
}

impl BoneDropout {
    fn count(&self, present: u32, rng: &mut ChaCha8Rng) -> usize {
        match self.share {
            Some(share) => ((f64::from(present.count_ones()) * share.draw(rng)).round() as usize).max(1),
            None => self.bones.unwrap_or(Amount::Between([1.0, 3.0])).draw_whole(rng) as usize,
        }
    }
}

impl Step for BoneDropout {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let present = view.present();
        let count = self.count(present, rng);
        let chosen = choose(present, count, rng).into_iter().fold(0, |all, bone| all | bone.bit());
        (chosen != 0).then(|| Change::operation(RemoveBones::new(chosen, self.ring, view)))
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        if let Some(bones) = self.bones {
            bones.expect_whole(&mut wrong, "bones", 1, bones::COUNT as u32);
        }
        if let Some(share) = self.share {
            share.expect(&mut wrong, "share", |v| v > 0.0 && v <= 1.0, "a share above 0 to 1");
            wrong.expect(self.bones.is_none(), "share", share, "no value next to `bones`: give one of the two");
        }
        wrong.extend(ring_violations(self.ring));
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::LabelledImage;
    use crate::augment::list::tests::drawn_for;
    use crate::geometry::Size;

    /// An image of one row in which each bone has one pixel, with free pixels between.
    fn hand(bones: usize) -> LabelledImage {
        let size = Size { width: 2 * bones as u32 + 1, height: 1 };
        let words = (0..size.pixels()).map(|at| if at % 2 == 1 { 1 << (at / 2) } else { 0 }).collect();
        LabelledImage::new(size, (0..size.pixels()).map(|at| (at % 2 * 100) as f32).collect(), words)
    }

    fn left(step: &BoneDropout, bones: usize, seed: u64) -> usize {
        let mut image = hand(bones);
        let Some(Change::Operation(operation)) = drawn_for(step, &image, seed) else { panic!("an operation") };
        operation.apply(&mut image);
        let bright = image.levels.iter().filter(|level| **level > 0.0).count();
        assert_eq!(bright, image.words.iter().filter(|word| **word != 0).count(), "removed bones are not visible");
        bright
    }

    #[test]
    fn the_drawn_number_of_bones_is_removed() {
        let removed =
            |step: &BoneDropout, bones| (0..300).map(|seed| bones - left(step, bones, seed)).collect::<Vec<_>>();
        let counts = removed(&BoneDropout::default(), 29);
        for n in 1..=3 {
            // Four standard deviations about 100.
            assert!((67..=133).contains(&counts.iter().filter(|count| **count == n).count()), "{n}");
        }
        let share = BoneDropout { share: Some(Amount::Fixed(0.25)), ..BoneDropout::default() };
        assert!(removed(&share, 29).iter().all(|n| *n == 7) && removed(&share, 1).iter().all(|n| *n == 1));
        let many = BoneDropout { bones: Some(Amount::Fixed(20.0)), ..BoneDropout::default() };
        assert!(removed(&many, 12).iter().all(|n| *n == 12));
    }

    #[test]
    fn an_image_without_bones_stays_and_two_numbers_are_refused() {
        let empty = LabelledImage::new(Size::square(2), vec![1.0; 4], vec![0; 4]);
        assert!(drawn_for(&BoneDropout::default(), &empty, 1).is_none());
        let both = BoneDropout {
            bones: Some(Amount::Fixed(30.0)),
            share: Some(Amount::Fixed(0.5)),
            ring: 0.0,
            ..BoneDropout::default()
        };
        let keys: Vec<String> = both.violations().iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["bones", "share", "ring"]);
    }
}
