use polars::prelude::*;
use serde::Serialize;
use serde_json::json;

use crate::bones::{self, Bone};
use crate::dataset::MaskSource;
use crate::figures::{Chart, Figure, Heatmap, HeatmapCell};
use crate::report::pictures::{PictureKind, PictureRequest};
use crate::report::wording::{count, counted, mean_sd, num, visible};
use crate::report::{CaptionedPicture, Content, Section, Study};
use crate::stats::{SampleSummary, summary};
use crate::tables::{BoneRow, ImageRow, OverlapRow, TableRow, cells, filtered, is, numbers, wholes};

/// Mean IoU from which a pair is shown in the figure.
const SHOWN: f64 = 0.001;
/// Mean IoU at which a cell of the figure has full colour.
const FULL: f64 = 0.3;
/// Pairs drawn, and images drawn of each.
const PAIRS: usize = 3;
const IMAGES: usize = 2;

/// Which classes share pixels, and how many.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("class_overlap", "Overlap of classes");
    let images = masked(study)?;
    section.number("n", images.height());
    if images.height() == 0 {
        section.absent("There are no masks to measure.");
        return Ok(section);
    }
    shares(&mut section, &images)?;
    if study.tables.overlaps.is_empty() {
        section.absent(
            "The tables list no pairs of overlapping bones: either no masks overlap, or the tables are from an earlier version; \
             `carpus scan` adds them.",
        );
        return Ok(section);
    }
    let pairs = pairs(study, &images)?;
    section.number("pairs", json!(pairs));
    let strongest: Vec<String> =
        pairs.iter().take(3).map(|p| format!("{} with {} ({})", p.a, p.b, num(p.mean_iou, 3))).collect();
    section.text(format!(
        "{} of classes share pixels in at least one image. The largest mean IoU: {}. On the 800 annotated images of the competition \
         the published figures are Triquetrum with Pisiform .448, Trapezium with Trapezoid .189, and .41 % of all pixels with two \
         labels or more.",
        counted(pairs.len(), "pair", "pairs"),
        strongest.join(", "),
    ));
    section.meaning(
        "Classes that share pixels need one output per class with its own threshold (sigmoid): a single label per pixel (argmax) \
         cannot represent them.",
    );
    section.figure(matrix(&pairs, images.height()));
    let rows = pairs
        .iter()
        .map(|p| {
            let iou = p.iou.as_ref();
            vec![
                p.a.to_string(),
                p.b.to_string(),
                count(p.images),
                count(p.overlapping),
                num(p.mean_iou, 3),
                iou.map_or("–".into(), |s| num(s.median, 3)),
                iou.map_or("–".into(), |s| format!("{}–{}", num(s.q05, 3), num(s.q95, 3))),
                num(p.pooled_iou, 3),
                num(100.0 * p.share_of_smaller, 1),
            ]
        })
        .collect();
    section.table(
        "Pairs by mean IoU over the images that have both classes (0 where they do not overlap)",
        &[
            "class",
            "other class",
            "images with both",
            "overlapping",
            "mean IoU",
            "median IoU",
            "5 % to 95 %",
            "pooled IoU",
            "share of the smaller (%)",
        ],
        rows,
    );
    drawn(&mut section, study, &pairs)?;
    Ok(section)
}

/// Images with masks: the annotated ones or, if there are none, those with predicted masks.
fn masked(study: &Study<'_>) -> PolarsResult<DataFrame> {
    let with = |source| filtered(&study.hands, is("mask_source", source).and(col("mask_px").gt(lit(0u64))));
    let annotated = with(MaskSource::Annotation)?;
    if annotated.height() > 0 { Ok(annotated) } else { with(MaskSource::Prediction) }
}

/// Shares of pixels with two labels or more.
fn shares(section: &mut Section, images: &DataFrame) -> PolarsResult<()> {
    let px = |name: &str| col(name).cast(DataType::Float64);
    let of_image = numbers(images, lit(100.0) * px("overlap_px") / (px("width") * px("height")))?;
    let of_hand = numbers(images, lit(100.0) * px("overlap_px") / px("union_px"))?;
    let (image, hand) = (summary(&of_image), summary(&of_hand));
    if let (Some(image), Some(hand)) = (&image, &hand) {
        section.text(format!(
            "Pixels with two labels or more: {} % of all pixels of an image, {} % of its labelled pixels (mean ± sd, n = {}).",
            mean_sd(image, 3),
            mean_sd(hand, 2),
            counted(image.n, "image", "images"),
        ));
    }
    section.number("percent_of_image_pixels", json!(image));
    section.number("percent_of_labelled_pixels", json!(hand));
    Ok(())
}

