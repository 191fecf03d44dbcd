use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::dataset::kind_of_problem;
use crate::dataset::metadata::Sex;
use crate::figures::style::{NEUTRAL, okabe_ito};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{count, counted, num, visible};
use crate::report::{Content, Privacy, Section, Study, export};
use crate::stats::robust::centre_and_spread;
use crate::tables::{cells, counts, is, texts, values, wholes};

/// Robust standard deviations from the median beyond which a value is called implausible.
const LIMIT: f64 = 3.5;
/// Smallest number of values for robust limits.
const MIN_VALUES: usize = 10;

/// Fields of a patient: name, column, column of the cell as typed.
const FIELDS: [(&str, &str, &str); 4] = [
    ("sex", "sex", "sex_raw"),
    ("age", "age", "age_raw"),
    ("height", "height_cm", "height_raw"),
    ("weight", "weight_kg", "weight_raw"),
];

/// How the metadata were typed and read, what is missing, repeated or implausible.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("metadata_quality", "Quality of the metadata");
    let [rows] = counts(&study.patients, [col("sheet_row").is_not_null()])?;
    section.number("rows", rows);
    if rows == 0 {
        section.absent("The spreadsheet has no rows, or there is none: put the metadata file next to the images.");
        return Ok(section);
    }
    coverage(&mut section, study)?;
    let forms = forms(study)?;
    let unread: usize = forms.iter().map(|form| form.left_empty).sum();
    section.text(format!(
        "{} of the spreadsheet: the four fields have {}; {} of {} could not be read or {} empty.",
        counted(rows, "row", "rows"),
        counted(forms.len(), "raw form", "different raw forms"),
        count(unread),
        counted(4 * rows, "cell", "cells"),
        if unread == 1 { "is" } else { "are" },
    ));
    section.number("forms", json!(forms));
    section.figure(completeness(study)?);
    forms_table(&mut section, study, &forms);
    duplicates(&mut section, study)?;
    implausible(&mut section, study)?;
    Ok(section)
}

/// Patients without images, images without a row, and patients with another number of images than two.
fn coverage(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let (has_row, n_images) = (col("sheet_row").is_not_null(), col("n_images"));
    let has_images = n_images.clone().gt(lit(0u32));
    let [both, without_images, without_row, other_number] = counts(
        &study.patients,
        [
            has_row.clone().and(has_images.clone()),
            has_row.clone().and(has_images.clone().not()),
            has_row.not().and(has_images.clone()),
            has_images.and(n_images.neq(lit(2u32))),
        ],
    )?;
    section.text(format!(
        "{} a row and images. {} a row but no image; {} images but no row; {} another number of images than two.",
        counted(both, "patient has", "patients have"),
        counted(without_images, "has", "have"),
        counted(without_row, "has", "have"),
        counted(other_number, "has", "have"),
    ));
    section.number(
        "coverage",
        json!({
            "row_and_images": both, "row_without_images": without_images, "images_without_row": without_row,
            "other_number_of_images_than_two": other_number,
        }),
    );
    for (title, wanted) in [
        ("with images but without a row", col("sheet_row").is_null().and(col("n_images").gt(lit(0u32)))),
        ("with a row but without images", col("sheet_row").is_not_null().and(col("n_images").eq(lit(0u32)))),
    ] {
        let ids = texts(&study.patients.clone().lazy().filter(wanted).collect()?, "patient_id")?;
        if !ids.is_empty() {
            let listed: Vec<String> = ids.iter().flatten().map(|id| visible(id)).collect();
            let n = counted(ids.len(), "patient", "patients");
            section.folded(format!("{n} {title}"), vec![Content::Text(listed.join(", "))]);
        }
    }
    Ok(())
}

/// Cells of a field that are typed alike.
#[derive(Serialize)]
struct RawForm {
    field: &'static str,
    /// The cell, with `#` for each number of a numeric field.
    form: String,
    n: usize,
    left_empty: usize,
    /// The first such cell.
    example: String,
    /// What it was read as.
    read_as: String,
}

