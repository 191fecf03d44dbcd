use std::borrow::Cow;
use std::sync::Arc;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tch::{Device, TchError, Tensor};

use super::seeds::{Use, generator};
use super::{InputImage, Loading, PatientMetadata, TrainError, sampler};
use crate::augment::{FittedImage, LabelledImage};
use crate::dataset::{Dataset, ImageEntry, Problem};
use crate::digest::hex;
use crate::geometry::Size;
use crate::models::Input;
use crate::progress::Progress;

/// Images without labels at the model's size, kept in memory up to a limit.
#[derive(Debug)]
pub struct UnlabelledImages {
    dataset: Arc<Dataset>,
    entries: Vec<ImageEntry>,
    size: Size,
    /// `None`: read again when it is needed.
    images: Vec<Option<FittedImage>>,
    metadata: Vec<[f32; 4]>,
    hash: String,
}

impl UnlabelledImages {
    /// Reads images, in parallel; their annotations are not read. An image that cannot be read is left out and reported
    /// as a problem. Images beyond `cache_bytes` are read again in each epoch.
    ///
    /// # Errors
    /// [`TrainError::NoImages`]: no image can be used.
    pub fn load(
        dataset: &Arc<Dataset>,
        entries: &[ImageEntry],
        known: &PatientMetadata,
        size: Size,
        cache_bytes: usize,
        progress: &dyn Progress,
    ) -> Result<(UnlabelledImages, Vec<Problem>), TrainError> {
        progress.start("unlabelled images read", entries.len() as u64);
        let mut loaded = UnlabelledImages {
            dataset: dataset.clone(),
            entries: Vec::new(),
            size,
            images: Vec::new(),
            metadata: Vec::new(),
            hash: String::new(),
        };
        let (mut problems, mut held, mut digest) = (Vec::new(), 0, Sha256::new());
        // Reading in chunks limits the memory of decoded images that the cache does not keep.
        for chunk in entries.chunks(64) {
            let read = chunk.par_iter().map(|entry| {
                let read = read(dataset, entry, size);
                progress.advance(1);
                read
            });
            for (entry, read) in chunk.iter().zip(read.collect::<Vec<_>>()) {
                match read {
                    Ok(Read { image, hash }) => {
                        let of_patient = known.patient(&entry.patient_id);
                        digest.update(format!("{} {hash}\n", entry.image_id));
                        of_patient.iter().for_each(|v| digest.update(v.to_le_bytes()));
                        held += image.bytes();
                        loaded.images.push((held <= cache_bytes).then_some(image));
                        loaded.metadata.push(of_patient);
                        loaded.entries.push(entry.clone());
                    }
                    Err(error) => problems.push(super::data::left_out(entry, &error)),
                }
            }
        }
        progress.finish();
        if loaded.entries.is_empty() {
            let reason = match problems.first() {
                Some(first) => {
                    format!("all {} were left out; the reason for the first is: {}", entries.len(), first.reason)
                }
                None => "there are none; name a folder of images in mean-teacher.unlabelled".into(),
            };
            return Err(TrainError::NoImages { part: "unlabelled", reason });
        }
        loaded.hash = hex(&digest.finalize());
        Ok((loaded, problems))
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no images; never after [`UnlabelledImages::load`].
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The images, in order.
    pub fn entries(&self) -> &[ImageEntry] {
        &self.entries
    }

    /// Width and height of the images in px.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Hash of the ids and contents of all images and of the patients' metadata, hexadecimal.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    fn image(&self, index: usize) -> Result<Cow<'_, FittedImage>, TrainError> {
        match &self.images[index] {
            Some(image) => Ok(Cow::Borrowed(image)),
            None => Ok(Cow::Owned(read(&self.dataset, &self.entries[index], self.size)?.image)),
        }
    }
}

/// An image at the model's size, and the hash of its content.
struct Read {
    image: FittedImage,
    hash: String,
}

