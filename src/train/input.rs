use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::augment::{FittedImage, Normalisation};
use crate::closed_enum::closed_enum;
use crate::violation::Violations;

/// From a radiograph to the model's input, in training, validation and prediction. The grey levels of `window` or
/// `percentiles` are stretched over the full range, from black, 0, to white, 255, with fractions: an image of 16 bits
/// keeps all its levels. The augmentation follows, and then the normalisation: the input is `(v / 255 - mean) / sd`, with
/// one value for all input channels or one per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct InputSettings {
    /// Grey levels that become black and white, `[low, high]`, as shares of the full range (of 16 bits, of the top level
    /// of the data): levels between them are stretched, levels beyond them cut off. From 0 to 1; absent: the full range.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = [0.1, 0.9])]
    pub window: Option<[f64; 2]>,
    /// As `window`, but percentiles of the image's own grey levels at the model's size, without the black around it.
    /// From 0 to 100; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = [0.5, 99.5])]
    pub percentiles: Option<[f64; 2]>,
    /// Mean and standard deviation of the normalisation: `fixed`, those of `mean` and `sd`, or `per-image`, those of the
    /// image's own grey levels at the model's size, without the black around it and before the augmentation. Default
    /// `fixed`.
    #[serde(skip_serializing_if = "is_fixed")]
    #[schemars(example = Statistics::PerImage)]
    pub statistics: Statistics,
    /// Mean grey level as a share of the full range: one value, or one per input channel. From -1 to 1; default
    /// `[0.0]`.
    pub mean: Vec<f64>,
    /// Standard deviation of the grey levels as a share of the full range: one value, or one per input channel. Above
    /// 0; default `[1.0]`.
    pub sd: Vec<f64>,
}

closed_enum! {
    /// Where mean and standard deviation of the normalisation come from.
    #[derive(Default)]
    pub enum Statistics ("statistics") {
        /// From the settings.
        #[default]
        Fixed = "fixed",
        /// From each image.
        PerImage = "per-image",
    }
}

fn is_fixed(statistics: &Statistics) -> bool {
    *statistics == Statistics::Fixed
}

/// One level of 16 bits, as a share of the full range. Two percentiles are at least this far apart, so that levels above
/// the lower one stay different from it; a standard deviation below it counts as 1.
const LEVEL: f64 = 1.0 / 65_535.0;

/// An image as the augmentation takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct InputImage {
    /// Grey levels at the model's size, 0 to 255 with fractions, row-major.
    pub levels: Vec<f32>,
    /// The normalisation that follows the augmentation.
    pub normalisation: Normalisation,
}

impl Default for InputSettings {
    fn default() -> Self {
        let (mean, sd) = (vec![0.0], vec![1.0]);
        InputSettings { window: None, percentiles: None, statistics: Statistics::Fixed, mean, sd }
    }
}

impl InputSettings {
    /// The full range of grey levels with this mean and standard deviation.
    pub fn normalised(mean: Vec<f64>, sd: Vec<f64>) -> InputSettings {
        InputSettings { mean, sd, ..InputSettings::default() }
    }

    /// The values that are out of range for an image with `channels` channels.
    pub fn violations(&self, channels: i64) -> Violations {
        let mut wrong = Violations::new();
        for (key, range, most) in [("window", self.window, 1.0), ("percentiles", self.percentiles, 100.0)] {
            let Some([low, high]) = range else { continue };
            let fits = 0.0 <= low && low < high && high <= most;
            let expected = format!("[low, high] with 0 <= low < high <= {most}");
            wrong.expect(fits, key, format_args!("[{low}, {high}]"), expected);
        }
        if let (Some([low, high]), Some(_)) = (self.window, self.percentiles) {
            wrong.refuse(
                "window",
                format_args!("[{low}, {high}]"),
                "no value, because percentiles are set; remove one",
            );
        }
        if self.statistics == Statistics::PerImage {
            let InputSettings { mean, sd, .. } = InputSettings::default();
            for (key, values, default) in [("mean", &self.mean, mean), ("sd", &self.sd, sd)] {
                let expected = "no value, because statistics = \"per-image\"; remove the key";
                wrong.expect(*values == default, key, format_args!("{values:?}"), expected);
            }
            return wrong;
        }
        for (key, values) in [("mean", &self.mean), ("sd", &self.sd)] {
            let expected = || format!("one value, or one for each of {channels} input channels");
            let fits = values.len() == 1 || values.len() as i64 == channels;
            wrong.expect(fits, key, format_args!("{values:?}"), expected());
        }
        let (mean, sd) = (format!("{:?}", self.mean), format!("{:?}", self.sd));
        let near = self.mean.iter().all(|mean| mean.is_finite() && mean.abs() <= 1.0);
        wrong.expect(near, "mean", mean, "from -1 to 1, as a share of the full range");
        wrong.expect(self.sd.iter().all(|sd| sd.is_finite() && *sd > 0.0), "sd", sd, "above 0");
        wrong
    }

