//! Pictures of images of the data, drawn for the sections that ask for them.

use image::{DynamicImage, GrayImage, RgbImage};
use polars::prelude::PolarsResult;
use rayon::prelude::*;

use super::evidence::{EVIDENCE_WIDTH, small_jpeg};
use super::{EvidencePictures, Study, sections};
use crate::audit::check_scanned;
use crate::bones::Bone;
use crate::clean::{blacken_background, blacken_strips, find_hand};
use crate::dataset::{Dataset, GreyImage, Levels};
use crate::draw;
use crate::tables::ImageRow;

/// What a picture shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureKind {
    /// The whole image.
    Whole,
    /// The image with its white strips blackened.
    WithoutStrips,
    /// The image with its white strips and everything outside the hand blackened.
    WithoutBackground,
    /// The surroundings of two bones, with the outlines of their annotated masks.
    Bones(Bone, Bone),
}

/// A picture that a section wants to show.
#[derive(Clone, Debug, PartialEq)]
pub struct PictureRequest {
    /// The image.
    pub image: ImageRow,
    /// What to show of it.
    pub kind: PictureKind,
}

impl PictureRequest {
    /// Name of the picture among the study's `examples`: for a whole image its path.
    pub fn key(&self) -> String {
        let path = &self.image.path;
        match self.kind {
            PictureKind::Whole => path.clone(),
            PictureKind::WithoutStrips => format!("{path}\nwithout strips"),
            PictureKind::WithoutBackground => format!("{path}\nwithout background"),
            PictureKind::Bones(a, b) => format!("{path}\n{a} {b}"),
        }
    }
}

impl Study<'_> {
    /// The pictures of the data that the sections show if they are given as `examples`.
    ///
    /// # Errors
    /// polars cannot evaluate the tables.
    pub fn picture_requests(&self) -> PolarsResult<Vec<PictureRequest>> {
        let whole = |(_, image)| PictureRequest { image, kind: PictureKind::Whole };
        let mut requests: Vec<PictureRequest> = self.example_images()?.into_iter().map(whole).collect();
        requests.extend(sections::image_noise::requests(self)?);
        requests.extend(sections::class_overlap::requests(self)?);
        let mut seen = std::collections::HashSet::new();
        requests.retain(|request| seen.insert(request.key()));
        Ok(requests)
    }
}

/// Draws pictures of images of a dataset, scaled down to [`EVIDENCE_WIDTH`]. An image that is not the one from which the row
/// was made is a failure; the others are still drawn.
pub fn read_requested(dataset: &Dataset, requests: &[PictureRequest]) -> EvidencePictures {
    let drawn: Vec<(String, Result<String, String>)> = requests
        .par_iter()
        .map(|request| {
            let named = |reason| format!("{}: {reason}", request.image.image_id);
            (request.key(), picture(dataset, request).and_then(small_jpeg).map_err(named))
        })
        .collect();
    let mut pictures = EvidencePictures::default();
    for (key, result) in drawn {
        match result {
            Ok(jpeg) => drop(pictures.pictures.insert(key, jpeg)),
            // An image that several pictures show fails once.
            Err(reason) if pictures.failures.contains(&reason) => {}
            Err(reason) => pictures.failures.push(reason),
        }
    }
    pictures
}

/// An 8-bit image with 0 as black.
fn grey(image: GrayImage) -> GreyImage {
    let (width, height) = image.dimensions();
    GreyImage::new(width, height, Levels::Eight(image.into_raw())).expect("one level per pixel")
}

fn picture(dataset: &Dataset, request: &PictureRequest) -> Result<DynamicImage, String> {
    let row = &request.image;
    let entry = dataset.find(&row.image_id).ok_or("not in the data folder")?;
    let radiograph = dataset.image(entry).map_err(|e| e.to_string())?;
    check_scanned(row, &radiograph, dataset)?;
    let pixels = radiograph.pixels.into_eight_bit();
    let strips = [row.strip_top_px, row.strip_left_px].map(Option::unwrap_or_default);
    match request.kind {
        PictureKind::Whole => Ok(pixels.into()),
        PictureKind::WithoutStrips => {
            let mut grey = grey(pixels);
            blacken_strips(&mut grey, strips[0], strips[1]);
            Ok(grey.into_eight_bit().into())
        }
        PictureKind::WithoutBackground => {
            let hand = find_hand(&pixels, strips[0], strips[1]).ok_or("no hand was found in the image")?;
            let mut grey = grey(pixels);
            blacken_strips(&mut grey, strips[0], strips[1]);
            blacken_background(&mut grey, &hand);
            Ok(grey.into_eight_bit().into())
        }
        PictureKind::Bones(a, b) => {
            let read = dataset.annotation(entry).map_err(|e| e.to_string())?.ok_or("it has no annotation")?;
            let (width, height) = pixels.dimensions();
            let masks = read.annotation.masks(width, height);
            let crop = draw::crop_around([&masks[a], &masks[b]], 0.5, (width, height));
            let options = draw::Options {
                crop,
                max_size: EVIDENCE_WIDTH,
                max_zoom: 4.0,
                labels: true,
                ..draw::Options::default()
            };
            let picture: RgbImage = draw::outlines(&pixels, &[(a, &masks[a]), (b, &masks[b])], &options);
            Ok(picture.into())
        }
    }
}
