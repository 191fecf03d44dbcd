use super::frame::table;
use crate::dataset::metadata::Sex;
use crate::dataset::{MaskSource, Problem, ProblemSeverity, Side, Subset};

table! {
    /// A patient of the spreadsheet or with an image.
    pub struct PatientRow in "patients", for_people = false {
        /// Digits padded to three, or the folder's name without `ID`.
        pub patient_id: String,
        /// `F` or `M`.
        pub sex: Option<Sex>,
        /// The cell as typed.
        pub sex_raw: String,
        /// Years.
        pub age: Option<f64>,
        /// Centimetres.
        pub height_cm: Option<f64>,
        /// Kilograms.
        pub weight_kg: Option<f64>,
        /// Stray remarks of the row.
        pub note: String,
        /// `train` or `test` where the patient has images.
        pub subset: Option<Subset>,
        /// Number of images.
        pub n_images: u32,
        /// Row of the spreadsheet, 1-based; `None` for a patient with images and no row.
        pub sheet_row: Option<u32>,
    }
}

table! {
    /// An image and what is measured on it and its masks. Rows in the order of the layout.
    pub struct ImageRow in "images", for_people = false {
        /// File stem.
        pub image_id: String,
        /// Key of the patients table.
        pub patient_id: String,
        /// `train` or `test`.
        pub subset: Subset,
        /// `L` or `R`: by the name, else by the order of the two time stamps.
        pub side: Option<Side>,
        /// `L` or `R` by anatomy (thumb left of little finger is a right hand); needs masks.
        pub side_by_anatomy: Option<Side>,
        /// Relative to the data folder.
        pub path: String,
        /// Annotation, relative to the data folder.
        pub annotation_path: Option<String>,
        /// Where the masks come from: `annotation`, `prediction` or `none`.
        pub mask_source: MaskSource,
        /// Columns of the image.
        pub width: u32,
        /// Rows of the image.
        pub height: u32,
        /// Bits a sample on disk.
        pub bits: u32,
        /// Signed angle in degrees of the vector from Ulna's to finger-16's centroid from vertical; positive leans to the right.
        pub angle_deg: Option<f64>,
        /// |angle_deg| at or above the threshold.
        pub rotated: Option<bool>,
        /// Sum of the class areas.
        pub mask_px: Option<u64>,
        /// Pixels with two labels or more.
        pub overlap_px: Option<u64>,
        /// Area of the union of all classes.
        pub union_px: Option<u64>,
        /// Box of all masks.
        pub hand_x_min: Option<u32>,
        /// Box of all masks.
        pub hand_y_min: Option<u32>,
        /// Box of all masks.
        pub hand_x_max: Option<u32>,
        /// Box of all masks.
        pub hand_y_max: Option<u32>,
        /// Pixels at or above the brightness threshold, border strips left out.
        pub bright_px: Option<u64>,
        /// Mean grey level.
        pub mean_grey: Option<f64>,
        /// Whether the image is stored inverted, dark bones on a bright background; levels are measured upright.
        pub inverted: Option<bool>,
        /// The level that is taken for white: 255, of images of 16 bits the top level of all of them.
        pub top_level: Option<u32>,
        /// Bits that the levels of an image of 16 bits need.
        pub level_bits: Option<u32>,
        /// Height of a bright strip at the top edge.
        pub strip_top_px: Option<u32>,
        /// Width of a bright strip at the left edge.
        pub strip_left_px: Option<u32>,
        /// Classes with a mask that is not empty.
        pub n_bones: u32,
        /// 64-bit perceptual hash of the image, hex.
        pub image_hash: Option<String>,
        /// SHA-256 of the image file.
        pub sha256: Option<String>,
        /// SHA-256 of the annotation file.
        pub annotation_sha256: Option<String>,
        /// Whether the image can be trained on or predicted: it and, in train, its annotation can be read, and no correction excludes
        /// it. Others stay in the table and enter no fold.
        pub usable: bool,
        /// Why it is not usable.
        pub unusable_reason: Option<String>,
        /// Median of the bones' `edge`: near 1 where the outlines follow the bones, about 0 where they lie elsewhere.
        pub edge: Option<f64>,
        /// The greatest such median of the same outlines moved a little, turned or mirrored; looked for where `edge` is below 0.75.
        pub edge_elsewhere: Option<f64>,
        /// What was done to the outlines for that.
        pub edge_elsewhere_change: Option<String>,
    }
}

table! {
    /// One class of one image with at least one shape (or a predicted mask that is not empty).
    pub struct BoneRow in "bones", for_people = false {
        /// Key of the images table.
        pub image_id: String,
        /// Label as annotated.
        pub label: String,
        /// Channel index.
        pub class: u32,
        /// Pixels.
        pub area_px: u64,
        /// Mean column; `None` for an empty mask.
        pub centroid_x: Option<f64>,
        /// Mean row.
        pub centroid_y: Option<f64>,
        /// Box, all bounds inside.
        pub x_min: Option<u32>,
        /// Box.
        pub y_min: Option<u32>,
        /// Box.
        pub x_max: Option<u32>,
        /// Box.
        pub y_max: Option<u32>,
        /// Length of the outer border.
        pub perimeter_px: f64,
        /// Lean of the long axis from vertical, (-90, 90]; positive to the right.
        pub orientation_deg: Option<f64>,
        /// 0 circle, towards 1 a line.
        pub eccentricity: Option<f64>,
        /// Standard deviation along the long axis, px.
        pub sd_major_px: Option<f64>,
        /// Standard deviation along the short axis, px.
        pub sd_minor_px: Option<f64>,
        /// 8-connected parts.
        pub n_parts: u32,
        /// Area of all parts but the largest.
        pub minor_parts_px: u64,
        /// Shapes with this label in the file (1 is normal).
        pub n_shapes: u32,
        /// Vertices over its shapes; 0 for predictions.
        pub n_vertices: u32,
        /// Vertices outside the image.
        pub n_outside: u32,
        /// Pairs of edges that cross each other (0 is a simple polygon).
        pub n_crossings: u32,
        /// Pixels shared with any other class.
        pub shared_px: u64,
        /// Mean grey level under the mask, 0 to 255, bones bright.
        pub grey_inside: Option<f64>,
        /// Mean grey level just outside the outline, where no mask lies.
        pub grey_ring: Option<f64>,
        /// Edge strength along the outline, -1 to 1, whatever the contrast: 1 on the rim of something brighter, 0 anywhere.
        pub edge: Option<f64>,
    }
}

table! {
    /// A repair or failure met while reading.
    pub struct ProblemRow in "problems", for_people = true {
        /// File, relative to the data folder.
        pub file: String,
        /// Cell, line, or JSON path.
        pub place: String,
        /// Image concerned.
        pub image_id: Option<String>,
        /// Patient concerned.
        pub patient_id: Option<String>,
        /// The raw value.
        pub raw: String,
        /// What is wrong, what was expected.
        pub reason: String,
        /// What was done.
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
    /// Patient of an image that a run holds out, so that runs can be compared without the folds they were trained on.
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
