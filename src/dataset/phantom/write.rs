//! Draws the planned data set and writes it completely or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, GrayImage, ImageEncoder};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::annotation_file::document;
use super::draw::Draw;
use super::hand::{TABLE_SIZE, geometry};
use super::label_faults::PlantedFault;
use super::plan::{ImagePlan, Resaved, plan};
use super::render::render;
use super::truth::{Defect, ImageTruth, Truth};
use super::workbook;
use crate::artefact::{FolderError, kind, replace_folder};
use crate::bones::{self, Bone};
use crate::dataset::Subset;
use crate::dataset::annotation::Shape;
use crate::mask::RunMask;
use crate::progress::Progress;
use crate::threads::{self, ThreadsError};

/// Settings of a synthetic data set. Equal settings give equal files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhantomSettings {
    /// Number of patients with annotations.
    pub patients: usize,
    /// Number of patients without annotations.
    pub test_patients: usize,
    /// Side of the square images in px, 64 to 4096; the anatomy was measured at 2048.
    pub size: u32,
    /// Seed of the random numbers.
    pub seed: u64,
    /// Whether to plant faults.
    pub defects: bool,
    /// Number of threads; 0 for one per core. The files do not depend on it.
    #[serde(skip)]
    pub jobs: usize,
    /// Replace an earlier synthetic data set that was made with other settings.
    #[serde(skip)]
    pub force: bool,
}

/// Summary of a generated data set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PhantomSummary {
    /// Whether the folder already contained this data set, so that nothing was written.
    pub skipped: bool,
    /// Images with annotation.
    pub train_images: usize,
    /// Images without annotation.
    pub test_images: usize,
    /// Planted faults by kind.
    pub defects: BTreeMap<String, usize>,
}

/// Why a synthetic data set cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PhantomError {
    /// A setting is out of range.
    #[error("{setting} is {value}, expected {expected}")]
    Setting {
        /// Its name on the command line.
        setting: &'static str,
        /// The given value.
        value: String,
        /// The possible values.
        expected: &'static str,
    },
    /// The folder has other content.
    #[error("{path} is not empty and was not written with these settings; choose another folder{advice}")]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// `, or replace it with --force` if it is a synthetic data set.
        advice: &'static str,
    },
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The folder cannot be replaced.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// An image cannot be encoded.
    #[error("{path}: {source}")]
    Image {
        /// The image.
        path: PathBuf,
        /// Error of the encoder.
        source: image::ImageError,
    },
    /// The workbook cannot be written.
    #[error("{path}: {source}")]
    Workbook {
        /// The workbook.
        path: PathBuf,
        /// Error of the workbook writer.
        source: rust_xlsxwriter::XlsxError,
    },
    /// Threads cannot be started.
    #[error(transparent)]
    Threads(#[from] ThreadsError),
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> PhantomError {
    let path = path.to_owned();
    move |source| PhantomError::Io { path, source }
}

/// Writes the data set of `settings` to `out`: the layout of the real one, `truth.json`, and the test images'
/// annotations in `truth/outputs_json`. The folder is written completely or not at all. If it contains this data set
/// already, it is not changed; if files are missing, it is written again.
///
/// # Errors
/// - A setting is out of range.
/// - The folder has other content.
/// - A file cannot be written, or the threads cannot be started.
pub fn generate(
    settings: &PhantomSettings,
    out: &Path,
    progress: &dyn Progress,
) -> Result<PhantomSummary, PhantomError> {
    check(settings)?;
    if let Some(summary) = existing(settings, out)? {
        return Ok(summary);
    }
    replace_folder(out, &kind::PHANTOM, |new| write_all(settings, new, progress))
}

fn check(settings: &PhantomSettings) -> Result<(), PhantomError> {
    let refuse = |setting, value: String, expected| Err(PhantomError::Setting { setting, value, expected });
    if !(64..=4096).contains(&settings.size) {
        return refuse("--size", settings.size.to_string(), "64 to 4096 px");
    }
    if settings.patients + settings.test_patients == 0 {
        return refuse("--patients", "0".to_owned(), "at least one patient here or in --test-patients");
    }
    if settings.patients + settings.test_patients > 90_000 {
        let value = (settings.patients + settings.test_patients).to_string();
        return refuse("--patients", value, "at most 90000, including test patients");
    }
    Ok(())
}

/// Summary of the data set in `out` if it has these settings and is complete; `None` if the folder has to be written.
fn existing(settings: &PhantomSettings, out: &Path) -> Result<Option<PhantomSummary>, PhantomError> {
    match fs::read_dir(out).map(Iterator::count) {
        Ok(0) => return Ok(None),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(out)(e)),
        Ok(_) => {}
    }
    let truth = Truth::read(&out.join("truth.json")).ok();
    match truth {
        Some(truth) if PhantomSettings { jobs: 0, force: false, ..settings.clone() } == truth.settings => {
            if !is_complete(&truth, out) {
                return Ok(None);
            }
            let images: Vec<&ImageTruth> = truth.images.values().collect();
            Ok(Some(summarise(true, &images, &truth.defects)))
        }
        Some(_) if settings.force => Ok(None),
        Some(_) => Err(PhantomError::Occupied { path: out.to_owned(), advice: ", or replace it with --force" }),
        None => Err(PhantomError::Occupied { path: out.to_owned(), advice: "" }),
    }
}

