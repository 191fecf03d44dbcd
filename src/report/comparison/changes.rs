use std::collections::{BTreeSet, HashMap};

use polars::prelude::*;
use serde_json::{Map, json};

use super::ComparedTables;
use crate::names::image_id;
use crate::report::Section;
use crate::report::block::outcome;
use crate::report::per_patient::{METADATA, OF_IMAGES};
use crate::report::wording::{capital, count, counted, interval, num, p_text, visible};
use crate::stats::{Paired, Undefined, paired_t, summary};
use crate::tables::{ImageRow, PatientRow, Tables, texts, values};

/// Rows of a list of changes.
const SHOWN: usize = 100;

/// Images and patients that are in both sets.
pub(super) struct Common {
    /// Indices in the images tables of images with the same id and, where both have one, the same SHA-256.
    pub images: Vec<(usize, usize)>,
    /// Ids of the patients with such an image, by the first set.
    pub ids: BTreeSet<String>,
    /// Their number.
    pub patients: usize,
    /// Number of images that only the first set has.
    pub only_base: usize,
    /// Number of images that only the second set has.
    pub only_other: usize,
}

impl Common {
    pub(super) fn of(base: &Tables, other: &Tables) -> Common {
        let at: HashMap<String, usize> =
            other.images.iter().enumerate().map(|(i, row)| (image_id(&row.image_id), i)).collect();
        let same = |a: &ImageRow, b: &ImageRow| match (&a.sha256, &b.sha256) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let images: Vec<(usize, usize)> = base
            .images
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((i, *at.get(&image_id(&row.image_id))?)))
            .filter(|(i, j)| same(&base.images[*i], &other.images[*j]))
            .collect();
        let ids: BTreeSet<String> = images
            .iter()
            .filter(|(i, j)| base.images[*i].patient_id == other.images[*j].patient_id)
            .map(|(i, _)| base.images[*i].patient_id.clone())
            .collect();
        let (only_base, only_other) =
            (base.images.len() - images.len(), other.images.len().saturating_sub(images.len()));
        Common { patients: ids.len(), images, ids, only_base, only_other }
    }
}

/// What differs for the images and patients that are in both sets.
pub(super) fn section(
    base: ComparedTables<'_>,
    other: ComparedTables<'_>,
    common: &Common,
    patients: [&DataFrame; 2],
) -> PolarsResult<Section> {
    let mut section = Section::new("changes", "Changes of common images and patients");
    if common.images.is_empty() {
        section.absent("The sets have no image in common, so nothing can be compared with itself.");
        return Ok(section);
    }
    let cells = changed_cells(base.tables, other.tables, common);
    section.text(if cells.is_empty() {
        format!(
            "No value that is compared differs for the {} in both sets.",
            counted(common.images.len(), "image", "images")
        )
    } else {
        format!("{} for images and patients in both sets.", counted(cells.len(), "value differs", "values differ"))
    });
    paired(&mut section, base, other, common, patients)?;
    if !cells.is_empty() {
        let shown = cells.len().min(SHOWN);
        section.table(
            format!("{} of {}", count(shown), counted(cells.len(), "changed value", "changed values")),
            &["patient or image", "value", base.name, other.name],
            cells[..shown].iter().map(|cell| cell.iter().map(|text| visible(text)).collect()).collect(),
        );
    }
    section.number("changed_values", cells.len());
    Ok(section)
}

