//! The 29 bone classes: order, groups, neighbours and colours. No other module defines them.
//!
//! The index of a bone is its channel in masks, logits and submissions. A right hand in PA view has the
//! thumb (`finger-1` to `finger-3`) on the left of the image.

use std::fmt;

/// Number of classes.
pub const COUNT: usize = 29;

/// Class names as in the annotations, in channel order.
pub const NAMES: [&str; COUNT] = [
    "finger-1",
    "finger-2",
    "finger-3",
    "finger-4",
    "finger-5",
    "finger-6",
    "finger-7",
    "finger-8",
    "finger-9",
    "finger-10",
    "finger-11",
    "finger-12",
    "finger-13",
    "finger-14",
    "finger-15",
    "finger-16",
    "finger-17",
    "finger-18",
    "finger-19",
    "Trapezium",
    "Trapezoid",
    "Capitate",
    "Hamate",
    "Scaphoid",
    "Lunate",
    "Triquetrum",
    "Pisiform",
    "Radius",
    "Ulna",
];

/// One of the 29 classes, by channel index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bone(u8);

/// The part of the hand that a bone belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BoneGroup {
    /// A finger: 0 is the thumb, 4 the little finger. Its phalanges and its metacarpal, distal first.
    Finger(u8),
    /// The eight wrist bones.
    Carpal,
    /// Radius and ulna.
    Forearm,
}

impl BoneGroup {
    /// Every group, in channel order.
    pub const ALL: [BoneGroup; 7] = [
        BoneGroup::Finger(0),
        BoneGroup::Finger(1),
        BoneGroup::Finger(2),
        BoneGroup::Finger(3),
        BoneGroup::Finger(4),
        BoneGroup::Carpal,
        BoneGroup::Forearm,
    ];

    /// Name in settings: `thumb`, `index-finger`, …, `carpal`, `forearm`.
    pub fn key(self) -> &'static str {
        const FINGERS: [&str; 5] = ["thumb", "index-finger", "middle-finger", "ring-finger", "little-finger"];
        match self {
            BoneGroup::Finger(finger) => FINGERS.get(usize::from(finger)).copied().unwrap_or("finger"),
            BoneGroup::Carpal => "carpal",
            BoneGroup::Forearm => "forearm",
        }
    }

    /// The group of a name in settings; a space may be in place of the hyphen.
    pub fn from_key(key: &str) -> Option<BoneGroup> {
        let key = key.replace(' ', "-");
        BoneGroup::ALL.into_iter().find(|group| group.key() == key)
    }

    /// The bits of its bones in a label word.
    pub fn bits(self) -> u32 {
        Bone::all().filter(|bone| bone.group() == self).map(Bone::bit).fold(0, |a, b| a | b)
    }
}

impl fmt::Display for BoneGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.key().replace('-', " "))
    }
}

impl Bone {
    /// Distal phalanx of the thumb. Its position relative to `FINGER_16` distinguishes left from right.
    pub const FINGER_1: Bone = Bone(0);
    /// Distal phalanx of the little finger: one end of the vector from which the rotation is measured.
    pub const FINGER_16: Bone = Bone(15);
    /// Capitate: positions in the anatomy table are relative to its centroid.
    pub const CAPITATE: Bone = Bone(21);
    /// Radius.
    pub const RADIUS: Bone = Bone(27);
    /// Ulna: the other end of the vector from which the rotation is measured.
    pub const ULNA: Bone = Bone(28);

    /// Every bone in channel order.
    pub fn all() -> impl ExactSizeIterator<Item = Bone> + DoubleEndedIterator + Clone {
        (0..COUNT as u8).map(Bone)
    }

    /// The bone of channel `index`, if there is one.
    pub fn from_index(index: usize) -> Option<Bone> {
        (index < COUNT).then_some(Bone(index as u8))
    }

    /// The bone with exactly this name.
    pub fn from_name(name: &str) -> Option<Bone> {
        NAMES.iter().position(|n| *n == name).map(|i| Bone(i as u8))
    }

    /// The bone with this name; case, spaces, `-` and `_` are ignored.
    pub fn read(name: &str) -> Option<Bone> {
        let read = || Bone::all().find(|bone| plain(bone.name()) == plain(name));
        Bone::from_name(name).or_else(read)
    }

    /// The bone that a misspelt name probably means: the one at the smallest edit distance, if it is the only one at
    /// that distance and at most a third of the letters differ.
    pub fn nearest(name: &str) -> Option<Bone> {
        let meant = plain(name);
        let letters = meant.chars().count();
        // Much longer than any name. The comparison takes time proportional to the product of the lengths.
        if letters > 32 {
            return None;
        }
        let mut by_distance: Vec<(usize, Bone)> =
            Bone::all().map(|bone| (strsim::osa_distance(&meant, &plain(bone.name())), bone)).collect();
        by_distance.sort();
        let [(least, bone), (next, _), ..] = by_distance[..] else { return None };
        (least < next && 3 * least <= letters).then_some(bone)
    }