    /// The grey levels of an image as the augmentation takes them, and the normalisation after it.
    pub fn prepare(&self, image: &FittedImage) -> InputImage {
        let mut levels = image.grey().to_scaled();
        if let Some([low, high]) = self.range(image) {
            let (black, factor) = ((255.0 * low) as f32, (1.0 / (high - low).max(LEVEL)) as f32);
            levels.iter_mut().for_each(|v| *v = ((*v - black) * factor).clamp(0.0, 255.0));
        }
        let normalisation = match self.statistics {
            Statistics::Fixed => Normalisation { mean: self.mean.clone(), sd: self.sd.clone() },
            Statistics::PerImage => own_statistics(image, &levels),
        };
        InputImage { levels, normalisation }
    }

    /// The levels that become black and white, as shares of the full range.
    fn range(&self, image: &FittedImage) -> Option<[f64; 2]> {
        let of_image = |shares: [f64; 2]| {
            let (counts, top) = (image.histogram(), f64::from(image.grey().top()));
            shares.map(|share| percentile(&counts, share) / top)
        };
        self.window.or_else(|| self.percentiles.map(of_image))
    }

    /// How grey levels become the model's input, in words.
    pub fn describe(&self) -> String {
        let stretched = match (self.window, self.percentiles) {
            (Some([low, high]), _) => format!("grey from {low} to {high} of the full range as 0 to 1"),
            (None, Some([low, high])) => format!("grey between the image's percentiles {low} and {high} as 0 to 1"),
            (None, None) => "grey from 0 to 1".into(),
        };
        match self.statistics {
            Statistics::Fixed => format!("({stretched}, minus {:?}) divided by {:?}", self.mean, self.sd),
            Statistics::PerImage => {
                format!("({stretched}, minus the image's mean) divided by the image's standard deviation")
            }
        }
    }
}

/// NumPy's percentile (linear between two ranks) of values with these counts, from 0 to the number of counts.
fn percentile(counts: &[u32], percent: f64) -> f64 {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let place = percent / 100.0 * (total.saturating_sub(1)) as f64;
    let at = |rank: u64| {
        let mut below = 0;
        counts.iter().position(|count| {
            below += u64::from(*count);
            below > rank
        })
    };
    let first = at(place.floor() as u64).unwrap_or(0) as f64;
    let second = at(place.ceil() as u64).map_or(first, |level| level as f64);
    first + (second - first) * place.fract()
}

