//! Combining stored predictions: folders of probabilities and submission CSVs, image by image, by one method per file.
//!
//! Votes on masks work on the patterns of votes of [`crate::mask::VotePatterns`]: the methods depend on the number of
//! pixels per pattern, and not on the pixels.

mod agreement;
mod ballots;
mod class_selection;
mod config;
mod hard;
mod member;
mod member_config;
mod pseudo_labels;
mod run;
mod selection;
mod simple;
mod staple;

use std::path::{Path, PathBuf};

pub use agreement::{Agreement, Annotations, ClassMatrix, agreement};
pub use ballots::{ImageBallots, MAX_COMPARED, ballots};
pub use class_selection::{ClassSelection, select_by_class};
pub use config::{EnsembleConfig, EnsembleList, EnsembleMethod};
pub use hard::weighted_vote;
pub use member::{Member, MemberImage, MemberMasks};
pub use member_config::{EnsembleMember, MemberKind, RunMember};
pub use pseudo_labels::{LeftOutImage, PseudoLabel, PseudoLabelOptions, PseudoLabels, write_pseudo_labels};
pub use run::{EnsembleImage, Ensembles, Unconverged};
pub use selection::{HeldOutBallots, Selection, SelectionOptions, select_members};
pub use simple::{SimpleVote, simple_mask, simple_weights};
pub use staple::{Staple, staple, staple_mask};

use crate::dataset::annotation::AnnotationError;
use crate::dataset::image::ImageError;
use crate::mask::submission::SubmissionError;
use crate::mask::{MaskError, RunMask};
use crate::probability::ProbabilityError;
use crate::wording::counted;

/// A mask that a method estimates in iterations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskEstimate {
    /// The mask.
    pub mask: RunMask,
    /// Whether the estimate had settled when the iterations ended; if not, it is the last one.
    pub converged: bool,
}

/// Why stored predictions cannot be combined.
#[derive(Debug, thiserror::Error)]
pub enum EnsembleError {
    /// A file of masks cannot be read, or is invalid.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// Probabilities cannot be read.
    #[error(transparent)]
    Probability(#[from] ProbabilityError),
    /// An annotation cannot be read.
    #[error(transparent)]
    Annotation(#[from] AnnotationError),
    /// An image cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// An image is not in the data, or has no annotation.
    #[error(
        "image {image} is not in the data or has no annotation; give the data folder with its annotation, or choose images with --folds"
    )]
    NotAnnotated {
        /// The id of the image.
        image: String,
    },
    /// The size of an image is not known.
    #[error(
        "no member has the size of image {image}; give the data folder with --data, or a member that is a folder of probabilities"
    )]
    NoSizeToCompare {
        /// The id of the image.
        image: String,
    },
    /// More members than can be compared.
    #[error("{count} members; expected {most} or fewer")]
    TooMany {
        /// Number of members.
        count: usize,
        /// The most that can be compared.
        most: usize,
    },
    /// The gain of a selection on other images cannot be estimated.
    #[error(
        "{} of {}; selecting members needs two folds or more, and two patients or more, so that the selection is scored \
         on images that it was not made on",
        counted(*folds, "fold", "folds"), counted(*patients, "patient", "patients")
    )]
    TooFew {
        /// Number of folds.
        folds: usize,
        /// Number of patients.
        patients: usize,
    },
    /// A file of a data set cannot be written, or its image not be read.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A member is a run that was not predicted.
    #[error("member {run} is a run; its probabilities are needed: `carpus predict --probabilities` writes them")]
    NotPredicted {
        /// The run.
        run: String,
    },
    /// A member lacks images that others have.
    #[error(
        "{}: {} missing that other members have: {}; all members must have the same images",
        path.display(), counted(*count, "image is", "images are"), shown.join(", ")
    )]
    Missing {
        /// The member.
        path: PathBuf,
        /// Number of images that it lacks.
        count: usize,
        /// The ids of the first ones.
        shown: Vec<String>,
    },
    /// Some members are masks of crops, others of the original images.
    #[error(
        "{} has masks of crops, {} masks of the original images; expected the same for all members: \
         `carpus restore` maps masks of crops to the original images",
        crops.display(), originals.display()
    )]
    Spaces {
        /// A member with masks of crops.
        crops: PathBuf,
        /// A member with masks of the original images.
        originals: PathBuf,
    },
    /// The method needs the size of an image, which no member knows.
    #[error(
        "ensemble {ensemble}: {method} needs the images' sizes, which submissions do not hold; give the data folder with \
         --data, or a member that is a folder of probabilities"
    )]
    NoSize {
        /// The name of the ensemble.
        ensemble: String,
        /// Its method.
        method: &'static str,
    },
    /// A member's prediction does not fit the image.
    #[error("{}: image {image}, class {class}: {source}", path.display())]
    Mask {
        /// The member.
        path: PathBuf,
        /// The id of the image.
        image: String,
        /// The class.
        class: &'static str,
        /// Why it does not fit.
        source: MaskError,
    },
    /// The members' predictions of an image do not fit together.
    #[error("ensemble {ensemble}, image {image}: {source}")]
    Combine {
        /// The name of the ensemble.
        ensemble: String,
        /// The id of the image.
        image: String,
        /// Why they do not fit.
        source: MaskError,
    },
}

/// How many missing images a message names.
const SHOWN: usize = 5;

impl EnsembleError {
    fn missing(path: &Path, images: &[String]) -> EnsembleError {
        let shown = images.iter().take(SHOWN).cloned().collect();
        EnsembleError::Missing { path: path.into(), count: images.len(), shown }
    }
}
