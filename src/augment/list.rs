use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    BoneDropout, BrightnessContrast, Change, Clahe, CoarseDropout, Collimator, CopyPaste, CropAround, CutMix,
    Downscale, DrawnChanges, Elastic, Equalise, Flip, Gamma, GaussianBlur, GaussianNoise, GridDistortion, GridDropout,
    HistogramMatching, Invert, LabelledImage, MedianBlur, MixUp, NoOtherImages, OpticalDistortion, OtherImages,
    Perspective, PoissonNoise, RandomAffine, RandomResizedCrop, Rotate90, RotateUpright, SampleView, Sharpen,
    ShiftScaleRotate, Step, Warp, WhiteStrips,
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
    /// Scale, rotation, shear and shift about the centre.
    #[serde(rename = "affine")]
    RandomAffine,
    /// A quadrilateral within the image fills the result.
    Perspective,
    /// Elastic deformation by a smooth random field.
    Elastic,
    /// Columns and rows of a grid get random widths and heights.
    GridDistortion,
    /// Radial distortion of a lens.
    OpticalDistortion,
    /// A random part of the image, scaled to the size of the sample.
    RandomResizedCrop,
    /// A crop around some bones, scaled to the size of the sample.
    CropAround,
    /// Rotates the image so that the hand points up.
    RotateUpright,
    /// Rotation by 0, 90, 180 or 270 degrees.
    Rotate90,
    /// Gamma curve: grey level v becomes `255 (v / 255)^gamma`.
    Gamma,
    /// Contrast-limited adaptive histogram equalisation.
    Clahe,
    /// Histogram equalisation of the whole image.
    Equalise,
    /// The histogram of another image, mixed with the image itself.
    HistogramMatching,
    /// Negative: grey level v becomes `255 - v`.
    Invert,
    /// Gaussian blur.
    GaussianBlur,
    /// Median of the square around each pixel.
    MedianBlur,
    /// Sharpening by a 3 x 3 kernel.
    Sharpen,
    /// Normal noise, independent of the grey level.
    GaussianNoise,
    /// Shot noise, which grows with the grey level.
    PoissonNoise,
    /// Lower resolution: reduced by averaging, then enlarged.
    Downscale,
    /// A white strip along one border, as digitisers leave it.
    #[serde(rename = "strips")]
    WhiteStrips,
    /// Collimation: dark outside a rotated rectangle with a soft edge.
    Collimator,
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

    /// Applies all steps to a sample whatever their probability; see [`Augmentations::apply`].
    pub fn apply_always(&self, image: LabelledImage, others: &dyn OtherImages, rng: &mut impl Rng) -> LabelledImage {
        let PartlyAugmented { image, rest } = draw(&self.0, image, others, rng, Extent::Complete, |_, _| true);
        rest.apply(image)
    }

    /// Two versions of an image without labels. Steps that move pixels have the same draws for both, so that equal
    /// places show the same part of the hand; whether another step is applied, and how, is drawn for each. Each step
    /// takes two numbers from `rng`. Steps that need labels or another image do nothing.
    pub fn apply_pair(&self, image: LabelledImage, rng: &mut impl Rng) -> [LabelledImage; 2] {
        let mut images = [image.clone(), image];
        let mut warp = Warp::default();
        for step in self.0.iter().map(Augmentation::step) {
            let [first, second] = [0, 1].map(|version| {
                let mut own = ChaCha8Rng::seed_from_u64(rng.random());
                let view = SampleView { image: &images[version], pending: &warp, other: &|_| None };
                (own.random_range(0.0..1.0) < step.p()).then(|| step.draw(&view, &mut own)).flatten()
            });
            if let Some(Change::Geometry { source_from_target, border }) = first {
                if !warp.can_join(border) {
                    let before = std::mem::take(&mut warp);
                    images = images.map(|image| before.sample(image));
                }
                warp.push(source_from_target, border);
                continue;
            }
            for (version, change) in [first, second].into_iter().enumerate() {
                if let Some(Change::Operation(operation)) = change {
                    let before = std::mem::take(&mut warp);
                    images = images.map(|image| before.sample(image));
                    operation.apply(&mut images[version]);
                }
            }
        }
        images.map(|image| warp.sample(image))
    }

    /// Applies all steps to a sample. Steps that mix images take the other image from `others`. Each step takes one
    /// number from `rng` as the seed of its own generator, so that a change of one step does not change the draws of
    /// the others.
    pub fn apply(&self, image: LabelledImage, others: &dyn OtherImages, rng: &mut impl Rng) -> LabelledImage {
        let PartlyAugmented { image, rest } = draw(&self.0, image, others, rng, Extent::Complete, has_its_turn);
        rest.apply(image)
    }

    /// Draws all steps for a sample as [`Augmentations::apply`] does, with the same `rng`, and applies them up to the
    /// last one that needs the CPU: whose operation has no form for a device, or that reads the sample's labels or other
    /// images.
    pub fn apply_head(&self, image: LabelledImage, others: &dyn OtherImages, rng: &mut impl Rng) -> PartlyAugmented {
        draw(&self.0, image, others, rng, Extent::Head, has_its_turn)
    }
}

