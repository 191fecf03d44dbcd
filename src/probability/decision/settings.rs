use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Components, LeastArea, PerBone};
use crate::bones::Bone;
use crate::closed_enum::closed_enum;
use crate::probability::LEAST;
use crate::settings_file::{self, SettingsFileError};
use crate::violation::Violations;

closed_enum! {
    /// How the pixels of a class are chosen.
    pub enum DecisionMethod ("method") {
        /// The pixels whose probability is at least `threshold`.
        Threshold = "threshold",
        /// The most probable pixels, as many as maximise the expected Dice; see [`super::ranked_mask`].
        Ranked = "ranked",
    }
}

/// How masks are made of probabilities. Numbers are given for all bones, or as a table by bone or group with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DecisionSettings {
    /// `threshold`: the pixels from `threshold` on. `ranked`: the most probable pixels, as many as maximise the expected
    /// Dice of the class (RankSEG, reciprocal moment approximation).
    pub method: DecisionMethod,
    /// Probability from which a pixel is set. With `method = "ranked"`: a class is empty unless a pixel's probability
    /// exceeds it.
    pub threshold: PerBone,
    /// Lower threshold: components of the pixels from it on are set if they have a pixel from `threshold` on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hysteresis: Option<PerBone>,
    /// A class is present only if enough pixels are very probable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub triplet: Option<TripletSettings>,
    /// Fill holes: background that is enclosed by the mask.
    pub fill_holes: bool,
    /// Components with fewer pixels are removed, in px at the image's original size. `"auto"`: half of the least annotated
    /// area of the bone among the training images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_area: Option<LeastArea>,
    /// Components that are kept: `all`, `largest`, or the n largest.
    pub components: Components,
}

/// The first two numbers of the triplet rule of the winners of SIIM-ACR Pneumothorax Segmentation; the third is
/// `threshold`, which draws a class that is present.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TripletSettings {
    /// Probability of the pixels that show that a class is present.
    pub top: PerBone,
    /// The least number of these pixels, in px at the image's original size.
    pub pixels: PerBone,
}

impl Default for DecisionSettings {
    fn default() -> Self {
        DecisionSettings {
            method: DecisionMethod::Threshold,
            threshold: PerBone::All(0.5),
            hysteresis: None,
            triplet: None,
            fill_holes: false,
            min_area: None,
            components: Components::All,
        }
    }
}

/// The content of a decision file: the table `[decision]`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    decision: DecisionSettings,
}

impl DecisionSettings {
    /// Reads the table `[decision]` of a TOML file.
    ///
    /// # Errors
    /// The file cannot be read, has other content, or has invalid values.
    pub fn read(path: &Path) -> Result<DecisionSettings, SettingsFileError> {
        let violations = |file: &File| {
            let mut wrong = Violations::new();
            wrong.inside("decision", file.decision.violations());
            wrong
        };
        settings_file::read(path, violations).map(|file: File| file.decision)
    }

    /// The settings as the content of a TOML file.
    pub fn to_toml(&self) -> String {
        toml::to_string(&File { decision: self.clone() }).expect("settings are tables, texts and numbers")
    }

    /// Whether the least areas are those of the training images, which [`DecisionSettings::with_least_areas`] sets.
    pub fn needs_least_areas(&self) -> bool {
        self.min_area == Some(LeastArea::Auto)
    }

    /// The same with these least areas in px, one per bone, in place of `"auto"`.
    ///
    /// # Panics
    /// If there are not 29 areas.
    #[must_use]
    pub fn with_least_areas(self, areas: &[f64]) -> DecisionSettings {
        match self.min_area {
            Some(LeastArea::Auto) => DecisionSettings { min_area: Some(LeastArea::Each(PerBone::each(areas))), ..self },
            _ => self,
        }
    }

