use image::GrayImage;

use super::Letterbox;
use crate::dataset::{GreyImage, Levels};
use crate::geometry::Size;

/// A radiograph at the model's size in its own depth, with 0 as black: an image of 16 bits keeps all its levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedImage {
    fit: Letterbox,
    grey: GreyImage,
}

impl FittedImage {
    /// Fits `image` into `size`: scaled as by PIL's bilinear resize (a triangle filter as wide as the scale, without
    /// aliasing), at the top left; the rest is black.
    pub fn new(image: GreyImage, size: Size) -> FittedImage {
        let fit = Letterbox::new(image.width(), image.height(), size);
        let image = image.black_is_zero();
        let levels = match image.levels() {
            Levels::Eight(levels) => Levels::Eight(fit.eight_bit(levels)),
            Levels::Sixteen(levels) => {
                let top = image.top();
                let levels: Vec<u16> = levels.iter().map(|v| (*v).min(top)).collect();
                Levels::Sixteen(fit.sixteen_bit(&levels))
            }
        };
        let grey = image.with_levels(size.width, size.height, levels).expect("one level per pixel of the model's size");
        FittedImage { fit, grey }
    }

    /// Where the image lies.
    pub fn fit(&self) -> &Letterbox {
        &self.fit
    }

    /// The grey levels at the model's size, in the image's own depth.
    pub fn grey(&self) -> &GreyImage {
        &self.grey
    }

    /// The grey levels at the model's size as 8 bits.
    pub fn eight_bit(&self) -> GrayImage {
        self.grey.clone().into_eight_bit()
    }

    /// Number of bytes of the grey levels.
    pub fn bytes(&self) -> usize {
        match self.grey.levels() {
            Levels::Eight(levels) => levels.len(),
            Levels::Sixteen(levels) => 2 * levels.len(),
        }
    }

    /// How often each level occurs in the image without the black around it: one count per level up to the highest.
    pub fn histogram(&self) -> Vec<u32> {
        match self.grey.levels() {
            Levels::Eight(levels) => self.counted(levels),
            Levels::Sixteen(levels) => self.counted(levels),
        }
    }

    fn counted<T: Copy + Into<usize>>(&self, levels: &[T]) -> Vec<u32> {
        let mut counts = vec![0; usize::from(self.grey.top()) + 1];
        for level in self.inner(levels) {
            let level: usize = (*level).into();
            counts[level.min(usize::from(self.grey.top()))] += 1;
        }
        counts
    }

    /// The values of the image without those around it; `values` has one per pixel of the model's size.
    pub fn inner<'a, T>(&self, values: &'a [T]) -> impl Iterator<Item = &'a T> {
        let Letterbox { size, inner_width, inner_height, .. } = self.fit;
        let rows = values.chunks_exact(size.width as usize).take(inner_height as usize);
        rows.flat_map(move |row| &row[..inner_width as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Polarity;

    fn twelve_bit(levels: Vec<u16>) -> GreyImage {
        GreyImage::new(4, 2, Levels::Sixteen(levels)).unwrap().with_top(4095)
    }

    #[test]
    fn sixteen_bits_are_kept_and_eight_are_those_of_the_image() {
        let levels = vec![0, 1, 2, 3, 4095, 5000, 4000, 100];
        let fitted = FittedImage::new(twelve_bit(levels.clone()), Size { width: 6, height: 4 });
        assert_eq!((fitted.fit().inner_width, fitted.fit().inner_height), (6, 3));
        let fitted = FittedImage::new(twelve_bit(levels), Size { width: 4, height: 4 });
        let kept = Levels::Sixteen(vec![0, 1, 2, 3, 4095, 4095, 4000, 100, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((fitted.grey().levels(), fitted.grey().top()), (&kept, 4095));
        assert_eq!(fitted.eight_bit().into_raw()[..8], [0, 0, 0, 0, 255, 255, 250, 6]);
        assert_eq!((fitted.bytes(), fitted.histogram()[4095], fitted.histogram()[0]), (32, 2, 1));
        let eight = GreyImage::new(2, 1, Levels::Eight(vec![7, 9])).unwrap();
        let fitted = FittedImage::new(eight, Size::square(2));
        assert_eq!((fitted.eight_bit().into_raw(), fitted.bytes()), (vec![7, 9, 0, 0], 4));
    }

    /// The black around an image with white as 0 would be white.
    #[test]
    fn the_surroundings_are_black_whatever_the_polarity() {
        let white = twelve_bit(vec![95; 8]).with_polarity(Polarity::WhiteIsZero);
        let fitted = FittedImage::new(white, Size::square(4));
        assert_eq!(fitted.grey().levels(), &Levels::Sixteen([[4000; 8], [0; 8]].concat()));
        assert_eq!(fitted.grey().polarity(), Polarity::BlackIsZero);
    }
}
