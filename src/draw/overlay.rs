use image::{GrayImage, Rgb, RgbImage};

use super::label::{self, Name};
use super::paint::{blend, paint};
use super::{Options, Spans, View};
use crate::bones::Bone;
use crate::mask::{HandMasks, RunMask};

/// Colours of a comparison: false positives, false negatives, one class predicted in place of another, agreement.
const FALSE_POSITIVE: [u8; 3] = [226, 26, 28];
const FALSE_NEGATIVE: [u8; 3] = [31, 97, 220];
const WRONG_CLASS: [u8; 3] = [197, 60, 197];
const AGREEMENT: [u8; 3] = [110, 200, 120];
/// Opacity of wrong pixels, and of faint outlines.
const WRONG_ALPHA: f32 = 0.75;
const FAINT_ALPHA: f32 = 0.35;

/// The radiograph with each mask's outline in the colour of its class. The line is inside the mask.
pub fn outlines(image: &GrayImage, masks: &[(Bone, &RunMask)], options: &Options) -> RgbImage {
    emphasised(image, masks, &[], options)
}

/// As [`outlines`], with further masks (`faint`) as thin faint outlines without names.
pub fn emphasised(
    image: &GrayImage,
    strong: &[(Bone, &RunMask)],
    faint: &[(Bone, &RunMask)],
    options: &Options,
) -> RgbImage {
    let (view, mut picture) = canvas(image, options);
    for (bone, mask) in faint {
        paint(&mut picture, &view.spans(mask).border(1), bone.colour(), FAINT_ALPHA);
    }
    let spans: Vec<(Bone, Spans)> = strong.iter().map(|(bone, mask)| (*bone, view.spans(mask))).collect();
    for (bone, spans) in &spans {
        paint(&mut picture, &spans.border(options.line), bone.colour(), 1.0);
    }
    write_names(&mut picture, &spans, options);
    picture
}

/// The radiograph with each mask filled in the colour of its class, with opacity `options.alpha`. Where masks overlap,
/// the colours mix. Each mask has a thin opaque outline.
pub fn filled(image: &GrayImage, masks: &[(Bone, &RunMask)], options: &Options) -> RgbImage {
    let (view, mut picture) = canvas(image, options);
    let spans: Vec<(Bone, Spans)> = masks.iter().map(|(bone, mask)| (*bone, view.spans(mask))).collect();
    for (bone, spans) in &spans {
        paint(&mut picture, spans, bone.colour(), options.alpha);
    }
    for (bone, spans) in &spans {
        paint(&mut picture, &spans.border(1), bone.colour(), 1.0);
    }
    write_names(&mut picture, &spans, options);
    picture
}

/// The radiograph with false positives in red, false negatives in blue, and pixels where one class is predicted in
/// place of another in magenta. The ground truth has a faint outline.
pub fn compare(image: &GrayImage, truth: &HandMasks, prediction: &HandMasks, options: &Options) -> RgbImage {
    const POSITIVE: u8 = 1;
    const NEGATIVE: u8 = 2;
    let (view, mut picture) = canvas(image, options);
    let mut wrong = vec![0u8; (view.width * view.height) as usize];
    let mut named = Vec::new();
    for bone in Bone::all() {
        let (truth, prediction) = (view.spans(&truth[bone]), view.spans(&prediction[bone]));
        paint(&mut picture, &truth.border(1), AGREEMENT, FAINT_ALPHA);
        let (positive, negative) = (prediction.difference(&truth), truth.difference(&prediction));
        for (spans, bit) in [(&positive, POSITIVE), (&negative, NEGATIVE)] {
            for (y, a, b) in spans.iter() {
                let row = (y * view.width) as usize;
                wrong[row + a as usize..row + b as usize].iter_mut().for_each(|w| *w |= bit);
            }
        }
        named.push((bone, if truth.area() > 0 { truth } else { prediction }));
    }
    for (pixel, wrong) in picture.pixels_mut().zip(&wrong) {
        let colour = match *wrong {
            POSITIVE => FALSE_POSITIVE,
            NEGATIVE => FALSE_NEGATIVE,
            0 => continue,
            _ => WRONG_CLASS,
        };
        blend(pixel, colour, WRONG_ALPHA);
    }
    write_names(&mut picture, &named, options);
    picture
}

fn canvas(image: &GrayImage, options: &Options) -> (View, RgbImage) {
    let view = View::new(image.width(), image.height(), options);
    let grey = view.picture(image);
    let picture = RgbImage::from_fn(view.width, view.height, |x, y| Rgb([grey.get_pixel(x, y).0[0]; 3]));
    (view, picture)
}

