//! Plans the data set before anything is drawn: its people, the content of each image, and the faults.

use super::PhantomSettings;
use super::draw::Draw;
use super::hand::HandSpec;
use super::label_faults::LabelFault;
use super::objects::Object;
use super::patient_faults::plant_patient_faults;
use super::patients::{Person, people};
use super::render::Exposure;
use super::truth::Defect;
use super::workbook::WorkbookRow;
use crate::dataset::metadata::Sex;
use crate::dataset::{Side, Subset};

/// Changes to another patient's image that was saved again as this patient's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resaved {
    /// Columns and rows cut off at the left and the top, in px at 2048.
    pub cut: (u32, u32),
    /// Factor on the brightness.
    pub gain: f64,
}

/// One image to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct ImagePlan {
    /// File stem.
    pub image_id: String,
    /// Three digits.
    pub patient_id: String,
    /// Part of the data.
    pub subset: Subset,
    /// Time of the exposure in milliseconds since 1970.
    pub taken: i64,
    /// Parameters of the hand.
    pub hand: HandSpec,
    /// Parameters of the exposure.
    pub exposure: Exposure,
    /// Fault of its annotation.
    pub label_fault: Option<LabelFault>,
    /// Set if it is a copy of another image.
    pub resaved: Option<Resaved>,
}

/// Plan of a data set.
#[derive(Clone, Debug)]
pub struct PhantomPlan {
    /// Images by patient, right hand first.
    pub images: Vec<ImagePlan>,
    /// Rows of the workbook.
    pub rows: Vec<WorkbookRow>,
    /// Planned faults of metadata, file order, copies and objects. Label faults are added when the images are written.
    pub defects: Vec<Defect>,
}

/// Time of the first radiograph: 2022-08-22.
const FIRST: i64 = 1_661_130_828_152;
/// Share of images with a white strip and with a ring in data without deliberate faults, as in the real data.
const STRIPS: f64 = 0.015;
const RINGS: f64 = 0.008;

/// Plans the data set of `settings`.
pub fn plan(settings: &PhantomSettings) -> PhantomPlan {
    let people = people(settings.patients, settings.test_patients, settings.seed);
    let mut draw = Draw::new(settings.seed, "plan", 0);
    let mut images = plan_images(settings, &people, &mut draw);
    let mut rows = plan_rows(&people, &mut draw);
    let mut defects = Vec::new();
    let mut touched = vec![false; images.len()];
    if settings.defects {
        plant_label_faults(&mut images, &mut touched, &mut draw);
        plant_objects(&mut images, &mut touched, &mut defects, &mut draw);
        plant_copies(&mut images, &mut touched, &mut defects, &mut draw);
        plant_patient_faults(&mut images, &mut touched, &people, &mut rows, &mut defects, &mut draw);
    }
    add_usual_objects(&mut images, &touched, &mut defects, &mut draw);
    PhantomPlan { images, rows, defects }
}

fn plan_images(settings: &PhantomSettings, people: &[Person], draw: &mut Draw) -> Vec<ImagePlan> {
    let mut images = Vec::new();
    let mut clock = FIRST;
    let mut today = 0;
    for (number, person) in people.iter().enumerate() {
        let Some(subset) = person.subset else { continue };
        // One patient every ten minutes, about twenty per day.
        clock += draw.uniform(240_000.0, 900_000.0) as i64;
        today += 1;
        if today >= 18 {
            today = 0;
            clock += draw.uniform(60_000_000.0, 68_000_000.0) as i64;
        }
        // As in the real data, the first names contain the side, most later ones do not.
        let named = images.len() < 2 || draw.chance(0.01);
        let pause = draw.uniform(22_000.0, 48_000.0) as i64;
        for (side, taken) in [(Side::R, clock), (Side::L, clock + pause)] {
            let ending = if named { format!("_{}", side.name()) } else { String::new() };
            images.push(ImagePlan {
                image_id: format!("image{taken}{ending}"),
                patient_id: person.id.clone(),
                subset,
                taken,
                hand: HandSpec {
                    seed: settings.seed,
                    patient: number as u64,
                    side,
                    rotated: person.rotated[usize::from(side == Side::L)],
                    scale: person.scale,
                    stoutness: person.stoutness,
                    dense: draw.chance(0.25),
                },
                exposure: Exposure {
                    seed: settings.seed,
                    index: 2 * number as u64 + u64::from(side == Side::L),
                    cortex: person.cortex,
                    flesh: person.flesh,
                    objects: Vec::new(),
                },
                label_fault: None,
                resaved: None,
            });
        }
        clock += pause;
    }
    images
}

/// Sex as typed: mostly after a backspace character, which Excel escapes as `_x0008_`; sometimes after a space.
pub(super) fn typed_sex(sex: Sex, draw: &mut Draw) -> String {
    let (letter, backspace, plain) = match sex {
        Sex::F => ("여", 269.0 / 288.0, 10.0 / 288.0),
        Sex::M => ("남", 243.0 / 262.0, 11.0 / 262.0),
    };
    let at = draw.uniform(0.0, 1.0);
    if at < backspace {
        format!("\u{8}{letter}")
    } else if at < backspace + plain {
        letter.to_owned()
    } else {
        format!(" {letter}")
    }
}

