use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::bones;
use crate::dataset::metadata::Sex;
use crate::dataset::{Side, Subset};
use crate::figures::style::NEUTRAL;
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows};
use crate::report::study::SUBSETS;
use crate::report::wording::{count, counted, mean_sd, num};
use crate::report::{Section, Study, export};
use crate::stats::{SampleSummary, summary};
use crate::tables::{counts, is, numbers};

/// Absolute standardised mean difference above which groups are usually called unbalanced.
const UNBALANCED: f64 = 0.1;
const HEAD: [&str; 6] = ["characteristic", "train", "test", "SMD", "missing in train", "missing in test"];

/// The characteristics of patients and images by subset, with standardised mean differences ("Table 1" of a paper).
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("table1", "Characteristics by subset");
    let patients = frames(|subset| study.patients(subset))?;
    let hands = frames(|subset| study.hands(subset))?;
    if hands.iter().all(|frame| frame.height() == 0) {
        section.absent("There are no images to describe.");
        return Ok(section);
    }
    let body_mass_index = col("weight_kg") / (col("height_cm") / lit(100.0)).pow(lit(2.0));
    let complete = col("mask_px").filter(col("n_bones").eq(lit(bones::COUNT as u32)));
    let rows = [
        Characteristic::share("women", "Women", &patients, is("sex", Sex::F))?,
        Characteristic::mean("age", "Age (years)", 1, &patients, col("age"))?,
        Characteristic::mean("height_cm", "Height (cm)", 1, &patients, col("height_cm"))?,
        Characteristic::mean("weight_kg", "Weight (kg)", 1, &patients, col("weight_kg"))?,
        Characteristic::mean("body_mass_index", "Body mass index (kg/m²)", 1, &patients, body_mass_index)?,
        Characteristic::share("left_hands", "Left hands", &hands, is("side", Side::L))?,
        Characteristic::share("rotated_hands", "Rotated hands", &hands, col("rotated"))?,
        Characteristic::mean("mask_px", "Mask size of complete hands (px)", 0, &hands, complete)?,
        Characteristic::mean("mean_grey", "Mean grey level", 1, &hands, col("mean_grey"))?,
        Characteristic::mean("grey_sd", "Contrast (sd of grey levels)", 1, &hands, col("grey_sd"))?,
        Characteristic::mean("sharpness", "Sharpness (variance of the Laplacian)", 1, &hands, col("sharpness"))?,
    ];
    let sizes = |name: &str, frames: &[DataFrame; 2]| {
        let [train, test] = frames.each_ref().map(|frame| count(frame.height()));
        vec![name.to_owned(), train, test, String::new(), String::new(), String::new()]
    };
    let mut cells = vec![sizes("Patients with images", &patients), sizes("Images", &hands)];
    cells.extend(rows.iter().map(Characteristic::cells));
    sentence(&mut section, &rows);
    section.number("characteristics", json!(rows));
    section.number(
        "n",
        json!({
            "patients": {"train": patients[0].height(), "test": patients[1].height()},
            "images": {"train": hands[0].height(), "test": hands[1].height()},
        }),
    );
    section.figure(figure(&rows, &patients));
    let caption = "Mean ± standard deviation, or number (%) of known values; SMD: standardised mean difference, test minus \
                   train, in pooled standard deviations";
    section.table(caption, &HEAD, cells.clone());
    section.file("table1.csv", "This table as CSV", export::csv(&HEAD, &cells));
    section.file("table1.md", "This table as Markdown", export::markdown(caption, &HEAD, &cells));
    section.file("table1.tex", "This table as LaTeX", export::latex(caption, &HEAD, &cells));
    Ok(section)
}

fn frames(of_subset: impl Fn(Subset) -> PolarsResult<DataFrame>) -> PolarsResult<[DataFrame; 2]> {
    let [train, test] = SUBSETS.map(of_subset);
    Ok([train?, test?])
}

/// A quantity in both subsets.
#[derive(Serialize)]
struct Characteristic {
    key: &'static str,
    #[serde(skip)]
    name: &'static str,
    #[serde(skip)]
    decimals: usize,
    train: Described,
    test: Described,
    /// Test minus train, in pooled standard deviations; `None` if it is undefined.
    smd: Option<f64>,
    /// Why the difference is undefined.
    undefined: Option<&'static str>,
}

/// A quantity in one subset.
#[derive(Serialize)]
struct Described {
    n: usize,
    missing: usize,
    #[serde(flatten)]
    values: Values,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Values {
    Mean { summary: Option<SampleSummary> },
    Share { count: usize },
}

impl Described {
    /// Mean and variance of the values.
    fn moments(&self) -> Option<(f64, f64)> {
        match &self.values {
            Values::Mean { summary } => summary.as_ref().and_then(|s| Some((s.mean, s.sd?.powi(2)))),
            Values::Share { count } => (self.n > 0).then(|| {
                let share = *count as f64 / self.n as f64;
                (share, share * (1.0 - share))
            }),
        }
    }