fn read(dataset: &Dataset, entry: &ImageEntry, size: Size) -> Result<Read, TrainError> {
    let radiograph = dataset.image(entry)?;
    // The same file scaled by another top level gives another image.
    let hash = match radiograph.pixels.sixteen_bit_top() {
        Some(top) => format!("{} of {top}", radiograph.sha256),
        None => radiograph.sha256,
    };
    Ok(Read { image: FittedImage::new(radiograph.pixels, size), hash })
}

/// Unlabelled images that accompany each batch of labelled ones.
#[derive(Clone, Copy, Debug)]
pub struct Unlabelled<'a> {
    /// The images.
    pub images: &'a UnlabelledImages,
    /// Images per batch.
    pub batch: usize,
}

/// Unlabelled images as student and teacher see them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnlabelledBatch {
    /// The student's images, `[B, C, H, W]`.
    pub student: Vec<f32>,
    /// The teacher's images: the same geometry, other grey levels.
    pub teacher: Vec<f32>,
    /// `[B, 4]`; see [`PatientMetadata`].
    pub metadata: Vec<f32>,
    /// Index of each image in [`UnlabelledImages`].
    pub indices: Vec<usize>,
    /// Index of each image that could not be read again, with the reason.
    pub broken: Vec<(usize, String)>,
}

/// The unlabelled images of batch `batch` of an epoch. All images are used in random order before one is used again; the
/// order and the augmentation follow from (seed, epoch, place).
pub(super) fn make(unlabelled: Unlabelled, loading: &Loading, epoch: u64, batch: usize) -> UnlabelledBatch {
    let Unlabelled { images, batch: count } = unlabelled;
    let own = loading.ranks.own(count);
    let mut made = UnlabelledBatch::default();
    let mut order = (usize::MAX, Vec::new());
    for place in batch * count + own.start..batch * count + own.end {
        let round = place / images.len();
        if order.0 != round {
            let mut rng = generator(loading.seed, Use::UnlabelledOrder, epoch, round as u64);
            order = (round, sampler::permutation(images.len(), &mut rng));
        }
        let index = order.1[place % images.len()];
        let image = match images.image(index) {
            Ok(image) => image,
            Err(error) => {
                made.broken.push((index, error.to_string()));
                continue;
            }
        };
        made.indices.push(index);
        made.metadata.extend(images.metadata[index]);
        let mut rng = generator(loading.seed, Use::UnlabelledAugment, epoch, place as u64);
        let InputImage { levels, normalisation } = loading.input.prepare(&image);
        let words = vec![0; levels.len()];
        let image = LabelledImage::new(images.size, levels, words);
        let [student, teacher] = match loading.augment {
            None => [image.clone(), image],
            Some(augmentations) => augmentations.apply_pair(image, &mut rng),
        };
        normalisation.push(&mut made.student, &student.levels, loading.channels);
        normalisation.push(&mut made.teacher, &teacher.levels, loading.channels);
    }
    made
}

/// A batch of unlabelled images as tensors on the model's device.
#[derive(Debug)]
pub struct UnlabelledTensors {
    student: Tensor,
    teacher: Tensor,
    metadata: Tensor,
}

impl UnlabelledTensors {
    /// Copies a batch of images of `size` to `device`.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn new(
        batch: &UnlabelledBatch,
        size: Size,
        loading: &Loading,
        device: Device,
    ) -> Result<UnlabelledTensors, TchError> {
        let images = |pixels: &[f32]| super::validation::images(pixels, batch.indices.len(), size, loading, device);
        Ok(UnlabelledTensors {
            student: images(&batch.student)?,
            teacher: images(&batch.teacher)?,
            metadata: Tensor::f_from_slice(&batch.metadata)?.f_view([-1, 4])?.f_to_device(device)?,
        })
    }

    /// The student's input.
    pub fn student(&self) -> Input<'_> {
        Input { images: &self.student, metadata: Some(&self.metadata) }
    }

    /// The teacher's input.
    pub fn teacher(&self) -> Input<'_> {
        Input { images: &self.teacher, metadata: Some(&self.metadata) }
    }
}