impl Augmentation {
    /// The kind's name, as in TOML.
    pub fn kind(&self) -> String {
        let table = toml::Table::try_from(self).expect("a step is a table of numbers and texts");
        table["kind"].as_str().expect("the kind is a text").to_owned()
    }

    /// Whether the step mixes another image into the sample.
    pub fn needs_other_images(&self) -> bool {
        self.step().needs_other_images()
    }

    /// Applies this step to a sample whatever its probability.
    pub fn apply_always(&self, image: LabelledImage, others: &dyn OtherImages, rng: &mut impl Rng) -> LabelledImage {
        let PartlyAugmented { image, rest } =
            draw(std::slice::from_ref(self), image, others, rng, Extent::Complete, |_, _| true);
        rest.apply(image)
    }
}

/// A sample after the first steps of an augmentation.
#[derive(Debug)]
pub struct PartlyAugmented {
    /// The sample so far.
    pub image: LabelledImage,
    /// The changes that are left, which can all be made on a device.
    pub rest: DrawnChanges,
}

/// What is applied while the steps are drawn.
#[derive(Clone, Copy, PartialEq)]
enum Extent {
    /// Everything but maps at the end.
    Complete,
    /// As little as the draws need.
    Head,
}

fn has_its_turn(step: &dyn Step, own: &mut ChaCha8Rng) -> bool {
    own.random_range(0.0..1.0) < step.p()
}

fn draw(
    steps: &[Augmentation],
    image: LabelledImage,
    others: &dyn OtherImages,
    rng: &mut impl Rng,
    extent: Extent,
    is_applied: impl Fn(&dyn Step, &mut ChaCha8Rng) -> bool,
) -> PartlyAugmented {
    let mut partly = PartlyAugmented { image, rest: DrawnChanges::default() };
    for (place, step) in steps.iter().map(Augmentation::step).enumerate() {
        let mut own = ChaCha8Rng::seed_from_u64(rng.random());
        if is_applied(step, &mut own) {
            let other = |rng: &mut ChaCha8Rng| other_image(&steps[..place], others, rng);
            partly = partly.draw(step, &other, extent, &mut own);
        }
    }
    partly
}