fn write_names(picture: &mut RgbImage, spans: &[(Bone, Spans)], options: &Options) {
    if !options.labels {
        return;
    }
    let names: Vec<Name> = spans
        .iter()
        .filter_map(|(bone, spans)| {
            let (x, y) = spans.centroid()?;
            Some(Name { text: bone.name(), x, y, colour: bone.colour() })
        })
        .collect();
    label::draw(picture, &names, options.text_px);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::PixelBox;

    fn square(x: u32, y: u32, side: u32) -> RunMask {
        let dense: Vec<u8> = (0..64 * 64)
            .map(|i| u8::from((x..x + side).contains(&(i % 64)) && (y..y + side).contains(&(i / 64))))
            .collect();
        RunMask::from_dense(&dense, 64, 64)
    }

    fn bone(name: &str) -> Bone {
        Bone::from_name(name).unwrap()
    }

    fn none() -> HandMasks {
        HandMasks::empty(64, 64)
    }

    #[test]
    fn an_outline_is_inside_the_mask_in_the_class_colour() {
        let image = GrayImage::from_pixel(64, 64, image::Luma([80]));
        let mask = square(10, 10, 20);
        let picture = outlines(&image, &[(Bone::RADIUS, &mask)], &Options::default());
        assert_eq!(picture.get_pixel(10, 10).0, Bone::RADIUS.colour());
        assert_eq!(picture.get_pixel(11, 20).0, Bone::RADIUS.colour());
        assert_eq!(picture.get_pixel(12, 20).0, [80; 3]);
        assert_eq!(picture.get_pixel(9, 20).0, [80; 3]);
    }

    #[test]
    fn fills_mix_where_they_overlap() {
        let image = GrayImage::from_pixel(64, 64, image::Luma([0]));
        let (a, b) = (square(4, 4, 30), square(20, 20, 30));
        let options = Options { alpha: 0.5, ..Options::default() };
        let picture = filled(&image, &[(bone("Pisiform"), &a), (bone("Triquetrum"), &b)], &options);
        let (only_a, only_b, both) = (picture.get_pixel(8, 8), picture.get_pixel(40, 40), picture.get_pixel(27, 27));
        assert_ne!(only_a, only_b);
        assert!(both != only_a && both != only_b);
        assert_eq!(only_a.0[0], (f32::from(bone("Pisiform").colour()[0]) * 0.5).round() as u8);
    }

    #[test]
    fn errors_are_red_blue_and_magenta() {
        let image = GrayImage::from_pixel(64, 64, image::Luma([0]));
        let (mut truth, mut prediction) = (none(), none());
        let bone = |index| Bone::from_index(index).unwrap();
        truth.set(bone(0), square(0, 0, 20)).unwrap();
        prediction.set(bone(0), square(10, 0, 20)).unwrap();
        truth.set(bone(1), square(40, 40, 10)).unwrap();
        prediction.set(bone(2), square(40, 40, 10)).unwrap();
        let picture = compare(&image, &truth, &prediction, &Options::default());
        let at = |x, y| picture.get_pixel(x, y).0;
        assert!(at(25, 10)[0] > 150 && at(25, 10)[2] < 60, "false positive is red: {:?}", at(25, 10));
        assert!(at(5, 10)[2] > 150 && at(5, 10)[0] < 60, "false negative is blue: {:?}", at(5, 10));
        assert_eq!(at(15, 10), [0; 3], "agreement is not coloured");
        assert!(at(45, 45)[0] > 130 && at(45, 45)[2] > 130 && at(45, 45)[1] < 80, "{:?}", at(45, 45));
    }

    #[test]
    fn names_are_written_only_when_asked_for() {
        let image = GrayImage::from_pixel(64, 64, image::Luma([0]));
        let mask = square(30, 30, 2);
        let plain = outlines(&image, &[(Bone::ULNA, &mask)], &Options::default());
        let named = outlines(&image, &[(Bone::ULNA, &mask)], &Options { labels: true, ..Options::default() });
        let lit = |p: &RgbImage| p.pixels().filter(|p| p.0 != [0; 3]).count();
        assert!(lit(&named) > lit(&plain) + 30);
    }

    #[test]
    fn masks_of_another_size_cover_the_whole_image() {
        let image = GrayImage::new(128, 128);
        let crop = PixelBox { x_min: 0, y_min: 0, x_max: 127, y_max: 127 };
        let options = Options { crop: Some(crop), ..Options::default() };
        let mask = square(0, 0, 32);
        let picture = outlines(&image, &[(Bone::ULNA, &mask)], &options);
        assert_eq!(picture.get_pixel(63, 30).0, Bone::ULNA.colour());
        assert_eq!(picture.get_pixel(64, 30).0, [0; 3]);
    }
}
