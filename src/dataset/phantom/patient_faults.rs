//! Faults of patients: the order of their two files, and their row in the workbook.

use super::draw::Draw;
use super::patients::Person;
use super::plan::{ImagePlan, times, typed_sex};
use super::truth::Defect;
use super::workbook::WorkbookRow;
use crate::dataset::metadata::Sex;

const PATIENT_FAULTS: [&str; 6] = [
    "side_order",
    "metadata_out_of_range",
    "metadata_absent",
    "metadata_row_missing",
    "metadata_swapped_height_weight",
    "metadata_size_mismatch",
];

/// Plants faults of whole patients: the order of their files, and their row in the workbook.
pub(super) fn plant_patient_faults(
    images: &mut [ImagePlan],
    touched: &mut [bool],
    people: &[Person],
    rows: &mut Vec<WorkbookRow>,
    defects: &mut Vec<Defect>,
    draw: &mut Draw,
) {
    let patients = images.len() / 2;
    // A size mismatch needs a hand that is clearly small or large, so this kind chooses first.
    for _ in 0..times(patients, 0.075, PATIENT_FAULTS.len()) {
        for kind in PATIENT_FAULTS.into_iter().rev() {
            let Some(first) = fresh_patient(images, touched, draw, people, kind) else { continue };
            let ids = vec![images[first].image_id.clone(), images[first + 1].image_id.clone()];
            let patient_id = images[first].patient_id.clone();
            let Some(row) = rows.iter().position(|r| r.id == patient_id) else { continue };
            let person = people.iter().find(|p| p.id == patient_id);
            let (detail, ids) = if kind == "side_order" {
                swap_times(&mut images[first..first + 2]);
                let now = vec![images[first].image_id.clone(), images[first + 1].image_id.clone()];
                ("the left hand has the earlier time stamp".to_owned(), now)
            } else if kind == "metadata_row_missing" {
                rows.remove(row);
                ("no row in the workbook".to_owned(), ids)
            } else {
                let scale = person.map_or(1.0, |p| p.scale);
                (spoil_row(&mut rows[row], kind, scale, draw), ids)
            };
            for (id, at) in ids.iter().zip([first, first + 1]) {
                debug_assert_eq!(&images[at].image_id, id);
            }
            defects.push(Defect {
                kind: kind.to_owned(),
                image_id: Some(ids[0].clone()),
                image_ids: ids,
                patient_id,
                labels: Vec::new(),
                detail,
            });
        }
    }
}

/// First image of a patient without deliberate faults; marks both images.
fn fresh_patient(
    images: &[ImagePlan],
    touched: &mut [bool],
    draw: &mut Draw,
    people: &[Person],
    kind: &str,
) -> Option<usize> {
    let free: Vec<usize> = (0..images.len()).step_by(2).filter(|i| !touched[*i] && !touched[i + 1]).collect();
    let is_suitable = |i: usize| match kind {
        "side_order" => !images[i].image_id.ends_with("_R"),
        "metadata_size_mismatch" => {
            let scale = people.iter().find(|p| p.id == images[i].patient_id).map_or(1.0, |p| p.scale);
            !(0.93..1.015).contains(&scale)
        }
        _ => true,
    };
    let suitable: Vec<usize> = free.into_iter().filter(|i| is_suitable(*i)).collect();
    let first = *suitable.get(draw.below(suitable.len()))?;
    touched[first] = true;
    touched[first + 1] = true;
    Some(first)
}

/// Swaps the times of the two images, and therefore their names.
fn swap_times(pair: &mut [ImagePlan]) {
    let (a, b) = (pair[0].taken, pair[1].taken);
    pair[0].taken = b;
    pair[1].taken = a;
    for image in pair {
        image.image_id = format!("image{}", image.taken);
    }
}

fn spoil_row(row: &mut WorkbookRow, kind: &str, scale: f64, draw: &mut Draw) -> String {
    match kind {
        "metadata_out_of_range" => match draw.below(4) {
            0 => {
                row.height = row.height.map(|h| h / 100.0);
                "height in metres".to_owned()
            }
            1 => {
                row.weight = row.weight.map(|w| w * 10.0);
                "weight multiplied by ten".to_owned()
            }
            2 => {
                row.age = row.age.map(|a| a + 180.0);
                "age increased by 180 years".to_owned()
            }
            _ => {
                row.height = row.height.map(|h| h + 100.0);
                "height increased by 1 m".to_owned()
            }
        },
        "metadata_absent" => match draw.below(4) {
            0 => {
                row.height = None;
                "height empty".to_owned()
            }
            1 => {
                row.weight = None;
                "weight empty".to_owned()
            }
            2 => {
                row.age = None;
                "age empty".to_owned()
            }
            _ => {
                row.sex = None;
                "sex empty".to_owned()
            }
        },
        "metadata_swapped_height_weight" => {
            std::mem::swap(&mut row.height, &mut row.weight);
            "height and weight swapped".to_owned()
        }
        _ => {
            // The row of another person with an extreme size on the other side.
            let (height, weight, sex) = if scale < 0.972 { (185.0, 96.0, Sex::M) } else { (151.0, 44.0, Sex::F) };
            row.height = Some(height);
            row.weight = Some(weight);
            row.sex = Some(typed_sex(sex, draw));
            format!("height {height}, weight {weight}, sex {} for a hand of scale {scale:.3}", sex.name())
        }
    }
}
