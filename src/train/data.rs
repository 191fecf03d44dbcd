use std::borrow::Cow;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::{PatientMetadata, SpecialistSettings, TrainError};
use crate::augment::FittedImage;
use crate::bones::Bone;
use crate::dataset::{Dataset, ImageEntry, Problem, ProblemSeverity, WithProblems};
use crate::digest::hex;
use crate::features::angle_deg;
use crate::geometry::Size;
use crate::mask::HandMasks;
use crate::progress::Progress;

/// An image with its labels at the model's size.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The image.
    pub image: FittedImage,
    /// Label words as (length, word), row-major: a label image has few, long runs.
    words: Vec<(u32, u32)>,
    /// Angle of the hand in degrees from vertical, by the line from the Ulna's centroid to finger-16's; `None` where
    /// one of them is absent.
    pub angle: Option<f64>,
}

impl Sample {
    /// A sample from an image, its label words and the hand's angle in degrees.
    pub fn new(image: FittedImage, words: &[u32], angle: Option<f64>) -> Sample {
        let runs = words.chunk_by(|a, b| a == b).map(|run| (run.len() as u32, run[0]));
        Sample { image, words: runs.collect(), angle }
    }

    /// Label words, one per pixel, row-major; bit c = class c.
    pub fn words(&self) -> Vec<u32> {
        let mut words = Vec::with_capacity(self.image.fit().size.pixels());
        self.words.iter().for_each(|(len, word)| words.extend(std::iter::repeat_n(*word, *len as usize)));
        words
    }

    fn bytes(&self) -> usize {
        self.image.bytes() + 8 * self.words.len()
    }
}

/// What samples show: the size of the model's image, and for a specialist the bones around which each image is cut.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleFrame {
    /// Width and height in px.
    pub size: Size,
    /// `None`: the whole image, all bones.
    pub specialist: Option<SpecialistSettings>,
}

impl From<Size> for SampleFrame {
    fn from(size: Size) -> Self {
        SampleFrame { size, specialist: None }
    }
}

/// Annotated images at the model's size, kept in memory up to a limit so that epochs do not decode again.
#[derive(Debug)]
pub struct Samples {
    dataset: Arc<Dataset>,
    entries: Vec<ImageEntry>,
    frame: SampleFrame,
    samples: Vec<Option<Sample>>,
    present: Vec<u32>,
    metadata: Vec<[f32; 4]>,
    hash: String,
}

impl Samples {
    /// Reads all images with their annotations, in parallel. An image that cannot be read is left out and reported as a
    /// problem. `frame` is the size, and for a specialist the bones around which each image is cut; an image without these
    /// bones is left out too. Samples beyond `cache_bytes` are read again in each epoch. `part` names the images in messages.
    ///
    /// # Errors
    /// [`TrainError::NoImages`]: no image can be used.
    pub fn load(
        dataset: &Arc<Dataset>,
        entries: &[ImageEntry],
        known: &PatientMetadata,
        frame: impl Into<SampleFrame>,
        cache_bytes: usize,
        part: &'static str,
        progress: &dyn Progress,
    ) -> Result<WithProblems<Samples>, TrainError> {
        let frame = frame.into();
        progress.start(&format!("{part} images read"), entries.len() as u64);
        // Reading in chunks limits the memory of decoded images that the cache does not keep.
        let mut loaded = Samples {
            dataset: dataset.clone(),
            entries: Vec::new(),
            frame,
            samples: Vec::new(),
            present: Vec::new(),
            metadata: Vec::new(),
            hash: String::new(),
        };
        let (mut problems, mut held, mut digest) = (Vec::new(), 0, Sha256::new());
        for chunk in entries.chunks(64) {
            let read: Vec<_> = chunk
                .par_iter()
                .map(|entry| {
                    let sample = read_sample(dataset, entry, &loaded.frame);
                    progress.advance(1);
                    sample
                })
                .collect();
            for (entry, read) in chunk.iter().zip(read) {
                match read {
                    Ok(read) => {
                        let of_patient = known.patient(&entry.patient_id);
                        digest.update(format!("{} {} {}\n", entry.image_id, read.image_hash, read.annotation_hash));
                        of_patient.iter().for_each(|v| digest.update(v.to_le_bytes()));
                        loaded.metadata.push(of_patient);
                        loaded.present.push(read.sample.words.iter().fold(0, |all, (_, word)| all | word));
                        problems.extend(read.problems);
                        held += read.sample.bytes();
                        loaded.entries.push(entry.clone());
                        loaded.samples.push((held <= cache_bytes).then_some(read.sample));
                    }
                    Err(error) => problems.push(left_out(entry, &error)),
                }
            }
        }
        progress.finish();
        if loaded.entries.is_empty() {
            let reason = match problems.iter().find(|p| p.severity == ProblemSeverity::Error) {
                Some(problem) => {
                    format!("all {} were left out; the reason for the first is: {}", entries.len(), problem.reason)
                }
                None => "the folds file has none; see data.folds and data.fold".into(),
            };
            return Err(TrainError::NoImages { part, reason });
        }
        loaded.hash = hex(&digest.finalize());
        Ok(WithProblems { content: loaded, problems })
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no samples; never after [`Samples::load`].
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The top grey level of the data's 16-bit images; see [`Dataset::top_level`].
    pub fn top_level(&self) -> Option<u16> {
        self.dataset.top_level()
    }

    /// Width and height of the samples in px.
    pub fn size(&self) -> Size {
        self.frame.size
    }

    /// The bones of a specialist; `None`: all bones.
    pub fn specialist(&self) -> Option<&SpecialistSettings> {
        self.frame.specialist.as_ref()
    }

    /// The images, in order.
    pub fn entries(&self) -> &[ImageEntry] {
        &self.entries
    }

    /// The classes that are present in each sample, bit c = class c.
    pub fn present(&self) -> &[u32] {
        &self.present
    }

    /// The patient's metadata for sample `index`; see [`PatientMetadata`].
    pub fn metadata(&self, index: usize) -> [f32; 4] {
        self.metadata[index]
    }

    /// Hash of the ids and contents of all images and annotations and of the patients' metadata, hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Number of samples that are not kept in memory.
    pub fn uncached(&self) -> usize {
        self.samples.iter().filter(|s| s.is_none()).count()
    }

    /// Sample `index`, from memory or read again from the disk.
    ///
    /// # Errors
    /// The image or its annotation can no longer be read.
    pub fn sample(&self, index: usize) -> Result<Cow<'_, Sample>, TrainError> {
        match &self.samples[index] {
            Some(sample) => Ok(Cow::Borrowed(sample)),
            None => Ok(Cow::Owned(read_sample(&self.dataset, &self.entries[index], &self.frame)?.sample)),
        }
    }
}