/// Whether every file of the data set exists.
fn is_complete(truth: &Truth, root: &Path) -> bool {
    let exists = |(name, image): (&String, &ImageTruth)| {
        let json = format!("{}.json", name.trim_end_matches(".png"));
        let annotations = if image.split == Subset::Train.name() { "train" } else { "truth" };
        let mut files = vec![format!("{}/DCM/{name}", image.split), format!("{annotations}/outputs_json/{json}")];
        files.extend(image.area_as_written.is_some().then(|| format!("truth/corrected_json/{json}")));
        files.iter().all(|file| root.join(file).is_file())
    };
    root.join("meta_data.xlsx").is_file() && truth.images.iter().all(exists)
}

fn summarise(skipped: bool, images: &[&ImageTruth], defects: &[Defect]) -> PhantomSummary {
    let of = |subset: Subset| images.iter().filter(|i| i.split == subset.name()).count();
    let mut kinds = BTreeMap::new();
    for defect in defects {
        *kinds.entry(defect.kind.clone()).or_insert(0) += 1;
    }
    PhantomSummary { skipped, train_images: of(Subset::Train), test_images: of(Subset::Test), defects: kinds }
}

fn write_all(settings: &PhantomSettings, root: &Path, progress: &dyn Progress) -> Result<PhantomSummary, PhantomError> {
    let plan = plan(settings);
    let book = root.join("meta_data.xlsx");
    workbook::write(&book, &plan.rows).map_err(|source| PhantomError::Workbook { path: book.clone(), source })?;
    let pool = threads::pool(settings.jobs)?;
    progress.start("hands", plan.images.len() as u64);
    let written: Result<Vec<_>, PhantomError> = pool.install(|| {
        plan.images
            .par_iter()
            .map(|image| {
                let truth = write_image(settings, root, image);
                progress.advance(1);
                truth
            })
            .collect()
    });
    progress.finish();

    let mut defects = plan.defects;
    let mut images = BTreeMap::new();
    for (image, (truth, defect)) in plan.images.iter().zip(written?) {
        defects.extend(defect);
        images.insert(format!("ID{}/{}.png", image.patient_id, image.image_id), truth);
    }
    for (name, truth) in &mut images {
        let id = Path::new(name).file_stem().and_then(|s| s.to_str()).unwrap_or_default();
        truth.defects =
            defects.iter().filter(|d| d.image_ids.iter().any(|i| i == id)).map(|d| d.kind.clone()).collect();
    }
    let truth = Truth {
        size: settings.size,
        seed: settings.seed,
        settings: settings.clone(),
        classes: bones::NAMES.map(str::to_owned).to_vec(),
        defects,
        images,
    };
    write_json(&root.join("truth.json"), &truth)?;
    let images: Vec<&ImageTruth> = truth.images.values().collect();
    Ok(summarise(false, &images, &truth.defects))
}

