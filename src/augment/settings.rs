use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::Border;
use crate::geometry::{Affine, Model};

/// What is done to training samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct AugmentSettings {
    /// Probability of a flip left to right.
    pub flip: f64,
    /// Shift, scale and rotation about the centre.
    pub shift_scale_rotate: ShiftScaleRotate,
    /// Brightness and contrast.
    pub brightness_contrast: BrightnessContrast,
    /// What lies outside the image.
    pub border: Border,
}

/// Uniform shift, scale and rotation about the centre, as albumentations' `ShiftScaleRotate` draws them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftScaleRotate {
    /// Probability.
    pub p: f64,
    /// Most that the image moves each way, as a share of its side.
    pub shift: f64,
    /// Scale from `1 - scale` to `1 + scale`.
    pub scale: f64,
    /// Rotation from `-rotate` to `rotate` degrees.
    pub rotate: f64,
}

/// `v * (1 + c) + 255 b` with uniform `c` and `b`, as albumentations' `RandomBrightnessContrast`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrightnessContrast {
    /// Probability.
    pub p: f64,
    /// Largest |b|, as a share of the full range.
    pub brightness: f64,
    /// Largest |c|.
    pub contrast: f64,
}

impl Default for AugmentSettings {
    fn default() -> Self {
        AugmentSettings {
            flip: 0.5,
            shift_scale_rotate: ShiftScaleRotate::default(),
            brightness_contrast: BrightnessContrast::default(),
            border: Border::Black,
        }
    }
}

impl Default for ShiftScaleRotate {
    fn default() -> Self {
        ShiftScaleRotate { p: 0.5, shift: 0.0625, scale: 0.1, rotate: 45.0 }
    }
}

impl Default for BrightnessContrast {
    fn default() -> Self {
        BrightnessContrast { p: 0.0, brightness: 0.2, contrast: 0.2 }
    }
}

impl AugmentSettings {
    /// Nothing is done.
    pub fn none() -> Self {
        let mut none = AugmentSettings { flip: 0.0, ..Default::default() };
        none.shift_scale_rotate.p = 0.0;
        none
    }

    /// `(key, found, expected)` of the first setting out of range.
    pub fn validate(&self) -> Result<(), (&'static str, f64, &'static str)> {
        let (ssr, bc) = (&self.shift_scale_rotate, &self.brightness_contrast);
        for (key, p) in [("flip", self.flip), ("shift-scale-rotate.p", ssr.p), ("brightness-contrast.p", bc.p)] {
            if !(0.0..=1.0).contains(&p) {
                return Err((key, p, "a probability from 0 to 1"));
            }
        }
        for (key, v) in [
            ("shift-scale-rotate.shift", ssr.shift),
            ("shift-scale-rotate.scale", ssr.scale),
            ("brightness-contrast.brightness", bc.brightness),
            ("brightness-contrast.contrast", bc.contrast),
        ] {
            if !(0.0..1.0).contains(&v) {
                return Err((key, v, "a share from 0 to below 1"));
            }
        }
        if !(0.0..=180.0).contains(&ssr.rotate) {
            return Err(("shift-scale-rotate.rotate", ssr.rotate, "degrees from 0 to 180"));
        }
        Ok(())
    }
}

/// What chance decided for one sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Mirrored left to right, before all else.
    pub flip: bool,
    /// Degrees, positive clockwise as seen (y is down).
    pub rotate: f64,
    /// 1 keeps the size.
    pub scale: f64,
    /// Share of the side, to the right.
    pub shift_x: f64,
    /// Share of the side, down.
    pub shift_y: f64,
    /// Added, as a share of the full range.
    pub brightness: f64,
    /// Factor less 1.
    pub contrast: f64,
}

