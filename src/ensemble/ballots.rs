use rayon::prelude::*;

use super::EnsembleError;
use super::member::{Member, MemberImage};
use crate::bones::Bone;
use crate::dataset::Dataset;
use crate::mask::{HandMasks, RunMask};
use crate::probability::ProbabilityMap;
use crate::progress::Progress;

/// The most members that can be compared: their steps and a bit for the annotation fit into 128 bits.
pub const MAX_COMPARED: usize = 18;
/// Steps of probability that are distinguished.
pub(super) const STEPS: u32 = 64;
const BITS: usize = 7;

/// What members predict for an image, as the number of pixels of each combination of their probabilities, rounded to
/// 1/64, inside and outside the annotation. Means, votes, Dice and errors depend on nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageBallots {
    /// The image.
    pub image_id: String,
    /// Pixels of the image.
    pub pixels: u64,
    /// Per class.
    pub(super) classes: Vec<ClassBallots>,
}

/// The combinations of one class. Pixels that no member predicts and that are not annotated are left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ClassBallots {
    /// Bit 0: annotated; then 7 bits per member.
    keys: Vec<u128>,
    counts: Vec<u32>,
}

/// One combination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ballot {
    key: u128,
    /// Number of pixels.
    pub count: u32,
}

impl Ballot {
    pub fn is_annotated(self) -> bool {
        self.key & 1 == 1
    }

    /// The probability of a member, times 64.
    pub fn step(self, member: usize) -> u32 {
        (self.key >> (1 + BITS * member)) as u32 & ((1 << BITS) - 1)
    }

    /// Whether a member's probability is one half or more.
    pub fn is_set(self, member: usize) -> bool {
        2 * self.step(member) >= STEPS
    }
}

impl ClassBallots {
    /// The combinations of maps of one size, and of the annotated mask.
    pub fn of(maps: &[&ProbabilityMap], truth: &RunMask) -> ClassBallots {
        let mut keys: Vec<u128> = Vec::new();
        let mut annotated = truth.rows().peekable();
        let size = maps[0].size();
        for y in 0..size.height {
            let mut row: Vec<(u32, u32)> = Vec::new();
            while let Some((_, x_start, x_end)) = annotated.next_if(|piece| piece.0 == y) {
                row.push((x_start, x_end));
            }
            let spans = maps.iter().flat_map(|map| map.row(y)).map(|(x, levels)| (x, x + levels.len() as u32));
            let Some((first, end)) = spans.chain(row.iter().copied()).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
            else {
                continue;
            };
            let from = keys.len();
            keys.resize(from + (end - first) as usize, 0);
            let pixels = &mut keys[from..];
            for (x_start, x_end) in row {
                pixels[(x_start - first) as usize..(x_end - first) as usize].iter_mut().for_each(|key| *key |= 1);
            }
            for (member, map) in maps.iter().enumerate() {
                for (x, levels) in map.row(y) {
                    let part = &mut pixels[(x - first) as usize..][..levels.len()];
                    part.iter_mut()
                        .zip(levels)
                        .for_each(|(key, level)| *key |= u128::from(step(*level)) << (1 + BITS * member));
                }
            }
        }
        keys.sort_unstable();
        let mut ballots = ClassBallots::default();
        for group in keys.chunk_by(|a, b| a == b).filter(|group| group[0] != 0) {
            ballots.keys.push(group[0]);
            ballots.counts.push(group.len() as u32);
        }
        ballots
    }

    /// The combinations with their number of pixels.
    pub fn iter(&self) -> impl Iterator<Item = Ballot> + '_ {
        self.keys.iter().zip(&self.counts).map(|(key, count)| Ballot { key: *key, count: *count })
    }
}

/// A level as a probability times 64.
fn step(level: u16) -> u32 {
    (u32::from(level) * STEPS + u32::from(u16::MAX) / 2) / u32::from(u16::MAX)
}

