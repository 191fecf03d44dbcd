use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Amount, Border, Change, Geometry, SampleView, Step, expect_share};
use crate::bones::{Bone, BoneGroup};
use crate::geometry::{Affine, Point, Size};
use crate::violation::Violations;

/// Names of groups of bones.
const GROUPS: [(&str, &[BoneGroup]); 8] = [
    ("carpals", &[BoneGroup::Carpal]),
    ("forearm", &[BoneGroup::Forearm]),
    ("thumb", &[BoneGroup::Finger(0)]),
    ("index-finger", &[BoneGroup::Finger(1)]),
    ("middle-finger", &[BoneGroup::Finger(2)]),
    ("ring-finger", &[BoneGroup::Finger(3)]),
    ("little-finger", &[BoneGroup::Finger(4)]),
    (
        "fingers",
        &[BoneGroup::Finger(0), BoneGroup::Finger(1), BoneGroup::Finger(2), BoneGroup::Finger(3), BoneGroup::Finger(4)],
    ),
];

/// A crop around some bones, with the aspect ratio of the sample and scaled to its size. A sample without any of the
/// bones is not changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CropAround {
    /// Probability of the step, 0 to 1. Default 0.5.
    pub p: f64,
    /// Bones in the crop: names such as `Radius`, or the groups `carpals`, `forearm`, `thumb`, `index-finger`,
    /// `middle-finger`, `ring-finger`, `little-finger` and `fingers` (each with its metacarpals). Default
    /// ["carpals"].
    pub bones: Vec<String>,
    /// Margin on each side of the box around the bones, as a share of the box's side. From 0 to 10; default
    /// [0.1, 0.3].
    pub margin: Amount,
    /// Greatest shift of the crop in each direction, as a share of its side, drawn uniformly. From 0 to below 1;
    /// default 0.05. With more than the margin, parts of the bones can be cut off.
    pub jitter: f64,
    /// Pixels outside the image: `black` (without labels), or `reflect` (the image mirrored at its edge). Default
    /// `black`.
    pub border: Border,
}

impl Default for CropAround {
    fn default() -> Self {
        CropAround {
            p: 0.5,
            bones: vec!["carpals".into()],
            margin: Amount::Between([0.1, 0.3]),
            jitter: 0.05,
            border: Border::Black,
        }
    }
}

/// Label word with the bits of a bone or a group of bones; `None` if there is none of this name.
pub fn bones_named(name: &str) -> Option<u32> {
    match GROUPS.iter().find(|(group, _)| *group == name) {
        Some((_, groups)) => {
            Some(Bone::all().filter(|bone| groups.contains(&bone.group())).map(Bone::bit).fold(0, |a, b| a | b))
        }
        None => Bone::read(name).map(Bone::bit),
    }
}

impl Step for CropAround {
    fn p(&self) -> f64 {
        self.p
    }

    fn draw(&self, view: &SampleView, rng: &mut ChaCha8Rng) -> Option<Change> {
        let [x, y] = [(); 2].map(|()| self.jitter * rng.random_range(-1.0..=1.0));
        let part = 1.0 + 2.0 * self.margin.draw(rng);
        let (low, high) = view.bounds(self.bones.iter().filter_map(|name| bones_named(name)).fold(0, |a, b| a | b))?;
        let Size { width, height } = view.size();
        let [width, height] = [width, height].map(f64::from);
        let scale = part * ((high.x - low.x + 1.0) / width).max((high.y - low.y + 1.0) / height);
        let from = Point::new((low.x + high.x) / 2.0 + x * scale * width, (low.y + high.y) / 2.0 + y * scale * height);
        let centre = view.size().centre();
        let map = Affine::scale_shift(scale, scale, from.x - scale * centre.x, from.y - scale * centre.y);
        Some(Change::Geometry { source_from_target: Geometry::Affine(map), border: Some(self.border) })
    }

    fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(!self.bones.is_empty(), "bones", "[]", "at least one bone or group of bones");
        for name in self.bones.iter().filter(|name| bones_named(name).is_none()) {
            let groups = GROUPS.map(|(group, _)| group).join(", ");
            wrong.refuse("bones", format!("\"{name}\""), format!("names of bones, or {groups}"));
        }
        self.margin.expect(&mut wrong, "margin", |v| (0.0..=10.0).contains(&v), "a share of the box from 0 to 10");
        expect_share(&mut wrong, "jitter", self.jitter);
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augment::LabelledImage;
    use crate::augment::list::tests::drawn_for;

    /// Radius in columns 10 to 19 and rows 30 to 34, Ulna at one pixel.
    fn image() -> LabelledImage {
        let size = Size { width: 100, height: 50 };
        let mut words = vec![0; size.pixels()];
        for y in 30..35 {
            words[y * 100 + 10..y * 100 + 20].fill(Bone::RADIUS.bit());
        }
        words[40 * 100 + 60] = Bone::ULNA.bit();
        LabelledImage::new(size, vec![0.0; size.pixels()], words)
    }

    fn around(bones: &[&str], margin: f64, jitter: f64) -> CropAround {
        let bones = bones.iter().map(|name| (*name).to_owned()).collect();
        CropAround { bones, margin: Amount::Fixed(margin), jitter, ..CropAround::default() }
    }

    fn corners(step: &CropAround, seed: u64) -> Option<[Point; 2]> {
        let Change::Geometry { source_from_target, .. } = drawn_for(step, &image(), seed)? else { panic!("a map") };
        // The outer corners of the corner pixels.
        Some([Point::new(-0.5, -0.5), Point::new(99.5, 49.5)].map(|p| source_from_target.apply(p)))
    }

    #[test]
    fn crops_by_hand() {
        // The box is 10 x 5, as the sample: it fills the result.
        let [first, last] = corners(&around(&["Radius"], 0.0, 0.0), 1).unwrap();
        assert!(first.distance(Point::new(9.5, 29.5)) < 1e-9 && last.distance(Point::new(19.5, 34.5)) < 1e-9);
        // Columns 10 to 60 and rows 30 to 40 with a quarter more on each side: 76.5 columns and 38.25 rows.
        let [first, last] = corners(&around(&["forearm"], 0.25, 0.0), 1).unwrap();
        assert!((last.x - first.x - 76.5).abs() < 1e-9 && (last.y - first.y - 38.25).abs() < 1e-9);
        assert!(((first.x + last.x) / 2.0 - 35.0).abs() < 1e-9 && ((first.y + last.y) / 2.0 - 35.0).abs() < 1e-9);
        assert!(corners(&around(&["carpals", "finger-3"], 0.1, 0.0), 1).is_none());
        let jitter = |seed| corners(&around(&["ulna"], 0.5, 0.1), seed).unwrap().map(|p| p.x);
        let drawn: Vec<f64> = (0..4000)
            .map(jitter)
            .map(|[first, last]| (((first + last) / 2.0 - 60.0) / (last - first) / 0.1).clamp(-1.0, 1.0))
            .collect();
        crate::augment::list::tests::assert_uniform(&drawn);
    }

    #[test]
    fn unknown_bones_are_refused() {
        let refused = around(&["carpals", "wrist"], -0.1, 1.0);
        let texts: Vec<String> = refused.violations().iter().map(ToString::to_string).collect();
        assert!(texts[0].starts_with("bones is \"wrist\"; expected names of bones, or carpals, forearm,"), "{texts:?}");
        assert_eq!(texts.len(), 3);
        assert_eq!(around(&[], 0.1, 0.1).violations().iter().count(), 1);
        let all = GROUPS.iter().take(7).map(|(name, _)| bones_named(name).unwrap()).fold(0, |a, b| a ^ b);
        assert_eq!(all, (1 << 29) - 1);
        assert_eq!(bones_named("fingers").unwrap(), (1 << 19) - 1);
    }
}
