use polars::prelude::*;
use serde_json::json;

use super::rotation;
use crate::audit::{FindingRow, Severity};
use crate::bones;
use crate::dataset::{MaskSource, ProblemSeverity, Subset};
use crate::report::study::has_masks;
use crate::report::wording::{capital, count, counted, interval, num, visible};
use crate::report::{Alert, Content, Section, Study};
use crate::tables::{ProblemRow, TableRow, counts, is, tally};

const HIGH: &str = "high";
const MEDIUM: &str = "medium";
const LOW: &str = "low";

/// What needs action, strongest first, each with a command.
pub(super) fn section(study: &Study<'_>) -> PolarsResult<Section> {
    let mut section = Section::new("alerts", "What needs action");
    let mut alerts = Vec::new();
    if study.tables.images.is_empty() {
        alerts.push(alert(
            HIGH,
            "The tables have no images: the scan found none in the data folder.".into(),
            format!("carpus scan {} --out {}", study.settings.paths.data, study.settings.paths.tables),
            "overview",
        ));
    }
    leaks(study, &mut alerts)?;
    unread(study, &mut alerts)?;
    findings(study, &mut alerts)?;
    folds(study, &mut alerts);
    metadata(study, &mut alerts)?;
    shift(study, &mut alerts)?;
    images(study, &mut alerts)?;
    inputs(study, &mut alerts)?;
    // A stable sort: alerts of one level stay in the order above, the most harmful kind first.
    let rank = |alert: &Alert| [HIGH, MEDIUM, LOW].iter().position(|level| *level == alert.level);
    alerts.sort_by_key(rank);
    let n = [HIGH, MEDIUM, LOW].map(|level| alerts.iter().filter(|alert| alert.level == level).count());
    section.number("by_level", json!({"high": n[0], "medium": n[1], "low": n[2]}));
    section.number("alerts", json!(alerts));
    if alerts.is_empty() {
        section.text("Nothing in the data needs action.");
        return Ok(section);
    }
    section.text(format!(
        "{}, strongest first: {} of level high (results would be wrong), {} medium (results may be biased), {} low (for \
         information, or an input of this report is missing).",
        counted(alerts.len(), "point", "points"),
        count(n[0]),
        count(n[1]),
        count(n[2]),
    ));
    section.blocks.push(Content::Alerts(alerts));
    Ok(section)
}

fn alert(level: &'static str, text: String, command: String, section: &'static str) -> Alert {
    Alert { level, text, command, section }
}

/// Number of rows of a frame made of groups.
fn height(frame: LazyFrame) -> PolarsResult<usize> {
    Ok(frame.collect()?.height())
}

/// Patients in both subsets, and image files that occur twice.
fn leaks(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let subsets = col("subset").cast(DataType::String).n_unique().alias("subsets");
    let by_patient = study.hands.clone().lazy().group_by([col("patient_id")]).agg([subsets.clone()]);
    let shared = height(by_patient.filter(col("subsets").gt(lit(1))))?;
    let tables = &study.settings.paths.tables;
    if shared > 0 {
        alerts.push(alert(
            HIGH,
            format!(
                "{} images in both train and test: scores on the test set are too high.",
                counted(shared, "patient has", "patients have")
            ),
            format!(
                "carpus query {tables} \"select patient_id, count(*) as n from images group by patient_id having \
                 count(distinct subset) > 1\""
            ),
            "overview",
        ));
    }
    let files = study.hands.clone().lazy().filter(col("sha256").is_not_null()).group_by([col("sha256")]);
    let files = files.agg([len().alias("n"), col("patient_id").n_unique().alias("patients"), subsets]);
    let repeated = files.filter(col("n").gt(lit(1))).collect()?;
    let [others, across] = counts(&repeated, [col("patients").gt(lit(1)), col("subsets").gt(lit(1))])?;
    if repeated.height() > 0 {
        let level = if others + across > 0 { HIGH } else { MEDIUM };
        alerts.push(alert(
            level,
            format!(
                "{} more than once ({} in several patients, {} in both subsets): exclude all but one of each.",
                counted(repeated.height(), "image file occurs", "image files occur"),
                count(others),
                count(across)
            ),
            format!(
                "carpus query {tables} \"select sha256, count(*) as n, min(image_id) as first, max(image_id) as last from \
                 images where sha256 is not null group by sha256 having count(*) > 1\""
            ),
            "metadata_quality",
        ));
    }
    Ok(())
}