/// The raw forms of each field, most frequent first.
fn forms(study: &Study<'_>) -> PolarsResult<Vec<RawForm>> {
    let rows = study.patients.clone().lazy().filter(col("sheet_row").is_not_null()).collect()?;
    let mut found = Vec::new();
    for (field, value, raw) in FIELDS {
        let typed: Vec<String> = cells(&rows, raw)?;
        let read: Vec<Option<String>> = texts(&rows, value)?;
        let form = |(raw, read): (&String, &Option<String>)| form_of(field, raw, read.is_some());
        let forms: Vec<String> = typed.iter().zip(&read).map(form).collect();
        let frame = df!("form" => forms, "raw" => typed, "read" => read)?;
        let order = SortMultipleOptions::default().with_order_descending_multi([true, false]);
        let groups = frame
            .lazy()
            .group_by_stable([col("form")])
            .agg([
                len().alias("n"),
                col("read").is_null().sum().alias("left_empty"),
                col("raw").first(),
                col("read").first(),
            ])
            .sort(["n", "form"], order)
            .collect()?;
        let (n, left_empty) = (wholes(&groups, "n")?, wholes(&groups, "left_empty")?);
        let (form, raw, read) =
            (cells::<String>(&groups, "form")?, cells::<String>(&groups, "raw")?, texts(&groups, "read")?);
        for i in 0..groups.height() {
            let anonymised = study.settings.privacy == Privacy::Anonymised;
            found.push(RawForm {
                field,
                form: if anonymised { without_text(field, &form[i], left_empty[i] > 0) } else { form[i].clone() },
                n: n[i],
                left_empty: left_empty[i],
                example: if anonymised { String::new() } else { raw[i].clone() },
                read_as: read[i].clone().unwrap_or_else(|| "left empty".to_owned()),
            });
        }
    }
    if study.settings.privacy == Privacy::Anonymised {
        found
            .iter_mut()
            .filter(|form| form.field != "sex")
            .for_each(|form| form.read_as = "a number, or left empty".into());
    }
    Ok(found)
}

/// The form without free text, which may name a person. A text that was read as a sex is a word for it.
fn without_text(field: &str, form: &str, is_unread: bool) -> String {
    match form {
        "(empty)" | "(not recorded)" | "#" => form.to_owned(),
        _ if field == "sex" && !is_unread => form.to_owned(),
        _ if is_unread => "(unreadable text)".to_owned(),
        _ => "# with other characters".to_owned(),
    }
}

/// The form of a cell: the text, with `#` for numbers where the field is a number.
fn form_of(field: &str, raw: &str, is_read: bool) -> String {
    match raw {
        "" if is_read => "(not recorded)".to_owned(),
        "" => "(empty)".to_owned(),
        raw if field == "sex" => raw.to_owned(),
        raw => kind_of_problem(&format!(" {raw}")).trim_start_matches(' ').replace('…', "#"),
    }
}

fn forms_table(section: &mut Section, study: &Study<'_>, forms: &[RawForm]) {
    const HEAD: [&str; 6] = ["field", "raw form", "n", "left empty", "example", "read as"];
    let row = |form: &RawForm| {
        vec![
            form.field.to_owned(),
            visible(&form.form),
            count(form.n),
            count(form.left_empty),
            visible(&form.example),
            visible(&form.read_as),
        ]
    };
    let rows: Vec<Vec<String>> = forms.iter().map(row).collect();
    let shown = rows.len().min(study.settings.rows_shown);
    section.table(
        format!(
            "{} of {} by field (# stands for a number)",
            count(shown),
            counted(rows.len(), "raw form", "raw forms")
        ),
        &HEAD,
        rows[..shown].to_vec(),
    );
    section.file("metadata_forms.csv", "All raw forms as CSV", export::csv(&HEAD, &rows));
}

