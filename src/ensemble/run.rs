use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::config::{EnsembleConfig, EnsembleMethod};
use super::hard::weighted_vote;
use super::member::{Member, MemberImage};
use super::member_config::EnsembleMember;
use super::simple::simple_mask;
use super::staple::staple_mask;
use super::{EnsembleError, MaskEstimate};
use crate::bones::Bone;
use crate::mask::submission::{Sidecar, Space};
use crate::mask::{HandMasks, MaskError, RunMask};
use crate::probability::decision::DecisionSettings;
use crate::probability::{Mean, ProbabilityMap, combine};

/// Ensembles with their members opened.
#[derive(Debug)]
pub struct Ensembles {
    configs: Vec<EnsembleConfig>,
    decision: DecisionSettings,
    members: Vec<Member>,
    /// Per ensemble and member: its place among the members, then the ensembles.
    places: Vec<Vec<usize>>,
    images: Vec<String>,
    /// Whether the members of the last ensemble are compared.
    compares: bool,
}

/// One image of every ensemble.
#[derive(Clone, Debug)]
pub struct EnsembleImage {
    /// Name of the image file, as the first member has it.
    pub image_name: String,
    /// By ensemble: probabilities for `soft` and `logit`, masks for the others.
    pub results: Vec<MemberImage>,
    /// Estimates of STAPLE and SIMPLE that had not settled at the limit of their iterations.
    pub unconverged: Vec<Unconverged>,
    /// Per bone, how far the members of the last ensemble agree: the mean Dice of all pairs of their masks; 1 for a single
    /// member. Empty unless [`Ensembles::with_agreement`] was called.
    pub agreement: Vec<f64>,
}

/// A mask whose estimate had not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unconverged {
    /// The name of the ensemble.
    pub ensemble: String,
    /// The id of the image.
    pub image: String,
    /// The class.
    pub bone: Bone,
}

impl Ensembles {
    /// Opens the members of some ensembles, which were checked by [`super::EnsembleList::violations`]. Probabilities
    /// become masks by `decision`.
    ///
    /// # Errors
    /// A member cannot be read or is a run with options of its prediction (predict it first), members differ in their images,
    /// or some are masks of crops and others of original images.
    pub fn open(configs: Vec<EnsembleConfig>, decision: DecisionSettings) -> Result<Ensembles, EnsembleError> {
        let mut paths: Vec<&str> = Vec::new();
        for (i, config) in configs.iter().enumerate() {
            for member in &config.members {
                let EnsembleMember::Named(member) = member else {
                    return Err(EnsembleError::NotPredicted { run: member.name() });
                };
                let is_earlier = configs[..i].iter().any(|earlier| earlier.name == *member);
                if !is_earlier && !paths.contains(&member.as_str()) {
                    paths.push(member);
                }
            }
        }
        let place = |(i, config): (usize, &EnsembleConfig)| -> Vec<usize> {
            let of = |member: String| match configs[..i].iter().position(|earlier| earlier.name == member) {
                Some(earlier) => paths.len() + earlier,
                None => paths.iter().position(|path| *path == member).expect("every path is listed"),
            };
            config.members.iter().map(EnsembleMember::name).map(of).collect()
        };
        let places = configs.iter().enumerate().map(place).collect();
        let members: Vec<Member> = paths.iter().map(|path| Member::open(Path::new(path))).collect::<Result<_, _>>()?;
        let images = common_images(&members)?;
        same_space(&members)?;
        Ok(Ensembles { configs, decision, members, places, images, compares: false })
    }

    /// The same, but each image also gets the agreement of the last ensemble's members.
    #[must_use]
    pub fn with_agreement(self) -> Ensembles {
        Ensembles { compares: true, ..self }
    }

    /// The ids of the images, sorted.
    pub fn images(&self) -> &[String] {
        &self.images
    }

    /// The ensembles, in order.
    pub fn configs(&self) -> &[EnsembleConfig] {
        &self.configs
    }

    /// The sidecar of the masks that are combined, if they are of crops.
    pub fn sidecar(&self) -> Option<&Sidecar> {
        self.members.iter().find_map(Member::sidecar)
    }

    /// Combines one image by every ensemble in order. `size` is the image's width and height, which submissions do not
    /// hold; it is needed where all members are submissions and a method depends on the size. If it is given, all members
    /// must have it.
    ///
    /// # Errors
    /// A member cannot be read, the size is missing, or masks do not fit it.
    pub fn combine(&self, id: &str, size: Option<(u32, u32)>) -> Result<EnsembleImage, EnsembleError> {
        let read = self.members.iter().map(|member| member.read(id)).collect::<Result<Vec<_>, _>>()?;
        let image_name = read[0].image_name.clone();
        let size = size.or_else(|| read.iter().find_map(|member| member.size));
        let mut values = Vec::with_capacity(read.len() + self.configs.len());
        for (member, path) in read.into_iter().zip(self.members.iter().map(Member::path)) {
            values.push(match size {
                Some(size) => member.image.sized(size).map_err(|(bone, source)| EnsembleError::Mask {
                    path: path.into(),
                    image: id.to_owned(),
                    class: bone.name(),
                    source,
                })?,
                None => member.image,
            });
        }
        let mut unconverged = Vec::new();
        for (config, places) in self.configs.iter().zip(&self.places) {
            if size.is_none() && !matches!(config.method, EnsembleMethod::Hard | EnsembleMethod::Simple) {
                return Err(EnsembleError::NoSize { ensemble: config.name.clone(), method: config.method.name() });
            }
            let members: Vec<&MemberImage> = places.iter().map(|place| &values[*place]).collect();
            let failed =
                |source| EnsembleError::Combine { ensemble: config.name.clone(), image: id.to_owned(), source };
            let Combined { image, not_settled } = self.combined(config, &members, &image_name).map_err(failed)?;
            let named = |bone| Unconverged { ensemble: config.name.clone(), image: id.to_owned(), bone };
            unconverged.extend(not_settled.into_iter().map(named));
            values.push(image);
        }
        let last = self.configs.len() - 1;
        let members: Vec<&MemberImage> = self.places[last].iter().map(|place| &values[*place]).collect();
        let failed =
            |source| EnsembleError::Combine { ensemble: self.configs[last].name.clone(), image: id.to_owned(), source };
        let agreement = match self.compares {
            true => self.agreement(&members, &image_name).map_err(failed)?,
            false => Vec::new(),
        };
        Ok(EnsembleImage { image_name, results: values.split_off(self.members.len()), unconverged, agreement })
    }