/// Two classes and how much they overlap.
#[derive(Serialize)]
struct Pair {
    #[serde(serialize_with = "bone_name")]
    a: Bone,
    #[serde(serialize_with = "bone_name")]
    b: Bone,
    /// Images that have both classes.
    images: usize,
    /// Images in which they share pixels.
    overlapping: usize,
    /// Mean over the images with both; 0 where they do not overlap.
    mean_iou: f64,
    /// Shared pixels of all images divided by the union of all images.
    pooled_iou: f64,
    /// Shared pixels divided by those of the smaller of the two classes, over all images.
    share_of_smaller: f64,
    /// Distribution over the images with both.
    iou: Option<SampleSummary>,
}

fn bone_name<S: serde::Serializer>(bone: &Bone, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(bone.name())
}

/// One row per pair and image with both classes: areas, shared pixels, IoU.
fn pairs_of_images(study: &Study<'_>, images: &DataFrame) -> PolarsResult<LazyFrame> {
    let keys = images.clone().lazy().select([col("image_id")]);
    let bones = BoneRow::to_frame(&study.tables.bones)?.lazy().filter(col("area_px").gt(lit(0u64)));
    let bones = bones.semi_join(keys, col("image_id"), col("image_id"));
    let side = |class: &str, area: &str| {
        bones.clone().select([
            col("image_id"),
            col("class").alias(class),
            col("area_px").cast(DataType::Float64).alias(area),
        ])
    };
    let overlaps = OverlapRow::to_frame(&study.tables.overlaps)?.lazy();
    let known = overlaps.clone().select([col("class_a"), col("class_b")]).unique_generic(None, UniqueKeepStrategy::Any);
    let shared =
        overlaps.select([col("image_id"), col("class_a"), col("class_b"), col("shared_px").cast(DataType::Float64)]);
    let both =
        side("class_a", "area_a").join(known, [col("class_a")], [col("class_a")], JoinArgs::new(JoinType::Inner));
    let on = [col("image_id"), col("class_b")];
    let both = both.join(side("class_b", "area_b"), &on, &on, JoinArgs::new(JoinType::Inner));
    let on = [col("image_id"), col("class_a"), col("class_b")];
    let all = both.join(shared, &on, &on, JoinArgs::new(JoinType::Left));
    let all = all.with_column(col("shared_px").fill_null(lit(0.0)));
    let union = col("area_a") + col("area_b") - col("shared_px");
    Ok(all.with_columns([union.clone().alias("union_px"), (col("shared_px") / union).alias("iou")]))
}

/// The pairs, largest mean IoU first.
fn pairs(study: &Study<'_>, images: &DataFrame) -> PolarsResult<Vec<Pair>> {
    let smaller = when(col("area_a").lt(col("area_b"))).then(col("area_a")).otherwise(col("area_b"));
    let groups = pairs_of_images(study, images)?
        .group_by([col("class_a"), col("class_b")])
        .agg([
            len().alias("images"),
            col("shared_px").gt(lit(0.0)).sum().alias("overlapping"),
            col("shared_px").sum().alias("shared"),
            col("union_px").sum().alias("union"),
            smaller.sum().alias("smaller"),
            col("iou").alias("ious"),
        ])
        .collect()?;
    let bone = |class: usize| Bone::all().nth(class);
    let (a, b) = (wholes(&groups, "class_a")?, wholes(&groups, "class_b")?);
    let (n, overlapping) = (wholes(&groups, "images")?, wholes(&groups, "overlapping")?);
    let sum = |name: &str| cells::<f64>(&groups, name);
    let (shared, union, smaller) = (sum("shared")?, sum("union")?, sum("smaller")?);
    let mut found = Vec::new();
    for (i, ious) in groups.column("ious")?.list()?.no_null_series_iter().enumerate() {
        let mut ious: Vec<f64> = ious.f64()?.iter().flatten().collect();
        // The order within a group depends on the threads, and with it the last digit of the mean.
        ious.sort_by(f64::total_cmp);
        let (Some(a), Some(b), Some(iou)) = (bone(a[i]), bone(b[i]), summary(&ious)) else { continue };
        found.push(Pair {
            a,
            b,
            images: n[i],
            overlapping: overlapping[i],
            mean_iou: iou.mean,
            pooled_iou: if union[i] > 0.0 { shared[i] / union[i] } else { 0.0 },
            share_of_smaller: if smaller[i] > 0.0 { shared[i] / smaller[i] } else { 0.0 },
            iou: Some(iou),
        });
    }
    found.retain(|pair| pair.overlapping > 0);
    found.sort_by(|p, q| q.mean_iou.total_cmp(&p.mean_iou).then(p.a.cmp(&q.a)).then(p.b.cmp(&q.b)));
    Ok(found)
}

