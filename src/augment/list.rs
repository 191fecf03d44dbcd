use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{BrightnessContrast, Change, Flip, ShiftScaleRotate, Step, Warp};
use crate::violation::Violations;

/// Declares the kinds of steps: each variant with its settings. Its name in kebab case is its `kind` in TOML.
macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident),+ $(,)?) => {
        /// A step of the augmentation, with its settings.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "kind", rename_all = "kebab-case")]
        pub enum Augmentation {
            $($(#[$about])* $kind($kind),)+
        }

        impl Augmentation {
            /// One step of each kind with default settings.
            pub fn all() -> Vec<Augmentation> {
                vec![$(Augmentation::$kind($kind::default())),+]
            }

            fn step(&self) -> &dyn Step {
                match self {
                    $(Augmentation::$kind(step) => step,)+
                }
            }
        }
    };
}

kinds! {
    /// Left-right mirror image.
    Flip,
    /// Random shift, scale and rotation about the centre, each uniform.
    ShiftScaleRotate,
    /// Random brightness and contrast: grey level v becomes `v * (1 + c) + 255 b` with uniform `c` and `b`.
    BrightnessContrast,
}

/// Steps in the order in which they are applied.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Augmentations(pub Vec<Augmentation>);

impl Default for Augmentations {
    fn default() -> Self {
        Augmentations(vec![
            Augmentation::Flip(Flip::default()),
            Augmentation::ShiftScaleRotate(ShiftScaleRotate::default()),
        ])
    }
}

impl<'de> Deserialize<'de> for Augmentations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;
        impl<'de> Visitor<'de> for Steps {
            type Value = Augmentations;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a list of steps such as [[augment]] kind = \"flip\", p = 0.5")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut steps: A) -> Result<Augmentations, A::Error> {
                let mut read = Vec::new();
                while let Some(step) = steps.next_element()? {
                    read.push(step);
                }
                Ok(Augmentations(read))
            }
        }
        deserializer.deserialize_seq(Steps)
    }
}

impl Augmentations {
    /// A list without steps.
    pub fn none() -> Self {
        Augmentations(Vec::new())
    }

    /// The values that are out of range, with keys as `augment[0].p`.
    pub fn violations(&self) -> Violations {
        let mut all = Violations::new();
        for (place, step) in self.0.iter().map(Augmentation::step).enumerate() {
            let mut wrong = Violations::new();
            wrong.expect((0.0..=1.0).contains(&step.p()), "p", step.p(), "a probability from 0 to 1");
            wrong.extend(step.violations());
            all.inside(&format!("augment[{place}]"), wrong);
        }
        all
    }

    /// Applies all steps to a sample of `size` x `size` grey levels, 0 to 255, and label words, both row-major. Each
    /// step takes one number from `rng` as the seed of its own generator, so that a change of one step does not change
    /// the draws of the others.
    pub fn apply(&self, pixels: &[u8], words: Vec<u32>, size: u32, rng: &mut impl Rng) -> (Vec<f32>, Vec<u32>) {
        let mut sample = (pixels.iter().map(|v| f32::from(*v)).collect(), words);
        let mut warp = Warp::default();
        for step in self.0.iter().map(Augmentation::step) {
            let mut own = ChaCha8Rng::seed_from_u64(rng.random());
            if own.random_range(0.0..1.0) >= step.p() {
                continue;
            }
            match step.draw(size, &mut own) {
                Change::Geometry { source_from_target, border } => {
                    if !warp.can_join(border) {
                        sample = std::mem::take(&mut warp).sample(sample, size);
                    }
                    warp.push(source_from_target, border);
                }
                Change::Pixels(apply) => {
                    sample = std::mem::take(&mut warp).sample(sample, size);
                    apply(&mut sample.0);
                }
            }
        }
        warp.sample(sample, size)
    }