/// Files that could not be used.
fn unread(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let tables = &study.settings.paths.tables;
    let [unusable] = counts(&study.hands, [col("usable").not()])?;
    if unusable > 0 {
        alerts.push(alert(
            HIGH,
            format!(
                "{} in no fold, because they cannot be used or corrections exclude them.",
                counted(unusable, "image is", "images are")
            ),
            format!("carpus query {tables} \"select image_id, unusable_reason from images where not usable\""),
            "overview",
        ));
    }
    let problems = ProblemRow::to_frame(&study.tables.problems)?;
    for (severity, level, consequence) in [
        (ProblemSeverity::Error, HIGH, "what they concern is missing below"),
        (ProblemSeverity::Warning, MEDIUM, "values were guessed or left out"),
    ] {
        let [n] = counts(&problems, [is("severity", severity)])?;
        if n > 0 {
            let name = severity.name();
            alerts.push(alert(
                level,
                format!(
                    "{} while reading the data: {consequence}.",
                    counted(n, name, &format!("{name}s"))
                ),
                format!(
                    "carpus query {tables} \"select file, place, raw, reason, action from problems where severity = '{name}'\""
                ),
                "problems",
            ));
        }
    }
    Ok(())
}

/// The audit's findings, by severity.
fn findings(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let Some(findings) = study.findings else { return Ok(()) };
    let paths = &study.settings.paths;
    let frame = FindingRow::to_frame(findings)?;
    for (severity, level) in [(Severity::High, HIGH), (Severity::Medium, MEDIUM)] {
        let of_severity = frame.clone().lazy().filter(is("severity", severity)).collect()?;
        let checks = tally(&of_severity, col("check"))?;
        let Some((first, _)) = checks.first() else { continue };
        let images = of_severity.column("image_id")?.n_unique()?;
        let listed: Vec<String> = checks.iter().take(4).map(|(check, n)| format!("{check} {}", count(*n))).collect();
        let more = if checks.len() > 4 { format!(", and {} more checks", checks.len() - 4) } else { String::new() };
        // The proposed labels of a scrambled hand can be recorded as they are.
        let relabel = checks.iter().any(|(check, _)| check == "swapped_labels");
        let (check, action) = if relabel { ("swapped_labels", "relabel") } else { (first.as_str(), "flag") };
        alerts.push(alert(
            level,
            format!(
                "{} of severity {} on {}: {}{more}. A person has to look at them.",
                counted(of_severity.height(), "finding", "findings"),
                severity.name(),
                counted(images, "image", "images"),
                listed.join(", ")
            ),
            format!(
                "carpus corrections add --data {} --from {} --check {check} --action {action} --dry-run",
                paths.data, paths.findings
            ),
            "findings",
        ));
    }
    Ok(())
}

fn folds(study: &Study<'_>, alerts: &mut Vec<Alert>) {
    let paths = &study.settings.paths;
    let split = format!("carpus split {} --by sex,rotated --out {}", paths.tables, paths.folds);
    let Some(check) = study.fold_check() else {
        let text = "There are no folds yet: assign the patients to folds.".to_owned();
        return alerts.push(alert(LOW, text, split, "folds"));
    };
    let leaks = check.patients_in_several_folds.len();
    if leaks > 0 {
        let text = format!(
            "{} in more than one fold: validation scores are too high.",
            counted(leaks, "patient is", "patients are")
        );
        alerts.push(alert(HIGH, text, split.clone(), "folds"));
    }
    for warning in &check.warnings {
        alerts.push(alert(MEDIUM, format!("Folds: {}.", visible(warning)), split.clone(), "folds"));
    }
}

/// Patients without metadata.
fn metadata(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let has_images = || col("n_images").gt(lit(0u32));
    let fields = ["sex", "age", "height_cm", "weight_kg"];
    let missing = fields.map(|field| has_images().and(col(field).is_null()));
    let n = counts(&study.patients, missing)?;
    let [no_row] = counts(&study.patients, [has_images().and(col("sheet_row").is_null())])?;
    if n.iter().sum::<usize>() == 0 {
        return Ok(());
    }
    let parts: Vec<String> = ["sex", "age", "height", "weight"]
        .iter()
        .zip(n)
        .filter(|(_, n)| *n > 0)
        .map(|(field, n)| format!("{field} of {}", counted(n, "patient", "patients")))
        .collect();
    let row = if no_row > 0 {
        format!(
            " {} no row in the spreadsheet.",
            counted(no_row, "patient with images has", "patients with images have")
        )
    } else {
        String::new()
    };
    let paths = &study.settings.paths;
    alerts.push(alert(
        MEDIUM,
        format!("Unknown: {}.{row}", parts.join(", ")),
        format!(
            "carpus corrections add --data {} --corrections {} --patient ID --action set-metadata --field height_cm --value \
             NUMBER",
            paths.data, paths.corrections
        ),
        "metadata_quality",
    ));
    Ok(())
}

