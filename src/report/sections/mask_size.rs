use std::collections::HashMap;

use polars::prelude::*;
use serde_json::{Map, Value, json};

use crate::bones::{Bone, BoneGroup, COUNT};
use crate::dataset::Subset;
use crate::dataset::metadata::Sex;
use crate::figures::{Chart, Figure, FittedLine, FittedPoint, Heatmap, HeatmapCell, Scatter, ScatterSeries};
use crate::report::block::outcome;
use crate::report::per_patient::{MALE, METADATA, Quantity, is_complete, per_patient};
use crate::report::study::{SEXES, SUBSETS, sex_colour};
use crate::report::wording::{capital, correlation, correlation_conclusion, count, counted, num};
use crate::report::{Section, Study};
use crate::stats::{
    Correlation, MeanResponse, Undefined, complete_pairs, ols, partial, partial_spearman, pearson, spearman,
};
use crate::tables::{BoneRow, TableRow, filtered, is, texts, values, wholes};

/// Values of a column by row.
pub(super) type OptionalValues = Vec<Option<f64>>;

/// Correlation at which a cell of a heat map has its full colour.
const FULL: f64 = 1.0;

/// Correlations of mask size with height, weight, age, body mass index and sex.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("mask_size", "Mask size and metadata");
    section.text("Mask size is the total area of the 29 classes of an image, in pixels of the image.");
    let mut any = false;
    for subset in SUBSETS {
        let hands = study.masked(subset)?;
        if hands.height() == 0 {
            let all = study.hands(subset)?.height();
            if all > 0 {
                section.absent(format!(
                    "{} no masks. To measure them, scan with predictions.",
                    counted(all, &format!("{subset} image has"), &format!("{subset} images have"))
                ));
            }
            continue;
        }
        any = true;
        let complete = complete_hands(&mut section, subset, &hands)?;
        if complete.height() > 0 {
            add_subset(&mut section, study, subset, &complete)?;
        }
    }
    if !any {
        section.absent("There are no masks to measure.");
    }
    Ok(section)
}

/// The hands with masks of all bones; says how many are left out.
pub(super) fn complete_hands(section: &mut Section, subset: Subset, hands: &DataFrame) -> PolarsResult<DataFrame> {
    let complete = filtered(hands, is_complete())?;
    let left_out = hands.height() - complete.height();
    if left_out > 0 {
        section.absent(format!(
            "{} left out of this section: a class has no mask, so the mask size is not that of a whole hand ({} remain).",
            counted(left_out, &format!("{subset} image with masks is"), &format!("{subset} images with masks are")),
            count(complete.height()),
        ));
    }
    section.number(&format!("{subset}_incomplete_hands_left_out"), left_out);
    Ok(complete)
}

/// Correlations of a column with mask size.
struct Related {
    quantity: Quantity,
    pearson_images: Result<Correlation, Undefined>,
    pearson: Result<Correlation, Undefined>,
    spearman: Result<Correlation, Undefined>,
    /// In the order of [`SEXES`].
    of_sex: [Result<Correlation, Undefined>; 2],
    given_sex: Result<Correlation, Undefined>,
    given_sex_ranks: Result<Correlation, Undefined>,
}

impl Related {
    fn of(quantity: Quantity, hands: &DataFrame, patients: &DataFrame) -> PolarsResult<Related> {
        let column = |frame: &DataFrame, key: &str| values(frame, col(key));
        let of_image = if quantity.key == "bmi" { crate::report::per_patient::bmi() } else { col(quantity.key) };
        let (x, y, male) = (column(patients, quantity.key)?, column(patients, "mask_px")?, column(patients, MALE)?);
        let of = |sex: f64| -> OptionalValues {
            x.iter().zip(&male).map(|(x, male)| x.filter(|_| *male == Some(sex))).collect()
        };
        let controls: [(&str, &[Option<f64>]); 1] = [("sex", &male)];
        Ok(Related {
            quantity,
            pearson_images: pearson(&values(hands, of_image)?, &column(hands, "mask_px")?),
            pearson: pearson(&x, &y),
            spearman: spearman(&x, &y),
            of_sex: [pearson(&of(0.0), &y), pearson(&of(1.0), &y)],
            given_sex: partial(&x, &y, &controls),
            given_sex_ranks: partial_spearman(&x, &y, &controls),
        })
    }

