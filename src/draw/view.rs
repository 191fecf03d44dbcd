use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::GrayImage;

use super::{Options, Spans};
use crate::geometry::PixelBox;
use crate::mask::RunMask;

/// The part of an image that a picture shows, and the size of the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    crop: PixelBox,
    image: (u32, u32),
    /// Columns of the picture.
    pub width: u32,
    /// Rows of the picture.
    pub height: u32,
}

impl View {
    /// The view of an image of `width` x `height` pixels. A crop that extends beyond the image is cut to it; a crop
    /// outside the image shows the nearest pixels.
    pub fn new(width: u32, height: u32, options: &Options) -> View {
        let (right, bottom) = (width.saturating_sub(1), height.saturating_sub(1));
        let all = PixelBox { x_min: 0, y_min: 0, x_max: right, y_max: bottom };
        let crop = options.crop.map_or(all, |c| {
            let (x_min, y_min) = (c.x_min.min(right), c.y_min.min(bottom));
            PixelBox { x_min, y_min, x_max: c.x_max.clamp(x_min, right), y_max: c.y_max.clamp(y_min, bottom) }
        });
        let longest = f64::from(crop.width().max(crop.height()));
        let scale = (f64::from(options.max_size.max(1)) / longest).min(options.max_zoom.max(f64::MIN_POSITIVE));
        let side = |n: u32| ((f64::from(n) * scale).round() as u32).max(1);
        View { crop, image: (width, height), width: side(crop.width()), height: side(crop.height()) }
    }

    /// The part of the radiograph, resized: averaged if it is reduced, interpolated if it is enlarged.
    pub fn picture(&self, image: &GrayImage) -> GrayImage {
        if image.width() == 0 || image.height() == 0 {
            return GrayImage::new(self.width, self.height);
        }
        let c = self.crop;
        let filter = if self.width < c.width() { FilterType::Hamming } else { FilterType::CatmullRom };
        let options = ResizeOptions::new()
            .crop(f64::from(c.x_min), f64::from(c.y_min), f64::from(c.width()), f64::from(c.height()))
            .resize_alg(ResizeAlg::Convolution(filter));
        let mut picture = GrayImage::new(self.width, self.height);
        Resizer::new()
            .resize(image, &mut picture, &options)
            .expect("the crop is in the image and both images are 8-bit grey");
        picture
    }

    /// The mask in pixels of the picture, by the nearest source pixel. A mask of another size is scaled to the size of
    /// the image.
    pub fn spans(&self, mask: &RunMask) -> Spans {
        let rows: Vec<(u32, u32, u32)> = mask.rows().collect();
        let step_y = f64::from(self.crop.height()) / f64::from(self.height);
        let (mask_x, mask_y) = (
            f64::from(self.image.0) / f64::from(mask.width().max(1)),
            f64::from(mask.height()) / f64::from(self.image.1.max(1)),
        );
        let scale_x = f64::from(self.width) / f64::from(self.crop.width());
        let column = |x: u32| {
            let x = (f64::from(x) * mask_x - f64::from(self.crop.x_min)) * scale_x - 0.5;
            x.ceil().clamp(0.0, f64::from(self.width)) as u32
        };
        let out = (0..self.height)
            .map(|v| {
                let y = f64::from(self.crop.y_min) + ((f64::from(v) + 0.5) * step_y).floor();
                let y = ((y + 0.5) * mask_y) as u32;
                let from = rows.partition_point(|r| r.0 < y);
                let mut spans: Vec<(u32, u32)> = Vec::new();
                for &(_, a, b) in rows[from..].iter().take_while(|r| r.0 == y) {
                    let (a, b) = (column(a), column(b));
                    match spans.last_mut() {
                        Some(last) if last.1 >= a => last.1 = last.1.max(b),
                        _ if a < b => spans.push((a, b)),
                        _ => {}
                    }
                }
                spans
            })
            .collect();
        Spans::from_rows(self.width, out)
    }

    /// Converts a position (x, y) in the image to a position in the picture.
    pub fn place(&self, x: f64, y: f64) -> (f64, f64) {
        let c = self.crop;
        (
            (x + 0.5 - f64::from(c.x_min)) * f64::from(self.width) / f64::from(c.width()) - 0.5,
            (y + 0.5 - f64::from(c.y_min)) * f64::from(self.height) / f64::from(c.height()) - 0.5,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(width: u32, height: u32, set: impl Fn(u32, u32) -> bool) -> RunMask {
        let dense: Vec<u8> = (0..width * height).map(|i| u8::from(set(i % width, i / width))).collect();
        RunMask::from_dense(&dense, width, height)
    }

    #[test]
    fn a_view_at_full_size_keeps_every_pixel() {
        let set = |x: u32, y: u32| (x * 7 + y * 13) % 5 < 2;
        let view = View::new(40, 30, &Options::default());
        assert_eq!((view.width, view.height), (40, 30));
        let spans = view.spans(&mask(40, 30, set));
        let mut seen = vec![false; 1200];
        spans.iter().for_each(|(y, a, b)| (a..b).for_each(|x| seen[(y * 40 + x) as usize] = true));
        assert!((0..1200).all(|i| seen[i as usize] == set(i % 40, i / 40)));
    }

    #[test]
    fn crops_and_zooms_take_the_nearest_source_pixel() {
        let set = |x: u32, y: u32| x / 4 % 2 == y / 4 % 2;
        let crop = PixelBox { x_min: 8, y_min: 4, x_max: 27, y_max: 23 };
        let options = Options { crop: Some(crop), max_size: 60, max_zoom: 3.0, ..Options::default() };
        let view = View::new(64, 64, &options);
        assert_eq!((view.width, view.height), (60, 60));
        let spans = view.spans(&mask(64, 64, set));
        let mut seen = vec![false; 3600];
        spans.iter().for_each(|(y, a, b)| (a..b).for_each(|x| seen[(y * 60 + x) as usize] = true));
        assert!((0..3600).all(|i| seen[i as usize] == set(8 + i % 60 / 3, 4 + i / 60 / 3)));
        let (x, y) = view.place(8.0, 4.0);
        assert!((x - 1.0).abs() < 1e-9 && (y - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_crop_outside_the_image_shows_its_nearest_pixels() {
        let crop = PixelBox { x_min: 500, y_min: 2, x_max: 900, y_max: 3 };
        let view = View::new(10, 10, &Options { crop: Some(crop), ..Options::default() });
        assert_eq!((view.width, view.height), (1, 2));
        assert_eq!(view.picture(&GrayImage::new(10, 10)).dimensions(), (1, 2));
    }
}