    /// Channel index, 0 to 28.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Name as in annotations and submissions.
    pub fn name(self) -> &'static str {
        NAMES[self.index()]
    }

    /// The bit of this class in a label word.
    pub fn bit(self) -> u32 {
        1 << self.0
    }

    /// The part of the hand that it belongs to.
    pub fn group(self) -> BoneGroup {
        match self.0 {
            0..=2 => BoneGroup::Finger(0),
            i @ 3..=18 => BoneGroup::Finger(1 + (i - 3) / 4),
            19..=26 => BoneGroup::Carpal,
            _ => BoneGroup::Forearm,
        }
    }

    /// Bones that touch or overlap this one in a PA radiograph of a healthy hand.
    pub fn neighbours(self) -> &'static [Bone] {
        NEIGHBOURS[self.index()]
    }

    /// Outline colour, RGB: hue by group, lightness alternating within it, so that neighbours differ.
    pub fn colour(self) -> [u8; 3] {
        // One colour of Okabe and Ito's palette per group; every second bone of a group has the lighter tint.
        const BASE: [[u8; 3]; 7] = [
            [230, 159, 0],
            [86, 180, 233],
            [0, 158, 115],
            [240, 228, 66],
            [204, 121, 167],
            [213, 94, 0],
            [0, 114, 178],
        ];
        let base = BASE[match self.group() {
            BoneGroup::Finger(f) => f as usize,
            BoneGroup::Carpal => 5,
            BoneGroup::Forearm => 6,
        }];
        let tint = if self.0.is_multiple_of(2) { 0.0 } else { 0.35 };
        base.map(|v| (f64::from(v) + tint * (255.0 - f64::from(v))).round() as u8)
    }
}

impl fmt::Display for Bone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for Bone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Lower case without spaces, `-` and `_`.
fn plain(label: &str) -> String {
    let is_ignored = |c: &char| c.is_whitespace() || c.is_control() || ['-', '_', '\u{200b}', '\u{feff}'].contains(c);
    label.chars().filter(|c| !is_ignored(c)).flat_map(char::to_lowercase).collect()
}

const fn b(i: u8) -> Bone {
    Bone(i)
}

/// Neighbours by class: along each finger, metacarpals and their carpals, carpals among themselves, wrist.
const NEIGHBOURS: [&[Bone]; COUNT] = [
    &[b(1)],
    &[b(0), b(2)],
    &[b(1), b(19)],
    &[b(4)],
    &[b(3), b(5)],
    &[b(4), b(6)],
    &[b(5), b(10), b(19), b(20), b(21)],
    &[b(8)],
    &[b(7), b(9)],
    &[b(8), b(10)],
    &[b(6), b(9), b(14), b(21)],
    &[b(12)],
    &[b(11), b(13)],
    &[b(12), b(14)],
    &[b(10), b(13), b(18), b(22)],
    &[b(16)],
    &[b(15), b(17)],
    &[b(16), b(18)],
    &[b(14), b(17), b(22)],
    &[b(2), b(6), b(20), b(23)],
    &[b(6), b(19), b(21), b(23)],
    &[b(6), b(10), b(20), b(22), b(23), b(24)],
    &[b(14), b(18), b(21), b(24), b(25), b(26)],
    &[b(19), b(20), b(21), b(24), b(27)],
    &[b(21), b(22), b(23), b(25), b(27), b(28)],
    &[b(22), b(24), b(26)],
    &[b(22), b(25)],
    &[b(23), b(24), b(28)],
    &[b(24), b(27)],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_indices_agree() {
        for bone in Bone::all() {
            assert_eq!(Bone::from_name(bone.name()), Some(bone));
            assert_eq!(Bone::from_index(bone.index()), Some(bone));
        }
        assert_eq!(Bone::from_index(COUNT), None);
        assert_eq!(Bone::from_name("finger-20"), None);
        assert_eq!(Bone::FINGER_16.name(), "finger-16");
        assert_eq!(Bone::CAPITATE.name(), "Capitate");
        assert_eq!((Bone::RADIUS.name(), Bone::ULNA.name()), ("Radius", "Ulna"));
    }

    #[test]
    fn names_are_read_in_any_spelling() {
        for name in [" trapezoid", "TRAPE-ZOID", "Trapezoid"] {
            assert_eq!(Bone::read(name).unwrap().name(), "Trapezoid", "{name}");
        }
        assert_eq!(Bone::read("Finger 1"), Some(Bone::FINGER_1));
        assert_eq!((Bone::read("Elbow"), Bone::read("")), (None, None));
        let nearest = |name: &str| Bone::nearest(name).map(Bone::name);
        assert_eq!((nearest("Trapezod"), nearest("trapezuim")), (Some("Trapezoid"), Some("Trapezium")));
        // finger-2 and finger-10 are equally near.
        assert_eq!((nearest("finger-20"), nearest("Elbow"), nearest("")), (None, None, None));
    }

    #[test]
    fn groups_split_the_hand() {
        let of = |name: &str| Bone::from_name(name).unwrap().group();
        assert_eq!(of("finger-3"), BoneGroup::Finger(0));
        assert_eq!(of("finger-4"), BoneGroup::Finger(1));
        assert_eq!(of("finger-19"), BoneGroup::Finger(4));
        assert_eq!(of("Trapezium"), BoneGroup::Carpal);
        assert_eq!(of("Pisiform"), BoneGroup::Carpal);
        assert_eq!(of("Radius"), BoneGroup::Forearm);
    }

    #[test]
    fn neighbours_are_mutual() {
        for a in Bone::all() {
            for n in a.neighbours() {
                assert!(n.neighbours().contains(&a), "{a} lists {n}, not the reverse");
            }
        }
    }

    #[test]
    fn neighbours_differ_in_colour() {
        for a in Bone::all() {
            for other in Bone::all().filter(|o| o.index() > a.index()) {
                let far = a.group() != other.group() || (a.index() + 1) % 2 != other.index() % 2;
                assert!(far || a.colour() != other.colour(), "{a} {other}");
            }
        }
    }
}