/// Reads the predictions of some images by every member, and their annotations if there is a data folder.
///
/// # Errors
/// There are more than [`MAX_COMPARED`] members, a member lacks an image, an image is not in the data or not annotated, a
/// file cannot be read, sizes differ, or no member and no data give the size of an image.
pub fn ballots(
    members: &[Member],
    images: &[String],
    dataset: Option<&Dataset>,
    progress: &dyn Progress,
) -> Result<Vec<ImageBallots>, EnsembleError> {
    if members.len() > MAX_COMPARED {
        return Err(EnsembleError::TooMany { count: members.len(), most: MAX_COMPARED });
    }
    for member in members {
        let own = member.ids();
        let missing: Vec<String> = images.iter().filter(|id| !own.contains(*id)).cloned().collect();
        if !missing.is_empty() {
            return Err(EnsembleError::missing(member.path(), &missing));
        }
    }
    progress.start("images compared", images.len() as u64);
    let made = images.par_iter().map(|id| {
        let truth = dataset.map(|dataset| annotated(dataset, id)).transpose()?;
        let ballots = of_image(members, id, truth.as_ref());
        progress.advance(1);
        ballots
    });
    let made = made.collect();
    progress.finish();
    made
}

fn of_image(members: &[Member], id: &str, truth: Option<&HandMasks>) -> Result<ImageBallots, EnsembleError> {
    let read = members.iter().map(|member| member.read(id)).collect::<Result<Vec<_>, _>>()?;
    let size =
        truth.map(|truth| (truth.width(), truth.height())).or_else(|| read.iter().find_map(|member| member.size));
    let (width, height) = size.ok_or_else(|| EnsembleError::NoSizeToCompare { image: id.to_owned() })?;
    let mut maps: Vec<Vec<ProbabilityMap>> = Vec::with_capacity(members.len());
    for (member, read) in members.iter().zip(read) {
        let sized: MemberImage = read.image.sized((width, height)).map_err(|(bone, source)| EnsembleError::Mask {
            path: member.path().into(),
            image: id.to_owned(),
            class: bone.name(),
            source,
        })?;
        maps.push(sized.maps());
    }
    let empty = RunMask::empty(width, height);
    let class = |bone: Bone| {
        let maps: Vec<&ProbabilityMap> = maps.iter().map(|maps| &maps[bone.index()]).collect();
        ClassBallots::of(&maps, truth.map_or(&empty, |truth| &truth[bone]))
    };
    let classes: Vec<ClassBallots> = Bone::all().map(class).collect();
    Ok(ImageBallots { image_id: id.to_owned(), pixels: u64::from(width) * u64::from(height), classes })
}

/// The annotated masks of an image.
fn annotated(dataset: &Dataset, id: &str) -> Result<HandMasks, EnsembleError> {
    let absent = || EnsembleError::NotAnnotated { image: id.to_owned() };
    let entry = dataset.find(id).ok_or_else(absent)?;
    let (width, height) = dataset.dimensions(entry)?;
    Ok(dataset.annotation(entry)?.ok_or_else(absent)?.annotation.masks(width, height))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bones;
    use crate::geometry::Size;
    use crate::probability::MapBuilder;

    fn map(row: &[f32]) -> ProbabilityMap {
        let mut builder = MapBuilder::new(Size { width: row.len() as u32, height: 1 });
        builder.push_row(row);
        builder.finish()
    }

    /// An image of one row whose classes are all alike: the probabilities of each member and the annotation.
    pub fn image(id: &str, members: &[&[f32]], truth: &[u8]) -> ImageBallots {
        let maps: Vec<ProbabilityMap> = members.iter().map(|row| map(row)).collect();
        let maps: Vec<&ProbabilityMap> = maps.iter().collect();
        let truth = RunMask::from_dense(truth, truth.len() as u32, 1);
        let class = ClassBallots::of(&maps, &truth);
        ImageBallots { image_id: id.into(), pixels: u64::from(truth.width()), classes: vec![class; bones::COUNT] }
    }

    #[test]
    fn equal_combinations_are_counted() {
        let image = image("a", &[&[0.5, 0.5, 0.0, 0.0, 0.0], &[0.25, 0.25, 0.0, 0.0, 1.0]], &[1, 1, 1, 0, 0]);
        let found: Vec<(bool, u32, u32, u32)> = image.classes[0]
            .iter()
            .map(|ballot| (ballot.is_annotated(), ballot.step(0), ballot.step(1), ballot.count))
            .collect();
        assert_eq!(found, [(true, 0, 0, 1), (true, 32, 16, 2), (false, 0, 64, 1)]);
        let first = image.classes[0].iter().nth(1).unwrap();
        assert!(first.is_set(0) && !first.is_set(1));
        assert_eq!([0, 32768, u16::MAX].map(step), [0, 32, 64]);
    }
}