    /// Per bone the mean Dice of all pairs of the members' masks.
    fn agreement(&self, members: &[&MemberImage], image_name: &str) -> Result<Vec<f64>, MaskError> {
        let masks: Vec<HandMasks> =
            members.iter().map(|member| member.masks(image_name, &self.decision)).collect::<Result<_, _>>()?;
        let of = |bone: Bone| {
            let (mut sum, mut pairs) = (0.0, 0);
            for (i, first) in masks.iter().enumerate() {
                for second in &masks[i + 1..] {
                    sum += first[bone].dice(&second[bone])?;
                    pairs += 1;
                }
            }
            Ok(if pairs == 0 { 1.0 } else { sum / f64::from(pairs) })
        };
        Bone::all().map(of).collect()
    }

    fn combined(
        &self,
        config: &EnsembleConfig,
        members: &[&MemberImage],
        image_name: &str,
    ) -> Result<Combined, MaskError> {
        let mean = match config.method {
            EnsembleMethod::Soft => Mean::Probability,
            EnsembleMethod::Logit => Mean::Logit,
            EnsembleMethod::Hard | EnsembleMethod::Staple | EnsembleMethod::Simple => {
                return self.voted(config, members, image_name);
            }
        };
        let maps: Vec<Vec<ProbabilityMap>> = members.iter().map(|member| member.maps()).collect();
        let of = |bone: Bone| {
            let Counted { which, weights } = Counted::of(config, bone);
            let maps: Vec<&ProbabilityMap> = which.iter().map(|member| &maps[*member][bone.index()]).collect();
            combine(&maps, &weights, mean)
        };
        let maps = Bone::all().map(of).collect::<Result<_, _>>()?;
        Ok(Combined { image: MemberImage::Probabilities(maps), not_settled: Vec::new() })
    }

    fn voted(
        &self,
        config: &EnsembleConfig,
        members: &[&MemberImage],
        image_name: &str,
    ) -> Result<Combined, MaskError> {
        let masks: Vec<HandMasks> =
            members.iter().map(|member| member.masks(image_name, &self.decision)).collect::<Result<_, _>>()?;
        let settled = |mask| MaskEstimate { mask, converged: true };
        let of = |bone: Bone| {
            let Counted { which, weights } = Counted::of(config, bone);
            let masks: Vec<&RunMask> = which.iter().map(|member| &masks[*member][bone]).collect();
            match (config.method, config.at_least) {
                (EnsembleMethod::Staple, _) => staple_mask(&masks),
                (EnsembleMethod::Simple, _) => simple_mask(&masks),
                (_, Some(at_least)) => RunMask::vote(&masks, at_least).map(settled),
                (_, None) => weighted_vote(&masks, &weights).map(settled),
            }
        };
        let estimates: Vec<MaskEstimate> = Bone::all().map(of).collect::<Result<_, _>>()?;
        let not_settled = Bone::all().zip(&estimates).filter(|(_, e)| !e.converged).map(|(bone, _)| bone).collect();
        let masks = HandMasks::new(estimates.into_iter().map(|estimate| estimate.mask).collect())?;
        Ok(Combined { image: MemberImage::Masks(masks), not_settled })
    }
}

/// The result of one ensemble for an image.
struct Combined {
    image: MemberImage,
    /// The bones whose estimate had not settled.
    not_settled: Vec<Bone>,
}

/// The members that count for a bone, with their weights.
struct Counted {
    which: Vec<usize>,
    weights: Vec<f64>,
}

impl Counted {
    fn of(config: &EnsembleConfig, bone: Bone) -> Counted {
        let weights = config.weights_of(bone).into_iter().enumerate().filter(|(_, weight)| *weight > 0.0);
        let (which, weights) = weights.unzip();
        Counted { which, weights }
    }
}

/// The ids of the images, which all members have.
fn common_images(members: &[Member]) -> Result<Vec<String>, EnsembleError> {
    let sets: Vec<BTreeSet<String>> = members.iter().map(Member::ids).collect();
    let all: BTreeSet<String> = sets.iter().flatten().cloned().collect();
    for (member, own) in members.iter().zip(&sets) {
        let missing: Vec<String> = all.difference(own).cloned().collect();
        if !missing.is_empty() {
            return Err(EnsembleError::missing(member.path(), &missing));
        }
    }
    Ok(all.into_iter().collect())
}

fn same_space(members: &[Member]) -> Result<(), EnsembleError> {
    let space = |member: &Member| member.sidecar().map_or(Space::Original, |sidecar| sidecar.space) == Space::Crop;
    let masks = members.iter().filter(|member| matches!(member, Member::Masks(_)));
    let by_space: BTreeMap<bool, &Member> = masks.map(|member| (space(member), member)).collect();
    match (by_space.get(&true), by_space.get(&false)) {
        (Some(crops), Some(originals)) => {
            Err(EnsembleError::Spaces { crops: crops.path().into(), originals: originals.path().into() })
        }
        _ => Ok(()),
    }
}
