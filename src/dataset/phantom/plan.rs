//! Decides, before anything is drawn, who is in the data set, what each image shows and which faults it has.

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

/// A patient's image that is another patient's, saved again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resaved {
    /// Columns and rows cut off at the left and the top, px at 2048.
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
    /// Which part of the data.
    pub subset: Subset,
    /// Milliseconds since 1970.
    pub taken: i64,
    /// What is drawn.
    pub hand: HandSpec,
    /// How it is taken.
    pub exposure: Exposure,
    /// What is wrong with its annotation.
    pub label_fault: Option<LabelFault>,
    /// Whether it is a copy.
    pub resaved: Option<Resaved>,
}

/// The whole data set.
#[derive(Clone, Debug)]
pub struct PhantomPlan {
    /// Images by patient, right hand first.
    pub images: Vec<ImagePlan>,
    /// Rows of the workbook.
    pub rows: Vec<WorkbookRow>,
    /// Faults known beforehand: of metadata, file order, copies and objects. Label faults are told when planted.
    pub defects: Vec<Defect>,
}

/// 2022-08-22, when the first radiograph is taken.
const FIRST: i64 = 1_661_130_828_152;
/// Share of clean data's images with a white strip, and with a ring: as in the real data they are there anyway.
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
    sprinkle_objects(&mut images, &touched, &mut defects, &mut draw);
    PhantomPlan { images, rows, defects }
}

fn plan_images(settings: &PhantomSettings, people: &[Person], draw: &mut Draw) -> Vec<ImagePlan> {
    let mut images = Vec::new();
    let mut clock = FIRST;
    let mut today = 0;
    for (number, person) in people.iter().enumerate() {
        let Some(subset) = person.subset else { continue };
        // A patient every ten minutes, some twenty a day.
        clock += draw.uniform(240_000.0, 900_000.0) as i64;
        today += 1;
        if today >= 18 {
            today = 0;
            clock += draw.uniform(60_000_000.0, 68_000_000.0) as i64;
        }
        // The first names had the side in them, then they left it out.
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

/// Sex as typed: mostly with a backspace in front, which Excel escapes as `_x0008_`; some with a space.
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

/// How often each of `kinds` kinds is planted when together they take `share` of `total`: once at least.
pub(super) fn times(total: usize, share: f64, kinds: usize) -> usize {
    ((total as f64 * share / kinds as f64).round() as usize).max(1)
}

/// An image that nothing has been done to; marks it. At most three fifths of the images are ever touched.
fn fresh_image(
    images: &[ImagePlan],
    touched: &mut [bool],
    draw: &mut Draw,
    may: impl Fn(&ImagePlan) -> bool,
) -> Option<usize> {
    if 5 * touched.iter().filter(|t| **t).count() >= 3 * images.len() {
        return None;
    }
    let free: Vec<usize> = (0..images.len()).filter(|i| !touched[*i] && may(&images[*i])).collect();
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

/// What the data has without being asked: a strip or a ring here and there.
fn sprinkle_objects(images: &mut [ImagePlan], touched: &[bool], defects: &mut Vec<Defect>, draw: &mut Draw) {
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

/// Another patient's image takes the place of one of this patient's, a little cut and brighter or darker.
fn plant_copies(images: &mut [ImagePlan], touched: &mut [bool], defects: &mut Vec<Defect>, draw: &mut Draw) {
    for _ in 0..times(images.len(), 0.01, 1) {
        let may = |i: &ImagePlan| i.subset == Subset::Train;
        let Some(original) = fresh_image(images, touched, draw, may) else { return };
        let source = images[original].clone();
        let may = |i: &ImagePlan| {
            i.subset == source.subset
                && i.hand.side == source.hand.side
                && i.patient_id != source.patient_id
                && (i.hand.scale / source.hand.scale - 1.0).abs() < 0.08
        };
        let Some(copy) = fresh_image(images, touched, draw, may) else {
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
