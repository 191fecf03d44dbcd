use std::f64::consts::E;

use polars::prelude::*;
use serde_json::json;

use crate::dataset::Subset;
use crate::figures::style::okabe_ito;
use crate::figures::{
    Axis, CategoryRow, Chart, Figure, Histogram, HistogramSeries, Mark, Rows, Scatter, ScatterSeries, edges_for,
};
use crate::report::pictures::{PictureKind, PictureRequest};
use crate::report::study::{SUBSETS, subset_colour};
use crate::report::wording::{capital, count, counted, mean_sd, num, share, visible};
use crate::report::{CaptionedPicture, Content, Section, Study};
use crate::stats::robust::centre_and_spread;
use crate::stats::{SampleSummary, summary, wilson};
use crate::tables::{ImageRow, TableRow, filtered, is, numbers, values};

/// Robust standard deviations of the log of the bright area above which an image is an outlier.
const LIMIT: f64 = 3.5;
/// Pixels added before the logarithm, so that images without bright pixels have one.
const OFFSET: f64 = 50.0;
/// Smallest spread of the log: it is 0 where most images have no bright pixel.
const MIN_SPREAD: f64 = 0.4;
/// Outliers shown with pictures.
const PICTURES: usize = 8;
/// Width at which the published report cut strips, px.
const PUBLISHED_CUT: f64 = 80.0;

/// Borders with their columns: width of the strip, its mean grey level.
const BORDERS: [(&str, &str, &str); 2] =
    [("top", "strip_top_px", "strip_top_grey"), ("left", "strip_left_px", "strip_left_grey")];
/// Quantities of exposure: title, column, axis.
const QUANTITIES: [(&str, &str, &str); 6] = [
    ("Mean grey level", "mean_grey", "grey level"),
    ("Median grey level", "grey_p50", "grey level"),
    ("95 % quantile", "grey_p95", "grey level"),
    ("99 % quantile", "grey_p99", "grey level"),
    ("Contrast", "grey_sd", "sd of grey levels"),
    ("Sharpness", "sharpness", "variance of the Laplacian"),
];

/// White strips, exposure, and images with many bright pixels.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("image_noise", "Strips, exposure and bright pixels");
    let measured = filtered(&study.hands, col("mean_grey").is_not_null())?;
    section.number("n", measured.height());
    if measured.height() == 0 {
        section.absent("No image was measured, so there is nothing to report on its pixels.");
        return Ok(section);
    }
    strips(&mut section, study)?;
    exposure(&mut section, study, &measured)?;
    bright(&mut section, study)?;
    Ok(section)
}

