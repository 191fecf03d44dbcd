use polars::prelude::*;
use serde_json::{Map, Value, json};

use super::mask_size::GROUPS;
use crate::audit::{DiceThresholds, FindingRow, LowDice, UsualDice};
use crate::bones::{Bone, COUNT};
use crate::figures::style::{NEUTRAL, Rgb, okabe_ito};
use crate::figures::{Axis, CategoryRow, Chart, Figure, Mark, Rows, Scatter, ScatterSeries};
use crate::names::image_id;
use crate::report::block::outcome;
use crate::report::wording::{
    MIN_PATIENTS, capital, correlation_conclusion, count, counted, interval, listed, num, visible,
};
use crate::report::{CaptionedPicture, Content, Section, Study};
use crate::runs::{SubgroupGap, SubgroupRow, Subgroups, subgroups_of_scores};
use crate::scores::DiceTable;
use crate::stats::{Bootstrap, SampleSummary, bootstrap_mean, spearman, summary};
use crate::tables::{BoneRow, TableRow, numbers_by, texts};

/// Draws of each bootstrap interval.
const RESAMPLES: usize = 2000;
/// Pictures of images with low scores.
const PICTURES: usize = 8;
/// Images in the ranking of the lowest scores.
const LOWEST: usize = 20;

/// Dice of predictions by subgroup, by class and group of bones, against the area of the class, and the images with low scores.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("scores", "Dice by subgroup");
    let Some(scores) = study.scores else {
        section.absent("No scores were given: make them with `carpus evaluate` and pass them with --scores.");
        return Ok(section);
    };
    if let Some(reason) = crate::audit::unused_scores(scores, &study.tables.images) {
        section.absent(format!("{}.", visible(&capital(&reason))));
    }
    let found = match subgroups_of_scores("predictions", scores, study.folds, study.tables, RESAMPLES) {
        Ok(found) if !found.groups.is_empty() => found,
        Ok(_) => {
            section.absent("No image of the tables has a score.");
            return Ok(section);
        }
        Err(crate::runs::RunError::Frame(error)) => return Err(error),
        Err(reason) => {
            section.absent(format!("{}.", visible(&capital(&reason.to_string()))));
            return Ok(section);
        }
    };
    add_subgroups(&mut section, &found);
    let images = Scored::of(study, scores)?;
    add_classes(&mut section, &images, study)?;
    add_lowest(&mut section, scores, &images, study);
    Ok(section)
}

/// The scored images of the tables.
struct Scored<'a> {
    /// Image, patient and scores by class.
    images: Vec<(String, String, &'a [Option<f64>; COUNT])>,
}

impl<'a> Scored<'a> {
    fn of(study: &Study<'_>, scores: &'a DiceTable) -> PolarsResult<Scored<'a>> {
        let ids = texts(&study.hands, "image_id")?.into_iter().zip(texts(&study.hands, "patient_id")?);
        let images = ids.filter_map(|(image, patient)| {
            let image = image?;
            let of_image = scores.image(&image)?;
            Some((image, patient.unwrap_or_default(), of_image))
        });
        Ok(Scored { images: images.collect() })
    }

    /// Patient and mean Dice over the given classes of each image that has any.
    fn means(&self, classes: &[Bone]) -> Vec<(&str, f64)> {
        let of_image = |scores: &[Option<f64>; COUNT]| {
            let known: Vec<f64> = classes.iter().filter_map(|bone| scores[bone.index()]).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        self.images.iter().filter_map(|(_, patient, scores)| Some((patient.as_str(), of_image(scores)?))).collect()
    }

    /// The mean with its interval over patients; without an interval for few patients.
    fn estimate(&self, classes: &[Bone]) -> Option<Estimate> {
        let values = self.means(classes);
        let of_images: Vec<f64> = values.iter().map(|v| v.1).collect();
        let of_images = summary(&of_images)?;
        let by_patient = bootstrap_mean(&values, RESAMPLES, 0).filter(|b| b.clusters >= MIN_PATIENTS);
        Some(Estimate { of_images, by_patient })
    }
}

/// Mean Dice over images.
struct Estimate {
    of_images: SampleSummary,
    by_patient: Option<Bootstrap>,
}

impl Estimate {
    fn text(&self) -> String {
        let ci = self.by_patient.map_or_else(String::new, |b| format!(" {}", interval(&b.ci, 4)));
        format!("{}{ci}", num(self.of_images.mean, 4))
    }

    fn mark(&self, colour: Rgb) -> Mark {
        let interval = self.by_patient.map(|b| (b.ci.low, b.ci.high));
        Mark::Dot { name: String::new(), colour, value: self.of_images.mean, interval }
    }