    fn text(&self, decimals: usize) -> String {
        match &self.values {
            Values::Mean { summary } => summary.as_ref().map_or("–".to_owned(), |s| mean_sd(s, decimals)),
            Values::Share { .. } if self.n == 0 => "–".to_owned(),
            Values::Share { count: n } => {
                format!("{} ({} %)", count(*n), num(100.0 * *n as f64 / self.n as f64, 1))
            }
        }
    }
}

impl Characteristic {
    fn mean(
        key: &'static str,
        name: &'static str,
        decimals: usize,
        frames: &[DataFrame; 2],
        value: Expr,
    ) -> PolarsResult<Characteristic> {
        let of = |frame: &DataFrame| -> PolarsResult<Described> {
            let values = numbers(frame, value.clone())?;
            let missing = frame.height() - values.len();
            Ok(Described { n: values.len(), missing, values: Values::Mean { summary: summary(&values) } })
        };
        Ok(Characteristic::new(key, name, decimals, of(&frames[0])?, of(&frames[1])?))
    }

    fn share(
        key: &'static str,
        name: &'static str,
        frames: &[DataFrame; 2],
        wanted: Expr,
    ) -> PolarsResult<Characteristic> {
        let of = |frame: &DataFrame| -> PolarsResult<Described> {
            let [count, n] = counts(frame, [wanted.clone(), wanted.clone().is_not_null()])?;
            Ok(Described { n, missing: frame.height() - n, values: Values::Share { count } })
        };
        Ok(Characteristic::new(key, name, 0, of(&frames[0])?, of(&frames[1])?))
    }

    fn new(
        key: &'static str,
        name: &'static str,
        decimals: usize,
        train: Described,
        test: Described,
    ) -> Characteristic {
        let (smd, undefined) = match (train.moments(), test.moments()) {
            (Some(a), Some(b)) if a.1 + b.1 > 0.0 => (Some((b.0 - a.0) / ((a.1 + b.1) / 2.0).sqrt()), None),
            (Some(_), Some(_)) => (None, Some("no variation in either subset")),
            _ => (None, Some("fewer than two values in a subset")),
        };
        Characteristic { key, name, decimals, train, test, smd, undefined }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.to_owned(),
            self.train.text(self.decimals),
            self.test.text(self.decimals),
            self.smd.map_or("–".to_owned(), |smd| num(smd, 3)),
            count(self.train.missing),
            count(self.test.missing),
        ]
    }
}

fn sentence(section: &mut Section, rows: &[Characteristic]) {
    let mut far: Vec<&Characteristic> =
        rows.iter().filter(|row| row.smd.is_some_and(|d| d.abs() > UNBALANCED)).collect();
    far.sort_by(|a, b| b.smd.unwrap_or(0.0).abs().total_cmp(&a.smd.unwrap_or(0.0).abs()));
    let defined = rows.iter().filter(|row| row.smd.is_some()).count();
    let listed: Vec<String> =
        far.iter().map(|row| format!("{} ({})", row.name, num(row.smd.unwrap_or(0.0), 2))).collect();
    section.text(match (defined, &listed[..]) {
        (0, _) => "Train and test cannot be compared here: one of them has too few values.".to_owned(),
        (_, []) => format!("No standardised mean difference exceeds {UNBALANCED}: train and test are alike in this table."),
        _ => format!(
            "{} of {defined} differ between train and test by more than {UNBALANCED} standard deviations, largest first: {}.",
            counted(far.len(), "characteristic", "characteristics"),
            listed.join(", ")
        ),
    });
    let undefined: Vec<String> =
        rows.iter().filter_map(|row| Some(format!("{}: {}", row.name, row.undefined?))).collect();
    if !undefined.is_empty() {
        section.absent(format!("Undefined differences: {}.", undefined.join("; ")));
    }
    section.meaning(format!(
        "A standardised mean difference describes the size of a difference and is no test: {UNBALANCED} is the usual limit for \
         calling groups unbalanced, and small subsets exceed it by chance. Rows of images count both hands of a patient."
    ));
}

fn figure(rows: &[Characteristic], patients: &[DataFrame; 2]) -> Figure {
    let shown: Vec<(&Characteristic, f64)> = rows.iter().filter_map(|row| Some((row, row.smd?))).collect();
    let values = shown.iter().map(|(_, smd)| *smd).chain([-2.0 * UNBALANCED, 2.0 * UNBALANCED]);
    Figure {
        name: "standardised-differences".into(),
        title: format!(
            "Standardised mean differences, test minus train (patients: {} and {})",
            count(patients[1].height()),
            count(patients[0].height())
        ),
        note: "In pooled standard deviations.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("standardised mean difference", values),
            rows: shown
                .iter()
                .map(|(row, smd)| CategoryRow {
                    label: row.name.to_owned(),
                    marks: vec![Mark::Dot { name: String::new(), colour: NEUTRAL, value: *smd, interval: None }],
                    note: format!("{}, n = {} and {}", num(*smd, 2), count(row.test.n), count(row.train.n)),
                })
                .collect(),
            reference: Some(("no difference (0)".into(), 0.0)),
        })],
    }
}