fn matrix(pairs: &[Pair], images: usize) -> Figure {
    let shown: Vec<Bone> = Bone::all()
        .filter(|bone| pairs.iter().any(|p| p.mean_iou >= SHOWN && (p.a == *bone || p.b == *bone)))
        .collect();
    let iou = |a: Bone, b: Bone| pairs.iter().find(|p| (p.a, p.b) == (a.min(b), a.max(b))).map_or(0.0, |p| p.mean_iou);
    let cell = |a: Bone, b: Bone| {
        let value = if a == b { 0.0 } else { iou(a, b) };
        let text = if a == b {
            "–".to_owned()
        } else if value >= SHOWN {
            num(100.0 * value, 1)
        } else {
            String::new()
        };
        HeatmapCell { text, tint: value }
    };
    let rows = shown.iter().map(|a| (a.name().to_owned(), shown.iter().map(|b| cell(*a, *b)).collect())).collect();
    let hidden = bones::COUNT - shown.len();
    let mut note = format!("Full colour at {} %.", num(100.0 * FULL, 0));
    if hidden > 0 {
        note += &format!(
            " {hidden} of {} classes have no pair with a mean IoU of {} % or more and are not shown.",
            bones::COUNT,
            num(100.0 * SHOWN, 1)
        );
    }
    Figure {
        name: "class-overlap".into(),
        title: format!("Mean IoU of two classes in per cent (n = {})", counted(images, "image", "images")),
        note,
        columns: 1,
        charts: vec![Chart::Heatmap(Heatmap {
            title: String::new(),
            columns: shown.iter().map(|bone| bone.name().to_owned()).collect(),
            rows,
            full: FULL,
        })],
    }
}

/// The images in which a pair overlaps most, with their IoU.
fn most_overlapping(study: &Study<'_>, a: Bone, b: Bone) -> PolarsResult<Vec<(f64, ImageRow)>> {
    let annotated = filtered(&study.hands, is("mask_source", MaskSource::Annotation))?;
    let order = SortMultipleOptions::default().with_order_descending_multi([true, false]);
    let wanted = col("class_a").eq(lit(a.index() as u32)).and(col("class_b").eq(lit(b.index() as u32)));
    let pairs = OverlapRow::to_frame(&study.tables.overlaps)?.lazy().filter(wanted);
    let iou = col("shared_px").cast(DataType::Float64) / col("union_px").cast(DataType::Float64);
    let pairs = pairs.select([col("image_id"), iou.alias("iou")]);
    let on = [col("image_id")];
    let found = annotated.lazy().join(pairs, &on, &on, JoinArgs::new(JoinType::Inner));
    let found = found.sort(["iou", "image_id"], order).limit(IMAGES as IdxSize).collect()?;
    Ok(cells::<f64>(&found, "iou")?.into_iter().zip(ImageRow::from_frame(&found)?).collect())
}

/// The pictures that this section shows.
pub(in crate::report) fn requests(study: &Study<'_>) -> PolarsResult<Vec<PictureRequest>> {
    let images = masked(study)?;
    if study.tables.overlaps.is_empty() || images.height() == 0 {
        return Ok(Vec::new());
    }
    let mut requests = Vec::new();
    for pair in pairs(study, &images)?.iter().take(PAIRS) {
        for (_, image) in most_overlapping(study, pair.a, pair.b)? {
            requests.push(PictureRequest { image, kind: PictureKind::Bones(pair.a, pair.b) });
        }
    }
    Ok(requests)
}

fn drawn(section: &mut Section, study: &Study<'_>, pairs: &[Pair]) -> PolarsResult<()> {
    let Some(pictures) = study.examples else { return Ok(()) };
    let mut shown = Vec::new();
    for pair in pairs.iter().take(PAIRS) {
        for (iou, image) in most_overlapping(study, pair.a, pair.b)? {
            let lines = vec![format!("IoU {}", num(iou, 3)), format!("image {}", visible(&image.image_id))];
            let request = PictureRequest { image, kind: PictureKind::Bones(pair.a, pair.b) };
            let Some(jpeg) = pictures.pictures.get(&request.key()) else { continue };
            shown.push(CaptionedPicture {
                jpeg: jpeg.clone(),
                title: format!("{} with {}", pair.a, pair.b),
                severity: String::new(),
                lines,
            });
        }
    }
    if !shown.is_empty() {
        section.text("The images in which the three most overlapping pairs overlap most:");
        section.blocks.push(Content::Pictures(shown));
    }
    Ok(())
}