struct Read {
    sample: Sample,
    image_hash: String,
    annotation_hash: String,
    problems: Vec<Problem>,
}

fn read_sample(dataset: &Dataset, entry: &ImageEntry, frame: &SampleFrame) -> Result<Read, TrainError> {
    let radiograph = dataset.image(entry)?;
    let read = dataset.annotation(entry)?.ok_or_else(|| TrainError::NotAnnotated { image: entry.image_id.clone() })?;
    let (width, height) = radiograph.pixels.dimensions();
    let masks = read.annotation.masks(width, height);
    // The same file scaled by another top level gives another image.
    let image_hash = match radiograph.pixels.sixteen_bit_top() {
        Some(top) => format!("{} of {top}", radiograph.sha256),
        None => radiograph.sha256,
    };
    let angle = angle(&masks);
    let (pixels, masks) = match &frame.specialist {
        None => (radiograph.pixels, masks),
        Some(specialist) => {
            let (image, bones) = (entry.image_id.clone(), specialist.bones.join(", "));
            let part = specialist.part(&masks).ok_or(TrainError::NoBones { image, bones })?;
            (part.image_in(radiograph.pixels), part.masks_in(&masks))
        }
    };
    let image = FittedImage::new(pixels, frame.size);
    let words = image.fit().words(&masks);
    let sample = Sample::new(image, &words, angle);
    // Corrections of the shapes are part of the content.
    let decisions = dataset.corrections().about_shapes(&entry.image_id).into_iter().map(|d| d.id());
    let annotation_hash = decisions.fold(read.sha256, |hash, id| hash + " " + &id);
    Ok(Read { sample, image_hash, annotation_hash, problems: read.problems })
}

fn angle(masks: &HandMasks) -> Option<f64> {
    let centroid = |bone: Bone| masks[bone].moments().centroid();
    Some(angle_deg(centroid(Bone::ULNA)?, centroid(Bone::FINGER_16)?))
}

pub(super) fn left_out(entry: &ImageEntry, error: &TrainError) -> Problem {
    Problem::new(ProblemSeverity::Error, &*entry.image, error.to_string(), "image left out")
        .of_image(&*entry.image_id)
        .of_patient(&*entry.patient_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{GreyImage, Levels};

    #[test]
    fn packed_words_are_lossless() {
        let words: Vec<u32> = (0..256).map(|i| if i % 37 < 30 { 0 } else { 1 << (i % 29) }).collect();
        let image = GreyImage::new(16, 16, Levels::Eight(vec![0; 256])).unwrap();
        let image = FittedImage::new(image, Size::square(16));
        assert_eq!(Sample::new(image, &words, None).words(), words);
    }
}
