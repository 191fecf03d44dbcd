use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use super::seeds::{Use, generator};
use super::unlabelled::{self, Unlabelled, UnlabelledBatch};
use super::{InputImage, InputSettings, Ranks, Sample, Samples, TrainConfig, TrainError, batches};
use crate::augment::{
    Augmentations, DrawnChanges, LabelledImage, MixedLabels, Normalisation, OtherImages, PartlyAugmented,
};
use crate::geometry::Size;
use crate::models::BonePairs;

/// How batches are made.
#[derive(Clone)]
pub struct Loading<'a> {
    /// Samples per batch; the last batch may have fewer.
    pub batch: usize,
    /// Augmentation of each sample; `None`: none.
    pub augment: Option<&'a Augmentations>,
    /// Whether the model's device makes the changes that it can make; see [`Augmentations::apply_head`].
    pub augment_on_device: bool,
    /// From the images to the model's input.
    pub input: &'a InputSettings,
    /// Number of input channels.
    pub channels: usize,
    /// Pairs of bones whose overlap is marked in the labels when they are final.
    pub pairs: &'a BonePairs,
    /// Whether channels are innermost in memory (channels last).
    pub channels_last: bool,
    /// See [`super::TrainConfig::seed`].
    pub seed: u64,
    /// Number of threads, at least 1.
    pub workers: usize,
    /// Unlabelled images that accompany each batch; `None`: none.
    pub unlabelled: Option<Unlabelled<'a>>,
    /// The processes that share each batch; only the part of this one is made.
    pub ranks: &'a dyn Ranks,
}

impl<'a> Loading<'a> {
    /// How the training batches of a stage are made, without unlabelled images; `settings` are those of the run.
    pub(super) fn of(settings: &'a TrainConfig, stage: &'a TrainConfig, ranks: &'a dyn Ranks) -> Loading<'a> {
        Loading {
            batch: stage.batch,
            augment: Some(&stage.augment),
            augment_on_device: settings.augment_on_device.unwrap_or(false),
            input: &settings.input,
            channels: settings.model.in_channels as usize,
            pairs: &settings.model.pairs,
            channels_last: settings.channels_last,
            seed: settings.seed,
            workers: settings.workers.max(1),
            unlabelled: None,
            ranks,
        }
    }
}

/// A batch of samples as a model takes it.
#[derive(Debug)]
pub struct Batch {
    /// `[B, C, H, W]`; with `rest` `[B, H, W]`.
    pub pixels: Vec<f32>,
    /// The changes per sample that the device still has to make. `pixels` are grey levels, 0 to 255, before them and
    /// before the normalisation.
    pub rest: Option<Vec<DrawnChanges>>,
    /// The normalisation of each sample.
    pub normalisations: Vec<Normalisation>,
    /// `[B, H, W]`, bit c of a word = class c.
    pub words: Vec<i32>,
    /// `[B, 4]`; see [`super::PatientMetadata`].
    pub metadata: Vec<f32>,
    /// Index of each sample in the data set.
    pub indices: Vec<usize>,
    /// Index of each sample of this batch that could not be read again, with the reason.
    pub broken: Vec<(usize, String)>,
    /// The unlabelled images of this batch, if the run uses any.
    pub unlabelled: Option<UnlabelledBatch>,
    /// The labels of the image that was blended into each sample; `None`: none was.
    pub mixed: Vec<Option<MixedLabels>>,
}

/// The batches of an epoch in order, prepared in advance by threads of `scope`. The result does not depend on the
/// number of threads: each sample's augmentation is drawn from (seed, epoch, its place in the order).
pub(super) struct Batches {
    queues: Vec<Receiver<Batch>>,
    next: usize,
    end: usize,
}

impl Batches {
    /// Batches `first..` of the epoch whose order is `order`.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        dataset: &'scope Samples,
        order: &'scope [usize],
        loading: &'scope Loading<'scope>,
        epoch: u64,
        first: usize,
    ) -> Batches {
        let end = batches(order.len(), loading.batch);
        let workers = loading.workers.clamp(1, end.saturating_sub(first).max(1));
        let queues = (0..workers).map(|worker| {
            // Each thread prepares two batches in advance: enough to hide a slow sample, with bounded memory.
            let (sender, receiver) = sync_channel(2);
            scope.spawn(move || {
                for batch in (first + worker..end).step_by(workers) {
                    let made = make(dataset, order, loading, epoch, batch);
                    // The receiver no longer exists if the run ends early.
                    if sender.send(made).is_err() {
                        break;
                    }
                }
            });
            receiver
        });
        Batches { queues: queues.collect(), next: first, end }
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, TrainError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.end {
            return None;
        }
        // Worker w makes every `workers`-th batch, starting with batch w, so that asking the workers in turn keeps the
        // order.
        let turn = self.queues.remove(0);
        let made = turn.recv().map_err(|_| TrainError::Worker);
        self.queues.push(turn);
        self.next += 1;
        Some(made)
    }
}

