//! Typical hands to compare with: the same bone in several hands, and the hand nearest to the median of all hands.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use super::judgement::ListedFinding;
use crate::audit::Severity;
use crate::bones::{Bone, COUNT};
use crate::dataset::Side;
use crate::stats::robust::centre_and_spread;
use crate::tables::{BoneRow, Tables};

/// Number of hands that show a bone.
pub const HANDS: usize = 5;
/// Fewest bones of a hand that is shown as the typical one.
const MIN_BONES: usize = 8;

/// Measures of a bone that do not depend on the hand's position, rotation, size and side: log of its share of the hand's
/// area, log of its aspect ratio, and its distance from the hand's centre in units of the hand's extent.
type Measures = [f64; 3];

struct MeasuredBones {
    image_id: String,
    patient_id: String,
    side: Option<Side>,
    /// Mean squared deviation of each bone from the median of all hands, in robust standard deviations.
    deviation: [Option<f64>; COUNT],
    /// Bones that a finding of severity medium or high is about.
    suspicious: HashSet<usize>,
}

/// How typical each bone of each hand is.
pub struct TypicalHands {
    hands: Vec<MeasuredBones>,
}

/// A typical hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypicalHand {
    /// Its image.
    pub image_id: String,
    /// Whether it has the other side and so has to be mirrored.
    pub mirrored: bool,
}

impl TypicalHands {
    /// Measures the hands of the tables.
    pub fn new(tables: &Tables, findings: &[ListedFinding]) -> TypicalHands {
        let mut rows: HashMap<&str, Vec<&BoneRow>> = HashMap::new();
        for row in &tables.bones {
            rows.entry(&row.image_id).or_default().push(row);
        }
        let mut suspicious: HashMap<&str, HashSet<usize>> = HashMap::new();
        for finding in findings.iter().filter(|finding| finding.row.severity > Severity::Low) {
            let bones = finding.labels().filter_map(Bone::from_name).map(Bone::index);
            suspicious.entry(&finding.image_id).or_default().extend(bones);
        }
        let images = tables.images.iter().filter(|image| image.usable);
        let measured: Vec<_> =
            images.filter_map(|image| Some((image, measures(rows.get(&*image.image_id)?)))).collect();
        // Median and spread of each measure of each bone.
        let norms: Vec<[Option<(f64, f64)>; 3]> = (0..COUNT)
            .map(|bone| {
                std::array::from_fn(|m| {
                    let values: Vec<f64> = measured.iter().filter_map(|(_, hand)| Some(hand[bone]?[m])).collect();
                    centre_and_spread(&values)
                })
            })
            .collect();
        let deviation = |bone: usize, measures: Measures| {
            let squared = |m: usize| {
                let (centre, spread) = norms[bone][m]?;
                Some(((measures[m] - centre) / spread.max(1e-6)).powi(2))
            };
            let squares: Vec<f64> = (0..3).filter_map(squared).collect();
            (!squares.is_empty()).then(|| squares.iter().sum::<f64>() / squares.len() as f64)
        };
        let hands = measured
            .iter()
            .map(|(image, hand)| MeasuredBones {
                image_id: image.image_id.clone(),
                patient_id: image.patient_id.clone(),
                side: image.side.or(image.side_by_anatomy),
                deviation: std::array::from_fn(|bone| deviation(bone, hand[bone]?)),
                suspicious: suspicious.remove(&*image.image_id).unwrap_or_default(),
            })
            .collect();
        TypicalHands { hands }
    }

    /// The hands in which the bone is most typical: of the given side if there are enough, one per patient, without
    /// findings about the bone, and not of the given patient.
    pub fn showing(&self, bone: Bone, side: Option<Side>, patient_id: &str) -> Vec<TypicalHand> {
        let b = bone.index();
        let is_fit = |hand: &&MeasuredBones| hand.patient_id != patient_id && !hand.suspicious.contains(&b);
        let mut found: Vec<(bool, f64, &MeasuredBones)> = (self.hands.iter().filter(is_fit))
            .filter_map(|hand| Some((is_mirrored(hand, side), hand.deviation[b]?, hand)))
            .collect();
        found.sort_by(|x, y| compare((x.0, x.1, &x.2.image_id), (y.0, y.1, &y.2.image_id)));
        let mut patients = HashSet::new();
        found.retain(|(_, _, hand)| patients.insert(&hand.patient_id));
        found.into_iter().take(HANDS).map(typical).collect()
    }

    /// The hand whose bones deviate least from the medians of all hands.
    pub fn median(&self, side: Option<Side>) -> Option<TypicalHand> {
        let mean = |hand: &MeasuredBones| {
            let known: Vec<f64> = hand.deviation.iter().flatten().copied().collect();
            // A hand with few bones would win by what it lacks.
            let missing = (COUNT - known.len()) as f64;
            (known.len() >= MIN_BONES)
                .then(|| known.iter().map(|v| v.sqrt()).sum::<f64>() / known.len() as f64 + missing)
        };
        let with_mean = |hand| Some((is_mirrored(hand, side), mean(hand)?, hand));
        let clean = self.hands.iter().filter(|hand| hand.suspicious.is_empty()).filter_map(with_mean);
        clean.min_by(|x, y| compare((x.0, x.1, &x.2.image_id), (y.0, y.1, &y.2.image_id))).map(typical)
    }
}

/// Whether the hand has another side than the wanted one.
fn is_mirrored(hand: &MeasuredBones, side: Option<Side>) -> bool {
    matches!((hand.side, side), (Some(own), Some(wanted)) if own != wanted)
}

fn compare(a: (bool, f64, &String), b: (bool, f64, &String)) -> Ordering {
    a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then_with(|| a.2.cmp(b.2))
}

fn typical((mirrored, _, hand): (bool, f64, &MeasuredBones)) -> TypicalHand {
    TypicalHand { image_id: hand.image_id.clone(), mirrored }
}

/// The measures of a hand's bones.
fn measures(rows: &[&BoneRow]) -> [Option<Measures>; COUNT] {
    let mut found = [None; COUNT];
    let drawn: Vec<(usize, &BoneRow, f64, f64)> = (rows.iter())
        .filter(|row| row.area_px > 0 && (row.class as usize) < COUNT)
        .filter_map(|row| Some((row.class as usize, *row, row.centroid_x?, row.centroid_y?)))
        .collect();
    let n = drawn.len() as f64;
    let (x, y) = drawn.iter().fold((0.0, 0.0), |(x, y), bone| (x + bone.2 / n, y + bone.3 / n));
    let extent = (drawn.iter().map(|bone| (bone.2 - x).powi(2) + (bone.3 - y).powi(2)).sum::<f64>() / n).sqrt();
    let area: f64 = drawn.iter().map(|bone| bone.1.area_px as f64).sum();
    if drawn.len() < MIN_BONES || extent <= 0.0 {
        return found;
    }
    for (class, row, bone_x, bone_y) in drawn {
        let axis = |sd: Option<f64>| sd.filter(|sd| sd.is_finite()).unwrap_or(0.0).max(0.3);
        let aspect = (axis(row.sd_major_px) / axis(row.sd_minor_px)).ln();
        let distance = (bone_x - x).hypot(bone_y - y) / extent;
        found[class] = Some([(row.area_px as f64 / area).ln(), aspect, distance]);
    }
    found
}
