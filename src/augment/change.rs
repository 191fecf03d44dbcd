use tch::{TchError, Tensor};

use super::{Border, Geometry, LabelledImage};

/// The effect of a step on one sample.
pub enum Change {
    /// Moves pixels and labels.
    Geometry {
        /// The place from which each pixel of the result is read.
        source_from_target: Geometry,
        /// The border outside the image; `None` for a map that reads nothing outside.
        border: Option<Border>,
    },
    /// Changes grey levels, or labels, at their place.
    Operation(Box<dyn Operation>),
}

impl Change {
    /// A change of grey levels and labels.
    pub fn operation(operation: impl Operation + 'static) -> Change {
        Change::Operation(Box::new(operation))
    }
}

/// A change of grey levels or labels with all its parameters drawn.
pub trait Operation: Send {
    /// Changes the image. Grey levels stay from 0 to 255.
    fn apply(&self, image: &mut LabelledImage);

    /// The same change on a device; `None`: it is only made on the CPU.
    fn on_device(&self) -> Option<&dyn DeviceOperation> {
        None
    }
}

/// An image with its labels on a device.
pub struct DeviceImage {
    /// Grey levels `[H, W]`, single precision.
    pub levels: Tensor,
    /// Label words `[H, W]`, 32-bit integers.
    pub words: Tensor,
    /// Label words `[H, W]` of a second image, and its share; see [`super::MixedLabels`].
    pub mixed: Option<(Tensor, f32)>,
}

/// A change of grey levels or labels on a device.
pub trait DeviceOperation {
    /// Changes the image as [`Operation::apply`] does, up to rounding.
    ///
    /// # Errors
    /// libtorch reports an error.
    fn apply(&self, image: &mut DeviceImage) -> Result<(), TchError>;
}
