use super::frame::table;
use crate::dataset::metadata::Sex;
use crate::dataset::{MaskSource, Problem, ProblemSeverity, Side, Subset};

table! {
    /// A patient who has a row in the spreadsheet or an image.
    pub struct PatientRow in "patients", for_people = false {
        /// Digits padded to three, or the folder's name without `ID`.
        pub patient_id: String,
        /// `F` or `M`.
        pub sex: Option<Sex>,
        /// The cell as typed.
        pub sex_raw: String,
        /// The cell of the age as typed; empty for an empty cell.
        pub age_raw: String,
        /// The cell of the height as typed.
        pub height_raw: String,
        /// The cell of the weight as typed.
        pub weight_raw: String,
        /// Years.
        pub age: Option<f64>,
        /// Centimetres.
        pub height_cm: Option<f64>,
        /// Kilograms.
        pub weight_kg: Option<f64>,
        /// Text found in other cells of the row.
        pub note: String,
        /// `train` or `test`; `None` for a patient without images.
        pub subset: Option<Subset>,
        /// Number of images.
        pub n_images: u32,
        /// Row of the spreadsheet, 1-based; `None` for a patient who is not in the spreadsheet.
        pub sheet_row: Option<u32>,
    }
}

table! {
    /// An image with the measurements of its pixels and masks. Rows in the order of the data folder.
    pub struct ImageRow in "images", for_people = false {
        /// File stem.
        pub image_id: String,
        /// Key of the patients table.
        pub patient_id: String,
        /// `train` or `test`.
        pub subset: Subset,
        /// `L` or `R`: from the file name, else from the order of the patient's two time stamps.
        pub side: Option<Side>,
        /// `L` or `R` from the anatomy (in a right hand the thumb is left of the little finger); needs masks.
        pub side_by_anatomy: Option<Side>,
        /// Image file, relative to the data folder.
        pub path: String,
        /// Annotation file, relative to the data folder.
        pub annotation_path: Option<String>,
        /// Source of the masks: `annotation`, `prediction` or `none`.
        pub mask_source: MaskSource,
        /// Width of the image in px.
        pub width: u32,
        /// Height of the image in px.
        pub height: u32,
        /// Bits per sample on disk.
        pub bits: u32,
        /// Angle in degrees between the vertical and the line from the centroid of the Ulna to that of finger-16; positive if the
        /// hand leans to the right.
        pub angle_deg: Option<f64>,
        /// An estimate of the angle from the image alone: the lean of the long axis of hand and forearm, in degrees. It differs from
        /// `angle_deg` by a constant for each side.
        pub image_angle_deg: Option<f64>,
        /// Whether |angle_deg| is at or above the threshold.
        pub rotated: Option<bool>,
        /// Sum of the areas of all classes in px.
        pub mask_px: Option<u64>,
        /// Pixels with two or more labels.
        pub overlap_px: Option<u64>,
        /// Area of the union of all classes in px.
        pub union_px: Option<u64>,
        /// Bounding box of all masks: left column.
        pub hand_x_min: Option<u32>,
        /// Bounding box of all masks: top row.
        pub hand_y_min: Option<u32>,
        /// Bounding box of all masks: right column, inclusive.
        pub hand_x_max: Option<u32>,
        /// Bounding box of all masks: bottom row, inclusive.
        pub hand_y_max: Option<u32>,
        /// Pixels at or above the brightness threshold, without border strips.
        pub bright_px: Option<u64>,
        /// Mean grey level.
        pub mean_grey: Option<f64>,
        /// 1 % quantile of the grey levels outside border strips.
        pub grey_p01: Option<f64>,
        /// 5 % quantile of the grey levels.
        pub grey_p05: Option<f64>,
        /// Lower quartile of the grey levels.
        pub grey_p25: Option<f64>,
        /// Median of the grey levels.
        pub grey_p50: Option<f64>,
        /// Upper quartile of the grey levels.
        pub grey_p75: Option<f64>,
        /// 95 % quantile of the grey levels.
        pub grey_p95: Option<f64>,
        /// 99 % quantile of the grey levels.
        pub grey_p99: Option<f64>,
        /// Standard deviation of the grey levels outside border strips: the contrast.
        pub grey_sd: Option<f64>,
        /// Variance of the Laplacian outside border strips: low for a blurred image.
        pub sharpness: Option<f64>,
        /// Whether the image is stored inverted (dark bones on a bright background); grey levels are measured after inversion.
        pub inverted: Option<bool>,
        /// The grey level of white: 255, or for 16-bit images the highest level of all of them.
        pub top_level: Option<u32>,
        /// Bits that the grey levels of a 16-bit image need.
        pub level_bits: Option<u32>,
        /// Height in px of a bright strip at the top edge.
        pub strip_top_px: Option<u32>,
        /// Width in px of a bright strip at the left edge.
        pub strip_left_px: Option<u32>,
        /// Mean grey level of the strip at the top edge.
        pub strip_top_grey: Option<f64>,
        /// Mean grey level of the strip at the left edge.
        pub strip_left_grey: Option<f64>,
        /// Number of classes with a non-empty mask.
        pub n_bones: u32,
        /// 64-bit perceptual hash of the image, hex.
        pub image_hash: Option<String>,
        /// SHA-256 of the image file.
        pub sha256: Option<String>,
        /// SHA-256 of the annotation file.
        pub annotation_sha256: Option<String>,
        /// Whether the image can be used for training or prediction: it and, in train, its annotation can be read, and no correction
        /// excludes it. Other images stay in the table but are assigned to no fold.
        pub usable: bool,
        /// Why the image is not usable.
        pub unusable_reason: Option<String>,
        /// Median of the bones' `edge`: near 1 if the outlines follow the bones, about 0 if they do not.
        pub edge: Option<f64>,
        /// The highest such median after the outlines are shifted a little, rotated or mirrored; computed if `edge` is below 0.75.
        pub edge_elsewhere: Option<f64>,
        /// The shift, rotation or mirroring that gives `edge_elsewhere`.
        pub edge_elsewhere_change: Option<String>,
        /// Distance between the centres of two pixels in mm, if the image's file states it (DICOM).
        pub spacing_mm: Option<f64>,
    }
}