/// White strips by border and subset.
fn strips(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let (mut rows, mut chart, mut found) = (Vec::new(), Vec::new(), Vec::new());
    let mut all_widths = Vec::new();
    for (border, width, grey) in BORDERS {
        for subset in SUBSETS {
            let hands = filtered(&study.hands(subset)?, col(width).is_not_null())?;
            let with = filtered(&hands, col(width).gt(lit(0u32)))?;
            let Some(p) = wilson(with.height(), hands.height()) else { continue };
            let (widths, greys) = (numbers(&with, col(width))?, numbers(&with, col(grey))?);
            let wide = widths.iter().filter(|w| **w > PUBLISHED_CUT).count();
            let (width, grey) = (summary(&widths), summary(&greys));
            found.push(json!({
                "border": border, "subset": subset.name(), "with_strip": p, "width_px": width, "grey": grey,
                "wider_than_80_px": wide,
            }));
            rows.push(vec![
                border.to_owned(),
                subset.to_string(),
                count(p.n),
                count(p.count),
                share(&p),
                width.as_ref().map_or("–".into(), |s| num(s.median, 0)),
                width.as_ref().map_or("–".into(), |s| format!("{}–{}", num(s.min, 0), num(s.max, 0))),
                grey.as_ref().map_or("–".into(), |s| mean_sd(s, 1)),
                count(wide),
            ]);
            if let Some(summary) = width {
                let note = format!("median {} px, n = {}", num(summary.median, 0), count(summary.n));
                let mark = Mark::Box { name: subset.to_string(), colour: subset_colour(subset), summary };
                chart.push(CategoryRow { label: format!("{border}, {subset}"), marks: vec![mark], note });
            }
            all_widths.extend(widths);
        }
    }
    section.number("strips", json!(found));
    let n = filtered(&study.hands, strip())?.height();
    section.text(if n == 0 {
        "No image has a white strip at its upper or left edge (the other two edges are not searched: hands reach them).".into()
    } else {
        format!(
            "{} a white strip at the upper or the left edge (the other two edges are not searched: hands reach them). Strips are \
             up to {} px wide; the published report cut {PUBLISHED_CUT} px.",
            counted(n, "image has", "images have"),
            num(all_widths.iter().copied().fold(0.0, f64::max), 0)
        )
    });
    if n > 0 {
        section.figure(Figure {
            name: "strips".into(),
            title: format!("Width of white strips by border (n = {})", counted(all_widths.len(), "strip", "strips")),
            note: "Box: quartiles and median; whiskers: 5th to 95th percentile.".into(),
            columns: 1,
            charts: vec![Chart::Rows(Rows {
                title: String::new(),
                axis: Axis::from_zero("width (px)", all_widths.iter().copied()),
                rows: chart,
                reference: None,
            })],
        });
    }
    section.table(
        "Strips by border",
        &[
            "border",
            "subset",
            "images",
            "with strip",
            "share",
            "median px",
            "range px",
            "grey level",
            "wider than 80 px",
        ],
        rows,
    );
    cleaned(section, study)
}

/// Whether an image has a strip.
fn strip() -> Expr {
    let wide = |name| col(name).fill_null(lit(0u32)).gt(lit(0u32));
    wide("strip_top_px").or(wide("strip_left_px"))
}

/// The image with the widest strips of each subset; without strips, the first image.
fn strip_examples(study: &Study<'_>) -> PolarsResult<Vec<ImageRow>> {
    let width = |name| col(name).fill_null(lit(0u32)).cast(DataType::Int64);
    let mut found = Vec::new();
    for subset in SUBSETS {
        let order = [(width("strip_top_px") + width("strip_left_px")) * lit(-1i64), col("image_id")];
        let hands = study.hands(subset)?.lazy().filter(col("usable"));
        let first = hands.sort_by_exprs(order, SortMultipleOptions::default()).limit(1).collect()?;
        found.extend(ImageRow::from_frame(&first)?);
    }
    Ok(found)
}

/// Pictures before and after the removal of strips and background.
fn cleaned(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let Some(pictures) = study.examples else { return Ok(()) };
    let kinds = [
        (PictureKind::Whole, "as it is"),
        (PictureKind::WithoutStrips, "strips black (clean --strips detect)"),
        (PictureKind::WithoutBackground, "background black (clean --background black)"),
    ];
    let mut shown = Vec::new();
    for image in strip_examples(study)? {
        for (kind, caption) in kinds {
            let request = PictureRequest { image: image.clone(), kind };
            let Some(jpeg) = pictures.pictures.get(&request.key()) else { continue };
            shown.push(CaptionedPicture {
                jpeg: jpeg.clone(),
                title: format!("{}: {caption}", image.subset),
                severity: String::new(),
                lines: vec![visible(&image.path)],
            });
        }
    }
    if !shown.is_empty() {
        section.text("The image with the widest strips of each subset, before and after cleaning:");
        section.blocks.push(Content::Pictures(shown));
    }
    Ok(())
}