fn own_statistics(image: &FittedImage, levels: &[f32]) -> Normalisation {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for level in image.inner(levels).map(|v| f64::from(*v) / 255.0) {
        (count, sum, squares) = (count + 1.0, sum + level, squares + level * level);
    }
    let mean = sum / f64::max(count, 1.0);
    let sd = (squares / f64::max(count, 1.0) - mean * mean).max(0.0).sqrt();
    Normalisation { mean: vec![mean], sd: vec![if sd < LEVEL { 1.0 } else { sd }] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{GreyImage, Levels};
    use crate::geometry::Size;

    fn settings(text: &str) -> InputSettings {
        toml::from_str(text).unwrap()
    }

    /// A 12-bit image of 10 x 1 px in 16 x 2 px.
    fn image(levels: [u16; 10]) -> FittedImage {
        let grey = GreyImage::new(10, 1, Levels::Sixteen(levels.to_vec())).unwrap().with_top(4000);
        let fitted = FittedImage::new(grey, Size { width: 10, height: 2 });
        assert_eq!(fitted.fit().inner_height, 1);
        fitted
    }

    const RAMP: [u16; 10] = [0, 400, 800, 1200, 1600, 2000, 2400, 2800, 3200, 4000];

    fn near(found: &[f32], expected: &[f32]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3), "{found:?} {expected:?}");
    }

    #[test]
    fn a_window_is_stretched_over_the_full_range() {
        let plain = InputSettings::default().prepare(&image(RAMP));
        near(&plain.levels[..3], &[0.0, 25.5, 51.0]);
        assert_eq!(plain.normalisation, Normalisation { mean: vec![0.0], sd: vec![1.0] });
        let levels = settings("window = [0.2, 0.6]").prepare(&image(RAMP)).levels;
        near(&levels[..10], &[0.0, 0.0, 0.0, 63.75, 127.5, 191.25, 255.0, 255.0, 255.0, 255.0]);
        // Levels that 8 bits cannot distinguish are different.
        let fine = settings("window = [0.25, 0.26]").prepare(&image([1000, 1001, 1002, 1003, 0, 0, 0, 0, 0, 0])).levels;
        near(&fine[..5], &[0.0, 6.375, 12.75, 19.125, 0.0]);
    }

    #[test]
    fn percentiles_are_those_of_the_image_without_its_surroundings() {
        let mut counts = vec![0; 4001];
        RAMP.iter().for_each(|level| counts[usize::from(*level)] += 1);
        // NumPy: np.percentile(RAMP, [0, 10, 25, 50, 95, 100]).
        for (percent, expected) in
            [(0.0, 0.0), (10.0, 360.0), (25.0, 900.0), (50.0, 1800.0), (95.0, 3640.0), (100.0, 4000.0)]
        {
            assert!((percentile(&counts, percent) - expected).abs() < 1e-9, "{percent}");
        }
        let levels = settings("percentiles = [10, 95]").prepare(&image(RAMP)).levels;
        let expected = RAMP.map(|v| ((f32::from(v) - 360.0) / (3640.0 - 360.0)).clamp(0.0, 1.0) * 255.0);
        near(&levels[..10], &expected);
        assert_eq!(levels[10..], [0.0; 10]);
        // With equal percentiles, brighter levels remain brighter.
        let two = settings("percentiles = [5, 60]").prepare(&image([7, 7, 7, 7, 7, 7, 7, 7, 7, 4000])).levels;
        assert_eq!((two[0], two[9]), (0.0, 255.0));
    }

    #[test]
    fn statistics_per_image_are_those_of_the_image_without_its_surroundings() {
        let input = settings("statistics = 'per-image'");
        let of = |image: &FittedImage| input.prepare(image).normalisation;
        let shares = RAMP.map(|v| f64::from(v) / 4000.0);
        let mean = shares.iter().sum::<f64>() / 10.0;
        let sd = (shares.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 10.0).sqrt();
        let Normalisation { mean: own, sd: own_sd } = of(&image(RAMP));
        assert!((own[0] - mean).abs() < 1e-6 && (own_sd[0] - sd).abs() < 1e-6, "{own:?} {own_sd:?}");
        // An image of one level.
        let Normalisation { mean, sd } = of(&image([2000; 10]));
        assert!((mean[0] - 0.5).abs() < 1e-6 && sd == [1.0], "{mean:?} {sd:?}");
    }

    #[test]
    fn invalid_values_are_named() {
        for (text, says) in [
            ("window = [0.5, 0.5]", "window is [0.5, 0.5]; expected [low, high] with 0 <= low < high <= 1"),
            ("window = [-0.1, 0.5]", "window is [-0.1, 0.5]"),
            ("window = [10.0, 200.0]", "window is [10, 200]"),
            ("window = [nan, 0.5]", "window is [NaN, 0.5]"),
            ("percentiles = [1, 101]", "percentiles is [1, 101]; expected [low, high] with 0 <= low < high <= 100"),
            (
                "percentiles = [1, 99]\nwindow = [0.0, 0.5]",
                "window is [0, 0.5]; expected no value, because percentiles",
            ),
            ("statistics = 'per-image'\nmean = [0.4]", "mean is [0.4]; expected no value, because statistics"),
            ("statistics = 'per-image'\nsd = [0.4, 0.2, 0.1]", "sd is [0.4, 0.2, 0.1]; expected no value"),
            ("mean = [0.1, 0.2]", "mean is [0.1, 0.2]; expected one value, or one for each of 3"),
            ("sd = [0.0]", "sd is [0.0]; expected above 0"),
        ] {
            let wrong = settings(text).violations(3).to_string();
            assert!(wrong.contains(says), "{text}: {wrong}");
        }
        assert!(settings("percentiles = [0, 99.5]\nstatistics = 'per-image'").violations(1).is_empty());
        assert!(toml::from_str::<InputSettings>("statistics = 'own'").unwrap_err().to_string().contains("per-image"));
    }

    /// Files of weights of earlier versions have mean and standard deviation alone, and runs of them can be resumed.
    #[test]
    fn settings_without_new_keys_are_read_and_written_as_before() {
        let text = r#"{"mean":[0.2],"sd":[0.3]}"#;
        let read: InputSettings = serde_json::from_str(text).unwrap();
        assert_eq!(read, InputSettings::normalised(vec![0.2], vec![0.3]));
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }
}
