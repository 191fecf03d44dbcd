use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tch::{Kind, TchError, Tensor};

use crate::bones::{self, Bone};
use crate::violation::Violations;

/// Most pairs: a label word of 32 bits has three bits after those of the bones.
pub const MOST_PAIRS: usize = 32 - bones::COUNT;

/// Pairs of overlapping bones. The pixels that both bones of a pair have are a class of their own, with its own bit in
/// label words and its own channel in the logits, both after those of the 29 bones. The bones keep their bits there, so that
/// each still learns its whole outline. In prediction the channels fold back into the 29: the logit of a bone is the
/// greatest of its own and those of its pairs, so a pair can add pixels to both bones and never removes any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BonePairs(Vec<[Bone; 2]>);

impl BonePairs {
    /// These pairs; see [`BonePairs::violations`].
    pub fn new(pairs: Vec<[Bone; 2]>) -> BonePairs {
        BonePairs(pairs)
    }

    /// The pairs in the order of their channels.
    pub fn as_slice(&self) -> &[[Bone; 2]] {
        &self.0
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Too many pairs, a bone with itself, and pairs that are there twice.
    pub fn violations(&self) -> Violations {
        let mut wrong = Violations::new();
        wrong.expect(self.len() <= MOST_PAIRS, "pairs", format_args!("{} pairs", self.len()), "3 pairs at most");
        for (place, [a, b]) in self.0.iter().enumerate() {
            let key = format!("pairs[{place}]");
            let found = format!("[\"{a}\", \"{b}\"]");
            wrong.expect(a != b, &key, &found, "two different bones");
            let same = |other: &[Bone; 2]| other == &[*a, *b] || other == &[*b, *a];
            if let Some(first) = self.0[..place].iter().position(same) {
                wrong.refuse(&key, &found, format!("another pair than pairs[{first}]"));
            }
        }
        wrong
    }

    /// The label words `words`, `[B, H, W]` with bit c = bone c, with the bits of the pairs. Call it when the words are
    /// final: a step that moves, mixes or removes bones changes where they overlap.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn marked(&self, words: &Tensor) -> Result<Tensor, TchError> {
        let mut marked = words.shallow_clone();
        for (place, [a, b]) in self.0.iter().enumerate() {
            let has = |bone: &Bone| words.f_bitwise_right_shift_tensor_scalar(bone.index() as i64);
            // A product, because the bit may be the sign of the word.
            let bit = i64::from((1u32 << (bones::COUNT + place)) as i32);
            let both = has(a)?.f_bitwise_and_tensor(&has(b)?)?.f_bitwise_and(1)?;
            marked = marked.f_bitwise_or_tensor(&both.f_mul_scalar(bit)?.f_to_kind(Kind::Int)?)?;
        }
        Ok(marked)
    }

    /// The logits of the 29 bones, `[B, 29, H, W]`, from those of all channels, `[B, 29 + pairs, H, W]`.
    ///
    /// # Errors
    /// libtorch reports an error, as for too few channels.
    pub fn folded(&self, logits: &Tensor) -> Result<Tensor, TchError> {
        if self.is_empty() {
            return Ok(logits.shallow_clone());
        }
        let channel = |index: usize| logits.f_narrow(1, index as i64, 1);
        let of_bone = |bone: Bone| {
            let pairs = self.0.iter().enumerate().filter(|(_, pair)| pair.contains(&bone));
            pairs
                .map(|(place, _)| bones::COUNT + place)
                .try_fold(channel(bone.index())?, |logit, pair| logit.f_maximum(&channel(pair)?))
        };
        Tensor::f_cat(&Bone::all().map(of_bone).collect::<Result<Vec<_>, TchError>>()?, 1)
    }
}

impl Serialize for BonePairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|pair| pair.map(Bone::name)))
    }
}