/// Grey levels, contrast and sharpness by subset.
fn exposure(section: &mut Section, study: &Study<'_>, measured: &DataFrame) -> PolarsResult<()> {
    let (mut charts, mut rows, mut found) = (Vec::new(), Vec::new(), serde_json::Map::new());
    let mut missing = 0;
    for (title, column, axis) in QUANTITIES {
        let all = numbers(measured, col(column))?;
        if all.is_empty() {
            missing += 1;
            continue;
        }
        let mut series = Vec::new();
        let mut of_subset = serde_json::Map::new();
        for subset in SUBSETS {
            let values = numbers(&study.hands(subset)?, col(column))?;
            let Some(s) = summary(&values) else { continue };
            rows.push(row(title, subset, &s));
            of_subset.insert(subset.name().to_owned(), json!(s));
            series.push(HistogramSeries { name: subset.to_string(), colour: subset_colour(subset), values });
        }
        found.insert(column.to_owned(), of_subset.into());
        charts.push(Chart::Histogram(Histogram {
            title: title.to_owned(),
            x_label: axis.to_owned(),
            y_label: "share of images (%)".into(),
            edges: edges_for(&all, 30),
            series,
            markers: Vec::new(),
        }));
    }
    section.number("exposure", serde_json::Value::Object(found));
    if missing > 0 {
        section.absent(
            "These tables have no percentiles, contrast and sharpness: scan again with `carpus scan` to add them.",
        );
    }
    section.figure(Figure {
        name: "exposure".into(),
        title: format!("Exposure, contrast and sharpness (n = {})", counted(measured.height(), "image", "images")),
        note: "Of the pixels outside white strips, 8 bit. The bars of each subset add up to 100 %.".into(),
        columns: 3,
        charts,
    });
    section.table(
        "Exposure by subset",
        &["quantity", "subset", "n", "mean ± sd", "median", "quartiles", "range"],
        rows,
    );
    Ok(())
}

fn row(title: &str, subset: Subset, s: &SampleSummary) -> Vec<String> {
    vec![
        title.to_owned(),
        subset.to_string(),
        count(s.n),
        mean_sd(s, 1),
        num(s.median, 1),
        format!("{}–{}", num(s.q25, 1), num(s.q75, 1)),
        format!("{}–{}", num(s.min, 1), num(s.max, 1)),
    ]
}

/// Bright pixels in an image of 2048 x 2048 px, so that images of different sizes can be compared.
fn scaled() -> Expr {
    let px = |name: &str| col(name).cast(DataType::Float64);
    px("bright_px") * lit(2048.0 * 2048.0) / (px("width") * px("height"))
}

/// Images with many more bright pixels than the others.
struct Bright {
    /// All images with their number of bright pixels, in the order of the table.
    images: DataFrame,
    /// Bright pixels (see [`scaled`]) above which an image is an outlier; `None` without images.
    limit: Option<f64>,
}

impl Bright {
    fn of(study: &Study<'_>) -> PolarsResult<Bright> {
        let images = filtered(&study.hands, col("bright_px").is_not_null())?;
        let log = (scaled() + lit(OFFSET)).log(lit(E));
        let limit = centre_and_spread(&numbers(&images, log)?)
            .map(|(centre, spread)| (centre + LIMIT * spread.max(MIN_SPREAD)).exp() - OFFSET);
        Ok(Bright { images, limit })
    }

    /// Outliers, brightest first.
    fn outliers(&self) -> PolarsResult<Vec<ImageRow>> {
        let Some(limit) = self.limit else { return Ok(Vec::new()) };
        let order = SortMultipleOptions::default().with_order_descending_multi([true, false]);
        let found = self.images.clone().lazy().with_column(scaled().alias("scaled"));
        let found = found.filter(col("scaled").gt(lit(limit))).sort(["scaled", "image_id"], order);
        ImageRow::from_frame(&found.collect()?)
    }
}

/// The pictures that this section shows.
pub(in crate::report) fn requests(study: &Study<'_>) -> PolarsResult<Vec<PictureRequest>> {
    let request = |image: &ImageRow, kind| PictureRequest { image: image.clone(), kind };
    let outliers = Bright::of(study)?.outliers()?;
    let mut requests: Vec<PictureRequest> =
        outliers.iter().take(PICTURES).map(|image| request(image, PictureKind::Whole)).collect();
    for image in strip_examples(study)? {
        for kind in [PictureKind::Whole, PictureKind::WithoutStrips, PictureKind::WithoutBackground] {
            requests.push(request(&image, kind));
        }
    }
    Ok(requests)
}

