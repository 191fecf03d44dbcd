//! Properties of an image that are known before it is read.

use crate::closed_enum::closed_enum;

closed_enum! {
    /// Which part of the data an image belongs to.
    #[derive(Default)]
    pub enum Subset ("subset") {
        /// Annotated, for training.
        #[default]
        Train = "train",
        /// For prediction.
        Test = "test",
    }
}

closed_enum! {
    /// Left or right hand.
    pub enum Side ("side") {
        /// Left.
        L = "L",
        /// Right.
        R = "R",
    }
}

closed_enum! {
    /// Where the masks of an image come from.
    #[derive(Default)]
    pub enum MaskSource ("source of masks") {
        /// Its annotation.
        Annotation = "annotation",
        /// A file of predictions.
        Prediction = "prediction",
        /// There are no masks.
        #[default]
        None = "none",
    }
}

/// One image of the data set.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEntry {
    /// Unique in the data set: the file's name as normalised by [`crate::dataset::image_id`].
    pub image_id: String,
    /// Three digits, or the folder's name without `ID`: `ID040` → `040`.
    pub patient_id: String,
    /// Train or test.
    pub subset: Subset,
    /// File of the image relative to the data folder, with `/`.
    pub image: String,
    /// Place of its annotation, relative to the data folder; `None` if it has none.
    pub annotation: Option<String>,
    /// The longest sequence of digits in the name if it has ten or more (milliseconds, in the data set this is made
    /// for).
    pub timestamp: Option<i64>,
    /// From a correction, else from the name's ending `_R`/`_L`, else from the order of the time stamps within a
    /// patient of exactly two images (earlier is right), else `None`. Also `None` if that order gives the side that is
    /// in the name of the patient's other image.
    pub side: Option<Side>,
    /// Side from the name's ending alone.
    pub side_in_name: Option<Side>,
}

impl ImageEntry {
    /// The image's file name, without folders.
    pub fn file_name(&self) -> &str {
        self.image.rsplit('/').next().unwrap_or(&self.image)
    }
}