/// Values of common images and patients that differ: id, name of the value, value in each set.
fn changed_cells(base: &Tables, other: &Tables, common: &Common) -> Vec<[String; 4]> {
    let text = |value: Option<f64>| value.map_or("–".to_owned(), |v| num(v, 2));
    let mut found = Vec::new();
    let mut add = |id: &str, what: &str, a: String, b: String| {
        if a != b {
            found.push([id.to_owned(), what.to_owned(), a, b]);
        }
    };
    let patients: HashMap<&str, &PatientRow> = other.patients.iter().map(|p| (p.patient_id.as_str(), p)).collect();
    for a in base.patients.iter().filter(|p| common.ids.contains(&p.patient_id)) {
        let Some(b) = patients.get(a.patient_id.as_str()) else { continue };
        let sex = |p: &PatientRow| p.sex.map_or("–".to_owned(), |s| s.to_string());
        add(&a.patient_id, "sex", sex(a), sex(b));
        add(&a.patient_id, "age", text(a.age), text(b.age));
        add(&a.patient_id, "height_cm", text(a.height_cm), text(b.height_cm));
        add(&a.patient_id, "weight_kg", text(a.weight_kg), text(b.weight_kg));
    }
    for (i, j) in &common.images {
        let (a, b) = (&base.images[*i], &other.images[*j]);
        let side = |row: &ImageRow| row.side.map_or("–".to_owned(), |s| s.to_string());
        let pixels = |px: Option<u64>| text(px.map(|px| px as f64));
        let usable = |row: &ImageRow| match &row.unusable_reason {
            Some(reason) if !row.usable => format!("not usable: {reason}"),
            _ if !row.usable => "not usable".to_owned(),
            _ => "usable".to_owned(),
        };
        add(&a.image_id, "patient", a.patient_id.clone(), b.patient_id.clone());
        add(&a.image_id, "side", side(a), side(b));
        add(&a.image_id, "usable", usable(a), usable(b));
        add(&a.image_id, "source of masks", a.mask_source.to_string(), b.mask_source.to_string());
        add(&a.image_id, "number of bones", a.n_bones.to_string(), b.n_bones.to_string());
        add(&a.image_id, "mask size (px)", pixels(a.mask_px), pixels(b.mask_px));
        add(&a.image_id, "angle (degrees)", text(a.angle_deg), text(b.angle_deg));
    }
    found
}

/// Mean change of each quantity of the common patients, with a paired t test.
fn paired(
    section: &mut Section,
    base: ComparedTables<'_>,
    other: ComparedTables<'_>,
    common: &Common,
    patients: [&DataFrame; 2],
) -> PolarsResult<()> {
    // A patient may have rows in both subsets; the first counts.
    let keyed = |frame: &DataFrame, key: &str| -> PolarsResult<HashMap<String, f64>> {
        let ids = texts(frame, "patient_id")?.into_iter().zip(values(frame, col(key))?);
        let known: Vec<(String, f64)> = ids.filter_map(|(id, value)| Some((id?, value?))).collect();
        Ok(known.into_iter().rev().collect())
    };
    let (mut rows, mut numbers) = (Vec::new(), Map::new());
    for q in METADATA.into_iter().chain(OF_IMAGES) {
        let (a, b) = (keyed(patients[0], q.key)?, keyed(patients[1], q.key)?);
        let pairs: Vec<(f64, f64)> = common.ids.iter().filter_map(|id| Some((*b.get(id)?, *a.get(id)?))).collect();
        if pairs.is_empty() {
            continue;
        }
        let changes: Vec<f64> = pairs.iter().map(|(new, old)| new - old).collect();
        let changed = changes.iter().filter(|c| **c != 0.0).count();
        let test: Result<Paired, Undefined> = paired_t(&pairs);
        let mean = summary(&changes).map_or(0.0, |s| s.mean);
        let decimals = q.decimals + 1;
        if let (Ok(t), true) = (&test, changed > 0) {
            section.test(
                format!("{}, {} against {}, same patients", q.name, other.name, base.name),
                "paired t",
                t.n,
                t.p,
            );
        }
        let cell = match &test {
            _ if changed == 0 => "no change".to_owned(),
            Ok(t) => format!("{}, {}", interval(&t.ci, decimals), p_text(t.p)),
            Err(reason) => format!("not defined: {reason}"),
        };
        rows.push(vec![
            format!("{} ({})", capital(q.name), q.unit),
            count(pairs.len()),
            count(changed),
            num(mean, decimals),
            cell,
        ]);
        let (n, test) = (pairs.len(), outcome(&test));
        numbers.insert(
            q.key.to_owned(),
            json!({"patients": n, "changed": changed, "mean_change": mean, "paired_t": test}),
        );
    }
    section.table(
        format!("Change of the common patients: {} minus {}, one value per patient", other.name, base.name),
        &["quantity", "patients", "changed", "mean change", "95 % confidence interval, paired t test"],
        rows,
    );
    section.number("paired", serde_json::Value::Object(numbers));
    Ok(())
}