    fn ends(&self) -> Vec<f64> {
        let ci = self.by_patient.map(|b| [b.ci.low, b.ci.high]);
        std::iter::once(self.of_images.mean).chain(ci.into_iter().flatten()).collect()
    }

    fn numbers(&self) -> Value {
        json!({"images": self.of_images, "mean_by_patient_bootstrap": self.by_patient})
    }
}

fn add_subgroups(section: &mut Section, found: &Subgroups) {
    if let Some(all) = found.groups.iter().find(|g| g.field == "all") {
        section.text(format!(
            "Mean Dice {} over {} of {}. Intervals resample whole patients.",
            dice_text(all),
            counted(all.images as usize, "image", "images"),
            counted(all.patients as usize, "patient", "patients"),
        ));
    }
    let gaps: Vec<String> = found.gaps.iter().map(gap_text).collect();
    if !gaps.is_empty() {
        section.meaning(format!(
            "{} The two groups of a field are chosen by their means, so with many groups an interval excludes 0 more often than in 5 % \
             of cases without a difference.",
            gaps.join(" ")
        ));
    }
    section.figure(subgroups_figure(&found.groups));
    section.table(
        "Dice by subgroup; 95 % confidence intervals over patients",
        &["field", "subgroup", "images", "patients", "Dice"],
        found
            .groups
            .iter()
            .map(|g| {
                let images = count(g.images as usize);
                let note = if g.note.is_empty() { String::new() } else { format!(" ({})", g.note) };
                vec![
                    g.field.clone(),
                    visible(&g.subgroup),
                    images,
                    count(g.patients as usize),
                    format!("{}{note}", dice_text(g)),
                ]
            })
            .collect(),
    );
    section.number("groups", json!(found.groups));
    section.number("gaps", json!(found.gaps));
}

fn dice_text(group: &SubgroupRow) -> String {
    match (group.ci_low, group.ci_high) {
        (Some(low), Some(high)) => format!("{} [{}, {}]", num(group.dice, 4), num(low, 4), num(high, 4)),
        _ => num(group.dice, 4),
    }
}

/// Whether the gap of a field is shown.
fn gap_text(gap: &SubgroupGap) -> String {
    let SubgroupGap { field, worst, best, difference, ci, .. } = gap;
    let (worst, best) = (visible(worst), visible(best));
    let found = format!("{}: {worst} is {} below {best}", capital(field), num(*difference, 4));
    match ci {
        Some(ci) if ci.low > 0.0 => {
            format!("{found} (95 % confidence interval {}): the difference is shown.", interval(ci, 4))
        }
        Some(ci) => format!(
            "{found} (95 % confidence interval {}): not shown, and up to {} is not ruled out.",
            interval(ci, 4),
            num(ci.high, 4)
        ),
        None => format!("{found}; there are too few patients for an interval."),
    }
}

fn subgroups_figure(groups: &[SubgroupRow]) -> Figure {
    let mut ends = Vec::new();
    let rows = groups
        .iter()
        .map(|g| {
            let ci = g.ci_low.zip(g.ci_high);
            ends.extend([Some(g.dice), g.ci_low, g.ci_high].into_iter().flatten());
            let colour = if g.field == "all" { NEUTRAL } else { okabe_ito::BLUE };
            CategoryRow {
                label: if g.field == "all" {
                    "all images".to_owned()
                } else {
                    format!("{}: {}", g.field, visible(&g.subgroup))
                },
                marks: vec![Mark::Dot { name: String::new(), colour, value: g.dice, interval: ci }],
                note: format!("{}, n = {}", num(g.dice, 4), count(g.images as usize)),
            }
        })
        .collect();
    let all = groups.iter().find(|g| g.field == "all");
    Figure {
        name: "dice-by-subgroup".into(),
        title: format!("Dice by subgroup (n = {})", counted(all.map_or(0, |g| g.images as usize), "image", "images")),
        note: "Mean over images; lines: 95 % confidence intervals that resample patients, for groups of 6 patients or more.".into(),
        columns: 1,
        charts: vec![Chart::Rows(Rows {
            title: String::new(),
            axis: Axis::linear("mean Dice", ends),
            rows,
            reference: all.map(|g| ("all images".to_owned(), g.dice)),
        })],
    }
}

/// Colour of a group of bones, by its place in [`GROUPS`].
const COLOURS: [Rgb; 7] = [
    okabe_ito::ORANGE,
    okabe_ito::SKY,
    okabe_ito::GREEN,
    okabe_ito::YELLOW,
    okabe_ito::PURPLE,
    okabe_ito::VERMILION,
    okabe_ito::BLUE,
];