    fn numbers(&self) -> Value {
        json!({
            "pearson": outcome(&self.pearson_images), "pearson_by_patient": outcome(&self.pearson),
            "spearman_by_patient": outcome(&self.spearman), "women": outcome(&self.of_sex[0]), "men": outcome(&self.of_sex[1]),
            "partial_given_sex": outcome(&self.given_sex), "partial_spearman_given_sex": outcome(&self.given_sex_ranks),
        })
    }

    fn row(&self) -> Vec<String> {
        let cell = |c: &Result<Correlation, Undefined>| {
            c.as_ref().map_or_else(|reason| format!("not defined: {reason}"), correlation)
        };
        let [women, men] = &self.of_sex;
        let all = [&self.pearson_images, &self.pearson, &self.spearman, women, men, &self.given_sex];
        std::iter::once(capital(self.quantity.name)).chain(all.into_iter().map(cell)).collect()
    }

    fn conclusion(&self) -> String {
        let name = self.quantity.name;
        let all = match &self.pearson {
            Ok(c) => format!("{name}: {}", correlation_conclusion(c)),
            Err(reason) => format!("{name}: not computable ({reason})"),
        };
        let given = match &self.given_sex {
            Ok(c) => format!("given sex, {}", correlation_conclusion(c)),
            Err(reason) => format!("given sex not computable ({reason})"),
        };
        format!("{all}; {given}")
    }
}

fn add_subset(section: &mut Section, study: &Study<'_>, subset: Subset, hands: &DataFrame) -> PolarsResult<()> {
    let patients = per_patient(hands)?;
    let related: Vec<Related> =
        METADATA.into_iter().map(|q| Related::of(q, hands, &patients)).collect::<PolarsResult<_>>()?;
    let mut numbers: Map<String, Value> = related.iter().map(|r| (r.quantity.key.to_owned(), r.numbers())).collect();
    numbers.insert("patients".into(), patients.height().into());
    numbers.insert("images".into(), hands.height().into());
    section.text(format!(
        "{}, {} of {}: the table gives correlations of mask size with the patient's metadata and their 95 % confidence intervals. The \
         two hands of a patient share their metadata and are not independent, so all columns but the first use one value \
         per patient, the mean of the hands.",
        capital(subset.name()),
        counted(hands.height(), "image with complete masks", "images with complete masks"),
        counted(patients.height(), "patient", "patients"),
    ));
    section.table(
        format!("Correlation of mask size with metadata, {subset}"),
        &[
            "with",
            "Pearson's r, images",
            "Pearson's r, patients",
            "Spearman's ρ, patients",
            "r, women only",
            "r, men only",
            "partial r given sex",
        ],
        related.iter().map(Related::row).collect(),
    );
    for r in &related {
        let tests = [("Pearson", &r.pearson), ("Spearman", &r.spearman), ("partial given sex", &r.given_sex)];
        for (test, found) in tests {
            if let Ok(c) = found {
                section.test(format!("mask size with {}, {subset}", r.quantity.name), test, c.n, c.p);
            }
        }
    }
    let conclusions: Vec<String> = related.iter().map(|r| capital(&r.conclusion())).collect();
    section.meaning(format!("{}.", conclusions.join(". ")));
    section.figure(scatter(subset, hands)?);
    let (matrix, figure) = metadata_matrix(subset, &patients)?;
    numbers.insert("correlation_matrix_by_patient".into(), matrix);
    section.figure(figure);
    let (by_bone, figures) = by_bone(study, subset, hands, &patients)?;
    numbers.insert("spearman_by_bone".into(), by_bone);
    figures.into_iter().for_each(|figure| section.figure(figure));
    section.number(subset.name(), Value::Object(numbers));
    Ok(())
}

fn cell(found: &Result<Correlation, Undefined>) -> HeatmapCell {
    match found {
        Ok(c) => HeatmapCell { text: num(c.r, 2), tint: c.r },
        Err(_) => HeatmapCell { text: "–".into(), tint: 0.0 },
    }
}

