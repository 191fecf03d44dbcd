use fast_image_resize::images::{Image as Buffer, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::GrayImage;

use crate::mask::{HandMasks, LabelImage};

/// Fits an image into the square that a model takes: the image is scaled with its aspect ratio kept and placed at the
/// top left; the rest is black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SquareFit {
    /// Width of the image in px.
    pub width: u32,
    /// Height of the image in px.
    pub height: u32,
    /// Side of the model's square in px.
    pub size: u32,
    /// Width of the scaled image in px.
    pub inner_width: u32,
    /// Height of the scaled image in px.
    pub inner_height: u32,
}

impl SquareFit {
    /// Fits an image of `width` x `height` px into a square of side `size` px. All must be above 0.
    pub fn new(width: u32, height: u32, size: u32) -> SquareFit {
        let scale = f64::from(size) / f64::from(width.max(height));
        let scaled = |side: u32| ((f64::from(side) * scale).round() as u32).clamp(1, size);
        SquareFit { width, height, size, inner_width: scaled(width), inner_height: scaled(height) }
    }

    /// The square image, `size * size` bytes, row-major. Scaled as by PIL's bilinear resize: a triangle filter as wide
    /// as the scale, without aliasing.
    pub fn image(&self, image: &GrayImage) -> Vec<u8> {
        debug_assert_eq!(image.dimensions(), (self.width, self.height));
        if self.inner_width == self.width && self.inner_height == self.height {
            return self.padded(image.as_raw());
        }
        let source = ImageRef::new(self.width, self.height, image.as_raw(), PixelType::U8)
            .expect("a grey image has width * height bytes");
        let mut target = Buffer::new(self.inner_width, self.inner_height, PixelType::U8);
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        Resizer::new().resize(&source, &mut target, &options).expect("both images are 8-bit grey and not empty");
        self.padded(target.buffer())
    }

    /// The square label image, `size * size` words, row-major. Each pixel has the label at its centre, as in
    /// [`crate::mask::RunMask::resized`].
    pub fn words(&self, masks: &HandMasks) -> Vec<u32> {
        self.padded(&LabelImage::from_masks_resized(masks, self.inner_width, self.inner_height).words)
    }

    fn padded<T: Copy + Default>(&self, inner: &[T]) -> Vec<T> {
        let size = self.size as usize;
        let mut square = vec![T::default(); size * size];
        for (row, source) in inner.chunks_exact(self.inner_width as usize).enumerate() {
            square[row * size..row * size + source.len()].copy_from_slice(source);
        }
        square
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones::Bone;
    use crate::mask::RunMask;

    #[test]
    fn the_aspect_ratio_is_kept_and_the_rest_is_black() {
        let fit = SquareFit::new(40, 20, 32);
        assert_eq!((fit.inner_width, fit.inner_height), (32, 16));
        let square = fit.image(&GrayImage::from_pixel(40, 20, image::Luma([200])));
        assert!(square[..16 * 32].iter().all(|v| *v == 200) && square[16 * 32..].iter().all(|v| *v == 0));
        let mut masks = HandMasks::empty(40, 20);
        masks.set(Bone::from_index(5).unwrap(), RunMask::full(40, 20)).unwrap();
        let words = fit.words(&masks);
        assert!(words[..16 * 32].iter().all(|w| *w == 32) && words[16 * 32..].iter().all(|w| *w == 0));
    }

    #[test]
    fn an_image_of_the_same_size_is_copied() {
        let image = GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * 8 + y) as u8]));
        assert_eq!(SquareFit::new(8, 8, 8).image(&image), image.into_raw());
    }
}