impl Draw {
    /// Draws a sample's augmentation. As many random numbers are used whatever the settings, so that switching
    /// one step on leaves the others as they were.
    pub fn new(settings: &AugmentSettings, rng: &mut impl Rng) -> Draw {
        let mut unit = || rng.random_range(0.0..1.0f64);
        let chances: [f64; 3] = std::array::from_fn(|_| unit());
        let values: [f64; 6] = std::array::from_fn(|_| 2.0 * unit() - 1.0);
        let (ssr, bc) = (&settings.shift_scale_rotate, &settings.brightness_contrast);
        let moved = f64::from(chances[1] < ssr.p);
        let lit = f64::from(chances[2] < bc.p);
        Draw {
            flip: chances[0] < settings.flip,
            rotate: moved * values[0] * ssr.rotate,
            scale: 1.0 + moved * values[1] * ssr.scale,
            shift_x: moved * values[2] * ssr.shift,
            shift_y: moved * values[3] * ssr.shift,
            brightness: lit * values[4] * bc.brightness,
            contrast: lit * values[5] * bc.contrast,
        }
    }

    /// From a pixel of the augmented square of `size` to where it is read in the original.
    pub fn source_from_target(&self, size: u32) -> Affine<Model, Model> {
        let side = f64::from(size);
        let centre = (side - 1.0) / 2.0;
        let flip = if self.flip { -1.0 } else { 1.0 };
        let (sin, cos) = self.rotate.to_radians().sin_cos();
        let to_centre = Affine::<Model, Model>::shift(-centre, -centre);
        let flipped = Affine::<Model, Model>::scale_shift(flip, 1.0, 0.0, 0.0);
        let turned = Affine::<Model, Model>::new([
            self.scale * cos,
            -self.scale * sin,
            0.0,
            self.scale * sin,
            self.scale * cos,
            0.0,
        ]);
        let back = Affine::<Model, Model>::shift(centre + self.shift_x * side, centre + self.shift_y * side);
        let target_from_source: Affine<Model, Model> = to_centre.then(&flipped).then(&turned).then(&back);
        target_from_source.inverse().expect("a scale above 0 can be undone")
    }

    /// Whether the geometry is left as it is.
    pub fn is_still(&self) -> bool {
        !self.flip && self.rotate == 0.0 && self.scale == 1.0 && self.shift_x == 0.0 && self.shift_y == 0.0
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::geometry::Point;

    const STILL: Draw =
        Draw { flip: false, rotate: 0.0, scale: 1.0, shift_x: 0.0, shift_y: 0.0, brightness: 0.0, contrast: 0.0 };

    #[test]
    fn maps_by_hand() {
        // A flip reads column 0 at the last column.
        let flip = Draw { flip: true, ..STILL }.source_from_target(64);
        assert!(flip.apply(Point::new(0.0, 5.0)).distance(Point::new(63.0, 5.0)) < 1e-9);
        // A quarter turn clockwise brings what was at the top to the right.
        let turn = Draw { rotate: 90.0, ..STILL }.source_from_target(65);
        assert!(turn.apply(Point::new(64.0, 32.0)).distance(Point::new(32.0, 0.0)) < 1e-9);
        // A shift by a quarter to the right reads a quarter to the left.
        let shift = Draw { shift_x: 0.25, ..STILL }.source_from_target(64);
        assert!(shift.apply(Point::new(20.0, 7.0)).distance(Point::new(4.0, 7.0)) < 1e-9);
    }

    #[test]
    fn switching_one_step_leaves_the_others() {
        let mut settings = AugmentSettings::default();
        settings.shift_scale_rotate.p = 1.0;
        let a = Draw::new(&settings, &mut ChaCha8Rng::seed_from_u64(1));
        settings.brightness_contrast.p = 1.0;
        let b = Draw::new(&settings, &mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!((a.flip, a.rotate, a.scale, a.shift_x), (b.flip, b.rotate, b.scale, b.shift_x));
        assert!(b.contrast != 0.0 && a.contrast == 0.0 && a.rotate != 0.0);
        let none = Draw::new(&AugmentSettings::none(), &mut ChaCha8Rng::seed_from_u64(1));
        assert!(none.is_still());
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let mut settings = AugmentSettings::default();
        settings.shift_scale_rotate.scale = 1.0;
        assert_eq!(settings.validate().unwrap_err().0, "shift-scale-rotate.scale");
    }
}