fn bright(section: &mut Section, study: &Study<'_>) -> PolarsResult<()> {
    let bright = Bright::of(study)?;
    let Some(limit) = bright.limit else { return Ok(()) };
    let outliers = bright.outliers()?;
    section.text(format!(
        "Bright pixels (at or above the scan's threshold, 240 by default) outside strips: {} more than {} of 2048 × 2048, {LIMIT} robust \
         standard deviations of the logarithm above the median. Such pixels come from rings, implants and nail art.",
        counted(outliers.len(), "image has", "images have"),
        count(limit as usize),
    ));
    section.meaning(
        "Look at these images before you exclude any: in the published experiments leaving them out cost 0.001 Dice, and correcting \
         labels gained more.",
    );
    let listed = outliers.iter().map(|i| json!({"image_id": i.image_id, "bright_px": i.bright_px}));
    section.number(
        "bright",
        json!({"n": bright.images.height(), "limit_px": limit, "outliers": listed.collect::<Vec<_>>()}),
    );
    section.figure(bright_figure(&bright, limit)?);
    let shown = outliers.len().min(study.settings.rows_shown);
    if shown > 0 {
        let row = |image: &ImageRow| {
            let px = image.bright_px.unwrap_or(0);
            let all = f64::from(image.width) * f64::from(image.height);
            let share = num(100.0 * px as f64 / all.max(1.0), 3);
            vec![
                visible(&image.image_id),
                visible(&image.patient_id),
                image.subset.to_string(),
                count(px as usize),
                share,
            ]
        };
        section.table(
            format!(
                "{} of {}, brightest first",
                count(shown),
                counted(outliers.len(), "bright image", "bright images")
            ),
            &["image", "patient", "subset", "bright px", "share (%)"],
            outliers[..shown].iter().map(row).collect(),
        );
    }
    let pictures = outliers.iter().take(PICTURES).filter_map(|image| {
        Some(CaptionedPicture {
            jpeg: study.examples?.pictures.get(&image.path)?.clone(),
            title: format!("{} bright px", count(image.bright_px.unwrap_or(0) as usize)),
            severity: String::new(),
            lines: vec![format!("{}, image {}", capital(image.subset.name()), visible(&image.image_id))],
        })
    });
    let pictures: Vec<CaptionedPicture> = pictures.collect();
    if !pictures.is_empty() {
        section.blocks.push(Content::Pictures(pictures));
    } else if !outliers.is_empty() && study.examples.is_none() {
        section.absent("Give the data folder with --data to see the images behind the outliers.");
    }
    Ok(())
}

/// The bright pixels of every image, in the order of the table.
fn bright_figure(bright: &Bright, limit: f64) -> PolarsResult<Figure> {
    let px = values(&bright.images, scaled())?;
    let is_train = values(&bright.images, is("subset", Subset::Train).cast(DataType::UInt32))?;
    let mut series: Vec<ScatterSeries> = SUBSETS
        .map(|subset| ScatterSeries { name: subset.to_string(), colour: subset_colour(subset), points: Vec::new() })
        .into();
    series.push(ScatterSeries { name: "outliers".into(), colour: okabe_ito::PURPLE, points: Vec::new() });
    for (i, (px, is_train)) in px.iter().zip(&is_train).enumerate() {
        let Some(px) = px else { continue };
        let at = if *px > limit { 2 } else { usize::from(*is_train != Some(1.0)) };
        series[at].points.push((i as f64 + 1.0, *px));
    }
    Ok(Figure {
        name: "bright-pixels".into(),
        title: format!("Bright pixels per image (n = {})", counted(px.len(), "image", "images")),
        note: format!("Outliers have more than {} bright pixels.", count(limit as usize)),
        columns: 1,
        charts: vec![Chart::Scatter(Scatter {
            title: String::new(),
            x_label: "image, in the order of the table".into(),
            y_label: "bright pixels (of 2048 × 2048)".into(),
            series: series.into_iter().filter(|s| !s.points.is_empty()).collect(),
            fit: None,
        })],
    })
}