table! {
    /// One class of one image with at least one shape (or a predicted mask that is not empty).
    pub struct BoneRow in "bones", for_people = false {
        /// Key of the images table.
        pub image_id: String,
        /// Label as annotated.
        pub label: String,
        /// Class index, 0-based: the channel of the model's output.
        pub class: u32,
        /// Area in px.
        pub area_px: u64,
        /// Centroid: mean column in px; `None` for an empty mask.
        pub centroid_x: Option<f64>,
        /// Centroid: mean row in px.
        pub centroid_y: Option<f64>,
        /// Bounding box: left column.
        pub x_min: Option<u32>,
        /// Bounding box: top row.
        pub y_min: Option<u32>,
        /// Bounding box: right column, inclusive.
        pub x_max: Option<u32>,
        /// Bounding box: bottom row, inclusive.
        pub y_max: Option<u32>,
        /// Length of the outer border in px.
        pub perimeter_px: f64,
        /// Angle in degrees between the long axis and the vertical, in (-90, 90]; positive to the right.
        pub orientation_deg: Option<f64>,
        /// Eccentricity of the ellipse with the same second moments: 0 for a circle, near 1 for a line.
        pub eccentricity: Option<f64>,
        /// Standard deviation along the long axis, px.
        pub sd_major_px: Option<f64>,
        /// Standard deviation along the short axis, px.
        pub sd_minor_px: Option<f64>,
        /// Number of 8-connected components.
        pub n_parts: u32,
        /// Area in px of all components except the largest.
        pub minor_parts_px: u64,
        /// Number of shapes with this label in the annotation file (normally 1).
        pub n_shapes: u32,
        /// Number of vertices of its shapes; 0 for predictions.
        pub n_vertices: u32,
        /// Number of vertices outside the image.
        pub n_outside: u32,
        /// Number of pairs of edges that cross each other (0 for a simple polygon).
        pub n_crossings: u32,
        /// Pixels shared with other classes.
        pub shared_px: u64,
        /// Mean grey level inside the mask, 0 to 255, with bright bones.
        pub grey_inside: Option<f64>,
        /// Mean grey level just outside the outline, without pixels of other masks.
        pub grey_ring: Option<f64>,
        /// Edge strength along the outline, -1 to 1, independent of the contrast: 1 on the edge of a brighter object, 0 on no edge.
        pub edge: Option<f64>,
    }
}

