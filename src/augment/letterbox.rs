use fast_image_resize::images::{Image as Buffer, ImageRef, TypedImage, TypedImageRef};
use fast_image_resize::pixels::{InnerPixel, U16};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

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
        let [wide, high] =
            [(size.width, width), (size.height, height)].map(|(to, from)| f64::from(to) / f64::from(from));
        let scaled = |side: u32, most: u32| ((f64::from(side) * wide.min(high)).round() as u32).clamp(1, most);
        let (inner_width, inner_height) = (scaled(width, size.width), scaled(height, size.height));
        Letterbox { width, height, size, inner_width, inner_height }
    }

    /// An image of 8 bits at the model's size, row-major. Scaled as by PIL's bilinear resize: a triangle filter as wide as
    /// the scale, without aliasing. `levels` has one entry per pixel of the image.
    pub fn eight_bit(&self, levels: &[u8]) -> Vec<u8> {
        if self.keeps_size() {
            return self.padded(levels);
        }
        let source = ImageRef::new(self.width, self.height, levels, PixelType::U8).expect(ONE_PER_PIXEL);
        let mut target = Buffer::new(self.inner_width, self.inner_height, PixelType::U8);
        Resizer::new().resize(&source, &mut target, &bilinear()).expect(SAME_KIND);
        self.padded(target.buffer())
    }

    /// As [`Letterbox::eight_bit`], of 16 bits.
    pub fn sixteen_bit(&self, levels: &[u16]) -> Vec<u16> {
        if self.keeps_size() {
            return self.padded(levels);
        }
        let pixels: Vec<U16> = levels.iter().map(|v| U16::new(*v)).collect();
        let source = TypedImageRef::new(self.width, self.height, &pixels).expect(ONE_PER_PIXEL);
        let mut target = TypedImage::<U16>::new(self.inner_width, self.inner_height);
        Resizer::new().resize_typed(&source, &mut target, &bilinear()).expect(SAME_KIND);
        self.padded(U16::components(target.pixels()))
    }

    /// The label image at the model's size, a word per pixel, row-major. Each pixel has the label at its centre, as in
    /// [`crate::mask::RunMask::resized`].
    pub fn words(&self, masks: &HandMasks) -> Vec<u32> {
        self.padded(&LabelImage::from_masks_resized(masks, self.inner_width, self.inner_height).words)
    }

    fn keeps_size(&self) -> bool {
        self.inner_width == self.width && self.inner_height == self.height
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

const ONE_PER_PIXEL: &str = "a grey image has one level per pixel";
const SAME_KIND: &str = "both images are grey, of one depth, and not empty";

fn bilinear() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
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
        let square = fit.eight_bit(&[200; 40 * 20]);
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
        let fitted = Letterbox::new(40, 20, wide).eight_bit(&[9; 40 * 20]);
        assert_eq!(fitted.len(), 96 * 32);
        assert!(fitted.chunks_exact(96).all(|row| row[..64] == [9; 64] && row[64..] == [0; 32]));
    }

    #[test]
    fn an_image_of_the_same_size_is_copied() {
        let (fit, levels) = (Letterbox::new(8, 8, Size::square(8)), Vec::from_iter(0..64));
        assert_eq!(fit.eight_bit(&levels), levels);
        let levels: Vec<u16> = levels.into_iter().map(|v| u16::from(v) * 1000).collect();
        assert_eq!(fit.sixteen_bit(&levels), levels);
    }
}