/// Share of known values by field and subset.
fn completeness(study: &Study<'_>) -> PolarsResult<Figure> {
    let mut rows = Vec::new();
    let mut sizes = Vec::new();
    for (field, column, _) in FIELDS {
        let mut marks = Vec::new();
        let mut notes = Vec::new();
        for subset in SUBSETS {
            let patients = study.patients(subset)?;
            let n = patients.height();
            if n == 0 {
                continue;
            }
            let [known] = counts(&patients, [col(column).is_not_null()])?;
            let (name, colour, value) = (subset.to_string(), subset_colour(subset), 100.0 * known as f64 / n as f64);
            marks.push(Mark::Bar { name, colour, value, interval: None });
            notes.push(format!("{} of {} {subset}", count(known), count(n)));
            sizes.push(format!("{} {subset}", count(n)));
        }
        rows.push(CategoryRow { label: field.to_owned(), marks, note: notes.join(", ") });
    }
    sizes.truncate(SUBSETS.len());
    sizes.dedup();
    Ok(Figure {
        name: "metadata-completeness".into(),
        title: format!("Known values by field (patients: {})", sizes.join(", ")),
        note: String::new(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::between("share of patients with images (%)", 0.0, 100.0),
            rows,
            reference: None,
        })],
    })
}

/// Images and rows that occur more than once.
fn duplicates(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let repeated = |frame: &DataFrame, keys: &[&str]| -> PolarsResult<DataFrame> {
        let is_known = keys.iter().map(|key| col(*key).is_not_null()).reduce(Expr::and).unwrap_or(lit(true));
        let keys: Vec<Expr> = keys.iter().map(|key| col(*key).cast(DataType::String)).collect();
        let groups = frame.clone().lazy().filter(is_known).group_by(keys);
        groups
            .agg([len().alias("n"), col("patient_id").n_unique().alias("patients")])
            .filter(col("n").gt(lit(1)))
            .collect()
    };
    let rows = study.patients.clone().lazy().filter(col("sheet_row").is_not_null()).collect()?;
    let alike = repeated(&rows, &["sex", "age", "height_cm", "weight_kg"])?;
    let files = repeated(&study.hands, &["sha256"])?;
    let pictures = repeated(&study.hands, &["image_hash"])?;
    let size = |frame: &DataFrame| -> PolarsResult<usize> { Ok(wholes(frame, "n")?.into_iter().sum()) };
    section.text(format!(
        "Duplicates: {} in more than one file with the same bytes; {} with the same perceptual hash; {} with the same sex, age, \
         height and weight as another patient, which can be chance.",
        counted(files.height(), "image is", "images are"),
        counted(size(&pictures)?, "image", "images"),
        counted(size(&alike)?, "patient", "patients"),
    ));
    section.number(
        "duplicates",
        json!({
            "identical_files": files.height(), "images_with_equal_hash": size(&pictures)?,
            "patients_with_equal_values": size(&alike)?,
        }),
    );
    Ok(())
}

/// A value far from the median of its sex.
#[derive(Serialize)]
struct Implausible {
    patient_id: String,
    field: &'static str,
    group: &'static str,
    value: f64,
    low: f64,
    high: f64,
    /// Distance from the median in robust standard deviations.
    distance: f64,
}

