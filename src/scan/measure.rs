use super::{ScanSettings, blank_row};
use crate::bones::{self, Bone};
use crate::dataset::MaskSource;
use crate::dataset::annotation::Shape;
use crate::dataset::image::{Radiograph, Reader};
use crate::dataset::{Dataset, ImageEntry, Polarity, Problem, ProblemSeverity, Subset};
use crate::features::{self, MaskOutline, Radii, UprightLevels};
use crate::geometry::{PixelBox, Point};
use crate::mask::{self, HandMasks, RunMask};
use crate::tables::{BoneRow, ImageRow, OverlapRow, ShapeRow};

/// The rows of one image, and the problems found in it.
#[derive(Clone, Debug)]
pub struct MeasuredImage {
    pub image: ImageRow,
    pub bones: Vec<BoneRow>,
    pub overlaps: Vec<OverlapRow>,
    pub shapes: Vec<ShapeRow>,
    pub problems: Vec<Problem>,
}

/// Reads and measures an image and its masks: those of its annotation or, if it has none, the `predicted` ones.
pub fn measure(
    dataset: &Dataset,
    entry: &ImageEntry,
    predicted: Option<&HandMasks>,
    settings: &ScanSettings,
    reader: &mut Reader,
) -> MeasuredImage {
    let mut out = MeasuredImage {
        image: blank_row(entry),
        bones: Vec::new(),
        overlaps: Vec::new(),
        shapes: Vec::new(),
        problems: Vec::new(),
    };
    match dataset.image_into(entry, reader) {
        Err(error) => {
            out.image.unusable_reason = Some(format!("the image cannot be read: {}", error.reason));
            out.problem(&entry.image, error.reason, "not measured");
        }
        Ok(radiograph) => {
            let (width, height) = radiograph.pixels.dimensions();
            let levels = radiograph.pixels.to_eight_bit();
            let picture = UprightLevels { levels: &levels, width, height };
            out.measure_pixels(entry, &radiograph, picture, settings);
            out.measure_annotation(dataset, entry, predicted, picture, settings);
            drop(levels);
            reader.take_back(radiograph);
        }
    }
    out.image.usable = out.image.unusable_reason.is_none();
    // Readers know only the file; the problems table needs the image and the patient, too.
    for p in &mut out.problems {
        p.image_id.get_or_insert_with(|| entry.image_id.clone());
        p.patient_id.get_or_insert_with(|| entry.patient_id.clone());
    }
    out
}

impl MeasuredImage {
    fn measure_pixels(
        &mut self,
        entry: &ImageEntry,
        radiograph: &Radiograph,
        picture: UprightLevels,
        settings: &ScanSettings,
    ) {
        let UprightLevels { levels: pixels, width, height } = picture;
        let levels = features::levels(pixels, width as usize, height as usize, settings.bright);
        let row = &mut self.image;
        row.width = width;
        row.height = height;
        row.bits = u32::from(radiograph.bits);
        row.spacing_mm = radiograph.spacing_mm;
        row.bright_px = Some(levels.bright_px);
        row.mean_grey = Some(levels.mean_grey);
        row.strip_top_px = Some(levels.strips.top_px);
        row.strip_left_px = Some(levels.strips.left_px);
        if let Some(exposure) = features::exposure(pixels, width as usize, height as usize, levels.strips) {
            set_exposure(row, &exposure);
        }
        row.image_angle_deg = features::image_angle_deg(picture, levels.strips);
        row.image_hash = Some(format!("{:016x}", levels.difference_hash));
        row.inverted = Some(radiograph.pixels.polarity() == Polarity::WhiteIsZero);
        let is_flat = pixels.iter().all(|level| *level == pixels[0]);
        if row.inverted == Some(true) {
            let reason = "the image is stored inverted: dark bones on a bright background";
            self.problems.push(Problem::new(ProblemSeverity::Warning, &*entry.image, reason, "inverted when read"));
        }
        if radiograph.turned {
            let reason = "the EXIF orientation says that the image is to be rotated or mirrored";
            self.problems.push(Problem::new(ProblemSeverity::Warning, &*entry.image, reason, "pixels used as stored"));
        }
        if is_flat {
            self.image.unusable_reason = Some("the image is blank: all pixels have the same grey level".to_owned());
            let reason = "the image is blank: all pixels have the same grey level".to_owned();
            self.problem(&entry.image, reason, "kept, but left out of all folds");
        }
        self.image.sha256 = Some(radiograph.sha256.clone());
    }

    fn problem(&mut self, file: &str, reason: String, action: &str) {
        self.problems.push(Problem::new(ProblemSeverity::Error, file, reason, action));
    }

