use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    BoneDropout, BrightnessContrast, Change, CoarseDropout, CopyPaste, CutMix, Flip, GridDropout, LabelledImage, MixUp,
    NoOtherImages, OtherImages, SampleView, ShiftScaleRotate, Step, Warp,
};
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
    /// Drops one rectangle in each cell of a grid.
    GridDropout,
    /// Drops rectangles at random places.
    CoarseDropout,
    /// Removes whole bones with their labels.
    BoneDropout,
    /// Replaces bones by those of another training image.
    CopyPaste,
    /// Replaces a rectangle by that of another training image, with its labels.
    CutMix,
    /// Blends another training image into the sample, with its labels: soft targets.
    MixUp,
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
            let is_second = step.mixes_labels() && self.mixes_labels().is_some_and(|first| first < place);
            wrong.expect(
                !is_second,
                "kind",
                "mix-up",
                "another kind: a sample is blended with one other image at most",
            );
            all.inside(&format!("augment[{place}]"), wrong);
        }
        all
    }

    /// The place of the first step that gives samples mixed labels; `None`: all labels are hard.
    pub fn mixes_labels(&self) -> Option<usize> {
        self.0.iter().position(|step| step.step().mixes_labels())
    }

    /// Whether a step mixes another image into the sample.
    pub fn needs_other_images(&self) -> bool {
        self.0.iter().any(|step| step.step().needs_other_images())
    }

    /// Applies all steps to a sample. Steps that mix images take the other image from `others`. Each step takes one
    /// number from `rng` as the seed of its own generator, so that a change of one step does not change the draws of
    /// the others.
    pub fn apply(&self, image: LabelledImage, others: &dyn OtherImages, rng: &mut impl Rng) -> LabelledImage {
        apply(&self.0, image, others, rng, |step, own| own.random_range(0.0..1.0) < step.p())
    }
}

impl Augmentation {
    /// Applies this step to a sample whatever its probability.
    pub fn apply_always(&self, image: LabelledImage, others: &dyn OtherImages, rng: &mut impl Rng) -> LabelledImage {
        apply(std::slice::from_ref(self), image, others, rng, |_, _| true)
    }
}

fn apply(
    steps: &[Augmentation],
    mut image: LabelledImage,
    others: &dyn OtherImages,
    rng: &mut impl Rng,
    is_applied: impl Fn(&dyn Step, &mut ChaCha8Rng) -> bool,
) -> LabelledImage {
    let mut warp = Warp::default();
    for (place, step) in steps.iter().map(Augmentation::step).enumerate() {
        let mut own = ChaCha8Rng::seed_from_u64(rng.random());
        if !is_applied(step, &mut own) {
            continue;
        }
        let other = |rng: &mut ChaCha8Rng| other_image(&steps[..place], others, rng);
        let view = SampleView { image: &image, pending: &warp, other: &other };
        match step.draw(&view, &mut own) {
            None => {}
            Some(Change::Geometry { source_from_target, border }) => {
                if !warp.can_join(border) {
                    image = std::mem::take(&mut warp).sample(image);
                }
                warp.push(source_from_target, border);
            }
            Some(Change::Operation(operation)) => {
                image = std::mem::take(&mut warp).sample(image);
                operation.apply(&mut image);
            }
        }
    }
    warp.sample(image)
}

/// Another image after those of `steps` that do not mix images themselves.
fn other_image(steps: &[Augmentation], others: &dyn OtherImages, rng: &mut ChaCha8Rng) -> Option<LabelledImage> {
    let image = others.image((others.count() > 0).then(|| rng.random_range(0..others.count()))?)?;
    let steps = steps.iter().filter(|step| !step.step().needs_other_images()).cloned().collect();
    Some(Augmentations(steps).apply(image, &NoOtherImages, rng))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::augment::Border;
    use crate::geometry::Size;

    /// The change that a step draws for a black image without labels, by the seed.
    pub fn drawn(step: &dyn Step, size: Size, seed: u64) -> Change {
        let image = LabelledImage::new(size, vec![0.0; size.pixels()], vec![0; size.pixels()]);
        drawn_for(step, &image, seed).expect("the step changes every image")
    }

    /// The change that a step draws for an image, by the seed.
    pub fn drawn_for(step: &dyn Step, image: &LabelledImage, seed: u64) -> Option<Change> {
        let view = SampleView { image, pending: &Warp::default(), other: &|_| None };
        step.draw(&view, &mut ChaCha8Rng::seed_from_u64(seed))
    }

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
        let levels = (0..=255u8).map(f32::from).collect();
        let image = LabelledImage::new(Size::square(16), levels, (0..256).collect());
        let changed = list.apply(image, &NoOtherImages, &mut ChaCha8Rng::seed_from_u64(seed));
        (changed.levels, changed.words)
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
    fn a_second_mix_up_is_refused() {
        let mix = || Augmentation::MixUp(MixUp::default());
        let one = Augmentations(vec![Augmentation::CutMix(CutMix::default()), mix()]);
        assert!(one.violations().is_empty());
        assert_eq!((one.mixes_labels(), Augmentations::default().mixes_labels()), (Some(1), None));
        let two = Augmentations(vec![mix(), Augmentation::Flip(Flip::default()), mix()]).violations();
        let keys: Vec<String> = two.iter().map(|v| v.key.clone()).collect();
        assert_eq!(keys, ["augment[2].kind"]);
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
            let Change::Geometry { source_from_target, border } = drawn(step.step(), Size::square(16), 1) else {
                panic!("both steps are maps")
            };
            assert_eq!(warp.can_join(border), joins);
            if joins {
                warp.push(source_from_target, border);
            }
        }
    }
}