fn colour_of(bone: Bone) -> Rgb {
    GROUPS.iter().zip(COLOURS).find(|(group, _)| group.1 == bone.group()).map_or(NEUTRAL, |found| found.1)
}

/// Dice by class and by group of bones, and against the mean area of the class.
fn add_classes(section: &mut Section, images: &Scored<'_>, study: &Study<'_>) -> PolarsResult<()> {
    let classes: Vec<(Bone, Estimate)> = Bone::all().filter_map(|b| Some((b, images.estimate(&[b])?))).collect();
    let groups: Vec<(&str, Rgb, Estimate)> = GROUPS
        .iter()
        .zip(COLOURS)
        .filter_map(|((name, group), colour)| {
            let bones: Vec<Bone> = Bone::all().filter(|b| b.group() == *group).collect();
            Some((*name, colour, images.estimate(&bones)?))
        })
        .collect();
    let areas = mean_areas(study)?;
    let area = |bone: &Bone| areas[bone.index()];
    let (x, y): (Vec<Option<f64>>, Vec<Option<f64>>) =
        classes.iter().map(|(bone, e)| (area(bone), Some(e.of_images.mean))).unzip();
    let related = spearman(&x, &y);
    let mut by_dice: Vec<&(Bone, Estimate)> = classes.iter().collect();
    by_dice.sort_by(|a, b| a.1.of_images.mean.total_cmp(&b.1.of_images.mean));
    let names = |some: &mut dyn Iterator<Item = &&(Bone, Estimate)>| {
        listed(&some.map(|(b, e)| format!("{b} ({})", num(e.of_images.mean, 4))).collect::<Vec<_>>())
    };
    section.text(format!(
        "Lowest mean Dice: {}. Highest: {}.",
        names(&mut by_dice.iter().take(4)),
        names(&mut by_dice.iter().rev().take(3))
    ));
    match &related {
        // The classes are the units here, not patients.
        Ok(c) => {
            section.meaning(format!(
                "Dice of a class against its mean area (Spearman's ρ over {} classes): {}. A positive correlation means that small \
                 classes score lower; a finer resolution adds most pixels per outline to them.",
                count(c.n),
                correlation_conclusion(c)
            ));
            section.test("Dice of a class with its mean area", "Spearman (classes)", c.n, c.p);
        }
        Err(reason) => section.absent(format!("No correlation of Dice with area: {reason}.")),
    }
    section.figure(area_figure(&classes, &areas));
    section.figure(classes_figure(&classes, &groups));
    section.table(
        "Dice by class, in class order; 95 % confidence intervals over patients",
        &["class", "images", "Dice", "5 % quantile", "median", "mean area (px)"],
        classes
            .iter()
            .map(|(bone, e)| {
                let (s, area) = (&e.of_images, area(bone).map_or("–".to_owned(), |a| num(a, 0)));
                vec![bone.name().to_owned(), count(s.n), e.text(), num(s.q05, 4), num(s.median, 4), area]
            })
            .collect(),
    );
    let of_classes: Map<String, Value> = classes.iter().map(|(b, e)| (b.name().to_owned(), e.numbers())).collect();
    let of_groups: Map<String, Value> = groups.iter().map(|(name, _, e)| ((*name).to_owned(), e.numbers())).collect();
    section.number("classes", Value::Object(of_classes));
    section.number("bone_groups", Value::Object(of_groups));
    section.number("dice_with_mean_area_spearman", outcome(&related));
    Ok(())
}

/// Mean area by class index over all masks of the tables, px.
fn mean_areas(study: &Study<'_>) -> PolarsResult<Vec<Option<f64>>> {
    let areas = numbers_by(&BoneRow::to_frame(&study.tables.bones)?, "class", col("area_px"))?;
    Ok((0..COUNT).map(|class| areas.get(&class).and_then(|a| summary(a)).map(|s| s.mean)).collect())
}

fn area_figure(classes: &[(Bone, Estimate)], areas: &[Option<f64>]) -> Figure {
    let series = GROUPS
        .iter()
        .map(|(name, group)| {
            let of_group = classes.iter().filter(|(bone, _)| bone.group() == *group);
            let points: Vec<(f64, f64)> = of_group
                .clone()
                .filter_map(|(bone, e)| Some((areas[bone.index()]?.log10(), e.of_images.mean)))
                .filter(|point| point.0.is_finite())
                .collect();
            let colour = of_group.clone().next().map_or(NEUTRAL, |(bone, _)| colour_of(*bone));
            ScatterSeries { name: (*name).to_owned(), colour, points }
        })
        .filter(|series| !series.points.is_empty())
        .collect();
    Figure {
        name: "dice-and-area".into(),
        title: format!("Dice of a class against its mean area (n = {})", counted(classes.len(), "class", "classes")),
        note: "One point per class. Area in pixels of the image, as a power of 10: 4 is 10,000 px.".into(),
        columns: 1,
        charts: vec![Chart::Scatter(Scatter {
            title: String::new(),
            x_label: "log10 of the mean area (px)".into(),
            y_label: "mean Dice".into(),
            series,
            fit: None,
        })],
    }
}

