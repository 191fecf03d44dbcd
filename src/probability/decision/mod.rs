//! Masks from probabilities: the rules of a decision and their order.

mod components;
mod least_area;
mod per_bone;
mod ranked;
mod settings;

pub use components::Components;
pub use least_area::LeastArea;
pub use per_bone::PerBone;
pub use ranked::ranked_mask;
pub use settings::{DecisionMethod, DecisionSettings, TripletSettings};

use super::{ImageProbabilities, ProbabilityMap};
use crate::bones::Bone;
use crate::mask::{HandMasks, MaskError, RunMask};

impl DecisionSettings {
    /// The masks of an image. Per class, in this order:
    /// 1. `triplet`: is the class present?
    /// 2. `method` with `threshold`, and `hysteresis`: its pixels
    /// 3. `fill-holes`
    /// 4. `min-area`: smaller components are removed
    /// 5. `components`: only the largest are kept
    ///
    /// # Errors
    /// The maps differ in size, or there is not one per class.
    ///
    /// # Panics
    /// If `min-area` is `"auto"`: set it first, see [`DecisionSettings::with_least_areas`].
    pub fn masks(&self, image: &ImageProbabilities) -> Result<HandMasks, MaskError> {
        if image.maps.len() != Bone::all().len() {
            return Err(MaskError::Count { found: image.maps.len() });
        }
        HandMasks::new(Bone::all().map(|bone| self.mask(bone, &image.maps[bone.index()])).collect())
    }

    /// The mask of one class.
    ///
    /// # Panics
    /// As [`DecisionSettings::masks`].
    pub fn mask(&self, bone: Bone, map: &ProbabilityMap) -> RunMask {
        let size = map.size();
        if self.triplet.as_ref().is_some_and(|triplet| !triplet.is_present(bone, map)) {
            return RunMask::empty(size.width, size.height);
        }
        let mut mask = self.drawn(bone, map);
        if self.fill_holes {
            mask = mask.filled();
        }
        let least = match &self.min_area {
            None => 0.0,
            Some(LeastArea::Each(areas)) => areas.of(bone),
            Some(LeastArea::Auto) => panic!("min-area is \"auto\" and was not set from the training images"),
        };
        let most = match self.components {
            Components::All => usize::MAX,
            Components::Largest(n) => n as usize,
        };
        if least <= 1.0 && most == usize::MAX {
            return mask;
        }
        united(&mask, mask.components().into_iter().filter(|part| part.area() as f64 >= least).take(most))
    }

    fn drawn(&self, bone: Bone, map: &ProbabilityMap) -> RunMask {
        let threshold = self.threshold.of(bone) as f32;
        let mask = match self.method {
            DecisionMethod::Threshold => map.mask(threshold),
            DecisionMethod::Ranked => return ranked_mask(map, threshold),
        };
        match &self.hysteresis {
            Some(low) => {
                let low = map.mask(low.of(bone) as f32);
                let touches = |part: &RunMask| part.overlap(&mask).expect("both have the map's size") > 0;
                united(&low, low.components().into_iter().filter(touches))
            }
            None => mask,
        }
    }
}

impl TripletSettings {
    fn is_present(&self, bone: Bone, map: &ProbabilityMap) -> bool {
        map.area(self.top.of(bone) as f32) as f64 >= self.pixels.of(bone)
    }
}

/// The union of some components of `mask`.
fn united(mask: &RunMask, parts: impl Iterator<Item = RunMask>) -> RunMask {
    let parts: Vec<RunMask> = parts.collect();
    let parts: Vec<&RunMask> = parts.iter().collect();
    if parts.is_empty() {
        return RunMask::empty(mask.width(), mask.height());
    }
    RunMask::vote(&parts, 1).expect("components have the mask's size")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones;
    use crate::geometry::Size;
    use crate::probability::MapBuilder;

    fn map(rows: &[&[f32]]) -> ProbabilityMap {
        let mut builder = MapBuilder::new(Size { width: rows[0].len() as u32, height: rows.len() as u32 });
        rows.iter().for_each(|row| builder.push_row(row));
        builder.finish()
    }

    /// Two islands: a ring with a hole that reaches .9, and a spot of .6; around them .3.
    fn islands() -> ProbabilityMap {
        map(&[
            &[0.3, 0.6, 0.6, 0.6, 0.0, 0.3, 0.0],
            &[0.0, 0.6, 0.1, 0.9, 0.0, 0.6, 0.0],
            &[0.0, 0.6, 0.6, 0.6, 0.0, 0.3, 0.3],
            &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[0.3, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0],
        ])
    }

    fn area(toml: &str) -> u64 {
        let settings: DecisionSettings = toml::from_str(toml).unwrap();
        assert_eq!(settings.violations().to_string(), crate::violation::Violations::new().to_string());
        settings.mask(Bone::ULNA, &islands()).area()
    }

    #[test]
    fn each_rule_computed_by_hand() {
        assert_eq!(area(""), 9);
        assert_eq!(area("threshold = 0.7"), 1);
        assert_eq!(area("threshold = { forearm = 0.25, default = 0.7 }"), 15);
        // The low pixels that touch no pixel above the threshold stay out.
        assert_eq!(area("hysteresis = 0.25"), 13);
        assert_eq!(area("threshold = 0.7\nhysteresis = 0.25"), 9);
        assert_eq!(area("fill-holes = true"), 10);
        assert_eq!(area("components = 'largest'"), 8);
        assert_eq!(area("components = 2"), 9);
        assert_eq!(area("min-area = 2"), 8);
        // The hole is filled before areas are compared.
        assert_eq!(area("min-area = 9"), 0);
        assert_eq!(area("min-area = 9\nfill-holes = true"), 9);
        assert_eq!(area("triplet = { top = 0.8, pixels = 1 }"), 9);
        assert_eq!(area("triplet = { top = 0.8, pixels = 2 }"), 0);
    }

    #[test]
    fn masks_of_an_image_are_those_of_its_classes() {
        let image = ImageProbabilities { image_name: "a.png".into(), maps: vec![islands(); bones::COUNT] };
        let settings = DecisionSettings::default();
        let masks = settings.masks(&image).unwrap();
        assert!(masks.iter().all(|(_, mask)| *mask == islands().mask(0.5)));
        let short = ImageProbabilities { maps: vec![islands(); 3], ..image };
        assert_eq!(settings.masks(&short), Err(MaskError::Count { found: 3 }));
    }
}