/// Draws one image and writes it with its annotation. Returns its ground truth and the planted label fault.
fn write_image(
    settings: &PhantomSettings,
    root: &Path,
    plan: &ImagePlan,
) -> Result<(ImageTruth, Option<Defect>), PhantomError> {
    let hand = geometry(&plan.hand, settings.size);
    let k = f64::from(settings.size) / TABLE_SIZE;
    let cut = plan.resaved.map(|r| {
        let px = |v: u32| ((f64::from(v) * k).round() as i32).max(1);
        (px(r.cut.0), px(r.cut.1))
    });
    let mut shapes = hand.shapes.clone();
    if let Some((dx, dy)) = cut {
        for p in shapes.iter_mut().flat_map(|s| &mut s.points) {
            *p = [(p[0] - dx).max(0), (p[1] - dy).max(0)];
        }
    }
    let masks: Vec<RunMask> =
        shapes.iter().map(|s| RunMask::from_polygon(&s.points, settings.size, settings.size)).collect();
    let mut draw = Draw::new(settings.seed, "annotation file", plan.taken as u64);
    let truth_shapes = shapes.clone();
    let fault = plan.label_fault.map(|fault| {
        let PlantedFault { labels, detail } = fault.plant(&mut shapes, &hand, &mut draw);
        Defect {
            kind: fault.kind().to_owned(),
            image_id: Some(plan.image_id.clone()),
            image_ids: vec![plan.image_id.clone()],
            patient_id: plan.patient_id.clone(),
            labels,
            detail,
        }
    });

    let folder = format!("ID{}", plan.patient_id);
    let subset = plan.subset.name();
    let json = document(&plan.image_id, &plan.patient_id, plan.taken, &shapes, &mut draw);
    let annotations = match plan.subset {
        Subset::Train => root.join("train/outputs_json"),
        Subset::Test => root.join("truth/outputs_json"),
    };
    write_json(&annotations.join(&folder).join(format!("{}.json", plan.image_id)), &json)?;
    if fault.is_some() {
        let corrected = document(&plan.image_id, &plan.patient_id, plan.taken, &truth_shapes, &mut draw);
        let file = format!("{}.json", plan.image_id);
        write_json(&root.join("truth/corrected_json").join(&folder).join(file), &corrected)?;
    }

    let mut pixels = render(&hand, &plan.exposure);
    if let (Some(resaved), Some(cut)) = (plan.resaved, cut) {
        pixels = resave(&pixels, resaved, cut);
    }
    let bright = pixels.as_raw().iter().filter(|v| **v >= 240).count() as u64;
    write_png(&root.join(subset).join("DCM").join(&folder).join(format!("{}.png", plan.image_id)), &pixels)?;

    let centre = |bone: Bone| masks[bone.index()].moments().centroid();
    let angle = match (centre(Bone::ULNA), centre(Bone::FINGER_16)) {
        (Some(ulna), Some(tip)) => ulna.lean_to(tip),
        _ => f64::NAN,
    };
    let truth = ImageTruth {
        split: subset.to_owned(),
        patient: folder,
        side: plan.hand.side.name().to_owned(),
        angle_deg: (angle * 1e4).round() / 1e4,
        rotated: plan.hand.rotated,
        area: areas(&truth_shapes, &masks),
        overlap_px: overlap(&masks),
        pixels_ge_240: bright,
        area_as_written: fault.is_some().then(|| {
            let written: Vec<RunMask> =
                shapes.iter().map(|s| RunMask::from_polygon(&s.points, settings.size, settings.size)).collect();
            areas(&shapes, &written)
        }),
        defects: Vec::new(),
    };
    Ok((truth, fault))
}

/// Number of pixels per label; several shapes with one label are united.
fn areas(shapes: &[Shape], masks: &[RunMask]) -> BTreeMap<String, u64> {
    let mut united: BTreeMap<String, RunMask> = BTreeMap::new();
    for (shape, mask) in shapes.iter().zip(masks) {
        let whole = match united.get(&shape.label) {
            Some(other) => other.union(mask).expect("masks of one image have its size"),
            None => mask.clone(),
        };
        united.insert(shape.label.clone(), whole);
    }
    united.into_iter().map(|(label, mask)| (label, mask.area())).collect()
}

/// Number of pixels in two or more masks.
pub(super) fn overlap(masks: &[RunMask]) -> u64 {
    let all: Vec<&RunMask> = masks.iter().collect();
    RunMask::vote(&all, 2).expect("masks of one image have its size").area()
}

/// The image cut at the top and the left, with its last rows and columns repeated, and brighter or darker.
fn resave(image: &GrayImage, resaved: Resaved, (dx, dy): (i32, i32)) -> GrayImage {
    let (w, h) = image.dimensions();
    GrayImage::from_fn(w, h, |x, y| {
        let (x, y) = ((x + dx as u32).min(w - 1), (y + dy as u32).min(h - 1));
        let value = f64::from(image.get_pixel(x, y).0[0]);
        let scaled = value * resaved.gain;
        // Pixels that were not bright must not become bright.
        image::Luma([scaled.min(if value < 240.0 { 239.0 } else { 255.0 }) as u8])
    })
}

fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<fs::File>) -> Result<(), PhantomError>,
) -> Result<(), PhantomError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(io(folder))?;
    }
    let mut out = BufWriter::with_capacity(1 << 16, fs::File::create(path).map_err(io(path))?);
    write(&mut out)?;
    out.flush().map_err(io(path))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), PhantomError> {
    write_file(path, |out| serde_json::to_writer(out, value).map_err(|e| io(path)(e.into())))
}

fn write_png(path: &Path, image: &GrayImage) -> Result<(), PhantomError> {
    write_file(path, |out| {
        // Grain hardly compresses, so a fast encoder is sufficient.
        PngEncoder::new_with_quality(out, CompressionType::Fast, FilterType::Up)
            .write_image(image.as_raw(), image.width(), image.height(), ExtendedColorType::L8)
            .map_err(|source| PhantomError::Image { path: path.to_owned(), source })
    })
}