    /// Measures the annotation's masks or, without an annotation, the predicted ones.
    fn measure_annotation(
        &mut self,
        dataset: &Dataset,
        entry: &ImageEntry,
        predicted: Option<&HandMasks>,
        picture: UprightLevels,
        settings: &ScanSettings,
    ) {
        match (dataset.annotation(entry), predicted) {
            (Ok(Some(read)), _) => {
                self.image.mask_source = MaskSource::Annotation;
                self.image.annotation_sha256 = Some(read.sha256);
                self.problems.extend(read.problems);
                let masks = read.annotation.masks(self.image.width, self.image.height);
                self.measure_masks(&masks, &read.annotation.shapes, picture, settings);
            }
            (Ok(None), Some(masks)) => {
                self.image.mask_source = MaskSource::Prediction;
                self.measure_masks(masks, &[], picture, settings);
            }
            (Ok(None), None) => {
                if entry.subset == Subset::Train {
                    self.image.unusable_reason = Some("a train image without an annotation".to_owned());
                }
            }
            (Err(error), _) => {
                let file = entry.annotation.as_deref().unwrap_or_default();
                self.image.unusable_reason = Some(format!("the annotation cannot be read: {error}"));
                self.problem(file, error.to_string(), "image left without masks");
            }
        }
    }

    /// How often an outline crosses itself. Adds a problem if counting stopped at its limit.
    fn crossings(&mut self, bone: Bone, shape: &Shape) -> u32 {
        let features::Crossings { count, is_least } = features::crossings(&shape.points);
        if is_least {
            let points = shape.points.len();
            let reason = format!(
                "the outline of {bone} ({points} points) crosses itself at least {count} times; counting stopped there"
            );
            let file = self.image.annotation_path.clone().unwrap_or_default();
            let problem = Problem::new(
                ProblemSeverity::Warning,
                file,
                reason,
                "filled by the even-odd rule; draw the outline again",
            );
            self.problems.push(problem.at(format!("annotations[{}].points", shape.index)));
        }
        count
    }

    fn measure_masks(&mut self, masks: &HandMasks, shapes: &[Shape], picture: UprightLevels, settings: &ScanSettings) {
        let coverage = mask::coverage(masks.as_slice()).expect("masks of one image have one size");
        let mut centroids = [None; bones::COUNT];
        let mut all_paths: [Vec<Vec<[i32; 2]>>; bones::COUNT] = std::array::from_fn(|_| Vec::new());
        let boxed: Vec<(PixelBox, &RunMask)> =
            masks.iter().filter_map(|(_, mask)| Some((mask.bounding_box()?, mask))).collect();
        let mut outlines = Vec::with_capacity(bones::COUNT);
        let mut edges = Vec::with_capacity(bones::COUNT);
        for bone in Bone::all() {
            let own: Vec<&Shape> = shapes.iter().filter(|s| s.bone == Some(bone)).collect();
            let mask = &masks[bone];
            if mask.is_empty() && own.is_empty() {
                continue;
            }
            let paths = mask.outlines();
            let outline = MaskOutline::new(&paths, picture.width, picture.height);
            let n_crossings = own.iter().fold(0, |sum: u32, shape| sum.saturating_add(self.crossings(bone, shape)));
            let mut row = bone_row(&self.image, bone, mask, &own, n_crossings, &coverage.overlap);
            row.perimeter_px = mask::outlines_length(&paths);
            row.grey_inside = picture.inside(mask);
            row.grey_ring = picture.ring(&outline, &boxed);
            row.edge = picture.edge(&outline);
            edges.extend(row.edge);
            outlines.push(outline);
            all_paths[bone.index()] = paths;
            centroids[bone.index()] = row.centroid_x.zip(row.centroid_y).map(|(x, y)| Point::new(x, y));
            self.bones.push(row);
        }
        self.overlaps = overlaps(&self.image.image_id, masks);
        self.shapes = shape_rows(&self.bones, &centroids, &all_paths);
        let hand = boxed.iter().map(|(bounds, _)| *bounds).reduce(|a, b| a.union(&b));
        let row = &mut self.image;
        // A blank image has no edges that outlines could follow.
        if let Some(fit) = picture.fit(&outlines, edges).filter(|_| row.unusable_reason.is_none()) {
            row.edge = Some(fit.edge);
            row.edge_elsewhere = fit.elsewhere;
            row.edge_elsewhere_change = fit.change;
        }
        row.n_bones = masks.iter().filter(|(_, m)| !m.is_empty()).count() as u32;
        row.mask_px = Some(masks.iter().map(|(_, m)| m.area()).sum());
        row.overlap_px = Some(coverage.overlap.area());
        row.union_px = Some(coverage.union_px);
        row.hand_x_min = hand.map(|b| b.x_min);
        row.hand_y_min = hand.map(|b| b.y_min);
        row.hand_x_max = hand.map(|b| b.x_max);
        row.hand_y_max = hand.map(|b| b.y_max);
        // A strip that covers bones is not an artefact of the digitiser.
        if hand.is_some_and(|h| row.strip_top_px.is_some_and(|px| h.y_min < px)) {
            (row.strip_top_px, row.strip_top_grey) = (Some(0), None);
        }
        if hand.is_some_and(|h| row.strip_left_px.is_some_and(|px| h.x_min < px)) {
            (row.strip_left_px, row.strip_left_grey) = (Some(0), None);
        }
        row.side_by_anatomy = features::side_by_anatomy(&centroids);
        row.angle_deg = centroids[Bone::ULNA.index()]
            .zip(centroids[Bone::FINGER_16.index()])
            .map(|(ulna, finger_16)| features::angle_deg(ulna, finger_16));
        row.rotated = row.angle_deg.map(|a| features::is_rotated(a, settings.rotated_deg));
    }
}