fn classes_figure(classes: &[(Bone, Estimate)], groups: &[(&str, Rgb, Estimate)]) -> Figure {
    let row = |label: &str, colour: Rgb, e: &Estimate| CategoryRow {
        label: label.to_owned(),
        marks: vec![e.mark(colour)],
        note: format!("{}, n = {}", num(e.of_images.mean, 4), count(e.of_images.n)),
    };
    let chart = |title: &str, ends: Vec<f64>, rows: Vec<CategoryRow>| {
        let axis = Axis::linear("mean Dice", ends);
        Chart::Rows(Rows { title: title.to_owned(), axis, rows, reference: None })
    };
    let ends = || classes.iter().flat_map(|c| c.1.ends()).collect::<Vec<_>>();
    Figure {
        name: "dice-by-class".into(),
        title: "Dice by group of bones and by class".into(),
        note: "Mean over images; lines: 95 % confidence intervals that resample patients.".into(),
        columns: 1,
        charts: vec![
            chart("Groups", ends(), groups.iter().map(|(name, colour, e)| row(name, *colour, e)).collect()),
            chart("Classes", ends(), classes.iter().map(|(b, e)| row(b.name(), colour_of(*b), e)).collect()),
        ],
    }
}

/// Images with the lowest mean Dice, and their classes far below the usual score.
fn add_lowest(section: &mut Section, scores: &DiceTable, images: &Scored<'_>, study: &Study<'_>) {
    let (usual, thresholds) = (UsualDice::of(scores), DiceThresholds::default());
    let mut found: Vec<(f64, &str, &str, Vec<LowDice>)> = images
        .images
        .iter()
        .filter_map(|(image, patient, scores)| {
            let known: Vec<f64> = scores.iter().copied().flatten().collect();
            let mean = summary(&known)?.mean;
            Some((mean, image.as_str(), patient.as_str(), usual.low(scores, &thresholds)))
        })
        .collect();
    let unusual = found.iter().filter(|image| !image.3.is_empty()).count();
    found.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
    let shown = found.len().min(LOWEST);
    section.text(format!(
        "{} a class with a Dice far below the usual one of the class: annotation or prediction is wrong there. `carpus audit --scores` \
         makes findings of them, with pictures.",
        counted(unusual, "image has", "images have")
    ));
    section.table(
        format!("The {shown} of {} with the lowest mean Dice", counted(found.len(), "image", "images")),
        &["image", "patient", "mean Dice", "classes far below their usual Dice"],
        found[..shown]
            .iter()
            .map(|(mean, image, patient, low)| {
                let low: Vec<String> = low.iter().map(|l| format!("{} ({})", l.bone, num(l.dice, 3))).collect();
                vec![visible(image), visible(patient), num(*mean, 4), listed(&low)]
            })
            .collect(),
    );
    let pictures: Vec<CaptionedPicture> =
        found.iter().filter_map(|(_, image, ..)| picture(study, image)).take(PICTURES).collect();
    if !pictures.is_empty() {
        section.blocks.push(Content::Pictures(pictures));
    }
    section.number("images_with_unusually_low_classes", unusual);
}

/// The picture of a finding of the check `low_dice` about this image, if the audit drew one.
fn picture(study: &Study<'_>, image: &str) -> Option<CaptionedPicture> {
    let is_wanted = |f: &&FindingRow| f.check.name == "low_dice" && image_id(&f.image_id) == image_id(image);
    let finding = study.findings?.iter().find(is_wanted)?;
    Some(CaptionedPicture {
        jpeg: study.evidence.pictures.get(&finding.evidence)?.clone(),
        title: visible(image),
        severity: finding.severity.to_string(),
        lines: vec![visible(&finding.message)],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    #[test]
    fn a_gap_is_shown_only_if_its_interval_excludes_0() {
        let gap = |ci| SubgroupGap {
            experiment: "predictions".into(),
            field: "sex".into(),
            worst: "M".into(),
            best: "F".into(),
            difference: 0.01,
            ci,
        };
        let text = |low, high| gap_text(&gap(Some(Interval { low, high })));
        assert!(text(0.002, 0.02).contains("the difference is shown"));
        assert!(text(-0.002, 0.02).contains("not shown, and up to 0.0200 is not ruled out"));
        assert!(gap_text(&gap(None)).contains("too few patients"));
    }
}