fn plan_rows(people: &[Person], draw: &mut Draw) -> Vec<WorkbookRow> {
    let mut rows: Vec<WorkbookRow> = people
        .iter()
        .map(|p| WorkbookRow {
            id: p.id.clone(),
            age: Some(f64::from(p.age)),
            sex: Some(typed_sex(p.sex, draw)),
            weight: Some(f64::from(p.weight)),
            height: Some(f64::from(p.height)),
            note: None,
        })
        .collect();
    let women: Vec<usize> = (0..people.len()).filter(|i| people[*i].sex == Sex::F).collect();
    if !women.is_empty() {
        rows[women[draw.below(women.len())]].note = Some("네일있음".to_owned());
    }
    rows
}

/// How often each of `kinds` kinds is planted so that together they affect `share` of `total`: at least once.
pub(super) fn times(total: usize, share: f64, kinds: usize) -> usize {
    ((total as f64 * share / kinds as f64).round() as usize).max(1)
}

/// Chooses and marks an image without deliberate faults. At most 60 % of the images are ever marked.
fn fresh_image(
    images: &[ImagePlan],
    touched: &mut [bool],
    draw: &mut Draw,
    is_suitable: impl Fn(&ImagePlan) -> bool,
) -> Option<usize> {
    if 5 * touched.iter().filter(|t| **t).count() >= 3 * images.len() {
        return None;
    }
    let free: Vec<usize> = (0..images.len()).filter(|i| !touched[*i] && is_suitable(&images[*i])).collect();
    let chosen = *free.get(draw.below(free.len()))?;
    touched[chosen] = true;
    Some(chosen)
}

fn plant_label_faults(images: &mut [ImagePlan], touched: &mut [bool], draw: &mut Draw) {
    let train = images.iter().filter(|i| i.subset == Subset::Train).count();
    for _ in 0..times(train, 0.17, LabelFault::ALL.len()) {
        for fault in LabelFault::ALL {
            if let Some(at) = fresh_image(images, touched, draw, |i| i.subset == Subset::Train) {
                images[at].label_fault = Some(fault);
            }
        }
    }
}

fn object(kind: usize, draw: &mut Draw) -> Object {
    match kind {
        0 => Object::Ring { finger: if draw.chance(0.7) { 3 } else { 1 + draw.below(2) } },
        1 => Object::NailArt { fingers: 1 + draw.below(4) },
        2 => Object::Implant { finger: 1 + draw.below(4) },
        3 => Object::StripTop { width: draw.uniform(14.0, 79.0) as u32 },
        _ => Object::StripLeft { width: draw.uniform(14.0, 79.0) as u32 },
    }
}

fn add_object(image: &mut ImagePlan, object: Object, defects: &mut Vec<Defect>) {
    image.exposure.objects.push(object);
    defects.push(Defect {
        kind: object.kind().to_owned(),
        image_id: Some(image.image_id.clone()),
        image_ids: vec![image.image_id.clone()],
        patient_id: image.patient_id.clone(),
        labels: Vec::new(),
        detail: object.describe(),
    });
}

fn plant_objects(images: &mut [ImagePlan], touched: &mut [bool], defects: &mut Vec<Defect>, draw: &mut Draw) {
    for _ in 0..times(images.len(), 0.05, 5) {
        for kind in 0..5 {
            if let Some(at) = fresh_image(images, touched, draw, |_| true) {
                let object = object(kind, draw);
                add_object(&mut images[at], object, defects);
            }
        }
    }
}

/// Adds the strips and rings that data without deliberate faults has as well.
fn add_usual_objects(images: &mut [ImagePlan], touched: &[bool], defects: &mut Vec<Defect>, draw: &mut Draw) {
    for (image, _) in images.iter_mut().zip(touched).filter(|(_, touched)| !**touched) {
        let (strip, ring) = (draw.chance(STRIPS), draw.chance(RINGS));
        if strip {
            let kind = 3 + draw.below(2);
            let object = object(kind, draw);
            add_object(image, object, defects);
        }
        if ring {
            let object = object(0, draw);
            add_object(image, object, defects);
        }
    }
}

/// Replaces an image of a patient by another patient's, slightly cut and brighter or darker.
fn plant_copies(images: &mut [ImagePlan], touched: &mut [bool], defects: &mut Vec<Defect>, draw: &mut Draw) {
    for _ in 0..times(images.len(), 0.01, 1) {
        let is_train = |i: &ImagePlan| i.subset == Subset::Train;
        let Some(original) = fresh_image(images, touched, draw, is_train) else { return };
        let source = images[original].clone();
        let is_similar = |i: &ImagePlan| {
            i.subset == source.subset
                && i.hand.side == source.hand.side
                && i.patient_id != source.patient_id
                && (i.hand.scale / source.hand.scale - 1.0).abs() < 0.08
        };
        let Some(copy) = fresh_image(images, touched, draw, is_similar) else {
            touched[original] = false;
            continue;
        };
        let gain = if draw.chance(0.5) { draw.uniform(0.93, 0.97) } else { draw.uniform(1.02, 1.04) };
        let resaved = Resaved { cut: (2 + draw.below(10) as u32, 2 + draw.below(10) as u32), gain };
        let dense = images[copy].hand.dense;
        images[copy].hand = HandSpec { dense, ..source.hand };
        images[copy].exposure = source.exposure;
        images[copy].resaved = Some(resaved);
        defects.push(Defect {
            kind: "near_duplicate".to_owned(),
            image_id: Some(images[copy].image_id.clone()),
            image_ids: vec![images[copy].image_id.clone(), source.image_id.clone()],
            patient_id: images[copy].patient_id.clone(),
            labels: Vec::new(),
            detail: format!(
                "the image of {} saved again, cut by {} columns and {} rows at 2048 px, {gain:.3} times as bright",
                source.image_id, resaved.cut.0, resaved.cut.1
            ),
        });
    }
}
