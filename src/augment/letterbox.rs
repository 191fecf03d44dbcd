use fast_image_resize::images::{Image as Buffer, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::GrayImage;

use crate::geometry::Size;
use crate::mask::{HandMasks, LabelImage};

/// Fits an image into the size that a model takes: the image is scaled with its aspect ratio kept and placed at the top
/// left; the rest is black.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letterbox {
    /// Width of the image in px.
    pub width: u32,
    /// Height of the image in px.
    pub height: u32,
    /// The model's size in px.
    pub size: Size,
    /// Width of the scaled image in px.
    pub inner_width: u32,
    /// Height of the scaled image in px.
    pub inner_height: u32,
}

impl Letterbox {
    /// Fits an image of `width` x `height` px into `size`. All must be above 0.
    pub fn new(width: u32, height: u32, size: Size) -> Letterbox {
        let [wide, high] = [(size.width, width), (size.height, height)].map(|(to, from)| f64::from(to) / f64::from(from));
        let scaled = |side: u32, most: u32| ((f64::from(side) * wide.min(high)).round() as u32).clamp(1, most);
        let (inner_width, inner_height) = (scaled(width, size.width), scaled(height, size.height));
        Letterbox { width, height, size, inner_width, inner_height }
    }

    /// The image at the model's size, a byte per pixel, row-major. Scaled as by PIL's bilinear resize: a triangle filter as wide
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

    /// The label image at the model's size, a word per pixel, row-major. Each pixel has the label at its centre, as in
    /// [`crate::mask::RunMask::resized`].
    pub fn words(&self, masks: &HandMasks) -> Vec<u32> {
        self.padded(&LabelImage::from_masks_resized(masks, self.inner_width, self.inner_height).words)
    }

    fn padded<T: Copy + Default>(&self, inner: &[T]) -> Vec<T> {
        let width = self.size.width as usize;
        let mut padded = vec![T::default(); self.size.pixels()];
        for (row, source) in inner.chunks_exact(self.inner_width as usize).enumerate() {
            padded[row * width..row * width + source.len()].copy_from_slice(source);
        }
        padded
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bones::Bone;
    use crate::mask::RunMask;

    #[test]
    fn the_aspect_ratio_is_kept_and_the_rest_is_black() {
        let fit = Letterbox::new(40, 20, Size::square(32));
        assert_eq!((fit.inner_width, fit.inner_height), (32, 16));
        let square = fit.image(&GrayImage::from_pixel(40, 20, image::Luma([200])));
        assert!(square[..16 * 32].iter().all(|v| *v == 200) && square[16 * 32..].iter().all(|v| *v == 0));
        let mut masks = HandMasks::empty(40, 20);
        masks.set(Bone::from_index(5).unwrap(), RunMask::full(40, 20)).unwrap();
        let words = fit.words(&masks);
        assert!(words[..16 * 32].iter().all(|w| *w == 32) && words[16 * 32..].iter().all(|w| *w == 0));
    }

    #[test]
    fn the_shorter_scale_decides_where_neither_is_square() {
        let inner = |width, height, size| {
            let fit = Letterbox::new(width, height, size);
            (fit.inner_width, fit.inner_height)
        };
        let (wide, high) = (Size { width: 96, height: 32 }, Size { width: 32, height: 96 });
        assert_eq!((inner(40, 20, wide), inner(40, 20, high)), ((64, 32), (32, 16)));
        assert_eq!((inner(20, 60, wide), inner(20, 60, high)), ((11, 32), (32, 96)));
        // A thin image keeps one pixel.
        assert_eq!(inner(1, 5000, wide), (1, 32));
        let image = GrayImage::from_pixel(40, 20, image::Luma([9]));
        let fitted = Letterbox::new(40, 20, wide).image(&image);
        assert_eq!(fitted.len(), 96 * 32);
        assert!(fitted.chunks_exact(96).all(|row| row[..64] == [9; 64] && row[64..] == [0; 32]));
    }

    #[test]
    fn an_image_of_the_same_size_is_copied() {
        let image = GrayImage::from_fn(8, 8, |x, y| image::Luma([(x * 8 + y) as u8]));
        assert_eq!(Letterbox::new(8, 8, Size::square(8)).image(&image), image.into_raw());
    }
}