fn set_exposure(row: &mut ImageRow, exposure: &features::ExposureMeasures) {
    let [p01, p05, p25, p50, p75, p95, p99] = exposure.percentiles.map(Some);
    (row.grey_p01, row.grey_p05, row.grey_p25, row.grey_p50) = (p01, p05, p25, p50);
    (row.grey_p75, row.grey_p95, row.grey_p99) = (p75, p95, p99);
    (row.grey_sd, row.sharpness) = (Some(exposure.sd), exposure.sharpness);
    (row.strip_top_grey, row.strip_left_grey) = (exposure.strip_top, exposure.strip_left);
}

/// The pairs of bones that share pixels.
fn overlaps(image_id: &str, masks: &HandMasks) -> Vec<OverlapRow> {
    let boxed: Vec<(Bone, PixelBox, &RunMask)> =
        masks.iter().filter_map(|(bone, mask)| Some((bone, mask.bounding_box()?, mask))).collect();
    let mut rows = Vec::new();
    for (i, (bone, bounds, mask)) in boxed.iter().enumerate() {
        for (other, other_bounds, other_mask) in &boxed[i + 1..] {
            let apart = bounds.x_max < other_bounds.x_min
                || other_bounds.x_max < bounds.x_min
                || bounds.y_max < other_bounds.y_min
                || other_bounds.y_max < bounds.y_min;
            if apart {
                continue;
            }
            let shared_px = mask.overlap(other_mask).expect("masks of one image have one size");
            if shared_px > 0 {
                rows.push(OverlapRow {
                    image_id: image_id.to_owned(),
                    class_a: bone.index() as u32,
                    class_b: other.index() as u32,
                    label_a: bone.name().to_owned(),
                    label_b: other.name().to_owned(),
                    shared_px,
                    union_px: mask.area() + other_mask.area() - shared_px,
                });
            }
        }
    }
    rows
}

/// The outlines of the bones as radii.
fn shape_rows(
    bones: &[BoneRow],
    centroids: &[Option<Point>; bones::COUNT],
    paths: &[Vec<Vec<[i32; 2]>>; bones::COUNT],
) -> Vec<ShapeRow> {
    let hand = features::hand_direction(centroids).unwrap_or([0.0, -1.0]);
    let shape = |row: &BoneRow| {
        let class = row.class as usize;
        let radii = Radii::new(&paths[class], centroids[class]?, row.orientation_deg.unwrap_or(0.0), hand)?;
        Some(ShapeRow { image_id: row.image_id.clone(), class: row.class, radii: radii.to_text() })
    };
    bones.iter().filter_map(shape).collect()
}

fn bone_row(
    image: &ImageRow,
    bone: Bone,
    mask: &RunMask,
    shapes: &[&Shape],
    n_crossings: u32,
    shared: &RunMask,
) -> BoneRow {
    let moments = mask.moments();
    let centroid = moments.centroid();
    let bounds = mask.bounding_box();
    let parts = mask.components();
    let axes = moments.axes();
    let outside = |p: &&[i32; 2]| p[0] < 0 || p[1] < 0 || p[0] >= image.width as i32 || p[1] >= image.height as i32;
    BoneRow {
        image_id: image.image_id.clone(),
        label: bone.name().to_owned(),
        class: bone.index() as u32,
        area_px: moments.area,
        centroid_x: centroid.map(|p| p.x),
        centroid_y: centroid.map(|p| p.y),
        x_min: bounds.map(|b| b.x_min),
        y_min: bounds.map(|b| b.y_min),
        x_max: bounds.map(|b| b.x_max),
        y_max: bounds.map(|b| b.y_max),
        orientation_deg: moments.orientation_deg(),
        eccentricity: moments.eccentricity(),
        sd_major_px: axes.map(|a| a.0),
        sd_minor_px: axes.map(|a| a.1),
        n_parts: parts.len() as u32,
        minor_parts_px: parts.iter().skip(1).map(RunMask::area).sum(),
        n_shapes: shapes.len() as u32,
        n_vertices: shapes.iter().map(|s| s.points.len() as u32).sum(),
        n_outside: shapes.iter().flat_map(|s| s.points.iter()).filter(outside).count() as u32,
        n_crossings,
        shared_px: mask.overlap(shared).expect("masks of one image have one size"),
        ..BoneRow::default()
    }
}
