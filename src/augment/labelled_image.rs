use crate::geometry::Size;

/// An image with its labels, as the steps change it.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelledImage {
    /// Width and height in px.
    pub size: Size,
    /// Grey levels, 0 to 255 with fractions, row-major.
    pub levels: Vec<f32>,
    /// Label words, row-major; bit c of a word = class c.
    pub words: Vec<u32>,
    /// The labels of a second image that was blended in.
    pub mixed: Option<MixedLabels>,
}

/// The labels of a second image that was blended in: the target of a class is `(1 - share) * first + share * second`.
#[derive(Clone, Debug, PartialEq)]
pub struct MixedLabels {
    /// Label words of the second image, row-major.
    pub words: Vec<u32>,
    /// Share of the second image, 0 to 1.
    pub share: f32,
}

impl LabelledImage {
    /// An image from its grey levels and label words, both row-major with one entry per pixel.
    pub fn new(size: Size, levels: Vec<f32>, words: Vec<u32>) -> LabelledImage {
        debug_assert!(levels.len() == size.pixels() && words.len() == size.pixels());
        LabelledImage { size, levels, words, mixed: None }
    }
}
