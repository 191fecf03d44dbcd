use std::collections::HashMap;

use polars::prelude::*;
use serde_json::json;

use crate::bones::{Bone, COUNT};
use crate::dataset::{MaskSource, Side};
use crate::figures::{Chart, Figure, MapPlace, PlaceMap};
use crate::geometry::Point;
use crate::report::frame::{CommonFrame, HandCentroids, common_frame};
use crate::report::wording::{count, counted, num};
use crate::report::{Section, Study};
use crate::tables::{BoneRow, TableRow, cells, filtered, is, texts, wholes};

/// Where the bones are in hands that are brought to a common frame, and how much their places vary.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("bone_positions", "Positions of the bones");
    let [annotated, predicted] =
        [MaskSource::Annotation, MaskSource::Prediction].map(|source| is("mask_source", source));
    let sided = col("side_by_anatomy").is_not_null();
    let mut hands = filtered(&study.hands, annotated.and(sided.clone()))?;
    if hands.height() == 0 {
        hands = filtered(&study.hands, predicted.and(sided))?;
    }
    let centroids = centroids(study, &hands)?;
    let Some(frame) = common_frame(&centroids) else {
        section.absent("There are no hands with enough bones to bring them to a common frame.");
        return Ok(section);
    };
    let places = places(&frame);
    section.number("hands", frame.hands.len());
    section.number(
        "bones",
        json!(
            places
                .iter()
                .map(|p| json!({
                    "class": p.bone.name(), "n": p.n, "x": p.mean.x, "y": p.mean.y, "sd_px": p.sd(),
                }))
                .collect::<Vec<_>>()
        ),
    );
    let by_spread = |a: &&BonePlace, b: &&BonePlace| a.sd().total_cmp(&b.sd());
    if let (Some(least), Some(most)) = (places.iter().min_by(by_spread), places.iter().max_by(by_spread)) {
        section.text(format!(
            "{} were moved, turned, scaled and, if left, mirrored to fit their mean (Procrustes). The places of the bones then vary \
             least for {} ({} px) and most for {} ({} px).",
            counted(frame.hands.len(), "hand", "hands"),
            least.bone,
            num(least.sd(), 0),
            most.bone,
            num(most.sd(), 0),
        ));
    }
    section.meaning(
        "A place far outside its ellipse is a sign of a wrong label: the audit's checks `place` and `swapped_labels` look for them.",
    );
    section.figure(figure(&places, frame.hands.len()));
    section.table(
        "Places of the bones in the common frame, px of a hand of mean size; x to the right, y down, from the mean of all bones",
        &["class", "n", "x", "y", "sd along x", "sd along y", "sd"],
        places
            .iter()
            .map(|p| {
                let [xx, _, yy] = p.covariance;
                let numbers = [p.mean.x, p.mean.y, xx.sqrt(), yy.sqrt(), p.sd()].map(|v| num(v, 1));
                [vec![p.bone.name().to_owned(), count(p.n)], numbers.to_vec()].concat()
            })
            .collect(),
    );
    Ok(section)
}

/// Centroids of the bones of each hand; left hands are mirrored.
fn centroids(study: &Study<'_>, hands: &DataFrame) -> PolarsResult<Vec<HandCentroids>> {
    let ids = texts(hands, "image_id")?;
    let sides: Vec<Option<Side>> = cells(hands, "side_by_anatomy")?;
    let places: HashMap<&str, usize> = ids.iter().flatten().enumerate().map(|(i, id)| (id.as_str(), i)).collect();
    let bones = BoneRow::to_frame(&study.tables.bones)?.lazy().filter(col("area_px").gt(lit(0u64)));
    let bones = bones.semi_join(hands.clone().lazy().select([col("image_id")]), col("image_id"), col("image_id"));
    let bones = bones.select([col("image_id"), col("class"), col("centroid_x"), col("centroid_y")]).collect()?;
    let (x, y) = (cells::<Option<f64>>(&bones, "centroid_x")?, cells::<Option<f64>>(&bones, "centroid_y")?);
    let mut found: Vec<HandCentroids> = vec![[None; COUNT]; ids.len()];
    for (i, (id, class)) in texts(&bones, "image_id")?.iter().zip(wholes(&bones, "class")?).enumerate() {
        let (Some(hand), Some(x), Some(y)) = (id.as_ref().and_then(|id| places.get(id.as_str())), x[i], y[i]) else {
            continue;
        };
        if class < COUNT && x.is_finite() && y.is_finite() {
            let x = if sides[*hand] == Some(Side::L) { -x } else { x };
            found[*hand][class] = Some(Point::new(x, y));
        }
    }
    Ok(found)
}

/// Where a bone is in the common frame.
struct BonePlace {
    bone: Bone,
    n: usize,
    mean: Point,
    /// xx, xy, yy.
    covariance: [f64; 3],
}

impl BonePlace {
    /// Root mean square distance from the mean, px.
    fn sd(&self) -> f64 {
        (self.covariance[0] + self.covariance[2]).sqrt()
    }
}

fn places(frame: &CommonFrame) -> Vec<BonePlace> {
    let place = |bone: Bone| {
        let of_bone: Vec<Point> = frame.hands.iter().filter_map(|hand| hand[bone.index()]).collect();
        let n = of_bone.len() as f64;
        if of_bone.is_empty() {
            return None;
        }
        let (sx, sy) = of_bone.iter().fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
        let mean = Point::new(sx / n, sy / n);
        let mut covariance = [0.0; 3];
        for p in &of_bone {
            let (x, y) = (p.x - mean.x, p.y - mean.y);
            covariance[0] += x * x / n;
            covariance[1] += x * y / n;
            covariance[2] += y * y / n;
        }
        Some(BonePlace { bone, n: of_bone.len(), mean, covariance })
    };
    Bone::all().filter_map(place).collect()
}

fn figure(places: &[BonePlace], hands: usize) -> Figure {
    let place = |p: &BonePlace| MapPlace {
        name: p.bone.name().to_owned(),
        colour: p.bone.colour(),
        mean: (p.mean.x, p.mean.y),
        covariance: p.covariance,
    };
    Figure {
        name: "bone-positions".into(),
        title: format!(
            "Places of the bones in the common frame of a right hand (n = {})",
            counted(hands, "hand", "hands")
        ),
        note: "Ellipses: one and two standard deviations.".into(),
        columns: 1,
        charts: vec![Chart::PlaceMap(PlaceMap { title: String::new(), places: places.iter().map(place).collect() })],
    }
}
