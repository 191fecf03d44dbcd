//! The annotation file as the labelling tool exports it, including its misleading keys.

use serde_json::{Value, json};

use super::draw::Draw;
use crate::dataset::annotation::Shape;

fn hex(draw: &mut Draw, digits: usize) -> String {
    (0..digits).map(|_| char::from_digit(draw.below(16) as u32, 16).expect("a digit below 16")).collect()
}

/// Year, month and day (UTC) of a time in milliseconds since 1970, as `YYYYMMDD`.
pub fn date_of(milliseconds: i64) -> String {
    // Days to civil date on the proleptic Gregorian calendar, eras of 400 years from March.
    let days = milliseconds.div_euclid(86_400_000) + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}")
}

/// The document: shapes in random order, `filename` with the ending `.jpg` and `metadata` of 3060x3060 px, both wrong
/// as in the real data.
pub fn document(stem: &str, patient: &str, taken: i64, shapes: &[Shape], draw: &mut Draw) -> Value {
    let worker = hex(draw, 24);
    let mut order: Vec<usize> = (0..shapes.len()).collect();
    draw.shuffle(&mut order);
    let annotations: Vec<Value> = order
        .into_iter()
        .map(|i| {
            let shape = &shapes[i];
            let uuid = [8, 4, 4, 4, 12].map(|n| hex(draw, n)).join("-");
            json!({
                "id": format!("{}-{uuid}", i + 1),
                "type": "poly_seg",
                "attributes": {},
                "points": shape.points,
                "label": shape.label,
            })
        })
        .collect();
    json!({
        "annotations": annotations,
        "attributes": {},
        "file_id": hex(draw, 24),
        "filename": format!("{stem}.jpg"),
        "parent_path": format!("/X-ray/{}/ID{patient}", date_of(taken)),
        "last_modifier_id": worker,
        "metadata": {"height": 3060, "width": 3060},
        "last_workers": {"라벨링": worker, "검수": null, "최종 검수": null},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(date_of(0), "19700101");
        assert_eq!(date_of(951_782_400_000), "20000229");
        assert_eq!(date_of(1_661_319_116_107), "20220824");
    }
}
