use tch::TchError;

use super::{Change, DeviceImage, LabelledImage, Operation, Warp};

/// Changes of a sample in order, drawn and not yet applied.
#[derive(Default)]
pub struct DrawnChanges(Vec<DrawnChange>);

enum DrawnChange {
    /// Maps that are applied together.
    Maps(Warp),
    Operation(Box<dyn Operation>),
}

impl std::fmt::Debug for DrawnChanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().map(|change| match change {
            DrawnChange::Maps(_) => "maps",
            DrawnChange::Operation(_) => "operation",
        });
        f.debug_list().entries(names).finish()
    }
}

impl DrawnChanges {
    /// Whether nothing is left to change.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a change after the others. A map joins the maps before it unless their borders differ.
    pub(super) fn push(&mut self, change: Change) {
        match change {
            Change::Operation(operation) => self.0.push(DrawnChange::Operation(operation)),
            Change::Geometry { source_from_target, border } => match self.0.last_mut() {
                Some(DrawnChange::Maps(warp)) if warp.can_join(border) => warp.push(source_from_target, border),
                _ => {
                    let mut warp = Warp::default();
                    warp.push(source_from_target, border);
                    self.0.push(DrawnChange::Maps(warp));
                }
            },
        }
    }

    /// The maps at the end.
    pub(super) fn last_maps(&self) -> Option<&Warp> {
        match self.0.last() {
            Some(DrawnChange::Maps(warp)) => Some(warp),
            _ => None,
        }
    }

    /// Whether the last change can be made on a device.
    pub(super) fn last_runs_on_device(&self) -> bool {
        !matches!(self.0.last(), Some(DrawnChange::Operation(operation)) if operation.on_device().is_none())
    }

    /// Applies and removes all changes but the maps at the end.
    pub(super) fn apply_all_but_last_maps(&mut self, image: LabelledImage) -> LabelledImage {
        let rest = match self.0.last() {
            Some(DrawnChange::Maps(_)) => self.0.split_off(self.0.len() - 1),
            _ => Vec::new(),
        };
        let image = self.apply(image);
        self.0 = rest;
        image
    }

    /// Applies all changes to a sample.
    pub fn apply(&self, image: LabelledImage) -> LabelledImage {
        self.0.iter().fold(image, |mut image, change| match change {
            DrawnChange::Maps(warp) => warp.sample(image),
            DrawnChange::Operation(operation) => {
                operation.apply(&mut image);
                image
            }
        })
    }

    /// Applies all changes to a sample on a device, as [`DrawnChanges::apply`] does up to rounding. They are from
    /// [`super::Augmentations::apply_head`], so that all of them can be.
    ///
    /// # Errors
    /// libtorch reports an error.
    pub fn apply_on_device(&self, image: &mut DeviceImage) -> Result<(), TchError> {
        self.0.iter().try_for_each(|change| match change {
            DrawnChange::Maps(warp) => warp.sample_on_device(image),
            DrawnChange::Operation(operation) => {
                operation.on_device().expect("the head applies the others").apply(image)
            }
        })
    }
}