/// More rotated hands in test than in train.
fn shift(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let Some(odds) = rotation::odds_ratio(study)? else { return Ok(()) };
    if odds.ci.contains(1.0) {
        return Ok(());
    }
    let paths = &study.settings.paths;
    let direction = if odds.value > 1.0 { "more" } else { "less" };
    alerts.push(alert(
        MEDIUM,
        format!(
            "Rotated hands are {direction} common in test than in train: odds ratio {} {}. Stratify the folds by rotation and \
             weight rotated training images by this ratio.",
            num(odds.value, 2),
            interval(&odds.ci, 2)
        ),
        format!(
            "carpus split {} --by sex,rotated --sample-weights rotated={:.2} --out {}",
            paths.tables, odds.value, paths.folds
        ),
        "rotation",
    ));
    Ok(())
}

/// Strips, missing bones and wrong sides.
fn images(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let paths = &study.settings.paths;
    let strip = col("strip_top_px").fill_null(lit(0u32)).gt(lit(0u32));
    let strip = strip.or(col("strip_left_px").fill_null(lit(0u32)).gt(lit(0u32)));
    let annotated = is("mask_source", MaskSource::Annotation);
    let incomplete = annotated.clone().and(col("n_bones").lt(lit(bones::COUNT as u32)));
    let other_side = col("side").cast(DataType::String).neq(col("side_by_anatomy").cast(DataType::String));
    let [strips, incomplete, sides] = counts(&study.hands, [strip, incomplete, other_side.fill_null(lit(false))])?;
    if sides > 0 {
        alerts.push(alert(
            MEDIUM,
            format!(
                "{} a side by name or time stamp that differs from the side by anatomy.",
                counted(sides, "image has", "images have")
            ),
            format!(
                "carpus query {} \"select image_id, side, side_by_anatomy from images where side <> side_by_anatomy\"",
                paths.tables
            ),
            "findings",
        ));
    }
    if incomplete > 0 {
        alerts.push(alert(
            MEDIUM,
            format!(
                "{} not all {} bones: a missing mask teaches a model that the bone is background.",
                counted(incomplete, "annotated image has", "annotated images have"),
                bones::COUNT
            ),
            format!(
                "carpus query {} \"select image_id, n_bones from images where mask_source = 'annotation' and n_bones < {}\"",
                paths.tables,
                bones::COUNT
            ),
            "class_areas",
        ));
    }
    if strips > 0 {
        alerts.push(alert(
            LOW,
            format!(
                "{} a white strip at the top or the left edge; blacken it before training.",
                counted(strips, "image has", "images have")
            ),
            format!("carpus clean {} --tables {} --strips detect --out crops", paths.data, paths.tables),
            "image_noise",
        ));
    }
    Ok(())
}

/// Inputs without which sections of the report are empty.
fn inputs(study: &Study<'_>, alerts: &mut Vec<Alert>) -> PolarsResult<()> {
    let paths = &study.settings.paths;
    let test = is("subset", Subset::Test);
    let [test_images, with_masks] = counts(&study.hands, [test.clone(), test.and(has_masks())])?;
    if test_images > 0 && with_masks < test_images {
        alerts.push(alert(
            LOW,
            format!(
                "{} no masks, so their angles and sizes are unknown: scan with predicted masks to compare them with train.",
                capital(&counted(test_images - with_masks, "test image has", "test images have"))
            ),
            format!("carpus scan {} --predictions SUBMISSION.csv --out tables-predicted", paths.data),
            "rotation",
        ));
    }
    if study.findings.is_none() {
        alerts.push(alert(
            LOW,
            "The annotations were not audited, or the findings were not given with --findings.".into(),
            format!("carpus audit {} --data {} --out {}", paths.tables, paths.data, paths.findings),
            "findings",
        ));
    }
    Ok(())
}