table! {
    /// Two classes of one image that share pixels. Pairs without shared pixels have no row.
    pub struct OverlapRow in "overlaps", for_people = false {
        /// Key of the images table.
        pub image_id: String,
        /// The class with the smaller index.
        pub class_a: u32,
        /// The class with the larger index.
        pub class_b: u32,
        /// Its label.
        pub label_a: String,
        /// Its label.
        pub label_b: String,
        /// Pixels that both masks have.
        pub shared_px: u64,
        /// Pixels that at least one of the masks has.
        pub union_px: u64,
    }
}

table! {
    /// The outline of one class of one image, for comparing shapes without the masks.
    pub struct ShapeRow in "shapes", for_people = false {
        /// Key of the images table.
        pub image_id: String,
        /// Class index, 0-based.
        pub class: u32,
        /// Distances in px from the centroid to the outline in 32 directions, separated by spaces: the first along the long axis to
        /// the distal end, the others clockwise.
        pub radii: String,
    }
}

table! {
    /// A repair or failure while reading the data.
    pub struct ProblemRow in "problems", for_people = true {
        /// File, relative to the data folder.
        pub file: String,
        /// Cell, line or JSON path in the file.
        pub place: String,
        /// Affected image.
        pub image_id: Option<String>,
        /// Affected patient.
        pub patient_id: Option<String>,
        /// The value as found.
        pub raw: String,
        /// The problem and what was expected.
        pub reason: String,
        /// How it was handled.
        pub action: String,
        /// `info`, `warning`, `error`.
        pub severity: ProblemSeverity,
    }
}

table! {
    /// Fold of an image. Rows in the order of the images table.
    pub struct FoldRow in "folds", for_people = false {
        /// Key of the images table.
        pub image_id: String,
        /// Key of the patients table.
        pub patient_id: String,
        /// Values of the keys joined by `|`.
        pub stratum: String,
        /// 0-based fold in which the image is held out.
        pub fold: u32,
    }
}

table! {
    /// An image that a run holds out, with its patient: runs can be compared without their fold tables.
    pub struct HeldOutRow in "held_out", for_people = false {
        /// Key of the images table.
        pub image_id: String,
        /// Key of the patients table.
        pub patient_id: String,
    }
}

impl From<Problem> for ProblemRow {
    fn from(problem: Problem) -> ProblemRow {
        ProblemRow {
            file: problem.file,
            place: problem.place,
            image_id: problem.image_id,
            patient_id: problem.patient_id,
            raw: problem.raw,
            reason: problem.reason,
            action: problem.action,
            severity: problem.severity,
        }
    }
}

impl From<&ProblemRow> for Problem {
    fn from(row: &ProblemRow) -> Problem {
        Problem {
            file: row.file.clone(),
            place: row.place.clone(),
            image_id: row.image_id.clone(),
            patient_id: row.patient_id.clone(),
            raw: row.raw.clone(),
            reason: row.reason.clone(),
            action: row.action.clone(),
            severity: row.severity,
            fields: Vec::new(),
        }
    }
}
