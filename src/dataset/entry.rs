//! What is known of an image before it is read.

use crate::closed_enum::closed_enum;

closed_enum! {
    /// Which part of the data an image belongs to.
    #[derive(Default)]
    pub enum Subset ("subset") {
        /// Annotated, to learn from.
        #[default]
        Train = "train",
        /// To predict.
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
        /// There are none.
        #[default]
        None = "none",
    }
}

/// One image found.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageEntry {
    /// Unique in the data set: what [`crate::dataset::image_id`] makes of the file's name.
    pub image_id: String,
    /// Three digits or whatever the folder says without `ID`: `ID040` → `040`.
    pub patient_id: String,
    /// Train or test.
    pub subset: Subset,
    /// Where the image is: a file relative to the data folder, with `/`.
    pub image: String,
    /// Where its annotation is, relative to the data folder; `None` where there is none.
    pub annotation: Option<String>,
    /// The longest row of digits in the name if it has ten or more (milliseconds, in the data set this is made for).
    pub timestamp: Option<i64>,
    /// From a correction, else from the name's ending `_R`/`_L`, else from the order of the time stamps within a
    /// patient of exactly two images (earlier is right), else `None`. Also `None` where the order gives the side that
    /// the name of the patient's other image claims.
    pub side: Option<Side>,
    /// What the name's ending alone says.
    pub side_in_name: Option<Side>,
}

impl ImageEntry {
    /// The image's file name, without folders.
    pub fn file_name(&self) -> &str {
        self.image.rsplit('/').next().unwrap_or(&self.image)
    }
}