    /// Two versions of an image of `size` x `size` grey levels, 0 to 255, row-major. Steps that move pixels have the same
    /// draws for both, so that equal places show the same part of the hand; whether a step that changes grey levels is
    /// applied, and how, is drawn for each. Each step takes two numbers from `rng`.
    pub fn apply_pair(&self, pixels: &[u8], size: u32, rng: &mut impl Rng) -> [Vec<f32>; 2] {
        let mut images: [Vec<f32>; 2] = [(); 2].map(|()| pixels.iter().map(|v| f32::from(*v)).collect());
        let mut warp = Warp::default();
        let resample = |warp: &mut Warp, images: &mut [Vec<f32>; 2]| {
            let warp = std::mem::take(warp);
            if !warp.is_empty() {
                images.iter_mut().for_each(|image| *image = warp.image(image, size));
            }
        };
        for step in self.0.iter().map(Augmentation::step) {
            let [first, second] = [(); 2].map(|()| {
                let mut own = ChaCha8Rng::seed_from_u64(rng.random());
                let is_applied = own.random_range(0.0..1.0) < step.p();
                (is_applied, step.draw(size, &mut own))
            });
            match first {
                (is_applied, Change::Geometry { source_from_target, border }) => {
                    if is_applied {
                        if !warp.can_join(border) {
                            resample(&mut warp, &mut images);
                        }
                        warp.push(source_from_target, border);
                    }
                }
                first => {
                    resample(&mut warp, &mut images);
                    for (image, change) in images.iter_mut().zip([first, second]) {
                        if let (true, Change::Pixels(apply)) = change {
                            apply(image);
                        }
                    }
                }
            }
        }
        resample(&mut warp, &mut images);
        images
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::augment::Border;

    /// Checks that 4,000 draws, divided by their limit, are uniform from -1 to 1.
    pub fn assert_uniform(values: &[f64]) {
        assert!(values.iter().all(|v| v.abs() <= 1.0));
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let square = values.iter().map(|v| v * v).sum::<f64>() / n;
        assert!(mean.abs() < 0.04 && (square - 1.0 / 3.0).abs() < 0.02, "mean {mean}, mean square {square}");
        // The greatest distance of the distribution functions (Kolmogorov) is above 0.031 once in a thousand times.
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let distance = sorted.iter().enumerate().map(|(i, v)| ((v + 1.0) / 2.0 - (i as f64 + 0.5) / n).abs());
        assert!(distance.fold(0.0, f64::max) < 0.031);
    }

    fn parsed(text: &str) -> Result<Augmentations, String> {
        #[derive(Deserialize)]
        struct File {
            augment: Augmentations,
        }
        toml::from_str::<File>(text).map(|file| file.augment).map_err(|e| e.to_string())
    }

    fn augmented(list: &Augmentations, seed: u64) -> (Vec<f32>, Vec<u32>) {
        let pixels: Vec<u8> = (0..=255).collect();
        let words = pixels.iter().map(|v| u32::from(*v)).collect();
        list.apply(&pixels, words, 16, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    #[test]
    fn steps_are_read_in_order_and_survive_a_round_trip() {
        let list = parsed("augment = [{ kind = 'brightness-contrast', p = 0.3 }, { kind = 'flip' }]").unwrap();
        let brightness = BrightnessContrast { p: 0.3, ..BrightnessContrast::default() };
        assert_eq!(list.0, [Augmentation::BrightnessContrast(brightness), Augmentation::Flip(Flip { p: 0.5 })]);
        for step in Augmentation::all() {
            let list = Augmentations(vec![step]);
            #[derive(Serialize)]
            struct File<'a> {
                augment: &'a Augmentations,
            }
            assert_eq!(parsed(&toml::to_string(&File { augment: &list }).unwrap()).unwrap(), list);
            assert!(list.violations().is_empty());
        }
        assert_eq!(parsed("augment = []").unwrap(), Augmentations::none());
        for (text, says) in [
            ("[augment]\nflip = 0.5", "[[augment]] kind = \"flip\""),
            ("[[augment]]\nkind = 'flap'", "shift-scale-rotate"),
            ("[[augment]]\np = 0.5", "kind"),
            ("[[augment]]\nkind = 'flip'\nq = 0.5", "unknown field `q`"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn values_out_of_range_are_named() {
        let wide = ShiftScaleRotate { scale: 1.0, rotate: -1.0, ..ShiftScaleRotate::default() };
        let flip = Flip { p: f64::NAN };
        let list = Augmentations(vec![Augmentation::Flip(flip), Augmentation::ShiftScaleRotate(wide)]);
        let keys: Vec<String> = list.violations().iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["augment[0].p", "augment[1].scale", "augment[1].rotate"]);
    }

    #[test]
    fn switching_one_step_does_not_change_the_others() {
        let flip = |p| Augmentation::Flip(Flip { p });
        let rotate = Augmentation::ShiftScaleRotate(ShiftScaleRotate { p: 1.0, ..ShiftScaleRotate::default() });
        let brightness =
            Augmentation::BrightnessContrast(BrightnessContrast { p: 1.0, ..BrightnessContrast::default() });
        for seed in 0..20 {
            let alone = augmented(&Augmentations(vec![flip(0.5), rotate.clone()]), seed);
            let brighter = augmented(&Augmentations(vec![flip(0.5), rotate.clone(), brightness.clone()]), seed);
            assert_eq!(alone.1, brighter.1, "labels do not depend on grey levels");
            assert_ne!(alone.0, brighter.0);
            let off = augmented(&Augmentations(vec![flip(0.0), rotate.clone()]), seed);
            let on = augmented(&Augmentations(vec![flip(1.0), rotate.clone()]), seed);
            assert!(alone == off || alone == on);
        }
        let (pixels, words) = augmented(&Augmentations::none(), 1);
        assert!(words.iter().enumerate().all(|(i, w)| *w == i as u32) && pixels[255] == 255.0);
    }

    #[test]
    fn a_pair_has_one_geometry_and_two_draws_of_grey_levels() {
        let pixels: Vec<u8> = (0..=255).map(|i: u8| i / 2).collect();
        let rotate = Augmentation::ShiftScaleRotate(ShiftScaleRotate { p: 0.5, ..ShiftScaleRotate::default() });
        let flip = Augmentation::Flip(Flip::default());
        let brightness = Augmentation::BrightnessContrast(BrightnessContrast { p: 0.5, ..Default::default() });
        let pair = |steps: &[&Augmentation], seed| {
            let list = Augmentations(steps.iter().map(|step| (*step).clone()).collect());
            list.apply_pair(&pixels, 16, &mut ChaCha8Rng::seed_from_u64(seed))
        };
        let plain: Vec<f32> = pixels.iter().map(|v| f32::from(*v)).collect();
        let (mut moved, mut differ) = (0, 0);
        for seed in 0..200 {
            let [a, b] = pair(&[&flip, &rotate], seed);
            assert_eq!(a, b);
            moved += usize::from(a != plain);
            // A step of grey levels, which is applied to either with probability 1/2, does not change the geometry.
            let [c, d] = pair(&[&flip, &rotate, &brightness], seed);
            differ += usize::from(c != d);
            // Brightness and contrast keep the order of the grey levels.
            let mut by_level: Vec<usize> = (0..a.len()).collect();
            by_level.sort_by(|i, j| a[*i].total_cmp(&a[*j]));
            for version in [&c, &d] {
                assert!(by_level.windows(2).all(|pair| version[pair[0]] <= version[pair[1]]));
            }
        }
        // Both steps are left out in a quarter of the pairs; neither or the same change: a quarter.
        assert!((120..=180).contains(&moved) && (120..=180).contains(&differ), "{moved} {differ}");
        assert_eq!(pair(&[], 1), [plain.clone(), plain]);
    }

    #[test]
    fn a_step_is_applied_with_its_probability() {
        let flipped = |p| {
            let list = Augmentations(vec![Augmentation::Flip(Flip { p })]);
            (0..2000).filter(|seed| augmented(&list, *seed).1[0] == 15).count()
        };
        assert_eq!((flipped(0.0), flipped(1.0)), (0, 2000));
        // Four standard deviations about 600.
        assert!((518..=682).contains(&flipped(0.3)), "{}", flipped(0.3));
    }

    /// Two consecutive flips give exactly the same image, because it is resampled only once.
    #[test]
    fn consecutive_maps_with_one_border_are_resampled_once() {
        let rotate = |border| {
            let step = ShiftScaleRotate { p: 1.0, border, ..ShiftScaleRotate::default() };
            Augmentation::ShiftScaleRotate(step)
        };
        let flip = || Augmentation::Flip(Flip { p: 1.0 });
        let same = augmented(&Augmentations(vec![flip(), flip()]), 1);
        assert_eq!(same, augmented(&Augmentations::none(), 1));
        // A flip reads nothing outside the image, so it can be joined with any border; two borders cannot be joined.
        let mut warp = Warp::default();
        for (step, joins) in [(rotate(Border::Black), true), (flip(), true), (rotate(Border::Reflect), false)] {
            let Change::Geometry { source_from_target, border } =
                step.step().draw(16, &mut ChaCha8Rng::seed_from_u64(1))
            else {
                panic!("both steps are maps")
            };
            assert_eq!(warp.can_join(border), joins);
            if joins {
                warp.push(source_from_target, border);
            }
        }
    }
}