impl<'de> Deserialize<'de> for BonePairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bone = |name: &String| {
            Bone::read(name).ok_or_else(|| {
                let meant = Bone::nearest(name).map_or(String::new(), |bone| format!("; did you mean {bone}?"));
                D::Error::custom(format!("unknown bone {name:?}{meant}; `carpus list bones` lists all"))
            })
        };
        let pairs: Vec<[String; 2]> = Vec::deserialize(deserializer)?;
        pairs.iter().map(|[a, b]| Ok([bone(a)?, bone(b)?])).collect::<Result<_, D::Error>>().map(BonePairs)
    }
}

impl JsonSchema for BonePairs {
    fn schema_name() -> Cow<'static, str> {
        "BonePairs".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<[String; 2]>::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<BonePairs, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    const TWO: &str = r#"[["Triquetrum","Pisiform"],["Trapezium","Trapezoid"]]"#;

    #[test]
    fn pairs_are_named_and_checked() {
        let two = pairs(TWO).unwrap();
        assert_eq!(
            (serde_json::to_string(&two).unwrap().as_str(), two.len(), two.violations().is_empty()),
            (TWO, 2, true)
        );
        assert!(pairs(r#"[["Triquetrum","Pisiforn"]]"#).unwrap_err().contains("did you mean Pisiform?"));
        assert!(pairs(r#"[["Triquetrum"]]"#).is_err() && pairs("[1]").is_err() && pairs("{}").is_err());
        let wrong = |text: &str| pairs(text).unwrap().violations().to_string();
        assert!(
            wrong(r#"[["Ulna","Ulna"]]"#).contains(r#"pairs[0] is ["Ulna", "Ulna"]; expected two different bones"#)
        );
        let twice = wrong(r#"[["Ulna","Radius"],["Radius","Ulna"]]"#);
        assert!(twice.contains("pairs[1]") && twice.contains("another pair than pairs[0]"), "{twice}");
        let four = r#"[["Ulna","Radius"],["Ulna","Lunate"],["Ulna","Hamate"],["Ulna","Capitate"]]"#;
        assert!(wrong(four).contains("pairs is 4 pairs; expected 3 pairs at most"));
    }

    #[test]
    fn three_pairs_fill_the_word_and_only_overlaps_are_marked() {
        let three = pairs(r#"[["finger-1","finger-2"],["finger-2","Ulna"],["finger-3","Ulna"]]"#).unwrap();
        let words = [0i32, 1, 0b11, 0b10 | 1 << 28, 0b111 | 1 << 28, 1 << 28];
        let marked = three.marked(&Tensor::from_slice(&words).view([1, 2, 3])).unwrap();
        let bits = Vec::<i32>::try_from(marked.view([-1])).unwrap();
        let own: Vec<u32> = bits.iter().map(|word| *word as u32 >> 29).collect();
        assert_eq!(own, [0, 0, 0b001, 0b010, 0b111, 0]);
        assert!(bits.iter().zip(words).all(|(marked, word)| marked & 0x1fff_ffff == word));
        let none = BonePairs::default();
        assert_eq!(none.marked(&marked).unwrap(), marked);
    }

    #[test]
    fn the_logit_of_a_bone_is_the_greatest_of_its_channels() {
        let two = pairs(TWO).unwrap();
        let logits = Tensor::zeros([1, 31, 1, 2], (Kind::Float, tch::Device::Cpu));
        let set = |channel: i64, x: i64, value: f64| drop(logits.get(0).get(channel).get(0).get(x).fill_(value));
        let index = |name: &str| Bone::from_name(name).unwrap().index() as i64;
        set(index("Triquetrum"), 0, 5.0);
        set(index("Pisiform"), 0, -5.0);
        set(29, 0, 2.0);
        set(29, 1, -1.0);
        let folded = two.folded(&logits).unwrap();
        assert_eq!(folded.size(), [1, 29, 1, 2]);
        let at = |name: &str, x: i64| folded.double_value(&[0, index(name), 0, x]);
        assert_eq!((at("Triquetrum", 0), at("Pisiform", 0), at("Pisiform", 1), at("Ulna", 0)), (5.0, 2.0, 0.0, 0.0));
        assert!(two.folded(&logits.narrow(1, 0, 30)).is_err());
    }
}