pub(super) fn make(dataset: &Samples, order: &[usize], loading: &Loading, epoch: u64, batch: usize) -> Batch {
    let size = dataset.size();
    let pixels = size.pixels();
    let whole = batch * loading.batch..((batch + 1) * loading.batch).min(order.len());
    let own = loading.ranks.own(whole.len());
    let places = whole.start + own.start..whole.start + own.end;
    let augment_on_device = loading.augment_on_device && loading.augment.is_some();
    let mut made = Batch {
        pixels: Vec::with_capacity(places.len() * loading.channels * pixels),
        rest: augment_on_device.then(Vec::new),
        normalisations: Vec::with_capacity(places.len()),
        words: Vec::with_capacity(places.len() * pixels),
        metadata: Vec::with_capacity(places.len() * 4),
        indices: Vec::with_capacity(places.len()),
        broken: Vec::new(),
        unlabelled: loading.unlabelled.map(|images| unlabelled::make(images, loading, epoch, batch)),
        mixed: Vec::with_capacity(places.len()),
    };
    let others = InputImages { samples: dataset, input: loading.input };
    for place in places {
        let sample = match dataset.sample(order[place]) {
            Ok(sample) => sample,
            // The file could be read when the run started. The batch is made without it.
            Err(error) => {
                made.broken.push((order[place], error.to_string()));
                continue;
            }
        };
        made.indices.push(order[place]);
        made.metadata.extend(dataset.metadata(order[place]));
        let PreparedSample { mut image, normalisation } = prepared(&sample, size, loading.input);
        if let Some(augmentations) = loading.augment {
            let mut rng = generator(loading.seed, Use::Augment, epoch, place as u64);
            if let Some(all) = &mut made.rest {
                let PartlyAugmented { image: partly, rest } = augmentations.apply_head(image, &others, &mut rng);
                image = partly;
                all.push(rest);
            } else {
                image = augmentations.apply(image, &others, &mut rng);
            }
        }
        match made.rest {
            Some(_) => made.pixels.extend(&image.levels),
            None => normalisation.push(&mut made.pixels, &image.levels, loading.channels),
        }
        made.normalisations.push(normalisation);
        made.words.extend(image.words.into_iter().map(|w| w as i32));
        made.mixed.push(image.mixed);
    }
    made
}

/// A sample as the augmentation takes it, and the normalisation after it.
struct PreparedSample {
    image: LabelledImage,
    normalisation: Normalisation,
}

fn prepared(sample: &Sample, size: Size, input: &InputSettings) -> PreparedSample {
    let InputImage { levels, normalisation } = input.prepare(&sample.image);
    PreparedSample { image: LabelledImage::new(size, levels, sample.words()), normalisation }
}

/// The samples as the augmentation takes them.
struct InputImages<'a> {
    samples: &'a Samples,
    input: &'a InputSettings,
}

impl OtherImages for InputImages<'_> {
    fn count(&self) -> usize {
        self.samples.len()
    }

    fn image(&self, index: usize) -> Option<LabelledImage> {
        let sample = self.samples.sample(index).ok()?;
        Some(prepared(&sample, self.samples.size(), self.input).image)
    }
}
