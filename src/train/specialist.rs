use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ImagePart;
use crate::augment::bones_named;
use crate::bones::Bone;
use crate::clean::{CropBox, CropShape};
use crate::geometry::Size;
use crate::mask::HandMasks;
use crate::violation::Violations;

/// A model for some bones, which sees only the part of each image around them, scaled to `size`. In training that is the
/// part around their annotations; labels of other bones are left out, and validation scores are means over these bones. In
/// prediction it is the part around the masks of another model (`carpus predict --around`), and the masks are put
/// back into the pixels of the image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SpecialistSettings {
    /// The bones: names such as `Radius`, or the groups `carpals`, `forearm`, `thumb`, `index-finger`, `middle-finger`,
    /// `ring-finger`, `little-finger` and `fingers` (each with its metacarpals). Default ["carpals"].
    pub bones: Vec<String>,
    /// Margin on each side of the box around the bones, as a share of the box's longer side; the box is cut at the
    /// image's borders. From 0 to 10; default 0.15.
    pub margin: f64,
}

impl Default for SpecialistSettings {
    fn default() -> Self {
        SpecialistSettings { bones: vec!["carpals".into()], margin: 0.15 }
    }
}

impl SpecialistSettings {
    /// The values that are out of range.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(!self.bones.is_empty(), "bones", "[]", "one bone or group, or more");
        for (place, name) in self.bones.iter().enumerate().filter(|(_, name)| bones_named(name).is_none()) {
            let meant = Bone::nearest(name).map_or(String::new(), |bone| format!("; did you mean {bone}?"));
            let expected =
                format!("a bone of `carpus list bones`, carpals, forearm, fingers or a finger's name{meant}");
            wrong.refuse(&format!("bones[{place}]"), format_args!("{name:?}"), expected);
        }
        wrong.expect((0.0..=10.0).contains(&self.margin), "margin", self.margin, "from 0 to 10");
        wrong
    }

    /// Label word with the bits of the bones.
    pub fn word(&self) -> u32 {
        self.bones.iter().filter_map(|name| bones_named(name)).fold(0, |word, bones| word | bones)
    }

    /// The bones in the order of the classes.
    pub fn bones(&self) -> impl Iterator<Item = Bone> {
        let word = self.word();
        Bone::all().filter(move |bone| word & bone.bit() != 0)
    }

    /// The part of an image around the bones in `masks`; `None` if there are none of them.
    pub fn part(&self, masks: &HandMasks) -> Option<ImagePart> {
        let bounds = self.bones().filter_map(|bone| masks[bone].bounding_box()).reduce(|a, b| a.union(&b))?;
        let margin = (self.margin * f64::from(bounds.width().max(bounds.height()))).round() as u32;
        let (width, height) = (masks.width(), masks.height());
        let area = CropBox::around(bounds, margin, CropShape::Tight, width, height);
        Some(ImagePart { area, image: Size { width, height }, bones: self.word() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PixelBox;
    use crate::mask::RunMask;

    fn hand() -> HandMasks {
        let mut masks = HandMasks::empty(100, 60);
        let rectangle =
            |x: i32, y: i32| RunMask::from_polygon(&[[x, y], [x + 9, y], [x + 9, y + 4], [x, y + 4]], 100, 60);
        for (name, x, y) in [("Hamate", 40, 20), ("Lunate", 50, 30), ("Radius", 0, 50), ("Pisiform", 80, 55)] {
            masks.set(Bone::from_name(name).unwrap(), rectangle(x, y)).unwrap();
        }
        masks
    }

    #[test]
    fn the_part_contains_the_bones_and_the_way_back_is_exact() {
        let carpals = SpecialistSettings { margin: 0.1, ..SpecialistSettings::default() };
        assert_eq!((carpals.bones().count(), carpals.violations().is_empty()), (8, true));
        let masks = hand();
        let part = carpals.part(&masks).unwrap();
        // The box is 50 x 40 px from (40, 20); the margin of 5 px is cut at the bottom.
        assert_eq!(part.area, CropBox { x: 35, y: 15, width: 60, height: 45 });
        let inside = part.masks_in(&masks);
        let hamate = Bone::from_name("Hamate").unwrap();
        assert_eq!((inside.width(), inside.height()), (60, 45));
        let expected = PixelBox { x_min: 5, y_min: 5, x_max: 14, y_max: 9 };
        assert_eq!(inside[hamate].bounding_box(), Some(expected));
        let back = part.masks_back(&inside);
        for (bone, mask) in masks.iter() {
            assert_eq!(back[bone], if bone == Bone::RADIUS { RunMask::empty(100, 60) } else { mask.clone() }, "{bone}");
        }
        let radius = SpecialistSettings { bones: vec!["Radius".into()], margin: 10.0 };
        assert_eq!(radius.part(&masks).unwrap().area, CropBox { x: 0, y: 0, width: 100, height: 60 });
        assert!(SpecialistSettings { bones: vec!["thumb".into()], margin: 0.0 }.part(&masks).is_none());
    }

    #[test]
    fn invalid_values_are_named() {
        let bones = ["carpals", "Pisiforn", "elbow"].map(str::to_owned).to_vec();
        let wrong = SpecialistSettings { bones, margin: -1.0 }.violations();
        let keys: Vec<&str> = wrong.iter().map(|v| v.key.as_str()).collect();
        assert_eq!(keys, ["bones[1]", "bones[2]", "margin"]);
        assert!(wrong.to_string().contains("did you mean Pisiform?"), "{wrong}");
        let none = SpecialistSettings { bones: vec![], margin: f64::NAN }.violations();
        assert_eq!(none.iter().count(), 2);
    }
}