impl PartlyAugmented {
    /// Draws one more step. What it needs to read, or what only the CPU can do, is applied.
    fn draw(
        self,
        step: &dyn Step,
        other: &dyn Fn(&mut ChaCha8Rng) -> Option<LabelledImage>,
        extent: Extent,
        own: &mut ChaCha8Rng,
    ) -> PartlyAugmented {
        let PartlyAugmented { mut image, mut rest } = self;
        if extent == Extent::Complete || !step.draws_from_size_alone() {
            image = rest.apply_all_but_last_maps(image);
        }
        let no_maps = Warp::default();
        let view = SampleView { image: &image, pending: rest.last_maps().unwrap_or(&no_maps), other };
        if let Some(change) = step.draw(&view, own) {
            rest.push(change);
        }
        if !rest.last_runs_on_device() {
            image = rest.apply_all_but_last_maps(image);
        }
        PartlyAugmented { image, rest }
    }
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
    use crate::augment::{Border, Change, DeviceImage, Operation};
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
    fn a_pair_has_one_geometry_and_two_draws_of_grey_levels() {
        let plain: Vec<f32> = (0..=255u8).map(|i| f32::from(i / 2)).collect();
        let rotate = Augmentation::ShiftScaleRotate(ShiftScaleRotate { p: 0.5, ..ShiftScaleRotate::default() });
        let flip = Augmentation::Flip(Flip::default());
        let brightness = Augmentation::BrightnessContrast(BrightnessContrast { p: 0.5, ..Default::default() });
        let pair = |steps: &[&Augmentation], seed| {
            let list = Augmentations(steps.iter().map(|step| (*step).clone()).collect());
            let image = LabelledImage::new(Size::square(16), plain.clone(), vec![0; 256]);
            list.apply_pair(image, &mut ChaCha8Rng::seed_from_u64(seed)).map(|image| image.levels)
        };
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
        assert_eq!(pair(&[], 1), [plain.clone(), plain.clone()]);
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

    /// A step of the CPU alone, which adds a number to the grey levels: 3, or the number of classes that are present.
    struct AddLabelled {
        reads_labels: bool,
    }

    struct Add(f32);

    impl Operation for Add {
        fn apply(&self, image: &mut LabelledImage) {
            image.levels.iter_mut().for_each(|v| *v = (*v + self.0).min(255.0));
        }
    }

    impl Step for AddLabelled {
        fn p(&self) -> f64 {
            1.0
        }

        fn draw(&self, view: &SampleView, _: &mut ChaCha8Rng) -> Option<Change> {
            Some(Change::operation(Add(if self.reads_labels { view.present().count_ones() as f32 } else { 3.0 })))
        }

        fn draws_from_size_alone(&self) -> bool {
            !self.reads_labels
        }

        fn violations(&self) -> Violations {
            Violations::new()
        }
    }

    fn finished_on_device(partly: &PartlyAugmented) -> (Vec<f32>, Vec<i32>) {
        let PartlyAugmented { image, rest } = partly;
        let shape = [i64::from(image.size.height), i64::from(image.size.width)];
        let words: Vec<i32> = image.words.iter().map(|w| *w as i32).collect();
        let mut on_device = DeviceImage {
            levels: tch::Tensor::from_slice(&image.levels).view(shape),
            words: tch::Tensor::from_slice(&words).view(shape),
            mixed: None,
        };
        rest.apply_on_device(&mut on_device).unwrap();
        let flat = |t: tch::Tensor| t.reshape([-1]);
        (flat(on_device.levels).try_into().unwrap(), flat(on_device.words).try_into().unwrap())
    }

    #[test]
    fn the_head_and_the_rest_on_a_device_equal_all_steps_on_the_cpu() {
        let always = |mut step: Augmentation| {
            match &mut step {
                Augmentation::Elastic(step) => step.sigma = Some(crate::augment::Amount::Fixed(5.0)),
                Augmentation::CropAround(step) => step.bones = vec!["finger-1".into()],
                _ => {}
            }
            step
        };
        let size = Size { width: 40, height: 30 };
        let levels: Vec<f32> = (0..size.pixels()).map(|i| (i % 40) as f32 * 3.0 + (i / 40) as f32).collect();
        let words: Vec<u32> = (0..size.pixels() as u32).map(|i| (i / 200) | (1 << 28) | (1 << 15)).collect();
        let image = || LabelledImage::new(size, levels.clone(), words.clone());
        let steps: Vec<Augmentation> = Augmentation::all().into_iter().map(always).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut left = 0;
        for seed in 0..60 {
            let list = Augmentations((0..4).map(|_| steps[rng.random_range(0..steps.len())].clone()).collect());
            let generator = || ChaCha8Rng::seed_from_u64(seed);
            let expected = list.apply(image(), &NoOtherImages, &mut generator());
            let partly = list.apply_head(image(), &NoOtherImages, &mut generator());
            left += usize::from(!partly.rest.is_empty());
            let (levels, words) = finished_on_device(&partly);
            let worst = levels.iter().zip(&expected.levels).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.1, "{list:?}: grey levels differ by {worst}");
            let other = words.iter().zip(&expected.words).filter(|(a, b)| **a as u32 != **b).count();
            assert!(other <= 3, "{list:?}: {other} labels differ");
        }
        assert!(left > 20, "{left}");
    }

    /// What is left after the head: nothing after a step that needs the CPU, all before the first.
    #[test]
    fn steps_of_the_cpu_and_those_before_them_are_in_the_head() {
        let image = || LabelledImage::new(Size::square(4), vec![10.0; 16], vec![5; 16]);
        let flip = Flip { p: 1.0 };
        let bright = BrightnessContrast { p: 1.0, ..BrightnessContrast::default() };
        for (steps, left) in [
            (vec![&flip as &dyn Step, &bright, &flip], "[\"maps\", \"operation\", \"maps\"]"),
            (vec![&flip, &bright, &AddLabelled { reads_labels: false }, &flip], "[\"maps\"]"),
            // The labels are read through the maps before it.
            (vec![&bright, &flip, &AddLabelled { reads_labels: true }, &bright], "[\"operation\"]"),
        ] {
            let generator = || ChaCha8Rng::seed_from_u64(7);
            let complete = steps.iter().fold(image(), |image, step| {
                let mut drawn = DrawnChanges::default();
                drawn.push(drawn_for(*step, &image, 7).unwrap());
                drawn.apply(image)
            });
            let start = PartlyAugmented { image: image(), rest: DrawnChanges::default() };
            let partly =
                steps.iter().fold(start, |partly, step| partly.draw(*step, &|_| None, Extent::Head, &mut generator()));
            assert_eq!(format!("{:?}", partly.rest), left);
            let (levels, _) = finished_on_device(&partly);
            assert!(levels.iter().zip(&complete.levels).all(|(a, b)| (a - b).abs() < 1e-3));
        }
    }
}