    /// Values that are outside their range or do not fit each other.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        expect_probabilities(&mut wrong, "threshold", &self.threshold);
        if let Some(low) = &self.hysteresis {
            expect_probabilities(&mut wrong, "hysteresis", low);
            if self.method == DecisionMethod::Ranked {
                wrong.refuse(
                    "hysteresis",
                    "set",
                    "no hysteresis with method \"ranked\", which has no threshold of pixels",
                );
            }
            let above = Bone::all().find(|bone| low.of(*bone) >= self.threshold.of(*bone));
            if let Some(bone) = above {
                let most = self.threshold.of(bone);
                wrong.refuse(
                    "hysteresis",
                    format!("{} for {bone}", low.of(bone)),
                    format!("below its threshold {most}"),
                );
            }
        }
        if let Some(triplet) = &self.triplet {
            expect_probabilities(&mut wrong, "triplet.top", &triplet.top);
            expect_areas(&mut wrong, "triplet.pixels", &triplet.pixels);
            let below = Bone::all().find(|bone| triplet.top.of(*bone) < self.threshold.of(*bone));
            if let Some(bone) = below {
                let (top, least) = (triplet.top.of(bone), self.threshold.of(bone));
                wrong.refuse("triplet.top", format!("{top} for {bone}"), format!("its threshold {least} or more"));
            }
        }
        if let Some(LeastArea::Each(area)) = &self.min_area {
            expect_areas(&mut wrong, "min-area", area);
        }
        wrong
    }
}

fn expect_probabilities(wrong: &mut Violations, key: &str, numbers: &PerBone) {
    let range = f64::from(LEAST)..=1.0;
    for (name, number) in numbers.given() {
        wrong.expect(range.contains(&number), &joined(key, name), number, format!("from {LEAST} to 1"));
    }
}

fn expect_areas(wrong: &mut Violations, key: &str, numbers: &PerBone) {
    for (name, number) in numbers.given() {
        wrong.expect(number.is_finite() && number >= 0.0, &joined(key, name), number, "0 or more pixels");
    }
}

fn joined(key: &str, name: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{key}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<DecisionSettings, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decision.toml");
        std::fs::write(&path, text).unwrap();
        DecisionSettings::read(&path).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(read("[decision]").unwrap(), DecisionSettings::default());
        let settings = DecisionSettings {
            threshold: PerBone::each(&[0.45; crate::bones::COUNT]),
            hysteresis: Some(PerBone::All(0.2)),
            triplet: Some(TripletSettings { top: PerBone::All(0.75), pixels: PerBone::All(50.0) }),
            fill_holes: true,
            min_area: Some(LeastArea::Each(PerBone::All(20.0))),
            components: Components::Largest(2),
            ..DecisionSettings::default()
        };
        assert_eq!(read(&settings.to_toml()).unwrap(), settings);
        let auto = read("[decision]\nmin-area = 'auto'").unwrap();
        assert!(auto.needs_least_areas() && !settings.needs_least_areas());
        assert_eq!(read(&auto.to_toml()).unwrap(), auto);
        let areas: Vec<f64> = (0..crate::bones::COUNT).map(|i| i as f64).collect();
        let resolved = auto.with_least_areas(&areas);
        assert_eq!(resolved.min_area, Some(LeastArea::Each(PerBone::each(&areas))));
        assert_eq!(settings.clone().with_least_areas(&areas), settings);
    }

    #[test]
    fn invalid_files_are_refused_with_the_key() {
        for (text, expected) in [
            ("[decision]\nthreshhold = 0.5", "unknown field `threshhold`"),
            ("[decision]\nthreshold = 0.0", "decision.threshold is 0; expected from 0.001953125 to 1"),
            ("[decision]\nthreshold = { carpal = 2, default = 0.5 }", "decision.threshold.carpal is 2; expected from"),
            (
                "[decision]\nhysteresis = 0.6",
                "decision.hysteresis is 0.6 for finger-1; expected below its threshold 0.5",
            ),
            ("[decision]\nmethod = 'ranked'\nhysteresis = 0.3", "no hysteresis with method"),
            ("[decision]\nmethod = 'rank'", "did you mean ranked?"),
            (
                "[decision]\ntriplet = { top = 0.3, pixels = 9 }",
                "decision.triplet.top is 0.3 for finger-1; expected its",
            ),
            ("[decision]\nmin-area = 'small'", "expected \"auto\", a number, or a table by bone or group"),
            ("[decision]\nmin-area = -1", "decision.min-area is -1; expected 0 or more pixels"),
            ("threshold = 0.5", "unknown field `threshold`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected) && error.contains("decision.toml: "), "{text}: {error}");
        }
    }
}