/// Values beyond robust limits, within women, men and patients of unknown sex.
fn implausible(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let index = || col("weight_kg") / (col("height_cm") / lit(100.0)).pow(lit(2.0));
    let quantities: [(&str, Expr); 4] =
        [("age", col("age")), ("height", col("height_cm")), ("weight", col("weight_kg")), ("body mass index", index())];
    let groups: [(&str, Expr); 3] =
        [("women", is("sex", Sex::F)), ("men", is("sex", Sex::M)), ("sex unknown", col("sex").is_null())];
    let (mut found, mut limits, mut too_few) = (Vec::new(), Vec::new(), 0);
    for (group, wanted) in groups {
        let patients = study.patients.clone().lazy().filter(wanted).collect()?;
        let ids = texts(&patients, "patient_id")?;
        for (field, value) in &quantities {
            let all = values(&patients, value.clone())?;
            let known: Vec<f64> = all.iter().flatten().copied().collect();
            let Some((centre, spread)) =
                centre_and_spread(&known).filter(|(_, s)| known.len() >= MIN_VALUES && *s > 0.0)
            else {
                too_few += usize::from(!known.is_empty());
                continue;
            };
            let (low, high) = (centre - LIMIT * spread, centre + LIMIT * spread);
            let before = found.len();
            for (id, value) in ids.iter().zip(&all) {
                let Some(value) = value.filter(|v| !(low..=high).contains(v)) else { continue };
                let patient_id = id.clone().unwrap_or_default();
                let distance = (value - centre) / spread;
                found.push(Implausible { patient_id, field, group, value, low, high, distance });
            }
            limits.push(json!({
                "field": field, "group": group, "n": known.len(), "median": centre, "robust_sd": spread, "low": low,
                "high": high, "outside": found.len() - before,
            }));
        }
    }
    found.sort_by(|a, b| b.distance.abs().total_cmp(&a.distance.abs()));
    section.number("limits", json!(limits));
    section.number("implausible", json!(found));
    let skipped = if too_few > 0 {
        format!(" {} too small or without variation.", counted(too_few, "group of values is", "groups of values are"))
    } else {
        String::new()
    };
    section.text(format!(
        "{} farther than {LIMIT} robust standard deviations (1.4826 × median absolute deviation) from the median of the same \
         sex.{skipped}",
        counted(found.len(), "value is", "values are"),
    ));
    if found.is_empty() {
        return Ok(());
    }
    section.figure(implausible_figure(&found));
    let shown = found.len().min(study.settings.rows_shown);
    let row = |v: &Implausible| {
        let limits = format!("{} to {}", num(v.low, 1), num(v.high, 1));
        vec![visible(&v.patient_id), v.field.into(), v.group.into(), num(v.value, 1), limits, num(v.distance, 1)]
    };
    section.table(
        format!("{} of {} beyond robust limits, farthest first", count(shown), counted(found.len(), "value", "values")),
        &["patient", "field", "group", "value", "robust limits", "distance (robust sd)"],
        found[..shown].iter().map(row).collect(),
    );
    section
        .meaning("Such values are rare but can be true: check them in the source, and correct those that are wrong.");
    Ok(())
}

fn implausible_figure(found: &[Implausible]) -> Figure {
    let fields = ["age", "height", "weight", "body mass index"];
    let rows = fields
        .iter()
        .map(|field| {
            let of_field: Vec<&Implausible> = found.iter().filter(|v| v.field == *field).collect();
            let low = of_field.iter().filter(|v| v.distance < 0.0).count();
            let high = of_field.len() - low;
            let bar =
                |name: &str, colour, n: usize| Mark::Bar { name: name.into(), colour, value: n as f64, interval: None };
            CategoryRow {
                label: (*field).to_owned(),
                marks: vec![bar("too high", okabe_ito::VERMILION, high), bar("too low", NEUTRAL, low)],
                note: format!("{} high, {} low", count(high), count(low)),
            }
        })
        .collect();
    Figure {
        name: "implausible-values".into(),
        title: format!("Values beyond robust limits (n = {})", count(found.len())),
        note: String::new(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::from_zero("values", [found.len() as f64]).whole(),
            rows,
            reference: None,
        })],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_show_what_was_typed_without_numbers() {
        assert_eq!(form_of("height", "172", true), "#");
        assert_eq!(form_of("height", "1.72 m", true), "# m");
        assert_eq!(form_of("weight", "64,5kg", true), "#kg");
        assert_eq!(form_of("age", "unknown", false), "unknown");
        assert_eq!((form_of("age", "", false), form_of("age", "", true)), ("(empty)".into(), "(not recorded)".into()));
        assert_eq!(form_of("sex", "\u{8}남", true), "\u{8}남");
    }
}
