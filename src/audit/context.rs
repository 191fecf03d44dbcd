use std::collections::BTreeMap;

use rayon::prelude::*;

use super::Settings;
use super::population::{Hand, Model, Verdict};
use crate::bones::{Bone, COUNT};
use crate::dataset::Side;
use crate::scores::DiceTable;
use crate::tables::{BoneRow, ImageRow, Tables};
use crate::wording::counted;

/// What the checks look at.
pub struct Context<'a> {
    /// The scan's tables.
    pub tables: &'a Tables,
    /// Thresholds.
    pub settings: &'a Settings,
    /// Dice per image and class, where given.
    pub scores: Option<&'a DiceTable>,
    /// The bones of each image.
    pub bones: Vec<Vec<&'a BoneRow>>,
    /// Images of each patient, by image ID.
    pub patients: BTreeMap<&'a str, Vec<usize>>,
    /// The model of a hand, learnt from these hands.
    pub model: Model,
    /// Each image's hand against the model; `None` without masks.
    pub verdicts: Vec<Option<Verdict>>,
}

impl<'a> Context<'a> {
    /// Learns the model and judges every hand. Hands are taken in the order of their IDs, so that the order of
    /// the table's rows changes nothing.
    pub fn new(tables: &'a Tables, settings: &'a Settings, scores: Option<&'a DiceTable>) -> Self {
        let index: BTreeMap<&str, usize> =
            tables.images.iter().enumerate().map(|(i, r)| (r.image_id.as_str(), i)).collect();
        let mut bones = vec![Vec::new(); tables.images.len()];
        for row in &tables.bones {
            if let Some(i) = index.get(row.image_id.as_str()) {
                bones[*i].push(row);
            }
        }
        bones.iter_mut().for_each(|rows: &mut Vec<&BoneRow>| rows.sort_by_key(|r| r.class));
        let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (id, i) in &index {
            debug_assert_eq!(tables.images[*i].image_id, *id);
            patients.entry(tables.images[*i].patient_id.as_str()).or_default().push(*i);
        }
        let hands: Vec<Hand> =
            index.values().filter(|i| !bones[**i].is_empty()).map(|i| Hand::new(*i, &bones[*i])).collect();
        let model = Model::learnt(&hands);
        let mut verdicts = vec![None; tables.images.len()];
        for verdict in hands.par_iter().map(|h| model.verdict(h)).collect::<Vec<_>>() {
            let image = verdict.hand.image;
            verdicts[image] = Some(verdict);
        }
        Context { tables, settings, scores, bones, patients, model, verdicts }
    }

    /// Row of an image.
    pub fn image(&self, i: usize) -> &'a ImageRow {
        &self.tables.images[i]
    }

    /// Images in the order of their IDs.
    pub fn images(&self) -> impl Iterator<Item = usize> + '_ {
        let mut order: Vec<usize> = (0..self.tables.images.len()).collect();
        order.sort_by(|a, b| self.tables.images[*a].image_id.cmp(&self.tables.images[*b].image_id));
        order.into_iter()
    }

    /// Image, bone and row of every outline, in the order of [`Context::images`].
    pub fn outlines(&self) -> impl Iterator<Item = (usize, Bone, &'a BoneRow)> + '_ {
        let of_image = |i: usize| {
            self.bones[i].iter().filter_map(move |row| Some((i, Bone::from_index(row.class as usize)?, *row)))
        };
        self.images().flat_map(of_image)
    }

    /// Hands that have a frame, with their verdicts.
    pub fn judged(&self) -> impl Iterator<Item = (usize, &Verdict, &super::population::Judged)> + '_ {
        self.images().filter_map(|i| {
            let verdict = self.verdicts[i].as_ref()?;
            Some((i, verdict, verdict.judged.as_ref()?))
        })
    }

    /// Left or right by the bones' layout as a whole; where that cannot be told, by thumb and little finger.
    pub fn side_seen(&self, image: usize) -> Option<Side> {
        let judged = self.verdicts[image].as_ref().and_then(|v| v.judged.as_ref());
        match judged {
            // Half a hand of wrong labels can look like its mirror image.
            Some(j) if 2 * j.place.removed < j.place.residuals.iter().flatten().count() => {
                Some(if j.fit.mirrored { Side::L } else { Side::R })
            }
            _ => self.image(image).side_by_anatomy,
        }
    }

    /// What the model rests on, for messages.
    pub fn basis(&self) -> String {
        match self.model.hands {
            0 => "judged by the anatomy table alone".to_owned(),
            n if n < 60 => format!("judged by the anatomy table and {}", counted(n, "hand", "hands")),
            n => format!("judged by {n} hands"),
        }
    }
}

/// The bone of a channel known to exist.
pub fn bone(class: usize) -> Bone {
    debug_assert!(class < COUNT);
    Bone::from_index(class).unwrap_or(Bone::CAPITATE)
}

/// The label that bone `b` carries in the file: after proposed changes of labels it is known by that.
pub fn label_in_file(verdict: &Verdict, b: usize) -> Bone {
    let label = verdict.labels.iter().enumerate().find(|(from, to)| **to == b && verdict.hand.drawn[*from]);
    bone(label.map_or(b, |l| l.0))
}