/// Pearson's correlation of all pairs of metadata and mask size.
fn metadata_matrix(subset: Subset, patients: &DataFrame) -> PolarsResult<(Value, Figure)> {
    let names = METADATA.iter().map(|q| (q.key, q.name)).chain([(MALE, "male sex"), ("mask_px", "mask size")]);
    let columns: Vec<(&str, &str, OptionalValues)> =
        names.map(|(key, name)| Ok((key, name, values(patients, col(key))?))).collect::<PolarsResult<_>>()?;
    let mut numbers = Map::new();
    let mut rows = Vec::new();
    for (i, (key, name, x)) in columns.iter().enumerate() {
        let found: Vec<(usize, Result<Correlation, Undefined>)> =
            columns.iter().map(|(_, _, y)| pearson(x, y)).enumerate().collect();
        let of_row: Map<String, Value> =
            found.iter().filter(|(j, _)| *j != i).map(|(j, c)| (columns[*j].0.to_owned(), outcome(c))).collect();
        numbers.insert((*key).to_owned(), Value::Object(of_row));
        let cells =
            found.iter().map(|(j, c)| if *j == i { HeatmapCell { text: "1".into(), tint: 0.0 } } else { cell(c) });
        rows.push((capital(name), cells.collect()));
    }
    let figure = Figure {
        name: format!("metadata-correlations-{subset}"),
        title: format!(
            "Correlation matrix of metadata and mask size, {subset} (n = {})",
            counted(patients.height(), "patient", "patients")
        ),
        note: "Pearson's r of one value per patient, of the patients who have both. Orange: positive; blue: negative."
            .into(),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: columns.iter().map(|c| c.1.to_owned()).collect(),
            rows,
            full: FULL,
        })],
    };
    Ok((Value::Object(numbers), figure))
}

/// Spearman's correlation of each bone's and each group's area with the metadata, as heat maps.
fn by_bone(
    study: &Study<'_>,
    subset: Subset,
    hands: &DataFrame,
    patients: &DataFrame,
) -> PolarsResult<(Value, Vec<Figure>)> {
    let areas = areas_by_patient(study, hands, patients)?;
    let mut columns: Vec<(&str, OptionalValues)> =
        METADATA.iter().map(|q| Ok((q.key, values(patients, col(q.key))?))).collect::<PolarsResult<_>>()?;
    columns.push((MALE, values(patients, col(MALE))?));
    let mut numbers = Map::new();
    let mut row = |name: &str, bones: &[Bone]| {
        let sum = |of: &[Option<f64>; COUNT]| bones.iter().map(|bone| of[bone.index()]).sum::<Option<f64>>();
        let area: OptionalValues = areas.iter().map(sum).collect();
        let found: Vec<(&str, Result<Correlation, Undefined>)> =
            columns.iter().map(|(key, x)| (*key, spearman(x, &area))).collect();
        let of_name: Map<String, Value> = found.iter().map(|(key, c)| ((*key).to_owned(), outcome(c))).collect();
        numbers.insert(name.to_owned(), Value::Object(of_name));
        (name.to_owned(), found.iter().map(|(_, c)| cell(c)).collect::<Vec<HeatmapCell>>())
    };
    let of_group = |group: BoneGroup| Bone::all().filter(|b| b.group() == group).collect::<Vec<_>>();
    let groups = GROUPS.iter().map(|(name, group)| row(name, &of_group(*group))).collect();
    let bones = Bone::all().map(|bone| row(bone.name(), &[bone])).collect();
    let names: Vec<String> = METADATA.iter().map(|q| q.name.to_owned()).chain(["male sex".to_owned()]).collect();
    let figure = |part: &str, rows: Vec<(String, Vec<HeatmapCell>)>| Figure {
        name: format!("area-correlations-{part}-{subset}"),
        title: format!(
            "Area by {part} and metadata, {subset}: Spearman's ρ (n = {})",
            counted(patients.height(), "patient", "patients")
        ),
        note: "One value per patient: the mean area of the hands. Orange: positive; blue: negative; – not defined."
            .into(),
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap { title: String::new(), columns: names.clone(), rows, full: FULL })],
    };
    let figures = vec![figure("group", groups), figure("bone", bones)];
    Ok((Value::Object(numbers), figures))
}

/// Groups of bones with their names.
pub(super) const GROUPS: [(&str, BoneGroup); 7] = [
    ("thumb", BoneGroup::Finger(0)),
    ("index finger", BoneGroup::Finger(1)),
    ("middle finger", BoneGroup::Finger(2)),
    ("ring finger", BoneGroup::Finger(3)),
    ("little finger", BoneGroup::Finger(4)),
    ("carpals", BoneGroup::Carpal),
    ("forearm", BoneGroup::Forearm),
];

/// Mean area of these hands by class, for each patient in the order of `patients`.
fn areas_by_patient(
    study: &Study<'_>,
    hands: &DataFrame,
    patients: &DataFrame,
) -> PolarsResult<Vec<[Option<f64>; COUNT]>> {
    let of_hand = hands.clone().lazy().select([col("image_id"), col("patient_id")]);
    let area = col("area_px").cast(DataType::Float64).mean().alias("area");
    let found = BoneRow::to_frame(&study.tables.bones)?
        .lazy()
        .select([col("image_id"), col("class"), col("area_px")])
        .join(of_hand, [col("image_id")], [col("image_id")], JoinArgs::new(JoinType::Inner))
        .group_by([col("patient_id"), col("class")])
        .agg([area])
        .collect()?;
    let ids = texts(patients, "patient_id")?;
    let at: HashMap<&Option<String>, usize> = ids.iter().enumerate().map(|(i, id)| (id, i)).collect();
    let mut areas = vec![[None; COUNT]; ids.len()];
    let rows = texts(&found, "patient_id")?.into_iter().zip(wholes(&found, "class")?).zip(values(&found, col("area"))?);
    for ((id, class), area) in rows {
        if let (Some(patient), true) = (at.get(&id), class < COUNT) {
            areas[*patient][class] = area;
        }
    }
    Ok(areas)
}

/// One row per patient, in the order of the ids: mean mask size of the patient's images, with the patient's metadata.
pub(super) fn patient_means(hands: &DataFrame) -> PolarsResult<DataFrame> {
    let mean = col("mask_px").cast(DataType::Float64).mean();
    let patients = hands.clone().lazy().group_by([col("patient_id")]).agg([col("sex").first(), mean]);
    patients.sort(["patient_id"], SortMultipleOptions::default()).collect()
}

fn scatter(subset: Subset, hands: &DataFrame) -> PolarsResult<Figure> {
    let quantity = |frame: &DataFrame, q: &Quantity| {
        values(frame, if q.key == "bmi" { crate::report::per_patient::bmi() } else { col(q.key) })
    };
    let size = |frame: &DataFrame| values(frame, col("mask_px").cast(DataType::Float64) / lit(1000.0));
    let mut of_sex = Vec::new();
    let known = SEXES.into_iter().map(|(sex, name)| (Some(sex), name));
    for (sex, name) in known.chain([(None::<Sex>, "sex unknown")]) {
        let wanted = sex.map_or(col("sex").is_null(), |sex| is("sex", sex));
        of_sex.push((sex, name, filtered(hands, wanted)?));
    }
    let mut charts = Vec::new();
    for q in &METADATA {
        let (x, y) = (quantity(hands, q)?, size(hands)?);
        let mut series = Vec::new();
        for (sex, name, frame) in &of_sex {
            let points = complete_pairs(&quantity(frame, q)?, &size(frame)?);
            if !points.is_empty() {
                series.push(ScatterSeries { name: (*name).into(), colour: sex_colour(*sex), points });
            }
        }
        let r = pearson(&x, &y).map_or("not computable".to_owned(), |c| correlation(&c));
        charts.push(Chart::Scatter(Scatter {
            title: format!("{}: r = {r}", capital(q.name)),
            x_label: format!("{} ({})", q.name, q.unit),
            y_label: "mask size (1,000 px)".into(),
            series,
            fit: line(&x, &y),
        }));
    }
    Ok(Figure {
        name: format!("mask-size-{subset}"),
        title: format!("Mask size by metadata, {subset} (n = {})", counted(hands.height(), "image", "images")),
        note: "One point per image with complete masks. r, its 95 % confidence interval and the band are over images, which are treated as independent; the table has them over patients."
            .into(),
        columns: 2,
        charts,
    })
}

/// The least squares line with its band; none without a fit.
pub(super) fn line(x: &[Option<f64>], y: &[Option<f64>]) -> Option<FittedLine> {
    let fit = ols(y, &[("x", x)]).ok()?;
    let known = x.iter().zip(y).filter_map(|(a, b)| b.and(*a));
    let (low, high) = known.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let line = (0..=24)
        .map(|i| {
            let at = low + (high - low) * f64::from(i) / 24.0;
            let MeanResponse { mean, ci } = fit.mean_at(&[at]);
            FittedPoint { x: at, mean, ci }
        })
        .collect();
    Some(FittedLine { name: "least squares, 95 % confidence band".into(), line })
}
